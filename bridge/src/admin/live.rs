//! What happens while it happens: answers that go on until their time is over, a JSON object a line.
//!
//! They are asked for with POST although they change nothing: a page in a browser can make a GET for another site
//! without saying so, and with a few of those it would take all the places there are.

mod capture;
mod watch;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use meshbridge_topic::TopicFilter;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;

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
pub(super) const CHUNK_BYTES: usize = 32 << 10;

/// How long a reader may take nothing before its place is given to another one.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// Who makes the lines of an answer.
pub(super) trait Source: Sized + Send + 'static {
    /// The next lines, and the source again where more may follow.
    fn chunk(self) -> impl Future<Output = (Bytes, Option<Self>)> + Send;
}

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

pub(super) fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn ticks(after: Duration, every: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(Instant::now() + after, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// An answer that goes on. Its task ends by itself: when the source does (which notices that the bridge stops), when the
/// reader goes away, or when it has taken nothing for too long. A body alone would not notice the last, for nobody asks
/// it for more.
pub(super) fn lines(source: impl Source) -> Response {
    let (chunks, body) = mpsc::channel(1);
    tokio::spawn(feed(source, chunks, STALLED_MAX));
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(ReceiverStream::new(body).map(Ok::<_, Infallible>))).into_response()
}

async fn feed<S: Source>(source: S, chunks: mpsc::Sender<Bytes>, patience: Duration) {
    let mut left = Some(source);
    while let Some(source) = left {
        let (chunk, more) = tokio::select! {
            next = source.chunk() => next,
            () = chunks.closed() => return,
        };
        if !matches!(tokio::time::timeout(patience, chunks.send(chunk)).await, Ok(Ok(()))) {
            return;
        }
        left = more;
    }
}

#[allow(clippy::result_large_err)]
pub(super) fn read<T: serde::de::DeserializeOwned>(body: &Bytes) -> Result<T, Response> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines without end; tells when it is gone.
    struct Endless {
        _alive: mpsc::Sender<()>,
    }

    impl Source for Endless {
        async fn chunk(self) -> (Bytes, Option<Self>) {
            (Bytes::from_static(b"{}\n"), Some(self))
        }
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_or_goes_away_gives_its_place_back() {
        let (alive, mut gone) = mpsc::channel(1);
        let (chunks, mut body) = mpsc::channel(1);
        tokio::spawn(feed(Endless { _alive: alive }, chunks, Duration::from_millis(20)));
        assert!(body.recv().await.is_some());
        // Nothing is taken any more, and `body` is still there.
        assert_eq!(gone.recv().await, None);
        assert!(body.recv().await.is_some(), "what was sent before can still be read");

        let (alive, mut gone) = mpsc::channel(1);
        let (chunks, body) = mpsc::channel(1);
        tokio::spawn(feed(Endless { _alive: alive }, chunks, STALLED_MAX));
        drop(body);
        assert_eq!(gone.recv().await, None);
    }
}
