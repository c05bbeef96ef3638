//! Large messages for the outboxes of links and lanes.

use bytes::Bytes;
use krarup_transport::fabric::{Form, Lane, ProcessNumber};
use krarup_transport::link::{Link, Outgoing};

use crate::lanes::TO;
use crate::links::message_of;

/// Senders whose messages take turns.
pub(crate) const SENDERS: u32 = 4;

/// One message of every sender, by reference.
pub(crate) fn lane_send_large(lane: &mut Lane, payload: &Bytes) {
    for id in 0..SENDERS {
        let pieces = [payload.clone()].into_iter().collect();
        let from = ProcessNumber { id, serial: 1 };
        lane.send_message(from, TO, pieces, Form::Raw).expect("room");
    }
}

/// One message of every sender, by reference.
pub(crate) fn link_send_large(link: &mut Link, payload: &Bytes) {
    for id in 0..SENDERS {
        let pieces = [payload.clone()].into_iter().collect();
        link.send(&message_of(id), Some(Outgoing::Chunks(pieces))).expect("room");
    }
}
