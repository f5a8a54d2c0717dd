//! Links that one edition keeps events from crossing and the other does not.
//!
//! They stop no event, so what passes does not change with them; where events may go on their way does. Each link of each
//! rule is compared by itself, for the origins and destinations that the rule is about.

use std::collections::BTreeMap;

use super::Part;
use super::checks::Changed;
use super::edition::{Edition, Term};
use super::report::{Condition, Effect, Line};
use crate::link::ZoneLink;
use crate::model::{Context, Mode, Rule};
use crate::prove::{Here, Pairs};

/// What a line says of such a rule.
pub(super) const DENIES: &str = "denies them";

/// A link that a term of a rule denies; its ends by name, for editions number zones differently.
struct Denial {
    term: Term,
    ends: [String; 2],
}

/// The denials of an atom: those of the origin, for the whole way, and those that other bridges judge again.
fn denials(edition: &Edition<'_>, here: &Here) -> Vec<Denial> {
    let mut all = Vec::new();
    let rules = here.rules.iter().map(|applied| (applied, edition.borders.rule(applied)));
    for (applied, rule) in rules.filter(|(_, rule)| rule.is_about_links() && rule.mode == Mode::Enforce) {
        let terms = Context::BORDERS.into_iter().flat_map(|context| edition.terms(applied, context));
        for term in terms {
            let context = term.context;
            for link in &rule.matcher.links {
                let mut pairs =
                    term.pairs.and(&edition.lift(&edition.borders.heard_of_link(&rule.layer, *link)));
                // With a condition the exception is part of the term's.
                let except =
                    rule.except_for(*link).filter(|except| applied.except && !except.has_conditions());
                if let Some(except) = except {
                    pairs.remove(&edition.lift(&edition.borders.matched(except, context)));
                }
                if !pairs.is_empty() {
                    all.push(Denial { term: Term { pairs, ..term.clone() }, ends: ends(edition, *link) });
                }
            }
        }
    }
    all
}

fn ends(edition: &Edition<'_>, link: ZoneLink) -> [String; 2] {
    let mut ends = link.ends().map(|zone| edition.program().federation.zone_name(zone).to_owned());
    ends.sort();
    ends
}

/// Rules that deny links in one edition which the other leaves open, of the pairs between which events pass in both.
pub(super) fn changed(old: (&Edition<'_>, &Here), new: (&Edition<'_>, &Here), pairs: &Pairs) -> Vec<Changed> {
    let (of_old, of_new) = (denials(old.0, old.1), denials(new.0, new.1));
    let mut found = opened((old.0, &of_old), (new.0, &of_new), pairs, Effect::Looser);
    found.extend(opened((new.0, &of_new), (old.0, &of_old), pairs, Effect::Tighter));
    found
}

/// Links that an edition denies where the other does not, by rule.
fn opened(
    (of, all): (&Edition<'_>, &[Denial]),
    (other, others): (&Edition<'_>, &[Denial]),
    pairs: &Pairs,
    effect: Effect,
) -> Vec<Changed> {
    let mut by_rule: BTreeMap<String, (Vec<String>, Part)> = BTreeMap::new();
    for Denial { term, ends } in all {
        let mut region = term.pairs.and(pairs);
        let same = |one: &&Denial| one.ends == *ends && one.term.context == term.context;
        for one in others.iter().filter(same).filter(|one| one.term.covers(term)) {
            region.remove(&one.term.pairs);
        }
        if region.is_empty() {
            continue;
        }
        let rule = of.rule(term);
        let is_loss = effect == Effect::Looser;
        let mut part = Part::new(region);
        let lines = |rule: &Rule| vec![Line::of(rule, DENIES)];
        let same = other.program().rules.iter().find(|one| one.id == rule.id);
        let elsewhere = same.map(|one| vec![Line::of(one, "is written so")]).unwrap_or_default();
        (part.before, part.after) = if is_loss { (lines(rule), elsewhere) } else { (elsewhere, lines(rule)) };
        if !term.is_certain() {
            let why =
                if is_loss { "it denied them where this holds" } else { "it denies them where this holds" };
            part.depends_on.push(Condition::of(of, term, why));
        }
        let (links, whole) = by_rule.entry(rule.id.to_string()).or_insert_with(|| (Vec::new(), part.clone()));
        let name = ends.join("/");
        if !links.contains(&name) {
            links.push(name);
        }
        whole.join(part);
    }
    let told = |(name, (mut links, part)): (String, (Vec<String>, Part))| {
        links.sort();
        let links = match links.as_slice() {
            [one] => format!("the link {one}"),
            all => format!("the links {}", all.join(", ")),
        };
        let what = match effect {
            Effect::Looser => format!("{links} may be crossed"),
            _ => format!("{links} may not be crossed"),
        };
        Changed { part, name, what, effect }
    };
    by_rule.into_iter().map(told).collect()
}
