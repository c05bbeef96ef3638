//! One of the worlds.

use std::fmt;
use std::time::Duration;

use super::{PEERS, PUPPETS, Step, TRIED};
use crate::{Lab, OtpNode, OtpNodeBuilder, Process, Release};

const RANDOM: &str = include_str!("../../otp/krarup_random.erl");
const PUPPET: &str = include_str!("../../otp/krarup_puppet.erl");
/// Options of sockets that Krarup nodes have unless stated.
const AS_OURS: &str = "[{keepalive,true},{high_watermark,1048576},{low_watermark,524288}]";
const SOON: Duration = Duration::from_secs(20);

/// Of which kind the node is that is tried.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Otp,
    Krarup,
}

/// The node that is tried, which is killed with this value.
#[expect(dead_code, reason = "it is only kept")]
enum Tried {
    Otp(OtpNode),
    Krarup(Process),
}

pub(super) struct World {
    kind: Kind,
    release: Release,
    rust_node: String,
    tried: Option<Tried>,
    director: OtpNode,
    peers: [OtpNode; PEERS.len()],
    lab: Lab,
}

impl World {
    pub(super) fn new(release: Release, kind: Kind, rust_node: &str) -> Self {
        let lab = Lab::new();
        let mut director = erlang(&lab, release, "d").start();
        quiet(&mut director);
        let peers = PEERS.map(|name| {
            let mut peer = erlang(&lab, release, name).anonymous().start();
            quiet(&mut peer);
            peer
        });
        Self { kind, release, rust_node: rust_node.to_owned(), tried: None, director, peers, lab }
    }

    /// Starts the node that is tried, and has everything else as it is in the beginning.
    pub(super) fn begin(&mut self) {
        self.tried = None;
        let gone = format!("krarup_random:is_gone('{TRIED}').");
        self.director.eval_until(&gone, "true", SOON);
        for (name, peer) in PEERS.iter().zip(&mut self.peers) {
            peer.eval("krarup_random:stop().");
            let is_hidden = name.starts_with('h');
            peer.eval(&format!(
                "{{ok, _}} = net_kernel:start('{name}', #{{hidden => {is_hidden}}}), ok."
            ));
        }
        self.tried = Some(match self.kind {
            Kind::Otp => {
                let mut node = erlang(&self.lab, self.release, "n")
                    .module(PUPPET)
                    .args(["-kernel", "inet_dist_connect_options", AS_OURS])
                    .args(["-kernel", "inet_dist_listen_options", AS_OURS])
                    .start();
                quiet(&mut node);
                Tried::Otp(node)
            }
            Kind::Krarup => Tried::Krarup(self.lab.rust_node(&self.rust_node, "n")),
        });
        self.director.eval(&format!("krarup_random:puppets('{TRIED}', {PUPPETS})."));
    }

    /// Does a step, and returns the answer.
    pub(super) fn takes(&mut self, step: &Step) -> String {
        match step {
            Step::Call(call) => {
                let (way, m, f) = (call.way, call.module, call.function);
                let arguments = call.arguments.join(", ");
                self.director.eval(&format!(
                    "krarup_random:call({way}, '{TRIED}', {m}, {f}, [{arguments}])."
                ))
            }
            Step::Tell { puppet, order } => {
                self.director.eval(&format!("krarup_random:tell({puppet}, {order})."))
            }
            Step::Peer { peer, expression } => {
                self.peers[*peer].eval(&format!("krarup_random:caught(fun() -> {expression} end)."))
            }
        }
    }

    /// How everything looks.
    pub(super) fn look(&mut self) -> Look {
        let of_peer = format!("krarup_random:peer_looks('{TRIED}').");
        let starts = self.peers.each_mut().map(|peer| peer.begin(&of_peer));
        let tried = self.director.eval(&format!("krarup_random:look('{TRIED}')."));
        let mut peers = self.peers.iter_mut().zip(starts);
        let peers = PEERS.map(|_| {
            let (peer, start) = peers.next().expect("as many as there are");
            peer.finish(start, &of_peer, SOON)
        });
        Look { tried, peers }
    }

    /// What was told up to the last look is right.
    pub(super) fn accept(&mut self) {
        self.director.eval("krarup_random:accept().");
    }
}

/// What is to be seen.
#[derive(PartialEq, Eq)]
pub(super) struct Look {
    tried: String,
    peers: [String; PEERS.len()],
}

impl Look {
    /// Whether nothing is under way, as far as one can see: both ends of a connection have it.
    pub(super) fn is_settled(&self) -> bool {
        let of_peers = PEERS.iter().zip(&self.peers).all(|(name, peer)| {
            let is_connected = self.tried.contains(&format!("{{'{name}',#{{"));
            peer.ends_with(",true}") && is_connected != peer.starts_with("{none,")
        });
        of_peers && self.tried.ends_with(",true}")
    }
}

impl fmt::Display for Look {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, peers {:?}", self.tried, self.peers)
    }
}

fn quiet(node: &mut OtpNode) {
    assert_eq!(node.eval("krarup_random:quiet()."), "ok");
}

fn erlang(lab: &Lab, release: Release, name: &str) -> OtpNodeBuilder {
    // Nobody connects two nodes, or parts them, but the steps.
    let arguments = ["-connect_all", "false", "-kernel", "prevent_overlapping_partitions", "false"];
    lab.otp(release, name).module(RANDOM).args(arguments)
}
