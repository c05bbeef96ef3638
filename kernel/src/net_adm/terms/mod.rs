//! Files of Erlang terms, each with a full stop behind it.
//!
//! OTP: `file:consult/1`. What is no term is told as by the scanner and the parser of OTP 29: with
//! the line, and with the token that cannot stand there. The parser knows Erlang's expressions for
//! that, since `a-b` is one and `a b` is none.

mod parse;
mod scan;

use std::fmt;

use krarup_transport::term::Term;

use self::parse::Parser;
use self::scan::Scanner;
use crate::atoms::atom;

/// Where a text is no sequence of terms, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsError {
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong there.
    pub kind: TermsErrorKind,
}

/// What is wrong with a text that should be terms.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TermsErrorKind {
    /// A token that cannot stand there, as Erlang writes it; nothing for the end of the text, which
    /// lacks its full stop.
    Syntax(Option<String>),
    /// An expression, but none that is a term: a name with a capital letter, a sum, a call.
    BadTerm,
    /// What begins as `atom`, `integer`, `float`, `character` and is none.
    Illegal(&'static str),
    /// A base of an integer outside 2 to 36.
    Base(u32),
    /// An atom or string without its closing quote, and the first characters of it.
    Unterminated(&'static str, String),
    /// A `$` without a character.
    UnterminatedCharacter,
    /// Bytes that are no UTF-8. A file in Latin-1 says so in its first line: `% coding: latin-1`.
    InvalidUnicode,
    /// As [`InvalidUnicode`](Self::InvalidUnicode), where a form would begin; OTP tells it apart.
    NotReadable,
}

use TermsError as ScanError;
use TermsErrorKind as ErrorKind;

impl TermsError {
    /// The reason that OTP gives: `{Line, Module, Description}`.
    pub fn to_term(&self) -> Term {
        let pair = |what, text: &'static str| Term::Tuple(vec![atom(what), atom(text)]);
        let (module, description) = match &self.kind {
            ErrorKind::Syntax(token) => {
                let token = Term::charlist(token.as_deref().unwrap_or_default());
                ("erl_parse", Term::List(vec![Term::charlist(SYNTAX_ERROR), token]))
            }
            ErrorKind::BadTerm => ("erl_parse", Term::charlist("bad term")),
            ErrorKind::Illegal(what) => ("erl_scan", pair("illegal", what)),
            ErrorKind::Base(base) => {
                ("erl_scan", Term::Tuple(vec![atom("base"), Term::from(u64::from(*base))]))
            }
            ErrorKind::Unterminated(what, text) => {
                let parts = vec![atom("unterminated"), atom(what), Term::charlist(text)];
                ("erl_scan", Term::Tuple(parts))
            }
            ErrorKind::UnterminatedCharacter => ("erl_scan", pair("unterminated", "char")),
            ErrorKind::InvalidUnicode => ("file_io_server", atom("invalid_unicode")),
            ErrorKind::NotReadable => return atom("tokens"),
        };
        Term::Tuple(vec![Term::from(u64::from(self.line)), atom(module), description])
    }
}

const SYNTAX_ERROR: &str = "syntax error before: ";

impl fmt::Display for TermsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            ErrorKind::Syntax(Some(token)) => write!(f, "{SYNTAX_ERROR}{token}"),
            ErrorKind::Syntax(None) => f.write_str("the full stop behind the last term is missing"),
            ErrorKind::BadTerm => {
                f.write_str("bad term; a host name with a capital letter or a - needs quotes")
            }
            ErrorKind::Illegal(what) => write!(f, "illegal {what}"),
            ErrorKind::Base(base) => write!(f, "illegal base {base}"),
            ErrorKind::Unterminated(what, text) => {
                write!(f, "the closing quote of the {what} that begins with {text:?} is missing")
            }
            ErrorKind::UnterminatedCharacter => f.write_str("a character is missing behind $"),
            ErrorKind::InvalidUnicode | ErrorKind::NotReadable => {
                f.write_str("no UTF-8; a file in Latin-1 begins with the line: % coding: latin-1")
            }
        }
    }
}

impl std::error::Error for TermsError {}

/// Reads all terms of a file.
///
/// # Errors
/// The first place where something else stands.
pub fn read(bytes: &[u8]) -> Result<Vec<Term>, TermsError> {
    let (text, ends_invalid) = decode(bytes);
    let mut scanner = Scanner::new(&text, ends_invalid);
    let mut terms = Vec::new();
    loop {
        let tokens = scanner.form()?;
        if tokens.is_empty() {
            return Ok(terms);
        }
        terms.push(Parser::new(&text, &tokens).term()?);
    }
}

/// The characters up to the first byte that is none, and whether there is one.
fn decode(bytes: &[u8]) -> (Vec<char>, bool) {
    if is_latin1(bytes) {
        return (bytes.iter().copied().map(char::from).collect(), false);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.chars().collect(), false),
        Err(error) => {
            let valid = &bytes[..error.valid_up_to()];
            (String::from_utf8_lossy(valid).chars().collect(), true)
        }
    }
}

/// Whether a comment in the first two lines says so (OTP: `epp:read_encoding/1`).
fn is_latin1(bytes: &[u8]) -> bool {
    let comments = bytes.split(|byte| *byte == b'\n').take(2).filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'%')?;
        Some(String::from_utf8_lossy(&line[at..]).to_ascii_lowercase())
    });
    for comment in comments {
        let Some((_, rest)) = comment.split_once("coding") else { continue };
        let rest = rest.trim_start();
        let Some(name) = rest.strip_prefix(':').or_else(|| rest.strip_prefix('=')) else {
            continue;
        };
        return name.trim_start().starts_with("latin-1");
    }
    false
}

#[cfg(test)]
mod tests;
