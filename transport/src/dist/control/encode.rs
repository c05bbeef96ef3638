//! Control messages as the peer expects them.

use super::{Control, Destination, NotNegotiated, ProcessOrName, SpawnReply, SpawnRequest, Token};
use super::{altact, op};
use crate::dist::atom_cache::SendCache;
use crate::handshake::Flags;
use crate::term::tag;
use crate::term::{Atom, Pid, Reference, write_atom, write_integer, write_list_header};
use crate::term::{write_nil, write_tuple_header};

/// Where the payload of an encoded control message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadPlace {
    /// There is none.
    None,
    /// A term of its own behind the control message.
    Behind,
    /// The last element of the control tuple, which is to be written next (`EXIT_PAYLOAD` was not
    /// negotiated).
    Inside,
}

/// Writes the parts of a control message; node names and other atoms become references into the
/// distribution header when there is a cache.
#[derive(Debug)]
pub struct ControlWriter<'a> {
    out: &'a mut Vec<u8>,
    cache: Option<&'a mut SendCache>,
}

impl<'a> ControlWriter<'a> {
    /// A writer at the end of `out`, with the connection's cache if it has one.
    pub fn new(out: &'a mut Vec<u8>, cache: Option<&'a mut SendCache>) -> ControlWriter<'a> {
        ControlWriter { out, cache }
    }

    #[inline]
    fn head(&mut self, operation: u8, elements: u8) {
        // Op and elements are below 256, so these are the shortest forms.
        let head = [tag::SMALL_TUPLE, elements, tag::SMALL_INTEGER, operation];
        self.out.extend_from_slice(&head);
    }

    #[inline]
    fn atom(&mut self, atom: &Atom) {
        if let Some(cache) = &mut self.cache
            && let Some(entry) = cache.mention(atom)
        {
            self.out.extend_from_slice(&[tag::ATOM_CACHE_REF, entry]);
        } else {
            write_atom(self.out, atom);
        }
    }

    #[inline]
    fn pid(&mut self, pid: &Pid) {
        self.out.push(tag::NEW_PID);
        self.atom(&pid.node);
        let mut numbers = [0; 12];
        numbers[..4].copy_from_slice(&pid.id.to_be_bytes());
        numbers[4..8].copy_from_slice(&pid.serial.to_be_bytes());
        numbers[8..].copy_from_slice(&pid.creation.0.to_be_bytes());
        self.out.extend_from_slice(&numbers);
    }

    fn reference(&mut self, reference: &Reference) {
        let words = reference.words();
        // A reference has at most five words.
        self.out.extend_from_slice(&[tag::NEWER_REFERENCE, 0, words.len() as u8]);
        self.atom(&reference.node);
        self.out.extend_from_slice(&reference.creation.0.to_be_bytes());
        for word in words {
            self.out.extend_from_slice(&word.to_be_bytes());
        }
    }

    fn process_or_name(&mut self, value: &ProcessOrName) {
        match value {
            ProcessOrName::Process(pid) => self.pid(pid),
            ProcessOrName::Name(name) => self.atom(name),
        }
    }

    /// The cookie of old times: always the empty atom.
    fn no_cookie(&mut self) {
        self.atom(&const { Atom::from_static("") });
    }

    fn token(&mut self, token: Option<&Token>) {
        if let Some(token) = token {
            token.encode(self.out);
        }
    }
}

impl Control {
    /// Encodes the control message in the form the negotiated flags ask for.
    ///
    /// The receiver of a priority signal without `ALTACT_SIG` gets an ordinary one, as from OTP.
    ///
    /// # Errors
    /// [`NotNegotiated`] when the peer would not understand it in any form; nothing is written.
    #[inline]
    pub fn encode(
        &self,
        negotiated: Flags,
        writer: &mut ControlWriter<'_>,
    ) -> Result<PayloadPlace, NotNegotiated> {
        match self {
            Control::Send {
                from: Some(from),
                to: Destination::Process(to),
                priority: false,
                token: None,
            } if negotiated.send_sender() => {
                writer.head(op::SEND_SENDER, 3);
                writer.pid(from);
                writer.pid(to);
                Ok(PayloadPlace::Behind)
            }
            _ => self.encode_other(negotiated, writer),
        }
    }

