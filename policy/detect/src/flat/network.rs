//! Addresses of networks and devices.

use std::net::Ipv6Addr;

use super::{View, Word, marks};
use crate::class::Class;
use crate::flat::{ALNUM, HEX};

/// Versions do not count so far.
fn is_far_off(octets: &[u32; 4]) -> bool {
    octets[0] >= 20 && !octets.contains(&0) && octets.iter().filter(|octet| **octet >= 32).count() >= 3
}

impl View<'_> {
    /// An IPv4 address, where a run of digits is four groups with dots between them. `groups` are their places.
    pub(super) fn dotted(&mut self, groups: impl Iterator<Item = (usize, usize)>) {
        if !self.wanted.contains(Class::IP) {
            return;
        }
        let mut octets = [0_u32; 4];
        let mut count = 0;
        let (mut start, mut end) = (0, 0);
        for (from, to) in groups {
            let is_joined = count > 0 && self.bytes[from - 1] == b'.';
            if !is_joined {
                self.address(&octets, count, start, end);
                (start, count) = (from, 0);
            }
            if count < 4 {
                octets[count] = match &self.bytes[from..to] {
                    [b'0', _, ..] | [_, _, _, _, ..] => 999,
                    digits => digits.iter().fold(0, |octet, digit| octet * 10 + u32::from(digit - b'0')),
                };
            }
            count += 1;
            end = to;
        }
        self.address(&octets, count, start, end);
    }

    fn address(&mut self, octets: &[u32; 4], count: usize, start: usize, end: usize) {
        if count != 4 || octets.iter().any(|octet| *octet > 255) || octets[0] == 0 {
            return;
        }
        let before = self.byte_before(start);
        let before_that = start.checked_sub(2).map(|at| self.bytes[at]);
        // `Chrome/120.0.0.0`, `v-1.2.3.4`, `1.2.3.4-rc1`, `1.2.3.4_2`.
        let is_in_path = before == Some(b'/')
            && (self.is_below_somebody(start) || is_far_off(octets) && self.is_in_path(start));
        let is_product = matches!(before, Some(b'/' | b'-' | b'_' | b'.'))
            && !is_in_path
            && before_that.is_some_and(|byte| marks(byte) & ALNUM != 0 || byte == b')');
        let is_suffixed = matches!(self.bytes.get(end), Some(b'-' | b'_' | b'+'))
            && self.bytes.get(end + 1).is_some_and(u8::is_ascii_alphabetic);
        let end = self.with_prefix_length(end, 32);
        if self.hint.says(Class::IP) {
            self.offer(Class::IP, start, end, 25);
            return;
        }
        if is_product || is_suffixed {
            return;
        }
        if self.is_version_here(start) {
            // `v=` is a name for anything, and releases do not count so far in every place.
            let is_far = octets[0] >= 32 && octets.iter().all(|octet| *octet >= 20);
            let is_named_v = matches!(&self.bytes[..start], [.., b'v' | b'V', b'=' | b':']);
            if is_far && is_named_v {
                self.offer(Class::IP, start, end, 24);
            }
            return;
        }
        let base = match octets {
            // Nobody's: this host, everybody, and what is small enough to number chapters and releases.
            [127 | 224..=255, ..] => 0,
            octets
                if octets.iter().all(|octet| *octet < 10)
                    && octets.iter().any(|octet| *octet != octets[0]) =>
            {
                10
            }
            octets if octets.iter().all(|octet| *octet < 20) => 24,
            [_, 0, 0, 0] => 10,
            _ => 36,
        };
        self.offer(Class::IP, start, end, base);
    }

    /// Whether the word around a place is a path or an address of the web.
    fn is_in_path(&self, start: usize) -> bool {
        const PATH_MAX: usize = 256;
        let from = start.saturating_sub(PATH_MAX);
        let head = &self.bytes[from..start];
        let word = head.iter().rposition(|byte| matches!(byte, b' ' | b'"' | b'\'' | b'\n' | b'('));
        let word = &head[word.map_or(0, |space| space + 1)..];
        word.starts_with(b"/") || memchr::memmem::find(word, b"://").is_some()
    }

    /// A colon: MAC addresses and IPv6 are words of hexadecimal digits around it. Where to go on.
    pub(super) fn colons(&mut self, at: usize) -> usize {
        let is_part = |byte: &u8| marks(*byte) & HEX != 0 || *byte == b':' || *byte == b'.';
        let before =
            self.bytes[..at].iter().rev().take(4).take_while(|byte| marks(**byte) & HEX != 0).count();
        let start = at - before;
        let length = self.bytes[start..].iter().take(46).take_while(|byte| is_part(byte)).count();
        let mut end = start + length;
        while end > at && matches!(self.bytes[end - 1], b'.') {
            end -= 1;
        }
        if length > 2 && self.bytes[end - 1] == b':' && !self.bytes[..end].ends_with(b"::") {
            end -= 1;
        }
        let starts = match self.byte_before(start) {
            Some(b':') => self.is_label(start - 1),
            Some(byte) => marks(byte) & ALNUM == 0 && byte != b'.',
            None => true,
        };
        if length < 6 || !starts || self.continues(end) || length == 46 {
            return at + 1;
        }
        let text = &self.bytes[start..end];
        if text.len() == 17 && self.mac(start, end, b':') {
            return end;
        }
        let colons = text.iter().filter(|byte| **byte == b':').count();
        if colons < 2 {
            return at + 1;
        }
        let Some(Ok(address)) = self.text.get(start..end).map(str::parse::<Ipv6Addr>) else { return at + 1 };
        if address.is_loopback() || address.is_unspecified() {
            return end;
        }
        if let Some(inner) = address.to_ipv4_mapped() {
            let octets = inner.octets();
            let base = match octets {
                [0 | 127 | 224..=255, ..] => 0,
                octets if octets.iter().all(|octet| *octet < 10) => 24,
                _ => 36,
            };
            self.offer(Class::IP, start, self.with_prefix_length(end, 128), base);
            return end;
        }
        // `dead::beef` and `a::b` are also names in programs.
        let groups = address.segments().iter().filter(|group| **group != 0).count();
        let has_digit = text.iter().any(u8::is_ascii_digit);
        let first = address.segments()[0];
        let base = match (has_digit, groups) {
            (true, 4..) => 38,
            (true, _) if matches!(first, 0x2000..=0x3fff | 0xfc00..=0xfdff | 0xfe80..=0xfebf) => 32,
            _ => 8,
        };
        self.offer(Class::IP, start, self.with_prefix_length(end, 128), base);
        end
    }

    /// The end of `/24` after an address, which is part of it: what stands there after an address was made coarser must
    /// not be made coarser again. `end` where there is none.
    fn with_prefix_length(&self, end: usize, bits_max: u32) -> usize {
        let digits = self.bytes.get(end + 1..).unwrap_or_default();
        let count = digits.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
        let bits = digits[..count].iter().fold(0, |bits, digit| bits * 10 + u32::from(digit - b'0'));
        let ends = digits.get(count).is_none_or(|byte| marks(*byte) & ALNUM == 0);
        let is_length = self.bytes.get(end) == Some(&b'/') && count > 0 && bits <= bits_max && ends;
        if is_length { end + 1 + count } else { end }
    }

    /// Whether the word before a colon is a name for what follows, not a group of it: `ip:`, `mac:`, none.
    fn is_label(&self, colon: usize) -> bool {
        let word = self.bytes[..colon].iter().rev().take(5).take_while(|byte| marks(**byte) & ALNUM != 0);
        let (length, all) = word.fold((0, HEX), |(length, all), byte| (length + 1, all & marks(*byte)));
        let is_group = (1..=4).contains(&length) && all & HEX != 0;
        !is_group && self.byte_before(colon) != Some(b':')
    }

    /// Six pairs of hexadecimal digits with one separator.
    pub(super) fn mac(&mut self, start: usize, end: usize, separator: u8) -> bool {
        let text = &self.bytes[start..end];
        let is_shape = text.len() == 17
            && text
                .iter()
                .enumerate()
                .all(|(at, &byte)| if at % 3 == 2 { byte == separator } else { marks(byte) & HEX != 0 });
        let is_somebody = text.iter().any(|byte| !matches!(byte.to_ascii_lowercase(), b'0' | b':' | b'-'))
            && text.iter().any(|byte| !matches!(byte.to_ascii_lowercase(), b'f' | b':' | b'-'));
        if is_shape && is_somebody {
            // Pairs of digits only are also times and counts.
            let base = if text.iter().any(u8::is_ascii_alphabetic) { 42 } else { 24 };
            self.offer(Class::MAC, start, end, base);
        }
        is_shape
    }

    /// 0011.2233.aabb, from its first word on.
    pub(super) fn mac_dotted(&mut self, word: Word<'_>) {
        let Some(text) = self.bytes.get(word.start..word.start + 14) else { return };
        let is_shape = text
            .iter()
            .enumerate()
            .all(|(at, &byte)| if at % 5 == 4 { byte == b'.' } else { marks(byte) & HEX != 0 });
        let end = word.start + 14;
        let is_whole = self.byte_before(word.start) != Some(b'.') && !self.goes_on(end, b'.');
        if !is_shape || !is_whole || self.continues(end) {
            return;
        }
        // Groups of four digits are also codes of goods and other numbers.
        if text.iter().any(u8::is_ascii_alphabetic) || self.says(Class::MAC, word.start) {
            self.offer(Class::MAC, word.start, end, 26);
        }
    }

    pub(super) fn mac_bare(&mut self, word: Word<'_>) {
        if word.bytes.iter().all(|byte| marks(*byte) & HEX != 0) {
            self.offer(Class::MAC, word.start, word.end, 4);
        }
    }

    /// 00-1A-2B-3C-4D-5E, from its first pair on; whether it was one.
    pub(super) fn mac_dashed(&mut self, start: usize) -> bool {
        let end = start + 17;
        self.bytes.len() >= end
            && self.bytes[start + 2] == b'-'
            && self.bytes[start + 5] == b'-'
            && !self.continues(end)
            && !self.goes_on(end, b'-')
            && self.byte_before(start).is_none_or(|byte| byte != b'-')
            && self.mac(start, end, b'-')
    }

    /// Whether a separator and another word stand at a place.
    fn goes_on(&self, at: usize, separator: u8) -> bool {
        self.bytes.get(at) == Some(&separator) && self.continues(at + 1)
    }
}
