//! What the engine lets each zone see of an event, border by border.

use meshbridge_event::Event;
use meshbridge_topic::Topic;
use time::OffsetDateTime;

use super::{Held, ZONES};
use crate::federation::ZoneIndex;
use crate::model::Context;
use crate::prove::zones::zone;
use crate::testing::TestKeys;
use crate::{Program, Randomness, Request, Scratch, Verdict};

/// An event that is judged at one border.
struct Crossing<'r> {
    context: Context,
    from: usize,
    to: usize,
    topic: &'r Topic,
    event: &'r Event,
}

impl<'r> Crossing<'r> {
    fn request(self, ring: &'r Held<'_>, randomness: &'r Randomness) -> Request<'r> {
        Request {
            context: self.context,
            from: zone(self.from),
            to: zone(self.to),
            topic: self.topic,
            event: self.event,
            publisher: None,
            subscriber: None,
            hops: 0,
            now: OffsetDateTime::UNIX_EPOCH,
            tick: 0,
            buckets: None,
            keys: ring,
            randomness,
            released: &[],
            trace: false,
        }
    }
}

/// Who sees which bytes of an event that a zone publishes.
pub(super) struct Runs<'a> {
    pub(super) program: &'a Program,
    pub(super) keys: &'a TestKeys,
    pub(super) scratch: Scratch,
}

pub(super) struct Sight {
    pub(super) zone: usize,
    pub(super) event: Event,
    pub(super) delivered: bool,
}

impl Runs<'_> {
    /// What the zone `at` makes of it, if it lets it pass.
    fn decide(&mut self, at: usize, crossing: Crossing<'_>) -> Option<Event> {
        let ring = Held { program: self.program, all: self.keys, zone: at };
        let randomness = Randomness::new([7; 32]);
        let event = crossing.event;
        let request = crossing.request(&ring, &randomness);
        match self.program.decide(&request, &mut self.scratch).verdict {
            Verdict::Forward { event: edited } => Some(edited.unwrap_or_else(|| event.clone())),
            Verdict::Hold { .. } | Verdict::Stop(_) => None,
        }
    }

    /// What carriers see of a form on its way; inside a zone that is the event itself.
    fn carried(&mut self, from: usize, to: usize, topic: &Topic, event: &Event, form: &Event) -> Vec<Sight> {
        let ring = Held { program: self.program, all: self.keys, zone: from };
        let randomness = Randomness::new([7; 32]);
        let context = Context::Egress;
        let request = Crossing { context, from, to, topic, event }.request(&ring, &randomness);
        let carriers = self.program.carriers(&request, form, &mut self.scratch);
        let sight = |carrier: ZoneIndex| Sight {
            zone: usize::from(carrier.0),
            event: form.clone(),
            delivered: false,
        };
        carriers.iter().map(sight).collect()
    }

    pub(super) fn publish(&mut self, from: usize, topic: &Topic, event: &Event) -> Vec<Sight> {
        let mut sights = self.carried(from, from, topic, event, event);
        for to in (0..ZONES.len()).filter(|to| *to != from) {
            let Some(form) = self.decide(from, Crossing { context: Context::Egress, from, to, topic, event })
            else {
                continue;
            };
            sights.extend(self.carried(from, to, topic, event, &form));
            let ingress =
                self.decide(to, Crossing { context: Context::Ingress, from, to, topic, event: &form });
            sights.push(Sight { zone: to, event: form, delivered: false });
            let Some(arrived) = ingress else { continue };
            if let Some(event) =
                self.decide(to, Crossing { context: Context::Deliver, from, to, topic, event: &arrived })
            {
                sights.push(Sight { zone: to, event, delivered: true });
            }
        }
        sights
    }
}
