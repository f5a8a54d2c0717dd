//! The index of held pairs: what people see of them, never a value of the payload.
//!
//! At most [`LISTED_MAX`]. Further pairs are held all the same, counted, and listed when there is room again.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use meshbridge_event::Event;
use meshbridge_policy::shown;
use meshbridge_routing::{BridgeId, EventKey};
use meshbridge_topic::Topic;

use super::super::judge::Refusal;

/// Pairs that are listed, each at less than a KiB.
pub(super) const LISTED_MAX: usize = 10_000;

/// Names a held pair: `<body>@<bridge>`. In the order in which the events were accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HeldId {
    pub(in crate::pipeline) body: u64,
    pub(in crate::pipeline) destination: BridgeId,
}

impl fmt::Display for HeldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}@{}", self.body, self.destination)
    }
}

impl FromStr for HeldId {
    type Err = ();

    fn from_str(text: &str) -> Result<HeldId, ()> {
        let (body, bridge) = text.split_once('@').ok_or(())?;
        let body = u64::from_str_radix(body, 16).map_err(|_| ())?;
        Ok(HeldId { body, destination: BridgeId::parse(bridge).map_err(|_| ())? })
    }
}

/// One that is held.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct HeldPair {
    pub(in crate::pipeline) key: EventKey,
    /// The destination's zone.
    pub(in crate::pipeline) zone: String,
    pub(in crate::pipeline) rule: Arc<str>,
    pub(in crate::pipeline) layer: String,
    pub(in crate::pipeline) message: Option<String>,
    /// When the event was accepted, in milliseconds since 1970.
    pub(in crate::pipeline) since_ms: u64,
    pub(in crate::pipeline) size_bytes: u32,
    /// Texts of the event as people may see them: one that is itself personal data is its class.
    pub(in crate::pipeline) topic: String,
    pub(in crate::pipeline) id: String,
    pub(in crate::pipeline) source: String,
    pub(in crate::pipeline) ty: String,
}

impl HeldPair {
    /// When it was accepted and how large it is the core knows.
    pub(super) fn new(key: &EventKey, topic: &Topic, event: &Event, refusal: &Refusal) -> HeldPair {
        HeldPair {
            key: key.clone(),
            zone: String::new(),
            rule: refusal.by.as_str().into(),
            layer: refusal.layer.clone(),
            message: refusal.message.clone(),
            since_ms: 0,
            size_bytes: 0,
            topic: shown(topic.as_str()),
            id: shown(event.id()),
            source: shown(event.source()),
            ty: shown(event.ty()),
        }
    }
}

/// Those that are listed.
#[derive(Debug, Default)]
pub(super) struct Listed(BTreeMap<HeldId, HeldPair>);

impl Listed {
    /// `false` where there is no room for another one.
    pub(super) fn insert(&mut self, id: HeldId, pair: HeldPair) -> bool {
        let is_full = self.0.len() >= LISTED_MAX;
        match self.0.entry(id) {
            Entry::Occupied(mut known) => drop(known.insert(pair)),
            Entry::Vacant(_) if is_full => return false,
            Entry::Vacant(place) => drop(place.insert(pair)),
        }
        true
    }

    pub(super) fn remove(&mut self, id: &HeldId) -> bool {
        self.0.remove(id).is_some()
    }

    pub(super) fn get(&self, id: &HeldId) -> Option<&HeldPair> {
        self.0.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn room(&self) -> usize {
        LISTED_MAX.saturating_sub(self.0.len())
    }

    /// In order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&HeldId, &HeldPair)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use meshbridge_routing::Run;

    use super::*;

    fn id(body: u64) -> HeldId {
        HeldId { body, destination: BridgeId::parse("far").expect("an id") }
    }

    fn pair(rule: &str) -> HeldPair {
        let origin = BridgeId::parse("near").expect("an id");
        HeldPair {
            key: EventKey { origin, run: Run { epoch: 1, nonce: 1 }, lane: 0, seq: 1 },
            zone: String::new(),
            rule: rule.into(),
            layer: String::new(),
            message: None,
            since_ms: 0,
            size_bytes: 0,
            topic: String::new(),
            id: String::new(),
            source: String::new(),
            ty: String::new(),
        }
    }

    #[test]
    fn a_full_list_takes_news_of_what_it_has_and_nothing_else() {
        let mut listed = Listed::default();
        assert!((0..LISTED_MAX as u64).all(|body| listed.insert(id(body), pair("a/one"))));
        assert!(!listed.insert(id(LISTED_MAX as u64), pair("a/one")) && listed.room() == 0);
        assert!(listed.insert(id(7), pair("b/two")), "the same pair, held by another rule");
        assert_eq!((listed.len(), listed.get(&id(7)).map(|pair| &*pair.rule)), (LISTED_MAX, Some("b/two")));
        assert!(listed.remove(&id(3)) && listed.insert(id(LISTED_MAX as u64), pair("a/one")));
    }

    #[test]
    fn an_id_survives_its_text() {
        for body in [0, 31, u64::MAX] {
            assert_eq!(id(body).to_string().parse(), Ok(id(body)));
        }
        for text in ["", "1f", "@far", "1f@", "zz@far", "1f@far@far", "11111111111111111@far"] {
            assert!(text.parse::<HeldId>().is_err(), "{text}");
        }
    }
}
