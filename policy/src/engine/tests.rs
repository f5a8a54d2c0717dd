//! The engine against the reference, and the law that an inner layer only tightens.

mod carrying;
mod layers;
mod links;
mod readings;
mod train;

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use meshbridge_detect::tape::TapeBuffer;
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_topic::Topic;
use proptest::prelude::*;
use time::OffsetDateTime;

use crate::condition::EventFacts;
use crate::decision::{RuleRef, Verdict};
use crate::engine::{Data, Request, Scratch};
use crate::keys::KeyRing;
use crate::model::{Action, Context};
use crate::protect::Randomness;
use crate::{Federation, Program, SourceFile, ZoneLink, compile, reference};

const FEDERATION: &str = r#"
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones:
    z-a: {region: r-1, cloud: c-1, jurisdiction: EU, labels: {env: prod}}
    z-b: {region: r-1, cloud: c-2, jurisdiction: EU}
    z-c: {region: r-2, cloud: c-2, jurisdiction: US, labels: {env: prod}}
  bridges: [{id: a, zone: z-a}, {id: b, zone: z-b}, {id: c, zone: z-c}]
  links: [{from: a, to: b}, {from: b, to: c}]
"#;

fn federation() -> Federation {
    let file = SourceFile { name: "federation.yaml".to_owned(), text: FEDERATION.to_owned() };
    Federation::parse(&file).expect("a valid document")
}

fn any_match() -> impl Strategy<Value = String> {
    let topics = prop::sample::select(vec!["\"**\"", "a.b", "\"a.**\"", "\"*.b\"", "\"**.x.**\"", "c"]);
    let extra = prop::sample::select(vec![
        "",
        ", at: egress",
        ", at: [ingress, transit]",
        ", from: {zones: [z-a]}",
        ", to: {jurisdictions: [US]}",
        ", same: [jurisdiction]",
        ", same: [labels.env]",
        ", to: {labels: {env: prod}}",
        ", event: {color: \"r*\"}",
        ", from: {regions: [r-1]}, event: {color: red}",
        ", at: egress, publisher: [\"user:*\"]",
    ]);
    (topics, extra).prop_map(|(topics, extra)| format!("{{topics: [{topics}]{extra}}}"))
}

/// A rule that takes links off the way.
fn any_link_rule() -> impl Strategy<Value = String> {
    let topics = prop::sample::select(vec!["\"**\"", "a.b", "\"a.**\"", "c"]);
    let extra = prop::sample::select(vec![
        "",
        ", from: {zones: [z-a]}",
        ", to: {jurisdictions: [US]}",
        ", same: [jurisdiction]",
        ", event: {color: \"r*\"}",
        ", when: \"event.data.?n.orValue(0) > 0 && int(event.id) > 0\"",
        ", at: egress, publisher: [\"user:*\"]",
        ", at: [egress, transit], from: {regions: [r-1]}",
    ]);
    let links =
        prop::sample::select(vec!["z-a/z-b", "z-a/z-b, z-c/z-b", "z-a/z-c", "z-a/z-b, z-a/z-c, z-b/z-c"]);
    let except = prop::sample::select(vec![
        "",
        "",
        "topics: [a.b]",
        "event: {color: red}",
        "links: LINK",
        "links: LINK, from: {zones: [z-a]}",
        "links: LINK, event: {color: \"*\"}",
    ]);
    let mode = prop::sample::select(vec!["", "", "", ", mode: warn", ", mode: shadow"]);
    (topics, extra, links, except, mode).prop_map(|(topics, extra, links, except, mode)| {
        let first = links.split(',').next().unwrap_or_default();
        let except = match except {
            "" => String::new(),
            some => format!(", except: {{{}}}", some.replace("LINK", first)),
        };
        format!("match: {{topics: [{topics}], links: [{links}]{extra}}}{except}, deny: {{}}{mode}")
    })
}

fn any_rule() -> impl Strategy<Value = String> {
    prop_oneof![6 => any_rule_of_verdicts(), 1 => any_link_rule()]
}

