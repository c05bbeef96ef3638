//! Reading terms from text, as written on a command line.

use std::fmt;
use std::str::FromStr;

use super::super::identifier::is_node_name;
use super::super::{Atom, Creation, Export, Map, Pid, Port, Record, Reference, Term};
use super::binary;
use super::scan::Scanner;

/// Why a text is not a term, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Offset in bytes from the start of the text.
    pub position: usize,
    /// What is wrong there.
    pub kind: ParseErrorKind,
}

/// What is wrong with the text of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Something else should stand here.
    Unexpected {
        /// What should.
        expected: &'static str,
        /// What does.
        found: char,
    },
    /// The text ends too early.
    EndOfText {
        /// What should follow.
        expected: &'static str,
    },
    /// Something follows the term.
    TrailingText,
    /// A name with a capital letter or `_` first, which is a variable in Erlang.
    Variable(String),
    /// An atom of more than 255 characters.
    AtomTooLong,
    /// A number that Erlang could not hold.
    Number,
    /// A base outside 2 to 36.
    Base,
    /// A backslash followed by what is no escape sequence.
    Escape,
    /// A map with the same key twice.
    DuplicateKey,
    /// A record with the same field twice.
    DuplicateField,
    /// A binary segment that cannot be laid out as asked.
    Segment,
    /// A type of binary segment that is not known here.
    SegmentType,
    /// A character that does not fit a byte.
    CharacterNeedsUtf8(char),
    /// A pid, port or reference the way Erlang prints it, with a number for its node.
    LocalIdentifier,
    /// `#Pid<…>` and the like with something wrong inside.
    Identifier,
    /// `#Fun<…>`: the text does not say what the function does.
    Fun,
    /// Terms nested deeper than [`Term::TEXT_DEPTH_MAX`].
    TooDeep,
}

impl ParseError {
    pub(super) fn new(position: usize, kind: ParseErrorKind) -> Self {
        Self { position, kind }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at byte {} of the text)", self.kind, self.position)
    }
}

impl fmt::Display for ParseErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected { expected, found } => {
                write!(f, "expected {expected}, found {found:?}")
            }
            Self::EndOfText { expected } => write!(f, "expected {expected}, found the end"),
            Self::TrailingText => f.write_str("text after the end of the term"),
            Self::Variable(name) => {
                write!(f, "{name} is a variable in Erlang; for an atom write '{name}'")
            }
            Self::AtomTooLong => f.write_str("an atom has at most 255 characters"),
            Self::Number => f.write_str("the number is out of range"),
            Self::Base => f.write_str("a base is 2 to 36"),
            Self::Escape => f.write_str("unknown escape sequence"),
            Self::DuplicateKey => f.write_str("the map has the same key twice"),
            Self::DuplicateField => f.write_str("the record has the same field twice"),
            Self::Segment => f.write_str("the value does not fit this segment"),
            Self::SegmentType => f.write_str(
                "a segment is of type integer or utf8, and big, little, signed or unsigned",
            ),
            Self::CharacterNeedsUtf8(character) => {
                write!(f, "{character:?} does not fit a byte; write \"…\"/utf8")
            }
            Self::LocalIdentifier => f.write_str(
                "a number in place of the node means something only inside the node that printed \
                 it; write #Pid<node@host.ID.SERIAL> with the node's name",
            ),
            Self::Identifier => f.write_str(
                "expected #Pid<NODE.ID.SERIAL>, #Port<NODE.ID> or #Ref<NODE.WORD.WORD.WORD>, \
                 optionally with /CREATION before the >",
            ),
            Self::Fun => f.write_str("a fun cannot be read from text; write fun M:F/A"),
            Self::TooDeep => {
                write!(f, "terms are nested deeper than {} levels", Term::TEXT_DEPTH_MAX)
            }
        }
    }
}

impl std::error::Error for ParseError {}

