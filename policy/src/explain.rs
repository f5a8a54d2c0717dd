//! Why an event passes or does not: the decisions of its whole way, told rule by rule (POLICY §8, `explain`).
//!
//! The decisions are those of [`cross`], which judges with the engine of the daemon; nothing here decides anything. What
//! is added is what the engine has no time to write down: of each rule that did not apply the first key that failed, of
//! each border what it did to the fields, and what the decision cost.

mod fields;
mod rules;
mod text;

use meshbridge_detect::tape::TapeBuffer;
use meshbridge_topic::Topic;

use crate::condition::EventFacts;
use crate::decision::Verdict;
use crate::engine::{Data, Scratch};
use crate::federation::ZoneIndex;
use crate::keys::KeyRing;
use crate::model::{Action, Context, Rule};
use crate::program::{Plan, Program};
use crate::protect::Randomness;
use crate::testing::{Case, Crossing, Leg, cross, request};

pub use fields::Change;
use rules::Told;
pub use rules::{Effect, LayerView, RuleView};

/// Whether values of the event may be shown as they were before they were protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Their shape only.
    Masked,
    Shown,
}

/// A whole way, explained. [`Display`](std::fmt::Display) prints it as a tree.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub topic: String,
    pub from: String,
    pub to: String,
    /// Of the whole way: forward, reject, dead-letter, quarantine or hold.
    pub verdict: &'static str,
    /// The rule that stopped the event or makes it wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also_by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// A zone that was to carry the event and may not; it waits for another path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_for: Option<String>,
    /// A link on the way that is denied to the event; it waits for another path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_at: Option<String>,
    /// In the order of the way; the last is where it ended.
    pub contexts: Vec<ContextView>,
}

/// One place where the event was judged.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContextView {
    pub context: &'static str,
    pub from: String,
    pub to: String,
    pub verdict: &'static str,
    /// The layers that speak here, outermost first, with their rules.
    pub layers: Vec<LayerView>,
    /// What was edited here.
    pub fields: Vec<Change>,
    /// Zones for which this verdict and these bytes are the same, but for conditions on the zone itself. Egress only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_class: Option<Vec<String>>,
    /// Zones that may carry the form made here. Egress only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carriers: Option<Vec<String>>,
    /// Links that the event must not cross. Egress only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied_links: Option<Vec<String>>,
    pub cost: Cost,
    /// What the verdict does not show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What a decision takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Rules that topic and zones leave; the others are never looked at.
    pub candidates: usize,
    /// Of these the ones whose conditions are evaluated for each event.
    pub conditional: usize,
    /// Steps of conditions and checks in the worst case that event sizes allow.
    pub steps_max: u64,
    /// Classes of personal data that are looked for; 0 where nothing is searched.
    pub classes_searched: usize,
    /// Evaluations, and forms, that all destinations of the topic take together. Egress only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<usize>,
}

/// Judges the case everywhere it says, and explains what came.
pub fn explain(program: &Program, case: &Case, keys: &dyn KeyRing, values: Values) -> Explanation {
    let mut scratch = Scratch::new();
    let crossing = cross(program, case, keys, &mut scratch);
    let name = |zone: ZoneIndex| program.federation.zone_name(zone).to_owned();
    let stopped = crossing.stopped();
    Explanation {
        topic: case.topic.as_str().to_owned(),
        from: name(case.from),
        to: name(case.to),
        verdict: crossing.verdict(),
        by: crossing.by().map(|rule| rule.id().to_owned()),
        also_by: stopped
            .map(|stopped| stopped.also_by.iter().map(|rule| rule.id().to_owned()).collect())
            .unwrap_or_default(),
        message: stopped.and_then(|stopped| stopped.message.clone()),
        help: stopped.and_then(|stopped| stopped.help.as_deref().map(str::to_owned)),
        held_for: crossing.held_for.map(name),
        held_at: crossing.held_at.as_ref().map(|(link, _)| link.name(&program.federation)),
        contexts: crossing.legs.iter().map(|leg| view(program, case, keys, &crossing, leg, values)).collect(),
    }
}

