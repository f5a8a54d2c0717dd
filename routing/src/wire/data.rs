//! Batches of frames on a data stream (R25, R26).
//!
//! ```text
//! batch    version u8 | frames u16 | frame …
//! frame    length u32 of what follows
//!          | run u16 | lane u8 | seq u64 | hop limit u8 | life ms u32 (0: none) | digest [16] | policy u16
//!          | destinations u16, each bridge u16 and prev u64
//!          | carriers u16 (0xffff: all zones), each zone u16
//!          | denied links u8, each zone u16 and zone u16
//!          | topic text | extensions u16 length, each type u8, version u8, u16 length, value
//!          | payload: the rest
//! ```
//!
//! Numbers of 16 bits for runs, bridges, zones and policies are entries of the link's table ([`RecvTable`]).

use bytes::{BufMut, Bytes, BytesMut};
use meshbridge_topic::Topic;
use smallvec::SmallVec;
use twox_hash::XxHash3_128;

use super::Reader;
pub use super::{DecodeError, Entry, RecvTable, SendTable, TableAnnounce, TableFull, TableGap};
use crate::{DENIED_LINKS_MAX, LANES, limits};

const VERSION: u8 = 2;
const ALL_ZONES: u16 = u16::MAX;
const CARRIERS_MAX: usize = 4_096;
const HOP_LIMIT_MIN: u8 = 1;
const EXTENSION_HEADER_BYTES: usize = 4;
/// A payload of this size or more is a chunk of its own and not copied; below, copying is cheaper.
const CHUNK_BYTES: usize = 4 << 10;
/// Memory for headers between large payloads: a block is taken where less than one header's is left.
const HEADERS_BLOCK_BYTES: usize = 16 << 10;
const HEADER_ROOM_MIN: usize = 512;
/// Frames of one batch.
pub const BATCH_FRAMES_MAX: usize = 1_024;
/// Bytes of one batch on the wire: the payloads' 4 MiB and room for the headers of one full-size frame.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024 + 256 * 1024;

/// One destination of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Entry of the link's table.
    pub bridge: u16,
    /// The last earlier number of the lane that this destination was sent or may still be sent.
    pub prev: u64,
}

/// Zones that may carry, as entries of the link's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carriers {
    All,
    Zones(SmallVec<[u16; 8]>),
}

/// An event on a link. Numbers refer to the table of that link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub run: u16,
    pub lane: u8,
    pub seq: u64,
    pub destinations: SmallVec<[Target; 4]>,
    pub carriers: Carriers,
    /// R43: pairs of zones between which it crosses no link, as entries of the link's table.
    pub denied: SmallVec<[(u16, u16); 4]>,
    pub hop_limit: u8,
    /// What is left of the event's life; zero: it has no end.
    pub life_ms: u32,
    /// Of the payload: see [`payload_digest`].
    pub digest: [u8; 16],
    /// The policy digest of the last bridge that decided.
    pub policy: u16,
    pub topic: Topic,
    /// Type, version, value; unknown ones are passed on untouched.
    pub extensions: SmallVec<[(u8, u8, Bytes); 2]>,
    pub payload: Bytes,
}

/// XXH3 with 128 bits. Catches accidents in the memory of the bridges on the way, for what happens on a link is seen by TLS;
/// no defence against a bridge that lies.
pub fn payload_digest(payload: &[u8]) -> [u8; 16] {
    XxHash3_128::oneshot(payload).to_be_bytes()
}

impl Frame {
    /// Appends everything but the payload; `None` where something is beyond a limit, and part of it may be written.
    fn encode(&self, out: &mut BytesMut) -> Option<()> {
        out.put_u16(self.run);
        out.put_u8(self.lane);
        out.put_u64(self.seq);
        out.put_u8(self.hop_limit);
        out.put_u32(self.life_ms);
        out.put_slice(&self.digest);
        out.put_u16(self.policy);
        out.put_u16(length(self.destinations.len(), limits::BRIDGES_MAX)?);
        for target in &self.destinations {
            out.put_u16(target.bridge);
            out.put_u64(target.prev);
        }
        match &self.carriers {
            Carriers::All => out.put_u16(ALL_ZONES),
            Carriers::Zones(zones) => {
                out.put_u16(length(zones.len(), CARRIERS_MAX)?);
                zones.iter().for_each(|zone| out.put_u16(*zone));
            }
        }
        out.put_u8(u8::try_from(length(self.denied.len(), DENIED_LINKS_MAX)?).ok()?);
        for (one, other) in &self.denied {
            out.put_u16(*one);
            out.put_u16(*other);
        }
        put_text(out, self.topic.as_str().as_bytes())?;
        let sizes =
            self.extensions.iter().map(|(.., value)| value.len().saturating_add(EXTENSION_HEADER_BYTES));
        out.put_u16(length(sizes.fold(0, usize::saturating_add), usize::from(u16::MAX))?);
        for (kind, version, value) in &self.extensions {
            out.put_u8(*kind);
            out.put_u8(*version);
            put_text(out, value)?;
        }
        Some(())
    }

