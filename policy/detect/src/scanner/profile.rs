//! The first look at a text, which for most is the last: could anything begin in it at all?

use crate::fold;

/// What bytes a text has, as far as that decides whether and how to look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    length: usize,
    marks: u8,
    pub(super) is_ascii: bool,
    /// Counted as far as matters.
    digits: u8,
    /// It may be JSON as a whole.
    pub(super) braces: bool,
}

const P_UPPER: u8 = 1;
const P_LOWER: u8 = 2;
const P_SIGN: u8 = 4;
const P_COLON: u8 = 8;
const P_SPACE: u8 = 16;
const P_DIGIT: u8 = 32;
const P_LESS: u8 = 64;
const P_HIGH: u8 = 128;

static PROFILE: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = match at as u8 {
            b'A'..=b'Z' => P_UPPER,
            b'a'..=b'z' => P_LOWER,
            b'@' | b'%' => P_SIGN,
            b':' => P_COLON,
            b' ' => P_SPACE,
            b'0'..=b'9' => P_DIGIT,
            b'<' => P_LESS,
            128.. => P_HIGH,
            _ => 0,
        };
        at += 1;
    }
    table
};

/// Fewer digits are no number of any class.
const DIGITS_MIN: u8 = 4;

#[inline]
pub(super) fn profile(bytes: &[u8]) -> Profile {
    let marks = bytes.iter().fold(0, |marks, byte| marks | PROFILE[*byte as usize]);
    let digits = if marks & P_DIGIT == 0 {
        0
    } else {
        bytes.iter().filter(|byte| byte.is_ascii_digit()).take(DIGITS_MIN as usize).count() as u8
    };
    let braces = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
        && matches!(bytes.trim_ascii_end().last(), Some(b'}' | b']'));
    Profile { length: bytes.len(), marks, is_ascii: marks & P_HIGH == 0, digits, braces }
}

impl Profile {
    /// Whether a detector or a layer could begin in it.
    #[inline]
    pub(super) fn is_candidate(&self, text: &str) -> bool {
        if self.digits >= DIGITS_MIN || self.marks & P_SIGN != 0 || self.braces {
            return self.length >= 6;
        }
        if self.marks & (P_COLON | P_LESS) != 0 && (self.digits > 0 || self.marks & P_UPPER != 0) {
            return self.length >= 6;
        }
        self.length >= 12 && self.marks & P_UPPER != 0 && has_long_word(text.as_bytes())
    }

    /// `@` or `%`.
    pub(super) fn has_sign(&self) -> bool {
        self.marks & P_SIGN != 0
    }

    /// Characters of more than one kind, as encodings have.
    pub(super) fn is_mixed(&self) -> bool {
        self.length >= 12
            && (self.marks & (P_UPPER | P_LOWER)).count_ones() + u32::from(self.marks & P_DIGIT != 0) >= 2
    }
}

/// Whether a name of a member may hold personal data itself.
pub(super) fn is_candidate(key: &str) -> bool {
    let profile = profile(key.as_bytes());
    profile.is_candidate(key) || !profile.is_ascii && fold::is_needed(key)
}

/// Sixteen letters and digits or more, as tokens and encodings without digits have, or eight capitals, as codes of
/// banks have.
fn has_long_word(bytes: &[u8]) -> bool {
    let (mut length, mut capitals) = (0, 0);
    bytes.iter().any(|byte| {
        length = if byte.is_ascii_alphanumeric() { length + 1 } else { 0 };
        capitals = if byte.is_ascii_uppercase() || byte.is_ascii_digit() { capitals + 1 } else { 0 };
        length >= 16 || capitals >= 8
    })
}

/// A time by RFC 3339 or a UUID, and nothing else: the commonest strings with digits.
pub(super) fn is_time_or_uuid(bytes: &[u8]) -> bool {
    match bytes.len() {
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
    }
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