fn view(
    program: &Program,
    case: &Case,
    keys: &dyn KeyRing,
    crossing: &Crossing,
    leg: &Leg,
    values: Values,
) -> ContextView {
    let randomness = Randomness::new([0; 32]);
    let asked = request(case, leg.context, leg.to, &leg.event, keys, &randomness);
    let asked = crate::Request { hops: leg.hops, ..asked };
    let editors = program.editing_rules(&asked, &mut Scratch::new());
    let plan = program.plan(leg.context, leg.from, leg.to, &case.topic);
    let mut buffer = TapeBuffer::new();
    let facts = EventFacts::new(&asked, &program.federation, Data::read(&leg.event, &mut buffer));
    let is_egress = leg.context == Context::Egress;
    let classes = is_egress.then(|| classes_of(program, leg.from, &case.topic));
    let name = |zone: &ZoneIndex| program.federation.zone_name(*zone).to_owned();
    let edited = match &leg.decision.verdict {
        Verdict::Forward { event } => event.as_ref(),
        _ => None,
    };
    let findings =
        leg.decision.report.as_deref().map(|report| report.findings.as_slice()).unwrap_or_default();
    ContextView {
        context: leg.context.name(),
        from: name(&leg.from),
        to: name(&leg.to),
        verdict: leg.verdict(),
        layers: rules::layers(program, &plan, &Told { leg, editors: &editors, topic: &case.topic }, &facts),
        fields: edited.map(|after| fields::changes(&leg.event, after, findings, values)).unwrap_or_default(),
        destination_class: classes.as_ref().map(|classes| {
            let own =
                classes.iter().find(|class| class.contains(&leg.to)).map(Vec::as_slice).unwrap_or_default();
            own.iter().map(name).collect()
        }),
        carriers: crossing
            .carriers
            .as_ref()
            .filter(|_| is_egress)
            .map(|set| set.iter().map(|zone| name(&zone)).collect()),
        denied_links: crossing
            .denied_links
            .as_ref()
            .filter(|_| is_egress)
            .map(|links| links.iter().map(|link| link.name(&program.federation)).collect()),
        cost: cost(program, &plan, classes.map(|classes| classes.len())),
        notes: notes(program, &plan, leg),
    }
}

/// All destinations of a zone, those of one class together.
fn classes_of(program: &Program, from: ZoneIndex, topic: &Topic) -> Vec<Vec<ZoneIndex>> {
    let mut scratch = Scratch::new();
    let mut classes: Vec<(crate::ClassId, Vec<ZoneIndex>)> = Vec::new();
    for to in program.federation.zone_indexes().filter(|to| *to != from) {
        let class = program.class(Context::Egress, from, to, topic, &mut scratch);
        match classes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, zones)) => zones.push(to),
            None => classes.push((class, vec![to])),
        }
    }
    classes.into_iter().map(|(_, zones)| zones).collect()
}

fn candidates<'a>(program: &'a Program, plan: &'a Plan) -> impl Iterator<Item = &'a Rule> {
    plan.candidates.iter().map(|candidate| &program.rules[candidate.rule as usize])
}

fn cost(program: &Program, plan: &Plan, evaluations: Option<usize>) -> Cost {
    let of_rule = |rule: &Rule| -> u64 {
        let matches = [Some(&rule.matcher), rule.except.as_ref()].into_iter().flatten();
        let conditions = matches.filter_map(|one| one.when.as_ref()).map(|(condition, _)| condition.cost());
        let checks = match &rule.action {
            Action::Validate(validate) => validate.checks.as_slice(),
            _ => &[],
        };
        conditions.chain(checks.iter().map(|check| check.expression.cost())).sum()
    };
    Cost {
        candidates: plan.candidates.len(),
        conditional: candidates(program, plan).filter(|rule| !rule.is_static()).count(),
        steps_max: candidates(program, plan).map(of_rule).sum(),
        classes_searched: plan.wanted.len(),
        evaluations,
    }
}

fn notes(program: &Program, plan: &Plan, leg: &Leg) -> Vec<String> {
    let mut notes = Vec::new();
    let judging = match leg.context {
        Context::Publish | Context::Egress | Context::Subscribe => leg.from,
        _ => leg.to,
    };
    let zone = program.federation.zone_name(judging);
    let bridges = program.federation.bridges().iter().filter(|bridge| bridge.zone == zone).count();
    for rule in candidates(program, plan) {
        if let Action::Limit(limit) = &rule.action
            && limit.rate.is_some()
        {
            notes.push(match bridges {
                0 | 1 => format!("{}: the rate is not asked here, a real bridge keeps count", rule.id),
                _ => format!(
                    "{}: the rate holds for each bridge, so zone {zone} admits {bridges} times as much",
                    rule.id
                ),
            });
        }
    }
    notes
}

#[cfg(test)]
mod tests;
