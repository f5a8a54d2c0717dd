//! An event on its whole way: egress at its origin, transit at each carrier, ingress at its destination.

use std::sync::Arc;
use std::time::Duration;

use meshbridge_event::Event;

use super::case::Case;
use crate::decision::{Decision, Report, RuleRef, Stopped, Verdict};
use crate::engine::{Request, Scratch, ZoneSet};
use crate::federation::ZoneIndex;
use crate::keys::KeyRing;
use crate::model::Context;
use crate::program::Program;
use crate::protect::Randomness;

/// What one border said.
#[derive(Clone, Debug)]
pub struct Leg {
    pub context: Context,
    pub from: ZoneIndex,
    pub to: ZoneIndex,
    /// The event as it arrived here.
    pub event: Event,
    /// Bridges that it had crossed.
    pub hops: u8,
    pub decision: Decision,
}

impl Leg {
    /// The verdict of this border, as tests name it.
    pub fn verdict(&self) -> &'static str {
        match &self.decision.verdict {
            Verdict::Forward { .. } => "forward",
            Verdict::Hold { .. } => "hold",
            Verdict::Stop(stopped) => stopped.disposition.name(),
        }
    }

    /// The rule that makes the event wait.
    pub(crate) fn held_by(&self) -> Option<&RuleRef> {
        match &self.decision.verdict {
            Verdict::Hold { by, .. } => Some(by),
            _ => None,
        }
    }
}

/// How the whole way ended.
#[derive(Clone, Debug)]
pub struct Crossing {
    pub legs: Vec<Leg>,
    /// `None` where it did not arrive.
    pub arrived: Option<Event>,
    /// Zones that may carry the form made for the destination; `None` where egress let nothing out, or was not asked.
    pub carriers: Option<ZoneSet>,
    /// A carrier that the case names and that may not carry it: the event waits for another path.
    pub held_for: Option<ZoneIndex>,
}

impl Crossing {
    /// The verdict of the whole way, as tests name it.
    pub fn verdict(&self) -> &'static str {
        if self.arrived.is_some() {
            return "forward";
        }
        if self.held_for.is_some() {
            return "hold";
        }
        // What neither arrived nor was stopped waits.
        self.stopped().map_or("hold", |stopped| stopped.disposition.name())
    }

    pub fn stopped(&self) -> Option<&Stopped> {
        self.legs.last().and_then(|leg| leg.decision.stopped())
    }

    /// The rule that stopped the event or makes it wait.
    pub fn by(&self) -> Option<&RuleRef> {
        match self.legs.last().map(|leg| &leg.decision.verdict) {
            Some(Verdict::Stop(stopped)) => Some(&stopped.by),
            Some(Verdict::Hold { by, .. }) => Some(by),
            _ => None,
        }
    }

    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.legs.iter().filter_map(|leg| leg.decision.report.as_deref())
    }

    /// Waivers that switched a rule off somewhere on the way.
    pub fn waivers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.reports().flat_map(|report| report.waived.iter().map(|(_, waiver)| waiver))
    }

    pub fn wait(&self) -> Option<Duration> {
        match self.legs.last()?.decision.verdict {
            Verdict::Hold { wait, .. } => Some(wait),
            _ => None,
        }
    }
}

/// Judges the case everywhere it says.
pub fn cross(program: &Program, case: &Case, keys: &dyn KeyRing, scratch: &mut Scratch) -> Crossing {
    let mut crossing = Crossing { legs: Vec::new(), arrived: None, carriers: None, held_for: None };
    let randomness = Randomness::new([7; 32]);
    let stations = stations(case);
    let last = u8::try_from(case.via.len() + 1).unwrap_or(u8::MAX);
    let mut event = case.event.clone();
    for (at, (context, zone)) in stations.iter().enumerate() {
        let hops = match context {
            Context::Publish | Context::Egress => 0,
            Context::Transit => u8::try_from(at).unwrap_or(u8::MAX),
            _ => case.hops.unwrap_or(last),
        };
        let (decision, carriers) = {
            let asked = Request { hops, ..request(case, *context, *zone, &event, keys, &randomness) };
            let decision = program.decide(&asked, scratch);
            let carriers = match &decision.verdict {
                Verdict::Forward { event: form } if *context == Context::Egress => {
                    Some(program.carriers(&asked, form.as_ref().unwrap_or(&event), scratch))
                }
                _ => None,
            };
            (decision, carriers)
        };
        let edited = match &decision.verdict {
            Verdict::Forward { event } => Some(event.clone()),
            _ => None,
        };
        let from = if is_at_home(*context) { *zone } else { case.from };
        crossing.legs.push(Leg { context: *context, from, to: *zone, event: event.clone(), hops, decision });
        let Some(edited) = edited else { return crossing };
        event = edited.unwrap_or(event);
        if let Some(carriers) = carriers {
            let barred = case.via.iter().find(|zone| !carriers.contains(**zone)).copied();
            crossing.held_for = barred.filter(|_| case.at.is_empty());
            crossing.carriers = Some(carriers);
        }
        if crossing.held_for.is_some() {
            return crossing;
        }
    }
    crossing.arrived = Some(event);
    crossing
}

/// The case as the engine is asked about it at one border; the hops are for the caller to say.
pub(crate) fn request<'a>(
    case: &'a Case,
    context: Context,
    to: ZoneIndex,
    event: &'a Event,
    keys: &'a dyn KeyRing,
    randomness: &'a Randomness,
) -> Request<'a> {
    Request {
        context,
        from: if is_at_home(context) { to } else { case.from },
        to,
        topic: &case.topic,
        event,
        publisher: case
            .publisher
            .as_deref()
            .filter(|_| matches!(context, Context::Publish | Context::Egress)),
        subscriber: case
            .subscriber
            .as_deref()
            .filter(|_| matches!(context, Context::Deliver | Context::Subscribe)),
        hops: 0,
        now: case.now,
        tick: 0,
        buckets: None,
        keys,
        randomness,
        released: &[],
        trace: true,
    }
}

/// Contexts in which a zone judges for itself.
fn is_at_home(context: Context) -> bool {
    matches!(context, Context::Publish | Context::Subscribe)
}

fn stations(case: &Case) -> Vec<(Context, ZoneIndex)> {
    if !case.at.is_empty() {
        let zone = |context: &Context| match context {
            Context::Publish | Context::Subscribe => (*context, case.from),
            Context::Transit => (*context, case.via.first().copied().unwrap_or(case.to)),
            _ => (*context, case.to),
        };
        return case.at.iter().map(zone).collect();
    }
    if case.from == case.to {
        // Inside a zone nothing crosses a border.
        return vec![(Context::Publish, case.from), (Context::Deliver, case.to)];
    }
    let mut stations = vec![(Context::Egress, case.to)];
    stations.extend(case.via.iter().map(|zone| (Context::Transit, *zone)));
    stations.push((Context::Ingress, case.to));
    stations
}
