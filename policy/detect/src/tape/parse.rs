//! From text to nodes. One loop with the open containers on a stack of its own, so depth costs no call frames.

use super::{Kind, Node, Tape, unescape};

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
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.expected("the end")) }
    }

    /// Reads members of the object `open` until one of them opens a container, which becomes `open`, or the object
    /// ends, and what it stands in becomes `open`. `false` after the end of the root.
    fn in_object(&mut self, open: &mut u32) -> Result<bool, ParseError> {
        let object = *open;
        // Where the object has members, we come back to it after one of them.
        let mut is_first = self.nodes.len() == object as usize + 1;
        loop {
            self.space();
            match self.peek() {
                Some(b'}') => return Ok(self.close(open)),
                Some(b',') if !is_first => {
                    self.at += 1;
                    self.space();
                }
                _ if is_first => {}
                _ => return Err(self.expected("`,` or `}`")),
            }
            is_first = false;
            if self.peek() != Some(b'"') {
                return Err(self.expected("the name of a member"));
            }
            let key = self.index();
            self.string(Kind::Key, object)?;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.expected("`:`"));
            }
            self.at += 1;
            self.space();
            if self.value(key)? {
                *open = key + 1;
                return Ok(true);
            }
            self.nodes[key as usize].next = self.index();
        }
    }

    fn in_array(&mut self, open: &mut u32) -> Result<bool, ParseError> {
        let array = *open;
        let mut is_first = self.nodes.len() == array as usize + 1;
        loop {
            self.space();
            match self.peek() {
                Some(b']') => return Ok(self.close(open)),
                Some(b',') if !is_first => {
                    self.at += 1;
                    self.space();
                }
                _ if is_first => {}
                _ => return Err(self.expected("`,` or `]`")),
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
    fn value(&mut self, parent: u32) -> Result<bool, ParseError> {
        match self.peek() {
            Some(b'"') => self.string(Kind::String, parent)?,
            Some(b'{') => return self.open(Kind::Object, parent),
            Some(b'[') => return self.open(Kind::Array, parent),
            Some(b'-' | b'0'..=b'9') => self.number(parent)?,
            Some(b't') => self.word(b"true", Kind::True, parent)?,
            Some(b'f') => self.word(b"false", Kind::False, parent)?,
            Some(b'n') => self.word(b"null", Kind::Null, parent)?,
            _ => return Err(self.expected("a value")),
        }
        Ok(false)
    }

    fn open(&mut self, kind: Kind, parent: u32) -> Result<bool, ParseError> {
        if self.depth == DEPTH_MAX {
            return Err(ParseError::Depth { at: self.at as u32 });
        }
        self.depth += 1;
        let start = self.at;
        self.at += 1;
        self.push(kind, start, parent, false);
        Ok(true)
    }

    fn word(&mut self, word: &'static [u8], kind: Kind, parent: u32) -> Result<(), ParseError> {
        let start = self.at;
        if !self.bytes[start..].starts_with(word) {
            return Err(self.expected("a value"));
        }
        self.at += word.len();
        self.push(kind, start, parent, false);
        Ok(())
    }

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
        self.push(Kind::Number, start, parent, false);
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), ParseError> {
        let count = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.expected("a digit")) } else { Ok(()) }
    }

    fn string(&mut self, kind: Kind, parent: u32) -> Result<(), ParseError> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.push(kind, start, parent, escaped);
                    return Ok(());
                }
                Some(b'\\') => {
                    escaped = true;
                    let at = self.at as u32;
                    let (_, length) =
                        unescape::escape(&self.bytes[self.at..]).map_err(|fault| match fault {
                            unescape::Fault::Invalid => ParseError::Escape { at },
                            unescape::Fault::LoneSurrogate => ParseError::LoneSurrogate { at },
                        })?;
                    self.at += length;
                }
                Some(_) => return Err(ParseError::Control { at: self.at as u32 }),
                None => return Err(self.expected("`\"`")),
            }
        }
    }

    fn push(&mut self, kind: Kind, start: usize, parent: u32, escaped: bool) {
        let next = self.index() + 1;
        self.nodes.push(Node { start: start as u32, end: self.at as u32, next, parent, kind, escaped });
    }

    fn index(&self) -> u32 {
        self.nodes.len() as u32
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expected(&self, expected: &'static str) -> ParseError {
        ParseError::Expected { expected, at: self.at as u32 }
    }
}

/// How many bytes come before the first quote, backslash or control character: eight at a time, by the carries of a
/// subtraction ("Bit Twiddling Hacks", determine if a word has a byte less than n). A false alarm can only stand
/// above a true one, and the lowest is taken.
#[inline]
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let stops = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let stops = stops & HIGHS;
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|&&byte| byte >= 0x20 && byte != b'"' && byte != b'\\').count()
}
