//! Telephone numbers: international ones by their country code and possible lengths (ITU-T E.164), national ones
//! where the field or the words before say so, or the grouping is that of a numbering plan.

use super::{View, marks};
use crate::checks;
use crate::class::Class;
use crate::flat::runs::Window;
use crate::flat::{ALNUM, Kind};
use crate::keys::Hint;

/// Country codes with the shortest and longest national number behind them.
const COUNTRIES: &[(u16, u8, u8)] = &[
    (1, 10, 10),
    (7, 10, 10),
    (20, 8, 10),
    (27, 9, 9),
    (30, 10, 10),
    (31, 9, 9),
    (32, 8, 9),
    (33, 9, 9),
    (34, 9, 9),
    (36, 8, 9),
    (39, 6, 11),
    (40, 9, 9),
    (41, 9, 9),
    (43, 7, 13),
    (44, 9, 10),
    (45, 8, 8),
    (46, 7, 10),
    (47, 8, 8),
    (48, 9, 9),
    (49, 6, 13),
    (51, 8, 9),
    (52, 10, 11),
    (53, 6, 8),
    (54, 10, 11),
    (55, 10, 11),
    (56, 9, 9),
    (57, 8, 10),
    (58, 10, 10),
    (60, 8, 10),
    (61, 9, 9),
    (62, 8, 12),
    (63, 8, 10),
    (64, 8, 10),
    (65, 8, 8),
    (66, 8, 9),
    (81, 9, 10),
    (82, 8, 10),
    (84, 9, 10),
    (86, 9, 11),
    (90, 10, 10),
    (91, 10, 10),
    (92, 9, 10),
    (93, 9, 9),
    (94, 9, 9),
    (95, 7, 10),
    (98, 10, 10),
    (350, 8, 8),
    (351, 9, 9),
    (352, 6, 11),
    (353, 7, 9),
    (354, 7, 9),
    (355, 8, 9),
    (356, 8, 8),
    (357, 8, 8),
    (358, 6, 11),
    (359, 7, 9),
    (370, 8, 8),
    (371, 8, 8),
    (372, 7, 8),
    (373, 8, 8),
    (374, 8, 8),
    (375, 9, 9),
    (376, 6, 9),
    (377, 8, 9),
    (378, 6, 10),
    (380, 9, 9),
    (381, 7, 9),
    (382, 8, 8),
    (383, 8, 9),
    (385, 8, 9),
    (386, 8, 8),
    (387, 8, 8),
    (389, 8, 8),
    (420, 9, 9),
    (421, 9, 9),
    (423, 7, 9),
    (852, 8, 8),
    (853, 8, 8),
    (855, 8, 9),
    (856, 8, 10),
    (880, 8, 10),
    (886, 8, 9),
    (960, 7, 7),
    (961, 7, 8),
    (962, 8, 9),
    (963, 8, 9),
    (964, 8, 10),
    (965, 8, 8),
    (966, 8, 9),
    (967, 7, 9),
    (968, 8, 8),
    (970, 8, 9),
    (971, 8, 9),
    (972, 8, 9),
    (973, 8, 8),
    (974, 8, 8),
    (975, 7, 8),
    (976, 8, 8),
    (977, 8, 10),
    (992, 9, 9),
    (993, 8, 8),
    (994, 9, 9),
    (995, 9, 9),
    (996, 9, 9),
    (998, 9, 9),
];

/// Possible lengths of the national number behind a country code of three digits that has no line of its own.
fn assigned(code: u16) -> Option<(u8, u8)> {
    let is_assigned = matches!(code,
        211..=213 | 216 | 218 | 220..=258 | 260..=269 | 290 | 291 | 297..=299 | 500..=509 | 590..=599 | 670 | 672..=692
            | 800 | 808 | 850 | 870 | 878 | 881..=883 | 888 | 979);
    // Islands with numbers of a few digits.
    let min = match code {
        247 | 290 | 683 | 690 => 4,
        500 | 676..=678 | 682 | 685 | 686 | 688 => 5,
        _ => 6,
    };
    is_assigned.then_some((min, 11))
}