impl Term {
    /// Levels a term may be nested in text.
    pub const TEXT_DEPTH_MAX: usize = 128;
}

/// Reads a term as Erlang does, including what [`Term`]'s `Display` prints; a final full stop may
/// be left out. Of identifiers, the text `#Pid<node@host.ID.SERIAL>` is read, with creation 0
/// unless `/CREATION` follows; the bare `<0.1.0>` is refused, as it has no meaning outside the
/// node that printed it.
impl FromStr for Term {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut scanner = Scanner::new(text);
        let term = parse(&mut scanner, 0)?;
        scanner.space();
        scanner.take(".");
        scanner.space();
        if scanner.peek().is_some() {
            return Err(ParseError::new(scanner.position(), ParseErrorKind::TrailingText));
        }
        Ok(term)
    }
}

fn parse(scanner: &mut Scanner<'_>, depth: usize) -> Result<Term, ParseError> {
    scanner.space();
    let start = scanner.position();
    if depth > Term::TEXT_DEPTH_MAX {
        return Err(ParseError::new(start, ParseErrorKind::TooDeep));
    }
    let Some(first) = scanner.peek() else { return Err(scanner.unexpected("a term")) };
    match first {
        '0'..='9' => scanner.number(),
        '-' | '+' => signed(scanner),
        '$' => {
            scanner.next();
            let character = scanner.character()?;
            Ok(Term::Integer(i64::from(u32::from(character))))
        }
        '"' => string(scanner).map(|text| Term::charlist(&text)),
        '~' => {
            scanner.next();
            let text = string(scanner)?;
            Ok(Term::from(text))
        }
        '[' => {
            scanner.next();
            list(scanner, depth + 1)
        }
        '{' => {
            scanner.next();
            let elements = sequence(scanner, "}", depth + 1)?;
            Ok(Term::Tuple(elements))
        }
        '<' if scanner.take("<<") => binary::parse(scanner),
        '<' => Err(ParseError::new(start, ParseErrorKind::LocalIdentifier)),
        '#' => {
            scanner.next();
            hash(scanner, start, depth + 1)
        }
        'A'..='Z' | '_' | 'À'..='Ö' | 'Ø'..='Þ' => {
            let name = scanner.take_while(super::super::atom::is_name_character);
            Err(ParseError::new(start, ParseErrorKind::Variable(name.to_owned())))
        }
        _ => {
            let atom = atom(scanner)?;
            if atom == "fun" && scanner.rest().starts_with(char::is_whitespace) {
                return export(scanner);
            }
            Ok(Term::Atom(atom))
        }
    }
}

fn signed(scanner: &mut Scanner<'_>) -> Result<Term, ParseError> {
    let is_negative = scanner.next() == Some('-');
    scanner.space();
    let value = if scanner.take("$") {
        Term::Integer(i64::from(u32::from(scanner.character()?)))
    } else if scanner.peek().is_some_and(|character| character.is_ascii_digit()) {
        scanner.number()?
    } else {
        return Err(scanner.unexpected("a number"));
    };
    Ok(match value {
        value if !is_negative => value,
        Term::Integer(value) => Term::from(-i128::from(value)),
        Term::BigInteger(value) => Term::from(-num_bigint::BigInt::from(value)),
        Term::Float(value) => Term::Float(-value),
        other => other,
    })
}

/// One string or several next to each other, which are one.
fn string(scanner: &mut Scanner<'_>) -> Result<String, ParseError> {
    scanner.expect("\"")?;
    let mut text = scanner.quoted('"')?;
    loop {
        let before = scanner.position();
        scanner.space();
        if scanner.position() == before && scanner.peek() == Some('"') {
            // `"a""b"` is more likely a mistake than two strings.
            return Err(scanner.unexpected("white space between strings"));
        }
        if !scanner.take("\"") {
            return Ok(text);
        }
        text.push_str(&scanner.quoted('"')?);
    }
}

