//! An open loop over a plain socket: messages leave when they are due, whatever became of those
//! before them. The side that sends always polls, so that what it measures is not its own sleep.

use std::time::{Duration, Instant};

use super::Socket;
use super::echo::{Cutter, Unsent};
use crate::error::Error;
use crate::protocol::{WorkerConfig, tell};
use crate::schedule::Schedule;
use crate::worker::Latencies;

/// Bytes of the sequence number at the start of each message.
const SEQUENCE_BYTES: usize = 8;
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends by the schedule, and tells how long after its due time each answer came.
pub(super) fn measure(socket: &mut Socket, config: &WorkerConfig) -> Result<(), Error> {
    socket.start_polling().map_err(Error::io("cannot make the socket poll"))?;
    let mut cutter = Cutter::new(config.size);
    let mut unsent = Unsent::default();
    let mut message = vec![b'k'; config.size];
    let mut latencies = Latencies::new();
    let schedule = Schedule::start(Instant::now(), config);
    let deadline = schedule.end() + PATIENCE;
    let (mut sent, mut received) = (0, 0);
    let mut now = Instant::now();
    while received < schedule.total() {
        let due = schedule.due(now);
        let mut batch = Vec::new();
        while sent < due {
            message[..SEQUENCE_BYTES].copy_from_slice(&sent.to_le_bytes());
            batch.extend_from_slice(&message);
            sent += 1;
        }
        if !batch.is_empty() || !unsent.is_empty() {
            unsent.send(socket, &batch).map_err(Error::io("cannot send"))?;
        }
        let count = socket.try_read(cutter.spare()).map_err(Error::io("cannot receive"))?;
        now = Instant::now();
        let Some(count) = count else {
            if now > deadline {
                return Err(Error::Broken(format!(
                    "{} of {sent} messages were not answered",
                    sent - received
                )));
            }
            continue;
        };
        if count == 0 {
            return Err(Error::Broken("the other side ended".into()));
        }
        cutter.commit(count, |message| {
            if message[..SEQUENCE_BYTES] != received.to_le_bytes() {
                return Err(Error::Broken(format!("message {received} was not answered in turn")));
            }
            if let Some(latency) = schedule.latency(received, now) {
                latencies.record(latency);
            }
            received += 1;
            Ok(())
        })?;
    }
    tell(&latencies.measured(received, schedule.measured_until(now)))
}
