//! Who looks on never holds an event up, and is told what it missed.

use std::time::SystemTime;

use meshbridge_event::EventBuilder;
use meshbridge_policy::{
    Decision, Federation, MapKeyRing, Randomness, Request, Scratch, SourceFile, Verdict, compile,
};
use meshbridge_routing::wire::PolicyMark;
use time::OffsetDateTime;

use super::*;

const FEDERATION: &str = "
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: test}
spec:
  zones: {here: {region: r}, there: {region: r}}
  bridges: [{id: a, zone: here}, {id: b, zone: there}]
";
const RULES: &str = "
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: p, layer: federation}
spec:
  rules:
    - {name: open, match: {topics: [\"**\"]}, permit: {}}
    - {name: trial, match: {topics: [\"orders.**\"]}, deny: {}, mode: warn}
    - {name: idea, match: {topics: [\"orders.**\"]}, deny: {}, mode: shadow}
    - {name: closed, match: {topics: [\"closed.**\"]}, deny: {}}
";

struct World {
    generation: Arc<Generation>,
    event: Event,
}

fn world() -> World {
    let file = |name: &str, text: &str| SourceFile { name: name.to_owned(), text: text.to_owned() };
    let federation = Federation::parse(&file("federation.yaml", FEDERATION)).expect("a valid document");
    let program = compile(&[file("p.yaml", RULES)], &federation, None).expect("valid rules").program;
    let mark = PolicyMark { digest: [0; 32], federation_revision: 0 };
    let loaded_at = SystemTime::now();
    let generation = Generation { program, number: 1, files: 1, loaded_at, mark, min_revision: 0 };
    let data = "x".repeat(1_000).into_bytes();
    let event = EventBuilder::new("4111 1111 1111 1111", "/s", "t").data_text(data.into()).build();
    World { generation: Arc::new(generation), event: event.expect("a small event") }
}

impl World {
    fn tell(&self, observers: &Observers, topic: &str) {
        let topic = Topic::parse(topic).expect("a topic");
        let program = &self.generation.program;
        let zone = |name| program.zone(name).expect("a zone");
        let request = Request {
            context: Context::Egress,
            from: zone("here"),
            to: zone("there"),
            topic: &topic,
            event: &self.event,
            publisher: None,
            subscriber: None,
            hops: 0,
            now: OffsetDateTime::UNIX_EPOCH,
            tick: 0,
            buckets: None,
            keys: &MapKeyRing::new(),
            randomness: &Randomness::new([0; 32]),
            released: &[],
            trace: false,
        };
        let Decision { verdict, report, .. } = program.decide(&request, &mut Scratch::new());
        let by = match &verdict {
            Verdict::Stop(stopped) => Some(&stopped.by),
            _ => None,
        };
        observers.on_decision(&Seen {
            generation: &self.generation,
            shared: Some(&self.generation),
            context: request.context,
            from: request.from,
            to: request.to,
            topic: &topic,
            event: &self.event,
            publisher: None,
            hops: 0,
            verdict: if by.is_some() { "reject" } else { "forward" },
            by,
            also_by: Some(&[]),
            is_rate: false,
            edited: None,
            released: &[],
            report: report.as_deref(),
            is_alike: false,
        });
    }
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).expect("a filter")
}

#[test]
fn what_finds_no_room_is_counted_and_held_by_nobody() {
    let (world, observers) = (world(), Arc::new(Observers::default()));
    let mut watching = observers.watch(WatchWish::default()).expect("a place");
    let lines = watch::lines_max() as u64;
    for _ in 0..lines {
        world.tell(&observers, "orders.new");
    }
    // Two rules each: half of the lines found room.
    assert_eq!(watching.summary(None).totals(), (lines, lines, 2 * lines));
    let first: serde_json::Value =
        serde_json::from_str(&watching.ready().expect("a line")).expect("an object");
    assert_eq!(first["rule"], "p/trial");
    assert_eq!((&first["mode"], &first["verdict"]), (&"warn".into(), &"forward".into()));
    assert_eq!(first["id"], "[redacted:payment.card]");
    assert!(first.get("data").is_none());
    assert_eq!(std::iter::from_fn(|| watching.ready()).count() as u64, lines - 1);
    assert_eq!(Arc::strong_count(watching.watcher()), 2);
}

#[test]
fn a_watcher_sees_its_topics_and_its_rule() {
    let (world, observers) = (world(), Arc::new(Observers::default()));
    let wish = WatchWish { topics: vec![filter("closed.*")], rule: Some("p/closed".to_owned()) };
    let mut closed = observers.watch(wish).expect("a place");
    let wish = WatchWish { rule: Some("p/idea".to_owned()), ..WatchWish::default() };
    let mut idea = observers.watch(wish).expect("a place");
    for topic in ["orders.new", "closed.door", "other"] {
        world.tell(&observers, topic);
    }
    assert_eq!(closed.summary(None).totals(), (1, 0, 1));
    assert!(closed.ready().is_some_and(|line| line.contains("\"enforce\"")));
    assert_eq!(idea.summary(None).totals(), (3, 0, 1));
    assert!(idea.ready().is_some_and(|line| line.contains("\"shadow\"")));
    assert!(idea.ready().is_none());
}

#[test]
fn places_are_few_and_free_again_when_they_are_left() {
    let observers = Arc::new(Observers::default());
    assert!(observers.are_none());
    let mut all: Vec<Watching> =
        (0..WATCHERS_MAX).map(|_| observers.watch(WatchWish::default()).expect("a place")).collect();
    assert_eq!(observers.watch(WatchWish::default()).err(), Some(TooMany { most: WATCHERS_MAX }));
    all.pop();
    all.push(observers.watch(WatchWish::default()).expect("the place of the one that left"));
    drop(all);
    assert!(observers.are_none());
    let wish = || CaptureWish { topics: Vec::new() };
    let captures: Vec<Capturing> =
        (0..CAPTURES_MAX).map(|_| observers.capture(wish()).expect("a place")).collect();
    assert!(observers.capture(wish()).is_err());
    drop(captures);
    assert!(observers.are_none());
}

#[test]
fn a_capture_keeps_a_bounded_number_of_events_and_of_bytes() {
    let (mut world, observers) = (world(), Arc::new(Observers::default()));
    let mut capturing =
        observers.capture(CaptureWish { topics: vec![filter("orders.**")] }).expect("a place");
    for _ in 0..capture::QUEUE_MAX + 10 {
        world.tell(&observers, "orders.new");
        world.tell(&observers, "closed.door");
    }
    assert_eq!(capturing.missed(), 10);
    assert_eq!(std::iter::from_fn(|| capturing.ready()).count(), capture::QUEUE_MAX);
    let large = vec![b'x'; 900 << 10];
    world.event = EventBuilder::new("1", "/s", "t").data_text(large.into()).build().expect("an event");
    let before = capturing.missed();
    for _ in 0..30 {
        world.tell(&observers, "orders.new");
    }
    let kept = std::iter::from_fn(|| capturing.ready()).count();
    assert!(kept * world.event.encoded().len() <= capture::QUEUE_BYTES_MAX, "{kept} large events");
    assert_eq!(kept as u64 + capturing.missed() - before, 30);
}
