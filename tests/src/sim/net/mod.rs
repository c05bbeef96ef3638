//! A network in memory: connections with delays, buffers and faults.
//!
//! Within one connection bytes arrive in order or not at all, as with TCP; connections do not wait
//! for each other. Faults: a reset, which both ends learn of at different times or one end never
//! does; a cut, after which nothing arrives and nobody is told; flipped bits; a partition, which
//! delays everything until it heals; a host that is gone.

mod faults;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use super::env::{Env, Event, Wake};

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnId(pub(super) u64);

/// An attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DialId(pub(super) u64);

/// A process of the operating system: a node, and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) node: usize,
    pub(super) life: u32,
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.node, self.life)
    }
}

/// Where a process listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Address {
    /// A port of a node's host.
    Tcp { node: usize, port: u16 },
    /// An abstract Unix socket of a host.
    Unix { host: usize, name: Vec<u8> },
}

impl Network {
    pub(super) fn last_partition(&self) -> Option<Duration> {
        self.partitions.values().max().copied()
    }
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    /// The other side closed.
    End,
    Reset,
}

/// The side that dialled is 0, the other 1.
pub(super) const DIALLER: usize = 0;
pub(super) const ACCEPTOR: usize = 1;

#[derive(Default)]
pub(super) struct Network {
    conns: BTreeMap<ConnId, Conn>,
    dials: BTreeMap<DialId, Dial>,
    pub(super) listeners: BTreeMap<Address, Owner>,
    /// Pairs of nodes, the smaller first, whose packets wait until then.
    partitions: BTreeMap<(usize, usize), Duration>,
    /// Since when they have waited without a break.
    parted_since: BTreeMap<(usize, usize), Duration>,
    /// Nodes whose host does not answer at all.
    pub(super) silent: BTreeSet<usize>,
    /// One in so many packets has a bit flipped, on connections that can take it.
    pub(super) flip_one_in: Option<u64>,
    next: u64,
}

struct Conn {
    sides: [Side; 2],
    latency: Duration,
    jitter_us: u64,
    /// A bit that flips is found out, or harmless.
    can_flip: bool,
    over_unix: bool,
    /// Nothing arrives any more, and nobody is told.
    cut: bool,
}

struct Side {
    owner: Owner,
    open: bool,
    /// What is on its way to this side, in order.
    flight: VecDeque<Packet>,
    flight_bytes: usize,
    last_arrival: Duration,
    /// What has arrived and is not read.
    inbox: VecDeque<Vec<u8>>,
    inbox_bytes: usize,
    ending: Option<Ending>,
    /// The connection was reset, and the news of it is lost: nothing arrives, until this side
    /// writes and is told.
    deaf: bool,
    /// Bytes that may be under way or unread before the other side has to wait.
    capacity: usize,
    other_waits: bool,
}

struct Packet {
    at: Duration,
    content: Content,
}

enum Content {
    Bytes(Vec<u8>),
    End(Ending),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Closed,
    Reset,
}

struct Dial {
    owner: Owner,
    to: Address,
    stage: DialStage,
}

enum DialStage {
    Out,
    Back(Option<ConnId>),
}

fn host_of(address: &Address) -> Option<usize> {
    match address {
        Address::Tcp { node, .. } => Some(*node),
        Address::Unix { .. } => None,
    }
}

impl Env {
    /// Starts to connect; the dialler is woken with the outcome, or never.
    pub(super) fn dial(&mut self, owner: Owner, to: Address) -> DialId {
        self.net.next += 1;
        let id = DialId(self.net.next);
        let delay = match &to {
            Address::Unix { .. } => Duration::from_micros(self.rng.within(1..=20)),
            Address::Tcp { .. } => Duration::from_micros(self.rng.within(10..=2000)),
        };
        self.net.dials.insert(id, Dial { owner, to, stage: DialStage::Out });
        self.after(delay, Event::Dial(id));
        id
    }

    /// Nobody waits for the outcome any more.
    pub(super) fn give_up(&mut self, dial: DialId) {
        if let Some(Dial { stage: DialStage::Back(Some(conn)), .. }) = self.net.dials.remove(&dial)
        {
            self.close(conn, DIALLER);
        }
    }

