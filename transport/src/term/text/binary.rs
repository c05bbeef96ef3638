//! Binaries in text: `<<1, 2:4, "text"/utf8>>`.

use num_bigint::BigInt;

use super::super::{BitString, Term};
use super::parse::{ParseError, ParseErrorKind};
use super::scan::Scanner;

/// Bits of one segment at most; larger ones are a mistake.
const SEGMENT_BITS_MAX: usize = 1 << 20;

/// Parses the segments of a binary up to and including `>>`; `<<` has been taken.
pub(super) fn parse(scanner: &mut Scanner<'_>) -> Result<Term, ParseError> {
    let mut bits = Bits::default();
    scanner.space();
    if scanner.take(">>") {
        return Ok(bits.finish());
    }
    loop {
        segment(scanner, &mut bits)?;
        scanner.space();
        if scanner.take(">>") {
            return Ok(bits.finish());
        }
        if !scanner.take(",") {
            return Err(scanner.unexpected(", or >>"));
        }
    }
}

/// What a segment's value is.
enum Value {
    Integer(BigInt),
    Text(String),
}

/// How a segment's value is laid out.
struct Layout {
    size: Option<usize>,
    is_utf8: bool,
    is_little: bool,
}

fn segment(scanner: &mut Scanner<'_>, bits: &mut Bits) -> Result<(), ParseError> {
    scanner.space();
    let start = scanner.position();
    let value = value(scanner)?;
    let layout = layout(scanner)?;
    let wrong = |kind| Err(ParseError::new(start, kind));
    if layout.is_utf8 && (layout.size.is_some() || layout.is_little) {
        return wrong(ParseErrorKind::Segment);
    }
    let size = layout.size.unwrap_or(8);
    match value {
        Value::Text(text) if layout.is_utf8 => bits.push_bytes(text.as_bytes()),
        Value::Text(text) => {
            for character in text.chars() {
                if layout.size.is_none() && u32::from(character) > 0xff {
                    return wrong(ParseErrorKind::CharacterNeedsUtf8(character));
                }
                bits.push(&BigInt::from(u32::from(character)), size, layout.is_little);
            }
        }
        Value::Integer(value) if layout.is_utf8 => {
            let character = u32::try_from(&value).ok().and_then(char::from_u32);
            match character {
                Some(character) => {
                    bits.push_bytes(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                None => return wrong(ParseErrorKind::Segment),
            }
        }
        Value::Integer(value) => bits.push(&value, size, layout.is_little),
    }
    Ok(())
}

fn value(scanner: &mut Scanner<'_>) -> Result<Value, ParseError> {
    if scanner.take("\"") {
        return scanner.quoted('"').map(Value::Text);
    }
    if scanner.take("$") {
        return Ok(Value::Integer(BigInt::from(u32::from(scanner.character()?))));
    }
    let is_negative = scanner.take("-");
    if !scanner.peek().is_some_and(|character| character.is_ascii_digit()) {
        return Err(scanner.unexpected("an integer or a string"));
    }
    let start = scanner.position();
    let value = match scanner.number()? {
        Term::Integer(value) => BigInt::from(value),
        Term::BigInteger(value) => BigInt::from(value),
        _ => return Err(ParseError::new(start, ParseErrorKind::Segment)),
    };
    Ok(Value::Integer(if is_negative { -value } else { value }))
}

fn layout(scanner: &mut Scanner<'_>) -> Result<Layout, ParseError> {
    let mut layout = Layout { size: None, is_utf8: false, is_little: false };
    scanner.space();
    if scanner.take(":") {
        scanner.space();
        let start = scanner.position();
        let size = match scanner.number()? {
            Term::Integer(size) => usize::try_from(size).ok(),
            _ => None,
        };
        match size {
            Some(size) if size <= SEGMENT_BITS_MAX => layout.size = Some(size),
            _ => return Err(ParseError::new(start, ParseErrorKind::Segment)),
        }
        scanner.space();
    }
    if scanner.take("/") {
        loop {
            scanner.space();
            let start = scanner.position();
            match scanner.name() {
                Some("utf8") => layout.is_utf8 = true,
                Some("little") => layout.is_little = true,
                Some("big" | "integer" | "signed" | "unsigned") => {}
                _ => return Err(ParseError::new(start, ParseErrorKind::SegmentType)),
            }
            if !scanner.take("-") {
                break;
            }
        }
    }
    Ok(layout)
}

/// Bits in the order they are written.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits used of the last byte; 0 means all.
    used: u8,
}

impl Bits {
    fn push_bit(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used);
        }
        self.used = (self.used + 1) % 8;
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        if self.used == 0 {
            return self.bytes.extend_from_slice(bytes);
        }
        for byte in bytes {
            (0..8).rev().for_each(|bit| self.push_bit(byte >> bit & 1 == 1));
        }
    }

    /// Appends the low `size` bits of an integer, in two's complement.
    fn push(&mut self, value: &BigInt, size: usize, is_little: bool) {
        let mut little = value.to_signed_bytes_le();
        let fill = if value.sign() == num_bigint::Sign::Minus { 0xff } else { 0 };
        little.resize(size.div_ceil(8), fill);
        let (whole, rest) = (size / 8, (size % 8) as u8);
        let top = little.get(whole).copied().unwrap_or(0);
        let push_rest = |bits: &mut Self| {
            (0..rest).rev().for_each(|bit| bits.push_bit(top >> bit & 1 == 1));
        };
        little.truncate(whole);
        if is_little {
            self.push_bytes(&little);
            push_rest(self);
        } else {
            push_rest(self);
            little.reverse();
            self.push_bytes(&little);
        }
    }

    fn finish(self) -> Term {
        let bytes = bytes::Bytes::from(self.bytes);
        match BitString::new(bytes.clone(), self.used) {
            Some(bits) => Term::BitString(bits),
            None => Term::Binary(bytes),
        }
    }
}
