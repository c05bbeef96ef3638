//! `krarup-bench`: Krarup beside the socket floor, real BEAM nodes and other libraries.
//!
//! Every measurement runs in fresh worker processes, each pinned to its core. The process that
//! was started by hand only coordinates: it speaks to the workers over their standard input and
//! output (see [`protocol`]) and sleeps while they measure.

mod allocations;
mod case;
mod cli;
mod codec;
mod compare;
mod epmd;
mod error;
mod floor;
mod krarup;
mod links;
mod mesh;
mod otp;
mod peer;
mod pin;
mod plan;
mod process;
mod protocol;
mod report;
mod rival;
mod run;
mod schedule;
mod usage;
mod work;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use cli::Action;
use plan::Plan;
use work::Work;

fn main() -> ExitCode {
    let outcome = match cli::Command::parse().action {
        Action::Rtt(asked) => {
            run::run(&asked.options, |releases| Plan::sized(Work::Rtt, &asked, releases))
        }
        Action::Stream(asked) => {
            run::run(&asked.options, |releases| Plan::sized(Work::Stream, &asked, releases))
        }
        Action::Pairs(asked) => run::run(&asked.options, |releases| Plan::pairs(&asked, releases)),
        Action::Rate(asked) => run::run(&asked.options, |releases| Plan::rate(&asked, releases)),
        Action::Connect(asked) => run::run(&asked.options, |releases| {
            Plan::plain(Work::Connect, &asked.options, releases)
        }),
        Action::Call(asked) => {
            run::run(&asked.options, |releases| Plan::sized(Work::Call, &asked, releases))
        }
        Action::Spawn(asked) => {
            run::run(&asked.options, |releases| Plan::plain(Work::Spawn, &asked.options, releases))
        }
        Action::Rpc(asked) => {
            run::run(&asked.options, |releases| Plan::plain(Work::Rpc, &asked.options, releases))
        }
        Action::Monitors(asked) => {
            run::run(&asked.options, |releases| Plan::monitors(&asked, releases))
        }
        Action::Epmd(asked) => run::run(&asked.options, |releases| Plan::epmd(&asked, releases)),
        Action::Codec(asked) => run::run(&asked.options, |releases| Plan::codec(&asked, releases)),
        Action::Links(asked) => run::run(&asked.options, |releases| Plan::links(&asked, releases)),
        Action::Mesh(asked) => run::run(&asked.options, |releases| Plan::mesh(&asked, releases)),
        Action::Shards(asked) => {
            run::run(&asked.options, |releases| Plan::shards(&asked, releases))
        }
        Action::Compare(asked) => compare::run(compare::Subject::Targets, &asked),
        Action::Growth(asked) => compare::run(compare::Subject::Growth, &asked),
        Action::Worker(action) => worker::run(&action),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("krarup-bench: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
