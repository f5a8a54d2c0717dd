//! How a protected value is recognised: the names of protections in `govprotected`, and the exact grammar of what
//! stands in place of a value (POLICY §5).
//!
//! A publisher can write such values too. That gains nothing: each is either of a fixed alphabet and length, or, for a
//! sealed one, checked not to be text in another coat.

use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use meshbridge_detect::Class;

use super::{Ladder, Protection, Scope};
use crate::keys::{KeyRef, KeyTable, is_key_name};

/// Bytes beside the padded value in a sealed one: what makes its key unique, and the tag.
pub(crate) const SEAL_OVERHEAD_BYTES: usize = SALT_BYTES + 16;
pub(crate) const SALT_BYTES: usize = 16;
/// Values are padded to a multiple of this, so that their length shows roughly only.
pub(crate) const SEAL_BLOCK_BYTES: usize = 16;
/// Longer than the name of any key or class.
const LABEL_BYTES_MAX: usize = 72;
pub(crate) const PSEUDONYM_CHARS: usize = 26;
pub(crate) const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A protection as `govprotected` spells it: `mask:0:4`, `pseudonymise:eu-tokens.1:destination`.
pub(crate) struct Form<'a>(pub(crate) Protection, pub(crate) &'a KeyTable);

impl fmt::Display for Form<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Form(protection, keys) = self;
        match *protection {
            Protection::Drop => f.write_str("drop"),
            Protection::Redact => f.write_str("redact"),
            Protection::Hash => f.write_str("hash"),
            Protection::Mask { first, last } => write!(f, "mask:{first}:{last}"),
            Protection::Pseudonymise { key, scope } => {
                write!(f, "pseudonymise:{}:{}", keys.label(key), scope.name())
            }
            Protection::Encrypt { key } => write!(f, "encrypt:{}", keys.label(key)),
            Protection::Generalise { ladder, rung } => {
                write!(f, "generalise:{}", ladder.rungs().get(usize::from(rung)).unwrap_or(&"-"))
            }
        }
    }
}

impl Form<'_> {
    pub(crate) fn parse(text: &str, keys: &KeyTable) -> Option<Protection> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        Some(match (kind, rest) {
            ("drop", "") => Protection::Drop,
            ("redact", "") => Protection::Redact,
            ("hash", "") => Protection::Hash,
            ("mask", rest) => {
                let (first, last) = rest.split_once(':')?;
                Protection::Mask { first: first.parse().ok()?, last: last.parse().ok()? }
            }
            ("pseudonymise", rest) => {
                let (key, scope) = rest.split_once(':')?;
                Protection::Pseudonymise { key: key_ref(key, keys), scope: Scope::named(scope)? }
            }
            ("encrypt", key) => Protection::Encrypt { key: key_ref(key, keys) },
            ("generalise", rung) => {
                let (ladder, rung) = Ladder::named(rung)?;
                Protection::Generalise { ladder, rung }
            }
            _ => return None,
        })
    }
}

fn key_ref(label: &str, keys: &KeyTable) -> KeyRef {
    let parts = label.split_once('.').and_then(|(name, version)| Some((name, version.parse().ok()?)));
    parts.and_then(|(name, version)| keys.find(name, version)).unwrap_or(KeyRef::FOREIGN)
}

/// What stands in place of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Redacted,
    Hash,
    /// Its scope is not in it.
    Pseudonym {
        key: &'a str,
        version: u32,
    },
    Sealed {
        key: &'a str,
        version: u32,
        body: &'a str,
    },
}

impl Token<'_> {
    /// The form it says. A pseudonym whose scope nobody listed may link across the whole federation.
    pub(crate) fn protection(self, keys: &KeyTable) -> Protection {
        let find = |name, version| keys.find(name, version).unwrap_or(KeyRef::FOREIGN);
        match self {
            Token::Redacted => Protection::Redact,
            Token::Hash => Protection::Hash,
            Token::Pseudonym { key, version } => {
                Protection::Pseudonymise { key: find(key, version), scope: Scope::FEDERATION }
            }
            Token::Sealed { key, version, .. } => Protection::Encrypt { key: find(key, version) },
        }
    }
}

