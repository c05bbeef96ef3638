//! Random sequences of steps, from a seed.

use std::fmt;

use crate::sim::rng::Rng;

use super::functions::{self, Call};
use super::{PEERS, PUPPETS, TRIED};

/// Something that is done to the node that is tried, by it or beside it.
#[derive(Clone, Debug)]
pub enum Step {
    /// A function is called by rpc.
    Call(Call),
    /// One of the puppets on the node does something, of which it has the messages for good.
    Tell {
        /// Which one, from 1.
        puppet: usize,
        /// An order of `krarup_puppet`.
        order: String,
    },
    /// One of the peers does something.
    Peer {
        /// Which one, from 0.
        peer: usize,
        /// What it evaluates.
        expression: String,
    },
}

/// Draws steps.
pub(super) struct Plan {
    rng: Rng,
    is_alive: [bool; PEERS.len()],
}

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), is_alive: [true; PEERS.len()] }
    }

    pub(super) fn step(&mut self) -> Step {
        match self.rng.below(10) {
            0..5 => Step::Call(functions::call(&mut self.rng)),
            5..8 => {
                let puppet = 1 + self.rng.below(PUPPETS);
                Step::Tell { puppet, order: self.order() }
            }
            _ => {
                let peer = self.rng.below(PEERS.len());
                Step::Peer { peer, expression: self.deed(peer) }
            }
        }
    }

    fn order(&mut self) -> String {
        let rng = &mut self.rng;
        let flag = functions::flag(rng);
        match rng.below(19) {
            0..7 => {
                // Often the same ones, to subscribe twice and take that back.
                let options = match rng.below(6) {
                    0 | 1 => "[nodedown_reason]".to_owned(),
                    2 => "#{connection_id => true}".to_owned(),
                    _ => functions::monitor_options(rng),
                };
                format!("{{monitor_nodes, {flag}, {options}}}")
            }
            7..13 => {
                let options = *rng.pick(&["[]", "[]", "[]", "[allow_passive_connect]"]);
                format!("{{monitor_node, {}, {flag}, {options}}}", functions::node(rng))
            }
            13 | 14 => format!("{{disconnect, {}}}", functions::node_to_leave(rng)),
            // What connects by the way.
            15 | 16 => {
                let name = *rng.pick(&["rex", "rex", "nobody"]);
                format!("{{monitor, {{{name}, {}}}}}", functions::node(rng))
            }
            17 => format!("{{rpc, {}, erlang, node, [], 10000}}", functions::node(rng)),
            _ => format!("{{call, {{net_kernel, {}}}, get_state, 10000}}", functions::node(rng)),
        }
    }

    fn deed(&mut self, peer: usize) -> String {
        let rng = &mut self.rng;
        let name = PEERS[peer];
        // One that is gone comes back soon.
        if !self.is_alive[peer] && rng.chance(2, 3) {
            self.is_alive[peer] = true;
            let options = *rng.pick(&["", "", "hidden => true", "dist_listen => false"]);
            return format!("net_kernel:start('{name}', #{{{options}}})");
        }
        match rng.below(17) {
            0..4 => format!("net_kernel:connect_node('{TRIED}')"),
            4..6 => format!("net_kernel:hidden_connect_node('{TRIED}')"),
            6..11 => format!("erlang:disconnect_node('{TRIED}')"),
            11..13 => format!("net_adm:ping('{TRIED}')"),
            13 => {
                let cookie = functions::cookie(rng);
                format!("erlang:set_cookie('{TRIED}', {cookie})")
            }
            14 => format!("gen_server:call({{net_kernel, '{TRIED}'}}, get_state)"),
            15 => format!("krarup_random:cut('{TRIED}')"),
            _ => {
                self.is_alive[peer] = false;
                "krarup_random:stop()".to_owned()
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call) => call.fmt(formatter),
            Self::Tell { puppet, order } => write!(formatter, "puppet {puppet}: {order}"),
            Self::Peer { peer, expression } => write!(formatter, "{}: {expression}", PEERS[*peer]),
        }
    }
}
