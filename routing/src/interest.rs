//! Interest sets: one writer each, versioned, signed, replicated as they are.
//!
//! ```text
//! subscribe a.b      own filters {a.b, a.**}      advertised {a.**}       a.b is covered: nothing to say
//! unsubscribe a.**   own filters {a.b}            advertised {a.b}        one version: + a.b  - a.**
//! ```

mod step;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use meshbridge_topic::FilterTrie;

use crate::audience::AudienceId;
use crate::flood::Stamp;
use crate::limits::{
    HISTORY_CHANGES_MIN, HISTORY_VERSIONS_MAX, INTEREST_LEASE, KEPT_BYTES_MIN, SETS_PER_OWNER_MAX,
};
use crate::lthash::LtHash;
use crate::want::{GroupInterest, Want};
use crate::wire::{Delta, Head, SnapshotChunk};
use crate::wire::{ENTRIES_BYTES_MAX, Message};
use crate::{Audience, Refusal, Run};
use step::{Step, encoded_bytes};

/// What one bridge wants, of one of its sets or of all.
pub(crate) type InterestTrie = FilterTrie<Option<Arc<GroupInterest>>>;

/// The sets of one owner. One trie holds the entries of all, so an event is matched once for each owner, however many
/// audiences it has.
#[derive(Debug, Default)]
pub(crate) struct OwnerSets {
    sets: BTreeMap<AudienceId, InterestSet>,
    /// The entries of all sets, where more than one has any, or had: to make it anew for each entry that is the only one of
    /// its set would cost as much as all of them. While an entry moves between audiences both sets have it, and it stands
    /// here twice.
    merged: Option<InterestTrie>,
    /// The owner is another bridge. What this one wants itself is found where its subscribers are.
    is_matched: bool,
    news: News,
}

/// What was not put by yet of what changed.
#[derive(Debug, Default)]
struct News {
    /// Steps, as messages.
    more: Vec<Bytes>,
    /// Bytes of everything as it was put by at some time, and of the steps since.
    kept_bytes: usize,
    is_whole_due: bool,
}

/// What to keep for the next start, as messages that [`crate::Router::recall_interest`] understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptInterest {
    /// In place of what was kept.
    Whole(Vec<Bytes>),
    /// Behind what was kept.
    More(Vec<Bytes>),
}

impl OwnerSets {
    /// Sets of another bridge, which events are matched with.
    pub(crate) fn of_other() -> OwnerSets {
        OwnerSets { is_matched: true, ..OwnerSets::default() }
    }

    /// What changed since the last call. Steps cost what they changed; everything is said again where what was said has
    /// become more than twice of it. What only grows never does.
    pub(crate) fn take_news(&mut self) -> KeptInterest {
        let news = &mut self.news;
        let more = std::mem::take(&mut news.more);
        let bytes: usize = self.sets.values().map(|set| set.bytes).sum();
        if !news.is_whole_due && news.kept_bytes <= (2 * bytes).max(KEPT_BYTES_MIN) {
            return KeptInterest::More(more);
        }
        // What tells of an end only is learned again from those that remember more.
        let kept = self.sets.values().filter(|set| !set.is_end());
        let whole: Vec<Bytes> = kept.flat_map(|set| set.snapshot(set.wants())).collect();
        self.news = News { kept_bytes: whole.iter().map(Bytes::len).sum(), ..News::default() };
        KeptInterest::Whole(whole)
    }

    /// All of it came from where it would be put by, in so many bytes.
    pub(crate) fn on_put_by(&mut self, bytes: usize) {
        self.news = News { kept_bytes: bytes, ..News::default() };
    }

