//! What a question is about, at the topics of one atom: leaf classes, where in the event they stand, and at which zones
//! they begin; and which protections concern them.

use std::collections::BTreeMap;

use super::borders::{Applied, Borders, Here};
use super::zones::Zones;
use crate::classes::{Class, ClassSet, Confidence};
use crate::model::{Action, Classification, Mode, ProtectItem};
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
    let program = borders.program;
    let (nobody, everybody) = (Zones::none(borders.count), Zones::all(borders.count));
    let mut found: BTreeMap<SubjectKey, Subject<'q>> = BTreeMap::new();
    for leaf in leaves {
        let mut somewhere = borders.unclassified.clone();
        let mut fields: Vec<(&'q Path, Zones)> = Vec::new();
        for (document, entry) in &here.classified {
            let spoken = &borders.documents[*document as usize];
            let document = &program.classifications[*document as usize];
            let topic = &document.topics[*entry as usize];
            let mut held = topic.may_hold;
            if let Some(opaque) = &topic.opaque {
                held = held.union(*opaque);
            }
            let is_held = match leaf {
                Leaf::Known(class) => held.contains(*class),
                // The family was named, or all of it one by one.
                Leaf::Unknown(family) => ClassSet::of(family).minus(held).is_empty(),
            };
            if is_held {
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
        let mut add = |place: Option<&'q Path>, starts: Zones, declared: Zones| {
            if starts.is_empty() {
                return;
            }
            let concerns = items(borders, &here.rules).map(|(_, item)| concern(item, leaf, place)).collect();
            let is_declared_to_all = declared == everybody;
            let key = SubjectKey { starts, declared, is_declared_to_all, concerns };
            found.entry(key.clone()).or_insert(Subject { leaf: *leaf, place, key });
        };
        add(None, somewhere, nobody.clone());
        for (path, spoken) in fields {
            add(Some(path), spoken.clone(), spoken);
        }
    }
    found.into_values().collect()
}

/// A document about the attributes of events alone says nothing of topics.
pub(crate) fn says_what_topics_hold(document: &Classification) -> bool {
    !document.topics.is_empty()
}

pub(crate) fn concern(item: &ProtectItem, leaf: &Leaf<'_>, place: Option<&Path>) -> Concern {
    let demand = &item.demand;
    let is_named = match leaf {
        Leaf::Known(class) => demand.classes.contains(*class),
        Leaf::Unknown(family) => {
            item.families.iter().any(|name| is_within(family, name))
                && !item.excepted.iter().any(|name| is_within(family, name) || is_within(name, family))
        }
    };
    let (class, declared_only) = match (is_named, demand.undeclared, demand.confidence) {
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
