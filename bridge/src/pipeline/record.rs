//! Decisions, as the decision log keeps them (POLICY §3): who, what, where, by which rule, with which outcome; never a
//! value of the event.
//!
//! Where no rule of a context speaks of a topic nothing is decided, and nothing is recorded.

use std::time::{Duration, SystemTime};

use meshbridge_event::{Event, EventTrain};
use meshbridge_policy::{
    Context, Decision, Disposition, Editors, GOVPROTECTED, Report, RuleRef, Verdict as Said, ZoneIndex,
};
use smallvec::SmallVec;

use super::Inner;
use super::judge::{Asked, Refusal, Verdict as Outcome};
use super::quarantine::HeldPair;
use crate::audit::{EventName, Finding, Ids, Record, Rule, Ruling, Verdict};
use crate::policy_store::Generation;

type Few<T> = SmallVec<[T; 4]>;

impl Inner {
    /// Hands a decision to the log, which takes what must be kept and samples plain permits.
    pub(super) fn record(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        decision: &Decision,
        cost: Duration,
    ) {
        with_record(generation, asked, decision, cost, |record| {
            self.parts.audit.record(record);
        });
    }

    /// Events of one train that go on as they are, for which one of them was asked: as if each had been. `cost` is that of
    /// all.
    pub(super) fn record_train(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        decision: &Decision,
        train: &EventTrain,
        cost: Duration,
    ) {
        let audit = &self.parts.audit;
        with_record(generation, asked, decision, cost, |record| {
            if record.must_be_kept() {
                let mut ids = Ids::default();
                train.items().for_each(|item| ids.push(item.id));
                audit.record_all(record, &ids);
            } else {
                let cost = record.cost / train.len() as u64;
                audit.record_permits(&Record { cost, ..*record }, train.items().map(|item| item.id));
            }
        });
    }

    /// Events of one train that went on, edited by the same rules in the same places; `cost` is that of all.
    pub(super) fn record_edits(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        (editors, protected): (&Editors, &str),
        ids: &Ids,
        cost: Duration,
    ) {
        let editors = rules(generation, editors);
        let record =
            blank(generation, asked.context, asked.from, asked.to, asked.topic.as_str()).about(asked);
        let cost = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
        self.parts
            .audit
            .record_all(&Record { edited: true, editors: &editors, protected, cost, ..record }, ids);
    }

    /// A destination of a class that was judged already: the same outcome, in another zone, by the same rules.
    pub(super) fn record_alike(
        &self,
        generation: &Generation,
        asked: &Asked<'_>,
        (of_class, editors): (&Outcome, &Editors),
    ) {
        let editors = rules(generation, editors);
        let record =
            blank(generation, asked.context, asked.from, asked.to, asked.topic.as_str()).about(asked);
        let record = match of_class {
            Outcome::Pass(edited) => {
                let protected = edited.as_ref().map_or("", protected);
                Record { edited: edited.is_some(), editors: &editors, protected, ..record }
            }
            // Who waits is judged again, each for itself.
            Outcome::Wait(_) => return,
            Outcome::Stop(refusal) => {
                let Some((by, disposition)) = &refusal.rule else { return };
                Record { verdict: verdict(*disposition), by: Some(rule(by)), ..record }
            }
        };
        self.parts.audit.record(&record);
    }

    /// A refusal that no document says.
    pub(super) fn record_refusal(&self, generation: &Generation, asked: &Asked<'_>, refusal: &Refusal) {
        let record =
            blank(generation, asked.context, asked.from, asked.to, asked.topic.as_str()).about(asked);
        let by = Some(Rule { rule: &refusal.by, layer: &refusal.layer, place: None });
        self.parts.audit.record(&Record { verdict: Verdict::Reject, by, ..record });
    }

    /// An event that a rule about links kept from coming further.
    pub(super) fn record_denied_link(&self, generation: &Generation, asked: &Asked<'_>, by: &RuleRef) {
        let record =
            blank(generation, asked.context, asked.from, asked.to, asked.topic.as_str()).about(asked);
        self.parts.audit.record(&Record { verdict: Verdict::Reject, by: Some(rule(by)), ..record });
    }

    /// What a person said of a held event, or that nobody said anything in time.
    pub(super) fn record_ruling_of(
        &self,
        verdict: Verdict,
        held: &HeldPair,
        principal: Option<&str>,
        ruling: Ruling<'_>,
    ) {
        let generation = self.parts.policies.active();
        let own = self.parts.own_zone_index;
        let to = generation.program.zone(&held.zone).unwrap_or(own);
        let name = EventName { id: &held.id, source: &held.source, kind: &held.ty };
        let by = Some(Rule { rule: &held.rule, layer: &held.layer, place: None });
        let (event, ruling) = (Some(name), Some(ruling));
        let record = blank(&generation, Context::Egress, own, to, &held.topic);
        self.parts.audit.record(&Record { verdict, event, by, principal, ruling, ..record });
    }

