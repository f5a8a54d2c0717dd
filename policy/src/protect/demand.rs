//! What rules demand, and what the Classification says of a topic.

use meshbridge_detect::{Class, ClassSet, Confidence};

use crate::path::Path;
use crate::protection::Protection;

/// One item of a rule's `protect` list.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    pub(crate) classes: ClassSet,
    /// Findings below it are left alone.
    pub(crate) confidence: Confidence,
    /// Only what the Classification does not list for the topic.
    pub(crate) undeclared: bool,
    pub(crate) fields: Vec<Path>,
    pub(crate) protection: Protection,
    /// An edit that would break a signature is an error instead.
    pub(crate) signatures_error: bool,
}

impl Demand {
    /// Whether it is about the data at all, be it by field or by class.
    pub(crate) fn concerns_data(&self) -> bool {
        !self.classes.is_empty() || self.fields.iter().any(Path::is_data)
    }
}

/// A demand that applies to an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) demand: &'a Demand,
    /// The rule to name where it cannot be fulfilled; any number that the caller understands.
    pub(crate) rule: usize,
    /// The classes that data of this topic holds where it is neither JSON nor text, as far as this rule may rely on
    /// it. `None`: unknown.
    pub(crate) opaque: Option<ClassSet>,
}

/// What the Classification says of a topic.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Declared<'a> {
    /// The value at the path *is* of the class.
    pub(crate) fields: &'a [(Path, Class)],
    /// So many of these, from the first, are the word of the outermost layer. An inner layer's word adds what is to be
    /// protected; it takes no alternative away and makes nothing listed, for that would loosen rules of outer layers.
    pub(crate) vouched: usize,
    /// Somewhere in the event.
    pub(crate) may_hold: ClassSet,
}

/// What is asked of one place of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Demanded {
    pub(crate) protection: Protection,
    pub(crate) label: Label,
}

impl Demanded {
    /// Both, at a place they share.
    pub(crate) fn and(self, other: Demanded) -> Demanded {
        Demanded { protection: self.protection.meet(other.protection), label: self.label.and(other.label) }
    }

    pub(crate) fn join(one: Option<Demanded>, other: Option<Demanded>) -> Option<Demanded> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.and(other)),
            (one, other) => one.or(other),
        }
    }
}

/// What a place is called after it was protected. Does not depend on the order of demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// A path asked for it: then the text does not name a class, for it is more than the finding.
    pub(crate) by_field: bool,
    /// Of several classes the first in the order of classes.
    pub(crate) class: Option<Class>,
    /// Everything that may stand there, alternatives included; later rules must know all of it.
    pub(crate) classes: ClassSet,
}

impl Label {
    pub(crate) const FIELD: Label = Label { by_field: true, class: None, classes: ClassSet::EMPTY };

    /// By a class; `alternatives` are what else it may be.
    pub(crate) fn class(class: Class, alternatives: ClassSet) -> Label {
        let mut classes = alternatives;
        classes.insert(class);
        Label { by_field: false, class: Some(class), classes }
    }

    fn and(self, other: Label) -> Label {
        Label {
            by_field: self.by_field || other.by_field,
            class: match (self.class, other.class) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            classes: self.classes.union(other.classes),
        }
    }
}
