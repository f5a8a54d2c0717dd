//! What is certain of a decision where parts of the event are not what they look like.
//!
//! The phases are those of an evaluation, but each rule has one more answer: it depends on what is hidden. Such a rule
//! is taken neither for one that stops the event nor for one that lets it pass. Only where the verdict is the same
//! either way is there one.
//!
//! Where the rules that judged the event then are at hand too, a rule that both sets have did here what it did there,
//! whatever it reads; and what it did there is on record.

mod record;

use std::collections::BTreeSet;

use serde_json::Value;
use smallvec::SmallVec;

use super::checks::{Detail, Outcome};
use super::evaluation::{Evaluation, Live};
use super::{Data, Request, Scratch, is_met, is_protect, json_of};
use crate::capture::Altered;
use crate::decision::RuleRef;
use crate::model::{
    Action, CLASSIFYING, Disposition, Layer, Match, Mode, OnViolation, Requirement, Rule, Truth, Validate,
};
use crate::program::{Candidate, Plan, Program};

pub(crate) use record::OnRecord;
use record::{Common, OnRecordSaid};

/// An event that is known in part.
pub(crate) struct InPart<'a> {
    /// As a request about its view.
    pub(crate) request: Request<'a>,
    pub(crate) altered: &'a Altered,
    /// Of the event as it was judged.
    pub(crate) event_bytes: u64,
    pub(crate) data_bytes: u64,
    /// Whether it had an attribute that brings obligations.
    pub(crate) classified: bool,
}

/// A verdict that is the same whatever is hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certain {
    Forward(CertainForm),
    Stop {
        disposition: Disposition,
        by: String,
    },
    /// With the rule that it depends on.
    Unknown(String),
}

/// The form in which an event goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CertainForm {
    /// As it is: nothing edits it.
    AsItWas,
    /// That of the record.
    AsOnRecord,
}

/// A rule that stops, or may: by what it would be named before another one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stop {
    disposition: Disposition,
    depth: usize,
    id: String,
}

impl Stop {
    /// Stops with a smaller rank are named first.
    fn rank(&self) -> (std::cmp::Reverse<Disposition>, usize, &str) {
        (std::cmp::Reverse(self.disposition), self.depth, &self.id)
    }

    fn gate(layer: &Layer) -> Stop {
        let id = RuleRef::default_deny(layer).id().to_owned();
        Stop { disposition: Disposition::Reject, depth: layer.depth, id }
    }

    fn of(rule: &Rule, disposition: Disposition) -> Stop {
        Stop { disposition, depth: rule.layer.depth, id: rule.id.to_string() }
    }

    /// The strictest that the rule can be.
    fn at_most(rule: &Rule) -> Stop {
        let violated = match rule.on_violation {
            OnViolation::Stop(disposition) => disposition,
            OnViolation::Strip | OnViolation::Annotate => Disposition::Reject,
        };
        Stop::of(rule, violated.max(rule.on_error))
    }
}

impl Program {
    /// The verdict, as far as it does not depend on what is hidden. Rates are taken to have room.
    pub(crate) fn certain(
        &self,
        part: &InPart<'_>,
        record: Option<&OnRecord<'_>>,
        scratch: &mut Scratch,
    ) -> Certain {
        let plan = scratch.plan(self, &part.request);
        let record = record.and_then(|record| Common::of(self, &plan, record, part));
        let json = json_of(part.request.event).and_then(|text| serde_json::from_str(text).ok());
        let data = Data::for_plan(&plan, part.request.event, &mut scratch.tape);
        let evaluation = Evaluation::new(self, &plan, &part.request, data);
        Asked { part, json, evaluation: &evaluation, plan: &plan, record, stripped: BTreeSet::new() }
            .certain()
    }
}

struct Asked<'a, 'e> {
    part: &'e InPart<'a>,
    /// The view's data.
    json: Option<Value>,
    evaluation: &'e Evaluation<'e>,
    plan: &'e Plan,
    record: Option<Common<'e>>,
    /// Attributes that some rule strips, or may.
    stripped: BTreeSet<&'e str>,
}

