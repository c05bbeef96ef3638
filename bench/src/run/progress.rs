//! Where a long run is: one line on a terminal's standard error, rewritten at each step.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use crate::case::Case;

/// Elsewhere than on a terminal, a run that asked for it says this often where it is.
const LINE_INTERVAL: Duration = Duration::from_secs(20);

/// Counts the steps of a run.
#[derive(Debug)]
pub(crate) struct Progress {
    total: usize,
    done: usize,
    terminal: bool,
    /// When to write the next line where there is no terminal; `None` for never.
    next_line: Option<Instant>,
    start: Instant,
}

impl Progress {
    /// Nothing is shown where there is no terminal.
    pub(crate) fn new(total: usize) -> Progress {
        let (terminal, start) = (std::io::stderr().is_terminal(), Instant::now());
        Progress { total, done: 0, terminal, next_line: None, start }
    }

    /// Where there is no terminal, lines say now and then where the run is.
    pub(crate) fn with_lines(total: usize) -> Progress {
        let progress = Progress::new(total);
        Progress { next_line: Some(progress.start), ..progress }
    }

    /// The next measurement begins.
    pub(crate) fn step(&mut self, case: &Case, repetition: u32) {
        self.done += 1;
        let group = case.group(case.work.axis());
        let line = format!(
            "{}/{} {} {group} {}, repetition {}",
            self.done,
            self.total,
            case.work.name(),
            case.peer,
            repetition + 1
        );
        self.say(&line);
    }

    fn say(&mut self, line: &str) {
        let now = Instant::now();
        if self.terminal {
            eprint!("\r\x1b[K{line}");
        } else if self.next_line.is_some_and(|next| now >= next) {
            self.next_line = Some(now + LINE_INTERVAL);
            eprintln!("{:>5} s: {line}", (now - self.start).as_secs());
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
