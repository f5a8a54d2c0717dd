//! What expressions evaluate to.

use meshbridge_cel::{FailureKind, Limits, Scope, Steps, compile};
use serde_json::{Value, json};

use crate::support::Event;

fn data() -> Value {
    json!({
        "amount": 12_000, "rate": 0.25, "currency": "EUR", "note": null, "urgent": true, "big": 1e20,
        "customer": {"email": "a@example.com", "tags": ["vip", "new"], "age": 41},
        "lines": [{"sku": "A-1", "qty": 2}, {"sku": "B-22", "qty": 1}, {"sku": "C-333"}],
        "text": "grün ist schön", "number": "17", "scores": [1, 2.5, 3], "mixed": [1, "a", null], "a-b": 5,
        "matrix": [[1, 2], [3]],
    })
}

#[track_caller]
fn evaluate(source: &str, event: &Event) -> Result<bool, FailureKind> {
    let expression = match compile(source, &Scope::at_origin(), &Limits::default()) {
        Ok(expression) => expression,
        Err(problems) => panic!("{source}: {problems:?}"),
    };
    let mut steps = Steps::new(expression.cost());
    expression.evaluate(event, &mut steps).map_err(|failure| {
        assert!(source.get(failure.range()).is_some(), "{source}: the place of {failure:?}");
        failure.kind
    })
}

#[track_caller]
fn check(source: &str, expected: bool) {
    assert_eq!(evaluate(source, &Event::payment(data())), Ok(expected), "{source}");
}

#[track_caller]
fn fails(source: &str, expected: FailureKind) {
    assert_eq!(evaluate(source, &Event::payment(data())), Err(expected), "{source}");
}

#[test]
fn literals_and_operators_follow_the_language() {
    for source in [
        "true",
        "!false",
        "!!true",
        "1 + 2 * 3 == 7",
        "(1 + 2) * 3 == 9",
        "-7 / 2 == -3",
        "-7 % 2 == -1",
        "7.0 / 2.0 == 3.5",
        "0x1F == 31",
        "-9223372036854775808 < 0",
        "1e3 == 1000.0",
        ".5 == 0.5",
        "1 == 1.0",
        "1 < 1.5",
        "9007199254740993 > 9007199254740992.0",
        "\"a\" + 'b' == \"ab\"",
        "\"\\u00e9\\n\\x41\\101\\U0001F600\" == \"é\\nAA😀\"",
        "r\"\\d\" == \"\\\\d\"",
        "'''it's'''.size() == 4",
        "\"\"\"a\nb\"\"\" == \"a\\nb\"",
        "\"b\" > \"abc\"",
        "[1, 2] + [3] == [1, 2, 3]",
        "[1, 2] != [2, 1]",
        "[1] == [1.0]",
        "{\"a\": 1}[?\"a\"].orValue(0) == 1",
        "{\"a\": 1}.?b.orValue(7) == 7",
        "\"a\" in {\"a\": 1}",
        "true ? true : false",
        "false ? false : true ? true : false",
        "1 in [3, 2, 1]",
        "!(4 in [3, 2, 1])",
        "// a comment\ntrue // and one more",
        "null == null",
        "1 != null",
        "false < true",
        "0.0 / 0.0 != 0.0 / 0.0",
    ] {
        check(source, true);
    }
}

