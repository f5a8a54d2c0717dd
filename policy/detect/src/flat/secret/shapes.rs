//! Tokens that begin with nothing of their own, and are told by their shape.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::tokens::Body;
use super::{View, Word, is_placeholder};
use crate::class::Class;
use crate::flat::{DIGIT, HEX, LOWER, UPPER, marks};

/// How sure the shape alone is.
const STRENGTH: i16 = 40;

impl View<'_> {
    /// A word in which or behind which such a token stands; where to go on, or its start where there is none.
    #[inline]
    pub(super) fn shaped_token(&mut self, word: Word<'_>) -> usize {
        let bytes = word.bytes;
        let next = self.bytes.get(word.end).copied();
        let end = match (bytes.len(), next) {
            (3, Some(b'=')) if bytes == b"sig" => self.shared_access(word),
            (2..=5, Some(b'~')) => self.client_secret(word),
            (17, Some(b'.')) if bytes.starts_with(b"pat") => self.access_token(word),
            (24..=28, Some(b'.')) if matches!(bytes[0], b'M' | b'N' | b'O') => self.bot(word),
            (32, Some(b'-')) => self.with_data_centre(word),
            _ => None,
        };
        let Some((start, end)) = end.filter(|(start, end)| !is_placeholder(&self.bytes[*start..*end])) else {
            return word.start;
        };
        self.offer(Class::PROVIDER_TOKEN, start, end, STRENGTH);
        end
    }

    /// So many bytes of an alphabet stand at a place.
    fn run(&self, at: usize, body: Body) -> usize {
        const RUN_BYTES_MAX: usize = 400;
        let rest = self.bytes.get(at..).unwrap_or_default();
        rest.iter().take(RUN_BYTES_MAX).take_while(|byte| body.allows(**byte)).count()
    }

    /// The signature of a shared access URL of Azure, among the other parameters of one.
    fn shared_access(&self, word: Word<'_>) -> Option<(usize, usize)> {
        const AROUND_BYTES: usize = 600;
        let start = word.end + 1;
        let length = self.run(start, Body::Percent);
        let from = word.start.saturating_sub(AROUND_BYTES);
        let around = &self.bytes[from..self.bytes.len().min(start + AROUND_BYTES)];
        let has = |name: &[u8]| memchr::memmem::find(around, name).is_some();
        let is_url = has(b"sv=") && (has(b"se=") || has(b"st=")) || has(b"sr=") && has(b"skn=");
        ((43..=100).contains(&length) && is_url).then_some((start, start + length))
    }

    /// `abc8Q~` and 31 to 34 characters: a client secret of Microsoft Entra.
    fn client_secret(&self, word: Word<'_>) -> Option<(usize, usize)> {
        let [.., digit, b'Q'] = *word.bytes else { return None };
        let start = word.end.checked_sub(5)?;
        let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'~');
        let behind = &self.bytes[word.end + 1..];
        let length = behind.iter().take(36).take_while(|byte| is_sign(byte)).count();
        let is_whole = digit.is_ascii_digit()
            && self.bytes[start..].iter().take(3).all(is_sign)
            && start.checked_sub(1).is_none_or(|at| marks(self.bytes[at]) == 0);
        ((31..=34).contains(&length) && is_whole).then_some((start, word.end + 1 + length))
    }

    /// A personal access token of Airtable: its id, and 64 hexadecimal digits.
    fn access_token(&self, word: Word<'_>) -> Option<(usize, usize)> {
        let secret = self.run(word.end + 1, Body::Hex);
        let end = word.end + 1 + secret;
        (secret == 64 && !self.continues(end)).then_some((word.start, end))
    }

    /// A token of a bot of Discord: its number in base64, a time, and a signature.
    fn bot(&self, word: Word<'_>) -> Option<(usize, usize)> {
        let number = STANDARD_NO_PAD.decode(word.bytes).ok()?;
        let time = self.run(word.end + 1, Body::Url);
        let signature = word.end + 1 + time + 1;
        let is_token = number.iter().all(u8::is_ascii_digit)
            && time == 6
            && self.bytes.get(signature - 1) == Some(&b'.')
            && (27..=40).contains(&self.run(signature, Body::Url));
        is_token.then(|| (word.start, signature + self.run(signature, Body::Url)))
    }

    /// A key of Mailchimp: 32 hexadecimal digits and its data centre, `-us21`.
    fn with_data_centre(&self, word: Word<'_>) -> Option<(usize, usize)> {
        let place = self.bytes[word.end..].strip_prefix(b"-us")?;
        let digits = place.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        let end = word.end + 3 + digits;
        let is_hex = word.bytes.iter().all(|byte| marks(*byte) & HEX != 0);
        (is_hex && matches!(digits, 1 | 2) && !self.continues(end)).then_some((word.start, end))
    }

    /// A colon in front of `AA`: the token of a bot of Telegram, its number before it. Where to go on.
    pub(in crate::flat) fn numbered_bot(&mut self, colon: usize) -> usize {
        const KEY_BYTES: usize = 35;
        let number =
            self.bytes[..colon].iter().rev().take(12).take_while(|byte| byte.is_ascii_digit()).count();
        let start = colon - number;
        let key = self.run(colon + 1, Body::Url);
        let kinds = self.bytes[colon + 1..colon + 1 + key].iter().fold(0, |all, byte| all | marks(*byte));
        let is_mixed = kinds & (UPPER | LOWER | DIGIT) == UPPER | LOWER | DIGIT;
        // The path of its URLs has `bot` straight before the number.
        let before = &self.bytes[..start];
        let starts =
            before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric()) || before.ends_with(b"bot");
        if !(8..=10).contains(&number) || key != KEY_BYTES || !is_mixed || !starts {
            return self.colons(colon);
        }
        let end = colon + 1 + key;
        self.offer(Class::PROVIDER_TOKEN, start, end, STRENGTH);
        end
    }

    /// Where a token begins whose prefix is in its middle: `abcdefghijklmn.atlasv1.…`.
    pub(super) fn lead(&self, start: usize, prefix: &str) -> usize {
        const LEAD_BYTES: usize = 14;
        let is_led = prefix == "atlasv1." && self.byte_before(start) == Some(b'.');
        let Some(lead) = start.checked_sub(LEAD_BYTES + 1).filter(|_| is_led) else { return start };
        let is_word = self.bytes[lead..start - 1].iter().all(u8::is_ascii_alphanumeric)
            && lead.checked_sub(1).is_none_or(|at| !self.bytes[at].is_ascii_alphanumeric());
        if is_word { lead } else { start }
    }
}
