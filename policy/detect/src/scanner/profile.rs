//! The first look at a text, which for most is the last: could anything begin in it at all?

use crate::block::{BLOCK, Block};
use crate::fold;

/// Where bytes of a kind stand in the first of a text, a bit for each byte, the first one lowest.
#[derive(Clone, Copy, Debug, Default)]
struct Kinds {
    digit: u64,
    upper: u64,
    lower: u64,
    /// `-` and `_`, which tokens have among their letters.
    joint: u64,
}

/// So many bytes have a bit.
const MAPPED: usize = u64::BITS as usize;

/// What bytes a text has, as far as that decides whether and how to look at it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Profile {
    length: usize,
    first: Kinds,
    /// How many digits there are.
    digits: u32,
    has_upper: bool,
    has_lower: bool,
    /// `@`, `%` or `&`.
    pub(super) has_sign: bool,
    /// `:` or `<`.
    has_mark: bool,
    pub(super) is_ascii: bool,
    /// It may be JSON as a whole.
    pub(super) braces: bool,
    /// It has lines, names of values, or signs of escapes. Of strings as they stand this is not asked.
    pub(super) is_written: bool,
}

/// Fewer digits are no number of any class.
const DIGITS_MIN: u32 = 4;

/// Nothing is found in shorter texts, unless the name of the field says what they are.
pub(super) const LENGTH_MIN: usize = 6;

/// Accounts and numbers of companies with separators are longer than this.
const SPACED_BYTES_MIN: usize = 18;

/// The profile of `bytes[start..end]`. What stands behind may be looked at, and counts for nothing.
#[inline(always)]
pub(super) fn profile_of(bytes: &[u8], start: usize, end: usize) -> Profile {
    let length = end - start;
    let mut profile = Profile { length, ..Profile::default() };
    let (mut upper_any, mut lower_any, mut sign, mut mark, mut high) = (0, 0, 0, 0, 0);
    let mut at = 0;
    while at < length {
        let block = match Block::at(bytes, start + at) {
            Some(block) => block,
            None => Block::short(bytes.get(start + at..end).unwrap_or_default()),
        };
        let inside = if length - at >= BLOCK { 0xffff } else { (1_u32 << (length - at)) - 1 };
        let digit = block.is_within(b'0', b'9') & inside;
        let upper = block.is_within(b'A', b'Z') & inside;
        let lower = block.is_within(b'a', b'z') & inside;
        if at < MAPPED {
            profile.first.digit |= u64::from(digit) << at;
            profile.first.upper |= u64::from(upper) << at;
            profile.first.lower |= u64::from(lower) << at;
            profile.first.joint |= u64::from(block.is_either(b'-', b'_') & inside) << at;
        }
        profile.digits += digit.count_ones();
        upper_any |= upper;
        lower_any |= lower;
        sign |= (block.is(b'@') | block.is_within(b'%', b'&')) & inside;
        mark |= block.is_either(b':', b'<') & inside;
        high |= block.is_high() & inside;
        at += BLOCK;
    }
    profile.has_upper = upper_any != 0;
    profile.has_lower = lower_any != 0;
    profile.has_sign = sign != 0;
    profile.has_mark = mark != 0;
    profile.is_ascii = high == 0;
    if let Some(b'{' | b'[' | b'"' | b'\t'..=b' ') = bytes.get(start) {
        profile.braces = has_braces(bytes.get(start..end).unwrap_or_default());
    }
    profile
}

pub(super) fn profile(bytes: &[u8]) -> Profile {
    profile_of(bytes, 0, bytes.len())
}

fn has_braces(bytes: &[u8]) -> bool {
    match (bytes.trim_ascii_start().first(), bytes.trim_ascii_end().last()) {
        (Some(b'{' | b'['), Some(b'}' | b']')) => true,
        // Without an escape there is nothing in a string of JSON that does not stand there as it is.
        (Some(b'"'), Some(b'"')) => memchr::memchr(b'\\', bytes).is_some(),
        _ => false,
    }
}

impl Profile {
    /// With what a text has that is not a string as it stands.
    pub(super) fn of_written(self, text: &[u8]) -> Profile {
        let is_written =
            memchr::memchr3(b'\n', b'\\', b'"', text).is_some() || memchr::memchr(b'=', text).is_some();
        Profile { is_written, ..self }
    }

