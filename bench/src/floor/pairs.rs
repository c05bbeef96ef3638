//! Many ping-pongs over one plain socket: everything that came is answered in one write.

use std::time::{Duration, Instant};

use super::Socket;
use super::echo::{Cutter, Unsent};
use crate::error::Error;
use crate::protocol::{WorkerConfig, tell};
use crate::worker::Latencies;

/// Each message starts with the number of its pair (4 bytes) and its sequence number (8 bytes).
const HEADER_BYTES: usize = 12;

/// Warms up, measures, and tells the result.
pub(super) fn measure(socket: &mut Socket, config: &WorkerConfig) -> Result<(), Error> {
    let (warm_up, duration) = (config.warm_up(), config.duration());
    let mut pairs = Pairs::new(config.count as usize, config.size);
    let start = Instant::now();
    pairs.run(socket, start + warm_up, start + warm_up + duration)?;
    tell(&pairs.latencies.measured(pairs.total, duration))
}

struct Pairs {
    /// The message that each pair waits for, and when it was sent.
    under_way: Vec<(u64, Instant)>,
    size: usize,
    latencies: Latencies,
    total: u64,
}

impl Pairs {
    fn new(count: usize, size: usize) -> Pairs {
        let under_way = vec![(0, Instant::now()); count];
        Pairs { under_way, size, latencies: Latencies::new(), total: 0 }
    }

    fn run(&mut self, socket: &mut Socket, warm: Instant, end: Instant) -> Result<(), Error> {
        let mut cutter = Cutter::new(self.size);
        let mut unsent = Unsent::default();
        let mut batch = self.first_messages();
        unsent.send(socket, &batch).map_err(Error::io("cannot send"))?;
        loop {
            if !unsent.is_empty() {
                socket.wait(true).map_err(Error::io("cannot wait"))?;
                unsent.send(socket, &[]).map_err(Error::io("cannot send"))?;
            }
            let count = socket.read(cutter.spare()).map_err(Error::io("cannot receive"))?;
            if count == 0 {
                return Err(Error::Broken("the other side ended".into()));
            }
            let now = Instant::now();
            batch.clear();
            cutter.commit(count, |message| {
                self.answer(message, now, now >= warm && now < end)?;
                batch.extend_from_slice(message);
                Ok::<(), Error>(())
            })?;
            if now >= end {
                return Ok(());
            }
            unsent.send(socket, &batch).map_err(Error::io("cannot send"))?;
        }
    }

    fn first_messages(&mut self) -> Vec<u8> {
        let mut batch = vec![b'k'; self.size * self.under_way.len()];
        let now = Instant::now();
        let slots = self.under_way.iter_mut().zip(0_u32..);
        for (message, (slot, pair)) in batch.chunks_exact_mut(self.size).zip(slots) {
            message[..4].copy_from_slice(&pair.to_le_bytes());
            message[4..HEADER_BYTES].copy_from_slice(&0_u64.to_le_bytes());
            *slot = (0, now);
        }
        batch
    }

    /// Checks an answer and makes the next message of it, in place.
    fn answer(&mut self, message: &mut [u8], now: Instant, records: bool) -> Result<(), Error> {
        let broken = || Error::Broken("an answer that nobody waits for".into());
        let (pair, rest) = message.split_first_chunk::<4>().ok_or_else(broken)?;
        let (sequence, _) = rest.split_first_chunk::<8>().ok_or_else(broken)?;
        let pair = u32::from_le_bytes(*pair) as usize;
        let sequence = u64::from_le_bytes(*sequence);
        let (expected, sent) = self.under_way.get_mut(pair).ok_or_else(broken)?;
        if sequence != *expected {
            return Err(Error::Broken(format!(
                "pair {pair}: expected message {expected}, came {sequence}"
            )));
        }
        self.total += 1;
        if records {
            self.latencies
                .record(now.saturating_duration_since(*sent).max(Duration::from_nanos(1)));
        }
        *expected += 1;
        *sent = now;
        message[4..HEADER_BYTES].copy_from_slice(&expected.to_le_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::echo;
    use super::super::socket::tests::{KINDS, pair};
    use super::*;

    #[test]
    fn every_pair_has_its_turn() {
        for kind in KINDS {
            let (mut client, mut server) = pair(kind);
            let serving = std::thread::spawn(move || echo::serve(&mut server));
            let mut pairs = Pairs::new(100, 64);
            let start = Instant::now();
            pairs.run(&mut client, start, start + Duration::from_millis(20)).expect("run");
            assert!(pairs.total >= pairs.latencies.count() && pairs.total >= 100);
            let least = pairs.under_way.iter().map(|(next, _)| *next).min();
            assert!(least > Some(0), "{kind:?}: a pair never had an answer");
            drop(client);
            serving.join().expect("join").expect("echo");
        }
    }

    #[test]
    fn a_repeated_answer_is_noticed() {
        let mut pairs = Pairs::new(1, 16);
        let mut message = pairs.first_messages();
        let mut again = message.clone();
        pairs.answer(&mut message, Instant::now(), true).expect("the first");
        assert!(pairs.answer(&mut again, Instant::now(), true).is_err());
    }
}
