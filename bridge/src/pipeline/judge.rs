//! Asking the policies in force, counting and logging what they say.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use meshbridge_delivery::{GroupEnd, Outcome};
use meshbridge_event::{Event, EventTrain};
use meshbridge_policy::{
    ClassId, Concern, Context, Debited, Decision, Disposition, Editors, LinkDenials, Program, Randomness,
    Request, RuleRef, Scratch, Stopped, Verdict as Said, ZoneIndex,
};
use meshbridge_routing::{CarrierSet, DeniedLinks, Passage, ZoneName};
use meshbridge_topic::Topic;
use tracing::info;

use super::Inner;
use super::stored::Stored;
use crate::policy_store::Generation;

thread_local! {
    /// What this worker remembers of the policies in force.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
    /// Denied links as routing names them, by the policies that deny them.
    static DENIED: RefCell<Vec<([u8; 32], LinkDenials, DeniedLinks)>> = const { RefCell::new(Vec::new()) };
}

/// Sets of denied links that a worker remembers; beyond it the memory starts anew.
const DENIED_MAX: usize = 64;

/// The links by the names of their zones, made once for each set.
fn named(program: &Program, denials: LinkDenials) -> DeniedLinks {
    let digest = program.digest();
    DENIED.with_borrow_mut(|all| {
        if let Some((.., known)) = all.iter().find(|(of, links, _)| *of == digest && *links == denials) {
            return known.clone();
        }
        let zone = |index| ZoneName::parse(program.federation().zone_name(index)).ok();
        let pairs = denials.iter().filter_map(|link| {
            let [one, other] = link.ends();
            Some((zone(one)?, zone(other)?))
        });
        let denied = DeniedLinks::between(pairs);
        if all.len() >= DENIED_MAX {
            all.clear();
        }
        all.push((digest, denials, denied.clone()));
        denied
    })
}

/// An event, and where it is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) context: Context,
    pub(super) from: ZoneIndex,
    pub(super) to: ZoneIndex,
    pub(super) topic: &'a Topic,
    pub(super) event: &'a Event,
    /// The authenticated principal that published it, where that is still known.
    pub(super) publisher: Option<&'a str>,
    /// Who is to get it, or asks for it.
    pub(super) subscriber: Option<&'a str>,
    /// Links that it has crossed.
    pub(super) hops: u8,
}

/// A decision in the terms of the pipeline.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// May pass; with the edited event where a rule changed something.
    Pass(Option<Event>),
    /// A rate has no room yet: to be asked again after this long.
    Wait(Held),
    Stop(Refusal),
}

/// Which rate has no room, and until when.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) after: Duration,
    pub(super) by: String,
}

/// Which rule stopped an event, and what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub(super) by: String,
    /// The rule itself, where a document says it.
    pub(super) rule: Option<(RuleRef, Disposition)>,
    pub(super) layer: String,
    pub(super) disposition: &'static str,
    pub(super) message: Option<String>,
    pub(super) help: Option<Arc<str>>,
    /// What somebody who can change the event would do about it.
    pub(super) cause: Cause,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It may not be.
    Forbidden,
    /// It does not look as it should.
    Form,
    Size,
    /// There were too many; with the time after which there may be room.
    Rate(Duration),
}

/// The disposition that keeps no copy; under every other one its origin keeps the event.
pub(super) const REJECT: &str = "reject";
/// The one that leaves it to a person.
const QUARANTINE: &str = "quarantine";

impl Refusal {
    /// A zone that the federation document does not have: nothing is known of it, so nothing goes there.
    pub(super) fn unknown_zone() -> Refusal {
        Refusal::by_federation("default-deny@federation")
    }

    /// What no document has to say: the bridge refuses for the federation.
    pub(super) fn by_federation(by: &str) -> Refusal {
        Refusal {
            by: by.to_owned(),
            rule: None,
            layer: "federation".to_owned(),
            disposition: REJECT,
            message: None,
            help: None,
            cause: Cause::Forbidden,
        }
    }