#[test]
fn variables_are_what_the_facts_say() {
    for source in [
        "topic == \"payments.settled.v1\"",
        "tokens[0] == \"payments\" && tokens.size() == 3",
        "tokens[?3].orValue(\"none\") == \"none\"",
        "tokens == [\"payments\", \"settled\", \"v1\"]",
        "\"settled\" in tokens",
        "from.zone == \"eu-1\" && to.zone != from.zone",
        "from.region == \"eu\" && from.jurisdiction == \"EU\" && to.cloud == \"aws\"",
        "to.?jurisdiction.orValue(\"none\") == \"none\"",
        "from.labels.?env.orValue(\"\") == \"prod\"",
        "from.labels[?\"env\"].orValue(\"\") == \"prod\"",
        "has(from.labels.env) && from.labels.env == \"prod\"",
        "\"env\" in from.labels && !(tokens[0] in to.labels)",
        "publisher.startsWith(\"svc-\")",
        "event.id == \"p-1\" && event.type.endsWith(\".settled\")",
        "event.?subject.orValue(\"\").contains(\"voice\")",
        "has(event.subject) && event.subject == \"invoice-7\"",
        "!has(event.traceparent)",
        "event.?priority.orValue(0) > 2",
        "event.?time.orValue(now) < now",
        "now - event.?time.orValue(now) == duration(\"1h\")",
    ] {
        check(source, true);
    }
}

#[test]
fn data_are_read_as_optionals_or_behind_guards() {
    for source in [
        "event.data.?amount.orValue(0.0) > 10000.0",
        "event.data.?absent.orValue(0) == 0",
        "event.data.?customer.?email.orValue(\"\") == \"a@example.com\"",
        "event.data.?customer.email.orValue(\"\") == \"a@example.com\"",
        "event.?data.?customer.age.orValue(0) == 41",
        "event.data.?amount.?deeper.orValue(\"none\") == \"none\"",
        "has(event.data.amount) && event.data.amount == 12000",
        "event.data.amount == 12000 && has(event.data.amount)",
        "has(event.data.customer.email) && event.data.customer.email.contains(\"@\")",
        "has(event.data.customer.age) && event.data.customer.?age.orValue(0) == 41",
        "!has(event.data.absent) || event.data.absent == 1",
        "!has(event.data.absent.below)",
        "has(event.data.amount) ? event.data.amount > 1 : true",
        "!has(event.data.absent) ? true : event.data.absent",
        "event.data.?amount.hasValue() && event.data.amount > 5",
        "event.data.?amount.hasValue() && event.data.?amount.value() > 5",
        "has(event.data.amount) && (event.data.amount > 1 || false)",
        "event.data[?\"a-b\"].orValue(0) == 5",
        "has(event.data.`a-b`) && event.data.`a-b` == 5",
        "event.data.?lines[?0].?qty.orValue(0) == 2",
        "event.data.?lines[?9].orValue(null) == null",
        "event.data.?lines[?-1].orValue(null) == null",
        "event.data.?note.orValue(1) == null",
        "has(event.data.note)",
        "event.data.?urgent.orValue(false)",
        "event.data.?absent.or(event.data.?amount).orValue(0) == 12000",
        "event.data.?amount.optMap(a, a > 5).orValue(false)",
        "!event.data.?absent.optMap(a, a > 5).hasValue()",
        "event.data.?customer.optFlatMap(c, c.?age).orValue(0) == 41",
        "(topic == \"x\" ? optional.none() : optional.of(3)).orValue(4) == 3",
        "[?event.data.?absent, ?event.data.?amount, 1].size() == 2",
        "event.data.?big.orValue(0) > 9223372036854775807",
        "event.data.?rate.orValue(0.0) * 4.0 == 1.0",
        "double(event.data.?amount.orValue(0)) * 0.5 == 6000.0",
        "\"email\" in event.data.?customer.orValue({})",
        "event.data.?customer.orValue({}).size() == 3",
        "event.data.?matrix[?0][?1].orValue(0) == 2",
    ] {
        check(source, true);
    }
    let bytes = Event { data: None, ..Event::payment(Value::Null) };
    assert_eq!(evaluate("!has(event.data) && event.data.?amount.orValue(0) == 0", &bytes), Ok(true));
    assert_eq!(evaluate("has(event.data) && event.data == 5", &Event::payment(json!(5))), Ok(true));
}

