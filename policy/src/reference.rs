//! The same decisions, slowly and obviously: no index, no plan, no bits. The oracle of the engine's tests.

use std::collections::BTreeSet;

use crate::engine::{Request, is_met};
use crate::federation::ZoneIndex;
use crate::model::{Action, Context, Disposition, Match, Mode, OnViolation, Rule, Selector, Truth};
use crate::program::Program;

/// What the rules say, in any order. Protections are not looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) stops: Vec<(String, Disposition)>,
    pub(crate) warned: Vec<String>,
    pub(crate) shadowed: Vec<String>,
    pub(crate) waived: Vec<String>,
}

/// `facts` are asked of conditions only.
pub(crate) fn said(program: &Program, request: &Request<'_>, facts: &impl crate::model::Facts) -> Said {
    let zone = |index: ZoneIndex| &program.federation.zones[usize::from(index.0)];
    let (from, to) = (zone(request.from), zone(request.to));
    let context = request.context;
    let holds = |m: &Match| {
        if !m.topic_holds(request.topic) || !m.border_holds(context, from, to) {
            return Truth::No;
        }
        m.conditions_hold(facts)
    };
    let stripped = stripped(program, request, &holds);
    let checked = Request { event: &stripped, ..*request };
    let mut said = Said::default();
    let mut permits: Vec<&Rule> = Vec::new();
    for rule in &program.rules {
        if rule.is_about_links() || !rule.speaks(&program.federation, context, request.from, request.to) {
            continue;
        }
        let excepted = rule.except.as_ref().map_or(Truth::No, holds);
        let applies = holds(&rule.matcher).and(excepted.not());
        if applies == Truth::No || (applies == Truth::Unknown && rule.is_permit()) {
            continue;
        }
        if is_waived(program, request, rule, &holds) {
            said.waived.push(rule.id.to_string());
            continue;
        }
        if rule.is_permit() && rule.mode == Mode::Enforce {
            permits.push(rule);
        }
        let disposition = if applies == Truth::Unknown {
            Some(rule.on_error)
        } else if is_violated(rule, &checked, program) {
            Some(match rule.on_violation {
                OnViolation::Stop(disposition) => disposition,
                OnViolation::Strip if rule.mode == Mode::Enforce => continue,
                OnViolation::Strip | OnViolation::Annotate => Disposition::Reject,
            })
        } else {
            None
        };
        let Some(disposition) = disposition else { continue };
        match rule.mode {
            Mode::Enforce => said.stops.push((rule.id.to_string(), disposition)),
            Mode::Warn => said.warned.push(rule.id.to_string()),
            Mode::Shadow => said.shadowed.push(rule.id.to_string()),
        }
    }
    if context == Context::Egress {
        // They stop nothing; where they would act and may not they are told of.
        each_denial(program, request, facts, |rule, _, is_waived| match rule.mode {
            _ if is_waived => said.waived.push(rule.id.to_string()),
            Mode::Enforce => {}
            Mode::Warn => said.warned.push(rule.id.to_string()),
            Mode::Shadow => said.shadowed.push(rule.id.to_string()),
        });
    }
    let permitted = |layer: &str| permits.iter().any(|rule| **rule.layer.name() == *layer);
    let mut layers: Vec<String> =
        if context.is_border() { vec!["federation".to_owned()] } else { Vec::new() };
    for rule in program.rules.iter().filter(|rule| rule.is_permit() && rule.mode == Mode::Enforce) {
        let name = rule.layer.name().to_string();
        let narrows = rule.layer.speaks_at(context, from, to) && rule.matcher.at & context.bit() != 0;
        if narrows && !layers.contains(&name) {
            layers.push(name);
        }
    }
    for layer in layers {
        if !permitted(&layer) {
            said.stops.push((format!("default-deny@{layer}"), Disposition::Reject));
        }
    }
    if let Some(by) = program.unmet_obligation(request) {
        said.stops.push((by.id().to_owned(), Disposition::Reject));
    }
    said
}

/// The links that no event may cross of which this is one, by the zones at their ends.
pub(crate) fn denied_links(
    program: &Program,
    request: &Request<'_>,
    facts: &impl crate::model::Facts,
) -> BTreeSet<(String, String)> {
    let mut denied = BTreeSet::new();
    each_denial(program, request, facts, |rule, ends, is_waived| {
        if rule.mode == Mode::Enforce && !is_waived {
            denied.insert(ends);
        }
    });
    denied
}

