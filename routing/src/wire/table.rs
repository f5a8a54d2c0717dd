//! The table that the sender of a link announces, so that frames carry short numbers (R24).
//!
//! Entries are appended, never changed and never reused while the link lives. A frame whose number the receiver does
//! not know yet waits: the announcement travels on another stream.

use std::collections::HashMap;

use bytes::Bytes;

use super::{DecodeError, Reader, Writer};
use crate::{BridgeId, Run, ZoneName};

pub(super) const KIND: u8 = 32;
/// Entries of one announcement.
const ANNOUNCED_MAX: usize = 512;

/// The policies that a frame was judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicyMark {
    pub digest: [u8; 32],
    /// Of the federation's bundle; 0 where the policies are in no signed bundle.
    pub federation_revision: u64,
}

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    Bridge(BridgeId),
    Zone(ZoneName),
    Run { bridge: BridgeId, run: Run },
    Policy(PolicyMark),
}

/// All 65,536 numbers are taken; the link is reopened to start over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table of the link is full")]
pub struct TableFull;

/// An announcement does not continue the table. The peer is to blame; the link is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the announcement starts at entry {first} of a table of {len}")]
pub struct TableGap {
    pub first: u32,
    pub len: usize,
}

/// The sender's side.
#[derive(Debug, Default)]
pub struct SendTable {
    entries: Vec<Entry>,
    numbers: HashMap<Entry, u16>,
    announced: usize,
}

impl SendTable {
    /// The number of an entry, appended if it is new. Drain [`SendTable::announce`] before the frame leaves.
    pub fn index_of(&mut self, entry: &Entry) -> Result<u16, TableFull> {
        if let Some(number) = self.numbers.get(entry) {
            return Ok(*number);
        }
        let number = u16::try_from(self.entries.len()).map_err(|_| TableFull)?;
        self.entries.push(entry.clone());
        self.numbers.insert(entry.clone(), number);
        Ok(number)
    }

    /// The next announcement, while there is something new.
    pub fn announce(&mut self) -> Option<TableAnnounce> {
        let first = self.announced;
        let entries: Vec<Entry> = self.entries.iter().skip(first).take(ANNOUNCED_MAX).cloned().collect();
        if entries.is_empty() {
            return None;
        }
        self.announced = first.saturating_add(entries.len());
        Some(TableAnnounce { first: u32::try_from(first).ok()?, entries })
    }
}

/// The receiver's side.
#[derive(Debug, Default)]
pub struct RecvTable {
    entries: Vec<Entry>,
}

impl RecvTable {
    pub fn apply(&mut self, announce: TableAnnounce) -> Result<(), TableGap> {
        let len = self.entries.len();
        let gap = TableGap { first: announce.first, len };
        let end = len.saturating_add(announce.entries.len());
        if usize::try_from(announce.first) != Ok(len) || end > usize::from(u16::MAX).saturating_add(1) {
            return Err(gap);
        }
        self.entries.extend(announce.entries);
        Ok(())
    }

    /// `None`: not announced yet; the frame waits.
    pub fn entry(&self, number: u16) -> Option<&Entry> {
        self.entries.get(usize::from(number))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Control message: entries from number `first` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableAnnounce {
    pub first: u32,
    pub entries: Vec<Entry>,
}

impl TableAnnounce {
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::of_kind(KIND);
        writer.u32(self.first);
        writer.u16(u16::try_from(self.entries.len()).expect("announcements are cut at 512 entries"));
        for entry in &self.entries {
            match entry {
                Entry::Bridge(bridge) => {
                    writer.u8(0);
                    writer.name(bridge.as_str());
                }
                Entry::Zone(zone) => {
                    writer.u8(1);
                    writer.name(zone.as_str());
                }
                Entry::Run { bridge, run } => {
                    writer.u8(2);
                    writer.name(bridge.as_str());
                    writer.run(*run);
                }
                Entry::Policy(PolicyMark { digest, federation_revision: 0 }) => {
                    writer.u8(3);
                    writer.raw(digest);
                }
                Entry::Policy(PolicyMark { digest, federation_revision }) => {
                    writer.u8(4);
                    writer.raw(digest);
                    writer.u64(*federation_revision);
                }
            }
        }
        writer.finish()
    }

    pub fn decode(bytes: Bytes) -> Result<TableAnnounce, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        if kind != KIND {
            return Err(DecodeError::UnknownKind(kind));
        }
        let first = reader.u32()?;
        let count = reader.count(ANNOUNCED_MAX, "entries of an announcement")?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(match reader.u8()? {
                0 => Entry::Bridge(reader.bridge()?),
                1 => Entry::Zone(reader.zone()?),
                2 => Entry::Run { bridge: reader.bridge()?, run: reader.run()? },
                3 => Entry::Policy(PolicyMark { digest: reader.array()?, federation_revision: 0 }),
                4 => {
                    let mark = PolicyMark { digest: reader.array()?, federation_revision: reader.u64()? };
                    // There is one way to say 0.
                    if mark.federation_revision == 0 {
                        return Err(DecodeError::Invalid("a table entry"));
                    }
                    Entry::Policy(mark)
                }
                _ => return Err(DecodeError::Invalid("a table entry")),
            });
        }
        reader.end()?;
        Ok(TableAnnounce { first, entries })
    }
}
