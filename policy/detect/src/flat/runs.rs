//! Runs of digits with single separators, offered to every validator of their length.

mod lengths;

use std::ops::Range;

use super::{View, Word, marks};
use crate::checks;
use crate::class::Class;
use crate::finding::HIGH;
use crate::flat::{ALNUM, Kind};
use crate::keys::Hint;

/// Groups looked at together; a longer run is looked at piece by piece.
const GROUPS_MAX: usize = 64;
/// `5443 8658 8124 7732` are no twelve digits.
const PART_OF_A_SERIES: i16 = -15;
/// And `3932 2017 0504 39` no card where `1559` stands before it.
const END_OF_A_SERIES: i16 = -25;
/// `/v1/4111111111111111`
const IN_PATH: i16 = -10;
/// `/v1/536-22-1234`
const GROUPED_IN_PATH: i16 = -4;
/// No class has more digits.
const WINDOW_DIGITS_MAX: usize = 19;

/// Groups of digits with one separator between each two. Kept by the scanner, for its size.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    digits: [u8; GROUPS_MAX * WINDOW_DIGITS_MAX],
    groups: [Group; GROUPS_MAX],
    count: usize,
    /// The run goes on behind the last group.
    is_cut: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    start: u32,
    end: u32,
    /// Index of its first digit.
    first: u16,
    /// How many digits; [`TOO_LONG`] of them or more have no place among the digits.
    length: u8,
}

const TOO_LONG: usize = WINDOW_DIGITS_MAX + 1;

impl Run {
    pub(crate) fn new() -> Run {
        Run {
            digits: [0; GROUPS_MAX * WINDOW_DIGITS_MAX],
            groups: [Group::default(); GROUPS_MAX],
            count: 0,
            is_cut: false,
        }
    }
}

/// What stands between two groups that were taken apart on purpose, or by a form: two spaces or dashes, a dash between
/// spaces, a tab, an end of a line, `_`.
pub(super) fn wide_separator(bytes: &[u8]) -> Option<&[u8]> {
    let length = match bytes {
        [b' ', b'-', b' ', ..] => 3,
        [b' ', b' ', ..] | [b'-', b'-', ..] | [b'\r', b'\n', ..] => 2,
        // Dots in the middle of the line.
        [0xe2, 0x80, 0xa2, ..] => 3,
        [0xc2, 0xb7, ..] => 2,
        [b'_' | b'\t' | b'\n', ..] => 1,
        _ => return None,
    };
    Some(&bytes[..length])
}

/// Some groups of a run: what a validator sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'r> {
    pub(super) digits: &'r [u8],
    /// Lengths of the groups, four bits each, the last lowest; 0 for one group, however long.
    pub(super) pattern: u64,
    /// The separator where they are all the same, 0 without any, 1 where they differ.
    pub(super) separator: u8,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Window<'_> {
    /// `bare` without separators, `grouped` in one of the usual groupings, nothing otherwise.
    pub(super) fn shape(&self, bare: i16, patterns: &[u64], grouped: i16) -> Option<i16> {
        match self.pattern {
            0 => Some(bare),
            pattern if patterns.contains(&pattern) => Some(grouped),
            _ => None,
        }
    }
}

