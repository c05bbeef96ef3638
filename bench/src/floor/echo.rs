//! A server that sends every byte back as it comes, and never stands still while the other side
//! has not read yet.

use std::io;

use super::{Ring, Socket};
use crate::error::Error;

/// Most bytes of one read.
const READ_BYTES: usize = 256 << 10;
/// While so much has not been written back, nothing more is read.
const UNSENT_BYTES_MAX: usize = 4 << 20;

/// Sends everything back, until the other side ends.
pub(super) fn serve(socket: &mut Socket) -> Result<(), Error> {
    let mut ring = Ring::new(READ_BYTES);
    let mut unsent = Unsent::default();
    loop {
        if unsent.bytes.is_empty() {
            let buffer = ring.next();
            let count = socket.read(buffer).map_err(Error::io("cannot receive"))?;
            if count == 0 {
                return Ok(());
            }
            unsent.send(socket, &buffer[..count]).map_err(Error::io("cannot answer"))?;
            continue;
        }
        // The other side writes before it reads: both directions must move.
        socket.wait(true).map_err(Error::io("cannot wait"))?;
        unsent.send(socket, &[]).map_err(Error::io("cannot answer"))?;
        if unsent.bytes.len() < UNSENT_BYTES_MAX {
            let buffer = ring.next();
            if let Some(count) = take_now(socket, buffer).map_err(Error::io("cannot receive"))? {
                if count == 0 {
                    return Ok(());
                }
                unsent.send(socket, &buffer[..count]).map_err(Error::io("cannot answer"))?;
            }
        }
    }
}

/// Reads without waiting, also from a socket that blocks.
fn take_now(socket: &mut Socket, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    use rustix::net::{RecvFlags, recv};
    match recv(&*socket, buffer, RecvFlags::DONTWAIT) {
        Ok((_, count)) => Ok(Some(count)),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Bytes that the socket did not take yet.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    bytes: Vec<u8>,
}

impl Unsent {
    /// Writes what waits and then `more`, as far as the socket takes it; keeps the rest.
    pub(super) fn send(&mut self, socket: &mut Socket, more: &[u8]) -> io::Result<()> {
        if !self.bytes.is_empty() {
            let count = socket.try_write(&self.bytes)?;
            self.bytes.drain(..count);
        }
        let written =
            if self.bytes.is_empty() && !more.is_empty() { socket.try_write(more)? } else { 0 };
        self.bytes.extend_from_slice(&more[written..]);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Cuts received bytes into messages of one size.
#[derive(Debug)]
pub(super) struct Cutter {
    buffer: Vec<u8>,
    filled: usize,
    size: usize,
}

impl Cutter {
    pub(super) fn new(size: usize) -> Cutter {
        Cutter { buffer: vec![0; READ_BYTES.max(2 * size)], filled: 0, size }
    }

    /// Where the next bytes go; never empty.
    pub(super) fn spare(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Takes `count` bytes that were put there, and hands each whole message to `take`.
    pub(super) fn commit<E>(
        &mut self,
        count: usize,
        mut take: impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.filled += count;
        let whole = self.filled - self.filled % self.size;
        for message in self.buffer[..whole].chunks_exact_mut(self.size) {
            take(message)?;
        }
        self.buffer.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::socket::tests::{KINDS, pair};
    use super::*;

    #[test]
    fn everything_comes_back_though_nobody_reads_at_first() {
        for kind in KINDS {
            let (mut client, mut server) = pair(kind);
            let echo = std::thread::spawn(move || serve(&mut server));
            let sent: Vec<u8> = (0..3 << 20).map(|index: u32| index as u8).collect();
            // More than the socket holds: the server must keep reading.
            client.write_all(&sent).expect("send");
            let mut back = vec![0; sent.len()];
            assert!(client.read_exact(&mut back).expect("receive"), "{kind:?}");
            assert!(sent == back, "{kind:?}");
            drop(client);
            echo.join().expect("join").expect("echo");
        }
    }

    #[test]
    fn messages_are_cut_from_any_pieces() {
        let bytes: Vec<u8> = (0..=255).collect();
        for piece in 1..100 {
            let mut cutter = Cutter::new(16);
            let mut found = Vec::new();
            for part in bytes.chunks(piece) {
                cutter.spare()[..part.len()].copy_from_slice(part);
                let taken = cutter.commit(part.len(), |message| {
                    found.extend_from_slice(message);
                    Ok::<(), ()>(())
                });
                taken.expect("nothing fails");
            }
            assert_eq!(found, bytes, "pieces of {piece}");
        }
    }
}
