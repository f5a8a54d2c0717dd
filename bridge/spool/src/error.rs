//! What can go wrong, from the caller's side.

use std::io;

use crate::format::SpoolId;

/// Why a batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Events are not taken until segments are retired or the disk has room again. Nothing was written; what is
    /// not an event may still be appended.
    #[error("the spool is full")]
    Full,
    /// Nothing was written. No segment can hold it.
    #[error("a batch of {bytes} bytes does not fit into a segment, which holds {max}")]
    TooLarge { bytes: u64, max: u64 },
    /// The disk failed. Nothing more is written by this process (RELIABILITY S12): exit and recover by a restart.
    #[error("the spool cannot be written")]
    Broken(#[source] io::Error),
    /// An earlier failure. See [`AppendError::Broken`].
    #[error("the spool failed before and takes nothing until the next start")]
    Poisoned,
}

/// Why a spool could not be opened. Nothing on the disk was changed, save for files set aside.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the spool is in use by another process")]
    InUse,
    /// Files that the log needs are gone: a wrong or partly restored directory, or a lost file. Bring them back;
    /// or accept the loss of what they held, which `spool verify` lists.
    #[error("segments are missing: {}", list(.0))]
    Missing(Vec<u64>),
    #[error("segment {segment} was written by format version {version}, which this version does not read")]
    NewerFormat { segment: u64, version: u16 },
    #[error("segment {segment} belongs to spool {found}, the others to {expected}")]
    Mixed { segment: u64, found: SpoolId, expected: SpoolId },
    /// Less room than a new segment needs. The spool holds one back for this; something else took it.
    #[error(
        "no room for the segment that recovery needs: make room on the disk of the spool, for instance by moving the files of its `quarantine` elsewhere, and start again"
    )]
    NoRoom(#[source] io::Error),
    #[error("cannot {doing}")]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
}

fn list(segments: &[u64]) -> String {
    segments.iter().map(|segment| crate::segment::name(*segment)).collect::<Vec<_>>().join(", ")
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Released, or never appended.
    #[error("the spool has no body {0}")]
    Unknown(u64),
    /// Its bytes are damaged. The segment is marked and its good records will be moved.
    #[error("body {0} is damaged")]
    Damaged(u64),
    #[error("cannot read body {id}")]
    Io {
        id: u64,
        #[source]
        source: io::Error,
    },
}

pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, OpenError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, OpenError> {
        self.map_err(|source| OpenError::Io { doing: what(), source })
    }
}