#[test]
fn data_that_nobody_can_read_are_an_error_of_what_reads_them() {
    let event = Event { unreadable: true, ..Event::payment(data()) };
    for source in [
        "event.data.?amount.orValue(0) == 0",
        "event.data.?amount.orValue(0) != 0",
        "has(event.data)",
        "!has(event.data.amount)",
        "event.data.?amount.or(event.data.?rate).orValue(1) == 1",
        "topic != \"x\" && event.data.?lines.orValue([]).all(l, false)",
    ] {
        assert_eq!(evaluate(source, &event), Err(FailureKind::Unreadable), "{source}");
    }
    assert_eq!(evaluate("topic == \"x\" && event.data.?amount.orValue(0) == 0", &event), Ok(false));
    assert_eq!(evaluate("event.data.?amount.orValue(0) == 0 || topic != \"x\"", &event), Ok(true));
}

#[test]
fn loops_bind_elements_and_keys() {
    for source in [
        "event.data.?lines.orValue([]).all(l, l.?sku.orValue(\"\") != \"\")",
        "!event.data.?lines.orValue([]).all(l, l.?qty.orValue(0) > 0)",
        "event.data.?lines.orValue([]).exists(l, has(l.qty) && l.qty > 1)",
        "event.data.?lines.orValue([]).exists_one(l, l.?qty.orValue(0) == 2)",
        "event.data.?lines.orValue([]).filter(l, has(l.qty)).size() == 2",
        "event.data.?lines.orValue([]).map(l, l.?qty.orValue(0)) == [2, 1, 0]",
        "event.data.?lines.orValue([]).map(l, has(l.qty), l.qty + 1) == [3, 2]",
        "event.data.?customer.orValue({}).exists(key, key == \"email\")",
        "{\"a\": 1, \"b\": 2}.all(key, key in [\"a\", \"b\"])",
        "tokens.all(t, t.matches(\"^[a-z0-9]+$\"))",
        "tokens.exists(t, t.startsWith(\"set\"))",
        "[1, 2, 3].map(x, x * 2).filter(x, x > 2) == [4, 6]",
        "[[1], [2, 3]].all(inner, inner.exists(x, x > 0))",
        "[].all(x, false)",
        "![].exists(x, true)",
        "event.data.?absent.orValue([]).all(l, false)",
    ] {
        check(source, true);
    }
}

#[test]
fn loops_in_loops_over_data_need_smaller_limits() {
    let source = "event.data.?matrix.orValue([]).all(row, row.all(cell, cell > 0))";
    assert!(compile(source, &Scope::event(), &Limits::default()).is_err());
    let limits = Limits { items: 60, ..Limits::default() };
    let expression = compile(source, &Scope::event(), &limits).expect("sixty times sixty is not too much");
    let mut steps = Steps::new(expression.cost());
    assert_eq!(expression.evaluate(&Event::payment(data()), &mut steps), Ok(true));
}

#[test]
fn text_times_and_conversions() {
    for source in [
        "event.data.?text.orValue(\"\").size() == 14",
        "event.data.?text.orValue(\"\").matches(\"gr.n\")",
        "matches(topic, \"^payments\\\\.\")",
        "event.data.?currency.orValue(\"\").lowerAscii() == \"eur\"",
        "\"ab\".upperAscii() == \"AB\"",
        "size(\"grün\") == 4 && size([1]) == 1",
        "now.getDayOfWeek(\"UTC\") in [0, 6]",
        "now.getDayOfWeek() == 6 && now.getFullYear() == 2026 && now.getMonth() == 10 && now.getDate() == 21",
        "now.getDayOfMonth() == 20 && now.getDayOfYear() == 324 && now.getHours(\"+05:30\") == 15",
        "now.getMinutes(\"+05:30\") == 30 && now.getSeconds() == 0 && now.getMilliseconds() == 0",
        "now.getDayOfWeek(\"+14:00\") == 0",
        "timestamp(\"2026-11-21T10:00:00Z\") == now",
        "timestamp(\"2026-11-21T11:00:00+01:00\") == now",
        "now + duration(\"24h\") > now",
        "now - duration(\"10h\") == timestamp(\"2026-11-21T00:00:00Z\")",
        "duration(\"90m\").getHours() == 1 && duration(\"90m\").getMinutes() == 90",
        "int(event.data.?number.orValue(\"0\")) == 17",
        "int(2.9) == 2 && int(-2.9) == -2 && double(2) == 2.0 && string(12) == \"12\" && bool(\"true\")",
        "string(now) == \"2026-11-21T10:00:00Z\" && int(now) > 0",
        "string(true) == \"true\" && double(\"1.5\") == 1.5",
    ] {
        check(source, true);
    }
}

