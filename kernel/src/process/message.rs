//! A message: who sent it, and its payload as it came.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use krarup_transport::buffer::Slice;
use krarup_transport::dist::Atoms;
use krarup_transport::fabric::{Form, ProcessNumber, RunMessage};
use krarup_transport::link::Payload;
use krarup_transport::term::{self, Atom, ConvertError, Creation, DecodeError, Limits, Pid, Term};
use serde::Deserialize;

use super::ProcessId;

/// A message as it came: validated, not decoded. Its payload is one term, or bytes that another
/// Krarup process sent as they are ([`Process::send_bytes`](crate::Process::send_bytes)).
///
/// Raw bytes and a binary term with the same content are the same to every method that reads the
/// payload as a value: nobody needs to know whether the sender was an Erlang process.
pub struct Message {
    body: Body,
    /// Whose process sent it; nothing where the sender is not known.
    node: Option<Rc<Identity>>,
    number: ProcessNumber,
}

/// The name and creation that the pids of a node carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub(crate) name: Atom,
    pub(crate) creation: Creation,
}

/// A process as messages tell their sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sender {
    pub(crate) node: Rc<Identity>,
    pub(crate) number: ProcessNumber,
}

/// Nearly every payload is one piece without cache references; it takes no memory of its own.
pub(super) enum Body {
    Term(Slice),
    Raw(Slice),
    Other(Box<Parts>),
}

/// A payload in several parts, or with atoms of its connection's cache.
pub(super) struct Parts {
    pub(super) form: Form,
    pub(super) payload: Payload,
    /// The parts in one piece, made when a borrowed view needs it.
    joined: OnceCell<Vec<u8>>,
}

/// Memory that a queued payload may keep alive, as a multiple of its own length.
const PINNED_FACTOR_MAX: usize = 8;

impl Identity {
    /// The identity of a node that is not alive.
    pub(crate) fn nobody() -> Self {
        Identity { name: Atom::from_static(Self::NOBODY), creation: Creation(0) }
    }

    /// The name of a node that is not alive.
    pub(crate) const NOBODY: &'static str = "nonode@nohost";
}

impl Sender {
    pub(crate) fn new(node: Rc<Identity>, process: ProcessId) -> Self {
        Sender { node, number: process.number() }
    }
}

impl Message {
    /// A message of one piece without cache references.
    #[inline]
    pub(crate) fn new(sender: Option<Sender>, form: Form, payload: Slice) -> Self {
        let body = match form {
            Form::Term => Body::Term(payload),
            Form::Raw => Body::Raw(payload),
        };
        Message::with_body(sender, body)
    }

    /// A message of a run that came from `node`.
    #[inline]
    pub(super) fn of_run(node: Rc<Identity>, message: RunMessage) -> Self {
        let RunMessage { from: number, form, payload } = message;
        Message::new(Some(Sender { node, number }), form, payload)
    }

    /// A message of any shape.
    pub(crate) fn of_parts(sender: Option<Sender>, form: Form, mut payload: Payload) -> Self {
        if payload.parts.len() == 1
            && payload.atoms.is_empty()
            && let Some(part) = payload.parts.pop()
        {
            return Message::new(sender, form, part);
        }
        let parts = Parts { form, payload, joined: OnceCell::new() };
        Message::with_body(sender, Body::Other(Box::new(parts)))
    }

    #[inline]
    fn with_body(sender: Option<Sender>, body: Body) -> Self {
        match sender {
            Some(Sender { node, number }) => Message { body, node: Some(node), number },
            None => Message { body, node: None, number: ProcessNumber { id: 0, serial: 0 } },
        }
    }

    pub(super) fn into_parts(self) -> (Option<Sender>, Body) {
        let number = self.number;
        (self.node.map(|node| Sender { node, number }), self.body)
    }

    /// Who sent it, where the sender's node told (OTP 25 and later always do).
    pub fn sender(&self) -> Option<Pid> {
        let ProcessNumber { id, serial } = self.number;
        let Identity { name, creation } = &**self.node.as_ref()?;
        Some(Pid { node: name.clone(), id, serial, creation: *creation })
    }

    /// The same without its name, which is shared.
    pub(super) fn shared_sender(&self) -> Option<Sender> {
        Some(Sender { node: Rc::clone(self.node.as_ref()?), number: self.number })
    }

    /// Whether the payload is bytes as they were sent and no term.
    pub fn is_raw(&self) -> bool {
        self.form() == Form::Raw
    }

    fn form(&self) -> Form {
        match &self.body {
            Body::Term(_) => Form::Term,
            Body::Raw(_) => Form::Raw,
            Body::Other(parts) => parts.form,
        }
    }

    /// Length of the payload in bytes: of the term in external form as it came, or of the raw
    /// bytes.
    #[inline]
    pub fn size_bytes(&self) -> usize {
        match &self.body {
            Body::Term(part) | Body::Raw(part) => part.len(),
            Body::Other(parts) => parts.payload.len(),
        }
    }

