//! How the places of two patterns lie to each other, for proofs: what is said holds for every event.

use super::{Path, Step};

impl Path {
    /// Whether every place of `other` is a place of this pattern or below one. Never said where it is not so; not said
    /// of a few pairs for which it is so, such as a `..name` that is spelled out in every way.
    pub(crate) fn covers(&self, other: &Path) -> bool {
        covers(&self.steps, &other.steps)
    }

    /// Whether some place of the one could be a place of the other, above or below it. Said of more pairs than need be:
    /// of each with a `..name`.
    pub(crate) fn may_meet(&self, other: &Path) -> bool {
        let steps = self.steps.iter().zip(&other.steps);
        for (mine, theirs) in steps {
            if matches!(mine, Step::Deep(_)) || matches!(theirs, Step::Deep(_)) {
                return true;
            }
            if !(reads(mine, theirs) || reads(theirs, mine)) {
                return false;
            }
        }
        true
    }
}

fn covers(mine: &[Step], theirs: &[Step]) -> bool {
    let Some((first, rest)) = mine.split_first() else { return true };
    let Some((next, others)) = theirs.split_first() else { return false };
    match first {
        Step::Deep(name) => {
            let ends = matches!(next, Step::Name(other) | Step::Deep(other) if other == name);
            (ends && covers(rest, others)) || covers(mine, others)
        }
        _ => reads(first, next) && covers(rest, others),
    }
}

/// Whether every label that the step `theirs` takes is one that `mine` takes.
fn reads(mine: &Step, theirs: &Step) -> bool {
    match (mine, theirs) {
        (Step::AnyMember, Step::Name(_) | Step::AnyMember)
        | (Step::AnyElement, Step::Index(_) | Step::AnyElement) => true,
        (Step::Name(a), Step::Name(b)) => a == b,
        (Step::Index(a), Step::Index(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_is_about_places_and_what_is_below_them() {
        check("$.data", "$.data.a.b", true, true);
        check("$.data.a", "$.data.a.b", true, true);
        check("$.data.a.b", "$.data.a", false, true);
        check("$.data.a", "$.data.b", false, false);
        check("$.data.*", "$.data.a[3]", true, true);
        check("$.data.*", "$.data[3]", false, false);
        check("$.data[*].x", "$.data[2].x", true, true);
        check("$.data[2].x", "$.data[*].x", false, true);
        check("$.data..card", "$.data.a.b.card.c", true, true);
        check("$.data..card", "$.data..card", true, true);
        check("$.data..a..b", "$.data.a.x.b", true, true);
        check("$.data..a..b", "$.data.b.a", false, true);
        check("$.data.card", "$.data..card", false, true);
        check("$.subject", "$.subject", true, true);
        check("$.subject", "$.data", false, false);
    }

    #[track_caller]
    fn check(mine: &str, theirs: &str, covers: bool, meets: bool) {
        let path = |text: &str| Path::parse(text).expect("a path");
        assert_eq!(path(mine).covers(&path(theirs)), covers, "{mine} covers {theirs}");
        assert_eq!(path(mine).may_meet(&path(theirs)), meets, "{mine} meets {theirs}");
        assert_eq!(path(theirs).may_meet(&path(mine)), meets, "{theirs} meets {mine}");
    }
}
