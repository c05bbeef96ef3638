//! What a server receives: the shapes of `gen` messages on the wire.
//!
//! OTP: `gen.erl`. A call is `{'$gen_call', {Pid, Tag}, Request}` and its answer `{Tag, Reply}`
//! with the tag exactly as it came. A tag `[alias | Ref]` (an improper list) asks for the answer to
//! go to that alias, so that a caller that gave up gets nothing late.

use krarup_transport::term::{Atom, Pid, Term};
use serde::Serialize;

use crate::node::{Encoded, SendError};
use crate::process::{Destination, Process};

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
        let answer = Encoded::new(answer)?;
        self.reply_encoded(me, &answer).await
    }

    /// Answers with a term; large binaries in it go by reference.
    pub(crate) async fn reply_term(self, me: &Process, answer: &Term) -> Result<(), SendError> {
        self.reply_encoded(me, &Encoded::term(answer)).await
    }

    async fn reply_encoded(self, me: &Process, answer: &Encoded) -> Result<(), SendError> {
        let mut head = Vec::with_capacity(64);
        krarup_transport::term::write_tuple_header(&mut head, 2);
        self.tag.encode(&mut head);
        let reply = Encoded::around(head, answer, Vec::new());
        let to = alias_of(&self.tag).unwrap_or(Destination::Pid(self.pid));
        me.send_encoded(to, reply).await
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