/// The length of the country code the digits begin with, and of the national numbers behind it.
pub(crate) fn country(d: &[u8]) -> Option<(usize, u8, u8)> {
    (1..=3.min(d.len())).find_map(|length| {
        let code = checks::number(&d[..length]) as u16;
        let listed = COUNTRIES.iter().find(|(listed, ..)| *listed == code).map(|(_, min, max)| (*min, *max));
        let (min, max) = listed.or_else(|| assigned(code))?;
        (d[0] != 0).then_some((length, min, max))
    })
}

const DIGITS_MAX: usize = 15;

/// Groupings of national numbers: pattern, separator (0 for any), the first digits as a range of three, strength.
#[rustfmt::skip]
const NATIONAL: &[(u64, u8, std::ops::RangeInclusive<u64>, i16)] = &[
    (0x344, b'-', 10..=90, 25),        // Japan and Korea: 090-1234-5678, 010-1234-5678
    (0x334, b'-', 10..=99, 16),        // 030-123-4567
    (0x22222, 0, 10..=79, 24),         // France: 06 12 34 56 78
    (0x344, b' ', 20..=29, 21),        // London: 020 7946 0958
    (0x56, b' ', 71..=79, 21),         // United Kingdom, mobile: 07700 900123
    (0x533, b' ', 71..=79, 21),
    (0x433, b' ', 40..=49, 21),        // Australia, mobile: 0412 345 678
    (0x244, b' ', 20..=89, 14),
    (0x48, b'-', 310..=999, 14), (0x47, b'-', 310..=999, 14),
    (0x38, b'-', 10..=29, 21),         // China: 010-62345678
    (0x3222, b' ', 600..=999, 21),     // Spain: 612 34 56 78
    (0x55, b' ', 600..=999, 15),       // India: 98765 43210
    (0x424, b'-', 110..=999, 15), (0x244, b'-', 10..=99, 15),
];

