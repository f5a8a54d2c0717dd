//! Timestamps, durations and offsets as text, and the parts of a time.

use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, OffsetDateTime, UtcOffset};

use crate::code::TimePart;

/// Reads RFC 3339.
pub(crate) fn timestamp(text: &str) -> Option<OffsetDateTime> {
    let found = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    in_range(found)
}

/// The language knows the years 1 to 9999, in UTC.
pub(crate) fn in_range(time: OffsetDateTime) -> Option<OffsetDateTime> {
    let utc = time.checked_to_offset(UtcOffset::UTC)?;
    (utc.year() >= 1 && utc.year() <= 9_999).then_some(utc)
}

/// Reads numbers with units, such as `1h30m` or `-1.5s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanoseconds = 0i128;
    let mut any = false;
    while !rest.is_empty() {
        let number_end = rest.find(|byte: char| !byte.is_ascii_digit() && byte != '.')?;
        let (number, behind) = rest.split_at(number_end);
        let unit_end = behind.find(|byte: char| byte.is_ascii_digit() || byte == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        let unit: i128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        nanoseconds = nanoseconds.checked_add(scaled(number, unit)?)?;
        rest = behind;
        any = true;
    }
    let total = if negative { -nanoseconds } else { nanoseconds };
    let narrow = i64::try_from(total).ok()?;
    any.then_some(Duration::nanoseconds(narrow))
}

/// A decimal number of units, in nanoseconds, without what is smaller.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 18 || fraction.len() > 18 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let scale = 10i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    digits(whole)?.checked_mul(unit)?.checked_add(digits(fraction)?.checked_mul(unit)? / scale)
}

/// `UTC`, or an offset such as `+01:00`. Names of regions would need a data base that changes under a policy.
pub(crate) fn offset(text: &str) -> Option<UtcOffset> {
    if text == "UTC" || text == "Z" {
        return Some(UtcOffset::UTC);
    }
    let (sign, digits) = match text.as_bytes() {
        [b'+', ..] => (1, &text[1..]),
        [b'-', ..] => (-1, &text[1..]),
        _ => (1, text),
    };
    let (hours, minutes) = digits.split_once(':')?;
    let two = |part: &str| match part.as_bytes() {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => i8::try_from((tens - b'0') * 10 + (ones - b'0')).ok(),
        _ => None,
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    if hours > 14 || minutes > 59 {
        return None;
    }
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok()
}

/// A part of a time as seen at an offset; `None` if that leaves the calendar.
pub(crate) fn part(part: TimePart, time: OffsetDateTime, offset: UtcOffset) -> Option<i64> {
    let time = time.checked_to_offset(offset)?;
    let date: Date = time.date();
    Some(match part {
        TimePart::FullYear => i64::from(date.year()),
        TimePart::Month => i64::from(u8::from(date.month())) - 1,
        TimePart::Date => i64::from(date.day()),
        TimePart::DayOfMonth => i64::from(date.day()) - 1,
        TimePart::DayOfWeek => i64::from(date.weekday().number_days_from_sunday()),
        TimePart::DayOfYear => i64::from(date.ordinal()) - 1,
        TimePart::Hours => i64::from(time.hour()),
        TimePart::Minutes => i64::from(time.minute()),
        TimePart::Seconds => i64::from(time.second()),
        TimePart::Milliseconds => i64::from(time.millisecond()),
    })
}

/// A part of a duration: all of it in hours, minutes or seconds.
pub(crate) fn duration_part(part: TimePart, duration: Duration) -> Option<i64> {
    match part {
        TimePart::Hours => Some(duration.whole_hours()),
        TimePart::Minutes => Some(duration.whole_minutes()),
        TimePart::Seconds => Some(duration.whole_seconds()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(duration("1h30m"), Some(Duration::minutes(90)));
        assert_eq!(duration("-1.5s"), Some(Duration::milliseconds(-1_500)));
        assert_eq!(duration("250ms"), Some(Duration::milliseconds(250)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for wrong in ["", "-", "1", "h", "1x", "1h1", ".s", "1.1.1s", "99999999999999999h", "1h 2m"] {
            assert_eq!(duration(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn offsets_are_utc_or_hours_and_minutes() {
        assert_eq!(offset("UTC"), Some(UtcOffset::UTC));
        assert_eq!(offset("-05:30"), UtcOffset::from_hms(-5, -30, 0).ok());
        for wrong in ["", "+", "Europe/Berlin", "+1:00", "15:00", "+01:60", "+01:0", "+é:00"] {
            assert_eq!(offset(wrong), None, "{wrong:?}");
        }
    }
}
