//! The floor: what TCP sockets do on this machine with nothing on top.
//!
//! Both sides are processes of their own with `TCP_NODELAY` on. They check sequence numbers as
//! every other peer does, and walk through several megabytes of buffers, so that they do not live
//! in the cache as no real program does.

mod rtt;
mod stream;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::error::Error;
use crate::peer::Kind;
use crate::protocol::{Event, Order, Role, Work, WorkerConfig, tell};
use crate::worker::next_order;

/// Memory that each side walks through, in bytes.
const RING_BYTES: usize = 4 << 20;

/// Runs one side, until the measurement is done or the other side is gone.
pub(crate) fn work(config: &WorkerConfig) -> Result<(), Error> {
    match config.role {
        Role::Server => serve(config),
        Role::Client => dial(config),
    }
}

fn serve(config: &WorkerConfig) -> Result<(), Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(Error::io("cannot listen on loopback"))?;
    let port = listener.local_addr().map_err(Error::io("cannot read the port"))?.port();
    tell(&Event::Ready { node: config.node.clone(), port, version: None })?;
    let (stream, _) = listener.accept().map_err(Error::io("cannot accept"))?;
    let mut socket =
        Socket::new(stream, config.kind).map_err(Error::io("cannot set up the socket"))?;
    match config.work {
        Work::Rtt => rtt::serve(&mut socket, config.size),
        Work::Stream => stream::receive(&mut socket, config),
    }
}

fn dial(config: &WorkerConfig) -> Result<(), Error> {
    tell(&Event::Ready { node: config.node.clone(), port: 0, version: None })?;
    let mut socket = None;
    loop {
        match (next_order()?, &mut socket) {
            (Order::Dial { port, .. }, _) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                    .map_err(Error::io("cannot connect to the other side"))?;
                let set_up = Socket::new(stream, config.kind);
                socket = Some(set_up.map_err(Error::io("cannot set up the socket"))?);
                tell(&Event::Connected)?;
            }
            (Order::Go { .. }, Some(socket)) => match config.work {
                Work::Rtt => rtt::measure(socket, config)?,
                Work::Stream => stream::send(socket, config)?,
            },
            (Order::Go { .. }, None) => {
                return Err(Error::Broken("expected dial before go".into()));
            }
            (Order::Stop, _) => return Ok(()),
        }
    }
}

/// A connected socket that polls or blocks.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
}

impl Socket {
    fn new(stream: TcpStream, kind: Kind) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(kind == Kind::SocketSpin)?;
        Ok(Socket { stream })
    }

    /// Reads what is there, at least one byte; 0 at the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if is_transient(&error) => {}
                outcome => return outcome,
            }
        }
    }

    /// Fills the buffer; `false` when the other side ended before its first byte.
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        Ok(true)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
            }
        }
        Ok(())
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Buffers of one length, used in turn.
#[derive(Debug)]
struct Ring {
    memory: Vec<u8>,
    length: usize,
    next: usize,
}

impl Ring {
    /// Buffers of `length` bytes, at least two of them.
    fn new(length: usize) -> Ring {
        let count = (RING_BYTES / length).max(2);
        // Written once, so that no page is missing during the measurement.
        Ring { memory: vec![b'k'; count * length], length, next: 0 }
    }

    fn next(&mut self) -> &mut [u8] {
        let start = self.next;
        self.next += self.length;
        if self.next == self.memory.len() {
            self.next = 0;
        }
        &mut self.memory[start..start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a loopback connection, as workers of this kind have them.
    pub(super) fn pair(kind: Kind) -> (Socket, Socket) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let address = listener.local_addr().expect("address");
        let client = TcpStream::connect(address).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        (Socket::new(client, kind).expect("client"), Socket::new(server, kind).expect("server"))
    }

    #[test]
    fn a_ring_hands_out_every_buffer_in_turn() {
        let mut ring = Ring::new(1 << 20);
        for number in 0..8u8 {
            ring.next()[0] = number;
        }
        let kept: Vec<u8> = (0..4).map(|_| ring.next()[0]).collect();
        assert_eq!(kept, [4, 5, 6, 7]);
    }

    #[test]
    fn reading_tells_a_clean_end_from_a_broken_message() {
        for kind in [Kind::SocketSpin, Kind::SocketBlock] {
            let (mut client, mut server) = pair(kind);
            client.write_all(b"0123").expect("write");
            drop(client);
            let mut buffer = [0; 2];
            assert!(server.read_exact(&mut buffer).expect("whole"));
            let mut longer = [0; 3];
            let broken = server.read_exact(&mut longer).expect_err("half a message");
            assert_eq!(broken.kind(), ErrorKind::UnexpectedEof);
            assert!(!server.read_exact(&mut longer).expect("end"));
        }
    }
}
