//! What a client is sent: messages for its subscriptions, written from the queue of its connection in large pieces.

use std::collections::{HashMap, VecDeque};

use meshbridge_event::AttributeValue;

use super::message::{Headers, reply_to, write_headers};
use super::subject::of_topic;
use crate::pipeline::{Delivery, Entry, Queued, Tagged, TrainDelivery, is_reply};

/// A subscription, and how much of it the client has had.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub(super) tagged: Tagged,
    /// The federation was told of its interest.
    pub(super) is_announced: bool,
    pub(super) sent: u64,
    /// It ends after so many.
    pub(super) max: Option<u64>,
}

/// Subscriptions of a connection by their ids.
pub(super) type Subscriptions = HashMap<u64, Subscribed>;

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
        out: &mut Vec<u8>,
        bytes_max: usize,
        ended: &mut Vec<Tagged>,
    ) {
        while out.len() < bytes_max {
            let Some(entry) = entries.pop_front() else { return };
            match &entry.what {
                Queued::Note(text) => out.extend_from_slice(text),
                Queued::One(delivery) => {
                    for sid in &entry.tags {
                        if let Some(subscribed) = table.get_mut(sid)
                            && take(subscribed, 1) == 1
                        {
                            self.one(delivery, *sid, out);
                        }
                        end(table, *sid, ended);
                    }
                }
                Queued::Train(delivery) => {
                    for sid in &entry.tags {
                        let Some(subscribed) = table.get_mut(sid) else { continue };
                        let events = take(subscribed, delivery.train.len() as u64);
                        self.train(delivery, *sid, events, out);
                        end(table, *sid, ended);
                    }
                }
            }
            written.push_back(entry);
        }
    }

    fn one(&mut self, Delivery { topic, event, .. }: &Delivery, sid: u64, out: &mut Vec<u8>) {
        self.headers.clear();
        let headers = write_headers(event.attributes(), &mut self.headers);
        let prefix = prefix(&of_topic(topic), sid, reply_to(event.attributes()), &mut self.digits);
        self.message(&prefix, headers, event.id(), event.data_bytes(), out);
    }

    fn train(
        &mut self,
        TrainDelivery { topic, train, .. }: &TrainDelivery,
        sid: u64,
        events: u64,
        out: &mut Vec<u8>,
    ) {
        self.headers.clear();
        let headers = write_headers(train.attributes(), &mut self.headers);
        let reply = train.attributes().find_map(reply_of);
        let prefix = prefix(&of_topic(topic), sid, reply, &mut self.digits);
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        out.reserve(train.encoded().len() + events.min(train.len()) * (prefix.len() + 16));
        for item in train.items().take(events) {
            self.message(&prefix, headers, item.id, item.data, out);
        }
    }

    fn message(&mut self, prefix: &[u8], headers: Headers, id: &str, data: &[u8], out: &mut Vec<u8>) {
        const VERSION: &[u8] = b"NATS/1.0\r\n";
        let own_id = match headers {
            Headers::AndId(name) => name.len() + 2 + id.len() + 2,
            Headers::None | Headers::Written | Headers::Status(_) => 0,
        };
        if headers == Headers::None || self.without_headers {
            out.extend_from_slice(b"MSG ");
            out.extend_from_slice(prefix);
            out.extend_from_slice(self.digits.format(data.len()).as_bytes());
            out.extend_from_slice(b"\r\n");
        } else {
            let status = match headers {
                Headers::Status(status) => Some(format!("NATS/1.0 {status}\r\n")),
                _ => None,
            };
            let version = status.as_ref().map_or(VERSION, |line| line.as_bytes());
            let size = version.len() + self.headers.len() + own_id + 2;
            out.extend_from_slice(b"HMSG ");
            out.extend_from_slice(prefix);
            out.extend_from_slice(self.digits.format(size).as_bytes());
            out.push(b' ');
            out.extend_from_slice(self.digits.format(size + data.len()).as_bytes());
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(version);
            out.extend_from_slice(self.headers.as_bytes());
            if let Headers::AndId(name) = headers {
                for part in [name, ": ", id, "\r\n"] {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
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
    let left = subscribed.max.map_or(u64::MAX, |max| max.saturating_sub(subscribed.sent));
    let taken = offered.min(left);
    subscribed.sent += taken;
    taken
}

fn end(table: &mut Subscriptions, sid: u64, ended: &mut Vec<Tagged>) {
    let is_over = table.get(&sid).is_some_and(|known| known.max.is_some_and(|max| known.sent >= max));
    if is_over && let Some(gone) = table.remove(&sid) {
        ended.push(gone.tagged);
    }
}
