//! One edition of the policies, over the zones of both.
//!
//! A rule is split into terms: parts of its pairs of zones in which it applies under one and the same condition. Terms of
//! the two editions are compared by that condition as it is written, so nothing has to be known of events: where the
//! texts are the same, so is the outcome for every event.

use std::collections::BTreeMap;

use meshbridge_cel::{Reads, ZoneReads};
use meshbridge_topic::{TooManyStates, TopicFilter};
use serde_json::Value;

use crate::federation::Zone;
use crate::model::{Context, Layer, Match, Mode, Rule};
use crate::program::Program;
use crate::prove::{Applied, Borders, Here, Pairs, RulePlace, Zones, bits};

/// An edition, ready to be compared at every atom.
pub(super) struct Edition<'p> {
    pub(super) borders: Borders<'p>,
    /// Number of each of its zones among those of both.
    numbers: Vec<usize>,
    /// Zones that it has.
    pub(super) present: Zones,
    /// Zones of both.
    pub(super) count: usize,
    /// By rule: what its match and its exception ask of the event, as written.
    asks: Vec<(String, String)>,
    /// The same of waivers.
    waived: Vec<String>,
    /// Zones whose values changed, by attribute; labels as `labels.<name>`.
    changed: BTreeMap<String, Zones>,
}

/// A rule where it applies under one condition.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub(super) rule: u32,
    /// Over the zones of both editions.
    pub(super) pairs: Pairs,
    /// What has to hold, as written, and what it reads of zones where that changed; empty if nothing has to.
    pub(super) when: String,
    pub(super) context: Context,
}

impl Term {
    pub(super) fn is_certain(&self) -> bool {
        self.when.is_empty()
    }

    /// Whether this one applies whenever the other does, where both have the pair.
    pub(super) fn covers(&self, other: &Term) -> bool {
        self.is_certain() || self.when == other.when
    }
}

/// A layer that must permit, where it speaks.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) layer: Layer,
    pub(super) context: Context,
    pub(super) spoken: Pairs,
    pub(super) permits: Vec<Term>,
}

/// What decides whether an event of an atom passes in some contexts.
#[derive(Debug)]
pub(super) struct View {
    pub(super) gates: Vec<Gate>,
    pub(super) stops: Vec<Term>,
    /// Pairs for which some event passes.
    pub(super) pass: Pairs,
}

