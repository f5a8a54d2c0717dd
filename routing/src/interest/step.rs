//! One step between two versions of a set, remembered to tell those that are behind.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::want::Want;
use crate::wire::{Head, Message, decode_changes, encode_changes};

/// In the words of its owner: fits one message. What is remembered of it are the bytes that are sent: entries would each be
/// somewhere in memory for as long.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) from: u64,
    pub(super) head: Head,
    /// Entries that came or went.
    pub(super) changes: usize,
    encoded: Box<[u8]>,
}

impl Step {
    pub(super) fn new(from: u64, head: Head, added: &[Want], removed: &[Want]) -> Step {
        Step { from, head, changes: added.len() + removed.len(), encoded: encode_changes(added, removed) }
    }

    /// No less than those of its entries.
    pub(super) fn bytes(&self) -> usize {
        self.encoded.len()
    }

    pub(super) fn encode(&self) -> Bytes {
        Message::encode_delta(&self.head, self.from, &self.encoded)
    }
}

/// Of entries in messages.
pub(super) fn encoded_bytes(wants: &[Want]) -> usize {
    wants.iter().map(Want::encoded_bytes).sum()
}

/// What leads from the start of the first of these steps to the end of the last one.
pub(super) fn merged(steps: &[&Step]) -> Option<Bytes> {
    let (first, last) = (steps.first()?, steps.last()?);
    if let [only] = steps {
        return Some(only.encode());
    }
    // True: added since, false: removed since. A filter that came and went again is in neither list.
    let mut net: BTreeMap<Want, bool> = BTreeMap::new();
    for step in steps {
        let (added, removed) = decode_changes(&step.encoded).ok()?;
        for (want, added) in
            added.into_iter().map(|want| (want, true)).chain(removed.into_iter().map(|want| (want, false)))
        {
            if net.remove(&want).is_none() {
                net.insert(want, added);
            }
        }
    }
    let (added, removed): (Vec<_>, Vec<_>) = net.into_iter().partition(|(_, added)| *added);
    let [added, removed] =
        [added, removed].map(|wants| wants.into_iter().map(|(want, _)| want).collect::<Vec<_>>());
    Some(Message::encode_delta(&last.head, first.from, &encode_changes(&added, &removed)))
}
