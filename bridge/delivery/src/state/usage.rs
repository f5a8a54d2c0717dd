//! What each producer's events take up as long as they are kept, and what waits for a destination; counted as it
//! changes, never summed up (RELIABILITY D12, S13).

use std::collections::BTreeMap;

use super::{Effect, State};
use crate::codec::{Reader, Result, Writer};
use crate::record::Record;

/// Entries of one part.
const ENTRIES_PER_PART: usize = 1_024;

/// Events, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub events: u64,
    pub bytes: u64,
}

impl Used {
    pub(super) fn add(&mut self, size: u32) {
        self.events += 1;
        self.bytes += u64::from(size);
    }

    pub(super) fn subtract(&mut self, size: u32) {
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(u64::from(size));
    }
}

/// Whose event it is: the upper 40 bits of its producer's id.
pub fn owner_of(producer: u128) -> u64 {
    (producer >> 88) as u64
}

/// Events of this bridge that are kept, by who published them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    events: BTreeMap<u64, (u64, u32)>,
    owners: BTreeMap<u64, Used>,
}

impl Usage {
    /// What is kept of this owner's events.
    pub fn of(&self, owner: u64) -> Used {
        self.owners.get(&owner).copied().unwrap_or_default()
    }

    fn insert(&mut self, body: u64, owner: u64, size: u32) {
        if self.events.insert(body, (owner, size)).is_none() {
            self.owners.entry(owner).or_default().add(size);
        }
    }

    fn remove(&mut self, body: u64) {
        let Some((owner, size)) = self.events.remove(&body) else { return };
        let Some(used) = self.owners.get_mut(&owner) else { return };
        used.subtract(size);
        if used.events == 0 {
            self.owners.remove(&owner);
        }
    }

    pub(super) fn parts(&self, kind: u8, parts: &mut Vec<Vec<u8>>) {
        let events: Vec<_> = self.events.iter().collect();
        for chunk in events.chunks(ENTRIES_PER_PART) {
            let mut out = Writer::kind(kind);
            for (body, (owner, size)) in chunk {
                [**body, *owner, u64::from(*size)].into_iter().for_each(|number| out.number(number));
            }
            parts.push(out.0);
        }
    }

    pub(super) fn apply_part(&mut self, from: &mut Reader<'_>) -> Result<()> {
        while !from.0.is_empty() {
            let (body, owner) = (from.number()?, from.number()?);
            self.insert(body, owner, crate::record::read_id(from)?);
        }
        Ok(())
    }
}

impl State {
    /// Follows what one record has changed.
    pub(super) fn count_usage(&mut self, record: &Record, effects: &[Effect]) {
        if let Record::Accepted(accepted) = record {
            self.usage.insert(accepted.body, owner_of(accepted.producer), accepted.size);
        }
        for effect in effects {
            if let Effect::Released(body) = effect {
                self.usage.remove(*body);
            }
        }
    }
}