/// Every rule with every link that it takes off the way of the event, if its mode lets it.
fn each_denial(
    program: &Program,
    request: &Request<'_>,
    facts: &impl crate::model::Facts,
    mut found: impl FnMut(&Rule, (String, String), bool),
) {
    let zone = |index: ZoneIndex| &program.federation.zones[usize::from(index.0)];
    let (from, to) = (zone(request.from), zone(request.to));
    let holds = |m: &Match| match m.topic_holds(request.topic) && m.border_holds(request.context, from, to) {
        true => m.conditions_hold(facts),
        false => Truth::No,
    };
    for rule in program.rules.iter().filter(|rule| rule.is_about_links()) {
        for link in &rule.matcher.links {
            let [one, other] = link.ends().map(zone);
            let is_heard = [from, one, other].into_iter().any(|zone| rule.layer.speaks_for(zone));
            let is_excepted = |except: &Match| except.links.is_empty() || except.links.contains(link);
            let excepted = rule.except.as_ref().filter(|except| is_excepted(except)).map_or(Truth::No, holds);
            if is_heard && holds(&rule.matcher).and(excepted.not()) != Truth::No {
                let mut ends = [one.name.clone(), other.name.clone()];
                ends.sort();
                let [one, other] = ends;
                // Nothing is held for links, so nobody is released from a rule about them.
                let is_waived = is_waived(program, &Request { released: &[], ..*request }, rule, &holds);
                found(rule, (one, other), is_waived);
            }
        }
    }
}

/// By a document, or because a person has released the event from the rule.
fn is_waived(
    program: &Program,
    request: &Request<'_>,
    rule: &Rule,
    holds: &impl Fn(&Match) -> Truth,
) -> bool {
    let by_document = program.waivers.iter().any(|waiver| {
        *waiver.rule == *rule.id && waiver.expires > request.now && holds(&waiver.matcher) == Truth::Yes
    });
    by_document || !rule.is_permit() && request.released.contains(&rule.id)
}

/// The event without the optional attributes that fail.
fn stripped(
    program: &Program,
    request: &Request<'_>,
    holds: &impl Fn(&Match) -> Truth,
) -> meshbridge_event::Event {
    let zone = |index: ZoneIndex| (index, &program.federation.zones[usize::from(index.0)]);
    let ends = (zone(request.from), zone(request.to));
    let mut event = request.event.to_builder();
    for rule in program.rules.iter().filter(|rule| rule.mode == Mode::Enforce) {
        let Action::Require { attributes, .. } = &rule.action else { continue };
        let excepted = rule.except.as_ref().map_or(Truth::No, holds);
        let applies = rule.speaks(&program.federation, request.context, request.from, request.to)
            && holds(&rule.matcher).and(excepted.not()) == Truth::Yes;
        let is_waived = is_waived(program, request, rule, holds);
        if rule.on_violation != OnViolation::Strip || !applies || is_waived {
            continue;
        }
        for one in attributes.iter().filter(|one| !is_met(one, request.event, ends)) {
            event = event.remove_attribute(&one.attribute);
        }
    }
    event.build().expect("no larger than it was")
}

fn is_violated(rule: &Rule, request: &Request<'_>, program: &Program) -> bool {
    let zone = |index: ZoneIndex| (index, &program.federation.zones[usize::from(index.0)]);
    let (from, to) = (zone(request.from), zone(request.to));
    let any = |selectors: &[Selector]| selectors.iter().any(|selector| selector.selects(to.1));
    match &rule.action {
        Action::Deny => true,
        Action::Residency { transit, .. } if request.context == Context::Transit => !any(transit),
        Action::Residency { allow, .. } => !any(allow),
        Action::Require { attributes, hops_max } => {
            hops_max.is_some_and(|max| request.hops > max)
                || !attributes.iter().all(|one| is_met(one, request.event, (from, to)))
        }
        Action::Structure(structure) => {
            let tokens: Vec<&str> = request.topic.as_str().split('.').collect();
            let good = |at: usize| {
                let segment = &structure.segments[at];
                tokens.get(at).is_some_and(|token| {
                    (segment.values.is_empty() || segment.values.iter().any(|value| value == token))
                        && segment.pattern.as_ref().is_none_or(|pattern| pattern.is_match(token, from, to))
                })
            };
            let prefix = |template: &crate::message::Template| {
                // The tests write `${domain}`, the first token, and nothing else.
                *template
                    == crate::message::Template::parse_prefix("${domain}", &["domain", "more"])
                        .expect("known")
                    && request.event.ty().starts_with(tokens[0])
            };
            !(0..structure.segments.len()).all(good)
                || (!structure.more && tokens.len() > structure.segments.len())
                || !structure.type_prefix.as_ref().is_none_or(prefix)
        }
        Action::Limit(limit) => {
            let size = request.event.encoded().len() as u64;
            limit.event_bytes.is_some_and(|max| size > max)
        }
        _ => false,
    }
}
