//! Words with letters: identifiers, accounts and securities, chosen by length and first letters.

mod codes;
mod glued;
mod iban;
mod resident;

use super::{DIGIT, LOWER, Run, UPPER, View, Word};
use crate::checks;
use crate::class::Class;

/// By the remainder of the number by 23.
pub(super) fn dni_letter(number: u32) -> u8 {
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize]
}

/// Digits of ASCII bytes; `None` where another byte is among them.
fn digits<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let bytes: &[u8; N] = bytes.try_into().ok()?;
    if !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut digits = *bytes;
    digits.iter_mut().for_each(|digit| *digit -= b'0');
    Some(digits)
}

fn upper<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut upper: [u8; N] = bytes.try_into().ok()?;
    upper.make_ascii_uppercase();
    Some(upper)
}

impl View<'_> {
    /// Looks at a word that is not of digits only; where to go on.
    #[inline]
    pub(super) fn letters(&mut self, word: Word<'_>, run: &mut Run) -> usize {
        let Word { start, end, bytes, .. } = word;
        let after = self.secret(word);
        if after > start {
            return after;
        }
        if !word.has(DIGIT) {
            match bytes.len() {
                1 if matches!(bytes[0], b'X' | b'Y' | b'Z') && self.bytes.get(end) == Some(&b'-') => {
                    return self.dashed_nie(start, end + 8, end + 1);
                }
                2 if self.bytes.get(end) == Some(&b'.') => self.dotted_cnpj(start),
                2 if word.has(UPPER) && !word.has(LOWER) => return self.spaced_nino(word).max(end),
                // BIC without a digit, and a codice fiscale whose digits have all become letters.
                8 | 11 if !word.has(LOWER) => self.bic(word),
                16 if !word.has(LOWER) => self.codice_fiscale(word),
                _ => {}
            }
            return end;
        }
        // Mixed capitals are words of programs and random text, not identifiers.
        let one_case = !(word.has(UPPER) && word.has(LOWER));
        if let [a, b, c, d, ..] = *bytes
            && a.is_ascii_alphabetic()
            && b.is_ascii_alphabetic()
            && c.is_ascii_digit()
            && d.is_ascii_digit()
            && let Some(end) = self.iban(word)
        {
            return end;
        }
        let known = self.hits.len();
        if one_case {
            self.one_case(word);
        }
        self.crypto(word);
        self.broken_by_separators(word);
        if self.hits.len() > known { end } else { self.glued(word, run).unwrap_or(end) }
    }

    fn one_case(&mut self, word: Word<'_>) {
        match word.bytes.len() {
            8 => {
                self.bic(word);
                self.hk_id(word, word.end, 10);
                self.rut_with_k(word);
            }
            9 => {
                self.hk_id(word, word.end, 10);
                self.nino(word);
                self.dni(word);
                self.nie(word);
                self.nric(word);
                self.rut_with_k(word);
            }
            10 => self.tw_id(word),
            11 => {
                self.bic(word);
                self.hetu(word.start, word.end);
            }
            12 => {
                self.isin(word);
                self.mac_bare(word);
            }
            14 => self.cnpj(word),
            15 => self.nir_of_corsica(word.start, word.end),
            16 => self.codice_fiscale(word),
            17 => self.vin(word),
            18 => {
                self.resident_id_with_x(word);
                self.curp(word);
            }
            20 => self.lei(word),
            _ => {}
        }
    }

    /// Identifiers whose words are joined by separators that do not make a run of digits.
    fn broken_by_separators(&mut self, word: Word<'_>) {
        let Word { start, end, bytes, .. } = word;
        match bytes.len() {
            // A123456(3), and the same without brackets is `hk_id`.
            7 | 8 if self.bytes.get(end) == Some(&b'(') && self.bytes.get(end + 2) == Some(&b')') => {
                self.hk_id(word, end + 3, 40);
            }
            3 | 4 if bytes[0].is_ascii_digit() && is_ordinal(bytes) => self.birth_date(start, end - 2),
            4 => {
                // 131052-308T: the digits before the dash are a run that ends there.
                let is_joined = self.byte_before(start).is_some_and(|byte| matches!(byte, b'-' | b'+'));
                if is_joined && start >= 7 {
                    self.hetu(start - 7, end);
                }
                if matches!(bytes[3], b'X' | b'x') {
                    self.spaced_resident_id(word);
                }
            }
            8 if matches!(bytes[0].to_ascii_uppercase(), b'X' | b'Y' | b'Z') => {
                self.dashed_nie(start, end, start + 1);
            }
            2 if bytes[0] == b'2' && matches!(bytes[1], b'A' | b'B' | b'a' | b'b') => {
                self.spaced_corsica(start);
                self.dotted_cnpj(start);
            }
            2 | 3 if self.bytes.get(end) == Some(&b'.') => self.dotted_cnpj(start),
            _ => {}
        }
    }

    fn nino(&mut self, word: Word<'_>) {
        if let Some(text) = upper::<9>(word.bytes)
            && is_nino(&text)
        {
            self.offer(Class::GB_NINO, word.start, word.end, if word.has(UPPER) { 27 } else { 12 });
        }
    }

    /// AB 12 34 56 C, or with the digits together. `word` is its first two letters.
    fn spaced_nino(&mut self, word: Word<'_>) -> usize {
        for pattern in [&[2, 2, 2, 1][..], &[6, 1]] {
            let mut text = [0; 9];
            text[..2].copy_from_slice(word.bytes);
            let (mut used, mut at) = (2, word.end);
            let separator = self.bytes.get(at).copied();
            for length in pattern {
                let group = self.bytes.get(at + 1..at + 1 + length);
                let Some(group) = group.filter(|_| self.bytes.get(at).copied() == separator) else { break };
                text[used..used + length].copy_from_slice(group);
                used += length;
                at += 1 + length;
            }
            let is_spaced = matches!(separator, Some(b' ' | b'-'));
            if used == 9 && is_spaced && is_nino(&text) && !self.continues(at) {
                self.offer(Class::GB_NINO, word.start, at, 40);
                return at;
            }
        }
        word.end
    }

    fn dni(&mut self, word: Word<'_>) {
        if let Some((letter, number)) = word.bytes.split_last()
            && let Some(number) = digits::<8>(number)
            && dni_letter(checks::number32(&number)) == letter.to_ascii_uppercase()
            && number != [0; 8]
        {
            self.offer(Class::ES_DNI, word.start, word.end, if word.has(UPPER) { 25 } else { 12 });
        }
    }

    fn nie(&mut self, word: Word<'_>) {
        if let Some(text) = upper::<9>(word.bytes)
            && is_nie(&text)
        {
            self.offer(Class::ES_NIE, word.start, word.end, if word.has(UPPER) { 27 } else { 14 });
        }
    }

    /// X1234567-L and X-1234567-L: the digits from `number` to `end`; where to go on.
    fn dashed_nie(&mut self, start: usize, end: usize, number: usize) -> usize {
        let Some([b'-', letter]) = self.bytes.get(end..end + 2) else { return number };
        let mut text = [0; 9];
        text[0] = self.bytes[start];
        text[1..8].copy_from_slice(&self.bytes[number..end]);
        text[8] = *letter;
        text.make_ascii_uppercase();
        if !is_nie(&text) || self.continues(end + 2) {
            return number;
        }
        self.offer(Class::ES_NIE, start, end + 2, 38);
        end + 2
    }

    /// Letter, seven digits, letter by the table of its series.
    fn nric(&mut self, word: Word<'_>) {
        let Some(text) = upper::<9>(word.bytes) else { return };
        let Some(number) = digits::<7>(&text[1..8]) else { return };
        let sum = checks::weighted(&number, &[2, 7, 6, 5, 4, 3, 2]) as usize;
        let expected = match text[0] {
            b'S' => b"JZIHGFEDCBA"[sum % 11],
            b'T' => b"JZIHGFEDCBA"[(sum + 4) % 11],
            b'F' => b"XWUTRQPNMLK"[sum % 11],
            b'G' => b"XWUTRQPNMLK"[(sum + 4) % 11],
            b'M' => b"XWUTRQPNJLK"[(sum + 3) % 11],
            _ => return,
        };
        if expected == text[8] {
            self.offer(Class::SG_NRIC, word.start, word.end, if word.has(UPPER) { 24 } else { 10 });
        }
    }

    /// One or two letters, six digits and a check digit; `end` is behind brackets where there are any.
    fn hk_id(&mut self, word: Word<'_>, end: usize, base: i16) {
        let bracketed = end > word.end;
        let mut text = [0; 9];
        let length = word.bytes.len() + usize::from(bracketed);
        if length > 9 {
            return;
        }
        text[..word.bytes.len()].copy_from_slice(word.bytes);
        if bracketed {
            text[length - 1] = self.bytes[word.end + 1];
        }
        let text = &mut text[..length];
        text.make_ascii_uppercase();
        if is_hk_id(text) {
            self.offer(Class::HK_ID, word.start, end, base);
        }
    }

    fn rut_with_k(&mut self, word: Word<'_>) {
        if let Some((b'K' | b'k', body)) = word.bytes.split_last() {
            let mut number = [0; 8];
            if body.iter().all(u8::is_ascii_digit) && body.len() <= 8 {
                for (digit, byte) in number.iter_mut().zip(body) {
                    *digit = byte - b'0';
                }
                if checks::cl_rut(&number[..body.len()], 10) {
                    self.offer(Class::CL_RUT, word.start, word.end, 10);
                }
            }
        }
    }

    /// A letter that counts as two digits, the digit of sex or status, seven digits and a check digit.
    fn tw_id(&mut self, word: Word<'_>) {
        const CODES: [u32; 26] = [
            10, 11, 12, 13, 14, 15, 16, 17, 34, 18, 19, 20, 21, 22, 35, 23, 24, 25, 26, 27, 28, 29, 32, 30,
            31, 33,
        ];
        let first = word.bytes[0].to_ascii_uppercase();
        let Some(number) = digits::<9>(&word.bytes[1..]) else { return };
        if !first.is_ascii_uppercase() || !matches!(number[0], 1 | 2 | 8 | 9) {
            return;
        }
        let code = CODES[(first - b'A') as usize];
        let sum = code / 10 + code % 10 * 9 + checks::weighted(&number, &[8, 7, 6, 5, 4, 3, 2, 1, 1]);
        if sum.is_multiple_of(10) {
            // Every tenth word of this shape is one.
            self.offer(Class::TW_ID, word.start, word.end, if word.has(UPPER) { 14 } else { 8 });
        }
    }

    /// ddmmyy, the sign of the century, three digits and a check character by mod 31.
    pub(super) fn hetu(&mut self, start: usize, end: usize) {
        let Some(text) = upper::<11>(&self.bytes[start..end]) else { return };
        let (Some(date), Some(serial)) = (digits::<6>(&text[..6]), digits::<3>(&text[7..10])) else { return };
        let century = match text[6] {
            b'+' => 1800,
            b'-' | b'U'..=b'Y' => 1900,
            b'A'..=b'F' => 2000,
            _ => return,
        };
        let [day, month, year] = [0, 2, 4].map(|at| checks::number32(&date[at..at + 2]));
        let number = checks::number(&date) * 1000 + checks::number(&serial);
        let check = b"0123456789ABCDEFHJKLMNPRSTUVWXY"[(number % 31) as usize];
        let starts = start == 0 || !self.continues(start - 1);
        if starts && checks::is_date(century + year, month, day) && check == text[10] && serial >= [0, 0, 2] {
            self.offer(Class::FI_HETU, start, end, 42);
        }
    }

    fn codice_fiscale(&mut self, word: Word<'_>) {
        if let Some(text) = upper::<16>(word.bytes)
            && is_codice_fiscale(&text)
        {
            self.offer(Class::IT_CF, word.start, word.end, 45);
        }
    }

    /// Numbers of Corsica count 2A as 19 and 2B as 18.
    fn nir_of_corsica(&mut self, start: usize, end: usize) {
        self.corsica(start, end, 32);
    }

    fn spaced_corsica(&mut self, department: usize) {
        // 1 84 before it, 004 012 34 behind, all with one separator.
        let Some(start) = department.checked_sub(8) else { return };
        if !self.continues(start.wrapping_sub(1)) {
            self.corsica(start, department + 13, 45);
        }
    }

    fn corsica(&mut self, start: usize, end: usize, base: i16) {
        let Some(text) = self.bytes.get(start..end) else { return };
        let mut number = [0; 15];
        let mut count = 0;
        for byte in text.iter().filter(|byte| !matches!(byte, b' ' | b'-' | b'.')) {
            if count == 15 {
                return;
            }
            number[count] = match (count, byte.to_ascii_uppercase()) {
                (6, b'A') => 9,
                (6, b'B') => 8,
                (_, digit @ b'0'..=b'9') => digit - b'0',
                _ => return,
            };
            count += 1;
        }
        if count == 15 && number[5] == 2 && !self.continues(end) {
            number[5] = 1;
            if checks::fr_nir(&number) {
                self.offer(Class::FR_NIR, start, end, base);
            }
        }
    }

    fn cnpj(&mut self, word: Word<'_>) {
        if word.has(UPPER) {
            self.cnpj_at(word.start, word.end, 16);
        }
    }

    /// 12.ABC.345/01DE-35, from its first word on.
    pub(super) fn dotted_cnpj(&mut self, start: usize) {
        let Some(text) = self.bytes.get(start..start + 18) else { return };
        if [text[2], text[6], text[10], text[15]] == *b"../-" && !self.continues(start + 18) {
            self.cnpj_at(start, start + 18, 45);
        }
    }

    fn cnpj_at(&mut self, start: usize, end: usize, base: i16) {
        let mut values = [0; 14];
        let mut count = 0;
        for byte in self.bytes[start..end].iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            let byte = byte.to_ascii_uppercase();
            if count == 14 || (count >= 12 && !byte.is_ascii_digit()) {
                return;
            }
            values[count] = byte - b'0';
            count += 1;
        }
        if count == 14 && checks::br_cnpj(&values) {
            self.offer(Class::BR_CNPJ, start, end, base);
        }
    }

    /// Clave Única de Registro de Población: names, date, sex, state, consonants, check digit by mod 10.
    fn curp(&mut self, word: Word<'_>) {
        let Some(text) = upper::<18>(word.bytes) else { return };
        let Some(date) = digits::<6>(&text[4..10]) else { return };
        const STATES: &[u8] = b"ASBCBSCCCLCMCSCHDFDGGTGRHGJCMCMNMSNTNLOCPLQTQRSPSLSRTCTSTLVZYNZSNE";
        let letters = |range: std::ops::Range<usize>| text[range].iter().all(u8::is_ascii_uppercase);
        let is_state = STATES.as_chunks::<2>().0.iter().any(|state| *state == text[11..13]);
        let [year, month, day] = [0, 2, 4].map(|at| checks::number32(&date[at..at + 2]));
        let sum: u32 = text[..17]
            .iter()
            .zip((2..=18).rev())
            .map(|(&byte, weight)| {
                // The alphabet has an Ñ behind N.
                weight
                    * match byte {
                        b'0'..=b'9' => u32::from(byte - b'0'),
                        b'A'..=b'N' => u32::from(byte - b'A') + 10,
                        _ => u32::from(byte - b'A') + 11,
                    }
            })
            .sum();
        if letters(0..4)
            && matches!(text[10], b'H' | b'M' | b'X')
            && is_state
            && letters(13..16)
            && checks::is_short_date(year, month, day)
            && text[17].is_ascii_digit()
            && (10 - sum % 10) % 10 == u32::from(text[17] - b'0')
        {
            self.offer(Class::MX_CURP, word.start, word.end, 45);
        }
    }
}

