//! Durations as users write them: a whole number and one of `ms`, `s`, `m`, `h`, `d`.

use std::time::Duration;

/// `None` where the text is no duration, or one that is longer than a hundred years.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let all = number.checked_mul(millis)?;
    (all <= 36_500 * 86_400_000).then(|| Duration::from_millis(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("1s"), Some(Duration::from_secs(1)));
        assert_eq!(parse("7d"), Some(Duration::from_secs(7 * 86_400)));
        for text in ["", "s", "1", "1 s", "-1s", "1.5s", "99999999999999999999s", "99999999d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
