//! What people see: messages on stderr, colours only where a terminal shows them, logs.

use std::io::{IsTerminal, Write};
use tracing_subscriber::EnvFilter;

/// Writes a line to stdout. A reader that has gone is no failure of ours.
pub(super) fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}

/// Writes an error message to stderr.
pub(super) fn error(message: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = if is_colourful(&stderr) {
        writeln!(stderr, "\x1b[1;31merror:\x1b[0m {message}")
    } else {
        writeln!(stderr, "error: {message}")
    };
}

/// Writes a remark to stderr.
pub(super) fn hint(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{message}");
}

/// Sends logs to stderr, from `level` on unless `KRARUP_LOG` says otherwise.
pub(super) fn start_logging(level: &str) {
    let filter = EnvFilter::try_from_env("KRARUP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_colourful(&std::io::stderr()))
        .with_target(false)
        .finish();
    // Fails only when logging was started before, and then it goes on.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Whether colours are seen and wanted there.
pub(super) fn is_colourful(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
