//! What only the name of its field can tell: names of people, birth dates, addresses, places on earth.

use super::{Hit, View};
use crate::checks;
use crate::class::Class;
use crate::keys::Hint;

/// A value as a whole, under a name that speaks of one of these classes.
pub(crate) fn keyed(text: &str, hint: &Hint, hits: &mut Vec<Hit>) {
    let trimmed = text.trim();
    let start = text.len() - text.trim_start().len();
    if trimmed.is_empty() || trimmed.len() > 400 {
        return;
    }
    let mut push = |class, strength| {
        let (start, end) = (start as u32, (start + trimmed.len()) as u32);
        hits.push(Hit { class, start, end, strength });
    };
    if hint.says(Class::NAME) && is_name(trimmed) {
        push(Class::NAME, 26);
    }
    if hint.says(Class::BIRTH_DATE)
        && let Some(length) = date_at(trimmed)
        && (length == trimmed.len() || is_time(&trimmed[length..]))
    {
        push(Class::BIRTH_DATE, 38);
    }
    let is_street = || hint.has(Hint::STREET) && is_street(trimmed);
    if hint.says(Class::ADDRESS) && (is_postal_address(trimmed) || is_street()) {
        push(Class::ADDRESS, 24);
    }
    if (hint.says(Class::GEO_POINT) || hint.has(Hint::LATITUDE)) && is_point(trimmed) {
        push(Class::GEO_POINT, 28);
    }
}

/// A short text in lower case, as the words of a list are.
fn lowered<'b>(text: &str, buffer: &'b mut [u8; 16]) -> &'b [u8] {
    let lower = buffer.get_mut(..text.len()).unwrap_or_default();
    lower.copy_from_slice(&text.as_bytes()[..lower.len()]);
    lower.make_ascii_lowercase();
    lower
}

/// Values that stand for nothing.
#[rustfmt::skip]
fn is_word_for_nothing(text: &str) -> bool {
    matches!(
        lowered(text, &mut [0; 16]),
            b"admin" | b"all" | b"anonymous" | b"default" | b"false" | b"guest" | b"n/a" |
            b"na" | b"nil" | b"none" | b"not available" | b"null" | b"redacted" | b"root" |
            b"system" | b"test" | b"true" | b"unknown" | b"undefined" | b"unspecified" |
            b"other" | b"self" | b"yes" | b"no" | b"pending" | b"active" | b"primary" |
            b"secondary" | b"work" | b"home"
    )
}

/// Letters of any script in up to seven words, as people are called.
fn is_name(text: &str) -> bool {
    let mut letters = 0;
    let mut words = 1;
    for c in text.chars() {
        match c {
            ' ' | '\u{3000}' => words += 1,
            '.' | '-' | '\'' | '\u{2019}' | ',' | '\u{b7}' | '\u{30fb}' | '\u{30fc}' => {}
            // Vowel signs of Indic and other scripts are marks, not letters.
            c if c.is_alphabetic()
                || (u32::from(c) >= 0x300 && !c.is_numeric() && !c.is_ascii_punctuation()) =>
            {
                letters += 1;
            }
            _ => return false,
        }
    }
    let first = text.chars().next().unwrap_or(' ');
    (1..=64).contains(&letters)
        && (letters > 1 || !first.is_ascii())
        && words <= 7
        && first.is_alphabetic()
        && !is_word_for_nothing(text)
        && !is_company(text)
}

/// Ends with the form of a company.
#[rustfmt::skip]
fn is_company(text: &str) -> bool {
    let last = text.trim_end_matches('.').rsplit([' ', ',']).next().unwrap_or_default();
    let has_form = last.len() < text.len()
        && matches!(
            lowered(last, &mut [0; 16]),
            b"ab" | b"ag" | b"aps" | b"bv" | b"b.v" | b"co" | b"corp" | b"corporation" |
            b"company" | b"gmbh" | b"inc" | b"kg" | b"limited" | b"llc" | b"llp" | b"ltd" |
            b"ltda" | b"nv" | b"n.v" | b"ohg" | b"oy" | b"oyj" | b"plc" | b"pte" | b"pty" |
            b"s.a" | b"s.l" | b"s.p.a" | b"s.r.l" | b"sa" | b"sarl" | b"sas" | b"se" |
            b"spa" | b"srl" | b"ug"
        );
    let has_sign = || ["株式会社", "有限会社", "公司", "주식회사", "(株)"].iter().any(|form| text.contains(form));
    has_form || !text.is_ascii() && has_sign()
}

/// Something with letters and a number or several words, that is no address of another kind.
fn is_postal_address(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let cjk = text.chars().filter(|c| matches!(u32::from(*c), 0x3040..=0x9fff | 0xac00..=0xd7a3)).count();
    let has_digit = text.chars().any(char::is_numeric);
    let has_space = text.contains(' ');
    let is_other =
        text.contains(['@', '{', '<', '=', '_']) || text.contains("://") || is_word_for_nothing(text);
    let is_code = !has_space && cjk == 0 && text.is_ascii();
    !is_other
        && !is_code
        && text.len() >= 5
        && letters >= 3
        && (cjk >= 3 || has_space && (has_digit || letters >= 6))
}

