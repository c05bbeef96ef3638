//! Printing terms.
//!
//! OTP: `io_lib:format("~0tp")` and `("~0tw")` of a node started with `+pc unicode`.

use std::fmt::{self, Write as _};

use super::super::atom::{write_escaped, write_quoted};
use super::super::{Atom, BitString, Term};

/// As Erlang's `~0tp` in a node started with `+pc unicode`: on one line, lists and binaries of
/// printable characters as strings. Identifiers show the name of their node, where Erlang shows a
/// number that means something only to the node that prints it.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self, true)
    }
}

impl Term {
    /// The term to be printed as Erlang's `~0tw` does: every list element by element, every binary
    /// byte by byte.
    #[must_use]
    pub fn written(&self) -> Written<'_> {
        Written(self)
    }
}

/// A term that `Display` prints without strings; see [`Term::written`].
#[derive(Clone, Copy, Debug)]
pub struct Written<'a>(&'a Term);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, self.0, false)
    }
}

pub(super) fn print(f: &mut fmt::Formatter<'_>, term: &Term, strings: bool) -> fmt::Result {
    match term {
        Term::Integer(value) => write!(f, "{value}"),
        Term::BigInteger(value) => write!(f, "{value}"),
        Term::Float(value) => print_float(f, *value),
        Term::Atom(atom) => write!(f, "{atom}"),
        Term::Pid(pid) => write!(f, "{pid}"),
        Term::Port(port) => write!(f, "{port}"),
        Term::Reference(reference) => write!(f, "{reference}"),
        Term::Fun(fun) => {
            f.write_str("#Fun<")?;
            write!(f, "{}.{}.{}>", fun.module.as_str(), fun.index, fun.old_uniq)
        }
        Term::Export(export) => {
            write!(f, "fun {}:{}/{}", export.module, export.function, export.arity)
        }
        Term::Tuple(elements) => print_all(f, "{", elements, "}", strings),
        Term::List(elements) if strings && is_printable_list(elements) => {
            f.write_char('"')?;
            for character in elements.iter().filter_map(as_character) {
                write_escaped(f, character, '"')?;
            }
            f.write_char('"')
        }
        Term::List(elements) => print_all(f, "[", elements, "]", strings),
        Term::ImproperList(elements, tail) => {
            print_all(f, "[", elements, "|", strings)?;
            print(f, tail, strings)?;
            f.write_char(']')
        }
        Term::Map(map) => {
            f.write_str("#{")?;
            for (i, (key, value)) in map.into_iter().enumerate() {
                separate(f, i)?;
                print(f, key, strings)?;
                f.write_str(" => ")?;
                print(f, value, strings)?;
            }
            f.write_char('}')
        }
        Term::Binary(bytes) => print_binary(f, bytes, strings),
        Term::BitString(bits) => print_bits(f, bits),
        Term::Record(record) => {
            write!(f, "#{}:{}{{", record.module, record.name)?;
            for (i, (name, value)) in record.fields.iter().enumerate() {
                separate(f, i)?;
                write!(f, "{name} = ")?;
                print(f, value, strings)?;
            }
            f.write_char('}')
        }
    }
}

fn separate(f: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
    if index > 0 { f.write_char(',') } else { Ok(()) }
}

fn print_all(
    f: &mut fmt::Formatter<'_>,
    open: &str,
    elements: &[Term],
    close: &str,
    strings: bool,
) -> fmt::Result {
    f.write_str(open)?;
    for (i, element) in elements.iter().enumerate() {
        separate(f, i)?;
        print(f, element, strings)?;
    }
    f.write_str(close)
}

fn as_character(term: &Term) -> Option<char> {
    let Term::Integer(code) = term else { return None };
    u32::try_from(*code).ok().and_then(char::from_u32)
}

pub(super) fn is_printable_list(elements: &[Term]) -> bool {
    let printable = |element| as_character(element).is_some_and(is_printable);
    !elements.is_empty() && elements.iter().all(printable)
}

/// OTP: `io_lib:printable_unicode_list/1`.
pub(super) fn is_printable(character: char) -> bool {
    matches!(character,
        ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..
        | '\n' | '\r' | '\t' | '\u{b}' | '\u{8}' | '\u{c}' | '\u{1b}')
}

