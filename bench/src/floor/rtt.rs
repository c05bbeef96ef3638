//! Round trips over a plain socket.

use std::time::{Duration, Instant};

use super::{Ring, Socket};
use crate::error::Error;
use crate::protocol::{WorkerConfig, tell};
use crate::worker::Latencies;

/// Bytes of the sequence number at the start of each message.
const SEQUENCE_BYTES: usize = 8;

/// Sends every message back, until the other side ends.
pub(super) fn serve(socket: &mut Socket, size: usize) -> Result<(), Error> {
    let mut ring = Ring::new(size);
    loop {
        let buffer = ring.next();
        if !socket.read_exact(buffer).map_err(Error::io("cannot receive"))? {
            return Ok(());
        }
        socket.write_all(buffer).map_err(Error::io("cannot answer"))?;
    }
}

/// Warms up, measures, and tells the result.
pub(super) fn measure(socket: &mut Socket, config: &WorkerConfig) -> Result<(), Error> {
    let mut client = Client { ring: Ring::new(config.size), sequence: 0 };
    client.run(socket, config.warm_up(), |_| ())?;
    let mut latencies = Latencies::new();
    client.run(socket, config.duration(), |latency| latencies.record(latency))?;
    tell(&latencies.measured(client.sequence, config.duration()))
}

struct Client {
    ring: Ring,
    sequence: u64,
}

impl Client {
    fn run(
        &mut self,
        socket: &mut Socket,
        duration: Duration,
        mut record: impl FnMut(Duration),
    ) -> Result<(), Error> {
        let deadline = Instant::now() + duration;
        loop {
            let sequence = self.sequence.to_le_bytes();
            self.sequence += 1;
            let start = Instant::now();
            let message = self.ring.next();
            message[..SEQUENCE_BYTES].copy_from_slice(&sequence);
            socket.write_all(message).map_err(Error::io("cannot send"))?;
            let answer = self.ring.next();
            let whole =
                socket.read_exact(answer).map_err(Error::io("cannot receive the answer"))?;
            if !whole || answer[..SEQUENCE_BYTES] != sequence {
                return Err(Error::Broken(format!(
                    "message {} was not answered",
                    self.sequence - 1
                )));
            }
            let end = Instant::now();
            record(end - start);
            if end >= deadline {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::socket::tests::{KINDS, pair};
    use super::*;

    #[test]
    fn every_message_is_answered_and_timed() {
        for kind in KINDS {
            let (mut socket, mut server) = pair(kind);
            let echo = std::thread::spawn(move || serve(&mut server, 1 << 20));
            let mut client = Client { ring: Ring::new(1 << 20), sequence: 0 };
            let mut count = 0;
            client.run(&mut socket, Duration::from_millis(20), |_| count += 1).expect("run");
            assert_eq!(client.sequence, count);
            drop(socket);
            echo.join().expect("join").expect("echo");
        }
    }
}
