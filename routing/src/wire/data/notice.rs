//! What a bridge tells the origin of an event about a copy of it. A hint: it settles nothing (R32).

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::{BridgeId, EventKey, LANES};
use crate::wire::codec::{Put, Reader, WireError};

pub(in crate::wire) const NOTICE: u8 = 33;

/// Why a copy ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// A policy of `from` stopped it; names as in a policy document.
    Denied { rule: String, disposition: String, context: String },
    /// It could not be carried further.
    Dropped { reason: String },
}

/// Travels hop by hop to the origin of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub to: BridgeId,
    pub from: BridgeId,
    pub key: EventKey,
    pub kind: NoticeKind,
    pub hop_limit: u8,
}

pub(in crate::wire) fn encode_notice(notice: &Notice) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(NOTICE);
    out.put_u8(notice.hop_limit);
    out.put_text(notice.to.as_str());
    out.put_text(notice.from.as_str());
    out.put_text(notice.key.origin.as_str());
    out.put_run(notice.key.run);
    out.put_u8(notice.key.lane);
    out.put_u64(notice.key.seq);
    match &notice.kind {
        NoticeKind::Denied { rule, disposition, context } => {
            out.put_u8(1);
            out.put_text(rule);
            out.put_text(disposition);
            out.put_text(context);
        }
        NoticeKind::Dropped { reason } => {
            out.put_u8(2);
            out.put_text(reason);
        }
    }
    out.freeze()
}

pub(in crate::wire) fn decode_notice(message: &Bytes) -> Result<Notice, WireError> {
    let mut reader = Reader::new(message.clone());
    if reader.u8()? != NOTICE {
        return Err(WireError::Malformed("notice"));
    }
    let hop_limit = reader.u8()?;
    let (to, from) = (reader.bridge()?, reader.bridge()?);
    let key = EventKey {
        origin: reader.bridge()?,
        run: reader.run()?,
        lane: reader.u8()?,
        seq: reader.u64()?,
    };
    if key.lane >= LANES {
        return Err(WireError::Malformed("event key"));
    }
    let kind = match reader.u8()? {
        1 => NoticeKind::Denied {
            rule: reader.string("rule")?,
            disposition: reader.string("disposition")?,
            context: reader.string("context")?,
        },
        2 => NoticeKind::Dropped { reason: reader.string("reason")? },
        other => return Err(WireError::Kind(other)),
    };
    reader.end()?;
    Ok(Notice { to, from, key, kind, hop_limit })
}
