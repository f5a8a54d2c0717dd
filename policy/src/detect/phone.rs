//! Phone numbers: international ones by their `+`, a country code and a possible length (ITU-T E.164); others only
//! where the key says that a phone is meant.

use super::{Class, Finding, digit_runs, is_boundary, key_says};

const KEYS: [&str; 11] =
    ["phone", "mobile", "msisdn", "telefon", "telephone", "handy", "cell", "fax", "whatsapp", "电话", "手机"];

/// Country codes of one and two digits; all others have three. Of those of three, the first digits that are in use.
const ONE_DIGIT: [u32; 2] = [1, 7];
const TWO_DIGITS: [u32; 44] = [
    20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58,
    60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
];
const THREE_DIGITS: [u32; 12] = [21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50];
const THREE_DIGITS_EAST: [u32; 8] = [59, 67, 68, 69, 85, 88, 96, 97];

pub(super) fn find(bytes: &[u8], key: Option<&str>, found: &mut Vec<Finding>) {
    for run in digit_runs(bytes, b" -./") {
        let before = run.range.start.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(run.range.end);
        if !is_boundary(after) {
            continue;
        }
        if before == Some(&b'+') {
            let earlier = run.range.start.checked_sub(2).and_then(|at| bytes.get(at));
            if is_boundary(earlier) && is_international(&run.digits) {
                found.push(Finding { class: Class::Phone, range: run.range.start - 1..run.range.end });
            }
        } else if is_boundary(before) && key_says(key, &KEYS) && (7..=15).contains(&run.digits.len()) {
            found.push(Finding { class: Class::Phone, range: run.range });
        }
    }
}

fn is_international(digits: &[u8]) -> bool {
    let prefix =
        |count: usize| digits.iter().take(count).fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit));
    let length = digits.len();
    if ONE_DIGIT.contains(&prefix(1)) {
        return length == 11;
    }
    if TWO_DIGITS.contains(&prefix(2)) {
        return (8..=15).contains(&length);
    }
    let known =
        THREE_DIGITS.contains(&prefix(2)) || THREE_DIGITS_EAST.contains(&prefix(2)) || prefix(2) == 99;
    known && (8..=15).contains(&length)
}