    /// Whether a detector or a layer could begin in the text.
    #[inline(always)]
    pub(super) fn is_candidate(&self, text: &[u8]) -> bool {
        if self.length < LENGTH_MIN {
            return false;
        }
        if self.digits >= DIGITS_MIN || self.has_sign || self.braces || self.is_written {
            return true;
        }
        self.has_mark && (self.digits > 0 || self.has_upper || !self.is_ascii)
            || self.length >= 12 && self.has_upper && self.has_long_word(text)
    }

    /// Characters of more than one kind, as encodings have.
    pub(super) fn is_mixed(&self) -> bool {
        self.length >= 12
            && u32::from(self.has_upper) + u32::from(self.has_lower) + u32::from(self.digits > 0) >= 2
    }

    /// Sixteen letters, digits, `-` and `_` or more, as tokens and encodings without digits have, eight capitals, as codes of
    /// banks have, or what accounts and companies begin and end with.
    fn has_long_word(&self, text: &[u8]) -> bool {
        if self.length > MAPPED {
            return has_long_word(text) || self.digits >= 2 && has_spaced_code(text);
        }
        let Kinds { digit, upper, lower, joint } = self.first;
        let code = digit | upper;
        // `LV71`, and behind it nothing but letters may come; `/ABCD-34`, and nothing but letters before it.
        let account = upper & upper >> 1 & digit >> 2 & digit >> 3;
        let company = joint & digit >> 1 & digit >> 2 & code << 1 & code << 2 & code << 3 & code << 4;
        account | company != 0 && self.length >= SPACED_BYTES_MIN
            || run_of(digit | upper | lower | joint, 16)
            || run_of(code, 8)
    }

    /// A time by RFC 3339 or a UUID, and nothing else: the commonest strings with digits.
    #[inline(always)]
    pub(super) fn is_time_or_uuid(&self, text: &[u8]) -> bool {
        const DASHES: u64 = 1 << 8 | 1 << 13 | 1 << 18 | 1 << 23;
        const SEPARATORS: u64 = 1 << 4 | 1 << 7 | 1 << 10 | 1 << 13 | 1 << 16;
        let Kinds { digit, upper, lower, .. } = self.first;
        match self.length {
            36 => {
                (digit | upper | lower) == ((1 << 36) - 1) & !DASHES
                    && [text[8], text[13], text[18], text[23]] == *b"----"
                    && text.iter().fold(true, |all, byte| all & (byte.is_ascii_hexdigit() | (*byte == b'-')))
            }
            19..=35 => {
                digit & ((1 << 19) - 1) == ((1 << 19) - 1) & !SEPARATORS
                    && [text[4], text[7], text[13], text[16]] == *b"--::"
                    && matches!(text[10], b'T' | b't' | b' ')
                    && text[19..].iter().all(|byte| byte.is_ascii_digit() || b".+-:Zz".contains(byte))
            }
            _ => false,
        }
    }
}

/// Signs by which layers and names of values are known. Few texts have any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Signs {
    /// `=`
    pub(super) equals: bool,
    /// `>`
    pub(super) tag: bool,
    /// `&` or a backslash.
    pub(super) escape: bool,
    /// `{` or `[`
    pub(super) brace: bool,
    /// `+`
    pub(super) plus: bool,
}

impl Signs {
    pub(super) fn of(bytes: &[u8]) -> Signs {
        let mut signs = Signs::default();
        let mut add = |block: Block| {
            let (equals, tag) = (block.is(b'='), block.is(b'>'));
            let (escape, brace) = (block.is_either(b'&', b'\\'), block.is_either(b'{', b'['));
            let plus = block.is(b'+');
            if equals | tag | escape | brace | plus != 0 {
                signs.equals |= equals != 0;
                signs.tag |= tag != 0;
                signs.escape |= escape != 0;
                signs.brace |= brace != 0;
                signs.plus |= plus != 0;
            }
        };
        let mut at = 0;
        while let Some(block) = Block::at(bytes, at) {
            add(block);
            at += BLOCK;
        }
        match bytes.last_chunk::<BLOCK>() {
            Some(last) => add(Block::of(last)),
            None => add(Block::short(bytes)),
        }
        signs
    }
}

/// Whether so many bits, a power of two, stand beside each other.
fn run_of(mut bits: u64, count: u32) -> bool {
    let mut length = 1;
    while length < count {
        bits &= bits >> length;
        length *= 2;
    }
    bits != 0
}

/// Whether a name of a member may hold personal data itself.
pub(super) fn is_candidate(key: &str) -> bool {
    let profile = profile(key.as_bytes());
    profile.is_candidate(key.as_bytes()) || !profile.is_ascii && fold::is_needed(key)
}

