//! Numbers, texts and lists: big-endian, each with its length in front.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use meshbridge_topic::{Topic, TopicFilter};

use crate::ids::{BridgeId, Run, ZoneName};

/// Bytes of a peer that are no message. The peer is at fault, or speaks a version we do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("the message ends too early")]
    Truncated,
    #[error("the message has bytes left over")]
    Trailing,
    #[error("unknown kind of message {0}")]
    Kind(u8),
    #[error("{0} is out of bounds")]
    Bounds(&'static str),
    #[error("{0} is malformed")]
    Malformed(&'static str),
}

/// Reads from the front of a shared buffer; slices of it stay shared.
#[derive(Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Reader {
        Reader { bytes }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.bytes.try_get_u8().map_err(|_| WireError::Truncated)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.bytes.try_get_u16().map_err(|_| WireError::Truncated)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.bytes.try_get_u32().map_err(|_| WireError::Truncated)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.bytes.try_get_u64().map_err(|_| WireError::Truncated)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<Bytes, WireError> {
        if length > self.bytes.len() {
            return Err(WireError::Truncated);
        }
        Ok(self.bytes.split_to(length))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.bytes(N)?;
        <[u8; N]>::try_from(bytes.as_ref()).map_err(|_| WireError::Truncated)
    }

    /// A length of 16 bits and as many bytes.
    pub(crate) fn short(&mut self) -> Result<Bytes, WireError> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }

    fn text(&mut self) -> Result<Bytes, WireError> {
        let length = self.u8()?;
        self.bytes(usize::from(length))
    }

    pub(crate) fn string(&mut self, what: &'static str) -> Result<String, WireError> {
        let bytes = self.text()?;
        std::str::from_utf8(&bytes).map(str::to_owned).map_err(|_| WireError::Malformed(what))
    }

    pub(crate) fn bridge(&mut self) -> Result<BridgeId, WireError> {
        let bytes = self.text()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| WireError::Malformed("bridge id"))?;
        BridgeId::parse(text).map_err(|_| WireError::Malformed("bridge id"))
    }

    pub(crate) fn zone(&mut self) -> Result<ZoneName, WireError> {
        let bytes = self.text()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| WireError::Malformed("zone name"))?;
        ZoneName::parse(text).map_err(|_| WireError::Malformed("zone name"))
    }

    pub(crate) fn run(&mut self) -> Result<Run, WireError> {
        Ok(Run { epoch: self.u64()?, nonce: self.u64()? })
    }

    pub(crate) fn filter(&mut self) -> Result<TopicFilter, WireError> {
        let bytes = self.short()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| WireError::Malformed("filter"))?;
        TopicFilter::parse(text).map_err(|_| WireError::Malformed("filter"))
    }

    pub(crate) fn topic(&mut self) -> Result<Topic, WireError> {
        let bytes = self.short()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| WireError::Malformed("topic"))?;
        Topic::parse(text).map_err(|_| WireError::Malformed("topic"))
    }

    /// A list whose length is at most `max`; memory is taken as its elements are read.
    pub(crate) fn list<T>(
        &mut self,
        max: usize,
        what: &'static str,
        mut element: impl FnMut(&mut Reader) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.u32()? as usize;
        // Every element has at least one byte, so a count above what is left is a lie.
        if count > max || count > self.bytes.len() {
            return Err(WireError::Bounds(what));
        }
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(element(self)?);
        }
        Ok(all)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn end(self) -> Result<(), WireError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(WireError::Trailing) }
    }
}

/// Appends what [`Reader`] reads.
pub(crate) trait Put: BufMut {
    fn put_text(&mut self, text: &str) {
        let text = text.as_bytes();
        let length = text.len().min(usize::from(u8::MAX));
        self.put_u8(u8::try_from(length).unwrap_or(u8::MAX));
        self.put_slice(text.get(..length).unwrap_or(text));
    }

    fn put_short(&mut self, bytes: &[u8]) {
        let length = bytes.len().min(usize::from(u16::MAX));
        self.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
        self.put_slice(bytes.get(..length).unwrap_or(bytes));
    }

    fn put_run(&mut self, run: Run) {
        self.put_u64(run.epoch);
        self.put_u64(run.nonce);
    }

    fn put_list<T>(&mut self, all: &[T], mut element: impl FnMut(&mut Self, &T)) {
        self.put_u32(u32::try_from(all.len()).unwrap_or(u32::MAX));
        for one in all {
            element(self, one);
        }
    }
}

impl Put for BytesMut {}
