//! The progress line of a demo run.

use std::io::{IsTerminal, Write};

/// Shows what is going on in one line that is written over; nothing unless stderr is a terminal.
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    /// A progress line, empty so far.
    pub(super) fn new() -> Self {
        Self { is_shown: std::io::stderr().is_terminal() }
    }

    /// Replaces the line.
    pub(super) fn show(&self, step: usize, steps: usize, text: &str) {
        if self.is_shown {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[2K[{step:>2}/{steps}] {text}").and(stderr.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}
