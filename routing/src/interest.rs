//! Who wants what: one versioned set of filters per bridge, written by that bridge alone.
//!
//! A version is signed over the digest of the whole set, so a delta costs what has changed and still proves all. What
//! others say is kept as they said it, and passed on in the same bytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use meshbridge_topic::{FilterTrie, TopicFilter};

use crate::lthash::LtHash;
use crate::wire::control::{InterestVersion, Signed};

/// R15: how long a filter stays after its last subscriber left, before jitter.
pub(crate) const LINGER: Duration = Duration::from_millis(100);
/// R15: how long a restored filter waits for its subscriber to come back.
pub(crate) const RESTORE_LINGER: Duration = Duration::from_secs(60);
/// R15: changes within this time make one version.
pub(crate) const COALESCE: Duration = Duration::from_millis(1);
/// Versions whose deltas are kept for neighbours that are a little behind.
const HISTORY_MAX: usize = 64;
/// Filters in the deltas kept.
const HISTORY_FILTERS_MAX: usize = 4_096;

/// The budget for announced filters is used up. The subscription is refused; interest is never summarised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this bridge already announces {filters_max} filters, unsubscribe some or raise the limit")]
pub struct InterestFull {
    pub filters_max: usize,
}

/// One step from a version to the next.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) base: u64,
    pub(crate) version: Signed<InterestVersion>,
    pub(crate) adds: Vec<TopicFilter>,
    pub(crate) removes: Vec<TopicFilter>,
}

/// A set as its owner signed it.
#[derive(Clone, Debug)]
pub(crate) struct InterestSet {
    pub(crate) version: Signed<InterestVersion>,
    pub(crate) not_after: Instant,
    pub(crate) filters: BTreeSet<TopicFilter>,
    pub(crate) trie: Arc<FilterTrie<()>>,
    hash: LtHash,
    history: VecDeque<Step>,
}

/// A change that does not give what its owner signed. Somebody on the way is broken, or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DigestMismatch;

impl InterestSet {
    /// A whole set, checked against the digest its version carries.
    pub(crate) fn from_snapshot(
        version: Signed<InterestVersion>,
        filters: BTreeSet<TopicFilter>,
        not_after: Instant,
    ) -> Result<InterestSet, DigestMismatch> {
        let mut hash = LtHash::default();
        let mut trie = FilterTrie::default();
        for filter in &filters {
            hash.add(filter.as_str().as_bytes());
            trie.insert(filter, ());
        }
        if version.statement.count as usize != filters.len() || version.statement.digest != hash.digest() {
            return Err(DigestMismatch);
        }
        let trie = Arc::new(trie);
        Ok(InterestSet { version, not_after, filters, trie, hash, history: VecDeque::new() })
    }

    /// The set after a step; unchanged where the step does not give what was signed.
    pub(crate) fn apply(&mut self, step: Step, not_after: Instant) -> Result<(), DigestMismatch> {
        let mut hash = self.hash.clone();
        let mut filters_after = self.filters.len();
        for filter in &step.removes {
            if !self.filters.contains(filter) {
                return Err(DigestMismatch);
            }
            hash.remove(filter.as_str().as_bytes());
            filters_after -= 1;
        }
        for filter in &step.adds {
            if self.filters.contains(filter) {
                return Err(DigestMismatch);
            }
            hash.add(filter.as_str().as_bytes());
            filters_after += 1;
        }
        let statement = &step.version.statement;
        if statement.count as usize != filters_after || statement.digest != hash.digest() {
            return Err(DigestMismatch);
        }
        let trie = Arc::make_mut(&mut self.trie);
        for filter in &step.removes {
            self.filters.remove(filter);
            trie.remove(filter, &());
        }
        for filter in &step.adds {
            self.filters.insert(filter.clone());
            trie.insert(filter, ());
        }
        self.hash = hash;
        self.not_after = not_after;
        self.version = step.version.clone();
        self.history.push_back(step);
        let filters_of = |step: &Step| step.adds.len() + step.removes.len();
        while self.history.len() > HISTORY_MAX
            || self.history.iter().map(filters_of).sum::<usize>() > HISTORY_FILTERS_MAX
        {
            self.history.pop_front();
        }
        Ok(())
    }