impl<'a> View<'a> {
    /// Looks at a word of digits and what is joined to it; where to go on.
    pub(super) fn digits(&mut self, word: Word<'_>, run: &mut Run) -> usize {
        if let Some(end) = self.secret_key(word) {
            return end;
        }
        self.birth_date(word.start, word.end);
        if word.bytes.len() == 2 && self.bytes.get(word.end) == Some(&b'.') {
            self.dotted_cnpj(word.start);
        }
        let mut end = self.collect((word.start, word.end), run);
        if run.is_cut {
            self.dotted(self.joined((word.start, word.end)));
        } else if run.count >= 4 {
            let places =
                run.groups[..run.count].iter().map(|group| (group.start as usize, group.end as usize));
            self.dotted(places);
        }
        let step = self.step_for_left_edge(word.start);
        // Of a piece behind the first one, the first group is only there for its neighbour.
        let mut from = 0;
        while run.is_cut {
            let left = self.piece(run, from, step);
            let before = run.groups[left - 1];
            end = self.collect((before.start as usize, before.end as usize), run);
            from = 1;
        }
        if from > 0 {
            self.windows(run, from..run.count, step);
            return end;
        }
        if run.count == 1 && wide_separator(&self.bytes[end..]).is_some() {
            end = self.wide_groups(word).unwrap_or(end);
        }
        self.trailing_letter(word.start, end);
        let groups = &run.groups[..run.count];
        let total: usize = groups.iter().map(|group| group.length as usize).sum();
        if total < 7 {
            return end;
        }
        if groups.len() > 2 && total <= WINDOW_DIGITS_MAX {
            // Where the whole run is something for certain, its parts are nothing else.
            let known = self.hits.len();
            self.whole(run, total, step);
            if self.hits[known..].iter().any(|hit| hit.strength >= HIGH) {
                return end;
            }
            self.hits.truncate(known);
        }
        self.windows(run, 0..run.count, step);
        end
    }

    /// Groups with the same wide separator between each two, where nothing more of the kind stands beside them: a row
    /// of a table has other columns too. The end of what was found for certain.
    fn wide_groups(&mut self, word: Word<'_>) -> Option<usize> {
        const GROUPS: std::ops::RangeInclusive<usize> = 3..=5;
        let separator = wide_separator(&self.bytes[word.end..])?;
        let is_row = |head: &[u8]| {
            head.strip_suffix(separator).is_some_and(|head| head.last().is_some_and(u8::is_ascii_digit))
        };
        if is_row(&self.bytes[..word.start]) {
            return None;
        }
        let (mut digits, mut used) = ([0; WINDOW_DIGITS_MAX], 0);
        let (mut count, mut pattern, mut end) = (0, 0_u64, word.start);
        let mut next = Some(word.start);
        while let Some(start) = next {
            let length = self.bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            end = start + length;
            let room = digits.get_mut(used..used + length).filter(|_| (1..15).contains(&length))?;
            if count == *GROUPS.end() || self.continues(end) {
                return None;
            }
            for (digit, byte) in room.iter_mut().zip(&self.bytes[start..end]) {
                *digit = byte - b'0';
            }
            used += length;
            pattern = pattern << 4 | length as u64;
            count += 1;
            let behind = self.bytes[end..].strip_prefix(separator);
            next = behind
                .is_some_and(|behind| behind.first().is_some_and(u8::is_ascii_digit))
                .then_some(end + separator.len());
        }
        if !GROUPS.contains(&count) {
            return None;
        }
        let known = self.hits.len();
        let step = self.step_for_left_edge(word.start);
        let window = Window { digits: &digits[..used], pattern, separator: 1, start: word.start, end };
        self.window(&window, step, false);
        self.hits[known..].iter().any(|hit| hit.strength >= HIGH).then_some(end)
    }

    /// Offers the windows of a cut run that begin at its groups from `from` on, as far as they end before the last
    /// group; the first group whose windows may not.
    fn piece(&mut self, run: &Run, from: usize, step: i16) -> usize {
        let groups = &run.groups[..run.count];
        let (mut left, mut behind) = (run.count - 1, 0);
        while left > from + 1 && behind < WINDOW_DIGITS_MAX {
            left -= 1;
            behind += groups[left].length as usize;
        }
        // INVARIANT: of a piece, more than two thirds of the groups are used up, so this stays linear.
        const { assert!(GROUPS_MAX > 3 * (WINDOW_DIGITS_MAX + 2)) };
        self.windows(run, from..left + 1, step);
        left + 1
    }

