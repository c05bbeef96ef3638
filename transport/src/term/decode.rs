//! Bytes to owned terms.
//!
//! The decoder keeps the open containers on a stack of its own. Two counts bound what it does
//! before it has seen the bytes that pay for it: the terms still owed by all open containers never
//! exceed the bytes that remain, and memory is charged against the limits before it is reserved.

use bytes::Bytes;

use super::owned::{BitString, Export, Fun, Map, Record, Term};
use super::parts::{PartsReader, SharedReader};
use super::read::{self, AtomTable, Reader, Source};
use super::{Atom, DecodeError, DecodeErrorKind, Limits, integer, tag};

impl Term {
    /// Decodes the term at the start of `bytes`, which has no version byte in front, and returns
    /// how many bytes it takes. What follows it is not looked at.
    ///
    /// # Errors
    /// When the bytes are no legal term, refer to an atom `atoms` lacks, exceed `limits`, or nest
    /// deeper than [`Term::DEPTH_MAX`].
    pub fn decode<A: AtomTable + ?Sized>(
        bytes: &[u8],
        atoms: &A,
        limits: &Limits,
    ) -> Result<(Self, usize), DecodeError> {
        let mut reader = Reader::new(bytes);
        let term = Self::read(&mut reader, atoms, limits)?;
        Ok((term, reader.position()))
    }

    /// Decodes a stand-alone term: the version byte 131, one term, nothing else.
    ///
    /// # Errors
    /// As [`Term::decode`]; also when the version byte is missing or bytes follow the term.
    pub fn decode_versioned(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != tag::VERSION {
            return Err(DecodeError::new(0, DecodeErrorKind::MissingVersion(version)));
        }
        let term = Self::read(&mut reader, &(), limits)?;
        match reader.remaining() {
            0 => Ok(term),
            left => Err(DecodeError::new(reader.position(), DecodeErrorKind::TrailingBytes(left))),
        }
    }

    /// As [`Term::decode`], from a message that is shared by reference count: binaries of
    /// [`Gather::THRESHOLD_BYTES`](super::Gather::THRESHOLD_BYTES) and more are not copied but
    /// keep the message alive.
    ///
    /// # Errors
    /// As [`Term::decode`].
    pub fn decode_shared<A: AtomTable + ?Sized>(
        message: &Bytes,
        atoms: &A,
        limits: &Limits,
    ) -> Result<(Self, usize), DecodeError> {
        let mut reader = SharedReader::new(message);
        let term = Self::read(&mut reader, atoms, limits)?;
        Ok((term, reader.position()))
    }

    /// Takes one term from any source.
    ///
    /// # Errors
    /// As [`Term::decode`].
    pub fn read<S: Source, A: AtomTable + ?Sized>(
        source: &mut S,
        atoms: &A,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let depth_max = limits.depth_max.min(Self::DEPTH_MAX);
        let decoder = Decoder {
            source,
            atoms,
            limits,
            depth_max,
            stack: Vec::new(),
            owed: 1,
            nodes: 0,
            memory: 0,
        };
        decoder.run()
    }
}

/// Decodes one term from a payload that came in several pieces (fragments), without joining them.
/// Bytes after the term are not looked at.
///
/// # Errors
/// As [`Term::decode`]; positions count through all parts.
pub fn decode_parts<A: AtomTable + ?Sized>(
    parts: &[&[u8]],
    atoms: &A,
    limits: &Limits,
) -> Result<Term, DecodeError> {
    match parts {
        [] => Term::read(&mut Reader::new(&[]), atoms, limits),
        [only] => Term::read(&mut Reader::new(only), atoms, limits),
        parts => Term::read(&mut PartsReader::new(parts), atoms, limits),
    }
}

/// A container of which elements are still missing.
enum Frame {
    Tuple {
        left: usize,
        elements: Vec<Term>,
    },
    /// The tail follows the last element, when `left` is 0.
    List {
        left: usize,
        elements: Vec<Term>,
        tail: Option<Term>,
    },
    Map {
        left: usize,
        position: usize,
        key: Option<Term>,
        pairs: Vec<(Term, Term)>,
    },
    Fun {
        left: usize,
        fun: Box<Fun>,
    },
    Record {
        left: usize,
        names: std::vec::IntoIter<Atom>,
        record: Box<Record>,
    },
}

struct Decoder<'s, S, A: ?Sized> {
    source: &'s mut S,
    atoms: &'s A,
    limits: &'s Limits,
    depth_max: usize,
    stack: Vec<Frame>,
    /// Terms that must still come for all open containers to be complete.
    owed: usize,
    nodes: usize,
    memory: usize,
}

