//! What would have to be different for an event to pass: the event, or the policies (POLICY §8, `why-not`).
//!
//! Rules propose changes of what they stopped; every change is made and judged again by the engine, and only what then
//! passes is told. One change is looked for first, then two together, so nothing is told that is larger than it has to be.

mod amend;
mod edit;
mod propose;
mod sample;
#[cfg(test)]
mod tests;
mod text;

use meshbridge_topic::Topic;
use serde::Serialize;

use crate::engine::Scratch;
use crate::federation::ZoneIndex;
use crate::model::Context;
use crate::program::Program;
use crate::testing::{Case, Crossing, TestKeys, cross};

pub use amend::{Amendment, AmendmentKind};
pub use edit::Edit;
pub(crate) use propose::satisfy;

/// Judgements of one search.
const TRIES_MAX: usize = 4_000;
/// Ways that are told for the event, and for the policies.
const FIXES_MAX: usize = 8;
/// First changes after which a second one is looked for.
const FIRST_MAX: usize = 48;
/// Changes one after the other that may make an example pass.
const STEPS_MAX: usize = 12;

/// Why an event does not pass, and what would make it pass.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyNot {
    pub topic: String,
    pub from: String,
    pub to: String,
    /// Of the whole way: forward, reject, dead-letter, quarantine or hold.
    pub verdict: &'static str,
    /// Everything that stops it, where it ends now.
    pub stopped_by: Vec<String>,
    /// Where that is: egress, transit, ingress and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<&'static str>,
    /// Changes of the event; each makes it pass.
    pub event: Vec<Fix>,
    /// Changes of the policies; each makes it pass.
    pub policy: Vec<Fix>,
    /// Changes of both together, where neither helps alone.
    pub both: Vec<Fix>,
    /// There was more to try.
    pub gave_up: bool,
}

/// Changes that together make the event pass: judged by the engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<Edit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policy: Vec<Amendment>,
}

impl WhyNot {
    pub fn passes(&self) -> bool {
        self.verdict == "forward"
    }

    /// Whether anything was found that makes it pass.
    pub fn is_answered(&self) -> bool {
        !(self.event.is_empty() && self.policy.is_empty() && self.both.is_empty())
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Event(Edit),
    Policy(Box<Amendment>),
}

/// Judges with what is left of the tries.
struct Search<'k> {
    keys: &'k TestKeys,
    scratch: Scratch,
    tries: usize,
    /// Topics that the event may be on.
    may_be_on: &'k dyn Fn(&Topic) -> bool,
}

/// Judges the case, and looks for the smallest changes that make it pass.
pub fn why_not(program: &Program, case: &Case, keys: &TestKeys) -> WhyNot {
    let mut search = Search { keys, scratch: Scratch::new(), tries: TRIES_MAX, may_be_on: &|_| true };
    let name = |zone: ZoneIndex| program.federation.zone_name(zone).to_owned();
    let crossing = search.judge(program, case);
    let mut answer = WhyNot {
        topic: case.topic.as_str().to_owned(),
        from: name(case.from),
        to: name(case.to),
        verdict: crossing.verdict(),
        stopped_by: Vec::new(),
        at: None,
        event: Vec::new(),
        policy: Vec::new(),
        both: Vec::new(),
        gave_up: false,
    };
    if answer.passes() {
        return answer;
    }
    let stop = search.stop(program, case, crossing);
    let place = propose::place(program, case, &stop);
    answer.at = stop.legs.last().map(|leg| leg.context.name());
    answer.stopped_by = place.iter().flat_map(propose::Place::stops).map(str::to_owned).collect();
    answer.stopped_by.extend(stop.held_at.iter().map(|(_, by)| by.id().to_owned()));
    search.singles(program, case, &stop, &mut answer);
    if answer.event.is_empty() || answer.policy.is_empty() {
        search.pairs(program, case, &stop, &mut answer);
    }
    if answer.event.is_empty()
        && let Some((edits, _)) = search.greedy(program, case.clone())
    {
        answer.event.push(Fix { event: edits, policy: Vec::new() });
    }
    if !(answer.event.is_empty() && answer.policy.is_empty()) {
        answer.both.clear();
    }
    answer.gave_up = search.tries == 0;
    for list in [&mut answer.event, &mut answer.policy, &mut answer.both] {
        list.truncate(FIXES_MAX);
    }
    answer
}

