//! What the machine itself can do: the same traffic over bare sockets, without any protocol.
//!
//! The peer of a floor runs in a process of its own, as the nodes of the demo do, so that both
//! pay for the same switches between address spaces.

use super::measure::{Sample, Span, Stream};
use hdrhistogram::Histogram;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// How an end waits for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// In the kernel: the processor is free meanwhile.
    Blocking,
    /// By asking again and again.
    Spinning,
}

/// What the peer is told to do, in the first bytes of a connection: a kind, then a size.
const ECHO_BLOCKING: u8 = 1;
const ECHO_SPINNING: u8 = 2;
const SINK: u8 = 3;

/// Serves floor connections, one after the other, until `listener` fails. The hidden part of the
/// command runs it in a process of its own.
///
/// # Errors
///
/// When the listener fails; a failing connection only ends that connection.
pub(super) fn serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // The measuring side notices a broken connection itself.
        let _ = serve_one(stream);
    }
}

fn serve_one(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut order = [0u8; 5];
    stream.read_exact(&mut order)?;
    let size = u32::from_be_bytes([order[1], order[2], order[3], order[4]]) as usize;
    // Sizes come from the same program; the cut only keeps a stranger from asking for memory.
    let mut buffer = vec![0u8; size.clamp(1, 1 << 20)];
    match order[0] {
        ECHO_BLOCKING | ECHO_SPINNING => {
            let waiting =
                if order[0] == ECHO_SPINNING { Waiting::Spinning } else { Waiting::Blocking };
            stream.set_nonblocking(waiting == Waiting::Spinning)?;
            loop {
                read_full(&mut stream, &mut buffer, waiting)?;
                write_full(&mut stream, &buffer, waiting)?;
            }
        }
        SINK => {
            // Everything up to the end of the stream; then one byte says that it was read.
            let mut buffer = vec![0u8; 1 << 18];
            while stream.read(&mut buffer)? > 0 {}
            stream.write_all(&[1])
        }
        _ => Ok(()),
    }
}

/// Measures round trips of `size` bytes for about `duration`.
///
/// # Errors
///
/// When the peer cannot be reached or breaks off.
pub(super) fn round_trips(
    peer: SocketAddr,
    size: usize,
    waiting: Waiting,
    duration: Duration,
) -> io::Result<Sample> {
    let order = if waiting == Waiting::Spinning { ECHO_SPINNING } else { ECHO_BLOCKING };
    let mut stream = connect(peer, order, size)?;
    stream.set_nonblocking(waiting == Waiting::Spinning)?;
    let mut buffer = vec![7u8; size];
    let mut histogram = new_histogram()?;
    let span = Span::new(duration);
    loop {
        let start = Instant::now();
        write_full(&mut stream, &buffer, waiting)?;
        read_full(&mut stream, &mut buffer, waiting)?;
        let now = Instant::now();
        if span.counts(now) {
            histogram.saturating_record(nanoseconds(now - start));
        }
        if span.is_over(now, histogram.len()) {
            return Ok(Sample::new(histogram));
        }
    }
}

/// Sends messages of `size` bytes one way for about `duration`, 64 KiB and more to a write.
///
/// # Errors
///
/// When the peer cannot be reached or breaks off.
pub(super) fn stream(peer: SocketAddr, size: usize, duration: Duration) -> io::Result<Stream> {
    let mut stream = connect(peer, SINK, size)?;
    let batch = (65_536 / size).max(1);
    let buffer = vec![0u8; size * batch];
    let start = Instant::now();
    let end = Instant::now() + duration;
    let mut messages = 0u64;
    while Instant::now() < end {
        stream.write_all(&buffer)?;
        messages += batch as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut done = [0u8; 1];
    stream.read_exact(&mut done)?;
    Ok(Stream { messages, message_bytes: size as u64, elapsed: start.elapsed() })
}

/// A histogram for durations from 1 ns to 10 s, exact to a thousandth.
pub(super) fn new_histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 10_000_000_000, 3).map_err(io::Error::other)
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn connect(peer: SocketAddr, order: u8, size: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&peer, Duration::from_secs(5))?;
    stream.set_nodelay(true)?;
    let size = u32::try_from(size).map_err(io::Error::other)?.to_be_bytes();
    stream.write_all(&[order, size[0], size[1], size[2], size[3]])?;
    Ok(stream)
}

fn read_full(stream: &mut TcpStream, buffer: &mut [u8], waiting: Waiting) -> io::Result<()> {
    if waiting == Waiting::Blocking {
        return stream.read_exact(buffer);
    }
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if retry(&error) => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write_full(stream: &mut TcpStream, buffer: &[u8], waiting: Waiting) -> io::Result<()> {
    if waiting == Waiting::Blocking {
        return stream.write_all(buffer);
    }
    let mut written = 0;
    while written < buffer.len() {
        match stream.write(&buffer[written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if retry(&error) => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn retry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_measured() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener));
        let short = Duration::from_millis(30);
        let sample = round_trips(peer, 16, Waiting::Blocking, short).unwrap();
        assert!(sample.count() > 0 && sample.p50() > Duration::ZERO);
        assert!(sample.p99() >= sample.p50());
        let sample = round_trips(peer, 1024, Waiting::Spinning, short).unwrap();
        assert!(sample.count() > 0);
        let streamed = stream(peer, 65_536, short).unwrap();
        assert!(streamed.messages > 1 && streamed.bytes_per_second() > 0.0);
    }
}
