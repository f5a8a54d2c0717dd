//! What the indices of a link mean. Each direction has its own table; the sender writes it, the receiver reads it.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};

use crate::ids::{BridgeId, Run, ZoneName};
use crate::wire::codec::{Put, Reader, WireError};

pub(in crate::wire) const TABLE: u8 = 32;

/// Entries of a table: every bridge and zone of a large federation, their runs, and policies over a day.
const ENTRIES_MAX: usize = 32_768;
/// Entries in one announcement.
const ANNOUNCED_MAX: usize = 4_096;

/// One meaning of an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    Bridge(BridgeId),
    Zone(ZoneName),
    Run(BridgeId, Run),
    /// Digest of a set of policies.
    Policy([u8; 32]),
}

/// R22: entries from index `first` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableAnnounce {
    pub first: u16,
    pub entries: Vec<Entry>,
}

impl TableAnnounce {
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(TABLE);
        out.put_u16(self.first);
        out.put_list(&self.entries, |out, entry| match entry {
            Entry::Bridge(bridge) => {
                out.put_u8(1);
                out.put_text(bridge.as_str());
            }
            Entry::Zone(zone) => {
                out.put_u8(2);
                out.put_text(zone.as_str());
            }
            Entry::Run(bridge, run) => {
                out.put_u8(3);
                out.put_text(bridge.as_str());
                out.put_run(*run);
            }
            Entry::Policy(digest) => {
                out.put_u8(4);
                out.put_slice(digest);
            }
        });
        out.freeze()
    }
}

pub(in crate::wire) fn decode_table(message: &Bytes) -> Result<TableAnnounce, WireError> {
    let mut reader = Reader::new(message.clone());
    if reader.u8()? != TABLE {
        return Err(WireError::Malformed("table"));
    }
    let first = reader.u16()?;
    let entries = reader.list(ANNOUNCED_MAX, "entries of a table", |reader| {
        Ok(match reader.u8()? {
            1 => Entry::Bridge(reader.bridge()?),
            2 => Entry::Zone(reader.zone()?),
            3 => Entry::Run(reader.bridge()?, reader.run()?),
            4 => Entry::Policy(reader.array()?),
            other => return Err(WireError::Kind(other)),
        })
    })?;
    reader.end()?;
    Ok(TableAnnounce { first, entries })
}

/// The sender's side: gives out indices, and collects what must be announced.
#[derive(Debug, Default)]
pub struct SendTable {
    indices: HashMap<Entry, u16>,
    fresh: Vec<Entry>,
}

impl SendTable {
    /// The index of an entry, new ones included. `None` when the table is full: the link must be renewed, which
    /// starts an empty one.
    pub fn index(&mut self, entry: &Entry) -> Option<u16> {
        if let Some(index) = self.indices.get(entry) {
            return Some(*index);
        }
        if self.indices.len() >= ENTRIES_MAX {
            return None;
        }
        let index = u16::try_from(self.indices.len()).ok()?;
        self.indices.insert(entry.clone(), index);
        self.fresh.push(entry.clone());
        Some(index)
    }

    /// What was given out since the last call; to be sent on the control stream before the frames are.
    pub fn take_announcement(&mut self) -> Option<TableAnnounce> {
        let count = self.fresh.len().min(ANNOUNCED_MAX);
        let entries: Vec<Entry> = self.fresh.drain(..count).collect();
        let after = self.indices.len().saturating_sub(self.fresh.len());
        let first = u16::try_from(after.saturating_sub(entries.len())).ok()?;
        (!entries.is_empty()).then_some(TableAnnounce { first, entries })
    }
}

/// A peer that announces what it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableViolation {
    #[error("an announcement leaves out or repeats indices")]
    Gap,
    #[error("the table is larger than {ENTRIES_MAX} entries")]
    TooLarge,
}

/// The receiver's side.
#[derive(Debug, Default)]
pub struct RecvTable {
    entries: Vec<Entry>,
}

impl RecvTable {
    pub fn apply(&mut self, announce: TableAnnounce) -> Result<(), TableViolation> {
        if usize::from(announce.first) != self.entries.len() {
            return Err(TableViolation::Gap);
        }
        if self.entries.len().saturating_add(announce.entries.len()) > ENTRIES_MAX {
            return Err(TableViolation::TooLarge);
        }
        self.entries.extend(announce.entries);
        Ok(())
    }

    /// The entry, or `None` while it has not been announced.
    pub fn entry(&self, index: u16) -> Option<&Entry> {
        self.entries.get(usize::from(index))
    }
}
