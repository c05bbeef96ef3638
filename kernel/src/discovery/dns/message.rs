//! DNS messages: one question, and the records that answer it.
//!
//! RFC 1035 section 4, RFC 2782 (SRV), RFC 3596 (AAAA), RFC 6891 (the size of answers by UDP). No I/O.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest answer by UDP that is asked for: what fits a packet everywhere.
pub(crate) const UDP_BYTES_MAX: u16 = 1232;
/// Records looked at in one answer.
const RECORDS_MAX: usize = 4096;
/// The longest name, as text.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
/// Names that lead to another one, in one answer.
const ALIASES_MAX: usize = 16;
const CLASS_IN: u16 = 1;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryType {
    A,
    Aaaa,
    Srv,
}

impl QueryType {
    fn code(self) -> u16 {
        match self {
            QueryType::A => 1,
            QueryType::Aaaa => 28,
            QueryType::Srv => 33,
        }
    }
}

const CNAME: u16 = 5;
const OPT: u16 = 41;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Address(IpAddr),
    /// A host and a port there.
    Service {
        target: String,
        port: u16,
    },
}

/// Why bytes are no answer, or no good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DnsError {
    /// The name cannot be asked for.
    Name(String),
    /// The server says that it cannot answer (its response code).
    Refused(u8),
    /// The answer is to another question, or is none.
    Stray,
    /// The bytes are no message.
    Malformed,
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsError::Name(name) => write!(f, "{name:?} is no name that DNS can be asked for"),
            DnsError::Refused(2) => f.write_str("the name server failed (SERVFAIL)"),
            DnsError::Refused(5) => f.write_str("the name server refuses to answer (REFUSED)"),
            DnsError::Refused(code) => write!(f, "the name server answers with code {code}"),
            DnsError::Stray => f.write_str("the answer is to another question"),
            DnsError::Malformed => f.write_str("the answer is no DNS message"),
        }
    }
}

impl std::error::Error for DnsError {}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The records; none if the name has none of the type that was asked for.
    Records(Vec<Record>),
    /// There is no such name.
    NoName,
    /// It did not fit: ask again by TCP.
    Truncated,
}

/// One question, as it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    id: u16,
    name: String,
    query_type: QueryType,
}

impl Query {
    /// A question about a full name, with or without a dot at its end.
    pub(crate) fn new(id: u16, name: &str, query_type: QueryType) -> Result<Self, DnsError> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_of_label)
        };
        if name.len() > NAME_BYTES_MAX || !name.split('.').all(is_label) {
            return Err(DnsError::Name(name));
        }
        Ok(Query { id, name, query_type })
    }

    /// The message that asks it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        // Recursion is desired; one question, and one additional record.
        for word in [self.id, 0x0100, 1, 0, 0, 1] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        write_name(&self.name, &mut out);
        for word in [self.query_type.code(), CLASS_IN] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        // OPT: the root's name, its type, and in place of the class how much is taken.
        out.push(0);
        for word in [OPT, UDP_BYTES_MAX, 0, 0, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out
    }

    /// Reads the answer to it.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<Answer, DnsError> {
        let mut reader = Reader { bytes, position: 0 };
        let mut header = [0; 6];
        for word in &mut header {
            *word = reader.u16()?;
        }
        let [id, flags, questions, answers, _, _] = header;
        let is_response = flags & 0x8000 != 0;
        if !is_response || id != self.id {
            return Err(DnsError::Stray);
        }
        let code = (flags & 0xf) as u8;
        if questions != 1 {
            // Servers that do not understand a question may leave it out.
            return Err(if code == 0 { DnsError::Stray } else { DnsError::Refused(code) });
        }
        let name = reader.name()?;
        if name != self.name || reader.u16()? != self.query_type.code() || reader.u16()? != CLASS_IN
        {
            return Err(DnsError::Stray);
        }
        if flags & 0x0200 != 0 {
            return Ok(Answer::Truncated);
        }
        match code {
            0 => self.records(&mut reader, answers).map(Answer::Records),
            3 => Ok(Answer::NoName),
            code => Err(DnsError::Refused(code)),
        }
    }

    /// The records of the name that was asked for, or of the one that it is an alias of.
    fn records(&self, reader: &mut Reader<'_>, count: u16) -> Result<Vec<Record>, DnsError> {
        if usize::from(count) > RECORDS_MAX {
            return Err(DnsError::Malformed);
        }
        let mut aliases = Vec::new();
        let mut found = Vec::new();
        for _ in 0..count {
            let owner = reader.name()?;
            let (record_type, class) = (reader.u16()?, reader.u16()?);
            let _time_to_live = (reader.u16()?, reader.u16()?);
            let length = usize::from(reader.u16()?);
            let end = reader.position + length;
            if end > reader.bytes.len() {
                return Err(DnsError::Malformed);
            }
            if class == CLASS_IN && record_type == CNAME {
                aliases.push((owner, reader.name()?));
            } else if class == CLASS_IN && record_type == self.query_type.code() {
                found.push((owner, reader.record(self.query_type, end)?));
            } else {
                reader.position = end;
            }
            if reader.position != end {
                return Err(DnsError::Malformed);
            }
        }
        let mut name = &self.name;
        for _ in 0..ALIASES_MAX {
            match aliases.iter().find(|(owner, _)| owner == name) {
                Some((_, target)) => name = target,
                None => break,
            }
        }
        let of_name = found.into_iter().filter(|(owner, _)| owner == name);
        Ok(of_name.map(|(_, record)| record).collect())
    }
}

