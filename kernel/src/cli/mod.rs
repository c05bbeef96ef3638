//! The verbs of the `krarup` command. Each returns what the process exits with: 0 for done, 1 for
//! failed, 2 for wrong usage.

mod call;
mod child;
mod client;
mod config;
mod demo;
mod detach;
mod doctor;
mod epmd;
mod erl;
mod getopts;
mod metrics;
mod monitor;
mod names;
mod node;
mod nodes;
mod output;
mod ping;
#[cfg(test)]
mod reference;
mod setopts;
mod top;
mod world;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Why a verb did not do what it was asked to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Exit code 1, with this message.
    Failed(String),
    /// Exit code 1, and the answer is on stdout already (`pang`).
    Answered,
    /// Exit code 2, with this message.
    Usage(String),
}

impl Failure {
    /// A failure that says what `error` says.
    fn of(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What scripts go by.
const EXIT_CODES: &str = "\
Exit codes: 0 when the verb did what it was asked to, 1 when it failed (pang is a failure), 2 for
wrong usage. Arguments with one dash are those of erl: krarup -sname shop -setcookie secret";

/// A node that Erlang and Elixir nodes talk to, and tools around it.
#[derive(Parser)]
#[command(name = "krarup", version, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Show it working: two nodes, real traffic, a table of latency and throughput
    Demo(demo::Arguments),
    /// Run a node
    Node(Box<node::Arguments>),
    /// Run epmd, or talk to one; takes the flags of OTP's epmd (see krarup epmd -help)
    #[command(disable_help_flag = true)]
    Epmd,
    /// List the nodes registered on a host
    Names(names::Arguments),
    /// Ask a node whether it accepts us: pong or pang
    Ping(ping::Arguments),
    /// Ping every node of the hosts in .hosts.erlang, or of these
    World(world::Arguments),
    /// List the nodes that a node is connected to
    Nodes(nodes::Arguments),
    /// Print when nodes come up and go down
    Monitor(monitor::Arguments),
    /// Call a function on a node and print its value
    Call(call::Arguments),
    /// Show what the links of a node do, again and again
    Top(top::Arguments),
    /// Say what this host gives a node, and what could be better
    Doctor(doctor::Arguments),
    /// Show socket options of a node's connection to another one
    Getopts(getopts::Arguments),
    /// Change socket options of a node's connection to another one, or of its new ones
    Setopts(setopts::Arguments),
    /// The peer of the demo's bare sockets
    #[command(hide = true)]
    DemoFloor,
}

/// The command line, with what its help says of the settings of a node.
fn command() -> clap::Command {
    Arguments::command().mut_subcommand("node", config::describe)
}

/// Runs the command with the arguments of this process.
pub(crate) fn run() -> ExitCode {
    let arguments: Result<Vec<String>, _> =
        std::env::args_os().map(std::ffi::OsString::into_string).collect();
    let mut hint = "krarup --help shows the verbs".to_owned();
    let outcome = match arguments {
        Ok(arguments) => {
            if let Some(verb) = arguments.get(1).and_then(|first| verb_of(first)) {
                hint = format!("krarup {verb} --help shows its flags");
            }
            dispatch(arguments)
        }
        Err(argument) => Err(Failure::Usage(format!("{argument:?} is no UTF-8"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Answered) => ExitCode::from(1),
        Err(Failure::Failed(message)) => {
            output::error(&message);
            ExitCode::from(1)
        }
        Err(Failure::Usage(message)) => {
            output::error(&message);
            output::hint(&hint);
            ExitCode::from(2)
        }
    }
}

/// The verb that a command line with this first argument is of.
fn verb_of(first: &str) -> Option<&str> {
    // What slave and peer starts has erl's flags and no verb.
    if erl::erl_flag(first).is_some() {
        return Some("node");
    }
    Arguments::command().find_subcommand(first).map(|_| first)
}

fn dispatch(arguments: Vec<String>) -> Result<(), Failure> {
    let program = arguments.first().cloned().unwrap_or_default();
    let rest = arguments.get(1..).unwrap_or_default();
    // Under the name epmd it is one, so that a link called epmd serves erl.
    if program.rsplit('/').next() == Some("epmd") {
        return epmd::run(rest);
    }
    let (verb, rest) = match rest.split_first() {
        Some((first, _)) if erl::erl_flag(first).is_some() => (Some("node"), rest),
        Some((first, following)) => (Some(first.as_str()), following),
        None => (None, rest),
    };
    match (verb, rest) {
        (Some("epmd"), arguments) => return epmd::run(arguments),
        (Some("help"), [verb]) if verb == "epmd" => return epmd::run(&["-help".to_owned()]),
        _ => {}
    }
    let translated = match verb {
        Some(
            "node" | "ping" | "call" | "world" | "nodes" | "monitor" | "getopts" | "setopts"
            | "top",
        ) => erl::translate(rest).map_err(Failure::Usage)?,
        _ => erl::Translation { arguments: rest.to_vec(), notes: Vec::new() },
    };
    let verb = verb.map(str::to_owned);
    let full = std::iter::once(program).chain(verb).chain(translated.arguments);
    let parsed = command().try_get_matches_from(full);
    match parsed.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(Arguments { verb }) => match verb {
            Verb::Demo(arguments) => demo::run(&arguments),
            Verb::Node(arguments) => node::run(*arguments, &translated.notes),
            Verb::Epmd => Ok(()),
            Verb::Names(arguments) => names::run(&arguments),
            Verb::Ping(arguments) => ping::run(&arguments),
            Verb::World(arguments) => world::run(arguments),
            Verb::Nodes(arguments) => nodes::run(&arguments),
            Verb::Monitor(arguments) => monitor::run(&arguments),
            Verb::Call(arguments) => call::run(&arguments),
            Verb::Top(arguments) => top::run(&arguments),
            Verb::Doctor(arguments) => doctor::run(&arguments),
            Verb::Getopts(arguments) => getopts::run(&arguments),
            Verb::Setopts(arguments) => setopts::run(&arguments),
            Verb::DemoFloor => demo::serve_floor(),
        },
        Err(error) => {
            // Help and version go to stdout and are no mistake.
            let is_mistake = error.use_stderr();
            let _ = error.print();
            if is_mistake { std::process::exit(2) } else { Ok(()) }
        }
    }
}
