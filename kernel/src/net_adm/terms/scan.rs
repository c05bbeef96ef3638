//! The tokens of Erlang source, up to the full stop that ends a form.
//!
//! OTP: `erl_scan.erl`, `tokens/3`. Of what later releases added, sigils and triple-quoted strings
//! are left out.

use krarup_transport::term::Term;

use super::{ErrorKind, ScanError};

/// A token, and the line that it begins on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) line: u32,
    pub(super) kind: TokenKind,
    /// The characters that it takes.
    pub(super) from: usize,
    pub(super) to: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Atom(String),
    Variable(String),
    Integer(Term),
    Float(f64),
    Character(char),
    String(String),
    /// A reserved word or punctuation.
    Symbol(String),
    /// The full stop.
    Dot,
}

/// Characters of a token that is not closed which the error tells.
const UNTERMINATED_SHOWN_MAX: usize = 16;

/// Longer ones first.
const SYMBOLS: &[&str] = &[
    "...", "=:=", "=/=", "<:-", "<:=", "->", "--", "::", ":=", "++", "=<", "=>", "==", "/=", ">=",
    ">>", "<=", "<-", "<<", "||", "&&", "..", "?=",
];

const RESERVED: &[&str] = &[
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case",
    "catch", "cond", "div", "else", "end", "fun", "if", "let", "maybe", "not", "of", "or",
    "orelse", "receive", "rem", "try", "when", "xor",
];

/// What stands at a place of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Character(char),
    End,
}

