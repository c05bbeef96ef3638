//! `krarup monitor`: `net_kernel:monitor_nodes/2` from the shell.

use super::{Failure, client, output};
use krarup::discovery::{Discovery, Source};
use krarup::net_kernel::{NodeMonitorOptions, NodeTypes};
use krarup::{Node, Signal};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime};

#[derive(clap::Args)]
#[command(mut_arg("timeout", |timeout| timeout.help("End after so many seconds")))]
pub(super) struct Arguments {
    /// The nodes, such as shop@127.0.0.1
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,

    /// End after so many lines
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    #[command(flatten)]
    client: client::Flags,

    /// Print a line of JSON for each event
    #[arg(long)]
    json: bool,
}

/// Runs the verb. It ends with the count, with the time, or not at all.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    output::start_logging("warn");
    let Some(first) = arguments.nodes.first() else { return Ok(()) };
    let own = client::start(&arguments.client, first)?;
    let outcome = watch(&own, arguments);
    own.stop().wait();
    outcome
}

fn watch(own: &Node, arguments: &Arguments) -> Result<(), Failure> {
    let deadline = arguments.client.stated_timeout().map(|limit| Instant::now() + limit);
    let mut mailbox = own.mailbox(None).wait().map_err(Failure::of)?;
    let options = NodeMonitorOptions::default().node_type(NodeTypes::All).nodedown_reason();
    mailbox.monitor_nodes_with(true, options);
    let sources = vec![Source::Static(arguments.nodes.clone())];
    own.discover(Discovery::new(sources)).wait().map_err(Failure::of)?;
    let mut printed = 0;
    while arguments.count.is_none_or(|count| printed < count) {
        let left = match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::from_secs(3600),
        };
        if left.is_zero() {
            return match arguments.count {
                Some(count) => {
                    Err(Failure::Failed(format!("{printed} of {count} events came in time")))
                }
                None => Ok(()),
            };
        }
        let (node, event, reason) = match mailbox.recv_timeout(left).map_err(Failure::of)? {
            Some(Signal::NodeUp(up)) => (up.node, "nodeup", None),
            Some(Signal::NodeDown(down)) => {
                (down.node, "nodedown", Some(down.reason.atom().as_str().to_owned()))
            }
            _ => continue,
        };
        let time = timestamp(SystemTime::now());
        if arguments.json {
            let mut all = json!({ "time": time, "event": event, "node": node.as_str() });
            if let Some(reason) = reason {
                all["reason"] = reason.into();
            }
            output::line(&all.to_string());
        } else {
            let reason = reason.map(|reason| format!(" {reason}")).unwrap_or_default();
            output::line(&format!("{time} {event} {}{reason}", node.as_str()));
        }
        printed += 1;
    }
    Ok(())
}

/// A time as in RFC 3339, in UTC.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, milliseconds) = (since.as_secs(), since.subsec_millis());
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    loop {
        let length = 365 + u64::from(is_leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute) = (second / 3600, second % 3600 / 60);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}.{milliseconds:03}Z",
        days + 1,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds| timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(at(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(at(4_102_444_799_000), "2099-12-31T23:59:59.000Z");
    }
}
