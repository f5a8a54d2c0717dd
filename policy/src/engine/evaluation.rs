//! One event under one plan: the phases in their order.

use std::cell::OnceCell;
use std::time::Duration;

use meshbridge_event::{AttributeValue, Event};
use serde_json::Value;
use smallvec::SmallVec;

use super::attributes::Ends;
use super::checks::{Detail, Outcome};
use super::{Data, Request};
use crate::ClassSet;
use crate::condition::EventFacts;
use crate::decision::{Debited, Decision, Editors, Found, Report, RuleRef, Stopped, Verdict};
use crate::limits::Debit;
use crate::message;
use crate::model::{Action, Disposition, Mode, OnViolation, Rule, Truth};
use crate::program::{Candidate, Plan, Program};
use crate::protect::{Protected, Survey, Surveyor};

/// The attribute that names rules in `mode: warn` whose `onViolation` is `annotate`. Set by bridges only.
pub(crate) const GOVWARN: &str = "govwarn";
/// How a report names the waiver that a person's release is.
const RELEASED: &str = "released";
/// Rules that it names; further ones are in the decision log only.
const GOVWARN_RULES_MAX: usize = 16;
/// Findings that a report lists.
const FINDINGS_MAX: usize = 32;

pub(crate) struct Evaluation<'a> {
    pub(super) program: &'a Program,
    pub(super) plan: &'a Plan,
    pub(super) request: &'a Request<'a>,
    pub(super) facts: EventFacts<'a>,
    /// The data as a schema sees them; `None` where they are not JSON.
    data: OnceCell<Option<Value>>,
}

/// A rule that applies.
#[derive(Clone, Copy)]
pub(super) struct Live<'a> {
    /// Its place in the program.
    pub(super) at: usize,
    pub(super) rule: &'a Rule,
    /// Its conditions cannot be computed.
    pub(super) is_error: bool,
}

struct Stop<'a> {
    disposition: Disposition,
    depth: usize,
    by: RuleRef,
    rule: Option<&'a Rule>,
    detail: Detail,
    is_error: bool,
}

/// What the checks of all rules add up to.
#[derive(Default)]
pub(super) struct Tally<'a> {
    stops: Vec<Stop<'a>>,
    report: Report,
    /// The longest wait that some rate asks for.
    hold: Option<(Duration, RuleRef)>,
    debits: SmallVec<[Debit; 4]>,
    annotations: SmallVec<[RuleRef; 2]>,
}

impl Tally<'_> {
    /// Nothing stops, holds, counts or is to be said of the event.
    pub(super) fn is_plain(&self) -> bool {
        self.stops.is_empty()
            && self.report.is_empty()
            && self.hold.is_none()
            && self.debits.is_empty()
            && self.annotations.is_empty()
    }
}

