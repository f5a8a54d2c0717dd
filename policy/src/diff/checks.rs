//! What events must be or hold: checks that one edition makes and the other does not, or not as strictly.
//!
//! What a check stops hangs on the event, so two checks are compared by what they say. Limits, lists of classes and
//! lists of attributes can be put in an order; a pattern, a schema or a condition that reads differently may be stricter
//! or less strict, and is told as either.

use std::collections::BTreeMap;

use super::edition::{Edition, Term};
use super::known::{self, Known};
use super::report::{Condition, Effect, Line};
use super::{Aspect, Part};
use crate::model::{Action, Amount, CLASSIFYING, Forbid, Limit, Mode, OnViolation, Rate, Requirement, Rule};
use crate::prove::{Here, Pairs, Zones};

/// A check that changed, where it did.
pub(super) struct Changed {
    pub(super) part: Part,
    /// The id of the rule, or what else is checked.
    pub(super) name: String,
    pub(super) what: String,
    pub(super) effect: Effect,
}

fn is_check(rule: &Rule) -> bool {
    rule.mode == Mode::Enforce
        && matches!(
            rule.action,
            Action::Require { .. }
                | Action::Validate(_)
                | Action::Structure(_)
                | Action::Forbid(_)
                | Action::Limit(_)
                | Action::Protect(_)
        )
}

/// A check, or a protection with what it cannot protect and so stops, where the same is known of topics.
struct Check {
    term: Term,
    known: Known,
    /// Pairs where it reads something of zones that changed.
    moved: Pairs,
}

