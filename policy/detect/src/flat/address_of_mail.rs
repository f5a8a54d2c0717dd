//! Addresses of mail, and names and passwords in URLs (RFC 5321, RFC 3986).

use super::{View, marks};
use crate::class::Class;
use crate::flat::DIGIT;
use crate::keys::Hint;

const LOCAL_MAX: usize = 64;
const DOMAIN_MAX: usize = 253;

/// Ends that look like those of domains, of files, units and hosts that are not on the Internet. In order, for the
/// search.
const NOT_DOMAINS: [u128; 69] = packed_all([
    "avi", "bmp", "cfg", "conf", "config", "css", "csv", "dat", "dll", "dmg", "doc", "docx", "eps", "exe",
    "gif", "gz", "htm", "html", "ico", "ini", "iso", "jar", "java", "jpeg", "jpg", "js", "json", "jsx",
    "lock", "log", "mjs", "mount", "mp3", "mp4", "msi", "pdf", "php", "png", "ppt", "psd", "rpm", "scss",
    "service", "slice", "socket", "sql", "svg", "swf", "tar", "target", "tgz", "tif", "tiff", "timer",
    "toml", "ts", "tsx", "ttf", "txt", "war", "wav", "webm", "webp", "woff", "xls", "xlsx", "xml", "yaml",
    "yml",
]);
const NOT_PUBLIC: [u128; 10] = packed_all([
    "cluster",
    "corp",
    "docker",
    "internal",
    "intranet",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "svc",
]);

/// Up to sixteen bytes as a number: in order like the texts, and compared at once.
const fn packed(text: &[u8]) -> u128 {
    let mut packed = 0;
    let mut at = 0;
    while at < 16 {
        packed = packed << 8 | if at < text.len() { text[at] as u128 } else { 0 };
        at += 1;
    }
    packed
}

const fn packed_all<const N: usize>(texts: [&str; N]) -> [u128; N] {
    let mut all = [0; N];
    let mut at = 0;
    while at < N {
        all[at] = packed(texts[at].as_bytes());
        at += 1;
    }
    all
}

/// Bytes that stand in the local part of an address as it is usually written.
static LOCAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    let signs = b"!#$%&'*+-/=?^_`{|}~.";
    let mut at = 0;
    while at < signs.len() {
        table[signs[at] as usize] = true;
        at += 1;
    }
    table
};

