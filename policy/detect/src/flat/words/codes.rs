//! Codes of banks, vehicles, companies and securities, each one word of letters and digits.

use super::{UPPER, View, Word, upper};
use crate::checks;
use crate::class::Class;

impl View<'_> {
    /// Business identifier codes are words like others; only the field's name or the words before it tell.
    pub(super) fn bic(&mut self, word: Word<'_>) {
        let text = word.bytes;
        let is_shape = matches!(text.len(), 8 | 11)
            && text[..6].iter().all(u8::is_ascii_alphabetic)
            && checks::is_country([text[4].to_ascii_uppercase(), text[5].to_ascii_uppercase()]);
        if is_shape && self.wanted.contains(Class::BIC) && self.says(Class::BIC, word.start) {
            self.offer(Class::BIC, word.start, word.end, 12);
        }
    }

    /// Vehicle identification number. Only North America has the check digit in the ninth place.
    pub(super) fn vin(&mut self, word: Word<'_>) {
        let Some(text) = upper::<17>(word.bytes) else { return };
        const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
        let mut sum = 0;
        for (byte, weight) in text.iter().zip(WEIGHTS) {
            sum += weight
                * match byte {
                    b'0'..=b'9' => u32::from(byte - b'0'),
                    b'A'..=b'H' => u32::from(byte - b'A') + 1,
                    b'J'..=b'N' => u32::from(byte - b'J') + 1,
                    b'P' => 7,
                    b'R' => 9,
                    b'S'..=b'Z' => u32::from(byte - b'S') + 2,
                    _ => return,
                };
        }
        let check = match text[8] {
            b'X' => 10,
            byte @ b'0'..=b'9' => u32::from(byte - b'0'),
            _ => 11,
        };
        // The last digits number the vehicles of a year.
        let is_serial = text[13..].iter().all(u8::is_ascii_digit);
        let letters = text.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
        let base = match (sum % 11 == check, is_serial && letters >= 3) {
            (true, true) => 20,
            (true, false) => 12,
            (false, true) => 8,
            (false, false) => 2,
        };
        self.offer(Class::VIN, word.start, word.end, if word.has(UPPER) { base } else { base - 8 });
    }

    pub(super) fn lei(&mut self, word: Word<'_>) {
        let text = word.bytes;
        if text[18..].iter().all(u8::is_ascii_digit)
            && word.has(UPPER)
            && checks::remainder_36(text.iter().copied(), 97) == Some(1)
        {
            self.offer(Class::LEI, word.start, word.end, if text[4..6] == *b"00" { 38 } else { 28 });
        }
    }

    /// Country, nine letters or digits, and Luhn over the letters as 10 to 35.
    pub(super) fn isin(&mut self, word: Word<'_>) {
        let text = word.bytes;
        let is_country = checks::is_country([text[0], text[1]]) || text[..2] == *b"XS" || text[..2] == *b"EU";
        if !is_country || !word.has(UPPER) || !text[11].is_ascii_digit() {
            return;
        }
        let mut expanded = [0; 24];
        let mut count = 0;
        for byte in text {
            match byte {
                b'0'..=b'9' => expanded[count] = byte - b'0',
                _ => {
                    let value = byte - b'A' + 10;
                    expanded[count] = value / 10;
                    count += 1;
                    expanded[count] = value % 10;
                }
            }
            count += 1;
        }
        if checks::luhn(&expanded[..count]) {
            // Every tenth word of this shape is one.
            self.offer(Class::ISIN, word.start, word.end, 14);
        }
    }
}
