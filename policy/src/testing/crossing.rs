//! An event on its whole way: egress at its origin, transit at each carrier, ingress at its destination.

use std::sync::Arc;
use std::time::Duration;

use meshbridge_event::Event;

use super::case::Case;
use crate::decision::{Decision, Report, RuleRef, Stopped, Verdict};
use crate::engine::{Request, Scratch, ZoneSet};
use crate::federation::ZoneIndex;
use crate::keys::KeyRing;
use crate::link::{LinkDenials, ZoneLink};
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
#[derive(Clone, Debug, Default)]
pub struct Crossing {
    pub legs: Vec<Leg>,
    /// `None` where it did not arrive.
    pub arrived: Option<Event>,
    /// Zones that may carry the form made for the destination; `None` where egress let nothing out, or was not asked.
    pub carriers: Option<ZoneSet>,
    /// Links that it must not cross on its way there; `None` as for carriers.
    pub denied_links: Option<LinkDenials>,
    /// A carrier that the case names and that may not carry it: the event waits for another path.
    pub held_for: Option<ZoneIndex>,
    /// A link on the way of the case that a rule denies, with the rule: the event waits for another path. Where the case
    /// names no carriers, it is one without which the federation document has no way.
    pub held_at: Option<(ZoneLink, RuleRef)>,
}

impl Crossing {
    /// The verdict of the whole way, as tests name it.
    pub fn verdict(&self) -> &'static str {
        if self.arrived.is_some() {
            return "forward";
        }
        if self.held_for.is_some() || self.held_at.is_some() {
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
        if let Some((_, by)) = &self.held_at {
            return Some(by);
        }
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
    let mut crossing = Crossing::default();
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
        let (decision, passage) = {
            let asked = Request { hops, ..request(case, *context, *zone, &event, keys, &randomness) };
            let decision = program.decide(&asked, scratch);
            let passage = match &decision.verdict {
                Verdict::Forward { event: form } if *context == Context::Egress => {
                    let carriers = program.carriers(&asked, form.as_ref().unwrap_or(&event), scratch);
                    Some((carriers, program.denied_links(&asked, scratch)))
                }
                _ => None,
            };
            (decision, passage)
        };
        let edited = match &decision.verdict {
            Verdict::Forward { event } => Some(event.clone()),
            _ => None,
        };
        let from = if is_at_home(*context) { *zone } else { case.from };
        crossing.legs.push(Leg { context: *context, from, to: *zone, event: event.clone(), hops, decision });
        let Some(edited) = edited else { return crossing };
        event = edited.unwrap_or(event);
        if let Some((carriers, denials)) = passage {
            if case.at.is_empty() {
                crossing.held_for = case.via.iter().find(|zone| !carriers.contains(**zone)).copied();
                let barring = barring(program, case, &carriers, &denials);
                crossing.held_at = barring.and_then(|link| Some((link, program.denied_by(&denials, link)?)));
            }
            crossing.carriers = Some(carriers);
            crossing.denied_links = Some(denials);
        }
        if crossing.held_for.is_some() || crossing.held_at.is_some() {
            return crossing;
        }
    }
    crossing.arrived = Some(event);
    crossing
}

/// The denied link that holds the case up. A case that names its way crosses the links of it; another one takes any way
/// that the federation document has.
fn barring(program: &Program, case: &Case, carriers: &ZoneSet, denials: &LinkDenials) -> Option<ZoneLink> {
    if denials.is_empty() {
        return None;
    }
    let way = [std::slice::from_ref(&case.from), &case.via, std::slice::from_ref(&case.to)].concat();
    let crossed = way.iter().zip(&way[1..]).filter_map(|(one, other)| ZoneLink::between(*one, *other));
    let mut denied = crossed.filter(|link| denials.contains(*link));
    if !case.via.is_empty() {
        return denied.next();
    }
    let carry = |zone| carriers.contains(zone);
    let has_way =
        |cross: &dyn Fn(ZoneLink) -> bool| program.federation.has_way(case.from, case.to, carry, cross);
    if !has_way(&|_| true) || has_way(&|link| !denials.contains(link)) {
        return None;
    }
    // The direct one, or else any that would be a way by itself.
    let mut others = denials.iter().filter(|open| has_way(&|link| link == *open || !denials.contains(link)));
    denied.next().or_else(|| others.next()).or_else(|| denials.iter().next())
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
