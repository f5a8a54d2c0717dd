//! What is done to a value, and how two demands on one value combine (POLICY §4).
//!
//! A protection *is* the set of things it still discloses; combining two is intersection. The family is closed under
//! it, so a combination is again a protection, and the result does not depend on the order of rules or layers.

mod disclosure;
mod form;

use crate::keys::KeyRef;

#[cfg(test)]
pub(crate) use disclosure::Disclosed;
pub(crate) use disclosure::{Facet, Facets};
pub(crate) use form::{
    BASE32, Form, SALT_BYTES, SEAL_BLOCK_BYTES, Token, is_token_name, tokens, whole_token,
};

/// How far a pseudonym may be recognised: the qualifiers that its key is derived with. None of them is the whole
/// federation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Scope(u8);

impl Scope {
    pub(crate) const FEDERATION: Scope = Scope(0);
    pub(crate) const DESTINATION: Scope = Scope(1);
    pub(crate) const TOPIC: Scope = Scope(2);
    pub(crate) const DESTINATION_TOPIC: Scope = Scope(3);
    pub(crate) const ALL: [Scope; 4] =
        [Scope::FEDERATION, Scope::DESTINATION, Scope::TOPIC, Scope::DESTINATION_TOPIC];

    /// As rules and `govprotected` spell it.
    pub(crate) fn name(self) -> &'static str {
        ["federation", "destination", "topic", "destination+topic"][usize::from(self.0)]
    }

    pub(crate) fn named(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Whether every qualifier of `other` is one of this: what can be linked in this scope can be in that one.
    pub(crate) fn is_within(self, other: Scope) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn union(self, other: Scope) -> Scope {
        Scope(self.0 | other.0)
    }
}

/// Steps from a value to less of it. Rung 0 is the coarsest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ladder {
    /// `year`, `month`.
    Date,
    /// `network`: the first 24 bits of IPv4, 48 of IPv6.
    Address,
    /// `degree`, `tenth`.
    Coordinate,
    /// `country` of a phone number or an IBAN.
    Country,
    /// `1000`, `100`, `10`.
    Amount,
}

impl Ladder {
    pub(crate) const ALL: [Ladder; 5] =
        [Ladder::Date, Ladder::Address, Ladder::Coordinate, Ladder::Country, Ladder::Amount];

    /// Names of the rungs, coarsest first; no two ladders share one.
    pub(crate) fn rungs(self) -> &'static [&'static str] {
        match self {
            Ladder::Date => &["year", "month"],
            Ladder::Address => &["network"],
            Ladder::Coordinate => &["degree", "tenth"],
            Ladder::Country => &["country"],
            Ladder::Amount => &["1000", "100", "10"],
        }
    }

    /// What `to: <name>` means.
    pub(crate) fn named(name: &str) -> Option<(Ladder, u8)> {
        Ladder::ALL.into_iter().find_map(|ladder| {
            let rung = ladder.rungs().iter().position(|rung| *rung == name)?;
            Some((ladder, u8::try_from(rung).expect("a ladder has a handful of rungs")))
        })
    }

    /// Whether a number stays a number.
    pub(crate) fn is_numeric(self) -> bool {
        matches!(self, Ladder::Coordinate | Ladder::Amount)
    }
}

/// What is done to a value. No protection at all is the absence of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Protection {
    Drop,
    Redact,
    Hash,
    /// Characters that stay at either end.
    Mask {
        first: u8,
        last: u8,
    },
    Pseudonymise {
        key: KeyRef,
        scope: Scope,
    },
    Encrypt {
        key: KeyRef,
    },
    Generalise {
        ladder: Ladder,
        rung: u8,
    },
}

impl Protection {
    /// Something of the value is left, in a form that shows no rule of what class it was.
    pub(crate) fn hides_its_class(self) -> bool {
        use Protection::{Encrypt, Generalise, Hash, Mask, Pseudonymise};
        matches!(self, Mask { .. } | Generalise { .. } | Hash | Pseudonymise { .. } | Encrypt { .. })
    }

    /// The protection that discloses what both do.
    pub(crate) fn meet(self, other: Protection) -> Protection {
        use Protection::{Drop, Encrypt, Generalise, Hash, Mask, Pseudonymise, Redact};
        match (self, other) {
            (Drop, _) | (_, Drop) => Drop,
            (Hash, Hash) => Hash,
            (Hash, token @ Pseudonymise { .. }) | (token @ Pseudonymise { .. }, Hash) => token,
            (Mask { first: a, last: b }, Mask { first: c, last: d }) => {
                Mask { first: a.min(c), last: b.min(d) }
            }
            (Pseudonymise { key: a, scope }, Pseudonymise { key: b, scope: other }) if a == b => {
                Pseudonymise { key: a, scope: scope.union(other) }
            }
            (Encrypt { key: a }, Encrypt { key: b }) if a == b => Encrypt { key: a },
            (Generalise { ladder: a, rung: b }, Generalise { ladder: c, rung: d }) if a == c => {
                Generalise { ladder: a, rung: b.min(d) }
            }
            // Two ladders, two keys, two versions of a key, or two kinds: they share that there is a value.
            _ => Redact,
        }
    }

    /// The key that is needed to make it.
    pub(crate) fn key(self) -> Option<KeyRef> {
        match self {
            Protection::Pseudonymise { key, .. } | Protection::Encrypt { key } => Some(key),
            _ => None,
        }
    }

    /// Whether an object or array under it is replaced as a whole. Under the others each leaf below it is.
    pub(crate) fn takes_subtrees(self) -> bool {
        matches!(self, Protection::Drop | Protection::Redact | Protection::Encrypt { .. })
    }
}

/// The meet where either may be missing: no demand discloses everything.
pub(crate) fn meet(a: Option<Protection>, b: Option<Protection>) -> Option<Protection> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.meet(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
