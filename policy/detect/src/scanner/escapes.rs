//! Characters that a text writes as something else: references of HTML, escapes of programs, quoted-printable.
//!
//! Most texts have none of their signs, which one look tells. Where there are some, the stretch of the text around
//! them is decoded and looked at like any other layer; what none of them is part of is found again, and settled as
//! one with what stands there.

use std::ops::Range;

use super::layers::{Layer, finish, hex_pair};
use super::{Asked, Scanner, Value, profile};
use crate::finding::ScanError;

/// What is written otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// `&#52;`, `&#x34;`, `&nbsp;`
    Reference,
    /// `\u0034`, `\x34`, `\n`
    Escape,
    /// `=34`, and lines that `=` joins
    Printable,
}

/// References by name, of characters that stand in values or between their parts.
const NAMES: [(&str, char); 24] = [
    ("Tab", '\t'),
    ("amp", '&'),
    ("apos", '\''),
    ("colon", ':'),
    ("comma", ','),
    ("commat", '@'),
    ("dash", '-'),
    ("emsp", ' '),
    ("ensp", ' '),
    ("equals", '='),
    ("gt", '>'),
    ("hyphen", '-'),
    ("lbrace", '{'),
    ("lowbar", '_'),
    ("lpar", '('),
    ("lt", '<'),
    ("nbsp", ' '),
    ("num", '#'),
    ("percnt", '%'),
    ("period", '.'),
    ("plus", '+'),
    ("quot", '"'),
    ("rpar", ')'),
    ("sol", '/'),
];

/// The longest reference, `&#x10FFFF;`.
const REFERENCE_MAX: usize = 10;

impl Scanner {
    /// Looks through what a text writes otherwise.
    pub(super) fn escapes_inside(&mut self, value: Value<'_>, asked: Asked) -> Result<(), ScanError> {
        let bytes = value.text.as_bytes();
        let mut known = [false; 3];
        let mut at = 0;
        while let Some(sign) = memchr::memchr3(b'&', b'\\', b'=', &bytes[at..]).map(|found| at + found) {
            at = sign + 1;
            let rest = &bytes[sign..];
            let writing = match rest[0] {
                b'&' if reference(rest).is_some_and(|(c, _)| !matches!(c, '&' | '<' | '>' | '\'')) => {
                    Writing::Reference
                }
                b'\\' if is_escape(rest) => Writing::Escape,
                b'=' if is_printable(rest, sign.checked_sub(1).map(|at| bytes[at])) => Writing::Printable,
                _ => continue,
            };
            if known[writing as usize] {
                continue;
            }
            let stretch = match writing {
                // What a tag stands between are two texts.
                Writing::Reference => {
                    let is_edge = |byte: &u8| matches!(byte, b'<' | b'>' | b'\n');
                    let start = bytes[..sign].iter().rposition(is_edge).map_or(0, |edge| edge + 1);
                    let end = rest.iter().position(is_edge).map_or(bytes.len(), |edge| sign + edge);
                    at = end;
                    start..end
                }
                _ => {
                    known[writing as usize] = true;
                    0..bytes.len()
                }
            };
            self.written(value, stretch, writing, asked)?;
        }
        Ok(())
    }

    fn written(
        &mut self,
        value: Value<'_>,
        stretch: Range<usize>,
        writing: Writing,
        asked: Asked,
    ) -> Result<(), ScanError> {
        let mut layer = self.layer();
        let place = |byte| value.places.of(stretch.start + byte);
        decode(&value.text[stretch.clone()], writing, &mut layer, place);
        let profile = profile::profile(layer.text.as_bytes()).of_written(layer.text.as_bytes());
        let may_hold =
            !value.hint.is_silent() || profile.is_candidate(layer.text.as_bytes()) || !profile.is_ascii;
        let mut outcome = Ok(());
        if may_hold {
            outcome = self.spend(stretch.len());
            if outcome.is_ok() {
                let places = value.places.decoded(&layer.places);
                let inside = Value { text: &layer.text, places, level: value.level + 1, ..value };
                outcome = self.profiled(inside, profile, asked);
            }
        }
        self.give_back(layer);
        outcome
    }
}

/// The character of a reference that `bytes` begins with, and its length.
fn reference(bytes: &[u8]) -> Option<(char, usize)> {
    let end = bytes.iter().take(REFERENCE_MAX).position(|byte| *byte == b';')?;
    let name = str::from_utf8(&bytes[1..end]).ok()?;
    let character = match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(number) => u32::from_str_radix(number, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
        None => {
            let at = NAMES.binary_search_by_key(&name, |(name, _)| name).ok()?;
            NAMES[at].1
        }
    };
    Some((character, end + 1))
}

