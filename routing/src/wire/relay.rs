//! A message from one bridge to another that is not its neighbour, passed on hop by hop (R28). Routing does not look
//! inside.

use bytes::Bytes;

use super::{DecodeError, Reader, Writer};
use crate::BridgeId;

pub(super) const KIND: u8 = 34;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    pub to: BridgeId,
    /// Who says it; the receiver asks for proof inside the body.
    pub from: BridgeId,
    /// Counted down by each hop; at zero the message is dropped.
    pub hop_limit: u8,
    pub body: Bytes,
}

impl Relay {
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::of_kind(KIND);
        writer.name(self.to.as_str());
        writer.name(self.from.as_str());
        writer.u8(self.hop_limit);
        writer.raw(&self.body);
        writer.finish()
    }

    pub fn decode(bytes: Bytes) -> Result<Relay, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        if kind != KIND {
            return Err(DecodeError::UnknownKind(kind));
        }
        let (to, from, hop_limit) = (reader.bridge()?, reader.bridge()?, reader.u8()?);
        let body = reader.take(reader.remaining())?;
        Ok(Relay { to, from, hop_limit, body })
    }
}
