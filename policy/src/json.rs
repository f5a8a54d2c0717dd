//! A walk over JSON text that keeps the places of everything, so that edits leave every other byte as it was.

use std::ops::Range;

use crate::path::Segment;

/// Deeper data is an error: protection cannot be claimed for what was not looked at (POLICY §5).
const DEPTH_MAX: usize = 64;

/// Data that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Number,
    /// `true`, `false`, `null`.
    Word,
    Array,
    Object,
}

/// What a visitor wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Keep,
    /// Other JSON text in its place; nothing below it is visited.
    Replace(String),
    /// The member or element goes.
    Remove,
}

/// A string with the place of each of its characters in the raw text.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) text: String,
    /// By byte of `text`: where that character begins in the source. One more entry for the end.
    places: Vec<usize>,
}

impl Decoded {
    pub(crate) fn raw(&self, range: &Range<usize>) -> Range<usize> {
        self.places[range.start]..self.places[range.end]
    }
}

pub(crate) trait Visitor {
    /// A value, before what is below it.
    fn value(&mut self, place: &[Segment], kind: Kind, raw: &str, decoded: Option<&Decoded>) -> Edit;
    /// A member's name: what is to stand instead, or `Remove` for the whole member.
    fn key(&mut self, place: &[Segment], name: &Decoded) -> Edit;
}

/// Walks `text` and returns it with the visitor's edits, or `None` where there were none.
pub(crate) fn edit(text: &str, visitor: &mut impl Visitor) -> Result<Option<String>, Unreadable> {
    let mut walk =
        Walk { text, bytes: text.as_bytes(), at: 0, place: Vec::new(), edits: Vec::new(), visitor };
    walk.space();
    let start = walk.at;
    if walk.value(0)? {
        walk.edits.push((start..walk.at, "null".to_owned()));
    }
    walk.space();
    if walk.at != text.len() {
        return Err(Unreadable);
    }
    let mut edits = walk.edits;
    if edits.is_empty() {
        return Ok(None);
    }
    // An edit inside one that replaces or removes a larger part is void.
    edits.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (range, replacement) in edits {
        if range.start < at {
            continue;
        }
        out.push_str(&text[at..range.start]);
        out.push_str(&replacement);
        at = range.end;
    }
    out.push_str(&text[at..]);
    Ok(Some(out))
}

struct Walk<'a, V> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    place: Vec<Segment>,
    edits: Vec<(Range<usize>, String)>,
    visitor: &'a mut V,
}

