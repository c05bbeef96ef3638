//! What goes wrong with connections, processes and hosts, and what can be seen of it.

use std::time::Duration;

use super::{Conn, ConnId, Content, Ending, Owner, Side};
use crate::sim::env::{Env, Event};

impl Env {
    /// A fault: the connection is reset. Each side learns it by itself, and one perhaps never.
    pub(in crate::sim) fn reset(&mut self, id: ConnId) {
        let is_reset = |side: &Side| {
            let mut contents = side.flight.iter().map(|packet| &packet.content);
            side.deaf || contents.any(|content| matches!(content, Content::End(Ending::Reset)))
        };
        // A second reset would take back the news of the first, and neither end would be told.
        if self.net.conns.get(&id).is_none_or(|conn| conn.sides.iter().any(is_reset)) {
            return;
        }
        let half_open = self.rng.chance(1, 6);
        let deaf = self.rng.below(2);
        self.tell(|| match half_open {
            true => format!("{id:?} is reset, and side {deaf} is not told"),
            false => format!("{id:?} is reset"),
        });
        for side in 0..2 {
            let Some(conn) = self.net.conns.get_mut(&id) else { return };
            let this = &mut conn.sides[side];
            let kept = self.rng.below(this.flight.len() + 1);
            this.drop_flight(kept);
            if half_open && side == deaf {
                this.deaf = true;
            } else {
                self.send(id, side, Content::End(Ending::Reset));
            }
        }
    }

    /// A fault: nothing arrives any more on this connection.
    pub(in crate::sim) fn cut(&mut self, id: ConnId) {
        self.tell(|| format!("{id:?} is cut"));
        if let Some(conn) = self.net.conns.get_mut(&id) {
            conn.cut = true;
        }
    }

    /// The operating system ends a process: its sockets are closed, nobody listens any more.
    pub(in crate::sim) fn end_process(&mut self, owner: Owner) {
        self.net.listeners.retain(|_, listener| *listener != owner);
        self.net.dials.retain(|_, dial| dial.owner != owner);
        let sides = self.net.conns.iter().flat_map(|(id, conn)| {
            let own = move |side: &usize| conn.sides[*side].owner == owner;
            (0..2).filter(own).map(|side| (*id, side))
        });
        let sides: Vec<_> = sides.collect();
        for (id, side) in sides {
            self.close(id, side);
        }
    }

    /// The host of a process loses its power: nobody is told anything.
    pub(in crate::sim) fn lose_power(&mut self, owner: Owner) {
        self.net.listeners.retain(|_, listener| *listener != owner);
        self.net.dials.retain(|_, dial| dial.owner != owner);
        let own = |conn: &Conn| conn.sides.iter().any(|side| side.owner == owner);
        for conn in self.net.conns.values_mut().filter(|conn| own(conn)) {
            conn.cut = true;
        }
    }

    /// Packets between two nodes wait until then.
    pub(in crate::sim) fn part(&mut self, a: usize, b: usize, until: Duration) {
        self.tell(|| format!("{a} and {b} are parted until {until:?}"));
        let pair = (a.min(b), a.max(b));
        if self.partition(a, b).is_none() {
            self.net.parted_since.insert(pair, self.now);
        }
        self.net.partitions.insert(pair, until);
        let between = |conn: &Conn| {
            let [one, two] = [conn.sides[0].owner.node, conn.sides[1].owner.node];
            !conn.over_unix && (one.min(two), one.max(two)) == (a.min(b), a.max(b))
        };
        let conns: Vec<_> =
            self.net.conns.iter().filter(|(_, conn)| between(conn)).map(|(id, _)| *id).collect();
        for id in conns {
            for side in 0..2 {
                let delay = Duration::from_millis(self.rng.within(1..=300));
                let Some(conn) = self.net.conns.get_mut(&id) else { continue };
                let this = &mut conn.sides[side];
                for packet in &mut this.flight {
                    packet.at = packet.at.max(until + delay);
                }
                this.last_arrival = this.last_arrival.max(until + delay);
                let at = this.last_arrival;
                self.at(at, Event::Arrival(id, side));
            }
        }
    }

    pub(super) fn partition(&self, a: usize, b: usize) -> Option<Duration> {
        let until = self.net.partitions.get(&(a.min(b), a.max(b))).copied();
        until.filter(|until| *until > self.now)
    }

    /// Whether nothing has got from one node to the other since then.
    pub(in crate::sim) fn is_parted_since(&self, a: usize, b: usize, since: Duration) -> bool {
        let begin = self.net.parted_since.get(&(a.min(b), a.max(b)));
        self.partition(a, b).is_some() && begin.is_some_and(|begin| *begin <= since)
    }

    /// Whether nothing got from one node to the other at some time since then.
    pub(in crate::sim) fn was_parted(&self, a: usize, b: usize, since: Duration) -> bool {
        let until = self.net.partitions.get(&(a.min(b), a.max(b)));
        until.is_some_and(|until| *until >= since)
    }

    /// Whether something is in the way of what one side of a connection has to say.
    pub(in crate::sim) fn is_broken(&self, id: ConnId) -> bool {
        let is_whole = |side: &Side| side.open && !side.deaf && side.ending.is_none();
        let conn = self.net.conns.get(&id);
        conn.is_none_or(|conn| conn.cut || !conn.sides.iter().all(is_whole))
    }

    /// Whether something is on its way.
    pub(in crate::sim) fn is_busy(&self, id: ConnId) -> bool {
        let conn = self.net.conns.get(&id);
        conn.is_some_and(|conn| conn.sides.iter().any(|side| !side.flight.is_empty()))
    }

    /// Connections that both sides hold, for a fault to choose from.
    pub(in crate::sim) fn live_conns(&self) -> Vec<ConnId> {
        let live = |conn: &Conn| conn.sides.iter().all(|side| side.open);
        self.net.conns.iter().filter(|(_, conn)| live(conn)).map(|(id, _)| *id).collect()
    }
}
