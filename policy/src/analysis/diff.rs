//! How two editions of policies differ in what they do: what may pass, what is seen, what is checked.
//!
//! Both are looked at over the same atoms, so that every topic there can be is compared, and over the zones that both
//! federations have. What hangs on the event cannot be compared by what it does: such rules are compared as written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use meshbridge_topic::TopicFilter;
use serde::Serialize;
use serde_json::{Value, json};

use super::effects::name;
use super::findings::asks_the_event;
use crate::model::{Context, Mode, Rule};
use crate::program::Program;
use crate::protection::{Protection, meet};
use crate::prove::{
    Applied, Borders, Here, Pairs, RulePlace, Subject, SubjectKey, Ways, described, items, leaves, parts,
    subjects_anywhere,
};

/// What a change means for those who publish and those who must not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// Passes now, to a destination or through a carrier.
    NewlyAllowed,
    NewlyBlocked,
    /// Shows more than before, or is checked less.
    Weaker,
    /// Shows less than before, or is checked more.
    Stronger,
    /// A rule that asks the event was rewritten: better or worse, nobody can say without events.
    ChangedCheck,
}

/// One difference, with an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub kind: ChangeKind,
    /// What is different, in one line.
    pub what: String,
    pub topic: String,
    pub from: String,
    pub to: String,
    /// Of how many pairs of zones, for the topics like the example.
    pub pairs: usize,
    pub before: String,
    pub after: String,
    /// The rules of either edition that make the difference.
    pub rules: Vec<RulePlace>,
    /// An event to which it happens.
    pub event: Value,
}

/// Origin and recipient.
type Pair = (usize, usize);

/// Changes that are listed; more are the same few rules over many topics.
const CHANGES_MAX: usize = 1_000;

pub(super) fn diff(old: &Program, new: &Program) -> Vec<Change> {
    let (of_old, of_new) = (filters(old), filters(new));
    let (Ok(before), Ok(after)) = (Borders::new(old, &of_new), Borders::new(new, &of_old)) else {
        return as_written(old, new, "the topics are too many to compare");
    };
    let mut found = Found { changes: BTreeMap::new(), zones: zones(old, new) };
    for atom in 0..after.atoms.len() {
        // Made of the same filters, so what the one tells apart the other does.
        let Some(same) = before.atoms.of(after.atoms.example(atom)) else { continue };
        let pair = Both { before: &before, after: &after, old: before.at(same), new: after.at(atom), atom };
        pair.compare(&mut found);
    }
    let mut changes: Vec<Change> = found.changes.into_values().collect();
    changes.extend(as_written(old, new, "the rule asks the event"));
    changes.sort_by(|a, b| (a.kind, &a.topic, &a.what).cmp(&(b.kind, &b.topic, &b.what)));
    changes.truncate(CHANGES_MAX);
    changes
}

fn filters(program: &Program) -> Vec<TopicFilter> {
    let rules = program.rules.iter().flat_map(|rule| std::iter::once(&rule.matcher).chain(&rule.except));
    let waivers = program.waivers.iter().map(|waiver| &waiver.matcher);
    let known = program.classifications.iter().flat_map(|one| &one.topics).flat_map(|one| &one.filters);
    rules.chain(waivers).flat_map(|one| &one.topics).chain(known).cloned().collect()
}

/// Zones of both, as they are numbered in each.
fn zones(old: &Program, new: &Program) -> Vec<(usize, usize)> {
    let numbered = old.federation.zones.iter().enumerate();
    numbered
        .filter_map(|(at, zone)| {
            Some((at, new.federation.zones.iter().position(|other| other.name == zone.name)?))
        })
        .collect()
}

/// Changes that are the same but for their topics are told once.
struct Found {
    changes: BTreeMap<(ChangeKind, String, Vec<String>), Change>,
    zones: Vec<(usize, usize)>,
}

impl Found {
    fn add(&mut self, change: Change) {
        let rules = change.rules.iter().map(|rule| rule.rule.clone()).collect();
        self.changes.entry((change.kind, change.what.clone(), rules)).or_insert(change);
    }
}

struct Both<'b, 'p> {
    before: &'b Borders<'p>,
    after: &'b Borders<'p>,
    old: Here,
    new: Here,
    /// As the new edition numbers it.
    atom: usize,
}

