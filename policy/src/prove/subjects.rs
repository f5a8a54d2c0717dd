//! What a question is about, at the topics of one atom: leaf classes, where in the event they stand, and at which zones
//! they begin; and which protections concern them.

use std::collections::BTreeMap;

use super::borders::{Applied, Borders, Here};
use super::zones::Zones;
use crate::classes::{Class, ClassSet, Confidence};
use crate::model::{Action, Classification, Classified, Mode, ProtectItem};
use crate::path::Path;

/// Something that must not be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Leaf<'q> {
    Known(Class),
    /// A member of the family that no detector knows yet: only rules that name the family, or one above it, are about it.
    Unknown(&'q str),
}

impl Leaf<'_> {
    pub(crate) fn name(&self) -> String {
        match self {
            Leaf::Known(class) => class.name().to_owned(),
            Leaf::Unknown("*") => "a class that no rule names".to_owned(),
            Leaf::Unknown(family) => format!("a class of {family} that no rule names"),
        }
    }
}

/// Whether a protection concerns what is asked about, where its rule applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Cover {
    No,
    /// It may: a path that may be the place, a finding that may be too weak.
    Maybe,
    Sure,
}

/// How one item of a rule concerns a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Concern {
    /// By class.
    pub(crate) class: Cover,
    /// Only because the Classification declares the field, so only where its layer speaks.
    pub(crate) declared_only: bool,
    /// By path.
    pub(crate) path: Cover,
}

impl Concern {
    pub(crate) fn is_none(self) -> bool {
        self.class == Cover::No && self.path == Cover::No
    }
}

/// Leaves that the rules at an atom treat alike, and that begin at the same zones.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'q> {
    /// One of them, to name.
    pub(crate) leaf: Leaf<'q>,
    /// Where it stands; `None` is somewhere.
    pub(crate) place: Option<&'q Path>,
    pub(crate) key: SubjectKey,
}

/// What tells subjects apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SubjectKey {
    /// Zones where the value begins.
    pub(crate) starts: Zones,
    /// Zones for which a layer speaks that declares the field.
    pub(crate) declared: Zones,
    /// The declaration is of the outermost layer.
    pub(crate) is_declared_to_all: bool,
    /// For each item of the protect rules, in order.
    pub(crate) concerns: Vec<Concern>,
    /// Of what stands in data that cannot be read, by the depth of layers: zones whose rules of this depth stop the event
    /// for want of reading it. Elsewhere some layer says that such data do not hold it. Empty for all other data.
    pub(crate) unread: Vec<Zones>,
}

impl SubjectKey {
    /// Whether a form may stand where nothing says any more what class the value was: a path made it, which names no
    /// class, and no declaration that all layers know does. Rules about classes then no longer know the value.
    pub(crate) fn may_lose_its_class(&self) -> bool {
        let by_path = self.concerns.iter().any(|concern| concern.path != Cover::No);
        by_path && !self.is_declared_to_all
    }
}

/// The leaves of the classes in a question.
pub(crate) fn leaves(classes: &[String]) -> Vec<Leaf<'_>> {
    let mut leaves: Vec<Leaf<'_>> = Vec::new();
    for family in classes {
        let known = ClassSet::of(family);
        leaves.extend(known.iter().map(Leaf::Known));
        // A class without anything below it is a leaf itself.
        if Class::named(family).is_none() || known.len() > 1 {
            leaves.push(Leaf::Unknown(family));
        }
    }
    leaves.sort_unstable();
    leaves.dedup();
    leaves
}

/// The items of enforced protect rules, in the order of the rules.
pub(crate) fn items<'b, 'p>(
    borders: &'b Borders<'p>,
    rules: &'b [Applied],
) -> impl Iterator<Item = (&'b Applied, &'p ProtectItem)> + 'b {
    rules.iter().flat_map(|applied| {
        let rule = borders.rule(applied);
        let items = match &rule.action {
            Action::Protect(items) if rule.mode == Mode::Enforce => items.as_slice(),
            _ => &[],
        };
        items.iter().map(move |item| (applied, item))
    })
}

