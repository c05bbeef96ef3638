//! Control messages as they come from a peer.

use std::ops::Range;

use super::{Control, ControlError, Destination, ProcessOrName, SpawnOption, SpawnReply};
use super::{SpawnRequest, Token, altact, op};
use crate::term::{Atom, Limits, Pid, Reader, Reference, Term, tag, validate_with};
use crate::term::{Creation, read_atom, read_pid, read_reference, read_tuple_header, read_u64};

/// Most terms in one option list or trace token, and what they may take in memory: both are
/// decoded before anybody asks for them, and OTP's have a handful.
const OWNED_NODES_MAX: usize = 1 << 16;
const OWNED_BYTES_MAX: usize = 4 << 20;

/// The two nodes of a connection: identifiers in control messages are checked against them.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// This node.
    pub local: &'a Atom,
    /// The connected node.
    pub peer: &'a Atom,
}

/// A decoded control message.
#[derive(Debug)]
pub struct Decoded {
    /// What it says.
    pub control: Control,
    /// Bytes it takes.
    pub len: usize,
    /// Where the exit reason stands inside it, in the forms that carry it there (ops 3, 8, 13, 18
    /// and 21).
    pub reason: Option<Reason>,
}

/// An exit reason inside a control message: a valid term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Its bytes, counted from the start of the control message.
    pub range: Range<usize>,
    /// Whether it refers to the header's atoms.
    pub uses_atom_cache: bool,
}

impl Control {
    /// Decodes the control message at the start of `bytes`. What follows is the payload.
    ///
    /// # Errors
    /// Each ends the connection, as it does in OTP.
    #[inline]
    pub fn decode(
        bytes: &[u8],
        atoms: &[Atom],
        names: Names<'_>,
        limits: &Limits,
    ) -> Result<Decoded, ControlError> {
        if let Some(send) = PlainSend::read(bytes, atoms, names) {
            return Ok(Decoded { control: send.to_control(), len: send.len, reason: None });
        }
        Elements { reader: Reader::new(bytes), atoms, names, limits, op: 0 }.decode()
    }
}

/// What nearly every signal is: `{22, From, To}` between processes of known nodes. It is read
/// without making a copy of anything, so that the control message is built once, in its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainSend<'a> {
    pub(crate) from: KnownPid<'a>,
    pub(crate) to: KnownPid<'a>,
    /// Bytes of the control message.
    pub(crate) len: usize,
}

/// A pid whose node's name is at hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownPid<'a> {
    pub(crate) node: &'a Atom,
    pub(crate) id: u32,
    pub(crate) serial: u32,
    pub(crate) creation: Creation,
}

impl<'a> PlainSend<'a> {
    /// Reads one from the start of `bytes`. Nothing is said about a control message that is none,
    /// not even whether it is right.
    #[inline]
    pub(crate) fn read(bytes: &[u8], atoms: &'a [Atom], names: Names<'a>) -> Option<PlainSend<'a>> {
        const HEAD: &[u8] = &[tag::SMALL_TUPLE, 3, tag::SMALL_INTEGER, op::SEND_SENDER];
        let mut rest = bytes.strip_prefix(HEAD)?;
        let from = KnownPid::read(&mut rest, atoms, names.peer, names.local)?;
        let to = KnownPid::read(&mut rest, atoms, names.local, names.peer)?;
        Some(PlainSend { from, to, len: bytes.len() - rest.len() })
    }

    #[inline]
    pub(crate) fn to_control(self) -> Control {
        Control::Send {
            from: Some(self.from.to_pid()),
            to: Destination::Process(self.to.to_pid()),
            priority: false,
            token: None,
        }
    }
}

