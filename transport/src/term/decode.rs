//! Bytes to owned terms.
//!
//! The decoder keeps the open containers on a stack of its own. Two counts bound what it does
//! before it has seen the bytes that pay for it: the terms still owed by all open containers never
//! exceed the bytes that remain, and memory is charged against the limits before it is reserved.

use bytes::Bytes;
use smallvec::SmallVec;

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
            stack: SmallVec::new(),
            owed: 1,
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
struct Frame {
    kind: Kind,
    /// Terms still to come, the tail of a list included.
    left: usize,
    /// What has come; keys and values of a map in turn.
    elements: Vec<Term>,
    /// Offset of the container.
    position: usize,
}

enum Kind {
    /// Not a container: the term itself.
    Root,
    Tuple,
    List {
        /// Whether the end of the list has come, which is no element.
        is_proper: bool,
    },
    Map,
    /// Its values are still missing.
    Fun(Box<Fun>),
    /// Its fields are still missing, of which these are the names.
    Record(Box<Record>, Vec<Atom>),
}

struct Decoder<'s, S, A: ?Sized> {
    source: &'s mut S,
    atoms: &'s A,
    limits: &'s Limits,
    depth_max: usize,
    /// The containers around the current one.
    stack: SmallVec<[Frame; 8]>,
    /// Terms that must still come for all open containers to be complete.
    owed: usize,
    memory: usize,
}

