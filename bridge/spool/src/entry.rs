//! What a record of the log is: the log's own bookkeeping, or something of its owner.

use crate::format::{Fields, Lsn, Run};

/// Where a body lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    /// Of its record's first fragment.
    pub(crate) offset: u64,
    /// Of the record, in bytes.
    pub(crate) len: u32,
}

/// A segment as the checkpoint lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRow {
    pub(crate) segment: u64,
    /// Where its last valid batch ends; batches behind it do not count.
    pub(crate) end: u64,
    pub(crate) rotten: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry<'a> {
    /// First record of each segment: which run writes here, and where the log ended before.
    Open {
        run: Run,
        previous: Option<Previous>,
    },
    /// Last record of a segment that is full.
    Continue {
        next: u64,
    },
    /// These segments are no longer part of the log.
    Retire {
        segments: Vec<u64>,
    },
    CheckpointBegin {
        rows: Vec<SegmentRow>,
        epoch_floor: u64,
    },
    CheckpointBodies {
        bodies: Vec<(u64, Location)>,
    },
    CheckpointPart(&'a [u8]),
    CheckpointEnd {
        begin: Lsn,
    },
    Seal,
    /// The next run's epoch must be above this.
    EpochFloor(u64),
    State(&'a [u8]),
    Body {
        id: u64,
        bytes: &'a [u8],
    },
    /// A body copied out of a segment that is to go.
    Moved {
        id: u64,
        bytes: &'a [u8],
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Previous {
    pub(crate) segment: u64,
    /// Its batches from here on do not count.
    pub(crate) end: u64,
}

mod kind {
    pub(super) const OPEN: u8 = 1;
    pub(super) const CONTINUE: u8 = 2;
    pub(super) const RETIRE: u8 = 3;
    pub(super) const CHECKPOINT_BEGIN: u8 = 4;
    pub(super) const CHECKPOINT_BODIES: u8 = 5;
    pub(super) const CHECKPOINT_PART: u8 = 6;
    pub(super) const CHECKPOINT_END: u8 = 7;
    pub(super) const SEAL: u8 = 8;
    pub(super) const EPOCH_FLOOR: u8 = 9;
    pub(super) const STATE: u8 = 16;
    pub(super) const BODY: u8 = 17;
    pub(super) const MOVED: u8 = 18;
}

/// Bytes before the owner's own in a record with a body.
pub(crate) const BODY_PREFIX: usize = 9;

/// The first bytes of a record of the owner.
pub(crate) fn owner_prefix(body: Option<u64>, moved: bool) -> ([u8; BODY_PREFIX], usize) {
    let mut prefix = [0; BODY_PREFIX];
    match body {
        None => {
            prefix[0] = kind::STATE;
            (prefix, 1)
        }
        Some(id) => {
            prefix[0] = if moved { kind::MOVED } else { kind::BODY };
            prefix[1..].copy_from_slice(&id.to_le_bytes());
            (prefix, BODY_PREFIX)
        }
    }
}

impl Entry<'_> {
    /// Bytes of an entry of the log itself; the owner's are written from their parts.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let put = |out: &mut Vec<u8>, numbers: &[u64]| {
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        };
        match self {
            Entry::Open { run, previous } => {
                out.push(kind::OPEN);
                let (segment, end) = previous.map_or((0, 0), |p| (p.segment, p.end));
                put(&mut out, &[run.epoch, run.nonce, segment, end]);
            }
            Entry::Continue { next } => {
                out.push(kind::CONTINUE);
                put(&mut out, &[*next]);
            }
            Entry::Retire { segments } => {
                out.push(kind::RETIRE);
                put(&mut out, segments);
            }
            Entry::CheckpointBegin { rows, epoch_floor } => {
                out.push(kind::CHECKPOINT_BEGIN);
                put(&mut out, &[*epoch_floor]);
                rows.iter().for_each(|row| put(&mut out, &[row.segment, row.end, u64::from(row.rotten)]));
            }
            Entry::CheckpointBodies { bodies } => {
                out.push(kind::CHECKPOINT_BODIES);
                for (id, at) in bodies {
                    put(&mut out, &[*id, at.segment, at.offset, u64::from(at.len)]);
                }
            }
            Entry::CheckpointPart(bytes) => {
                out.push(kind::CHECKPOINT_PART);
                out.extend_from_slice(bytes);
            }
            Entry::CheckpointEnd { begin } => {
                out.push(kind::CHECKPOINT_END);
                put(&mut out, &[*begin]);
            }
            Entry::Seal => out.push(kind::SEAL),
            Entry::EpochFloor(epoch) => {
                out.push(kind::EPOCH_FLOOR);
                put(&mut out, &[*epoch]);
            }
            Entry::State(bytes) => {
                out.push(kind::STATE);
                out.extend_from_slice(bytes);
            }
            Entry::Body { id, bytes } => {
                out.extend_from_slice(&owner_prefix(Some(*id), false).0);
                out.extend_from_slice(bytes);
            }
            Entry::Moved { id, bytes } => {
                out.extend_from_slice(&owner_prefix(Some(*id), true).0);
                out.extend_from_slice(bytes);
            }
        }
        out
    }

    /// `None` for a kind this version does not know, or one that is cut short.
    pub(crate) fn decode(record: &[u8]) -> Option<Entry<'_>> {
        let (first, rest) = record.split_first()?;
        let mut fields = Fields(rest);
        Some(match *first {
            kind::OPEN => {
                let run = Run { epoch: fields.u64()?, nonce: fields.u64()? };
                let previous = Previous { segment: fields.u64()?, end: fields.u64()? };
                Entry::Open { run, previous: (previous.segment != 0).then_some(previous) }
            }
            kind::CONTINUE => Entry::Continue { next: fields.u64()? },
            kind::RETIRE => Entry::Retire { segments: rest_of(fields, |f| f.u64())? },
            kind::CHECKPOINT_BEGIN => Entry::CheckpointBegin {
                epoch_floor: fields.u64()?,
                rows: rest_of(fields, |f| {
                    Some(SegmentRow { segment: f.u64()?, end: f.u64()?, rotten: f.u64()? != 0 })
                })?,
            },
            kind::CHECKPOINT_BODIES => Entry::CheckpointBodies {
                bodies: rest_of(fields, |f| {
                    let id = f.u64()?;
                    let (segment, offset) = (f.u64()?, f.u64()?);
                    Some((id, Location { segment, offset, len: u32::try_from(f.u64()?).ok()? }))
                })?,
            },
            kind::CHECKPOINT_PART => Entry::CheckpointPart(rest),
            kind::CHECKPOINT_END => Entry::CheckpointEnd { begin: fields.u64()? },
            kind::SEAL => Entry::Seal,
            kind::EPOCH_FLOOR => Entry::EpochFloor(fields.u64()?),
            kind::STATE => Entry::State(rest),
            kind::BODY => Entry::Body { id: fields.u64()?, bytes: fields.0 },
            kind::MOVED => Entry::Moved { id: fields.u64()?, bytes: fields.0 },
            _ => return None,
        })
    }
}

