//! What each rule of a layer had to say of an event.

use meshbridge_topic::Topic;

use crate::decision::{Report, RuleRef};
use crate::federation::Zone;
use crate::model::{
    Action, Context, Facts, Layer, Match, Mode, Rule, Selector, Truth, agree, attribute_text,
};
use crate::program::{LinkCandidate, Plan, Program};
use crate::testing::Leg;

/// A layer where an event is judged.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerView {
    pub layer: String,
    /// Whether one of its permits covers the event; `None` where the layer does not narrow here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permits: Option<bool>,
    pub rules: Vec<RuleView>,
}

/// A rule where an event is judged.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    pub id: String,
    pub file: String,
    pub line: usize,
    pub action: &'static str,
    pub mode: &'static str,
    pub effect: Effect,
}

/// What came of a rule.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Effect {
    /// It does not apply. The first key that failed, as it is written, and why.
    DoesNotApply { key: String, why: String },
    /// It would apply, but a waiver is in force.
    Waived { waiver: String, reason: String },
    /// It is a permit, and opens its layer.
    Permits,
    /// It stops the event.
    Stops,
    /// It edits the event, or would if the event were not stopped.
    Edits,
    /// It applies, and has no objection.
    Passes,
    /// It stops nothing, and takes these links off the way of the event.
    DeniesLinks { links: Vec<String> },
    /// It has an objection, but its mode lets it only tell.
    Reports,
    /// It makes the event wait.
    Holds,
    /// It is a permit whose condition cannot be computed, and so does not permit.
    CannotBeComputed { key: String },
}

/// What the engine told of one border.
pub(super) struct Told<'a> {
    pub(super) leg: &'a Leg,
    /// Rules that edit the event.
    pub(super) editors: &'a [RuleRef],
    pub(super) topic: &'a Topic,
}

pub(super) fn layers(program: &Program, plan: &Plan, told: &Told<'_>, facts: &impl Facts) -> Vec<LayerView> {
    let federation = &program.federation;
    let Told { leg, topic, .. } = told;
    let (from, to) = (federation.zone_at(leg.from), federation.zone_at(leg.to));
    let mut views: Vec<(&Layer, LayerView)> = Vec::new();
    let place = Place { context: leg.context, from, to, topic };
    // Rules are sorted by the depth of their layer, so layers come in order too.
    let speaks = |rule: &&Rule| match rule.is_about_links() {
        // Told where they are denied, which is for the whole way.
        true => {
            let mut links = rule.matcher.links.iter();
            leg.context == Context::Egress
                && links.any(|link| rule.speaks_for_link(federation, leg.from, *link))
        }
        false => rule.speaks(federation, leg.context, leg.from, leg.to),
    };
    for rule in program.rules.iter().filter(speaks) {
        let view = RuleView {
            id: rule.id.to_string(),
            file: rule.span.file.to_string(),
            line: rule.span.line,
            action: rule.action.name(),
            mode: mode(rule.mode),
            effect: denial(program, plan, rule, told, facts)
                .filter(|_| rule.mode == Mode::Enforce)
                .unwrap_or_else(|| effect(program, rule, &place, told, facts)),
        };
        match views.iter_mut().find(|(layer, _)| **layer == rule.layer) {
            Some((_, layer)) => layer.rules.push(view),
            None => {
                let layer =
                    LayerView { layer: rule.layer.name().to_string(), permits: None, rules: vec![view] };
                views.push((&rule.layer, layer));
            }
        }
    }
    for gate in &plan.gates {
        if !views.iter().any(|(layer, _)| **layer == gate.layer) {
            let view = LayerView { layer: gate.layer.name().to_string(), permits: None, rules: Vec::new() };
            views.insert(0, (&gate.layer, view));
        }
        for (_, view) in views.iter_mut().filter(|(layer, _)| **layer == gate.layer) {
            view.permits = Some(view.rules.iter().any(|rule| rule.effect == Effect::Permits));
        }
    }
    views.into_iter().map(|(_, view)| view).collect()
}

/// The links that the rule denies to the event, unless it is waived.
fn denial(
    program: &Program,
    plan: &Plan,
    rule: &Rule,
    told: &Told<'_>,
    facts: &impl Facts,
) -> Option<Effect> {
    let of_rule = |one: &&LinkCandidate| *program.rules[one.candidate.rule as usize].id == *rule.id;
    let links = plan.links.iter().find(of_rule)?.denied(rule, facts);
    let links: Vec<String> = links.map(|link| link.name(&program.federation)).collect();
    let report = told.leg.decision.report.as_deref();
    let is_waived =
        report.is_some_and(|report| report.waived.iter().any(|(waived, _)| waived.id() == &*rule.id));
    (!links.is_empty() && !is_waived).then_some(Effect::DeniesLinks { links })
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Warn => "warn",
        Mode::Shadow => "shadow",
    }
}

/// Where an event is judged, without the event.
struct Place<'a> {
    context: Context,
    from: &'a Zone,
    to: &'a Zone,
    topic: &'a Topic,
}

