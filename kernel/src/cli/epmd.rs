//! `krarup epmd`: takes the place of OTP's `epmd`, with its flags and environment.

use super::{Failure, detach, output};
use krarup::epmd::client::{self, ClientError, Killed, Stopped};
use krarup::epmd::{Server, ServerConfig};
use krarup_transport::epmd::client as machine;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub(super) const HELP: &str = "\
Run the Erlang Port Mapper Daemon, or talk to the one that runs

Usage: krarup epmd [-d] [-daemon] [-port N] [-address LIST] [-relaxed_command_check]
                   [-packet_timeout SECONDS]
       krarup epmd [-port N] -names | -kill | -stop NAME

  -daemon                    run in the background
  -port N                    the port, 4369 unless set (ERL_EPMD_PORT)
  -address LIST              addresses to listen on beside loopback, with commas between
                             (ERL_EPMD_ADDRESS); all unless set
  -relaxed_command_check     allow -kill while nodes are registered, and -stop
                             (ERL_EPMD_RELAXED_COMMAND_CHECK)
  -packet_timeout SECONDS    time a connection has for its request, 60 unless set
  -d                         log what happens; more of them log more
  -names                     list the registered nodes
  -kill                      end the daemon
  -stop NAME                 unregister a node; the daemon must allow it
";

/// How long a running epmd may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, PartialEq, Eq)]
enum Task {
    Serve,
    Names,
    Kill,
    Stop(String),
    Help,
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    task: Task,
    daemon: bool,
    debug: usize,
    port: u16,
    addresses: Vec<IpAddr>,
    relaxed_command_check: bool,
    packet_timeout: Duration,
}

/// Runs the verb with the arguments that follow it.
pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    let options = parse(arguments, environment).map_err(Failure::Usage)?;
    let epmd = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), options.port);
    match &options.task {
        Task::Help => {
            output::line(HELP.trim_end());
            Ok(())
        }
        Task::Names => {
            let list = client::names(epmd, ANSWER_LIMIT).map_err(unreachable)?;
            output::line(&super::names::text(&list));
            Ok(())
        }
        Task::Kill => match client::kill(epmd, ANSWER_LIMIT).map_err(unreachable)? {
            Killed::Yes => {
                output::line("Killed");
                Ok(())
            }
            Killed::NodesAlive => {
                output::line("Killing not allowed - living nodes in database.");
                Err(Failure::Answered)
            }
        },
        Task::Stop(name) => match client::stop(epmd, name, ANSWER_LIMIT) {
            Ok(Stopped::Yes) => {
                output::line("STOPPED");
                Ok(())
            }
            Ok(Stopped::Unknown) => {
                output::line("NOEXIST");
                Err(Failure::Answered)
            }
            // It closes without a word when it may not.
            Err(ClientError::Answer { source: machine::ClientError::Closed, .. }) => {
                Err(Failure::Failed(
                    "epmd: local epmd responded with <>; -stop needs a daemon that was started \
                     with -relaxed_command_check"
                        .into(),
                ))
            }
            Err(error) => Err(unreachable(error)),
        },
        Task::Serve if options.daemon && !detach::is_detached() => detach::start().map(|_| ()),
        Task::Serve => serve(&options, epmd),
    }
}

fn serve(options: &Options, epmd: SocketAddr) -> Result<(), Failure> {
    if options.daemon {
        detach::leave_session();
    }
    output::start_logging(match options.debug {
        0 => "warn",
        1 => "debug",
        _ => "trace",
    });
    let files = krarup_tuning::host::raise_open_files_max().unwrap_or(u64::MAX);
    let config = ServerConfig {
        port: options.port,
        addresses: options.addresses.clone(),
        relaxed_command_check: options.relaxed_command_check,
        packet_timeout: options.packet_timeout,
        // The rest is for nodes, whose connections stay.
        pending_max: usize::try_from(files / 2).unwrap_or(usize::MAX).clamp(16, 65_536),
        // OTP: epmd remembers fewer names with -d, so that reuse shows.
        remembered_max: if options.debug > 0 { 5 } else { ServerConfig::default().remembered_max },
    };
    let server = match Server::bind(&config) {
        Ok(server) => server,
        Err(error) if error.source.kind() == ErrorKind::AddrInUse => {
            // As OTP's: a second epmd leaves the first its work, and nothing is wrong.
            if client::names(epmd, ANSWER_LIMIT).is_ok() {
                output::hint(&format!("epmd: one runs already on port {}", options.port));
                return Ok(());
            }
            return Err(Failure::of(error));
        }
        Err(error) => return Err(Failure::of(error)),
    };
    tracing::debug!(port = server.port(), addresses = ?server.addresses(), "epmd serves");
    if options.daemon {
        detach::announce("ready");
    }
    server.run().map_err(Failure::of)
}

/// The words that users of OTP's epmd look for when none runs.
fn unreachable(error: ClientError) -> Failure {
    if error.is_refused_connection() {
        return Failure::Failed(format!("epmd: Cannot connect to local epmd ({error})"));
    }
    Failure::of(error)
}

