//! Why an evaluation has no result.

use std::fmt;
use std::ops::Range;

/// The kind of a run-time error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// An operation on values of types that it does not have, such as a comparison of text with a number.
    Mismatch,
    /// Something that was read is not there: an element beyond the end, an attribute of a zone.
    Missing,
    /// The event's data are not JSON, or no JSON that can be read in one way only.
    Unreadable,
    /// Arithmetic or a conversion left the range of its type, or divided by zero.
    Range,
    /// Text that a conversion cannot read.
    Malformed,
    /// A list, an object or a text is larger than [`Limits`](crate::Limits) allow.
    TooLarge,
    /// The step counter ran out.
    Exhausted,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            FailureKind::Mismatch => "the types do not go together",
            FailureKind::Missing => "a value is not there",
            FailureKind::Unreadable => "the data cannot be read",
            FailureKind::Range => "a number or a time is out of range",
            FailureKind::Malformed => "a text cannot be converted",
            FailureKind::TooLarge => "a value is larger than conditions may look at",
            FailureKind::Exhausted => "the step counter ran out",
        })
    }
}

/// A run-time error: the condition is neither true nor false. Holds no value of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    start: u32,
    end: u32,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, place: Place) -> Failure {
        Failure { kind, start: place.start, end: place.end }
    }

    /// The operation that failed, as bytes of the source.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (bytes {} to {} of the expression)", self.kind, self.start, self.end)
    }
}

impl std::error::Error for Failure {}

/// A range of the source, small enough to go with every operation. Sources are far shorter than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    start: u32,
    end: u32,
}

impl From<&Range<usize>> for Place {
    fn from(range: &Range<usize>) -> Place {
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Place { start: narrow(range.start), end: narrow(range.end) }
    }
}
