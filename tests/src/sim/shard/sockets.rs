//! How a lane loses its socket, gets another one, and ends.

use krarup::net_kernel::{ConnectionId, NodeDownReason};
use krarup_transport::fabric::{Broken, Epoch};
use krarup_transport::term::Atom;

use super::{Machine, Slot, put};
use crate::sim::env::Env;
use crate::sim::life::Life;
use crate::sim::mesh::{Item, LaneKey};
use crate::sim::net::ConnId;

impl Life {
    /// A lane has no connection any more, and may get another.
    pub(super) fn break_lane(
        &mut self,
        env: &mut Env,
        shard: usize,
        key: LaneKey,
        slot: &mut Slot,
    ) {
        let unacknowledged = slot.retained_bytes() > 0;
        let brought_bytes = slot.machine.received_bytes() > slot.attached_bytes;
        let received = self.leave_socket(env, slot);
        let report = Broken { received, unacknowledged, last_byte: slot.last_byte, brought_bytes };
        env.oracle.reports(slot.session, key.1, self.owner, received);
        let epoch = slot.epoch;
        self.tell_kernel(env, shard, Item::LaneBroken { lane: key, epoch, report });
    }

    pub(super) fn leave_socket(&mut self, env: &mut Env, slot: &mut Slot) -> u64 {
        if let Some((conn, side)) = slot.socket.take() {
            self.lane_sockets.remove(&conn);
            env.close(conn, side);
        }
        slot.paused = false;
        slot.needs_ack = false;
        match &mut slot.machine {
            Machine::Lane(lane) => lane.detach(Some(&mut slot.receiver)),
            Machine::Plain(..) => 0,
        }
    }

    pub(in crate::sim) fn detach(
        &mut self,
        env: &mut Env,
        shard: usize,
        key: LaneKey,
        epoch: Epoch,
    ) {
        let Some(mut slot) = self.shards[shard].lanes.remove(&key) else { return };
        if slot.epoch == epoch && slot.socket.is_some() {
            self.break_lane(env, shard, key, &mut slot);
        }
        self.shards[shard].lanes.insert(key, slot);
    }

    /// Gives a lane another socket.
    #[expect(clippy::too_many_arguments, reason = "the fields of one item")]
    pub(in crate::sim) fn resume(
        &mut self,
        env: &mut Env,
        shard: usize,
        key: LaneKey,
        epoch: Epoch,
        socket: (ConnId, usize),
        peer_received: u64,
        leftover: &[u8],
    ) {
        let Some(slot) = self.shards[shard].lanes.get_mut(&key) else {
            self.lane_sockets.remove(&socket.0);
            return env.close(socket.0, socket.1);
        };
        assert!(slot.socket.is_none(), "a lane has one socket at a time");
        assert!(epoch > slot.epoch);
        env.oracle.resumes(slot.session, key.1, slot.peer, peer_received);
        let now = env.instant();
        (slot.socket, slot.epoch, slot.last_byte) = (Some(socket), epoch, now);
        slot.attached_bytes = slot.machine.received_bytes();
        let Machine::Lane(lane) = &mut slot.machine else { panic!("a plain link has one socket") };
        lane.attach(peer_received, now).expect("a position between both ends");
        lane.greet();
        put(&mut slot.receiver, leftover);
        slot.needs_ack = true;
        if slot.checksum {
            env.allow_flips(socket.0);
        }
        self.lane_turn(env, shard, key);
    }

    /// Ends the lanes of a connection that are on this shard.
    pub(in crate::sim) fn close_lanes(
        &mut self,
        env: &mut Env,
        shard: usize,
        connection: ConnectionId,
        bye: Option<Atom>,
    ) {
        self.shards[shard].over.insert(connection);
        for key in self.lanes_of(shard, connection) {
            let Some(mut slot) = self.shards[shard].lanes.remove(&key) else { continue };
            if let (Some(reason), Some(_), Machine::Lane(lane)) =
                (&bye, slot.socket, &mut slot.machine)
            {
                lane.bye(reason);
            }
            // What is queued goes out as far as the socket takes it.
            if bye.is_some() || slot.machine.is_plain() {
                slot.flush(env);
            }
            self.leave_link(env, shard, connection, slot);
            self.tell_kernel(env, shard, Item::LinkDown(connection, None));
        }
    }

    /// The only link of a connection is over.
    pub(super) fn end_link(
        &mut self,
        env: &mut Env,
        shard: usize,
        (connection, _): LaneKey,
        slot: Slot,
        reason: NodeDownReason,
    ) {
        env.tell(|| format!("{} has lost {}: {reason}", self.owner, slot.peer));
        self.shards[shard].over.insert(connection);
        self.leave_link(env, shard, connection, slot);
        self.tell_kernel(env, shard, Item::LinkDown(connection, Some(reason)));
    }

    /// Nothing comes from a link any more, and all queues that it fed are told.
    fn leave_link(
        &mut self,
        env: &mut Env,
        shard: usize,
        connection: ConnectionId,
        mut slot: Slot,
    ) {
        self.leave_socket(env, &mut slot);
        for signal in &slot.waiting {
            self.accepted_for(signal.from);
        }
        for other in 0..self.shards.len() {
            if other != shard {
                self.mesh.push(env, self.owner, shard, other, Item::Flush(connection));
            }
        }
    }
}