impl Both<'_, '_> {
    fn compare(&self, found: &mut Found) {
        let passing = |borders: &Borders<'_>, rules: &[Applied]| {
            let ways = Ways::new(borders, rules, false);
            let mut to = ways.to.clone();
            to.keep(&borders.permitted(rules, Context::Ingress));
            to.remove(&borders.stopped(rules, Context::Ingress));
            let mut carriers = ways.carriers.unwrap_or_else(|| Pairs::none(borders.count));
            carriers.keep_origins(&to.origins());
            (to, carriers)
        };
        let (old, new) = (passing(self.before, &self.old.rules), passing(self.after, &self.new.rules));
        self.passing(&old.0, &new.0, "passes", found);
        self.passing(&old.1, &new.1, "may be carried", found);
        self.forms(&old.0, &new.0, found);
    }

    fn passing(&self, old: &Pairs, new: &Pairs, what: &str, found: &mut Found) {
        let (mut allowed, mut blocked): (Vec<Pair>, Vec<Pair>) = (Vec::new(), Vec::new());
        for (old_from, new_from) in &found.zones {
            for (old_to, new_to) in &found.zones {
                match (old.contains(*old_from, *old_to), new.contains(*new_from, *new_to)) {
                    (false, true) => allowed.push((*new_from, *new_to)),
                    (true, false) => blocked.push((*new_from, *new_to)),
                    _ => {}
                }
            }
        }
        let no = format!("not {what}");
        for (kind, pairs, before, after) in [
            (ChangeKind::NewlyAllowed, allowed, no.as_str(), what),
            (ChangeKind::NewlyBlocked, blocked, what, no.as_str()),
        ] {
            let Some(pair) = pairs.first() else { continue };
            let rules = self.differing(|rule| !matches!(rule.action, crate::model::Action::Protect(_)));
            let text = match kind {
                ChangeKind::NewlyAllowed => format!("{what} now"),
                _ => format!("{what} no longer"),
            };
            found.add(self.change(
                kind,
                text,
                *pair,
                pairs.len(),
                before.to_owned(),
                after.to_owned(),
                rules,
                json!({}),
            ));
        }
    }

    /// Rules at this topic that one edition has and the other has not, or not so.
    fn differing(&self, concerns: impl Fn(&Rule) -> bool) -> Vec<RulePlace> {
        let of = |borders: &Borders<'_>, here: &Here| -> BTreeMap<String, RulePlace> {
            let rules = here.rules.iter().map(|applied| &borders.program.rules[applied.rule as usize]);
            rules
                .filter(|rule| concerns(rule))
                .map(|rule| (format!("{} {}", rule.id, rule.canonical), RulePlace::of(rule)))
                .collect()
        };
        let (old, new) = (of(self.before, &self.old), of(self.after, &self.new));
        let gone = old.iter().filter(|(key, _)| !new.contains_key(*key));
        let come = new.iter().filter(|(key, _)| !old.contains_key(*key));
        gone.chain(come).map(|(_, place)| place.clone()).collect()
    }

    #[allow(clippy::too_many_arguments)]
    fn change(
        &self,
        kind: ChangeKind,
        what: String,
        (from, to): (usize, usize),
        pairs: usize,
        before: String,
        after: String,
        rules: Vec<RulePlace>,
        data: Value,
    ) -> Change {
        let topic = self.after.atoms.example(self.atom).as_str().to_owned();
        let program = self.after.program;
        let event =
            json!({"specversion": "1.0", "id": "1", "source": "/example", "type": "example", "data": data});
        Change {
            kind,
            what,
            topic,
            from: name(program, from),
            to: name(program, to),
            pairs,
            before,
            after,
            rules,
            event,
        }
    }

    /// What certain protections leave of each class, where events pass in both editions.
    fn forms(&self, old: &Pairs, new: &Pairs, found: &mut Found) {
        let none = |borders: &Borders<'_>, here: &Here| items(borders, &here.rules).next().is_none();
        if none(self.before, &self.old) && none(self.after, &self.new) {
            return;
        }
        let every = ["*".to_owned()];
        let leaves = leaves(&every);
        let of_old = by_leaf(subjects_anywhere(self.before, &self.old, &leaves));
        let of_new = by_leaf(subjects_anywhere(self.after, &self.new, &leaves));
        let mut told: BTreeSet<(SubjectKey, SubjectKey)> = BTreeSet::new();
        for (leaf, after) in &of_new {
            let Some(before) = of_old.get(leaf) else { continue };
            if !told.insert((before.key.clone(), after.key.clone())) {
                continue;
            }
            self.form(leaf, before, after, old, new, found);
        }
    }

    fn form(
        &self,
        leaf: &str,
        before: &Subject<'_>,
        after: &Subject<'_>,
        old: &Pairs,
        new: &Pairs,
        found: &mut Found,
    ) {
        let certain = |borders: &Borders<'_>, here: &Here, key: &SubjectKey, pairs: &Pairs| {
            parts(borders, &here.rules, key, &[Context::Egress, Context::Ingress], pairs.clone())
        };
        let old_parts = certain(self.before, &self.old, &before.key, old);
        let new_parts = certain(self.after, &self.new, &after.key, new);
        let form = |parts: &[(Option<Protection>, Pairs)], from: usize, to: usize| {
            parts.iter().find(|(_, pairs)| pairs.contains(from, to)).map(|(form, _)| *form)
        };
        let mut differing: BTreeMap<(ChangeKind, String, String), (Pair, usize)> = BTreeMap::new();
        let (old_keys, new_keys) = (self.before.program.keys(), self.after.program.keys());
        for (old_from, new_from) in &found.zones {
            for (old_to, new_to) in &found.zones {
                let (Some(was), Some(is)) =
                    (form(&old_parts, *old_from, *old_to), form(&new_parts, *new_from, *new_to))
                else {
                    continue;
                };
                let (was_text, is_text) = (described(old_keys, was), described(new_keys, is));
                if was_text == is_text {
                    continue;
                }
                // Keys are numbered by each edition; forms under a key are compared by its name.
                let is_less = translated(is, self.after.program, self.before.program)
                    .is_some_and(|is| meet(is, was) == is);
                let kind = if is_less { ChangeKind::Stronger } else { ChangeKind::Weaker };
                let slot = differing.entry((kind, was_text, is_text)).or_insert(((*new_from, *new_to), 0));
                slot.1 += 1;
            }
        }
        for ((kind, was, is), (pair, count)) in differing {
            let rules = self.differing(|rule| matches!(rule.action, crate::model::Action::Protect(_)));
            let data = json!({"value": format!("<{leaf}>")});
            let what = format!("{leaf} is seen as {is}, before as {was}");
            found.add(self.change(kind, what, pair, count, was, is, rules, data));
        }
    }
}

