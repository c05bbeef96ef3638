//! `krarup top`: what a node's links do, again and again.

mod sample;

use self::sample::{Row, Sample};
use super::{Failure, client, output};
use krarup::term::Term;
use krarup::{Node, RpcError};
use serde_json::json;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The node, such as shop@127.0.0.1
    node: String,

    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    interval: f64,

    /// How many tables to print; without it until it is interrupted
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,

    #[command(flatten)]
    client: client::Flags,

    /// Print JSON, one line for each table
    #[arg(long)]
    json: bool,
}

fn interval(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("expected 0.1 to 3600 seconds, got {text:?}")),
    }
}

/// Runs the verb.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    output::start_logging("warn,krarup::shard::connect=info");
    let own = client::start(&arguments.client, &arguments.node)?;
    let outcome = watch(arguments, &own);
    own.stop().wait();
    outcome
}

fn watch(arguments: &Arguments, own: &Node) -> Result<(), Failure> {
    let interval = Duration::from_secs_f64(arguments.interval);
    let redraws = !arguments.json && std::io::stdout().is_terminal();
    let mut last = look(arguments, own)?;
    let mut due = Instant::now();
    let mut printed = 0;
    while arguments.count.is_none_or(|count| printed < count) {
        due += interval;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now = look(arguments, own)?;
        // This command is connected, too, and of no interest.
        let this = own.name().map(|name| name.as_str().to_owned()).unwrap_or_default();
        let mut rows = now.since(&last);
        rows.retain(|row| row.node != this);
        if arguments.json {
            output::line(&as_json(&arguments.node, &now, &rows));
        } else {
            let clear = if redraws { "\x1b[H\x1b[2J" } else { "" };
            output::line(&format!("{clear}{}", table(&arguments.node, &now, &rows)));
        }
        last = now;
        printed += 1;
    }
    Ok(())
}

fn look(arguments: &Arguments, own: &Node) -> Result<Sample, Failure> {
    let ask = |function| {
        let timeout = arguments.client.timeout();
        own.rpc::<Term>(&arguments.node, "krarup", function, (), timeout).wait()
    };
    let foreign = || {
        Failure::Failed(format!(
            "{} is no Krarup node with services: it does not know krarup:metrics/0",
            arguments.node
        ))
    };
    let asked = |answer: Result<Term, RpcError>| match answer {
        Err(RpcError::Error { reason, .. }) if reason == Term::atom("undef") => Err(foreign()),
        answer => answer.map_err(Failure::of),
    };
    let (info, metrics) = (asked(ask("info"))?, asked(ask("metrics"))?);
    Sample::read(&info, &metrics).ok_or_else(foreign)
}

fn as_json(node: &str, sample: &Sample, rows: &[Row]) -> String {
    json!({
        "node": node,
        "uptime_ms": u64::try_from(sample.uptime.as_millis()).unwrap_or(u64::MAX),
        "shards": sample.shards,
        "processes": sample.processes,
        "mailbox_bytes": sample.mailbox_bytes,
        "long_turns": sample.long_turns,
        "kicks": sample.kicks,
        "links": rows,
    })
    .to_string()
}

fn table(node: &str, sample: &Sample, rows: &[Row]) -> String {
    let Sample { uptime, shards, processes, mailbox_bytes, long_turns, kicks, .. } = sample;
    let mut text = format!(
        "{node}  up {}  {shards} shards  {processes} processes  {}B in mailboxes  \
         {long_turns} long turns  {kicks} kicks\n",
        time(*uptime),
        short(*mailbox_bytes as f64),
    );
    let width = rows.iter().map(|row| row.node.len()).max().unwrap_or(0).max(4);
    let _ = write!(
        text,
        "{:width$} {:>4} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>5} {:>7} {:>6} {:>8}",
        "node",
        "lane",
        "shard",
        "in B/s",
        "out B/s",
        "in /s",
        "out /s",
        "queued",
        "busy",
        "resumes",
        "silent",
        "last"
    );
    for row in rows {
        let lane = row.lane.map_or_else(|| "-".to_owned(), |lane| lane.to_string());
        let _ = write!(
            text,
            "\n{:width$} {lane:>4} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>4.0}% {:>7} {:>6} {:>8}",
            row.node,
            row.shard,
            short(row.received_bytes_per_s),
            short(row.sent_bytes_per_s),
            short(row.received_signals_per_s),
            short(row.sent_signals_per_s),
            short(row.queued_bytes as f64),
            row.busy * 100.0,
            row.resumes,
            row.silent_intervals,
            format!("{:.1} s", row.last_received_ms as f64 / 1000.0),
        );
    }
    text
}

/// A number in at most six characters.
fn short(number: f64) -> String {
    for (unit, name) in [(1e9, " G"), (1e6, " M"), (1e3, " k")] {
        if number >= unit {
            return format!("{:.1}{name}", number / unit);
        }
    }
    format!("{number:.0}")
}

fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        (days, hours, ..) => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_stay_short() {
        for (number, text) in [(0.0, "0"), (999.4, "999"), (1500.0, "1.5 k"), (2.5e9, "2.5 G")] {
            assert_eq!(short(number), text);
        }
        for (seconds, text) in [(5, "0m05s"), (3700, "1h01m"), (200_000, "2d07h")] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
    }
}