impl View<'_> {
    /// An `@`; where to go on.
    pub(super) fn mail(&mut self, at: usize) -> usize {
        let start = self.local_start(at);
        let end = self.domain_end(at + 1);
        if start == at || end == at + 1 {
            return at + 1;
        }
        let local = &self.bytes[start..at];
        let domain = &self.text[at + 1..end];
        let Some((_, top)) = domain.rsplit_once('.') else { return at + 1 };
        let top = top.as_bytes();
        let mut lower = [0; 16];
        if let Some(lower) = lower.get_mut(..top.len()) {
            lower.copy_from_slice(top);
            lower.make_ascii_lowercase();
        }
        let is_international = lower.starts_with(b"xn--") || top.starts_with(b"xn--");
        let is_top = top.len() >= 2 && !top.iter().any(|byte| marks(*byte) & DIGIT != 0) || is_international;
        // What is longer is in no list.
        let number = packed(&lower);
        let is = |list: &[u128]| list.binary_search(&number).is_ok();
        // `git@github.com:acme/shop.git` names a repository, and behind `://` stands a name for a login.
        let is_repository = self.bytes.get(end) == Some(&b':')
            && (local == b"git"
                || self.bytes.get(end + 1).is_some_and(u8::is_ascii_alphabetic) && local.len() <= 3);
        let in_authority = self.bytes[..start].ends_with(b"://") || self.is_password(start);
        if !is_top || is(&NOT_DOMAINS) || is_repository || in_authority || self.is_left_over(start) {
            return at + 1;
        }
        let is_none = !self.says(Class::EMAIL, start) && self.is_no_mail(start);
        let base = if is_none || is(&NOT_PUBLIC) { 10 } else { 42 };
        self.offer(Class::EMAIL, start, end, base);
        end
    }

    /// Whether the name of the field, or the word straight before, says that it is something else.
    fn is_no_mail(&self, start: usize) -> bool {
        const WORD_MAX: usize = 32;
        if self.hint.has(Hint::NOT_MAIL) {
            return true;
        }
        if !self.words_before(start).has(Hint::NOT_MAIL) {
            return false;
        }
        let head = self.text[..start].trim_end_matches(|c: char| !c.is_alphanumeric());
        let length = head.bytes().rev().take(WORD_MAX).take_while(|byte| !byte.is_ascii_whitespace()).count();
        head.get(head.len() - length..).is_none_or(|word| Hint::of(word).has(Hint::NOT_MAIL))
    }

    /// Whether the local part stands behind `://name:`, alone or as the end of a password.
    fn is_password(&self, start: usize) -> bool {
        let head = &self.bytes[start.saturating_sub(80)..start];
        let Some(slash) = memchr::memrchr(b'/', head) else { return false };
        let authority = &head[slash + 1..];
        let is_end = |byte: &u8| matches!(byte, b'?' | b'#' | b' ' | b'"' | b',' | b';' | b'=');
        head[..=slash].ends_with(b"://")
            && memchr::memchr(b':', authority).is_some()
            && !authority.iter().any(is_end)
    }

    /// `@a@b.example` is a name at a social network, and `a@b@c.example` no address at all.
    fn is_left_over(&self, start: usize) -> bool {
        self.byte_before(start) == Some(b'@')
    }

    fn local_start(&self, at: usize) -> usize {
        let mut start = at;
        while let Some(&byte) = self.bytes[..start].last() {
            let length = if byte.is_ascii() {
                usize::from(LOCAL[usize::from(byte)])
            } else {
                let letter = self.text[..start].chars().next_back().filter(|c| is_letter_of_alphabet(*c));
                letter.map_or(0, char::len_utf8)
            };
            if length == 0 || at - (start - length) > LOCAL_MAX {
                break;
            }
            start -= length;
        }
        // What addresses may begin with by the standard mostly is punctuation of the text around them: `<a=b&to=x@y>`.
        let local = &self.bytes[start..at];
        if let Some(cut) = local.iter().rposition(|byte| b"/=?&|{}*!#$`^~".contains(byte)) {
            start += cut + 1;
        }
        while start < at && matches!(self.bytes[start], b'.' | b'\'' | b'-' | b'+' | b'%') {
            start += 1;
        }
        if start < at && self.bytes[at - 1] == b'.' { at } else { start }
    }

    fn domain_end(&self, start: usize) -> usize {
        let mut end = start;
        let mut label = 0;
        for (offset, c) in self.text[start..].char_indices() {
            let place = start + offset;
            if offset > DOMAIN_MAX {
                break;
            }
            match c {
                '.' if label > 0 => label = 0,
                '-' if label > 0 => label += 1,
                c if c.is_ascii_alphanumeric() || is_letter_of_alphabet(c) => {
                    label += 1;
                    end = place + c.len_utf8();
                }
                _ => break,
            }
        }
        end
    }

    /// `://`: a name and a password before `@`; where to go on.
    pub(super) fn userinfo(&mut self, colon: usize) -> usize {
        let start = colon + 3;
        let authority = self.bytes[start..]
            .iter()
            .take(512)
            .take_while(|byte| {
                !matches!(byte, b'/' | b'?' | b'#' | b' ' | b'"' | b'\'' | b'<' | b'>' | b'\n' | b'\\')
            })
            .count();
        let authority = &self.bytes[start..start + authority];
        let has_scheme = self.byte_before(colon).is_some_and(|byte| byte.is_ascii_alphanumeric());
        let Some(at) = memchr::memrchr(b'@', authority).filter(|_| has_scheme) else { return start };
        let Some(split) = memchr::memchr(b':', &authority[..at]) else { return start };
        let password = &authority[split + 1..at];
        // `${PASSWORD}`, `<password>`, `***` are places for one.
        let is_place = password.starts_with(b"$")
            || password.starts_with(b"{")
            || password.starts_with(b"[")
            || password.iter().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.'));
        if password.is_empty() || is_place {
            return start;
        }
        self.offer(Class::URL_USERINFO, start, start + at, 45);
        start + at
    }
}

/// Letters of the Latin, Greek and Cyrillic scripts beyond ASCII. Scripts written without spaces stand right beside an
/// address without being part of it.
fn is_letter_of_alphabet(c: char) -> bool {
    matches!(u32::from(c), 0xc0..=0x24f | 0x370..=0x52f | 0x1e00..=0x1fff) && c.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_order() {
        assert!(NOT_DOMAINS.is_sorted() && NOT_PUBLIC.is_sorted() && !NOT_PUBLIC.contains(&0));
    }
}