/// The case with a few changes one after the other that make it pass, if that leads anywhere. It stays on topics that
/// `may_be_on` says.
pub(crate) fn passing(
    program: &Program,
    case: Case,
    keys: &TestKeys,
    may_be_on: &dyn Fn(&Topic) -> bool,
) -> Option<Case> {
    let mut search = Search { keys, scratch: Scratch::new(), tries: TRIES_MAX / 16, may_be_on };
    search.greedy(program, case).map(|(_, case)| case)
}

impl Search<'_> {
    fn judge(&mut self, program: &Program, case: &Case) -> Crossing {
        self.tries = self.tries.saturating_sub(1);
        cross(program, case, self.keys, &mut self.scratch)
    }

    /// Where a carrier that may not carry it holds it up, what it is at the carrier that stops it.
    fn stop(&mut self, program: &Program, case: &Case, crossing: Crossing) -> Crossing {
        let Some(zone) = crossing.held_for else { return crossing };
        let form = crossing.legs.last().map_or(&case.event, |leg| &leg.event).clone();
        let carried = Case { at: vec![Context::Transit], via: vec![zone], event: form, ..case.clone() };
        let at_carrier = self.judge(program, &carried);
        if at_carrier.stopped().is_some() {
            return at_carrier;
        }
        let towards = Case { at: vec![Context::Egress], to: zone, via: Vec::new(), ..case.clone() };
        let at_origin = self.judge(program, &towards);
        if at_origin.stopped().is_some() { at_origin } else { crossing }
    }

    /// Changes that are worth a try, those of the event first.
    fn steps(&self, program: &Program, case: &Case, stop: &Crossing) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let barred = case.via.iter().filter(|zone| stop.held_for == Some(**zone) || is_carrier(stop, **zone));
        for zone in barred {
            let name = program.federation.zone_name(*zone).to_owned();
            steps.push(Step::Event(Edit::Detour { zone: name, index: *zone }));
        }
        if let Some((link, by)) = &stop.held_at {
            for zone in case.via.iter().filter(|zone| link.ends().contains(zone)) {
                let name = program.federation.zone_name(*zone).to_owned();
                steps.push(Step::Event(Edit::Detour { zone: name, index: *zone }));
            }
            let opened = Amendment::except(program, case, (case.from, case.to), by.id());
            steps.extend(opened.map(|one| Step::Policy(Box::new(one))));
        }
        let Some(place) = propose::place(program, case, stop) else { return steps };
        for id in place.stops() {
            steps.extend(place.edits(id).into_iter().map(Step::Event));
        }
        for id in place.stops() {
            steps.extend(place.amendments(id).into_iter().map(|one| Step::Policy(Box::new(one))));
        }
        let mut known: Vec<Step> = Vec::new();
        for step in steps {
            if !known.contains(&step) {
                known.push(step);
            }
        }
        known
    }

    fn passes_with(&mut self, step: &Step, program: &Program, case: &Case) -> bool {
        made(step, program, case).is_some_and(|(other, case)| {
            self.judge(other.as_ref().unwrap_or(program), &case).arrived.is_some()
        })
    }

    fn singles(&mut self, program: &Program, case: &Case, stop: &Crossing, answer: &mut WhyNot) {
        for step in self.steps(program, case, stop) {
            if self.tries == 0 {
                return;
            }
            if self.passes_with(&step, program, case) {
                answer.add(&[step]);
            }
        }
    }

    fn pairs(&mut self, program: &Program, case: &Case, stop: &Crossing, answer: &mut WhyNot) {
        let (wants_event, wants_policy) = (answer.event.is_empty(), answer.policy.is_empty());
        for first in self.steps(program, case, stop).into_iter().take(FIRST_MAX) {
            let is_wanted = match first {
                Step::Event(_) => wants_event,
                Step::Policy(_) => wants_policy,
            };
            let Some((other, next)) = made(&first, program, case).filter(|_| is_wanted) else { continue };
            let after = other.as_ref().unwrap_or(program);
            let crossing = self.judge(after, &next);
            if !is_further(after, (case, stop), (&next, &crossing)) {
                continue;
            }
            let stop = self.stop(after, &next, crossing);
            for second in self.steps(after, &next, &stop) {
                if self.tries == 0 {
                    return;
                }
                if self.passes_with(&second, after, &next) {
                    // What only came into view by the first may be enough by itself.
                    if self.passes_with(&second, program, case) {
                        answer.add(&[second]);
                    } else {
                        answer.add(&[first.clone(), second]);
                    }
                }
            }
        }
    }

    /// Takes the change of the event that leaves the fewest stops, again and again.
    fn greedy(&mut self, program: &Program, case: Case) -> Option<(Vec<Edit>, Case)> {
        let start = case.clone();
        let mut case = case;
        let mut edits = Vec::new();
        let mut crossing = self.judge(program, &case);
        for _ in 0..STEPS_MAX {
            if crossing.arrived.is_some() {
                break;
            }
            let stop = self.stop(program, &case, crossing);
            let mut best: Option<(Edit, Case, Crossing)> = None;
            for step in self.steps(program, &case, &stop) {
                let Step::Event(edit) = step else { continue };
                if self.tries == 0 {
                    return None;
                }
                let Some(next) = edit.apply(&case).filter(|next| (self.may_be_on)(&next.topic)) else {
                    continue;
                };
                let came = self.judge(program, &next);
                let against = best.as_ref().map_or((&case, &stop), |(_, case, known)| (case, known));
                if is_further(program, against, (&next, &came)) {
                    best = Some((edit, next, came));
                }
            }
            let (edit, next, came) = best?;
            edits.push(edit);
            (case, crossing) = (next, came);
        }
        crossing.arrived.is_some().then(|| self.needed(program, start, edits, case))
    }

    /// The edits without those that later ones made needless.
    fn needed(
        &mut self,
        program: &Program,
        start: Case,
        mut edits: Vec<Edit>,
        made: Case,
    ) -> (Vec<Edit>, Case) {
        let mut made = made;
        let mut at = 0;
        while at < edits.len() && edits.len() > 1 {
            let others = edits.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, edit)| edit);
            let fewer = others.into_iter().try_fold(start.clone(), |case, edit| edit.apply(&case));
            match fewer.filter(|case| (self.may_be_on)(&case.topic)) {
                Some(case) if self.judge(program, &case).arrived.is_some() => {
                    edits.remove(at);
                    made = case;
                }
                _ => at += 1,
            }
        }
        (edits, made)
    }
}

