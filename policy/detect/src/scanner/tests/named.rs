//! What the names of fields, and the words before a value, add and take away.

use super::*;

/// All of a text, whatever it is worth.
fn low(text: &str) -> Vec<Finding> {
    scan(text, ClassSet::ALL, Confidence::Low).expect("within budget")
}

#[track_caller]
fn finds(text: &str, class: Class) {
    let found = all(text);
    assert!(found.iter().any(|finding| finding.class == class), "{text}: {found:?}");
}

#[track_caller]
fn finds_not(text: &str, class: Class) {
    let found = all(text);
    assert!(found.iter().all(|finding| finding.class != class), "{text}: {found:?}");
}

#[test]
fn an_order_does_not_hide_what_it_holds() {
    for parent in
        "order transaction invoice shipment item request ticket product batch booking task build".split(' ')
    {
        for key in "data value content text body raw details".split(' ') {
            finds(&format!(r#"{{"{parent}":{{"{key}":"{CARD}"}}}}"#), Class::CARD);
            finds(&format!(r#"{{"{parent}":{{"{key}":"536-22-1234"}}}}"#), Class::US_SSN);
            finds(&format!(r#"{{"{parent}":{{"details":{{"{key}":"44051401359"}}}}}}"#), Class::PL_PESEL);
            finds(&format!(r#"{{"{parent}":{{"{key}":"203.0.113.7"}}}}"#), Class::IP);
        }
        // Its number may be one that a card could have: that is worth a look, and no more.
        for key in ["id", "number", "reference"] {
            for text in [
                format!(r#"{{"{parent}":{{"{key}":"{CARD}"}}}}"#),
                format!(r#"{{"{parent}":{{"details":{{"{key}":{CARD}}}}}}}"#),
            ] {
                assert_eq!(all(&text), [], "{text}");
                assert_eq!(low(&text).len(), 1, "{text}");
            }
        }
    }
    for text in [
        r#"{"orderNumber":"4111111111111111"}"#,
        r#"{"order":"4111111111111111"}"#,
        r#"{"invoiceNo":4111111111111111}"#,
        r#"{"total":{"value":52998224725}}"#,
        r#"{"counts":[52998224725,44051401359]}"#,
        r#"{"offsets":{"value":52998224725}}"#,
    ] {
        assert_eq!(low(text), [], "{text}");
    }
}

#[test]
fn only_the_word_straight_before_says_that_a_number_is_benign() {
    for text in [
        "Invoice paid with 4111111111111111",
        "Order charged to 4111111111111111 today",
        "total: 50, 4111111111111111",
        "request 17 was paid by card-holder using 4111111111111111",
    ] {
        finds(&format!(r#"{{"m":"{text}"}}"#), Class::CARD);
    }
    finds(r#"{"request":"it was paid with 4111111111111111"}"#, Class::CARD);
    finds(r#"{"m":"request SA_ID=5803130899083"}"#, Class::ZA_ID);
    for text in [
        "order 4111111111111111",
        "see order no. 4111111111111111",
        "the order number is 4111111111111111",
        "order_id=4111111111111111",
        "message id: 4111111111111111",
        "orders 4012888888881881, 4111111111111111",
        "您的订单号是4111111111111111",
    ] {
        assert_eq!(all(&format!(r#"{{"m":"{text}"}}"#)), [], "{text}");
    }
}

#[test]
fn a_name_beside_the_other_names_of_a_person_is_theirs() {
    finds(r#"{"nom":"Dupont","prénom":"Marie"}"#, Class::NAME);
    assert_eq!(all(r#"{"nom":"Dupont","prénom":"Marie"}"#).len(), 2);
    assert_eq!(all(r#"{"apellido":"Ruiz","nombre":"Ana"}"#).len(), 2);
    finds(r#"{"shipTo":{"name":"Anna Schmidt"}}"#, Class::NAME);
    for text in [
        r#"{"producto":{"nombre":"Silla de oficina"}}"#,
        r#"{"article":{"nom":"Chaise longue"}}"#,
        r#"{"nom":"Chaise longue","prix":"12"}"#,
        r#"{"firstName":null,"name":"production"}"#,
    ] {
        assert_eq!(low(text), [], "{text}");
    }
}

#[test]
fn dates_of_birth_are_found_as_texts_write_them() {
    for (text, part) in [
        ("dob=2004-07-05T00:00:00Z", "2004-07-05T00:00:00Z"),
        ("dob=2004-07-05T00:00:00.000+02:00 ok", "2004-07-05T00:00:00.000+02:00"),
        ("born on: 08 Sep 1946\\nEnd", "08 Sep 1946"),
        ("born on: 08 Sep 1946;x", "08 Sep 1946"),
        ("(born 08 Sep 1946) x", "08 Sep 1946"),
        ("born 08 Sep 1946\\tx", "08 Sep 1946"),
        ("born 8 Sep 1946。 x", "8 Sep 1946"),
        ("born September 26, 1977", "September 26, 1977"),
        ("she was born Sept. 26, 1977 in Rome", "Sept. 26, 1977"),
        ("nascimento: 3 de fevereiro de 1980", "3 de fevereiro de 1980"),
        ("dob 03-FEB-80", "03-FEB-80"),
        ("дата рождения: 12 мая 1987", "12 мая 1987"),
    ] {
        check(&format!(r#"{{"m":"{text}"}}"#), Class::BIRTH_DATE, part, false);
    }
    check(r#"{"dob":"03-FEB-80"}"#, Class::BIRTH_DATE, "03-FEB-80", false);
    check(r#"{"nascimento":"3 de fevereiro de 1980"}"#, Class::BIRTH_DATE, "3 de fevereiro de 1980", false);
    for text in
        ["released September 26, 1977", "born 12 May 10:30", "born Tomorrow 12, 1977", "dob=2004-07-05Tx"]
    {
        finds_not(&format!(r#"{{"m":"{text}"}}"#), Class::BIRTH_DATE);
    }
}

#[test]
fn names_that_only_sound_like_those_of_people_add_nothing() {
    for text in [
        r#"{"call":{"id":"1712345678"}}"#,
        r#"{"cell":{"id":"310410123456"}}"#,
        r#"{"call_id":"1712345678","cellId":"310410123456"}"#,
        r#"{"run_id":123456785}"#,
        r#"{"run":{"id":123456785}}"#,
        r#"{"joint":{"position":[0.1234,1.5678]}}"#,
        r#"{"robot":{"coordinates":[0.125,0.875,1.5]}}"#,
    ] {
        assert_eq!(all(text), [], "{text}");
    }
    finds(r#"{"phone":{"number":"030 901820"}}"#, Class::PHONE);
    finds(r#"{"callerId":"030 901820"}"#, Class::PHONE);
    assert_eq!(all(r#"{"position":[13.4050,1.5200]}"#).len(), 2);
    finds(r#"{"run":"12.345.678-5"}"#, Class::CL_RUT);
}

#[test]
fn structures_of_standards_are_read() {
    let patient = r#"{"resourceType":"Patient","name":[{"family":"Chalmers","given":["Peter"]}]}"#;
    assert_eq!(all(patient).len(), 2);
    assert_eq!(all(r#"{"name":{"first":"Peter","last":"Chalmers"}}"#).len(), 2);
    finds(r#"{"address":{"line":["534 Erewhon St"]}}"#, Class::ADDRESS);
    finds(r#"{"address":[{"line":["534 Erewhon St"],"city":"PleasantVille"}]}"#, Class::ADDRESS);
    finds(r#"{"street":"Hauptstrasse","houseNumber":"12"}"#, Class::ADDRESS);
    finds(r#"{"street":"Broadway"}"#, Class::ADDRESS);
    finds(r#"{"op":"replace","path":"/ssn","value":"536221234"}"#, Class::US_SSN);
    finds(r#"[{"op":"add","path":"/customer/name","value":"Anna Schmidt"}]"#, Class::NAME);
    finds(r#"{"first_name":{"string":"Anna"}}"#, Class::NAME);
    finds(r#"{"ssn":{"N":"536221234"}}"#, Class::US_SSN);
    finds(r#"{"Item":{"ssn":{"S":"536221234"}}}"#, Class::US_SSN);
    finds(r#"{"customer":{"M":{"name":{"S":"Anna Schmidt"}}}}"#, Class::NAME);
    for text in [
        r#"{"first":"Peter","last":"Chalmers"}"#,
        r#"{"product":{"name":{"first":"Chair"}}}"#,
        r#"{"line":["534 Erewhon St"]}"#,
        r#"{"street":"unknown"}"#,
        r#"{"op":"replace","path":"/status","value":"536221234"}"#,
        r#"{"name":{"string":"production"}}"#,
    ] {
        assert_eq!(all(text), [], "{text}");
    }
}