impl View<'_> {
    /// `+` and what follows; where to go on.
    pub(super) fn international_phone(&mut self, plus: usize) -> usize {
        let before = self.byte_before(plus);
        if before.is_some_and(|byte| marks(byte) & ALNUM != 0) && !self.is_behind_name(plus) {
            return plus + 1;
        }
        let mut digits = [0; DIGITS_MAX];
        let mut groups = [(0, 0); DIGITS_MAX];
        let (mut count, mut grouped, mut at) = (0, 0, plus + 1);
        while let Some(&byte) = self.bytes.get(at) {
            if byte.is_ascii_digit() {
                if count == DIGITS_MAX {
                    break;
                }
                digits[count] = byte - b'0';
                count += 1;
                at += 1;
                if !self.continues(at) {
                    groups[grouped] = (at, count);
                    grouped += 1;
                }
            } else {
                let separators = self.bytes[at..]
                    .iter()
                    .take(3)
                    .take_while(|byte| matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/'))
                    .count();
                let next = at + separators;
                if separators == 0 || separators == 3 || !self.bytes.get(next).is_some_and(u8::is_ascii_digit)
                {
                    break;
                }
                at = next;
            }
        }
        let Some((code, min, max)) = country(&digits[..count]) else { return plus + 1 };
        // The longest groups that are a possible number; what follows it is something else.
        let fitting = groups[..grouped].iter().rev().find(|(_, digits)| {
            // The trunk zero of +44 (0)20 is not dialled.
            let national = digits - code.min(*digits) - usize::from(self.has_trunk_zero(plus));
            (min as usize..=max as usize).contains(&national)
        });
        let Some(&(end, used)) = fitting else { return plus + 1 };
        let d = &digits[..used];
        if checks::is_uniform(&d[code..]) {
            return plus + 1;
        }
        let class = if d[..code] == [8, 6] && used == 13 && d[2] == 1 && d[3] >= 3 {
            Class::CN_MOBILE
        } else {
            Class::PHONE
        };
        let is_nanp = d[0] != 1 || (d[1] >= 2 && d[4] >= 2);
        let base = match used {
            // As short as this, a change of something is written so too.
            ..8 => 24,
            _ if is_nanp => 36,
            _ => 20,
        };
        // `(+44) 20 7946 0958`
        let is_bracketed = before == Some(b'(') && {
            let number = &self.bytes[plus..end];
            memchr::memchr(b')', number).is_some() && memchr::memchr(b'(', number).is_none()
        };
        self.offer(class, plus - usize::from(is_bracketed), end, base);
        end
    }

    /// Whether the letters straight before a place name a telephone: `Tel+49…`.
    fn is_behind_name(&self, plus: usize) -> bool {
        const NAME_MAX: usize = 12;
        let head = &self.bytes[..plus];
        let letters =
            head.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).take(NAME_MAX + 1).count();
        let start = plus - letters;
        (2..=NAME_MAX).contains(&letters)
            && self.bytes.get(plus + 1).is_some_and(u8::is_ascii_digit)
            && self.byte_before(start).is_none_or(|byte| marks(byte) & ALNUM == 0)
            && Hint::of(&self.text[start..plus]).says(Class::PHONE)
    }

    fn has_trunk_zero(&self, plus: usize) -> bool {
        let head = &self.bytes[plus..self.bytes.len().min(plus + 9)];
        head.windows(3).any(|part| part == b"(0)")
    }

    /// `(415) 555-2671`, `(11) 91234-5678`, `(030) 1234567`; where to go on.
    pub(super) fn bracketed_phone(&mut self, open: usize) -> usize {
        let area = self.bytes[open + 1..].iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
        let close = open + 1 + area;
        if !(2..=5).contains(&area) || self.bytes.get(close) != Some(&b')') {
            return open + 1;
        }
        let mut digits = [0; DIGITS_MAX];
        let mut count = 0;
        for byte in &self.bytes[open + 1..close] {
            digits[count] = byte - b'0';
            count += 1;
        }
        // A bracket in the middle of a number is one of something else: `(01)04012345678901(21)23692966`.
        if self.byte_before(open).is_some_and(|byte| byte.is_ascii_digit()) && !self.is_behind_trunk(open) {
            return open + 1;
        }
        let mut at = close + 1;
        let mut end = close;
        loop {
            let separators = self.bytes[at.min(self.bytes.len())..]
                .iter()
                .take(2)
                .take_while(|byte| matches!(byte, b' ' | b'-' | b'.' | b'/'))
                .count();
            let start = at + separators;
            let length = self
                .bytes
                .get(start..)
                .map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
            if separators > 1 || length == 0 || count + length > 11 || self.continues(start + length) {
                break;
            }
            for byte in &self.bytes[start..start + length] {
                digits[count] = byte - b'0';
                count += 1;
            }
            at = start + length;
            end = at;
        }
        if !(8..=11).contains(&count) || checks::is_uniform(&digits[..count]) {
            return open + 1;
        }
        let is_nanp = area == 3 && count == 10 && digits[0] >= 2 && digits[3] >= 2;
        let is_brazil = area == 2 && digits[0] != 0 && (count == 11 && digits[2] == 9 || count == 10);
        let base = if is_nanp {
            28
        } else if is_brazil || digits[0] == 0 {
            22
        } else {
            12
        };
        let starts = if self.bytes[..open].ends_with(b"+1 ") {
            open - 3
        } else if self.is_behind_trunk(open) {
            open - 1 - usize::from(self.bytes[open - 1] == b' ')
        } else {
            open
        };
        self.offer(Class::PHONE, starts, end, base);
        end
    }

    /// Whether `1` or `8` stands before a bracket, which is dialled first: `8 (495) 123-45-67`.
    fn is_behind_trunk(&self, open: usize) -> bool {
        let head = self.bytes[..open].strip_suffix(b" ").unwrap_or(&self.bytes[..open]);
        let starts = || head.len() < 2 || !self.is_part(head.len() - 2);
        matches!(head.last(), Some(b'1' | b'8')) && starts()
    }

    /// Whether a number or a word that ends at a place goes on behind it.
    fn is_part(&self, at: usize) -> bool {
        let byte = self.bytes[at];
        marks(byte) & ALNUM != 0 || matches!(byte, b'.' | b'-' | b',' | b')' | b'+')
    }

    /// A whole run of digits as a national number.
    pub(super) fn national_phone(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        if !(7..=15).contains(&d.len()) || !matches!(window.separator, 0 | 1 | b' ' | b'-' | b'.' | b'/') {
            return;
        }
        // Joined to a word in front it is a code of something.
        if step < 0 && !self.hint.says(Class::PHONE) {
            return;
        }
        let first = checks::number(&d[..3]);
        let is_nanp = match d.len() {
            10 => d[0] >= 2 && d[3] >= 2 && d[1..3] != [1, 1],
            11 => d[0] == 1 && d[1] >= 2 && d[4] >= 2,
            _ => false,
        };
        let base = match window.pattern {
            0x334 | 0x1334 if is_nanp => match window.separator {
                b'-' => 26,
                b'.' => 22,
                _ => 14,
            },
            0 => 8,
            pattern => NATIONAL
                .iter()
                .find(|(known, separator, range, _)| {
                    *known == pattern
                        && (*separator == 0 && window.separator != 1 || *separator == window.separator)
                        && range.contains(&first)
                })
                .map_or(if looks_like_date(window) { -20 } else { 6 }, |(.., base)| *base),
        };
        let base = match d.len() {
            9..=12 => base,
            _ => base.min(2),
        };
        let says = self.says(Class::PHONE, window.start);
        if base > 12 || says {
            self.give(Class::PHONE, window, base, step);
        }
    }
}