fn any_rule_of_verdicts() -> impl Strategy<Value = String> {
    let action = prop::sample::select(vec![
        "permit: {}",
        "permit: {}",
        "permit: {}, mode: shadow",
        "deny: {}",
        "deny: {}, onViolation: dead-letter",
        "deny: {}, onViolation: quarantine, mode: shadow",
        "deny: {}, mode: warn",
        "deny: {}, mode: warn, onViolation: annotate",
        "residency: {allow: {jurisdictions: [EU]}}",
        "residency: {allow: {zones: [z-a, z-c]}, transit: {regions: [r-1]}}, onViolation: quarantine",
        "require: {attributes: {color: {enum: [red, blue]}}}",
        "require: {attributes: {color: {presence: absent}}}, onViolation: reject",
        "require: {attributes: {color: {presence: optional, pattern: \"^b\"}}}, onViolation: strip",
        "require: {attributes: {source: {pattern: \"^/${from.zone}\"}}}",
        "require: {hops: {max: 1}}, onViolation: reject",
        "structure: {segments: [{name: domain, enum: [a, c]}, {name: more, pattern: \"^[a-z]$\"}], typePrefix: \"${domain}\"}",
        "limit: {eventBytes: 200}",
        "protect: [{fields: [\"$.data.mail\"], as: redact}]",
        "protect: [{classes: [contact], as: mask, keep: {last: 2}}]",
        "protect: [{fields: [\"$.data.card\"], as: drop}, {classes: [\"*\"], as: hash}]",
        "protect: [{fields: [\"$.data\"], as: mask}]",
    ]);
    (any_match(), prop::option::weighted(0.4, any_match()), action).prop_map(|(matches, except, action)| {
        let except = except.map(|except| format!(", except: {except}")).unwrap_or_default();
        // A residency is judged at every border and takes no `at`.
        let matches = match matches.split_once(", at:") {
            Some((matches, _)) if action.starts_with("residency") => format!("{matches}}}"),
            _ => matches,
        };
        format!("match: {matches}{except}, {action}")
    })
}

fn layer() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["federation", "region/r-1", "region/r-2", "zone/z-a", "zone/z-c"])
}

fn file(name: &str, layer: &str, rules: &[String]) -> SourceFile {
    let mut text = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n"
    );
    for (at, rule) in rules.iter().enumerate() {
        text.push_str(&format!("    - {{name: r{at}, {rule}}}\n"));
    }
    SourceFile { name: format!("{name}.yaml"), text }
}

fn files(policies: &[(&'static str, Vec<String>)]) -> Vec<SourceFile> {
    policies.iter().enumerate().map(|(at, (layer, rules))| file(&format!("p{at}"), layer, rules)).collect()
}

fn policies(
    layer: impl Strategy<Value = &'static str>,
) -> impl Strategy<Value = Vec<(&'static str, Vec<String>)>> {
    prop::collection::vec((layer, prop::collection::vec(any_rule(), 1..4)), 1..4)
}

/// An event and what is around it.
struct World {
    event: Event,
    publisher: Option<&'static str>,
    hops: u8,
}

fn event(color: Option<&str>, classification: Option<&str>, source: &str, id: &str) -> Event {
    let mut builder = EventBuilder::new(id, source, "a.thing");
    if let Some(color) = color {
        builder = builder.attribute("color", AttributeValue::String(color));
    }
    if let Some(classification) = classification {
        builder = builder.attribute("dataclassification", AttributeValue::String(classification));
    }
    let data =
        r#"{"mail":"ana@example.com","card":"4111 1111 1111 1111","n":1,"list":["x","li@example.com"]}"#;
    builder.data_json(Bytes::from_static(data.as_bytes())).build().expect("a valid event")
}

fn worlds() -> Vec<World> {
    let long = "9".repeat(300);
    vec![
        World { event: event(None, None, "/s", "1"), publisher: None, hops: 0 },
        World { event: event(Some("red"), None, "/z-a/s", "1"), publisher: Some("user:ana"), hops: 1 },
        World { event: event(Some("rust"), Some("public"), "/s", "1"), publisher: Some("app:x"), hops: 2 },
        World { event: event(None, Some("public, secret"), "/s", "1"), publisher: Some("user:li"), hops: 0 },
        World { event: event(Some("blue"), None, "/s", &long), publisher: None, hops: 0 },
    ]
}

struct NoKeys;

impl KeyRing for NoKeys {
    fn secret(&self, _: &str, _: u32) -> Option<&[u8; 32]> {
        None
    }
}

/// An event without a publisher that leaves one zone for another.
fn request<'a>(
    program: &Program,
    (from, to): (&str, &str),
    topic: &'a Topic,
    event: &'a Event,
    randomness: &'a Randomness,
) -> Request<'a> {
    let zone = |name| program.zone(name).expect("a zone of the federation");
    Request {
        context: Context::Egress,
        from: zone(from),
        to: zone(to),
        topic,
        event,
        publisher: None,
        subscriber: None,
        hops: 0,
        now: OffsetDateTime::UNIX_EPOCH,
        tick: 0,
        buckets: None,
        keys: &NoKeys,
        randomness,
        released: &[],
        trace: false,
    }
}

