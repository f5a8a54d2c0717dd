//! Interest sets: one writer each, versioned, signed, replicated as they are.
//!
//! ```text
//! subscribe a.b      own filters {a.b, a.**}      advertised {a.**}       a.b is covered: nothing to say
//! unsubscribe a.**   own filters {a.b}            advertised {a.b}        one version: + a.b  - a.**
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use meshbridge_topic::FilterTrie;

use crate::audience::AudienceId;
use crate::flood::Stamp;
use crate::limits::{HISTORY_CHANGES_MAX, HISTORY_VERSIONS_MAX, INTEREST_LEASE, SETS_PER_OWNER_MAX};
use crate::lthash::LtHash;
use crate::want::{GroupInterest, Want};
use crate::wire::{Delta, Head, SnapshotChunk};
use crate::{Refusal, Run};

/// Parts of a snapshot, and changes of a delta.
pub(crate) const CHUNK_FILTERS: usize = 192;

/// One step between two versions.
#[derive(Clone, Debug)]
struct Step {
    from: u64,
    to: u64,
    added: Vec<Want>,
    removed: Vec<Want>,
}

/// What one bridge wants, from all of its sets that this bridge is told.
pub(crate) type InterestTrie = FilterTrie<Option<GroupInterest>>;

/// The sets of one owner. One trie holds the entries of all, so an event is matched once for each owner, however many
/// audiences it has.
#[derive(Debug, Default)]
pub(crate) struct OwnerSets {
    sets: BTreeMap<AudienceId, InterestSet>,
    /// While an entry moves between audiences both sets have it, and it stands here twice.
    trie: Arc<InterestTrie>,
}

impl OwnerSets {
    pub(crate) fn get(&self, audience: AudienceId) -> Option<&InterestSet> {
        self.sets.get(&audience)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &InterestSet> {
        self.sets.values()
    }

    pub(crate) fn trie(&self) -> &Arc<InterestTrie> {
        &self.trie
    }

    /// Entries of all sets.
    pub(crate) fn len(&self) -> usize {
        self.sets.values().map(|set| set.filters.len()).sum()
    }

    /// The newest run in which a set was said.
    pub(crate) fn run(&self) -> Option<Run> {
        self.sets.values().map(|set| set.head.run).max()
    }

    /// R41: whether a set for another audience can be kept.
    pub(crate) fn has_room_for(&self, audience: AudienceId) -> bool {
        self.sets.len() < SETS_PER_OWNER_MAX
            || self.sets.contains_key(&audience)
            || self.oldest_end().is_some()
    }

    /// The set that ended longest ago, of those that tell of an end.
    fn oldest_end(&self) -> Option<AudienceId> {
        let ended = self.sets.iter().filter(|(id, set)| **id != AudienceId::ALL && set.filters.is_empty());
        ended.min_by_key(|(_, set)| set.lease_end).map(|(id, _)| *id)
    }

    /// Takes a whole set in place of the one for the same audience.
    pub(crate) fn insert(&mut self, set: InterestSet) {
        let id = set.head.audience.id();
        if self.sets.len() >= SETS_PER_OWNER_MAX
            && !self.sets.contains_key(&id)
            && let Some(ended) = self.oldest_end()
        {
            self.sets.remove(&ended);
        }
        self.sets.insert(id, set);
        self.rebuild();
    }

    /// R11: moves a set to the version of `delta`, or leaves it untouched.
    pub(crate) fn apply(&mut self, delta: Delta, now: Instant) -> Result<(), Refusal> {
        let set = self.sets.get_mut(&delta.head.audience.id()).ok_or(Refusal::WrongDigest)?;
        set.apply(delta, &mut self.trie, now)
    }

    pub(crate) fn remove(&mut self, audience: AudienceId) {
        if self.sets.remove(&audience).is_some() {
            self.rebuild();
        }
    }

    /// Drops what its owner has not renewed; tells whether there was any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.sets.len();
        self.sets.retain(|_, set| now < set.lease_end);
        let any = self.sets.len() != before;
        if any {
            self.rebuild();
        }
        any
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    fn rebuild(&mut self) {
        let mut trie = InterestTrie::default();
        for want in self.sets.values().flat_map(|set| &set.filters) {
            trie.insert(&want.filter, want.group.clone());
        }
        self.trie = Arc::new(trie);
    }
}

/// A set as its owner signed it.
#[derive(Debug)]
pub(crate) struct InterestSet {
    pub(crate) head: Head,
    pub(crate) filters: BTreeSet<Want>,
    pub(crate) lease_end: Instant,
    hash: LtHash,
    history: VecDeque<Step>,
}

/// What a neighbour that holds an older version is sent.
pub(crate) enum Update {
    Delta(Delta),
    Snapshot(Vec<SnapshotChunk>),
}

impl InterestSet {
    /// The set behind `head`, if its filters are those that the owner signed.
    pub(crate) fn new(head: Head, filters: BTreeSet<Want>, now: Instant) -> Result<InterestSet, Refusal> {
        let mut hash = LtHash::default();
        filters.iter().for_each(|filter| hash.add(&filter.digest_bytes()));
        // R12: the end mark counts only when the whole agrees with the signature.
        if hash.digest() != head.digest || filters.len() != head.count as usize {
            return Err(Refusal::WrongDigest);
        }
        let lease_end = now + INTEREST_LEASE;
        Ok(InterestSet { head, filters, lease_end, hash, history: VecDeque::new() })
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.head.stamp()
    }

