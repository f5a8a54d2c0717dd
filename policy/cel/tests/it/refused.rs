//! What the check refuses, with the place in the source and the fix.

use meshbridge_cel::{Limits, Problem, ProblemKind, Scope, compile};

#[track_caller]
fn problems(source: &str, scope: Scope) -> Vec<Problem> {
    match compile(source, &scope, &Limits::default()) {
        Ok(_) => panic!("not refused: {source}"),
        Err(problems) => problems,
    }
}

/// One problem, with the part of the source it is about and a part of its message and help.
#[track_caller]
fn check(source: &str, kind: ProblemKind, place: &str, text: &str) {
    let problems = problems(source, Scope::event());
    assert_eq!(problems.len(), 1, "{source}: {problems:?}");
    let problem = &problems[0];
    let all = format!("{}; {}", problem.message, problem.help.as_deref().unwrap_or(""));
    assert_eq!(problem.kind, kind, "{source}: {problem:?}");
    assert_eq!(&source[problem.range.clone()], place, "{source}: {problem:?}");
    assert!(all.contains(text), "{source}: {all}");
}

#[test]
fn unguarded_access_is_refused_with_a_fix() {
    use ProblemKind::Unguarded;
    check("event.data.amount > 5", Unguarded, "event.data.amount", "write `event.data.?amount.orValue(…)`");
    check(
        "event.data.amount > 5",
        Unguarded,
        "event.data.amount",
        "or test `has(event.data.amount)` in the same",
    );
    check("event.data.a.b.c > 5", Unguarded, "event.data.a", "write `event.data.?a.?b.?c.orValue(…)`");
    check("event.data.a.?b.orValue(1) > 5", Unguarded, "event.data.a", "`event.data.a` may be absent");
    check(
        "event.data[\"a-b\"] > 5",
        Unguarded,
        "event.data[\"a-b\"]",
        "write `event.data[?\"a-b\"].orValue(…)`",
    );
    check("event.subject == \"x\"", Unguarded, "event.subject", "write `event.?subject.orValue(…)`");
    check("event.data == 5", Unguarded, "event.data", "write `event.?data.orValue(…)`");
    check("from.labels.env == \"prod\"", Unguarded, "from.labels.env", "write `from.labels.?env.orValue(…)`");
    check("event.data.?a == 5", Unguarded, "event.data.?a", "add `.orValue(…)`");
    check("event.data.?a.value() == 5", Unguarded, "value", "`.hasValue()` in the same conjunction");
    check("event.data.?a.orValue([])[0] == 5", Unguarded, "event.data.?a.orValue([])[0]", "[?index]");
    check("{\"a\": 1}[\"a\"] == 5", Unguarded, "{\"a\": 1}[\"a\"]", "may be absent");
    check("event.data.?lines.orValue([]).all(l, l.qty > 0)", Unguarded, "l.qty", "write `l.?qty.orValue(…)`");
    check("event.data.lines.all(l, true)", Unguarded, "event.data.lines", "`event.data.?lines.orValue(…)`");
}

#[test]
fn a_guard_holds_only_in_its_conjunction() {
    use ProblemKind::Unguarded;
    check("has(event.data.a) || event.data.a > 1", Unguarded, "event.data.a", "may be absent");
    check("has(event.data.a) ? true : event.data.a > 1", Unguarded, "event.data.a", "may be absent");
    check("!has(event.data.a) && event.data.a > 1", Unguarded, "event.data.a", "may be absent");
    check("(has(event.data.a) || true) && event.data.a > 1", Unguarded, "event.data.a", "may be absent");
    check(
        "!(has(event.data.a) && topic == \"x\") && event.data.a > 1",
        Unguarded,
        "event.data.a",
        "may be absent",
    );
    check("!(has(event.data.a) || true) || event.data.a > 1", Unguarded, "event.data.a", "may be absent");
    check("has(event.data.a) && event.data.b > 1", Unguarded, "event.data.b", "may be absent");
    check("has(event.data.a) && event.data.a.b > 1", Unguarded, "event.data.a.b", "may be absent");
    check("has(event.data.ab) && event.data.a > 1", Unguarded, "event.data.a", "may be absent");
    check(
        "[1].all(l, event.data.?x.orValue([]).exists(m, has(m.a))) && [{}].all(m, m.a == 1)",
        Unguarded,
        "m.a",
        "write `m.?a",
    );
    let source =
        "event.data.?x.orValue([]).exists(l, has(l.a)) && event.data.?y.orValue([]).exists(l, l.a > 1)";
    check(source, Unguarded, "l.a", "may be absent");
}

#[test]
fn types_are_checked_as_far_as_they_are_known() {
    use ProblemKind::{NotBoolean, Type};
    check("topic", NotBoolean, "topic", "the result is `string`");
    check("1 + 1", NotBoolean, "1 + 1", "`int`");
    check("topic > 3", Type, "topic > 3", "`string > int` is always an error");
    check("1 + 1.0 == 2.0", Type, "1 + 1.0", "convert one side");
    check("topic == 3", Type, "topic == 3", "`string == int`");
    check("3 in [\"a\"]", Type, "3 in [\"a\"]", "`int in list(string)`");
    check("1 && true", Type, "1", "a `bool` is needed here, this is `int`");
    check("!topic", Type, "topic", "a `bool` is needed");
    check("-topic == \"a\"", Type, "topic", "no negative");
    check("now + 5 > now", Type, "now + 5", "`timestamp + int`");
    check("topic.all(x, true)", Type, "topic", "a `string` has no elements");
    check("tokens.all(t, t.x == 1)", Type, "t.x", "has no field `x`");
    check("event.type.x == 1", Type, "event.type.x", "has no field `x`");
    check("topic[0] == \"a\"", Type, "topic[0]", "has no elements");
    check("tokens[\"a\"] == \"a\"", Type, "\"a\"", "an index of type `string`");
    check("5.size() == 1", Type, "5", "has no size");
    check("[[1]] == [[1]]", Type, "[[1]] == [[1]]", "always an error");
    check("{} == {}", Type, "{} == {}", "one by one");
}

