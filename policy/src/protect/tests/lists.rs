//! `govprotected`: what is known of values that were protected before.

use super::*;

/// The event after the demands of two borders.
#[track_caller]
fn after(data: &str, first: &[Demand], second: &[Demand]) -> String {
    let world = World::new();
    let once = world.once(&json(data), first);
    show(&world.once(&once, second))
}

#[test]
fn a_masked_card_is_still_a_card() {
    let data = format!(r#"{{"card": "{CARD}"}}"#);
    let mask = [by_class("payment.card", LAST_FOUR)];
    let listed = "/data/card payment.card";
    let seen = |second: &Demand| after(&data, &mask, std::slice::from_ref(second));
    assert_eq!(
        seen(&by_class("payment", Protection::Redact)),
        format!(r#"{{"card": "[redacted:payment.card]"}} [{listed} redact]"#)
    );
    assert_eq!(seen(&by_class("payment", Protection::Drop)), format!("{{}} [{listed} drop]"));
    assert_eq!(
        seen(&by_class("payment", Protection::Mask { first: 1, last: 2 })),
        format!(r#"{{"card": "**** **** **** **11"}} [{listed} mask:0:2]"#)
    );
    let same = format!(r#"{{"card": "**** **** **** 1111"}} [{listed} mask:0:4]"#);
    assert_eq!(seen(&by_class("payment", Protection::Mask { first: 6, last: 9 })), same);
    assert_eq!(seen(&by_class("contact", Protection::Drop)), same);
}

#[test]
fn what_a_field_rule_masked_is_known_to_later_class_rules() {
    let data = format!(r#"{{"x": "{CARD}"}}"#);
    let seen = after(&data, &[by_field("$.data.x", LAST_FOUR)], &[by_class("payment", Protection::Redact)]);
    assert_eq!(seen, r#"{"x": "[redacted:payment.card]"} [/data/x payment.card redact]"#);
}

#[test]
fn part_of_a_token_is_never_shown() {
    let data = format!(r#"{{"m": "ask {MAIL}", "x": "{MAIL}"}}"#);
    let tokens = [by_class("contact", TOKEN)];
    for second in [LAST_FOUR, SEALED, Protection::Hash, ladder("year")] {
        let seen = after(&data, &tokens, &[by_field("$.data.*", second)]);
        let second_is_hash = second == Protection::Hash;
        assert!(seen.starts_with(r#"{"m": "[redacted]", "x": "#), "{seen}");
        assert_eq!(
            seen.contains(r#""x": "tok_"#),
            second_is_hash,
            "a token shows no more than a hash: {seen}"
        );
    }
    let same = after(&data, &tokens, &tokens);
    assert_eq!(same, after(&data, &tokens, &[]));
    // Another scope cannot be made of a token.
    let narrower = Protection::Pseudonymise { key: TOKENS, scope: Scope::TOPIC };
    let seen = after(&data, &tokens, &[by_class("contact", narrower)]);
    assert!(!seen.contains("tok_") && seen.matches("[redacted:contact.email]").count() == 2, "{seen}");
}

#[test]
fn the_list_knows_the_scope_of_a_token() {
    let world = World::new();
    let event = world.once(&json(&format!(r#"{{"x": "{MAIL}"}}"#)), &[by_class("contact", TOKEN)]);
    assert_eq!(list(&event), "/data/x contact.email pseudonymise:tokens.1:destination");
    let same = [by_field("$.data.x", TOKEN)];
    assert_eq!(world.protect(&event, &same), Ok(None));
    // An application lost the list: the token may be of the widest scope.
    let lost = event.to_builder().remove_attribute(GOVPROTECTED).build().expect("an event");
    assert_eq!(show(&world.once(&lost, &same)), r#"{"x": "[redacted]"} [/data/x - redact]"#);
}

#[test]
fn an_index_means_the_same_element_at_every_border() {
    let demands = [by_field("$.data.l[0]", Protection::Drop), by_field("$.data.l[2].a", LAST_FOUR)];
    let data = r#"{"l": ["zero", "one", {"a": "abcdef"}, "three"]}"#;
    let expected = r#"{"l": ["one", {"a": "****ef"}, "three"]} [/data/l - drop:0,/data/l/2/a - mask:0:2]"#;
    // `World::once` asserts that a second pass changes nothing.
    let seen = after(data, &demands, &[]);
    assert_eq!(seen.replace("mask:0:4", "mask:0:2"), expected);
    let more = [by_field("$.data.l[3]", Protection::Drop)];
    let seen = after(data, &demands, &more);
    assert!(seen.starts_with(r#"{"l": ["one", {"a": "****ef"}]}"#) && seen.contains("drop:0.3"), "{seen}");
    let later = [by_field("$.data.l[1]", LAST_FOUR)];
    let seen = after(data, &demands, &later);
    assert!(seen.contains("/data/l/1 - mask:0:4") && seen.contains(r#"["**e", "#), "{seen}");
    let inner = r#"[[1, 2], [3, [4, 5]]]"#;
    let first = [by_field("$.data[0]", Protection::Drop), by_field("$.data[1][1][0]", Protection::Drop)];
    let seen = after(inner, &first, &[by_field("$.data[1][1][1]", Protection::Redact)]);
    assert!(seen.starts_with("[[3, [null]]]"), "{seen}");
}

#[test]
fn a_pointer_goes_with_the_names_on_its_way() {
    let data = format!(r#"{{"{MAIL}": {{"card": "{CARD}", "b": "x"}}, "a b,*/~%": "{CARD}"}}"#);
    let first = [by_class("payment", LAST_FOUR), by_field("$.data.*.b", Protection::Drop)];
    let seen = after(&data, &first, &[by_class("contact", Protection::Redact)]);
    let (_, list) = seen.split_once(" [").expect("a list");
    assert!(!list.contains('@'), "{list}");
    assert!(list.contains("/data/[redacted:contact.email]/card payment.card mask:0:4"), "{list}");
    let seen = after(&data, &first, &[by_class("payment", Protection::Drop)]);
    assert_eq!(seen.matches("1111").count(), 0, "{seen}");
}

#[test]
fn a_list_that_is_full_says_less_of_where_and_never_less_of_what() {
    let world = World::new();
    for (count, mark) in [(400, "/data/l/*/card"), (3, "/data/l/2/card")] {
        let items: Vec<String> =
            (0..count).map(|n| format!(r#"{{"card": "{CARD}", "n": "x-{n}"}}"#)).collect();
        let event = json(&format!(r#"{{"l": [{}]}}"#, items.join(", ")));
        let masked = world.once(&event, &[by_class("payment.card", LAST_FOUR)]);
        assert!(list(&masked).contains(mark), "{}", list(&masked));
        let redacted = world.once(&masked, &[by_class("payment.card", Protection::Redact)]);
        let text = redacted.data_text().expect("JSON");
        assert_eq!((text.matches("1111").count(), text.matches("[redacted:").count()), (0, count));
        assert_eq!(text.matches("x-").count(), count, "what was not masked stays");
    }
    // Under so many names that only `**` is left.
    let members: Vec<String> = (0..400).map(|n| format!(r#""name-{n}": {{"c{n}": "{CARD}"}}"#)).collect();
    let event = json(&format!("{{{}, \"free\": \"text\"}}", members.join(", ")));
    let masked = world.once(&event, &[by_class("payment.card", LAST_FOUR)]);
    assert_eq!(list(&masked), "/data/** payment.card mask:0:4");
    let redacted = world.once(&masked, &[by_class("payment.card", Protection::Redact)]);
    let text = redacted.data_text().expect("JSON");
    assert_eq!((text.matches("1111").count(), text.matches("\"text\"").count()), (0, 1));
}

#[test]
fn a_list_that_cannot_be_shortened_stops_the_event() {
    let world = World::new();
    let elements: Vec<String> =
        (0..4000).map(|n| if n % 2 == 0 { "\"x\"".to_owned() } else { format!("\"{CARD}\"") }).collect();
    let event = json(&format!("[{}]", elements.join(",")));
    let failed = world.protect(&event, &[by_class("payment", Protection::Drop)]).expect_err("too many");
    assert_eq!((failed.why, failed.rules.as_slice()), (Unprotectable::ListFull, &[0][..]));
}

#[test]
fn entries_of_a_later_version_protect_in_an_unknown_way() {
    let world = World::new();
    let event = json(r#"{"card": "fold 7"}"#).to_builder();
    let event =
        event.attribute(GOVPROTECTED, AttributeValue::String("/data/card payment.card fold:7,junk")).build();
    let event = event.expect("an event");
    assert_eq!(world.protect(&event, &[by_class("contact", Protection::Redact)]), Ok(None));
    let seen = show(&world.once(&event, &[by_class("payment", LAST_FOUR)]));
    assert!(seen.starts_with(r#"{"card": "[redacted:payment.card]"}"#), "{seen}");
}

#[test]
fn of_two_members_with_one_name_each_keeps_what_is_listed_of_it() {
    let world = World::new();
    let first = [by_field("$.data..s", Protection::Redact), by_field("$.data", Protection::Hash)];
    let once = world.once(&json(r#"{"s":[],"s":[1]}"#), &first);
    assert_eq!(list(&once), "/data/s*2 - redact");
    let given = world.once(&once, &[by_field("$.data..s", SEALED)]);
    assert_eq!(list(&given), "/data/s - encrypt:fields.1,/data/s*2 - redact");
}
