//! What a protected value still shows, in a form that proofs calculate with (POLICY §4, §9).

use super::{Ladder, Protection, Scope};
use crate::keys::KeyRef;

/// One thing that a value may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Facet {
    /// All of it.
    Value = 1,
    /// That there is a value, and of which class or place.
    Type = 2,
    /// How long it is and what stands between its letters and digits.
    Shape = 4,
    /// A part of it: characters kept by a mask, a rung of a ladder.
    Partial = 8,
    /// Equal values can be recognised, at least by somebody.
    Link = 16,
    /// A guessed value can be confirmed.
    Guess = 32,
}

/// A set of facets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Facets(u8);

impl Facets {
    pub(crate) const NONE: Facets = Facets(0);
    pub(crate) const ALL: Facets = Facets(63);

    pub(crate) fn of(facets: &[Facet]) -> Facets {
        Facets(facets.iter().fold(0, |bits, facet| bits | *facet as u8))
    }

    pub(crate) fn with(self, facet: Facet) -> Facets {
        Facets(self.0 | facet as u8)
    }

    pub(crate) fn contains(self, facet: Facet) -> bool {
        self.0 & facet as u8 != 0
    }

    pub(crate) fn intersects(self, other: Facets) -> bool {
        self.0 & other.0 != 0
    }

    fn is_within(self, other: Facets) -> bool {
        self.0 & !other.0 == 0
    }
}

/// Which equal values can be recognised as equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    None,
    /// Those under one key and scope, and every narrower one.
    Within(KeyRef, Scope),
    Every,
}

/// The set that a protection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disclosed {
    /// What anybody sees, whatever keys they hold.
    pub(crate) facets: Facets,
    pub(crate) links: Links,
    /// Leading and trailing characters at most, of a mask.
    pub(crate) characters: (u8, u8),
    /// The finest rung that shows; it shows the coarser ones too.
    pub(crate) rung: Option<(Ladder, u8)>,
    /// Whose holders see the value.
    pub(crate) cipher: Option<KeyRef>,
    /// Whose holders can confirm a guess.
    pub(crate) confirmable: Option<KeyRef>,
}

impl Disclosed {
    /// What a value shows that no rule protects.
    #[cfg(test)]
    pub(crate) const EVERYTHING: Disclosed = Disclosed {
        facets: Facets::ALL,
        links: Links::Every,
        characters: (u8::MAX, u8::MAX),
        rung: None,
        cipher: None,
        confirmable: None,
    };

    const NOTHING: Disclosed = Disclosed {
        facets: Facets::NONE,
        links: Links::None,
        characters: (0, 0),
        rung: None,
        cipher: None,
        confirmable: None,
    };

    /// The facets that show in a zone; `holds` says which keys it has.
    pub(crate) fn in_zone(&self, holds: impl Fn(KeyRef) -> bool) -> Facets {
        if self.cipher.is_some_and(&holds) {
            return Facets::ALL;
        }
        match self.confirmable {
            Some(key) if holds(key) => self.facets.with(Facet::Guess),
            _ => self.facets,
        }
    }

    /// Whether everything in this set is in the other, in every zone.
    pub(crate) fn is_within(&self, other: &Disclosed) -> bool {
        if other.facets.contains(Facet::Value) {
            return true;
        }
        let links = match (self.links, other.links) {
            (Links::None, _) | (_, Links::Every) => true,
            (Links::Within(a, scope), Links::Within(b, outer)) => a == b && scope.is_within(outer),
            _ => false,
        };
        let rung = match (self.rung, other.rung) {
            (None, _) => true,
            (Some((a, rung)), Some((b, outer))) => a == b && rung <= outer,
            _ => false,
        };
        let confirmable = self.confirmable.is_none()
            || self.confirmable == other.confirmable
            || other.facets.contains(Facet::Guess);
        self.facets.is_within(other.facets)
            && links
            && rung
            && confirmable
            && self.characters.0 <= other.characters.0
            && self.characters.1 <= other.characters.1
            && (self.cipher.is_none() || self.cipher == other.cipher)
    }
}

impl Protection {
    pub(crate) fn discloses(self) -> Disclosed {
        let known = Disclosed { facets: Facets::of(&[Facet::Type]), ..Disclosed::NOTHING };
        match self {
            Protection::Drop => Disclosed::NOTHING,
            Protection::Redact => known,
            Protection::Hash => Disclosed {
                facets: Facets::of(&[Facet::Type, Facet::Link, Facet::Guess]),
                links: Links::Every,
                ..Disclosed::NOTHING
            },
            Protection::Mask { first, last } => {
                let facets = Facets::of(&[Facet::Type, Facet::Shape]);
                let partial = first > 0 || last > 0;
                let facets = if partial { facets.with(Facet::Partial) } else { facets };
                Disclosed { facets, characters: (first, last), ..Disclosed::NOTHING }
            }
            Protection::Pseudonymise { key, scope } => Disclosed {
                facets: Facets::of(&[Facet::Type, Facet::Link]),
                links: Links::Within(key, scope),
                confirmable: Some(key),
                ..Disclosed::NOTHING
            },
            Protection::Encrypt { key } => Disclosed { cipher: Some(key), ..known },
            Protection::Generalise { ladder, rung } => Disclosed {
                facets: Facets::of(&[Facet::Type, Facet::Partial]),
                rung: Some((ladder, rung)),
                ..Disclosed::NOTHING
            },
        }
    }

    /// Whether this shows no more than the other, in any zone; equivalent to `self.meet(other) == self`.
    pub(crate) fn discloses_at_most(self, other: Protection) -> bool {
        self.discloses().is_within(&other.discloses())
    }
}
