//! The program that becomes a child: its command line, its life as a process of this host.

use std::io::{self, Read};
use std::process::{self, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use base64::Engine;
use krarup_transport::term::{Atom, Pid, Term};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{ChildBuilder, Style};
use crate::node::NameType;

/// How much of what a child prints is kept for an error.
const OUTPUT_BYTES_KEPT: usize = 4096;
/// How long the rest of what a child printed is waited for when it has ended. Programs that it has
/// started may hold its output open for ever.
const OUTPUT_TIME_MAX: Duration = Duration::from_secs(1);

/// Whom a child tells that it is there.
pub(super) struct Parent {
    pub(super) node: Atom,
    pub(super) name_type: NameType,
    pub(super) control: Pid,
    /// The registered name of the control process.
    pub(super) waiter: String,
    /// The cookie, if the child is to have it from its command line.
    pub(super) cookie: Option<String>,
}

impl ChildBuilder {
    /// The program and its arguments. OTP: `slave.erl`, `mk_cmd/5`, and `peer.erl`,
    /// `command_line/2`.
    pub(super) fn command_line(&self, name: &str, parent: &Parent) -> Vec<String> {
        let flag = match parent.name_type {
            NameType::Long => "-name",
            NameType::Short => "-sname",
        };
        let mut line = vec![self.program.clone(), flag.to_owned(), name.to_owned()];
        line.push("-noinput".to_owned());
        if let Some(cookie) = &parent.cookie {
            line.extend(["-setcookie".to_owned(), cookie.clone()]);
        }
        line.extend(self.arguments.iter().cloned());
        match self.style {
            Style::Slave => {
                let master = parent.node.as_str();
                // Not `-master`: it would make an Erlang node read and write files over here.
                let duty = ["-s", "slave", "slave_start", master];
                line.extend(duty.map(str::to_owned));
                line.push(parent.waiter.clone());
            }
            Style::Peer => {
                let mut pid = Vec::new();
                Term::Pid(parent.control.clone()).encode_versioned(&mut pid);
                let origin = base64::engine::general_purpose::STANDARD.encode(pid);
                let duty = ["-peer_detached", "-user", "peer", "-origin"];
                line.extend(duty.map(str::to_owned));
                line.push(origin);
            }
        }
        line
    }
}

/// The command line for another host's shell.
pub(super) fn by_remote_shell(shell: &[String], host: &str, line: &[String]) -> Vec<String> {
    let quoted: Vec<String> =
        line.iter().map(|argument| format!("'{}'", argument.replace('\'', r"'\''"))).collect();
    shell.iter().cloned().chain([host.to_owned(), quoted.join(" ")]).collect()
}

/// A running program.
#[derive(Clone, Debug)]
pub(super) struct Running {
    process: u32,
    output: Arc<Mutex<Vec<u8>>>,
    ended: Arc<Mutex<Option<String>>>,
}

impl Running {
    /// Starts a program; `told` is called when it has ended and what it printed is read.
    pub(super) fn start(line: &[String], told: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (program, arguments) =
            line.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = Arc::<Mutex<Vec<u8>>>::default();
        let ended = Arc::<Mutex<Option<String>>>::default();
        let running = Running { process: child.id(), output, ended };
        let outputs = (child.stdout.take(), child.stderr.take());
        if let Err(error) = running.attend(child, outputs, told) {
            // Without threads for it nobody would ever hear of it.
            running.kill();
            return Err(error);
        }
        Ok(running)
    }

    /// Has threads read what the program prints and wait for its end.
    fn attend(
        &self,
        mut child: process::Child,
        (stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>),
        told: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (reading, all_read) = mpsc::channel();
        if let Some(stdout) = stdout {
            keep(stdout, Arc::clone(&self.output), reading.clone())?;
        }
        if let Some(stderr) = stderr {
            keep(stderr, Arc::clone(&self.output), reading)?;
        }
        let ended = Arc::clone(&self.ended);
        let wait = move || {
            await_end(child.id());
            {
                // Its number is free for others from the wait on, so nobody may kill it meanwhile.
                let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
                let status = match child.wait() {
                    Ok(status) => status.to_string(),
                    Err(error) => error.to_string(),
                };
                *ended = Some(status);
            }
            // Nothing is ever sent: it ends when both readers have gone.
            let _ = all_read.recv_timeout(OUTPUT_TIME_MAX);
            told();
        };
        thread::Builder::new().name("krarup-child".into()).spawn(wait).map(drop)
    }

    /// How it ended, if it has.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it at once, unless it has ended.
    pub(super) fn kill(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // While the lock is held nobody else can have its number: it is given back under the lock.
        if ended.is_none()
            && let Some(process) =
                i32::try_from(self.process).ok().and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }

    /// The end of what it printed.
    pub(super) fn output(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&output).into_owned()
    }
}

