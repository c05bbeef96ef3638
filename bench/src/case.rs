//! One measurement as it is asked for: what, who, and with which settings.

use serde::Serialize;

use crate::cli::{Count, Seconds, Size};
use crate::codec::Term;
use crate::peer::Peer;
use crate::work::{Axis, Work};

/// Everything that distinguishes one measurement from another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Case {
    pub(crate) work: Work,
    pub(crate) peer: Peer,
    /// Bytes of each message.
    #[serde(rename = "size_bytes", serialize_with = "bytes")]
    pub(crate) size: Size,
    /// How many at once: pairs, clients, links, nodes, monitors.
    pub(crate) count: u32,
    /// Whether the nodes of a mesh connect to each other at once.
    #[serde(skip_serializing_if = "is_not")]
    pub(crate) at_once: bool,
    /// Whether each monitor is of a process of its own; else all are of the same one.
    #[serde(skip_serializing_if = "is_not")]
    pub(crate) apart: bool,
    /// Messages per second that are due, for an open loop.
    #[serde(rename = "rate_per_s", skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u32>,
    /// Registered names, for an epmd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) names: Option<u32>,
    /// The term and the direction, for a codec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) term: Option<Term>,
    /// Shards of each Krarup node.
    pub(crate) shards: usize,
    /// How long Krarup nodes poll before they sleep, where it is not their default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spin_us: Option<u64>,
    #[serde(rename = "warm_up_s")]
    pub(crate) warm_up: Seconds,
    /// The measured time.
    #[serde(rename = "duration_s")]
    pub(crate) duration: Seconds,
}

impl Case {
    /// A case with nothing special about it.
    pub(crate) fn new(work: Work, peer: Peer, warm_up: Seconds, duration: Seconds) -> Case {
        Case {
            work,
            peer,
            size: Size(16),
            count: 1,
            at_once: false,
            apart: false,
            rate: None,
            names: None,
            term: None,
            shards: 1,
            spin_us: None,
            warm_up,
            duration,
        }
    }

    /// Whether both belong under one heading, where their peers are compared.
    pub(crate) fn same_group(&self, other: &Case) -> bool {
        Case { peer: other.peer, ..*self } == *other
    }

    /// The heading.
    pub(crate) fn group(&self, axis: Axis) -> String {
        match axis {
            Axis::Size => self.size.to_string(),
            Axis::Pairs | Axis::Links | Axis::Nodes => Count(self.count).to_string(),
            Axis::Shards => self.shards.to_string(),
            Axis::Rate => format!("{}/s", Count(self.rate.unwrap_or(0))),
            Axis::Clients => {
                format!("{} clients, {} names", self.count, Count(self.names.unwrap_or(0)))
            }
            Axis::Term => self.term.map(|term| term.to_string()).unwrap_or_default(),
            Axis::Monitors => {
                let of = if self.apart { "as many processes" } else { "one process" };
                format!("{} of {of}", Count(self.count))
            }
            Axis::Nothing => String::new(),
        }
    }

    /// Where it stands on a plot's axis; `None` when the axis is no number.
    pub(crate) fn position(&self, axis: Axis) -> Option<f64> {
        match axis {
            Axis::Size => Some(self.size.0 as f64),
            Axis::Pairs | Axis::Links | Axis::Nodes => Some(f64::from(self.count)),
            Axis::Shards => Some(self.shards as f64),
            Axis::Rate => self.rate.map(f64::from),
            Axis::Clients | Axis::Term | Axis::Monitors | Axis::Nothing => None,
        }
    }

    /// A short name that tells it apart within one run, for logs and tags.
    pub(crate) fn tag(&self) -> String {
        let mut tag = format!("{}-{}-{}", self.work.name(), self.peer, self.size.0);
        if self.count > 1 {
            tag.push_str(&format!("-x{}", self.count));
        }
        if self.at_once {
            tag.push_str("-at-once");
        }
        if self.apart {
            tag.push_str("-apart");
        }
        if let Some(rate) = self.rate {
            tag.push_str(&format!("-at{rate}"));
        }
        if let Some(names) = self.names {
            tag.push_str(&format!("-names{names}"));
        }
        if let Some(spin) = self.spin_us {
            tag.push_str(&format!("-spin{spin}"));
        }
        if self.shards > 1 {
            tag.push_str(&format!("-shards{}", self.shards));
        }
        tag
    }
}

/// For what is told only where it holds.
fn is_not(it: &bool) -> bool {
    !it
}

fn bytes<S: serde::Serializer>(size: &Size, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(size.0 as u64)
}
