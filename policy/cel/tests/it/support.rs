//! Facts over `serde_json`, as the tests and the benchmark write them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::Map;

use meshbridge_cel::{Attribute, Facts, Json, JsonKind, Side, Unreadable, ZoneAttribute};
use serde_json::Value;
use time::OffsetDateTime;

#[derive(Clone, Copy, Debug)]
pub struct View<'a>(pub &'a Value);

type ElementView<'a> = fn(&'a Value) -> View<'a>;
type KeyView<'a> = fn(&'a String) -> Cow<'a, str>;

impl<'a> Json<'a> for View<'a> {
    type Elements = Map<std::slice::Iter<'a, Value>, ElementView<'a>>;
    type Keys = Map<serde_json::map::Keys<'a>, KeyView<'a>>;

    fn kind(self) -> JsonKind {
        match self.0 {
            Value::Null => JsonKind::Null,
            Value::Bool(value) => JsonKind::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => JsonKind::Int(int),
                (None, double) => JsonKind::Double(double.unwrap_or(f64::NAN)),
            },
            Value::String(_) => JsonKind::Text,
            Value::Array(array) => JsonKind::Array(array.len()),
            Value::Object(object) => JsonKind::Object(object.len()),
        }
    }

    fn text(self, _: usize) -> Option<Cow<'a, str>> {
        self.0.as_str().map(Cow::Borrowed)
    }

    fn get(self, key: &str) -> Option<Self> {
        self.0.as_object()?.get(key).map(View)
    }

    fn at(self, index: usize) -> Option<Self> {
        self.0.as_array()?.get(index).map(View)
    }

    fn elements(self) -> Self::Elements {
        let elements: &[Value] = self.0.as_array().map_or(&[], Vec::as_slice);
        elements.iter().map(View as ElementView<'a>)
    }

    fn keys(self) -> Self::Keys {
        static NONE: std::sync::LazyLock<serde_json::Map<String, Value>> =
            std::sync::LazyLock::new(Default::default);
        let keys = self.0.as_object().unwrap_or(&NONE).keys();
        keys.map((|key: &'a String| Cow::Borrowed(key.as_str())) as KeyView<'a>)
    }
}

#[derive(Clone, Debug)]
pub struct Event {
    pub attributes: BTreeMap<String, String>,
    pub data: Option<Value>,
    /// There are data, and nobody can read them.
    pub unreadable: bool,
    pub topic: String,
    pub publisher: Option<String>,
    pub now: OffsetDateTime,
}

impl Event {
    /// A payment from eu-1 to us-1 on a Saturday.
    pub fn payment(data: Value) -> Event {
        let attributes = [
            ("id", "p-1"),
            ("source", "/eu-1/payments"),
            ("type", "com.acme.payments.settled"),
            ("specversion", "1.0"),
            ("subject", "invoice-7"),
        ];
        Event {
            attributes: attributes
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            data: Some(data),
            unreadable: false,
            topic: "payments.settled.v1".to_owned(),
            publisher: Some("svc-payments".to_owned()),
            now: time::macros::datetime!(2026-11-21 10:00 UTC),
        }
    }
}

impl Facts for Event {
    type Json<'a> = View<'a>;

    fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        if name == "time" {
            return Some(Attribute::Timestamp(self.now - time::Duration::hours(1)));
        }
        if name == "priority" {
            return Some(Attribute::Int(3));
        }
        self.attributes.get(name).map(|text| Attribute::Text(text))
    }

    fn data(&self) -> Result<Option<View<'_>>, Unreadable> {
        if self.unreadable { Err(Unreadable) } else { Ok(self.data.as_ref().map(View)) }
    }

    fn topic(&self) -> &str {
        &self.topic
    }

    fn zone(&self, side: Side, attribute: ZoneAttribute<'_>) -> Option<&str> {
        Some(match (side, attribute) {
            (Side::From, ZoneAttribute::Zone) => "eu-1",
            (Side::From, ZoneAttribute::Region) => "eu",
            (Side::From, ZoneAttribute::Cloud) => "onprem",
            (Side::From, ZoneAttribute::Jurisdiction) => "EU",
            (Side::To, ZoneAttribute::Zone) => "us-1",
            (Side::To, ZoneAttribute::Region) => "us",
            (Side::To, ZoneAttribute::Cloud) => "aws",
            (_, ZoneAttribute::Label("env")) => "prod",
            (Side::To, ZoneAttribute::Jurisdiction) | (_, ZoneAttribute::Label(_)) => return None,
        })
    }

    fn publisher(&self) -> Option<&str> {
        self.publisher.as_deref()
    }

    fn now(&self) -> OffsetDateTime {
        self.now
    }
}

/// A small generator with a seed (xorshift64*), so that every run is the same.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        // Neighbouring seeds must not give neighbouring sequences, and no state may be zero.
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % bound
    }

    pub fn pick<'v, T>(&mut self, values: &'v [T]) -> &'v T {
        &values[self.below(values.len())]
    }
}
