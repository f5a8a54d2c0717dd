//! Events that differ in `id` and data only, one after the other in one buffer.
//!
//! A publisher that sends a burst to one topic repeats itself: the same source, type and extensions, over and over. A
//! train says them once. What holds for one of its events as far as its attributes go holds for all of them, so a
//! border judges a train once where no rule looks at `id` or data, and a link moves it as one payload.
//!
//! ```text
//! u8   version, 1
//! u8   kind of data, as in an event; an event without data has none, whatever this says
//! u16  number of attributes, without `id`                          big-endian, like all numbers here
//! u32  number of events
//! attributes as in an event
//! then for each event:
//!   u8   length of the id
//!   u32  length of the data
//!   id, data
//! ```

use std::ops::Range;

use bytes::Bytes;

use crate::attribute::{AttributeKind, AttributeValue, check_value};
use crate::encoding::{self, DecodeError, Head, VERSION, write_attribute};
use crate::event::{DataKind, Event, Layout};
use crate::limits::{
    ATTRIBUTES_BYTES_MAX, ATTRIBUTES_MAX, EVENT_BYTES_HARD_MAX, TRAIN_BYTES_MAX, TRAIN_EVENTS_MAX,
};

const HEADER_BYTES: usize = 8;
const ITEM_HEADER_BYTES: usize = 5;
/// An id that a train can hold.
const ID_BYTES_MAX: usize = 255;
/// What the events of a train say of themselves together once each is whole, beside ids and data: a train says it once,
/// and a few megabytes of it must not become many for everyone who reads them.
const REPEATED_BYTES_MAX: usize = 16 << 20;

/// Events that share all attributes but `id`. Immutable; a clone shares the bytes.
#[derive(Clone, Debug)]
pub struct EventTrain {
    bytes: Bytes,
    data_kind: DataKind,
    attributes: usize,
    /// Where the first event begins.
    items: usize,
    /// Attributes that an event finds again when it is made whole.
    named: Named,
    len: usize,
}

/// Where the values of these lie.
#[derive(Clone, Debug)]
struct Named {
    source: Range<usize>,
    ty: Range<usize>,
    content_type: Option<Range<usize>>,
}

/// One event of a train, as far as it differs from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainItem<'a> {
    pub id: &'a str,
    pub data: &'a [u8],
}