    #[inline(never)]
    fn encode_other(
        &self,
        negotiated: Flags,
        writer: &mut ControlWriter<'_>,
    ) -> Result<PayloadPlace, NotNegotiated> {
        match self {
            Control::Send { from, to, priority, token } => {
                encode_send(negotiated, writer, from.as_ref(), to, *priority, token.as_ref())
            }
            Control::Link { from, to } => {
                writer.head(op::LINK, 3);
                writer.pid(from);
                writer.pid(to);
                Ok(PayloadPlace::None)
            }
            Control::Unlink { id, from, to } => {
                // UNLINK(4) would end the connection to any OTP from 26 on.
                require(negotiated.unlink_id(), "an unlink", "UNLINK_ID")?;
                encode_unlink(writer, op::UNLINK_ID, *id, from, to)
            }
            Control::UnlinkAck { id, from, to } => {
                require(negotiated.unlink_id(), "an unlink acknowledgement", "UNLINK_ID")?;
                encode_unlink(writer, op::UNLINK_ID_ACK, *id, from, to)
            }
            Control::Exit { from, to, token } => {
                let operations = ExitOperations {
                    payload: op::PAYLOAD_EXIT,
                    payload_traced: op::PAYLOAD_EXIT_TT,
                    inside: op::EXIT,
                    inside_traced: op::EXIT_TT,
                };
                Ok(encode_exit(negotiated, writer, &operations, from, to, token.as_ref()))
            }
            Control::Exit2 { from, to, priority, token } => {
                encode_exit2(negotiated, writer, from, to, *priority, token.as_ref())
            }
            Control::Monitor { from, to, reference } => {
                encode_monitor(negotiated, writer, op::MONITOR_P, from, to, reference)
            }
            Control::Demonitor { from, to, reference } => {
                encode_monitor(negotiated, writer, op::DEMONITOR_P, from, to, reference)
            }
            Control::MonitorExit { from, to, reference } => {
                require(negotiated.monitors(), "the exit of a monitored process", "DIST_MONITOR")?;
                let payload = negotiated.exit_payload();
                if payload {
                    writer.head(op::PAYLOAD_MONITOR_P_EXIT, 4);
                } else {
                    writer.head(op::MONITOR_P_EXIT, 5);
                }
                writer.process_or_name(from);
                writer.pid(to);
                writer.reference(reference);
                Ok(if payload { PayloadPlace::Behind } else { PayloadPlace::Inside })
            }
            Control::GroupLeader { leader, to } => {
                writer.head(op::GROUP_LEADER, 3);
                writer.pid(leader);
                writer.pid(to);
                Ok(PayloadPlace::None)
            }
            Control::SpawnRequest(request) => encode_spawn_request(negotiated, writer, request),
            Control::SpawnReply(reply) => encode_spawn_reply(negotiated, writer, reply),
        }
    }
}

fn require(
    negotiated: bool,
    signal: &'static str,
    flag: &'static str,
) -> Result<(), NotNegotiated> {
    if negotiated { Ok(()) } else { Err(NotNegotiated { signal, flag }) }
}

fn encode_send(
    negotiated: Flags,
    writer: &mut ControlWriter<'_>,
    from: Option<&Pid>,
    to: &Destination,
    priority: bool,
    token: Option<&Token>,
) -> Result<PayloadPlace, NotNegotiated> {
    let traced = u8::from(token.is_some());
    let needs_altact = priority || matches!(to, Destination::Alias(_));
    match (from, to) {
        (Some(from), to) if needs_altact && negotiated.altact_signal() => {
            encode_altact(writer, 0, from, to, priority, token);
        }
        (Some(from), Destination::Process(to)) if negotiated.send_sender() => {
            writer.head(op::SEND_SENDER + traced, 3 + traced);
            writer.pid(from);
            writer.pid(to);
            writer.token(token);
        }
        (_, Destination::Process(to)) => {
            writer.head(if traced == 1 { op::SEND_TT } else { op::SEND }, 3 + traced);
            writer.no_cookie();
            writer.pid(to);
            writer.token(token);
        }
        (Some(from), Destination::Name(name)) => {
            writer.head(if traced == 1 { op::REG_SEND_TT } else { op::REG_SEND }, 4 + traced);
            writer.pid(from);
            writer.no_cookie();
            writer.atom(name);
            writer.token(token);
        }
        (Some(from), Destination::Alias(alias)) => {
            require(negotiated.alias(), "a message to an alias", "ALIAS")?;
            writer.head(op::ALIAS_SEND + traced, 3 + traced);
            writer.pid(from);
            writer.reference(alias);
            writer.token(token);
        }
        (None, Destination::Name(_) | Destination::Alias(_)) => {
            let signal = "a message without sender to a name or alias";
            return Err(NotNegotiated { signal, flag: "(none: there is no such signal)" });
        }
    }
    Ok(PayloadPlace::Behind)
}

/// Op 37, for messages and for exit signals.
fn encode_altact(
    writer: &mut ControlWriter<'_>,
    kind: u8,
    from: &Pid,
    to: &Destination,
    priority: bool,
    token: Option<&Token>,
) {
    let mut flags = kind;
    if priority {
        flags |= altact::PRIORITY;
    }
    if token.is_some() {
        flags |= altact::TOKEN;
    }
    flags |= match to {
        Destination::Process(_) => 0,
        Destination::Name(_) => altact::NAME,
        Destination::Alias(_) => altact::ALIAS,
    };
    writer.head(op::ALTACT_SIG_SEND, 4 + u8::from(token.is_some()));
    write_integer(writer.out, flags);
    writer.pid(from);
    match to {
        Destination::Process(to) => writer.pid(to),
        Destination::Name(name) => writer.atom(name),
        Destination::Alias(alias) => writer.reference(alias),
    }
    writer.token(token);
}

