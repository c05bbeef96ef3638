//! The ways to send over a lane.

use std::convert::Infallible;

use bytes::Bytes;
use smallvec::SmallVec;

use super::ProcessNumber;
use super::frame::{Form, kind};
use super::lane::Lane;
use super::outbox::Kind;
use crate::dist::control::{Control, ControlWriter};
use crate::handshake::Flags;
use crate::link::{Busy, Outgoing, SendError, SenderKey};
use crate::term::Atom;

impl Lane {
    /// Sends a message of one term, encoded straight into the outbox: `encode` appends the term
    /// without version byte.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    #[inline]
    pub fn send_message_with<E>(
        &mut self,
        from: ProcessNumber,
        to: ProcessNumber,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        self.outbox.check_room()?;
        let kind = Kind { kind: kind::MESSAGE, flags: 0, from, to, is_message: true };
        self.outbox.send_with(kind, |_| Ok(()), encode)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends a message of bytes, which are copied.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    #[inline]
    pub fn send_raw(
        &mut self,
        from: ProcessNumber,
        to: ProcessNumber,
        bytes: &[u8],
    ) -> Result<(), SendError> {
        self.outbox.check_room()?;
        self.outbox.send_bytes(Form::Raw.flag(), from, to, bytes)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends a message whose payload is there already, in pieces. Pieces of 8 KiB and more are
    /// never copied.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    pub fn send_message(
        &mut self,
        from: ProcessNumber,
        to: ProcessNumber,
        payload: SmallVec<[Bytes; 1]>,
        form: Form,
    ) -> Result<(), SendError> {
        self.outbox.check_room()?;
        let kind = Kind { kind: kind::MESSAGE, flags: form.flag(), from, to, is_message: true };
        self.outbox.send_chunks(kind, &[], payload)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// As [`Lane::send_message_with`], to a registered name.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    #[inline]
    pub fn send_named_with<E>(
        &mut self,
        from: ProcessNumber,
        name: &Atom,
        form: Form,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        self.outbox.check_room()?;
        let write_name = |out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_str().as_bytes());
            Ok(())
        };
        self.outbox.send_with(named(from, form), write_name, encode)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// As [`Lane::send_message`], to a registered name.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room.
    pub fn send_named(
        &mut self,
        from: ProcessNumber,
        name: &Atom,
        payload: SmallVec<[Bytes; 1]>,
        form: Form,
    ) -> Result<(), SendError> {
        self.outbox.check_room()?;
        self.outbox.send_chunks(named(from, form), name.as_str().as_bytes(), payload)?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends any other signal, with the payload that belongs to it. The order is kept among the
    /// signals and messages of the same sender.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room; signals that are no
    /// messages have a reserve.
    pub fn send_signal(
        &mut self,
        sender: SenderKey,
        control: &Control,
        payload: Option<Outgoing<'_>>,
    ) -> Result<(), SendError> {
        if control.is_message() {
            self.outbox.check_room()?;
        } else {
            self.outbox.check_signal_room()?;
        }
        let kind = signal(sender, control);
        match payload {
            Some(Outgoing::Chunks(chunks)) => {
                // Borrowed for the time: its memory serves all signals.
                let mut head = std::mem::take(&mut self.scratch);
                head.clear();
                let sent = write_control::<Infallible>(control, &mut head)
                    .and_then(|()| self.outbox.send_chunks(kind, &head, chunks));
                self.scratch = head;
                sent?;
            }
            payload => {
                let write_head = |out: &mut Vec<u8>| write_control(control, out);
                self.outbox.send_with(kind, write_head, |out| {
                    if let Some(Outgoing::Encoded(bytes)) = payload {
                        out.extend_from_slice(bytes);
                    }
                    Ok(())
                })?;
            }
        }
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Sends any other signal whose payload `encode` appends, as [`Lane::send_message_with`] does.
    ///
    /// # Errors
    /// Nothing is queued then. After [`SendError::Busy`] wait for room; signals that are no
    /// messages have a reserve.
    pub fn send_signal_with<E>(
        &mut self,
        sender: SenderKey,
        control: &Control,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), SendError<E>> {
        if control.is_message() {
            self.outbox.check_room()?;
        } else {
            self.outbox.check_signal_room()?;
        }
        self.outbox.send_with(
            signal(sender, control),
            |out| write_control(control, out),
            encode,
        )?;
        self.counters.sent_signals += 1;
        Ok(())
    }

    /// Tells a process of the peer, `sender`, that the mailbox of `holder` is full: it must not send
    /// to that process, nor to `name`. One call for each registered name of the process.
    ///
    /// # Errors
    /// When even the reserve is used up: the session should be ended.
    pub fn hold(
        &mut self,
        holder: ProcessNumber,
        sender: ProcessNumber,
        name: Option<&Atom>,
    ) -> Result<(), Busy> {
        let name = name.map_or("", Atom::as_str);
        self.send_short(kind::HOLD, holder, sender, name.as_bytes())
    }

    /// Tells a process of the peer, `sender`, that it may send to `holder` again, by any name.
    ///
    /// # Errors
    /// When even the reserve is used up: the session should be ended.
    pub fn release(&mut self, holder: ProcessNumber, sender: ProcessNumber) -> Result<(), Busy> {
        self.send_short(kind::RELEASE, holder, sender, &[])
    }

    /// Tells the peer that the session ends, and why. It passes everything that waits for its turn,
    /// and is accepted whatever waits.
    pub fn bye(&mut self, reason: &Atom) {
        self.outbox.put_bye(reason.as_str().as_bytes());
    }

    fn send_short(
        &mut self,
        kind: u8,
        from: ProcessNumber,
        to: ProcessNumber,
        payload: &[u8],
    ) -> Result<(), Busy> {
        self.outbox.check_signal_room()?;
        // It tells about the present, so it need not wait behind what its sender sent before.
        self.outbox.put_short(Kind { kind, flags: 0, from, to, is_message: false }, payload);
        self.counters.sent_signals += 1;
        Ok(())
    }
}

fn named(from: ProcessNumber, form: Form) -> Kind {
    let (kind, flags, to) = (kind::NAMED, form.flag(), ProcessNumber::NONE);
    Kind { kind, flags, from, to, is_message: true }
}

fn signal(sender: SenderKey, control: &Control) -> Kind {
    let (id, serial) = sender.numbers();
    let from = ProcessNumber { id, serial };
    let (to, is_message) = (ProcessNumber::NONE, control.is_message());
    Kind { kind: kind::SIGNAL, flags: 0, from, to, is_message }
}

/// Krarup nodes know all signals, so no flag forbids one.
fn write_control<E>(control: &Control, out: &mut Vec<u8>) -> Result<(), SendError<E>> {
    control.encode(Flags::HIDDEN, &mut ControlWriter::new(out, None))?;
    Ok(())
}
