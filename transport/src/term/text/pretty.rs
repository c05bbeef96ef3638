//! Printing terms over several lines.
//!
//! OTP: `io_lib_pretty`, as `io_lib:format("~ktp")` calls it in a node started with `+pc unicode`.

use std::fmt::{self, Write as _};

use super::super::Term;
use super::print::{is_printable_list, print};

/// Columns of a line.
const LINE: usize = 80;

impl Term {
    /// The term to be printed as Erlang's `~tp` does: broken into lines of 80 columns where it is
    /// wider, its parts indented below each other.
    ///
    /// Strings, and binaries shown as strings, stay on one line as they do in OTP. What differs:
    ///
    /// - The keys of a map stand in Erlang's term order, as `~ktp` prints them. From OTP 26 on,
    ///   `~tp` prints atoms among the keys, and the keys of a map of more than 32, in no
    ///   particular order.
    /// - Identifiers and closures have the width of what `Display` prints.
    /// - A character of several code points is as many columns wide here; Erlang counts one if the
    ///   text goes beyond Latin-1. Near such text a line may break elsewhere.
    #[must_use]
    pub fn pretty(&self) -> Pretty<'_> {
        Pretty(self)
    }
}

/// A term that `Display` prints over several lines; see [`Term::pretty`].
#[derive(Clone, Copy, Debug)]
pub struct Pretty<'a>(&'a Term);

impl fmt::Display for Pretty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let piece = Piece::new(self.0);
        let start = Place { column: 1, closers: 0, written: 0 };
        let total = piece.width;
        let fits = |hang: &Option<usize>| {
            let mut trial = Layout { hang: *hang, total, out: None, cramped: false };
            trial.piece(&piece, start).is_ok() && !trial.cramped
        };
        let hang = [None, Some(4)].into_iter().find(fits).unwrap_or(Some(1));
        Layout { hang, total, out: Some(f), cramped: false }.piece(&piece, start)
    }
}

/// A term and how wide it is on one line.
struct Piece<'a> {
    term: &'a Term,
    width: usize,
    shape: Shape<'a>,
}

/// Where a term may be broken.
enum Shape<'a> {
    /// Nowhere.
    Whole,
    /// Between the numbers of a binary, which are kept as text.
    Bytes(String),
    /// Between its items, and before the tail of an improper list.
    Items(Vec<Item<'a>>, Option<Box<Piece<'a>>>),
}

