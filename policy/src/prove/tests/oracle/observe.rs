//! What zones see of each value, over crossings that the engine judges and applications that publish again.

use super::runs::{Runs, Sight};
use super::*;

/// As an application may publish it again: with another colour, and with or without what says how it is protected.
fn again(event: &Event) -> Vec<Event> {
    let mut all = Vec::new();
    for keeps in [true, false] {
        for color in COLORS {
            let mut builder = event.to_builder().remove_attribute("govwarn");
            if !keeps {
                builder = builder.remove_attribute("govprotected");
            }
            builder = match color {
                Some(color) => builder.set_attribute("color", AttributeValue::String(color)),
                None => builder.remove_attribute("color"),
            };
            all.extend(builder.build());
        }
    }
    all
}

/// An application of a zone that holds the key reads the value and may publish it.
fn opened(event: &Event, program: &Program, keys: &TestKeys, at: usize) -> Option<Event> {
    let ring = Held { program, all: keys, zone: at };
    let (opened, _) = crate::decrypt(event, &ring).ok()?;
    (opened != *event).then_some(opened)
}

pub(super) type Shown = BTreeSet<(usize, usize, usize, usize, Disclosure)>;

/// What is seen: class, origin, topic, zone, and what it shows.
pub(super) struct Observed {
    /// By the mesh itself, and by subscribers.
    pub(super) direct: Shown,
    pub(super) delivered: Shown,
    /// Over zones that publish again, at most three crossings.
    pub(super) relayed: Shown,
    /// For each colour that an origin publishes, what is seen directly.
    pub(super) each: [Shown; COLORS.len()],
}

pub(super) fn observe(program: &Program, keys: &TestKeys) -> Observed {
    let mut runs = Runs { program, keys, scratch: Scratch::new() };
    let mut observed = Observed {
        direct: Shown::new(),
        delivered: Shown::new(),
        relayed: Shown::new(),
        each: [Shown::new(), Shown::new(), Shown::new()],
    };
    for (topic_at, text) in TOPICS.iter().enumerate() {
        let topic = Topic::parse(text).expect("a topic");
        let held: Vec<usize> = (0..VALUES.len()).filter(|class| is_held(VALUES[*class].0, text)).collect();
        for origin in 0..ZONES.len() {
            // Digests of what was left of a value, and whether that was anything.
            let mut of_parts: BTreeMap<String, bool> = BTreeMap::new();
            let mut facts = |published: &Event, sight: &Sight| {
                let mut facts = Vec::new();
                // What a zone can open it sees; that there is a cipher says nothing of what is in it.
                let readable = opened(&sight.event, program, keys, sight.zone);
                let readable = readable.as_ref().unwrap_or(&sight.event);
                for class in held.iter().filter(|_| sight.zone != origin) {
                    let (_, field, original) = VALUES[*class];
                    let text = text_of(readable, field);
                    let mut shows = shown(text.as_deref(), original, program, sight.zone);
                    if let Some(text) = text.filter(|text| is_digest(text)) {
                        if let Some(before) =
                            text_of(published, field).filter(|before| is_part(before, original))
                        {
                            of_parts.insert(text.clone(), keeps_something(&before));
                        }
                        // Who can confirm a guess at what was digested confirms the part that was left of the value;
                        // where the value had been hidden whole, that is nothing.
                        if let Some(keeps) = of_parts.get(&text) {
                            if shows.remove(&Disclosure::Value) && *keeps {
                                shows.insert(Disclosure::Partial);
                            }
                            shows.remove(&Disclosure::Link);
                        }
                    }
                    facts.extend(shows.into_iter().map(|one| (*class, origin, topic_at, sight.zone, one)));
                }
                facts
            };
            let mut layer: Vec<(usize, Event)> = Vec::new();
            for (color_at, color) in COLORS.iter().enumerate() {
                // Alone, so that nothing depends on what is done for another class.
                for class in &held {
                    for sight in runs.publish(origin, &topic, &event(*color, &[*class])) {
                        let facts = facts(&event(*color, &[*class]), &sight);
                        if !sight.delivered {
                            observed.each[color_at].extend(facts.iter().filter(|fact| fact.0 == *class));
                            observed.direct.extend(facts.iter().filter(|fact| fact.0 == *class));
                        }
                    }
                }
                layer.push((origin, event(*color, &held)));
            }
            let mut seen: BTreeSet<(usize, Vec<u8>)> = BTreeSet::new();
            for depth in 0..3 {
                let mut next: Vec<(usize, Event)> = Vec::new();
                for (from, event) in layer {
                    for sight in runs.publish(from, &topic, &event) {
                        match (depth, sight.delivered) {
                            (0, true) => observed.delivered.extend(facts(&event, &sight)),
                            (0, false) => observed.direct.extend(facts(&event, &sight)),
                            (_, false) => observed.relayed.extend(facts(&event, &sight)),
                            (_, true) => {}
                        }
                        if sight.delivered || !seen.insert((sight.zone, sight.event.encoded().to_vec())) {
                            continue;
                        }
                        let opened = opened(&sight.event, program, keys, sight.zone);
                        for form in std::iter::once(sight.event).chain(opened) {
                            next.extend(again(&form).into_iter().map(|event| (sight.zone, event)));
                        }
                    }
                }
                // Enough of them to see what proofs miss, spread over all; a run is one of many.
                let step = next.len().div_ceil(RELAYED_MAX).max(1);
                layer = next.into_iter().step_by(step).collect();
            }
        }
    }
    observed
}

/// Events that are published again after a crossing.
const RELAYED_MAX: usize = 24;