/// The number and the length of `\u0034`, `\u{34}` or `\x34`.
fn escaped_code(bytes: &[u8]) -> Option<(u32, usize)> {
    let hex = |range: Range<usize>| {
        let digits = bytes.get(range).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    };
    match bytes.get(1)? {
        b'u' if bytes.get(2) == Some(&b'{') => {
            let length = bytes.iter().skip(3).take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
            let is_closed = bytes.get(3 + length) == Some(&b'}');
            is_closed.then(|| hex(3..3 + length)).flatten().map(|code| (code, 4 + length))
        }
        b'u' => hex(2..6).map(|code| (code, 6)),
        b'x' => hex(2..4).map(|code| (code, 4)),
        _ => None,
    }
}

fn is_escape(bytes: &[u8]) -> bool {
    match bytes {
        [_, b'n' | b'r' | b't', next, ..] => next.is_ascii_alphanumeric() || *next == b'+',
        [_, b'"' | b'\\', ..] => true,
        _ => escaped_code(bytes).is_some(),
    }
}

/// Whether `=` is one of quoted-printable, which `a=10` is not: two beside each other, the sign itself or an `@`, or a
/// line that goes on.
fn is_printable(bytes: &[u8], before: Option<u8>) -> bool {
    let is_in_word = || {
        before.is_some_and(|byte| byte.is_ascii_alphanumeric())
            && bytes.get(3).is_some_and(u8::is_ascii_alphanumeric)
    };
    match bytes {
        [_, b'\n', ..] | [_, b'\r', b'\n', ..] => true,
        [_, b'3', b'D', ..] => true,
        [_, b'4', b'0', ..] => is_in_word(),
        [_, _, _, b'=', _, _, ..] => printable(bytes).is_some() && printable(&bytes[3..]).is_some(),
        _ => false,
    }
}

/// The byte of `=34`, which has capitals only.
fn printable(bytes: &[u8]) -> Option<u8> {
    let digits = bytes.get(1..3)?;
    let is_hex = digits.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    is_hex.then(|| hex_pair(bytes)).flatten()
}

/// Writes the decoded text. Bytes that are not UTF-8 are taken for Latin-1.
fn decode(text: &str, writing: Writing, layer: &mut Layer, place: impl Fn(usize) -> u32) {
    let bytes = text.as_bytes();
    let mut decoded = std::mem::take(&mut layer.text).into_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let known = decoded.len();
        let length = match (writing, rest[0]) {
            (Writing::Reference, b'&') => {
                reference(rest).map(|(c, length)| (push(&mut decoded, c), length).1)
            }
            (Writing::Escape, b'\\') => unescape(rest, &mut decoded),
            (Writing::Printable, b'=') => match rest {
                [_, b'\n', ..] => Some(2),
                [_, b'\r', b'\n', ..] => Some(3),
                _ => printable(rest).map(|byte| (decoded.push(byte), 3).1),
            },
            _ => None,
        };
        let length = length.unwrap_or_else(|| {
            decoded.push(rest[0]);
            1
        });
        let here = place(at);
        layer.places.extend(std::iter::repeat_n(here, decoded.len() - known));
        at += length;
    }
    layer.places.push(place(bytes.len()));
    finish(decoded, layer);
}

fn push(decoded: &mut Vec<u8>, c: char) {
    decoded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Adds what an escape stands for; its length.
fn unescape(bytes: &[u8], decoded: &mut Vec<u8>) -> Option<usize> {
    if let Some((code, length)) = escaped_code(bytes) {
        match (bytes[1], char::from_u32(code)) {
            // Bytes of a character each.
            (b'x', _) => decoded.push(code as u8),
            (_, Some(c)) => push(decoded, c),
            (_, None) => push(decoded, char::REPLACEMENT_CHARACTER),
        }
        return Some(length);
    }
    let byte = match bytes.get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        byte @ (b'"' | b'\'' | b'\\' | b'/') => *byte,
        _ => return None,
    };
    decoded.push(byte);
    Some(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order() {
        assert!(NAMES.is_sorted_by_key(|(name, _)| *name));
        let longest = NAMES.iter().map(|(name, _)| name.len() + 2).max();
        assert!(longest.is_some_and(|length| length <= REFERENCE_MAX));
    }

    #[test]
    fn characters_are_decoded_where_they_stand() {
        for (writing, text, expected) in [
            (Writing::Reference, "a&#52;&#x31;&nbsp;&commat;&bogus;&#;&", "a41 @&bogus;&#;&"),
            (Writing::Reference, "&#128512;&#xD800;", "😀&#xD800;"),
            (Writing::Escape, r"\u0034\x31\u{40}\n\\\q\u00e4\xc3\xa4\", "41@\n\\\\qää\\"),
            (Writing::Printable, "=34=C3=A4 a=3Db=4 x=\r\ny=\nz=", "4ä a=b=4 xyz="),
            (Writing::Printable, "J=F6rg", "Jörg"),
        ] {
            let mut layer = Layer::default();
            decode(text, writing, &mut layer, |at| at as u32);
            assert_eq!(layer.text, expected);
            assert_eq!(layer.places.len(), layer.text.len() + 1);
            assert!(layer.places.is_sorted());
        }
    }
}
