//! What an expression depends on.

use std::collections::BTreeSet;

/// Everything an expression may read. Sound for caching: with the same values of these, the result is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// `topic` or `tokens`.
    pub topic: bool,
    pub from: ZoneReads,
    pub to: ZoneReads,
    pub publisher: bool,
    pub now: bool,
    /// Attributes of the event by name, without `data`.
    pub attributes: BTreeSet<String>,
    /// Paths under `event.data`: each is read, or something below it. The empty path means all of the data, or
    /// whether there are any.
    pub data: BTreeSet<Vec<String>>,
}

/// The attributes of one zone that are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneReads {
    pub zone: bool,
    pub region: bool,
    pub cloud: bool,
    pub jurisdiction: bool,
    /// Labels by name.
    pub labels: BTreeSet<String>,
    /// Labels whose name is known at run time only.
    pub any_label: bool,
}

impl Reads {
    /// Whether topic and zones alone decide.
    pub fn is_static(&self) -> bool {
        !self.publisher && !self.now && self.attributes.is_empty() && self.data.is_empty()
    }
}
