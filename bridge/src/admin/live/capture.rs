//! Events as they are judged, in the format of captures.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use meshbridge_policy::capture::{Begin, Recorded, Writer};
use meshbridge_policy::{Randomness, Request, Scratch};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{CHUNK_BYTES, Clock, Source, filters, lines, push, read};
use crate::admin::{AdminState, error};
use crate::observers::{CaptureWish, Capturing, Observation};

/// Events of one capture.
pub(crate) const EVENTS_MAX: u64 = 1_000_000;

/// What to capture.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct CaptureParameters {
    /// Filters; none means any topic.
    pub(crate) topics: Vec<String>,
    /// How many events; a million by default, and at most.
    pub(crate) events: Option<u64>,
    /// For how long; a day by default, and at most.
    pub(crate) seconds: Option<u64>,
    /// The events themselves, under the `store` key of the zone.
    pub(crate) sealed: bool,
}

pub(in crate::admin) async fn capture(State(state): State<Arc<AdminState>>, body: Bytes) -> Response {
    let wish: CaptureParameters = match read(&body) {
        Ok(wish) => wish,
        Err(response) => return response,
    };
    let topics = match filters(&wish.topics) {
        Ok(topics) => topics,
        Err(response) => return response,
    };
    let begin = Begin {
        capture: rand::random(),
        bridge: &state.bridge,
        zone: state.zone_index,
        topics: wish.topics,
        now: OffsetDateTime::now_utc(),
        sealed: wish.sealed,
    };
    let writer = match Writer::begin(&begin, &state.policies.active().program, &*state.keys) {
        Ok(writer) => writer,
        Err(refused) => return error(StatusCode::CONFLICT, "no_store_key", &refused.to_string()),
    };
    let capturing = match state.observers.capture(CaptureWish { topics }) {
        Ok(capturing) => capturing,
        Err(refused) => return error(StatusCode::TOO_MANY_REQUESTS, "busy", &refused.to_string()),
    };
    let live = Live {
        header: Some(writer.header()),
        capturing,
        writer,
        clock: Clock::new(Arc::clone(&state), wish.seconds),
        events_max: wish.events.unwrap_or(EVENTS_MAX).clamp(1, EVENTS_MAX),
        scratch: Scratch::new(),
    };
    lines(live)
}

struct Live {
    /// Sent first, so that who asked knows that nothing is missed from here on.
    header: Option<String>,
    capturing: Capturing,
    writer: Writer,
    clock: Clock,
    events_max: u64,
    scratch: Scratch,
}

impl Source for Live {
    async fn chunk(mut self) -> (Bytes, Option<Live>) {
        let mut text = String::new();
        if let Some(header) = self.header.take() {
            push(&mut text, &header);
            return (text.into(), Some(self));
        }
        let ended = tokio::select! {
            observation = self.capturing.next() => {
                self.write(&mut text, observation);
                while text.len() < CHUNK_BYTES && self.wants_more() && let Some(one) = self.capturing.ready() {
                    self.write(&mut text, one);
                }
                (!self.wants_more()).then_some("events")
            }
            why = self.clock.ended() => {
                while self.wants_more() && text.len() < CHUNK_BYTES && let Some(one) = self.capturing.ready() {
                    self.write(&mut text, one);
                }
                Some(why)
            }
        };
        let Some(why) = ended else { return (text.into(), Some(self)) };
        push(&mut text, &self.writer.end(self.capturing.missed(), why));
        (text.into(), None)
    }
}

impl Live {
    fn wants_more(&self) -> bool {
        self.writer.entries() < self.events_max
    }

    fn write(&mut self, text: &mut String, seen: Observation) {
        let active = self.clock.state.policies.active();
        let randomness = Randomness::new(rand::random());
        let request = Request {
            context: seen.context,
            from: seen.from,
            to: seen.to,
            topic: &seen.topic,
            event: &seen.event,
            publisher: seen.publisher.as_deref(),
            subscriber: None,
            hops: seen.hops,
            now: seen.now,
            tick: 0,
            buckets: None,
            keys: &*self.clock.state.keys,
            randomness: &randomness,
            released: &seen.released,
            trace: false,
        };
        let recorded = Recorded {
            digest: &seen.digest,
            verdict: seen.verdict,
            by: seen.by.as_deref(),
            also_by: seen.also_by.as_deref(),
            is_rate: seen.is_rate,
            edited: seen.edited.as_ref(),
        };
        let program = seen.generation.as_ref().map(|generation| &generation.program);
        // The federation document stays the same while a bridge runs.
        let federation = active.program.federation();
        push(text, &self.writer.entry(federation, program, &request, &recorded, &mut self.scratch));
    }
}