fn effect(program: &Program, rule: &Rule, place: &Place<'_>, told: &Told<'_>, facts: &impl Facts) -> Effect {
    let leg = told.leg;
    let is_it = |one: &RuleRef| one.id() == &*rule.id;
    let report = leg.decision.report.as_deref();
    let among =
        |pick: fn(&Report) -> &Vec<RuleRef>| report.is_some_and(|report| pick(report).iter().any(is_it));
    if let Some((_, waiver)) =
        report.and_then(|report| report.waived.iter().find(|(waived, _)| is_it(waived)))
    {
        let reason = program.waivers.iter().find(|one| one.name == *waiver).map(|one| one.reason.clone());
        return Effect::Waived { waiver: waiver.to_string(), reason: reason.unwrap_or_default() };
    }
    if leg.decision.stopped().is_some_and(|stopped| is_it(&stopped.by) || stopped.also_by.iter().any(is_it)) {
        return Effect::Stops;
    }
    if leg.held_by().is_some_and(is_it) {
        return Effect::Holds;
    }
    if among(|report| &report.warned) || among(|report| &report.shadowed) {
        return Effect::Reports;
    }
    if let Some((key, why)) = failed(rule, place, facts) {
        return Effect::DoesNotApply { key, why };
    }
    let unknown = unknown(rule, place, facts).filter(|_| rule.is_permit());
    match (&rule.action, unknown) {
        (_, Some(key)) => Effect::CannotBeComputed { key },
        (Action::Permit, None) if rule.mode == Mode::Enforce => Effect::Permits,
        (_, None) if told.editors.iter().any(is_it) => Effect::Edits,
        _ => Effect::Passes,
    }
}

/// The first key that keeps the rule from applying, in the order in which the engine asks them.
fn failed(rule: &Rule, place: &Place<'_>, facts: &impl Facts) -> Option<(String, String)> {
    if let Some((key, why)) = failed_in(&rule.matcher, place, facts, Truth::No) {
        return Some((format!("match.{key}"), why));
    }
    let except = rule.except.as_ref()?;
    let holds = failed_in(except, place, facts, Truth::No).is_none()
        && failed_in(except, place, facts, Truth::Unknown).is_none();
    holds.then(|| ("except".to_owned(), "the exception holds".to_owned()))
}

/// The first condition that is neither true nor false.
fn unknown(rule: &Rule, place: &Place<'_>, facts: &impl Facts) -> Option<String> {
    let of_match =
        failed_in(&rule.matcher, place, facts, Truth::Unknown).map(|(key, _)| format!("match.{key}"));
    let of_except = || {
        let except = rule.except.as_ref()?;
        // An exception that fails anyway does not matter.
        if failed_in(except, place, facts, Truth::No).is_some() {
            return None;
        }
        failed_in(except, place, facts, Truth::Unknown).map(|(key, _)| format!("except.{key}"))
    };
    of_match.or_else(of_except)
}

/// The first key of a match with this outcome. Only conditions can be [`Truth::Unknown`].
fn failed_in(one: &Match, place: &Place<'_>, facts: &impl Facts, wanted: Truth) -> Option<(String, String)> {
    let said = |key: &str, why: String| Some((key.to_owned(), why));
    if wanted == Truth::No {
        if one.at & place.context.bit() == 0 {
            let at = Context::ALL.into_iter().filter(|context| one.at & context.bit() != 0);
            let at: Vec<&str> = at.map(Context::name).collect();
            return said("at", format!("judged at {}", at.join(", ")));
        }
        if !one.topic_holds(place.topic) {
            return said("topics", "no filter matches".to_owned());
        }
        for (key, selector, zone) in [("from", &one.from, place.from), ("to", &one.to, place.to)] {
            if let Some((attribute, why)) = unselected(selector, zone) {
                return Some((format!("{key}.{attribute}"), why));
            }
        }
        if let Some(name) = one.same.iter().find(|name| !agree(name, place.from, place.to)) {
            return said("same", format!("{name} differs"));
        }
    }
    conditions(one).into_iter().find_map(|(key, part)| {
        let why = match wanted {
            Truth::Unknown => "cannot be computed",
            _ if key == "when" => "is false",
            _ if part.event.iter().any(|(name, _)| attribute_text(facts.event(), name).is_none()) => {
                "is absent"
            }
            _ => "does not match",
        };
        (part.conditions_hold(facts) == wanted).then(|| (key, why.to_owned()))
    })
}

fn unselected(selector: &Selector, zone: &Zone) -> Option<(String, String)> {
    for (name, values) in &selector.attributes {
        match zone.attribute(name) {
            Some(value) if values.iter().any(|one| one == value) => {}
            Some(value) => {
                return Some((format!("{name}s"), format!("{value} is none of {}", values.join(", "))));
            }
            None => return Some((format!("{name}s"), format!("zone {} has no {name}", zone.name))),
        }
    }
    let (key, value) = selector.labels.iter().find(|(key, value)| zone.labels.get(key) != Some(value))?;
    Some((format!("labels.{key}"), format!("is not {value} for {}", zone.name)))
}

/// Each condition as a match of its own, so that it is judged by the code that judges them together.
fn conditions(one: &Match) -> Vec<(String, Match)> {
    let mut parts = Vec::new();
    for (name, globs) in &one.event {
        parts.push((
            format!("event.{name}"),
            Match { event: vec![(name.clone(), globs.clone())], ..Match::default() },
        ));
    }
    if !one.publisher.is_empty() {
        parts.push(("publisher".to_owned(), Match { publisher: one.publisher.clone(), ..Match::default() }));
    }
    if !one.subscriber.is_empty() {
        parts.push((
            "subscriber".to_owned(),
            Match { subscriber: one.subscriber.clone(), ..Match::default() },
        ));
    }
    if one.when.is_some() {
        parts.push(("when".to_owned(), Match { when: one.when.clone(), ..Match::default() }));
    }
    parts
}
