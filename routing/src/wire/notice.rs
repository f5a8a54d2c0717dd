//! A hint to the origin of an event, passed on hop by hop (R27). It settles nothing.

use bytes::Bytes;

use super::{DecodeError, Reader, Writer};
use crate::{BridgeId, EventKey, LANES, ZoneName};

pub(super) const KIND: u8 = 33;
/// Bytes of a rule, disposition, context or reason.
const TEXT_BYTES_MAX: usize = 512;

/// What became of the event at `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    Denied {
        rule: String,
        disposition: String,
        context: String,
    },
    Dropped {
        reason: String,
    },
    /// R44: the rule denies the links between these zones to the event; it may come over others.
    DeniedLink {
        rule: String,
        context: String,
        link: (ZoneName, ZoneName),
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The origin of the event.
    pub to: BridgeId,
    /// The bridge that speaks.
    pub from: BridgeId,
    pub key: EventKey,
    pub kind: NoticeKind,
    /// Counted down by each hop; at zero the notice is dropped.
    pub hop_limit: u8,
}

impl Notice {
    /// Texts are cut at 512 bytes.
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::of_kind(KIND);
        writer.name(self.to.as_str());
        writer.name(self.from.as_str());
        writer.name(self.key.origin.as_str());
        writer.run(self.key.run);
        writer.u8(self.key.lane);
        writer.u64(self.key.seq);
        writer.u8(self.hop_limit);
        match &self.kind {
            NoticeKind::Denied { rule, disposition, context } => {
                writer.u8(0);
                [rule, disposition, context].into_iter().for_each(|text| writer.text(cut(text).as_bytes()));
            }
            NoticeKind::Dropped { reason } => {
                writer.u8(1);
                writer.text(cut(reason).as_bytes());
            }
            NoticeKind::DeniedLink { rule, context, link: (a, b) } => {
                writer.u8(2);
                [rule, context].into_iter().for_each(|text| writer.text(cut(text).as_bytes()));
                [a, b].into_iter().for_each(|zone| writer.name(zone.as_str()));
            }
        }
        writer.finish()
    }

    pub fn decode(bytes: Bytes) -> Result<Notice, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        if kind != KIND {
            return Err(DecodeError::UnknownKind(kind));
        }
        let (to, from, origin, run) = (reader.bridge()?, reader.bridge()?, reader.bridge()?, reader.run()?);
        let lane = reader.u8()?;
        if lane >= LANES {
            return Err(DecodeError::Invalid("a lane"));
        }
        let key = EventKey { origin, run, lane, seq: reader.u64()? };
        let hop_limit = reader.u8()?;
        let kind = match reader.u8()? {
            0 => NoticeKind::Denied {
                rule: text(&mut reader)?,
                disposition: text(&mut reader)?,
                context: text(&mut reader)?,
            },
            1 => NoticeKind::Dropped { reason: text(&mut reader)? },
            2 => {
                let (rule, context) = (text(&mut reader)?, text(&mut reader)?);
                NoticeKind::DeniedLink { rule, context, link: (reader.zone()?, reader.zone()?) }
            }
            _ => return Err(DecodeError::Invalid("a notice")),
        };
        reader.end()?;
        Ok(Notice { to, from, key, kind, hop_limit })
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

fn text(reader: &mut Reader) -> Result<String, DecodeError> {
    let bytes = reader.text()?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(DecodeError::TooLong("a text of a notice"));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Invalid("a text of a notice"))
}