fn by_leaf(subjects: Vec<Subject<'_>>) -> HashMap<String, Subject<'_>> {
    subjects.into_iter().map(|subject| (subject.leaf.name(), subject)).collect()
}

/// The form with its key as the other program numbers it; `None` where that has no such key.
#[allow(clippy::option_option)]
fn translated(form: Option<Protection>, of: &Program, to: &Program) -> Option<Option<Protection>> {
    let Some(key) = form.and_then(Protection::key) else { return Some(form) };
    let entry = of.keys().entry(key)?;
    let key = to.keys().find(&entry.name, entry.version)?;
    Some(form.map(|form| match form {
        Protection::Pseudonymise { scope, .. } => Protection::Pseudonymise { key, scope },
        Protection::Encrypt { .. } => Protection::Encrypt { key },
        other => other,
    }))
}

/// Rules that ask the event, compared as they are written: a check that is gone is weaker, one that is new is stronger.
fn as_written(old: &Program, new: &Program, why: &str) -> Vec<Change> {
    let all = |program: &Program| -> BTreeMap<String, (String, Mode, RulePlace, bool)> {
        let rules = program.rules.iter().filter(|rule| asks_the_event(rule));
        let entry = |rule: &Rule| (rule.canonical.clone(), rule.mode, RulePlace::of(rule), rule.is_permit());
        rules.map(|rule| (rule.id.to_string(), entry(rule))).collect()
    };
    let (before, after) = (all(old), all(new));
    let mut changes = Vec::new();
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for id in names {
        let (was, is) = (before.get(id), after.get(id));
        let in_force = |one: Option<&(String, Mode, RulePlace, bool)>| {
            one.is_some_and(|(_, mode, ..)| *mode == Mode::Enforce)
        };
        let is_permit = was.or(is).is_some_and(|(.., is_permit)| *is_permit);
        let kind = match (in_force(was), in_force(is)) {
            _ if was.map(|one| &one.0) == is.map(|one| &one.0) => continue,
            (true, false) if is_permit => ChangeKind::NewlyBlocked,
            (false, true) if is_permit => ChangeKind::NewlyAllowed,
            (true, false) => ChangeKind::Weaker,
            (false, true) => ChangeKind::Stronger,
            (true, true) => ChangeKind::ChangedCheck,
            (false, false) => continue,
        };
        let program = if is.is_some() { new } else { old };
        let rule = program.rules.iter().find(|rule| *rule.id == **id);
        let topic = rule.and_then(|rule| rule.matcher.topics.first()).map(|filter| {
            let token = |token: &str| if token.starts_with('*') { "x".to_owned() } else { token.to_owned() };
            filter.tokens().map(token).collect::<Vec<_>>().join(".")
        });
        let mut zones = program.federation.zones();
        let (from, to) =
            (zones.next().unwrap_or_default().to_owned(), zones.next().unwrap_or_default().to_owned());
        let text = |one: Option<&(String, Mode, RulePlace, bool)>| {
            one.map_or("no rule".to_owned(), |one| one.0.clone())
        };
        changes.push(Change {
            kind,
            what: format!("{id}: {why}"),
            topic: topic.unwrap_or_default(),
            from,
            to,
            pairs: 0,
            before: text(was),
            after: text(is),
            rules: was.into_iter().chain(is).map(|(_, _, place, _)| place.clone()).collect(),
            event: json!({"specversion": "1.0", "id": "1", "source": "/example", "type": "example"}),
        });
    }
    changes
}