    /// `topic` is that of the frame before, if there is one: where it is the same, it is shared.
    fn decode(bytes: Bytes, topic: &mut Option<Topic>) -> Result<Frame, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (run, lane, seq) = (reader.u16()?, reader.u8()?, reader.u64()?);
        if lane >= LANES {
            return Err(DecodeError::Invalid("a lane"));
        }
        let hop_limit = reader.u8()?;
        if hop_limit < HOP_LIMIT_MIN {
            return Err(DecodeError::Invalid("a hop limit"));
        }
        let (life_ms, digest, policy) = (reader.u32()?, reader.array()?, reader.u16()?);
        let mut destinations = SmallVec::new();
        for _ in 0..reader.count(limits::BRIDGES_MAX, "destinations of a frame")? {
            destinations.push(Target { bridge: reader.u16()?, prev: reader.u64()? });
        }
        if destinations.is_empty() {
            return Err(DecodeError::Invalid("a frame without destinations"));
        }
        let carriers = match usize::from(reader.u16()?) {
            count if count == usize::from(ALL_ZONES) => Carriers::All,
            count if count > CARRIERS_MAX => return Err(DecodeError::TooLong("carriers of a frame")),
            count => {
                let mut zones = SmallVec::new();
                for _ in 0..count {
                    zones.push(reader.u16()?);
                }
                Carriers::Zones(zones)
            }
        };
        let count = usize::from(reader.u8()?);
        if count > DENIED_LINKS_MAX {
            return Err(DecodeError::TooLong("denied links of a frame"));
        }
        let mut denied = SmallVec::new();
        for _ in 0..count {
            denied.push((reader.u16()?, reader.u16()?));
        }
        let topic = reader.topic_like(topic)?;
        let mut section = Reader::new(reader.text()?);
        let mut extensions = SmallVec::new();
        while section.remaining() > 0 {
            extensions.push((section.u8()?, section.u8()?, section.text()?));
        }
        let payload = reader.take(reader.remaining())?;
        Ok(Frame {
            run,
            lane,
            seq,
            destinations,
            carriers,
            denied,
            hop_limit,
            life_ms,
            digest,
            policy,
            topic,
            extensions,
            payload,
        })
    }
}

fn length(length: usize, max: usize) -> Option<u16> {
    u16::try_from(length).ok().filter(|length| usize::from(*length) <= max)
}

fn put_text(out: &mut BytesMut, text: &[u8]) -> Option<()> {
    out.put_u16(length(text.len(), usize::from(u16::MAX))?);
    out.put_slice(text);
    Some(())
}

/// Collects frames for one write. Large payloads are not copied.
#[derive(Debug, Default)]
pub struct BatchWriter {
    /// What is complete.
    chunks: Vec<Bytes>,
    /// What is written at.
    body: BytesMut,
    /// In chunks and body.
    bytes: usize,
    frames: u16,
}

impl BatchWriter {
    pub fn new() -> BatchWriter {
        BatchWriter::default()
    }

    /// Appends a frame; `false` if the batch is full or the frame is beyond a limit: then it was not taken. A frame
    /// that an empty batch does not take never fits.
    #[must_use]
    pub fn push(&mut self, frame: &Frame) -> bool {
        if usize::from(self.frames) >= BATCH_FRAMES_MAX {
            return false;
        }
        // What was handed over with a large payload took the memory with it: the next headers get a block for many.
        if !self.chunks.is_empty() && self.body.capacity().saturating_sub(self.body.len()) < HEADER_ROOM_MIN {
            self.body.reserve(HEADERS_BLOCK_BYTES);
        }
        let start = self.body.len();
        let payload = &frame.payload;
        self.body.put_u32(0);
        let encoded = frame.encode(&mut self.body);
        let header = self.body.len().saturating_sub(start).saturating_sub(4);
        let bytes = header.saturating_add(payload.len());
        let whole = self.bytes.saturating_add(bytes).saturating_add(16);
        let place = self.body.get_mut(start..).and_then(|written| written.first_chunk_mut::<4>());
        let (Some(()), Some(place), Ok(length), true) =
            (encoded, place, u32::try_from(bytes), whole <= BATCH_BYTES_MAX)
        else {
            self.body.truncate(start);
            return false;
        };
        *place = length.to_be_bytes();
        if payload.len() >= CHUNK_BYTES {
            self.chunks.push(self.body.split().freeze());
            self.chunks.push(payload.clone());
        } else {
            self.body.extend_from_slice(payload);
        }
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(4);
        self.frames = self.frames.saturating_add(1);
        true
    }

    pub fn len(&self) -> usize {
        usize::from(self.frames)
    }

    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The bytes of the batch in order, behind their length (u32), which precedes them on the stream.
    pub fn finish(self) -> impl Iterator<Item = Bytes> {
        let mut head = BytesMut::with_capacity(7);
        // Far below the 4 GiB that the length could say.
        head.put_u32(u32::try_from(self.bytes.saturating_add(3)).unwrap_or(u32::MAX));
        head.put_u8(VERSION);
        head.put_u16(self.frames);
        let all = std::iter::once(head.freeze()).chain(self.chunks).chain([self.body.freeze()]);
        all.filter(|chunk| !chunk.is_empty())
    }
}

/// The frames of a batch. Payloads share its memory. After an error the rest of the batch is not looked at.
pub fn decode_batch(bytes: Bytes) -> Result<impl Iterator<Item = Result<Frame, DecodeError>>, DecodeError> {
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(DecodeError::TooLong("a batch"));
    }
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(DecodeError::UnknownVersion(version));
    }
    let mut left = reader.count(BATCH_FRAMES_MAX, "frames of a batch")?;
    let mut topic = None;
    Ok(std::iter::from_fn(move || {
        if left == 0 {
            let trailing = reader.remaining();
            reader.take(trailing).ok()?;
            return (trailing > 0).then_some(Err(DecodeError::Trailing(trailing)));
        }
        left = left.saturating_sub(1);
        let frame = reader
            .u32()
            .and_then(|length| usize::try_from(length).map_err(|_| DecodeError::Truncated))
            .and_then(|length| reader.take(length))
            .and_then(|bytes| Frame::decode(bytes, &mut topic));
        if frame.is_err() {
            left = 0;
            let rest = reader.remaining();
            reader.take(rest).ok()?;
        }
        Some(frame)
    }))
}