impl<'a> KnownPid<'a> {
    /// Takes a pid from the front of `rest`, most likely one of the node `likely`.
    #[inline]
    fn read(
        rest: &mut &[u8],
        atoms: &'a [Atom],
        likely: &'a Atom,
        other: &'a Atom,
    ) -> Option<KnownPid<'a>> {
        let (node, after) = match **rest {
            [tag::NEW_PID, tag::ATOM_CACHE_REF, entry, ref after @ ..] => {
                (atoms.get(usize::from(entry))?, after)
            }
            [tag::NEW_PID, tag::SMALL_ATOM_UTF8, len, ref after @ ..] => {
                let (text, after) = after.split_at_checked(usize::from(len))?;
                if likely.as_str().as_bytes() == text {
                    (likely, after)
                } else if other.as_str().as_bytes() == text {
                    (other, after)
                } else {
                    return None;
                }
            }
            _ => return None,
        };
        let (numbers, after) = after.split_first_chunk::<12>()?;
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *numbers;
        *rest = after;
        Some(KnownPid {
            node,
            id: u32::from_be_bytes([a, b, c, d]),
            serial: u32::from_be_bytes([e, f, g, h]),
            creation: Creation(u32::from_be_bytes([i, j, k, l])),
        })
    }

    #[inline]
    fn to_pid(self) -> Pid {
        let KnownPid { node, id, serial, creation } = self;
        Pid { node: node.clone(), id, serial, creation }
    }
}

/// Reads the elements of a control tuple one after the other.
struct Elements<'a> {
    reader: Reader<'a>,
    atoms: &'a [Atom],
    names: Names<'a>,
    limits: &'a Limits,
    op: u8,
}

