//! What subscribers may ask for, and what each of them gets (POLICY §3, `subscribe` and `deliver`).
//!
//! A filter is refused only where nothing of it could be delivered, so a wide one may take in topics that a narrow one
//! would be refused for. Before an event is handed out, the rules of both contexts are therefore asked about its topic.

use std::sync::Arc;

use meshbridge_event::Event;
use meshbridge_policy::{Context, ZoneIndex, shown};
use meshbridge_routing::EventKey;
use meshbridge_topic::{Topic, TopicFilter};
use smallvec::SmallVec;
use tracing::info;

use super::judge::{Asked, REJECT, Refusal, Verdict, passes};
use super::replies::is_reply;
use super::subscriptions::Delivery;
use super::{Inner, Principal};
use crate::metrics::DropReason;
use crate::policy_store::Generation;

/// No topic of a filter could ever be delivered to the subscriber.
#[derive(Clone, Debug, thiserror::Error)]
#[error("rule `{by}` keeps everything of filter `{filter}` from you")]
pub(crate) struct FilterDenied {
    pub(crate) filter: String,
    /// The rule, `<policy>/<rule>` or `default-deny@<layer>`.
    pub(crate) by: String,
}

/// Where an event is judged for a subscriber.
const CONTEXTS: [Context; 2] = [Context::Subscribe, Context::Deliver];

impl Inner {
    /// Refuses a filter of which nothing could be delivered. What is not refused is judged event by event.
    pub(super) fn may_ask_for(
        &self,
        principal: &Principal,
        filters: &[TopicFilter],
    ) -> Result<(), Box<FilterDenied>> {
        let generation = self.parts.policies.active();
        let (program, own, context) =
            (&generation.program, self.parts.own_zone_index, Context::Subscribe.name());
        for filter in filters {
            let Some(by) = program.never_delivers(own, filter, &principal.0) else { continue };
            self.record_filter(&generation, filter.as_str(), &by, &principal.0);
            self.parts.metrics.on_verdict(context, by.layer(), by.id(), REJECT);
            info!(context, rule = %by, principal = %shown(&principal.0), "Policy refused a subscription");
            return Err(Box::new(FilterDenied {
                filter: filter.as_str().to_owned(),
                by: by.id().to_owned(),
            }));
        }
        Ok(())
    }

    /// To the subscriptions without memory, as far as their principals may have it; gives how many have it now.
    pub(super) fn hand_out(&self, delivery: &Arc<Delivery>) -> u32 {
        if is_reply(&delivery.topic) {
            return self.hand_out_reply(delivery);
        }
        let generation = self.parts.policies.active();
        let from = self.zone_of(&generation, &delivery.key);
        let is_open = from.is_some_and(|from| self.is_open(&generation, from, &delivery.topic));
        let offered = if is_open {
            self.subscriptions.deliver(delivery)
        } else {
            // Many subscriptions may be of one principal, which is judged once.
            let mut forms: SmallVec<[(Principal, Option<Arc<Delivery>>); 4]> = SmallVec::new();
            self.subscriptions.deliver_forms(&delivery.topic, |principal| {
                if let Some((_, form)) = forms.iter().find(|(known, _)| known == principal) {
                    return form.clone();
                }
                let form = self.form_of(&generation, from, delivery, principal);
                forms.push((principal.clone(), form.clone()));
                form
            })
        };
        let metrics = &self.parts.metrics;
        metrics.on_delivered(u64::from(offered.delivered));
        metrics.on_dropped(DropReason::SlowSubscriber, u64::from(offered.overflowed));
        metrics.on_dropped(DropReason::Withheld, u64::from(offered.withheld));
        offered.delivered
    }

