//! Verdicts as they are made.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::time::Interval;

use super::{CHUNK_BYTES, Clock, SECONDS_MAX, Source, filters, lines, push, read, ticks};
use crate::admin::{AdminState, error};
use crate::observers::{WatchWish, Watching};

/// Between two summaries, where nothing else is asked for.
const SUMMARY_SECONDS: u64 = 5;

/// What to watch.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct WatchParameters {
    /// Filters; none means any topic.
    pub(crate) topics: Vec<String>,
    pub(crate) rule: Option<String>,
    /// For how long; a day by default, and at most.
    pub(crate) seconds: Option<u64>,
    /// Between two summaries.
    pub(crate) every_seconds: Option<u64>,
}

pub(in crate::admin) async fn watch(State(state): State<Arc<AdminState>>, body: Bytes) -> Response {
    let wish: WatchParameters = match read(&body) {
        Ok(wish) => wish,
        Err(response) => return response,
    };
    let topics = match filters(&wish.topics) {
        Ok(topics) => topics,
        Err(response) => return response,
    };
    let watching = match state.observers.watch(WatchWish { topics, rule: wish.rule }) {
        Ok(watching) => watching,
        Err(refused) => return error(StatusCode::TOO_MANY_REQUESTS, "busy", &refused.to_string()),
    };
    let every = Duration::from_secs(wish.every_seconds.unwrap_or(SUMMARY_SECONDS).clamp(1, SECONDS_MAX));
    let live = Live { watching, clock: Clock::new(state, wish.seconds), summaries: ticks(every, every) };
    lines(live)
}

struct Live {
    watching: Watching,
    clock: Clock,
    summaries: Interval,
}

impl Source for Live {
    async fn chunk(mut self) -> (Bytes, Option<Live>) {
        let mut text = String::new();
        tokio::select! {
            line = self.watching.next() => {
                push(&mut text, &line);
                while text.len() < CHUNK_BYTES && let Some(line) = self.watching.ready() {
                    push(&mut text, &line);
                }
            }
            _ = self.summaries.tick() => push(&mut text, &self.watching.summary(None).to_line()),
            end = self.clock.ended() => {
                while let Some(line) = self.watching.ready() {
                    push(&mut text, &line);
                }
                push(&mut text, &self.watching.summary(Some(end)).to_line());
                return (text.into(), None);
            }
        }
        (text.into(), Some(self))
    }
}
