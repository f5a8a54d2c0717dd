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
