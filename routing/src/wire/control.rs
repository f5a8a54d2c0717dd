//! Messages that the router reads.

use bytes::Bytes;

use super::{DecodeError, Reader, Writer};
use crate::audience::AudienceId;
use crate::flood::{Item, Stamp};
use crate::{Audience, BridgeId, LinkState, Run, Signature, Want, ZoneName};

/// 2: sets of interest have audiences. 3: their messages are bounded by bytes.
const VERSION: u8 = 4;
/// Entries of one digest message.
pub(crate) const DIGEST_ENTRIES_MAX: usize = 1_024;
/// Bytes of the entries of one delta or chunk. A head takes 58 KiB at most, so that both fit a message.
pub(crate) const ENTRIES_BYTES_MAX: usize = 64 << 10;
/// Entries of one, for the shortest has four bytes.
const ENTRIES_MAX: usize = ENTRIES_BYTES_MAX / 4;

pub(super) const KIND_MIN: u8 = OPEN;
pub(super) const KIND_MAX: u8 = JUMP;
const OPEN: u8 = 1;
const HELLO: u8 = 2;
const LINK_STATE: u8 = 3;
const ACK: u8 = 4;
const DIGEST: u8 = 5;
const PULL: u8 = 6;
const DELTA: u8 = 7;
const SNAPSHOT: u8 = 8;
const JUMP: u8 = 9;

/// R10: a version of an interest set, as its owner signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) owner: BridgeId,
    pub(crate) run: Run,
    /// Who may be told of it: whoever passes the set on holds to it.
    pub(crate) audience: Audience,
    pub(crate) version: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) count: u32,
    pub(crate) signature: Signature,
}

impl Head {
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { run: self.run, version: self.version }
    }

    /// Free of the message that it came in, which it would keep in memory. The audience and the chain of the version before
    /// are shared where they are the same.
    pub(crate) fn detached(self, before: Option<&Head>) -> Head {
        let Signature { chain, signature } = &self.signature;
        let audience = match before.filter(|before| before.audience == self.audience) {
            Some(before) => before.audience.clone(),
            None => self.audience,
        };
        let chain = match before.filter(|before| before.signature.chain == *chain) {
            Some(before) => before.signature.chain.clone(),
            None => chain.iter().map(|certificate| Bytes::copy_from_slice(certificate)).collect(),
        };
        let signature = Signature { chain, signature: Bytes::copy_from_slice(signature) };
        Head { audience, signature, ..self }
    }

    pub(crate) fn signed_bytes(&self, federation: &str) -> Bytes {
        let mut writer = Writer::new();
        writer.raw(b"meshbridge/1 interest\0");
        writer.name(federation);
        self.encode_body(&mut writer);
        writer.finish()
    }

    fn encode_body(&self, writer: &mut Writer) {
        writer.name(self.owner.as_str());
        writer.run(self.run);
        self.audience.encode(writer);
        writer.u64(self.version);
        writer.raw(&self.digest);
        writer.u32(self.count);
    }

    fn encode(&self, writer: &mut Writer) {
        self.encode_body(writer);
        writer.signature(&self.signature);
    }

    fn decode(reader: &mut Reader) -> Result<Head, DecodeError> {
        let (owner, run, audience) = (reader.bridge()?, reader.run()?, Audience::decode(reader)?);
        let (version, digest, count) = (reader.u64()?, reader.array()?, reader.u32()?);
        Ok(Head { owner, run, audience, version, digest, count, signature: reader.signature()? })
    }
}

/// R11: what changed since version `from` of the same run; zero is the empty set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) head: Head,
    pub(crate) from: u64,
    pub(crate) added: Vec<Want>,
    pub(crate) removed: Vec<Want>,
}

/// R12: a part of a whole set; only the part marked `last` ends the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotChunk {
    pub(crate) head: Head,
    pub(crate) index: u32,
    pub(crate) last: bool,
    pub(crate) filters: Vec<Want>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Open { federation: String, bridge: BridgeId, zone: ZoneName, run: Run },
    Hello { open_received: bool, digest_received: bool },
    LinkState(LinkState),
    Ack { item: Item, stamp: Stamp },
    Digest { entries: Vec<(Item, Stamp)>, last: bool },
    Pull { owner: BridgeId, audience: AudienceId, have: Option<Stamp> },
    Delta(Delta),
    Snapshot(SnapshotChunk),
    Jump { above: u64 },
}

impl Message {
    /// As [`Message::encode`], of a record that stays where it is.
    pub(crate) fn encode_link_state(record: &LinkState) -> Bytes {
        let mut writer = Writer::of_kind(LINK_STATE);
        record.encode(&mut writer);
        writer.finish()
    }