/// What a question about `leaves` is about at an atom.
pub(crate) fn subjects<'q>(borders: &Borders<'q>, here: &Here, leaves: &[Leaf<'q>]) -> Vec<Subject<'q>> {
    let (nobody, everybody) = (Zones::none(borders.count), Zones::all(borders.count));
    // Without any such word nobody is excused from data that cannot be read, and what they hold goes nowhere.
    let is_any_opaque = said(borders, here).any(|(_, topic, _)| topic.opaque.is_some());
    let mut found: BTreeMap<SubjectKey, Subject<'q>> = BTreeMap::new();
    for leaf in leaves {
        let mut somewhere = borders.unclassified.clone();
        let mut fields: Vec<(&'q Path, Zones)> = Vec::new();
        for (_, topic, spoken) in said(borders, here) {
            // What is in other data than JSON may be in text, which is looked at like anything else.
            if holds(topic.may_hold.union(topic.opaque.unwrap_or_default()), leaf) {
                somewhere.add(spoken.words());
            }
            for (path, class) in &topic.fields {
                if matches!(leaf, Leaf::Known(known) if known == class) {
                    match fields.iter_mut().find(|(known, _)| *known == path) {
                        Some((_, zones)) => zones.add(spoken.words()),
                        None => fields.push((path, spoken.clone())),
                    }
                }
            }
        }
        let mut add = |place: Option<&'q Path>, starts: Zones, declared: Zones, unread: Vec<Zones>| {
            if starts.is_empty() {
                return;
            }
            let concern = |item| match unread.is_empty() {
                true => concern(item, leaf, place),
                false => concern_unread(item, leaf),
            };
            let concerns = items(borders, &here.rules).map(|(_, item)| concern(item)).collect();
            let is_declared_to_all = declared == everybody;
            let key = SubjectKey { starts, declared, is_declared_to_all, concerns, unread };
            found.entry(key.clone()).or_insert(Subject { leaf: *leaf, place, key });
        };
        if is_any_opaque {
            add(None, opaque_starts(borders, here, leaf), nobody.clone(), unread(borders, here, leaf));
        }
        add(None, somewhere, nobody.clone(), Vec::new());
        for (path, spoken) in fields {
            add(Some(path), spoken.clone(), spoken, Vec::new());
        }
    }
    found.into_values().collect()
}

/// Whether classes that something holds include what is asked about.
fn holds(held: ClassSet, leaf: &Leaf<'_>) -> bool {
    match leaf {
        Leaf::Known(class) => held.contains(*class),
        // The family was named, or all of it one by one.
        Leaf::Unknown(family) => ClassSet::of(family).minus(held).is_empty(),
    }
}

/// What Classifications at an atom say, and for which zones.
fn said<'b, 'p>(
    borders: &'b Borders<'p>,
    here: &'b Here,
) -> impl Iterator<Item = (&'p Classification, &'p Classified, &'b Zones)> + 'b {
    let program = borders.program;
    here.classified.iter().map(move |(document, entry)| {
        let spoken = &borders.documents[*document as usize];
        let document = &program.classifications[*document as usize];
        (document, &document.topics[*entry as usize], spoken)
    })
}

/// Zones where data that cannot be read may hold it: a layer says so, or none says what such data hold and it may be
/// anywhere in the event.
fn opaque_starts(borders: &Borders<'_>, here: &Here, leaf: &Leaf<'_>) -> Zones {
    let nobody = Zones::none(borders.count);
    let (mut anywhere, mut named, mut silent) =
        (borders.unclassified.clone(), nobody, Zones::all(borders.count));
    for (_, topic, spoken) in said(borders, here) {
        if holds(topic.may_hold, leaf) {
            anywhere.add(spoken.words());
        }
        if let Some(opaque) = topic.opaque {
            silent = Zones::of(borders.count, |zone| silent.contains(zone) && !spoken.contains(zone));
            if holds(opaque, leaf) {
                named.add(spoken.words());
            }
        }
    }
    anywhere.keep(silent.words());
    named.add(anywhere.words());
    named
}

/// By the depth of layers: zones where a rule about the class is not excused from data that it cannot read. An inner
/// layer's word does not reach outer rules, for better or worse.
fn unread(borders: &Borders<'_>, here: &Here, leaf: &Leaf<'_>) -> Vec<Zones> {
    let names_it = |opaque: ClassSet| match leaf {
        Leaf::Known(class) => opaque.contains(*class),
        Leaf::Unknown(family) => !opaque.intersection(ClassSet::of(family)).is_empty(),
    };
    let deepest = here.rules.iter().map(|applied| borders.rule(applied).layer.depth).max().unwrap_or(0);
    let at = |depth: usize| {
        let mut says_nothing = Zones::all(borders.count);
        let mut names = Zones::none(borders.count);
        for (document, topic, spoken) in said(borders, here) {
            let Some(opaque) = topic.opaque.filter(|_| document.layer.depth <= depth) else { continue };
            says_nothing =
                Zones::of(borders.count, |zone| says_nothing.contains(zone) && !spoken.contains(zone));
            if names_it(opaque) {
                names.add(spoken.words());
            }
        }
        names.add(says_nothing.words());
        names
    };
    (0..=deepest).map(at).collect()
}

/// A document about the attributes of events alone says nothing of topics.
pub(crate) fn says_what_topics_hold(document: &Classification) -> bool {
    !document.topics.is_empty()
}

fn is_named(item: &ProtectItem, leaf: &Leaf<'_>) -> bool {
    match leaf {
        Leaf::Known(class) => item.demand.classes.contains(*class),
        Leaf::Unknown(family) => {
            item.families.iter().any(|name| is_within(family, name))
                && !item.excepted.iter().any(|name| is_within(family, name) || is_within(name, family))
        }
    }
}

/// How an item concerns what stands in data that cannot be read. There is nothing to find in them: a rule about the class
/// stops the event, unless it is excused.
fn concern_unread(item: &ProtectItem, leaf: &Leaf<'_>) -> Concern {
    let class = if is_named(item, leaf) { Cover::Sure } else { Cover::No };
    Concern { class, declared_only: false, path: Cover::No }
}

pub(crate) fn concern(item: &ProtectItem, leaf: &Leaf<'_>, place: Option<&Path>) -> Concern {
    let demand = &item.demand;
    let (class, declared_only) = match (is_named(item, leaf), demand.undeclared, demand.confidence) {
        (false, ..) => (Cover::No, false),
        // What the Classification lists it leaves alone; what is asked about is listed.
        (true, true, _) => (Cover::Maybe, false),
        // Whether a detector finds what stands at a place is not asked: it is known where it is declared.
        (true, false, _) if place.is_some() => (Cover::Sure, true),
        // What is somewhere is found at medium confidence: that is what recall is measured at.
        (true, false, Confidence::High) => (Cover::Maybe, false),
        (true, false, _) => (Cover::Sure, false),
    };
    let path = match place {
        Some(place) if demand.fields.iter().any(|path| path.covers(place)) => Cover::Sure,
        Some(place) if demand.fields.iter().any(|path| path.may_meet(place)) => Cover::Maybe,
        None if !demand.fields.is_empty() => Cover::Maybe,
        _ => Cover::No,
    };
    Concern { class, declared_only, path }
}

/// Whether a family is `other`, or below it.
pub(crate) fn is_within(family: &str, other: &str) -> bool {
    other == "*" || family.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