fn is_of_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn write_name(name: &str, out: &mut Vec<u8>) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // Names are checked when a question is made.
        out.push(u8::try_from(label.len()).unwrap_or(0));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DnsError> {
        let end = self.position + N;
        let taken = self.bytes.get(self.position..end).and_then(|taken| taken.try_into().ok());
        self.position = end;
        taken.ok_or(DnsError::Malformed)
    }

    fn u16(&mut self) -> Result<u16, DnsError> {
        self.take().map(u16::from_be_bytes)
    }

    /// A name, in small letters and without a dot at its end. Parts of it may stand further up in
    /// the message.
    fn name(&mut self) -> Result<String, DnsError> {
        let mut name = String::new();
        let mut at = self.position;
        let mut end = None;
        // Each part lies before the one that leads there, so that no name has no end.
        let mut limit = self.position;
        loop {
            let length = *self.bytes.get(at).ok_or(DnsError::Malformed)?;
            match length {
                0 => {
                    self.position = end.unwrap_or(at + 1);
                    return Ok(name);
                }
                1..=63 => {
                    let from = at + 1;
                    at = from + usize::from(length);
                    let label = self.bytes.get(from..at).ok_or(DnsError::Malformed)?;
                    if !name.is_empty() {
                        name.push('.');
                    }
                    if name.len() + label.len() > NAME_BYTES_MAX {
                        return Err(DnsError::Malformed);
                    }
                    // What no host's name has becomes what none has either.
                    name.extend(label.iter().map(|byte| match byte {
                        byte if is_of_label(*byte) => char::from(byte.to_ascii_lowercase()),
                        _ => '?',
                    }));
                }
                0xc0.. => {
                    let low = *self.bytes.get(at + 1).ok_or(DnsError::Malformed)?;
                    end.get_or_insert(at + 2);
                    let target = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if target >= limit {
                        return Err(DnsError::Malformed);
                    }
                    limit = target;
                    at = target;
                }
                _ => return Err(DnsError::Malformed),
            }
        }
    }

    fn record(&mut self, of: QueryType, end: usize) -> Result<Record, DnsError> {
        let record = match of {
            QueryType::A => Record::Address(Ipv4Addr::from(self.take::<4>()?).into()),
            QueryType::Aaaa => Record::Address(Ipv6Addr::from(self.take::<16>()?).into()),
            QueryType::Srv => {
                let _priority_and_weight = self.take::<4>()?;
                let port = self.u16()?;
                Record::Service { port, target: self.name()? }
            }
        };
        if self.position == end { Ok(record) } else { Err(DnsError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response to `query`: its flags, and records of a name, a type and data.
    fn response(query: &Query, flags: u16, records: &[(&str, u16, Vec<u8>)]) -> Vec<u8> {
        let count = u16::try_from(records.len()).unwrap();
        let mut out = Vec::new();
        for word in [query.id, flags, 1, count, 0, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        write_name(&query.name, &mut out);
        for word in [query.query_type.code(), CLASS_IN] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        for (name, record_type, data) in records {
            if name.is_empty() {
                // The question's name.
                out.extend_from_slice(&[0xc0, 12]);
            } else {
                write_name(name, &mut out);
            }
            for word in [*record_type, CLASS_IN, 0, 30, u16::try_from(data.len()).unwrap()] {
                out.extend_from_slice(&word.to_be_bytes());
            }
            out.extend_from_slice(data);
        }
        out
    }

    fn query(query_type: QueryType) -> Query {
        Query::new(0x1234, "Web.Example.org.", query_type).unwrap()
    }

    fn name(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write_name(text, &mut out);
        out
    }

    fn service(port: u16, target: &str) -> Vec<u8> {
        [&[0, 1, 0, 2][..], &port.to_be_bytes(), &name(target)].concat()
    }

    #[test]
    fn a_question_is_asked_as_in_the_standard() {
        assert_eq!(
            query(QueryType::A).encode(),
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03web\x07example\x03org\x00\
              \x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
        );
        let long = "a".repeat(64);
        for wrong in ["", ".", "a..b", "a b", "\u{e9}", long.as_str()] {
            assert!(matches!(Query::new(1, wrong, QueryType::A), Err(DnsError::Name(_))));
        }
        assert!(Query::new(1, &"abcd.".repeat(60), QueryType::A).is_err());
        assert!(Query::new(1, "_krarup._tcp.example.org", QueryType::Srv).is_ok());
    }

    #[test]
    fn records_of_the_name_and_of_its_aliases_are_taken() {
        let asked = query(QueryType::A);
        let bytes = response(
            &asked,
            0x8180,
            &[
                ("", 5, name("real.example.org")),
                ("other.example.org", 1, vec![9, 9, 9, 9]),
                ("REAL.example.org", 1, vec![10, 0, 0, 1]),
                ("real.example.org", 28, vec![0; 16]),
                ("real.example.org", 1, vec![10, 0, 0, 2]),
            ],
        );
        let addresses = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|ip| Record::Address(ip.into()));
        assert_eq!(asked.decode(&bytes), Ok(Answer::Records(addresses.into())));
        let asked = query(QueryType::Aaaa);
        let bytes = response(&asked, 0x8180, &[("", 28, vec![0xfd; 16])]);
        let address = Record::Address([0xfd; 16].into());
        assert_eq!(asked.decode(&bytes), Ok(Answer::Records(vec![address])));
        let asked = query(QueryType::Srv);
        let bytes = response(&asked, 0x8180, &[("", 33, service(9100, "a.Example.org"))]);
        let found = Record::Service { target: "a.example.org".into(), port: 9100 };
        assert_eq!(asked.decode(&bytes), Ok(Answer::Records(vec![found])));
        // Aliases in a circle lead nowhere.
        let circle = [("", 5, name("a.org")), ("a.org", 5, name("web.example.org"))];
        let asked = query(QueryType::A);
        let bytes = response(&asked, 0x8180, &circle);
        assert_eq!(asked.decode(&bytes), Ok(Answer::Records(vec![])));
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let asked = query(QueryType::A);
        let good = response(&asked, 0x8180, &[("", 1, vec![10, 0, 0, 1])]);
        assert_eq!(asked.decode(&response(&asked, 0x8183, &[])), Ok(Answer::NoName));
        assert_eq!(asked.decode(&response(&asked, 0x8380, &[])), Ok(Answer::Truncated));
        assert_eq!(asked.decode(&response(&asked, 0x8182, &[])), Err(DnsError::Refused(2)));
        assert_eq!(asked.decode(&response(&asked, 0x0100, &[])), Err(DnsError::Stray));
        let other = Query { id: 1, ..asked.clone() };
        assert_eq!(other.decode(&good), Err(DnsError::Stray));
        assert_eq!(query(QueryType::Aaaa).decode(&good), Err(DnsError::Stray));
        let short = response(&asked, 0x8180, &[("", 1, vec![10, 0, 0])]);
        assert_eq!(asked.decode(&short), Err(DnsError::Malformed));
        // A name that leads to itself, and one that leads forward.
        for pointer in [[0xc0, 33], [0xc0, 60]] {
            let mut bytes = good.clone();
            bytes[33..35].copy_from_slice(&pointer);
            assert_eq!(asked.decode(&bytes), Err(DnsError::Malformed), "{pointer:?}");
        }
    }

    /// Answers come from whoever answers: cut or changed anywhere, they are refused or read.
    #[test]
    fn no_answer_is_a_mishap() {
        let asked = query(QueryType::Srv);
        let records: Vec<_> = (1..5).map(|port| ("", 33, service(port, "a.example.org"))).collect();
        let good = response(&asked, 0x8180, &records);
        for end in 0..good.len() {
            assert!(asked.decode(&good[..end]).is_err(), "{end} bytes");
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x3f, 0x40, 0x7f, 0xc0, 0xff] {
                let mut bytes = good.clone();
                bytes[at] = value;
                if let Ok(Answer::Records(records)) = asked.decode(&bytes) {
                    assert!(records.len() <= 4);
                }
            }
        }
        // A generator with a fixed seed: what it finds it finds again.
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = usize::try_from(state >> 33).unwrap() % bytes.len();
                bytes[at] = (state >> 56) as u8;
            }
            let _ = asked.decode(&bytes);
        }
    }
}
