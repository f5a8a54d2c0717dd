//! However data are written and whatever they are called: a rule that asks what is in them sees it, or is in error.

use meshbridge_event::DataKind;

use super::*;

const CARD: &str = "4111111111111111";

/// What becomes of an event from z-a to z-c, under a permit of everything and one more rule.
fn decided(rule: &str, event: &Event) -> Verdict {
    let rules = ["match: {topics: [\"**\"]}, permit: {}".to_owned(), rule.to_owned()];
    let program = program(&[file("p", "federation", &rules)]).expect("valid");
    let (topic, randomness) = (Topic::parse("a.b").expect("a topic"), Randomness::new([1; 32]));
    let request = request(&program, ("z-a", "z-c"), &topic, event, &randomness);
    program.decide(&request, &mut Scratch::new()).verdict
}

fn written(content_type: Option<&str>, kind: DataKind, data: &[u8]) -> Event {
    let event = EventBuilder::new("1", "/s", "t").data(kind, Bytes::copy_from_slice(data));
    let event = match content_type {
        Some(text) => event.attribute("datacontenttype", AttributeValue::String(text)),
        None => event,
    };
    event.build().expect("an event")
}

/// As bytes, for those that are no text; the level is above what the rules let pass.
fn forms() -> Vec<Event> {
    let plain = format!("{{\"level\":9,\"card\":\"{CARD}\"}}");
    let with = |more: &str| format!("{},{more}}}", plain.trim_end_matches('}')).into_bytes();
    let deep = format!("\"x\":{}{}", "[".repeat(70), "]".repeat(70));
    let utf16: Vec<u8> = plain.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xef\xbb\xbf", plain.as_bytes()].concat();
    let two = format!("{plain}\n{{}}").into_bytes();
    let mut broken = with("\"x\":\"?\"");
    let at = broken.len() - 3;
    broken[at] = 0xff;
    let twice = format!("{{\"level\":9,\"level\":1,\"card\":\"{CARD}\"}}").into_bytes();
    let (json, plain) = (Some("application/json"), plain.clone().into_bytes());
    vec![
        written(json, DataKind::Json, &plain),
        written(None, DataKind::Json, &plain),
        written(json, DataKind::Binary, &plain),
        written(Some("application/vnd.x+json"), DataKind::Binary, &plain),
        written(None, DataKind::Binary, &plain),
        written(Some("text/plain"), DataKind::Text, &plain),
        written(Some("text/plain"), DataKind::Json, &plain),
        written(Some("application/octet-stream"), DataKind::Binary, &plain),
        written(Some("application/json; charset=utf-16"), DataKind::Binary, &utf16),
        written(json, DataKind::Json, &with("\"x\":\"\\ud800\"")),
        written(json, DataKind::Json, &with(&deep)),
        written(json, DataKind::Json, &twice),
        written(json, DataKind::Binary, &with("\"x\":NaN")),
        written(json, DataKind::Binary, &with("")),
        written(json, DataKind::Binary, &marked),
        written(json, DataKind::Binary, &two),
        written(json, DataKind::Binary, &broken),
    ]
}

const RULES: [&str; 4] = [
    "match: {topics: [\"**\"], when: \"event.data.?level.orValue(0) >= 5\"}, deny: {}, onError: reject",
    "match: {topics: [\"**\"]}, validate: {checks: [{cel: \"event.data.?level.orValue(0) < 5\"}]}, onViolation: reject, onError: reject",
    "match: {topics: [\"**\"], when: \"event.data.?level.orValue(0) >= 5\"}, protect: [{fields: [\"$.data.card\"], as: drop}], onError: reject",
    "match: {topics: [\"**\"]}, except: {topics: [\"**\"], when: \"event.data.?level.orValue(0) < 5\"}, deny: {}, onError: reject",
];

#[test]
fn no_way_of_writing_data_passes_a_rule_that_reads_them() {
    for rule in RULES {
        for event in forms() {
            let shown = (rule, event.datacontenttype(), String::from_utf8_lossy(event.data_bytes()));
            match decided(rule, &event) {
                Verdict::Stop(_) => {}
                Verdict::Forward { event: Some(edited) } => {
                    let data = String::from_utf8_lossy(edited.data_bytes());
                    assert!(!data.contains(CARD), "{shown:?}: {data}");
                }
                other => panic!("{shown:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn what_such_a_rule_lets_pass_and_what_has_no_data_passes() {
    let small = b"{\"level\":1}";
    let passing = [
        written(Some("application/json"), DataKind::Json, small),
        written(Some("application/json"), DataKind::Binary, small),
        written(None, DataKind::Binary, small),
        written(None, DataKind::None, b""),
    ];
    for rule in RULES {
        for event in &passing {
            let verdict = decided(rule, event);
            let is_without = event.data_bytes().is_empty();
            assert!(matches!(verdict, Verdict::Forward { event: None }), "{rule}, {is_without}: {verdict:?}");
        }
    }
}

#[test]
fn a_condition_that_is_decided_without_the_data_is_decided() {
    let text = written(Some("text/plain"), DataKind::Text, b"nine");
    let guarded = "match: {topics: [\"**\"], when: \"event.?datacontenttype.orValue('') == 'application/json' && event.data.?level.orValue(0) >= 5\"}, deny: {}, onError: reject";
    assert!(matches!(decided(guarded, &text), Verdict::Forward { event: None }));
    let wide = "match: {topics: [\"**\"], when: \"topic == 'a.b' || event.data.?level.orValue(0) >= 5\"}, deny: {}, onError: quarantine";
    match decided(wide, &text) {
        Verdict::Stop(stopped) => assert!(!stopped.is_error, "{stopped:?}"),
        other => panic!("{other:?}"),
    }
}
