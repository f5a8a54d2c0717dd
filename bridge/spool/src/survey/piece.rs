//! One segment, read from its first byte to its last, and what its entries say about the log itself.

use crate::entry::{Entry, Previous, SegmentRow};
use crate::error::{Doing, OpenError};
use crate::format::{Codec, Header, HeaderProblem, Lsn};
use crate::segment::{Layout, layout, read_all, read_header};
use crate::vfs::Vfs;

/// A segment that takes part in the log.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) header: Header,
    pub(crate) codec: Codec,
    pub(crate) layout: Layout,
    pub(super) facts: Facts,
}

/// What the entries of one segment say about the log itself.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) previous: Option<Previous>,
    pub(super) continues: Vec<Fact<u64>>,
    pub(super) retired: Vec<Fact<Vec<u64>>>,
    /// Segments that each checkpoint which begins here lists.
    pub(super) rows: Vec<Fact<Vec<SegmentRow>>>,
    /// First record of each checkpoint whose last record is here.
    pub(super) checkpoints: Vec<Fact<Lsn>>,
    pub(super) epoch_floor: u64,
}

/// Something an entry says, with the entry's number and the offset of its batch: a later segment may declare that
/// the batch does not count.
#[derive(Clone, Debug)]
pub(super) struct Fact<T> {
    pub(super) at: u64,
    pub(super) lsn: Lsn,
    pub(super) says: T,
}

/// `None` when neither copy of the header is whole.
pub(super) fn header_of<V: Vfs>(vfs: &V, name: &str, id: u64) -> Result<Option<Header>, OpenError> {
    let file = vfs.open(name).doing(|| format!("open {name}"))?;
    match read_header(&file).doing(|| format!("read {name}"))? {
        Ok(header) if header.segment == id => Ok(Some(header)),
        Err(HeaderProblem::Version(version)) => Err(OpenError::NewerFormat { segment: id, version }),
        _ => Ok(None),
    }
}

impl Piece {
    pub(super) fn read<V: Vfs>(vfs: &V, name: &str, header: Header) -> Result<Piece, OpenError> {
        let file = vfs.open(name).doing(|| format!("open {name}"))?;
        let bytes = read_all(&file, header.segment_bytes).doing(|| format!("read {name}"))?;
        let codec = Codec::new(header.segment, header.salt);
        let layout = layout(&codec, &header, &bytes, u64::MAX);
        let mut facts = Facts::default();
        for batch in &layout.batches {
            let rest = bytes.get(batch.at as usize..).unwrap_or_default();
            for (lsn, found) in (batch.head.first..).zip(codec.records(batch.at, rest)) {
                facts.note(batch.at, lsn, Entry::decode(&found.bytes));
            }
        }
        Ok(Piece { header, codec, layout, facts })
    }
}

impl Facts {
    fn note(&mut self, at: u64, lsn: Lsn, entry: Option<Entry<'_>>) {
        match entry {
            Some(Entry::Open { previous, .. }) => self.previous = previous,
            Some(Entry::Continue { next }) => self.continues.push(Fact { at, lsn, says: next }),
            Some(Entry::Retire { segments }) => self.retired.push(Fact { at, lsn, says: segments }),
            Some(Entry::CheckpointEnd { begin }) => self.checkpoints.push(Fact { at, lsn, says: begin }),
            Some(Entry::CheckpointBegin { epoch_floor, rows }) => {
                self.epoch_floor = self.epoch_floor.max(epoch_floor);
                self.rows.push(Fact { at, lsn, says: rows });
            }
            Some(Entry::EpochFloor(epoch_floor)) => self.epoch_floor = self.epoch_floor.max(epoch_floor),
            _ => {}
        }
    }
}