    /// Whether its origin keeps the event.
    pub(super) fn keeps(&self) -> bool {
        self.disposition != REJECT
    }

    /// Whether its origin holds the event until a person decides. Only what a document says can be released.
    pub(super) fn holds(&self) -> bool {
        self.disposition == QUARANTINE && self.rule.is_some()
    }

    /// How the pair of the event and its destination ends.
    pub(super) fn outcome(&self) -> Outcome {
        let by = self.by.clone().into();
        if self.keeps() { Outcome::DeadLettered(by) } else { Outcome::Denied(by) }
    }

    /// The same where this bridge is the destination: what is kept is kept by the origin, not here.
    pub(super) fn outcome_on_arrival(&self) -> Outcome {
        let by = self.by.clone().into();
        if self.keeps() { Outcome::Kept(by) } else { Outcome::Denied(by) }
    }

    /// How a subscription with memory ends the event.
    pub(super) fn group_end(&self) -> GroupEnd {
        let by = self.by.clone().into();
        if self.keeps() { GroupEnd::DeadLettered(by) } else { GroupEnd::Denied(by) }
    }
}

/// Destinations of one class get the same verdict and bytes for an event of the topic.
pub(super) fn class(
    program: &Program,
    context: Context,
    from: ZoneIndex,
    to: ZoneIndex,
    topic: &Topic,
) -> ClassId {
    SCRATCH.with_borrow_mut(|scratch| program.class(context, from, to, topic, scratch))
}

/// Whether no rule has anything to ask of events of the topic, whoever sends or gets them.
pub(super) fn passes(
    program: &Program,
    context: Context,
    from: ZoneIndex,
    to: ZoneIndex,
    topic: &Topic,
) -> bool {
    SCRATCH.with_borrow_mut(|scratch| program.passes(context, from, to, topic, scratch))
}

/// Whether one verdict is that of all events of the topic which differ in `id` and data only.
pub(super) fn judges_alike(
    program: &Program,
    context: Context,
    from: ZoneIndex,
    to: ZoneIndex,
    topic: &Topic,
) -> bool {
    SCRATCH.with_borrow_mut(|scratch| program.judges_alike(context, from, to, topic, scratch))
}

/// Whether some rule counts events of the topic.
pub(super) fn counts(
    program: &Program,
    context: Context,
    from: ZoneIndex,
    to: ZoneIndex,
    topic: &Topic,
) -> bool {
    SCRATCH.with_borrow_mut(|scratch| program.counts(context, from, to, topic, scratch))
}

/// Whether such events have the same carriers.
pub(super) fn carries_alike(program: &Program, from: ZoneIndex, to: ZoneIndex, topic: &Topic) -> bool {
    SCRATCH.with_borrow_mut(|scratch| program.carries_alike(from, to, topic, scratch))
}

/// Whether such events must not cross the same links.
pub(super) fn links_alike(
    program: &Program,
    context: Context,
    from: ZoneIndex,
    to: ZoneIndex,
    topic: &Topic,
) -> bool {
    SCRATCH.with_borrow_mut(|scratch| program.links_alike(context, from, to, topic, scratch))
}

fn cause(program: &Program, stopped: &Stopped) -> Cause {
    let concern = |rule| program.concern(rule);
    match (concern(&stopped.by), stopped.retry_after) {
        (Concern::Limit, _) if stopped.is_too_large => Cause::Size,
        // Waiting helps where nothing else stands in the way.
        (Concern::Limit, Some(wait))
            if stopped.also_by.iter().all(|rule| concern(rule) == Concern::Limit) =>
        {
            Cause::Rate(wait)
        }
        (Concern::Form, _) => Cause::Form,
        (Concern::Limit | Concern::Other, _) => Cause::Forbidden,
    }
}

impl Inner {
    /// Whether events of the topic pass as they are in a context inside this zone. Counted as a decision.
    pub(super) fn passes(
        &self,
        generation: &Generation,
        context: Context,
        from: ZoneIndex,
        topic: &Topic,
    ) -> bool {
        let passes = passes(&generation.program, context, from, self.parts.own_zone_index, topic);
        if passes {
            self.parts.metrics.on_passed(context, 1);
        }
        passes
    }

