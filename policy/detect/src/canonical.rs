//! One spelling for each value, so that equal values give equal tokens (POLICY §5, canonical form).

use std::borrow::Cow;

use crate::class::Class;
use crate::flat::country;
use crate::fold;

/// The canonical form of a value of a class: cards and identifiers letters and digits only, in upper case; mail in
/// lower case; telephone numbers by E.164 where the country is in them; IBAN without spaces, in upper case;
/// everything else composed (NFC) with the forms of typography made plain.
pub fn canonical(class: Class, value: &str) -> Cow<'_, str> {
    let value = folded(value);
    if class == Class::EMAIL {
        return lowered(trimmed(value));
    }
    if class.is_in("contact.phone") {
        return phone(value, class);
    }
    let is_identifier = class.is_in("payment")
        || class.is_in("gov-id")
        || class.is_in("device")
        || class.is_in("vehicle")
        || class.is_in("org")
        || class.is_in("security");
    if is_identifier {
        return compact(value);
    }
    if class == Class::MAC {
        return lowered(compact(value));
    }
    if class.is_in("network") || class == Class::ETH {
        return lowered(trimmed(value));
    }
    if class.is_in("secret") || class == Class::BTC {
        return trimmed(value);
    }
    composed(trimmed(value))
}

fn folded(value: &str) -> Cow<'_, str> {
    if !fold::is_needed(value) {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    fold::fold(value, &mut text, |_| {});
    Cow::Owned(text)
}

fn trimmed(value: Cow<'_, str>) -> Cow<'_, str> {
    match value {
        Cow::Borrowed(value) => Cow::Borrowed(value.trim()),
        Cow::Owned(value) if value.trim().len() == value.len() => Cow::Owned(value),
        Cow::Owned(value) => Cow::Owned(value.trim().to_owned()),
    }
}

fn lowered(value: Cow<'_, str>) -> Cow<'_, str> {
    if value.chars().any(char::is_uppercase) { Cow::Owned(value.to_lowercase()) } else { value }
}

/// Letters and digits only, in upper case. A machine readable zone keeps its filler.
fn compact(value: Cow<'_, str>) -> Cow<'_, str> {
    let stays = |c: char| c.is_alphanumeric() || c == '<';
    if value.chars().all(|c| stays(c) && !c.is_lowercase()) {
        return value;
    }
    Cow::Owned(value.chars().filter(|c| stays(*c)).flat_map(char::to_uppercase).collect())
}

/// `+`, country code and national number. Without a country only the digits.
fn phone(value: Cow<'_, str>, class: Class) -> Cow<'_, str> {
    let is_international = value.trim_start().starts_with('+');
    let without_trunk = if is_international { value.replacen("(0)", "", 1) } else { value.into_owned() };
    let mut digits: String = without_trunk.chars().filter(char::is_ascii_digit).collect();
    let mut has_country = is_international;
    if !has_country && let Some(rest) = digits.strip_prefix("00") {
        let numbers: Vec<u8> = rest.bytes().map(|byte| byte - b'0').collect();
        if country(&numbers).is_some() {
            digits = rest.to_owned();
            has_country = true;
        }
    }
    // A Chinese mobile number without its country is one of mainland China.
    if !has_country && class == Class::CN_MOBILE && digits.len() == 11 {
        digits.insert_str(0, "86");
        has_country = true;
    }
    if has_country {
        digits.insert(0, '+');
    }
    Cow::Owned(digits)
}

/// Combining marks joined to their letters.
fn composed(value: Cow<'_, str>) -> Cow<'_, str> {
    use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
    if is_nfc_quick(value.chars()) == IsNormalized::Yes {
        return value;
    }
    Cow::Owned(value.nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_value_have_one_form() {
        for (class, spellings) in [
            (
                Class::CARD,
                &[
                    "4111 1111 1111 1111",
                    "4111-1111-1111-1111",
                    "4111111111111111",
                    "４１１１ 1111 1111 1111",
                ][..],
            ),
            (Class::IBAN, &["DE89 3704 0044 0532 0130 00", "de89370400440532013000"]),
            (Class::EMAIL, &["Li@Example.com", " li@example.com"]),
            (Class::PHONE, &["+44 (0)20 7946 0958", "+442079460958", "0044 20 7946 0958"]),
            (Class::CN_MOBILE, &["138 0013 8000", "+86 138-0013-8000", "13800138000"]),
            (Class::ES_DNI, &["12.345.678-Z", "12345678z"]),
            (Class::NAME, &["Jos\u{e9}", "Jose\u{301}"]),
            (Class::MAC, &["00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e", "001A.2B3C.4D5E"]),
        ] {
            let forms: Vec<_> = spellings.iter().map(|spelling| canonical(class, spelling)).collect();
            assert!(forms.iter().all(|form| *form == forms[0]), "{class}: {forms:?}");
        }
        assert_eq!(canonical(Class::PHONE, "(415) 555-2671"), "4155552671");
        assert_eq!(canonical(Class::PHONE, "+1 415 555 2671"), "+14155552671");
    }
}