    /// Offers every window that begins at one of the groups `lefts`.
    fn windows(&mut self, run: &Run, lefts: Range<usize>, step: i16) {
        let groups = &run.groups[..run.count];
        for from in lefts {
            let first = &groups[from];
            let mut count = 0;
            let mut pattern = 0_u64;
            let mut separator = 0;
            for (to, last) in groups.iter().enumerate().skip(from) {
                count += last.length as usize;
                if count > WINDOW_DIGITS_MAX || (to > from && last.length > 15) {
                    break;
                }
                if to > from {
                    let between = self.bytes[last.start as usize - 1];
                    separator = if separator == 0 || separator == between { between } else { 1 };
                    pattern = pattern << 4 | u64::from(last.length);
                } else {
                    pattern = u64::from(last.length.min(15));
                }
                // What is joined by the same separator belongs to it.
                let is_edge = |at: u32| {
                    let between = self.bytes[at as usize];
                    matches!(between, b' ' | b'/') && between != separator
                        || between == b' ' && matches!(separator, b' ')
                };
                let left = from == 0 || is_edge(first.start - 1);
                let right = to + 1 == groups.len() && !run.is_cut || is_edge(last.end);
                if count < 7 || !left || !right {
                    continue;
                }
                let digits = &run.digits[first.first as usize..first.first as usize + count];
                // Groups like its own in front or behind: it is a part of a longer series, and its last group, where
                // that is shorter, the end of one.
                let is_like = |group: &Group| group.length == first.length && first.length == last.length;
                let before = from.checked_sub(1).map(|at| &groups[at]);
                let part_step = match before {
                    _ if to == from => 0,
                    Some(before) if before.length == first.length && last.length < first.length => {
                        END_OF_A_SERIES
                    }
                    _ if before.is_some_and(is_like) || groups.get(to + 1).is_some_and(is_like) => {
                        PART_OF_A_SERIES
                    }
                    _ => 0,
                };
                let window = Window {
                    digits,
                    pattern: if to == from { 0 } else { pattern },
                    separator,
                    start: first.start as usize,
                    end: last.end as usize,
                };
                // Behind a slash a number by itself is one of something, and less so where it has groups.
                let is_grouped_in_path = to > from && step == IN_PATH;
                let left_step = match from {
                    0 if is_grouped_in_path => GROUPED_IN_PATH,
                    0 => step,
                    _ => 0,
                };
                self.window(&window, left_step + part_step, to + 1 - from == groups.len());
            }
        }
    }

    fn whole(&mut self, run: &Run, total: usize, step: i16) {
        let groups = &run.groups[..run.count];
        let (first, last) = (groups[0], groups[groups.len() - 1]);
        let mut separator = self.bytes[first.end as usize];
        let mut pattern = 0;
        for (at, group) in groups.iter().enumerate() {
            if at > 0 && self.bytes[group.start as usize - 1] != separator {
                separator = 1;
            }
            if group.length > 15 {
                return;
            }
            pattern = pattern << 4 | u64::from(group.length);
        }
        let (start, end) = (first.start as usize, last.end as usize);
        let window = Window { digits: &run.digits[..total], pattern, separator, start, end };
        self.window(&window, if step == IN_PATH { GROUPED_IN_PATH } else { step }, true);
    }

    /// Reads groups from a word of digits on, as many as fit; the byte after the last one.
    fn collect(&self, word: (usize, usize), run: &mut Run) -> usize {
        let (mut count, mut used) = (0, 0);
        run.is_cut = false;
        let mut after = word.1;
        for (start, end) in self.joined(word) {
            if count == GROUPS_MAX {
                run.is_cut = true;
                break;
            }
            let length = (end - start).min(TOO_LONG);
            run.groups[count] =
                Group { start: start as u32, end: end as u32, first: used as u16, length: length as u8 };
            if length < TOO_LONG {
                for (digit, byte) in run.digits[used..].iter_mut().zip(&self.bytes[start..end]) {
                    *digit = byte - b'0';
                }
                used += length;
            }
            count += 1;
            after = end;
        }
        run.count = count;
        after
    }

