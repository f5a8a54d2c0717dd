//! What publishers are told: that an event is on disk, that a rule refuses it, that nobody would answer a request.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::message::of_server;
use super::session::quoted;
use super::subject::topic;
use crate::pipeline::{Accepted, Client, PublishRefused, RejectReason, Rejection, Taken, is_inbox};

/// A batch that waits for the disk.
pub(super) type Acked = Pin<Box<dyn Future<Output = ()> + Send>>;

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

/// How the publishers of a batch are answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    pub(super) is_durable: bool,
    /// The client wants to know where nobody could answer a request.
    pub(super) tells_no_responders: bool,
}

impl Answers {
    /// Answers each publisher of what was taken, once it is on disk where it is durable.
    pub(super) async fn give(self, client: Client, taken: Taken, asked: Vec<Asked>) {
        match taken.reached().await {
            Ok(accepted) => {
                accepted.iter().zip(&asked).for_each(|(one, asked)| self.tell(&client, one, asked));
            }
            Err(refused) => asked.iter().for_each(|asked| self.refuse(&client, &refused, asked)),
        }
    }

    fn tell(self, client: &Client, accepted: &Accepted, asked: &Asked) {
        if self.is_durable {
            stored(client, accepted, asked);
        } else if self.tells_no_responders && accepted.destinations.is_empty() {
            nobody(client, asked);
        }
    }

    /// Tells a publisher why its message was not taken.
    pub(super) fn refuse(self, client: &Client, refused: &PublishRefused, asked: &Asked) {
        let text = refused.to_string();
        let code = match refused {
            PublishRefused::Rejected(rejection) => code_of(rejection),
            _ => 503,
        };
        if !self.is_durable && matches!(refused, PublishRefused::Full { .. }) {
            client.pipeline().on_given_up(1);
        }
        let line = match refused {
            PublishRefused::Rejected(rejection) if rejection.reason == RejectReason::Forbidden => {
                format!("-ERR 'Permissions Violation for Publish to \"{}\"'\r\n", quoted(&asked.subject))
            }
            _ => format!("-ERR 'Publication refused: {}'\r\n", quoted(&text)),
        };
        client.say(Bytes::from(line));
        if self.is_durable {
            not_stored(client, asked, code, &text);
        }
    }
}

/// Tells a publisher that its message is no event, or none that may be taken.
pub(super) fn invalid(client: &Client, problem: &str, is_durable: bool, asked: &Asked) {
    client.say(Bytes::from(format!("-ERR 'Invalid Event: {}'\r\n", quoted(problem))));
    if is_durable {
        not_stored(client, asked, 400, problem);
    }
}

/// The answer that publishers to a stream of NATS know for an error.
fn not_stored(client: &Client, asked: &Asked, code: u16, text: &str) {
    let error = serde_json::json!({"code": code, "err_code": 0, "description": text});
    answer(client, asked, None, &serde_json::json!({"error": error, "stream": "", "seq": 0}).to_string());
}

/// At inboxes alone: any other place is a topic, with rules and with numbers, and what comes there is published.
fn answer(client: &Client, asked: &Asked, status: Option<u16>, body: &str) {
    let place = asked.reply.as_deref().filter(|place| is_inbox(place));
    let place = place.and_then(|place| topic(place).ok());
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
    if accepted.expired {
        body["expired"] = true.into();
    }
    answer(client, asked, None, &body.to_string());
}

/// Tells who waits for a reply that nobody is there to give one.
pub(super) fn nobody(client: &Client, asked: &Asked) {
    answer(client, asked, Some(503), "");
}

fn code_of(rejection: &Rejection) -> u16 {
    match rejection.reason {
        RejectReason::Forbidden => 403,
        RejectReason::Form => 400,
        RejectReason::TooLarge => 413,
        RejectReason::TooMany(_) => 429,
    }
}
