//! Faults that can be switched on to prove that the crash rig would notice them (RELIABILITY §4, "seeded bugs").
//! Without the feature `seeded-bugs` every question is answered `false` at compile time.

/// One way to break a promise of the log.
#[cfg_attr(
    not(feature = "seeded-bugs"),
    expect(dead_code, reason = "some belong to the owner of the log, which is a test")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    NoDataSync,
    AcknowledgeBeforeSync,
    NoDirectorySync,
    ContinueBeforeDurable,
    UnlinkBeforeRetire,
    RecoveryTrustsTail,
    RecoveryAppendsToOldSegment,
    DurableUptoIgnored,
    DurableUptoTooHigh,
    PartialPageRewritten,
    /// Of the owner of the log, who must put both into one batch.
    KeyAndEventApart,
    ConstantSalt,
    ChainNotChecked,
    FailedSyncRetried,
    ReserveUsedForEvents,
    EpochNotRaised,
    NonceReused,
    NoSeal,
    MissingSegmentSkipped,
    /// Of the owner of the log, whose checkpoint must hold them.
    ProducersNotCarried,
}

#[cfg(feature = "seeded-bugs")]
impl Bug {
    pub const ALL: [Bug; 20] = [
        Bug::NoDataSync,
        Bug::AcknowledgeBeforeSync,
        Bug::NoDirectorySync,
        Bug::ContinueBeforeDurable,
        Bug::UnlinkBeforeRetire,
        Bug::RecoveryTrustsTail,
        Bug::RecoveryAppendsToOldSegment,
        Bug::DurableUptoIgnored,
        Bug::DurableUptoTooHigh,
        Bug::PartialPageRewritten,
        Bug::KeyAndEventApart,
        Bug::ConstantSalt,
        Bug::ChainNotChecked,
        Bug::FailedSyncRetried,
        Bug::ReserveUsedForEvents,
        Bug::EpochNotRaised,
        Bug::NonceReused,
        Bug::NoSeal,
        Bug::MissingSegmentSkipped,
        Bug::ProducersNotCarried,
    ];
}

#[cfg(feature = "seeded-bugs")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Switches one bug on for this thread, or all off.
    pub fn seed_bug(bug: Option<Bug>) {
        ACTIVE.with(|active| active.set(bug));
    }

    /// Is this bug switched on?
    pub fn bug(which: Bug) -> bool {
        ACTIVE.with(|active| active.get() == Some(which))
    }
}

#[cfg(feature = "seeded-bugs")]
pub use switch::{bug, seed_bug};

#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub(crate) const fn bug(_which: Bug) -> bool {
    false
}