/// What stands between two commas.
enum Item<'a> {
    Element(Piece<'a>),
    /// Of a map.
    Pair(Piece<'a>, Piece<'a>),
    /// Of a record.
    Field(Name, Piece<'a>),
}

/// The name of a field with the equals sign and the spaces around it.
struct Name {
    text: String,
    width: usize,
}

impl<'a> Piece<'a> {
    fn new(term: &'a Term) -> Self {
        match term {
            Term::Tuple(elements) if !elements.is_empty() => {
                Self::of_items(term, 2, elements.iter().map(Item::element), None)
            }
            Term::List(elements) if !elements.is_empty() && !is_printable_list(elements) => {
                Self::of_items(term, 2, elements.iter().map(Item::element), None)
            }
            Term::ImproperList(elements, tail) => {
                let elements = elements.iter().map(Item::element);
                Self::of_items(term, 2, elements, Some(Box::new(Self::new(tail))))
            }
            Term::Map(map) if !map.is_empty() => {
                let pairs = map.into_iter();
                let pairs = pairs.map(|(key, value)| Item::Pair(Self::new(key), Self::new(value)));
                Self::of_items(term, "#{}".len(), pairs, None)
            }
            Term::Record(record) => {
                let fields = record.fields.iter().map(|(name, value)| {
                    let text = format!("{name} = ");
                    Item::Field(Name { width: width(&text), text }, Self::new(value))
                });
                let around = width(format_args!("#{}:{}{{}}", record.module, record.name));
                Self::of_items(term, around, fields, None)
            }
            Term::Binary(_) | Term::BitString(_) => {
                let text = term.to_string();
                let width = width(&text);
                match text.strip_prefix("<<").and_then(|text| text.strip_suffix(">>")) {
                    Some(bytes) if bytes.starts_with(|first: char| first.is_ascii_digit()) => {
                        Self { term, width, shape: Shape::Bytes(bytes.to_owned()) }
                    }
                    _ => Self { term, width, shape: Shape::Whole },
                }
            }
            _ => Self { term, width: width(term), shape: Shape::Whole },
        }
    }

    fn of_items(
        term: &'a Term,
        around: usize,
        items: impl Iterator<Item = Item<'a>>,
        tail: Option<Box<Self>>,
    ) -> Self {
        let items: Vec<_> = items.collect();
        let separators = (items.len() + usize::from(tail.is_some())).saturating_sub(1);
        let inside: usize = items.iter().map(Item::width).sum();
        let width = around + inside + separators + tail.as_ref().map_or(0, |tail| tail.width);
        Self { term, width, shape: Shape::Items(items, tail) }
    }

    const fn is_whole(&self) -> bool {
        matches!(self.shape, Shape::Whole)
    }
}

impl<'a> Item<'a> {
    fn element(term: &'a Term) -> Self {
        Self::Element(Piece::new(term))
    }

    const fn width(&self) -> usize {
        match self {
            Self::Element(piece) => piece.width,
            Self::Pair(key, value) => key.width + " => ".len() + value.width,
            Self::Field(name, value) => name.width + value.width,
        }
    }

    const fn is_whole(&self) -> bool {
        match self {
            Self::Element(piece) | Self::Field(_, piece) => piece.is_whole(),
            Self::Pair(key, value) => key.is_whole() && value.is_whole(),
        }
    }
}

/// Columns of what is printed on one line.
fn width(printed: impl fmt::Display) -> usize {
    struct Count(usize);
    impl fmt::Write for Count {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.chars().count();
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail.
    let _ = write!(count, "{printed}");
    count.0
}

/// Where something is to be printed.
#[derive(Clone, Copy)]
struct Place {
    /// Where it begins, the first column being 1. Its further lines are indented up to here.
    column: usize,
    /// Brackets that close right behind it.
    closers: usize,
    /// Characters of enclosing terms before it on its line.
    written: usize,
}

impl Place {
    const fn has_room(self, width: usize) -> bool {
        self.column + width + self.closers < LINE
    }

    const fn right(self, columns: usize) -> Self {
        Self { column: self.column + columns, ..self }
    }

    const fn after(self, written: usize) -> Self {
        Self { written: self.written + written, ..self }
    }

    /// The place of an item with these others behind it.
    const fn before(self, others: &[Item<'_>]) -> Self {
        let closers = if others.is_empty() { self.closers + 1 } else { 0 };
        Self { closers, ..self }
    }

    const fn on_new_line(self) -> Self {
        Self { written: 0, ..self }
    }
}

/// One pass over a term, to print it or to try whether it is to be printed so.
struct Layout<'o, 'f> {
    /// How far what is wider than this and has something below it indents that: the tag of a
    /// tuple, the name of a record or field. `None` indents below the end, whatever the width.
    hang: Option<usize>,
    /// Columns of the whole term on one line.
    total: usize,
    /// Nothing, to try.
    out: Option<&'o mut fmt::Formatter<'f>>,
    /// Something began in the right half of the line because of `hang`.
    cramped: bool,
}

impl Layout<'_, '_> {
    fn piece(&mut self, piece: &Piece<'_>, at: Place) -> fmt::Result {
        if at.has_room(piece.width) {
            return self.term(piece.term);
        }
        match &piece.shape {
            Shape::Whole => self.term(piece.term),
            Shape::Bytes(bytes) => self.bytes(bytes, at),
            Shape::Items(items, tail) => match piece.term {
                Term::Tuple(_) => self.tuple(items, at),
                Term::Map(_) => {
                    self.text("#{")?;
                    // OTP counts one character here.
                    self.items(items, None, at.right(2).after(1))?;
                    self.text("}")
                }
                Term::Record(record) => {
                    let name = format!("#{}:{}{{", record.module, record.name);
                    self.text(&name)?;
                    if !items.is_empty() {
                        let place = self.hung(width(&name), "", at)?;
                        self.items(items, None, place)?;
                    }
                    self.text("}")
                }
                _ => {
                    self.text("[")?;
                    self.items(items, tail.as_deref(), at.right(1).after(1))?;
                    self.text("]")
                }
            },
        }
    }

    fn tuple(&mut self, items: &[Item<'_>], at: Place) -> fmt::Result {
        self.text("{")?;
        match items {
            [Item::Element(tag), rest @ ..]
                if matches!(tag.term, Term::Atom(_)) && !rest.is_empty() =>
            {
                self.term(tag.term)?;
                let step = tag.width + "{,".len();
                if let Some(hang) = self.hang.filter(|&hang| step > hang) {
                    let below = at.right(hang);
                    self.cramped |= below.column > LINE / 2;
                    self.further_items(rest, None, below, at.column + step)?;
                } else {
                    let beside = at.right(step).after(step);
                    self.cramped |= beside.column >= LINE / 2;
                    self.text(",")?;
                    self.items(rest, None, beside)?;
                }
            }
            _ => self.items(items, None, at.right(1).after(1))?,
        }
        self.text("}")
    }

    /// The items of a list, tuple, map or record, and the tail of an improper list.
    fn items(&mut self, items: &[Item<'_>], tail: Option<&Piece<'_>>, at: Place) -> fmt::Result {
        match items.split_first() {
            Some((first, rest)) => {
                let column = self.item(first, at.before(rest))?;
                self.further_items(rest, tail, at, column)
            }
            None => self.further_items(items, tail, at, at.column),
        }
    }

    /// The items behind the first or the tag, from this column on or on lines of their own.
    fn further_items(
        &mut self,
        mut items: &[Item<'_>],
        tail: Option<&Piece<'_>>,
        at: Place,
        mut column: usize,
    ) -> fmt::Result {
        while let Some((item, rest)) = items.split_first() {
            items = rest;
            self.text(",")?;
            let below = at.before(rest).on_new_line();
            // A comma or a bracket follows.
            let here = Place { column, closers: below.closers.max(1), ..below };
            let width = ",".len() + item.width();
            if item.is_whole() && here.has_room(width) {
                self.item_on_one_line(item)?;
                column += width;
            } else {
                self.new_line(below)?;
                column = self.item(item, below)?;
            }
        }
        let Some(tail) = tail else { return Ok(()) };
        self.text("|")?;
        let below = at.before(&[]).on_new_line();
        let here = Place { column, ..below };
        if tail.is_whole() && here.has_room("|".len() + tail.width) {
            return self.term(tail.term);
        }
        self.new_line(below)?;
        // OTP tries the tail where it is not going to print it.
        self.piece(tail, if self.out.is_some() { below } else { here })
    }

    /// An item, and the column behind it. That is beyond the line where the next item needs a line
    /// of its own.
    fn item(&mut self, item: &Item<'_>, at: Place) -> Result<usize, fmt::Error> {
        if at.has_room(item.width()) {
            self.item_on_one_line(item)?;
            return Ok(at.column + if item.is_whole() { item.width() } else { LINE });
        }
        match item {
            Item::Element(piece) => self.piece(piece, at)?,
            Item::Pair(key, value) => {
                self.piece(key, at)?;
                self.text(" =>")?;
                let below = at.right(self.hang.unwrap_or(4)).on_new_line();
                self.new_line(below)?;
                self.piece(value, below)?;
            }
            Item::Field(name, value) => {
                self.text(name.text.trim_end())?;
                let place = self.hung(name.width, " ", at)?;
                self.piece(value, place)?;
            }
        }
        Ok(at.column + LINE)
    }

    fn item_on_one_line(&mut self, item: &Item<'_>) -> fmt::Result {
        match item {
            Item::Element(piece) => self.term(piece.term),
            Item::Pair(key, value) => {
                self.term(key.term)?;
                self.text(" => ")?;
                self.term(value.term)
            }
            Item::Field(name, value) => {
                self.text(&name.text)?;
                self.term(value.term)
            }
        }
    }

    /// The place of what hangs on a name of this width: behind it and a space, or below it.
    fn hung(&mut self, width: usize, space: &str, at: Place) -> Result<Place, fmt::Error> {
        let place = if let Some(hang) = self.hang.filter(|&hang| width > hang) {
            let below = at.right(hang).on_new_line();
            self.new_line(below)?;
            below
        } else {
            self.text(space)?;
            at.right(width).after(width)
        };
        self.cramped |= place.column > LINE / 2;
        Ok(place)
    }

    /// The numbers of a binary, as many in a line as fit.
    fn bytes(&mut self, bytes: &str, at: Place) -> fmt::Result {
        let inside = at.right("<<".len());
        let of_line = LINE.saturating_sub(inside.column);
        let of_term = self.total.saturating_sub("<<>>".len() + at.written);
        let line = of_line.min(of_term).saturating_sub(at.closers).max(8);
        let mut room = line;
        self.text("<<")?;
        for number in bytes.split_inclusive(',') {
            if number.len() > room {
                self.new_line(inside)?;
                room = line;
            }
            self.text(number)?;
            room -= number.len();
        }
        self.text(">>")
    }

    fn term(&mut self, term: &Term) -> fmt::Result {
        self.out.as_mut().map_or(Ok(()), |out| print(out, term, true))
    }

    fn text(&mut self, text: &str) -> fmt::Result {
        self.out.as_mut().map_or(Ok(()), |out| out.write_str(text))
    }

    fn new_line(&mut self, at: Place) -> fmt::Result {
        let indent = at.column - 1;
        self.out.as_mut().map_or(Ok(()), |out| write!(out, "\n{:indent$}", ""))
    }
}
