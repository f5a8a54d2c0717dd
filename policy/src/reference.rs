//! The same decisions, slowly and obviously: no index, no cache, no bits. The oracle of the engine's tests.

use meshbridge_event::Event;
use meshbridge_topic::Topic;

use crate::compile::Program;
use crate::engine::{has_unmet_obligation, is_met};
use crate::federation::ZoneIndex;
use crate::model::{Action, Context, Disposition, Match, Rule};

/// Every rule that stops the event, with its disposition, in any order. Protections are not looked at.
pub(crate) fn stops(
    program: &Program,
    context: Context,
    from: ZoneIndex,
    to: ZoneIndex,
    topic: &Topic,
    event: &Event,
) -> Vec<(String, Disposition)> {
    let zone = |index: ZoneIndex| &program.federation.zones[usize::from(index.0)];
    let holds = |m: &Match| {
        m.topic_holds(topic) && m.border_holds(context, zone(from), zone(to)) && m.event_holds(event)
    };
    let speaks = |rule: &Rule| rule.speaks(&program.federation, context, from, to);
    let applies =
        |rule: &&Rule| speaks(rule) && holds(&rule.matcher) && !rule.except.as_ref().is_some_and(holds);
    let mut stops = Vec::new();
    for rule in program.rules.iter().filter(applies) {
        match &rule.action {
            Action::Deny => stops.push((rule.id.clone(), rule.on_violation)),
            Action::Require(all) if !all.iter().all(|one| is_met(one, event)) => {
                stops.push((rule.id.clone(), rule.on_violation));
            }
            _ => {}
        }
    }
    let is_permit = |rule: &&Rule| matches!(rule.action, Action::Permit);
    let permitted =
        |layer: &str| program.rules.iter().filter(applies).filter(is_permit).any(|r| r.layer.name() == layer);
    let mut layers = vec!["federation".to_owned()];
    for rule in program.rules.iter().filter(is_permit) {
        // An inner layer with a permit for this context narrows to what its permits cover.
        let name = rule.layer.name();
        if speaks(rule) && rule.matcher.at & context.bit() != 0 && !layers.contains(&name) {
            layers.push(name);
        }
    }
    for layer in layers {
        if !permitted(&layer) {
            stops.push((format!("default-deny@{layer}"), Disposition::Reject));
        }
    }
    if has_unmet_obligation(event) {
        stops.push(("federation/unmet-obligation".to_owned(), Disposition::Reject));
    }
    stops
}