fn encode_unlink(
    writer: &mut ControlWriter<'_>,
    operation: u8,
    id: u64,
    from: &Pid,
    to: &Pid,
) -> Result<PayloadPlace, NotNegotiated> {
    writer.head(operation, 4);
    write_integer(writer.out, id);
    writer.pid(from);
    writer.pid(to);
    Ok(PayloadPlace::None)
}

/// The four forms of an exit signal between two processes.
struct ExitOperations {
    payload: u8,
    payload_traced: u8,
    inside: u8,
    inside_traced: u8,
}

fn encode_exit(
    negotiated: Flags,
    writer: &mut ControlWriter<'_>,
    operations: &ExitOperations,
    from: &Pid,
    to: &Pid,
    token: Option<&Token>,
) -> PayloadPlace {
    let payload = negotiated.exit_payload();
    let operation = match (payload, token.is_some()) {
        (true, false) => operations.payload,
        (true, true) => operations.payload_traced,
        (false, false) => operations.inside,
        (false, true) => operations.inside_traced,
    };
    writer.head(operation, 3 + u8::from(token.is_some()) + u8::from(!payload));
    writer.pid(from);
    writer.pid(to);
    writer.token(token);
    if payload { PayloadPlace::Behind } else { PayloadPlace::Inside }
}

fn encode_exit2(
    negotiated: Flags,
    writer: &mut ControlWriter<'_>,
    from: &Pid,
    to: &Destination,
    priority: bool,
    token: Option<&Token>,
) -> Result<PayloadPlace, NotNegotiated> {
    if let Destination::Process(to) = to
        && !(priority && negotiated.altact_signal())
    {
        let operations = ExitOperations {
            payload: op::PAYLOAD_EXIT2,
            payload_traced: op::PAYLOAD_EXIT2_TT,
            inside: op::EXIT2,
            inside_traced: op::EXIT2_TT,
        };
        return Ok(encode_exit(negotiated, writer, &operations, from, to, token));
    }
    require(negotiated.altact_signal(), "an exit signal to a name or alias", "ALTACT_SIG")?;
    encode_altact(writer, altact::EXIT, from, to, priority, token);
    Ok(PayloadPlace::Behind)
}

fn encode_monitor(
    negotiated: Flags,
    writer: &mut ControlWriter<'_>,
    operation: u8,
    from: &Pid,
    to: &ProcessOrName,
    reference: &Reference,
) -> Result<PayloadPlace, NotNegotiated> {
    require(negotiated.monitors(), "a monitor", "DIST_MONITOR and DIST_MONITOR_NAME")?;
    writer.head(operation, 4);
    writer.pid(from);
    writer.process_or_name(to);
    writer.reference(reference);
    Ok(PayloadPlace::None)
}

fn encode_spawn_request(
    negotiated: Flags,
    writer: &mut ControlWriter<'_>,
    request: &SpawnRequest,
) -> Result<PayloadPlace, NotNegotiated> {
    require(negotiated.spawn(), "a spawn request", "SPAWN")?;
    let traced = u8::from(request.token.is_some());
    writer.head(op::SPAWN_REQUEST + traced, 6 + traced);
    writer.reference(&request.reference);
    writer.pid(&request.from);
    writer.pid(&request.group_leader);
    write_tuple_header(writer.out, 3);
    writer.atom(&request.module);
    writer.atom(&request.function);
    write_integer(writer.out, request.arity);
    if !request.options.is_empty() {
        write_list_header(writer.out, request.options.len());
        for option in &request.options {
            match option {
                super::SpawnOption::Link(None) => writer.atom(&const { Atom::from_static("link") }),
                super::SpawnOption::Monitor(None) => {
                    writer.atom(&const { Atom::from_static("monitor") });
                }
                other => other.to_term().encode(writer.out),
            }
        }
    }
    write_nil(writer.out);
    writer.token(request.token.as_ref());
    Ok(PayloadPlace::Behind)
}

fn encode_spawn_reply(
    negotiated: Flags,
    writer: &mut ControlWriter<'_>,
    reply: &SpawnReply,
) -> Result<PayloadPlace, NotNegotiated> {
    require(negotiated.spawn(), "a spawn reply", "SPAWN")?;
    let traced = u8::from(reply.token.is_some());
    writer.head(op::SPAWN_REPLY + traced, 5 + traced);
    writer.reference(&reply.reference);
    writer.pid(&reply.to);
    write_integer(writer.out, reply.flags);
    match &reply.result {
        Ok(pid) => writer.pid(pid),
        Err(reason) => writer.atom(reason),
    }
    writer.token(reply.token.as_ref());
    Ok(PayloadPlace::None)
}
