//! Names that were looked up lately.

use std::ops::Range;

use super::Hint;

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
