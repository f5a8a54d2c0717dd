//! What the name of a field, or the words before a value in prose, say about the value.
//!
//! A text is split into words at case changes and at everything that is no letter or digit. The table of `words.rs`
//! has two kinds of patterns: short ones stand as whole words (`_pan_`, which is not in "company"), longer ones
//! anywhere in the words put together (`cardnumber`, in `cardNumber`, `CARD_NUMBER` and `creditcardnumber`), which
//! is also how languages without spaces are read.

mod words;

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::class::{Class, ClassSet};

/// What a text suggests about values that stand under or behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) classes: ClassSet,
    pub(crate) flags: u16,
}

impl Hint {
    /// Numbers of this name are no personal data: orders, tracking, hashes, times, counts.
    pub(crate) const BENIGN: u16 = 1;
    /// Says nothing, as `value` or `number`: what is around it decides.
    pub(crate) const GENERIC: u16 = 1 << 1;
    /// A person stands below it, so `name` there is a person's.
    pub(crate) const PERSON: u16 = 1 << 2;
    /// `name`, which needs a person around it.
    pub(crate) const BARE_NAME: u16 = 1 << 3;
    pub(crate) const LATITUDE: u16 = 1 << 4;
    pub(crate) const LONGITUDE: u16 = 1 << 5;
    /// Something that is no person has a name here: a product, a file, a company.
    pub(crate) const THING: u16 = 1 << 6;
    /// Dotted numbers of this name are versions.
    pub(crate) const VERSION: u16 = 1 << 7;
    /// What looks like an address of mail here is none: message ids, packages.
    pub(crate) const NOT_MAIL: u16 = 1 << 8;
    /// A postal address stands below it.
    pub(crate) const PLACE: u16 = 1 << 9;
    /// Its value may name what stands in a member beside it: `{"name": "iban", "value": "…"}`.
    pub(crate) const DESCRIBES: u16 = 1 << 10;
    /// What it is may be named beside it.
    pub(crate) const DESCRIBED: u16 = 1 << 11;
    /// An order, a request: its numbers are its own, but it holds more than numbers.
    pub(crate) const AFFAIR: u16 = 1 << 12;
    /// What tells things of a kind apart: `id`, `number`, `reference`.
    pub(crate) const NUMBERED: u16 = 1 << 13;
    /// A number of something benign by what is around it, not by its own name.
    pub(crate) const LIKELY_BENIGN: u16 = 1 << 14;

