//! What a server receives: the shapes of `gen` messages on the wire.
//!
//! OTP: `gen.erl`. A call is `{'$gen_call', {Pid, Tag}, Request}` and its answer `{Tag, Reply}`
//! with the tag exactly as it came. A tag `[alias | Ref]` (an improper list) asks for the answer to
//! go to that alias, so that a caller that gave up gets nothing late.

use krarup_transport::dist::Atoms;
use krarup_transport::term::{
    Atom, Limits, Pid, Reader, Reference, Term, read_atom, read_pid, read_tuple_header, to_bytes,
    write_atom, write_list_header, write_reference, write_tuple_header,
};
use serde::Serialize;

use super::call::read_alias_tag;
use crate::atoms::is;
use crate::node::{BY_REFERENCE_BYTES_MIN, Encoded, SendError};
use crate::process::{Destination, Message, Process};
use crate::shard::Content;

/// Whom a call is from (Erlang: `From` of `handle_call`). It can be kept, and answered later.
#[derive(Clone, Debug, PartialEq)]
pub struct Caller {
    pid: Pid,
    tag: Tag,
}

/// What an answer repeats, so that its receiver knows the call.
#[derive(Clone, Debug, PartialEq)]
enum Tag {
    /// `[alias | Reference]`.
    Alias(Reference),
    Other(Term),
}

/// What stands before the request in a message to a server.
#[derive(Debug)]
pub(super) struct Front {
    /// Nobody for a cast.
    pub(super) caller: Option<Caller>,
    /// Where the request begins.
    pub(super) request_at: usize,
}

impl Front {
    /// Reads a call or a cast where it lies, and leaves the request to whoever knows its shape.
    /// Nothing for all other messages, and for those in several parts.
    pub(super) fn of(message: &Message) -> Option<Self> {
        let [bytes] = message.parts() else { return None };
        if message.is_raw() {
            return None;
        }
        let (mut reader, atoms) = (Reader::new(bytes), message.atoms());
        let arity = read_tuple_header(&mut reader).ok()?;
        let label = read_atom(&mut reader, atoms).ok()?;
        let caller = match (label.as_str(), arity) {
            ("$gen_call", 3) => Some(Caller::read(&mut reader, atoms)?),
            ("$gen_cast", 2) => None,
            _ => return None,
        };
        Some(Front { caller, request_at: reader.position() })
    }
}

impl Tag {
    fn of(term: &Term) -> Self {
        match alias_in(term) {
            Some(reference) => Tag::Alias(reference.clone()),
            None => Tag::Other(term.clone()),
        }
    }

    fn read(reader: &mut Reader<'_>, atoms: &Atoms) -> Option<Self> {
        let mut ahead = Reader::new(reader.rest());
        let (tag, length) = match read_alias_tag(&mut ahead, atoms) {
            Some(reference) => (Tag::Alias(reference), ahead.position()),
            None => {
                let (term, length) = Term::decode(reader.rest(), atoms, &Limits::DEFAULT).ok()?;
                (Tag::Other(term), length)
            }
        };
        reader.take(length).ok()?;
        Some(tag)
    }

