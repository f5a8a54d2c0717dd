//! Dead letters and held events as people see them (POLICY §3), and their originals for who holds the key of the zone.
//!
//! ```text
//!  spool ─► the event as this bridge has it ─┬─► view: what the rules in force leave for its destination ─► whoever asks
//!                                            └─► sealed under the `store` key ─► a capture ─► whoever holds that key
//! ```
//!
//! Both are made when somebody asks, by the policies of then: nothing is stored beside the spool, and nothing of the
//! original leaves this module in clear.

use meshbridge_event::Event;
use meshbridge_event::json::write_structured;
use meshbridge_policy::capture::{Recorded, Writer};
use meshbridge_policy::{Concern, Context, Request, Verdict, ZoneIndex};
use meshbridge_routing::BridgeId;
use serde::Serialize;
use serde_json::value::RawValue;

use super::dead_letters::{DeadLetterView, Letter};
use super::judge::Asked;
use super::quarantine::{HeldId, HeldView};
use super::stored::Stored;
use super::{Inner, Pipeline};
use crate::policy_store::Generation;

/// One that is kept, with what may be seen of its event.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptView {
    entry: Entry,
    /// Of the event as it is kept; `None` where the spool cannot give it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<usize>,
    /// The event after the protections of its destination; `None` where these cannot be made, or the destination is not
    /// to have it in any form.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
enum Entry {
    Letter(DeadLetterView),
    Held(HeldView),
}

/// One that is kept, as it was found.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    Letter(Letter),
    Held(HeldId, Box<HeldView>),
}

/// For whom an event was.
enum For<'a> {
    Bridge(&'a BridgeId),
    /// The owner of a subscription here.
    Subscriber(Option<Box<str>>),
}

/// Where it is judged that people look at it.
#[derive(Clone, Copy)]
struct Border {
    context: Context,
    from: ZoneIndex,
    to: ZoneIndex,
}

impl Pipeline {
    /// What may be seen of it.
    pub(crate) fn kept_view(&self, kept: &Kept) -> KeptView {
        let inner = &self.inner;
        let (body, aim) = self.aim(kept);
        let entry = match kept {
            Kept::Letter(letter) => Entry::Letter(self.dead_letter_view(letter)),
            Kept::Held(_, view) => Entry::Held((**view).clone()),
        };
        let Ok(stored) = tokio::task::block_in_place(|| inner.durable.stored(body)) else {
            return KeptView { entry, size_bytes: None, event: None };
        };
        let event = inner.view_for(&inner.parts.policies.active(), &stored, &aim);
        let size_bytes = Some(stored.event.encoded().len());
        KeptView { entry, size_bytes, event: event.as_ref().and_then(structured) }
    }

    /// The original, sealed, as a line of a capture: with what the policies in force say of it. `None` where the spool
    /// cannot give it back.
    pub(crate) fn sealed_line(&self, kept: &Kept, writer: &mut Writer) -> Option<String> {
        let inner = &self.inner;
        let (body, aim) = self.aim(kept);
        let stored = tokio::task::block_in_place(|| inner.durable.stored(body)).ok()?;
        let generation = inner.parts.policies.active();
        Some(inner.sealed(&generation, &stored, &aim, writer))
    }

    fn aim<'a>(&self, kept: &'a Kept) -> (u64, For<'a>) {
        match kept {
            Kept::Held(id, _) => (id.body, For::Bridge(&id.destination)),
            Kept::Letter(letter) => match letter.aim() {
                (body, Ok(bridge)) => (body, For::Bridge(bridge)),
                (body, Err(subscription)) => {
                    let named = self.inner.named.get(subscription);
                    (body, For::Subscriber(named.map(|named| named.owner.clone())))
                }
            },
        }
    }
}

