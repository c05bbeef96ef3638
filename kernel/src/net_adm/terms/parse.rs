//! Whether the tokens of a form are an expression, and which term it is.
//!
//! OTP: `erl_parse.yrl`, whose first token that fits nowhere is the one told; and
//! `erl_parse:parse_term/1`, `normalise/1`.

use krarup_transport::term::{Atom, Map, Term};

use super::scan::{Token, TokenKind};
use super::{ErrorKind, ScanError as ParseError};

/// Levels that expressions may be nested.
const DEPTH_MAX: usize = Term::TEXT_DEPTH_MAX;

/// An expression: the line of its first token, and its value if it is a term.
struct Expression {
    line: u32,
    value: Option<Term>,
    /// A number or character, which a sign may stand before.
    is_number: bool,
}

impl Expression {
    fn new(line: u32, value: Option<Term>) -> Self {
        Expression { line, value, is_number: false }
    }
}

type Parsed = Result<Expression, ParseError>;

pub(super) struct Parser<'a> {
    text: &'a [char],
    tokens: &'a [Token],
    position: usize,
    depth: usize,
}

/// How tightly operators bind (OTP: `erl_parse.yrl`).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binding {
    Left,
    Right,
    None,
}

fn infix(symbol: &str) -> Option<(u16, Binding)> {
    Some(match symbol {
        "=" | "!" => (100, Binding::Right),
        "orelse" => (150, Binding::Right),
        "andalso" => (160, Binding::Right),
        "==" | "/=" | "=<" | "<" | ">=" | ">" | "=:=" | "=/=" => (200, Binding::None),
        "++" | "--" => (300, Binding::Right),
        "+" | "-" | "bor" | "bxor" | "bsl" | "bsr" | "or" | "xor" => (400, Binding::Left),
        "/" | "*" | "div" | "rem" | "band" | "and" => (500, Binding::Left),
        _ => return None,
    })
}

