//! From everything found in one token to its findings: what overlaps is one thing under several names.

use std::cmp::Reverse;
use std::ops::Range;

use crate::class::{Class, ClassSet};
use crate::finding::{Confidence, Finding};

/// Something found, by bytes of the scanned text.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) class: Class,
    pub(super) range: Range<u32>,
    pub(super) strength: i16,
    pub(super) nested: bool,
}

/// What is longer by more than this than the stronger finding inside it is reported beside it.
const MARGIN_BYTES: u32 = 6;

/// Empties `found` into `out`: of what overlaps, the strongest gives the class and the rest are its alternatives.
pub(super) fn settle(found: &mut Vec<Raw>, node: Option<u32>, out: &mut Vec<Finding>) {
    if let [one] = found.as_slice() {
        report(one, node, out);
    } else {
        found.sort_by_key(|raw| raw.range.start);
        let mut rest = found.as_mut_slice();
        while let Some(first) = rest.first() {
            // Only what hangs together is compared with each other: a long text has many findings.
            let mut end = first.range.end;
            let mut count = 1;
            while let Some(next) = rest.get(count).filter(|next| next.range.start < end) {
                end = end.max(next.range.end);
                count += 1;
            }
            let (group, behind) = rest.split_at_mut(count);
            settle_group(group, node, out);
            rest = behind;
        }
    }
    found.clear();
}

fn settle_group(group: &mut [Raw], node: Option<u32>, out: &mut Vec<Finding>) {
    // What stands in the text itself before the same in a decoded layer, and the particular before the general:
    // `contact.phone.cn-mobile` is also a `contact.phone`.
    group.sort_by_key(|raw| {
        (Reverse(raw.strength), Reverse(raw.range.len()), raw.nested, Reverse(raw.class.name().len()))
    });
    let first = out.len();
    for raw in group.iter() {
        let over = out[first..]
            .iter_mut()
            .find(|kept| kept.range.start < raw.range.end && raw.range.start < kept.range.end);
        match over {
            None => report(raw, node, out),
            Some(kept) if exceeds(&raw.range, &kept.range) => report(raw, node, out),
            Some(kept) if raw.class != kept.class => kept.alternatives.insert(raw.class),
            // Found as it stands too, it needs no decoding.
            Some(kept) if raw.range == kept.range => kept.nested &= raw.nested,
            Some(_) => {}
        }
    }
    out[first..].sort_by_key(|finding| (finding.range.start, Reverse(finding.range.end)));
}

/// Whether the other leaves much of the range uncovered.
fn exceeds(range: &Range<u32>, other: &Range<u32>) -> bool {
    let common = range.end.min(other.end) - range.start.max(other.start);
    range.end - range.start > common + MARGIN_BYTES
}

pub(super) fn report(raw: &Raw, node: Option<u32>, out: &mut Vec<Finding>) {
    out.push(Finding {
        class: raw.class,
        alternatives: ClassSet::EMPTY,
        confidence: Confidence::of(raw.strength),
        range: raw.range.clone(),
        node,
        nested: raw.nested,
    });
}