/// What reading one tag led to.
enum Step {
    /// A complete term.
    Value(Term),
    /// A container was opened; its first element is next.
    Opened,
}

impl<S: Source, A: AtomTable + ?Sized> Decoder<'_, S, A> {
    fn run(mut self) -> Result<Term, DecodeError> {
        loop {
            let mut value = match self.step()? {
                Step::Opened => continue,
                Step::Value(value) => value,
            };
            // Hand the value to the container it belongs to; that may complete it, and so on.
            loop {
                let Some(mut frame) = self.stack.pop() else { return Ok(value) };
                if !frame.accept(value) {
                    self.stack.push(frame);
                    break;
                }
                value = frame.complete()?;
            }
        }
    }

    fn step(&mut self) -> Result<Step, DecodeError> {
        let position = self.source.position();
        let tag = self.source.u8()?;
        self.nodes += 1;
        if self.nodes > self.limits.nodes_max {
            let nodes_max = self.limits.nodes_max;
            return Err(DecodeError::new(position, DecodeErrorKind::TooManyTerms { nodes_max }));
        }
        // Every way into this function pays for one term owed.
        self.owed = self.owed.saturating_sub(1);
        let value = match tag {
            tag::SMALL_INTEGER => Term::Integer(i64::from(self.source.u8()?)),
            tag::INTEGER => Term::Integer(i64::from(i32::from_be_bytes(self.source.array()?))),
            tag::SMALL_BIG => {
                let length = u32::from(self.source.u8()?);
                self.integer(position, length)?
            }
            tag::LARGE_BIG => {
                let length = self.source.u32()?;
                self.integer(position, length)?
            }
            tag::NEW_FLOAT => {
                Term::Float(finite(position, f64::from_be_bytes(self.source.array()?))?)
            }
            tag::FLOAT => Term::Float(legacy_float(position, &self.source.array::<31>()?)?),
            tag::SMALL_ATOM_UTF8
            | tag::ATOM_UTF8
            | tag::ATOM_CACHE_REF
            | tag::SMALL_ATOM
            | tag::ATOM => Term::Atom(self.atom_body(tag, position)?),
            tag::NEW_PID | tag::PID => {
                Term::Pid(read::read_pid_body(self.source, self.atoms, tag, position)?)
            }
            tag::V4_PORT | tag::NEW_PORT | tag::PORT => {
                Term::Port(read::read_port_body(self.source, self.atoms, tag, position)?)
            }
            tag::NEWER_REFERENCE | tag::NEW_REFERENCE | tag::REFERENCE => {
                Term::Reference(read::read_reference_body(self.source, self.atoms, tag, position)?)
            }
            tag::BINARY => {
                let length = self.source.u32()?;
                Term::Binary(self.binary(position, length)?)
            }
            tag::BIT_BINARY => {
                let length = self.source.u32()?;
                let bits = self.source.u8()?;
                self.bit_string(position, length, bits)?
            }
            tag::NIL => Term::nil(),
            tag::STRING => return self.string(position),
            tag::SMALL_TUPLE => {
                let arity = u32::from(self.source.u8()?);
                return self.tuple(position, arity);
            }
            tag::LARGE_TUPLE => {
                let arity = self.source.u32()?;
                return self.tuple(position, arity);
            }
            tag::LIST => return self.list(position),
            tag::MAP => return self.map(position),
            tag::NEW_FUN => return self.fun(position),
            tag::EXPORT => {
                let module = self.atom()?;
                let function = self.atom()?;
                let arity = read::read_arity(self.source)?;
                Term::Export(Box::new(Export { module, function, arity }))
            }
            tag::RECORD => return self.record(position),
            _ => return Err(read::no_term(position, tag)),
        };
        Ok(Step::Value(value))
    }

    fn atom(&mut self) -> Result<Atom, DecodeError> {
        let position = self.source.position();
        let tag = self.source.u8()?;
        self.atom_body(tag, position)
    }

    fn atom_body(&mut self, tag: u8, position: usize) -> Result<Atom, DecodeError> {
        let atom = read::read_atom_body(self.source, self.atoms, tag, position)?;
        read::check_atom_limit(&atom, self.limits, position)?;
        Ok(atom)
    }

    fn integer(&mut self, position: usize, length: u32) -> Result<Term, DecodeError> {
        let bytes_max = self.limits.bignum_bytes_max as u64;
        if u64::from(length) > bytes_max {
            let kind = DecodeErrorKind::IntegerTooLarge { bytes: length.into(), bytes_max };
            return Err(DecodeError::new(position, kind));
        }
        let negative = self.source.u8()? != 0;
        self.charge(position, length as usize)?;
        let digits = self.source.bytes(length as usize)?;
        Ok(integer::from_digits(negative, &digits))
    }

    fn binary(&mut self, position: usize, length: u32) -> Result<Bytes, DecodeError> {
        let bytes_max = self.limits.binary_bytes_max as u64;
        if u64::from(length) > bytes_max {
            let kind = DecodeErrorKind::BinaryTooLarge { bytes: length.into(), bytes_max };
            return Err(DecodeError::new(position, kind));
        }
        self.charge(position, length as usize)?;
        self.source.shared(length as usize)
    }

    fn bit_string(&mut self, position: usize, length: u32, bits: u8) -> Result<Term, DecodeError> {
        if length == 0 || !(1..=8).contains(&bits) {
            return Err(DecodeError::new(position, DecodeErrorKind::BitCount(bits)));
        }
        let bytes = self.binary(position, length)?;
        Ok(match BitString::new(bytes.clone(), bits) {
            Some(bits) => Term::BitString(bits),
            None => Term::Binary(bytes),
        })
    }

    /// A list of bytes; also as the tail of a list, which it then completes.
    fn string(&mut self, position: usize) -> Result<Step, DecodeError> {
        let length = usize::from(self.source.u16()?);
        self.charge(position, length * size_of::<Term>())?;
        let bytes = self.source.bytes(length)?;
        let integers = bytes.iter().map(|&byte| Term::Integer(i64::from(byte)));
        if let Some(Frame::List { left: 0, elements, .. }) = self.stack.last_mut() {
            elements.extend(integers);
            return Ok(Step::Value(Term::nil()));
        }
        Ok(Step::Value(Term::List(integers.collect())))
    }

    fn tuple(&mut self, position: usize, arity: u32) -> Result<Step, DecodeError> {
        let left = self.owe(position, arity, 1, 0)?;
        if left == 0 {
            return Ok(Step::Value(Term::Tuple(Vec::new())));
        }
        self.charge(position, left * size_of::<Term>())?;
        self.open(position, Frame::Tuple { left, elements: Vec::with_capacity(left) })
    }

    fn list(&mut self, position: usize) -> Result<Step, DecodeError> {
        let count = self.source.u32()?;
        let count = self.owe(position, count, 1, 1)?;
        self.charge(position, count * size_of::<Term>())?;
        if let Some(Frame::List { left: left @ 0, elements, .. }) = self.stack.last_mut() {
            // A list as the tail of a list continues it.
            elements.reserve(count);
            *left = count;
            return Ok(Step::Opened);
        }
        let elements = Vec::with_capacity(count);
        self.open(position, Frame::List { left: count, elements, tail: None })
    }

    fn map(&mut self, position: usize) -> Result<Step, DecodeError> {
        let count = self.source.u32()?;
        let left = self.owe(position, count, 2, 0)? / 2;
        if left == 0 {
            return Ok(Step::Value(Term::Map(Map::new())));
        }
        self.charge(position, left * 2 * size_of::<Term>())?;
        let pairs = Vec::with_capacity(left);
        self.open(position, Frame::Map { left, position, key: None, pairs })
    }

    fn fun(&mut self, position: usize) -> Result<Step, DecodeError> {
        // OTP 23 and later may encode the size too large, so only the parts count.
        let _size = self.source.u32()?;
        let arity = self.source.u8()?;
        let uniq = self.source.array()?;
        let index = self.source.u32()?;
        let free = self.source.u32()?;
        if free > 255 {
            return Err(DecodeError::new(position, DecodeErrorKind::FunFreeVariables(free)));
        }
        let module = self.atom()?;
        let old_index = read::read_i64(self.source)?;
        let old_uniq = read::read_i64(self.source)?;
        let pid = read::read_pid(self.source, self.atoms)?;
        let left = self.owe(position, free, 1, 0)?;
        self.charge(position, left * size_of::<Term>() + size_of::<Fun>())?;
        let free = Vec::with_capacity(left);
        let fun = Box::new(Fun { arity, uniq, index, module, old_index, old_uniq, pid, free });
        if left == 0 {
            return Ok(Step::Value(Term::Fun(fun)));
        }
        self.open(position, Frame::Fun { left, fun })
    }

    fn record(&mut self, position: usize) -> Result<Step, DecodeError> {
        let count = self.source.u32()?;
        let flags = self.source.u8()?;
        if flags > 1 {
            return Err(DecodeError::new(position, DecodeErrorKind::RecordFlags(flags)));
        }
        let module = self.atom()?;
        let name = self.atom()?;
        // The names are read here, the values are owed.
        let left = self.owe(position, count, 2, 0)? / 2;
        self.charge(position, left * size_of::<(Atom, Term)>() + size_of::<Record>())?;
        let mut names = Vec::with_capacity(left);
        for _ in 0..left {
            names.push(self.atom()?);
        }
        self.owed = self.owed.saturating_sub(left);
        read::check_distinct(&names, position)?;
        let fields = Vec::with_capacity(left);
        let record = Box::new(Record { exported: flags == 1, module, name, fields });
        if left == 0 {
            return Ok(Step::Value(Term::Record(record)));
        }
        self.open(position, Frame::Record { left, names: names.into_iter(), record })
    }

    /// Notes that `count` elements of `terms` terms each, and `more` terms, must follow, each of
    /// which takes at least a byte; returns how many terms the elements are.
    fn owe(
        &mut self,
        position: usize,
        count: u32,
        terms: usize,
        more: usize,
    ) -> Result<usize, DecodeError> {
        let declared = count as usize;
        if declared > self.limits.count_max {
            let count_max = self.limits.count_max as u64;
            let kind = DecodeErrorKind::CountTooLarge { count: count.into(), count_max };
            return Err(DecodeError::new(position, kind));
        }
        let elements = declared.saturating_mul(terms);
        let owed = self.owed.saturating_add(elements).saturating_add(more);
        let remaining = self.source.remaining();
        if owed > remaining {
            let kind = DecodeErrorKind::CountBeyondInput { count: elements as u64, remaining };
            return Err(DecodeError::new(position, kind));
        }
        self.owed = owed;
        Ok(elements)
    }

    /// Counts memory about to be used.
    fn charge(&mut self, position: usize, bytes: usize) -> Result<(), DecodeError> {
        self.memory = self.memory.saturating_add(bytes);
        let decoded_bytes_max = self.limits.decoded_bytes_max;
        if self.memory > decoded_bytes_max {
            let kind = DecodeErrorKind::TooMuchMemory { decoded_bytes_max };
            return Err(DecodeError::new(position, kind));
        }
        Ok(())
    }

    fn open(&mut self, position: usize, frame: Frame) -> Result<Step, DecodeError> {
        if self.stack.len() >= self.depth_max {
            let depth_max = self.depth_max;
            return Err(DecodeError::new(position, DecodeErrorKind::TooDeep { depth_max }));
        }
        self.stack.push(frame);
        Ok(Step::Opened)
    }
}

