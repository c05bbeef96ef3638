//! The characters of Erlang source, taken one by one.

use num_bigint::BigInt;

use super::super::Term;
use super::super::atom::{is_lower, is_name_character};
use super::parse::{ParseError, ParseErrorKind};

/// Where in the text the parser is.
pub(super) struct Scanner<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        Some(character)
    }

    /// Takes this text if it comes next.
    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.position += text.len();
        }
        found
    }

    /// Takes characters as long as they are such.
    pub(super) fn take_while(&mut self, is_such: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|character| !is_such(character)).unwrap_or(rest.len());
        self.position += end;
        &rest[..end]
    }

    /// Passes over white space and comments.
    pub(super) fn space(&mut self) {
        loop {
            self.take_while(char::is_whitespace);
            if self.peek() != Some('%') {
                return;
            }
            self.take_while(|character| character != '\n');
        }
    }

    /// Takes this text, with any space before it.
    pub(super) fn expect(&mut self, text: &'static str) -> Result<(), ParseError> {
        self.space();
        if self.take(text) { Ok(()) } else { Err(self.unexpected(text)) }
    }

    /// The error for what stands here instead of what should.
    pub(super) fn unexpected(&self, expected: &'static str) -> ParseError {
        let kind = match self.peek() {
            Some(found) => ParseErrorKind::Unexpected { expected, found },
            None => ParseErrorKind::EndOfText { expected },
        };
        ParseError::new(self.position, kind)
    }

    /// A name of letters, digits, `_` and `@` that starts with a small letter.
    pub(super) fn name(&mut self) -> Option<&'a str> {
        if !self.peek().is_some_and(is_lower) {
            return None;
        }
        Some(self.take_while(is_name_character))
    }

    /// Text in quotes; the opening one has been taken.
    pub(super) fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some(found) if found == quote => return Ok(text),
                Some('\\') => {
                    if let Some(character) = self.escape()? {
                        text.push(character);
                    }
                }
                Some(character) => text.push(character),
                None => return Err(self.unexpected("the closing quote")),
            }
        }
    }

    /// A character after `$`.
    pub(super) fn character(&mut self) -> Result<char, ParseError> {
        let start = self.position;
        match self.next() {
            Some('\\') => match self.escape()? {
                Some(character) => Ok(character),
                None => Ok('\n'),
            },
            Some(character) => Ok(character),
            None => {
                Err(ParseError::new(start, ParseErrorKind::EndOfText { expected: "a character" }))
            }
        }
    }

    /// What follows a backslash; nothing for an escaped line break.
    fn escape(&mut self) -> Result<Option<char>, ParseError> {
        let start = self.position - 1;
        let wrong = || ParseError::new(start, ParseErrorKind::Escape);
        let Some(first) = self.next() else { return Err(self.unexpected("an escape sequence")) };
        Ok(Some(match first {
            'b' => '\u{8}',
            'd' => '\u{7f}',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            's' => ' ',
            't' => '\t',
            'v' => '\u{b}',
            '\n' => return Ok(None),
            '^' => match self.next() {
                Some(control @ '@'..='_') => char::from(control as u8 - b'@'),
                Some(control @ 'a'..='z') => char::from(control as u8 - b'a' + 1),
                _ => return Err(wrong()),
            },
            '0'..='7' => {
                let mut code = first.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.next();
                }
                char::from_u32(code).ok_or_else(wrong)?
            }
            'x' => {
                let digits = if self.take("{") {
                    let digits = self.take_while(|character| character.is_ascii_hexdigit());
                    self.take("}").then_some(digits).ok_or_else(wrong)?
                } else {
                    let two = self.rest().get(..2).ok_or_else(wrong)?;
                    self.position += 2;
                    two
                };
                let code = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
                char::from_u32(code).ok_or_else(wrong)?
            }
            other => other,
        }))
    }

    /// An unsigned number: an integer in any base, or a float.
    pub(super) fn number(&mut self) -> Result<Term, ParseError> {
        let start = self.position;
        let whole = self.digits(10)?;
        if self.take("#") {
            let base: u32 = whole.parse().unwrap_or(0);
            if !(2..=36).contains(&base) {
                return Err(ParseError::new(start, ParseErrorKind::Base));
            }
            let digits = self.digits(base)?;
            return self.integer(start, &digits, base);
        }
        let mut rest = self.rest().chars();
        let is_float = rest.next() == Some('.') && rest.next().is_some_and(|c| c.is_ascii_digit());
        if !is_float {
            return self.integer(start, &whole, 10);
        }
        self.next();
        let mut float = format!("{whole}.{}", self.digits(10)?);
        if self.take("e") || self.take("E") {
            float.push('e');
            if self.take("-") {
                float.push('-');
            } else {
                self.take("+");
            }
            float.push_str(&self.digits(10)?);
        }
        match float.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Term::Float(value)),
            _ => Err(ParseError::new(start, ParseErrorKind::Number)),
        }
    }

    fn integer(&self, start: usize, digits: &str, base: u32) -> Result<Term, ParseError> {
        if let Ok(small) = i64::from_str_radix(digits, base) {
            return Ok(Term::Integer(small));
        }
        BigInt::parse_bytes(digits.as_bytes(), base)
            .map(Term::from)
            .ok_or_else(|| ParseError::new(start, ParseErrorKind::Number))
    }

    /// Digits of a base, without the `_` that may stand between two of them.
    fn digits(&mut self, base: u32) -> Result<String, ParseError> {
        let mut digits = String::new();
        loop {
            let part = self.take_while(|character| character.is_digit(base));
            if part.is_empty() {
                return Err(self.unexpected("a digit"));
            }
            digits.push_str(part);
            let mut rest = self.rest().chars();
            if rest.next() != Some('_') || !rest.next().is_some_and(|c| c.is_digit(base)) {
                return Ok(digits);
            }
            self.next();
        }
    }
}
