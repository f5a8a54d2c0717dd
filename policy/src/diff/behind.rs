//! What rules behind a border make of a form that egress makes differently.
//!
//! A destination judges the event as its origin made it. Where the two editions make another form at egress, a check, or
//! a condition, at `ingress` or `deliver` that reads what changed may come out differently although it stays as it is:
//! what is redacted now no longer meets the `forbid` behind the border, and a schema no longer fits.
//!
//! Told is what reads the place that changed, or looks for the class. What class a value of an attribute is of is only
//! known where the Classification or a path says so: the attributes that hold a class somewhere are not told.

use super::checks::Changed;
use super::edition::Edition;
use super::forms::{Shown, Thing};
use super::report::{Condition, Effect, Line};
use super::{Aspect, Part};
use crate::classes::ClassSet;
use crate::model::{Action, Context, Match, Mode, Rule};
use crate::prove::{Here, Leaf};

/// Where the event as egress made it is judged, and under which aspect that is told.
const BEHIND: [(Context, Aspect); 2] =
    [(Context::Ingress, Aspect::Arrives), (Context::Deliver, Aspect::Delivered)];

/// Rules of both editions behind the border that read what is shown differently. `is_weaker`: the new edition shows
/// more.
pub(super) fn changed(
    editions: [(&Edition<'_>, &Here); 2],
    shown: &Shown<'_>,
    is_weaker: bool,
) -> Vec<(Aspect, Changed)> {
    let mut found: Vec<(Aspect, Changed)> = Vec::new();
    for (at, (edition, here)) in editions.into_iter().enumerate() {
        for (context, aspect) in BEHIND {
            for applied in &here.rules {
                let rule = edition.borders.rule(applied);
                let Some((thing, effect)) = reads(rule, &shown.things, is_weaker) else { continue };
                for term in edition.terms(applied, context) {
                    let pairs = term.pairs.and(&shown.part.pairs);
                    if pairs.is_empty() {
                        continue;
                    }
                    let mut part = Part::new(pairs);
                    let line = Line::of(rule, "reads what egress makes");
                    if at == 0 {
                        part.before.push(line)
                    } else {
                        part.after.push(line)
                    }
                    part.depends_on.extend(shown.part.depends_on.iter().cloned());
                    part.depends_on.push(Condition::of(edition, &term, "it reads it").of_form(&thing));
                    let what = format!("{} meets another form of {thing}", rule.action.name());
                    let same = |(of, known): &&mut (Aspect, Changed)| {
                        *of == aspect
                            && known.name == *rule.id
                            && known.what == what
                            && known.effect == effect
                    };
                    match found.iter_mut().find(same) {
                        Some((_, known)) => known.part.join(part),
                        None => {
                            let name = rule.id.to_string();
                            found.push((aspect, Changed { part, name, what, effect }));
                        }
                    }
                }
            }
        }
    }
    found
}

/// The first thing that a rule reads, and in which direction it may change.
fn reads(rule: &Rule, things: &[Thing<'_>], is_weaker: bool) -> Option<(String, Effect)> {
    if rule.mode != Mode::Enforce {
        return None;
    }
    things.iter().find_map(|thing| {
        let attribute = thing.place.and_then(|place| place.attribute());
        let is_data = thing.place.is_none_or(|place| place.is_data());
        let of_match = |one: &Match| {
            let of_when = one.when.as_ref().is_some_and(|(condition, _)| {
                let reads = condition.reads();
                is_data && !reads.data.is_empty()
                    || attribute.is_some_and(|name| reads.attributes.contains(name))
            });
            of_when || attribute.is_some_and(|name| one.event.iter().any(|(of, _)| of == name))
        };
        let is_condition = std::iter::once(&rule.matcher).chain(&rule.except).any(of_match);
        let effect = match &rule.action {
            // Less of it to be found, or more.
            Action::Forbid(forbid) if !is_condition => {
                let classes = match thing.leaf {
                    Leaf::Known(class) => ClassSet::of(class.name()),
                    Leaf::Unknown(family) => ClassSet::of(family),
                };
                let looks = !forbid.classes.intersection(classes).is_empty();
                looks.then_some(if is_weaker { Effect::Tighter } else { Effect::Looser })
            }
            Action::Require { attributes, .. } if !is_condition => {
                let is_asked = |name| attributes.iter().any(|one| one.attribute == name);
                attribute.is_some_and(is_asked).then_some(Effect::Either)
            }
            Action::Validate(validate) if !is_condition => {
                let of_check = |check: &crate::model::Check| {
                    let reads = check.expression.reads();
                    is_data && !reads.data.is_empty()
                        || attribute.is_some_and(|name| reads.attributes.contains(name))
                };
                let is_read = is_data && validate.schema.is_some() || validate.checks.iter().any(of_check);
                is_read.then_some(Effect::Either)
            }
            // How much of the value is shown is told as a form; whether it is, where a condition decides, is not.
            Action::Limit(_) | Action::Structure(_) if !is_condition => None,
            _ => is_condition.then_some(Effect::Either),
        };
        Some((thing.name(), effect?))
    })
}
