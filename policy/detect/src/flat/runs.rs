//! Runs of digits with single separators, offered to every validator of their length.

use super::{View, Word, card, marks};
use crate::checks;
use crate::class::Class;
use crate::finding::HIGH;
use crate::flat::{ALNUM, Kind};
use crate::keys::Hint;

const GROUPS_MAX: usize = 24;
const DIGITS_MAX: usize = 48;
/// `5443 8658 8124 7732` are no twelve digits.
const PART_OF_A_SERIES: i16 = -15;
/// No class has more digits.
const WINDOW_DIGITS_MAX: usize = 19;

/// Groups of digits with one separator between each two. Kept by the scanner, for its size.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    digits: [u8; DIGITS_MAX],
    groups: [Group; GROUPS_MAX],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    start: u32,
    end: u32,
    /// Index of its first digit.
    first: u8,
    /// How many digits.
    length: u8,
}

impl Run {
    pub(crate) fn new() -> Run {
        Run { digits: [0; DIGITS_MAX], groups: [Group::default(); GROUPS_MAX], count: 0 }
    }
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

impl View<'_> {
    /// Looks at a word of digits and what is joined to it; where to go on.
    pub(super) fn digits(&mut self, word: Word<'_>, run: &mut Run) -> usize {
        self.birth_date(word.start, word.end);
        if word.bytes.len() == 2 && self.bytes.get(word.end) == Some(&b'.') {
            self.dotted_cnpj(word.start);
        }
        let end = self.collect(word, run);
        if run.count == 0 {
            return word.end;
        }
        let whole_start = run.groups[0].start as usize;
        self.dotted(run.groups[..run.count].iter().map(|group| (group.start as usize, group.end as usize)));
        self.trailing_letter(whole_start, end);
        let groups = &run.groups[..run.count];
        let total: usize = groups.iter().map(|group| group.length as usize).sum();
        if total < 7 {
            return end;
        }
        let step = self.step_for_left_edge(whole_start);
        if groups.len() > 2 && total <= WINDOW_DIGITS_MAX {
            // Where the whole run is something for certain, its parts are nothing else.
            let known = self.hits.len();
            self.whole(run, total, step);
            if self.hits[known..].iter().any(|hit| hit.strength >= HIGH) {
                return end;
            }
            self.hits.truncate(known);
        }
        for (from, first) in groups.iter().enumerate() {
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
                let right = to + 1 == groups.len() || is_edge(last.end);
                if count < 7 || !left || !right {
                    continue;
                }
                let digits = &run.digits[first.first as usize..first.first as usize + count];
                // Groups like its own in front or behind: it is a part of a longer series.
                let is_like = |group: &Group| group.length == first.length && first.length == last.length;
                let is_part = to > from
                    && (from.checked_sub(1).is_some_and(|at| is_like(&groups[at]))
                        || groups.get(to + 1).is_some_and(is_like));
                let part_step = if is_part { PART_OF_A_SERIES } else { 0 };
                let window = Window {
                    digits,
                    pattern: if to == from { 0 } else { pattern },
                    separator,
                    start: first.start as usize,
                    end: last.end as usize,
                };
                let left_step = if from == 0 { step } else { 0 };
                self.window(&window, left_step + part_step, to + 1 - from == groups.len());
            }
        }
        end
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
        self.window(&window, step, true);
    }

    /// Reads groups from a word of digits on; the byte after the last one.
    fn collect(&self, word: Word<'_>, run: &mut Run) -> usize {
        run.count = 0;
        let mut used = 0;
        let (mut start, mut end) = (word.start, word.end);
        loop {
            let length = end - start;
            if used + length > DIGITS_MAX || run.count == GROUPS_MAX {
                // Too long for anything we know; what was read so far is not the whole of it either.
                run.count = if run.count == GROUPS_MAX { run.count } else { 0 };
                return run.groups[..run.count].last().map_or(end, |group| group.end as usize);
            }
            for (digit, byte) in run.digits[used..].iter_mut().zip(&self.bytes[start..end]) {
                *digit = byte - b'0';
            }
            run.groups[run.count] =
                Group { start: start as u32, end: end as u32, first: used as u8, length: length as u8 };
            run.count += 1;
            used += length;
            let joined = matches!(self.bytes.get(end), Some(b' ' | b'-' | b'.' | b'/'));
            let next = end + 1;
            let length = self
                .bytes
                .get(next..)
                .map_or(0, |rest| rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
            if !joined || length == 0 || self.continues(next + length) {
                return end;
            }
            (start, end) = (next, next + length);
        }
    }

    /// A number joined to a word in front, or an amount of money, is less likely to be what it looks like.
    fn step_for_left_edge(&self, start: usize) -> i16 {
        let Some(before) = self.byte_before(start) else { return 0 };
        let behind_word = start
            .checked_sub(2)
            .is_some_and(|at| marks(self.bytes[at]) & ALNUM != 0 || self.bytes[at] >= 0x80);
        match before {
            b'-' | b'_' | b'/' | b'.' if behind_word => -10,
            b'_' => -10,
            b'$' => -20,
            b'-' if self.kind == Kind::Text => -5,
            // The pound, yen and euro signs.
            0xa3 | 0xa5 | 0xac if self.text[..start].ends_with(['\u{a3}', '\u{a5}', '\u{20ac}']) => -20,
            _ => 0,
        }
    }

    fn window(&mut self, window: &Window<'_>, step: i16, is_whole: bool) {
        let step = step
            + match self.bytes.get(window.end) {
                Some(b'_' | b'%') => -10,
                Some(b'-') if self.continues(window.end + 1) => -10,
                _ => 0,
            };
        if is_whole {
            self.national_phone(window, step);
        }
        let d = window.digits;
        if let Some(base) = card::strength(window) {
            self.give(Class::CARD, window, base, step);
        }
        match d.len() {
            8 => self.eight(window, step),
            9 => self.nine(window, step),
            10 => self.ten(window, step),
            11 => self.eleven(window, step),
            12 => self.twelve(window, step),
            13 => self.thirteen(window, step),
            14 if checks::br_cnpj(d) => {
                let usual = d[8..11] == [0, 0, 0];
                let bare = if is_moment(d) {
                    5
                } else if usual {
                    30
                } else {
                    16
                };
                self.shaped(Class::BR_CNPJ, window, step, window.shape(bare, &[0x23342], 45));
            }
            15 => {
                if checks::fr_nir(d) {
                    let shape = window.shape(30, &[0x1222332, 0xd2, 0x122_2332], 45);
                    self.shaped(Class::FR_NIR, window, step, shape);
                }
                if checks::luhn(d) && !checks::is_pattern(d) {
                    self.shaped(Class::IMEI, window, step, window.shape(4, &[0x2661, 0x681], 32));
                }
            }
            18 if checks::cn_resident_id(&d[..17], d[17]) => {
                self.shaped(Class::CN_ID, window, step, window.shape(45, &[0x684, 0x6444], 45));
            }
            _ => {}
        }
    }

    fn eight(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        if checks::cl_rut(&d[..7], d[7]) {
            self.rut(window, step);
        }
    }

    /// With dots and a dash it is nothing else; the dash alone has a tenth of all numbers of this shape.
    fn rut(&mut self, window: &Window<'_>, step: i16) {
        let base = match window.pattern {
            0x1331 | 0x2331 => Some(40),
            0x71 | 0x81 if window.separator == b'-' => Some(22),
            0 => Some(0),
            _ => None,
        };
        self.shaped(Class::CL_RUT, window, step, base);
    }

    fn nine(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        let dashed = match (window.pattern, window.separator) {
            (0, _) => Some(0),
            (0x324, b'-') => Some(24),
            (0x324, _) => Some(18),
            _ => None,
        };
        if checks::us_ssn(d) {
            self.shaped(Class::US_SSN, window, step, dashed);
        }
        if checks::us_itin(d) {
            self.shaped(Class::US_ITIN, window, step, dashed);
        }
        let thirds = window.shape(2, &[0x333], if window.separator == b'-' { 22 } else { 16 });
        if checks::nl_bsn(d) {
            self.shaped(Class::NL_BSN, window, step, window.shape(3, &[0x423, 0x432, 0x333], 14));
        }
        if checks::ca_sin(d) {
            self.shaped(Class::CA_SIN, window, step, thirds.map(|base| base - if d[0] == 0 { 4 } else { 0 }));
        }
        if checks::au_tfn(d) {
            self.shaped(Class::AU_TFN, window, step, thirds.map(|base| base - 1));
        }
        if checks::us_aba(d) {
            self.shaped(Class::ABA, window, step, window.shape(1, &[0x441, 0x333], 6));
        }
        if checks::cl_rut(&d[..8], d[8]) {
            self.rut(window, step);
        }
    }

    fn ten(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        let moment = if window.pattern == 0 && is_epoch(d) { -10 } else { 0 };
        if checks::gb_nhs(d) {
            let grouped = if window.separator == b' ' { 22 } else { 17 };
            self.shaped(Class::GB_NHS, window, step + moment, window.shape(5, &[0x334], grouped));
        }
        if window.pattern == 0x64 && window.separator == b'-' {
            self.hetu(window.start, window.end);
        }
        if checks::se_personnummer(d) {
            let grouped = if window.separator == b'-' { 34 } else { 18 };
            self.shaped(Class::SE_PNR, window, step + moment, window.shape(12, &[0x64], grouped));
        }
        if checks::cz_rc(d) {
            let grouped = if window.separator == b'/' { 42 } else { 15 };
            self.shaped(Class::CZ_RC, window, step + moment, window.shape(11, &[0x64], grouped));
        }
    }

    fn eleven(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        if checks::br_cpf(d) {
            self.shaped(Class::BR_CPF, window, step, window.shape(22, &[0x3332, 0x92], 45));
        }
        if checks::de_tax_id(d) {
            self.shaped(Class::DE_TAX_ID, window, step, window.shape(23, &[0x2333], 38));
        }
        if checks::pl_pesel(d) {
            self.shaped(Class::PL_PESEL, window, step, window.shape(22, &[], 0));
        }
        if checks::tr_tckn(d) {
            self.shaped(Class::TR_TCKN, window, step, window.shape(22, &[0x3332], 22));
        }
        if checks::no_fodselsnummer(d) {
            self.shaped(Class::NO_FNR, window, step, window.shape(27, &[0x65], 42));
        }
        if checks::ar_cuit(d) {
            self.shaped(Class::AR_CUIT, window, step, window.shape(18, &[0x281], 42));
        }
        self.cn_mobile(window, step);
    }

    fn twelve(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        if checks::in_aadhaar(d) {
            self.shaped(
                Class::IN_AADHAAR,
                window,
                step,
                window.shape(7, &[0x444], if window.separator == b'-' { 22 } else { 24 }),
            );
        }
        if checks::jp_my_number(d) {
            self.shaped(
                Class::JP_MY_NUMBER,
                window,
                step,
                window.shape(4, &[0x444], if window.separator == b'-' { 14 } else { 20 }),
            );
        }
        if checks::se_personnummer(d) {
            let is_time = checks::number(&d[8..10]) < 24 && d[10] < 6;
            let bare = if is_time { 8 } else { 28 };
            let grouped = if window.separator == b'-' { 42 } else { 20 };
            self.shaped(Class::SE_PNR, window, step, window.shape(bare, &[0x84], grouped));
        }
    }

    fn thirteen(&mut self, window: &Window<'_>, step: i16) {
        let d = window.digits;
        let bare_step = match (window.pattern, self.kind) {
            (0, Kind::Number) if is_epoch(d) => step - 20,
            (0, Kind::Text) if is_epoch(d) => step - 4,
            _ => step,
        };
        if checks::kr_rrn(d) {
            let plus = if checks::kr_rrn_check(d) { 8 } else { 0 };
            let shape = window.shape(3, &[0x67], if window.separator == b'-' { 24 } else { 16 });
            self.shaped(Class::KR_RRN, window, bare_step, shape.map(|base| base + plus));
        }
        if checks::ro_cnp(d) {
            self.shaped(Class::RO_CNP, window, bare_step, window.shape(25, &[], 0));
        }
        if checks::ch_ahv(d) {
            self.shaped(Class::CH_AHV, window, step, window.shape(32, &[0x3442], 45));
        }
        if checks::th_id(d) {
            self.shaped(Class::TH_ID, window, bare_step, window.shape(4, &[0x14521], 42));
        }
        if checks::za_id(d) {
            self.shaped(
                Class::ZA_ID,
                window,
                bare_step,
                window.shape(26, &[0x6421, 0x64_21, 0x643, 0x6412], 36),
            );
        }
        if checks::jp_corporate(d) {
            self.shaped(Class::JP_CORPORATE, window, bare_step, window.shape(3, &[0x1444], 14));
        }
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

/// Seconds or milliseconds since 1970, of a time that events are from.
fn is_epoch(d: &[u8]) -> bool {
    let first = checks::number(&d[..4]);
    matches!(d.len(), 10 | 13) && (1400..2000).contains(&first)
}

/// Year to second, as a time is written without separators.
fn is_moment(d: &[u8]) -> bool {
    (1900..2100).contains(&checks::number(&d[..4]))
        && checks::is_date(checks::number32(&d[..4]), checks::number32(&d[4..6]), checks::number32(&d[6..8]))
        && checks::number(&d[8..10]) < 24
        && d[10] < 6
        && d[12] < 6
}
