//! The judge of one subscriber: which sequence numbers have come, which are missing, which came twice.

use std::collections::BTreeSet;

/// Missing numbers that are kept one by one. A run that loses more is not worth telling apart; the rest is counted as lost.
const MISSING_MAX: usize = 1 << 20;

/// Sequence numbers from 0 on, as they arrive.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    /// All below have come, or are in `missing`, or in `given_up`.
    next: u64,
    missing: BTreeSet<u64>,
    /// Missing ones for which there was no room.
    given_up: u64,
    late: u64,
    repeated: u64,
}

/// What was found of a complete sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Verdict {
    /// Never came.
    pub(crate) lost: u64,
    /// Came again.
    pub(crate) repeated: u64,
    /// Came after a later one.
    pub(crate) late: u64,
}

impl Sequences {
    /// Enters one that arrived.
    #[inline]
    pub(crate) fn enter(&mut self, sequence: u64) {
        if sequence == self.next {
            self.next += 1;
        } else {
            self.enter_out_of_order(sequence);
        }
    }

    fn enter_out_of_order(&mut self, sequence: u64) {
        if sequence < self.next {
            if self.missing.remove(&sequence) {
                self.late += 1;
            } else {
                self.repeated += 1;
            }
            return;
        }
        let room = (MISSING_MAX - self.missing.len()) as u64;
        let listed = self.next.saturating_add(room).min(sequence);
        self.missing.extend(self.next..listed);
        self.given_up += sequence - listed;
        self.next = sequence + 1;
    }

    /// One more than the highest that has come.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether all of `0..end` have come.
    pub(crate) fn is_complete(&self, end: u64) -> bool {
        self.next >= end && self.missing.is_empty() && self.given_up == 0
    }

    /// The verdict when `0..end` were published and no more will come.
    pub(crate) fn verdict(&self, end: u64) -> Verdict {
        let tail = end.saturating_sub(self.next);
        Verdict {
            lost: self.missing.len() as u64 + self.given_up + tail,
            repeated: self.repeated,
            late: self.late,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unbroken_sequence_is_clean() {
        let mut sequences = Sequences::default();
        (0..1_000).for_each(|sequence| sequences.enter(sequence));
        assert!(sequences.is_complete(1_000));
        assert_eq!(sequences.verdict(1_000), Verdict::default());
        assert_eq!(sequences.verdict(1_003).lost, 3, "the end of the sequence is lost like any other part");
    }

    #[test]
    fn a_jump_beyond_the_list_is_still_counted() {
        let mut sequences = Sequences::default();
        sequences.enter(3_000_000);
        assert!(!sequences.is_complete(3_000_001));
        assert_eq!(sequences.verdict(3_000_001).lost, 3_000_000);
        assert_eq!(sequences.missing.len(), MISSING_MAX);
    }

    proptest! {
        #[test]
        fn verdicts_are_those_of_counting_each_number(arrivals in prop::collection::vec(0u64..40, 0..80)) {
            let mut sequences = Sequences::default();
            arrivals.iter().for_each(|sequence| sequences.enter(*sequence));
            let times = |number: u64| arrivals.iter().filter(|one| **one == number).count() as u64;
            let late = (0..40u64).filter(|number| {
                let first = arrivals.iter().position(|one| one == number);
                first.is_some_and(|at| arrivals[..at].iter().any(|before| before > number))
            }).count() as u64;
            let expected = Verdict {
                lost: (0..40).filter(|number| times(*number) == 0).count() as u64,
                repeated: (0..40).map(|number| times(number).saturating_sub(1)).sum(),
                late,
            };
            prop_assert_eq!(sequences.verdict(40), expected);
            prop_assert_eq!(sequences.is_complete(40), expected.lost == 0);
        }
    }
}
