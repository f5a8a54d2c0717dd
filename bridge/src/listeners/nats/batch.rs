//! Publications on their way to the pipeline: trains of what is alike, and batches of what goes its own way.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meshbridge_event::{DataKind, Event, EventTrain, TrainWriter};
use meshbridge_topic::Topic;

use super::acks::Asked;
use super::message::{IdPlace, id_place, is_plain_id, kind_of};
use super::parser::Publish;
use crate::pipeline::Publication;

/// A train is published when it has so many bytes: what a link writes at once.
const TRAIN_BYTES: usize = 128 << 10;
/// Publications of one batch.
pub(super) const EVENTS_MAX: usize = 1_024;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// What became of a publication that was offered to a train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is part of it.
    Yes,
    /// It would be, but there is no room.
    Full,
    /// It differs in more than id and data, or there is no train.
    Other,
}

/// The train that is being written, and ids for what has none.
#[derive(Debug)]
pub(super) struct Trains {
    current: Option<Current>,
    /// Of this connection; unique with the number behind it.
    prefix: String,
    number: u64,
    id: String,
}

#[derive(Debug)]
struct Current {
    subject: String,
    topic: Topic,
    /// The header block, and where the id stands in it.
    headers: Vec<u8>,
    id: IdPlace,
    has_content_type: bool,
    kind: DataKind,
    template: Event,
    writer: TrainWriter,
}

impl Trains {
    pub(super) fn new() -> Trains {
        let prefix = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 12]>());
        Trains { current: None, prefix, number: 0, id: String::new() }
    }

    /// A new id: the connection's, and a number.
    pub(super) fn next_id(&mut self) -> String {
        self.write_id();
        self.id.clone()
    }

    fn write_id(&mut self) {
        self.number += 1;
        self.id.clear();
        let _ = write!(self.id, "{}.{}", self.prefix, self.number);
    }

    /// Appends a publication that is like those before it.
    pub(super) fn take(&mut self, publish: &Publish<'_>) -> Taken {
        let Some(current) = &self.current else { return Taken::Other };
        if publish.reply.is_some() || publish.subject != current.subject {
            return Taken::Other;
        }
        let Some(id) = current.id_in(publish.headers) else { return Taken::Other };
        if !current.has_kind(publish.payload) {
            return Taken::Other;
        }
        if current.writer.bytes() >= TRAIN_BYTES {
            return Taken::Full;
        }
        if id.is_empty() {
            self.write_id();
        }
        let Some(current) = &mut self.current else { return Taken::Other };
        let id = if id.is_empty() { &self.id } else { id };
        if current.writer.push(id, publish.payload) { Taken::Yes } else { Taken::Full }
    }

    /// Begins a train with a publication whose event is `event`; `false` where no train can hold it, for its id is too
    /// long, or its attributes are too many.
    #[must_use]
    pub(super) fn begin(&mut self, publish: &Publish<'_>, topic: &Topic, event: &Event) -> bool {
        let kind = event.data_kind();
        let writer = TrainWriter::like(event, kind, TRAIN_BYTES.min(publish.payload.len() * 8 + 512));
        let mut current = Current {
            subject: publish.subject.to_owned(),
            topic: topic.clone(),
            headers: publish.headers.to_vec(),
            id: id_place(publish.headers),
            has_content_type: event.datacontenttype().is_some(),
            kind,
            template: event.clone(),
            writer,
        };
        let is_taken = current.writer.push(event.id(), event.data_bytes());
        self.current = is_taken.then_some(current);
        is_taken
    }

    /// Nothing waits to be published with a train.
    pub(super) fn is_empty(&self) -> bool {
        self.current.as_ref().is_none_or(|current| current.writer.is_empty())
    }

    /// The train so far; the next publication may go on from its template.
    pub(super) fn finish(&mut self) -> Option<(Topic, EventTrain)> {
        let current = self.current.as_mut()?;
        if current.writer.is_empty() {
            return None;
        }
        let capacity = current.writer.bytes().clamp(512, TRAIN_BYTES + (TRAIN_BYTES >> 3));
        let next = TrainWriter::like(&current.template, current.kind, capacity);
        let train = std::mem::replace(&mut current.writer, next).finish()?;
        Some((current.topic.clone(), train))
    }
}

impl Current {
    /// The id in headers that are otherwise those of the train; empty where it gets one.
    fn id_in<'a>(&self, headers: &'a [u8]) -> Option<&'a str> {
        let place = match &self.id {
            IdPlace::Missing => return (self.headers == headers).then_some(""),
            IdPlace::Encoded => return None,
            IdPlace::At(place) => place,
        };
        let rest = headers.strip_prefix(self.headers.get(..place.start)?)?;
        let id = rest.strip_suffix(self.headers.get(place.end..)?)?;
        let id = std::str::from_utf8(id).ok()?;
        // Anything that is no plain text would have to be decoded, or be another header.
        (!id.is_empty() && is_plain_id(id)).then_some(id)
    }

    fn has_kind(&self, payload: &[u8]) -> bool {
        let content_type = self.template.datacontenttype().filter(|_| self.has_content_type);
        payload.is_empty() || kind_of(content_type, payload) == self.kind
    }
}

/// Publications that wait for the end of what was read.
#[derive(Debug, Default)]
pub(super) struct Held {
    batch: Vec<Publication>,
    asked: Vec<Asked>,
    bytes: usize,
    is_durable: bool,
}

impl Held {
    /// Whether a publication of the class must wait until these are gone.
    pub(super) fn is_full_for(&self, is_durable: bool, event: &Event) -> bool {
        let bytes = self.bytes + event.encoded().len();
        !self.batch.is_empty()
            && (self.is_durable != is_durable || self.batch.len() >= EVENTS_MAX || bytes > BATCH_BYTES_MAX)
    }

    pub(super) fn push(&mut self, publication: Publication, asked: Asked, is_durable: bool) {
        self.is_durable = is_durable;
        self.bytes += publication.event.encoded().len();
        self.batch.push(publication);
        self.asked.push(asked);
    }

    pub(super) fn take(&mut self) -> Option<(Vec<Publication>, Vec<Asked>, bool)> {
        if self.batch.is_empty() {
            return None;
        }
        self.bytes = 0;
        Some((std::mem::take(&mut self.batch), std::mem::take(&mut self.asked), self.is_durable))
    }
}
