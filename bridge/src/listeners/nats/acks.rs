//! What publishers are told: that an event is on disk, that a rule refuses it, that nobody would answer a request.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::message::of_server;
use super::session::quoted;
use super::subject::topic;
use crate::pipeline::{Accepted, Client, Publication, PublishRefused, RejectReason, Rejection, Wish};

/// A batch that waits for the disk.
pub(super) type Acked = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a batch is tried again while there is no room for it.
const FULL_MAX: Duration = Duration::from_secs(5);

/// What the publisher of a message wants to hear.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Where it waits for an answer.
    reply: Option<Box<str>>,
    subject: Box<str>,
}

impl Asked {
    pub(super) fn new(reply: Option<&str>, subject: &str) -> Asked {
        Asked { reply: reply.map(Box::from), subject: subject.into() }
    }
}

/// Publishes a batch of class durable and answers each of its publishers once it is on disk.
pub(super) async fn acknowledge(client: Client, batch: Vec<Publication>, asked: Vec<Asked>) {
    publish(&client, batch, asked, Wish::default(), false).await;
}

/// Publishes a batch and answers. A batch is taken whole or not at all, a message of NATS stands for itself: where one
/// is refused, each is published alone.
pub(super) async fn publish(
    client: &Client,
    batch: Vec<Publication>,
    asked: Vec<Asked>,
    wish: Wish,
    tells_no_responders: bool,
) {
    let is_durable = wish.level != crate::pipeline::AckLevel::None;
    let told = |accepted: &Accepted, asked: &Asked| {
        if is_durable {
            stored(client, accepted, asked);
        } else if tells_no_responders && accepted.destinations.is_empty() {
            nobody(client, asked);
        }
    };
    match with_room(client, &batch, wish).await {
        Ok(accepted) => accepted.iter().zip(&asked).for_each(|(accepted, asked)| told(accepted, asked)),
        Err(PublishRefused::Rejected(_)) => {
            for (one, asked) in batch.into_iter().zip(&asked) {
                match with_room(client, std::slice::from_ref(&one), wish).await {
                    Ok(accepted) => accepted.iter().for_each(|accepted| told(accepted, asked)),
                    Err(refused) => refuse(client, &refused, asked, is_durable),
                }
            }
        }
        Err(refused) => asked.iter().for_each(|asked| refuse(client, &refused, asked, is_durable)),
    }
}

/// Tries again while the bridge has no room, which holds the publisher back.
async fn with_room(
    client: &Client,
    batch: &[Publication],
    wish: Wish,
) -> Result<Vec<Accepted>, PublishRefused> {
    let deadline = Instant::now() + FULL_MAX;
    let mut pause = Duration::from_millis(1);
    loop {
        match client.pipeline().publish(client.principal(), batch.to_vec(), wish).await {
            Err(PublishRefused::Full { .. }) if Instant::now() < deadline => {
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

fn answer(client: &Client, asked: &Asked, status: Option<u16>, body: &str) {
    let place = asked.reply.as_deref().and_then(|place| topic(place).ok());
    if let (Some(place), Some(event)) = (place, of_server(status, body)) {
        client.pipeline().answer_here(place, event);
    }
}

/// The answer that publishers to a stream of NATS know. A lane of this bridge is the stream: it has one numbering.
fn stored(client: &Client, accepted: &Accepted, asked: &Asked) {
    if asked.reply.is_none() {
        return;
    }
    let key = &accepted.key;
    let stream = format!("{}.{:x}.{}", key.origin.as_str(), key.run.epoch, key.lane);
    let mut body = serde_json::json!({"stream": stream, "seq": key.seq});
    if accepted.duplicate {
        body["duplicate"] = true.into();
    }
    answer(client, asked, None, &body.to_string());
}

fn nobody(client: &Client, asked: &Asked) {
    answer(client, asked, Some(503), "");
}

fn refuse(client: &Client, refused: &PublishRefused, asked: &Asked, is_durable: bool) {
    let text = refused.to_string();
    let code = match refused {
        PublishRefused::Rejected(rejection) => code_of(rejection),
        _ => 503,
    };
    let line = match refused {
        PublishRefused::Rejected(rejection) if rejection.reason == RejectReason::Forbidden => {
            format!("-ERR 'Permissions Violation for Publish to \"{}\"'\r\n", quoted(&asked.subject))
        }
        _ => format!("-ERR 'Publication refused: {}'\r\n", quoted(&text)),
    };
    client.say(Bytes::from(line));
    if is_durable {
        let body = serde_json::json!({
            "error": {"code": code, "err_code": 0, "description": text}, "stream": "", "seq": 0,
        });
        answer(client, asked, None, &body.to_string());
    }
}

fn code_of(rejection: &Rejection) -> u16 {
    match rejection.reason {
        RejectReason::Forbidden => 403,
        RejectReason::Form => 400,
        RejectReason::TooLarge => 413,
        RejectReason::TooMany(_) => 429,
    }
}