    pub(super) fn dial_event(&mut self, id: DialId) {
        let Some(dial) = self.net.dials.get(&id) else { return };
        let owner = dial.owner;
        if let DialStage::Back(outcome) = dial.stage {
            self.net.dials.remove(&id);
            self.wake(owner, Wake::Dialled(id, outcome));
            return;
        }
        let to = dial.to.clone();
        if let Some(node) = host_of(&to) {
            if self.net.silent.contains(&node) || self.net.silent.contains(&owner.node) {
                return;
            }
            if let Some(until) = self.partition(owner.node, node) {
                let again = until + Duration::from_millis(self.rng.within(1..=1000));
                self.at(again, Event::Dial(id));
                return;
            }
        }
        let listener = self.net.listeners.get(&to).copied();
        let outcome = listener.map(|acceptor| {
            let conn = self.connect(owner, acceptor, matches!(to, Address::Unix { .. }));
            self.wake(acceptor, Wake::Accepted(conn));
            conn
        });
        if let Some(dial) = self.net.dials.get_mut(&id) {
            dial.stage = DialStage::Back(outcome);
        }
        let delay = Duration::from_micros(self.rng.within(1..=500));
        self.after(delay, Event::Dial(id));
    }

    fn connect(&mut self, dialler: Owner, acceptor: Owner, over_unix: bool) -> ConnId {
        self.net.next += 1;
        let id = ConnId(self.net.next);
        let (latency, jitter_us) = match over_unix {
            true => (Duration::from_micros(3), 5),
            false => {
                let latency = *self.rng.pick(&[10, 50, 200, 1000, 20_000]);
                (Duration::from_micros(latency), *self.rng.pick(&[1, 20, 500, 5000]))
            }
        };
        // At least 2 MB/s, so that what waits is through before the run ends.
        let least = 4 * (latency.as_micros() as usize + jitter_us as usize);
        let mut side = |owner| Side {
            owner,
            open: true,
            flight: VecDeque::new(),
            flight_bytes: 0,
            last_arrival: Duration::ZERO,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            ending: None,
            deaf: false,
            capacity: least.max(*self.rng.pick(&[
                700,
                4 << 10,
                16 << 10,
                64 << 10,
                64 << 10,
                256 << 10,
            ])),
            other_waits: false,
        };
        let sides = [side(dialler), side(acceptor)];
        let conn = Conn { sides, latency, jitter_us, can_flip: false, over_unix, cut: false };
        self.net.conns.insert(id, conn);
        id
    }

    /// Writes as much as there is room for; gives how much. A writer that could not write all is
    /// woken when there is room again. A broken connection takes everything: its end is read.
    pub(super) fn write<'a>(
        &mut self,
        id: ConnId,
        side: usize,
        pieces: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> usize {
        let length = pieces.clone().map(<[u8]>::len).sum();
        let Some(conn) = self.net.conns.get_mut(&id) else { return length };
        assert!(conn.sides[side].open, "a write to a socket that this side closed");
        if conn.sides[side].ending == Some(Ending::Reset) {
            return length;
        }
        let to = &mut conn.sides[1 - side];
        let room = to.capacity.saturating_sub(to.flight_bytes + to.inbox_bytes);
        let count = length.min(room);
        if count < length {
            to.other_waits = true;
        }
        let mut left = count;
        let mut packet = Vec::new();
        let mut size = self.packet_bytes(left);
        for mut piece in pieces {
            while !piece.is_empty() && left > 0 {
                let (taken, rest) = piece.split_at(piece.len().min(size - packet.len()));
                packet.extend_from_slice(taken);
                piece = rest;
                if packet.len() == size {
                    left -= size;
                    self.send(id, 1 - side, Content::Bytes(std::mem::take(&mut packet)));
                    size = self.packet_bytes(left);
                }
            }
        }
        count
    }

    fn packet_bytes(&mut self, left: usize) -> usize {
        let most = left.clamp(1, 16 << 10);
        if self.rng.chance(1, 4) { self.rng.within(1..=most as u64) as usize } else { most }
    }

    fn send(&mut self, id: ConnId, to: usize, content: Content) {
        let Some(conn) = self.net.conns.get(&id) else { return };
        let (from_node, to_node) = (conn.sides[1 - to].owner.node, conn.sides[to].owner.node);
        let (latency, jitter_us, over_unix) = (conn.latency, conn.jitter_us, conn.over_unix);
        let mut at = self.now + latency + Duration::from_micros(self.rng.within(0..=jitter_us));
        if !over_unix && let Some(until) = self.partition(from_node, to_node) {
            at = at.max(until + Duration::from_millis(self.rng.within(1..=300)));
        }
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        let side = &mut conn.sides[to];
        at = at.max(side.last_arrival);
        side.last_arrival = at;
        if let Content::Bytes(bytes) = &content {
            side.flight_bytes += bytes.len();
        }
        side.flight.push_back(Packet { at, content });
        self.at(at, Event::Arrival(id, to));
    }

