//! Protections against the tables and promises of POLICY §5. Everything goes through [`World::protect`].

mod content;
mod keyed;
mod ladders;
mod lists;
mod properties;
mod table;

use std::cell::RefCell;

use bytes::Bytes;
use meshbridge_detect::{Class, ClassSet, Confidence};
use meshbridge_event::{AttributeValue, Event, EventBuilder};

use super::*;
use crate::keys::{KeyEntry, KeyRef, KeyTable, KeyUse, MapKeyRing};
use crate::path::Path;
use crate::protection::{Ladder, Protection, Scope};

pub(super) const TOKENS: KeyRef = KeyRef(0);
pub(super) const FIELDS: KeyRef = KeyRef(1);
pub(super) const CARD: &str = "4111 1111 1111 1111";
pub(super) const MAIL: &str = "ana@example.com";

/// Keys, secrets and where events go.
pub(super) struct World {
    pub(super) keys: KeyTable,
    pub(super) ring: MapKeyRing,
    pub(super) randomness: Randomness,
    pub(super) to_zone: &'static str,
    pub(super) topic: &'static str,
    pub(super) fields: Vec<(Path, Class)>,
    pub(super) may_hold: ClassSet,
    pub(super) opaque: Option<ClassSet>,
    surveyor: RefCell<Surveyor>,
}

impl World {
    pub(super) fn new() -> World {
        let mut keys = KeyTable::default();
        let mut ring = MapKeyRing::new();
        let named = [("tokens", KeyUse::Pseudonymise), ("fields", KeyUse::Encrypt)];
        for (number, (name, purpose)) in named.into_iter().enumerate() {
            let entry = KeyEntry { name: name.into(), version: 1, purpose, zones: Default::default() };
            keys.add(entry).expect("a new key");
            ring.insert(name, 1, [number as u8 + 1; 32]);
        }
        World {
            keys,
            ring,
            randomness: Randomness::new([7; 32]),
            to_zone: "us-1",
            topic: "payments.settled.v1",
            fields: Vec::new(),
            may_hold: ClassSet::EMPTY,
            opaque: None,
            surveyor: RefCell::default(),
        }
    }

    /// Rules are numbered by the position of their demand.
    pub(super) fn protect(&self, event: &Event, demands: &[Demand]) -> Result<Option<Event>, CannotProtect> {
        let wanted = demands.iter().fold(ClassSet::EMPTY, |wanted, demand| wanted.union(demand.classes));
        let least = demands.iter().map(|demand| demand.confidence).min().unwrap_or(Confidence::High);
        let claims: Vec<Claim<'_>> = demands
            .iter()
            .enumerate()
            .map(|(rule, demand)| Claim { demand, rule, opaque: self.opaque })
            .collect();
        let mut surveyor = self.surveyor.borrow_mut();
        let declared = Declared { fields: &self.fields, vouched: self.fields.len(), may_hold: self.may_hold };
        let survey = surveyor.look(event, self.topic, declared, &self.keys, &wanted, least);
        let crossing = Crossing { to_zone: self.to_zone, topic: self.topic };
        let done = apply(&survey, &claims, &self.keys, &self.ring, &self.randomness, crossing)?;
        Ok(done.map(|protected| protected.event))
    }

    /// The event after one pass; after a second one it is asserted to be the same.
    #[track_caller]
    pub(super) fn once(&self, event: &Event, demands: &[Demand]) -> Event {
        let once = self.protect(event, demands).expect("protected").unwrap_or_else(|| event.clone());
        let twice = self.protect(&once, demands).expect("protected again");
        assert!(twice.is_none(), "twice is not once:\n{}\n{}", show(&once), show(&twice.expect("checked")));
        once
    }

    /// The data of an event with this JSON, after `demands`.
    #[track_caller]
    pub(super) fn json(&self, data: &str, demands: &[Demand]) -> String {
        let edited = self.once(&json(data), demands);
        let text = edited.data_text().unwrap_or_default().to_owned();
        if !text.is_empty() {
            serde_json::from_str::<serde_json::Value>(&text).expect("still JSON");
        }
        text
    }
}

pub(super) fn show(event: &Event) -> String {
    let list = event.attribute(GOVPROTECTED).map(|value| value.to_text().into_owned());
    format!("{} [{}]", event.data_text().unwrap_or("(no text)"), list.unwrap_or_default())
}

pub(super) fn base() -> EventBuilder {
    EventBuilder::new("e-1", "/eu-1/shop", "t")
}

pub(super) fn json(data: &str) -> Event {
    base().data_json(Bytes::copy_from_slice(data.as_bytes())).build().expect("an event")
}

pub(super) fn list(event: &Event) -> String {
    event.attribute(GOVPROTECTED).map(|value| value.to_text().into_owned()).unwrap_or_default()
}

pub(super) fn by_class(class: &str, protection: Protection) -> Demand {
    Demand {
        classes: ClassSet::of(class),
        confidence: Confidence::Medium,
        undeclared: false,
        fields: Vec::new(),
        protection,
        signatures_error: false,
    }
}

pub(super) fn by_field(path: &str, protection: Protection) -> Demand {
    Demand {
        classes: ClassSet::EMPTY,
        fields: vec![Path::parse(path).expect("a path")],
        ..by_class("-", protection)
    }
}

pub(super) const LAST_FOUR: Protection = Protection::Mask { first: 0, last: 4 };
pub(super) const TOKEN: Protection = Protection::Pseudonymise { key: TOKENS, scope: Scope::DESTINATION };
pub(super) const SEALED: Protection = Protection::Encrypt { key: FIELDS };

pub(super) fn ladder(rung: &str) -> Protection {
    let (ladder, rung): (Ladder, u8) = Ladder::named(rung).expect("a rung");
    Protection::Generalise { ladder, rung }
}

pub(super) fn attribute(name: &str, text: &str) -> Event {
    base().attribute(name, AttributeValue::typed(name, text)).build().expect("an event")
}