    pub(crate) const NONE: Hint = Hint { classes: ClassSet::EMPTY, flags: 0 };

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Whether it names no class at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.classes.is_empty() && !self.has(Hint::LATITUDE)
    }

    pub(crate) fn says(&self, class: Class) -> bool {
        self.classes.contains(class)
    }

    fn add(&mut self, other: Hint) {
        self.classes = self.classes.union(other.classes);
        self.flags |= other.flags;
    }

    /// What a field named `key` says, by the name alone.
    pub(crate) fn of(key: &str) -> Hint {
        let mut hint = Hint::default();
        let dictionary = &*DICTIONARY;
        with_words(key, |words, joined| {
            dictionary.words.find_overlapping_iter(words).for_each(|found| {
                hint.add(dictionary.word_hints[found.pattern()]);
            });
            dictionary.joined.find_overlapping_iter(joined).for_each(|found| {
                hint.add(dictionary.joined_hints[found.pattern()]);
            });
            // Only these names as a whole: a `customerName` describes nothing.
            if DESCRIBING.contains(&joined) {
                hint.flags |= Hint::DESCRIBES;
            }
            if DESCRIBED.contains(&joined) {
                hint.flags |= Hint::DESCRIBED;
            }
        });
        hint.settled()
    }

    /// What a text that describes the value beside it says: never that the value is something benign.
    pub(crate) fn of_description(self) -> Hint {
        Hint { flags: self.flags & (Hint::PERSON | Hint::PLACE), ..self }
    }

    /// What words beside a value in a text say about it.
    pub(crate) fn beside(text: &str) -> Hint {
        let mut hint = Hint::of(text);
        hint.flags &= Hint::BENIGN | Hint::VERSION | Hint::NOT_MAIL;
        hint
    }

    /// Whether the last words of a text, straight before a value, say that it is something benign: `order no. `, and not
    /// `the order was paid with `.
    pub(crate) fn is_benign_straight_before(text: &str) -> bool {
        const WORDS_MAX: usize = 6;
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let mut end = text.len();
        for _ in 0..WORDS_MAX {
            let head = text[..end].trim_end_matches(|c| !is_word(c));
            let start = head.trim_end_matches(is_word).len();
            let word = &head[start..];
            if word.is_empty() {
                return false;
            }
            // Numbers like it, of a list, and what stands between a name and its value.
            let is_number = word.len() >= 7 && word.bytes().all(|byte| byte.is_ascii_digit());
            let is_between = || IS.iter().any(|is| word.eq_ignore_ascii_case(is));
            if !is_number && !is_between() {
                if Hint::of(&text[start..]).has(Hint::BENIGN) {
                    return true;
                }
                if !Hint::of(word).has(Hint::NUMBERED) {
                    return false;
                }
            }
            end = start;
        }
        false
    }

    /// Where two patterns speak, the more particular one is right.
    fn settled(mut self) -> Hint {
        let narrow = self.classes.minus(ClassSet::just(Class::ADDRESS)).minus(ClassSet::just(Class::NAME));
        if !narrow.is_empty() {
            // `emailAddress`, `cardHolderNumber`.
            self.classes = narrow.union(self.classes.intersection(ClassSet::just(Class::NAME)));
            if self.has(Hint::THING) {
                self.classes.remove(Class::NAME);
            }
        }
        if self.has(Hint::THING) {
            self.flags &= !(Hint::BARE_NAME | Hint::PERSON);
            self.classes.remove(Class::NAME);
        }
        if self.has(Hint::PERSON) && self.has(Hint::BARE_NAME) {
            self.classes.insert(Class::NAME);
        }
        if !self.classes.is_empty() {
            self.flags &= !(Hint::BENIGN | Hint::AFFAIR | Hint::GENERIC | Hint::DESCRIBES);
        }
        self
    }

    /// What holds for the value of a field, `own` by its name, inside something that `self` holds for.
    #[inline]
    pub(crate) fn below(&self, own: Hint) -> Hint {
        // What is around only matters to names that leave something open, and few do.
        if own.flags & (Hint::GENERIC | Hint::BARE_NAME | Hint::PERSON | Hint::PLACE) == 0 {
            return own;
        }
        let mut hint = own;
        if own.has(Hint::BARE_NAME) && self.has(Hint::PERSON) && !own.has(Hint::THING) {
            hint.classes.insert(Class::NAME);
        }
        if own.has(Hint::GENERIC) {
            // What is called the value of a name is one; a number or a code beside it is not.
            let name = if own.has(Hint::DESCRIBED) { ClassSet::EMPTY } else { ClassSet::just(Class::NAME) };
            hint.classes = hint.classes.union(self.classes.minus(name));
            hint.flags |= self.flags & (Hint::AFFAIR | Hint::LIKELY_BENIGN);
            if !self.has(Hint::AFFAIR) {
                hint.flags |= self.flags & (Hint::BENIGN | Hint::VERSION | Hint::NOT_MAIL);
            } else if own.has(Hint::NUMBERED) {
                hint.flags |= self.flags & (Hint::VERSION | Hint::NOT_MAIL) | Hint::LIKELY_BENIGN;
            }
            if !hint.classes.is_empty() {
                hint.flags &= !(Hint::BENIGN | Hint::LIKELY_BENIGN);
            }
        }
        // What is around carries on through levels that say nothing of their own: `customer.details.name`.
        if own.flags & (Hint::GENERIC | Hint::BARE_NAME | Hint::PERSON | Hint::PLACE) != 0
            && !own.has(Hint::THING)
        {
            hint.flags |= self.flags & (Hint::PERSON | Hint::PLACE);
        }
        hint
    }
}

/// Between a name and its value.
const IS: [&str; 6] = ["is", "was", "are", "ist", "est", "es"];

/// Names of members that say what another member is.
const DESCRIBING: [&[u8]; 22] = [
    b"name",
    b"key",
    b"field",
    b"fieldname",
    b"label",
    b"question",
    b"attribute",
    b"attributename",
    b"attr",
    b"property",
    b"propertyname",
    b"parameter",
    b"param",
    b"column",
    b"header",
    b"system",
    b"type",
    b"kind",
    b"id",
    b"prompt",
    b"code",
    b"title",
];

