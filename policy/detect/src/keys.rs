//! What the name of a field, or the words before a value in prose, say about the value.
//!
//! A text is split into words at case changes and at everything that is no letter or digit. The table of `words.rs`
//! has two kinds of patterns: short ones stand as whole words (`_pan_`, which is not in "company"), longer ones
//! anywhere in the words put together (`cardnumber`, in `cardNumber`, `CARD_NUMBER` and `creditcardnumber`), which
//! is also how languages without spaces are read.

mod cache;
mod split;
mod words;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::class::{Class, ClassSet};

pub(crate) use cache::KeyCache;
#[cfg(test)]
pub(crate) use cache::Name;
use split::with_words;

/// What a text suggests about values that stand under or behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) classes: ClassSet,
    pub(crate) flags: u32,
}

impl Hint {
    /// Numbers of this name are no personal data: orders, tracking, hashes, times, counts.
    pub(crate) const BENIGN: u32 = 1;
    /// Says nothing, as `value` or `number`: what is around it decides.
    pub(crate) const GENERIC: u32 = 1 << 1;
    /// A person stands below it, so `name` there is a person's.
    pub(crate) const PERSON: u32 = 1 << 2;
    /// `name`, which needs a person around it.
    pub(crate) const BARE_NAME: u32 = 1 << 3;
    pub(crate) const LATITUDE: u32 = 1 << 4;
    pub(crate) const LONGITUDE: u32 = 1 << 5;
    /// Something that is no person has a name here: a product, a file, a company.
    pub(crate) const THING: u32 = 1 << 6;
    /// Dotted numbers of this name are versions.
    pub(crate) const VERSION: u32 = 1 << 7;
    /// What looks like an address of mail here is none: message ids, packages.
    pub(crate) const NOT_MAIL: u32 = 1 << 8;
    /// A postal address stands below it.
    pub(crate) const PLACE: u32 = 1 << 9;
    /// Its value may name what stands in a member beside it: `{"name": "iban", "value": "…"}`.
    pub(crate) const DESCRIBES: u32 = 1 << 10;
    /// What it is may be named beside it.
    pub(crate) const DESCRIBED: u32 = 1 << 11;
    /// An order, a request: its numbers are its own, but it holds more than numbers.
    pub(crate) const AFFAIR: u32 = 1 << 12;
    /// What tells things of a kind apart: `id`, `number`, `reference`.
    pub(crate) const NUMBERED: u32 = 1 << 13;
    /// A number of something benign by what is around it, not by its own name.
    pub(crate) const LIKELY_BENIGN: u32 = 1 << 14;
    /// `id`, `code`: of a phone or a call it is no number that somebody dials.
    pub(crate) const NOT_DIALLED: u32 = 1 << 15;
    /// A part of a name: below a name it is a person's, `{"name": {"family": "…"}}`.
    pub(crate) const NAME_PART: u32 = 1 << 16;
    /// Below an address it is a line of it.
    pub(crate) const LINE: u32 = 1 << 17;
    /// A street, which may have its number elsewhere.
    pub(crate) const STREET: u32 = 1 << 18;
    /// The type of the value in it: all that is said of it is said of the value.
    pub(crate) const WRAPPER: u32 = 1 << 19;
    /// A place on the Earth, or anywhere else.
    pub(crate) const POSITION: u32 = 1 << 20;
    /// Its positions are in a room or on a screen.
    pub(crate) const MACHINE: u32 = 1 << 21;
    /// `run`, which is a number of everybody in Chile and of a job everywhere else: the dash tells.
    pub(crate) const RUN: u32 = 1 << 22;

    pub(crate) const NONE: Hint = Hint { classes: ClassSet::EMPTY, flags: 0 };

    pub(crate) fn has(&self, flag: u32) -> bool {
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
        let mut is_personal = false;
        let dictionary = &*DICTIONARY;
        with_words(key, |words, whole| {
            let joined = &whole[1..whole.len() - 1];
            dictionary.words.find_overlapping_iter(words).for_each(|found| {
                hint.add(dictionary.word_hints[found.pattern()]);
            });
            // Words that a change of case divides: `fName`, `shipTo`.
            if words.len() > whole.len() && (WHOLE_BYTES_MIN..=WHOLE_BYTES_MAX).contains(&joined.len()) {
                dictionary.words.find_overlapping_iter(whole).for_each(|found| {
                    hint.add(dictionary.word_hints[found.pattern()]);
                });
            }
            dictionary.joined.find_overlapping_iter(joined).for_each(|found| {
                hint.add(dictionary.joined_hints[found.pattern()]);
            });
            if NOT_PHONES.iter().any(|name| joined.ends_with(name)) {
                hint.classes = hint.classes.minus(PHONES);
            }
            is_personal = hint.has(Hint::THING)
                && hint.says(Class::NAME)
                && PERSONAL.iter().any(|name| memchr::memmem::find(joined, name).is_some());
            if joined == b"run" {
                hint.flags |= Hint::RUN | Hint::BENIGN;
            }
            // Only these names as a whole: a `customerName` describes nothing.
            if DESCRIBING.contains(&joined) {
                hint.flags |= Hint::DESCRIBES;
            }
            if WRAPPERS.contains(&joined) {
                hint.flags |= Hint::GENERIC | Hint::WRAPPER;
            }
            if DESCRIBED.contains(&joined) {
                hint.flags |= Hint::DESCRIBED;
            }
        });
        let mut hint = hint.settled();
        if is_personal {
            hint.classes.insert(Class::NAME);
        }
        hint
    }

