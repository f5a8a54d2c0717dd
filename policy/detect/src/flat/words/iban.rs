//! International bank account numbers: the country's length and structure, and mod 97 (ISO 13616).

use super::{View, Word};
use crate::checks;
use crate::class::Class;
use crate::flat::runs::wide_separator;

/// Country and structure of its account part: `n` digits, `a` letters, `c` either.
const COUNTRIES: &[(&[u8; 2], &str)] = &[
    (b"AD", "8n12c"),
    (b"AE", "19n"),
    (b"AL", "8n16c"),
    (b"AT", "16n"),
    (b"AZ", "4a20c"),
    (b"BA", "16n"),
    (b"BE", "12n"),
    (b"BG", "4a6n8c"),
    (b"BH", "4a14c"),
    (b"BI", "23n"),
    (b"BR", "23n1a1c"),
    (b"BY", "4c4n16c"),
    (b"CH", "5n12c"),
    (b"CR", "18n"),
    (b"CY", "8n16c"),
    (b"CZ", "20n"),
    (b"DE", "18n"),
    (b"DJ", "23n"),
    (b"DK", "14n"),
    (b"DO", "4c20n"),
    (b"EE", "16n"),
    (b"EG", "25n"),
    (b"ES", "20n"),
    (b"FI", "14n"),
    (b"FK", "2a12n"),
    (b"FO", "14n"),
    (b"FR", "10n11c2n"),
    (b"GB", "4a14n"),
    (b"GE", "2a16n"),
    (b"GI", "4a15c"),
    (b"GL", "14n"),
    (b"GR", "7n16c"),
    (b"GT", "4c20c"),
    (b"HN", "4a20n"),
    (b"HR", "17n"),
    (b"HU", "24n"),
    (b"IE", "4a14n"),
    (b"IL", "19n"),
    (b"IQ", "4a15n"),
    (b"IS", "22n"),
    (b"IT", "1a10n12c"),
    (b"JO", "4a4n18c"),
    (b"KW", "4a22c"),
    (b"KZ", "3n13c"),
    (b"LB", "4n20c"),
    (b"LC", "4a24c"),
    (b"LI", "5n12c"),
    (b"LT", "16n"),
    (b"LU", "3n13c"),
    (b"LV", "4a13c"),
    (b"LY", "21n"),
    (b"MC", "10n11c2n"),
    (b"MD", "2c18c"),
    (b"ME", "18n"),
    (b"MK", "3n10c2n"),
    (b"MN", "16n"),
    (b"MR", "23n"),
    (b"MT", "4a5n18c"),
    (b"MU", "4a19n3a"),
    (b"NI", "4a20n"),
    (b"NL", "4a10n"),
    (b"NO", "11n"),
    (b"OM", "3n16c"),
    (b"PK", "4a16c"),
    (b"PL", "24n"),
    (b"PS", "4a21c"),
    (b"PT", "21n"),
    (b"QA", "4a21c"),
    (b"RO", "4a16c"),
    (b"RS", "18n"),
    (b"RU", "14n15c"),
    (b"SA", "2n18c"),
    (b"SC", "4a20n3a"),
    (b"SD", "14n"),
    (b"SE", "20n"),
    (b"SI", "15n"),
    (b"SK", "20n"),
    (b"SM", "1a10n12c"),
    (b"SO", "19n"),
    (b"ST", "21n"),
    (b"SV", "4a20n"),
    (b"TL", "19n"),
    (b"TN", "20n"),
    (b"TR", "5n1n16c"),
    (b"UA", "6n19c"),
    (b"VA", "18n"),
    (b"VG", "4a16n"),
    (b"XK", "16n"),
    (b"YE", "4a4n18c"),
];

/// The longest number of the registry.
const LENGTH_MAX: usize = 34;

impl View<'_> {
    /// An account number that begins with this word, together or in groups; its end.
    pub(super) fn iban(&mut self, word: Word<'_>) -> Option<usize> {
        let country = [word.bytes[0].to_ascii_uppercase(), word.bytes[1].to_ascii_uppercase()];
        let country = u16::from_be_bytes(country);
        let at = COUNTRIES.binary_search_by_key(&country, |(code, _)| u16::from_be_bytes(**code)).ok()?;
        let structure = COUNTRIES[at].1;
        let wanted = 4 + length(structure);
        let mut compact = [0; LENGTH_MAX];
        let (end, is_grouped) = self.compact(word.start, &mut compact[..wanted])?;
        let compact = &compact[..wanted];
        let moved = compact[4..].iter().chain(&compact[..4]).copied();
        if !fits(&compact[4..], structure) || checks::remainder_36(moved, 97) != Some(1) {
            return None;
        }
        self.offer(Class::IBAN, word.start, end, if is_grouped { 48 } else { 45 });
        Some(end)
    }

    /// Fills `compact` with letters and digits from `start` on, single separators skipped, to the end of a word.
    fn compact(&self, start: usize, compact: &mut [u8]) -> Option<(usize, bool)> {
        let mut at = start;
        let mut is_grouped = false;
        for slot in compact {
            let mut byte = *self.bytes.get(at)?;
            if !byte.is_ascii_alphanumeric() && at > start {
                is_grouped = true;
                at += match wide_separator(&self.bytes[at..]) {
                    Some(separator) => separator.len(),
                    // None, which the next look at the byte tells, where it is no separator.
                    None => usize::from(matches!(byte, b' ' | b'-' | b'.' | b'/')),
                };
                byte = *self.bytes.get(at)?;
            }
            if !byte.is_ascii_alphanumeric() {
                return None;
            }
            *slot = byte.to_ascii_uppercase();
            at += 1;
        }
        (!self.continues(at)).then_some((at, is_grouped))
    }
}

/// The parts of a structure: how many characters of which kind.
fn parts(structure: &str) -> impl Iterator<Item = (usize, u8)> {
    let mut bytes = structure.bytes();
    std::iter::from_fn(move || {
        let mut count = 0;
        loop {
            match bytes.next()? {
                digit @ b'0'..=b'9' => count = count * 10 + usize::from(digit - b'0'),
                kind => return Some((count, kind)),
            }
        }
    })
}

fn length(structure: &str) -> usize {
    parts(structure).map(|(count, _)| count).sum()
}

fn fits(account: &[u8], structure: &str) -> bool {
    let mut rest = account;
    parts(structure).all(|(count, kind)| {
        let (part, behind) = rest.split_at(count);
        rest = behind;
        part.iter().all(|byte| match kind {
            b'n' => byte.is_ascii_digit(),
            b'a' => byte.is_ascii_uppercase(),
            _ => true,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_in_order_and_fits() {
        assert!(COUNTRIES.is_sorted_by_key(|(code, _)| *code));
        for (code, structure) in COUNTRIES {
            assert!((11..=30).contains(&length(structure)), "{code:?}");
        }
    }
}
