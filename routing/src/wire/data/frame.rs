//! One event on its way over one link.

use bytes::{BufMut, Bytes, BytesMut};
use meshbridge_topic::Topic;
use smallvec::SmallVec;

use crate::ids::LANES;
use crate::wire::codec::{Put, Reader, WireError};

/// A batch without its length prefix.
pub const MAX_BATCH_BYTES: usize = 8 << 20;
const VERSION: u8 = 1;
const DESTINATIONS_MAX: usize = 4_096;
const ZONES_MAX: usize = 4_096;
const EXTENSION_BYTES_MAX: usize = 4 << 10;

/// A destination and the last earlier number of the lane that was sent to it (RELIABILITY D5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Index of a bridge in the table of the link.
    pub bridge: u16,
    pub prev: u64,
}

/// A frame as it lies in a batch; the payload shares the batch's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub run: u16,
    pub lane: u8,
    pub seq: u64,
    pub hop_limit: u8,
    /// Milliseconds this event may still live; 0 is without end.
    pub life_ms: u32,
    pub policy: u16,
    pub digest: [u8; 16],
    pub destinations: SmallVec<[Destination; 4]>,
    /// Indices of the zones that may carry it; `None` is all of them.
    pub carriers: Option<Vec<u16>>,
    pub topic: Topic,
    /// Type, length, value triples of later versions; passed on as they are (R31).
    pub extensions: Bytes,
    pub payload: Bytes,
}

/// What [`encode_frame`] writes; borrows all but the small numbers.
#[derive(Clone, Copy, Debug)]
pub struct FrameRef<'a> {
    pub run: u16,
    pub lane: u8,
    pub seq: u64,
    pub hop_limit: u8,
    pub life_ms: u32,
    pub policy: u16,
    pub digest: &'a [u8; 16],
    pub destinations: &'a [Destination],
    pub carriers: Option<&'a [u16]>,
    pub topic: &'a Topic,
    pub extensions: &'a [u8],
    pub payload: &'a [u8],
}

/// Appends a frame to a batch.
pub fn encode_frame(frame: FrameRef<'_>, out: &mut BytesMut) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(VERSION);
    out.put_u16(frame.run);
    out.put_u8(frame.lane);
    out.put_u64(frame.seq);
    out.put_u8(frame.hop_limit);
    out.put_u32(frame.life_ms);
    out.put_u16(frame.policy);
    out.put_slice(frame.digest);
    out.put_u16(u16::try_from(frame.destinations.len()).unwrap_or(u16::MAX));
    for destination in frame.destinations.iter().take(DESTINATIONS_MAX) {
        out.put_u16(destination.bridge);
        out.put_u64(destination.prev);
    }
    match frame.carriers {
        None => out.put_u8(0),
        Some(zones) => {
            out.put_u8(1);
            out.put_u16(u16::try_from(zones.len()).unwrap_or(u16::MAX));
            zones.iter().for_each(|zone| out.put_u16(*zone));
        }
    }
    out.put_short(frame.topic.as_str().as_bytes());
    out.put_short(frame.extensions);
    out.put_slice(frame.payload);
    let length = out.len().saturating_sub(start).saturating_sub(4);
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(slot) = out.get_mut(start..start.saturating_add(4)) {
        slot.copy_from_slice(&length);
    }
}

/// Reads all frames of a batch, or none where one is malformed. `batch` is without its length prefix.
pub fn decode_batch(batch: Bytes) -> Result<Vec<Frame>, WireError> {
    if batch.len() > MAX_BATCH_BYTES {
        return Err(WireError::Bounds("batch"));
    }
    let mut reader = Reader::new(batch);
    let mut frames = Vec::new();
    while !reader.is_empty() {
        let length = reader.u32()? as usize;
        frames.push(decode_frame(reader.bytes(length)?)?);
    }
    Ok(frames)
}

fn decode_frame(bytes: Bytes) -> Result<Frame, WireError> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(WireError::Kind(version));
    }
    let run = reader.u16()?;
    let lane = reader.u8()?;
    let seq = reader.u64()?;
    if lane >= LANES || seq == 0 {
        return Err(WireError::Malformed("event key"));
    }
    let (hop_limit, life_ms, policy, digest) = (reader.u8()?, reader.u32()?, reader.u16()?, reader.array()?);
    let count = usize::from(reader.u16()?);
    if count == 0 || count > DESTINATIONS_MAX {
        return Err(WireError::Bounds("destinations of a frame"));
    }
    let mut destinations = SmallVec::new();
    for _ in 0..count {
        destinations.push(Destination { bridge: reader.u16()?, prev: reader.u64()? });
    }
    let carriers = match reader.u8()? {
        0 => None,
        1 => {
            let count = usize::from(reader.u16()?);
            if count > ZONES_MAX {
                return Err(WireError::Bounds("carriers of a frame"));
            }
            let mut zones = Vec::new();
            for _ in 0..count {
                zones.push(reader.u16()?);
            }
            Some(zones)
        }
        _ => return Err(WireError::Malformed("carriers of a frame")),
    };
    let topic = reader.topic()?;
    let extensions = reader.short()?;
    if extensions.len() > EXTENSION_BYTES_MAX {
        return Err(WireError::Bounds("extensions of a frame"));
    }
    let payload = reader.rest();
    Ok(Frame {
        run,
        lane,
        seq,
        hop_limit,
        life_ms,
        policy,
        digest,
        destinations,
        carriers,
        topic,
        extensions,
        payload,
    })
}

impl Reader {
    fn rest(mut self) -> Bytes {
        let all = self.remaining();
        self.bytes(all).unwrap_or_default()
    }
}
