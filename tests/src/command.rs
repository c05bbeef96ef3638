//! A command that runs to its end.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::until;

/// How a command ended, and what it said.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code; nothing when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Runs a command without input.
    ///
    /// # Panics
    ///
    /// When it does not end in time; it is killed then.
    pub fn of(command: &mut Command, within: Duration) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn();
        let mut child = Killed(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let stdout = child.0.stdout.take().map(read_all);
        let stderr = child.0.stderr.take().map(read_all);
        let status = until(&format!("{command:?} ends"), within, || {
            child.0.try_wait().expect("our own child")
        });
        let text = |reader: Option<std::thread::JoinHandle<Vec<u8>>>| {
            let bytes = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Checks the exit code, and shows everything when it is another.
    ///
    /// # Panics
    ///
    /// When it is not `code`.
    #[must_use]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// A child that does not outlive the test, however it ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only for a process that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read_all(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came until the stream broke is what there is to show.
        let _ = stream.read_to_end(&mut bytes);
        bytes
    })
}