impl<'p> Edition<'p> {
    /// `names` are the zones of both editions, `other` is the other one.
    pub(super) fn new(
        program: &'p Program,
        other: &Program,
        names: &[String],
    ) -> Result<Edition<'p>, TooManyStates> {
        let borders = Borders::new(program, &filters(other))?;
        let zones = &program.federation.zones;
        let number = |name: &str| names.iter().position(|known| known == name);
        let numbers: Vec<usize> = zones.iter().filter_map(|zone| number(&zone.name)).collect();
        Ok(Edition {
            borders,
            present: Zones::of(names.len(), |at| numbers.contains(&at)),
            numbers,
            count: names.len(),
            asks: program.rules.iter().map(|rule| asks(&rule.canonical)).collect(),
            waived: program.waivers.iter().map(|waiver| asked_by_waiver(&waiver.canonical)).collect(),
            changed: changed(program, other, names),
        })
    }

    pub(super) fn program(&self) -> &'p Program {
        self.borders.program
    }

    pub(super) fn rule(&self, term: &Term) -> &'p Rule {
        &self.borders.program.rules[term.rule as usize]
    }

    pub(super) fn place(&self, term: &Term) -> RulePlace {
        RulePlace::of(self.rule(term))
    }

    /// Number among the zones of both.
    pub(super) fn number(&self, own: usize) -> usize {
        self.numbers[own]
    }

    /// As this edition numbers a zone, if it has it.
    pub(super) fn own(&self, number: usize) -> Option<usize> {
        self.numbers.iter().position(|known| *known == number)
    }

    /// Pairs of this edition's zones, over the zones of both.
    pub(super) fn lift(&self, pairs: &Pairs) -> Pairs {
        if self.numbers.len() == self.count && self.numbers.iter().enumerate().all(|(a, b)| a == *b) {
            return pairs.clone();
        }
        let mut lifted = Pairs::none(self.count);
        for (from, number) in self.numbers.iter().enumerate() {
            bits(pairs.row(from)).for_each(|to| lifted.insert(*number, self.numbers[to]));
        }
        lifted
    }

    pub(super) fn lift_zones(&self, zones: &Zones) -> Zones {
        let mut lifted = Zones::none(self.count);
        zones.iter().for_each(|at| lifted.insert(self.numbers[at]));
        lifted
    }

    /// A rule in a context; nothing where it does not apply.
    pub(super) fn terms(&self, applied: &Applied, context: Context) -> Vec<Term> {
        let pairs = self.borders.possible(applied, context);
        if pairs.is_empty() {
            return Vec::new();
        }
        let rule = self.borders.rule(applied);
        let (asks, unless) = &self.asks[applied.rule as usize];
        let mut parts = vec![(pairs.into_owned(), asks.clone())];
        if let (true, Some(except)) =
            (applied.except, rule.except.as_ref().filter(|one| one.has_conditions()))
        {
            split(&mut parts, &self.borders.matched(except, context), &format!("unless {unless}"));
        }
        for waiver in &applied.waivers {
            let matcher = &self.program().waivers[*waiver as usize].matcher;
            let text = format!("unless waived {}", self.waived[*waiver as usize]);
            split(&mut parts, &self.borders.matched(matcher, context), &text);
        }
        let term = |(pairs, when): (Pairs, String)| Term {
            rule: applied.rule,
            pairs,
            // The event is another one where another border edited it, and so is what is known of principals.
            when: if when.is_empty() { when } else { format!("{context}: {when}") },
            context,
        };
        let mut lifted: Vec<(Pairs, String)> =
            parts.into_iter().map(|(pairs, when)| (self.lift(&pairs), when)).collect();
        let mut conditional: Vec<(Pairs, String)> =
            lifted.extract_if(.., |(_, when)| !when.is_empty()).collect();
        if !conditional.is_empty() && !self.changed.is_empty() {
            let waivers = applied.waivers.iter().map(|at| &self.program().waivers[*at as usize].matcher);
            let matches = std::iter::once(&rule.matcher).chain(&rule.except).chain(waivers);
            for (condition, _) in matches.filter_map(|one| one.when.as_ref()) {
                for (region, values) in self.moved(condition.reads()) {
                    split(&mut conditional, &region, &values);
                }
            }
        }
        lifted.extend(conditional);
        lifted.into_iter().map(term).collect()
    }

    /// Pairs of zones of which a condition reads something that changed, with what it reads there.
    pub(super) fn moved(&self, reads: &Reads) -> Vec<(Pairs, String)> {
        let mut moved = Vec::new();
        for (end, reads, of_to) in [("from", &reads.from, false), ("to", &reads.to, true)] {
            for (name, zones) in self.changed.iter().filter(|(name, _)| is_read(reads, name)) {
                for number in zones.iter() {
                    let Some(own) = self.own(number) else { continue };
                    let zone = &self.program().federation.zones[own];
                    let value = value(zone, name).map_or("absent".to_owned(), |value| format!("{value:?}"));
                    let text = format!("where {end} is {} and {name} is {value}", zone.name);
                    moved.push((self.ending(&Zones::of(self.count, |at| at == number), of_to), text));
                }
            }
        }
        moved
    }

    /// Pairs of zones where something that changed is read: of which end and which attribute, `reads` says.
    pub(super) fn moved_where(&self, reads: impl Fn(bool, &str) -> bool) -> Pairs {
        let mut moved = Pairs::none(self.count);
        for of_to in [false, true] {
            for (_, zones) in self.changed.iter().filter(|(name, _)| reads(of_to, name)) {
                moved.add(&self.ending(zones, of_to));
            }
        }
        moved
    }

    fn ending(&self, zones: &Zones, of_to: bool) -> Pairs {
        let all = Zones::all(self.count);
        if of_to { Pairs::product(&all, zones, self.count) } else { Pairs::product(zones, &all, self.count) }
    }

    /// Enforced rules of an atom that stop where they apply, or permit.
    pub(super) fn view(&self, here: &Here, aspect: super::Aspect) -> View {
        let enforced: Vec<&Applied> =
            here.rules.iter().filter(|applied| self.borders.rule(applied).mode == Mode::Enforce).collect();
        let mut gates = Vec::new();
        for context in aspect.gated() {
            for layer in self.borders.gate_layers(*context) {
                let of_layer = |applied: &&&Applied| {
                    let rule = self.borders.rule(applied);
                    rule.is_permit() && rule.layer == *layer
                };
                let permits = enforced.iter().filter(of_layer).flat_map(|one| self.terms(one, *context));
                gates.push(Gate {
                    layer: layer.clone(),
                    context: *context,
                    spoken: self.lift(&self.borders.spoken(layer, *context)),
                    permits: permits.collect(),
                });
            }
        }
        let mut stops: Vec<Term> = Vec::new();
        for context in aspect.stopped() {
            for applied in &enforced {
                let Some(refused) = self.borders.refused(self.borders.rule(applied), *context) else {
                    continue;
                };
                let refused = self.lift_zones(&refused);
                for mut term in self.terms(applied, *context) {
                    term.pairs.keep_recipients(&refused);
                    if !term.pairs.is_empty() {
                        stops.push(term);
                    }
                }
            }
        }
        let mut pass = aspect.pairs(&self.present, self.count);
        for gate in &gates {
            let mut closed = gate.spoken.clone();
            gate.permits.iter().for_each(|permit| closed.remove(&permit.pairs));
            pass.remove(&closed);
        }
        stops.iter().filter(|stop| stop.is_certain()).for_each(|stop| pass.remove(&stop.pairs));
        View { gates, stops, pass }
    }
}

