//! The same change at many topics and between many zones is one entry.

use std::collections::{BTreeMap, HashMap};

use super::edition::first;
use super::forms::Shown;
use super::report::{Change, ChangeKind, Diff, Effect, Pair};
use super::{Aspect, Part, Seen, example};
use crate::program::Program;
use crate::prove::Pairs;

/// Changes that are listed, the worst first.
const CHANGES_MAX: usize = 500;
/// Topics and pairs of zones that an entry lists; it counts all.
const LISTED_MAX: usize = 10;
/// Topics that are remembered of a change.
const KEPT_MAX: usize = 64;
/// Classes of personal data that a line names.
const NAMES_MAX: usize = 6;

/// What makes two changes one: the kind, the text, and the lines with their conditions.
type Key = (ChangeKind, String, Vec<String>);

/// A change while the atoms are looked at.
pub(super) struct Group {
    pub(super) kind: ChangeKind,
    pub(super) what: String,
    pub(super) effect: Option<Effect>,
    pub(super) aspects: Vec<Aspect>,
    /// Topics for which it is so; those of one atom, and of atoms where the same rules decide.
    pub(super) topics: Vec<String>,
    pub(super) topic_count: usize,
    last_topic: String,
    pub(super) part: Part,
    /// Where it was met first.
    pub(super) first: (usize, usize),
    /// A class that the example holds, or the place of something.
    pub(super) sample: Option<(String, Option<String>)>,
}

pub(super) struct Groups {
    names: Vec<String>,
    pub(super) groups: BTreeMap<Key, Group>,
    /// Changes that were met at an atom, for the atoms like it.
    met: HashMap<(Seen, Seen), Vec<Key>>,
    now: Option<((Seen, Seen), String)>,
}

impl Groups {
    pub(super) fn new(names: Vec<String>) -> Groups {
        Groups { names, groups: BTreeMap::new(), met: HashMap::new(), now: None }
    }

    /// What follows is about an atom.
    pub(super) fn begin(&mut self, seen: &(Seen, Seen), topic: &str) {
        self.now = Some((seen.clone(), topic.to_owned()));
    }

    /// What follows is about every topic.
    pub(super) fn begin_everywhere(&mut self) {
        self.now = None;
    }

    /// An atom at which the same is different as at another.
    pub(super) fn also(&mut self, seen: &(Seen, Seen), topic: &str) {
        for key in self.met.get(seen).into_iter().flatten() {
            if let Some(group) = self.groups.get_mut(key) {
                group.topic(topic);
            }
        }
    }

    pub(super) fn passing(&mut self, kind: ChangeKind, aspect: Aspect, part: Part) {
        let what = match kind {
            ChangeKind::NewlyAllowed => "passes now",
            _ => "passes no longer",
        };
        self.add(kind, what.to_owned(), None, Some(aspect), part, None);
    }

    pub(super) fn form(&mut self, kind: ChangeKind, aspect: Aspect, shown: Shown<'_>) {
        let names = shown.names();
        let more = names.len().saturating_sub(NAMES_MAX);
        let mut text = names.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
        if more > 0 {
            text.push_str(&format!(" and {more} others"));
        }
        let (less, form) = shown.forms;
        let (was, is) = if kind == ChangeKind::Weaker { (less, form) } else { (form, less) };
        let (what, part) = match kind {
            ChangeKind::Weaker => (format!("{text}: {was} before, {is} now"), shown.part),
            _ => (format!("{text}: {was} before, {is} now"), shown.part.of_new_closing()),
        };
        let sample =
            shown.things.first().map(|thing| (thing.leaf.name(), thing.place.map(ToString::to_string)));
        self.add(kind, what, None, Some(aspect), part, sample);
    }

    pub(super) fn check(
        &mut self,
        aspect: Option<Aspect>,
        part: Part,
        name: String,
        what: String,
        effect: Effect,
    ) {
        let what = format!("{name}: {what}");
        self.add(ChangeKind::ChangedCheck, what, Some(effect), aspect, part, None);
    }

    pub(super) fn kept(&mut self, aspect: Aspect, part: Part, name: &str, what: &str, effect: Effect) {
        self.add(ChangeKind::Kept, format!("{name}: {what}"), Some(effect), Some(aspect), part, None);
    }

    fn add(
        &mut self,
        kind: ChangeKind,
        what: String,
        effect: Option<Effect>,
        aspect: Option<Aspect>,
        mut part: Part,
        sample: Option<(String, Option<String>)>,
    ) {
        part.tidy();
        let Some(first) = first(&part.pairs) else { return };
        let lines = part.before.iter().chain(&part.after).map(ToString::to_string);
        let lines = lines.chain(part.depends_on.iter().map(ToString::to_string)).collect();
        let key: Key = (kind, what.clone(), lines);
        let (seen, topic) = match &self.now {
            Some((seen, topic)) => (Some(seen.clone()), topic.clone()),
            None => (None, "any".to_owned()),
        };
        match self.groups.get_mut(&key) {
            Some(known) => {
                known.part.pairs.add(&part.pairs);
                known.topic(&topic);
                if known.effect != effect {
                    known.effect = Some(Effect::Either);
                }
                known.aspects.extend(aspect.filter(|aspect| !known.aspects.contains(aspect)));
            }
            None => {
                let aspects = aspect.into_iter().collect();
                let mut group = Group {
                    kind,
                    what,
                    effect,
                    aspects,
                    topics: Vec::new(),
                    topic_count: 0,
                    last_topic: String::new(),
                    part,
                    first,
                    sample,
                };
                group.topic(&topic);
                self.groups.insert(key.clone(), group);
            }
        }
        if let Some(seen) = seen {
            let met = self.met.entry(seen).or_default();
            if !met.contains(&key) {
                met.push(key);
            }
        }
    }

    pub(super) fn into_diff(self, old: &Program, new: &Program) -> Diff {
        let names = self.names;
        let left_off = self.groups.len().saturating_sub(CHANGES_MAX);
        let pair = |(from, to): (usize, usize)| Pair { from: names[from].clone(), to: names[to].clone() };
        let changes = self.groups.into_values().take(CHANGES_MAX).map(|group| {
            let judged = example::judged(old, new, &group, &pair(group.first));
            let all = pairs(&group.part.pairs);
            Change {
                kind: group.kind,
                what: group.what,
                effect: group.effect,
                places: group.aspects.iter().map(|aspect| aspect.name()).collect(),
                topics: group.topics.into_iter().take(LISTED_MAX).collect(),
                topic_count: group.topic_count,
                pair_count: all.len(),
                pairs: all.into_iter().take(LISTED_MAX).map(pair).collect(),
                before: group.part.before,
                after: group.part.after,
                is_certain: group.part.depends_on.is_empty() && judged.judged,
                depends_on: group.part.depends_on,
                example: judged,
            }
        });
        Diff { changes: changes.collect(), left_off, unknown: None }
    }
}

impl Group {
    fn topic(&mut self, topic: &str) {
        // Atoms come one after the other.
        if self.last_topic == topic {
            return;
        }
        topic.clone_into(&mut self.last_topic);
        self.topic_count += 1;
        if self.topics.len() < KEPT_MAX {
            self.topics.push(topic.to_owned());
        }
    }
}

fn pairs(pairs: &Pairs) -> Vec<(usize, usize)> {
    pairs.iter().map(|(from, to)| (usize::from(from.0), usize::from(to.0))).collect()
}
