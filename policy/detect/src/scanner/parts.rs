//! Values in a text that has names for them: cells of CSV below their titles, elements and attributes of XML, fields of
//! forms, JSON behind other words.

use std::ops::Range;

use super::columns::{COLUMNS_MAX, is_of_person, of_column};
use super::{Asked, DESCRIPTION_BYTES_MAX, Scanner, Value, is_candidate};
use crate::class::{Class, ClassSet};
use crate::finding::ScanError;
use crate::flat::{self, Kind as FlatKind, View};
use crate::keys::Hint;

/// What only its name can tell. Everything else is found by what stands before it.
const BY_NAME: ClassSet = ClassSet::just(Class::NAME).union(ClassSet::just(Class::ADDRESS));

impl Scanner {
    /// Looks at the cells of a table in a text by what the titles in its first line say.
    pub(super) fn table_inside(&mut self, value: Value<'_>, asked: Asked) {
        let bytes = value.text.as_bytes();
        let Some(first) = memchr::memchr(b'\n', bytes) else { return };
        let titles = &value.text[..first];
        let most = |separator: &u8| titles.bytes().filter(|byte| byte == separator).count();
        let Some(separator) = b",;\t|".iter().copied().max_by_key(most).filter(|byte| most(byte) > 0) else {
            return;
        };
        let mut hints = [Hint::NONE; COLUMNS_MAX];
        let mut columns = 0;
        let mut has_person = false;
        for (hint, title) in hints.iter_mut().zip(cells(titles.as_bytes(), separator)) {
            columns += 1;
            let Some(title) = titles.get(title) else { continue };
            // A line that has names and values already, or signs, is none of titles.
            if title.contains([':', '=', '@', '<', '{']) {
                return;
            }
            if is_title(title) {
                *hint = self.keys.name(title, is_candidate).hint;
                has_person |= is_of_person(*hint);
            }
        }
        let hints = &mut hints[..columns];
        hints.iter_mut().for_each(|hint| *hint = of_column(*hint, has_person));
        if hints.iter().all(Hint::is_silent) {
            return;
        }
        let mut start = first + 1;
        while start < bytes.len() {
            let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |found| start + found);
            for (hint, cell) in hints.iter().zip(cells(&bytes[start..end], separator)) {
                if !hint.is_silent() {
                    self.part(value, start + cell.start..start + cell.end, *hint, asked);
                }
            }
            start = end + 1;
        }
    }

    /// A part of a text as a value of its own.
    fn part(&mut self, value: Value<'_>, range: Range<usize>, hint: Hint, asked: Asked) {
        let Some(text) = value.text.get(range.clone()) else { return };
        let part = Value { text, places: value.places.behind(range.start as u32), hint, ..value };
        self.hits.clear();
        flat::keyed(text, &hint, &mut self.hits);
        self.note_hits(part, asked);
        self.hits.clear();
        View::new(text, hint, FlatKind::Text, asked.wanted, &mut self.hits).walk(&mut self.run);
        self.note_hits(part, asked);
    }

    /// Looks at values that only their names can tell: `<firstName>…</firstName>`, `firstName="…"`, `first_name=…&`.
    pub(super) fn named_inside(&mut self, value: Value<'_>, asked: Asked) {
        if asked.wanted.intersection(BY_NAME).is_empty() {
            return;
        }
        let bytes = value.text.as_bytes();
        let mut at = 0;
        while let Some(sign) = memchr::memchr3(b'=', b'>', b':', &bytes[at..]).map(|found| at + found) {
            at = sign + 1;
            let (names, range) = match bytes[sign] {
                b'>' => match tag_before(bytes, sign) {
                    Some(tag) => (names_of_element(bytes, tag), element(bytes, at)),
                    None => continue,
                },
                b':' => match name_of_line(bytes, sign) {
                    Some(name) => ([name, 0..0, 0..0], value_of_line(bytes, at)),
                    None => continue,
                },
                _ => {
                    (names_of_attribute(bytes, sign, value.level > 0), attribute(bytes, at, value.level > 0))
                }
            };
            if range.len() < 2 {
                continue;
            }
            let mut hint = Hint::NONE;
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                let Some(name) = value.text.get(name).filter(|name| name.len() <= NAME_MAX) else { continue };
                // Behind a colon stands the name by itself.
                let name = name.rsplit(':').next().unwrap_or(name);
                hint = Hint::NONE.below(self.keys.name(name, is_candidate).hint);
                if !hint.classes.is_empty() {
                    break;
                }
            }
            let classes = hint.classes.intersection(BY_NAME);
            let Some(text) = value.text.get(range.clone()).filter(|_| !classes.is_empty()) else { continue };
            at = range.end;
            self.hits.clear();
            flat::keyed(text, &Hint { classes, ..hint }, &mut self.hits);
            let places = value.places.behind(range.start as u32);
            self.note_hits(Value { text, places, ..value }, asked);
        }
    }

    /// Looks through JSON that stands behind other words: `request {"firstName": "…"} took 3 ms`.
    pub(super) fn json_within(&mut self, value: Value<'_>, asked: Asked) -> Result<(), ScanError> {
        let bytes = value.text.as_bytes();
        let is_open = |at: &usize| {
            let behind = bytes[at + 1..].trim_ascii_start();
            behind.first() == Some(&b'"') || bytes[*at] == b'[' && behind.starts_with(b"{")
        };
        let open = memchr::memchr2_iter(b'{', b'[', bytes).take(OPEN_MAX).find(is_open);
        let Some(open) = open else { return Ok(()) };
        let close = if bytes[open] == b'{' { b'}' } else { b']' };
        let Some(end) = memchr::memrchr(close, &bytes[open..]).map(|found| open + found + 1) else {
            return Ok(());
        };
        if let Some(text) = value.text.get(open..end) {
            let places = value.places.behind(open as u32);
            self.json_inside(Value { text, places, hint: Hint::NONE, ..value }, asked)?;
        }
        Ok(())
    }
}