/// `1st`, `22nd`, `3rd`, `26th`.
fn is_ordinal(word: &[u8]) -> bool {
    let (number, ending) = word.split_at(word.len() - 2);
    let is_ending = [b"st", b"nd", b"rd", b"th"].iter().any(|known| ending.eq_ignore_ascii_case(*known));
    is_ending && number.iter().all(u8::is_ascii_digit)
}

/// Two letters with the pairs and letters never issued, six digits, a suffix A to D.
fn is_nino(text: &[u8; 9]) -> bool {
    let [a, b] = [text[0], text[1]];
    a.is_ascii_uppercase()
        && b.is_ascii_uppercase()
        && !b"DFIQUV".contains(&a)
        && !b"DFIOQUV".contains(&b)
        && !matches!(&[a, b], b"BG" | b"GB" | b"KN" | b"NK" | b"NT" | b"TN" | b"ZZ")
        && text[2..8].iter().all(u8::is_ascii_digit)
        && matches!(text[8], b'A'..=b'D')
}

fn is_nie(text: &[u8; 9]) -> bool {
    let first = match text[0] {
        b'X' => 0,
        b'Y' => 1,
        b'Z' => 2,
        _ => return false,
    };
    digits::<7>(&text[1..8])
        .is_some_and(|rest| dni_letter(first * 10_000_000 + checks::number32(&rest)) == text[8])
}