fn parse(
    arguments: &[String],
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Options, String> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let mut options = Options {
        task: Task::Serve,
        daemon: false,
        debug: 0,
        port: krarup::epmd::DEFAULT_PORT,
        addresses: Vec::new(),
        relaxed_command_check: environment("ERL_EPMD_RELAXED_COMMAND_CHECK").is_some(),
        packet_timeout: Duration::from_secs(60),
    };
    if let Some(port) = set("ERL_EPMD_PORT") {
        options.port = port_number("ERL_EPMD_PORT", &port)?;
    }
    if let Some(list) = set("ERL_EPMD_ADDRESS") {
        options.addresses =
            krarup::epmd::addresses(&list).map_err(|error| format!("ERL_EPMD_ADDRESS: {error}"))?;
    }
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let flag = argument.trim_start_matches('-');
        let mut value = || rest.next().ok_or_else(|| format!("-{flag}: a value is missing"));
        match flag {
            _ if !argument.starts_with('-') => return Err(unknown(argument)),
            "d" | "debug" => options.debug += 1,
            "daemon" => options.daemon = true,
            "port" => options.port = port_number("-port", value()?)?,
            "address" => {
                options.addresses = krarup::epmd::addresses(value()?)
                    .map_err(|error| format!("-address: {error}"))?;
            }
            "relaxed_command_check" => options.relaxed_command_check = true,
            "packet_timeout" => {
                let text = value()?;
                options.packet_timeout = match text.parse::<u32>() {
                    Ok(seconds) if (1..=86_400).contains(&seconds) => {
                        Duration::from_secs(seconds.into())
                    }
                    _ => return Err(format!("-packet_timeout: expected 1 to 86400, got {text:?}")),
                };
            }
            // OTP's ways to test its own clients.
            "delay_accept" | "delay_write" => {
                value()?;
            }
            "names" => options.task = Task::Names,
            "kill" => options.task = Task::Kill,
            "stop" => options.task = Task::Stop(value()?.clone()),
            "h" | "help" => options.task = Task::Help,
            _ => return Err(unknown(argument)),
        }
    }
    Ok(options)
}

fn unknown(argument: &str) -> String {
    const FLAGS: [&str; 10] = [
        "-address",
        "-d",
        "-daemon",
        "-help",
        "-kill",
        "-names",
        "-packet_timeout",
        "-port",
        "-relaxed_command_check",
        "-stop",
    ];
    let hint = krarup_tuning::nearest::suggestion(argument, FLAGS);
    format!("epmd: unknown argument {argument:?}{hint}")
}

fn port_number(name: &str, text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{name}: expected a port from 1 to 65535, got {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Options, String> {
        let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        parse(&arguments, |_| None)
    }

    #[test]
    fn flags_are_those_of_otp() {
        let options = parsed(
            "-daemon -port 5000 -address 127.0.0.9,::1 -relaxed_command_check -packet_timeout 2 -d -d",
        )
        .unwrap();
        assert_eq!(options.port, 5000);
        assert_eq!(options.addresses.len(), 2);
        assert!(options.daemon && options.relaxed_command_check);
        assert_eq!(options.packet_timeout, Duration::from_secs(2));
        assert_eq!((options.debug, options.task), (2, Task::Serve));
        assert_eq!(parsed("-names").unwrap().task, Task::Names);
        assert_eq!(parsed("-port 5000 -kill").unwrap().task, Task::Kill);
        assert_eq!(parsed("-stop foo").unwrap().task, Task::Stop("foo".into()));
        assert_eq!(parsed("--help").unwrap().task, Task::Help);
    }

    #[test]
    fn the_environment_is_that_of_otp() {
        let environment = |name: &str| match name {
            "ERL_EPMD_PORT" => Some("5001".to_owned()),
            "ERL_EPMD_ADDRESS" => Some("127.0.0.5".to_owned()),
            "ERL_EPMD_RELAXED_COMMAND_CHECK" => Some(String::new()),
            _ => None,
        };
        let options = parse(&[], environment).unwrap();
        assert_eq!(options.port, 5001);
        assert_eq!(options.addresses, ["127.0.0.5".parse::<IpAddr>().unwrap()]);
        assert!(options.relaxed_command_check, "any value counts, also none");
        let arguments = ["-port".to_owned(), "6000".to_owned()];
        assert_eq!(parse(&arguments, environment).unwrap().port, 6000, "the flag wins");
    }

    #[test]
    fn mistakes_are_named() {
        assert!(parsed("-naems").unwrap_err().contains("did you mean \"-names\"?"));
        assert!(parsed("names").unwrap_err().contains("\"-names\""));
        assert!(parsed("-port").unwrap_err().contains("missing"));
        assert!(parsed("-port 0").unwrap_err().contains("1 to 65535"));
        assert!(parsed("-address here").unwrap_err().contains("-address"));
        assert!(parsed("-packet_timeout 0").unwrap_err().contains("86400"));
    }
}
