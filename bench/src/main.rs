//! `krarup-bench`: round trips and streams beside the socket floor and real BEAM nodes.
//!
//! Every measurement runs two fresh worker processes, each pinned to its core. The process that
//! was started by hand only coordinates: it speaks to the workers over their standard input and
//! output (see [`protocol`]) and sleeps while they measure.

mod cli;
mod error;
mod floor;
mod krarup;
mod otp;
mod peer;
mod pin;
mod process;
mod protocol;
mod report;
mod run;
mod worker;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let command = cli::Command::parse().action;
    let outcome = match command {
        cli::Action::Rtt(options) => run::run(protocol::Work::Rtt, &options),
        cli::Action::Stream(options) => run::run(protocol::Work::Stream, &options),
        cli::Action::Worker(action) => worker::run(&action),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("krarup-bench: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
