//! Payment cards: length by the issuer's prefix, and Luhn (ISO/IEC 7812).

use super::runs::Window;
use crate::checks;

/// How strong a number is as a card, by issuer, length and grouping; `None` where it is none.
pub(super) fn strength(window: &Window<'_>) -> Option<i16> {
    let d = window.digits;
    if !(12..=19).contains(&d.len()) || checks::is_pattern(d) || d.iter().all(|digit| *digit == d[0]) {
        return None;
    }
    let issuer = issuer(d)?;
    // UnionPay has cards whose last digit is no check digit.
    let base = match (checks::luhn(d), issuer) {
        (true, issuer) => issuer,
        (false, _) if d[..2] == [6, 2] && matches!(d.len(), 16 | 19) => 3,
        (false, _) => return None,
    };
    match window.pattern {
        0 => Some(base),
        0x4444 | 0x44443 | 0x465 | 0x464 | 0x44_42 | 0x6_d if matches!(window.separator, b' ' | b'-') => {
            Some(base + 15)
        }
        // Digit by digit is how somebody writes who does not want to be found.
        pattern if ones(pattern, d.len()) => Some(base),
        // The usual groups with unusual separators, or the other way round.
        0x4444 | 0x44443 | 0x465 | 0x464 => Some(base + 2),
        _ if matches!(window.separator, b' ' | b'-' | b'.') && base >= 20 => Some(base - 12),
        _ => None,
    }
}

fn ones(pattern: u64, count: usize) -> bool {
    count <= 16 && pattern == 0x1111_1111_1111_1111 >> (4 * (16 - count))
}

/// The usual lengths of a scheme stand for themselves; rare ones need more than a tenth of all numbers passing.
fn issuer(d: &[u8]) -> Option<i16> {
    const SURE: i16 = 24;
    const RARE: i16 = 12;
    let length = d.len();
    let four = checks::number(&d[..4]);
    let six = checks::number(&d[..6]);
    let when = |usual: bool, base: i16| if usual { Some(base) } else { None };
    match four {
        4000..=4999 => match length {
            16 => Some(SURE),
            13 | 19 => Some(RARE),
            _ => None,
        },
        5100..=5599 | 2221..=2720 => when(length == 16, SURE),
        3400..=3499 | 3700..=3799 => when(length == 15, SURE),
        6011 | 6440..=6499 | 6500..=6599 => match length {
            16 => Some(SURE),
            17..=19 => Some(RARE),
            _ => None,
        },
        3000..=3059 | 3095 | 3600..=3699 | 3800..=3999 => match length {
            14 => Some(22),
            15..=19 => Some(RARE),
            _ => None,
        },
        3528..=3589 => match length {
            16 => Some(SURE),
            17..=19 => Some(RARE),
            _ => None,
        },
        6200..=6299 => match length {
            16 | 19 => Some(SURE),
            17 | 18 => Some(RARE + 4),
            _ => None,
        },
        8100..=8199 => match length {
            16 => Some(22),
            17..=19 => Some(RARE),
            _ => None,
        },
        2200..=2204 => match length {
            16 => Some(SURE),
            17..=19 => Some(RARE),
            _ => None,
        },
        // RuPay, Troy, Verve, Elo, and what else routes as Maestro.
        6000..=6099 | 8200..=8299 | 9792 => when(length == 16, 22),
        5060 | 5061 | 5078 | 5079 => {
            when(matches!(length, 16 | 18 | 19), if length == 16 { 22 } else { RARE })
        }
        _ if matches!(six, 506_699..=506_778 | 509_000..=509_999 | 636_297 | 636_368 | 627_780) => {
            when(length == 16, 22)
        }
        5000..=5099 | 5600..=5899 | 6300..=6399 | 6700..=6799 | 6100..=6199 | 6600..=6699 | 6800..=6999 => {
            match length {
                16 => Some(20),
                12..=19 => Some(8),
                _ => None,
            }
        }
        _ => None,
    }
}
