//! A Krarup node as a worker: the same messages as `bench/erl/krarup_bench_worker.erl`.

mod ask;
mod connect;
mod message;
mod monitors;
mod pairs;
mod rate;
mod rtt;
mod serve;
mod stream;

use std::thread;
use std::time::Duration;

use krarup::epmd::EpmdMode;
use krarup::sockets::option::parse;
use krarup::term::Atom;
use krarup::{Builder, Cookie, Node};

use crate::epmd::allow_many_descriptors;
use crate::error::Error;
use crate::peer::Lanes;
use crate::protocol::{Event, Order, Role, WorkerConfig, tell};
use crate::work::Work;
use crate::worker::next_order;
use message::Settings;
pub(crate) use message::{BODIES_BYTES, BY_REFERENCE_BYTES_MIN};

/// Name of the server's process.
const SERVICE: &str = "bench";
/// Name of the client's process.
const CLIENT: &str = "bench-client";
/// How long the client of an open loop polls: it is a load generator and never sleeps.
const GENERATOR_SPIN: Duration = Duration::from_secs(1);

/// What processes of this worker fail with: text for the coordinator.
type Failure = Box<dyn std::error::Error>;

/// Runs one side until it is told to stop.
pub(crate) fn work(config: &WorkerConfig) -> Result<(), Error> {
    if config.work == Work::Links {
        allow_many_descriptors()?;
    }
    let failed =
        |doing: &str, error: &dyn std::fmt::Display| Error::Broken(format!("{doing}: {error}"));
    let node = builder(config)?.start().map_err(|error| failed("cannot start the node", &error))?;
    if config.role == Role::Server {
        // What BEAM nodes have, so that all clients ask for the same.
        let name = Atom::new(&config.node).map_err(|error| failed("the node's name", &error))?;
        node.register_function("erlang", "node", move |_, ()| std::future::ready(Ok(name.clone())));
        let settings = Settings::from(config);
        let spawned = node.spawn(SERVICE, move |me| told(serve::run(me, settings)));
        spawned.map_err(|error| failed("cannot start the server's process", &error))?;
    }
    let port = node.port().unwrap_or(0);
    tell(&Event::Ready { node: config.node.clone(), port, version: None })?;
    loop {
        match next_order()? {
            Order::Dial { node: other, .. } => {
                node.connect(&other).wait().map_err(|error| failed("no connection", &error))?;
                tell(&Event::Connected)?;
            }
            Order::Go { node: other } => {
                thread::scope(|scope| {
                    let tuning = scope.spawn(|| tune(&node, config, &other));
                    go(&node, config, other.clone())?;
                    tuning.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })?;
            }
            Order::Stop => return Ok(()),
        }
    }
}

fn builder(config: &WorkerConfig) -> Result<Builder, Error> {
    let cookie =
        Cookie::new(&config.cookie).map_err(|error| Error::Broken(format!("cookie: {error}")))?;
    let (mode, epmd_port) = match config.epmd_port {
        Some(port) if config.epmd_apart => (EpmdMode::External, port),
        Some(port) => (EpmdMode::Embedded, port),
        None => (EpmdMode::None, 0),
    };
    let mut builder = Node::builder(config.node.as_str())
        .cookie(cookie)
        .hidden(true)
        .shards(config.shards)
        .epmd(mode)
        .epmd_port(epmd_port);
    builder = match config.lanes {
        Lanes::Default => builder,
        Lanes::Tcp => builder.unix_lanes(false),
        Lanes::None => builder.fabric(false),
    };
    if let Some(spin) = config.spin_us {
        builder = builder.spin(Duration::from_micros(spin));
    }
    if config.work == Work::Rate && config.role == Role::Client {
        builder = builder.spin(GENERATOR_SPIN);
    }
    Ok(builder)
}

/// Sets the options that are asked for, on the link as it is: in the middle of the warm-up, when it
/// is under load.
fn tune(node: &Node, config: &WorkerConfig, other: &str) -> Result<(), Error> {
    if config.setopt.is_empty() {
        return Ok(());
    }
    let broken = |error: &dyn std::fmt::Display| Error::Broken(format!("setopt: {error}"));
    let mut options = Vec::new();
    for text in &config.setopt {
        options.extend(parse::list(text).map_err(|error| broken(&error))?);
    }
    thread::sleep(config.warm_up() / 2);
    node.setopts(other, &options).wait().map_err(|error| broken(&error))
}

/// Starts the client's side of the measurement, which tells its result itself.
fn go(node: &Node, config: &WorkerConfig, other: String) -> Result<(), Error> {
    let settings = Settings::from(config);
    if matches!(config.work, Work::Pairs | Work::Shards) {
        return pairs::measure(node, settings, &other);
    }
    if config.work == Work::Monitors && node.whereis(CLIENT).wait().is_some() {
        return monitors::go_on(node);
    }
    let spawned = node.spawn(CLIENT, move |me| {
        told(async move {
            match settings.work {
                Work::Rtt => rtt::measure(me, settings, other).await,
                Work::Stream => stream::send(me, settings, other).await,
                Work::Rate => rate::measure(me, settings, other).await,
                Work::Connect => connect::measure(me, settings, other).await,
                Work::Call => ask::calls(me, settings, other).await,
                Work::Spawn => ask::spawns(me, settings, other).await,
                Work::Rpc => ask::functions(me, settings, other).await,
                Work::Monitors => monitors::watch(me, settings, other).await,
                other => Err(format!("nodes have no {}", other.name()).into()),
            }
        })
    });
    spawned
        .map(|_| ())
        .map_err(|error| Error::Broken(format!("cannot start the client's process: {error}")))
}

/// Tells the coordinator when a process fails.
async fn told(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let outcome = work.await;
    if let Err(error) = &outcome {
        tell(&Event::Failed { reason: error.to_string() })?;
    }
    outcome
}