    /// R11: moves the set to the version of `delta`, or leaves it untouched.
    ///
    /// A repeated delta may start before the version held; what is known already is left out, and the digest decides.
    fn apply(&mut self, mut delta: Delta, trie: &mut Arc<InterestTrie>, now: Instant) -> Result<(), Refusal> {
        delta.added.retain(|filter| !self.filters.contains(filter));
        delta.removed.retain(|filter| self.filters.contains(filter));
        delta.from = self.head.version;
        let mut hash = self.hash.clone();
        delta.added.iter().for_each(|filter| hash.add(&filter.digest_bytes()));
        delta.removed.iter().for_each(|filter| hash.remove(&filter.digest_bytes()));
        if hash.digest() != delta.head.digest {
            return Err(Refusal::WrongDigest);
        }
        self.hash = hash;
        let trie = Arc::make_mut(trie);
        for filter in &delta.added {
            if self.filters.insert(filter.clone()) {
                trie.insert(&filter.filter, filter.group.clone());
            }
        }
        for filter in &delta.removed {
            if self.filters.remove(filter) {
                trie.remove(&filter.filter, &filter.group);
            }
        }
        self.lease_end = now + INTEREST_LEASE;
        let Delta { head, from, added, removed } = delta;
        self.history.push_back(Step { from, to: head.version, added, removed });
        self.head = head;
        let mut changes: usize = self.history.iter().map(|step| step.added.len() + step.removed.len()).sum();
        while changes > HISTORY_CHANGES_MAX || self.history.len() > HISTORY_VERSIONS_MAX {
            let Some(oldest) = self.history.pop_front() else { break };
            changes -= oldest.added.len() + oldest.removed.len();
        }
        Ok(())
    }

    /// The head that the owner would sign after these changes.
    pub(crate) fn digest_after(&self, added: &[Want], removed: &[Want]) -> [u8; 32] {
        let mut hash = self.hash.clone();
        added.iter().for_each(|filter| hash.add(&filter.digest_bytes()));
        removed.iter().for_each(|filter| hash.remove(&filter.digest_bytes()));
        hash.digest()
    }

    /// From what the neighbour holds to the current version.
    pub(crate) fn update_from(&self, have: Option<Stamp>) -> Update {
        match have.filter(|have| have.run == self.head.run).and_then(|have| self.delta_from(have.version)) {
            Some(delta) => Update::Delta(delta),
            None => Update::Snapshot(self.snapshot()),
        }
    }

    fn delta_from(&self, from: u64) -> Option<Delta> {
        let start = self.history.iter().position(|step| step.from == from)?;
        // True: added since, false: removed since. A filter that came and went again is in neither list.
        let mut net: BTreeMap<&Want, bool> = BTreeMap::new();
        let mut at = from;
        for step in self.history.iter().skip(start) {
            if step.from != at {
                return None;
            }
            at = step.to;
            for (filters, added) in [(&step.added, true), (&step.removed, false)] {
                for filter in filters {
                    if net.remove(filter).is_none() {
                        net.insert(filter, added);
                    }
                }
            }
        }
        if net.len() > CHUNK_FILTERS {
            return None;
        }
        let pick =
            |wanted| net.iter().filter(|(_, added)| **added == wanted).map(|(f, _)| (*f).clone()).collect();
        Some(Delta { head: self.head.clone(), from, added: pick(true), removed: pick(false) })
    }

    pub(crate) fn snapshot(&self) -> Vec<SnapshotChunk> {
        let filters: Vec<Want> = self.filters.iter().cloned().collect();
        let chunk = |index: usize, filters: &[Want]| SnapshotChunk {
            head: self.head.clone(),
            index: u32::try_from(index).expect("a set has 2 million filters at most"),
            last: false,
            filters: filters.to_vec(),
        };
        let mut chunks: Vec<SnapshotChunk> =
            filters.chunks(CHUNK_FILTERS).enumerate().map(|(index, part)| chunk(index, part)).collect();
        if chunks.is_empty() {
            chunks.push(chunk(0, &[]));
        }
        if let Some(last) = chunks.last_mut() {
            last.last = true;
        }
        chunks
    }
}

/// Parts of a snapshot that are still arriving, in any order.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub(crate) head: Head,
    parts: BTreeMap<u32, Vec<Want>>,
    end: Option<u32>,
}

impl Assembly {
    pub(crate) fn new(head: Head) -> Assembly {
        Assembly { head, parts: BTreeMap::new(), end: None }
    }

    /// The whole set once all parts up to the end mark are there. More filters than the owner signed are refused.
    pub(crate) fn take(&mut self, chunk: SnapshotChunk) -> Result<Option<BTreeSet<Want>>, Refusal> {
        if chunk.last {
            self.end = Some(chunk.index);
        }
        self.parts.insert(chunk.index, chunk.filters);
        let filters: usize = self.parts.values().map(Vec::len).sum();
        // A part is never empty, except the only one of an empty set.
        if filters > self.head.count as usize || self.parts.len() > self.head.count.max(1) as usize {
            return Err(Refusal::WrongDigest);
        }
        let complete = self.end.is_some_and(|end| {
            self.parts.len() as u64 == u64::from(end) + 1 && self.parts.keys().last() == Some(&end)
        });
        Ok(complete.then(|| std::mem::take(&mut self.parts).into_values().flatten().collect()))
    }
}