/// The name of a street, whose number may stand elsewhere: `Broadway`, `Hauptstrasse`.
fn is_street(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let is_plain =
        text.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '-' | '.' | '\'' | '\u{2019}'));
    is_plain
        && (4..=48).contains(&letters)
        && text.starts_with(|c: char| c.is_uppercase() || !c.is_ascii())
        && !is_word_for_nothing(text)
}

/// Latitude and longitude in one text.
fn is_point(text: &str) -> bool {
    let text = text.strip_prefix("geo:").unwrap_or(text);
    let text = text.trim_matches(['(', ')', '[', ']', ' ']);
    let (first, second) = match text.split_once(',').or_else(|| text.split_once(';')) {
        Some(parts) => parts,
        None => match text.strip_prefix("POINT").map(|rest| rest.trim_matches([' ', '('])) {
            Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
            None => text.split_once(' ').unwrap_or((text, "")),
        },
    };
    is_degrees(first.trim(), 180.0, 2) && is_degrees(second.trim(), 180.0, 2)
}

/// A number of degrees with at least so many decimals.
fn is_degrees(text: &str, max: f64, decimals: usize) -> bool {
    let has_decimals = text
        .split_once('.')
        .is_some_and(|(_, behind)| behind.bytes().take_while(u8::is_ascii_digit).count() >= decimals);
    has_decimals && text.len() <= 24 && text.parse::<f64>().is_ok_and(|degrees| degrees.abs() <= max)
}

/// Latitude and longitude as two values beside each other.
pub(crate) fn geo_pair(latitude: &str, longitude: &str) -> bool {
    is_degrees(latitude, 90.0, 2) && is_degrees(longitude, 180.0, 2)
}

fn is_time(text: &str) -> bool {
    text.starts_with(['T', ' ']) && text.bytes().skip(1).all(|byte| b"0123456789:.+-Z".contains(&byte))
}

/// The length of the date that a text begins with, in the ways people write one.
fn date_at(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let number = |at: usize, max: usize| {
        let length = bytes.get(at..)?.iter().take(max + 1).take_while(|byte| byte.is_ascii_digit()).count();
        (1..=max).contains(&length).then(|| (text[at..at + length].parse::<u32>().unwrap_or(0), at + length))
    };
    let years = 1850..=checks::YEAR_MAX;
    let is_date = |year: u32, a: u32, b: u32| {
        let years_meant = if year < 100 { [1900 + year, 2000 + year] } else { [year; 2] };
        years_meant
            .into_iter()
            .any(|year| years.contains(&year) && (checks::is_date(year, a, b) || checks::is_date(year, b, a)))
    };
    // 19870512
    if let Some((compact, 8)) = number(0, 8)
        && is_date(compact / 10_000, compact / 100 % 100, compact % 100)
    {
        return Some(8);
    }
    if let Some((first, at)) = number(0, 4)
        && let Some(separator) = text[at..].chars().next()
    {
        let at = at + separator.len_utf8();
        let at = at + usize::from(separator == '.' && bytes.get(at) == Some(&b' '));
        if let '-' | '/' | '.' | ' ' | '\u{5e74}' | '\u{b144}' = separator
            && let Some((second, at)) = number(at + text[at..].bytes().take_while(|b| *b == b' ').count(), 2)
            && let Some(separator) = text[at..].chars().next()
        {
            let at = at + separator.len_utf8();
            let at = at + text[at..].bytes().take_while(|b| *b == b' ').count();
            if let Some((third, at)) = number(at, 4) {
                let is =
                    if first > 31 { is_date(first, second, third) } else { is_date(third, first, second) };
                let end = text[at..].chars().next().filter(|c| matches!(c, '\u{65e5}' | '\u{c77c}' | '.'));
                return is.then_some(at + end.map_or(0, char::len_utf8));
            }
        }
    }
    written_date(text)
}

/// How the names of months begin, in the languages of Europe, beyond those of three letters of ASCII.
const MONTHS: &[&str] = &[
    "mär", "aoû", "déc", "fév", "juin", "juil", "янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг",
    "сен", "окт", "ноя", "дек",
];

#[rustfmt::skip]
fn is_ascii_month([a, b, c]: [u8; 3]) -> bool {
    matches!(
        &[a, b, c].map(|byte| byte.to_ascii_lowercase()),
        b"jan" | b"feb" | b"mar" | b"apr" | b"avr" | b"abr" | b"may" | b"mai" | b"mag" | b"maj" | b"jun" | b"jul" |
            b"giu" | b"lug" | b"aug" | b"ago" | b"aou" | b"sep" | b"set" | b"oct" | b"okt" | b"ott" | b"out" |
            b"nov" | b"dec" | b"dez" | b"dic" | b"fev" | b"ene" | b"gen" | b"mei" | b"maa" | b"mrt"
    )
}

