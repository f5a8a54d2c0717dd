//! Tokens and keys by the prefixes their issuers document, with the check they carry where there is one.

mod shapes;
mod tokens;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{View, Word, marks};
use crate::class::Class;
use crate::flat::{ALNUM, DIGIT, UPPER};
use tokens::{Body, TOKENS};

/// Tokens by the low six bits of the first two bytes of their prefix: the number behind the first of them, 0 for none.
/// Most words end here.
static FIRST: [[u8; 64]; 64] = {
    let mut table = [[0_u8; 64]; 64];
    let mut at = TOKENS.len();
    while at > 0 {
        let bytes = TOKENS[at - 1].prefix.as_bytes();
        table[(bytes[0] & 63) as usize][(bytes[1] & 63) as usize] = at as u8;
        at -= 1;
    }
    table
};

/// For each token the number behind the next one whose prefix begins with the same bits, 0 for none.
static NEXT: [u8; TOKENS.len()] = {
    let mut table = [0_u8; TOKENS.len()];
    let mut at = 0;
    while at < TOKENS.len() {
        let here = TOKENS[at].prefix.as_bytes();
        let mut other = TOKENS.len();
        while other > at + 1 {
            let bytes = TOKENS[other - 1].prefix.as_bytes();
            if bytes[0] & 63 == here[0] & 63 && bytes[1] & 63 == here[1] & 63 {
                table[at] = other as u8;
            }
            other -= 1;
        }
        at += 1;
    }
    table
};

// INVARIANT: the number behind every token fits a byte.
const _: () = assert!(TOKENS.len() < u8::MAX as usize);

/// The shortest token.
const TOKEN_BYTES_MIN: usize = 24;

/// A secret access key of AWS.
const SECRET_KEY_BYTES: usize = 40;

/// The ids of AWS begin with the kind of their owner.
const AWS_KINDS: &[&[u8; 4]] =
    &[b"AKIA", b"ASIA", b"AROA", b"AIDA", b"AGPA", b"AIPA", b"ANPA", b"ANVA", b"APKA", b"ABIA", b"ACCA"];