    /// As [`Message::encode`], of changes that are encoded already.
    pub(crate) fn encode_delta(head: &Head, from: u64, changes: &[u8]) -> Bytes {
        let mut writer = Writer::of_entries(DELTA, changes.len());
        head.encode(&mut writer);
        writer.u64(from);
        writer.raw(changes);
        writer.finish()
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut writer;
        match self {
            Message::Open { federation, bridge, zone, run } => {
                writer = Writer::of_kind(OPEN);
                writer.u8(VERSION);
                writer.name(federation);
                writer.name(bridge.as_str());
                writer.name(zone.as_str());
                writer.run(*run);
            }
            Message::Hello { open_received, digest_received } => {
                writer = Writer::of_kind(HELLO);
                writer.u8(u8::from(*open_received));
                writer.u8(u8::from(*digest_received));
            }
            Message::LinkState(record) => return Message::encode_link_state(record),
            Message::Ack { item, stamp } => {
                writer = Writer::of_kind(ACK);
                put_entry(&mut writer, item, *stamp);
            }
            Message::Digest { entries, last } => {
                writer = Writer::of_kind(DIGEST);
                writer.u8(u8::from(*last));
                writer.u16(u16::try_from(entries.len()).expect("a digest is cut at 1,024 entries"));
                entries.iter().for_each(|(item, stamp)| put_entry(&mut writer, item, *stamp));
            }
            Message::Pull { owner, audience, have } => {
                writer = Writer::of_kind(PULL);
                writer.name(owner.as_str());
                writer.raw(&audience.0);
                writer.u8(u8::from(have.is_some()));
                if let Some(have) = have {
                    writer.run(have.run);
                    writer.u64(have.version);
                }
            }
            Message::Delta(Delta { head, from, added, removed }) => {
                return Message::encode_delta(head, *from, &encode_changes(added, removed));
            }
            Message::Snapshot(chunk) => {
                let bytes: usize = chunk.filters.iter().map(Want::encoded_bytes).sum();
                writer = Writer::of_entries(SNAPSHOT, bytes);
                chunk.head.encode(&mut writer);
                writer.u32(chunk.index);
                writer.u8(u8::from(chunk.last));
                put_filters(&mut writer, &chunk.filters);
            }
            Message::Jump { above } => {
                writer = Writer::of_kind(JUMP);
                writer.u64(*above);
            }
        }
        writer.finish()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Message, DecodeError> {
        if bytes.len() > super::MESSAGE_BYTES_MAX {
            return Err(DecodeError::TooLong("a message"));
        }
        let mut reader = Reader::new(bytes);
        let message = match reader.u8()? {
            OPEN => {
                let version = reader.u8()?;
                if version != VERSION {
                    return Err(DecodeError::UnknownVersion(version));
                }
                let federation = reader.name()?;
                let federation = std::str::from_utf8(&federation)
                    .map_err(|_| DecodeError::Invalid("a federation name"))?
                    .to_owned();
                Message::Open {
                    federation,
                    bridge: reader.bridge()?,
                    zone: reader.zone()?,
                    run: reader.run()?,
                }
            }
            HELLO => Message::Hello { open_received: reader.bool()?, digest_received: reader.bool()? },
            LINK_STATE => Message::LinkState(LinkState::decode(&mut reader)?),
            ACK => {
                let (item, stamp) = take_entry(&mut reader)?;
                Message::Ack { item, stamp }
            }
            DIGEST => {
                let last = reader.bool()?;
                let count = reader.count(DIGEST_ENTRIES_MAX, "entries of a digest")?;
                let mut entries = Vec::new();
                for _ in 0..count {
                    entries.push(take_entry(&mut reader)?);
                }
                Message::Digest { entries, last }
            }
            PULL => {
                let (owner, audience) = (reader.bridge()?, AudienceId(reader.array()?));
                let have = match reader.bool()? {
                    true => Some(Stamp { run: reader.run()?, version: reader.u64()? }),
                    false => None,
                };
                Message::Pull { owner, audience, have }
            }
            DELTA => Message::Delta(Delta {
                head: Head::decode(&mut reader)?,
                from: reader.u64()?,
                added: take_filters(&mut reader)?,
                removed: take_filters(&mut reader)?,
            }),
            SNAPSHOT => Message::Snapshot(SnapshotChunk {
                head: Head::decode(&mut reader)?,
                index: reader.u32()?,
                last: reader.bool()?,
                filters: take_filters(&mut reader)?,
            }),
            JUMP => Message::Jump { above: reader.u64()? },
            kind => return Err(DecodeError::UnknownKind(kind)),
        };
        reader.end()?;
        Ok(message)
    }
}

/// What is added and removed, as a [`Delta`] has it, and nothing else.
pub(crate) fn encode_changes(added: &[Want], removed: &[Want]) -> Box<[u8]> {
    let bytes: usize = added.iter().chain(removed).map(Want::encoded_bytes).sum();
    // With their two counts.
    let mut writer = Writer::of_bytes(bytes.saturating_add(4));
    put_filters(&mut writer, added);
    put_filters(&mut writer, removed);
    writer.finish().as_ref().into()
}

pub(crate) fn decode_changes(changes: &[u8]) -> Result<(Vec<Want>, Vec<Want>), DecodeError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(changes));
    Ok((take_filters(&mut reader)?, take_filters(&mut reader)?))
}

fn put_entry(writer: &mut Writer, item: &Item, stamp: Stamp) {
    let (kind, owner) = match item {
        Item::LinkState(owner) => (0, owner),
        Item::Interest(owner, _) => (1, owner),
    };
    writer.u8(kind);
    writer.name(owner.as_str());
    if let Item::Interest(_, audience) = item {
        writer.raw(&audience.0);
    }
    writer.run(stamp.run);
    writer.u64(stamp.version);
}

fn take_entry(reader: &mut Reader) -> Result<(Item, Stamp), DecodeError> {
    let kind = reader.u8()?;
    let owner = reader.bridge()?;
    let item = match kind {
        0 => Item::LinkState(owner),
        1 => Item::Interest(owner, AudienceId(reader.array()?)),
        _ => return Err(DecodeError::Invalid("a digest entry")),
    };
    Ok((item, Stamp { run: reader.run()?, version: reader.u64()? }))
}

fn put_filters(writer: &mut Writer, filters: &[Want]) {
    writer.u16(u16::try_from(filters.len()).expect("deltas and chunks are cut at 64 KiB"));
    filters.iter().for_each(|filter| filter.encode(writer));
}

fn take_filters(reader: &mut Reader) -> Result<Vec<Want>, DecodeError> {
    let count = reader.count(ENTRIES_MAX, "filters of a message")?;
    let mut filters = Vec::new();
    for _ in 0..count {
        filters.push(Want::decode(reader)?);
    }
    Ok(filters)
}