/// Zones of both editions for which an attribute has another value in the other, by attribute.
fn changed(program: &Program, other: &Program, names: &[String]) -> BTreeMap<String, Zones> {
    let mut changed: BTreeMap<String, Zones> = BTreeMap::new();
    for zone in &program.federation.zones {
        let Some(same) = other.federation.zones.iter().find(|same| same.name == zone.name) else { continue };
        let Some(number) = names.iter().position(|name| *name == zone.name) else { continue };
        let attributes = zone.attributes.keys().chain(same.attributes.keys()).map(|name| (*name).to_owned());
        let labels = zone.labels.keys().chain(same.labels.keys()).map(|name| format!("labels.{name}"));
        for name in attributes.chain(labels) {
            if value(zone, &name) != value(same, &name) {
                changed.entry(name).or_insert_with(|| Zones::none(names.len())).insert(number);
            }
        }
    }
    changed
}

fn value<'z>(zone: &'z Zone, name: &str) -> Option<&'z str> {
    match name.strip_prefix("labels.") {
        Some(label) => zone.labels.get(label).map(String::as_str),
        None => zone.attribute(name),
    }
}

fn is_read(reads: &ZoneReads, name: &str) -> bool {
    match name {
        "region" => reads.region,
        "cloud" => reads.cloud,
        "jurisdiction" => reads.jurisdiction,
        _ => {
            let label = name.strip_prefix("labels.");
            label.is_some_and(|label| reads.any_label || reads.labels.contains(label))
        }
    }
}

/// Splits off the part of each that lies in a region, with a further condition.
fn split(parts: &mut Vec<(Pairs, String)>, region: &Pairs, condition: &str) {
    for (pairs, when) in std::mem::take(parts) {
        let (inside, outside) = (pairs.and(region), pairs.without(region));
        if !outside.is_empty() {
            parts.push((outside, when.clone()));
        }
        if !inside.is_empty() {
            parts.push((inside, format!("{when} {condition}").trim().to_owned()));
        }
    }
}

/// What `match` and `except` of a rule ask of the event, out of its canonical text.
fn asks(canonical: &str) -> (String, String) {
    let Ok(rule) = serde_json::from_str::<Value>(canonical) else {
        // The text is JSON by construction; as a whole it is a condition of its own.
        return (canonical.to_owned(), canonical.to_owned());
    };
    (conditions(&rule["match"]), conditions(&rule["except"]))
}

fn asked_by_waiver(canonical: &str) -> String {
    let spec = serde_json::from_str::<Value>(canonical).map(|document| document["spec"].clone());
    match spec {
        Ok(spec) => {
            format!("{} until {}", conditions(&spec["match"]), spec["expires"]).trim_start().to_owned()
        }
        Err(_) => canonical.to_owned(),
    }
}

fn conditions(matcher: &Value) -> String {
    let keys = ["event", "publisher", "subscriber", "when"];
    let asked = keys.iter().filter(|key| !matcher[**key].is_null());
    asked.map(|key| format!("{key} {}", matcher[*key])).collect::<Vec<_>>().join(" ")
}

/// Zones of both editions, those of the old one first.
pub(super) fn names(old: &Program, new: &Program) -> Vec<String> {
    let mut names: Vec<String> = old.federation.zones.iter().map(|zone| zone.name.clone()).collect();
    for zone in &new.federation.zones {
        if !names.contains(&zone.name) {
            names.push(zone.name.clone());
        }
    }
    names
}

/// Every filter that tells topics of a program apart.
pub(super) fn filters(program: &Program) -> Vec<TopicFilter> {
    let rules = program.rules.iter().flat_map(|rule| std::iter::once(&rule.matcher).chain(&rule.except));
    let waivers = program.waivers.iter().map(|waiver| &waiver.matcher);
    let matches: Vec<&Match> = rules.chain(waivers).collect();
    let known = program.classifications.iter().flat_map(|one| &one.topics).flat_map(|one| &one.filters);
    matches.into_iter().flat_map(|one| &one.topics).chain(known).cloned().collect()
}

/// The first pair of some, by number.
pub(super) fn first(pairs: &Pairs) -> Option<(usize, usize)> {
    pairs.iter().next().map(|(from, to)| (usize::from(from.0), usize::from(to.0)))
}
