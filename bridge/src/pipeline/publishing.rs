//! Publishing in two steps: a batch is taken, which gives its events their place in the order at once, and then comes as
//! far as its publisher wishes.

use std::sync::atomic::Ordering;

use meshbridge_spool::fail_point;

use super::admission::{Admission, RETRY_AFTER};
use super::intake::{Counted, Stopped};
use super::waiters::AckLevel;
use super::{Accepted, Pipeline, Principal, Publication, PublishRefused, Reached, Wish};
use crate::metrics::DropReason;

/// A batch that was taken: its events have their numbers, and are on their way to the disk.
#[derive(Debug)]
#[must_use = "nobody has been answered yet"]
pub(crate) struct Taken {
    pipeline: Pipeline,
    admission: Admission,
    /// What goes no further and is not kept, by its place in the batch as it was published.
    unkept: Vec<(usize, Accepted)>,
    wish: Wish,
}

impl Pipeline {
    /// Takes a batch whole or refuses it whole. When this returns `Ok`, every event has its number and has reached the
    /// level that was wished for, or the answer says how far it came, or that a rule of this zone keeps it back.
    pub(crate) async fn publish(
        &self,
        principal: &Principal,
        batch: Vec<Publication>,
        wish: Wish,
    ) -> Result<Vec<Accepted>, PublishRefused> {
        self.take(principal, batch, wish)?.reached().await
    }

    /// Takes a batch whole or refuses it whole; never waits. Batches have the order in which they were taken.
    pub(crate) fn take(
        &self,
        principal: &Principal,
        mut batch: Vec<Publication>,
        wish: Wish,
    ) -> Result<Taken, PublishRefused> {
        let inner = &self.inner;
        if inner.draining.load(Ordering::Relaxed) {
            return Err(PublishRefused::Draining);
        }
        if !inner.parts.audit.admits() {
            return Err(PublishRefused::Full { retry_after: RETRY_AFTER });
        }
        let generation = self.generation();
        let forwarding = inner.parts.forwarding.load();
        inner.check_room_for(&generation, &forwarding, &batch)?;
        let mut counted = Counted::new(&inner.buckets);
        let stopped =
            inner.judge_publications(&generation, &forwarding, principal, &mut batch, &mut counted)?;
        let mut planned = inner.plan(&generation, &forwarding, principal, batch);
        let mut unkept = Vec::new();
        for stopped in stopped {
            match stopped {
                // In order, and by their places among all.
                Stopped::Kept(index, kept) => planned.insert(index - unkept.len(), *kept),
                Stopped::Answered(index, stopped) => {
                    let (publication, refusal) = *stopped;
                    unkept.push((index, publication, refusal));
                }
            }
        }
        let admission = if planned.is_empty() {
            Admission::default()
        } else {
            fail_point!("origin.before-append");
            let admission = inner.admit(principal, &generation, &forwarding, planned, wish.level)?;
            fail_point!("origin.after-append");
            admission
        };
        counted.keep();
        let answer = |(index, publication, refusal)| inner.answer_for(index, publication, refusal);
        let unkept = unkept.into_iter().map(answer).collect();
        Ok(Taken { pipeline: self.clone(), admission, unkept, wish })
    }

    /// Events of class best-effort that a publisher gave up on, for there was no room all the time it was held back.
    pub(crate) fn on_given_up(&self, events: u64) {
        self.inner.parts.metrics.on_dropped(DropReason::QueueFull, events);
    }
}

impl Taken {
    /// Waits until every event has reached the level that was wished for, or the time for it is over.
    pub(crate) async fn reached(self) -> Result<Vec<Accepted>, PublishRefused> {
        let Taken { pipeline, admission: Admission { mut accepted, ticket, waiters }, unkept, wish } = self;
        let inner = &pipeline.inner;
        if wish.level != AckLevel::None && !accepted.is_empty() {
            if !inner.durable.committed(ticket).await {
                return Err(PublishRefused::Draining);
            }
            fail_point!("origin.before-answer");
        }
        let deadline = tokio::time::Instant::now() + wish.patience;
        for (at, waiter) in waiters {
            let _ = tokio::time::timeout_at(deadline, waiter.reached(wish.level)).await;
            let progress = waiter.progress();
            let levels = [AckLevel::Delivered, AckLevel::Replicated];
            let level = levels.into_iter().find(|level| progress.reached(*level)).unwrap_or(AckLevel::Stored);
            if let Some(accepted) = accepted.get_mut(at) {
                let missing = progress.missing(wish.level);
                accepted.reached =
                    Some(Reached { level, missing, outcomes: progress.ended.into_iter().collect() });
            }
        }
        for (index, answer) in unkept {
            accepted.insert(index.min(accepted.len()), answer);
        }
        Ok(accepted)
    }
}