impl View<'_> {
    /// A word that may begin a token; where to go on, or its start where it begins none.
    #[inline]
    pub(super) fn secret(&mut self, word: Word<'_>) -> usize {
        let bytes = word.bytes;
        if let Some(end) = self.secret_key(word) {
            return end;
        }
        let Some(&[first, second]) = bytes.first_chunk::<2>() else { return word.start };
        if first == b'A' && bytes.len() == 20 {
            let after = self.aws_id(word);
            if after > word.start {
                return after;
            }
        }
        if first == b'e' && bytes.starts_with(b"eyJ") {
            return self.jwt(word);
        }
        let first = FIRST[(first & 63) as usize][(second & 63) as usize];
        if first != 0 && self.bytes.len() - word.start >= TOKEN_BYTES_MIN {
            let after = self.token(word, first);
            if after > word.start {
                return after;
            }
        }
        self.shaped_token(word)
    }

    /// `first` is the number behind the first token that may begin so.
    fn token(&mut self, word: Word<'_>, first: u8) -> usize {
        let rest = &self.bytes[word.start..];
        // A token is no part of a longer name.
        if matches!(self.byte_before(word.start), Some(b'_' | b'-')) {
            return word.start;
        }
        let mut number = usize::from(first);
        while number > 0 {
            let token = &TOKENS[number - 1];
            number = usize::from(NEXT[number - 1]);
            if !rest.starts_with(token.prefix.as_bytes()) {
                continue;
            }
            let body = &rest[token.prefix.len()..];
            let length = body.iter().take(token.max + 1).take_while(|byte| token.body.allows(**byte)).count();
            let body = &body[..length];
            if !(token.min..=token.max).contains(&length) || is_placeholder(body) {
                continue;
            }
            let checked = matches!(token.class, Class::GITHUB_TOKEN | Class::NPM_TOKEN) && has_crc(body);
            let end = word.start + token.prefix.len() + length;
            let start = self.lead(word.start, token.prefix);
            self.offer(token.class, start, end, if checked { 60 } else { 42 });
            return end;
        }
        word.start
    }

    fn aws_id(&mut self, word: Word<'_>) -> usize {
        let (kind, body) = word.bytes.split_at(4);
        let is_id = AWS_KINDS.iter().any(|known| kind == *known)
            && body.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
        // The documentation's own keys end so.
        if !is_id || body.ends_with(b"EXAMPLE") || is_placeholder(body) {
            return word.start;
        }
        self.offer(Class::AWS_KEY, word.start, word.end, 45);
        word.end
    }

    /// Three parts with dots between; the first is a JSON object with `alg`.
    fn jwt(&mut self, word: Word<'_>) -> usize {
        // Inside a longer run it is no beginning, and looking on from each place would take the square of the time.
        if matches!(self.byte_before(word.start), Some(b'-' | b'_')) {
            return word.start;
        }
        let rest = &self.bytes[word.start..];
        let part = |from: usize| rest[from..].iter().take_while(|byte| Body::Url.allows(**byte)).count();
        let header = part(0);
        if rest.get(header) != Some(&b'.') {
            return word.start;
        }
        let claims = header + 1 + part(header + 1);
        if claims == header + 1 || rest.get(claims) != Some(&b'.') {
            return word.start;
        }
        let mut end = claims + 1 + part(claims + 1);
        // An encrypted one has five parts.
        for _ in 0..2 {
            if rest.get(end) == Some(&b'.') && part(end + 1) > 0 {
                end = end + 1 + part(end + 1);
            }
        }
        let mut decoded = [0; 512];
        let head = &rest[..header.min(decoded.len() / 3 * 4)];
        let Ok(length) = URL_SAFE_NO_PAD.decode_slice(head, &mut decoded) else { return word.start };
        let decoded = &decoded[..length];
        if !decoded.starts_with(b"{") || memchr::memmem::find(decoded, b"\"alg\"").is_none() {
            return word.start;
        }
        let end = word.start + end;
        self.offer(Class::JWT, word.start, end, 50);
        end
    }

    /// Secret access keys have no prefix, only a length; they need a name. `word` is the first one of the key, whose
    /// alphabet has `/` and `+` too; its end, where it is one.
    #[inline]
    pub(super) fn secret_key(&mut self, word: Word<'_>) -> Option<usize> {
        let joins = |byte: Option<u8>| matches!(byte, Some(b'/' | b'+'));
        let is_alone = !joins(self.bytes.get(word.end).copied()) && !joins(self.byte_before(word.start));
        if is_alone && word.bytes.len() != SECRET_KEY_BYTES {
            return None;
        }
        self.secret_key_from(word)
    }

    fn secret_key_from(&mut self, word: Word<'_>) -> Option<usize> {
        let signs = self.bytes[..word.start].iter().rev().take(SECRET_KEY_BYTES);
        let start = word.start - signs.take_while(|byte| matches!(byte, b'/' | b'+')).count();
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+');
        if start > 0 && is_part(&self.bytes[start - 1]) {
            return None;
        }
        let end = start
            + self.bytes[start..].iter().take(SECRET_KEY_BYTES + 1).take_while(|byte| is_part(byte)).count();
        if end - start != SECRET_KEY_BYTES
            || !self.wanted.contains(Class::AWS_KEY)
            || !self.says(Class::AWS_KEY, start)
        {
            return None;
        }
        let text = &self.bytes[start..end];
        let kinds = text.iter().fold(0, |all, byte| all | marks(*byte));
        let is_key = kinds & DIGIT != 0
            && kinds & UPPER != 0
            && !is_placeholder(text)
            && !text.ends_with(b"EXAMPLEKEY");
        is_key.then(|| {
            self.offer(Class::AWS_KEY, start, end, 12);
            end
        })
    }

    /// A PEM frame around a private key, to its end or that of the text; where to go on.
    pub(super) fn private_key(&mut self, start: usize) -> usize {
        let label_start = start + b"-----BEGIN ".len();
        let rest = &self.bytes[label_start..];
        let Some(label) = memchr::memmem::find(&rest[..rest.len().min(64)], b"-----") else {
            return start + 5;
        };
        let is_private =
            rest[..label].ends_with(b"PRIVATE KEY") || rest[..label].ends_with(b"PRIVATE KEY BLOCK");
        if !is_private {
            return label_start + label + 5;
        }
        let body = label_start + label + 5;
        let end = memchr::memmem::find(&self.bytes[body..], b"-----END ").map_or(self.bytes.len(), |at| {
            let tail = body + at + 9;
            memchr::memmem::find(&self.bytes[tail..], b"-----").map_or(self.bytes.len(), |at| tail + at + 5)
        });
        // The frame alone, as documentation has it, is no key.
        let key = self.bytes[body..end].iter().filter(|byte| marks(**byte) & ALNUM != 0).count();
        if key >= 32 {
            self.offer(Class::PRIVATE_KEY, start, end, 50);
        }
        end
    }
}

/// Fewer different characters than chance gives: `xxxxxxxx`, `0000`, `abcabcabc`.
fn is_placeholder(body: &[u8]) -> bool {
    let mut seen = [0_u64; 4];
    body.iter().for_each(|byte| seen[(byte >> 6) as usize] |= 1 << (byte & 63));
    let different: u32 = seen.iter().map(|part| part.count_ones()).sum();
    different < 8
}

/// Tokens of GitHub and npm end in six characters, base 62, of the CRC-32 of what is before them.
fn has_crc(body: &[u8]) -> bool {
    let Some((random, check)) = body.split_last_chunk::<6>() else { return false };
    let mut crc = crc32fast::hash(random);
    let mut expected = [b'0'; 6];
    for place in expected.iter_mut().rev() {
        *place = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(crc % 62) as usize];
        crc /= 62;
    }
    expected == *check
}
