//! What a client publishes, before anything of it is stored (POLICY §3, `publish`).
//!
//! A rejected event refuses its whole batch, for a batch is taken whole or not at all; what an earlier event of it took
//! out of a rate is given back. An event with another disposition is kept back: it has a key, and is for nobody but this
//! bridge. What may not be stored as it is, and cannot be edited either, is answered for and not kept.

use std::time::Duration;

use meshbridge_event::Event;
use meshbridge_policy::{Buckets, Context, Debited};
use meshbridge_routing::{EventKey, Forwarding, lane_of};

use super::admission::partition;
use super::judge::{Asked, Cause, Refusal, Verdict};
use super::plan::Planned;
use super::{Accepted, Denied, Inner, Principal, Publication, PublishRefused, lock};
use crate::metrics::DropReason;
use crate::policy_store::Generation;

/// A rule of this zone refuses an event; nothing of its batch was taken.
#[derive(Clone, Debug, thiserror::Error)]
#[error("rule `{by}` refuses this{}", message.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
pub(crate) struct Rejection {
    /// The rule, `<policy>/<rule>` or `default-deny@<layer>`.
    pub(crate) by: String,
    pub(crate) message: Option<String>,
    pub(crate) help: Option<String>,
    pub(crate) reason: RejectReason,
    /// Which event of the batch, counted from 0.
    pub(crate) index: usize,
}

/// What a publisher can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RejectReason {
    /// Nothing.
    Forbidden,
    /// Publish an event that looks as the rule wants it.
    Form,
    /// Publish a smaller one.
    TooLarge,
    /// Publish it again after this time.
    TooMany(Duration),
}

/// An event that goes no further, with its place in the batch as it was published.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Kept here as it may be.
    Kept(usize, Box<Planned>),
    /// Answered for, and not kept.
    Answered(usize, Box<(Publication, Refusal)>),
}

/// What the events of a batch took from rates, which is given back unless the batch is taken.
#[derive(Debug)]
pub(super) struct Counted<'a> {
    buckets: &'a Buckets,
    debited: Vec<Debited>,
}

impl<'a> Counted<'a> {
    pub(super) fn new(buckets: &'a Buckets) -> Counted<'a> {
        Counted { buckets, debited: Vec::new() }
    }

    /// The batch is taken.
    pub(super) fn keep(mut self) {
        self.debited.clear();
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.debited.iter().for_each(|debited| self.buckets.give_back(debited));
    }
}

impl Rejection {
    fn of(refusal: Refusal, index: usize) -> Rejection {
        let reason = match refusal.cause {
            Cause::Forbidden => RejectReason::Forbidden,
            Cause::Form => RejectReason::Form,
            Cause::Size => RejectReason::TooLarge,
            Cause::Rate(wait) => RejectReason::TooMany(wait),
        };
        let help = refusal.help.map(|help| help.to_string());
        Rejection { by: refusal.by, message: refusal.message, help, reason, index }
    }
}

impl Inner {
    /// Judges a batch: edits what rules edit, and takes out what goes no further. Rates are debited on condition.
    pub(super) fn judge_publications(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        principal: &Principal,
        batch: &mut Vec<Publication>,
        counted: &mut Counted<'_>,
    ) -> Result<Vec<Stopped>, PublishRefused> {
        let own = self.parts.own_zone_index;
        let mut stopped = Vec::new();
        for (index, publication) in batch.iter_mut().enumerate() {
            let Publication { topic, event } = &*publication;
            if self.passes(generation, Context::Publish, own, topic) {
                continue;
            }
            let asked = Asked {
                context: Context::Publish,
                from: own,
                to: own,
                topic,
                event,
                publisher: Some(&principal.0),
                subscriber: None,
                hops: 0,
            };
            let (verdict, _, debited) = self.judge_whole(generation, &asked, &[]);
            counted.debited.push(debited);
            match verdict {
                Verdict::Pass(None) => {}
                Verdict::Pass(Some(edited)) => publication.event = edited,
                Verdict::Wait(held) => {
                    let reason = RejectReason::TooMany(held.after);
                    let rejection = Rejection { by: held.by, message: None, help: None, reason, index };
                    return Err(PublishRefused::Rejected(Box::new(rejection)));
                }
                Verdict::Stop(refusal) if refusal.keeps() => {
                    let form = self.with_request(&asked, |request, scratch| {
                        generation.program.kept_form(request, scratch)
                    });
                    stopped.push((index, refusal, form));
                }
                Verdict::Stop(refusal) => {
                    return Err(PublishRefused::Rejected(Box::new(Rejection::of(refusal, index))));
                }
            }
        }
        // From the end, so that the places of the others hold.
        let take_out = |(index, refusal, form): (usize, Refusal, Option<Event>)| {
            let publication = batch.remove(index);
            match form {
                Some(event) => {
                    let here = (forwarding.own(), &self.parts.own);
                    let kept = Publication { topic: publication.topic, event };
                    Stopped::Kept(index, Box::new(Planned::kept_back(kept, here, refusal)))
                }
                None => Stopped::Answered(index, Box::new((publication, refusal))),
            }
        };
        let mut stopped: Vec<Stopped> = stopped.into_iter().rev().map(take_out).collect();
        stopped.reverse();
        Ok(stopped)
    }

    /// Answers for what goes no further and is not kept. It has a number and a letter from here on, whoever waits for the
    /// answer. With its place among the others.
    pub(super) fn answer_for(
        &self,
        index: usize,
        Publication { topic, event }: Publication,
        refusal: Refusal,
    ) -> (usize, Accepted) {
        let lane = lane_of(topic.as_str(), partition(&event));
        let seq = lock(&self.sequencer).next(lane);
        let (origin, run) = (self.parts.own.clone(), self.parts.best_effort_run);
        let key = EventKey { origin, run, lane, seq };
        self.parts.metrics.on_dropped(DropReason::Denied, 1);
        self.keep_letter(Context::Publish, &key, &topic, &event, self.parts.own.as_str(), &refusal);
        let denied = Denied {
            destination: self.parts.own.clone(),
            by: refusal.by,
            disposition: refusal.disposition.to_owned(),
        };
        (index, Accepted::new(key, Vec::new(), vec![denied]))
    }
}