fn is_month(word: &str) -> bool {
    if word.as_bytes().first_chunk().is_some_and(|head| is_ascii_month(*head)) {
        return true;
    }
    if word.is_ascii() && !word.starts_with(['j', 'J']) {
        return false;
    }
    MONTHS.iter().any(|month| {
        word.get(..month.len()).is_some_and(|head| {
            head.eq_ignore_ascii_case(month) || !head.is_ascii() && head.to_lowercase() == *month
        })
    })
}

/// `12 May 1987`, `May 12, 1987`, `12. Mai 1987`, `12-May-1987`, `12-MAY-87`, `12 de mayo de 1987`.
fn written_date(text: &str) -> Option<usize> {
    // A month is the first word or the one behind the day, whatever stands between.
    let behind = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let behind = behind.trim_start_matches([' ', '-', '.', '/']);
    if !behind.starts_with(char::is_alphabetic) {
        return None;
    }
    let (mut days, mut years, mut months) = (0, 0, 0);
    let mut end = 0;
    for _ in 0..7 {
        let separators = text[end..].len() - text[end..].trim_start_matches([' ', '-', ',', '.', '/']).len();
        let start = end + separators;
        let length = text[start..].find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len() - start);
        let word = &text[start..start + length];
        let bare = word.trim_end_matches(char::is_alphabetic);
        // Of two digits it is a year where it is written together with the rest.
        let is_short_year = days + months == 2 && word.len() == 2 && text[end..start] == *"-";
        match bare.parse::<u32>() {
            Ok(1..=31) if days == 0 && matches!(word.len() - bare.len(), 0 | 2) => days += 1,
            Ok(1850..=checks::YEAR_MAX) if years == 0 => years += 1,
            Ok(_) if is_short_year && bare == word => years += 1,
            _ if matches!(word, "de" | "of" | "do") => {}
            _ if months == 0 && is_month(word) => months += 1,
            _ => break,
        }
        end = start + length;
        if days + years + months == 3 {
            return Some(start + bare.len().max(if bare.is_empty() { length } else { 0 }));
        }
    }
    None
}

/// No way of writing a date is longer.
const DATE_BYTES_MAX: usize = 40;

impl View<'_> {
    /// The text from `start` on, of at most so many bytes.
    fn part(&self, start: usize, bytes: usize) -> &str {
        let mut end = self.text.len().min(start + bytes);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[start..end]
    }

    /// A date that begins with a number, or a month before it, behind words that speak of birth. `end` is that of the
    /// digits; `th` and its like may follow them.
    pub(super) fn birth_date(&mut self, start: usize, end: usize) {
        if start < 3 || !self.wanted.contains(Class::BIRTH_DATE) || !matches!(end - start, 1 | 2 | 4 | 8) {
            return;
        }
        // Behind a dash or a slash it is the middle of something.
        let may = !matches!(self.bytes[start - 1], b'-' | b'/' | b'.' | b'_')
            && self.bytes.get(end).is_none_or(|byte| {
                !byte.is_ascii()
                    || matches!(byte, b'-' | b'/' | b'.' | b' ')
                    || end - start == 8
                    || byte.is_ascii_alphabetic()
            });
        let Some(start) = self.month_before(start, end).or(may.then_some(start)) else { return };
        if let Some(length) = date_at(self.part(start, DATE_BYTES_MAX))
            && let Some(end) = self.end_of_time(start + length)
            && self.words_before(start).says(Class::BIRTH_DATE)
        {
            let (start, end) = (start as u32, end as u32);
            self.hits.push(Hit { class: Class::BIRTH_DATE, start, end, strength: 28 });
        }
    }

    /// Where the name of a month straight before the day begins: `May 12, 1987`.
    fn month_before(&self, day: usize, end: usize) -> Option<usize> {
        if end - day > 2 || self.bytes[day - 1] != b' ' {
            return None;
        }
        let head = self.text[..day - 1].trim_end_matches('.');
        let letters = head.chars().rev().take_while(|c| c.is_alphabetic()).take(12);
        let start = head.len() - letters.map(char::len_utf8).sum::<usize>();
        is_month(&head[start..]).then_some(start)
    }

    /// The end of a date with the time of day behind it, `T00:00:00Z`; `None` where another word goes on.
    fn end_of_time(&self, end: usize) -> Option<usize> {
        if !self.continues(end) {
            return Some(end);
        }
        let rest = &self.bytes[end..];
        let is_time = matches!(rest, [b'T' | b't', digit, ..] if digit.is_ascii_digit());
        let length = rest.iter().skip(1).take_while(|byte| b"0123456789:.+-Zz".contains(byte)).count();
        (is_time && !self.continues(end + 1 + length)).then_some(end + 1 + length)
    }
}
