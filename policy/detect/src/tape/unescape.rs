//! What the escapes of a JSON string stand for, and where each character of it came from.

use std::borrow::Cow;
use std::ops::Range;

use super::Tape;

/// A key or string with the place of each of its bytes in the text of the tape.
#[derive(Clone, Debug)]
pub struct Unescaped<'t> {
    pub text: Cow<'t, str>,
    /// By byte of `text`, and once more for the end: where its character begins. Empty where nothing was escaped.
    places: Vec<u32>,
    /// Where the first byte stands.
    base: u32,
}

impl<'t> Unescaped<'t> {
    pub(super) fn new(tape: &Tape<'t>, index: u32) -> Unescaped<'t> {
        let inner = tape.inner(index);
        let node = tape.node(index);
        let base = node.start + (tape.raw(index).len() - inner.len()) as u32 / 2;
        if !node.escaped {
            return Unescaped { text: Cow::Borrowed(inner), places: Vec::new(), base };
        }
        let mut text = String::new();
        let mut places = Vec::new();
        unescape(inner, &mut text, |place| places.push(base + place));
        Unescaped { text: Cow::Owned(text), places, base }
    }

    /// Where in the tape's text the character begins that has the byte `byte`; for the length of the text, where its
    /// last character ends.
    ///
    /// # Panics
    /// Where `byte` is larger than that length.
    pub fn place_of(&self, byte: usize) -> u32 {
        assert!(byte <= self.text.len(), "a place in the text");
        self.places.get(byte).copied().unwrap_or(self.base + byte as u32)
    }

    /// The bytes of the tape's text that stand for a range of this one; never a part of an escape.
    pub fn range_of(&self, range: &Range<usize>) -> Range<u32> {
        self.place_of(range.start)..self.place_of(range.end)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Invalid,
    LoneSurrogate,
}

pub(super) fn to_string(inner: &str) -> String {
    let mut text = String::with_capacity(inner.len());
    unescape(inner, &mut text, |_| {});
    text
}

/// Appends to `text` what the inner text of a parsed string stands for; `place` hears, for each byte appended and
/// once for the end, where in `inner` its character begins.
pub(crate) fn unescape(inner: &str, text: &mut String, mut place: impl FnMut(u32)) {
    let bytes = inner.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let plain = memchr::memchr(b'\\', &bytes[at..]).unwrap_or(bytes.len() - at);
        text.push_str(&inner[at..at + plain]);
        (at..at + plain).for_each(|at| place(at as u32));
        at += plain;
        if at == bytes.len() {
            break;
        }
        // The parser has accepted every escape; were it not so, the backslash would stand for itself.
        let (character, length) = escape(&bytes[at..]).unwrap_or(('\\', 1));
        text.push(character);
        (0..character.len_utf8()).for_each(|_| place(at as u32));
        at += length;
    }
    place(bytes.len() as u32);
}

/// The character of the escape, or pair of surrogate escapes, that `bytes` begins with, and its length.
pub(super) fn escape(bytes: &[u8]) -> Result<(char, usize), Fault> {
    let character = match bytes.get(1).ok_or(Fault::Invalid)? {
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode_escape(bytes),
        _ => return Err(Fault::Invalid),
    };
    Ok((character, 2))
}

fn unicode_escape(bytes: &[u8]) -> Result<(char, usize), Fault> {
    let first = hex4(bytes.get(2..6)).ok_or(Fault::Invalid)?;
    match first {
        0xd800..=0xdbff => {
            let is_escape = bytes.get(6..8) == Some(br"\u");
            let second = is_escape.then(|| hex4(bytes.get(8..12))).flatten().ok_or(Fault::LoneSurrogate)?;
            if !(0xdc00..=0xdfff).contains(&second) {
                return Err(Fault::LoneSurrogate);
            }
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            char::from_u32(code).map(|character| (character, 12)).ok_or(Fault::LoneSurrogate)
        }
        code => char::from_u32(code).map(|character| (character, 6)).ok_or(Fault::LoneSurrogate),
    }
}

fn hex4(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
}
