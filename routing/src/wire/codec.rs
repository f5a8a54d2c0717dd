//! The primitives that every message is made of.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use meshbridge_topic::{Topic, TopicFilter};

use super::DecodeError;
use crate::{BridgeId, Run, Signature, ZoneName};

/// Certificates of a chain, and bytes of one and of a signature.
const CHAIN_MAX: usize = 4;
const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;
const SIGNATURE_BYTES_MAX: usize = 1024;
/// What an ordinary message has beside its entries.
const HEAD_BYTES: usize = 1_024;

/// Takes a message apart without copying it.
#[derive(Debug)]
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Reader {
        Reader(bytes)
    }

    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(self.0.split_to(length))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        self.0.try_copy_to_slice(&mut array).map_err(|_| DecodeError::Truncated)?;
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.0.try_get_u8().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.0.try_get_u16().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.0.try_get_u32().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.0.try_get_u64().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("a flag")),
        }
    }

    /// A count of things that follow, each at least one byte long.
    pub(crate) fn count(&mut self, max: usize, what: &'static str) -> Result<usize, DecodeError> {
        let count = usize::from(self.u16()?);
        if count > max {
            return Err(DecodeError::TooLong(what));
        }
        if count > self.remaining() {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    pub(crate) fn text(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }

    pub(crate) fn name(&mut self) -> Result<Bytes, DecodeError> {
        let length = usize::from(self.u8()?);
        self.take(length)
    }

    pub(crate) fn bridge(&mut self) -> Result<BridgeId, DecodeError> {
        let name = self.name()?;
        let text = std::str::from_utf8(&name).map_err(|_| DecodeError::Invalid("a bridge id"))?;
        BridgeId::parse(text).map_err(|_| DecodeError::Invalid("a bridge id"))
    }

    pub(crate) fn zone(&mut self) -> Result<ZoneName, DecodeError> {
        let name = self.name()?;
        let text = std::str::from_utf8(&name).map_err(|_| DecodeError::Invalid("a zone name"))?;
        ZoneName::parse(text).map_err(|_| DecodeError::Invalid("a zone name"))
    }

    pub(crate) fn filter(&mut self) -> Result<TopicFilter, DecodeError> {
        let text = self.text()?;
        let text = std::str::from_utf8(&text).map_err(|_| DecodeError::Invalid("a filter"))?;
        TopicFilter::parse(text).map_err(|_| DecodeError::Invalid("a filter"))
    }

    /// Shares `last` where it is the same topic, and keeps the one that was read there: text that is not owned anew.
    pub(crate) fn topic_like(&mut self, last: &mut Option<Topic>) -> Result<Topic, DecodeError> {
        let text = self.text()?;
        if let Some(last) = last.as_ref().filter(|last| last.as_str().as_bytes() == text) {
            return Ok(last.clone());
        }
        let text = std::str::from_utf8(&text).map_err(|_| DecodeError::Invalid("a topic"))?;
        let topic = Topic::parse(text).map_err(|_| DecodeError::Invalid("a topic"))?;
        Ok(last.insert(topic).clone())
    }

    pub(crate) fn run(&mut self) -> Result<Run, DecodeError> {
        Ok(Run { epoch: self.u64()?, nonce: self.u64()? })
    }

    pub(crate) fn signature(&mut self) -> Result<Signature, DecodeError> {
        let certificates = usize::from(self.u8()?);
        if certificates > CHAIN_MAX {
            return Err(DecodeError::TooLong("a certificate chain"));
        }
        let mut chain = Vec::new();
        for _ in 0..certificates {
            let certificate = self.text()?;
            if certificate.len() > CERTIFICATE_BYTES_MAX {
                return Err(DecodeError::TooLong("a certificate"));
            }
            chain.push(certificate);
        }
        let signature = self.text()?;
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(DecodeError::TooLong("a signature"));
        }
        Ok(Signature { chain, signature })
    }

    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}

/// Puts a message together. What it is given obeys the limits already; a longer text would be our own fault.
#[derive(Debug, Default)]
pub(crate) struct Writer(BytesMut);

impl Writer {
    pub(crate) fn new() -> Writer {
        Writer::default()
    }

    pub(crate) fn of_kind(kind: u8) -> Writer {
        let mut writer = Writer::new();
        writer.u8(kind);
        writer
    }

    /// With room for that many.
    pub(crate) fn of_bytes(bytes: usize) -> Writer {
        Writer(BytesMut::with_capacity(bytes))
    }

    /// With room for so many bytes of entries and an ordinary head.
    pub(crate) fn of_entries(kind: u8, bytes: usize) -> Writer {
        let mut writer = Writer::of_bytes(bytes.saturating_add(HEAD_BYTES));
        writer.u8(kind);
        writer
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.put_u8(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.put_u16(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.put_u32(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.put_u64(value);
    }

    pub(crate) fn name(&mut self, name: &str) {
        self.u8(u8::try_from(name.len()).expect("names have 63 bytes at most"));
        self.raw(name.as_bytes());
    }

    pub(crate) fn text(&mut self, text: &[u8]) {
        self.u16(u16::try_from(text.len()).expect("texts and certificates have 8 KiB at most"));
        self.raw(text);
    }

    pub(crate) fn run(&mut self, run: Run) {
        self.u64(run.epoch);
        self.u64(run.nonce);
    }

    pub(crate) fn signature(&mut self, signature: &Signature) {
        self.u8(u8::try_from(signature.chain.len()).expect("chains have 4 certificates at most"));
        for certificate in &signature.chain {
            self.text(certificate);
        }
        self.text(&signature.signature);
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}