fn every_case(program: &Program, mut check: impl FnMut(&Request<'_>)) {
    let randomness = Randomness::new([1; 32]);
    for world in worlds() {
        for context in
            [Context::Publish, Context::Egress, Context::Transit, Context::Ingress, Context::Deliver]
        {
            for (from, to) in [("z-a", "z-b"), ("z-a", "z-c"), ("z-c", "z-a"), ("z-b", "z-c")] {
                for topic in ["a.b", "a.x.b", "c", "q"] {
                    let topic = Topic::parse(topic).expect("a topic");
                    check(&Request {
                        context,
                        publisher: world.publisher,
                        hops: world.hops,
                        ..request(program, (from, to), &topic, &world.event, &randomness)
                    });
                }
            }
        }
    }
}

/// A permit of an inner layer that the outermost never permits is refused by the compiler; not what is tested here.
fn program(files: &[SourceFile]) -> Option<Program> {
    compile(files, &federation(), None).ok().map(|compiled| compiled.program)
}

/// A document of a layer that lists obligations as met.
fn any_listing(layer: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Option<SourceFile>> {
    let values = prop::sample::select(vec!["secret", "public", "public, secret", "internal"]);
    prop::option::of((layer, values)).prop_map(|listing| {
        let (layer, values) = listing?;
        let name = format!("of-{}", layer.replace('/', "-"));
        let text = format!(
            "apiVersion: meshbridge/v1\nkind: Classification\nmetadata: {{name: {name}, layer: {layer}}}\nspec: {{attributes: {{dataclassification: [{values}]}}}}\n"
        );
        Some(SourceFile { name: format!("{name}.yaml"), text })
    })
}

fn any_waiver() -> impl Strategy<Value = Option<SourceFile>> {
    prop::option::weighted(0.5, (any_match(), 0..3_usize, 0..3_usize)).prop_map(|waiver| {
        let (matches, policy, rule) = waiver?;
        let text = format!(
            "apiVersion: meshbridge/v1\nkind: Waiver\nmetadata: {{name: w, layer: federation}}\nspec:\n  rule: p{policy}/r{rule}\n  match: {matches}\n  expires: \"1970-06-01T00:00:00Z\"\n  reason: a test\n"
        );
        Some(SourceFile { name: "waiver.yaml".to_owned(), text })
    })
}

fn names_of(program: &Program, link: ZoneLink) -> (String, String) {
    let name = link.name(program.federation());
    let (one, other) = name.split_once('/').expect("two zones");
    (one.to_owned(), other.to_owned())
}

fn value_of(event: &Event, pointer: &str) -> Option<String> {
    let data: serde_json::Value = serde_json::from_slice(event.data_bytes()).ok()?;
    data.pointer(pointer).map(ToString::to_string)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_judged_alike_passes_with_the_largest_whatever_its_id_and_data(stack in policies(layer())) {
        let Some(program) = program(&files(&stack)) else { return Ok(()) };
        let mut scratch = Scratch::new();
        let mut alike = 0;
        every_case(&program, |request| {
            let Request { context, from, to, topic, event, .. } = *request;
            if !program.judges_alike(context, from, to, topic, &mut scratch) {
                return;
            }
            alike += 1;
            // No larger: an id of one character, and less data.
            let other = event.to_builder().set_attribute("id", AttributeValue::String("x"));
            let other = other.data_binary(Bytes::from_static(b"4111 1111 1111 1111")).build().expect("a valid event");
            let of_other = Request { event: &other, ..*request };
            let denied = program.denied_links(request, &mut scratch);
            assert_eq!(denied, program.denied_links(&of_other, &mut scratch), "{stack:?} {topic} {context:?}");
            let verdict = program.decide(request, &mut scratch).verdict;
            if matches!(verdict, Verdict::Stop(_)) {
                return;
            }
            let of_other = program.decide(&of_other, &mut scratch).verdict;
            let shape = |verdict: &Verdict| match verdict {
                Verdict::Forward { event } => {
                    let attributes = event.as_ref().map(|event| {
                        let all = event.attributes().filter(|(name, _)| *name != "id");
                        all.map(|(name, value)| format!("{name}={}", value.to_text())).collect::<Vec<_>>()
                    });
                    format!("forward {attributes:?}")
                }
                Verdict::Hold { by, .. } => format!("hold {by}"),
                Verdict::Stop(stopped) => format!("{:?} {} {:?}", stopped.disposition, stopped.by, stopped.also_by),
            };
            assert_eq!(shape(&verdict), shape(&of_other), "{stack:?} {topic} {context:?}");
        });
        // Borders without a rule are alike at least.
        prop_assert!(alike > 0 || stack.iter().any(|(_, rules)| !rules.is_empty()));
    }

    #[test]
    fn the_engine_decides_as_the_reference_does(
        all in policies(layer()),
        waiver in any_waiver(),
        released in prop::collection::vec((0..3_usize, 0..3_usize), 0..3),
    ) {
        let mut files = files(&all);
        files.extend(waiver);
        let released: Vec<std::sync::Arc<str>> =
            released.into_iter().map(|(policy, rule)| format!("p{policy}/r{rule}").into()).collect();
        let Some(program) = program(&files) else { return Ok(()) };
        let mut scratch = Scratch::new();
        let mut wrong = None;
        every_case(&program, |request| {
            let request = &Request { released: &released, ..*request };
            let mut buffer = TapeBuffer::new();
            let data = Data::read(request.event, &mut buffer);
            let tape_facts = EventFacts::new(request, program.federation(), data);
            let mut said = reference::said(&program, request, &tape_facts);
            let decision = program.decide(request, &mut scratch);
            let report = decision.report.clone().unwrap_or_default();
            let ids = |rules: &[RuleRef]| rules.iter().map(|rule| rule.id().to_owned()).collect::<BTreeSet<_>>();
            let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
            // Protections report too; what they say is not the reference's to know.
            let is_protect = |id: &String| {
                program.rules.iter().any(|rule| *rule.id == **id && matches!(rule.action, Action::Protect(_)))
            };
            let of_checks = |rules: &[RuleRef]| ids(rules).into_iter().filter(|id| !is_protect(id)).collect::<BTreeSet<_>>();
            let mut note = |what: &str, came: &dyn fmt::Debug, expected: &dyn fmt::Debug| {
                wrong = Some(format!("{request:?}: {what} {came:?}, expected {expected:?}"));
            };
            let denied = program.denied_links(request, &mut scratch);
            let denied: BTreeSet<(String, String)> = denied.iter().map(|link| names_of(&program, link)).collect();
            let expected = reference::denied_links(&program, request, &tape_facts);
            if denied != expected {
                note("denied links", &denied, &expected);
            }
            if of_checks(&report.warned) != set(&said.warned) {
                note("warned", &report.warned, &said.warned);
            }
            if of_checks(&report.shadowed) != set(&said.shadowed) {
                note("shadowed", &report.shadowed, &said.shadowed);
            }
            let waived: Vec<RuleRef> = report.waived.iter().map(|(rule, _)| rule.clone()).collect();
            if ids(&waived) != set(&said.waived) {
                note("waived", &waived, &said.waived);
            }
            match &decision.verdict {
                // A protection may stop an event that no check stops: in transit, or on an error.
                Verdict::Stop(stopped) if !said.stops.is_empty() => {
                    let mut got: Vec<String> =
                        stopped.also_by.iter().chain([&stopped.by]).map(ToString::to_string).collect();
                    let strictest = said.stops.iter().map(|(_, disposition)| *disposition).max();
                    let of_by = said.stops.iter().find(|(id, _)| id == stopped.by.id()).map(|(_, d)| *d);
                    said.stops.sort();
                    let mut expected: Vec<String> = said.stops.iter().map(|(id, _)| id.clone()).collect();
                    got.sort();
                    expected.dedup();
                    if got != expected || of_by != strictest || Some(stopped.disposition) != strictest {
                        note("stopped", &got, &said.stops);
                    }
                }
                Verdict::Stop(stopped) if request.context != Context::Transit => note("stopped", &stopped.by, &"nothing"),
                Verdict::Stop(_) => {}
                other if !said.stops.is_empty() => note("verdict", other, &said.stops),
                _ => {}
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn an_inner_layer_never_permits_or_discloses_more(
        outer in policies(Just("federation")),
        inner in policies(prop::sample::select(vec!["region/r-1", "region/r-2", "zone/z-a", "zone/z-c"])),
        listed in any_listing(Just("federation")),
        more_listed in any_listing(prop::sample::select(vec!["region/r-1", "zone/z-a", "zone/z-c"])),
    ) {
        let mut both = outer.clone();
        both.extend(inner);
        let (mut outer, mut both) = (files(&outer), files(&both));
        outer.extend(listed.clone());
        both.extend(listed.into_iter().chain(more_listed));
        let (Some(alone), Some(with)) = (program(&outer), program(&both)) else { return Ok(()) };
        let (mut of_alone, mut of_with) = (Scratch::new(), Scratch::new());
        let mut wrong = None;
        every_case(&with, |request| {
            let (few, all) = (alone.denied_links(request, &mut of_alone), with.denied_links(request, &mut of_with));
            if few.iter().any(|link| !all.contains(link)) {
                wrong = Some(format!("{request:?}: the inner layer opens a link"));
            }
            let Verdict::Forward { event: more } = with.decide(request, &mut of_with).verdict else { return };
            let Verdict::Forward { event: less } = alone.decide(request, &mut of_alone).verdict else {
                wrong = Some(format!("{request:?}: the inner layer permits"));
                return;
            };
            let more = more.unwrap_or_else(|| request.event.clone());
            let less = less.unwrap_or_else(|| request.event.clone());
            for pointer in ["/mail", "/card", "/n", "/list/0", "/list/1"] {
                let original = value_of(request.event, pointer);
                if value_of(&less, pointer) != original && value_of(&more, pointer) == original {
                    wrong = Some(format!("{request:?}: the inner layer discloses {pointer}"));
                }
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn protecting_twice_is_protecting_once(all in policies(Just("federation"))) {
        // What is stripped may have been a condition of a permit, and `govprotected` makes an event larger.
        let counts = |rule: &String| rule.contains("strip") || rule.contains("eventBytes");
        let strips = all.iter().flat_map(|(_, rules)| rules).any(counts);
        let Some(program) = program(&files(&all)).filter(|_| !strips) else { return Ok(()) };
        let mut scratch = Scratch::new();
        let mut wrong = None;
        every_case(&program, |request| {
            let Verdict::Forward { event: Some(once) } = program.decide(request, &mut scratch).verdict else { return };
            let again = Request { event: &once, ..*request };
            match program.decide(&again, &mut scratch).verdict {
                Verdict::Forward { event: None } => {}
                Verdict::Forward { event: Some(twice) } if twice == once => {}
                other => wrong = Some(format!("{request:?}: {other:?} after {:?}", once.data_text())),
            }
        });
        prop_assert_eq!(wrong, None);
    }

    #[test]
    fn the_digest_does_not_depend_on_the_order_of_files(all in policies(layer())) {
        let mut shuffled = files(&all);
        let (Some(one), true) = (program(&shuffled), shuffled.len() > 1) else { return Ok(()) };
        shuffled.reverse();
        let other = program(&shuffled).expect("the same files");
        prop_assert_eq!(one.digest(), other.digest());
    }
}