/// Text in ASCII as a string, other text as `/utf8`, printable Latin-1 as a string again, and
/// anything else as numbers.
fn print_binary(f: &mut fmt::Formatter<'_>, bytes: &[u8], strings: bool) -> fmt::Result {
    let text = std::str::from_utf8(bytes).ok();
    let latin1 = || bytes.iter().map(|&byte| char::from(byte));
    f.write_str("<<")?;
    if bytes.is_empty() || !strings {
        print_bytes(f, bytes)?;
    } else if let Some(text) = text.filter(|text| text.chars().all(is_printable)) {
        print_string(f, text.chars())?;
        if !text.is_ascii() {
            f.write_str("/utf8")?;
        }
    } else if text.is_none_or(|text| text.is_ascii()) && latin1().all(is_printable) {
        print_string(f, latin1())?;
    } else {
        print_bytes(f, bytes)?;
    }
    f.write_str(">>")
}

fn print_string(f: &mut fmt::Formatter<'_>, text: impl Iterator<Item = char>) -> fmt::Result {
    f.write_char('"')?;
    for character in text {
        write_escaped(f, character, '"')?;
    }
    f.write_char('"')
}

fn print_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for (i, byte) in bytes.iter().enumerate() {
        separate(f, i)?;
        write!(f, "{byte}")?;
    }
    Ok(())
}

fn print_bits(f: &mut fmt::Formatter<'_>, bits: &BitString) -> fmt::Result {
    f.write_str("<<")?;
    if let Some((last, whole)) = bits.bytes().split_last() {
        print_bytes(f, whole)?;
        separate(f, whole.len())?;
        write!(f, "{}:{}", last >> (8 - bits.last_bits()), bits.last_bits())?;
    }
    f.write_str(">>")
}

/// The shortest digits that mean this float, laid out as Erlang does. OTP:
/// `io_lib_format:fwrite_g/1`.
fn print_float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    /// From here on a float does not tell neighbouring integers apart, and is printed with an
    /// exponent to show it.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if !value.is_finite() {
        // No Erlang float; the atoms it is encoded as.
        let name = if value.is_nan() { "nan" } else { "infinity" };
        let sign = if value == f64::NEG_INFINITY { "neg_" } else { "" };
        return write_quoted(f, &format!("{sign}{name}"));
    }
    if value.is_sign_negative() {
        f.write_char('-')?;
    }
    let value = value.abs();
    let scientific = shortest(value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // The point stands after so many digits.
    let place = exponent + 1;
    let length = digits.len() as i32;
    if value == 0.0 {
        return f.write_str("0.0");
    }
    if 0 < place && place < length {
        let (whole, fraction) = digits.split_at(place as usize);
        return write!(f, "{whole}.{fraction}");
    }
    if place == 0 {
        return write!(f, "0.{digits}");
    }
    let exponent_cost = exponent.to_string().len() as i32 + if length == 1 { 3 } else { 2 };
    if place < 0 && 2 - place <= exponent_cost {
        return write!(f, "0.{}{digits}", "0".repeat(place.unsigned_abs() as usize));
    }
    if place > 0 && place - length + 2 <= exponent_cost && value < EXACT_MAX {
        return write!(f, "{digits}{}.0", "0".repeat((place - length).unsigned_abs() as usize));
    }
    let (first, rest) = digits.split_at(1);
    let rest = if rest.is_empty() { "0" } else { rest };
    write!(f, "{first}.{rest}e{exponent}")
}

/// The shortest digits that mean this float, as d.ddde±x. Of two equally near, Erlang prints the
/// even ones; Rust gives the greater ones unless told how many digits there are.
fn shortest(value: f64) -> String {
    let shortest = format!("{value:e}");
    let fraction = shortest.find('e').map_or(0, |end| end.saturating_sub("d.".len()));
    let even = format!("{value:.fraction$e}");
    if even.parse() == Ok(value) { even } else { shortest }
}

impl Atom {
    /// The name between quotes, whether Erlang's reader needs them or not.
    #[must_use]
    pub fn quoted(&self) -> String {
        let mut text = String::from("'");
        for character in self.as_str().chars() {
            // Writing to a string cannot fail.
            let _ = write_escaped(&mut text, character, '\'');
        }
        text.push('\'');
        text
    }
}