#[test]
fn what_is_not_there_is_named() {
    use ProblemKind::{Pattern, Type, Unknown, Unsupported};
    check("evnt.id == \"\"", Unknown, "evnt", "no variable `evnt`");
    check("publisher == \"x\"", Unknown, "publisher", "`at: publish` or `at: egress`");
    check("event.dataContentType == \"\"", Unknown, "event.dataContentType", "`event.datacontenttype`");
    check("event == 1", Type, "event", "`event` is not a value");
    check("from == to.zone", Type, "from", "`from.zone`");
    check("from.regoin == \"\"", Unknown, "from.regoin", "zone, region, cloud, jurisdiction and labels");
    check("from.labels == 1", Type, "from.labels", "`from.labels.?env`");
    check("topic.splitt(\".\") == []", Unknown, "splitt", "no method `splitt` with 1 argument");
    check("length(topic) == 1", Unknown, "length", "no function `length`");
    check("topic.matches(\"(\")", Pattern, "\"(\"", "unclosed group");
    check("topic.matches(from.zone)", Pattern, "from.zone", "must be a string literal");
    check("topic.matches(\"(a{200}){200}\")", Pattern, "\"(a{200}){200}\"", "KiB");
    check("b\"x\" == b\"y\"", Unsupported, "b\"x\"", "byte strings");
    check("1u == 1", Unsupported, "1u", "unsigned");
    check("type(1) == 1", Unsupported, "type", "not part of conditions");
    check("Foo{a: 1} == 1", Unsupported, "{", "messages");
    check("{1: 2} == null", Unsupported, "1", "string literals");
    check("now.getHours(\"Europe/Berlin\") > 1", Unsupported, "\"Europe/Berlin\"", "\"+01:00\"");
    check("timestamp(\"yesterday\") < now", Type, "\"yesterday\"", "is no timestamp");
    check("duration(\"1 hour\") < duration(\"2h\")", Type, "\"1 hour\"", "is no duration");
    check("[1].all(from, true)", Type, "from", "has a meaning here already");
    check("[1].all(1, true)", ProblemKind::Syntax, "1", "name of a new variable");
    check("has(topic)", Type, "topic", "`has` asks for a field");
    let found = problems("event.id == \"\"", Scope::topic());
    assert_eq!((found[0].kind, found[0].range.clone()), (Unknown, 0..5));
}

#[test]
fn syntax_is_refused_at_its_place() {
    use ProblemKind::Syntax;
    for (source, place) in [
        ("", ""),
        ("1 +", ""),
        ("(1", ""),
        ("1 2", "2"),
        ("a = 1", "="),
        ("a & b", "&"),
        ("\"abc", "\"abc"),
        ("'a\nb'", "'a"),
        ("\"\\q\"", "\\q"),
        ("12abc", "12abc"),
        ("99999999999999999999", "99999999999999999999"),
        ("9223372036854775808", "9223372036854775808"),
        ("topic.", ""),
        ("for", "for"),
        ("[1,,2]", ","),
        ("é == 1", "é"),
        ("true && && true", "&&"),
        ("1 ? 2", ""),
    ] {
        check(source, Syntax, place, "");
    }
}

#[test]
fn sources_are_bounded() {
    let limits = Limits::default();
    let deep = format!("{}true{}", "(".repeat(10_000), ")".repeat(10_000));
    for source in [
        "(".repeat(4_000),
        "[".repeat(4_000),
        "!".repeat(4_000),
        "-".repeat(4_000),
        format!("{}true", "!".repeat(4_000)),
        format!("topic{}", ".a".repeat(3_000)),
        format!("1{} == 1", "+1".repeat(3_000)),
        format!("true{}", "?true:true".repeat(700)),
        deep,
    ] {
        let problems = compile(&source, &Scope::event(), &limits).expect_err("too large");
        let refused = matches!(problems[0].kind, ProblemKind::TooLarge | ProblemKind::Syntax);
        assert!(refused, "{:?}", problems[0]);
    }
    let patterns = vec!["topic.matches(\"a\")"; 17].join(" && ");
    let problems = compile(&patterns, &Scope::event(), &limits).expect_err("too many");
    assert_eq!(problems[0].message, "more than 16 regular expressions");
    // A long conjunction is not a deep one.
    let long = format!("true{}", " && true".repeat(900));
    assert!(compile(&long, &Scope::event(), &limits).is_ok());
}

#[test]
fn the_worst_case_is_bounded() {
    let source = "event.data.?a.orValue([]).all(x, event.data.?b.orValue([]).all(y, x == y))";
    let found = problems(source, Scope::event());
    assert_eq!(found[0].kind, ProblemKind::Cost);
    assert!(found[0].message.contains("more than 10000"), "{}", found[0].message);
}

#[test]
fn all_problems_are_found_in_order() {
    let source = "event.data.a > 1 && nothing == 2 && event.data.b > 1 && topic > 1";
    let found = problems(source, Scope::event());
    let places: Vec<&str> = found.iter().map(|problem| &source[problem.range.clone()]).collect();
    assert_eq!(places, ["event.data.a", "nothing", "event.data.b", "topic > 1"]);
}
