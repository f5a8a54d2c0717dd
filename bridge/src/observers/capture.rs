//! Capturing events as they are judged. The path only puts an event, which it shares, into a queue; what may be shown
//! of it is worked out, or sealed, by who writes the capture.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use meshbridge_event::Event;
use meshbridge_policy::{Context, RuleRef, ZoneIndex};
use meshbridge_topic::{Topic, TopicFilter};
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::{Place, Seen, is_asked_for};
use crate::policy_store::Generation;

/// Events that wait to be written.
pub(super) const QUEUE_MAX: usize = 256;
/// Their bytes: events are shared with the path, but here they may outlive it.
pub(super) const QUEUE_BYTES_MAX: usize = 16 << 20;

/// Which events somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct CaptureWish {
    pub(crate) topics: Vec<TopicFilter>,
}

#[derive(Debug)]
pub(super) struct Capture {
    wish: CaptureWish,
    observations: mpsc::Sender<Observation>,
    queued_bytes: Arc<AtomicUsize>,
    missed: AtomicU64,
}

/// An event as it was judged, with the decision.
#[derive(Debug)]
pub(crate) struct Observation {
    /// What judged it; `None` where other policies came into force at that moment.
    pub(crate) generation: Option<Arc<Generation>>,
    pub(crate) digest: [u8; 32],
    pub(crate) context: Context,
    pub(crate) from: ZoneIndex,
    pub(crate) to: ZoneIndex,
    pub(crate) topic: Topic,
    pub(crate) event: Event,
    pub(crate) publisher: Option<String>,
    pub(crate) hops: u8,
    pub(crate) now: OffsetDateTime,
    pub(crate) verdict: &'static str,
    pub(crate) by: Option<String>,
    pub(crate) also_by: Option<Vec<String>>,
    pub(crate) is_rate: bool,
    pub(crate) edited: Option<Event>,
    /// Rules that a person has released it from.
    pub(crate) released: Vec<Arc<str>>,
    /// Gives its bytes back to the queue.
    _room: Room,
}

#[derive(Debug)]
struct Room {
    bytes: usize,
    queued: Arc<AtomicUsize>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queued.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Capture {
    pub(super) fn new(wish: CaptureWish) -> (Capture, mpsc::Receiver<Observation>) {
        let (observations, received) = mpsc::channel(QUEUE_MAX);
        let queued_bytes = Arc::default();
        (Capture { wish, observations, queued_bytes, missed: AtomicU64::new(0) }, received)
    }

    pub(super) fn on_decision(&self, seen: &Seen<'_>) {
        let is_here = matches!(seen.context, Context::Egress | Context::Ingress);
        if !is_here || !is_asked_for(&self.wish.topics, seen.topic) {
            return;
        }
        let taken = self.room(seen).and_then(|room| {
            let place = self.observations.try_reserve().ok()?;
            place.send(observation(seen, room));
            Some(())
        });
        if taken.is_none() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn room(&self, seen: &Seen<'_>) -> Option<Room> {
        let bytes = seen.event.encoded().len() + seen.edited.map_or(0, |edited| edited.encoded().len());
        let queued = Arc::clone(&self.queued_bytes);
        let before = queued.fetch_add(bytes, Ordering::Relaxed);
        let room = Room { bytes, queued };
        // One event always fits, however large.
        (before == 0 || before + bytes <= QUEUE_BYTES_MAX).then_some(room)
    }
}

fn observation(seen: &Seen<'_>, room: Room) -> Observation {
    Observation {
        generation: seen.shared.map(Arc::clone),
        digest: seen.generation.program.digest(),
        context: seen.context,
        from: seen.from,
        to: seen.to,
        topic: seen.topic.clone(),
        event: seen.event.clone(),
        publisher: seen.publisher.map(str::to_owned),
        hops: seen.hops,
        now: OffsetDateTime::now_utc(),
        verdict: seen.verdict,
        by: seen.by.map(|rule| rule.id().to_owned()),
        also_by: seen.also_by.map(|rules| rules.iter().map(RuleRef::id).map(str::to_owned).collect()),
        is_rate: seen.is_rate,
        edited: seen.edited.cloned(),
        released: seen.released.to_vec(),
        _room: room,
    }
}

/// A capture at work.
#[derive(Debug)]
pub(crate) struct Capturing {
    place: Place<Capture>,
    observations: mpsc::Receiver<Observation>,
}

impl Capturing {
    pub(super) fn new(place: Place<Capture>, observations: mpsc::Receiver<Observation>) -> Capturing {
        Capturing { place, observations }
    }

    /// The next event. Cancel safe.
    pub(crate) async fn next(&mut self) -> Observation {
        match self.observations.recv().await {
            Some(observation) => observation,
            // The sender lives as long as the place does, which is held here.
            None => std::future::pending().await,
        }
    }

    /// An event that is there already.
    pub(crate) fn ready(&mut self) -> Option<Observation> {
        self.observations.try_recv().ok()
    }

    /// Events that found no room.
    pub(crate) fn missed(&self) -> u64 {
        self.place.who.missed.load(Ordering::Relaxed)
    }
}