/// Checks of an atom, of the pairs between which events pass in both editions.
pub(super) fn changed(
    old: (&Edition<'_>, &Here),
    new: (&Edition<'_>, &Here),
    aspect: Aspect,
    pairs: &Pairs,
) -> Vec<Changed> {
    let checks = |(edition, here): (&Edition<'_>, &Here)| -> Vec<Check> {
        let mut checks = Vec::new();
        for context in aspect.checked() {
            for applied in &here.rules {
                let rule = edition.borders.rule(applied);
                if is_check(rule) && aspect.asks(*context, rule) {
                    let terms = edition.terms(applied, *context).into_iter();
                    let split = terms.flat_map(|term| known::split(edition, here, term));
                    let moved = known::moved(edition, rule);
                    checks.extend(split.map(|(term, known)| Check { term, known, moved: moved.clone() }));
                }
            }
        }
        checks
    };
    let (of_old, of_new) = (checks(old), checks(new));
    let mut found: BTreeMap<String, Changed> = BTreeMap::new();
    let lost = lost((old.0, &of_old), (new.0, &of_new), pairs);
    let gained = self::lost((new.0, &of_new), (old.0, &of_old), pairs);
    for (is_loss, (term, pairs)) in
        lost.into_iter().map(|one| (true, one)).chain(gained.into_iter().map(|one| (false, one)))
    {
        let edition = if is_loss { old.0 } else { new.0 };
        let rule = edition.rule(&term);
        let effect = if is_loss { Effect::Looser } else { Effect::Tighter };
        let mut part = Part::new(pairs);
        for (edition, lines, all) in [(old.0, &mut part.before, &of_old), (new.0, &mut part.after, &of_new)] {
            let here = all.iter().find(|one| edition.rule(&one.term).id == rule.id);
            if let Some(one) = here {
                lines.push(Line::of(edition.rule(&one.term), "checks it"));
            } else if let Some(elsewhere) = edition.program().rules.iter().find(|one| one.id == rule.id) {
                lines.push(Line::of(elsewhere, "does not check it here"));
            }
        }
        if !term.is_certain() {
            let why = if is_loss { "it checked where this holds" } else { "it checks where this holds" };
            part.depends_on.push(Condition::of(edition, &term, why));
        }
        let what = match (part.before.is_empty(), part.after.is_empty()) {
            (_, true) => "removed",
            (true, _) => "added",
            _ => "changed",
        };
        let what = match rule.action {
            Action::Protect(_) => "protect stops other events that it cannot protect".to_owned(),
            _ => format!("{} {what}", rule.action.name()),
        };
        match found.get_mut(&*rule.id) {
            Some(known) => {
                known.part.join(part);
                if known.effect != effect {
                    known.effect = Effect::Either;
                }
                if known.what != what {
                    known.what = format!("{} changed", rule.action.name());
                }
            }
            None => {
                let name = rule.id.to_string();
                found.insert(name.clone(), Changed { part, name, what, effect });
            }
        }
    }
    found.into_values().collect()
}

/// Checks of one edition that the other does not make as strictly, with the pairs.
fn lost(
    (of, all): (&Edition<'_>, &[Check]),
    (other, others): (&Edition<'_>, &[Check]),
    pairs: &Pairs,
) -> Vec<(Term, Pairs)> {
    let mut lost = Vec::new();
    for check in all {
        let Check { term, known, .. } = check;
        let mut region = term.pairs.and(pairs);
        if matches!(of.rule(term).action, Action::Protect(_)) {
            // A protection that goes is told as what is shown then.
            let mut stays = Pairs::none(of.count);
            let protects = |one: &&Check| matches!(other.rule(&one.term).action, Action::Protect(_));
            others.iter().filter(protects).for_each(|one| stays.add(&one.term.pairs));
            region.keep(&stays);
        }
        for one in others.iter().filter(|one| one.term.covers(term)) {
            let (rule, known_there) = (other.rule(&one.term), &one.known);
            if is_as_strict((rule, known_there), (of.rule(term), known)) {
                region.remove(&one.term.pairs.without(&one.moved));
            }
        }
        if !region.is_empty() {
            lost.push((term.clone(), region));
        }
    }
    lost
}

/// Whether whatever the second stops the first stops, too.
fn is_as_strict((rule, known): (&Rule, &Known), (other, of): (&Rule, &Known)) -> bool {
    // What is only stripped is not stopped, and what is stripped here may be stopped there.
    if (rule.on_violation == OnViolation::Strip) != (other.on_violation == OnViolation::Strip) {
        return false;
    }
    match (&rule.action, &other.action) {
        (
            Action::Require { attributes, hops_max },
            Action::Require { attributes: others, hops_max: other_hops },
        ) => {
            let all = others.iter().all(|other| attributes.iter().any(|one| requires(one, other)));
            all && at_most(*hops_max, *other_hops)
        }
        (Action::Forbid(one), Action::Forbid(other)) => {
            forbids(one, other) && known::forbids((one, known), (other, of))
        }
        (Action::Protect(one), Action::Protect(other)) => known::protects((one, known), (other, of)),
        (Action::Limit(one), Action::Limit(other)) => limits(one, other),
        (Action::Validate(_), Action::Validate(_)) | (Action::Structure(_), Action::Structure(_)) => {
            action_text(rule) == action_text(other) && schema_of(rule) == schema_of(other)
        }
        _ => false,
    }
}

fn action_text(rule: &Rule) -> Option<serde_json::Value> {
    let mut whole: serde_json::Value = serde_json::from_str(&rule.canonical).ok()?;
    Some(whole.get_mut(rule.action.name())?.take())
}

/// The digest of the schema that a rule names: the name may stay while the file changes.
fn schema_of(rule: &Rule) -> Option<[u8; 32]> {
    match &rule.action {
        Action::Validate(validate) => validate.schema.as_ref().map(|schema| schema.digest()),
        _ => None,
    }
}

fn at_most<T: Ord>(one: Option<T>, other: Option<T>) -> bool {
    match (one, other) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) => one <= other,
    }
}

fn requires(one: &Requirement, other: &Requirement) -> bool {
    use crate::model::Presence::{Absent, Optional, Required};
    let presence = match (one.presence, other.presence) {
        (Absent, Absent) | (Required, Required) | (Required | Optional, Optional) => true,
        // Absent meets whatever an optional attribute must be.
        (Absent, Optional) => return one.attribute == other.attribute,
        _ => false,
    };
    let text =
        |pattern: &Option<crate::pattern::Pattern>| pattern.as_ref().map(crate::pattern::Pattern::text);
    one.attribute == other.attribute
        && presence
        && (other.format.is_none() || one.format == other.format)
        && (other.pattern.is_none() || text(&one.pattern) == text(&other.pattern))
        && (other.values.is_empty()
            || (!one.values.is_empty() && one.values.iter().all(|value| other.values.contains(value))))
}

fn forbids(one: &Forbid, other: &Forbid) -> bool {
    one.classes.intersection(other.classes) == other.classes
        && one.confidence <= other.confidence
        && (!one.undeclared || other.undeclared)
}

fn limits(one: &Limit, other: &Limit) -> bool {
    let rate = match (&one.rate, &other.rate) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(one), Some(other)) => is_slower(one, other),
    };
    at_most(one.event_bytes, other.event_bytes)
        && at_most(one.data_bytes, other.data_bytes)
        && rate
        && (other.rate.is_none() || one.wait <= other.wait)
}

