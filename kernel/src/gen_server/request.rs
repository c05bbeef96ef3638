//! What a server receives: the shapes of `gen` messages on the wire.
//!
//! OTP: `gen.erl`. A call is `{'$gen_call', {Pid, Tag}, Request}` and its answer `{Tag, Reply}`
//! with the tag exactly as it came. A tag `[alias | Ref]` (an improper list) asks for the answer to
//! go to that alias, so that a caller that gave up gets nothing late.

use krarup_transport::term::{
    Atom, Limits, Pid, Reader, Term, read_atom, read_pid, read_tuple_header, to_bytes,
    write_tuple_header,
};
use serde::Serialize;

use crate::node::{BY_REFERENCE_BYTES_MIN, Encoded, SendError};
use crate::process::{Destination, Message, Process};
use crate::shard::Content;

/// Whom a call is from (Erlang: `From` of `handle_call`). It can be kept, and answered later.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pid: Pid,
    tag: Term,
}

/// A message to a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// `gen_server:call`: the caller waits.
    Call(Caller, Term),
    /// `gen_server:cast`.
    Cast(Term),
    /// A call of `sys`, which debuggers and supervisors make.
    System(Caller, Term),
    /// Any other message.
    Info(Term),
}

impl Request {
    /// Sorts a message.
    pub fn of(message: Term) -> Self {
        let Term::Tuple(parts) = &message else { return Request::Info(message) };
        match parts.as_slice() {
            [label, from, request] if is(label, "$gen_call") => match Caller::of(from) {
                Some(caller) => Request::Call(caller, request.clone()),
                None => Request::Info(message),
            },
            [label, from, request] if is(label, "system") => match Caller::of(from) {
                Some(caller) => Request::System(caller, request.clone()),
                None => Request::Info(message),
            },
            [label, request] if is(label, "$gen_cast") => Request::Cast(request.clone()),
            _ => Request::Info(message),
        }
    }
}

/// The front of a call or a cast, whose request is not read yet.
pub(super) enum Front {
    Call(Caller),
    Cast,
}

impl Front {
    /// What a message is by its front, and where its request begins; nothing for other messages.
    ///
    /// The request is the last element of a tuple, so it can be read as whatever the server takes
    /// without making a term of it first.
    pub(super) fn of(message: &Message) -> Option<(Self, usize)> {
        if message.is_raw() {
            return None;
        }
        let (bytes, atoms) = (message.bytes(), message.atoms());
        let mut reader = Reader::new(bytes);
        let arity = read_tuple_header(&mut reader).ok()?;
        let label = read_atom(&mut reader, atoms).ok()?;
        match (arity, label.as_str()) {
            (3, "$gen_call") => {
                if read_tuple_header(&mut reader).ok()? != 2 {
                    return None;
                }
                let pid = read_pid(&mut reader, atoms).ok()?;
                let rest = reader.rest();
                let (tag, length) = Term::decode(rest, atoms, &Limits::DEFAULT).ok()?;
                let position = bytes.len() - rest.len() + length;
                Some((Front::Call(Caller { pid, tag }), position))
            }
            (2, "$gen_cast") => Some((Front::Cast, reader.position())),
            _ => None,
        }
    }
}

impl Caller {
    fn of(from: &Term) -> Option<Self> {
        match from.as_tuple()? {
            [Term::Pid(pid), tag] => Some(Caller { pid: pid.clone(), tag: tag.clone() }),
            _ => None,
        }
    }

    /// The process that called.
    pub fn pid(&self) -> &Pid {
        &self.pid
    }

    /// Answers the call (Erlang: `gen_server:reply/2`).
    ///
    /// # Errors
    /// As [`Process::send`]. An answer that cannot be delivered is for nobody any more.
    pub async fn reply<T: Serialize + ?Sized>(
        self,
        me: &Process,
        answer: &T,
    ) -> Result<(), SendError> {
        let mut reply = self.reply_head();
        to_bytes(answer, &mut reply)?;
        if reply.len() >= BY_REFERENCE_BYTES_MIN {
            return me.send_encoded(self.into_destination(), Encoded::of_bytes(reply)).await;
        }
        me.send_content(self.into_destination(), Content::<()>::Term(&reply)).await
    }

    /// Answers with a term; large binaries in it go by reference.
    pub(crate) async fn reply_term(self, me: &Process, answer: &Term) -> Result<(), SendError> {
        let reply = Encoded::around(self.reply_head(), &Encoded::term(answer), Vec::new());
        me.send_encoded(self.into_destination(), reply).await
    }

    /// What stands in front of an answer: the head of a pair, and the tag.
    fn reply_head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(128);
        write_tuple_header(&mut head, 2);
        self.tag.encode(&mut head);
        head
    }

    fn into_destination(self) -> Destination {
        alias_of(&self.tag).unwrap_or(Destination::Pid(self.pid))
    }
}

fn is(term: &Term, text: &str) -> bool {
    term.as_atom().map(Atom::as_str) == Some(text)
}

/// The alias in `[alias | Ref]` and in multi_call's `[[alias | Ref] | _]`.
fn alias_of(tag: &Term) -> Option<Destination> {
    let Term::ImproperList(head, tail) = tag else { return None };
    match (head.as_slice(), &**tail) {
        ([alias], Term::Reference(reference)) if is(alias, "alias") => {
            Some(Destination::Alias(reference.clone()))
        }
        ([inner], _) => alias_of(inner),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use krarup_transport::term::{Creation, Reference};

    use super::*;

    fn reference() -> Reference {
        Reference::new(Atom::from_static("a@h"), Creation(7), &[1, 2, 3, 4, 5]).unwrap()
    }

    #[test]
    fn aliases_are_found_in_both_shapes_of_tags() {
        let alias = Term::Atom(Atom::from_static("alias"));
        let plain = Term::improper_list(vec![alias], Term::Reference(reference()));
        assert_eq!(alias_of(&plain), Some(Destination::Alias(reference())));
        let multi = Term::improper_list(vec![plain], Term::Reference(reference()));
        assert_eq!(alias_of(&multi), Some(Destination::Alias(reference())));
        assert_eq!(alias_of(&Term::Reference(reference())), None);
    }

    #[test]
    fn what_looks_like_a_call_and_is_none_is_an_ordinary_message() {
        let atom = |text| Term::Atom(Atom::from_static(text));
        for message in [
            atom("$gen_call"),
            Term::Tuple(vec![atom("$gen_call"), atom("me"), atom("x")]),
            Term::Tuple(vec![
                atom("$gen_call"),
                Term::Tuple(vec![atom("a"), atom("b")]),
                atom("x"),
            ]),
            Term::Tuple(vec![atom("$gen_cast")]),
            Term::Tuple(vec![atom("system"), Term::List(vec![]), atom("x")]),
        ] {
            assert_eq!(Request::of(message.clone()), Request::Info(message));
        }
    }
}
