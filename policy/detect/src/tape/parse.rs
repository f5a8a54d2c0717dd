//! From text to nodes. One loop with the open containers on a stack of its own, so depth costs no call frames.

use super::{Kind, Node, Tape, unescape};
use crate::block::{BLOCK, Block};

/// Deeper text is an error: protection cannot be claimed for what was not looked at (POLICY §5).
pub const DEPTH_MAX: usize = 64;

/// Allocation kept for the next event, in nodes; a rare large event does not hold its memory for ever.
const KEPT_NODES_MAX: usize = 64 * 1024;

/// Text that is not JSON, with the byte where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("expected {expected} at byte {at}")]
    Expected { expected: &'static str, at: u32 },
    #[error("control character in a string at byte {at}")]
    Control { at: u32 },
    #[error("invalid escape at byte {at}")]
    Escape { at: u32 },
    #[error("half a surrogate pair at byte {at}")]
    LoneSurrogate { at: u32 },
    #[error("more than {DEPTH_MAX} objects and arrays in each other at byte {at}")]
    Depth { at: u32 },
    #[error("the text has 4 GiB or more")]
    Size,
}

/// Keeps the allocation of a tape between events.
#[derive(Debug, Default)]
pub struct TapeBuffer {
    pub(super) nodes: Vec<Node>,
}

impl TapeBuffer {
    pub fn new() -> TapeBuffer {
        TapeBuffer::default()
    }

    /// Parses one JSON text; white space around it is allowed, anything else is not.
    ///
    /// # Errors
    /// Where the text is not strict RFC 8259, is nested deeper than [`DEPTH_MAX`], has half a surrogate pair, or its
    /// places do not fit 32 bits.
    pub fn parse<'t>(&'t mut self, text: &'t str) -> Result<Tape<'t>, ParseError> {
        // One less, so that an index past the end fits too.
        if text.len() >= u32::MAX as usize {
            return Err(ParseError::Size);
        }
        self.nodes.clear();
        self.nodes.shrink_to(KEPT_NODES_MAX);
        let mut parser = Parser { bytes: text.as_bytes(), at: 0, nodes: &mut self.nodes, depth: 0 };
        parser.document()?;
        Ok(Tape { text, nodes: &self.nodes })
    }
}

struct Parser<'t, 'n> {
    bytes: &'t [u8],
    at: usize,
    nodes: &'n mut Vec<Node>,
    depth: usize,
}

// Every step is inlined into `document`, so that the place in the text stays in a register from token to token.
impl Parser<'_, '_> {
    fn document(&mut self) -> Result<(), ParseError> {
        self.space();
        let mut open = 0;
        let mut is_open = self.value(0)?;
        while is_open {
            let container = self.nodes[open as usize].kind;
            if container == Kind::Object {
                is_open = self.in_object(&mut open)?;
            } else {
                is_open = self.in_array(&mut open)?;
            }
        }
        self.space();
        if self.at == self.bytes.len() { Ok(()) } else { expected("the end", self.at) }
    }

    /// Reads members of the object `open` until one of them opens a container, which becomes `open`, or the object
    /// ends, and what it stands in becomes `open`. `false` after the end of the root.
    #[inline(always)]
    fn in_object(&mut self, open: &mut u32) -> Result<bool, ParseError> {
        let object = *open;
        // Where the object has members, we come back to it after one of them.
        let mut is_first = self.nodes.len() == object as usize + 1;
        loop {
            self.space();
            match self.peek() {
                Some(b',') if !is_first => {
                    self.at += 1;
                    self.space();
                }
                Some(b'}') => return Ok(self.close(open)),
                _ if is_first => {}
                _ => return expected("`,` or `}`", self.at),
            }
            is_first = false;
            if self.peek() != Some(b'"') {
                return expected("the name of a member", self.at);
            }
            let key = self.index();
            // Two further is the next key where the value has nothing below it; otherwise its end says.
            self.string(Kind::Key, object, key + 2)?;
            self.space();
            if self.peek() != Some(b':') {
                return expected("`:`", self.at);
            }
            self.at += 1;
            self.space();
            if self.value(key)? {
                *open = key + 1;
                return Ok(true);
            }
        }
    }

    #[inline(always)]
    fn in_array(&mut self, open: &mut u32) -> Result<bool, ParseError> {
        let array = *open;
        let mut is_first = self.nodes.len() == array as usize + 1;
        loop {
            self.space();
            match self.peek() {
                Some(b',') if !is_first => {
                    self.at += 1;
                    self.space();
                }
                Some(b']') => return Ok(self.close(open)),
                _ if is_first => {}
                _ => return expected("`,` or `]`", self.at),
            }
            is_first = false;
            let element = self.index();
            if self.value(array)? {
                *open = element;
                return Ok(true);
            }
        }
    }