fn atom(scanner: &mut Scanner<'_>) -> Result<Atom, ParseError> {
    scanner.space();
    let start = scanner.position();
    let too_long = |_| ParseError::new(start, ParseErrorKind::AtomTooLong);
    if scanner.take("'") {
        return Atom::new(&scanner.quoted('\'')?).map_err(too_long);
    }
    match scanner.name() {
        Some(name) => Atom::new(name).map_err(too_long),
        None => Err(scanner.unexpected("a term")),
    }
}

/// Terms separated by commas, up to and including the closing bracket.
fn sequence(
    scanner: &mut Scanner<'_>,
    close: &'static str,
    depth: usize,
) -> Result<Vec<Term>, ParseError> {
    let mut elements = Vec::new();
    scanner.space();
    if scanner.take(close) {
        return Ok(elements);
    }
    loop {
        elements.push(parse(scanner, depth)?);
        scanner.space();
        if scanner.take(close) {
            return Ok(elements);
        }
        scanner.expect(",")?;
    }
}

fn list(scanner: &mut Scanner<'_>, depth: usize) -> Result<Term, ParseError> {
    let mut elements = Vec::new();
    scanner.space();
    if scanner.take("]") {
        return Ok(Term::nil());
    }
    loop {
        elements.push(parse(scanner, depth)?);
        scanner.space();
        if scanner.take("]") {
            return Ok(Term::List(elements));
        }
        if scanner.take("|") {
            let tail = parse(scanner, depth)?;
            scanner.expect("]")?;
            return Ok(Term::improper_list(elements, tail));
        }
        if !scanner.take(",") {
            return Err(scanner.unexpected(", or | or ]"));
        }
    }
}

/// What begins with `#`: a map, a record or an identifier.
fn hash(scanner: &mut Scanner<'_>, start: usize, depth: usize) -> Result<Term, ParseError> {
    if scanner.take("Fun<") {
        return Err(ParseError::new(start, ParseErrorKind::Fun));
    }
    for prefix in ["Pid<", "Port<", "Ref<"] {
        if scanner.take(prefix) {
            let inside = scanner.take_while(|character| character != '>');
            scanner.expect(">")?;
            return identifier(prefix, inside, start);
        }
    }
    scanner.space();
    if scanner.take("{") {
        return map(scanner, start, depth);
    }
    record(scanner, start, depth)
}

fn map(scanner: &mut Scanner<'_>, start: usize, depth: usize) -> Result<Term, ParseError> {
    let mut pairs = Vec::new();
    scanner.space();
    if !scanner.take("}") {
        loop {
            let key = parse(scanner, depth)?;
            scanner.expect("=>")?;
            pairs.push((key, parse(scanner, depth)?));
            scanner.space();
            if scanner.take("}") {
                break;
            }
            scanner.expect(",")?;
        }
    }
    Map::from_pairs(pairs)
        .map(Term::Map)
        .map_err(|_| ParseError::new(start, ParseErrorKind::DuplicateKey))
}

/// `#Module:Name{Field = Value, …}`. The text does not say whether the record is exported; those
/// that travel usually are.
fn record(scanner: &mut Scanner<'_>, start: usize, depth: usize) -> Result<Term, ParseError> {
    let module = atom(scanner)?;
    scanner.expect(":")?;
    let name = atom(scanner)?;
    scanner.expect("{")?;
    let mut fields: Vec<(Atom, Term)> = Vec::new();
    scanner.space();
    if !scanner.take("}") {
        loop {
            let field = atom(scanner)?;
            if fields.iter().any(|(other, _)| *other == field) {
                return Err(ParseError::new(start, ParseErrorKind::DuplicateField));
            }
            scanner.expect("=")?;
            fields.push((field, parse(scanner, depth)?));
            scanner.space();
            if scanner.take("}") {
                break;
            }
            scanner.expect(",")?;
        }
    }
    Ok(Record { exported: true, module, name, fields }.into())
}

