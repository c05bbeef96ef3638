//! Other libraries as workers: what a program would use instead.
//!
//! All have `TCP_NODELAY` on, also those that ship without it. They do the same work as the nodes:
//! numbered messages, one call for each, checked by the receiver.

#[cfg(feature = "peers")]
mod edp;
#[cfg(feature = "peers")]
mod erl_dist;
#[cfg(any(feature = "peers", feature = "zmq"))]
mod measure;
#[cfg(feature = "zmq")]
mod zmq;

use crate::error::Error;
#[cfg(any(feature = "peers", feature = "zmq"))]
use crate::peer::Kind;
use crate::protocol::WorkerConfig;

/// Runs one side until it is told to stop.
pub(crate) fn work(config: &WorkerConfig) -> Result<(), Error> {
    match config.kind {
        #[cfg(feature = "zmq")]
        Kind::Zmq => zmq::work(config),
        #[cfg(feature = "peers")]
        Kind::ErlDist => erl_dist::work(config),
        #[cfg(feature = "peers")]
        Kind::Edp => edp::work(config),
        kind => Err(Error::Usage(format!("this build has no {kind:?}"))),
    }
}

/// The libraries of this build, with their versions.
pub(crate) fn versions() -> Vec<String> {
    let mut versions = Vec::new();
    if cfg!(feature = "peers") {
        versions.extend(env!("KRARUP_BENCH_CRATES").split(',').map(str::to_owned));
    }
    #[cfg(feature = "zmq")]
    versions.push(zmq::version());
    versions
}