    /// What is due at a side arrives.
    pub(super) fn arrival(&mut self, id: ConnId, to: usize) {
        let now = self.now;
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        let gone = conn.sides.iter().any(|side| self.net.silent.contains(&side.owner.node));
        if conn.cut || (gone && !conn.over_unix) {
            return;
        }
        let (can_flip, side) = (conn.can_flip, &mut conn.sides[to]);
        let mut answer = false;
        let mut arrived = false;
        while let Some(packet) = side.flight.front()
            && packet.at <= now
            && let Some(packet) = side.flight.pop_front()
        {
            match packet.content {
                Content::Bytes(mut bytes) => {
                    side.flight_bytes -= bytes.len();
                    if side.deaf {
                        continue;
                    }
                    // Nobody reads it: the system answers with a reset.
                    if !side.open || side.ending == Some(Ending::Reset) {
                        answer = true;
                        continue;
                    }
                    if let Some(rate) = self.net.flip_one_in.filter(|_| can_flip)
                        && self.rng.chance(1, rate)
                    {
                        let at = self.rng.below(bytes.len());
                        bytes[at] ^= 1 << self.rng.below(8);
                    }
                    side.inbox_bytes += bytes.len();
                    side.inbox.push_back(bytes);
                }
                Content::End(Ending::Closed) if side.deaf => {}
                Content::End(Ending::Closed) => {
                    side.ending.get_or_insert(Ending::Closed);
                }
                Content::End(Ending::Reset) => {
                    if self.rng.chance(1, 2) {
                        side.forget_inbox();
                    }
                    side.ending = Some(Ending::Reset);
                }
            }
            arrived = true;
        }
        let (owner, open) = (side.owner, side.open);
        if answer {
            self.send(id, 1 - to, Content::End(Ending::Reset));
        }
        if arrived && open {
            self.wake(owner, Wake::Socket(id));
        }
    }

    /// Reads at most `count_max` bytes, which is not zero.
    pub(super) fn read(&mut self, id: ConnId, side: usize, count_max: usize) -> Read {
        let Some(conn) = self.net.conns.get_mut(&id) else { return Read::Reset };
        let this = &mut conn.sides[side];
        let Some(mut bytes) = this.inbox.pop_front() else {
            return match this.ending {
                None => Read::Nothing,
                Some(Ending::Closed) => Read::End,
                Some(Ending::Reset) => Read::Reset,
            };
        };
        if bytes.len() > count_max {
            this.inbox.push_front(bytes.split_off(count_max));
        }
        this.inbox_bytes -= bytes.len();
        let room = this.capacity.saturating_sub(this.flight_bytes + this.inbox_bytes);
        let wakes = this.other_waits && room * 2 >= this.capacity;
        if wakes {
            this.other_waits = false;
            let latency = conn.latency;
            let other = &conn.sides[1 - side];
            let (owner, open, cut) = (other.owner, other.open, conn.cut);
            if open && !cut {
                self.after(latency, Event::Wake(owner, Wake::Socket(id)));
            }
        }
        Read::Bytes(bytes)
    }

    /// Who dialled a connection.
    pub(super) fn dialler(&self, id: ConnId) -> Owner {
        self.net.conns[&id].sides[DIALLER].owner
    }

    /// From now on a flipped bit is found out.
    pub(super) fn allow_flips(&mut self, id: ConnId) {
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.can_flip = true;
        }
    }

    /// This side closes its socket. With unread bytes that is a reset, which may take what was
    /// sent before along.
    pub(super) fn close(&mut self, id: ConnId, side: usize) {
        let Some(conn) = self.net.conns.get_mut(&id) else { return };
        if !std::mem::replace(&mut conn.sides[side].open, false) {
            return;
        }
        let unread = !conn.sides[side].inbox.is_empty();
        conn.sides[side].forget_inbox();
        if !conn.sides[1 - side].open {
            self.net.conns.remove(&id);
            return;
        }
        // After a reset the connection is no more: nothing is sent about its end.
        if conn.sides[side].ending == Some(Ending::Reset) {
            return;
        }
        if unread {
            let other = &mut conn.sides[1 - side];
            let kept = self.rng.below(other.flight.len() + 1);
            other.drop_flight(kept);
            self.send(id, 1 - side, Content::End(Ending::Reset));
        } else {
            self.send(id, 1 - side, Content::End(Ending::Closed));
        }
    }
}

impl Side {
    fn forget_inbox(&mut self) {
        self.inbox.clear();
        self.inbox_bytes = 0;
    }

    /// Loses what is under way, but for the first `kept` packets.
    fn drop_flight(&mut self, kept: usize) {
        for packet in self.flight.drain(kept..) {
            if let Content::Bytes(bytes) = packet.content {
                self.flight_bytes -= bytes.len();
            }
        }
    }
}
