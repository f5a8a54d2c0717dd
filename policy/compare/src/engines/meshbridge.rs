//! One `deny` per rule; the topic is a filter, the purpose an attribute.

use std::cell::RefCell;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, anyhow};
use meshbridge_event::{AttributeValue, Event, EventBuilder};
use meshbridge_policy::{
    Context, Federation, MapKeyRing, Program, Randomness, Request, Scratch, SourceFile, Verdict, ZoneIndex,
    compile,
};
use meshbridge_topic::Topic;
use time::OffsetDateTime;

use super::Engine;
use crate::workload::Workload;

const FEDERATION: &str = "
apiVersion: meshbridge/v1
kind: Federation
metadata: {name: bench}
spec:
  zones: {eu-1: {region: eu}, us-1: {region: us}}
  bridges: [{id: eu-1-a, zone: eu-1}, {id: us-1-a, zone: us-1}]
  links: [{from: eu-1-a, to: us-1-a}]
";

/// More in one document are refused.
const RULES_PER_FILE: usize = 500;

struct Meshbridge {
    program: Program,
    zones: [ZoneIndex; 2],
    events: Vec<(Topic, Event)>,
    keys: MapKeyRing,
    randomness: Randomness,
    scratch: RefCell<Scratch>,
}

pub(super) fn load(workload: &Workload) -> Result<Box<dyn Engine>> {
    let file = |name: &str, text: String| SourceFile { name: name.to_owned(), text };
    let header = |name: &str| {
        format!(
            "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: federation}}\nspec:\n  rules:\n"
        )
    };
    let open = header("open") + "    - {name: open, match: {topics: [\"**\"]}, permit: {}}\n";
    let mut files = vec![file("open.yaml", open)];
    for (number, chunk) in workload.rules.chunks(RULES_PER_FILE).enumerate() {
        let mut text = header(&format!("p{number}"));
        for (at, rule) in chunk.iter().enumerate() {
            let tokens = rule.topic.each_ref().map(|token| token.as_deref().unwrap_or("*"));
            let (topic, purpose) = (tokens.join("."), rule.purpose);
            writeln!(
                text,
                "    - {{name: r{at}, match: {{topics: [\"{topic}\"], event: {{purpose: {purpose}}}}}, deny: {{}}}}"
            )?;
        }
        files.push(file(&format!("p{number}.yaml"), text));
    }
    let federation = Federation::parse(&file("federation.yaml", FEDERATION.to_owned()))
        .map_err(|problems| anyhow!("{problems}"))?;
    let program = compile(&files, &federation, None).map_err(|problems| anyhow!("{problems}"))?.program;
    let zone = |name| program.zone(name).context("a zone of the federation");
    let zones = [zone("eu-1")?, zone("us-1")?];
    let events = workload.events.iter().map(|facts| {
        let event = EventBuilder::new("018f-77", "/eu-1/shop", "com.example.order.created")
            .attribute("purpose", AttributeValue::String(facts.purpose))
            .build()?;
        Ok((Topic::parse(&facts.topic.join("."))?, event))
    });
    let events = events.collect::<Result<_>>()?;
    Ok(Box::new(Meshbridge {
        program,
        zones,
        events,
        keys: MapKeyRing::new(),
        randomness: Randomness::new([1; 32]),
        scratch: RefCell::new(Scratch::new()),
    }))
}

impl Engine for Meshbridge {
    fn passes(&self, event: usize) -> bool {
        let (topic, event) = &self.events[event];
        let request = Request {
            context: Context::Egress,
            from: self.zones[0],
            to: self.zones[1],
            topic,
            event,
            publisher: None,
            subscriber: None,
            hops: 0,
            now: OffsetDateTime::UNIX_EPOCH,
            tick: 0,
            buckets: None,
            keys: &self.keys,
            randomness: &self.randomness,
            released: &[],
            trace: false,
        };
        let decision = self.program.decide(&request, &mut self.scratch.borrow_mut());
        matches!(decision.verdict, Verdict::Forward { .. })
    }
}
