//! One text, flat: candidates by a walk over its words, decided by validators (POLICY §6, rules 2 and 3).
//!
//! A word is a maximal run of ASCII letters and digits, so a number right beside a CJK character is a word, and one
//! inside a longer run of letters and digits is not. Words of digits, with single separators between them, go to
//! `runs`, where every validator of that length sees them; words with letters go to `words` by length and first
//! letters; `@`, `+`, `:`, `<` and `-----` start the rest.
//!
//! A hit has a *strength*: about ten times the decimal logarithm of how rarely chance produces such a text, raised
//! where the name of the field or the words before it speak of the class, lowered where they speak of something
//! else. The thresholds of [`Confidence`](crate::Confidence) are on this scale.

mod address_of_mail;
mod card;
mod crypto;
mod keyed;
mod markup;
mod mrz;
mod network;
mod phone;
mod runs;
mod secret;
mod words;

use std::cell::Cell;

pub(crate) use keyed::{geo_pair, keyed};
pub(crate) use markup::is_plain;
pub(crate) use phone::country;
pub(crate) use runs::Run;

use crate::block::{BLOCK, Block};
use crate::class::{Class, ClassSet};
use crate::keys::{Hint, PHONES};

/// Something found, by bytes of the flat text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) class: Class,
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) strength: i16,
}

/// Raised where the field's name speaks of the class, or the words beside it do.
const KEY_SAYS: i16 = 25;
const WORDS_SAY: i16 = 22;
/// Lowered where they speak of another class of numbers, or of orders, hashes, times.
const OTHER_SAID: i16 = -10;
const BENIGN_SAID: i16 = -15;
/// `{"id": 52998224725}`
const NUMBER_OF_A_THING: i16 = -5;

/// Classes whose names say nothing against a number being something else.
const NOT_NUMBERS: ClassSet = ClassSet::just(Class::ADDRESS)
    .union(ClassSet::just(Class::NAME))
    .union(ClassSet::just(Class::GEO_POINT))
    .union(ClassSet::just(Class::EMAIL));

/// What kind of text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value, or a text of any length.
    Text,
    /// The digits of a JSON number.
    Number,
}

/// A text to look through, what its surroundings say, and where to put what is found.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) text: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) hint: Hint,
    pub(crate) kind: Kind,
    pub(crate) wanted: ClassSet,
    pub(crate) hits: &'a mut Vec<Hit>,
    /// What the words before a place say, for the place asked about last.
    beside: Cell<(u32, Hint)>,
}

pub(crate) const ALNUM: u8 = 1;
pub(crate) const DIGIT: u8 = 2;
pub(crate) const UPPER: u8 = 4;
pub(crate) const LOWER: u8 = 8;
pub(crate) const HEX: u8 = 16;
/// Starts something by itself.
const SPECIAL: u8 = 32;

static TABLE: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = match byte {
            b'0'..=b'9' => ALNUM | DIGIT | HEX,
            b'A'..=b'F' => ALNUM | UPPER | HEX,
            b'a'..=b'f' => ALNUM | LOWER | HEX,
            b'G'..=b'Z' => ALNUM | UPPER,
            b'g'..=b'z' => ALNUM | LOWER,
            b'@' | b'+' | b':' | b'<' | b'-' | b'(' => SPECIAL,
            _ => 0,
        };
        at += 1;
    }
    table
};

/// The marks of a byte, as a word carries those of all its bytes.
#[inline]
pub(crate) fn marks(byte: u8) -> u8 {
    TABLE[byte as usize]
}

/// A bit for each byte of a short text that is of a kind, the first byte lowest.
#[derive(Clone, Copy, Debug, Default)]
struct Kinds {
    digit: u64,
    upper: u64,
    lower: u64,
    special: u64,
}

impl Kinds {
    const BYTES: usize = u64::BITS as usize;

    /// Of a text that has at most [`Kinds::BYTES`].
    #[inline(always)]
    fn of(bytes: &[u8]) -> Kinds {
        let mut kinds = Kinds::default();
        let mut dashes = 0;
        let mut add = |block: Block, at: usize| {
            let place = |found: u32| u64::from(found) << at;
            kinds.digit |= place(block.is_within(b'0', b'9'));
            kinds.upper |= place(block.is_within(b'A', b'Z'));
            kinds.lower |= place(block.is_within(b'a', b'z'));
            let brackets = block.is_either(b'<', b'(');
            kinds.special |= place(block.is_either(b'@', b'+') | block.is_either(b':', b':') | brackets);
            dashes |= place(block.is_either(b'-', b'-'));
        };
        let mut at = 0;
        while let Some(block) = Block::at(bytes, at) {
            add(block, at);
            at += BLOCK;
        }
        match bytes.last_chunk::<BLOCK>() {
            // Bytes that were seen already are seen again.
            Some(last) => add(Block::of(last), bytes.len() - BLOCK),
            None => add(Block::short(bytes), 0),
        }
        // Of dashes only five beside each other begin something.
        kinds.special |= dashes & dashes >> 1 & dashes >> 2 & dashes >> 3 & dashes >> 4;
        kinds
    }
}

