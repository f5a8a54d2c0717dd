//! A name and its value in one word, `IBANDE89…`, `PESEL44051401359`: the name tells that a value begins behind it.

use super::{DIGIT, Run, View, Word};
use crate::flat::ALNUM;

/// Longer words of letters are no names of fields.
const NAME_MAX: usize = 16;
/// The shortest values.
const VALUE_MIN: usize = 7;

/// Names that people and forms write straight before a number. Most words of letters and digits are codes that begin
/// with other letters, so there are fewer of them than names of fields.
#[rustfmt::skip]
fn is_name(letters: &[u8]) -> bool {
    let mut lower = [0; NAME_MAX];
    let Some(lower) = lower.get_mut(..letters.len()) else { return false };
    lower.copy_from_slice(letters);
    lower.make_ascii_lowercase();
    matches!(
        &*lower,
        b"aadhaar" | b"aadhar" | b"ahv" | b"bsn" | b"card" | b"cardno" | b"cardnumber" | b"cc" | b"ccn" | b"cnp" |
            b"cpf" | b"cuil" | b"cuit" | b"dni" | b"fax" | b"fnr" | b"fodselsnummer" | b"handy" | b"id" | b"idcard" | b"idno" | b"idnr" |
            b"imei" | b"itin" | b"kimlik" | b"mob" | b"mobil" | b"mobile" | b"nhs" | b"nif" | b"nie" | b"nir" |
            b"nric" | b"pan" | b"personnummer" | b"pesel" | b"phone" | b"rrn" | b"rut" | b"said" | b"sfz" | b"sin" | b"ssn" |
            b"steuerid" | b"tckn" | b"tel" | b"telefon" | b"telephone" | b"tfn" | b"tin" | b"vin"
    )
}

impl View<'_> {
    /// Looks at what stands behind the letters of a word; where to go on, `None` where they name nothing.
    pub(super) fn glued(&mut self, word: Word<'_>, run: &mut Run) -> Option<usize> {
        let letters =
            word.bytes.iter().take(NAME_MAX + 1).take_while(|byte| byte.is_ascii_alphabetic()).count();
        if !(2..=NAME_MAX).contains(&letters) {
            return None;
        }
        let inside = |from: usize| Word { start: word.start + from, bytes: &word.bytes[from..], ..word };
        // At least two letters of a name, and the country.
        if letters >= 4
            && word.bytes.get(letters + 1).is_some_and(u8::is_ascii_digit)
            && let Some(end) = self.iban(inside(letters - 2))
        {
            return Some(end);
        }
        let goes_on = || match self.bytes.get(word.end..word.end + 2) {
            Some([separator, digit]) => matches!(separator, b' ' | b'-' | b'.') && digit.is_ascii_digit(),
            _ => false,
        };
        let is_long = word.bytes.len() - letters >= VALUE_MIN || goes_on();
        if !is_long || !is_name(&word.bytes[..letters]) {
            return None;
        }
        let rest = inside(letters);
        if rest.bytes.iter().all(u8::is_ascii_digit) {
            return Some(self.digits(Word { marks: DIGIT | ALNUM, ..rest }, run));
        }
        Some(self.letters(rest, run).max(word.end))
    }
}