/// And of those others.
const DESCRIBED: [&[u8]; 24] = [
    b"value",
    b"values",
    b"val",
    b"text",
    b"answer",
    b"response",
    b"content",
    b"newvalue",
    b"oldvalue",
    b"stringvalue",
    b"valuestring",
    b"fieldvalue",
    b"attributevalue",
    b"input",
    b"new",
    b"old",
    b"before",
    b"after",
    b"previous",
    b"current",
    b"from",
    b"to",
    b"fromstring",
    b"tostring",
];

struct Dictionary {
    words: AhoCorasick,
    word_hints: Vec<Hint>,
    joined: AhoCorasick,
    joined_hints: Vec<Hint>,
}

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let mut words = Vec::new();
    let mut word_hints = Vec::new();
    let mut joined = Vec::new();
    let mut joined_hints = Vec::new();
    for (hint, patterns) in words::table() {
        for pattern in patterns.split_whitespace() {
            if pattern.starts_with('_') {
                words.push(pattern);
                word_hints.push(hint);
            } else {
                joined.push(pattern);
                joined_hints.push(hint);
            }
        }
    }
    let build =
        |patterns: &[&str]| AhoCorasick::new(patterns).expect("a table of a few hundred short patterns");
    Dictionary { words: build(&words), word_hints, joined: build(&joined), joined_hints }
});

/// Longer names are cut; what matters stands within it.
const KEY_BYTES_MAX: usize = 192;

/// Calls `then` with `_words_of_the_text_` and `wordsofthetext`, in lower case.
fn with_words(text: &str, then: impl FnOnce(&[u8], &[u8])) {
    // On the stack: names are looked up on the path of events.
    let mut words = [0_u8; 2 * KEY_BYTES_MAX + 16];
    let mut joined = [0_u8; KEY_BYTES_MAX + 16];
    let (mut w, mut j) = (1, 0);
    words[0] = b'_';
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if j + 8 > KEY_BYTES_MAX {
            break;
        }
        let is_word = c.is_alphanumeric() || (!c.is_ascii() && !c.is_whitespace());
        let starts = c.is_uppercase()
            && (before.is_lowercase()
                || before.is_uppercase() && characters.peek().is_some_and(|next| next.is_lowercase()))
            || c.is_ascii() != before.is_ascii() && (is_cjk(c) || is_cjk(before));
        if (!is_word || starts) && words[w - 1] != b'_' {
            words[w] = b'_';
            w += 1;
        }
        if is_word && c.is_ascii() {
            let lower = c.to_ascii_lowercase() as u8;
            (words[w], joined[j]) = (lower, lower);
            w += 1;
            j += 1;
        } else if is_word {
            for lower in plain_letter(c).to_lowercase() {
                let length = lower.encode_utf8(&mut joined[j..]).len();
                words[w..w + length].copy_from_slice(&joined[j..j + length]);
                j += length;
                w += length;
                if j > KEY_BYTES_MAX {
                    break;
                }
            }
        }
        before = c;
    }
    if words[w - 1] != b'_' {
        words[w] = b'_';
        w += 1;
    }
    then(&words[..w], &joined[..j]);
}

fn is_cjk(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7a3)
}

/// Latin letters without their accents, so that `fødselsdato`, `prénom` and `prenom` are one word each.
fn plain_letter(c: char) -> char {
    match c {
        'à'..='å' | 'À'..='Å' | 'ă' | 'ą' | 'ā' => 'a',
        'ç' | 'Ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'È'..='Ë' | 'ę' | 'ě' | 'ē' => 'e',
        'ì'..='ï' | 'Ì'..='Ï' | 'ı' | 'İ' | 'ī' => 'i',
        'ñ' | 'Ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'Ò'..='Ö' | 'ø' | 'Ø' | 'ő' => 'o',
        'ù'..='ü' | 'Ù'..='Ü' | 'ů' | 'ű' | 'ū' => 'u',
        'ý' | 'ÿ' | 'Ý' => 'y',
        'š' | 'ś' | 'ş' | 'ș' | 'Š' | 'Ś' | 'Ş' => 's',
        'ž' | 'ź' | 'ż' | 'Ž' | 'Ż' => 'z',
        'ř' | 'Ř' => 'r',
        'ğ' | 'Ğ' => 'g',
        'ł' | 'Ł' => 'l',
        'ț' | 'ţ' | 'ť' => 't',
        'ď' | 'đ' => 'd',
        c => c,
    }
}