    /// The bytes that were sent: raw ones, or the content of a binary. Nothing when the message is
    /// another term.
    ///
    /// They point into the received frame; those of a message that came in fragments are copied
    /// together once.
    #[inline]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Raw(bytes) => Some(bytes),
            Body::Term(term) => binary(term),
            Body::Other(_) => match self.form() {
                Form::Raw => Some(self.bytes()),
                Form::Term => binary(self.bytes()),
            },
        }
    }

    /// The message as a Rust value; borrowed text and bytes point into the received frame.
    ///
    /// # Errors
    /// When the term does not have the shape of `T`.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ConvertError> {
        match self.form() {
            Form::Term => term::from_bytes(self.bytes(), self.atoms(), &Limits::DEFAULT),
            Form::Raw => term::from_raw(self.bytes()),
        }
    }

    /// The message as an owned term; raw bytes are a binary.
    ///
    /// # Errors
    /// When the term is beyond the default [`Limits`].
    pub fn term(&self) -> Result<Term, DecodeError> {
        match &self.body {
            Body::Term(part) => {
                Term::decode(part, &Atoms::NONE, &Limits::DEFAULT).map(|(term, _)| term)
            }
            Body::Other(parts) if parts.form == Form::Term => {
                parts.payload.decode(&Limits::DEFAULT)
            }
            Body::Raw(_) | Body::Other(_) => Ok(Term::Binary(self.bytes().to_vec().into())),
        }
    }

    /// The payload in one piece: the validated bytes of the term, or the raw bytes; see
    /// [`Message::is_raw`]. The parts of a message that came in fragments are copied together
    /// once. Atom cache references of a term point into [`Message::atoms`].
    pub fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Term(part) | Body::Raw(part) => part,
            Body::Other(parts) => match parts.payload.contiguous() {
                Some(bytes) => bytes,
                None => parts.joined.get_or_init(|| {
                    let parts: Vec<&[u8]> = self.parts().iter().map(Slice::as_slice).collect();
                    parts.concat()
                }),
            },
        }
    }

    /// The payload in the parts it came in: one, or the fragments of a large message. Each part
    /// can be kept without copying, as a slice or as [`Bytes`](bytes::Bytes).
    pub fn parts(&self) -> &[Slice] {
        match &self.body {
            Body::Term(part) | Body::Raw(part) => std::slice::from_ref(part),
            Body::Other(parts) => &parts.payload.parts,
        }
    }

    /// The atoms that cache references in the term point to; empty when it has none.
    pub fn atoms(&self) -> &Atoms {
        match &self.body {
            Body::Term(_) | Body::Raw(_) => const { &Atoms::NONE },
            Body::Other(parts) => &parts.payload.atoms,
        }
    }

    /// Copies a small payload out of the receive slab it lies in, so that a message that is not
    /// read soon does not keep a whole slab from being used again.
    pub(super) fn let_go_of_slab(&mut self) {
        let parts = match &mut self.body {
            Body::Term(part) | Body::Raw(part) => std::slice::from_mut(part),
            Body::Other(parts) => &mut parts.payload.parts,
        };
        for part in parts {
            if part.held_bytes() > PINNED_FACTOR_MAX * part.len() {
                *part = Slice::copy_from(part);
            }
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sender", &self.sender())
            .field("form", &self.form())
            .field("parts", &self.parts())
            .finish()
    }
}

/// The content of a binary that is the whole term.
#[inline]
fn binary(term: &[u8]) -> Option<&[u8]> {
    let (head, content) = term.split_first_chunk::<5>()?;
    let [term::tag::BINARY, length @ ..] = head else { return None };
    (u32::from_be_bytes(*length) as usize == content.len()).then_some(content)
}

#[cfg(test)]
mod tests {
    use krarup_transport::term::write_binary;

    use super::*;

    fn binary_term(content: &[u8]) -> Vec<u8> {
        let mut term = Vec::new();
        write_binary(&mut term, content);
        term
    }

    fn message(form: Form, parts: &[&[u8]]) -> Message {
        let parts = parts.iter().map(|part| Slice::copy_from(part)).collect();
        Message::of_parts(None, form, Payload { parts, ..Payload::default() })
    }

    #[test]
    fn raw_bytes_and_binaries_read_the_same_in_one_part_or_several() {
        let content = b"a few bytes";
        let term = binary_term(content);
        let (head, tail) = term.split_at(8);
        for message in [
            message(Form::Raw, &[content]),
            message(Form::Raw, &[&content[..4], &content[4..]]),
            message(Form::Term, &[&term]),
            message(Form::Term, &[head, tail]),
        ] {
            assert_eq!(message.as_bytes(), Some(&content[..]), "{message:?}");
            assert_eq!(message.decode::<&[u8]>(), Ok(&content[..]));
            assert_eq!(message.decode::<String>(), Ok("a few bytes".to_owned()));
            assert_eq!(message.term(), Ok(Term::Binary(content.to_vec().into())));
            assert!(message.decode::<u64>().is_err());
        }
    }

    #[test]
    fn other_terms_have_no_bytes() {
        for term in [&[97, 1][..], &[106], &binary_term(b"x")[..5]] {
            assert_eq!(message(Form::Term, &[term]).as_bytes(), None);
        }
    }

    #[test]
    fn a_message_is_small() {
        assert!(size_of::<Message>() <= 48, "{} bytes", size_of::<Message>());
        assert_eq!(size_of::<super::super::Signal>(), size_of::<Message>());
    }
}
