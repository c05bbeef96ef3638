//! What the suites that cross crates share: real Erlang nodes, real Krarup nodes, and the ground
//! they stand on.
//!
//! A [`Lab`] is one test's own little world: an epmd port nobody else uses, a home folder, and the
//! nodes started in it. An [`OtpNode`] is a real BEAM of one [`Release`] that evaluates what the
//! test says; a [`KrarupNode`] is the `krarup` command. [`RawPeer`] speaks the protocol by hand,
//! well or badly. [`Cable`] joins two network namespaces and can be cut; [`Hosts`] are several, with
//! nodes that watch each other; [`Proxy`] relays connections and can break them.
//!
//! Nothing here sleeps for a fixed time in the hope that it is enough: every wait has a condition
//! and a deadline, and everything started ends with its owner.

mod cable;
mod callee;
mod command;
mod dns;
mod elixir;
mod evaluator;
mod exposition;
mod functions;
pub mod fuzz;
mod hosts;
mod krarup;
mod lab;
pub mod membership;
mod otp;
mod peer;
mod process;
mod proxy;
mod puppet;
mod rust_node;
pub mod sim;
mod sockets;
mod stage;
mod wait;
mod witness;

pub use cable::{Cable, Namespace};
pub use callee::Callee;
pub use command::Outcome;
pub use dns::NameServer;
pub use elixir::ElixirNode;
pub use exposition::Exposition;
pub use hosts::{Cluster, Hosts, KrarupWitness, Watches};
pub use krarup::{KrarupNode, KrarupNodeBuilder, Ready, krarup_command};
pub use lab::{Lab, is_port_free};
pub use otp::{Guest, OtpNode, OtpNodeBuilder, Release, otp_command};
pub use peer::{PeerIdentity, RawPeer, flags, terms};
pub use process::Process;
pub use proxy::Proxy;
pub use rust_node::start_rust_node;
pub use sockets::{Role, socket_of};
pub use stage::{Stage, asking_node, inside, term};
pub use wait::{missing, until};
pub use witness::{Report, WITNESSES, WitnessConfig, run_witness};

/// Makes one test per supported release of each function that takes a [`Release`], in the modules
/// `r25`, `r27` and `r29`. A release that `tests/run` could not have is passed over.
#[macro_export]
macro_rules! for_each_release {
    ($($test:ident),+ $(,)?) => {
        $crate::for_each_release!(@ r25 R25 $($test)+);
        $crate::for_each_release!(@ r27 R27 $($test)+);
        $crate::for_each_release!(@ r29 R29 $($test)+);
    };
    (@ $module:ident $release:ident $($test:ident)+) => {
        mod $module {
            $(
                #[test]
                fn $test() {
                    if !$crate::Release::$release.is_missing() {
                        super::$test($crate::Release::$release);
                    }
                }
            )+
        }
    };
}