/// Names seen lately, with what they say. A name has two places; a new one takes the first, and what was there moves
/// to the second.
#[derive(Debug)]
pub(crate) struct KeyCache {
    entries: Box<[Entry]>,
}

/// A name by its length and its bytes in words of eight, which are equal only for equal names.
#[derive(Clone, Copy, Debug)]
struct Entry {
    length: usize,
    words: [u64; 4],
    name: Name,
}

/// What is known of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) hint: Hint,
    /// It may hold personal data itself.
    pub(crate) is_candidate: bool,
}

const CACHED_BYTES_MAX: usize = 32;
const CACHE_ENTRIES: usize = 1024;

impl KeyCache {
    pub(crate) fn new() -> KeyCache {
        let empty = Entry { length: 0, words: [0; 4], name: Name::default() };
        KeyCache { entries: vec![empty; CACHE_ENTRIES].into_boxed_slice() }
    }

    /// What is known of a name; `is_candidate` looks at one that is not known yet.
    pub(crate) fn name(&mut self, key: &str, is_candidate: impl Fn(&str) -> bool) -> Name {
        self.name_at(key, 0..key.len() as u32, is_candidate)
    }

    /// The same of a name inside a text, which is cheaper to take as it stands there.
    #[inline(always)]
    pub(crate) fn name_at(
        &mut self,
        text: &str,
        range: Range<u32>,
        is_candidate: impl Fn(&str) -> bool,
    ) -> Name {
        let (start, end) = (range.start as usize, range.end as usize);
        let length = end - start;
        let Some(words) = packed(text.as_bytes(), start, length) else {
            let key = &text[start..end];
            return Name { hint: Hint::of(key), is_candidate: is_candidate(key) };
        };
        let first = hash(&words, length) % CACHE_ENTRIES;
        let is = |entry: &Entry| entry.words == words && entry.length == length;
        if is(&self.entries[first]) {
            return self.entries[first].name;
        }
        let second = first ^ 1;
        if is(&self.entries[second]) {
            return self.entries[second].name;
        }
        let key = &text[start..end];
        let name = Name { hint: Hint::of(key), is_candidate: is_candidate(key) };
        self.entries[second] = self.entries[first];
        self.entries[first] = Entry { length, words, name };
        name
    }
}

/// A name in words, filled up with zeros; together with the length that is the name. `None` where it is empty or too
/// long.
#[inline(always)]
fn packed(bytes: &[u8], start: usize, length: usize) -> Option<[u64; 4]> {
    const HALF: usize = CACHED_BYTES_MAX / 2;
    if length == 0 || length > CACHED_BYTES_MAX {
        return None;
    }
    // Two words whose bytes from `length` on are taken away.
    let words = |bytes: &[u8; HALF], length: usize| {
        let mask = u128::MAX >> (8 * (HALF - length.min(HALF)));
        let both = u128::from_le_bytes(*bytes) & mask;
        [both as u64, (both >> 64) as u64]
    };
    let rest = &bytes[start..];
    if length <= HALF {
        let [a, b] = match rest.first_chunk::<HALF>() {
            Some(head) => words(head, length),
            None => words(&filled(&rest[..length]), length),
        };
        return Some([a, b, 0, 0]);
    }
    let [a, b] = words(rest.first_chunk::<HALF>()?, HALF);
    let behind = &rest[HALF..];
    let [c, d] = match behind.first_chunk::<HALF>() {
        Some(tail) => words(tail, length - HALF),
        None => words(&filled(&behind[..length - HALF]), length - HALF),
    };
    Some([a, b, c, d])
}

fn filled<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut filled = [0; N];
    for (slot, byte) in filled.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    filled
}

/// Good enough to spread names; a hostile one only costs its sender the cache.
#[inline(always)]
fn hash(words: &[u64; 4], length: usize) -> usize {
    const FACTORS: [u64; 4] =
        [0x517c_c1b7_2722_0a95, 0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0x1656_67b1_9e37_79f9];
    let [a, b, c, d] = *words;
    let mixed = a.wrapping_mul(FACTORS[0])
        ^ b.wrapping_mul(FACTORS[1]).rotate_left(17)
        ^ c.wrapping_mul(FACTORS[2]).rotate_left(31)
        ^ d.wrapping_mul(FACTORS[3]).rotate_left(47);
    (mixed >> 40) as usize ^ length
}

#[cfg(test)]
mod tests;
