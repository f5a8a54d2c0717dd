//! Faults that can be switched on to prove that the simulator would notice them. Without the feature `seeded-bugs` every
//! question is answered `false` at compile time.

/// One way to break a promise of delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    ReceiptBeforeFlush,
    FrameBeforeFlush,
    PrevTooLow,
    FenceSkipped,
    SpoolIdIgnored,
    NonceLeftOut,
    OutcomeCursorEarly,
    CreditIgnored,
    ProducerForgotten,
    NotResent,
    GroupRechosenInDoubt,
    ReturnUntold,
    KeptSaidEarly,
    NumbersUsedTwice,
}

#[cfg(feature = "seeded-bugs")]
impl Bug {
    pub const ALL: [Bug; 14] = [
        Bug::ReceiptBeforeFlush,
        Bug::FrameBeforeFlush,
        Bug::PrevTooLow,
        Bug::FenceSkipped,
        Bug::SpoolIdIgnored,
        Bug::NonceLeftOut,
        Bug::OutcomeCursorEarly,
        Bug::CreditIgnored,
        Bug::ProducerForgotten,
        Bug::NotResent,
        Bug::GroupRechosenInDoubt,
        Bug::ReturnUntold,
        Bug::KeptSaidEarly,
        Bug::NumbersUsedTwice,
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
