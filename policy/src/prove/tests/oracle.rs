//! Concrete runs through the engine, on small federations with random rules: what a run shows, no proof may exclude; and
//! what is refuted and certain, every run shows.

mod observe;
mod runs;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_topic::Topic;
use proptest::prelude::*;

use crate::keys::KeyRing;
use crate::model::{Disclosure, Match, Never, Selector};
use crate::prove::borders::Borders;
use crate::prove::question;
use crate::prove::zones::zone;
use crate::testing::TestKeys;
use crate::{Federation, Program, Proof, Scratch, SourceFile, compile};
use observe::{Shown, observe};

pub(crate) const ZONES: [&str; 4] = ["z-a", "z-b", "z-c", "z-d"];
pub(crate) const TOPICS: [&str; 3] = ["a.b", "a.x.b", "c"];
pub(crate) const COLORS: [Option<&str>; 3] = [None, Some("red"), Some("blue")];

pub(crate) const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones:
    z-a: {region: r-1, cloud: c-1, jurisdiction: EU, labels: {env: prod}}
    z-b: {region: r-1, cloud: c-2, jurisdiction: EU}
    z-c: {region: r-2, cloud: c-2, jurisdiction: US, labels: {env: prod}}
    z-d: {region: r-2, cloud: c-1, jurisdiction: US}
  bridges:
    - {id: a, zone: z-a}
    - {id: a-2, zone: z-a}
    - {id: b, zone: z-b}
    - {id: b-2, zone: z-b}
    - {id: c, zone: z-c}
    - {id: c-2, zone: z-c}
    - {id: d, zone: z-d}
    - {id: d-2, zone: z-d}
  keys:
    tokens: {use: pseudonymise, version: 1, zones: [z-a, z-b, z-c, z-d]}
    local: {use: pseudonymise, version: 1, zones: [z-a, z-b]}
    seal: {use: encrypt, version: 1, zones: [z-a, z-c]}
    wide: {use: encrypt, version: 1, zones: [z-a, z-b, z-c, z-d]}
"#;

pub(crate) const CLASSES: &str = r#"
apiVersion: meshbridge/v1
kind: Classification
metadata: {name: data, layer: federation}
spec:
  topics:
    - {match: "**", mayHold: [contact.email]}
    - {match: "a.**", fields: {"$.data.card": payment.card}}
    - {match: "c", fields: {"$.data.card": payment.card, "$.data.born": person.birth-date}}
"#;

/// What is looked for: class, place and text. The address stands where no path leads but one to all of the data.
pub(crate) const VALUES: [(&str, &str, &str); 3] = [
    ("payment.card", "card", "4111 1111 1111 1111"),
    ("contact.email", "note", "ana.li@example.com"),
    ("person.birth-date", "born", "1987-03-14"),
];

pub(crate) fn is_held(class: &str, topic: &str) -> bool {
    class != "person.birth-date" || topic == "c"
}

pub(crate) fn any_match(contexts: bool) -> impl Strategy<Value = String> {
    let topics = prop::sample::select(vec![
        "\"**\"",
        "\"**\"",
        "\"**\"",
        "a.b",
        "\"a.**\"",
        "\"*.b\"",
        "\"**.x.**\"",
        "c",
    ]);
    let place = prop::sample::select(vec![
        "",
        "",
        ", from: {zones: [z-a]}",
        ", from: {regions: [r-1]}",
        ", to: {jurisdictions: [US]}",
        ", to: {zones: [z-b, z-d]}",
        ", same: [jurisdiction]",
        ", same: [labels.env]",
        ", from: {clouds: [c-1]}, to: {clouds: [c-2]}",
    ]);
    let condition =
        prop::sample::select(vec!["", "", "", "", ", event: {color: \"r*\"}", ", event: {color: blue}"]);
    let at = prop::sample::select(if contexts {
        vec![
            "",
            "",
            "",
            ", at: egress",
            ", at: [ingress, transit]",
            ", at: [egress, transit]",
            ", at: deliver",
        ]
    } else {
        vec![""]
    });
    (topics, place, condition, at)
        .prop_map(|(topics, place, condition, at)| format!("{{topics: [{topics}]{place}{condition}{at}}}"))
}