    /// Judges an event, records and counts the decision; a stop is logged with the rule, never with anything of the payload.
    pub(super) fn judge(&self, generation: &Generation, asked: &Asked<'_>) -> Verdict {
        self.judge_released(generation, asked, &[])
    }

    /// The same, without the rules that a person has released the event from.
    pub(super) fn judge_released(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        released: &[Arc<str>],
    ) -> Verdict {
        self.judge_by_name(generation, asked, released).0
    }

    /// The same, with the rules that edited the event.
    pub(super) fn judge_by_name(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        released: &[Arc<str>],
    ) -> (Verdict, Editors) {
        let (verdict, editors, _) = self.judge_whole(generation, asked, released);
        (verdict, editors)
    }

    /// The same, with what was taken from rates: to be given back where the event goes no further after all.
    pub(super) fn judge_whole(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        released: &[Arc<str>],
    ) -> (Verdict, Editors, Debited) {
        let begun = Instant::now();
        let mut decision = self.with_request(asked, |request, scratch| {
            generation.program.decide(&Request { released, ..*request }, scratch)
        });
        self.record(generation, asked, &decision, begun.elapsed());
        self.observe(generation, asked, released, &decision);
        let (editors, debited) = (decision.editors.clone(), std::mem::take(&mut decision.debited));
        (self.note(asked.context, generation, decision), editors, debited)
    }

    /// The way that `form` may take, which is what egress made of the event.
    pub(super) fn passage(&self, generation: &Generation, asked: &Asked<'_>, form: &Event) -> Passage {
        let carriers = self.carriers(generation, asked, form);
        let denials = self.link_denials(generation, asked);
        let denied = if denials.is_empty() { DeniedLinks::NONE } else { named(&generation.program, denials) };
        Passage { carriers, denied }
    }

    /// Links that the event must not cross on its way to `asked.to`, which is its destination in every context.
    pub(super) fn link_denials(&self, generation: &Generation, asked: &Asked<'_>) -> LinkDenials {
        let program = &generation.program;
        if !program.denies_links() {
            return LinkDenials::default();
        }
        self.with_request(asked, |request, scratch| program.denied_links(request, scratch))
    }

    /// Zones that may carry `form`, which is what egress made of the event.
    fn carriers(&self, generation: &Generation, asked: &Asked<'_>, form: &Event) -> CarrierSet {
        let program = &generation.program;
        let carriers = self.with_request(asked, |request, scratch| program.carriers(request, form, scratch));
        let federation = program.federation();
        let is_end =
            |name: &str| name == federation.zone_name(asked.from) || name == federation.zone_name(asked.to);
        let allowed: Vec<&str> = federation
            .zones()
            .filter(|name| is_end(name) || federation.zone(name).is_some_and(|zone| carriers.contains(zone)))
            .collect();
        if allowed.len() == federation.zones().count() {
            return CarrierSet::All;
        }
        CarrierSet::zones(allowed.into_iter().filter_map(|name| ZoneName::parse(name).ok()))
    }

    /// The way that an event may take to another bridge of this zone. It crosses no border, but who carries it sees it.
    pub(super) fn home_passage(
        &self,
        generation: &Generation,
        topic: &Topic,
        event: &Event,
        publisher: Option<&str>,
    ) -> Passage {
        let (own, context) = (self.parts.own_zone_index, Context::Egress);
        let asked = Asked { context, from: own, to: own, topic, event, publisher, subscriber: None, hops: 0 };
        self.passage(generation, &asked, event)
    }

