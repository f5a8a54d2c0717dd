//! The durable log of a bridge.
//!
//! One directory holds one log: segments of preallocated space, batches of records that are there whole or not at
//! all, one `fdatasync` a commit. The log tells a write that a power cut tore from a record that rotted after it
//! had been durable; it never cuts silently, and never unlinks what it has not retired by a durable record.
//! RELIABILITY §4 has its rules, S1 to S15, which code and tests cite.
//!
//! Two kinds of records belong to the owner: *state* records, replayed at the next start until a checkpoint takes
//! their place, and *bodies*, which moreover can be read back by id until they are released. What a record means
//! is the owner's business.
//!
//! [`verify`] and [`export`] only read, also what [`Log::open`] refuses.
//!
//! Start reading at [`Log::append`], then [`format`] for the bytes and [`Log::open`] for what a start does. All
//! file access goes through [`vfs::Vfs`]; the crash rig in `tests/rig` runs the log on [`vfs::SimVfs`].

mod bugs;
mod entry;
mod error;
mod export;
mod fail_points;
pub mod format;
mod index;
mod log;
mod recovery;
mod segment;
mod survey;
mod verify;
pub mod vfs;

#[cfg(feature = "seeded-bugs")]
pub use bugs::{Bug, bug, seed_bug};
pub use error::{AppendError, OpenError, ReadError};
pub use export::{
    ExportDone, ExportError, ExportOptions, Exported, LostCause, LostRange, Record, RecordPlace, export,
};
#[cfg(feature = "fail-points")]
pub use fail_points::fail_point;
pub use format::{Lsn, Run, SpoolId};
pub use index::BodyReader;
pub use log::{Append, Appended, Class, Entropy, Log, Maintained, Options, RESERVE_SEGMENTS, Scrubbed};
pub use recovery::{Recovered, Replay};
pub use segment::{Spare, SpareJob};
pub use survey::{Damage, Hole, HoleKind};
pub use verify::{Report, SegmentReport, SegmentState, Verdict, verify};