impl EventTrain {
    /// Reads an encoded train without copying it. Never panics, whatever the bytes are.
    pub fn decode(bytes: Bytes) -> Result<EventTrain, DecodeError> {
        if bytes.len() > TRAIN_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        let [version, data_kind, high, low, a, b, c, d] =
            *bytes.first_chunk::<HEADER_BYTES>().ok_or(DecodeError::Truncated)?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let data_kind = DataKind::from_byte(data_kind).ok_or(DecodeError::Data)?;
        let attributes = usize::from(u16::from_be_bytes([high, low]));
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| DecodeError::TooLong)?;
        if len == 0 || len > TRAIN_EVENTS_MAX {
            return Err(DecodeError::TooLong);
        }
        let head = Head::read(&bytes, HEADER_BYTES, attributes)?;
        if head.id.is_some() {
            return Err(DecodeError::Required);
        }
        if !has_room_for_id(attributes, head.end) {
            return Err(DecodeError::TooManyAttributes);
        }
        if repeats_too_much(head.end, len) {
            return Err(DecodeError::TooLong);
        }
        let items = head.end;
        let named = Named::of(head).ok_or(DecodeError::Required)?;
        let train = EventTrain { bytes, data_kind, attributes, items, named, len };
        train.check_items()?;
        Ok(train)
    }

    fn check_items(&self) -> Result<(), DecodeError> {
        let mut at = self.items;
        for _ in 0..self.len {
            let (id, data, end) = self.item_at(at).ok_or(DecodeError::Truncated)?;
            let id = std::str::from_utf8(id).map_err(|_| DecodeError::Attribute)?;
            check_id(id).map_err(|_| DecodeError::Attribute)?;
            if end - at + self.items > EVENT_BYTES_HARD_MAX {
                return Err(DecodeError::TooLong);
            }
            let fits = data.is_empty()
                || match self.data_kind {
                    DataKind::None => false,
                    DataKind::Binary => true,
                    DataKind::Json | DataKind::Text => encoding::is_text(data),
                };
            if !fits {
                return Err(DecodeError::Data);
            }
            at = end;
        }
        if at == self.bytes.len() { Ok(()) } else { Err(DecodeError::Truncated) }
    }

    /// Id, data, and where the next event begins.
    fn item_at(&self, at: usize) -> Option<(&[u8], &[u8], usize)> {
        let [id, a, b, c, d] = *self.bytes.get(at..)?.first_chunk::<ITEM_HEADER_BYTES>()?;
        let id_start = at + ITEM_HEADER_BYTES;
        let data_start = id_start + usize::from(id);
        let end = data_start.checked_add(usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?)?;
        Some((self.bytes.get(id_start..data_start)?, self.bytes.get(data_start..end)?, end))
    }

    /// The encoding; [`EventTrain::decode`] of it gives this train.
    pub fn encoded(&self) -> &Bytes {
        &self.bytes
    }

    /// Number of events, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a train without events does not exist")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Of the data, where there are any.
    pub fn data_kind(&self) -> DataKind {
        self.data_kind
    }

    /// What differs, in order.
    pub fn items(&self) -> impl Iterator<Item = TrainItem<'_>> {
        let mut at = self.items;
        (0..self.len).map_while(move |_| {
            let (id, data, end) = self.item_at(at)?;
            at = end;
            // Checked when it was read or written.
            Some(TrainItem { id: std::str::from_utf8(id).ok()?, data })
        })
    }

    /// Attributes that all its events have: all but `id` and `specversion`.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, AttributeValue<'_>)> + Clone {
        let mut at = HEADER_BYTES;
        (0..self.attributes).map_while(move |_| {
            let attribute = encoding::read_attribute(&self.bytes, at).ok()?;
            at = attribute.end;
            Some((attribute.name, attribute.value))
        })
    }

    /// The value of an attribute other than `id` and `specversion`.
    pub fn attribute(&self, name: &str) -> Option<AttributeValue<'_>> {
        self.attributes().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    pub fn source(&self) -> &str {
        self.attribute("source").and_then(|value| value.as_str()).unwrap_or_default()
    }

    /// The attribute `type`.
    pub fn ty(&self) -> &str {
        self.attribute("type").and_then(|value| value.as_str()).unwrap_or_default()
    }

    /// An event as large as its largest, whole, with the id of one of them: what a judge of the whole train is shown.
    pub fn largest(&self) -> Event {
        let mut largest = TrainItem { id: "", data: &[] };
        for item in self.items() {
            if item.id.len() > largest.id.len() {
                largest.id = item.id;
            }
            if item.data.len() > largest.data.len() {
                largest.data = item.data;
            }
        }
        self.event(largest)
    }

    /// The events, each whole. Copies them.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.items().map(|item| self.event(item))
    }

    /// An event of this train, whole.
    pub fn event(&self, item: TrainItem<'_>) -> Event {
        let kind = if item.data.is_empty() { DataKind::None } else { self.data_kind };
        let attributes = self.bytes.get(HEADER_BYTES..self.items).unwrap_or_default();
        let size = encoding::HEADER_BYTES + attributes.len() + item.id.len() + 8 + item.data.len();
        let mut buffer = Vec::with_capacity(size);
        let count = u16::try_from(self.attributes + 1).expect("at most ATTRIBUTES_MAX");
        buffer.extend_from_slice(&[VERSION, kind as u8]);
        buffer.extend_from_slice(&count.to_be_bytes());
        write_attribute(&mut buffer, b"id", AttributeKind::String, item.id.as_bytes());
        let (id, moved) = (buffer.len() - item.id.len()..buffer.len(), buffer.len());
        buffer.extend_from_slice(attributes);
        let data_start = buffer.len();
        buffer.extend_from_slice(item.data);
        // Every part was checked when the train was read or written.
        let behind =
            |range: &Range<usize>| range.start - HEADER_BYTES + moved..range.end - HEADER_BYTES + moved;
        let layout = Layout {
            data_kind: kind,
            count: self.attributes + 1,
            id,
            source: behind(&self.named.source),
            ty: behind(&self.named.ty),
            content_type: self.named.content_type.as_ref().map(behind),
            data_start,
        };
        Event::checked(Bytes::from(buffer), layout)
    }
}

impl Named {
    fn of(head: Head) -> Option<Named> {
        Some(Named { source: head.source?, ty: head.ty?, content_type: head.content_type })
    }
}