fn is_slower(one: &Rate, other: &Rate) -> bool {
    let amount = match (one.amount, other.amount) {
        (Amount::Events(one), Amount::Events(other)) | (Amount::Bytes(one), Amount::Bytes(other)) => {
            one <= other
        }
        _ => false,
    };
    amount && one.per == other.per && one.burst <= other.burst && one.key == other.key
}

/// Values of the classifying attributes that cross borders in one edition only (`unmet-obligation`).
pub(super) fn obligations(old: &Edition<'_>, new: &Edition<'_>) -> Vec<Changed> {
    let mut changed: BTreeMap<(String, Vec<String>, Vec<String>), Zones> = BTreeMap::new();
    for name in CLASSIFYING {
        for number in 0..old.count {
            let (Some(was), Some(is)) = (accepted(old, name, number), accepted(new, name, number)) else {
                continue;
            };
            let gone: Vec<String> = was.iter().filter(|value| !is.contains(value)).cloned().collect();
            let come: Vec<String> = is.iter().filter(|value| !was.contains(value)).cloned().collect();
            if !(gone.is_empty() && come.is_empty()) {
                let zones =
                    changed.entry((name.to_owned(), come, gone)).or_insert_with(|| Zones::none(old.count));
                zones.insert(number);
            }
        }
    }
    let told = |((name, come, gone), zones): ((String, Vec<String>, Vec<String>), Zones)| {
        let mut pairs = Pairs::product(&zones, &Zones::all(old.count), old.count);
        pairs.add(&Pairs::product(&Zones::all(old.count), &zones, old.count));
        pairs.remove(&Pairs::diagonal(old.count));
        let mut part = Part::new(pairs);
        for (edition, lines) in [(old, &mut part.before), (new, &mut part.after)] {
            let lists = edition
                .program()
                .classifications
                .iter()
                .filter(|one| one.attributes.iter().any(|(of, _)| *of == name));
            lines.extend(lists.map(|one| {
                Line::classification(&one.name, one.layer.name(), &format!("lists values of {name}"))
            }));
        }
        let list = |values: &[String]| values.join(", ");
        let (what, effect) = match (come.is_empty(), gone.is_empty()) {
            (false, true) => (format!("{name}: {} may cross borders", list(&come)), Effect::Looser),
            (true, _) => (format!("{name}: {} may cross no border", list(&gone)), Effect::Tighter),
            _ => (
                format!("{name}: {} may cross borders, {} may not", list(&come), list(&gone)),
                Effect::Either,
            ),
        };
        Changed { part, name: name.clone(), what, effect }
    };
    changed.into_iter().map(told).collect()
}

/// Values that the layers of a zone accept; where the outermost lists none it lists `public`, for what it closes no
/// inner layer opens.
fn accepted(edition: &Edition<'_>, name: &str, number: usize) -> Option<Vec<String>> {
    let zone = &edition.program().federation.zones[edition.own(number)?];
    let documents = edition.program().classifications.iter().filter(|one| one.layer.speaks_for(zone));
    let lists: Vec<(usize, &Vec<String>)> = documents
        .flat_map(|one| one.attributes.iter().map(move |(of, values)| (one.layer.depth, of, values)))
        .filter(|(_, of, _)| *of == name)
        .map(|(depth, _, values)| (depth, values))
        .collect();
    let implicit = vec!["public".to_owned()];
    let outermost = lists.iter().all(|(depth, _)| *depth > 0).then_some(&implicit);
    let mut all = outermost.into_iter().chain(lists.into_iter().map(|(_, values)| values));
    let first = all.next()?.clone();
    Some(all.fold(first, |known, values| known.into_iter().filter(|one| values.contains(one)).collect()))
}
