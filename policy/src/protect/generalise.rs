//! Ladders: a value, and less of it (POLICY §5). What a ladder cannot read has no rung and is redacted by the caller.
//! Every rung reads what it and the finer ones write, so that a value can be generalised further in place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protection::Ladder;

/// Digits of a number that are written out. Longer ones are not amounts or coordinates of this world.
const DIGITS_MAX: usize = 40;

/// `text` on a rung of a ladder.
pub(crate) fn generalise(ladder: Ladder, rung: u8, text: &str) -> Option<String> {
    match ladder {
        Ladder::Date => date(text.trim(), rung),
        Ladder::Address => network(text.trim()),
        Ladder::Coordinate => coordinate(text.trim(), -i32::from(rung)),
        Ladder::Country => country(text.trim()),
        Ladder::Amount => round_down(text.trim(), 3 - i32::from(rung)),
    }
}

fn date(text: &str, rung: u8) -> Option<String> {
    let (year, month) = year_and_month(text)?;
    match (rung, month) {
        (0, _) | (_, None) if rung == 0 || text.len() == 4 => Some(format!("{year:04}")),
        (_, Some(month)) => Some(format!("{year:04}-{month:02}")),
        _ => None,
    }
}

/// Year and, where there is no doubt about it, month. Dates as ISO 8601 and RFC 3339 write them, with other
/// separators, day or month first, and with the characters of East Asian dates.
fn year_and_month(text: &str) -> Option<(u16, Option<u8>)> {
    let is_year = |digits: &str| digits.len() == 4 && (1000..=9999).contains(&digits.parse().unwrap_or(0));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let month = |digits: &str| digits.parse().ok().filter(|month: &u8| (1..=12).contains(month));
    let day = |digits: &str| digits.parse().ok().filter(|day: &u8| (1..=31).contains(day));
    if is_digits(text) && text.len() == 8 {
        let (year, rest) = text.split_at(4);
        day(&rest[2..])?;
        return is_year(year).then_some((year.parse().ok()?, Some(month(&rest[..2])?)));
    }
    // A time of day may follow.
    let end = text.find(['T', 't']).unwrap_or(text.len());
    let (date, time) = text.split_at(end);
    if time.len() > 1 && !time[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let date = match date.split_once(' ') {
        Some((date, time)) if time.contains(':') => date,
        _ => date,
    };
    let mut parts = [""; 3];
    let mut count = 0;
    let is_separator = |c: char| "-/. \u{5e74}\u{6708}\u{65e5}\u{b144}\u{c6d4}\u{c77c}".contains(c);
    for part in date.split(is_separator).filter(|part| !part.is_empty()) {
        if count == 3 || !is_digits(part) || part.len() > 4 {
            return None;
        }
        parts[count] = part;
        count += 1;
    }
    match (count, parts) {
        (1, [year, ..]) if is_year(year) && date.len() == 4 => Some((year.parse().ok()?, None)),
        (2, [year, month_part, _]) if is_year(year) => Some((year.parse().ok()?, Some(month(month_part)?))),
        (3, [year, month_part, day_part]) if is_year(year) => {
            day(day_part)?;
            Some((year.parse().ok()?, Some(month(month_part)?)))
        }
        (3, [a, b, year]) if is_year(year) => {
            day(a)?;
            day(b)?;
            let month = match (month(a), month(b)) {
                // Dots mean day first; with other separators one of the two must be too large for a month.
                (_, Some(second)) if date.contains('.') => Some(second),
                (Some(first), Some(second)) => (first == second).then_some(first),
                (first, second) => Some(first.or(second)?),
            };
            Some((year.parse().ok()?, month))
        }
        _ => None,
    }
}

fn network(text: &str) -> Option<String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u8>().ok()?)),
        None => (text, None),
    };
    match address.parse().ok()? {
        IpAddr::V4(address) => network_v4(address, length),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => network_v4(address, length.map(|length| length.saturating_sub(96))),
            None => {
                let length = length.unwrap_or(128).min(48);
                let kept = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Some(format!("{}/{length}", Ipv6Addr::from_bits(address.to_bits() & kept)))
            }
        },
    }
}