impl Inner {
    /// `None` where a zone has left the federation document: then there is nothing to protect it by.
    fn border(&self, generation: &Generation, stored: &Stored, aim: &For<'_>) -> Option<Border> {
        let own = self.parts.own_zone_index;
        let zone = |bridge: &BridgeId| {
            let known = generation.program.federation().bridge(bridge.as_str())?;
            generation.program.zone(&known.zone)
        };
        let here = Border { context: Context::Publish, from: own, to: own };
        Some(match aim {
            For::Bridge(bridge) if **bridge == self.parts.own => here,
            For::Bridge(bridge) => match zone(bridge)? {
                // Between bridges of one zone there is no border: what was taken here is what the other one may have.
                to if to == own => here,
                to => Border { context: Context::Egress, to, ..here },
            },
            For::Subscriber(_) => match zone(&stored.key.origin)? {
                from if from == own => here,
                from => Border { context: Context::Ingress, from, ..here },
            },
        })
    }

    fn view_for(&self, generation: &Generation, stored: &Stored, aim: &For<'_>) -> Option<Event> {
        let border = self.border(generation, stored, aim)?;
        let event = self.view_at(generation, stored, border, &stored.event, None)?;
        let For::Subscriber(owner) = aim else { return Some(event) };
        let border = Border { context: Context::Deliver, ..border };
        self.view_at(generation, stored, border, &event, owner.as_deref())
    }

    fn view_at(
        &self,
        generation: &Generation,
        stored: &Stored,
        border: Border,
        event: &Event,
        subscriber: Option<&str>,
    ) -> Option<Event> {
        let asked = asked(stored, border, event, subscriber);
        self.with_request(&asked, |request, scratch| generation.program.kept_view(request, scratch))
    }

    fn sealed(&self, generation: &Generation, stored: &Stored, aim: &For<'_>, writer: &mut Writer) -> String {
        let program = &generation.program;
        let own = self.parts.own_zone_index;
        let here = Border { context: Context::Publish, from: own, to: own };
        let border = self.border(generation, stored, aim).unwrap_or(here);
        self.with_request(&asked(stored, border, &stored.event, None), |request, scratch| {
            let request = &Request { buckets: None, ..*request };
            let verdict = program.decide(request, scratch).verdict;
            let digest = program.digest();
            let mut recorded = Recorded {
                digest: &digest,
                verdict: "forward",
                by: None,
                also_by: Some(&[]),
                is_rate: false,
                edited: None,
            };
            let also_by: Vec<String>;
            match &verdict {
                Verdict::Forward { event } => recorded.edited = event.as_ref(),
                Verdict::Hold { by, .. } => {
                    (recorded.verdict, recorded.by, recorded.is_rate) = ("hold", Some(by.id()), true);
                }
                Verdict::Stop(stopped) => {
                    let all = std::iter::once(&stopped.by).chain(&stopped.also_by);
                    let is_limit = |rule| program.concern(rule) == Concern::Limit;
                    recorded.is_rate = !stopped.is_too_large && all.into_iter().any(is_limit);
                    also_by = stopped.also_by.iter().map(|rule| rule.id().to_owned()).collect();
                    (recorded.verdict, recorded.by) = (stopped.disposition.name(), Some(stopped.by.id()));
                    recorded.also_by = Some(&also_by);
                }
            }
            writer.entry(program.federation(), Some(program), request, &recorded, scratch)
        })
    }
}

fn asked<'a>(
    stored: &'a Stored,
    Border { context, from, to }: Border,
    event: &'a Event,
    subscriber: Option<&'a str>,
) -> Asked<'a> {
    let (topic, publisher) = (&stored.topic, stored.publisher.as_deref());
    Asked { context, from, to, topic, event, publisher, subscriber, hops: 0 }
}

/// The event in JSON, on one line: outside of its strings JSON has no line ends that mean anything, and inside none that
/// are not escaped.
fn structured(event: &Event) -> Option<Box<RawValue>> {
    let mut text = Vec::new();
    write_structured(event, &[], &mut text);
    for byte in text.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    RawValue::from_string(String::from_utf8(text).ok()?).ok()
}