fn is_carrier(stop: &Crossing, zone: ZoneIndex) -> bool {
    stop.legs.last().is_some_and(|leg| leg.to == zone && leg.context != Context::Ingress)
}

fn made(step: &Step, program: &Program, case: &Case) -> Option<(Option<Program>, Case)> {
    match step {
        Step::Event(edit) => Some((None, edit.apply(case)?)),
        Step::Policy(amendment) => Some((Some(amendment.apply(program)?), case.clone())),
    }
}

/// Whether an event came further than another: past more borders, or stopped by less at the same one.
fn is_further(program: &Program, before: (&Case, &Crossing), after: (&Case, &Crossing)) -> bool {
    let rank = |(case, crossing): (&Case, &Crossing)| {
        let place = propose::place(program, case, crossing);
        let (stops, unmet) = place.map_or((0, 0), |place| (place.stops().len(), place.unmet()));
        let less = std::cmp::Reverse((stops, unmet));
        (crossing.arrived.is_some(), crossing.legs.len(), less)
    };
    rank(after) > rank(before)
}

impl WhyNot {
    fn add(&mut self, steps: &[Step]) {
        let mut fix = Fix::default();
        for step in steps {
            match step {
                Step::Event(edit) => fix.event.push(edit.clone()),
                Step::Policy(amendment) => fix.policy.push((**amendment).clone()),
            }
        }
        let list = match (fix.event.is_empty(), fix.policy.is_empty()) {
            (false, true) => &mut self.event,
            (true, false) => &mut self.policy,
            _ => &mut self.both,
        };
        // The same two in the other order are the same.
        let is_known = list.iter().any(|known| {
            known.event.len() == fix.event.len()
                && known.policy.len() == fix.policy.len()
                && fix.event.iter().all(|one| known.event.contains(one))
                && fix.policy.iter().all(|one| known.policy.contains(one))
        });
        if !is_known {
            list.push(fix);
        }
    }
}