/// A year in front or behind, as in dates; those are eight digits or fewer, or have more behind them.
fn looks_like_date(window: &Window<'_>) -> bool {
    matches!(window.pattern, 0x422 | 0x224 | 0x4222 | 0x42222 | 0x2242 | 0x22422) && {
        let d = window.digits;
        matches!(checks::number(&d[..2]), 19 | 20) || matches!(checks::number(&d[4..6]), 19 | 20)
    }
}

impl View<'_> {
    /// Eleven digits that may be a mobile number of mainland China.
    pub(super) fn cn_mobile(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        if is_cn_mobile(d) && matches!(window.separator, 0 | b' ' | b'-') {
            // Nothing checks it, so a bare one counts only where a character of a script without spaces stands beside
            // it.
            // Brackets of any width stand between them and the number.
            let before = self.text[..window.start].trim_end_matches(['(', '[']);
            let behind = self.text[window.end..].trim_start_matches([')', ']']);
            let near_cjk = before.chars().next_back().is_some_and(|c| !c.is_ascii())
                || behind.chars().next().is_some_and(|c| !c.is_ascii());
            let bare = match self.kind {
                Kind::Number => 14,
                Kind::Text if near_cjk => 24,
                Kind::Text => 15,
            };
            self.shaped(Class::CN_MOBILE, window, step, window.shape(bare, &[0x344], 30));
        }
    }
}

/// Mobile numbers of mainland China by the prefixes in use.
fn is_cn_mobile(d: &[u8]) -> bool {
    let rest = d[2];
    d[0] == 1
        && match d[1] {
            3 | 8 => true,
            4 => matches!(rest, 0 | 1 | 4..=9),
            5 => rest != 4,
            6 => matches!(rest, 2 | 5..=7),
            7 => rest <= 8,
            9 => rest != 4,
            _ => false,
        }
        && !checks::is_uniform(&d[2..])
}
