//! What a scan reports.

use std::ops::Range;

use crate::class::{Class, ClassSet};

/// How sure a finding is, as a budget of false alarms over all classes together, on ordinary events free of personal
/// data: low at most one event in 50, medium one in 1,000, high one in 10,000 (POLICY §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    Low,
    Medium,
    High,
}

/// The thresholds on the scale of [`crate::flat`].
pub(crate) const LOW: i16 = 10;
pub(crate) const MEDIUM: i16 = 20;
pub(crate) const HIGH: i16 = 36;

impl Confidence {
    pub(crate) fn threshold(self) -> i16 {
        match self {
            Confidence::Low => LOW,
            Confidence::Medium => MEDIUM,
            Confidence::High => HIGH,
        }
    }

    pub(crate) fn of(strength: i16) -> Confidence {
        match strength {
            HIGH.. => Confidence::High,
            MEDIUM.. => Confidence::Medium,
            _ => Confidence::Low,
        }
    }

    /// `low`, `medium` or `high`.
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Low => "low",
            Confidence::Medium => "medium",
            Confidence::High => "high",
        }
    }
}

/// A value of a class at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The most likely class.
    pub class: Class,
    /// Others that would have been reported without it; protection is due for all of them.
    pub alternatives: ClassSet,
    pub confidence: Confidence,
    /// Bytes of the scanned text as it stands, escapes included and never split.
    pub range: Range<u32>,
    /// The key, string or number of the tape that it stands in; `None` in a text that is no JSON.
    pub node: Option<u32>,
    /// It stands in a decoded layer, JSON in a string, percent-encoding or base64, so that editing its bytes would
    /// not do: the whole token has to be protected. Of base64 the range is the whole encoded run.
    pub nested: bool,
}

/// Why a text cannot be called clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Layers inside strings decode to more bytes than the scanner may look at in one text.
    #[error("encoded layers exceed the budget of {bytes} bytes")]
    Budget { bytes: usize },
    /// Places do not fit 32 bits.
    #[error("the text has 4 GiB or more")]
    Size,
}
