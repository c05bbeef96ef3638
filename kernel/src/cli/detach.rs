//! Going into the background, for `krarup epmd -daemon` and `krarup node --detached`.
//!
//! The command starts itself again, in a session of its own and without the terminal. The first
//! process waits for one line that says the second works, and ends; so whoever called it can rely
//! on the service, and gets the error otherwise.

use super::{Failure, output};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set for the process in the background.
const MARK: &str = "KRARUP_DETACHED";

/// Whether this process is the one in the background.
pub(super) fn is_detached() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts this command again in the background with the same arguments, and gives the line it
/// announces itself with.
///
/// # Errors
///
/// What the process in the background says on stderr when it ends before it works.
pub(super) fn start() -> Result<String, Failure> {
    let failed =
        |error: std::io::Error| Failure::Failed(format!("going into the background: {error}"));
    let mut arguments = std::env::args_os();
    let name = arguments.next();
    // The kernel knows the path, but may not be asked for it in a root without /proc.
    let path = std::env::current_exe().or_else(|error| name.clone().map(Into::into).ok_or(error));
    let mut command = Command::new(path.map_err(failed)?);
    // Under another name it is another command: epmd.
    if let Some(name) = name {
        command.arg0(name);
    }
    let mut child = command
        .args(arguments)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    }
    if !line.is_empty() {
        return Ok(line.trim_end().to_owned());
    }
    let mut message = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut message).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        output::hint(message.trim_end());
        return Ok(String::new());
    }
    let message = message.trim_end();
    Err(Failure::Failed(message.strip_prefix("error: ").unwrap_or(message).to_owned()))
}

/// Leaves the session of the process that started this one. Called early in the background.
pub(super) fn leave_session() {
    // Fails for the leader of a process group, which a child just started is not.
    let _ = rustix::process::setsid();
}

/// Tells the waiting process that this one works, and lets go of everything it shares with it.
pub(super) fn announce(line: &str) {
    output::line(line);
    if let Ok(nowhere) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&nowhere);
        let _ = rustix::stdio::dup2_stderr(&nowhere);
    }
    // Or the directory could not be unmounted while this process lives.
    let _ = std::env::set_current_dir("/");
}