/// Takes tokens from a text. The text may end where bytes follow that are no characters.
pub(super) struct Scanner<'a> {
    text: &'a [char],
    ends_invalid: bool,
    position: usize,
    line: u32,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [char], ends_invalid: bool) -> Self {
        Scanner { text, ends_invalid, position: 0, line: 1 }
    }

    /// The tokens of the next form, with its full stop unless the text ends before. Nothing at the
    /// end of the text.
    pub(super) fn form(&mut self) -> Result<Vec<Token>, ScanError> {
        if self.ends_invalid && self.position == self.text.len() {
            // OTP: io_lib:get_until/4 has read nothing yet, and gives what the read gave.
            return Err(ScanError { line: self.line, kind: ErrorKind::NotReadable });
        }
        let mut tokens = Vec::new();
        while let Some(token) = self.token()? {
            let is_last = token.kind == TokenKind::Dot;
            tokens.push(token);
            if is_last {
                break;
            }
        }
        Ok(tokens)
    }

    fn at(&self, offset: usize) -> Result<At, ScanError> {
        match self.text.get(self.position + offset) {
            Some(&character) => Ok(At::Character(character)),
            None if self.ends_invalid => Err(self.error(ErrorKind::InvalidUnicode)),
            None => Ok(At::End),
        }
    }

    fn is_at(&self, offset: usize, is_such: impl Fn(char) -> bool) -> Result<bool, ScanError> {
        Ok(matches!(self.at(offset)?, At::Character(character) if is_such(character)))
    }

    fn next(&mut self) -> Result<Option<char>, ScanError> {
        let At::Character(character) = self.at(0)? else { return Ok(None) };
        self.position += 1;
        if character == '\n' {
            self.line = self.line.saturating_add(1);
        }
        Ok(Some(character))
    }

    fn take_while(&mut self, is_such: impl Fn(char) -> bool) -> Result<String, ScanError> {
        let mut taken = String::new();
        while self.is_at(0, &is_such)? {
            taken.extend(self.next()?);
        }
        Ok(taken)
    }

    fn error(&self, kind: ErrorKind) -> ScanError {
        ScanError { line: self.line, kind }
    }

    fn token(&mut self) -> Result<Option<Token>, ScanError> {
        loop {
            self.take_while(is_space)?;
            if !self.is_at(0, |character| character == '%')? {
                break;
            }
            self.take_while(|character| character != '\n')?;
        }
        let (line, from) = (self.line, self.position);
        let At::Character(first) = self.at(0)? else { return Ok(None) };
        let kind = match first {
            '0'..='9' => self.number()?,
            '\'' => {
                self.next()?;
                let name = self.quoted('\'', line)?;
                if name.chars().count() > 255 {
                    return Err(ScanError { line, kind: ErrorKind::Illegal("atom") });
                }
                TokenKind::Atom(name)
            }
            '"' => {
                self.next()?;
                TokenKind::String(self.quoted('"', line)?)
            }
            '$' => {
                self.next()?;
                TokenKind::Character(self.character(line)?)
            }
            '.' if self.ends_form()? => {
                self.next()?;
                if self.is_at(0, is_space).unwrap_or(false) {
                    self.next()?;
                }
                TokenKind::Dot
            }
            first if is_small(first) => {
                let name = self.take_while(is_name)?;
                if RESERVED.contains(&name.as_str()) {
                    TokenKind::Symbol(name)
                } else if name.chars().count() > 255 {
                    return Err(ScanError { line, kind: ErrorKind::Illegal("atom") });
                } else {
                    TokenKind::Atom(name)
                }
            }
            first if is_capital(first) => TokenKind::Variable(self.take_while(is_name)?),
            first if u32::from(first) > 0xff => {
                return Err(self.error(ErrorKind::Illegal("character")));
            }
            _ => TokenKind::Symbol(self.symbol()?),
        };
        Ok(Some(Token { line, kind, from, to: self.position }))
    }

    /// Whether the full stop that comes next ends a form.
    fn ends_form(&self) -> Result<bool, ScanError> {
        Ok(match self.at(1)? {
            At::End => true,
            At::Character(following) => is_space(following) || following == '%',
        })
    }

    fn symbol(&mut self) -> Result<String, ScanError> {
        let rest = &self.text[self.position..];
        let long = SYMBOLS.iter().find(|symbol| {
            symbol.chars().zip(rest.iter()).filter(|(a, b)| a == *b).count() == symbol.len()
        });
        if let Some(symbol) = long {
            self.position += symbol.len();
            return Ok((*symbol).to_owned());
        }
        Ok(self.next()?.into_iter().collect())
    }

    /// Text in quotes; the opening one has been taken.
    fn quoted(&mut self, quote: char, line: u32) -> Result<String, ScanError> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Some(character) if character == quote => return Ok(text),
                Some('\\') if self.at(0)? != At::End => text.push(self.escape()?),
                Some('\\') => {}
                Some(character) => text.push(character),
                None => {
                    let shown = text.chars().take(UNTERMINATED_SHOWN_MAX).collect();
                    let what = if quote == '"' { "string" } else { "atom" };
                    return Err(ScanError { line, kind: ErrorKind::Unterminated(what, shown) });
                }
            }
        }
    }

    /// What follows `$`.
    fn character(&mut self, line: u32) -> Result<char, ScanError> {
        let unterminated = ScanError { line, kind: ErrorKind::UnterminatedCharacter };
        match self.next()? {
            Some('\\') if self.at(0)? == At::End => Err(unterminated),
            Some('\\') => self.escape(),
            Some(character) => Ok(character),
            None => Err(unterminated),
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, ScanError> {
        let illegal = self.error(ErrorKind::Illegal("character"));
        let Some(first) = self.next()? else { return Err(illegal) };
        let code = match first {
            'b' => 8,
            'd' => 127,
            'e' => 27,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            's' => 32,
            't' => 9,
            'v' => 11,
            '^' => match self.next()? {
                Some(control @ '@'..='_') => u32::from(control) - 64,
                Some(control @ 'a'..='z') => u32::from(control) - 96,
                Some('?') => 127,
                _ => return Err(illegal),
            },
            '0'..='7' => {
                let mut code = u32::from(first) - 48;
                for _ in 0..2 {
                    if !self.is_at(0, |character| character.is_digit(8))? {
                        break;
                    }
                    let digit = self.next()?.and_then(|digit| digit.to_digit(8));
                    code = code * 8 + digit.unwrap_or_default();
                }
                code
            }
            'x' => {
                let digits = if self.is_at(0, |character| character == '{')? {
                    self.next()?;
                    let digits = self.take_while(|character| character.is_ascii_hexdigit())?;
                    match self.next()? {
                        Some('}') => digits,
                        _ => return Err(illegal),
                    }
                } else {
                    let mut digits = String::new();
                    while digits.len() < 2
                        && self.is_at(0, |character| character.is_ascii_hexdigit())?
                    {
                        digits.extend(self.next()?);
                    }
                    if digits.len() < 2 {
                        return Err(illegal);
                    }
                    digits
                };
                match u32::from_str_radix(&digits, 16) {
                    Ok(code) => code,
                    Err(_) => return Err(illegal),
                }
            }
            other => u32::from(other),
        };
        char::from_u32(code).ok_or(illegal)
    }

    /// An integer in any base, or a float. What looks like one and is none is an error since OTP 28.
    fn number(&mut self) -> Result<TokenKind, ScanError> {
        let line = self.line;
        let illegal = |what| ScanError { line, kind: ErrorKind::Illegal(what) };
        let whole = self.digits(10)?;
        if self.is_at(0, |character| character == '#')? {
            let base: u32 = whole.parse().unwrap_or(u32::MAX);
            if !(2..=36).contains(&base) {
                let base = whole.parse().unwrap_or_default();
                return Err(ScanError { line, kind: ErrorKind::Base(base) });
            }
            self.next()?;
            let digits = self.digits(base)?;
            if digits.is_empty() || self.is_at(0, is_name)? {
                return Err(illegal("integer"));
            }
            return integer(&digits, base).ok_or(illegal("integer"));
        }
        let is_point = self.is_at(0, |character| character == '.')?;
        if !(is_point && self.is_at(1, is_name)?) {
            if self.is_at(0, is_name)? {
                return Err(illegal("integer"));
            }
            return integer(&whole, 10).ok_or(illegal("integer"));
        }
        self.next()?;
        let fraction = self.digits(10)?;
        if fraction.is_empty() {
            return Err(illegal("float"));
        }
        let mut text = format!("{whole}.{fraction}");
        if self.is_at(0, |character| matches!(character, 'e' | 'E'))? {
            self.next()?;
            text.push('e');
            if self.is_at(0, |character| matches!(character, '+' | '-'))? {
                text.extend(self.next()?);
            }
            let exponent = self.digits(10)?;
            if exponent.is_empty() {
                return Err(illegal("float"));
            }
            text.push_str(&exponent);
        }
        if self.is_at(0, is_name)? {
            return Err(illegal("float"));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(TokenKind::Float(value)),
            _ => Err(illegal("float")),
        }
    }

    /// Digits of a base, without the `_` that may stand between two of them.
    fn digits(&mut self, base: u32) -> Result<String, ScanError> {
        let mut digits = String::new();
        loop {
            digits.push_str(&self.take_while(|character| character.is_digit(base))?);
            let is_between = !digits.is_empty()
                && self.is_at(0, |character| character == '_')?
                && self.is_at(1, |character| character.is_digit(base))?;
            if !is_between {
                return Ok(digits);
            }
            self.next()?;
        }
    }
}

fn integer(digits: &str, base: u32) -> Option<TokenKind> {
    format!("{base}#{digits}").parse().ok().map(TokenKind::Integer)
}

/// OTP: `erl_scan.erl`, `?WHITE_SPACE`.
fn is_space(character: char) -> bool {
    matches!(u32::from(character), 0..=0x20 | 0x80..=0xa0)
}

fn is_small(character: char) -> bool {
    matches!(character, 'a'..='z' | 'ß'..='ö' | 'ø'..='ÿ')
}

fn is_capital(character: char) -> bool {
    matches!(character, 'A'..='Z' | '_' | 'À'..='Ö' | 'Ø'..='Þ')
}

fn is_name(character: char) -> bool {
    is_small(character) || is_capital(character) || character.is_ascii_digit() || character == '@'
}
