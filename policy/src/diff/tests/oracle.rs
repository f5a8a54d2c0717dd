//! Concrete events through the engine under both editions, on small federations with random rules: whatever passes or
//! shows under one and not under the other is told, and what is told for certain does happen.

use std::collections::BTreeSet;

use meshbridge_event::Event;
use meshbridge_event::json::parse_structured;
use meshbridge_topic::Topic;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use time::OffsetDateTime;

use super::super::report::{Change, ChangeKind, Effect};
use super::super::{Aspect, compared, edition};
use crate::model::{Context, Disclosure};
use crate::prove::tests::oracle::{
    CLASSES, COLORS, FEDERATION, TOPICS, VALUES, ZONES, any_match, any_rule, event, is_held, program_of,
    shown, text_of,
};
use crate::prove::{Borders, Pairs, zone};
use crate::testing::TestKeys;
use crate::{Program, Randomness, Request, Scratch, Verdict};

type Layers = Vec<(&'static str, Vec<String>)>;

/// How the second edition is made of the first.
#[derive(Clone, Debug)]
enum Change1 {
    Remove(usize),
    Replace(usize, String),
    Add(String),
    Classes,
    Federation(bool),
}

const FEWER_CLASSES: &str = r#"
apiVersion: meshbridge/v1
kind: Classification
metadata: {name: data, layer: federation}
spec:
  topics:
    - {match: "**", mayHold: [contact.email]}
    - {match: "a.**", fields: {"$.data.card": payment.card}}
    - {match: "c", fields: {"$.data.card": payment.card}}
"#;

fn edited(layers: &Layers, edits: &[Change1]) -> (Layers, &'static str, String) {
    let mut layers = layers.clone();
    let (mut classes, mut federation) = (CLASSES, FEDERATION.to_owned());
    let count = layers.len();
    for edit in edits {
        match edit {
            Change1::Add(rule) => layers[0].1.push(rule.clone()),
            Change1::Remove(at) => {
                let rules = &mut layers[at % count].1;
                if rules.len() > 1 {
                    rules.remove(at / count % rules.len());
                }
            }
            Change1::Replace(at, rule) => {
                let rules = &mut layers[at % count].1;
                let at = at / count % rules.len();
                rules[at] = rule.clone();
            }
            Change1::Classes => classes = FEWER_CLASSES,
            Change1::Federation(true) => {
                federation = federation.replace("zones: [z-a, z-c]}", "zones: [z-a, z-b, z-c, z-d]}");
            }
            Change1::Federation(false) => {
                federation = federation.replace("c-1, jurisdiction: US", "c-1, jurisdiction: EU")
            }
        }
    }
    (layers, classes, federation)
}

fn any_edit() -> impl Strategy<Value = Change1> {
    prop_oneof![
        2 => (0..64_usize).prop_map(Change1::Remove),
        3 => (0..64_usize, any_rule()).prop_map(|(at, rule)| Change1::Replace(at, rule)),
        2 => any_rule().prop_map(Change1::Add),
        1 => Just(Change1::Classes),
        1 => any::<bool>().prop_map(Change1::Federation),
    ]
}

struct Run<'a> {
    program: &'a Program,
    keys: TestKeys,
    scratch: Scratch,
}

