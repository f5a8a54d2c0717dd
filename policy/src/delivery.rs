//! How topics are delivered: what `kind: Delivery` documents say, by topic filter.
//!
//! Where several entries match a topic the strictest wins, key by key; a key that nobody wrote has its default. The
//! order of strictness is that of the values in each type here:
//!
//! ```text
//!                         looser         stricter     where nobody says
//! class               best-effort   <    durable      durable
//! retain                   stored   <    delivered    stored
//! onDestinationFull   dead-letter   <    refuse       refuse
//! ```
//!
//! So one more entry never loosens what another says of a topic. Only the layer `federation` can go below a default,
//! by being the first to speak: an inner layer that tries is refused by the compiler (P0205). `order` has one value
//! yet, `lane`, so there is nothing to choose from.

mod document;
#[cfg(test)]
mod tests;

use meshbridge_topic::{FilterTrie, Topic, TopicFilter};

use crate::diagnostics::Span;
use crate::federation::Zone;
use crate::model::Layer;

pub(crate) use document::lower;
pub use document::shape;

/// Whether a crash may lose the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryClass {
    /// In memory only: bounded queues, counted drops.
    BestEffort,
    /// Fsynced at the origin before the publisher is answered.
    Durable,
}

/// How long the origin keeps the payload for a destination. Means nothing for the class best-effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Retain {
    /// Until the destination has stored it.
    Stored,
    /// Until every group there has ended it: the loss of the destination's disk loses nothing.
    Delivered,
}

/// What becomes of a publication while the queue for one of its destinations is full. Means nothing for the class
/// best-effort, which drops and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnDestinationFull {
    /// The pair of event and destination ends as a dead letter; the others get the event.
    DeadLetter,
    /// The publisher is told to come back; nobody gets the event.
    Refuse,
}

/// How one topic is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicDelivery {
    pub class: DeliveryClass,
    pub retain: Retain,
    pub on_destination_full: OnDestinationFull,
}

impl Default for TopicDelivery {
    fn default() -> TopicDelivery {
        TopicDelivery {
            class: DeliveryClass::Durable,
            retain: Retain::Stored,
            on_destination_full: OnDestinationFull::Refuse,
        }
    }
}

/// What a document says of some topics. What it leaves out is left to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    class: Option<DeliveryClass>,
    retain: Option<Retain>,
    on_destination_full: Option<OnDestinationFull>,
}

impl Said {
    /// Key by key the stricter; anything is stricter than nothing said.
    fn join(self, other: Said) -> Said {
        Said {
            class: self.class.max(other.class),
            retain: self.retain.max(other.retain),
            on_destination_full: self.on_destination_full.max(other.on_destination_full),
        }
    }

    fn or_default(self) -> TopicDelivery {
        let default = TopicDelivery::default();
        TopicDelivery {
            class: self.class.unwrap_or(default.class),
            retain: self.retain.unwrap_or(default.retain),
            on_destination_full: self.on_destination_full.unwrap_or(default.on_destination_full),
        }
    }
}

/// One element of `spec.topics`.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    layer: Layer,
    filters: Vec<TopicFilter>,
    said: Said,
    pub(crate) span: Span,
    /// The name of the document and the entry as it is written; what the digest is made of.
    pub(crate) canonical: String,
}

impl Entry {
    pub(crate) fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// Whether it says something of what crosses a border.
    pub(crate) fn asks_of_destinations(&self) -> bool {
        self.said.retain.is_some() || self.said.on_destination_full.is_some()
    }

    pub(crate) fn layer_name(&self) -> String {
        self.layer.name().to_string()
    }
}

/// The delivery of every topic, as one zone has it. Immutable; part of a compiled set of policies, so an event that is
/// judged by one generation is also delivered by it.
#[derive(Clone, Debug, Default)]
pub struct DeliveryOptions {
    by_topic: FilterTrie<Said>,
}

impl DeliveryOptions {
    /// What the layers of `zone` say.
    pub(crate) fn of_zone(entries: &[Entry], zone: &Zone) -> DeliveryOptions {
        let mut by_topic = FilterTrie::default();
        for entry in entries.iter().filter(|entry| entry.layer.speaks_for(zone)) {
            for filter in &entry.filters {
                by_topic.insert(filter, entry.said);
            }
        }
        DeliveryOptions { by_topic }
    }

    /// The strictest of all that is said of the topic, and the defaults for what nobody says. Allocates nothing.
    pub fn for_topic(&self, topic: &Topic) -> TopicDelivery {
        let mut said = Said::default();
        self.by_topic.for_each_match(topic, |more| said = said.join(*more));
        said.or_default()
    }
}
