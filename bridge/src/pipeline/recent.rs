//! Two bounded memories of the origin: what it sent lately, to name an event that another bridge refused, and the
//! dead letters, until the durable store of a spool takes their place.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use meshbridge_event::Event;
use meshbridge_routing::EventKey;
use meshbridge_topic::Topic;

/// Events a report may still come for, and the bytes they may hold in memory.
const RECENT_MAX: usize = 8_192;
const RECENT_BYTES_MAX: usize = 8 << 20;
/// Dead letters shown by the admin API; older ones are overwritten, and counted.
pub(crate) const DEAD_LETTERS_MAX: usize = 1_024;

/// What left this bridge lately, oldest first out.
#[derive(Debug, Default)]
pub(crate) struct RecentlySent {
    order: VecDeque<EventKey>,
    events: HashMap<EventKey, (Topic, Event)>,
    bytes: usize,
}

impl RecentlySent {
    pub(crate) fn insert(&mut self, key: EventKey, topic: Topic, event: Event) {
        self.bytes += event.encoded().len();
        self.order.push_back(key.clone());
        self.events.insert(key, (topic, event));
        while self.order.len() > RECENT_MAX || (self.bytes > RECENT_BYTES_MAX && self.order.len() > 1) {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some((_, event)) = self.events.remove(&oldest) {
                self.bytes -= event.encoded().len();
            }
        }
    }

    pub(crate) fn find(&self, key: &EventKey) -> Option<&(Topic, Event)> {
        self.events.get(key)
    }
}

/// An event that a rule kept from one destination; never its payload.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct DeadLetter {
    /// RFC 3339.
    #[serde(serialize_with = "rfc3339")]
    pub(crate) at: SystemTime,
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) source: String,
    #[serde(rename = "type")]
    pub(crate) ty: String,
    pub(crate) topic: String,
    pub(crate) destination: String,
    pub(crate) context: String,
    pub(crate) by: String,
    pub(crate) disposition: String,
    pub(crate) message: Option<String>,
}

/// A ring: the newest entries, and how many were overwritten.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    entries: VecDeque<DeadLetter>,
    overwritten: u64,
}

impl DeadLetters {
    pub(crate) fn push(&mut self, letter: DeadLetter) {
        if self.entries.len() == DEAD_LETTERS_MAX {
            self.entries.pop_front();
            self.overwritten += 1;
        }
        self.entries.push_back(letter);
    }

    /// Newest last, and the number overwritten.
    pub(crate) fn snapshot(&self) -> (Vec<DeadLetter>, u64) {
        (self.entries.iter().cloned().collect(), self.overwritten)
    }
}

pub(crate) fn rfc3339<S: serde::Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let text = time::OffsetDateTime::from(*at)
        .format(&time::format_description::well_known::Rfc3339)
        .map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use meshbridge_event::EventBuilder;
    use meshbridge_routing::{BridgeId, Run};

    use super::*;

    #[test]
    fn memory_of_large_events_stays_within_its_bytes() {
        let mut recent = RecentlySent::default();
        for seq in 0..100 {
            let key = EventKey {
                origin: BridgeId::parse("a").expect("valid id"),
                run: Run { epoch: 1, nonce: 1 },
                lane: 0,
                seq,
            };
            let event = EventBuilder::new(&seq.to_string(), "/s", "t")
                .data_binary(Bytes::from(vec![0; 500_000]))
                .build()
                .expect("valid event");
            recent.insert(key.clone(), Topic::parse("a").expect("topic"), event);
            assert!(recent.bytes <= RECENT_BYTES_MAX);
            assert!(recent.find(&key).is_some(), "the newest is always there");
        }
        assert_eq!(recent.order.len(), recent.events.len());
    }
}