const PREFIX: u16 = 600;

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [char], tokens: &'a [Token]) -> Self {
        Parser { text, tokens, position: 0, depth: 0 }
    }

    /// The one term that the tokens are.
    pub(super) fn term(mut self) -> Result<Term, ParseError> {
        let first = self.expression(0)?;
        let mut second = None;
        while self.take(",") {
            let line = self.expression(0)?.line;
            second.get_or_insert(line);
        }
        if self.take(";") {
            // The next clause of a function, which no term follows in.
            return Err(self.unexpected_behind_clause());
        }
        if !matches!(self.kind(), Some(TokenKind::Dot)) {
            return Err(self.unexpected());
        }
        match (first.value, second) {
            (Some(term), None) => Ok(term),
            (_, second) => {
                let line = second.unwrap_or(first.line);
                Err(ParseError { line, kind: ErrorKind::BadTerm })
            }
        }
    }

    fn kind(&self) -> Option<&'a TokenKind> {
        self.tokens.get(self.position).map(|token| &token.kind)
    }

    fn line(&self) -> u32 {
        let token = self.tokens.get(self.position).or(self.tokens.last());
        token.map_or(1, |token| token.line)
    }

    fn symbol(&self) -> Option<&'a str> {
        match self.kind() {
            Some(TokenKind::Symbol(symbol)) => Some(symbol),
            _ => None,
        }
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = self.symbol() == Some(symbol);
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.take(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> ParseError {
        let token = self.kind().map(written);
        ParseError { line: self.line(), kind: ErrorKind::Syntax(token) }
    }

    fn unexpected_behind_clause(&mut self) -> ParseError {
        if matches!(self.kind(), Some(TokenKind::Atom(_) | TokenKind::Variable(_))) {
            self.position += 1;
        }
        self.unexpected()
    }

    /// An expression whose operators bind at least so tightly.
    fn expression(&mut self, least: u16) -> Parsed {
        self.within(|parser| parser.operators(least))
    }

    /// A part of something: the depth of parts has a limit.
    fn within<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth >= DEPTH_MAX {
            return Err(ParseError { line: self.line(), kind: ErrorKind::BadTerm });
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn operators(&mut self, least: u16) -> Parsed {
        let mut left = self.operand()?;
        // Operators that bind as tightly as a comparison can follow none.
        let mut most = u16::MAX;
        while let Some((tightness, binding)) = self.symbol().and_then(infix) {
            if tightness < least || tightness > most {
                break;
            }
            self.position += 1;
            match binding {
                Binding::Right => self.expression(tightness)?,
                Binding::Left | Binding::None => self.expression(tightness + 1)?,
            };
            if binding == Binding::None {
                most = tightness - 1;
            }
            left = Expression::new(left.line, None);
        }
        Ok(left)
    }

    fn operand(&mut self) -> Parsed {
        let line = self.line();
        match self.symbol() {
            Some("catch") => {
                self.position += 1;
                self.expression(0)?;
                Ok(Expression::new(line, None))
            }
            Some(sign @ ("+" | "-" | "bnot" | "not")) => {
                self.position += 1;
                let operand = self.expression(PREFIX)?;
                let value = match (sign, operand.value) {
                    ("+", Some(value)) if operand.is_number => Some(value),
                    ("-", Some(value)) if operand.is_number => negative(&value),
                    _ => None,
                };
                Ok(Expression::new(line, value))
            }
            _ => self.applied(),
        }
    }

    /// A primary expression with calls, maps and records behind it.
    fn applied(&mut self) -> Parsed {
        let mut expression = self.primary()?;
        let mut is_remote = false;
        loop {
            match self.symbol() {
                Some("(") => {
                    self.position += 1;
                    self.separated(")")?;
                }
                Some("#") => {
                    self.position += 1;
                    self.map_or_record()?;
                }
                Some(":") if !is_remote => {
                    self.position += 1;
                    self.primary()?;
                    is_remote = true;
                }
                _ => return Ok(expression),
            }
            expression = Expression::new(expression.line, None);
        }
    }

    fn primary(&mut self) -> Parsed {
        let line = self.line();
        let Some(kind) = self.kind() else { return Err(self.unexpected()) };
        let mut number = |value: Term| {
            self.position += 1;
            Ok(Expression { line, value: Some(value), is_number: true })
        };
        match kind {
            TokenKind::Integer(value) => return number(value.clone()),
            TokenKind::Float(value) => return number(Term::Float(*value)),
            TokenKind::Character(value) => {
                return number(Term::Integer(i64::from(u32::from(*value))));
            }
            _ => {}
        }
        let value = match kind {
            TokenKind::Atom(name) => {
                self.position += 1;
                Atom::new(name).ok().map(Term::Atom)
            }
            TokenKind::Variable(_) => {
                self.position += 1;
                None
            }
            TokenKind::String(_) => {
                let mut all = String::new();
                while let Some(TokenKind::String(text)) = self.kind() {
                    all.push_str(text);
                    self.position += 1;
                }
                Some(if all.is_empty() { Term::nil() } else { Term::charlist(&all) })
            }
            TokenKind::Symbol(symbol) => match symbol.as_str() {
                "[" => self.list()?,
                "{" => {
                    self.position += 1;
                    self.separated("}")?.map(Term::Tuple)
                }
                "(" => {
                    self.position += 1;
                    let inner = self.expression(0)?;
                    self.expect(")")?;
                    return Ok(inner);
                }
                "<<" => self.within(Self::binary)?,
                "#" => {
                    self.position += 1;
                    self.map_or_record()?
                }
                "fun" => self.fun()?,
                "begin" | "case" | "if" | "maybe" | "receive" | "try" => self.block()?,
                _ => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        Ok(Expression::new(line, value))
    }

    /// Expressions with commas between, up to and with the closing bracket; their values if all are
    /// terms.
    fn separated(&mut self, close: &str) -> Result<Option<Vec<Term>>, ParseError> {
        let mut all = Some(Vec::new());
        if self.take(close) {
            return Ok(all);
        }
        loop {
            let value = self.expression(0)?.value;
            all = all.zip(value).map(|(mut all, value)| {
                all.push(value);
                all
            });
            if self.take(close) {
                return Ok(all);
            }
            self.expect(",")?;
        }
    }

    fn list(&mut self) -> Result<Option<Term>, ParseError> {
        self.position += 1;
        if self.take("]") {
            return Ok(Some(Term::nil()));
        }
        let mut all = Some(Vec::new());
        loop {
            let value = self.expression(0)?.value;
            all = all.zip(value).map(|(mut all, value)| {
                all.push(value);
                all
            });
            match self.symbol() {
                Some("]") => {
                    self.position += 1;
                    return Ok(all.map(Term::List));
                }
                Some("|") => {
                    self.position += 1;
                    let tail = self.expression(0)?.value;
                    self.expect("]")?;
                    return Ok(all.zip(tail).map(|(all, tail)| Term::improper_list(all, tail)));
                }
                Some("||") if all.as_ref().is_none_or(|all| all.len() == 1) => {
                    self.generators("]")?;
                    return Ok(None);
                }
                _ => self.expect(",")?,
            }
        }
    }

    /// The right side of a comprehension.
    fn generators(&mut self, close: &str) -> Result<(), ParseError> {
        self.position += 1;
        loop {
            self.expression(0)?;
            if matches!(self.symbol(), Some("<-" | "<=" | "<:-" | "<:=")) {
                self.position += 1;
                self.expression(0)?;
            }
            if self.take(close) {
                return Ok(());
            }
            if !self.take("&&") {
                self.expect(",")?;
            }
        }
    }

    fn binary(&mut self) -> Result<Option<Term>, ParseError> {
        let from = self.position;
        self.position += 1;
        if !self.take(">>") {
            loop {
                if matches!(self.symbol(), Some("+" | "-" | "bnot" | "not")) {
                    self.position += 1;
                }
                self.primary()?;
                if self.take(":") {
                    self.primary()?;
                }
                if self.take("/") {
                    self.segment_types()?;
                }
                if self.symbol() == Some("||") {
                    self.generators(">>")?;
                    return Ok(None);
                }
                if self.take(">>") {
                    break;
                }
                self.expect(",")?;
            }
        }
        let span = self.tokens.get(from).zip(self.tokens.get(self.position - 1));
        let text = span.and_then(|(first, last)| self.text.get(first.from..last.to));
        let text: Option<String> = text.map(|text| text.iter().collect());
        Ok(text.and_then(|text| text.parse().ok()))
    }

    fn segment_types(&mut self) -> Result<(), ParseError> {
        loop {
            let Some(TokenKind::Atom(_)) = self.kind() else { return Err(self.unexpected()) };
            self.position += 1;
            if self.take(":") {
                let Some(TokenKind::Integer(_)) = self.kind() else {
                    return Err(self.unexpected());
                };
                self.position += 1;
            }
            if !self.take("-") {
                return Ok(());
            }
        }
    }

    /// What follows `#`. Only a map of terms is a term.
    fn map_or_record(&mut self) -> Result<Option<Term>, ParseError> {
        if self.take("{") {
            return self.map();
        }
        match self.kind() {
            Some(TokenKind::Atom(_) | TokenKind::Variable(_)) => self.position += 1,
            _ => return Err(self.unexpected()),
        }
        if self.take(":") {
            match self.kind() {
                Some(TokenKind::Atom(_)) => self.position += 1,
                _ => return Err(self.unexpected()),
            }
        }
        if self.take(".") {
            return match self.kind() {
                Some(TokenKind::Atom(_)) => {
                    self.position += 1;
                    Ok(None)
                }
                _ => Err(self.unexpected()),
            };
        }
        self.expect("{")?;
        if self.take("}") {
            return Ok(None);
        }
        loop {
            match self.kind() {
                Some(TokenKind::Atom(_) | TokenKind::Variable(_)) => self.position += 1,
                _ => return Err(self.unexpected()),
            }
            self.expect("=")?;
            self.expression(0)?;
            if self.take("}") {
                return Ok(None);
            }
            self.expect(",")?;
        }
    }

    fn map(&mut self) -> Result<Option<Term>, ParseError> {
        let mut map = Some(Map::new());
        if self.take("}") {
            return Ok(map.map(Term::Map));
        }
        loop {
            let key = self.expression(0)?.value;
            let is_new = self.take("=>");
            if !is_new {
                self.expect(":=")?;
                map = None;
            }
            let value = self.expression(0)?.value;
            map = map.zip(key.zip(value)).map(|(mut map, (key, value))| {
                // Of a key that comes twice the last value counts.
                map.insert(key, value);
                map
            });
            if self.take("}") {
                return Ok(map.map(Term::Map));
            }
            self.expect(",")?;
        }
    }

    /// `fun Module:Function/Arity` is a term.
    fn fun(&mut self) -> Result<Option<Term>, ParseError> {
        let from = self.position;
        if !matches!(self.tokens.get(from + 1).map(|token| &token.kind), Some(TokenKind::Atom(_))) {
            return self.block();
        }
        self.position += 2;
        if self.take(":") {
            let Some(TokenKind::Atom(_) | TokenKind::Variable(_)) = self.kind() else {
                return Err(self.unexpected());
            };
            self.position += 1;
        }
        self.expect("/")?;
        let Some(TokenKind::Integer(_) | TokenKind::Variable(_)) = self.kind() else {
            return Err(self.unexpected());
        };
        self.position += 1;
        let span = self.tokens.get(from).zip(self.tokens.get(self.position - 1));
        let text = span.and_then(|(first, last)| self.text.get(first.from..last.to));
        let text: Option<String> = text.map(|text| text.iter().collect());
        Ok(text.and_then(|text| text.parse().ok()))
    }

    /// From a word that opens a block to the `end` that closes it. What stands between is not looked
    /// at: no block is a term.
    fn block(&mut self) -> Result<Option<Term>, ParseError> {
        let mut open = 0_usize;
        loop {
            match self.symbol() {
                Some("begin" | "case" | "if" | "maybe" | "receive" | "try" | "fun") => open += 1,
                Some("end") => open -= 1,
                None if matches!(self.kind(), None | Some(TokenKind::Dot)) => {
                    return Err(self.unexpected());
                }
                _ => {}
            }
            self.position += 1;
            if open == 0 {
                return Ok(None);
            }
        }
    }
}

fn negative(value: &Term) -> Option<Term> {
    match value {
        Term::Float(value) => Some(Term::Float(-value)),
        value => format!("-{value}").parse().ok(),
    }
}

/// A token as the parser of OTP writes it (OTP: `yeccpre.hrl`, `yecctoken2string1/1`).
fn written(token: &TokenKind) -> String {
    match token {
        TokenKind::Atom(name) => quoted_atom(name),
        TokenKind::Variable(name) => name.clone(),
        TokenKind::Integer(value) => value.to_string(),
        TokenKind::Float(value) => Term::Float(*value).to_string(),
        TokenKind::Character(character) => format!("${}", escaped(*character, '\0')),
        TokenKind::String(text) => {
            let inner: String = text.chars().map(|c| escaped(c, '"')).collect();
            format!("\"{inner}\"")
        }
        TokenKind::Symbol(symbol) if symbol.starts_with(|c: char| c.is_ascii_lowercase()) => {
            format!("'{symbol}'")
        }
        TokenKind::Symbol(symbol) => quoted_atom(symbol),
        TokenKind::Dot => "'.'".to_owned(),
    }
}

fn quoted_atom(name: &str) -> String {
    Atom::new(name).map_or_else(|_| name.to_owned(), |atom| Term::Atom(atom).to_string())
}

/// A character within quotes (OTP: `io_lib:write_string/1`).
fn escaped(character: char, quote: char) -> String {
    match character {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{b}' => "\\v".to_owned(),
        '\u{c}' => "\\f".to_owned(),
        '\u{1b}' => "\\e".to_owned(),
        '\u{7f}' => "\\d".to_owned(),
        '\\' => "\\\\".to_owned(),
        character if character == quote => format!("\\{character}"),
        control if u32::from(control) < 0x20 || (0x80..0xa0).contains(&u32::from(control)) => {
            format!("\\{:03o}", u32::from(control))
        }
        other => other.to_string(),
    }
}