#[test]
fn types_that_do_not_go_together_fail() {
    for source in [
        "event.data.?amount.orValue(0) == \"12000\"",
        "event.data.?currency.orValue(\"\") > 5",
        "event.data.?currency.orValue(\"\") == 5",
        "event.data.?note.orValue(0.0) > 1.0",
        "event.data.?amount.orValue(0) != true",
        "event.data.?currency.orValue(true)",
        "event.data.?amount.orValue(0.0) * 1.5 > 0.0",
        "event.data.?customer.orValue({}) == 1",
        "event.data.?amount.orValue([]).all(x, true)",
        "event.data.?amount.orValue(\"\").startsWith(\"1\")",
        "event.data.?mixed.orValue([]).all(x, x == 1 || x == 2)",
        "\"z\" in event.data.?mixed.orValue([])",
        "event.data.?mixed.orValue([]) == [1, 2, 3]",
    ] {
        fails(source, FailureKind::Mismatch);
    }
}

#[test]
fn what_decides_wins_over_an_error() {
    check("event.data.?currency.orValue(0) > 5 && false", false);
    check("false && event.data.?currency.orValue(0) > 5", false);
    check("event.data.?currency.orValue(0) > 5 || true", true);
    fails("event.data.?currency.orValue(0) > 5 && true", FailureKind::Mismatch);
    fails("event.data.?currency.orValue(0) > 5 || false", FailureKind::Mismatch);
    check("event.data.?mixed.orValue([]).exists(x, x == \"a\")", true);
    check("\"a\" in event.data.?mixed.orValue([])", true);
    fails("event.data.?mixed.orValue([]).exists_one(x, x == \"a\")", FailureKind::Mismatch);
}

#[test]
fn arithmetic_and_conversions_keep_their_ranges() {
    fails("event.data.?amount.orValue(0) * 9223372036854775807 > 0", FailureKind::Range);
    fails("1 / (event.data.?amount.orValue(0) - 12000) == 1", FailureKind::Range);
    fails("1 % (event.data.?amount.orValue(0) - 12000) == 1", FailureKind::Range);
    fails("int(event.data.?big.orValue(0.0)) > 0", FailureKind::Range);
    fails("int(event.data.?currency.orValue(\"\")) > 0", FailureKind::Malformed);
    fails("timestamp(event.data.?currency.orValue(\"\")) > now", FailureKind::Malformed);
    fails("timestamp(\"9999-12-31T23:59:59Z\") + (now - now + duration(\"1h\")) > now", FailureKind::Range);
    fails("tokens[7] == \"x\"", FailureKind::Missing);
    fails("to.jurisdiction == \"US\"", FailureKind::Missing);
}