fn any_item() -> impl Strategy<Value = String> {
    let what = prop::sample::select(vec![
        "classes: [payment.card]",
        "classes: [contact]",
        "classes: [\"*\"]",
        "classes: [\"*\"], except: [contact.email]",
        "classes: [contact], confidence: high",
        "classes: [\"*\"], undeclared: true",
        "fields: [\"$.data.card\"]",
        "fields: [\"$.data\"]",
        "fields: [\"$.data..card\"]",
        "fields: [\"$.data.note\"]",
        "classes: [person]",
    ]);
    let form = prop::sample::select(vec![
        "as: drop",
        "as: redact",
        "as: hash",
        "as: mask, keep: {last: 4}",
        "as: mask, keep: {first: 2, last: 2}",
        "as: mask",
        "as: pseudonymise, key: tokens",
        "as: pseudonymise, key: tokens, scope: federation",
        "as: pseudonymise, key: local",
        "as: encrypt, key: seal",
        "as: encrypt, key: wide",
        "as: generalise, to: year",
        "as: generalise, to: month",
    ]);
    (what, form).prop_map(|(what, form)| format!("{{{what}, {form}}}"))
}

pub(crate) fn any_rule() -> impl Strategy<Value = String> {
    prop_oneof![8 => any_rule_of_verdicts(), 1 => any_rule_of_links()]
}

/// What takes links away shows nothing and hides nothing.
fn any_rule_of_links() -> impl Strategy<Value = String> {
    let links = prop::sample::select(vec!["z-a/z-b", "z-a/z-c, z-b/z-c, z-c/z-d"]);
    let except = prop::option::weighted(0.3, any_match(false));
    (any_match(false), links, except).prop_map(|(matches, links, except)| {
        let except = except.map(|except| format!(", except: {except}")).unwrap_or_default();
        let matches = matches.replacen('{', &format!("{{links: [{links}], "), 1);
        format!("match: {matches}{except}, deny: {{}}")
    })
}

fn any_rule_of_verdicts() -> impl Strategy<Value = String> {
    let except = prop::option::weighted(0.3, any_match(false));
    let permit = Just("permit: {}".to_owned());
    let stop = prop::sample::select(vec![
        "deny: {}",
        "deny: {}",
        "residency: {allow: {jurisdictions: [EU]}, transit: {clouds: [c-1]}}",
        "residency: {allow: {regions: [r-1]}}",
        "forbid: {classes: [payment]}",
        "require: {attributes: {color: {enum: [red, blue]}}}",
    ])
    .prop_map(str::to_owned);
    let protect =
        prop::collection::vec(any_item(), 1..3).prop_map(|items| format!("protect: [{}]", items.join(", ")));
    let mode = prop::sample::select(vec!["", "", "", "", ", mode: warn", ", mode: shadow"]);
    (any_match(true), except, prop_oneof![2 => permit, 2 => stop, 5 => protect], mode).prop_map(
        |(matches, except, action, mode)| {
            let except = except.map(|except| format!(", except: {except}")).unwrap_or_default();
            let mode = if action.starts_with("permit") && mode.contains("warn") { "" } else { mode };
            format!("match: {matches}{except}, {action}{mode}")
        },
    )
}

fn policy(name: &str, layer: &str, rules: &[String]) -> SourceFile {
    let mut text = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n"
    );
    for (at, rule) in rules.iter().enumerate() {
        text.push_str(&format!("    - {{name: r{at}, {rule}}}\n"));
    }
    SourceFile { name: format!("{name}.yaml"), text }
}

