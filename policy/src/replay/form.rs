//! Two forms of one event: which shows more?
//!
//! Where that cannot be told the answer is that the new one does, for nobody should be surprised.

use std::collections::BTreeSet;

use meshbridge_event::Event;
use serde_json::Value;

use crate::engine::json_of;
use crate::protect::GOVPROTECTED;
use crate::protection::{Token, tokens};

/// The new form beside the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relation {
    Same,
    /// It shows less.
    Stronger,
    /// It shows more, or what cannot be compared.
    Weaker,
}

/// Attributes that bridges write for each other and that are no part of what is shown.
const NOTES: [&str; 2] = [GOVPROTECTED, "govwarn"];

pub(super) fn relation(event: &Event, old: &Event, new: &Event) -> Relation {
    if old.encoded() == new.encoded() {
        return Relation::Same;
    }
    let names: BTreeSet<&str> = [event, old, new]
        .into_iter()
        .flat_map(Event::attributes)
        .map(|(name, _)| name)
        .filter(|name| !NOTES.contains(name))
        .collect();
    let attribute = |event: &Event, name: &str| {
        event.attribute(name).map(|value| Value::from(value.to_text().into_owned()))
    };
    let of_attributes = names.into_iter().map(|name| {
        let [was, old, new] = [event, old, new].map(|event| attribute(event, name));
        values(was.as_ref(), old.as_ref(), new.as_ref())
    });
    let shown = of_attributes.max().unwrap_or(Relation::Same).max(of_data(event, old, new));
    // Two values may look alike and say different things, as pseudonyms of two scopes do.
    let lists_differ = shown == Relation::Same && listed(old) != listed(new);
    if lists_differ { Relation::Weaker } else { shown }
}

fn of_data(event: &Event, old: &Event, new: &Event) -> Relation {
    if old.data_bytes() == new.data_bytes() {
        return Relation::Same;
    }
    let data = |event: &Event| -> Option<Value> {
        match json_of(event) {
            Some(text) => serde_json::from_str(text).ok(),
            None if event.data_bytes().is_empty() => None,
            None => Some(event.data_text().map_or(Value::Null, Value::from)),
        }
    };
    let [was, before, after] = [event, old, new].map(data);
    values(was.as_ref(), before.as_ref(), after.as_ref())
}

/// Pointers and forms, without the classes: what a value is called changes nothing.
fn listed(event: &Event) -> BTreeSet<(String, String)> {
    let list = event.attribute(GOVPROTECTED).map(|value| value.to_text().into_owned()).unwrap_or_default();
    let entry = |entry: &str| {
        let mut words = entry.split(' ').map(str::to_owned);
        Some((words.next()?, words.nth(1)?))
    };
    list.split(',').filter_map(entry).collect()
}

/// One place: what was there, and what the two forms show of it.
fn values(was: Option<&Value>, old: Option<&Value>, new: Option<&Value>) -> Relation {
    if alike(old, new) {
        return Relation::Same;
    }
    match (old, new) {
        (Some(Value::Object(olds)), Some(Value::Object(news))) => {
            let names: BTreeSet<&String> = olds.keys().chain(news.keys()).collect();
            let of =
                |name: &String| values(was.and_then(|was| was.get(name)), olds.get(name), news.get(name));
            return names.into_iter().map(of).max().unwrap_or(Relation::Same);
        }
        (Some(Value::Array(olds)), Some(Value::Array(news))) if olds.len() == news.len() => {
            let of = |(at, (old, new))| values(was.and_then(|was| was.get(at)), Some(old), Some(new));
            return olds.iter().zip(news).enumerate().map(of).max().unwrap_or(Relation::Same);
        }
        _ => {}
    }
    if alike(old, was) {
        return Relation::Stronger;
    }
    if !alike(new, was) && left(new) < left(old) { Relation::Stronger } else { Relation::Weaker }
}

/// How much is left of a value that was altered: nothing, its type, something.
fn left(value: Option<&Value>) -> u8 {
    match value {
        None => 0,
        Some(Value::Null) => 1,
        Some(Value::Array(items)) => {
            if items.is_empty() {
                1
            } else {
                2
            }
        }
        Some(Value::Object(members)) => {
            if members.is_empty() {
                1
            } else {
                2
            }
        }
        Some(Value::String(text)) => {
            let is_redacted =
                tokens(text).any(|(range, token)| range == (0..text.len()) && token == Token::Redacted);
            if is_redacted { 1 } else { 2 }
        }
        Some(Value::Bool(_) | Value::Number(_)) => 2,
    }
}

/// Whether two values show the same. What a key made differs with its secret and with chance, but shows no more.
fn alike(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(Value::String(one)), Some(Value::String(other))) => {
            one == other || labelled(one) == labelled(other)
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| alike(Some(one), Some(other)))
        }
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            one.len() == other.len() && one.iter().all(|(name, value)| alike(Some(value), other.get(name)))
        }
        (one, other) => one == other,
    }
}

/// The text with what keys made replaced by their labels, and classes by nothing.
fn labelled(text: &str) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for (range, token) in tokens(text) {
        out.push_str(&text[at..range.start]);
        match token {
            Token::Redacted => out.push_str("[redacted]"),
            Token::Hash => out.push_str(&text[range.clone()]),
            Token::Pseudonym { key, version } => out.push_str(&format!("tok_{key}.{version}")),
            Token::Sealed { key, version, .. } => out.push_str(&format!("enc_{key}.{version}")),
        }
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}
