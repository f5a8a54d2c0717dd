//! Published examples and look-alikes.

use super::*;

#[track_caller]
fn check(key: Option<&str>, text: &str, expected: &[(Class, &str)]) {
    let found = find(text, key);
    let found: Vec<(Class, &str)> = found.iter().map(|f| (f.class, &text[f.range.clone()])).collect();
    assert_eq!(found, expected, "{text:?}");
}

#[test]
fn cards_of_every_network_are_found() {
    for card in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5555555555554444",
        "2223003122003222",
        "2720992720992729",
        "378282246310005",
        "3782 822463 10005",
        "6011111111111117",
        "3530111333300000",
        "30569309025904",
        "6200000000000005",
        "2200000000000004",
    ] {
        check(None, card, &[(Class::Card, card)]);
        check(None, &format!("卡号{card}号"), &[(Class::Card, card)]);
    }
}

#[test]
fn numbers_that_only_look_like_cards_stay() {
    for text in [
        "4111111111111112",
        "0000000000000000",
        "x4111111111111111",
        "41111111111111110000000",
        "1700000000000",
        "0.4111111111111111",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "9999999999999995",
        "2721000000000004",
        "2026-11-20 10:00:00",
        "41 11 11 11 11 11 11 11",
    ] {
        check(None, text, &[]);
    }
}

#[test]
fn account_numbers_are_found_by_country_and_check_digits() {
    for iban in [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB29NWBK60161331926819",
        "FR1420041010050500013M02606",
        "NL91ABNA0417164300",
        "CH9300762011623852957",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
        "BE68539007547034",
        "ES9121000418450200051332",
        "IT60X0542811101000000123456",
        "PL61109010140000071219812874",
    ] {
        check(None, iban, &[(Class::Iban, iban)]);
    }
    for text in [
        "DE88370400440532013000",
        "ZZ89370400440532013000",
        "DE8937040044053201300",
        "DE89370400440532013000A",
    ] {
        check(None, text, &[]);
    }
}

#[test]
fn addresses_are_found_without_the_punctuation_around_them() {
    check(None, "mail <ana@example.com>, or", &[(Class::Email, "ana@example.com")]);
    check(None, "邮箱li@example.com。", &[(Class::Email, "li@example.com")]);
    check(None, "first.last+tag@mail.example.co.uk.", &[(Class::Email, "first.last+tag@mail.example.co.uk")]);
    for text in ["@example.com", "ana@", "ana@localhost", "a..b@example.com", "user@1.2.3.4", "git@host:repo"]
    {
        check(None, text, &[]);
    }
}

#[test]
fn phones_need_a_plus_or_a_key_that_says_so() {
    check(None, "call +49 30 901820 now", &[(Class::Phone, "+49 30 901820")]);
    check(None, "+1-202-555-0143", &[(Class::Phone, "+1-202-555-0143")]);
    check(None, "+8613800138000", &[(Class::Phone, "+8613800138000")]);
    check(Some("mobilePhone"), "030 901820", &[(Class::Phone, "030 901820")]);
    check(Some("orderNumber"), "030901820", &[]);
    check(None, "1+1234567", &[]);
    check(None, "+1 202 555", &[]);
}

#[test]
fn full_width_digits_are_digits_and_places_are_those_of_the_text() {
    let text = "卡４１１１１１１１１１１１１１１１です";
    check(None, text, &[(Class::Card, "４１１１１１１１１１１１１１１１")]);
}
