//! Everything in a spool that is its owner's, record by record, without changing the spool (RELIABILITY S14).
//!
//! Records come in the order they were written, from the oldest segment on that is not retired, so also what was
//! settled long ago and what a checkpoint has replaced. What a power cut tore was never acknowledged and is left
//! out. One segment is in memory at a time.

mod walk;

use std::fmt;
use std::io;

use crate::error::OpenError;
use crate::format::Lsn;
use crate::segment;
use crate::vfs::Vfs;

/// How to export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Go on behind damage, with whatever can still be read one by one, instead of stopping there.
    pub salvage: bool,
}

/// What [`export`] hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exported<'a> {
    Record {
        at: RecordPlace,
        record: Record<'a>,
    },
    /// Only with `salvage`. Records that can still be read in the range follow, without numbers.
    Lost(LostRange),
}

/// Where a record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// `None` for a record that was read out of damage: how many were before it is not known.
    pub lsn: Option<Lsn>,
    pub segment: u64,
    /// Of its first fragment in the segment's file.
    pub offset: u64,
}

/// A record of the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    State(&'a [u8]),
    Body {
        id: u64,
        bytes: &'a [u8],
    },
    /// A body that was copied out of a segment which was to go.
    Moved {
        id: u64,
        bytes: &'a [u8],
    },
    /// A piece of a checkpoint, which may itself not be whole: the owner's state as of its beginning.
    CheckpointPart(&'a [u8]),
}

/// A part of the log that was durable once and is damaged or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRange {
    pub segment: u64,
    /// Offsets in its file; both 0 when all of it is lost.
    pub from: u64,
    pub to: u64,
    /// Numbers of the records in it, as closely as its neighbours tell; `None` where they do not. With a `first`
    /// and no `last`, the end of the log may be lost.
    pub first: Option<Lsn>,
    pub last: Option<Lsn>,
    pub cause: LostCause,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostCause {
    Rot,
    /// Perhaps rot, perhaps a write that a power cut tore.
    InDoubt,
    /// The file is there, and nothing in it can be read: no header, another version or spool, a failing disk.
    Unreadable,
    /// The file is not there.
    Missing,
    /// The numbers are missing, and no damaged place was found that could have held them.
    Unknown,
}

/// What was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportDone {
    pub records: u64,
    /// Of `records`, those that were read out of damage.
    pub salvaged: u64,
    pub lost_ranges: u64,
    /// Records of a kind that this version does not know.
    pub unknown: u64,
}

/// Why an export ended early. What was handed over before is right.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Only without `salvage`.
    #[error("{0}; everything before it was exported")]
    Damaged(LostRange),
    /// The spool cannot be read, or (only without `salvage`) holds files that are not this version's or its own.
    #[error("the spool cannot be exported")]
    Spool(#[source] OpenError),
    /// The receiver failed.
    #[error("cannot pass a record on")]
    Receiver(#[source] io::Error),
}

/// Hands over every record of the owner. The log should not be running: a file that it retires meanwhile ends the
/// export.
pub fn export<V: Vfs>(
    vfs: &V,
    options: ExportOptions,
    receive: &mut dyn FnMut(Exported<'_>) -> io::Result<()>,
) -> Result<ExportDone, ExportError> {
    walk::Walk::new(vfs, options, receive)?.run()
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = segment::name(self.segment);
        match self.cause {
            LostCause::Rot => write!(f, "{name} is damaged from byte {} to {}", self.from, self.to)?,
            LostCause::InDoubt => write!(f, "{name} may be damaged from byte {} to {}", self.from, self.to)?,
            LostCause::Unreadable => write!(f, "{name} cannot be read")?,
            LostCause::Missing => write!(f, "{name} is missing")?,
            LostCause::Unknown => write!(f, "records are missing before byte {} of {name}", self.to)?,
        }
        match (self.first, self.last) {
            (Some(first), Some(last)) => write!(f, " (records {first} to {last})"),
            (Some(first), None) => write!(f, " (records from {first} on)"),
            (None, _) => Ok(()),
        }
    }
}