impl<'a> Run<'a> {
    fn new(program: &'a Program) -> Run<'a> {
        Run { program, keys: TestKeys::of(&program.federation), scratch: Scratch::new() }
    }

    /// With every key, so that what cannot be made for want of one does not hide what passes.
    fn ask<T>(
        &mut self,
        context: Context,
        (from, to): (usize, usize),
        topic: &Topic,
        event: &Event,
        answer: impl FnOnce(&Program, &Request<'_>, &mut Scratch) -> T,
    ) -> T {
        let randomness = Randomness::new([7; 32]);
        let request = Request {
            context,
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
            keys: &self.keys,
            randomness: &randomness,
            released: &[],
            trace: false,
        };
        answer(self.program, &request, &mut self.scratch)
    }

    fn decide(
        &mut self,
        context: Context,
        pair: (usize, usize),
        topic: &Topic,
        event: &Event,
    ) -> Option<Event> {
        let verdict = |program: &Program, request: &Request<'_>, scratch: &mut Scratch| {
            program.decide(request, scratch).verdict
        };
        match self.ask(context, pair, topic, event, verdict) {
            Verdict::Forward { event: edited } => Some(edited.unwrap_or_else(|| event.clone())),
            _ => None,
        }
    }

    /// The links that the event must not cross on its way, by name.
    fn denied(&mut self, pair: (usize, usize), topic: &Topic, event: &Event) -> BTreeSet<String> {
        self.ask(Context::Egress, pair, topic, event, |program, request, scratch| {
            let denied = program.denied_links(request, scratch);
            denied.iter().map(|link| link.name(program.federation())).collect()
        })
    }

    /// Whether the second zone may carry the event, as it is, for a third.
    fn carries(&mut self, (from, carrier): (usize, usize), topic: &Topic, event: &Event) -> bool {
        let other = (0..ZONES.len()).find(|zone| *zone != from && *zone != carrier).expect("four zones");
        self.ask(Context::Egress, (from, other), topic, event, |program, request, scratch| {
            program.carriers(request, event, scratch).contains(zone(carrier))
        })
    }
}

/// Whether a change is one of links, which let nothing through.
fn is_of_links(what: &str) -> bool {
    what.ends_with("be crossed")
}

/// A change as it is told, without bounds.
struct Told {
    what: String,
    kind: ChangeKind,
    effect: Option<Effect>,
    aspects: Vec<Aspect>,
    atoms: Vec<Option<usize>>,
    pairs: Pairs,
}

impl Told {
    fn lets_through(&self, is: bool) -> bool {
        match self.kind {
            _ if is_of_links(&self.what) => false,
            ChangeKind::NewlyAllowed => is,
            ChangeKind::NewlyBlocked => !is,
            ChangeKind::ChangedCheck => {
                self.effect != Some(if is { Effect::Tighter } else { Effect::Looser })
            }
            ChangeKind::Weaker | ChangeKind::Stronger | ChangeKind::Kept => false,
        }
    }

