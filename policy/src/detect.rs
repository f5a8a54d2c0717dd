//! Finding personal data in text: candidates by scanning, then validators (POLICY §6).
//!
//! Boundaries are those of ASCII words: a number right beside a CJK character is a number, one inside a longer run of
//! letters and digits is not. Full-width digits and letters are folded before looking; places refer to the text as it
//! was.

mod card;
mod email;
mod iban;
mod phone;

use std::borrow::Cow;
use std::ops::Range;

/// What a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    Email,
    Phone,
    Card,
    Iban,
}

impl Class {
    pub(crate) const ALL: [Class; 4] = [Class::Email, Class::Phone, Class::Card, Class::Iban];

    pub fn name(self) -> &'static str {
        match self {
            Class::Email => "contact.email",
            Class::Phone => "contact.phone",
            Class::Card => "payment.card",
            Class::Iban => "payment.iban",
        }
    }

    /// Whether `family` is this class, its family, or `*`.
    pub(crate) fn is_in(self, family: &str) -> bool {
        family == "*"
            || self.name().strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// A value of a class, by its bytes in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub class: Class,
    pub range: Range<usize>,
}

/// Finds everything in `text`, first to last; of findings that overlap, the longer stays. `key` is the name the text
/// stands under, which tells a phone number without `+` from any other number.
pub fn find(text: &str, key: Option<&str>) -> Vec<Finding> {
    let folded = fold(text);
    let bytes = folded.text.as_bytes();
    let mut found = Vec::new();
    if memchr_any(bytes, b'@') {
        email::find(&folded.text, &mut found);
    }
    if bytes.iter().filter(|b| b.is_ascii_digit()).count() >= 7 {
        card::find(bytes, key, &mut found);
        iban::find(bytes, &mut found);
        phone::find(bytes, key, &mut found);
    }
    found.sort_by_key(|finding: &Finding| {
        (finding.range.start, std::cmp::Reverse(finding.range.end), finding.class)
    });
    let mut kept: Vec<Finding> = Vec::new();
    for finding in found {
        match kept.last_mut() {
            Some(last) if finding.range.start < last.range.end => {
                if finding.range.len() > last.range.len() {
                    *last = finding;
                }
            }
            _ => kept.push(finding),
        }
    }
    for finding in &mut kept {
        finding.range = folded.original(&finding.range);
    }
    kept
}

fn memchr_any(bytes: &[u8], wanted: u8) -> bool {
    bytes.contains(&wanted)
}

/// Text with full-width forms made narrow, and where each byte came from.
struct Folded<'a> {
    text: Cow<'a, str>,
    /// By byte of the folded text: the byte in the original. Empty where nothing was folded.
    places: Vec<usize>,
    length: usize,
}

impl Folded<'_> {
    fn original(&self, range: &Range<usize>) -> Range<usize> {
        if self.places.is_empty() {
            return range.clone();
        }
        let place = |at: usize| self.places.get(at).copied().unwrap_or(self.length);
        place(range.start)..place(range.end)
    }
}

fn fold(text: &str) -> Folded<'_> {
    let is_wide = |c: char| matches!(c, '\u{ff01}'..='\u{ff5e}' | '\u{3000}');
    if text.is_ascii() || !text.contains(is_wide) {
        return Folded { text: Cow::Borrowed(text), places: Vec::new(), length: text.len() };
    }
    let mut folded = String::with_capacity(text.len());
    let mut places = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let narrow = match c {
            '\u{3000}' => ' ',
            c if is_wide(c) => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
            c => c,
        };
        folded.push(narrow);
        // Each byte of a character that stays keeps its place.
        places.extend((0..narrow.len_utf8()).map(|byte| if narrow == c { at + byte } else { at }));
    }
    Folded { text: Cow::Owned(folded), places, length: text.len() }
}

/// Whether a value may begin or end between these bytes.
fn is_boundary(beside: Option<&u8>) -> bool {
    beside.is_none_or(|b| !b.is_ascii_alphanumeric() && *b != b'_')
}

/// A run of digits with single separators, from a digit to a digit.
struct DigitRun {
    range: Range<usize>,
    digits: Vec<u8>,
}

/// All maximal runs of digits with single spaces, dashes or what else `separators` has between them.
fn digit_runs(bytes: &[u8], separators: &[u8]) -> Vec<DigitRun> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        let mut end = at;
        let mut digits = Vec::new();
        while at < bytes.len() {
            if bytes[at].is_ascii_digit() {
                digits.push(bytes[at] - b'0');
                at += 1;
                end = at;
            } else if separators.contains(&bytes[at]) && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
                at += 1;
            } else {
                break;
            }
        }
        runs.push(DigitRun { range: start..end, digits });
    }
    runs
}

/// Whether a key, split into words at case changes and punctuation, has one of these words.
fn key_says(key: Option<&str>, words: &[&str]) -> bool {
    let Some(key) = key else { return false };
    let lower = key.to_lowercase();
    words.iter().any(|word| lower.contains(word))
}

#[cfg(test)]
mod tests;
