//! Tokens of a source. Works on bytes; every boundary it returns is a character boundary, because it only stops
//! before or after ASCII.

use std::ops::Range;

use crate::problem::{Problem, ProblemKind};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    End,
    Name(String),
    /// A field name in backticks, for names that are not identifiers.
    Quoted(String),
    Int(u64),
    Double(f64),
    Text(String),
    /// `b"…"` and `1u`: parts of the language that conditions do not have, kept so that they are refused by name.
    Bytes,
    Unsigned,
    /// Operators and brackets.
    Sign(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct Spanned {
    pub(crate) token: Token,
    pub(crate) range: Range<usize>,
}

/// Longer signs first: the first that fits is taken.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}",
];

pub(crate) fn tokens(source: &str) -> Result<Vec<Spanned>, Problem> {
    let mut lexer = Lexer { source, bytes: source.as_bytes(), at: 0 };
    let mut tokens = Vec::new();
    loop {
        let next = lexer.next()?;
        let end = next.token == Token::End;
        tokens.push(next);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    bytes: &'a [u8],
    at: usize,
}

fn syntax(range: Range<usize>, message: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Syntax, range, message)
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn next(&mut self) -> Result<Spanned, Problem> {
        self.space();
        let start = self.at;
        let Some(&first) = self.bytes.get(start) else {
            return Ok(Spanned { token: Token::End, range: start..start });
        };
        let token = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => match self.prefixed_text()? {
                Some(token) => token,
                None => {
                    self.skip(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    Token::Name(self.source[start..self.at].to_owned())
                }
            },
            b'0'..=b'9' => self.number()?,
            b'.' if self.peek(1).is_ascii_digit() => self.number()?,
            b'"' | b'\'' => Token::Text(self.text(false)?),
            b'`' => self.quoted()?,
            _ => self.sign()?,
        };
        Ok(Spanned { token, range: start..self.at })
    }

    fn skip(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.bytes.get(self.at).is_some_and(|&byte| wanted(byte)) {
            self.at += 1;
        }
    }

    /// White space, and comments from `//` to the end of the line.
    fn space(&mut self) {
        loop {
            self.skip(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0c));
            if self.peek(0) != b'/' || self.peek(1) != b'/' {
                return;
            }
            self.skip(|byte| byte != b'\n');
        }
    }

    fn sign(&mut self) -> Result<Token, Problem> {
        let start = self.at;
        for sign in SIGNS {
            if self.bytes[start..].starts_with(sign.as_bytes()) {
                self.at += sign.len();
                return Ok(Token::Sign(sign));
            }
        }
        let character = self.source[start..].chars().next().map_or(1, char::len_utf8);
        let help = match self.bytes[start] {
            b'=' => Some("equality is `==`"),
            b'&' => Some("conjunction is `&&`"),
            b'|' => Some("disjunction is `||`"),
            _ => None,
        };
        let problem = syntax(start..start + character, "this character means nothing here");
        Err(match help {
            Some(help) => problem.with_help(help),
            None => problem,
        })
    }

    fn number(&mut self) -> Result<Token, Problem> {
        let start = self.at;
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X') {
            self.at += 2;
            self.skip(|byte| byte.is_ascii_hexdigit());
            let digits = &self.source[start + 2..self.at];
            let value = u64::from_str_radix(digits, 16)
                .map_err(|_| syntax(start..self.at, "this is no integer of 64 bits"))?;
            return self.integer(start, value);
        }
        self.skip(|byte| byte.is_ascii_digit());
        let mut double = false;
        if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() {
            double = true;
            self.at += 1;
            self.skip(|byte| byte.is_ascii_digit());
        }
        let signed = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + signed).is_ascii_digit() {
            double = true;
            self.at += 1 + signed;
            self.skip(|byte| byte.is_ascii_digit());
        }
        let text = &self.source[start..self.at];
        if !double {
            let value = text.parse().map_err(|_| syntax(start..self.at, "this is no integer of 64 bits"))?;
            return self.integer(start, value);
        }
        self.after_number(start)?;
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Token::Double(value)),
            _ => Err(syntax(start..self.at, "this number does not fit a double")),
        }
    }

    fn integer(&mut self, start: usize, value: u64) -> Result<Token, Problem> {
        if matches!(self.peek(0), b'u' | b'U') {
            self.at += 1;
            self.after_number(start)?;
            return Ok(Token::Unsigned);
        }
        self.after_number(start)?;
        Ok(Token::Int(value))
    }

    /// `12abc` is a slip of the pen, not two tokens.
    fn after_number(&mut self, start: usize) -> Result<(), Problem> {
        let end = self.at;
        self.skip(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if self.at > end {
            return Err(syntax(start..self.at, "a number cannot go on like this"));
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<Token, Problem> {
        let start = self.at;
        self.at += 1;
        self.skip(|byte| byte.is_ascii_alphanumeric() || b"_.-/ ".contains(&byte));
        if self.peek(0) != b'`' || self.at == start + 1 {
            return Err(syntax(
                start..self.at,
                "this name in backticks has no end, or a character it cannot have",
            ));
        }
        self.at += 1;
        Ok(Token::Quoted(self.source[start + 1..self.at - 1].to_owned()))
    }

    /// `r"…"`, `b"…"` and both together, or nothing if this is a name.
    fn prefixed_text(&mut self) -> Result<Option<Token>, Problem> {
        let (mut raw, mut bytes, mut length) = (false, false, 0);
        loop {
            match self.peek(length) {
                b'r' | b'R' if !raw => raw = true,
                b'b' | b'B' if !bytes => bytes = true,
                b'"' | b'\'' if length > 0 => break,
                _ => return Ok(None),
            }
            length += 1;
        }
        self.at += length;
        if bytes {
            // Escapes mean other things in bytes; only the end matters here.
            self.text_bounds(raw)?;
            return Ok(Some(Token::Bytes));
        }
        Ok(Some(Token::Text(self.text(raw)?)))
    }

    /// Goes behind a string and returns what is between its quotes, undecoded.
    fn text_bounds(&mut self, raw: bool) -> Result<Range<usize>, Problem> {
        let (start, quote) = (self.at, self.bytes[self.at]);
        let triple = self.peek(1) == quote && self.peek(2) == quote;
        let width = if triple { 3 } else { 1 };
        self.at += width;
        let first = self.at;
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte == quote && (!triple || (self.peek(1) == quote && self.peek(2) == quote)) {
                self.at += width;
                return Ok(first..self.at - width);
            }
            if !triple && matches!(byte, b'\n' | b'\r') {
                break;
            }
            // An escaped character may be a quote; one beyond ASCII is passed over byte by byte.
            self.at += if byte == b'\\' && !raw && self.peek(1).is_ascii() { 2 } else { 1 };
        }
        self.at = self.at.min(self.bytes.len());
        Err(syntax(start..self.at, "this string has no end"))
    }

    fn text(&mut self, raw: bool) -> Result<String, Problem> {
        let range = self.text_bounds(raw)?;
        let text = &self.source[range.clone()];
        if raw {
            return Ok(text.to_owned());
        }
        let mut decoded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.find('\\') {
            decoded.push_str(&rest[..next]);
            let at = range.end - rest.len() + next;
            let (character, length) = escape(&rest[next + 1..]).ok_or_else(|| {
                let width = rest[next + 1..].chars().next().map_or(0, char::len_utf8);
                syntax(at..at + 1 + width, "no such escape")
                    .with_help("write the backslash twice, or use a raw string such as r\"\\d\"")
            })?;
            decoded.push(character);
            rest = &rest[next + 1 + length..];
        }
        decoded.push_str(rest);
        Ok(decoded)
    }
}

/// The character that an escape means and the bytes it takes after the backslash.
fn escape(rest: &str) -> Option<(char, usize)> {
    let coded = |first: usize, length: usize, radix: u32| {
        let digits = rest.get(first..first + length)?;
        if !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
            return None;
        }
        Some((char::from_u32(u32::from_str_radix(digits, radix).ok()?)?, first + length))
    };
    let simple = match rest.as_bytes().first()? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'a' => '\u{7}',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'v' => '\u{b}',
        quote @ (b'\\' | b'"' | b'\'' | b'`' | b'?') => char::from(*quote),
        b'x' | b'X' => return coded(1, 2, 16),
        b'u' => return coded(1, 4, 16),
        b'U' => return coded(1, 8, 16),
        b'0'..=b'3' => return coded(0, 3, 8),
        _ => return None,
    };
    Some((simple, 1))
}