    fn is_about(&self, atom: Option<usize>, aspects: &[Aspect], pair: (usize, usize)) -> bool {
        self.aspects.iter().any(|aspect| aspects.contains(aspect))
            && self.atoms.contains(&atom)
            && self.pairs.contains(pair.0, pair.1)
    }
}

fn differs(context: Context, was: &Option<Event>, is: &Option<Event>) -> Option<(Context, bool)> {
    (was.is_some() != is.is_some()).then_some((context, is.is_some()))
}

/// How many differences were seen, and how many certain changes there are.
fn check(old: &Program, new: &Program) -> Result<(usize, usize), TestCaseError> {
    let borders = Borders::new(new, &edition::filters(old)).expect("small");
    let atom = |text: &str| borders.atoms.of(&Topic::parse(text).expect("a topic"));
    let groups = compared(old, new).expect("small");
    let told: Vec<Told> = groups
        .groups
        .values()
        .map(|group| Told {
            what: group.what.clone(),
            kind: group.kind,
            effect: group.effect,
            aspects: group.aspects.clone(),
            atoms: group.topics.iter().map(|topic| atom(topic)).collect(),
            pairs: group.part.pairs.clone(),
        })
        .collect();
    let (mut before, mut after) = (Run::new(old), Run::new(new));
    let mut seen = 0;
    for text in TOPICS {
        let topic = Topic::parse(text).expect("a topic");
        let held: Vec<usize> = (0..VALUES.len()).filter(|class| is_held(VALUES[*class].0, text)).collect();
        let sets: Vec<Vec<usize>> = held.iter().map(|class| vec![*class]).chain([held.clone()]).collect();
        let all = COLORS.iter().flat_map(|color| sets.iter().map(move |set| (*color, set)));
        for (color, classes) in all {
            let event = event(color, classes);
            for pair in (0..16).map(|at| (at / 4, at % 4)).filter(|(from, to)| from != to) {
                let say = |what: &str| {
                    let (from, to) = (ZONES[pair.0], ZONES[pair.1]);
                    format!(
                        "{what} is not told: {text} {from} -> {to}, colour {color:?}, classes {classes:?}\n{}",
                        old.diff(new)
                    )
                };
                let judge = |run: &mut Run<'_>, context| run.decide(context, pair, &topic, &event);
                let [sent, admitted, delivered] = [Context::Egress, Context::Ingress, Context::Deliver]
                    .map(|context| (judge(&mut before, context), judge(&mut after, context)));
                let is_so = |aspects: &[Aspect], is: bool| {
                    told.iter().any(|one| one.lets_through(is) && one.is_about(atom(text), aspects, pair))
                };
                if let Some((_, is)) = differs(Context::Egress, &sent.0, &sent.1) {
                    seen += 1;
                    prop_assert!(is_so(&[Aspect::Sent], is), "{}", say("sent"));
                }
                let arrives = (sent.0.as_ref().and(admitted.0), sent.1.as_ref().and(admitted.1));
                if arrives.0.is_some() != arrives.1.is_some() {
                    seen += 1;
                    let is = arrives.1.is_some();
                    prop_assert!(is_so(&[Aspect::Arrives, Aspect::Sent], is), "{}", say("arrives"));
                }
                if let Some((_, is)) = differs(Context::Deliver, &delivered.0, &delivered.1) {
                    seen += 1;
                    prop_assert!(is_so(&[Aspect::Delivered], is), "{}", say("delivered"));
                }
                let carried = (before.carries(pair, &topic, &event), after.carries(pair, &topic, &event));
                if carried.0 != carried.1 {
                    seen += 1;
                    // What would have to be made for it, it may not carry.
                    let form = if carried.1 { ChangeKind::Weaker } else { ChangeKind::Stronger };
                    let by_form = told
                        .iter()
                        .any(|one| one.kind == form && one.is_about(atom(text), &[Aspect::Carried], pair));
                    prop_assert!(by_form || is_so(&[Aspect::Carried], carried.1), "{}", say("carried"));
                }
                let (Some(was), Some(is)) = sent else { continue };
                let denied = (before.denied(pair, &topic, &event), after.denied(pair, &topic, &event));
                for (more, less, effect) in
                    [(&denied.0, &denied.1, Effect::Looser), (&denied.1, &denied.0, Effect::Tighter)]
                {
                    for link in more.difference(less) {
                        seen += 1;
                        let is_told = told.iter().any(|one| {
                            is_of_links(&one.what)
                                && one.what.contains(link)
                                && one.effect == Some(effect)
                                && one.is_about(atom(text), &[Aspect::Sent], pair)
                        });
                        prop_assert!(is_told, "{}", say(&format!("{effect:?} of {link}")));
                    }
                }
                for class in classes {
                    let (name, field, original) = VALUES[*class];
                    let shows = |event: &Event, program| {
                        shown(text_of(event, field).as_deref(), original, program, pair.1)
                    };
                    let (was, is): (BTreeSet<Disclosure>, _) = (shows(&was, old), shows(&is, new));
                    for (less, more, kind) in
                        [(&was, &is, ChangeKind::Weaker), (&is, &was, ChangeKind::Stronger)]
                    {
                        if more.is_subset(less) {
                            continue;
                        }
                        seen += 1;
                        let is_told = told
                            .iter()
                            .any(|one| one.kind == kind && one.is_about(atom(text), &[Aspect::Sent], pair));
                        prop_assert!(is_told, "{}", say(&format!("{kind:?} of {name}, {was:?} {is:?}")));
                    }
                }
            }
        }
    }
    let changes = old.diff(new).changes;
    let certain: Vec<&Change> = changes.iter().filter(|change| change.is_certain).collect();
    certain.iter().try_for_each(|change| happens(change, old, new))?;
    Ok((seen, certain.len()))
}

/// The example of a certain change, judged by the engine alone.
fn happens(change: &Change, old: &Program, new: &Program) -> Result<(), TestCaseError> {
    let event =
        parse_structured(change.example.event.to_string().as_bytes()).expect("an example is an event");
    let topic = Topic::parse(&change.example.topic).expect("a topic");
    let number = |name: &str| ZONES.iter().position(|zone| *zone == name).expect("a zone");
    let pair = (number(&change.example.from), number(&change.example.to));
    if is_of_links(&change.what) {
        let denied = |program| Run::new(program).denied(pair, &topic, &event);
        let (was, is) = (denied(old), denied(new));
        let gone = was.difference(&is).any(|link| change.what.contains(link));
        let come = is.difference(&was).any(|link| change.what.contains(link));
        prop_assert!(if change.effect == Some(Effect::Looser) { gone } else { come }, "{}", change);
        return Ok(());
    }
    let contexts: &[Context] = match change.places[0] {
        "published" => &[Context::Publish],
        "sent" => &[Context::Egress],
        "arrives" => &[Context::Egress, Context::Ingress],
        "delivered" => &[Context::Deliver],
        "carried" => {
            let carries = |program| Run::new(program).carries(pair, &topic, &event);
            let (was, is) = (carries(old), carries(new));
            // Whether it may be carried shows who passes; forms are made for recipients.
            if matches!(change.kind, ChangeKind::NewlyAllowed | ChangeKind::NewlyBlocked) {
                prop_assert_eq!(is, change.kind == ChangeKind::NewlyAllowed, "{}", change);
                prop_assert_ne!(was, is, "{}", change);
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    let judge = |program| {
        let mut run = Run::new(program);
        contexts.iter().try_fold(event.clone(), |event, context| run.decide(*context, pair, &topic, &event))
    };
    let (was, is) = (judge(old), judge(new));
    let (is_opened, is_closed) = (was.is_none() && is.is_some(), was.is_some() && is.is_none());
    let is_so = match (change.kind, change.effect) {
        (ChangeKind::NewlyAllowed, _) | (ChangeKind::ChangedCheck, Some(Effect::Looser)) => is_opened,
        (ChangeKind::NewlyBlocked, _) | (ChangeKind::ChangedCheck, Some(Effect::Tighter)) => is_closed,
        (ChangeKind::ChangedCheck, _) => is_opened || is_closed,
        // It passes in neither, so none is judged.
        (ChangeKind::Kept, _) => false,
        (ChangeKind::Weaker | ChangeKind::Stronger, _) => was.is_some() && is.is_some() && was != is,
    };
    prop_assert!(is_so, "certain, and does not happen: {change}");
    Ok(())
}

/// `MESHBRIDGE_DIFF_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("MESHBRIDGE_DIFF_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(16)
}

#[test]
fn what_an_event_shows_to_differ_is_told_and_what_is_certain_happens() {
    let layers = prop::collection::vec(
        (
            prop::sample::select(vec![
                "federation",
                "federation",
                "region/r-1",
                "region/r-2",
                "zone/z-a",
                "zone/z-c",
            ]),
            prop::collection::vec(any_rule(), 1..5),
        ),
        1..3,
    );
    let waiver = || prop::option::weighted(0.2, any_match(false));
    let inputs = (layers, prop::collection::vec(any_edit(), 1..4), waiver(), waiver());
    let config = ProptestConfig {
        cases: cases(),
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let counted = std::cell::Cell::new((0, 0));
    TestRunner::new(config)
        .run(&inputs, |(layers, edits, old_waiver, new_waiver)| {
            let (after, classes, federation) = edited(&layers, &edits);
            let old = program_of(FEDERATION, CLASSES, &layers, old_waiver.as_deref());
            let new = program_of(&federation, classes, &after, new_waiver.as_deref());
            let (Some(old), Some(new)) = (old, new) else { return Ok(()) };
            let (seen, certain) = check(&old, &new)?;
            counted.set((counted.get().0 + seen, counted.get().1 + certain));
            prop_assert!(old.diff(&old).changes.is_empty(), "nothing differs from itself");
            Ok(())
        })
        .unwrap_or_else(|problem| panic!("{problem}"));
    let (seen, certain) = counted.get();
    assert!(
        seen > 0 && certain > 0,
        "editions that differ were compared: {seen} differences, {certain} certain"
    );
}
