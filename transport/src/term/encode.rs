//! Owned terms to bytes.

use bytes::Bytes;
use smallvec::SmallVec;

use super::owned::{Fun, Record, Term};
use super::{tag, write};

impl Term {
    /// Appends the term in the external format, without a version byte, with the tags every
    /// supported OTP reads (native records only OTP 29).
    ///
    /// # Panics
    /// When a binary has 4 GiB or a container 2³² elements, which the format cannot express.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode(self, out);
    }

    /// Appends the term as a stand-alone one, with the version byte 131 in front.
    ///
    /// # Panics
    /// As [`Term::encode`].
    pub fn encode_versioned(&self, out: &mut Vec<u8>) {
        out.push(tag::VERSION);
        self.encode(out);
    }

    /// Encodes into chunks: binaries of at least `threshold_bytes` become chunks of their own,
    /// shared with this term and not copied.
    ///
    /// # Panics
    /// As [`Term::encode`].
    #[must_use]
    pub fn encode_gather(&self, threshold_bytes: usize) -> Gather {
        let mut sink = GatherSink { threshold_bytes, buffer: Vec::new(), parts: SmallVec::new() };
        encode(self, &mut sink);
        sink.flush();
        Gather { parts: sink.parts }
    }
}

/// A term encoded into chunks whose concatenation is its external form.
#[derive(Clone, Debug, Default)]
pub struct Gather {
    /// The chunks in order; none is empty.
    pub parts: SmallVec<[Bytes; 1]>,
}

impl Gather {
    /// Binaries of this size and more are worth a chunk of their own (8 KiB): copying less costs
    /// the kernel no more than another entry of its vectored write.
    pub const THRESHOLD_BYTES: usize = 8 * 1024;

    /// Bytes of all chunks together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// Where encoded bytes go.
trait Sink {
    fn buffer(&mut self) -> &mut Vec<u8>;

    /// Appends bytes that are already shared.
    fn share(&mut self, bytes: &Bytes);
}

impl Sink for Vec<u8> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self
    }

    fn share(&mut self, bytes: &Bytes) {
        self.extend_from_slice(bytes);
    }
}

struct GatherSink {
    threshold_bytes: usize,
    buffer: Vec<u8>,
    parts: SmallVec<[Bytes; 1]>,
}

impl GatherSink {
    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.parts.push(Bytes::from(std::mem::take(&mut self.buffer)));
        }
    }
}

impl Sink for GatherSink {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    fn share(&mut self, bytes: &Bytes) {
        if bytes.len() >= self.threshold_bytes && !bytes.is_empty() {
            self.flush();
            self.parts.push(bytes.clone());
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }
}

fn encode<S: Sink>(term: &Term, sink: &mut S) {
    match term {
        Term::Integer(value) => write::write_i64(sink.buffer(), *value),
        Term::BigInteger(value) => {
            write::write_magnitude(sink.buffer(), value.is_negative(), &value.to_digits());
        }
        Term::Float(value) => write::write_float(sink.buffer(), *value),
        Term::Atom(atom) => write::write_atom(sink.buffer(), atom),
        Term::Pid(pid) => write::write_pid(sink.buffer(), pid),
        Term::Port(port) => write::write_port(sink.buffer(), port),
        Term::Reference(reference) => write::write_reference(sink.buffer(), reference),
        Term::Fun(fun) => encode_fun(fun, sink),
        Term::Export(export) => {
            let out = sink.buffer();
            out.push(tag::EXPORT);
            write::write_atom(out, &export.module);
            write::write_atom(out, &export.function);
            out.extend_from_slice(&[tag::SMALL_INTEGER, export.arity]);
        }
        Term::Tuple(elements) => {
            write::write_tuple_header(sink.buffer(), elements.len());
            encode_all(elements, sink);
        }
        Term::List(elements) => encode_list(elements, sink),
        Term::ImproperList(elements, tail) => {
            write::write_list_header(sink.buffer(), elements.len());
            encode_all(elements, sink);
            encode(tail, sink);
        }
        Term::Map(map) => {
            write::write_map_header(sink.buffer(), map.len());
            for (key, value) in map {
                encode(key, sink);
                encode(value, sink);
            }
        }
        Term::Binary(bytes) => {
            write::write_binary_header(sink.buffer(), bytes.len());
            sink.share(bytes);
        }
        Term::BitString(bits) => {
            let out = sink.buffer();
            out.push(tag::BIT_BINARY);
            write::write_length(out, bits.bytes().len());
            out.push(bits.last_bits());
            sink.share(bits.bytes());
        }
        Term::Record(record) => encode_record(record, sink),
    }
}

fn encode_all<S: Sink>(elements: &[Term], sink: &mut S) {
    for element in elements {
        encode(element, sink);
    }
}

/// A list of bytes goes as a string where it fits, as OTP sends it.
#[inline]
fn encode_list<S: Sink>(elements: &[Term], sink: &mut S) {
    let byte = |element: &Term| match element {
        Term::Integer(value) => u8::try_from(*value).ok(),
        _ => None,
    };
    let out = sink.buffer();
    if elements.is_empty() {
        return write::write_nil(out);
    }
    if elements.len() <= usize::from(u16::MAX) && byte(&elements[0]).is_some() {
        // Written at once, taken back if an element turns out not to be a byte.
        let start = out.len();
        let [high, low] = (elements.len() as u16).to_be_bytes();
        out.extend_from_slice(&[tag::STRING, high, low]);
        out.extend(elements.iter().map_while(byte));
        if out.len() - start - 3 == elements.len() {
            return;
        }
        out.truncate(start);
    }
    write::write_list_header(out, elements.len());
    encode_all(elements, sink);
    write::write_nil(sink.buffer());
}

fn encode_fun<S: Sink>(fun: &Fun, sink: &mut S) {
    // The size comes before the parts it covers, so the whole fun is laid out first. It counts
    // itself, but not the tag.
    let mut body = Vec::new();
    body.push(fun.arity);
    body.extend_from_slice(&fun.uniq);
    body.extend_from_slice(&fun.index.to_be_bytes());
    write::write_length(&mut body, fun.free.len());
    write::write_atom(&mut body, &fun.module);
    write::write_integer(&mut body, fun.old_index);
    write::write_integer(&mut body, fun.old_uniq);
    write::write_pid(&mut body, &fun.pid);
    encode_all(&fun.free, &mut body);
    let out = sink.buffer();
    out.push(tag::NEW_FUN);
    write::write_length(out, body.len() + 4);
    out.extend_from_slice(&body);
}

fn encode_record<S: Sink>(record: &Record, sink: &mut S) {
    let out = sink.buffer();
    out.push(tag::RECORD);
    write::write_length(out, record.fields.len());
    out.push(u8::from(record.exported));
    write::write_atom(out, &record.module);
    write::write_atom(out, &record.name);
    for (name, _) in &record.fields {
        write::write_atom(out, name);
    }
    for (_, value) in &record.fields {
        encode(value, sink);
    }
}