/// Whether a text may be the name of a column, and not a value.
fn is_title(text: &str) -> bool {
    text.len() <= DESCRIPTION_BYTES_MAX as usize && text.bytes().filter(u8::is_ascii_digit).count() <= 2
}

/// Braces that are looked at for the begin of JSON.
const OPEN_MAX: usize = 8;

/// The cells of a line, without white space and quotes around them.
fn cells(line: &[u8], separator: u8) -> impl Iterator<Item = Range<usize>> + use<'_> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let start = next?;
        let blanks = line[start..].iter().take_while(|byte| **byte == b' ').count();
        let from = start + blanks;
        // Between quotes a separator is a character like others.
        let closed = (line.get(from) == Some(&b'"'))
            .then(|| memchr::memchr(b'"', &line[from + 1..]))
            .flatten()
            .map(|found| from + 1 + found);
        let after = closed.unwrap_or(start);
        let end = memchr::memchr(separator, &line[after..]).map_or(line.len(), |found| after + found);
        next = (end < line.len()).then_some(end + 1);
        if let Some(closed) = closed {
            return Some(from + 1..closed);
        }
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\r');
        let behind = line[from.min(end)..end].iter().rev().take_while(|byte| is_blank(byte)).count();
        Some(from.min(end)..end - behind)
    })
}

/// The longest names, and the longest tags with their attributes.
const NAME_MAX: usize = 48;
const TAG_MAX: usize = 160;

/// What stands between the angle brackets of which the second is at `close`, where they are a tag that opens.
fn tag_before(bytes: &[u8], close: usize) -> Option<Range<usize>> {
    let from = close.saturating_sub(TAG_MAX);
    let open = from + memchr::memrchr(b'<', &bytes[from..close])?;
    let opens =
        bytes[open + 1..close].first().is_some_and(u8::is_ascii_alphabetic) || !bytes[open + 1].is_ascii();
    opens.then_some(open + 1..close)
}

/// Names that the text of an element may have: of its own, of its attribute `name`, and the text of the element before.
fn names_of_element(bytes: &[u8], tag: Range<usize>) -> [Range<usize>; 3] {
    let length = bytes[tag.clone()].iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
    let own = tag.start..tag.start + length;
    let text = if flat::is_plain(&bytes[own.clone()]) { text_before(bytes, own.clone()) } else { None };
    [own, name_in(bytes, tag), text.unwrap_or_default()]
}

/// The text of the element straight before one of another name: `<th>…</th><td>`.
fn text_before(bytes: &[u8], name: Range<usize>) -> Option<Range<usize>> {
    let before = bytes[..name.start - 1].trim_ascii_end().strip_suffix(b">")?;
    let from = before.len().saturating_sub(TAG_MAX);
    let end = from + memchr::memrchr(b'<', &before[from..])?;
    let other = before[end + 1..].strip_prefix(b"/").filter(|other| **other != bytes[name.clone()]);
    other.and_then(|_| memchr::memrchr(b'>', &before[from..end])).map(|start| from + start + 1..end)
}

/// The name before `=`, and of a `value` the one that the same tag gives.
fn names_of_attribute(bytes: &[u8], sign: usize, is_decoded: bool) -> [Range<usize>; 3] {
    let is_name = |byte: &&u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'-' | b'.' | b':')
            || !byte.is_ascii()
            || is_decoded && **byte == b' '
    };
    let head = bytes[..sign].trim_ascii_end();
    let length = head.iter().rev().take(NAME_MAX + 1).take_while(is_name).count();
    let own = head.len() - length..head.len();
    let is_value = matches!(&bytes[own.clone()], b"value" | b"content");
    let tag = is_value.then(|| {
        let from = own.start.saturating_sub(TAG_MAX);
        memchr::memrchr(b'<', &bytes[from..own.start]).map_or(0..0, |open| from + open..own.start)
    });
    [own, name_in(bytes, tag.unwrap_or_default()), 0..0]
}