fn program(layers: &[(&'static str, Vec<String>)], waiver: Option<&str>) -> Option<Program> {
    program_of(FEDERATION, CLASSES, layers, waiver)
}

pub(crate) fn program_of(
    federation: &str,
    classes: &str,
    layers: &[(&'static str, Vec<String>)],
    waiver: Option<&str>,
) -> Option<Program> {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", federation)).expect("a valid document");
    // Most rules are about what passes, so something has to.
    let all = [
        "match: {topics: [\"**\"], same: [cloud]}, permit: {}".to_owned(),
        "match: {topics: [\"a.**\"]}, permit: {}".to_owned(),
    ];
    let mut files = vec![file("classes.yaml", classes), policy("base", "federation", &all)];
    files.extend(
        layers.iter().enumerate().map(|(at, (layer, rules))| policy(&format!("p{at}"), layer, rules)),
    );
    if let Some(matches) = waiver {
        let layer = layers.first()?.0;
        files.push(file(
            "waiver.yaml",
            &format!(
                "apiVersion: meshbridge/v1\nkind: Waiver\nmetadata: {{name: w, layer: {layer}}}\nspec: {{rule: p0/r0, match: {matches}, expires: \"2999-01-01T00:00:00Z\", reason: r}}\n"
            ),
        ));
    }
    // Some rules are refused, such as permits that the outermost layer does not cover: they are no case.
    compile(&files, &federation, None).ok().map(|compiled| compiled.program)
}

/// Keys as one zone holds them.
pub(crate) struct Held<'a> {
    pub(crate) program: &'a Program,
    pub(crate) all: &'a TestKeys,
    pub(crate) zone: usize,
}

impl KeyRing for Held<'_> {
    fn secret(&self, name: &str, version: u32) -> Option<&[u8; 32]> {
        let keys = self.program.keys();
        let held = keys.find(name, version).is_some_and(|key| keys.holds(zone(self.zone), key));
        if held { self.all.secret(name, version) } else { None }
    }
}

/// What a text that stands for a value shows in a zone; `None` where it is gone.
pub(crate) fn shown(
    text: Option<&str>,
    original: &str,
    program: &Program,
    zone_at: usize,
) -> BTreeSet<Disclosure> {
    let holds = |text: &str| {
        let label = text.split('_').nth(1).unwrap_or_default();
        let keys = program.keys();
        let found = label.rsplit_once('.').and_then(|(name, version)| keys.find(name, version.parse().ok()?));
        found.is_some_and(|key| keys.holds(zone(zone_at), key))
    };
    let all = [Disclosure::Value, Disclosure::Partial, Disclosure::Link, Disclosure::Type];
    match text {
        None => BTreeSet::new(),
        Some(text) if text.contains(original) => all.into(),
        Some(text) if text.starts_with("enc_") || text.starts_with("[redacted") => [Disclosure::Type].into(),
        Some(text) if text.starts_with("tok_") && holds(text) => {
            [Disclosure::Value, Disclosure::Link, Disclosure::Type].into()
        }
        Some(text) if text.starts_with("tok_") => [Disclosure::Link, Disclosure::Type].into(),
        Some(text) if text.starts_with("sha256_") => {
            [Disclosure::Value, Disclosure::Link, Disclosure::Type].into()
        }
        Some(text) if keeps_something(text) => [Disclosure::Partial, Disclosure::Type].into(),
        Some(_) => [Disclosure::Type].into(),
    }
}

/// A token or a hash.
fn is_digest(text: &str) -> bool {
    text.starts_with("tok_") || text.starts_with("sha256_")
}

/// Whether a mask left any character.
fn keeps_something(text: &str) -> bool {
    text.chars().any(|c| c != '*' && c.is_alphanumeric())
}

/// What a mask or a ladder left of a value, be it nothing.
fn is_part(text: &str, original: &str) -> bool {
    !text.contains(original)
        && !is_digest(text)
        && !text.starts_with("enc_")
        && !text.starts_with("[redacted")
}

/// An event with the values of some classes.
pub(crate) fn event(color: Option<&str>, classes: &[usize]) -> Event {
    let mut builder = EventBuilder::new("1", "/s", "t");
    if let Some(color) = color {
        builder = builder.attribute("color", AttributeValue::String(color));
    }
    let fields = classes.iter().map(|class| VALUES[*class]);
    let fields: Vec<String> = fields.map(|(_, name, text)| format!("\"{name}\":\"{text}\"")).collect();
    let data = format!("{{{},\"n\":1}}", fields.join(","));
    builder.data_json(Bytes::from(data)).build().expect("a valid event")
}

pub(crate) fn text_of(event: &Event, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(event.data_bytes()).ok()?;
    // By path the whole of the data may have become one text.
    if let serde_json::Value::String(text) = value {
        return Some(text);
    }
    match value.get(name)? {
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn never(
    class: usize,
    origin: usize,
    topic: usize,
    to: usize,
    what: Disclosure,
    at_deliver: bool,
    relay: bool,
) -> Never {
    let only = |zone: usize| Selector {
        attributes: vec![("zone", vec![ZONES[zone].to_owned()])],
        labels: Vec::new(),
    };
    Never {
        classes: vec![VALUES[class].0.to_owned()],
        discloses: vec![what],
        matcher: Match {
            topics: vec![TOPICS[topic].parse().expect("a filter")],
            at: u8::MAX,
            from: only(origin),
            to: only(to),
            ..Match::default()
        },
        except: None,
        at_deliver,
        relay,
    }
}

fn check(program: &Program) -> Result<(usize, usize), TestCaseError> {
    let keys = TestKeys::of(&program.federation);
    let observed = observe(program, &keys);
    let filters: Vec<_> = TOPICS.iter().map(|text| text.parse().expect("a filter")).collect();
    let borders = Borders::new(program, &filters).expect("small");
    let mut certain = 0;
    let describe = |(class, origin, topic, to, what): &(usize, usize, usize, usize, Disclosure)| {
        format!(
            "{what:?} of {} from {} to {} on {}",
            VALUES[*class].0, ZONES[*origin], ZONES[*to], TOPICS[*topic]
        )
    };
    let relayed: Shown = observed.relayed.union(&observed.direct).copied().collect();
    for (facts, at_deliver, relay) in
        [(&observed.direct, false, false), (&observed.delivered, true, false), (&relayed, false, true)]
    {
        for fact in facts {
            let (class, origin, topic, to, what) = *fact;
            let proof = question::answer(&borders, &never(class, origin, topic, to, what, at_deliver, relay));
            prop_assert!(
                !proof.is_proved(),
                "seen, but proved (relay {relay}, deliver {at_deliver}): {}",
                describe(fact)
            );
        }
    }
    for (class, (class_name, ..)) in VALUES.iter().enumerate() {
        for (topic, name) in TOPICS.iter().enumerate().filter(|(_, name)| is_held(class_name, name)) {
            for (origin, to) in (0..16).map(|at| (at / 4, at % 4)).filter(|(origin, to)| origin != to) {
                for what in [Disclosure::Value, Disclosure::Partial, Disclosure::Link, Disclosure::Type] {
                    let proof =
                        question::answer(&borders, &never(class, origin, topic, to, what, false, false));
                    let Proof::Refuted(found) = proof else { continue };
                    let one = &found.counterexample;
                    prop_assert_eq!(&one.topic, name);
                    if !one.is_certain() || !one.checks.is_empty() {
                        continue;
                    }
                    certain += 1;
                    let fact = (class, origin, topic, to, what);
                    for (color, seen) in observed.each.iter().enumerate() {
                        prop_assert!(
                            seen.contains(&fact),
                            "certain, but not seen with colour {:?}: {}\n{}",
                            COLORS[color],
                            describe(&fact),
                            found
                        );
                    }
                }
            }
        }
    }
    Ok((relayed.len(), certain))
}

/// The carrier is asked about the form, whose class nothing names any more: a path made it.
#[test]
fn a_class_that_a_path_hides_is_not_known_to_carriers() {
    let rules = [
        "match: {topics: [\"**\"]}, protect: [{fields: [\"$.data\"], as: pseudonymise, key: tokens}]",
        "match: {topics: [\"**\"], to: {jurisdictions: [US]}}, protect: [{classes: [contact], as: mask, keep: {last: 4}}]",
    ];
    let program = program(&[("zone/z-c", rules.map(str::to_owned).to_vec())], None).expect("valid");
    check(&program).expect("nothing is seen that is proved");
}

/// What was redacted with a class in it is sealed again as a whole where it is published again: a cipher of nothing.
#[test]
fn a_cipher_of_what_was_redacted_before_shows_nothing() {
    let rules = [
        "match: {topics: [\"**\"]}, protect: [{classes: [payment.card], as: redact}]",
        "match: {topics: [\"**\"]}, protect: [{fields: [\"$.data\"], as: encrypt, key: seal}]",
    ];
    let program = program(&[("federation", rules.map(str::to_owned).to_vec())], None).expect("valid");
    check(&program).expect("nothing is seen that is proved");
}

/// A declared field whose value was masked and whose list an application lost becomes a token of what the mask left.
#[test]
fn a_token_of_a_masked_value_shows_no_more_than_the_mask() {
    let rules = [
        "match: {topics: [\"**\"], from: {regions: [r-1]}}, protect: [{classes: [\"*\"], as: pseudonymise, key: tokens}]",
        "match: {topics: [\"**\"], from: {clouds: [c-1]}, to: {clouds: [c-2]}}, protect: [{fields: [\"$.data.card\"], as: mask, keep: {last: 4}}]",
    ];
    let program = program(&[("federation", rules.map(str::to_owned).to_vec())], None).expect("valid");
    check(&program).expect("nothing is seen that is proved");
}

/// A token of a value that had been hidden whole is the same for every value: who holds its key learns nothing.
#[test]
fn a_token_of_what_was_hidden_whole_shows_nothing_of_the_value() {
    let rules = [
        "match: {topics: [\"**\"], to: {zones: [z-b, z-d]}}, protect: [{classes: [payment.card], as: pseudonymise, key: tokens}]",
        "match: {topics: [\"**\"], from: {zones: [z-a]}}, protect: [{classes: [\"*\"], as: mask}]",
    ];
    let program = program(&[("federation", rules.map(str::to_owned).to_vec())], None).expect("valid");
    check(&program).expect("nothing is seen that is proved");
}

/// `MESHBRIDGE_PROOF_CASES` asks for more cases.
fn config() -> ProptestConfig {
    let more = std::env::var("MESHBRIDGE_PROOF_CASES").ok().and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: more.unwrap_or(12),
        max_shrink_iters: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_a_run_shows_no_proof_excludes_and_what_is_certain_every_run_shows(
        layers in prop::collection::vec(
            (
                prop::sample::select(vec!["federation", "federation", "region/r-1", "region/r-2", "zone/z-a", "zone/z-c"]),
                prop::collection::vec(any_rule(), 1..5),
            ),
            1..3,
        ),
        waiver in prop::option::weighted(0.3, any_match(false)),
    ) {
        let Some(program) = program(&layers, waiver.as_deref()) else { return Ok(()) };
        check(&program)?;
    }
}
