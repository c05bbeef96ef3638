//! The proof that both ends of a join know the cookie and mean the same session, lane and epoch.

use std::fmt;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Role;
use crate::handshake::{Cookie, Flags, NodeName};
use crate::term::Creation;

/// A random number used in one join only, from the operating system's random source.
pub type Nonce = [u8; 32];

/// What a session's joins are bound to: all that the first link's handshake settled.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The cookie the first link was proven with. A cookie changed later counts for new sessions.
    pub cookie: Cookie,
    /// The node that dialled the first link, and its creation.
    pub initiator: (NodeName, Creation),
    /// The node that accepted it.
    pub acceptor: (NodeName, Creation),
    /// The flags both negotiated.
    pub flags: Flags,
}

/// A proof. Not printed: with the messages of its join it lets anyone try cookies.
#[derive(Clone, Copy)]
pub(super) struct Mac(pub(super) [u8; 32]);

impl fmt::Debug for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mac(hidden)")
    }
}

/// What a proof says, beside the credentials.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement<'a> {
    /// The `join` message without its length: version, session, lane, epoch, the initiator's
    /// nonce and position.
    pub(super) join: &'a [u8],
    /// The acceptor's nonce.
    pub(super) nonce_a: &'a Nonce,
    /// The acceptor's position.
    pub(super) received_a: u64,
}

impl Credentials {
    /// The proof of the side with this role.
    pub(super) fn prove(&self, role: Role, statement: Statement<'_>) -> Mac {
        // A key of any length is taken: HMAC hashes the long ones.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.cookie.latin1())
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(b"krarup-fabric");
        mac.update(match role {
            Role::Initiator => b"I",
            Role::Acceptor => b"A",
        });
        for (name, creation) in [&self.initiator, &self.acceptor] {
            let name = name.latin1();
            // A name has at most 255 characters, of one byte each in Latin-1.
            mac.update(&[name.len() as u8]);
            mac.update(&name);
            mac.update(&creation.0.to_le_bytes());
        }
        mac.update(&self.flags.bits().to_le_bytes());
        mac.update(statement.join);
        mac.update(statement.nonce_a);
        mac.update(&statement.received_a.to_le_bytes());
        Mac(mac.finalize().into_bytes().into())
    }

    /// Whether `mac` is the proof of the side with this role. Takes the same time whatever it is.
    pub(super) fn verifies(&self, role: Role, statement: Statement<'_>, mac: &Mac) -> bool {
        self.prove(role, statement).0.ct_eq(&mac.0).into()
    }
}