impl<'a> Evaluation<'a> {
    pub(crate) fn new(
        program: &'a Program,
        plan: &'a Plan,
        request: &'a Request<'a>,
        data: Data<'a>,
    ) -> Evaluation<'a> {
        let facts = EventFacts::new(request, &program.federation, data);
        Evaluation { program, plan, request, facts, data: OnceCell::new() }
    }

    pub(crate) fn decide(&self, surveyor: &mut Surveyor) -> Decision {
        let mut tally = Tally::default();
        let (live, shadow) = self.applying(&mut tally.report);
        let stripped = self.strip(&live);
        let event = stripped.as_ref().unwrap_or(self.request.event);
        self.gates(&live, &mut tally);
        if let Some(by) = self.program.unmet_obligation(self.request) {
            let detail = Detail::default();
            tally.stops.push(Stop {
                disposition: Disposition::Reject,
                depth: 0,
                by,
                rule: None,
                detail,
                is_error: false,
            });
        }
        let sight = self.look(surveyor, event);
        let sight = sight.as_ref();
        for one in &live {
            self.check(*one, event, sight, &mut tally);
        }
        let mut edited = stripped.clone();
        let mut editors = if stripped.is_some() { self.stripping(&live) } else { Editors::default() };
        if tally.stops.is_empty() {
            match self.protect(&live, sight) {
                Ok(Some(Protected { event, rules })) => {
                    edited = Some(event);
                    editors.extend(rules);
                }
                Ok(None) => {}
                Err(failed) => tally.stops.extend(failed.into_iter().map(|(rule, message)| Stop {
                    disposition: if message.is_violation { Disposition::Reject } else { rule.on_error },
                    depth: rule.layer.depth,
                    by: RuleRef::of(rule),
                    rule: Some(rule),
                    detail: Detail { message: Some(message.text.into()), ..Detail::default() },
                    is_error: !message.is_violation,
                })),
            }
        }
        let is_stopped = !tally.stops.is_empty();
        if self.request.context == crate::Context::Egress {
            // What is denied is asked about by itself; here it is told.
            self.denied_links(&mut tally.report);
        }
        for one in shadow {
            if self.would_act(one, event, sight) {
                tally.report.shadowed.push(RuleRef::of(one.rule));
            }
        }
        for one in live.iter().filter(|one| one.rule.mode == Mode::Warn && is_protect(one.rule)) {
            if self.would_act(*one, event, sight) {
                tally.report.warned.push(RuleRef::of(one.rule));
            }
        }
        if self.request.trace {
            let hits = live.iter().filter(|one| one.rule.mode == Mode::Enforce);
            tally.report.hits.extend(hits.map(|one| RuleRef::of(one.rule)));
        }
        if is_stopped || (self.request.trace && edited.is_some()) {
            tally.report.findings = found(sight);
        }
        let verdict = self.verdict(&mut tally, edited);
        let report = (!tally.report.is_empty()).then(|| Box::new(tally.report));
        let mut debited = Debited::default();
        if matches!(verdict, Verdict::Forward { .. }) {
            debited.0.extend(tally.debits);
        } else {
            editors = Editors::default();
        }
        Decision { verdict, report, editors, debited }
    }

    /// Phase 1: the rules that apply, and those in shadow.
    pub(super) fn applying(
        &self,
        report: &mut Report,
    ) -> (SmallVec<[Live<'a>; 16]>, SmallVec<[Live<'a>; 2]>) {
        let (mut live, mut shadow) = (SmallVec::new(), SmallVec::new());
        for candidate in &self.plan.candidates {
            let at = candidate.rule as usize;
            let rule = &self.program.rules[at];
            let is_error = match self.applies(candidate, rule) {
                Truth::No => continue,
                // A permit in error does not permit.
                Truth::Unknown if rule.is_permit() => continue,
                truth => truth == Truth::Unknown,
            };
            if let Some(waiver) = self.waiver(candidate).or_else(|| self.release(rule)) {
                report.waived.push((RuleRef::of(rule), waiver));
                continue;
            }
            let one = Live { at, rule, is_error };
            if rule.mode == Mode::Shadow { shadow.push(one) } else { live.push(one) }
        }
        (live, shadow)
    }

    fn applies(&self, candidate: &Candidate, rule: &Rule) -> Truth {
        let matches =
            if candidate.conditional { rule.matcher.conditions_hold(&self.facts) } else { Truth::Yes };
        match &rule.except {
            Some(except) if candidate.exception && matches != Truth::No => {
                matches.and(except.conditions_hold(&self.facts).not())
            }
            _ => matches,
        }
    }

    /// The waiver in force for this event.
    pub(super) fn waiver(&self, candidate: &Candidate) -> Option<std::sync::Arc<str>> {
        let in_force = |at: &&u32| {
            let waiver = &self.program.waivers[**at as usize];
            waiver.expires > self.request.now && waiver.matcher.conditions_hold(&self.facts) == Truth::Yes
        };
        candidate
            .waivers
            .iter()
            .find(in_force)
            .map(|at| std::sync::Arc::clone(&self.program.waivers[*at as usize].name))
    }

    /// What stands for the waiver where a person has released the event from the rule. A permit is nothing to be
    /// released from.
    pub(super) fn release(&self, rule: &Rule) -> Option<std::sync::Arc<str>> {
        let is_released = !rule.is_permit() && self.request.released.iter().any(|id| **id == *rule.id);
        is_released.then(|| RELEASED.into())
    }

    /// Phase 2: the event without the optional attributes that fail, where there are such.
    pub(super) fn strip(&self, live: &[Live<'a>]) -> Option<Event> {
        let mut names: SmallVec<[&str; 4]> = SmallVec::new();
        for one in live.iter().filter(|one| one.rule.mode == Mode::Enforce && !one.is_error) {
            if one.rule.on_violation == OnViolation::Strip {
                names.extend(self.unmet(one.rule, self.request.event));
            }
        }
        if names.is_empty() {
            return None;
        }
        let stripped =
            names.iter().fold(self.request.event.to_builder(), |event, name| event.remove_attribute(name));
        // An event with fewer attributes is no larger.
        stripped.build().ok()
    }

    /// The rules that strip something.
    fn stripping(&self, live: &[Live<'a>]) -> Editors {
        let strips = |one: &&Live<'a>| {
            one.rule.mode == Mode::Enforce
                && !one.is_error
                && one.rule.on_violation == OnViolation::Strip
                && !self.unmet(one.rule, self.request.event).is_empty()
        };
        let mut editors = Editors::default();
        editors.extend(live.iter().filter(strips).map(|one| one.at));
        editors
    }

    /// Who must permit, and does not.
    fn gates(&self, live: &[Live<'a>], tally: &mut Tally<'a>) {
        for gate in &self.plan.gates {
            let permits = |one: &Live<'_>| {
                one.rule.is_permit() && one.rule.mode == Mode::Enforce && one.rule.layer == gate.layer
            };
            if !live.iter().any(permits) {
                tally.stops.push(Stop {
                    disposition: Disposition::Reject,
                    depth: gate.layer.depth,
                    by: RuleRef::default_deny(&gate.layer),
                    rule: None,
                    detail: Detail::default(),
                    is_error: false,
                });
            }
        }
    }

    /// Phase 3, for one rule.
    pub(super) fn check(
        &self,
        one: Live<'a>,
        event: &Event,
        sight: Option<&Survey<'_>>,
        tally: &mut Tally<'a>,
    ) {
        let rule = one.rule;
        let outcome = if one.is_error {
            Outcome::Error("its condition cannot be computed for this event".into())
        } else {
            self.outcome(one, event, sight, &mut tally.debits)
        };
        let (disposition, detail, is_error) = match outcome {
            Outcome::Passes => return,
            Outcome::Waits(wait) if rule.mode == Mode::Enforce => {
                if tally.hold.as_ref().is_none_or(|(longest, _)| *longest < wait) {
                    tally.hold = Some((wait, RuleRef::of(rule)));
                }
                return;
            }
            Outcome::Waits(_) => return,
            Outcome::Violated(_) if rule.on_violation == OnViolation::Strip && rule.mode == Mode::Enforce => {
                return;
            }
            Outcome::Violated(detail) => {
                let disposition = match rule.on_violation {
                    OnViolation::Stop(disposition) => disposition,
                    OnViolation::Strip | OnViolation::Annotate => Disposition::Reject,
                };
                (disposition, detail, false)
            }
            Outcome::Error(message) => {
                (rule.on_error, Detail { message: Some(message), ..Detail::default() }, true)
            }
        };
        if rule.mode == Mode::Warn {
            if rule.on_violation == OnViolation::Annotate {
                tally.annotations.push(RuleRef::of(rule));
            }
            tally.report.warned.push(RuleRef::of(rule));
            return;
        }
        let by = RuleRef::of(rule);
        tally.stops.push(Stop {
            disposition,
            depth: rule.layer.depth,
            by,
            rule: Some(rule),
            detail,
            is_error,
        });
    }

    fn verdict(&self, tally: &mut Tally<'a>, edited: Option<Event>) -> Verdict {
        if !tally.stops.is_empty() {
            return self.stopped(std::mem::take(&mut tally.stops));
        }
        if let Some((wait, by)) = tally.hold.take() {
            return Verdict::Hold { wait, by };
        }
        if let Some(short) = self.debit(&tally.debits) {
            return short;
        }
        let annotated = if tally.annotations.is_empty() || self.request.context == crate::Context::Transit {
            edited
        } else {
            Some(annotate(edited.as_ref().unwrap_or(self.request.event), &tally.annotations))
        };
        Verdict::Forward { event: annotated }
    }

    fn stopped(&self, mut stops: Vec<Stop<'a>>) -> Verdict {
        stops.sort_by(|a, b| (b.disposition, a.depth, a.by.id()).cmp(&(a.disposition, b.depth, b.by.id())));
        stops.dedup_by(|a, b| a.by == b.by);
        let retry_after = stops.iter().filter_map(|stop| stop.detail.retry_after).max();
        let mut stops = stops.into_iter();
        let Some(first) = stops.next() else { return Verdict::Forward { event: None } };
        let (from, to) = self.zones();
        let finding = first.detail.finding.as_ref();
        let shown_path = finding.map(|(class, path)| (class.name(), message::shown(path)));
        let facts = message::Facts {
            rule: first.by.id(),
            layer: first.by.layer(),
            topic: self.request.topic,
            from,
            to,
            event: self.request.event,
            finding: shown_path.as_ref().map(|(class, path)| (*class, path.as_str())),
            size: first.detail.size,
        };
        let own = first.rule.filter(|_| !first.is_error).and_then(|rule| rule.message.as_ref());
        let message = match (own, &first.detail.message) {
            (Some(template), None) => Some(template.render(&facts)),
            (Some(template), Some(detail)) => Some(format!("{}: {detail}", template.render(&facts))),
            (None, detail) => detail.as_ref().map(ToString::to_string),
        };
        Verdict::Stop(Box::new(Stopped {
            disposition: first.disposition,
            message,
            help: first.rule.and_then(|rule| rule.help.clone()),
            is_error: first.is_error,
            is_too_large: first.detail.size.is_some(),
            retry_after,
            by: first.by,
            also_by: stops.map(|stop| stop.by).collect(),
        }))
    }

    /// Whether a rule that has no effect would have stopped or edited the event, or could not be judged.
    fn would_act(&self, one: Live<'a>, event: &Event, sight: Option<&Survey<'_>>) -> bool {
        if one.is_error {
            return true;
        }
        match &one.rule.action {
            Action::Permit => false,
            Action::Protect(_) => !matches!(self.protect_with(&[one], sight), Ok(None)),
            _ => {
                let mut debits = SmallVec::new();
                let outcome = self.outcome(one, event, sight, &mut debits);
                let short = matches!(outcome, Outcome::Passes) && self.debit(&debits).is_some();
                short || !matches!(outcome, Outcome::Passes | Outcome::Waits(_))
            }
        }
    }

    /// The enforced rules that would edit the event as it arrived.
    pub(super) fn editing_rules(&self, surveyor: &mut Surveyor) -> Vec<RuleRef> {
        let (live, _) = self.applying(&mut Report::default());
        let event = self.request.event;
        let sight = self.look(surveyor, event);
        let edits = |one: &&Live<'a>| {
            one.rule.mode == Mode::Enforce
                && !one.is_error
                && (is_protect(one.rule) || one.rule.on_violation == OnViolation::Strip)
                && self.would_act(**one, event, sight.as_ref())
        };
        live.iter().filter(edits).map(|one| RuleRef::of(one.rule)).collect()
    }

    pub(super) fn zones(&self) -> (&'a crate::federation::Zone, &'a crate::federation::Zone) {
        let federation = &self.program.federation;
        (federation.zone_at(self.request.from), federation.zone_at(self.request.to))
    }

    /// What data hold that cannot be read, as far as the rule may rely on it.
    pub(super) fn opaque(&self, rule: &Rule) -> Option<ClassSet> {
        let (from, to) = self.zones();
        self.plan.known.opaque(&rule.layer, self.request.context, from, to)
    }

    pub(super) fn ends(&self) -> Ends<'a> {
        let (from, to) = self.zones();
        ((self.request.from, from), (self.request.to, to))
    }

    /// The data as a schema sees them.
    pub(super) fn data(&self) -> Option<&Value> {
        let parse = || self.facts.unambiguous_json().and_then(|text| serde_json::from_str(text).ok());
        self.data.get_or_init(parse).as_ref()
    }
}

