//! What one edition shows of personal data that the other does not.
//!
//! A value is seen in the meet of all protections that apply to it. So the one shows no more than the other where, for
//! each protection of the other, what certainly applies beside it or applies under the same condition leaves no more.

use std::collections::BTreeMap;

use super::Part;
use super::edition::{Edition, Term};
use super::report::{Condition, Line};
use crate::classes::{Class, ClassSet};
use crate::keys::KeyTable;
use crate::model::Context;
use crate::path::Path;
use crate::protection::{Protection, meet};
use crate::prove::{Concern, Cover, Here, Leaf, Pairs, Zones, concern, described, facets, items};

/// What is protected: a class, wherever it is found or at a declared place; or a place, whatever stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thing<'q> {
    pub(super) leaf: Leaf<'q>,
    pub(super) place: Option<&'q Path>,
}

impl Thing<'_> {
    pub(super) fn name(&self) -> String {
        match (self.leaf, self.place) {
            (Leaf::Unknown(_), Some(place)) => format!("what stands at {place}"),
            (leaf, Some(place)) => format!("{} at {place}", leaf.name()),
            (leaf, None) => leaf.name(),
        }
    }
}

/// A protection of a thing, where it applies under one condition.
#[derive(Clone, Debug)]
struct Demand {
    term: Term,
    protection: Protection,
}

/// Things of which more is shown, in the same way.
pub(super) struct Shown<'q> {
    pub(super) part: Part,
    pub(super) things: Vec<Thing<'q>>,
    /// Where less is shown, and where more is.
    pub(super) forms: (String, String),
}

impl Shown<'_> {
    pub(super) fn names(&self) -> Vec<String> {
        self.things.iter().map(Thing::name).collect()
    }
}

