//! The calling side.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use krarup_transport::dist::Atoms;
use krarup_transport::term::{
    Atom, ConvertError, Limits, Pid, Reader, Reference, from_bytes, read_atom, read_reference,
    read_tuple_header, tag, to_bytes, write_atom, write_list_header, write_pid, write_reference,
    write_tuple_header,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CallError;
use crate::node::{Encoded, Node, Reply, SendError};
use crate::process::{AliasMode, Answer, AnswerSlot, AsDestination, Destination, Message, Process};
use crate::rpc::within;
use crate::shard::{Content, Wait};

/// A call that waits for its answer: made by [`Process::call`]. Dropping it gives the call up: the
/// monitor is taken back, and a late answer is dropped.
#[must_use = "the answer is lost unless this is awaited"]
pub struct Call<'a, T> {
    process: &'a Process,
    to: Destination,
    slot: Rc<AnswerSlot>,
    reference: Reference,
    /// The message, while it waits for room or for the connection.
    unsent: RefCell<Option<(Vec<u8>, Wait)>>,
    answered: Cell<bool>,
    failed: RefCell<Option<CallError>>,
    answer: PhantomData<fn() -> T>,
}

/// The answers of the servers of one name on several nodes; see [`Process::multi_call`].
#[derive(Clone, Debug, PartialEq)]
pub struct MultiCall<T> {
    /// The nodes that answered, and what.
    pub replies: Vec<(Atom, T)>,
    /// The nodes that did not.
    pub bad_nodes: Vec<(Atom, CallError)>,
}

impl<T> std::fmt::Debug for Call<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("to", &self.to).finish_non_exhaustive()
    }
}

impl<'a, T: DeserializeOwned> Call<'a, T> {
    /// Monitors the server and sends the request.
    pub(crate) fn begin<R: Serialize + ?Sized>(
        process: &'a Process,
        to: Destination,
        request: &R,
    ) -> Self {
        let slot = Rc::<AnswerSlot>::default();
        let target = to.as_destination();
        let shard = process.shard();
        let question = Some(Rc::clone(&slot));
        let reference = shard.monitor(process.cell(), target, Some(AliasMode::Reply), question);
        let message = call_message(&process.pid(), &reference, request);
        let (unsent, failed) = match message {
            Ok(message) => match process.try_send_content(target, Content::<()>::Term(&message)) {
                Ok(()) => (None, None),
                Err(SendError::Busy { .. } | SendError::NoConnection { .. }) => {
                    (Some((message, Wait::Nothing)), None)
                }
                Err(error) => (None, Some(unsendable(error))),
            },
            Err(error) => (None, Some(error.into())),
        };
        Call {
            process,
            to,
            slot,
            reference,
            unsent: RefCell::new(unsent),
            answered: Cell::new(false),
            failed: RefCell::new(failed),
            answer: PhantomData,
        }
    }

    /// Sends what could not be sent at once.
    fn poll_send(&self, cx: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let mut unsent = self.unsent.borrow_mut();
        let Some((message, wait)) = &mut *unsent else { return Poll::Ready(Ok(())) };
        let send = || self.process.pass_on(self.to.as_destination(), Content::<()>::Term(message));
        let sent = ready!(self.process.shard().poll_send(cx, wait, send));
        *unsent = None;
        match sent {
            Ok(()) => Poll::Ready(Ok(())),
            // The monitor says the same, and is the one to be believed.
            Err(SendError::NoConnection { .. }) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(unsendable(error))),
        }
    }
}

impl<T: DeserializeOwned> Future for Call<'_, T> {
    type Output = Result<T, CallError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        if self.process.shard().is_stopping() {
            return Poll::Ready(Err(CallError::Stopped));
        }
        let answer = ready!(self.slot.poll(cx));
        self.answered.set(true);
        Poll::Ready(match answer {
            Answer::Message(message) => answer_of(&message).map_err(CallError::from),
            Answer::Down(reason) => Err(match reason.decode(&Limits::DEFAULT) {
                Ok(reason) => CallError::of_down(reason),
                Err(error) => CallError::Convert(error.into()),
            }),
            // Nobody was asked to start a process.
            Answer::Spawned(_) => Err(CallError::NoProcess),
        })
    }
}