    pub(super) fn with_request<R>(
        &self,
        asked: &Asked<'_>,
        ask: impl FnOnce(&Request<'_>, &mut Scratch) -> R,
    ) -> R {
        let randomness = Randomness::new(rand::random());
        let request = Request {
            context: asked.context,
            from: asked.from,
            to: asked.to,
            topic: asked.topic,
            event: asked.event,
            publisher: asked.publisher,
            subscriber: asked.subscriber,
            hops: asked.hops,
            now: SystemTime::now().into(),
            tick: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            buckets: Some(&self.buckets),
            keys: &*self.parts.keys,
            randomness: &randomness,
            released: &[],
            trace: false,
        };
        SCRATCH.with_borrow_mut(|scratch| ask(&request, scratch))
    }

    pub(super) fn note(&self, context: Context, generation: &Generation, decision: Decision) -> Verdict {
        let name = context.name();
        let metrics = &self.parts.metrics;
        self.note_report(context, &decision, 1);
        match decision.verdict {
            Said::Forward { event } => {
                metrics.on_forwarded(name, event.is_some(), 1);
                Verdict::Pass(event)
            }
            Said::Hold { wait, by } => {
                metrics.on_verdict(name, by.layer(), by.id(), "hold");
                Verdict::Wait(Held { after: wait, by: by.to_string() })
            }
            Said::Stop(stopped) => {
                let cause = cause(&generation.program, &stopped);
                let refusal = Refusal {
                    by: stopped.by.to_string(),
                    layer: stopped.by.layer().to_owned(),
                    rule: Some((stopped.by.clone(), stopped.disposition)),
                    disposition: stopped.disposition.name(),
                    message: stopped.message,
                    help: stopped.help,
                    cause,
                };
                metrics.on_verdict(name, &refusal.layer, &refusal.by, refusal.disposition);
                let generation = generation.number;
                info!(context = name, rule = %refusal.by, generation, disposition = refusal.disposition, "Policy stopped an event");
                Verdict::Stop(refusal)
            }
        }
    }

    /// Counts what was said besides the verdict, of so many events.
    fn note_report(&self, context: Context, decision: &Decision, events: u64) {
        let Some(report) = &decision.report else { return };
        let (name, metrics) = (context.name(), &self.parts.metrics);
        for (rules, mode) in [(&report.warned, "warn"), (&report.shadowed, "shadow")] {
            rules.iter().for_each(|rule| metrics.on_verdicts(name, rule.layer(), rule.id(), mode, events));
        }
        for (rule, waiver) in &report.waived {
            metrics.on_verdicts(name, rule.layer(), rule.id(), "waived", events);
            info!(context = name, rule = %rule, %waiver, events, "A waiver switched a rule off");
        }
    }

    /// Whether every event of a train passes as it is, asked of the one that stands for all. Recorded and counted for each
    /// of them where it does; elsewhere nothing has been said yet.
    pub(super) fn passes_for_all(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        train: &EventTrain,
    ) -> bool {
        let begun = Instant::now();
        let decision =
            self.with_request(asked, |request, scratch| generation.program.decide(request, scratch));
        if !matches!(decision.verdict, Said::Forward { event: None }) {
            return false;
        }
        let events = train.len() as u64;
        self.record_train(generation, asked, &decision, train, begun.elapsed());
        self.note_report(asked.context, &decision, events);
        self.parts.metrics.on_forwarded(asked.context.name(), false, events);
        true
    }

    /// The event as it may be delivered here now. It is judged again where other policies are in force than when it was
    /// taken, or where nobody knows which those were (P9, M37).
    pub(super) fn judge_delivery(&self, stored: &Stored) -> Verdict {
        let generation = self.parts.policies.active();
        if stored.key.origin == self.parts.own || stored.judged == Some(generation.number) {
            return Verdict::Pass(None);
        }
        let forwarding = self.parts.forwarding.load();
        let zone = forwarding.index_of(&stored.key.origin).map(|index| forwarding.bridge(index).1.clone());
        let Some(zone) = zone else { return Verdict::Stop(Refusal::unknown_zone()) };
        // How many links it crossed was judged when it came, and rates were debited.
        match self.judge_arrival(&generation, Context::Ingress, &zone, &stored.topic, &stored.event, 0) {
            Verdict::Wait(_) => Verdict::Pass(None),
            verdict => verdict,
        }
    }
}
