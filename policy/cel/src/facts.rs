//! What the caller supplies: the event and its circumstances, read lazily, and data as a view of JSON.

use std::borrow::Cow;

use time::OffsetDateTime;

/// What an expression is evaluated against. Every method is called only for what the expression reads, and may be
/// called several times; its answer must not change within one evaluation.
pub trait Facts {
    type Json<'a>: Json<'a>
    where
        Self: 'a;

    /// An attribute of the event, `None` if the event does not have it. `data` is never asked for here.
    fn attribute(&self, name: &str) -> Option<Attribute<'_>>;
    /// The event's data; `None` where there are none. Data that cannot be read are an error of whatever reads them.
    fn data(&self) -> Result<Option<Self::Json<'_>>, Unreadable>;
    /// The topic, its tokens separated by `.`.
    fn topic(&self) -> &str;
    /// An attribute of a zone, `None` if the zone does not have it.
    fn zone(&self, side: Side, attribute: ZoneAttribute<'_>) -> Option<&str>;
    /// The authenticated principal, `None` where it is not known.
    fn publisher(&self) -> Option<&str>;
    /// The bridge's clock.
    fn now(&self) -> OffsetDateTime;
}

/// There are data, and they are not JSON that every reader reads alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attribute<'a> {
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Timestamp(OffsetDateTime),
}

/// One end of the way that is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    From,
    To,
}

/// An attribute of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ZoneAttribute<'a> {
    /// The zone's name.
    Zone,
    Region,
    Cloud,
    Jurisdiction,
    Label(&'a str),
}

/// What a JSON value is. Integers that fit 64 bits with a sign are `Int`, all other numbers `Double`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum JsonKind {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text,
    /// With the number of elements.
    Array(usize),
    /// With the number of members, duplicates included.
    Object(usize),
}

/// A view of one JSON value, cheap to copy.
///
/// Where an object has a key twice, **the last one counts**, as it does for most parsers that applications use: a
/// condition must see what the application will see.
pub trait Json<'a>: Copy {
    /// The elements of an array.
    type Elements: Iterator<Item = Self>;
    /// The keys of an object, decoded.
    type Keys: Iterator<Item = Cow<'a, str>>;

    fn kind(self) -> JsonKind;
    /// The text of a string, decoded; `None` for anything else. The caller needs at most `bytes` bytes of it: what
    /// has to be decoded may end after the first character that reaches them.
    fn text(self, bytes: usize) -> Option<Cow<'a, str>>;
    /// The member of an object with this key; `None` for anything else.
    fn get(self, key: &str) -> Option<Self>;
    /// The element of an array at this index, from 0; `None` for anything else.
    fn at(self, index: usize) -> Option<Self>;
    /// The elements of an array; none for anything else.
    fn elements(self) -> Self::Elements;
    /// The keys of an object; none for anything else.
    fn keys(self) -> Self::Keys;
}