fn export(scanner: &mut Scanner<'_>) -> Result<Term, ParseError> {
    let module = atom(scanner)?;
    scanner.expect(":")?;
    let function = atom(scanner)?;
    scanner.expect("/")?;
    scanner.space();
    let start = scanner.position();
    match scanner.number()? {
        Term::Integer(arity @ 0..=255) => {
            // Within 0..=255.
            let arity = arity as u8;
            Ok(Export { module, function, arity }.into())
        }
        _ => Err(ParseError::new(start, ParseErrorKind::Number)),
    }
}

/// The inside of `#Pid<…>`, `#Port<…>` or `#Ref<…>`: the node's name, which may contain dots, and
/// the numbers after it.
fn identifier(prefix: &str, inside: &str, start: usize) -> Result<Term, ParseError> {
    let wrong = || ParseError::new(start, ParseErrorKind::Identifier);
    let (inside, creation) = match inside.rsplit_once('/') {
        Some((inside, creation)) => (inside, number(creation).ok_or_else(wrong)?),
        None => (inside, 0),
    };
    let creation = Creation(creation);
    let node_and_numbers = |count: usize| {
        let mut parts = inside.rsplitn(count + 1, '.');
        let mut numbers: Vec<&str> = parts.by_ref().take(count).collect();
        numbers.reverse();
        parts.next().map(|node| (node, numbers))
    };
    let node = |name: &str| {
        if !name.contains('@') {
            return Err(ParseError::new(start, ParseErrorKind::LocalIdentifier));
        }
        if !is_node_name(name) {
            return Err(wrong());
        }
        Atom::new(name).map_err(|_| ParseError::new(start, ParseErrorKind::AtomTooLong))
    };
    if inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(ParseError::new(start, ParseErrorKind::LocalIdentifier));
    }
    match prefix {
        "Pid<" => {
            let (name, numbers) = node_and_numbers(2).ok_or_else(wrong)?;
            let [id, serial] = numbers[..] else { return Err(wrong()) };
            let id = number(id).ok_or_else(wrong)?;
            let serial = number(serial).ok_or_else(wrong)?;
            Ok(Pid { node: node(name)?, id, serial, creation }.into())
        }
        "Port<" => {
            let (name, numbers) = node_and_numbers(1).ok_or_else(wrong)?;
            let [id] = numbers[..] else { return Err(wrong()) };
            let id = number(id).ok_or_else(wrong)?;
            Ok(Port { node: node(name)?, id, creation }.into())
        }
        _ => {
            // As many numbers as stand at the end are words, except those of an address as host.
            let host = inside.split_once('@').map_or(inside, |(_, host)| host);
            let is_number = is_plain_number;
            let mut labels = host.split('.');
            let is_address = labels.next().is_some_and(is_number);
            let numbers = labels.rev().take_while(|part| is_number(part)).count();
            let count = if is_address { numbers.saturating_sub(3) } else { numbers };
            reference(inside, count, creation, node, wrong)
        }
    }
}

/// Digits as they are printed: no sign, no leading zeros.
fn is_plain_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    is_plain_number(text).then(|| text.parse().ok()).flatten()
}

fn reference(
    inside: &str,
    count: usize,
    creation: Creation,
    node: impl Fn(&str) -> Result<Atom, ParseError>,
    wrong: impl Fn() -> ParseError,
) -> Result<Term, ParseError> {
    let mut parts = inside.rsplitn(count + 1, '.');
    // Printed from the last word down, so this is wire order.
    let mut words = Vec::with_capacity(count.min(8));
    for part in parts.by_ref().take(count) {
        words.push(number(part).ok_or_else(&wrong)?);
    }
    let name = parts.next().ok_or_else(&wrong)?;
    Reference::new(node(name)?, creation, &words).map(Term::from).ok_or_else(wrong)
}