/// The value of the attribute `name` in a tag.
fn name_in(bytes: &[u8], tag: Range<usize>) -> Range<usize> {
    const NAME: &[u8] = b" name=\"";
    let Some(found) = memchr::memmem::find(&bytes[tag.clone()], NAME) else { return 0..0 };
    let start = tag.start + found + NAME.len();
    start..memchr::memchr(b'"', &bytes[start..tag.end]).map_or(start, |end| start + end)
}

/// The text of an element from `start` to the next tag.
fn element(bytes: &[u8], start: usize) -> Range<usize> {
    const CDATA: &[u8] = b"<![CDATA[";
    if bytes[start..].starts_with(CDATA) {
        let start = start + CDATA.len();
        return until(bytes, start, |byte| byte == b']').unwrap_or(start..start);
    }
    // Without another tag it is no element.
    until(bytes, start, |byte| byte == b'<').unwrap_or(start..start)
}

/// The name before a colon, where it begins a line or stands in quotes: `address: …`, `"address": …`.
fn name_of_line(bytes: &[u8], colon: usize) -> Option<Range<usize>> {
    let head = &bytes[..colon];
    if let Some(head) = head.strip_suffix(b"\"") {
        let from = head.len().saturating_sub(NAME_MAX);
        let open = memchr::memrchr(b'"', &head[from..])?;
        return Some(from + open + 1..head.len());
    }
    let is_end = |byte: &u8| matches!(byte, b'\n' | b':' | b'"' | b'=' | b',');
    let from = head.len().saturating_sub(NAME_MAX);
    let start = head[from..].iter().rposition(is_end).map_or(from, |end| from + end + 1);
    let begins = start == 0 || bytes[start - 1] == b'\n';
    (begins && bytes.get(colon + 1) == Some(&b' ')).then_some(start..head.len())
}

/// A value between quotes, or the rest of the line.
fn value_of_line(bytes: &[u8], start: usize) -> Range<usize> {
    let start = start + bytes[start..].iter().take(2).take_while(|byte| **byte == b' ').count();
    if bytes.get(start) == Some(&b'"') {
        return attribute(bytes, start, false);
    }
    let line = until(bytes, start, |byte| matches!(byte, b'\n' | b'\r'));
    line.unwrap_or_else(|| rest(bytes, start))
}

/// A value between quotes, or one that goes to the end of its word; in a decoded text to the next field.
fn attribute(bytes: &[u8], start: usize, is_decoded: bool) -> Range<usize> {
    let blanks = bytes[start..].iter().take(2).take_while(|byte| **byte == b' ').count();
    if let Some(quote @ (b'"' | b'\'')) = bytes.get(start + blanks) {
        let start = start + blanks + 1;
        return until(bytes, start, |byte| byte == *quote).unwrap_or(start..start);
    }
    let is_end = |byte| match byte {
        b'&' | b'"' | b'<' | b'>' | b'\n' => true,
        _ if is_decoded => false,
        b';' | b',' | b'\'' | b')' | b']' | b'}' | b' ' | b'\t' => true,
        _ => false,
    };
    until(bytes, start, is_end).unwrap_or_else(|| rest(bytes, start))
}

/// No value that only its name can tell is longer. What is not in the next bytes is not looked for further on: a text
/// may have many names.
const VALUE_MAX: usize = 400;

/// From a place to the first byte of a kind.
fn until(bytes: &[u8], start: usize, is_end: impl Fn(u8) -> bool) -> Option<Range<usize>> {
    let length = bytes[start..].iter().take(VALUE_MAX).position(|byte| is_end(*byte))?;
    Some(start..start + length)
}

/// What is left of a text; nothing where that is longer than a value.
fn rest(bytes: &[u8], start: usize) -> Range<usize> {
    if bytes.len() - start <= VALUE_MAX { start..bytes.len() } else { start..start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_divided_into_cells() {
        for (line, separator, expected) in [
            ("id,name", b',', vec!["id", "name"]),
            ("1, \"a,b\" ,c\r", b',', vec!["1", "a,b", "c"]),
            ("", b',', vec![""]),
            ("a;;", b';', vec!["a", "", ""]),
            ("\"a;b", b';', vec!["\"a", "b"]),
            ("| a | b |", b'|', vec!["", "a", "b", ""]),
            (" , ", b',', vec!["", ""]),
        ] {
            let found: Vec<_> = cells(line.as_bytes(), separator).map(|cell| &line[cell]).collect();
            assert_eq!(found, expected, "{line:?}");
        }
    }
}
