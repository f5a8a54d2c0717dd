//! Batches of frames on a data stream (R25, R26).
//!
//! ```text
//! batch    version u8 | frames u16 | frame …
//! frame    length u32 of what follows
//!          | run u16 | lane u8 | seq u64 | hop limit u8 | life ms u32 (0: none) | digest [16] | policy u16
//!          | destinations u16, each bridge u16 and prev u64
//!          | carriers u16 (0xffff: all zones), each zone u16
//!          | topic text | extensions u16 length, each type u8, version u8, u16 length, value
//!          | payload: the rest
//! ```
//!
//! Numbers of 16 bits for runs, bridges, zones and policies are entries of the link's table ([`RecvTable`]).

use bytes::Bytes;
use meshbridge_topic::Topic;
use smallvec::SmallVec;

pub use super::{DecodeError, Entry, RecvTable, SendTable, TableAnnounce, TableFull, TableGap};
use super::{Reader, Writer};
use crate::{LANES, limits};

const VERSION: u8 = 1;
const ALL_ZONES: u16 = u16::MAX;
const CARRIERS_MAX: usize = 4_096;
const HOP_LIMIT_MIN: u8 = 1;
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

/// Catches accidents on the way; no defence against a bridge that lies.
pub fn payload_digest(payload: &[u8]) -> [u8; 16] {
    let mut digest = [0; 16];
    blake3::Hasher::new().update(payload).finalize_xof().fill(&mut digest);
    digest
}

impl Frame {
    /// Writes everything but the payload. `None` if something is beyond its limit; then part of it is written.
    fn encode(&self, writer: &mut Writer) -> Option<()> {
        writer.u16(self.run);
        writer.u8(self.lane);
        writer.u64(self.seq);
        writer.u8(self.hop_limit);
        writer.u32(self.life_ms);
        writer.raw(&self.digest);
        writer.u16(self.policy);
        writer.u16(length(self.destinations.len(), limits::BRIDGES_MAX)?);
        for target in &self.destinations {
            writer.u16(target.bridge);
            writer.u64(target.prev);
        }
        match &self.carriers {
            Carriers::All => writer.u16(ALL_ZONES),
            Carriers::Zones(zones) => {
                writer.u16(length(zones.len(), CARRIERS_MAX)?);
                zones.iter().for_each(|zone| writer.u16(*zone));
            }
        }
        writer.text(self.topic.as_str().as_bytes());
        let place = writer.len();
        writer.u16(0);
        let start = writer.len();
        for (kind, version, value) in &self.extensions {
            length(value.len(), usize::from(u16::MAX))?;
            writer.u8(*kind);
            writer.u8(*version);
            writer.text(value);
        }
        let section = length(writer.len().saturating_sub(start), usize::from(u16::MAX))?;
        writer.set(place, &section.to_be_bytes());
        Some(())
    }

    fn decode(bytes: Bytes) -> Result<Frame, DecodeError> {
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
        let topic = reader.topic()?;
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

/// Length on the stream, version and count: what precedes the frames.
const HEAD_BYTES: usize = 7;
/// The length on the stream alone.
const LENGTH_BYTES: usize = 4;

/// Collects frames for one write. Each is written to its place at once: a batch is one allocation, and payloads are
/// copied once.
#[derive(Debug)]
pub struct BatchWriter {
    /// With room for the head, which is known last.
    bytes: Writer,
    frames: u16,
}

impl Default for BatchWriter {
    fn default() -> BatchWriter {
        BatchWriter::new()
    }
}

impl BatchWriter {
    pub fn new() -> BatchWriter {
        BatchWriter::with_capacity(0)
    }

    /// For about so many bytes of frames.
    pub fn with_capacity(bytes: usize) -> BatchWriter {
        let mut writer = Writer::with_capacity(bytes.min(BATCH_BYTES_MAX).saturating_add(HEAD_BYTES));
        writer.raw(&[0; HEAD_BYTES]);
        BatchWriter { bytes: writer, frames: 0 }
    }

    /// Appends a frame; `false` if the batch is full or the frame is beyond a limit: then it was not taken. A frame
    /// that an empty batch does not take never fits.
    #[must_use]
    pub fn push(&mut self, frame: &Frame) -> bool {
        let before = self.bytes.len();
        let taken = self.append(frame).is_some();
        if !taken {
            self.bytes.truncate(before);
        }
        taken
    }

    fn append(&mut self, frame: &Frame) -> Option<()> {
        if usize::from(self.frames) >= BATCH_FRAMES_MAX {
            return None;
        }
        let before = self.bytes.len();
        self.bytes.u32(0);
        let start = self.bytes.len();
        frame.encode(&mut self.bytes)?;
        let bytes = self.bytes.len().saturating_sub(start).saturating_add(frame.payload.len());
        let whole = before.saturating_sub(HEAD_BYTES).saturating_add(bytes).saturating_add(16);
        let length = u32::try_from(bytes).ok().filter(|_| whole <= BATCH_BYTES_MAX)?;
        self.bytes.set(before, &length.to_be_bytes());
        self.bytes.raw(&frame.payload);
        self.frames = self.frames.saturating_add(1);
        Some(())
    }

    pub fn len(&self) -> usize {
        usize::from(self.frames)
    }

    pub fn is_empty(&self) -> bool {
        self.frames == 0
    }

    /// The bytes of the batch, without the length that precedes it on the stream.
    pub fn finish(self) -> Bytes {
        self.finish_with_length().split_off(LENGTH_BYTES)
    }

    /// The bytes of the batch after their length, as they go on the stream.
    pub fn finish_with_length(mut self) -> Bytes {
        let length = self.bytes.len().saturating_sub(LENGTH_BYTES);
        let length = u32::try_from(length).expect("a batch is at most BATCH_BYTES_MAX");
        self.bytes.set(0, &length.to_be_bytes());
        self.bytes.set(LENGTH_BYTES, &[VERSION]);
        self.bytes.set(LENGTH_BYTES.saturating_add(1), &self.frames.to_be_bytes());
        self.bytes.finish()
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
            .and_then(Frame::decode);
        if frame.is_err() {
            left = 0;
            let rest = reader.remaining();
            reader.take(rest).ok()?;
        }
        Some(frame)
    }))
}