fn is_hk_id(text: &[u8]) -> bool {
    let letters = text.len() - 7;
    let (head, rest) = text.split_at(letters);
    if !matches!(letters, 1 | 2) || !head.iter().all(u8::is_ascii_uppercase) {
        return false;
    }
    let value = |byte: &u8| u32::from(byte - b'A') + 10;
    // One letter alone counts as if a space, of value 36, stood before it.
    let sum = match head {
        [one] => 36 * 9 + value(one) * 8,
        [one, two] => value(one) * 9 + value(two) * 8,
        _ => return false,
    };
    let Some(number) = digits::<6>(&rest[..6]) else { return false };
    let check = match rest[6] {
        b'A' => 10,
        digit @ b'0'..=b'9' => u32::from(digit - b'0'),
        _ => return false,
    };
    (sum + checks::weighted(&number, &[7, 6, 5, 4, 3, 2]) + check).is_multiple_of(11)
}

/// Six letters, year, month letter, day, place, check letter; digits may be letters where two people would share one.
fn is_codice_fiscale(text: &[u8; 16]) -> bool {
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let digit = |at: usize| match text[at] {
        digit @ b'0'..=b'9' => Some(u32::from(digit - b'0')),
        letter => b"LMNPQRSTUV".iter().position(|other| *other == letter).map(|value| value as u32),
    };
    let number = |at: usize| Some(digit(at)? * 10 + digit(at + 1)?);
    let Some(day) = number(9) else { return false };
    let sum: u32 = text[..15]
        .iter()
        .enumerate()
        .map(|(at, &byte)| {
            let value =
                u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A') % 26 });
            if at % 2 == 0 { ODD[value as usize] } else { value }
        })
        .sum();
    text[..6].iter().all(u8::is_ascii_uppercase)
        && number(6).is_some()
        && b"ABCDEHLMPRST".contains(&text[8])
        && matches!(day, 1..=31 | 41..=71)
        && text[11].is_ascii_uppercase()
        && (12..15).all(|at| digit(at).is_some())
        && text[15] == b'A' + (sum % 26) as u8
}