fn found(sight: Option<&Survey<'_>>) -> Vec<Found> {
    shown(sight.into_iter().flat_map(Survey::findings))
}

/// Findings as people may see them, as many as are told of.
pub(super) fn shown<'s>(findings: impl Iterator<Item = crate::protect::Found<'s>>) -> Vec<Found> {
    findings
        .take(FINDINGS_MAX)
        .map(|finding| Found {
            class: finding.class,
            path: message::shown(&finding.path()),
            confidence: finding.confidence,
            is_undeclared: finding.undeclared,
        })
        .collect()
}

pub(crate) fn is_protect(rule: &Rule) -> bool {
    matches!(rule.action, Action::Protect(_))
}

/// The event with the rules added to `govwarn`.
fn annotate(event: &Event, rules: &[RuleRef]) -> Event {
    let known = event.attribute(GOVWARN).map(|value| value.to_text().into_owned()).unwrap_or_default();
    let mut names: Vec<&str> = known.split(',').filter(|name| !name.is_empty()).collect();
    for rule in rules {
        if names.len() < GOVWARN_RULES_MAX && !names.contains(&rule.id()) {
            names.push(rule.id());
        }
    }
    names.sort_unstable();
    let annotated =
        event.to_builder().set_attribute(GOVWARN, AttributeValue::String(&names.join(","))).build();
    // One that is as large as events may be goes on without the note: a warning never stops.
    annotated.unwrap_or_else(|_| event.clone())
}
