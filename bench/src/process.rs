//! A worker process as the coordinator sees it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::protocol::Event;

/// Lines of a worker's standard error and stray output that are kept for an error report.
const DIAGNOSTIC_LINES_MAX: usize = 20;
/// Pause between two looks at a worker that is about to end.
const END_LOOK_INTERVAL: Duration = Duration::from_millis(1);
/// Events that may wait for the coordinator; a worker says five in its life.
const EVENTS_MAX: usize = 64;

/// A started worker. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    events: Receiver<Result<Event, String>>,
    errors: Option<JoinHandle<VecDeque<String>>>,
}

impl WorkerProcess {
    /// Starts `command` with its three streams taken over. `name` is for errors.
    pub(crate) fn start(name: String, mut command: Command) -> Result<WorkerProcess, Error> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io(format!("cannot start {:?}", command.get_program())))?;
        let (sender, events) = sync_channel(EVENTS_MAX);
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines() {
                    let Ok(line) = line else { break };
                    // A BEAM prints warnings to standard output too: they are kept for errors.
                    let event = serde_json::from_str(&line).map_err(|_| line);
                    if sender.send(event).is_err() {
                        break;
                    }
                }
            });
        }
        let errors =
            child.stderr.take().map(|output| std::thread::spawn(move || last_lines(output)));
        let input = child.stdin.take();
        Ok(WorkerProcess { name, child, input, events, errors })
    }

    /// The number the system knows it by.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one line.
    pub(crate) fn write_line(&mut self, line: &str) -> Result<(), Error> {
        let sent = match &mut self.input {
            Some(input) => input
                .write_all(line.as_bytes())
                .and_then(|()| input.write_all(b"\n"))
                .and_then(|()| input.flush())
                .is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(self.failure("its input is closed".into())) }
    }

    /// Waits for the next event.
    pub(crate) fn event(&mut self, timeout: Duration) -> Result<Event, Error> {
        let deadline = Instant::now() + timeout;
        let mut stray = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let reason = match self.events.recv_timeout(left) {
                Ok(Ok(Event::Failed { reason })) => reason,
                Ok(Ok(event)) => return Ok(event),
                Ok(Err(line)) => {
                    if stray.len() < DIAGNOSTIC_LINES_MAX {
                        stray.push(line);
                    }
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {
                    format!("no answer within {:.0} s", timeout.as_secs_f64())
                }
                Err(RecvTimeoutError::Disconnected) => "it ended early".into(),
            };
            stray.insert(0, reason);
            return Err(self.failure(stray.join("\n  ")));
        }
    }

    /// Whether the process is gone.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The error for a worker that answered out of turn.
    pub(crate) fn unexpected(&mut self, expected: &str, came: &Event) -> Error {
        self.failure(format!("expected {expected}, came {came:?}"))
    }

    /// Closes the worker's input, which ends it, and waits until it is gone.
    pub(crate) fn finish(mut self, patience: Duration) {
        self.input = None;
        let deadline = Instant::now() + patience;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(END_LOOK_INTERVAL);
        }
    }

    /// Ends the process and adds what it wrote to standard error.
    pub(crate) fn failure(&mut self, reason: String) -> Error {
        self.end();
        let lines = self.errors.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let mut reason = reason;
        for line in lines {
            reason.push_str("\n  ");
            reason.push_str(&line);
        }
        Error::Worker { worker: self.name.clone(), reason }
    }

    /// Ends the process at once (`kill -9`), without waiting until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        self.child.kill().map_err(Error::io("cannot end a worker"))
    }

    fn end(&mut self) {
        self.input = None;
        // Both fail only for a process that is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.end();
    }
}

fn last_lines(output: impl Read) -> VecDeque<String> {
    let mut kept = VecDeque::with_capacity(DIAGNOSTIC_LINES_MAX);
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        if kept.len() == DIAGNOSTIC_LINES_MAX {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    kept
}