/// The token that `text` begins with, and its length.
pub(crate) fn token_at(text: &str) -> Option<(usize, Token<'_>)> {
    let (length, token) = match text.as_bytes().first()? {
        b'[' => redacted(text)?,
        b's' => {
            let digits = text.strip_prefix("sha256_")?.as_bytes().get(..64)?;
            let is_hex = digits.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
            (is_hex.then_some("sha256_".len() + 64)?, Token::Hash)
        }
        b't' => {
            let (key, version, body) = labelled(text.strip_prefix("tok_")?)?;
            let symbols = body.as_bytes().get(..PSEUDONYM_CHARS)?;
            let value = |symbol: &u8| BASE32.iter().position(|one| one == symbol);
            let is_base32 = symbols.iter().all(|symbol| value(symbol).is_some());
            // 26 symbols hold 130 bits; the last two of them are zero.
            let ends_well = symbols.last().and_then(value).is_some_and(|value| value % 4 == 0);
            (is_base32 && ends_well).then_some(())?;
            (text.len() - body.len() + PSEUDONYM_CHARS, Token::Pseudonym { key, version })
        }
        b'e' => {
            let (key, version, body) = labelled(text.strip_prefix("enc_")?)?;
            let length = sealed_length(body)?;
            let token = Token::Sealed { key, version, body: &body[..length] };
            return Some((text.len() - body.len() + length, token));
        }
        _ => return None,
    };
    let is_end = text.as_bytes().get(length).is_none_or(|b| !b.is_ascii_alphanumeric());
    (is_end || token == Token::Redacted).then_some((length, token))
}

/// The token that all of `text` is; of the name of a member also one with the number that keeps it unique.
pub(crate) fn whole_token(text: &str) -> Option<Token<'_>> {
    let (length, token) = token_at(text)?;
    (length == text.len()).then_some(token)
}

/// As [`whole_token`], for the name of a member: it may end in the number that keeps it unique.
pub(crate) fn is_token_name(name: &str) -> bool {
    let Some((length, _)) = token_at(name) else { return false };
    let number = &name[length..];
    number.is_empty()
        || number
            .strip_prefix('#')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// All tokens in a text, in order.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = (Range<usize>, Token<'_>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = text.as_bytes().get(at..)?;
            let start = at + rest.iter().position(|b| matches!(b, b'[' | b's' | b't' | b'e'))?;
            let bytes = text.as_bytes();
            let joined = start > 0 && (bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] == b'_');
            at = start + 1;
            if joined && bytes[start] != b'[' {
                continue;
            }
            if let Some((length, token)) = token_at(&text[start..]) {
                at = start + length;
                return Some((start..at, token));
            }
        }
    })
}

fn redacted(text: &str) -> Option<(usize, Token<'_>)> {
    let inner = text.strip_prefix("[redacted")?;
    // Bounded, or a text of beginnings would be searched to its end from each of them.
    let end = inner.bytes().take(LABEL_BYTES_MAX).position(|b| b == b']')?;
    let known = match &inner[..end] {
        "" => true,
        class => class.strip_prefix(':').is_some_and(|name| Class::named(name).is_some()),
    };
    known.then_some(("[redacted".len() + end + 1, Token::Redacted))
}

/// `<key>.<version>_<body>`.
fn labelled(text: &str) -> Option<(&str, u32, &str)> {
    let position = |text: &str, wanted| text.bytes().take(LABEL_BYTES_MAX).position(|b| b == wanted);
    let (key, rest) = text.split_at(position(text, b'.')?);
    let (version, body) = rest[1..].split_at(position(&rest[1..], b'_')?);
    let body = &body[1..];
    let is_number = version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
    (is_key_name(key) && is_number).then_some((key, version.parse().ok()?, body))
}

/// Length of the sealed value that `text` begins with. What follows it may be made of the same symbols, so the longest
/// length that a sealed value can have is taken.
fn sealed_length(text: &str) -> Option<usize> {
    let is_symbol = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let run = text.bytes().position(|b| !is_symbol(&b)).unwrap_or(text.len());
    let symbols = |blocks: usize| ((SEAL_OVERHEAD_BYTES + blocks * SEAL_BLOCK_BYTES) * 4).div_ceil(3);
    let mut blocks = (run * 3 / 4).checked_sub(SEAL_OVERHEAD_BYTES)? / SEAL_BLOCK_BYTES;
    // A line of dashes must not make this quadratic; text that follows a value directly is short.
    for _ in 0..8 {
        let length = symbols(blocks.max(1));
        let ends = text.as_bytes().get(length).is_none_or(|b| !b.is_ascii_alphanumeric());
        if length <= run && ends && is_ciphertext(&text[..length]) {
            return Some(length);
        }
        blocks = blocks.checked_sub(1).filter(|blocks| *blocks > 0)?;
    }
    None
}

/// Whether the symbols decode, and not to text: nobody hides a readable value behind this prefix. Of 48 random bytes,
/// fewer than one in 10^12 are UTF-8.
fn is_ciphertext(symbols: &str) -> bool {
    URL_SAFE_NO_PAD.decode(symbols).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_err())
}