#[derive(Default)]
struct Tally<'e> {
    stops: Vec<Stop>,
    /// What may stop it, depending on what is hidden.
    maybe: Vec<Stop>,
    /// Layers whose permits apply, or may.
    permits: SmallVec<[(&'e Layer, bool); 4]>,
    protects: bool,
}

impl<'e> Asked<'_, 'e> {
    fn certain(mut self) -> Certain {
        let program = self.evaluation.program;
        let plan = self.plan;
        let rules: Vec<(&Candidate, &'e Rule, Option<Truth>)> = plan
            .candidates
            .iter()
            .map(|candidate| (candidate, &program.rules[candidate.rule as usize]))
            .filter(|(_, rule)| rule.mode == Mode::Enforce)
            .map(|(candidate, rule)| (candidate, rule, self.applies(candidate, rule)))
            .filter(|(.., applies)| *applies != Some(Truth::No))
            .collect();
        for (_, rule, _) in &rules {
            self.strip(rule);
        }
        let mut tally = Tally::default();
        for (candidate, rule, applies) in rules {
            self.rule(candidate, rule, applies, &mut tally);
        }
        self.gates(&mut tally);
        self.obligation(&mut tally);
        let first = tally.stops.iter().min_by(|a, b| a.rank().cmp(&b.rank()));
        let maybe = tally.maybe.iter().min_by(|a, b| a.rank().cmp(&b.rank()));
        match (first, maybe) {
            (Some(first), Some(maybe)) if maybe.rank() < first.rank() => Certain::Unknown(maybe.id.clone()),
            (Some(first), _) => Certain::Stop { disposition: first.disposition, by: first.id.clone() },
            (None, Some(maybe)) => Certain::Unknown(maybe.id.clone()),
            (None, None) => self.form(&tally),
        }
    }

    /// Whether the rule applies; `None` where that depends on what is hidden.
    fn applies(&self, candidate: &Candidate, rule: &Rule) -> Option<Truth> {
        let matches = if candidate.conditional { self.conditions(&rule.matcher) } else { Some(Truth::Yes) };
        if matches == Some(Truth::No) {
            return matches;
        }
        let Some(except) = rule.except.as_ref().filter(|_| candidate.exception) else { return matches };
        let not_excepted = self.conditions(except).map(Truth::not);
        if not_excepted == Some(Truth::No) {
            return not_excepted;
        }
        Some(matches?.and(not_excepted?))
    }

    fn conditions(&self, matcher: &Match) -> Option<Truth> {
        (!self.reads_hidden(matcher)).then(|| matcher.conditions_hold(&self.evaluation.facts))
    }

    fn reads_hidden(&self, matcher: &Match) -> bool {
        matcher.event.iter().any(|(name, _)| self.hides(name))
            || matcher.when.as_ref().is_some_and(|(condition, _)| self.hides_from(condition.reads()))
    }

    fn hides(&self, attribute: &str) -> bool {
        self.part.altered.hides_attribute(self.part.request.event, attribute)
    }

    fn hides_from(&self, reads: &meshbridge_cel::Reads) -> bool {
        let hides = |path: &Vec<String>| self.part.altered.hides_path(self.json.as_ref(), path);
        reads.attributes.iter().any(|name| self.hides(name)) || reads.data.iter().any(hides)
    }

    /// Notes what the rule strips, or may.
    fn strip(&mut self, rule: &'e Rule) {
        let Action::Require { attributes, .. } = &rule.action else { return };
        if rule.on_violation != OnViolation::Strip {
            return;
        }
        let event = self.part.request.event;
        for one in attributes {
            if self.hides(&one.attribute) || !is_met(one, event, self.evaluation.ends()) {
                self.stripped.insert(&one.attribute);
            }
        }
    }

    fn rule(&self, candidate: &Candidate, rule: &'e Rule, applies: Option<Truth>, tally: &mut Tally<'e>) {
        let waived = self.waived(candidate);
        if waived == Some(true) {
            return;
        }
        let applies = applies.filter(|_| waived == Some(false));
        if rule.is_permit() {
            match applies {
                // A permit in error does not permit.
                Some(Truth::Unknown) => {}
                applies => tally.permits.push((&rule.layer, applies.is_some())),
            }
            return;
        }
        tally.protects |= is_protect(rule);
        match self.record.as_ref().and_then(|record| record.answer(rule)) {
            Some(OnRecordSaid::Passed) => return,
            Some(OnRecordSaid::Stopped(disposition)) => return tally.stops.push(Stop::of(rule, disposition)),
            None => {}
        }
        let live = Live { at: candidate.rule as usize, rule, is_error: false };
        let outcome = match applies {
            Some(Truth::Unknown) => Some(Outcome::Error("".into())),
            Some(_) => self.outcome(live),
            None => None,
        };
        match outcome {
            None => tally.maybe.push(Stop::at_most(rule)),
            Some(Outcome::Passes | Outcome::Waits(_)) => {}
            Some(Outcome::Error(_)) => tally.stops.push(Stop::of(rule, rule.on_error)),
            Some(Outcome::Violated(_)) => match rule.on_violation {
                OnViolation::Strip => {}
                OnViolation::Stop(disposition) => tally.stops.push(Stop::of(rule, disposition)),
                OnViolation::Annotate => tally.stops.push(Stop::of(rule, Disposition::Reject)),
            },
        }
    }

    /// Whether a waiver switches the rule off.
    fn waived(&self, candidate: &Candidate) -> Option<bool> {
        let rule = &self.evaluation.program.rules[candidate.rule as usize];
        if self.evaluation.release(rule).is_some() {
            return Some(true);
        }
        let mut waived = Some(false);
        for at in &candidate.waivers {
            let waiver = &self.evaluation.program.waivers[*at as usize];
            if waiver.expires <= self.part.request.now {
                continue;
            }
            match self.conditions(&waiver.matcher) {
                Some(Truth::Yes) => return Some(true),
                Some(_) => {}
                None => waived = None,
            }
        }
        waived
    }

    /// What the rule says of the event; `None` where that depends on what is hidden.
    fn outcome(&self, one: Live<'e>) -> Option<Outcome> {
        let event = self.part.request.event;
        let ask = || self.evaluation.outcome(one, event, None, &mut SmallVec::new());
        match &one.rule.action {
            Action::Permit
            | Action::Protect(_)
            | Action::Deny
            | Action::DenyLinks
            | Action::Residency { .. } => Some(ask()),
            Action::Structure(structure) => {
                let is_hidden = structure.type_prefix.is_some() && self.hides("type");
                (!is_hidden).then(ask)
            }
            Action::Require { attributes, .. } => {
                let is_hidden = |one: &&Requirement| {
                    self.hides(&one.attribute) || self.stripped.contains(&*one.attribute)
                };
                if !attributes.iter().any(|one| is_hidden(&one)) {
                    return Some(ask());
                }
                // One that is known to fail is enough.
                let mut known = attributes.iter().filter(|one| !is_hidden(one));
                let fails = known.any(|one| !is_met(one, event, self.evaluation.ends()));
                fails.then(|| Outcome::Violated(Detail::default()))
            }
            Action::Validate(validate) => (!self.hides_from_checks(validate)).then(ask),
            // What was found then may be what is hidden now, and what stands beside it is context for the detectors.
            Action::Forbid(_) => None,
            Action::Limit(limit) => {
                let over = |max: Option<u64>, bytes: u64| max.is_some_and(|max| bytes > max);
                if over(limit.data_bytes, self.part.data_bytes) {
                    return Some(Outcome::Violated(Detail::default()));
                }
                match over(limit.event_bytes, self.part.event_bytes) {
                    // Without what is stripped it may be small enough.
                    true if !self.stripped.is_empty() => None,
                    true => Some(Outcome::Violated(Detail::default())),
                    false => Some(Outcome::Passes),
                }
            }
        }
    }

    fn hides_from_checks(&self, validate: &Validate) -> bool {
        let mut checks = validate.checks.iter();
        (validate.schema.is_some() && self.part.altered.hides_data())
            || checks.any(|check| self.hides_from(check.expression.reads()))
    }

    fn gates(&self, tally: &mut Tally<'e>) {
        for gate in &self.plan.gates {
            let of_layer = || tally.permits.iter().filter(|(layer, _)| **layer == gate.layer);
            if of_layer().any(|(_, is_certain)| *is_certain) {
                continue;
            }
            let stop = Stop::gate(&gate.layer);
            if of_layer().next().is_none() {
                tally.stops.push(stop);
            } else if !self.record.as_ref().is_some_and(|record| record.is_open(&gate.layer, &stop.id)) {
                tally.maybe.push(stop);
            }
        }
    }

    fn obligation(&self, tally: &mut Tally<'e>) {
        if !self.part.classified {
            return;
        }
        if self.part.request.context.is_border() && CLASSIFYING.iter().any(|name| self.hides(name)) {
            // Whose list it would be is not known either, so it may be named before any other rule.
            let id = String::new();
            return tally.maybe.push(Stop { disposition: Disposition::Reject, depth: 0, id });
        }
        if let Some(by) = self.evaluation.program.unmet_obligation(&self.part.request) {
            tally.stops.push(Stop { disposition: Disposition::Reject, depth: 0, id: by.id().to_owned() });
        }
    }

    /// Nothing stops it: in which form does it go on?
    fn form(&self, tally: &Tally<'e>) -> Certain {
        if let Some(record) = &self.record
            && record.edits_alike
            && record.record.stopped.is_none()
        {
            return Certain::Forward(CertainForm::AsOnRecord);
        }
        if !tally.protects && self.stripped.is_empty() {
            return Certain::Forward(CertainForm::AsItWas);
        }
        let is_editing = |rule: &&Rule| {
            rule.mode == Mode::Enforce && (is_protect(rule) || rule.on_violation == OnViolation::Strip)
        };
        let mut rules =
            self.plan.candidates.iter().map(|one| &self.evaluation.program.rules[one.rule as usize]);
        Certain::Unknown(rules.find(is_editing).map(|rule| rule.id.to_string()).unwrap_or_default())
    }
}