impl Frame {
    /// Takes the next element; whether that was the last thing missing.
    fn accept(&mut self, value: Term) -> bool {
        let left = match self {
            Self::Tuple { left, elements } => {
                elements.push(value);
                left
            }
            Self::List { left: 0, tail, .. } => {
                *tail = Some(value);
                return true;
            }
            Self::List { left, elements, .. } => {
                elements.push(value);
                *left -= 1;
                return false;
            }
            Self::Map { left, key, pairs, .. } => {
                match key.take() {
                    None => {
                        *key = Some(value);
                        return false;
                    }
                    Some(key) => pairs.push((key, value)),
                }
                left
            }
            Self::Fun { left, fun } => {
                fun.free.push(value);
                left
            }
            Self::Record { left, names, record } => {
                record.fields.extend(names.next().map(|name| (name, value)));
                left
            }
        };
        *left -= 1;
        *left == 0
    }

    /// The container, when nothing is missing any more.
    fn complete(self) -> Result<Term, DecodeError> {
        Ok(match self {
            Self::Tuple { elements, .. } => Term::Tuple(elements),
            Self::List { elements, tail: None, .. } => Term::List(elements),
            Self::List { elements, tail: Some(tail), .. } => Term::improper_list(elements, tail),
            Self::Map { position, pairs, .. } => Map::from_pairs(pairs)
                .map(Term::Map)
                .map_err(|_| DecodeError::new(position, DecodeErrorKind::DuplicateKey))?,
            Self::Fun { fun, .. } => Term::Fun(fun),
            Self::Record { record, .. } => Term::Record(record),
        })
    }
}

fn finite(position: usize, value: f64) -> Result<f64, DecodeError> {
    if value.is_finite() {
        Ok(value)
    } else {
        Err(DecodeError::new(position, DecodeErrorKind::NotAFiniteFloat))
    }
}

/// The legacy text form: a number in C's `%.20e`, padded with zero bytes.
pub(crate) fn legacy_float(position: usize, text: &[u8; 31]) -> Result<f64, DecodeError> {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    let error = || DecodeError::new(position, DecodeErrorKind::NotAFiniteFloat);
    let text = std::str::from_utf8(&text[..end]).map_err(|_| error())?;
    let numeric =
        text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    if !numeric {
        return Err(error());
    }
    text.parse().map_err(|_| error()).and_then(|value| finite(position, value))
}