impl<V: Visitor> Walk<'_, V> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Unreadable> {
        if self.peek() != Some(byte) {
            return Err(Unreadable);
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a value; `true` where it is to be removed.
    fn value(&mut self, depth: usize) -> Result<bool, Unreadable> {
        if depth > DEPTH_MAX {
            return Err(Unreadable);
        }
        let start = self.at;
        let (kind, decoded) = match self.peek().ok_or(Unreadable)? {
            b'"' => (Kind::String, Some(self.string()?)),
            b'{' => (Kind::Object, None),
            b'[' => (Kind::Array, None),
            b'-' | b'0'..=b'9' => {
                self.number()?;
                (Kind::Number, None)
            }
            _ => {
                self.word()?;
                (Kind::Word, None)
            }
        };
        let edits_before = self.edits.len();
        let edit = match kind {
            // What is below must be well-formed whatever becomes of it.
            Kind::Object | Kind::Array => {
                let edit = self.visitor.value(&self.place, kind, "", None);
                if kind == Kind::Object {
                    self.object(depth)?
                } else {
                    self.array(depth)?
                }
                edit
            }
            _ => self.visitor.value(&self.place, kind, &self.text[start..self.at], decoded.as_ref()),
        };
        match edit {
            Edit::Keep => Ok(false),
            Edit::Replace(replacement) => {
                self.edits.truncate(edits_before);
                self.edits.push((start..self.at, replacement));
                Ok(false)
            }
            Edit::Remove => {
                self.edits.truncate(edits_before);
                Ok(true)
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Unreadable> {
        self.expect(b'{')?;
        let mut parts: Vec<(Range<usize>, bool)> = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let start = self.at;
            let name = self.string()?;
            let key = start..self.at;
            self.space();
            self.expect(b':')?;
            self.space();
            self.place.push(Segment::Name(name.text.clone()));
            let edits_before = self.edits.len();
            let key_edit = self.visitor.key(&self.place, &name);
            let mut removed = self.value(depth + 1)?;
            self.place.pop();
            match key_edit {
                Edit::Keep => {}
                Edit::Replace(text) => self.edits.push((key, text)),
                Edit::Remove => {
                    self.edits.truncate(edits_before);
                    removed = true;
                }
            }
            parts.push((start..self.at, removed));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(Unreadable),
            }
        }
        self.at += 1;
        self.remove_parts(&parts);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Unreadable> {
        self.expect(b'[')?;
        let mut parts: Vec<(Range<usize>, bool)> = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let start = self.at;
            self.place.push(Segment::Index(parts.len()));
            let removed = self.value(depth + 1)?;
            self.place.pop();
            parts.push((start..self.at, removed));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(Unreadable),
            }
        }
        self.at += 1;
        self.remove_parts(&parts);
        Ok(())
    }

    /// A part goes with the comma before it, or, while nothing is kept before it, with the one behind.
    fn remove_parts(&mut self, parts: &[(Range<usize>, bool)]) {
        let mut kept_before = false;
        for (at, (range, removed)) in parts.iter().enumerate() {
            if !removed {
                kept_before = true;
                continue;
            }
            let cut = match (kept_before, at.checked_sub(1).map(|b| &parts[b].0), parts.get(at + 1)) {
                (true, Some(before), _) => before.end..range.end,
                (_, _, Some((next, _))) => range.start..next.start,
                _ => range.clone(),
            };
            self.edits.push((cut, String::new()));
        }
    }

    fn string(&mut self) -> Result<Decoded, Unreadable> {
        self.expect(b'"')?;
        let mut text = String::new();
        let mut places = Vec::new();
        let push = |text: &mut String, places: &mut Vec<usize>, c: char, at: usize| {
            text.push(c);
            places.extend(std::iter::repeat_n(at, c.len_utf8()));
        };
        loop {
            let start = self.at;
            match self.peek().ok_or(Unreadable)? {
                b'"' => {
                    places.push(self.at);
                    self.at += 1;
                    return Ok(Decoded { text, places });
                }
                b'\\' => {
                    let c = self.escape()?;
                    push(&mut text, &mut places, c, start);
                }
                byte if byte < 0x20 => return Err(Unreadable),
                _ => {
                    let c = self.text[start..].chars().next().ok_or(Unreadable)?;
                    self.at += c.len_utf8();
                    push(&mut text, &mut places, c, start);
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Unreadable> {
        self.at += 1;
        let byte = self.peek().ok_or(Unreadable)?;
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first).ok_or(Unreadable);
                }
                self.expect(b'\\')?;
                self.expect(b'u')?;
                let second = self.hex()?;
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(Unreadable);
                }
                char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Unreadable)?
            }
            _ => return Err(Unreadable),
        })
    }

    fn hex(&mut self) -> Result<u32, Unreadable> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(Unreadable)?;
        self.at += 4;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Unreadable);
        }
        u32::from_str_radix(digits, 16).map_err(|_| Unreadable)
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1
        } else {
            self.digits()?
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Unreadable> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(Unreadable) } else { Ok(()) }
    }

    fn word(&mut self) -> Result<(), Unreadable> {
        for word in ["true", "false", "null"] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
        }
        Err(Unreadable)
    }
}

/// A JSON string.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What stands between the quotes of a JSON string.
pub(crate) fn quote_inner(text: &str) -> String {
    let quoted = quote(text);
    quoted[1..quoted.len() - 1].to_owned()
}