impl<T> Drop for Call<'_, T> {
    fn drop(&mut self) {
        if !self.answered.get() {
            self.process.shard().demonitor(self.process.cell(), &self.reference);
        }
    }
}

fn unsendable(error: SendError) -> CallError {
    match error {
        SendError::Encode(error) => CallError::Convert(error),
        SendError::Stopped => CallError::Stopped,
        _ => CallError::NoConnection,
    }
}

/// `{'$gen_call', {Pid, [alias | Reference]}, Request}`
fn call_message<R: Serialize + ?Sized>(
    from: &Pid,
    reference: &Reference,
    request: &R,
) -> Result<Vec<u8>, ConvertError> {
    let mut out = Vec::with_capacity(128);
    write_tuple_header(&mut out, 3);
    write_atom(&mut out, &Atom::from_static("$gen_call"));
    write_tuple_header(&mut out, 2);
    write_pid(&mut out, from);
    write_list_header(&mut out, 1);
    write_atom(&mut out, &Atom::from_static("alias"));
    write_reference(&mut out, reference);
    to_bytes(request, &mut out)?;
    Ok(out)
}

/// `{'$gen_cast', Request}`
pub(crate) fn cast_message<R: Serialize + ?Sized>(request: &R) -> Result<Encoded, ConvertError> {
    let mut out = Vec::with_capacity(64);
    write_tuple_header(&mut out, 2);
    write_atom(&mut out, &Atom::from_static("$gen_cast"));
    to_bytes(request, &mut out)?;
    Ok(Encoded::of_bytes(out))
}

/// The second element of `{[alias | Reference], Reply}`.
fn answer_of<T: DeserializeOwned>(message: &Message) -> Result<T, ConvertError> {
    let bytes = message.bytes();
    let Some((_, position)) = tag_of(bytes, message.atoms()) else {
        return message.decode::<(serde::de::IgnoredAny, T)>().map(|(_, reply)| reply);
    };
    from_bytes(&bytes[position..], message.atoms(), &Limits::DEFAULT)
}

/// The reference that a message answers by its shape, whoever it is sent to.
pub(crate) fn answered_tag(message: &Message) -> Option<Reference> {
    // Most messages are none, and are known by their first bytes.
    let head = message.parts().first()?;
    if message.is_raw() || !matches!(head.as_slice(), [tag::SMALL_TUPLE, 2, tag::LIST, ..]) {
        return None;
    }
    tag_of(message.bytes(), message.atoms()).map(|(tag, _)| tag)
}

/// The reference in a tag at the front of a pair, and where the pair's second element begins.
fn tag_of(bytes: &[u8], atoms: &Atoms) -> Option<(Reference, usize)> {
    let mut reader = Reader::new(bytes);
    if read_tuple_header(&mut reader).ok()? != 2 {
        return None;
    }
    let reference = read_alias_tag(&mut reader, atoms)?;
    Some((reference, reader.position()))
}

/// The reference in `[alias | Reference]`.
pub(super) fn read_alias_tag(reader: &mut Reader<'_>, atoms: &Atoms) -> Option<Reference> {
    if reader.u8().ok()? != tag::LIST
        || reader.u32().ok()? != 1
        || read_atom(reader, atoms).ok()?.as_str() != "alias"
    {
        return None;
    }
    read_reference(reader, atoms).ok()
}

/// A call from outside the shards: a process of its own makes it.
pub(crate) fn call_from_outside<T: DeserializeOwned + Send + 'static>(
    local: &Node,
    to: Destination,
    request: Result<Encoded, ConvertError>,
    timeout: Duration,
) -> Reply<Result<T, CallError>> {
    let request = match request.map(|request| request.to_term()) {
        Ok(Some(request)) => request,
        Ok(None) => return Reply::known(Err(CallError::NoProcess)),
        Err(error) => return Reply::known(Err(error.into())),
    };
    local.ask(
        || Err(CallError::Stopped),
        move |me| async move {
            let call = within(timeout, Call::begin(&me, to, &request));
            call.await.unwrap_or(Err(CallError::Timeout))
        },
    )
}
