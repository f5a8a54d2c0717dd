//! Mail addresses: the dot-atom form of RFC 5322 with a domain that could be one.

use super::{Class, Finding};

pub(super) fn find(text: &str, found: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    for at in bytes.iter().enumerate().filter(|(_, b)| **b == b'@').map(|(at, _)| at) {
        let start = bytes[..at].iter().rposition(|b| !is_local(*b)).map_or(0, |before| before + 1);
        let end = at + 1 + bytes[at + 1..].iter().take_while(|b| is_domain(**b)).count();
        // Punctuation around an address is not part of it.
        let start = start + bytes[start..at].iter().take_while(|b| !b.is_ascii_alphanumeric()).count();
        let trailing = bytes[at + 1..end].iter().rev().take_while(|b| !b.is_ascii_alphanumeric()).count();
        let end = end - trailing;
        if start < at && at - start <= 64 && is_plausible(&text[start..at], &text[at + 1..end]) {
            found.push(Finding { class: Class::Email, range: start..end });
        }
    }
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte)
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

fn is_plausible(local: &str, domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    let good = |label: &&str| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    let top = labels.last().copied().unwrap_or_default();
    let has_top = top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic()) || top.starts_with("xn--");
    labels.len() >= 2 && labels.iter().all(good) && has_top && !local.contains("..") && !local.ends_with('.')
}