/// Waits until a program has ended, and leaves it its number.
fn await_end(process: u32) {
    let Some(process) = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw) else {
        return;
    };
    let left = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(process), left).is_err_and(|error| error == Errno::INTR) {}
}

/// Reads what a program prints, so that it never waits for a reader, and keeps the end of it.
/// `reading` is dropped when all is read.
fn keep(
    mut from: impl Read + Send + 'static,
    kept: Arc<Mutex<Vec<u8>>>,
    reading: mpsc::Sender<()>,
) -> io::Result<()> {
    let read = move || {
        let _reading = reading;
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&buffer[..count]);
            let surplus = kept.len().saturating_sub(OUTPUT_BYTES_KEPT);
            kept.drain(..surplus);
        }
    };
    thread::Builder::new().name("krarup-child".into()).spawn(read).map(drop)
}

#[cfg(test)]
mod tests {
    use krarup_transport::term::Creation;

    use super::*;
    use crate::child::Child;

    fn parent(cookie: Option<&str>) -> Parent {
        let node = Atom::from_static("m@h");
        Parent {
            control: Pid { node: node.clone(), id: 1, serial: 0, creation: Creation(4) },
            node,
            name_type: NameType::Short,
            waiter: "slave_waiter_1".to_owned(),
            cookie: cookie.map(str::to_owned),
        }
    }

    #[test]
    fn command_lines_are_those_of_otp() {
        let slave = Child::builder("erl", "c").style(Style::Slave).args(["-hidden"]);
        assert_eq!(
            slave.command_line("c@h", &parent(Some("x"))).join(" "),
            "erl -sname c@h -noinput -setcookie x -hidden -s slave slave_start m@h slave_waiter_1"
        );
        let line = Child::builder("erl", "c").command_line("c@h", &parent(None)).join(" ");
        let head = "erl -sname c@h -noinput -peer_detached -user peer -origin ";
        assert!(line.starts_with(head), "{line}");
    }

    #[test]
    fn whoever_hears_of_the_end_sees_all_that_was_printed() {
        // The rest comes from a process of its own, which outlives the program.
        let script = "(sleep 0.1; echo late) & echo early; exit 3";
        let line = ["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        let (told, hears) = mpsc::channel();
        let running =
            Running::start(&line, move || told.send(()).unwrap_or(())).expect("it starts");
        hears.recv().expect("it ends");
        assert_eq!(running.ended().as_deref(), Some("exit status: 3"));
        assert_eq!(running.output(), "early\nlate\n");
    }

    #[test]
    fn a_program_is_killed_while_it_runs_and_has_its_number_no_more_when_it_has_ended() {
        let line = ["/bin/sleep".to_owned(), "600".to_owned()];
        let (told, hears) = mpsc::channel();
        let running =
            Running::start(&line, move || told.send(()).unwrap_or(())).expect("it starts");
        assert_eq!(running.ended(), None);
        running.kill();
        hears.recv_timeout(Duration::from_secs(30)).expect("it ends");
        assert!(running.ended().is_some_and(|status| status.starts_with("signal: 9")));
        let process = i32::try_from(running.process).ok().and_then(rustix::process::Pid::from_raw);
        let is_there = rustix::process::test_kill_process(process.expect("its number"));
        assert_eq!(is_there, Err(Errno::SRCH));
    }

    #[test]
    fn output_that_stays_open_keeps_nobody_from_hearing_of_the_end() {
        let line = ["/bin/sh".to_owned(), "-c".to_owned(), "sleep 60 & echo $!".to_owned()];
        let (told, hears) = mpsc::channel();
        let running =
            Running::start(&line, move || told.send(()).unwrap_or(())).expect("it starts");
        hears.recv_timeout(Duration::from_secs(30)).expect("it ends");
        let sleeper = running.output().trim().parse().ok();
        let sleeper = sleeper.and_then(rustix::process::Pid::from_raw).expect("its number");
        let _ = rustix::process::kill_process(sleeper, rustix::process::Signal::KILL);
    }

    #[test]
    fn what_a_remote_shell_gets_is_one_word_for_each_argument() {
        let shell = ["ssh".to_owned(), "-oBatchMode=yes".to_owned()];
        let line = ["erl".to_owned(), "it's".to_owned()];
        let command = by_remote_shell(&shell, "h", &line);
        assert_eq!(command, ["ssh", "-oBatchMode=yes", "h", r"'erl' 'it'\''s'"]);
    }
}
