//! One value, and what stands in its place.

use std::borrow::Cow;

use aws_lc_rs::digest;
use icu_normalizer::ComposingNormalizerBorrowed;
use meshbridge_detect::{Class, canonical};
use meshbridge_event::Event;

use super::Crossing;
use super::demand::{Demanded, Label};
use super::generalise::generalise;
use super::seal::{Binding, Kind, Randomness, pseudonym, seal};
use crate::keys::{KeyRef, KeyRing, KeyTable, SECRET_BYTES};
use crate::protection::{Ladder, Protection, Token, tokens};

/// The zone does not hold the secret of a key that a demand names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MissingKey(pub(crate) KeyRef);

/// What stands in place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) text: String,
    /// What was done in fact: what a ladder cannot read is redacted.
    pub(crate) form: Protection,
}

/// Makes the replacements of one evaluation.
pub(crate) struct Maker<'a> {
    keys: &'a KeyTable,
    ring: &'a dyn KeyRing,
    randomness: &'a Randomness,
    event: &'a Event,
    crossing: Crossing<'a>,
    /// Values sealed so far.
    sealed: u32,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(
        keys: &'a KeyTable,
        ring: &'a dyn KeyRing,
        randomness: &'a Randomness,
        event: &'a Event,
        crossing: Crossing<'a>,
    ) -> Maker<'a> {
        Maker { keys, ring, randomness, event, crossing, sealed: 0 }
    }

    pub(crate) fn keys(&self) -> &'a KeyTable {
        self.keys
    }

    /// What stands for `text`. `canonical` is the class by whose rules equal values are told. Nothing is dropped
    /// here, and nothing sealed.
    pub(crate) fn make(
        &self,
        demanded: &Demanded,
        canonical: Option<Class>,
        text: &str,
    ) -> Result<Made, MissingKey> {
        let Demanded { protection, label } = demanded;
        let made = match *protection {
            Protection::Hash => {
                let digest = digest::digest(&digest::SHA256, canonical_form(canonical, text).as_bytes());
                let mut out = String::with_capacity(71);
                out.push_str("sha256_");
                push_hex(&mut out, digest.as_ref());
                out
            }
            Protection::Mask { first, last } => mask(text, usize::from(first), usize::from(last)),
            Protection::Pseudonymise { key, scope } => {
                let secret = self.secret(key)?;
                let Crossing { to_zone, topic } = self.crossing;
                let body = pseudonym(secret, scope, to_zone, topic, &canonical_form(canonical, text));
                format!("tok_{}_{body}", self.keys.label(key))
            }
            Protection::Generalise { ladder, rung } => match generalise(ladder, rung, text) {
                Some(text) => text,
                None => return Ok(redacted(label)),
            },
            // Sealing goes through `seal`; dropping leaves no text.
            Protection::Redact | Protection::Encrypt { .. } | Protection::Drop => return Ok(redacted(label)),
        };
        Ok(Made { text: made, form: *protection })
    }

    /// A sealed value.
    pub(crate) fn seal(&mut self, key: KeyRef, kind: Kind, value: &str) -> Result<Made, MissingKey> {
        let secret = self.secret(key)?;
        let entry = self.keys.entry(key).ok_or(MissingKey(key))?;
        let binding = Binding {
            key: &entry.name,
            version: entry.version,
            source: self.event.source(),
            id: self.event.id(),
        };
        let body = seal(secret, &binding, kind, value, self.randomness, self.sealed);
        self.sealed = self.sealed.wrapping_add(1);
        let text = format!("enc_{}_{body}", self.keys.label(key));
        Ok(Made { text, form: Protection::Encrypt { key } })
    }

    fn secret(&self, key: KeyRef) -> Result<&'a [u8; SECRET_BYTES], MissingKey> {
        let entry = self.keys.entry(key).ok_or(MissingKey(key))?;
        self.ring.secret(&entry.name, entry.version).ok_or(MissingKey(key))
    }
}

/// `[redacted:<class>]`, or `[redacted]` by field.
pub(crate) fn redacted(label: &Label) -> Made {
    let text = match label.class.filter(|_| !label.by_field) {
        Some(class) => format!("[redacted:{}]", class.name()),
        None => "[redacted]".to_owned(),
    };
    Made { text, form: Protection::Redact }
}

/// One text for all values that mean the same: by the rules of the class, else NFC.
fn canonical_form(class: Option<Class>, text: &str) -> Cow<'_, str> {
    match class {
        Some(class) => canonical(class, text),
        None if text.is_ascii() => Cow::Borrowed(text),
        None => ComposingNormalizerBorrowed::new_nfc().normalize(text),
    }
}

fn push_hex(out: &mut String, bytes: &[u8]) {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().for_each(|byte| out.extend([digit(byte >> 4), digit(byte & 15)]));
}

/// Letters, digits and `*` are characters, everything else stays. Each side is cut to a third of them, so that a short
/// value is not shown whole, and so that masking twice is masking once with the smaller window.
pub(crate) fn mask(text: &str, first: usize, last: usize) -> String {
    let total = text.chars().filter(|c| is_masked(*c)).count();
    let (first, last) = (first.min(total / 3), last.min(total / 3));
    let mut seen = 0;
    let masked = text.chars().map(|c| {
        if !is_masked(c) {
            return c;
        }
        seen += 1;
        if seen <= first || seen > total - last { c } else { '*' }
    });
    masked.collect()
}

fn is_masked(c: char) -> bool {
    c.is_alphanumeric() || c == '*'
}

/// Whether a value can have a form that a list says: a list may be about several places of one name.
pub(crate) fn can_have(form: Protection, text: &str) -> bool {
    use Protection::{Drop, Encrypt, Generalise, Hash, Mask, Pseudonymise, Redact};
    match form {
        Drop => false,
        // Part of a longer text may have it.
        Mask { .. } => text.contains('*') || !text.chars().any(is_masked),
        Generalise { ladder: Ladder::Country, .. } => true,
        Generalise { .. } => text.bytes().any(|b| b.is_ascii_digit()),
        // What a later version does to a value may look like anything.
        Encrypt { key: KeyRef::FOREIGN } | Pseudonymise { key: KeyRef::FOREIGN, .. } => true,
        Redact if text == "null" => true,
        Redact | Hash | Encrypt { .. } | Pseudonymise { .. } => tokens(text).any(|(_, token)| {
            matches!(
                (form, token),
                (Redact, Token::Redacted)
                    | (Hash, Token::Hash)
                    | (Encrypt { .. }, Token::Sealed { .. })
                    | (Pseudonymise { .. }, Token::Pseudonym { .. })
            )
        }),
    }
}
