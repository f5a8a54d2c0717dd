//! An event of a train is judged as it would be alone.

use meshbridge_event::DataKind;

use super::*;
use crate::engine::Told;

/// Rules that look at what tells the events of a train apart, and some that count, warn or strip.
fn any_rule_of_trains() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec![
        "forbid: {classes: [payment.card]}",
        "forbid: {classes: [contact.email]}, onViolation: dead-letter, mode: warn",
        "limit: {eventBytes: 260}",
        "limit: {dataBytes: 60}, mode: warn, onViolation: annotate",
        "require: {attributes: {id: {pattern: \"^[0-9]+$\"}}}",
        "require: {attributes: {id: {pattern: \"^[0-9]+$\"}, color: {enum: [red]}}}, mode: shadow",
        "require: {attributes: {color: {presence: optional, pattern: \"^b\"}}}, onViolation: strip",
        "validate: {checks: [{cel: \"event.data.?n.orValue(0) < 2\"}]}",
        "deny: {}",
        "protect: [{classes: [payment.card], as: redact}]",
        "protect: [{fields: [\"$.data.mail\", \"$.subject\"], as: mask, keep: {last: 2}}]",
        "protect: [{classes: [contact.email], as: redact}], mode: shadow",
    ]);
    let condition = prop::sample::select(vec![
        "",
        "",
        ", when: \"event.data.?n.orValue(0) > 0\"",
        ", when: \"event.id != 'x'\"",
        ", event: {id: \"1*\"}",
        ", event: {color: \"*\"}",
    ]);
    (action, condition)
        .prop_map(|(action, condition)| format!("match: {{topics: [\"**\"]{condition}}}, {action}"))
}

/// Events that differ from this one in `id` and data only.
fn train_of(event: &Event) -> Vec<Event> {
    let card = "4111 1111 1111 1111";
    let data = [
        r#"{"mail":"ana@example.com","card":"4111 1111 1111 1111","n":1,"list":["x","li@example.com"]}"#
            .to_owned(),
        r#"{"n":2}"#.to_owned(),
        String::new(),
        format!(r#"{{"note":"{card}","n":0}}"#),
        r#"{"mail":"#.to_owned(),
        format!(r#"{{"mail":"li@example.com","pad":"{}"}}"#, "p".repeat(200)),
        r#"{"mail":"ana@example.com"}"#.to_owned(),
    ];
    let one = |(id, data): (&str, String)| {
        let kind = if data.is_empty() { DataKind::None } else { DataKind::Json };
        let event = event.to_builder().set_attribute("id", AttributeValue::String(id));
        event.data(kind, Bytes::from(data)).build().expect("a valid event")
    };
    ["1", "2", "x", "11", "12", "13", card].into_iter().zip(data).map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn an_event_of_a_train_is_judged_as_if_it_were_alone(
        stack in prop_oneof![Just(Vec::new()), policies(layer())],
        more in prop::collection::vec(any_rule_of_trains(), 0..4),
        waiver in any_waiver(),
        turn in 0..7_usize,
    ) {
        let mut files = files(&stack);
        let permit = "match: {topics: [\"**\"]}, permit: {}".to_owned();
        let more: Vec<String> = std::iter::once(permit).chain(more).collect();
        files.push(file("trains", "federation", &more));
        files.extend(waiver);
        let compiled = program(&files);
        prop_assume!(compiled.is_some());
        let Some(program) = compiled else { return Ok(()) };
        let (mut scratch, mut apart) = (Scratch::new(), Scratch::new());
        let mut wrong = None;
        every_case(&program, |request| {
            let mut told = Told::default();
            let mut train = train_of(request.event);
            train.rotate_left(turn);
            for event in &train {
                let request = Request { event, ..*request };
                let (next, alone) = (
                    program.decide_next(&request, &mut scratch, &mut told),
                    program.decide(&request, &mut apart),
                );
                let form = |verdict: &Verdict| match verdict {
                    Verdict::Forward { event } => event.clone(),
                    _ => None,
                };
                let is_same = form(&next.verdict) == form(&alone.verdict)
                    && next.editors == alone.editors
                    && format!("{:?} {:?}", next.verdict, next.report) == format!("{:?} {:?}", alone.verdict, alone.report);
                if !is_same {
                    wrong = Some(format!("{request:?} {:?}: {next:?}, alone {alone:?}", event.id()));
                }
            }
        });
        prop_assert_eq!(wrong, None, "{:?} {:?}", stack, more);
    }
}

/// What is asked once is told by the first event that went on with nothing to report, and by none that did not.
#[test]
fn what_an_event_tells_is_used_for_the_next() {
    let rules = [
        "match: {topics: [\"**\"]}, permit: {}",
        "match: {topics: [\"**\"], event: {color: red}}, protect: [{fields: [\"$.data.mail\"], as: redact}]",
        "match: {topics: [\"**\"]}, limit: {dataBytes: 200}",
    ];
    let program = program(&[file("p", "federation", &rules.map(str::to_owned))]).expect("valid");
    let (topic, randomness) = (Topic::parse("a.b").expect("a topic"), Randomness::new([1; 32]));
    let (mut scratch, mut told) = (Scratch::new(), Told::default());
    let train = train_of(&event(Some("red"), None, "/s", "1"));
    let mut judged = |event: &Event, told: &mut Told| {
        program.decide_next(
            &request(&program, ("z-a", "z-c"), &topic, event, &randomness),
            &mut scratch,
            told,
        )
    };
    let too_large = train.iter().find(|event| event.id() == "13").expect("it is there");
    assert!(matches!(judged(too_large, &mut told).verdict, Verdict::Stop(_)));
    assert!(format!("{told:?}").contains("None"), "{told:?}");
    assert!(matches!(judged(&train[0], &mut told).verdict, Verdict::Forward { event: Some(_) }));
    assert!(format!("{told:?}").contains("Some"), "{told:?}");
    assert!(matches!(judged(too_large, &mut told).verdict, Verdict::Stop(_)));
    assert!(matches!(judged(&train[1], &mut told).verdict, Verdict::Forward { event: None }));
}
