//! Values of an evaluation. Everything that comes from the facts or the expression is borrowed; only what is computed
//! is owned, and shared so that a copy is cheap.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;
use std::{slice, str};

use time::{Duration, OffsetDateTime};

use crate::code::Constant;
use crate::facts::{Attribute, Json, JsonKind};

#[derive(Clone, Debug)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Text<'a> {
        match text {
            Cow::Borrowed(text) => Text::Borrowed(text),
            Cow::Owned(text) => Text::Shared(text.into()),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Value<'a, J> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Text<'a>),
    Timestamp(OffsetDateTime),
    Duration(Duration),
    /// A text, an array or an object of the data, not decoded yet.
    Json(J),
    /// The tokens of this topic.
    Tokens(&'a str),
    Constants(&'a [Constant]),
    List(Rc<[Value<'a, J>]>),
    /// No key is there twice.
    Map(Rc<[(Text<'a>, Value<'a, J>)]>),
}

/// What a value is, as far as operations care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Scalar,
    Text,
    List,
    Map,
}

impl<'a, J: Json<'a>> Value<'a, J> {
    pub(crate) fn of_json(json: J) -> Value<'a, J> {
        match json.kind() {
            JsonKind::Null => Value::Null,
            JsonKind::Bool(value) => Value::Bool(value),
            JsonKind::Int(value) => Value::Int(value),
            JsonKind::Double(value) => Value::Double(value),
            JsonKind::Text | JsonKind::Array(_) | JsonKind::Object(_) => Value::Json(json),
        }
    }

    pub(crate) fn of_attribute(attribute: Attribute<'a>) -> Value<'a, J> {
        match attribute {
            Attribute::Bool(value) => Value::Bool(value),
            Attribute::Int(value) => Value::Int(value),
            Attribute::Text(text) => Value::Text(Text::Borrowed(text)),
            Attribute::Timestamp(time) => Value::Timestamp(time),
        }
    }

    pub(crate) fn of_constant(constant: &'a Constant) -> Value<'a, J> {
        match constant {
            Constant::Null => Value::Null,
            Constant::Bool(value) => Value::Bool(*value),
            Constant::Int(value) => Value::Int(*value),
            Constant::Double(value) => Value::Double(*value),
            Constant::Text(text) => Value::Text(Text::Borrowed(text)),
            Constant::Timestamp(time) => Value::Timestamp(*time),
            Constant::Duration(duration) => Value::Duration(*duration),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        match self {
            Value::Text(_) => Shape::Text,
            Value::Tokens(_) | Value::Constants(_) | Value::List(_) => Shape::List,
            Value::Map(_) => Shape::Map,
            Value::Json(json) => match json.kind() {
                JsonKind::Text => Shape::Text,
                JsonKind::Array(_) => Shape::List,
                JsonKind::Object(_) => Shape::Map,
                _ => Shape::Scalar,
            },
            _ => Shape::Scalar,
        }
    }

    /// At least the first `bytes` bytes of a text, or all of it if it has fewer; `None` for anything else.
    pub(crate) fn text(&self, bytes: usize) -> Option<Cow<'_, str>> {
        match self {
            Value::Text(text) => Some(Cow::Borrowed(text.as_str())),
            Value::Json(json) => json.text(bytes),
            _ => None,
        }
    }

    /// The elements of a list or the entries of a map; `None` for anything else.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            Value::Tokens(topic) => Some(topic.split('.').count()),
            Value::Constants(constants) => Some(constants.len()),
            Value::List(list) => Some(list.len()),
            Value::Map(entries) => Some(entries.len()),
            Value::Json(json) => match json.kind() {
                JsonKind::Array(len) | JsonKind::Object(len) => Some(len),
                _ => None,
            },
            _ => None,
        }
    }

    /// The elements of a list or the keys of a map; `None` for anything else.
    pub(crate) fn elements(&self) -> Option<Elements<'a, J>> {
        Some(match self {
            Value::Tokens(topic) => Elements::Tokens(topic.split('.')),
            Value::Constants(constants) => Elements::Constants(constants.iter()),
            Value::List(list) => Elements::List(Rc::clone(list), 0),
            Value::Map(entries) => Elements::Entries(Rc::clone(entries), 0),
            Value::Json(json) => match json.kind() {
                JsonKind::Array(_) => Elements::Array(json.elements()),
                JsonKind::Object(_) => Elements::Object(json.keys()),
                _ => return None,
            },
            _ => return None,
        })
    }
}

pub(crate) enum Elements<'a, J: Json<'a>> {
    Tokens(str::Split<'a, char>),
    Constants(slice::Iter<'a, Constant>),
    List(Rc<[Value<'a, J>]>, usize),
    Entries(Rc<[(Text<'a>, Value<'a, J>)]>, usize),
    Array(J::Elements),
    Object(J::Keys),
}

impl<'a, J: Json<'a>> Iterator for Elements<'a, J> {
    type Item = Value<'a, J>;

    fn next(&mut self) -> Option<Value<'a, J>> {
        match self {
            Elements::Tokens(tokens) => tokens.next().map(|token| Value::Text(Text::Borrowed(token))),
            Elements::Constants(constants) => constants.next().map(Value::of_constant),
            Elements::List(list, next) => {
                *next += 1;
                list.get(*next - 1).cloned()
            }
            Elements::Entries(entries, next) => {
                *next += 1;
                entries.get(*next - 1).map(|(key, _)| Value::Text(key.clone()))
            }
            Elements::Array(elements) => elements.next().map(Value::of_json),
            Elements::Object(keys) => keys.next().map(|key| Value::Text(key.into())),
        }
    }
}

/// Compares without rounding the integer to a double; `None` for NaN.
pub(crate) fn compare_int_double(int: i64, double: f64) -> Option<Ordering> {
    /// 2⁶³: the first double beyond every `i64`.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        None
    } else if double >= BEYOND {
        Some(Ordering::Less)
    } else if double < -BEYOND {
        Some(Ordering::Greater)
    } else {
        let whole = double.trunc();
        // In range, as has just been seen, so the conversion is exact.
        match int.cmp(&(whole as i64)) {
            Ordering::Equal => whole.partial_cmp(&double),
            unequal => Some(unequal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_doubles_compare_without_rounding() {
        let exact = 9_007_199_254_740_993; // 2⁵³ + 1, which no double is
        assert_eq!(compare_int_double(exact, 9_007_199_254_740_992.0), Some(Ordering::Greater));
        assert_eq!(compare_int_double(i64::MAX, 9_223_372_036_854_775_808.0), Some(Ordering::Less));
        assert_eq!(compare_int_double(i64::MIN, -9_223_372_036_854_775_808.0), Some(Ordering::Equal));
        assert_eq!(compare_int_double(i64::MIN, -1e19), Some(Ordering::Greater));
        assert_eq!(compare_int_double(2, 2.5), Some(Ordering::Less));
        assert_eq!(compare_int_double(-2, -2.5), Some(Ordering::Greater));
        assert_eq!(compare_int_double(0, -0.0), Some(Ordering::Equal));
        assert_eq!(compare_int_double(0, f64::NAN), None);
    }
}