    /// The places of a word of digits and of those joined to it, one after the other.
    fn joined(&self, word: (usize, usize)) -> impl Iterator<Item = (usize, usize)> + use<'a> {
        let bytes = self.bytes;
        std::iter::successors(Some(word), move |&(_, end)| {
            let joined = matches!(bytes.get(end), Some(b' ' | b'-' | b'.' | b'/'));
            let next = end + 1;
            let rest = bytes.get(next..).filter(|_| joined)?;
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let continues = rest.get(length).is_some_and(|byte| marks(*byte) & ALNUM != 0);
            (length > 0 && !continues).then_some((next, next + length))
        })
    }

    /// A number joined to a word in front, or an amount of money, is less likely to be what it looks like.
    fn step_for_left_edge(&self, start: usize) -> i16 {
        let Some(before) = self.byte_before(start) else { return 0 };
        let behind_word = start
            .checked_sub(2)
            .is_some_and(|at| marks(self.bytes[at]) & ALNUM != 0 || self.bytes[at] >= 0x80);
        match before {
            b'/' if behind_word && self.is_below_somebody(start) => 0,
            b'/' if behind_word => IN_PATH,
            b'-' | b'_' | b'.' if behind_word => -10,
            b'_' => -10,
            b'$' => -20,
            b'-' if self.kind == Kind::Text => -5,
            // The pound, yen and euro signs.
            0xa3 | 0xa5 | 0xac if self.text[..start].ends_with(['\u{a3}', '\u{a5}', '\u{20ac}']) => -20,
            _ => 0,
        }
    }

    /// Whether the part of a path before this one is about people: `/customers/4111111111111111`.
    #[rustfmt::skip]
    pub(super) fn is_below_somebody(&self, start: usize) -> bool {
        const NAME_MAX: usize = 12;
        let head = &self.bytes[..start - 1];
        let letters = head.iter().rev().take(NAME_MAX + 1).take_while(|byte| byte.is_ascii_lowercase()).count();
        let is_part = head.len() == letters || !self.continues(head.len() - letters - 1);
        is_part
            && matches!(
                &head[head.len() - letters..],
                b"account" | b"accounts" | b"card" | b"cards" | b"citizens" | b"client" | b"clients" | b"contact" |
                    b"contacts" | b"customer" | b"customers" | b"employee" | b"employees" | b"guests" | b"member" |
                    b"members" | b"patient" | b"patients" | b"people" | b"person" | b"persons" | b"profile" |
                    b"profiles" | b"subscriber" | b"subscribers" | b"user" | b"users" | b"visitor" | b"visitors"
            )
    }

    pub(super) fn shaped(&mut self, class: Class, window: &Window<'_>, step: i16, base: Option<i16>) {
        if let Some(base) = base {
            self.give(class, window, base, step);
        }
    }

    /// Offers, with what the characters beside it take away, unless words say that it is of the class.
    pub(super) fn give(&mut self, class: Class, window: &Window<'_>, base: i16, step: i16) {
        let step = if step < 0 && self.says(class, window.start) { 0 } else { step };
        self.offer(class, window.start, window.end, base + step);
    }

    /// Numbers that end in a letter behind a dash or without one: DNI, RUT with K, HETU.
    fn trailing_letter(&mut self, start: usize, end: usize) {
        let letter = match self.bytes.get(end) {
            Some(b'-' | b' ') => end + 1,
            _ => return,
        };
        let Some(byte) = self.bytes.get(letter).filter(|byte| byte.is_ascii_alphabetic()) else { return };
        if self.continues(letter + 1) {
            return;
        }
        let byte = byte.to_ascii_uppercase();
        let text = &self.bytes[start..end];
        let mut digits = [0; 8];
        let mut count = 0;
        for byte in text.iter().filter(|byte| byte.is_ascii_digit()) {
            if count == digits.len() {
                return;
            }
            digits[count] = byte - b'0';
            count += 1;
        }
        let dots = text.iter().filter(|byte| **byte == b'.').count();
        if text.len() != count + dots || !matches!(dots, 0 | 2) || text.first() == Some(&b'.') {
            return;
        }
        let base = if dots == 2 { 42 } else { 28 };
        if byte == b'K' && self.bytes[end] == b'-' && checks::cl_rut(&digits[..count], 10) {
            self.offer(Class::CL_RUT, start, letter + 1, base);
        }
        if count == 8 && super::words::dni_letter(checks::number32(&digits)) == byte {
            let base = if self.bytes[end] == b' ' { base - 10 } else { base };
            self.offer(Class::ES_DNI, start, letter + 1, base);
        }
    }

    pub(super) fn is_version_here(&self, start: usize) -> bool {
        self.has_flag(Hint::VERSION, start)
    }
}