impl Elements<'_> {
    #[inline(never)]
    fn decode(mut self) -> Result<Decoded, ControlError> {
        let arity = read_tuple_header(&mut self.reader)?;
        if arity == 0 {
            return Err(ControlError::Arity { operation: 0, came: 0 });
        }
        let operation = read_u64(&mut self.reader)?;
        self.op =
            u8::try_from(operation).map_err(|_| ControlError::UnknownOperation { operation })?;
        let expected = match self.op {
            op::UNLINK | op::NODE_LINK => {
                return Err(ControlError::Obsolete { operation: self.op });
            }
            op::LINK | op::SEND | op::GROUP_LEADER | op::SEND_SENDER | op::ALIAS_SEND => 3,
            op::PAYLOAD_EXIT | op::PAYLOAD_EXIT2 => 3,
            op::EXIT | op::EXIT2 | op::REG_SEND | op::SEND_TT | op::SEND_SENDER_TT => 4,
            op::PAYLOAD_EXIT_TT | op::PAYLOAD_EXIT2_TT | op::PAYLOAD_MONITOR_P_EXIT => 4,
            op::MONITOR_P | op::DEMONITOR_P | op::UNLINK_ID | op::UNLINK_ID_ACK => 4,
            op::ALIAS_SEND_TT => 4,
            op::EXIT_TT | op::EXIT2_TT | op::REG_SEND_TT | op::MONITOR_P_EXIT => 5,
            op::SPAWN_REPLY => 5,
            op::SPAWN_REQUEST | op::SPAWN_REPLY_TT => 6,
            op::SPAWN_REQUEST_TT => 7,
            // Later releases may make it longer.
            op::ALTACT_SIG_SEND => arity.max(4),
            _ => return Err(ControlError::UnknownOperation { operation }),
        };
        if arity != expected {
            return Err(ControlError::Arity { operation: self.op, came: arity });
        }
        let mut reason = None;
        let control = self.body(arity, &mut reason)?;
        Ok(Decoded { control, len: self.reader.position(), reason })
    }

    fn body(&mut self, arity: usize, reason: &mut Option<Reason>) -> Result<Control, ControlError> {
        Ok(match self.op {
            op::LINK => Control::Link {
                from: self.pid_of_peer("the linking process")?,
                to: self.our_pid()?,
            },
            op::SEND | op::SEND_TT => {
                self.skip()?;
                let to = Destination::Process(self.pid()?);
                let token = self.token_if(self.op == op::SEND_TT)?;
                Control::Send { from: None, to, priority: false, token }
            }
            op::SEND_SENDER | op::SEND_SENDER_TT => {
                let from = Some(self.pid()?);
                let to = Destination::Process(self.pid()?);
                let token = self.token_if(self.op == op::SEND_SENDER_TT)?;
                Control::Send { from, to, priority: false, token }
            }
            op::REG_SEND | op::REG_SEND_TT => {
                let from = Some(self.pid()?);
                self.skip()?;
                let to = Destination::Name(self.atom()?);
                let token = self.token_if(self.op == op::REG_SEND_TT)?;
                Control::Send { from, to, priority: false, token }
            }
            op::ALIAS_SEND | op::ALIAS_SEND_TT => {
                let from = Some(self.pid()?);
                let to = Destination::Alias(self.reference()?);
                let token = self.token_if(self.op == op::ALIAS_SEND_TT)?;
                Control::Send { from, to, priority: false, token }
            }
            op::UNLINK_ID | op::UNLINK_ID_ACK => self.unlink()?,
            op::EXIT | op::EXIT_TT | op::PAYLOAD_EXIT | op::PAYLOAD_EXIT_TT => {
                let from = self.pid_of_peer("the process that ended")?;
                let to = self.our_pid()?;
                let traced = matches!(self.op, op::EXIT_TT | op::PAYLOAD_EXIT_TT);
                let token = self.token_if(traced)?;
                if matches!(self.op, op::EXIT | op::EXIT_TT) {
                    *reason = Some(self.reason()?);
                }
                Control::Exit { from, to, token }
            }
            op::EXIT2 | op::EXIT2_TT | op::PAYLOAD_EXIT2 | op::PAYLOAD_EXIT2_TT => {
                let from = self.pid_of_peer("the sender of an exit signal")?;
                let to = Destination::Process(self.our_pid()?);
                let traced = matches!(self.op, op::EXIT2_TT | op::PAYLOAD_EXIT2_TT);
                let token = self.token_if(traced)?;
                if matches!(self.op, op::EXIT2 | op::EXIT2_TT) {
                    *reason = Some(self.reason()?);
                }
                Control::Exit2 { from, to, priority: false, token }
            }
            op::MONITOR_P | op::DEMONITOR_P => {
                let from = self.pid_of_peer("the watching process")?;
                let to = self.process_or_name()?;
                if let ProcessOrName::Process(pid) = &to {
                    self.check_ours(pid)?;
                }
                let reference = self.reference()?;
                if self.op == op::MONITOR_P {
                    Control::Monitor { from, to, reference }
                } else {
                    Control::Demonitor { from, to, reference }
                }
            }
            op::MONITOR_P_EXIT | op::PAYLOAD_MONITOR_P_EXIT => {
                let from = self.process_or_name()?;
                if let ProcessOrName::Process(pid) = &from {
                    self.check_not_ours("the watched process", &pid.node)?;
                }
                let to = self.our_pid()?;
                let reference = self.reference()?;
                if self.op == op::MONITOR_P_EXIT {
                    *reason = Some(self.reason()?);
                }
                Control::MonitorExit { from, to, reference }
            }
            op::GROUP_LEADER => Control::GroupLeader { leader: self.pid()?, to: self.pid()? },
            op::SPAWN_REQUEST | op::SPAWN_REQUEST_TT => {
                Control::SpawnRequest(Box::new(self.spawn_request()?))
            }
            op::SPAWN_REPLY | op::SPAWN_REPLY_TT => {
                Control::SpawnReply(Box::new(self.spawn_reply()?))
            }
            op::ALTACT_SIG_SEND => self.altact(arity)?,
            operation => {
                return Err(ControlError::UnknownOperation { operation: u64::from(operation) });
            }
        })
    }

    fn unlink(&mut self) -> Result<Control, ControlError> {
        let id = read_u64(&mut self.reader)?;
        if id == 0 {
            return Err(self.invalid("the id of an unlink is 0"));
        }
        let from = self.pid_of_peer("the unlinking process")?;
        let to = self.our_pid()?;
        Ok(if self.op == op::UNLINK_ID {
            Control::Unlink { id, from, to }
        } else {
            Control::UnlinkAck { id, from, to }
        })
    }

    fn altact(&mut self, arity: usize) -> Result<Control, ControlError> {
        let flags = self.low_byte()?;
        let from = self.pid()?;
        let to = match flags & (altact::ALIAS | altact::NAME) {
            0 => Destination::Process(self.pid()?),
            altact::ALIAS => Destination::Alias(self.reference()?),
            altact::NAME => Destination::Name(self.atom()?),
            _ => return Err(self.invalid("the destination is both an alias and a name")),
        };
        let priority = flags & altact::PRIORITY != 0;
        let traced = flags & altact::TOKEN != 0;
        let known = 4 + usize::from(traced);
        if arity < known {
            return Err(ControlError::Arity { operation: self.op, came: arity });
        }
        let token = self.token_if(traced)?;
        for _ in known..arity {
            self.skip()?;
        }
        if flags & altact::EXIT == 0 {
            return Ok(Control::Send { from: Some(from), to, priority, token });
        }
        self.check_peer("the sender of an exit signal", &from.node)?;
        Ok(Control::Exit2 { from, to, priority, token })
    }

    fn spawn_request(&mut self) -> Result<SpawnRequest, ControlError> {
        let reference = self.reference()?;
        self.check_not_ours("the request", &reference.node)?;
        let from = self.pid()?;
        self.check_not_ours("the requesting process", &from.node)?;
        let group_leader = self.pid()?;
        if read_tuple_header(&mut self.reader)? != 3 {
            return Err(self.invalid("the function is not {Module, Function, Arity}"));
        }
        let module = self.atom()?;
        let function = self.atom()?;
        let Term::Integer(arity) = self.term()? else {
            return Err(self.invalid("the arity is not a small integer"));
        };
        let options = match self.term()? {
            Term::List(options) => options.into_iter().map(SpawnOption::from_term).collect(),
            Term::ImproperList(..) => return Err(self.invalid("the options are an improper list")),
            // OTP answers badopt.
            other => vec![SpawnOption::Unknown(other)],
        };
        let token = self.token_if(self.op == op::SPAWN_REQUEST_TT)?;
        Ok(SpawnRequest { reference, from, group_leader, module, function, arity, options, token })
    }

    fn spawn_reply(&mut self) -> Result<SpawnReply, ControlError> {
        let reference = self.reference()?;
        self.check_node("the request", &reference.node, self.names.local)?;
        let to = self.our_pid()?;
        let flags = read_u64(&mut self.reader)?;
        let flags = u32::try_from(flags).ok().filter(|flags| flags >> 27 == 0);
        let Some(flags) = flags else {
            return Err(self.invalid("the flags of a spawn reply exceed 27 bits"));
        };
        let result = match self.process_or_name()? {
            ProcessOrName::Process(pid) => {
                self.check_not_ours("the new process", &pid.node)?;
                Ok(pid)
            }
            ProcessOrName::Name(reason) => Err(reason),
        };
        let token = self.token_if(self.op == op::SPAWN_REPLY_TT)?;
        Ok(SpawnReply { reference, to, flags, result, token })
    }

    fn atom(&mut self) -> Result<Atom, ControlError> {
        Ok(read_atom(&mut self.reader, self.atoms)?)
    }

    fn pid(&mut self) -> Result<Pid, ControlError> {
        let Names { local, peer } = self.names;
        let mut rest = self.reader.rest();
        if let Some(pid) = KnownPid::read(&mut rest, self.atoms, peer, local) {
            self.reader.take(self.reader.remaining() - rest.len())?;
            return Ok(pid.to_pid());
        }
        Ok(read_pid(&mut self.reader, self.atoms)?)
    }

    fn pid_of_peer(&mut self, element: &'static str) -> Result<Pid, ControlError> {
        let pid = self.pid()?;
        self.check_peer(element, &pid.node)?;
        Ok(pid)
    }

    /// A pid of this node, of any of its incarnations: which is the kernel's to judge.
    fn our_pid(&mut self) -> Result<Pid, ControlError> {
        let pid = self.pid()?;
        self.check_ours(&pid)?;
        Ok(pid)
    }

    fn reference(&mut self) -> Result<Reference, ControlError> {
        Ok(read_reference(&mut self.reader, self.atoms)?)
    }

    fn process_or_name(&mut self) -> Result<ProcessOrName, ControlError> {
        Ok(match self.reader.peek() {
            Some(tag::NEW_PID | tag::PID) => ProcessOrName::Process(self.pid()?),
            _ => ProcessOrName::Name(self.atom()?),
        })
    }

    fn term(&mut self) -> Result<Term, ControlError> {
        let limits = Limits {
            nodes_max: self.limits.nodes_max.min(OWNED_NODES_MAX),
            decoded_bytes_max: self.limits.decoded_bytes_max.min(OWNED_BYTES_MAX),
            ..*self.limits
        };
        let (term, len) = Term::decode(self.reader.rest(), self.atoms, &limits)?;
        self.reader.take(len)?;
        Ok(term)
    }

    fn token_if(&mut self, traced: bool) -> Result<Option<Token>, ControlError> {
        if traced { Ok(Some(Box::new(self.term()?))) } else { Ok(None) }
    }

    /// A term whose value does not matter, such as the cookie of old times.
    fn skip(&mut self) -> Result<(), ControlError> {
        if let [tag::SMALL_ATOM_UTF8, 0, ..] = self.reader.rest() {
            self.reader.take(2)?;
            return Ok(());
        }
        let valid = validate_with(self.reader.rest(), self.atoms, self.limits)?;
        self.reader.take(valid.len)?;
        Ok(())
    }

    fn reason(&mut self) -> Result<Reason, ControlError> {
        let start = self.reader.position();
        let valid = validate_with(self.reader.rest(), self.atoms, self.limits)?;
        self.reader.take(valid.len)?;
        Ok(Reason { range: start..start + valid.len, uses_atom_cache: valid.uses_atom_cache })
    }

    /// The low byte of a non-negative integer of any size.
    fn low_byte(&mut self) -> Result<u8, ControlError> {
        let rest = self.reader.rest();
        let (byte, negative) = match *rest {
            [tag::SMALL_INTEGER, byte, ..] => (byte, false),
            [tag::INTEGER, high, _, _, byte, ..] => (byte, high & 0x80 != 0),
            [tag::SMALL_BIG, digits, sign, ..] => {
                (if digits == 0 { 0 } else { rest.get(3).copied().unwrap_or(0) }, sign != 0)
            }
            [tag::LARGE_BIG, a, b, c, d, sign, ..] => {
                let empty = [a, b, c, d] == [0; 4];
                (if empty { 0 } else { rest.get(6).copied().unwrap_or(0) }, sign != 0)
            }
            _ => return Err(self.invalid("the flags are not an integer")),
        };
        if negative {
            return Err(self.invalid("the flags are negative"));
        }
        self.skip()?;
        Ok(byte)
    }

    fn check_peer(&self, element: &'static str, node: &Atom) -> Result<(), ControlError> {
        self.check_node(element, node, self.names.peer)
    }

    fn check_ours(&self, pid: &Pid) -> Result<(), ControlError> {
        self.check_node("the addressed process", &pid.node, self.names.local)
    }

    fn check_node(
        &self,
        element: &'static str,
        came: &Atom,
        node: &Atom,
    ) -> Result<(), ControlError> {
        if came == node { Ok(()) } else { Err(self.foreign(element, came, node, false)) }
    }

    fn check_not_ours(&self, element: &'static str, came: &Atom) -> Result<(), ControlError> {
        let node = self.names.local;
        if came != node { Ok(()) } else { Err(self.foreign(element, came, node, true)) }
    }

    #[cold]
    fn foreign(
        &self,
        element: &'static str,
        came: &Atom,
        node: &Atom,
        forbidden: bool,
    ) -> ControlError {
        ControlError::ForeignNode {
            operation: self.op,
            element,
            came: came.clone(),
            node: node.clone(),
            forbidden,
        }
    }

    #[cold]
    fn invalid(&self, element: &'static str) -> ControlError {
        ControlError::Invalid { operation: self.op, element }
    }
}