    /// What a text that describes the value beside it says: never that the value is something benign.
    pub(crate) fn of_description(self) -> Hint {
        Hint { flags: self.flags & (Hint::PERSON | Hint::PLACE), ..self }
    }

    /// What words beside a value in a text say about it.
    pub(crate) fn beside(text: &str) -> Hint {
        let mut hint = Hint::of(text);
        hint.flags &= Hint::BENIGN | Hint::VERSION | Hint::NOT_MAIL | Hint::RUN;
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
        const OPEN: u32 =
            Hint::GENERIC | Hint::BARE_NAME | Hint::PERSON | Hint::PLACE | Hint::LINE | Hint::POSITION;
        if own.flags & OPEN == 0 {
            return own;
        }
        let mut hint = own;
        if own.has(Hint::BARE_NAME) && self.has(Hint::PERSON) && !own.has(Hint::THING) {
            hint.classes.insert(Class::NAME);
        }
        // What a build is called is its version.
        if own.has(Hint::BARE_NAME) {
            hint.flags |= self.flags & Hint::VERSION;
        }
        if own.has(Hint::POSITION) && self.has(Hint::MACHINE) {
            hint.classes.remove(Class::GEO_POINT);
        }
        // And the parts of a thing's name are no person's either.
        if self.has(Hint::THING) {
            hint.flags &= !Hint::BARE_NAME;
        }
        let is_name = self.has(Hint::BARE_NAME) && !self.has(Hint::NAME_PART);
        if own.has(Hint::NAME_PART) && is_name && !own.has(Hint::THING) {
            hint.classes.insert(Class::NAME);
        }
        if own.has(Hint::LINE) && self.has(Hint::PLACE) {
            hint.classes.insert(Class::ADDRESS);
        }
        if own.has(Hint::GENERIC) {
            // What is called the value of a name is one; a number or a code beside it is not.
            let name = if own.has(Hint::DESCRIBED | Hint::WRAPPER) {
                ClassSet::EMPTY
            } else {
                ClassSet::just(Class::NAME)
            };
            let phone = if own.has(Hint::NOT_DIALLED) { PHONES } else { ClassSet::EMPTY };
            hint.classes = hint.classes.union(self.classes.minus(name).minus(phone));
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

/// Numbers that somebody dials, in China or elsewhere.
pub(crate) const PHONES: ClassSet = ClassSet::just(Class::PHONE).union(ClassSet::just(Class::CN_MOBILE));

/// Names of people, whatever else the name of the field speaks of: `appFirstName`, `hotelGuestName`.
#[rustfmt::skip]
const PERSONAL: [&[u8]; 14] = [
    b"accountholder", b"cardholder", b"contactname", b"customername", b"drivername", b"employeename", b"familyname",
    b"firstname", b"givenname", b"guestname", b"lastname", b"ownername", b"passengername", b"patientname",
];

/// Names of calls, cells of a network and devices that end like this.
const NOT_PHONES: [&[u8]; 6] = [b"callid", b"cellid", b"smsid", b"phoneid", b"mobileid", b"callids"];

/// Between a name and its value.
const IS: [&str; 6] = ["is", "was", "are", "ist", "est", "es"];

/// Names of members that say what another member is.
#[rustfmt::skip]
const DESCRIBING: [&[u8]; 46] = [
    b"name", b"path", b"key", b"field", b"fieldname", b"label", b"question", b"attribute", b"attributename",
    b"attr", b"property", b"propertyname", b"parameter", b"param", b"column", b"header", b"system", b"type",
    b"kind", b"id", b"prompt", b"code", b"title", b"k", b"fieldid", b"fieldlabel", b"attributekey",
    b"attributeid", b"prop", b"propname", b"parametername", b"paramname", b"columnname", b"headername",
    b"keyname", b"labelname", b"variable", b"variablename", b"var", b"slot", b"slotname", b"term", b"tag",
    b"tagname", b"fielddisplayname", b"inputname",
];

/// Names of types that stand around a value, as unions of Avro and the items of DynamoDB have them.
const WRAPPERS: [&[u8]; 8] = [b"string", b"long", b"int", b"s", b"n", b"ss", b"m", b"l"];

/// And of those others.
#[rustfmt::skip]
const DESCRIBED: [&[u8]; 47] = [
    b"value", b"values", b"val", b"text", b"answer", b"response", b"content", b"newvalue", b"oldvalue",
    b"stringvalue", b"valuestring", b"fieldvalue", b"attributevalue", b"input", b"new", b"old", b"before",
    b"after", b"previous", b"current", b"from", b"to", b"fromstring", b"tostring", b"v", b"arg",
    b"definition", b"newval", b"oldval", b"propertyvalue", b"propvalue", b"parametervalue", b"paramvalue",
    b"columnvalue", b"headervalue", b"variablevalue", b"slotvalue", b"inputvalue", b"currentvalue",
    b"previousvalue", b"rawvalue", b"textvalue", b"displayvalue", b"valuetext", b"valuedata",
    b"attributedata", b"fielddata",
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

/// A name is looked for as one word where it has so many letters: two that happen to make a shorter one are nothing.
const WHOLE_BYTES_MIN: usize = 5;
const WHOLE_BYTES_MAX: usize = 24;

#[cfg(test)]
mod tests;