impl<S: Source, A: AtomTable + ?Sized> Decoder<'_, S, A> {
    fn run(mut self) -> Result<Term, DecodeError> {
        let mut frame = Frame { kind: Kind::Root, left: 1, elements: Vec::new(), position: 0 };
        let mut nodes = 0_usize;
        loop {
            let position = self.source.position();
            let tag = self.source.u8()?;
            nodes += 1;
            if nodes > self.limits.nodes_max {
                let nodes_max = self.limits.nodes_max;
                let kind = DecodeErrorKind::TooManyTerms { nodes_max };
                return Err(DecodeError::new(position, kind));
            }
            // Every term that begins is one that was owed.
            self.owed = self.owed.saturating_sub(1);
            let opened = match tag {
                tag::SMALL_TUPLE => {
                    let arity = u32::from(self.source.u8()?);
                    self.container(Kind::Tuple, position, arity, 1)?
                }
                tag::LARGE_TUPLE => {
                    let arity = self.source.u32()?;
                    self.container(Kind::Tuple, position, arity, 1)?
                }
                tag::MAP => {
                    let pairs = self.source.u32()?;
                    self.container(Kind::Map, position, pairs, 2)?
                }
                tag::LIST => match self.list(position, &mut frame)? {
                    Some(list) => list,
                    None => continue,
                },
                tag::NEW_FUN => self.fun(position)?,
                tag::RECORD => self.record(position)?,
                tag => {
                    // Each value is put in its place where it is made, as moving it costs more
                    // than making it.
                    self.leaf(position, tag, &mut frame)?;
                    frame.left -= 1;
                    if frame.left > 0 {
                        continue;
                    }
                    match self.close(frame)? {
                        Closed::Container(outer) => frame = outer,
                        Closed::All(term) => return Ok(term),
                    }
                    continue;
                }
            };
            if opened.left > 0 {
                if self.stack.len() >= self.depth_max {
                    let depth_max = self.depth_max;
                    return Err(DecodeError::new(position, DecodeErrorKind::TooDeep { depth_max }));
                }
                self.stack.push(std::mem::replace(&mut frame, opened));
                continue;
            }
            // An empty container is complete at once.
            self.stack.push(frame);
            match self.close(opened)? {
                Closed::Container(outer) => frame = outer,
                Closed::All(term) => return Ok(term),
            }
        }
    }

    /// A container is complete: it becomes an element of the one around it, which that may
    /// complete as well, and so on.
    fn close(&mut self, mut frame: Frame) -> Result<Closed, DecodeError> {
        while frame.left == 0 {
            let Some(mut outer) = self.stack.pop() else {
                return frame.complete().map(Closed::All);
            };
            let term = frame.complete()?;
            if matches!(outer.kind, Kind::Root) {
                return Ok(Closed::All(term));
            }
            outer.elements.push(term);
            outer.left -= 1;
            frame = outer;
        }
        Ok(Closed::Container(frame))
    }

    /// A term that contains no others, put at the end of the current container.
    #[inline]
    fn leaf(&mut self, position: usize, tag: u8, frame: &mut Frame) -> Result<(), DecodeError> {
        let elements = &mut frame.elements;
        match tag {
            tag::SMALL_INTEGER => {
                let value = self.source.u8()?;
                elements.push(Term::Integer(i64::from(value)));
            }
            tag::INTEGER => {
                let value = i32::from_be_bytes(self.source.array()?);
                elements.push(Term::Integer(i64::from(value)));
            }
            tag::SMALL_ATOM_UTF8
            | tag::ATOM_UTF8
            | tag::ATOM_CACHE_REF
            | tag::SMALL_ATOM
            | tag::ATOM => {
                let atom = self.atom_body(tag, position)?;
                elements.push(Term::Atom(atom));
            }
            tag::BINARY => {
                let length = self.source.u32()?;
                let bytes = self.binary(position, length)?;
                elements.push(Term::Binary(bytes));
            }
            tag::NEW_FLOAT => {
                let value = finite(position, f64::from_be_bytes(self.source.array()?))?;
                elements.push(Term::Float(value));
            }
            // The usual end of a list.
            tag::NIL => match &mut frame.kind {
                Kind::List { is_proper } if frame.left == 1 => *is_proper = true,
                _ => elements.push(Term::nil()),
            },
            tag::STRING => {
                let length = usize::from(self.source.u16()?);
                self.charge(position, length * size_of::<Term>())?;
                let bytes = self.source.bytes(length)?;
                let integers = bytes.iter().map(|&byte| Term::Integer(i64::from(byte)));
                match &mut frame.kind {
                    // As the tail of a list it continues and ends it.
                    Kind::List { is_proper } if frame.left == 1 => {
                        *is_proper = true;
                        elements.extend(integers);
                    }
                    _ => elements.push(Term::List(integers.collect())),
                }
            }
            tag => elements.push(self.rare_leaf(position, tag)?),
        }
        Ok(())
    }

    fn rare_leaf(&mut self, position: usize, tag: u8) -> Result<Term, DecodeError> {
        Ok(match tag {
            tag::NEW_PID | tag::PID => {
                Term::Pid(read::read_pid_body(self.source, self.atoms, tag, position)?)
            }
            tag::NEWER_REFERENCE | tag::NEW_REFERENCE | tag::REFERENCE => {
                Term::Reference(read::read_reference_body(self.source, self.atoms, tag, position)?)
            }
            tag::V4_PORT | tag::NEW_PORT | tag::PORT => {
                Term::Port(read::read_port_body(self.source, self.atoms, tag, position)?)
            }
            tag::SMALL_BIG => {
                let length = u32::from(self.source.u8()?);
                self.integer(position, length)?
            }
            tag::LARGE_BIG => {
                let length = self.source.u32()?;
                self.integer(position, length)?
            }
            tag::BIT_BINARY => {
                let length = self.source.u32()?;
                let bits = self.source.u8()?;
                self.bit_string(position, length, bits)?
            }
            tag::FLOAT => Term::Float(legacy_float(position, &self.source.array::<31>()?)?),
            tag::EXPORT => {
                let module = self.atom()?;
                let function = self.atom()?;
                let arity = read::read_arity(self.source)?;
                Term::Export(Box::new(Export { module, function, arity }))
            }
            _ => return Err(read::no_term(position, tag)),
        })
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

    /// A tuple or map whose count has been read.
    #[inline]
    fn container(
        &mut self,
        kind: Kind,
        position: usize,
        count: u32,
        terms: usize,
    ) -> Result<Frame, DecodeError> {
        let left = self.owe(position, count, terms, 0)?;
        self.charge(position, left * size_of::<Term>())?;
        Ok(Frame { kind, left, elements: Vec::with_capacity(left), position })
    }

    /// A list; nothing if it continues the current one, whose tail it is.
    fn list(&mut self, position: usize, frame: &mut Frame) -> Result<Option<Frame>, DecodeError> {
        let count = self.source.u32()?;
        let count = self.owe(position, count, 1, 1)?;
        let left = count + 1;
        self.charge(position, left * size_of::<Term>())?;
        if frame.left == 1 && matches!(frame.kind, Kind::List { .. }) {
            frame.elements.reserve(count);
            frame.left = left;
            return Ok(None);
        }
        // With room for a tail, as it waits there for the rest to be complete.
        let elements = Vec::with_capacity(left);
        Ok(Some(Frame { kind: Kind::List { is_proper: false }, left, elements, position }))
    }

    fn fun(&mut self, position: usize) -> Result<Frame, DecodeError> {
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
        self.charge(position, size_of::<Fun>())?;
        let values = Vec::new();
        let fun = Fun { arity, uniq, index, module, old_index, old_uniq, pid, free: values };
        self.container(Kind::Fun(Box::new(fun)), position, free, 1)
    }

    fn record(&mut self, position: usize) -> Result<Frame, DecodeError> {
        let count = self.source.u32()?;
        let flags = self.source.u8()?;
        if flags > 1 {
            return Err(DecodeError::new(position, DecodeErrorKind::RecordFlags(flags)));
        }
        let module = self.atom()?;
        let name = self.atom()?;
        // The names are read here, the values are owed.
        let left = self.owe(position, count, 2, 0)? / 2;
        self.charge(position, left * 2 * size_of::<(Atom, Term)>() + size_of::<Record>())?;
        let mut names = Vec::with_capacity(left);
        for _ in 0..left {
            names.push(self.atom()?);
        }
        self.owed = self.owed.saturating_sub(left);
        read::check_distinct(&names, position)?;
        let record = Record { exported: flags == 1, module, name, fields: Vec::new() };
        let kind = Kind::Record(Box::new(record), names);
        Ok(Frame { kind, left, elements: Vec::with_capacity(left), position })
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
}

/// What is left to do when something is complete.
enum Closed {
    /// This container is the current one.
    Container(Frame),
    /// Nothing.
    All(Term),
}

impl Frame {
    /// The container, when nothing is missing any more.
    #[inline]
    fn complete(self) -> Result<Term, DecodeError> {
        let Self { kind, mut elements, position, .. } = self;
        Ok(match kind {
            Kind::Tuple => Term::Tuple(elements),
            Kind::List { is_proper: true } => Term::List(elements),
            Kind::List { is_proper: false } | Kind::Root => {
                let last = elements.pop().unwrap_or(Term::nil());
                Term::improper_list(elements, last)
            }
            Kind::Map => {
                let mut pairs = Vec::with_capacity(elements.len() / 2);
                let mut elements = elements.into_iter();
                while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
                    pairs.push((key, value));
                }
                Map::from_pairs(pairs)
                    .map(Term::Map)
                    .map_err(|_| DecodeError::new(position, DecodeErrorKind::DuplicateKey))?
            }
            Kind::Fun(mut fun) => {
                fun.free = elements;
                Term::Fun(fun)
            }
            Kind::Record(mut record, names) => {
                record.fields = names.into_iter().zip(elements).collect();
                Term::Record(record)
            }
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