/// A maximal run of ASCII letters and digits. Its marks are those of all its bytes; what [`HEX`] says of them is not
/// asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    start: usize,
    end: usize,
    marks: u8,
    bytes: &'a [u8],
}

impl Word<'_> {
    fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    fn is_digits(&self) -> bool {
        self.marks & (UPPER | LOWER) == 0
    }
}

/// Without the rows before, where this is a row of a table or a segment: what stands in them, titles of columns above
/// all, is about other values.
fn own_row(text: &str) -> &str {
    match text.bytes().rposition(|byte| matches!(byte, b'\n' | b'\r')) {
        Some(end) if text[end + 1..].contains([',', ';', '|', '\t']) => &text[end + 1..],
        _ => text,
    }
}

impl<'a> View<'a> {
    pub(crate) fn new(
        text: &'a str,
        hint: Hint,
        kind: Kind,
        wanted: ClassSet,
        hits: &'a mut Vec<Hit>,
    ) -> View<'a> {
        View {
            text,
            bytes: text.as_bytes(),
            hint,
            kind,
            wanted,
            hits,
            beside: Cell::new((u32::MAX, Hint::NONE)),
        }
    }

    /// Looks through the text once.
    pub(crate) fn walk(&mut self, run: &mut Run) {
        if self.bytes.len() <= Kinds::BYTES {
            return self.walk_mapped(run);
        }
        let bytes = self.bytes;
        let mut at = 0;
        while at < bytes.len() {
            let mark = marks(bytes[at]);
            if mark & ALNUM != 0 {
                let start = at;
                let mut all = 0;
                while at < bytes.len() && marks(bytes[at]) & ALNUM != 0 {
                    all |= marks(bytes[at]);
                    at += 1;
                }
                let word = Word { start, end: at, marks: all, bytes: &bytes[start..at] };
                at = self.word(word, run).max(at);
            } else if mark & SPECIAL != 0 {
                at = self.special(at).max(at + 1);
            } else {
                at += 1;
            }
        }
    }

    /// The same over a text whose bytes have a bit each: from word to word without looking at what they are made of.
    fn walk_mapped(&mut self, run: &mut Run) {
        let bytes = self.bytes;
        let kinds = Kinds::of(bytes);
        let words = kinds.digit | kinds.upper | kinds.lower;
        let all = words | kinds.special;
        let mut at = 0;
        while at < bytes.len() {
            let ahead = all >> at;
            if ahead == 0 {
                return;
            }
            at += ahead.trailing_zeros() as usize;
            let length = (!(words >> at)).trailing_zeros() as usize;
            if length == 0 {
                at = self.special(at).max(at + 1);
                continue;
            }
            let within = (u64::MAX >> (Kinds::BYTES - length)) << at;
            let mark = |kind: u64, mark: u8| if kind & within == 0 { 0 } else { mark };
            let marks =
                ALNUM | mark(kinds.digit, DIGIT) | mark(kinds.upper, UPPER) | mark(kinds.lower, LOWER);
            let end = at + length;
            let word = Word { start: at, end, marks, bytes: &bytes[at..end] };
            at = self.word(word, run).max(end);
        }
    }

    /// Looks at a word; where to go on, if further than its end.
    #[inline]
    fn word(&mut self, word: Word<'_>, run: &mut Run) -> usize {
        match (word.bytes.len(), self.bytes.get(word.end)) {
            (2, Some(b'-')) if self.mac_dashed(word.start) => return word.start + 17,
            (4, Some(b'.')) => self.mac_dotted(word),
            _ => {}
        }
        if word.has(DIGIT) {
            if word.bytes.len() == 8 && self.is_uuid(word.start) {
                return word.start + 36;
            }
            if word.is_digits() {
                return self.digits(word, run);
            }
        }
        self.letters(word, run)
    }

    fn special(&mut self, at: usize) -> usize {
        match self.bytes[at] {
            b'@' => self.mail(at),
            b'+' => self.international_phone(at),
            b'(' => self.bracketed_phone(at),
            b':' if self.bytes[at..].starts_with(b"://") => self.userinfo(at),
            b':' if self.bytes[at + 1..].starts_with(b"AA") => self.numbered_bot(at),
            b':' => self.colons(at),
            b'<' => self.machine_readable(at),
            b'-' if self.bytes[at..].starts_with(b"-----BEGIN ") => self.private_key(at),
            _ => at + 1,
        }
    }

    fn is_uuid(&self, start: usize) -> bool {
        let Some(bytes) = self.bytes.get(start..start + 36) else { return false };
        bytes.iter().enumerate().all(|(at, &byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => marks(byte) & HEX != 0,
        }) && !self.continues(start + 36)
    }

    /// Whether a word goes on at a place.
    pub(crate) fn continues(&self, at: usize) -> bool {
        self.bytes.get(at).is_some_and(|&byte| marks(byte) & ALNUM != 0)
    }

    pub(crate) fn byte_before(&self, at: usize) -> Option<u8> {
        at.checked_sub(1).map(|at| self.bytes[at])
    }

    /// What the field's name or the words before `start` say.
    pub(crate) fn says(&self, class: Class, start: usize) -> bool {
        self.hint.says(class) || self.words_before(start).says(class)
    }

    pub(crate) fn has_flag(&self, flag: u32, start: usize) -> bool {
        self.hint.has(flag) || self.words_before(start).has(flag)
    }

    /// What the words before a place say: the nearest that say anything count.
    pub(crate) fn words_before(&self, start: usize) -> Hint {
        const NEAR_BYTES: usize = 24;
        const FAR_BYTES: usize = 52;
        if start == 0 {
            return Hint::NONE;
        }
        let (place, known) = self.beside.get();
        if place == start as u32 {
            return known;
        }
        let end = markup::behind_tags(self.bytes, start);
        let before = |length: usize| {
            let mut from = end.saturating_sub(length);
            while !self.text.is_char_boundary(from) {
                from += 1;
            }
            let window = own_row(&self.text[from..end]);
            // What stands in another clause or column is not about this value, unless nothing else is.
            let is_cut = |byte: &u8| matches!(byte, b';' | b'\n' | b'|' | b',' | b'{' | b'}' | b'\t');
            match window.as_bytes().iter().rposition(is_cut) {
                Some(cut) if window[cut..].bytes().any(|b| b.is_ascii_alphabetic() || b >= 0x80) => {
                    (&window[cut + 1..], true)
                }
                // The first column of a segment or a row is its kind: it speaks for none of the others.
                Some(cut) => (window, !matches!(window.as_bytes()[cut], b'|' | b'\t')),
                None => (window, true),
            }
        };
        let of = |(text, is_own): (&str, bool)| {
            if !text.bytes().any(|byte| marks(byte) & (UPPER | LOWER) != 0 || byte >= 0x80) {
                return Hint::NONE;
            }
            let hint = Hint::beside(text);
            if is_own { hint } else { Hint { flags: 0, ..hint } }
        };
        let mut hint = of(before(NEAR_BYTES));
        if hint == Hint::NONE {
            hint = of(before(FAR_BYTES));
        }
        if hint.has(Hint::BENIGN) {
            let mut from = end.saturating_sub(FAR_BYTES);
            while !self.text.is_char_boundary(from) {
                from += 1;
            }
            if !Hint::is_benign_straight_before(&self.text[from..end]) {
                hint.flags &= !Hint::BENIGN;
            }
        }
        self.beside.set((start as u32, hint));
        hint
    }

    /// Whether it is a part of what a text says in words.
    fn is_behind_words(&self, start: usize) -> bool {
        const WORDS: usize = 2;
        const BYTES: usize = 64;
        let is_word = |word: &[u8]| word.len() > 1 && word.iter().all(u8::is_ascii_alphabetic);
        let before = &self.bytes[start.saturating_sub(BYTES)..start];
        before.split(|byte| *byte == b' ').filter(|word| is_word(word)).nth(WORDS - 1).is_some()
    }

    /// Notes a candidate that satisfies the rules of `class`, with its strength by itself.
    pub(crate) fn offer(&mut self, class: Class, start: usize, end: usize, base: i16) {
        // Below this not even the name of the field makes it a finding.
        if !self.wanted.contains(class) || base + KEY_SAYS < crate::finding::LOW {
            return;
        }
        let strength = base + self.said(class, start, base);
        if strength >= crate::finding::LOW {
            self.hits.push(Hit { class, start: start as u32, end: end as u32, strength });
        }
    }

    fn said(&self, class: Class, start: usize, base: i16) -> i16 {
        if self.hint.says(class) {
            return KEY_SAYS;
        }
        let before = self.words_before(start);
        if before.says(class) {
            return WORDS_SAY;
        }
        let mut others = self.hint.classes.union(before.classes).minus(NOT_NUMBERS);
        if PHONES.contains(class) {
            others = others.minus(PHONES);
        }
        let mut said = 0;
        // What is no more likely than this is a number of many things.
        if base < 24 && self.kind == Kind::Number && self.hint.has(Hint::NUMBERED) {
            said += NUMBER_OF_A_THING;
        }
        if !others.is_empty() && base < 40 {
            said += OTHER_SAID;
        }
        // The name of a field is about its value, not about everything that a text says behind other words.
        let is_job = self.hint.has(Hint::BENIGN) && !(class == Class::CL_RUT && self.hint.has(Hint::RUN));
        let is_benign = is_job && !self.is_behind_words(start);
        let is_likely = || self.hint.has(Hint::LIKELY_BENIGN) || before.has(Hint::BENIGN);
        if is_benign {
            said += BENIGN_SAID;
        } else if is_likely() {
            // What stands for itself stays something to look at.
            let least = if base >= crate::finding::MEDIUM { crate::finding::LOW - base } else { i16::MIN };
            said = (said + BENIGN_SAID).max(least);
        }
        said
    }
}
