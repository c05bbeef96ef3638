//! A child process with its output kept, that never outlives the test.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::until;

/// Lines kept per process; older ones are forgotten.
const LINES_KEPT_MAX: usize = 20_000;
/// Lines shown of each process when its test fails.
const LINES_SHOWN_MAX: usize = 60;

/// What a process has printed, shared with the threads that read it.
#[derive(Default)]
struct Output {
    state: Mutex<OutputState>,
    changed: Condvar,
}

#[derive(Default)]
struct OutputState {
    lines: VecDeque<String>,
    /// Lines forgotten so far: the number of the first line in `lines`.
    forgotten: usize,
    streams_open: usize,
}

impl Output {
    /// The state, also after a panic of the test while it held the lock: it is never left half
    /// changed, and what was printed is most wanted then.
    fn lock(&self) -> MutexGuard<'_, OutputState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change of the state, or for the time to pass.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, OutputState>,
        within: Duration,
    ) -> MutexGuard<'a, OutputState> {
        self.changed.wait_timeout(state, within).unwrap_or_else(PoisonError::into_inner).0
    }
}

/// A running child process. Dropping it kills it (`SIGKILL`) and collects it; when the test is
/// failing, its last lines are printed first.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
}

impl Process {
    /// Starts a command with all three standard streams in the test's hands.
    ///
    /// # Panics
    ///
    /// When the command cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Arc::new(Output::default());
        if let Some(stdout) = child.stdout.take() {
            collect(&output, stdout);
        }
        if let Some(stderr) = child.stderr.take() {
            collect(&output, stderr);
        }
        let stdin = child.stdin.take();
        Self { name: name.to_owned(), child, stdin, output }
    }

    /// The name given at the start, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes one line to the process' standard input.
    ///
    /// # Panics
    ///
    /// When the process has closed it.
    pub fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open until it is closed");
        let written = stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush());
        if let Err(error) = written {
            panic!("{} takes no more input: {error}", self.name);
        }
    }

    /// The number of lines printed so far: a place to start [`Process::line_after`] from.
    pub fn lines_printed(&self) -> usize {
        let state = self.output.lock();
        state.forgotten + state.lines.len()
    }

    /// Waits for the first line from number `start` on for which `pick` yields something.
    ///
    /// # Panics
    ///
    /// When there is none within the time, or the process has closed its output without one.
    pub fn line_after<T>(
        &self,
        start: usize,
        what: &str,
        within: Duration,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + within;
        let mut next = start;
        let mut state = self.output.lock();
        loop {
            let from = next.max(state.forgotten);
            for line in state.lines.iter().skip(from - state.forgotten) {
                if let Some(value) = pick(line) {
                    return value;
                }
            }
            next = state.forgotten + state.lines.len();
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(state.streams_open > 0, "{} ended without printing {what}", self.name);
            assert!(!left.is_zero(), "{} did not print {what} within {within:?}", self.name);
            state = self.output.wait(state, left);
        }
    }

    /// Waits for a line that holds `text`, among all lines so far and to come.
    ///
    /// # Panics
    ///
    /// As [`Process::line_after`].
    pub fn wait_line(&self, text: &str, within: Duration) -> String {
        self.line_after(0, text, within, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Everything kept of what the process printed, on both streams.
    pub fn output(&self) -> String {
        let state = self.output.lock();
        state.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// Sends a signal by its name (`TERM`, `STOP`, `CONT`, `KILL`).
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = run(Command::new("kill").arg(format!("-{signal}")).arg(pid));
        assert!(sent.success(), "{} cannot be sent SIG{signal}", self.name);
    }

    /// Waits for the process to end and returns how it did.
    ///
    /// # Panics
    ///
    /// When it still runs after the time.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name);
        let child = &mut self.child;
        let status = until(&what, within, || child.try_wait().expect("our own child"));
        // What it printed last may still be on the way through the reading threads.
        let deadline = Instant::now() + within;
        let mut state = self.output.lock();
        while state.streams_open > 0 && Instant::now() < deadline {
            state = self.output.wait(state, Duration::from_millis(100));
        }
        status
    }

    /// Closes standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Kills the process at once (`SIGKILL`) and collects it.
    pub fn kill(&mut self) {
        // Both fail only for a process that has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Memory held now, in KiB (`VmRSS`).
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most memory held at any time so far, in KiB (`VmHWM`).
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn resident_peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{} has ended: {path}: {error}", self.name));
        status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or_else(|| panic!("{} is a zombie: {path} has no {field}", self.name))
    }

    /// Open file descriptors now.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn descriptors(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        match std::fs::read_dir(&path) {
            Ok(entries) => entries.count(),
            Err(error) => panic!("{} has ended: {path}: {error}", self.name),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            eprintln!("---- last lines of {}:", self.name);
            for line in &lines[lines.len().saturating_sub(LINES_SHOWN_MAX)..] {
                eprintln!("{line}");
            }
        }
        self.kill();
    }
}

/// Runs a command to its end without output.
fn run(command: &mut Command) -> ExitStatus {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// Reads a stream line by line into the output, on a thread that ends with the stream.
fn collect(output: &Arc<Output>, stream: impl Read + Send + 'static) {
    output.lock().streams_open += 1;
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = reader.read_until(b'\n', &mut bytes);
            let mut state = output.lock();
            match read {
                Ok(0) | Err(_) => {
                    state.streams_open -= 1;
                    output.changed.notify_all();
                    return;
                }
                Ok(_) => {
                    let line = String::from_utf8_lossy(&bytes);
                    state.lines.push_back(line.trim_end_matches(['\n', '\r']).to_owned());
                    if state.lines.len() > LINES_KEPT_MAX {
                        state.lines.pop_front();
                        state.forgotten += 1;
                    }
                    output.changed.notify_all();
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn lines_of_both_streams_are_kept_and_found() {
        let mut process =
            Process::start("sh", Command::new("sh").arg("-c").arg("cat; echo end >&2"));
        process.write_line("first");
        assert_eq!(process.wait_line("irs", SOON), "first");
        process.close_input();
        assert!(process.wait_exit(SOON).success());
        assert_eq!(process.wait_line("end", SOON), "end");
    }

    #[test]
    fn a_stopped_process_is_killed_with_its_owner() {
        let process = Process::start("sleep", Command::new("sleep").arg("1000"));
        let pid = process.pid();
        process.signal("STOP");
        assert!(process.descriptors() >= 3);
        drop(process);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
