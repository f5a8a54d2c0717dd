//! Who looks on while events are judged: watchers get verdicts, captures get events.
//!
//! ```text
//!  pipeline ── are_none ──► one load of an atomic; nobody looks on: that was all
//!           ── on_decision ─┬─► each watcher: counts, then a line into its queue      ─► the answer of an admin request
//!                          └─► each capture: the event itself into its queue         ─► written there, off the path
//! ```
//!
//! Nobody who looks on holds an event up. A queue that is full takes nothing more; what it missed is counted, and told
//! with what comes next. How many may look on at once is bounded, for each costs the path a little.

mod capture;
mod watch;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshbridge_event::Event;
use meshbridge_policy::{Context, Report, RuleRef, ZoneIndex};
use meshbridge_topic::{Topic, TopicFilter};

use crate::policy_store::Generation;

pub(crate) use capture::{CaptureWish, Capturing, Observation};
pub(crate) use watch::{WatchWish, Watching};

/// Watchers at once.
pub(crate) const WATCHERS_MAX: usize = 8;
/// Captures at once: each keeps events in memory until they are written.
pub(crate) const CAPTURES_MAX: usize = 2;
/// Filters of one who looks on.
pub(crate) const FILTERS_MAX: usize = 16;

/// All who look on at this bridge.
#[derive(Debug, Default)]
pub(crate) struct Observers {
    /// How many there are. Read for each decision; nothing else is while it is zero.
    count: AtomicUsize,
    watchers: Mutex<Vec<Arc<watch::Watcher>>>,
    captures: Mutex<Vec<Arc<capture::Capture>>>,
}

/// There are as many of the kind as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{most} of them are at work already, and more there may not be")]
pub(crate) struct TooMany {
    most: usize,
}

/// A decision, for those who look on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) generation: &'a Generation,
    /// The same, to be kept; `None` where others came into force at that moment.
    pub(crate) shared: Option<&'a Arc<Generation>>,
    pub(crate) context: Context,
    pub(crate) from: ZoneIndex,
    pub(crate) to: ZoneIndex,
    pub(crate) topic: &'a Topic,
    pub(crate) event: &'a Event,
    pub(crate) publisher: Option<&'a str>,
    pub(crate) hops: u8,
    /// `forward`, `hold`, or the disposition.
    pub(crate) verdict: &'static str,
    pub(crate) by: Option<&'a RuleRef>,
    /// The other rules that stopped it; `None` where they were not told.
    pub(crate) also_by: Option<&'a [RuleRef]>,
    /// A rate had a part in the verdict: another time it may be another.
    pub(crate) is_rate: bool,
    /// The event as it goes on, where a rule edited it.
    pub(crate) edited: Option<&'a Event>,
    /// Ids of rules that a person has released it from.
    pub(crate) released: &'a [Arc<str>],
    pub(crate) report: Option<&'a Report>,
    /// The verdict is that of another destination of the same class, which was told before.
    pub(crate) is_alike: bool,
}

impl Observers {
    /// Whether nobody looks on; asked before anything is made for them.
    pub(crate) fn are_none(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Tells a decision to all who look on.
    pub(crate) fn on_decision(&self, seen: &Seen<'_>) {
        if !seen.is_alike {
            lock(&self.watchers).iter().for_each(|watcher| watcher.on_decision(seen));
        }
        lock(&self.captures).iter().for_each(|capture| capture.on_decision(seen));
    }

    /// Begins to watch; it ends when the result is dropped.
    pub(crate) fn watch(self: &Arc<Self>, wish: WatchWish) -> Result<Watching, TooMany> {
        let (watcher, lines) = watch::Watcher::new(wish);
        let place = Place::take(self, &self.watchers, WATCHERS_MAX, watcher, |all| &all.watchers)?;
        Ok(Watching::new(place, lines))
    }

    /// Begins to capture; it ends when the result is dropped.
    pub(crate) fn capture(self: &Arc<Self>, wish: CaptureWish) -> Result<Capturing, TooMany> {
        let (capture, observations) = capture::Capture::new(wish);
        let place = Place::take(self, &self.captures, CAPTURES_MAX, capture, |all| &all.captures)?;
        Ok(Capturing::new(place, observations))
    }
}

type ListOf<T> = fn(&Observers) -> &Mutex<Vec<Arc<T>>>;

/// A place among those who look on, free again when this is dropped.
#[derive(Debug)]
struct Place<T> {
    observers: Arc<Observers>,
    list: ListOf<T>,
    who: Arc<T>,
}

impl<T> Place<T> {
    fn take(
        observers: &Arc<Observers>,
        list: &Mutex<Vec<Arc<T>>>,
        most: usize,
        who: T,
        list_of: ListOf<T>,
    ) -> Result<Place<T>, TooMany> {
        let who = Arc::new(who);
        let mut list = lock(list);
        if list.len() == most {
            return Err(TooMany { most });
        }
        list.push(Arc::clone(&who));
        observers.count.fetch_add(1, Ordering::Relaxed);
        Ok(Place { observers: Arc::clone(observers), list: list_of, who })
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        lock((self.list)(&self.observers)).retain(|one| !Arc::ptr_eq(one, &self.who));
        self.observers.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Locks whose holder panicked keep their data: each critical section leaves it whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No filter at all stands for every topic.
fn is_asked_for(filters: &[TopicFilter], topic: &Topic) -> bool {
    filters.is_empty() || filters.iter().any(|filter| filter.matches(topic))
}

#[cfg(test)]
mod tests;