    /// A filter that was refused to a subscriber.
    pub(super) fn record_filter(
        &self,
        generation: &Generation,
        filter: &str,
        by: &RuleRef,
        subscriber: &str,
    ) {
        let own = self.parts.own_zone_index;
        let record = blank(generation, Context::Subscribe, own, own, filter);
        let (by, principal) = (Some(rule(by)), Some(subscriber));
        self.parts.audit.record(&Record { verdict: Verdict::Reject, by, principal, ..record });
    }
}

/// The record of a decision.
fn with_record(
    generation: &Generation,
    asked: &Asked<'_>,
    decision: &Decision,
    cost: Duration,
    keep: impl FnOnce(&Record<'_>),
) {
    let nothing = Report::default();
    let report = decision.report.as_deref().unwrap_or(&nothing);
    let (verdict, edited, by, also_by): (_, _, _, &[RuleRef]) = match &decision.verdict {
        Said::Forward { event } => (Verdict::Forward, event.is_some(), None, &[]),
        Said::Hold { by, .. } => (Verdict::Hold, false, Some(by), &[]),
        Said::Stop(stopped) => (verdict(stopped.disposition), false, Some(&stopped.by), &stopped.also_by),
    };
    let warned: Few<&str> = report.warned.iter().map(RuleRef::id).collect();
    let shadowed: Few<&str> = report.shadowed.iter().map(RuleRef::id).collect();
    let waived: Few<&str> = report.waived.iter().map(|(_, waiver)| &**waiver).collect();
    let also_by: Few<Rule<'_>> = also_by.iter().map(rule).collect();
    let editors = rules(generation, &decision.editors);
    let protected = match &decision.verdict {
        Said::Forward { event: Some(event) } => protected(event),
        _ => "",
    };
    let findings: Few<Finding<'_>> = report
        .findings
        .iter()
        .map(|found| Finding {
            class: found.class.name(),
            path: &found.path,
            confidence: found.confidence.name(),
            protection: None,
        })
        .collect();
    keep(
        &Record {
            verdict,
            edited,
            by: by.map(rule),
            also_by: &also_by,
            editors: &editors,
            protected,
            findings: &findings,
            warned: &warned,
            shadowed: &shadowed,
            waived: &waived,
            cost: u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX),
            ..blank(generation, asked.context, asked.from, asked.to, asked.topic.as_str())
        }
        .about(asked),
    );
}

impl<'a> Record<'a> {
    fn about(self, asked: &Asked<'a>) -> Record<'a> {
        let event = asked.event;
        let name = EventName { id: event.id(), source: event.source(), kind: event.ty() };
        Record { event: Some(name), principal: asked.subscriber.or(asked.publisher), ..self }
    }
}

/// A plain permit of nobody and nothing yet.
fn blank<'a>(
    generation: &'a Generation,
    context: Context,
    from: ZoneIndex,
    to: ZoneIndex,
    topic: &'a str,
) -> Record<'a> {
    let program = &generation.program;
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    Record {
        time_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        event: None,
        topic,
        context: context.name(),
        from: program.federation().zone_name(from),
        to: program.federation().zone_name(to),
        verdict: Verdict::Forward,
        edited: false,
        by: None,
        also_by: &[],
        editors: &[],
        protected: "",
        findings: &[],
        warned: &[],
        shadowed: &[],
        waived: &[],
        generation: program.digest(),
        cost: 0,
        principal: None,
        ruling: None,
    }
}

fn verdict(disposition: Disposition) -> Verdict {
    match disposition {
        Disposition::Reject => Verdict::Reject,
        Disposition::DeadLetter => Verdict::DeadLetter,
        Disposition::Quarantine => Verdict::Quarantine,
    }
}

/// The list that bridges keep in an event of what is protected in it.
pub(super) fn protected(event: &Event) -> &str {
    event.attribute(GOVPROTECTED).and_then(|value| value.as_str()).unwrap_or_default()
}

fn rules<'a>(generation: &'a Generation, editors: &'a Editors) -> Few<Rule<'a>> {
    let rules = generation.program.editors(editors);
    let line = |line| u32::try_from(line).unwrap_or(u32::MAX);
    rules.map(|(rule, layer, place)| Rule { rule, layer, place: Some((place.0, line(place.1))) }).collect()
}

fn rule(rule: &RuleRef) -> Rule<'_> {
    let place = rule.place().map(|(file, line)| (file, u32::try_from(line).unwrap_or(u32::MAX)));
    Rule { rule: rule.id(), layer: rule.layer(), place }
}