    pub(crate) fn get(&self, audience: AudienceId) -> Option<&InterestSet> {
        self.sets.get(&audience)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &InterestSet> {
        self.sets.values()
    }

    /// What events are matched with; nothing where nothing is wanted.
    pub(crate) fn trie(&self) -> Option<&InterestTrie> {
        let only = || self.sets.values().filter_map(|set| set.entries.as_ref()).find(|trie| !trie.is_empty());
        self.merged.as_ref().or_else(only).filter(|trie| self.is_matched && !trie.is_empty())
    }

    /// Entries of all sets.
    pub(crate) fn len(&self) -> usize {
        self.sets.values().map(InterestSet::len).sum()
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
        let ended = self.sets.iter().filter(|(id, set)| **id != AudienceId::ALL && set.is_empty());
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
        // Such a set is not part of what was put by: a step would find nothing there.
        let was_left_out = set.is_end();
        let (added, removed) = set.apply(delta, now)?;
        if let Some(merged) = &mut self.merged {
            added.iter().for_each(|want| merged.insert(&want.filter, want.group.clone()));
            for want in &removed {
                merged.remove(&want.filter, &want.group);
            }
        }
        if self.is_matched && !self.news.is_whole_due {
            let messages = match set.history.back() {
                Some(step) if !was_left_out => vec![step.encode()],
                _ => set.snapshot(set.wants()),
            };
            self.news.kept_bytes += messages.iter().map(Bytes::len).sum::<usize>();
            self.news.more.extend(messages);
        }
        self.merge();
        Ok(())
    }

    /// The owner's own step: the next version of a set, with the head that `sign` makes for a version, digest and count.
    pub(crate) fn advance(
        &mut self,
        audience: AudienceId,
        (added, removed): (Vec<Want>, Vec<Want>),
        sign: impl FnOnce(u64, [u8; 32], usize) -> Head,
        now: Instant,
    ) {
        let Some(set) = self.sets.get_mut(&audience) else { return };
        let hash = set.hash_after(&added, &removed);
        let from = set.head.version;
        let head = sign(from + 1, hash.digest(), set.len() + added.len() - removed.len());
        set.take_step(Step::new(from, head, &added, &removed), (&added, &removed), hash, now);
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

    /// Sets have come, gone, or been replaced.
    fn rebuild(&mut self) {
        self.news = News { is_whole_due: true, ..News::default() };
        self.merged = None;
        self.merge();
    }

    /// One trie for all sets, once more than one of them has entries.
    fn merge(&mut self) {
        let are_several = self.sets.values().filter(|set| !set.is_empty()).nth(1).is_some();
        if are_several && self.is_matched && self.merged.is_none() {
            let mut merged = InterestTrie::default();
            for entries in self.sets.values().filter_map(|set| set.entries.as_ref()) {
                entries.for_each(|filter, group| merged.insert(filter, group.clone()));
            }
            self.merged = Some(merged);
        }
    }
}

/// A set as its owner signed it.
#[derive(Debug)]
pub(crate) struct InterestSet {
    pub(crate) head: Head,
    /// Each once. Its owner has them elsewhere, with what nobody is told of: `None`.
    entries: Option<InterestTrie>,
    /// How many they are, and bytes of them in messages.
    len: usize,
    bytes: usize,
    pub(crate) lease_end: Instant,
    hash: LtHash,
    /// The steps to the current version, without a gap.
    history: VecDeque<Step>,
    history_changes: usize,
}

impl InterestSet {
    /// The set behind `head`, if its entries are those that the owner signed.
    pub(crate) fn new(head: Head, wants: Vec<Want>, now: Instant) -> Result<InterestSet, Refusal> {
        let (mut hash, mut entries) = (LtHash::default(), InterestTrie::default());
        let mut bytes = 0;
        for want in wants {
            if !entries.contains(&want.filter, &want.group) {
                hash.add(&want.digest_bytes());
                bytes += want.encoded_bytes();
                entries.insert(&want.filter, want.group);
            }
        }
        // R12: the end mark counts only when the whole agrees with the signature.
        if hash.digest() != head.digest || entries.len() != head.count as usize {
            return Err(Refusal::WrongDigest);
        }
        let len = entries.len();
        Ok(InterestSet {
            entries: Some(entries),
            ..InterestSet::bare(head.detached(None), len, bytes, hash, now)
        })
    }

    /// The first version of a set of this bridge, with the head that `sign` makes for a digest and a count.
    pub(crate) fn of_owner(
        wants: &[Want],
        sign: impl FnOnce([u8; 32], usize) -> Head,
        now: Instant,
    ) -> InterestSet {
        let mut hash = LtHash::default();
        wants.iter().for_each(|want| hash.add(&want.digest_bytes()));
        InterestSet::bare(sign(hash.digest(), wants.len()), wants.len(), encoded_bytes(wants), hash, now)
    }

    fn bare(head: Head, len: usize, bytes: usize, hash: LtHash, now: Instant) -> InterestSet {
        let (lease_end, history) = (now + INTEREST_LEASE, VecDeque::new());
        InterestSet { head, entries: None, len, bytes, lease_end, hash, history, history_changes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// R41: it tells of an end only.
    fn is_end(&self) -> bool {
        self.is_empty() && self.head.audience != Audience::All
    }

    fn contains(&self, want: &Want) -> bool {
        self.entries.as_ref().is_some_and(|entries| entries.contains(&want.filter, &want.group))
    }

    /// All entries of a set of another bridge.
    pub(crate) fn wants(&self) -> Vec<Want> {
        let mut wants = Vec::with_capacity(self.len);
        if let Some(entries) = &self.entries {
            entries
                .for_each(|filter, group| wants.push(Want { filter: filter.clone(), group: group.clone() }));
        }
        wants
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.head.stamp()
    }

    /// R11: moves the set to the version of `delta`, or leaves it untouched; gives what is new and what is gone.
    ///
    /// A repeated delta may start before the version held; what is known already is left out, and digest and number decide.
    fn apply(&mut self, delta: Delta, now: Instant) -> Result<(Vec<Want>, Vec<Want>), Refusal> {
        let Delta { head, from: _, mut added, mut removed } = delta;
        for wants in [&mut added, &mut removed] {
            wants.sort_unstable();
            wants.dedup();
        }
        added.retain(|want| !self.contains(want));
        removed.retain(|want| self.contains(want));
        let hash = self.hash_after(&added, &removed);
        // R16: budgets go by the number in the head.
        let count = self.len() + added.len() - removed.len();
        if hash.digest() != head.digest || count != head.count as usize {
            return Err(Refusal::WrongDigest);
        }
        let head = head.detached(Some(&self.head));
        let step = Step::new(self.head.version, head, &added, &removed);
        self.take_step(step, (&added, &removed), hash, now);
        Ok((added, removed))
    }

    fn hash_after(&self, added: &[Want], removed: &[Want]) -> LtHash {
        let mut hash = self.hash.clone();
        added.iter().for_each(|want| hash.add(&want.digest_bytes()));
        removed.iter().for_each(|want| hash.remove(&want.digest_bytes()));
        hash
    }

    fn take_step(&mut self, step: Step, (added, removed): (&[Want], &[Want]), hash: LtHash, now: Instant) {
        self.hash = hash;
        if let Some(entries) = &mut self.entries {
            added.iter().for_each(|want| entries.insert(&want.filter, want.group.clone()));
            for want in removed {
                entries.remove(&want.filter, &want.group);
            }
        }
        self.len = self.len + added.len() - removed.len();
        self.bytes = self.bytes + encoded_bytes(added) - encoded_bytes(removed);
        self.lease_end = now + INTEREST_LEASE;
        self.head = step.head.clone();
        self.history_changes += step.changes;
        self.history.push_back(step);
        // More than half of the set is not worth remembering: then the whole is sent.
        let changes_max = HISTORY_CHANGES_MIN + self.len() / 2;
        while self.history.len() > 1
            && (self.history_changes > changes_max || self.history.len() > HISTORY_VERSIONS_MAX)
        {
            let Some(oldest) = self.history.pop_front() else { break };
            self.history_changes -= oldest.changes;
        }
    }

    /// What takes a neighbour from what it holds to the current version, as messages: steps, or everything, which `wants`
    /// gives.
    pub(crate) fn update_from(&self, have: Option<Stamp>, wants: impl FnOnce() -> Vec<Want>) -> Vec<Bytes> {
        let have = have.filter(|have| have.run == self.head.run);
        have.and_then(|have| self.deltas_from(have.version)).unwrap_or_else(|| self.snapshot(wants()))
    }

    /// Steps that follow each other are put together as long as they fit one message.
    fn deltas_from(&self, from: u64) -> Option<Vec<Bytes>> {
        let start = self.history.binary_search_by_key(&from, |step| step.from).ok()?;
        let mut deltas = Vec::new();
        let mut steps = self.history.range(start..).peekable();
        while let Some(first) = steps.next() {
            let mut together = vec![first];
            let mut bytes = first.bytes();
            while let Some(next) = steps.next_if(|next| bytes + next.bytes() <= ENTRIES_BYTES_MAX) {
                bytes += next.bytes();
                together.push(next);
            }
            deltas.push(step::merged(&together)?);
        }
        Some(deltas)
    }

    /// All of it, whose entries these are, in their order.
    fn snapshot(&self, mut wants: Vec<Want>) -> Vec<Bytes> {
        wants.sort_unstable();
        let mut pieces = pieces(wants);
        if pieces.is_empty() {
            pieces.push(Vec::new());
        }
        let parts = pieces.len();
        let chunks = pieces.into_iter().zip(0..).map(|(filters, index)| {
            let last = index as usize + 1 == parts;
            Message::Snapshot(SnapshotChunk { head: self.head.clone(), index, last, filters }).encode()
        });
        chunks.collect()
    }
}

/// Cuts entries into lists that each fit one message.
pub(crate) fn pieces(wants: impl IntoIterator<Item = Want>) -> Vec<Vec<Want>> {
    let mut pieces: Vec<Vec<Want>> = Vec::new();
    let mut room = 0;
    for want in wants {
        let bytes = want.encoded_bytes();
        if bytes > room || pieces.is_empty() {
            pieces.push(Vec::new());
            room = ENTRIES_BYTES_MAX;
        }
        room -= bytes;
        if let Some(piece) = pieces.last_mut() {
            piece.push(want);
        }
    }
    pieces
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
    pub(crate) fn take(&mut self, chunk: SnapshotChunk) -> Result<Option<Vec<Want>>, Refusal> {
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

#[cfg(test)]
mod tests;
