//! Events whose bytes are in the spool: those used lately stay in memory, the others are read back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use meshbridge_delivery::Record;
use meshbridge_event::Event;
use meshbridge_routing::EventKey;
use meshbridge_topic::Topic;

use super::durable::Durable;
use super::lock;
use super::plan::Variant;

/// Bytes kept in memory.
const CACHE_BYTES_MAX: usize = 8 << 20;
const ENTRY_OVERHEAD_BYTES: usize = 512;

/// An event as it lies in the spool.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) key: EventKey,
    pub(super) topic: Topic,
    pub(super) event: Event,
    /// Milliseconds since 1970; 0 for none.
    pub(super) expires: u64,
    /// Of an event of this bridge: who published it.
    pub(super) publisher: Option<Arc<str>>,
    /// The policy generation under which it was taken from another bridge, where this process did that.
    pub(super) judged: Option<u64>,
    /// Its forms for the destination classes, and the policy generation that made them.
    pub(super) forms: Option<(u64, Vec<Variant>)>,
}

/// The newest events, by body.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: HashMap<u64, Arc<Stored>>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl Cache {
    pub(super) fn insert(&mut self, body: u64, stored: Arc<Stored>) {
        self.bytes += cost(&stored);
        self.entries.insert(body, stored);
        self.order.push_back(body);
        while self.bytes > CACHE_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(oldest);
        }
        // Released ones leave their place in the order behind.
        if self.order.len() > 64 + 2 * self.entries.len() {
            self.order.retain(|body| self.entries.contains_key(body));
        }
    }

    pub(super) fn remove(&mut self, body: u64) {
        if let Some(stored) = self.entries.remove(&body) {
            self.bytes -= cost(&stored);
        }
    }

    pub(super) fn get(&self, body: u64) -> Option<Arc<Stored>> {
        self.entries.get(&body).cloned()
    }
}

fn cost(stored: &Stored) -> usize {
    let forms = stored.forms.iter().flat_map(|(_, forms)| forms).map(|form| form.event.encoded().len());
    ENTRY_OVERHEAD_BYTES + stored.event.encoded().len() + forms.sum::<usize>()
}

impl Durable {
    /// The event, from memory or from the disk. An error names what is wrong with it.
    pub(super) fn stored(&self, body: u64) -> Result<Arc<Stored>, String> {
        if let Some(stored) = lock(&self.cache).get(body) {
            return Ok(stored);
        }
        let bytes = self.journal.read(body).map_err(|problem| problem.to_string())?;
        let (own, goes_on_as) = self.view(|core| {
            let event = core.state().events.get(&body);
            (core.state().own.clone(), event.map(|event| event.key.clone()))
        });
        let (record, payload) = Record::decode(&bytes).map_err(|problem| problem.to_string())?;
        let (key, topic, expires, publisher) = match record {
            Record::Accepted(accepted) => {
                let (run, lane, seq) = (accepted.run, accepted.lane, accepted.seq);
                // The log has the key that it was given first.
                let key = goes_on_as.unwrap_or(EventKey { origin: own, run, lane, seq });
                (key, accepted.topic, accepted.expires, accepted.publisher)
            }
            Record::Taken(taken) => (taken.key, taken.topic, taken.expires, None),
            other => return Err(format!("{other:?} has no event")),
        };
        let topic = Topic::parse(&topic).map_err(|problem| problem.to_string())?;
        let event = Event::decode(Bytes::copy_from_slice(payload)).map_err(|problem| problem.to_string())?;
        let stored = Arc::new(Stored { key, topic, event, expires, publisher, judged: None, forms: None });
        lock(&self.cache).insert(body, Arc::clone(&stored));
        Ok(stored)
    }
}