/// Whether an event made of these attributes and any id that a train can hold is within the limits of events.
fn has_room_for_id(attributes: usize, end: usize) -> bool {
    attributes < ATTRIBUTES_MAX && end - HEADER_BYTES + ID_BYTES_MAX + 8 <= ATTRIBUTES_BYTES_MAX
}

/// Whether so many events, each with the attributes that end here, would be too much.
fn repeats_too_much(end: usize, events: usize) -> bool {
    (end - HEADER_BYTES).saturating_mul(events) > REPEATED_BYTES_MAX
}

fn check_id(id: &str) -> Result<(), &'static str> {
    // What nearly all ids are; the rest is looked at character by character.
    if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    check_value("id", AttributeValue::String(id))
}

/// Puts events behind one another while they fit.
#[derive(Debug)]
pub struct TrainWriter {
    buffer: Vec<u8>,
    data_kind: DataKind,
    attributes: usize,
    items: usize,
    len: usize,
}

impl TrainWriter {
    /// A train of events that are like `event` but for `id` and data, without any yet; their data will be of this kind.
    pub fn like(event: &Event, data_kind: DataKind, capacity: usize) -> TrainWriter {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.extend_from_slice(&[VERSION, data_kind as u8]);
        buffer.extend_from_slice(&[0; 6]);
        event.attributes_beside_id().into_iter().for_each(|some| buffer.extend_from_slice(some));
        // All but `id`, of at most ATTRIBUTES_MAX.
        let count = event.encoded_attributes().1 - 1;
        let count_bytes = u16::try_from(count).expect("at most ATTRIBUTES_MAX").to_be_bytes();
        if let Some(place) = buffer.get_mut(2..4) {
            place.copy_from_slice(&count_bytes);
        }
        let items = buffer.len();
        TrainWriter { buffer, data_kind, attributes: count, items, len: 0 }
    }

    /// Whether an event differs from those of this train in `id` and data only.
    pub fn is_like(&self, event: &Event) -> bool {
        let kind = event.data_kind();
        if kind != self.data_kind && kind != DataKind::None {
            return false;
        }
        let own = self.buffer.get(HEADER_BYTES..self.items).unwrap_or_default();
        let [before, behind] = event.attributes_beside_id();
        own.len() == before.len() + behind.len() && own.starts_with(before) && own.ends_with(behind)
    }

    /// Appends an event; `false` where it does not fit, or its id is none that a train can hold: it was not taken. The
    /// caller vouches that JSON is JSON and text is UTF-8, as for [`crate::EventBuilder::data`].
    #[must_use]
    pub fn push(&mut self, id: &str, data: &[u8]) -> bool {
        let (Ok(id_length), Ok(data_length)) = (u8::try_from(id.len()), u32::try_from(data.len())) else {
            return false;
        };
        let bytes = ITEM_HEADER_BYTES + id.len() + data.len();
        let is_full = self.len >= TRAIN_EVENTS_MAX || self.buffer.len() + bytes > TRAIN_BYTES_MAX;
        if is_full || !has_room_for_id(self.attributes, self.items) {
            return false;
        }
        if repeats_too_much(self.items, self.len + 1) {
            return false;
        }
        if self.items + bytes > EVENT_BYTES_HARD_MAX || check_id(id).is_err() {
            return false;
        }
        if self.data_kind == DataKind::None && !data.is_empty() {
            return false;
        }
        debug_assert!(id.len() <= ID_BYTES_MAX, "a length of one byte");
        self.buffer.push(id_length);
        self.buffer.extend_from_slice(&data_length.to_be_bytes());
        self.buffer.extend_from_slice(id.as_bytes());
        self.buffer.extend_from_slice(data);
        self.len += 1;
        true
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The train; `None` where it has no event.
    pub fn finish(mut self) -> Option<EventTrain> {
        let count = u32::try_from(self.len).ok().filter(|count| *count > 0)?;
        self.buffer.get_mut(4..8)?.copy_from_slice(&count.to_be_bytes());
        let TrainWriter { mut buffer, data_kind, attributes, items, len } = self;
        let named = Named::of(Head::read(&buffer, HEADER_BYTES, attributes).ok()?)?;
        // A train waits in queues that count its bytes, not the room they were written into.
        if buffer.capacity() > 2 * buffer.len() {
            buffer.shrink_to_fit();
        }
        Some(EventTrain { bytes: Bytes::from(buffer), data_kind, attributes, items, named, len })
    }
}