    /// The front of an answer.
    fn write_front(&self, out: &mut Vec<u8>) {
        write_tuple_header(out, 2);
        match self {
            Tag::Alias(reference) => {
                write_list_header(out, 1);
                write_atom(out, &Atom::from_static("alias"));
                write_reference(out, reference);
            }
            Tag::Other(term) => term.encode(out),
        }
    }
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
            [Term::Pid(pid), tag] => Some(Caller { pid: pid.clone(), tag: Tag::of(tag) }),
            _ => None,
        }
    }

    fn read(reader: &mut Reader<'_>, atoms: &Atoms) -> Option<Self> {
        if read_tuple_header(reader).ok()? != 2 {
            return None;
        }
        let pid = read_pid(reader, atoms).ok()?;
        Some(Caller { pid, tag: Tag::read(reader, atoms)? })
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
        let mut reply = Vec::with_capacity(128);
        self.tag.write_front(&mut reply);
        to_bytes(answer, &mut reply)?;
        let to = self.destination();
        if reply.len() < BY_REFERENCE_BYTES_MIN {
            return me.send_content(to, Content::<()>::Term(&reply)).await;
        }
        me.send_encoded(to, Encoded::of_bytes(reply)).await
    }

    /// Answers with a term; large binaries in it go by reference.
    pub(crate) async fn reply_term(self, me: &Process, answer: &Term) -> Result<(), SendError> {
        let mut front = Vec::with_capacity(64);
        self.tag.write_front(&mut front);
        let reply = Encoded::around(front, &Encoded::term(answer), Vec::new());
        me.send_encoded(self.destination(), reply).await
    }

    /// Where the answer goes.
    fn destination(self) -> Destination {
        match self.tag {
            Tag::Alias(reference) => Destination::Alias(reference),
            Tag::Other(term) => alias_of(&term).unwrap_or(Destination::Pid(self.pid)),
        }
    }
}

/// The reference in `[alias | Ref]`.
fn alias_in(tag: &Term) -> Option<&Reference> {
    let Term::ImproperList(head, tail) = tag else { return None };
    match (head.as_slice(), &**tail) {
        ([alias], Term::Reference(reference)) if is(alias, "alias") => Some(reference),
        _ => None,
    }
}

/// The alias in `[alias | Ref]` and in multi_call's `[[alias | Ref] | _]`.
fn alias_of(tag: &Term) -> Option<Destination> {
    if let Some(reference) = alias_in(tag) {
        return Some(Destination::Alias(reference.clone()));
    }
    match tag {
        Term::ImproperList(head, _) => match head.as_slice() {
            [inner] => alias_of(inner),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use krarup_transport::buffer::Slice;
    use krarup_transport::fabric::Form;
    use krarup_transport::term::{Creation, from_bytes};

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

    fn message(term: &Term) -> Message {
        let mut bytes = Vec::new();
        term.encode(&mut bytes);
        Message::new(None, Form::Term, Slice::copy_from(&bytes))
    }

    #[test]
    fn a_call_is_read_where_it_lies_as_from_a_term() {
        let atom = |text| Term::Atom(Atom::from_static(text));
        let pid = Pid { node: Atom::from_static("a@h"), id: 1, serial: 2, creation: Creation(7) };
        let alias = Term::improper_list(vec![atom("alias")], Term::Reference(reference()));
        let multi = Term::improper_list(vec![alias.clone()], Term::Reference(reference()));
        let request = Term::Tuple(vec![atom("get"), Term::Integer(5)]);
        for tag in [alias, multi, Term::Reference(reference()), request.clone()] {
            let from = Term::Tuple(vec![Term::Pid(pid.clone()), tag.clone()]);
            let call = Term::Tuple(vec![atom("$gen_call"), from, request.clone()]);
            let message = message(&call);
            let front = Front::of(&message).expect("a call");
            let Request::Call(caller, _) = Request::of(call) else { panic!("no call") };
            let mut written = Vec::new();
            caller.tag.write_front(&mut written);
            let mut expected = vec![104, 2];
            tag.encode(&mut expected);
            assert_eq!(written, expected);
            assert_eq!(front.caller, Some(caller));
            assert_eq!(
                from_bytes::<Term, _>(
                    &message.bytes()[front.request_at..],
                    message.atoms(),
                    &Limits::DEFAULT
                ),
                Ok(request.clone())
            );
        }
        let cast = message(&Term::Tuple(vec![atom("$gen_cast"), request]));
        let front = Front::of(&cast).expect("a cast");
        assert!(front.caller.is_none());
        assert_eq!(&cast.bytes()[front.request_at..][..2], &[104, 2]);
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
            assert!(Front::of(&self::message(&message)).is_none(), "{message}");
            assert_eq!(Request::of(message.clone()), Request::Info(message));
        }
    }
}
