//! What each producer's events take up as long as they are kept, what waits for a destination, and what is kept as
//! dead letters of subscriptions; counted as it changes, never summed up (RELIABILITY D12, D14, S13).

use std::collections::BTreeMap;

use super::{Event, GroupState};

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

/// Events of this bridge that are kept, by who published them, and dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    owners: BTreeMap<u64, Used>,
    letters: Used,
}

impl Usage {
    /// What is kept of this owner's events.
    pub fn of(&self, owner: u64) -> Used {
        self.owners.get(&owner).copied().unwrap_or_default()
    }

    /// Dead letters of subscriptions: an event is one for each subscription that gave it up.
    pub fn letters(&self) -> Used {
        self.letters
    }

    pub(super) fn add_letter(&mut self, size: u32) {
        self.letters.add(size);
    }

    pub(super) fn subtract_letter(&mut self, size: u32) {
        self.letters.subtract(size);
    }

    /// Those of an event that was read back.
    pub(super) fn add_letters(&mut self, event: &Event) {
        let dead = event.groups.iter().filter(|(_, state)| matches!(state, GroupState::Dead(_)));
        dead.for_each(|_| self.letters.add(event.size));
    }

    pub(super) fn add(&mut self, event: &Event) {
        self.owners.entry(event.owner).or_default().add(event.size);
    }

    pub(super) fn subtract(&mut self, event: &Event) {
        let Some(used) = self.owners.get_mut(&event.owner) else { return };
        used.subtract(event.size);
        if used.events == 0 {
            self.owners.remove(&event.owner);
        }
    }
}
