//! Zones that may carry an event on its way (POLICY §3, "Carriers"). A bridge on the way sees the event in clear, so a
//! carrier is judged as a recipient.

use meshbridge_event::Event;
use smallvec::SmallVec;

use super::evaluation::{Evaluation, Live};
use super::{Data, Request, Scratch};
use crate::decision::{Report, Verdict};
use crate::engine::checks::Outcome;
use crate::federation::ZoneIndex;
use crate::model::{Action, Context, Mode};
use crate::program::Program;
use crate::protect::Surveyor;

/// A set of zones of one federation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ZoneSet(SmallVec<[u64; 2]>);

impl ZoneSet {
    pub fn insert(&mut self, zone: ZoneIndex) {
        let (word, bit) = (usize::from(zone.0) / 64, zone.0 % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << bit;
    }

    pub fn contains(&self, zone: ZoneIndex) -> bool {
        self.0.get(usize::from(zone.0) / 64).is_some_and(|word| word >> (zone.0 % 64) & 1 == 1)
    }

    pub fn iter(&self) -> impl Iterator<Item = ZoneIndex> + '_ {
        (0..self.0.len() as u16 * 64).map(ZoneIndex).filter(|zone| self.contains(*zone))
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl Program {
    /// Zones beside the two ends that may carry `form`, which is what egress made of the event for `request.to`; between
    /// bridges of one zone that is the event itself.
    pub fn carriers(&self, request: &Request<'_>, form: &Event, scratch: &mut Scratch) -> ZoneSet {
        let mut carriers = ZoneSet::default();
        let others =
            self.federation.zone_indexes().filter(|zone| *zone != request.from && *zone != request.to);
        for zone in others {
            if self.may_carry(request, zone, form, scratch) {
                carriers.insert(zone);
            }
        }
        carriers
    }

    fn may_carry(&self, request: &Request<'_>, zone: ZoneIndex, form: &Event, scratch: &mut Scratch) -> bool {
        // Who is not told that the destination wants it is no carrier for it. Where no rule is about interest, who may
        // carry to another zone is told: only inside one the two may differ.
        if (self.judges_interest() || request.from == request.to)
            && !scratch.is_told(self, zone, request.to, request.topic)
        {
            return false;
        }
        let transit = Request {
            context: Context::Transit,
            to: zone,
            event: form,
            released: &[],
            trace: false,
            ..*request
        };
        match self.decide(&transit, scratch).verdict {
            Verdict::Forward { event: None } => {}
            // Also a note in `govwarn` would be an edit; transit makes none.
            _ => return false,
        }
        let towards = Request {
            context: Context::Egress,
            to: zone,
            buckets: None,
            released: &[],
            trace: false,
            ..*request
        };
        let plan = scratch.plan(self, &towards);
        if !plan.has_restrictions {
            return true;
        }
        let destined = scratch.plan(self, request);
        let Scratch { surveyor, tape, .. } = scratch;
        let reads = if plan.reads_data { &plan } else { &destined };
        let data = Data::for_plan(reads, request.event, tape);
        let destined = Evaluation::new(self, &destined, request, data);
        Evaluation::new(self, &plan, &towards, data).lets_carry(&destined, form, surveyor)
    }
}

impl<'a> Evaluation<'a> {
    /// Whether nothing that holds towards the zone forbids that it sees the event, and every protection demanded
    /// towards it is met by the form.
    fn lets_carry(&self, destined: &Evaluation<'a>, form: &Event, surveyor: &mut Surveyor) -> bool {
        let (live, _) = self.applying(&mut Report::default());
        let event = self.request.event;
        let sight = self.look(surveyor, event);
        for one in live.iter().filter(|one| one.rule.mode == Mode::Enforce) {
            let restricts =
                matches!(one.rule.action, Action::Deny | Action::Forbid(_) | Action::Residency { .. });
            if !restricts {
                continue;
            }
            let outcome = self.outcome(*one, event, sight.as_ref(), &mut SmallVec::new());
            if one.is_error || !matches!(outcome, Outcome::Passes) {
                return false;
            }
        }
        drop(sight);
        let demanded = protecting(live);
        if demanded.is_empty() {
            return true;
        }
        let sight = self.look(surveyor, form);
        if !matches!(self.protect_with(&demanded, sight.as_ref()), Ok(None)) {
            return false;
        }
        drop(sight);
        destined.covers(&demanded, surveyor)
    }

    /// Whether the demands towards this destination, which made its form, already make what these and others together
    /// make of the event. The form alone cannot tell: what a path hid in it is of no class any more.
    fn covers(&self, demanded: &[Live<'a>], surveyor: &mut Surveyor) -> bool {
        let own = protecting(self.applying(&mut Report::default()).0);
        let further = demanded.iter().filter(|one| !own.iter().any(|known| known.at == one.at));
        let both: SmallVec<[Live<'a>; 4]> = own.iter().chain(further).copied().collect();
        if both.len() == own.len() {
            return true;
        }
        let sight = self.look_for(&both, surveyor);
        match (self.protect_with(&own, Some(&sight)), self.protect_with(&both, Some(&sight))) {
            // Whoever made it.
            (Ok(own), Ok(both)) => own.map(|made| made.event) == both.map(|made| made.event),
            _ => false,
        }
    }
}

fn protecting<'a>(live: impl IntoIterator<Item = Live<'a>>) -> SmallVec<[Live<'a>; 4]> {
    let protects =
        |one: &Live<'_>| one.rule.mode == Mode::Enforce && matches!(one.rule.action, Action::Protect(_));
    live.into_iter().filter(protects).collect()
}