    /// The digest the set would have after a change; for its owner, who signs it.
    pub(crate) fn digest_after(&self, adds: &[TopicFilter], removes: &[TopicFilter]) -> [u8; 32] {
        let mut hash = self.hash.clone();
        adds.iter().for_each(|filter| hash.add(filter.as_str().as_bytes()));
        removes.iter().for_each(|filter| hash.remove(filter.as_str().as_bytes()));
        hash.digest()
    }

    /// The steps from version `from` of the same run to the present one, where all are still kept.
    pub(crate) fn steps_since(&self, from: u64) -> Option<impl Iterator<Item = &Step>> {
        let first = self.history.iter().position(|step| step.base == from)?;
        Some(self.history.iter().skip(first))
    }
}

pub(crate) fn empty_digest() -> [u8; 32] {
    LtHash::default().digest()
}

/// What this bridge's own subscribers want, and what of it is announced.
#[derive(Debug, Default)]
pub(crate) struct OwnInterest {
    wanted: BTreeMap<TopicFilter, Wanted>,
    /// Wanted filters with wildcards: only they can cover others.
    broad: BTreeSet<TopicFilter>,
    dirty: BTreeSet<TopicFilter>,
}

#[derive(Debug, Default)]
struct Wanted {
    subscribers: u32,
    /// Without subscribers: when it goes.
    until: Option<Instant>,
}

impl OwnInterest {
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        self.wanted.contains_key(filter)
    }

    pub(crate) fn add(&mut self, filter: &TopicFilter) {
        if !self.wanted.contains_key(filter) {
            self.insert(filter);
        }
        if let Some(wanted) = self.wanted.get_mut(filter) {
            wanted.subscribers += 1;
            wanted.until = None;
        }
    }

    /// A filter of a former run, kept until somebody wants it or its time is over.
    pub(crate) fn restore(&mut self, filter: &TopicFilter, until: Instant) {
        if !self.wanted.contains_key(filter) {
            self.insert(filter);
            self.wanted.insert(filter.clone(), Wanted { subscribers: 0, until: Some(until) });
        }
    }

    fn insert(&mut self, filter: &TopicFilter) {
        self.wanted.insert(filter.clone(), Wanted::default());
        if !filter.is_literal() {
            self.broad.insert(filter.clone());
        }
        self.dirty.insert(filter.clone());
    }

    /// One subscriber less; the last one leaves the filter lingering until `until`.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, until: Instant) {
        if let Some(wanted) = self.wanted.get_mut(filter) {
            wanted.subscribers = wanted.subscribers.saturating_sub(1);
            if wanted.subscribers == 0 {
                wanted.until = Some(until);
            }
        }
    }

    /// Drops what has lingered long enough.
    pub(crate) fn expire(&mut self, now: Instant) {
        let ended: Vec<TopicFilter> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.until.is_some_and(|until| until <= now))
            .map(|(filter, _)| filter.clone())
            .collect();
        for filter in ended {
            self.wanted.remove(&filter);
            self.broad.remove(&filter);
            self.dirty.insert(filter);
        }
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.wanted.values().filter_map(|wanted| wanted.until).min()
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What to add to and remove from `announced`, so that it has every wanted filter that no other wanted one covers.
    pub(crate) fn take_changes(
        &mut self,
        announced: &BTreeSet<TopicFilter>,
    ) -> (Vec<TopicFilter>, Vec<TopicFilter>) {
        let dirty = std::mem::take(&mut self.dirty);
        let (mut adds, mut removes) = (Vec::new(), Vec::new());
        let mut look_at = |filter: &TopicFilter| {
            let should = self.wanted.contains_key(filter) && !self.is_covered(filter);
            match (should, announced.contains(filter)) {
                (true, false) => adds.push(filter.clone()),
                (false, true) => removes.push(filter.clone()),
                _ => {}
            }
        };
        if dirty.iter().any(|filter| !filter.is_literal()) {
            // A cover came or went: any filter may be affected.
            let all: BTreeSet<&TopicFilter> =
                self.wanted.keys().chain(announced).chain(&dirty).collect();
            all.into_iter().for_each(&mut look_at);
        } else {
            dirty.iter().for_each(&mut look_at);
        }
        (adds, removes)
    }

    fn is_covered(&self, filter: &TopicFilter) -> bool {
        self.broad.iter().any(|other| {
            // Of two filters that match the same topics, the smaller text is announced.
            other != filter && other.covers(filter) && (!filter.covers(other) || other < filter)
        })
    }
}
