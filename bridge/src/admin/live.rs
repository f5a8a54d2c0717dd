//! What happens while it happens: answers that go on until their time is over, a JSON object a line.
//!
//! They are asked for with POST although they change nothing: a page in a browser can make a GET for another site
//! without saying so, and with a few of those it would take all the places there are.

mod capture;
mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use meshbridge_topic::TopicFilter;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{AdminState, error};
use crate::observers::FILTERS_MAX;

pub(crate) use capture::CaptureParameters;
pub(super) use capture::capture;
pub(crate) use watch::WatchParameters;
pub(super) use watch::watch;

/// How long somebody may look on; who wants more asks again.
pub(crate) const SECONDS_MAX: u64 = 24 * 60 * 60;
/// How soon a bridge that stops is noticed.
const GLANCE_EVERY: Duration = Duration::from_millis(500);
/// Lines that are there are sent together, up to about this many bytes.
const CHUNK_BYTES: usize = 32 << 10;

/// Some lines of an answer.
type Chunk = Result<Bytes, std::convert::Infallible>;

/// Until when an answer goes on.
struct Clock {
    state: Arc<AdminState>,
    end: Instant,
    glances: Interval,
}

impl Clock {
    fn new(state: Arc<AdminState>, seconds: Option<u64>) -> Clock {
        let time = Duration::from_secs(seconds.unwrap_or(SECONDS_MAX).min(SECONDS_MAX));
        Clock { state, end: Instant::now() + time, glances: ticks(Duration::ZERO, GLANCE_EVERY) }
    }

    /// Returns when nothing may follow, with why. Cancel safe.
    async fn ended(&mut self) -> &'static str {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(self.end) => return "time",
                _ = self.glances.tick() => if self.state.draining.load(Ordering::Relaxed) { return "stopping" },
            }
        }
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn ticks(after: Duration, every: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + after, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn lines(chunks: impl futures_util::Stream<Item = Chunk> + Send + 'static) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(chunks)).into_response()
}

#[allow(clippy::result_large_err)]
fn read<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Response> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|problem| {
        error(StatusCode::BAD_REQUEST, "invalid", &format!("the body does not fit: {problem}"))
    })
}

#[allow(clippy::result_large_err)]
fn filters(texts: &[String]) -> Result<Vec<TopicFilter>, Response> {
    let invalid = |message: &str| error(StatusCode::BAD_REQUEST, "invalid", message);
    if texts.len() > FILTERS_MAX {
        return Err(invalid(&format!("at most {FILTERS_MAX} filters can be asked for at once")));
    }
    let parse = |text: &String| {
        TopicFilter::parse(text).map_err(|problem| invalid(&format!("`{text}` is no filter: {problem}")))
    };
    texts.iter().map(parse).collect()
}
