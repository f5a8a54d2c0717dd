//! What a client is sent: messages for its subscriptions, written from the queue of its connection in large pieces.

use std::borrow::Cow;
use std::collections::VecDeque;

use meshbridge_event::{AttributeValue, http::encode_value};

use super::message::{Headers, MESSAGE_ID, reply_to, write_headers};
use super::subject::of_topic;
use super::subscriptions::{Subscribed, Subscriptions};
use crate::chunks::{CHUNK_BYTES, Chunks};
use crate::pipeline::{Delivery, Entry, Queued, Tagged, TrainDelivery, is_reply};

/// Writes entries as the client reads them.
pub(super) struct Outgoing {
    /// The client has not asked for headers.
    without_headers: bool,
    headers: String,
    digits: itoa::Buffer,
}

impl Outgoing {
    pub(super) fn new(with_headers: bool) -> Outgoing {
        Outgoing { without_headers: !with_headers, headers: String::new(), digits: itoa::Buffer::new() }
    }

    /// Appends `entries` to `out`, until it holds about `bytes_max`; those that remain are left. Subscriptions that had
    /// their last message are taken out of the table and given in `ended`.
    pub(super) fn write(
        &mut self,
        entries: &mut VecDeque<Entry>,
        written: &mut VecDeque<Entry>,
        table: &mut Subscriptions,
        out: &mut Chunks,
        bytes_max: usize,
        ended: &mut Vec<Tagged>,
    ) {
        while out.len() < bytes_max {
            let Some(entry) = entries.pop_front() else { return };
            match &entry.what {
                Queued::Note(text) => out.copy(text),
                Queued::One(delivery) => {
                    for sid in &entry.tags {
                        if let Some(subscribed) = table.get_mut(*sid)
                            && take(subscribed, 1) == 1
                        {
                            self.one(delivery, *sid, out);
                        }
                        end(table, *sid, ended);
                    }
                }
                Queued::Train(delivery) => {
                    for sid in &entry.tags {
                        let Some(subscribed) = table.get_mut(*sid) else { continue };
                        let events = take(subscribed, delivery.train.len() as u64);
                        self.train(delivery, *sid, events, out);
                        end(table, *sid, ended);
                    }
                }
            }
            written.push_back(entry);
        }
    }

    fn one(&mut self, Delivery { topic, event, .. }: &Delivery, sid: u64, out: &mut Chunks) {
        self.headers.clear();
        let headers = write_headers(event.attributes(), &mut self.headers);
        let prefix = prefix(&of_topic(topic), sid, reply_to(event.attributes()), &mut self.digits);
        let (id, data) = (event.id(), event.data_bytes());
        self.message(&prefix, headers, id, data.len(), out);
        out.share(data, event.encoded());
        out.copy(b"\r\n");
    }

    fn train(
        &mut self,
        TrainDelivery { topic, train, .. }: &TrainDelivery,
        sid: u64,
        events: u64,
        out: &mut Chunks,
    ) {
        self.headers.clear();
        let headers = write_headers(train.attributes(), &mut self.headers);
        let reply = train.attributes().find_map(reply_of);
        let prefix = prefix(&of_topic(topic), sid, reply, &mut self.digits);
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        // Of large payloads only what stands before them.
        let events_bytes = events.min(train.len()) * (prefix.len() + self.headers.len() + 64);
        out.reserve(events_bytes + train.encoded().len().min(train.len() * CHUNK_BYTES));
        for item in train.items().take(events) {
            self.message(&prefix, headers, item.id, item.data.len(), out);
            out.share(item.data, train.encoded());
            out.copy(b"\r\n");
        }
    }

    /// Everything before `length` bytes of data.
    fn message(&mut self, prefix: &[u8], headers: Headers, id: &str, length: usize, out: &mut Chunks) {
        const VERSION: &[u8] = b"NATS/1.0\r\n";
        let id = match headers {
            // The value of an attribute, as the others are.
            Headers::AndId(name) if name != MESSAGE_ID => encode_value(id),
            _ => Cow::Borrowed(id),
        };
        let own_id = match headers {
            Headers::AndId(name) => name.len() + 2 + id.len() + 2,
            Headers::None | Headers::Written | Headers::Status(_) => 0,
        };
        if headers == Headers::None || self.without_headers {
            out.copy(b"MSG ");
            out.copy(prefix);
            out.copy(self.digits.format(length).as_bytes());
            out.copy(b"\r\n");
        } else {
            let status = match headers {
                Headers::Status(status) => Some(format!("NATS/1.0 {status}\r\n")),
                _ => None,
            };
            let version = status.as_ref().map_or(VERSION, |line| line.as_bytes());
            let size = version.len() + self.headers.len() + own_id + 2;
            out.copy(b"HMSG ");
            out.copy(prefix);
            out.copy(self.digits.format(size).as_bytes());
            out.copy(b" ");
            out.copy(self.digits.format(size + length).as_bytes());
            out.copy(b"\r\n");
            out.copy(version);
            out.copy(self.headers.as_bytes());
            if let Headers::AndId(name) = headers {
                for part in [name, ": ", &id, "\r\n"] {
                    out.copy(part.as_bytes());
                }
            }
            out.copy(b"\r\n");
        }
    }
}

fn reply_of<'a>(attribute: (&'a str, AttributeValue<'a>)) -> Option<&'a str> {
    reply_to(std::iter::once(attribute))
}

/// `<subject> <sid> [reply] `, which messages of one topic and subscription share.
fn prefix(subject: &str, sid: u64, reply: Option<&str>, digits: &mut itoa::Buffer) -> Vec<u8> {
    let mut prefix = Vec::with_capacity(subject.len() + 24 + reply.map_or(0, str::len));
    prefix.extend_from_slice(subject.as_bytes());
    prefix.push(b' ');
    prefix.extend_from_slice(digits.format(sid).as_bytes());
    prefix.push(b' ');
    if let Some(reply) = reply {
        // An attribute that a publisher made up is no place for a reply, and must not get into a control line.
        if let Some(topic) = meshbridge_topic::Topic::parse(reply).ok().filter(is_reply) {
            // Spelled as a subject, which its answer will be published to.
            prefix.extend_from_slice(of_topic(&topic).as_bytes());
            prefix.push(b' ');
        }
    }
    prefix
}

/// How many of `offered` messages the subscription still gets.
fn take(subscribed: &mut Subscribed, offered: u64) -> u64 {
    let left = subscribed.max().map_or(u64::MAX, |max| max.saturating_sub(subscribed.sent));
    let taken = offered.min(left);
    subscribed.sent += taken;
    taken
}

fn end(table: &mut Subscriptions, sid: u64, ended: &mut Vec<Tagged>) {
    let is_over = |known: &mut Subscribed| known.max().is_some_and(|max| known.sent >= max);
    if table.get_mut(sid).is_some_and(is_over)
        && let Some(gone) = table.remove(sid)
    {
        ended.push(gone.into_tagged(sid));
    }
}