#[test]
fn sizes_are_bounded_at_run_time() {
    let many = |count: usize| Event::payment(json!({"lines": vec![1; count]}));
    let all = "event.data.?lines.orValue([]).all(l, l == 1)";
    assert_eq!(evaluate(all, &many(1_000)), Ok(true));
    assert_eq!(evaluate(all, &many(1_001)), Err(FailureKind::TooLarge));
    assert_eq!(
        evaluate("event.data.?lines[?1001].orValue(0) == 1", &many(2_000)),
        Err(FailureKind::TooLarge)
    );
    assert_eq!(evaluate("event.data.?lines[?2001].orValue(0) == 0", &many(2_000)), Ok(true));
    let long = Event::payment(json!({"text": "x".repeat((256 << 10) + 1)}));
    assert_eq!(evaluate("event.data.?text.orValue(\"\").contains(\"y\")", &long), Err(FailureKind::TooLarge));
    assert_eq!(evaluate("event.data.?text.orValue(\"\").startsWith(\"xx\")", &long), Ok(true));
    assert_eq!(evaluate("event.data.?text.orValue(\"\") == \"xx\"", &long), Ok(false));
    let wide: serde_json::Map<String, Value> = (0..5_000).map(|key| (key.to_string(), json!(1))).collect();
    let wide = Event::payment(Value::Object(wide));
    assert_eq!(evaluate("event.data.?a.orValue(1) == 1", &wide), Err(FailureKind::TooLarge));
}

#[test]
fn the_counter_stops_an_evaluation() {
    let source = "event.data.?currency.orValue(\"\") == \"EUR\" || true";
    let expression = compile(source, &Scope::event(), &Limits::default()).expect("a condition");
    let event = Event::payment(data());
    let mut enough = Steps::new(10_000);
    assert_eq!(expression.evaluate(&event, &mut enough), Ok(true));
    // Not even what decides wins: nothing is known of what was not evaluated.
    for steps in 0..enough.spent() - 1 {
        let failure = expression.evaluate(&event, &mut Steps::new(steps)).expect_err("too few steps");
        assert_eq!(failure.kind, FailureKind::Exhausted, "with {steps} steps");
    }
}

#[test]
fn reads_are_what_the_source_names() {
    let source = "topic == \"a\" && from.region == \"eu\" && \"x\" in to.labels && has(event.subject) \
                  && event.data.?lines.orValue([]).all(l, l.?qty.orValue(0) > 0) && event.data.?a.?b.hasValue()";
    let reads = compile(source, &Scope::event(), &Limits::default()).expect("a condition").reads().clone();
    assert!(reads.topic && reads.from.region && !reads.from.zone && !reads.now && !reads.publisher);
    assert!(reads.to.labels.contains("x") && !reads.to.any_label);
    assert!(reads.attributes.iter().eq(["subject"]));
    assert!(reads.data.iter().eq([&vec!["a".to_owned(), "b".to_owned()], &vec!["lines".to_owned()]]));
    let fixed = compile("tokens[0] == to.zone", &Scope::topic(), &Limits::default()).expect("a condition");
    assert!(fixed.is_static());
    for source in ["now.getHours() > 8", "event.id == \"\"", "has(event.data)", "publisher == \"\""] {
        assert!(!compile(source, &Scope::at_origin(), &Limits::default()).expect("a condition").is_static());
    }
}

#[test]
fn the_conditions_of_the_examples_are_affordable() {
    for (source, most) in [
        ("now.getDayOfWeek(\"UTC\") in [0, 6] && event.data.?amount.orValue(0.0) > 10000.0", 1_100),
        ("event.data.?lines.orValue([]).all(l, l.?qty.orValue(0) > 0)", 10_000),
        ("event.data.?lines.orValue([]).all(l, l.?sku.orValue(\"\").matches(\"^[A-Z]-[0-9]+$\"))", 20_000),
        ("event.data.?from.orValue(\"\") == event.data.?to.orValue(\"\")", 10_000),
        ("tokens.all(t, t.matches(\"^[a-z0-9-]+$\"))", 200),
    ] {
        let limits = Limits { steps: u64::MAX, ..Limits::default() };
        let cost = compile(source, &Scope::event(), &limits).expect("a condition").cost();
        println!("{cost:>6} {source}");
        assert!(cost <= most, "{cost} steps: {source}");
    }
}