fn network_v4(address: Ipv4Addr, length: Option<u8>) -> Option<String> {
    let length = length.unwrap_or(32).min(24);
    let kept = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    Some(format!("{}/{length}", Ipv4Addr::from_bits(address.to_bits() & kept)))
}

/// A number of degrees, or two with a comma. What is no such number, as that of a card, would only seem to be rounded.
fn coordinate(text: &str, power: i32) -> Option<String> {
    const DEGREES_MAX: f64 = 180.0;
    let rounded = |text: &str| {
        let is_degrees = text.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= DEGREES_MAX);
        if is_degrees { round_down(text, power) } else { None }
    };
    match text.split_once(',') {
        Some((first, second)) => {
            let (first, second) = (rounded(first.trim())?, rounded(second.trim())?);
            Some(format!("{first},{second}"))
        }
        None => rounded(text),
    }
}

/// The largest multiple of 10^`power` that is not above a decimal number, by its digits: no number is too long or
/// too exact to be rounded right.
fn round_down(text: &str, power: i32) -> Option<String> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit());
    if !is_number || exponent.unsigned_abs() as usize > DIGITS_MAX || whole.len() > DIGITS_MAX {
        return None;
    }
    let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    // The number is `digits` times 10^-scale; in units of 10^power, the last `cut` of them stand behind the point.
    let scale = i32::try_from(fraction.len()).ok()? - exponent;
    let cut = scale + power;
    let mut inexact = false;
    if cut <= 0 {
        digits.resize(digits.len() + cut.unsigned_abs() as usize, b'0');
    } else {
        let kept = digits.len().saturating_sub(cut as usize);
        inexact = digits.drain(kept..).any(|digit| digit != b'0');
    }
    if negative && inexact {
        increment(&mut digits);
    }
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.drain(..zeros);
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    let mut out = String::from(if negative { "-" } else { "" });
    if power >= 0 {
        out.extend(digits.iter().copied().map(char::from));
        out.extend(std::iter::repeat_n('0', power.unsigned_abs() as usize));
    } else {
        let places = power.unsigned_abs() as usize;
        while digits.len() <= places {
            digits.insert(0, b'0');
        }
        let point = digits.len() - places;
        out.extend(digits[..point].iter().copied().map(char::from));
        if digits[point..].iter().any(|digit| *digit != b'0') {
            out.push('.');
            out.extend(digits[point..].iter().copied().map(char::from));
        }
    }
    (out.len() <= DIGITS_MAX + 3).then_some(out)
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit != b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

/// The calling code of an international number, `+49`, or the country of an IBAN, `DE`.
fn country(text: &str) -> Option<String> {
    let international = text.strip_prefix('+').or_else(|| text.strip_prefix("00"));
    if let Some(rest) = international {
        let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}');
        let digits: String = rest.chars().filter(|c| !is_separator(*c)).collect();
        let code = calling_code(&digits)?;
        let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() <= 15;
        return (is_number && (digits.len() >= 7 || digits == code)).then(|| format!("+{code}"));
    }
    let compact: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let bytes = compact.as_bytes();
    let (country, rest) = bytes.split_at_checked(2)?;
    let is_country = country.iter().all(u8::is_ascii_alphabetic);
    let is_iban = (13..=32).contains(&rest.len())
        && rest.iter().all(u8::is_ascii_alphanumeric)
        && rest[..2].iter().all(u8::is_ascii_digit);
    let is_rung = rest.is_empty() && country.iter().all(u8::is_ascii_uppercase);
    (is_country && (is_iban || is_rung)).then(|| compact[..2].to_ascii_uppercase())
}

/// ITU-T E.164: the codes of one and of two digits; all others have three.
fn calling_code(digits: &str) -> Option<&str> {
    const TWO: [&str; 41] = [
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48",
        "49", "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81",
        "82", "84", "86", "90", "91", "92", "93",
    ];
    const TWO_MORE: [&str; 3] = ["94", "95", "98"];
    let two = digits.get(..2);
    match digits.as_bytes().first()? {
        b'0' => None,
        b'1' | b'7' => digits.get(..1),
        _ if two.is_some_and(|two| TWO.contains(&two) || TWO_MORE.contains(&two)) => two,
        _ => digits.get(..3),
    }
}
