//! What an evaluation costs at most, and the counter that holds it to that.
//!
//! A **step** is one operation: a member, a call, a comparison, a sign. Literals and loop variables are free. Work that grows with sizes is
//! counted in units of a 1,024th of a step, both here and at run time, by the same constants:
//!
//! | work | steps |
//! |---|---|
//! | looking at text: comparing, searching, measuring, building | 1 for each 256 bytes |
//! | a regular expression | the same, times 1, 2 or 4 by the size of its program |
//! | looking for a member of an object, or an element of an array by index | 1 for each 256 passed over |
//! | searching, comparing or joining lists | 1 for each 8 elements |
//! | a loop | 1 and its body for each element |
//!
//! In a loop, the parts of the elements that the body looks at are parts of the list, so together they are bounded by
//! its bytes, not by the longest possible element for each of them. [`Scan`] keeps such work apart until its loop is
//! closed.

use crate::failure::FailureKind;
use crate::types::Size;

pub(crate) const STEP: u64 = 1_024;
/// For each byte of text.
pub(crate) const TEXT: u64 = 4;
/// For each member or element passed over. A member has at least five bytes (`"":0,`), an element two (`0,`), so this is
/// at most one unit for a byte of an object, and two for a byte of an array.
pub(crate) const MEMBER: u64 = 4;
/// For each element searched, compared or joined.
pub(crate) const ELEMENT: u64 = 128;

/// The worst case, in units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    units: u64,
    scans: Vec<Scan>,
}

/// Work on parts of a loop variable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scan {
    /// Depth of the loop.
    of: usize,
    /// Units for each byte of the variable.
    weight: u64,
    /// Units, whatever the bytes are.
    cap: u64,
}

impl Cost {
    pub(crate) fn step() -> Cost {
        Cost { units: STEP, scans: Vec::new() }
    }

    pub(crate) fn units(units: u64) -> Cost {
        Cost { units, scans: Vec::new() }
    }

    /// Looks at the text of a value, up to `most` bytes, at `factor` times the price of plain text.
    pub(crate) fn text(size: Size, most: u64, factor: u64) -> Cost {
        let weight = TEXT.saturating_mul(factor);
        Cost::scan(size, weight, weight.saturating_mul(size.bytes.min(most)))
    }

    /// Looks for a member among up to `most`.
    pub(crate) fn member(size: Size, most: u64) -> Cost {
        Cost::scan(size, 1, MEMBER.saturating_mul(most).min(size.bytes))
    }

    /// Passes over up to `most` elements, or members.
    pub(crate) fn element(size: Size, most: u64) -> Cost {
        let weight = 2;
        Cost::scan(size, weight, MEMBER.saturating_mul(most).min(weight.saturating_mul(size.bytes)))
    }

    fn scan(size: Size, weight: u64, cap: u64) -> Cost {
        match size.share {
            Some(of) => Cost { units: 0, scans: vec![Scan { of, weight, cap }] },
            None => Cost::units(cap),
        }
    }

    #[must_use]
    pub(crate) fn and(mut self, other: &Cost) -> Cost {
        self.units = self.units.saturating_add(other.units);
        self.scans.extend_from_slice(&other.scans);
        self
    }

    /// This for every element of a list, by the loop at `depth`.
    pub(crate) fn for_each(&self, list: Size, depth: usize) -> Cost {
        let times = list.items;
        let mut total = Cost::units(self.units.saturating_mul(times));
        for scan in &self.scans {
            let cap = scan.cap.saturating_mul(times);
            let closed = if scan.of == depth {
                Cost::scan(list, scan.weight, cap.min(scan.weight.saturating_mul(list.bytes)))
            } else {
                // The same part of an outer variable is looked at again for every element.
                let weight = scan.weight.saturating_mul(times);
                Cost { units: 0, scans: vec![Scan { of: scan.of, weight, cap }] }
            };
            total = total.and(&closed);
        }
        total
    }

    /// In whole steps. Scans are closed with their loops, so at the end there are none.
    pub(crate) fn steps(&self) -> u64 {
        self.scans.iter().fold(self.units, |sum, scan| sum.saturating_add(scan.cap)).div_ceil(STEP)
    }
}

/// The counter of an evaluation: bounds the work of one rule whatever the event is. Shared by all expressions of the
/// rule.
#[derive(Clone, Debug)]
pub struct Steps {
    left: u64,
    spent: u64,
}

impl Steps {
    pub const fn new(steps: u64) -> Steps {
        Steps { left: steps.saturating_mul(STEP), spent: 0 }
    }

    /// Steps taken so far, begun ones included.
    pub const fn spent(&self) -> u64 {
        self.spent.div_ceil(STEP)
    }

    pub(crate) fn take(&mut self, units: u64) -> Result<(), FailureKind> {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                self.spent += units;
                Ok(())
            }
            None => {
                // Nothing more is evaluated with this counter, not even something cheaper.
                self.spent += self.left;
                self.left = 0;
                Err(FailureKind::Exhausted)
            }
        }
    }
}
