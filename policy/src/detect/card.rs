//! Payment cards: issuer prefix, length and the Luhn digit (ISO/IEC 7812-1). UnionPay does not always follow Luhn;
//! without it the key must say that a card is meant.

use super::{Class, Finding, digit_runs, is_boundary, key_says};

const KEYS: [&str; 6] = ["card", "pan", "cc", "karte", "tarjeta", "卡"];

pub(super) fn find(bytes: &[u8], key: Option<&str>, found: &mut Vec<Finding>) {
    for run in digit_runs(bytes, b" -") {
        let before = run.range.start.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(run.range.end);
        let fraction = after == Some(&b'.') && bytes.get(run.range.end + 1).is_some_and(u8::is_ascii_digit)
            || before == Some(&b'.');
        if !is_boundary(before) || !is_boundary(after) || fraction || !is_grouped(&bytes[run.range.clone()]) {
            continue;
        }
        if is_card(&run.digits, key) {
            found.push(Finding { class: Class::Card, range: run.range });
        }
    }
}

/// One separator throughout, and groups as cards print them: no group below four digits but the last, or Amex 4-6-5.
fn is_grouped(text: &[u8]) -> bool {
    let mut separators = text.iter().filter(|b| !b.is_ascii_digit());
    let Some(first) = separators.next() else { return true };
    if separators.any(|other| other != first) {
        return false;
    }
    let groups: Vec<usize> = text.split(|b| b == first).map(<[u8]>::len).collect();
    let last = groups.len() - 1;
    groups == [4, 6, 5]
        || groups == [4, 6, 4]
        || groups.iter().take(last).all(|length| *length == 4) && groups[last] <= 4
}

fn is_card(digits: &[u8], key: Option<&str>) -> bool {
    let prefix =
        |count: usize| digits.iter().take(count).fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit));
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    let length = digits.len();
    let luhn = luhn(digits);
    // All the same digit passes Luhn for zeros and is no card of anybody.
    if length < 12 || digits.iter().all(|digit| Some(digit) == digits.first()) {
        return false;
    }
    let issued = match digits[0] {
        4 => matches!(length, 13 | 16 | 19),
        5 if (51..=55).contains(&two) => length == 16,
        2 if (2221..=2720).contains(&four) => length == 16,
        2 if (2200..=2204).contains(&four) => (16..=19).contains(&length),
        3 if matches!(two, 34 | 37) => length == 15,
        3 if (300..=305).contains(&three) || four == 3095 || matches!(two, 36 | 38 | 39) => {
            (14..=19).contains(&length)
        }
        3 if (3528..=3589).contains(&four) => (16..=19).contains(&length),
        6 if four == 6011 || (644..=649).contains(&three) || two == 65 => (16..=19).contains(&length),
        6 if two == 62 => (16..=19).contains(&length),
        8 if two == 81 => (16..=19).contains(&length),
        5 | 6 if matches!(two, 50 | 56 | 57 | 58 | 59 | 60 | 63 | 67) => {
            key_says(key, &KEYS) && (12..=19).contains(&length)
        }
        9 if four == 9792 => length == 16,
        _ => false,
    };
    let union_pay = matches!(two, 62 | 81);
    issued && (luhn || union_pay && key_says(key, &KEYS))
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| {
            let digit = u32::from(*digit);
            match at % 2 {
                0 => digit,
                _ => digit * 2 / 10 + digit * 2 % 10,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}
