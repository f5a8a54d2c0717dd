//! What is done to a value, and how two demands on one value combine: a protection is the set of things it still
//! discloses, and combining is intersection (POLICY §4).

use sha2::{Digest, Sha256};

/// In the order of how little is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protection {
    Drop,
    Redact,
    Hash,
    Mask { first: u8, last: u8 },
}

impl Protection {
    /// Commutative, associative, idempotent, and never discloses more than either.
    pub(crate) fn meet(self, other: Protection) -> Protection {
        use Protection::{Drop, Hash, Mask, Redact};
        match (self, other) {
            (Drop, _) | (_, Drop) => Drop,
            (Hash, Hash) => Hash,
            (Mask { first: a, last: b }, Mask { first: c, last: d }) => {
                Mask { first: a.min(c), last: b.min(d) }
            }
            _ => Redact,
        }
    }

    /// As `govprotected` names it.
    pub(crate) fn form(self) -> String {
        match self {
            Protection::Drop => "drop".to_owned(),
            Protection::Redact => "redact".to_owned(),
            Protection::Hash => "hash".to_owned(),
            Protection::Mask { first, last } => format!("mask:{first}:{last}"),
        }
    }

    pub(crate) fn parse_form(text: &str) -> Option<Protection> {
        match text {
            "drop" => Some(Protection::Drop),
            "redact" => Some(Protection::Redact),
            "hash" => Some(Protection::Hash),
            _ => {
                let (first, last) = text.strip_prefix("mask:")?.split_once(':')?;
                Some(Protection::Mask { first: first.parse().ok()?, last: last.parse().ok()? })
            }
        }
    }

    /// The text that stands for `text`; `None` where nothing does. `class` is empty for a field.
    pub(crate) fn apply(self, text: &str, class: &str) -> Option<String> {
        match self {
            Protection::Drop => None,
            Protection::Redact if class.is_empty() => Some("[redacted]".to_owned()),
            Protection::Redact => Some(format!("[redacted:{class}]")),
            Protection::Hash => Some(hash(&canonical(text, class))),
            Protection::Mask { first, last } => Some(mask(text, usize::from(first), usize::from(last))),
        }
    }
}

/// The form a value already has, told by its grammar alone.
pub(crate) fn known_form(text: &str) -> Option<Protection> {
    if let Some(digits) = text.strip_prefix("sha256_") {
        let hex =
            digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        return hex.then_some(Protection::Hash);
    }
    let inner = text.strip_prefix("[redacted")?.strip_suffix(']')?;
    let class = inner.strip_prefix(':').unwrap_or(inner);
    let good = inner.is_empty()
        || (inner.len() > 1 && class.bytes().all(|b| b.is_ascii_lowercase() || b"-.*".contains(&b)));
    good.then_some(Protection::Redact)
}

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256_{hex}")
}

/// One form for values that mean the same, so that they give the same hash.
fn canonical(text: &str, class: &str) -> String {
    match class {
        "contact.email" => text.to_lowercase(),
        "payment.card" | "payment.iban" => {
            text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase()
        }
        "contact.phone" => text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect(),
        _ => text.to_owned(),
    }
}

/// Letters, digits and `*` are characters, everything else stays. Each side is cut to a third of them, so that a short
/// value is not shown whole.
fn mask(text: &str, first: usize, last: usize) -> String {
    let counts = |c: &char| c.is_alphanumeric() || *c == '*';
    let total = text.chars().filter(counts).count();
    let (first, last) = (first.min(total / 3), last.min(total / 3));
    let mut seen = 0;
    text.chars()
        .map(|c| {
            if !counts(&c) {
                return c;
            }
            seen += 1;
            if seen <= first || seen > total - last { c } else { '*' }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Protection> {
        let mut all = vec![Protection::Drop, Protection::Redact, Protection::Hash];
        for first in 0..4 {
            for last in 0..4 {
                all.push(Protection::Mask { first, last });
            }
        }
        all
    }

    #[test]
    fn the_meet_is_a_semilattice() {
        for a in all() {
            assert_eq!(a.meet(a), a);
            for b in all() {
                assert_eq!(a.meet(b), b.meet(a));
                for c in all() {
                    assert_eq!(a.meet(b).meet(c), a.meet(b.meet(c)));
                }
            }
        }
    }

    #[test]
    fn a_mask_applied_again_changes_nothing() {
        for text in ["4111 1111 1111 1111", "ab", "", "anna@example.com", "é号x9-1", "DE89370400440532013000"]
        {
            for first in 0..6 {
                for last in 0..6 {
                    let once = mask(text, first, last);
                    assert_eq!(mask(&once, first, last), once, "{text}");
                }
            }
        }
        assert_eq!(mask("4111 1111 1111 1111", 0, 4), "**** **** **** 1111");
        assert_eq!(mask("12", 4, 4), "**");
    }

    #[test]
    fn forms_are_known_by_their_exact_grammar() {
        assert_eq!(known_form("[redacted]"), Some(Protection::Redact));
        assert_eq!(known_form("[redacted:contact.email]"), Some(Protection::Redact));
        assert_eq!(known_form("[redacted by hand]"), None);
        assert_eq!(known_form(&hash("x")), Some(Protection::Hash));
        assert_eq!(known_form("sha256_12"), None);
    }
}
