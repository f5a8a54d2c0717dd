//! Machine readable zones of passports, cards and visas (ICAO 9303).

use super::View;
use crate::class::Class;

impl View<'_> {
    /// A `<`: the line it stands in, and those around it; where to go on.
    pub(super) fn machine_readable(&mut self, at: usize) -> usize {
        let is_part = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'<';
        let before = self.bytes[..at].iter().rev().take(90).take_while(|byte| is_part(byte)).count();
        let start = at - before;
        let first = line_end(self.bytes, start);
        if !matches!(first - start, 28..=90) || !self.wanted.contains(Class::MRZ) {
            return at + 1;
        }
        // The lines of one document have the same length and a line break or a space between them.
        let mut lines = [(start, first); 3];
        let mut count = 1;
        let mut end = first;
        while count < 3 {
            let gap = self.bytes[end..]
                .iter()
                .take(3)
                .take_while(|byte| matches!(byte, b'\n' | b'\r' | b' '))
                .count();
            let next = line_end(self.bytes, end + gap);
            if gap == 0 || next - (end + gap) != first - start {
                break;
            }
            lines[count] = (end + gap, next);
            end = next;
            count += 1;
        }
        let bytes = self.bytes;
        let line = |at: usize| &bytes[lines[at].0..lines[at].1];
        let is_valid = match (first - start, count) {
            // Two or three lines without a break between them.
            (88, 1) => second_line(&line(0)[44..], line(0)[0] == b'V'),
            (72, 1) => second_line(&line(0)[36..], line(0)[0] == b'V'),
            (90, 1) => three_lines(&line(0)[..30], &line(0)[30..60]),
            (30, 3) => three_lines(line(0), line(1)),
            (44 | 36, 2) => second_line(line(1), line(0)[0] == b'V'),
            (44 | 36, _) => second_line(line(0), false),
            (30, 2) => three_lines(line(0), line(1)),
            _ => false,
        };
        if is_valid {
            self.offer(Class::MRZ, start, end, 50);
            return end;
        }
        // The line of the names by itself.
        let is_names = matches!(line(0)[0], b'P' | b'V' | b'I' | b'A' | b'C')
            && memchr::memmem::find(line(0), b"<<").is_some()
            && line(0).iter().filter(|byte| **byte == b'<').count() >= 5
            && line(0)[2..5].iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'<')
            && !line(0)[5..].iter().any(u8::is_ascii_digit);
        if matches!(first - start, 44 | 36) && is_names {
            self.offer(Class::MRZ, start, first, 36);
        }
        // What is none may still hold something: `<4111111111111111>`.
        at + 1
    }
}

fn line_end(bytes: &[u8], start: usize) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'<';
    start + bytes[start.min(bytes.len())..].iter().take(91).take_while(|byte| is_part(byte)).count()
}

/// Weights 7 3 1 over digits, letters as 10 to 35 and `<` as 0.
fn checks<'a>(parts: impl IntoIterator<Item = &'a u8>, check: u8) -> bool {
    let sum: u32 = parts
        .into_iter()
        .zip([7, 3, 1].into_iter().cycle())
        .map(|(byte, weight)| {
            weight
                * match byte {
                    b'0'..=b'9' => u32::from(byte - b'0'),
                    b'A'..=b'Z' => u32::from(byte - b'A') + 10,
                    _ => 0,
                }
        })
        .sum();
    let digit = if check == b'<' { b'0' } else { check };
    digit.is_ascii_digit() && sum % 10 == u32::from(digit - b'0')
}

/// Number, birth and expiry with their digits, and in passports and cards one over all.
fn second_line(line: &[u8], is_first_of_visa: bool) -> bool {
    if line.len() < 36 {
        return false;
    }
    let parts =
        checks(&line[..9], line[9]) && checks(&line[13..19], line[19]) && checks(&line[21..27], line[27]);
    let all = line[..10].iter().chain(&line[13..20]);
    let over_all = match line.len() {
        44 => checks(all.chain(&line[21..43]), line[43]),
        _ => checks(all.chain(&line[21..35]), line[35]),
    };
    // The second line of a visa ends in what its state pleases.
    let is_visa = is_first_of_visa && matches!(line[20], b'M' | b'F' | b'<' | b'X');
    // Visas have no digit over all, three of them make one in a thousand, and the letters of the country the rest.
    let is_country = line[10..13].iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'<');
    parts && is_country && (over_all || is_visa)
}

fn three_lines(first: &[u8], second: &[u8]) -> bool {
    first.len() == 30
        && second.len() == 30
        && checks(&first[5..14], first[14])
        && checks(&second[..6], second[6])
        && checks(&second[8..14], second[14])
        && checks(
            first[5..30].iter().chain(&second[..7]).chain(&second[8..15]).chain(&second[18..29]),
            second[29],
        )
}