    /// To who waits for it at the place that its topic seals. What a client asked for, no rule keeps from it here.
    fn hand_out_reply(&self, delivery: &Delivery) -> u32 {
        let place = self.replies.open(&delivery.topic).and_then(|place| Topic::parse(&place).ok());
        let Some(topic) = place else { return 0 };
        let (key, event) = (delivery.key.clone(), delivery.event.clone());
        let offered =
            self.subscriptions.deliver(&Arc::new(Delivery { body: delivery.body, key, topic, event }));
        self.parts.metrics.on_delivered(u64::from(offered.delivered));
        self.parts.metrics.on_dropped(DropReason::SlowSubscriber, u64::from(offered.overflowed));
        offered.delivered
    }

    fn form_of(
        &self,
        generation: &Generation,
        from: Option<ZoneIndex>,
        delivery: &Arc<Delivery>,
        principal: &Principal,
    ) -> Option<Arc<Delivery>> {
        let Delivery { body, key, topic, event } = &**delivery;
        match self.judge_reception(generation, from, topic, event, &principal.0) {
            Verdict::Pass(None) => Some(Arc::clone(delivery)),
            Verdict::Pass(Some(event)) => {
                Some(Arc::new(Delivery { body: *body, key: key.clone(), topic: topic.clone(), event }))
            }
            // Without memory there is nowhere to wait.
            Verdict::Wait(_) => None,
            Verdict::Stop(refusal) => {
                self.keep_letter(Context::Deliver, key, topic, event, self.parts.own.as_str(), &refusal);
                None
            }
        }
    }

    /// The event as a subscription with memory may give it to its owner.
    pub(super) fn judge_for(&self, key: &EventKey, topic: &Topic, event: &Event, owner: &str) -> Verdict {
        let generation = self.parts.policies.active();
        let from = self.zone_of(&generation, key);
        if from.is_some_and(|from| self.is_open(&generation, from, topic)) {
            return Verdict::Pass(None);
        }
        let verdict = self.judge_reception(&generation, from, topic, event, owner);
        if let Verdict::Stop(refusal) = &verdict {
            self.parts.metrics.on_dropped(DropReason::Withheld, 1);
            self.keep_letter(Context::Deliver, key, topic, event, self.parts.own.as_str(), refusal);
        }
        verdict
    }

    /// Whether everybody here may have events of the topic as they are.
    pub(super) fn is_open(&self, generation: &Generation, from: ZoneIndex, topic: &Topic) -> bool {
        let own = self.parts.own_zone_index;
        passes(&generation.program, Context::Subscribe, own, own, topic)
            && self.passes(generation, Context::Deliver, from, topic)
    }

    fn judge_reception(
        &self,
        generation: &Generation,
        from: Option<ZoneIndex>,
        topic: &Topic,
        event: &Event,
        subscriber: &str,
    ) -> Verdict {
        let Some(from) = from else { return Verdict::Stop(Refusal::unknown_zone()) };
        let to = self.parts.own_zone_index;
        let mut edited: Option<Event> = None;
        for context in CONTEXTS {
            let from = if context == Context::Deliver { from } else { to };
            if passes(&generation.program, context, from, to, topic) {
                continue;
            }
            let event = edited.as_ref().unwrap_or(event);
            let (publisher, subscriber) = (None, Some(subscriber));
            let asked = Asked { context, from, to, topic, event, publisher, subscriber, hops: 0 };
            match self.judge(generation, &asked) {
                Verdict::Pass(None) => {}
                Verdict::Pass(Some(event)) => edited = Some(event),
                stopped => return stopped,
            }
        }
        Verdict::Pass(edited)
    }

    /// The zone of the bridge at which an event was published; `None` where nobody knows it any more.
    fn zone_of(&self, generation: &Generation, key: &EventKey) -> Option<ZoneIndex> {
        if key.origin == self.parts.own {
            return Some(self.parts.own_zone_index);
        }
        let forwarding = self.parts.forwarding.load();
        let (_, zone) = forwarding.bridge(forwarding.index_of(&key.origin)?);
        generation.program.zone(zone.as_str())
    }
}