    /// Ends the container at its last byte; `open` becomes the one around it.
    #[inline(always)]
    fn close(&mut self, open: &mut u32) -> bool {
        self.at += 1;
        self.depth -= 1;
        let next = self.index();
        let end = self.at as u32;
        let container = &mut self.nodes[*open as usize];
        container.end = end;
        container.next = next;
        let above = container.parent;
        if above == *open {
            return false;
        }
        let above_node = &mut self.nodes[above as usize];
        if above_node.kind == Kind::Key {
            above_node.next = next;
            *open = above_node.parent;
        } else {
            *open = above;
        }
        true
    }

    /// Reads a value whole, or only the bracket that opens it, then `true`.
    #[inline(always)]
    fn value(&mut self, parent: u32) -> Result<bool, ParseError> {
        match self.peek() {
            Some(b'"') => self.string(Kind::String, parent, self.index() + 1)?,
            Some(b'{') => return self.open(Kind::Object, parent),
            Some(b'[') => return self.open(Kind::Array, parent),
            Some(b'-' | b'0'..=b'9') => self.number(parent)?,
            Some(b't') => self.word(b"true", Kind::True, parent)?,
            Some(b'f') => self.word(b"false", Kind::False, parent)?,
            Some(b'n') => self.word(b"null", Kind::Null, parent)?,
            _ => return expected("a value", self.at),
        }
        Ok(false)
    }

    #[inline(always)]
    fn open(&mut self, kind: Kind, parent: u32) -> Result<bool, ParseError> {
        if self.depth == DEPTH_MAX {
            return Err(ParseError::Depth { at: self.at as u32 });
        }
        self.depth += 1;
        let start = self.at;
        self.at += 1;
        self.push(kind, start, parent);
        Ok(true)
    }

    #[inline(always)]
    fn word(&mut self, word: &'static [u8], kind: Kind, parent: u32) -> Result<(), ParseError> {
        let start = self.at;
        if !self.bytes[start..].starts_with(word) {
            return expected("a value", start);
        }
        self.at += word.len();
        self.push(kind, start, parent);
        Ok(())
    }

    #[inline(always)]
    fn number(&mut self, parent: u32) -> Result<(), ParseError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
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
        self.push(Kind::Number, start, parent);
        Ok(())
    }

    /// One digit or more.
    #[inline(always)]
    fn digits(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { expected("a digit", start) } else { Ok(()) }
    }

    #[inline(always)]
    fn string(&mut self, kind: Kind, parent: u32, next: u32) -> Result<(), ParseError> {
        let start = self.at;
        self.at = stop_of_string(self.bytes, start + 1);
        let escaped = self.peek() != Some(b'"');
        if escaped {
            self.at = end_of_escaped(self.bytes, self.at)?;
        }
        self.at += 1;
        let (start, end) = (start as u32, self.at as u32);
        self.nodes.push(Node { start, end, next, parent, kind, escaped });
        Ok(())
    }

    #[inline(always)]
    fn push(&mut self, kind: Kind, start: usize, parent: u32) {
        let (next, end) = (self.index() + 1, self.at as u32);
        self.nodes.push(Node { start: start as u32, end, next, parent, kind, escaped: false });
    }

    #[inline(always)]
    fn index(&self) -> u32 {
        self.nodes.len() as u32
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }
}

/// The closing quote of a string that goes on at `at`, where its first escape or something wrong is.
#[inline(never)]
fn end_of_escaped(bytes: &[u8], mut at: usize) -> Result<usize, ParseError> {
    loop {
        let place = at as u32;
        match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => {
                let (_, length) = unescape::escape(&bytes[at..]).map_err(|fault| match fault {
                    unescape::Fault::Invalid => ParseError::Escape { at: place },
                    unescape::Fault::LoneSurrogate => ParseError::LoneSurrogate { at: place },
                })?;
                at = stop_of_string(bytes, at + length);
            }
            Some(_) => return Err(ParseError::Control { at: place }),
            None => return expected("`\"`", at),
        }
    }
}

#[cold]
fn expected<T>(expected: &'static str, at: usize) -> Result<T, ParseError> {
    Err(ParseError::Expected { expected, at: at as u32 })
}

/// The first quote, backslash or control character from `at` on, or the end of the bytes.
#[inline(always)]
fn stop_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = Block::at(bytes, at) {
        let stops = block.stops_of_string();
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}