/// `LV71` with letters behind it, or `/ABCD-34` with letters before it.
fn has_spaced_code(bytes: &[u8]) -> bool {
    let is_code = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let is_account = |part: &[u8]| {
        part[..2].iter().all(u8::is_ascii_uppercase) && part[2..].iter().all(u8::is_ascii_digit)
    };
    let is_company = |part: &[u8]| {
        part[..4].iter().all(is_code)
            && matches!(part[4], b'-' | b'_')
            && part[5..].iter().all(u8::is_ascii_digit)
    };
    bytes.len() >= SPACED_BYTES_MIN && (bytes.windows(4).any(is_account) || bytes.windows(7).any(is_company))
}

fn has_long_word(bytes: &[u8]) -> bool {
    let (mut length, mut capitals) = (0, 0);
    bytes.iter().any(|byte| {
        length = if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') { length + 1 } else { 0 };
        capitals = if byte.is_ascii_uppercase() || byte.is_ascii_digit() { capitals + 1 } else { 0 };
        length >= 16 || capitals >= 8
    })
}

/// Writes the digits of a whole number that is written in another way, `4.2e15` or `42.0`; how many.
pub(super) fn expand(raw: &str, digits: &mut [u8; 40]) -> Option<usize> {
    let raw = raw.strip_prefix('-').unwrap_or(raw);
    let (mantissa, exponent) = match raw.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (raw, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let point = usize::try_from(point).ok().filter(|point| (7..=digits.len()).contains(point))?;
    let mut all = whole.bytes().chain(fraction.bytes());
    for digit in &mut digits[..point] {
        *digit = all.next().unwrap_or(b'0');
    }
    // Behind the point there is nothing but zeros, or it is no whole number.
    all.all(|byte| byte == b'0').then_some(point)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same byte by byte.
    fn by_bytes(text: &str) -> (bool, bool, bool) {
        let bytes = text.as_bytes();
        let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
        let upper = bytes.iter().any(u8::is_ascii_uppercase);
        let lower = bytes.iter().any(u8::is_ascii_lowercase);
        let has = |one: &[u8]| bytes.iter().any(|byte| one.contains(byte));
        let is_candidate = bytes.len() >= LENGTH_MIN
            && (digits >= 4
                || has(b"@%&")
                || has_braces(bytes)
                || has(b":<") && (digits > 0 || upper || !text.is_ascii())
                || bytes.len() >= 12 && upper && (has_long_word(bytes) || has_spaced_code(bytes)));
        let kinds = u32::from(upper) + u32::from(lower) + u32::from(digits > 0);
        let is_time_or_uuid = match bytes.len() {
            36 => bytes.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            }),
            19..=35 => {
                [bytes[4], bytes[7], bytes[13], bytes[16]] == *b"--::"
                    && matches!(bytes[10], b'T' | b't' | b' ')
                    && bytes.iter().enumerate().all(|(at, byte)| match at {
                        4 | 7 | 10 | 13 | 16 => true,
                        ..19 => byte.is_ascii_digit(),
                        _ => byte.is_ascii_digit() || b".+-:Zz".contains(byte),
                    })
            }
            _ => false,
        };
        (is_candidate, bytes.len() >= 12 && kinds >= 2, is_time_or_uuid)
    }

    proptest! {
        #[test]
        fn blocks_say_what_bytes_say(
            text in "[a-z]{0,20}|[A-Z]{2}[0-9]{2}( [A-Z]{4}){3,5}|[A-Z]{2}.[A-Z]{3}.[A-Z]{3}/[A-Z]{4}-[0-9]{2}|[A-Z0-9]{0,20}|[ -~]{0,90}|[a-zA-Z0-9 é:<@%&]{0,80}|\\PC{0,40}| ?[\"{\\[].{0,9}[\"}\\]] ?|\
                [0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-fg]{4}-[0-9a-f]{12}|\
                20[0-9]{2}-[0-9]{2}-[0-9]{2}[Tt x][0-9]{2}:[0-9]{2}:[0-9]{2}[.+:0-9Zz-]{0,18}",
            before in "[ -~]{0,20}",
            behind in "[ -~]{0,40}",
        ) {
            let all = format!("{before}{text}{behind}");
            let found = profile_of(all.as_bytes(), before.len(), before.len() + text.len());
            let bytes = text.as_bytes();
            let told = (found.is_candidate(bytes), found.is_mixed(), found.is_time_or_uuid(bytes));
            prop_assert_eq!(told, by_bytes(&text), "{:?}", text);
            prop_assert_eq!(found.is_ascii, text.is_ascii());
        }
    }
}