/// Classes and places that rules of either edition tell apart at an atom.
pub(super) fn things<'q>(editions: [(&Edition<'q>, &Here); 2], leaves: &[Leaf<'q>]) -> Vec<Thing<'q>> {
    let mut things: Vec<Thing<'q>> = leaves.iter().map(|leaf| Thing { leaf: *leaf, place: None }).collect();
    for (edition, here) in editions {
        for (_, item) in items(&edition.borders, &here.rules) {
            // A class without anything below it is a leaf itself.
            let is_family = |name: &&String| Class::named(name).is_none() || ClassSet::of(name).len() > 1;
            for family in item.families.iter().filter(is_family) {
                things.push(Thing { leaf: Leaf::Unknown(family), place: None });
            }
            for place in &item.demand.fields {
                things.push(Thing { leaf: Leaf::Unknown("*"), place: Some(place) });
            }
        }
        let program = edition.program();
        for (document, entry) in &here.classified {
            for (place, class) in &program.classifications[*document as usize].topics[*entry as usize].fields
            {
                things.push(Thing { leaf: Leaf::Known(*class), place: Some(place) });
            }
        }
    }
    things.sort_by_cached_key(|thing| (thing.leaf, thing.place.map(ToString::to_string)));
    things.dedup();
    things
}

/// Of the pairs, those for which `more` shows more than `less`.
pub(super) fn shown<'q>(
    more: (&Edition<'q>, &Here),
    less: (&Edition<'q>, &Here),
    things: &[Thing<'q>],
    contexts: &[Context],
    pairs: &Pairs,
) -> Vec<Shown<'q>> {
    let mut found: Vec<Shown<'q>> = Vec::new();
    for thing in things {
        let of_less = demands(less.0, less.1, thing, contexts);
        if of_less.is_empty() {
            continue;
        }
        let of_more = demands(more.0, more.1, thing, contexts);
        for (part, forms) in worse((more.0, &of_more), (less.0, &of_less), pairs) {
            match found.iter_mut().find(|known| known.part == part && known.forms == forms) {
                Some(known) => known.things.push(*thing),
                None => found.push(Shown { part, things: vec![*thing], forms }),
            }
        }
    }
    found
}

fn demands(edition: &Edition<'_>, here: &Here, thing: &Thing<'_>, contexts: &[Context]) -> Vec<Demand> {
    let program = edition.program();
    let mut declared = Zones::none(edition.count);
    let mut is_listed = false;
    for (document, entry) in &here.classified {
        let spoken = edition.lift_zones(&edition.borders.documents[*document as usize]);
        let document = &program.classifications[*document as usize];
        let topic = &document.topics[*entry as usize];
        let Leaf::Known(class) = thing.leaf else { continue };
        if topic.fields.iter().any(|(path, of)| Some(path) == thing.place && *of == class) {
            declared.add(spoken.words());
        }
        is_listed |= document.layer.depth == 0
            && (topic.may_hold.contains(class) || topic.fields.iter().any(|(_, of)| *of == class));
    }
    let mut concerns: Vec<Concern> = items(&edition.borders, &here.rules)
        .map(|(_, item)| concern(item, &thing.leaf, thing.place))
        .collect();
    // What a path made names no class; see `SubjectKey::may_lose_its_class`.
    let loses_class = concerns.iter().any(|one| one.path != Cover::No) && declared != edition.present;
    if thing.place.is_none() {
        // A path is about its place, which is a thing of its own.
        concerns.iter_mut().for_each(|one| one.path = Cover::No);
    }
    let mut demands = Vec::new();
    for ((applied, item), concern) in items(&edition.borders, &here.rules).zip(concerns) {
        if concern.is_none() {
            continue;
        }
        let is_place_of_class = thing.place.is_some() && matches!(thing.leaf, Leaf::Known(_));
        let needs_declaration = is_place_of_class && (concern.declared_only || declared.is_empty());
        let paths: Vec<String> = item.demand.fields.iter().map(ToString::to_string).collect();
        let qualifier = format!(
            "found with {:?} confidence{}{}, or at {}",
            item.demand.confidence,
            if item.demand.undeclared { ", undeclared" } else { "" },
            if item.demand.undeclared && is_listed { ", though listed" } else { "" },
            if paths.is_empty() { "no path".to_owned() } else { paths.join(", ") },
        );
        for context in contexts {
            let is_later = matches!(context, Context::Ingress | Context::Deliver);
            for term in edition.terms(applied, *context) {
                let mut sure = term.pairs.clone();
                if concern.path != Cover::Sure {
                    if concern.class != Cover::Sure || (is_later && loses_class) {
                        sure = Pairs::none(edition.count);
                    } else if needs_declaration && is_later {
                        sure.keep_recipients(&declared);
                    } else if needs_declaration {
                        sure.keep_origins(&declared);
                    }
                }
                let maybe = term.pairs.without(&sure);
                let protection = item.demand.protection;
                if !maybe.is_empty() {
                    let when = if term.when.is_empty() { format!("{context}:") } else { term.when.clone() };
                    let term = Term { pairs: maybe, when: format!("{when} {qualifier}"), ..term.clone() };
                    demands.push(Demand { term, protection });
                }
                if !sure.is_empty() {
                    demands.push(Demand { term: Term { pairs: sure, ..term }, protection });
                }
            }
        }
    }
    demands
}

type Side<'a, 'p> = (&'a Edition<'p>, &'a [Demand]);

fn worse(
    (more, of_more): (&Edition<'_>, &[Demand]),
    (less, of_less): (&Edition<'_>, &[Demand]),
    pairs: &Pairs,
) -> Vec<(Part, (String, String))> {
    let (more_keys, less_keys) = (more.program().keys(), less.program().keys());
    // Several demands of one edition may be lost together; they make one entry.
    let mut found: BTreeMap<(String, String), Part> = BTreeMap::new();
    for demand in of_less {
        let region = demand.term.pairs.and(pairs);
        if region.is_empty() {
            continue;
        }
        for (pairs, form) in left(of_more, &demand.term, region) {
            let mut worse = pairs;
            if is_within(form, translated(demand.protection, less_keys, more_keys)) {
                // No more is shown, but to those who hold the key now and did not before.
                worse.keep_recipients(&now_holding(form, more, less));
            }
            // Where it comes out the same beside the other demands of the edition, nothing is lost.
            for (pairs, before) in left(of_less, &demand.term, worse) {
                if pairs.is_empty() {
                    continue;
                }
                let forms = (described(less_keys, before), described(more_keys, form));
                let part = explained((more, of_more), (less, of_less), demand, pairs);
                match found.get_mut(&forms) {
                    Some(known) => known.join(part),
                    None => {
                        found.insert(forms, part);
                    }
                }
            }
        }
    }
    found.into_iter().map(|(forms, part)| (part, forms)).collect()
}

/// Splits pairs by what is left of the value where a term applies.
fn left(demands: &[Demand], term: &Term, pairs: Pairs) -> Vec<(Pairs, Option<Protection>)> {
    let mut parts: Vec<(Pairs, Option<Protection>)> = vec![(pairs, None)];
    for demand in demands.iter().filter(|one| one.term.covers(term)) {
        for (pairs, form) in std::mem::take(&mut parts) {
            let (inside, outside) = (pairs.and(&demand.term.pairs), pairs.without(&demand.term.pairs));
            if !outside.is_empty() {
                parts.push((outside, form));
            }
            if !inside.is_empty() {
                parts.push((inside, meet(form, Some(demand.protection))));
            }
        }
    }
    parts
}

fn explained(
    (more, of_more): Side<'_, '_>,
    (less, of_less): Side<'_, '_>,
    demand: &Demand,
    pairs: Pairs,
) -> Part {
    let rule = less.rule(&demand.term);
    let leaves = |keys: &KeyTable, form: Protection| format!("leaves {}", described(keys, Some(form)));
    let (more_keys, less_keys) = (more.program().keys(), less.program().keys());
    let mut part = Part::new(pairs);
    part.before.push(Line::of(rule, &leaves(less_keys, demand.protection)));
    if !demand.term.is_certain() {
        part.depends_on.push(Condition::of(less, &demand.term, "it protects the value"));
    }
    for other in of_more.iter().filter(|other| other.term.pairs.intersects(&part.pairs)) {
        let same_rule = more.rule(&other.term).id == rule.id;
        let is_met = other.term.covers(&demand.term);
        if is_met || same_rule {
            part.after.push(Line::of(more.rule(&other.term), &leaves(more_keys, other.protection)).of_open());
        }
        let is_known = of_less.iter().any(|known| {
            known.term.when == other.term.when && part.pairs.without(&known.term.pairs).is_empty()
        });
        if !is_met && !is_known {
            part.depends_on.push(Condition::of(more, &other.term, "it does not protect the value"));
        }
    }
    if part.after.is_empty()
        && let Some(same) = more.program().rules.iter().find(|other| other.id == rule.id)
    {
        part.after.push(Line::of(same, "is written so").of_open());
    }
    part.tidy();
    part
}

/// The protection as the other edition's keys are numbered. A key is known by its name; one that the other edition has
/// not shows no more than the type of a value there.
fn translated(form: Protection, of: &KeyTable, to: &KeyTable) -> Protection {
    let Some(key) = form.key() else { return form };
    let found = of.entry(key).and_then(|entry| to.newest(&entry.name));
    match (form, found) {
        (Protection::Pseudonymise { scope, .. }, Some(key)) => Protection::Pseudonymise { key, scope },
        (Protection::Encrypt { .. }, Some(key)) => Protection::Encrypt { key },
        _ => Protection::Redact,
    }
}

fn is_within(form: Option<Protection>, other: Protection) -> bool {
    form.is_some_and(|form| form.discloses_at_most(other))
}

/// Zones to which a form shows more than it does to zones without its key, and that did not hold it.
fn now_holding(form: Option<Protection>, more: &Edition<'_>, less: &Edition<'_>) -> Zones {
    let (more_keys, less_keys) = (more.program().keys(), less.program().keys());
    let Some(key) = form.and_then(Protection::key) else { return Zones::none(more.count) };
    let known = more_keys.entry(key).and_then(|entry| less_keys.newest(&entry.name));
    Zones::of(more.count, |number| {
        let held = |edition: &Edition<'_>, keys: &KeyTable, key| {
            edition.own(number).is_some_and(|zone| keys.holds(crate::prove::zone(zone), key))
        };
        let shows = || more.own(number).map(|zone| facets(more_keys, form, zone));
        held(more, more_keys, key)
            && !known.is_some_and(|key| held(less, less_keys, key))
            && shows() != facets_without_keys(form)
    })
}

fn facets_without_keys(form: Option<Protection>) -> Option<crate::protection::Facets> {
    form.map(|form| form.discloses().in_zone(|_| false))
}