fn rest_of<'a, T>(
    mut fields: Fields<'a>,
    mut one: impl FnMut(&mut Fields<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut all = Vec::new();
    while !fields.0.is_empty() {
        all.push(one(&mut fields)?);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_read_back_and_shortened_ones_are_refused_or_differ() {
        let at = Location { segment: 3, offset: 8_192, len: 77 };
        let all = [
            Entry::Open { run: Run { epoch: 1, nonce: 2 }, previous: None },
            Entry::Open {
                run: Run { epoch: 1, nonce: 2 },
                previous: Some(Previous { segment: 4, end: 12_288 }),
            },
            Entry::Continue { next: 9 },
            Entry::Retire { segments: vec![1, 2] },
            Entry::CheckpointBegin {
                rows: vec![SegmentRow { segment: 1, end: 4_096, rotten: true }],
                epoch_floor: 5,
            },
            Entry::CheckpointBodies { bodies: vec![(6, at)] },
            Entry::CheckpointPart(b"part"),
            Entry::CheckpointEnd { begin: 3 },
            Entry::Seal,
            Entry::EpochFloor(8),
            Entry::State(b"state"),
            Entry::Body { id: 6, bytes: b"body" },
            Entry::Moved { id: 6, bytes: b"" },
        ];
        for entry in &all {
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes).as_ref(), Some(entry));
            for short in 0..bytes.len() {
                assert_ne!(Entry::decode(&bytes[..short]).as_ref(), Some(entry), "{entry:?} cut to {short}");
            }
        }
        assert_eq!(Entry::decode(&[99, 1, 2]), None);
    }
}
