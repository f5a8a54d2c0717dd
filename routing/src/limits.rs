//! Every number that bounds the protocol. Times are those of R2, R8, R14 and R15.

use std::time::Duration;

/// What an operator may lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Filters of one owner. Full: `subscribe` is refused; a peer's set beyond it is not taken.
    pub filters_per_owner_max: usize,
    /// Filters of all owners together, with the same answers.
    pub filters_total_max: usize,
    /// Sessions with neighbours. Full: a further link is refused.
    pub links_max: usize,
    /// Audiences among which one owner divides what it wants. Full: `subscribe` is refused; after a change of policies
    /// what does not fit is told to its own zone only.
    pub audiences_per_owner_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            filters_per_owner_max: 100_000,
            filters_total_max: 2_000_000,
            links_max: 64,
            audiences_per_owner_max: 64,
        }
    }
}

/// R2: how often a session speaks, and how much silence ends it.
pub(crate) const HELLO_INTERVAL: Duration = Duration::from_millis(500);
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(2);
/// R8: first repetition of what a neighbour has not acknowledged; doubles up to the second.
pub(crate) const RETRANSMIT_MIN: Duration = Duration::from_millis(400);
pub(crate) const RETRANSMIT_MAX: Duration = Duration::from_millis(6_400);
/// R9: digests are repeated, so that no lost message is lost for good.
pub(crate) const DIGEST_INTERVAL: Duration = Duration::from_secs(5);
/// R5: a flapping link changes the own record at most this often.
pub(crate) const ORIGINATE_INTERVAL: Duration = Duration::from_millis(20);
/// R42: how long it is remembered where events went, at least. Longer than links are held back one after the other while
/// somebody looks for what is wrong with them; what a class was used for yesterday is to hold nobody from damping.
pub(crate) const DEMAND_KEPT: Duration = Duration::from_secs(3_600);
/// R14: additions after the first one wait this long for company.
pub(crate) const COALESCE: Duration = Duration::from_millis(1);
/// R15: a filter without subscribers stays this long, and up to the jitter longer.
pub(crate) const LINGER: Duration = Duration::from_millis(100);
pub(crate) const LINGER_JITTER_MS: u64 = 50;
/// R40: a filter stays this long with those that are told of it no more, so that the set in which it is now is there
/// first, also where its first message was lost (R8).
pub(crate) const MOVED_LINGER: Duration = Duration::from_millis(500);
/// R41: sets of one owner that are kept, those included that tell of an end. Full: the oldest of the latter goes, or
/// where there is none the new set is not taken. Twice what an owner may use, for what it used before.
pub(crate) const SETS_PER_OWNER_MAX: usize = 128;
/// Things that a neighbour is remembered to hold while we do not.
pub(crate) const NAMES_PER_PEER_MAX: usize = 65_536;
/// R22: restored interest waits this long for its subscribers.
pub(crate) const RESTORED_LINGER: Duration = Duration::from_secs(60);
/// R21: silence after which a bridge of the same epoch may take the name over.
pub(crate) const CLONE_SILENCE: Duration = Duration::from_secs(30);
/// R23: interest that its owner has not renewed ends.
pub(crate) const INTEREST_LEASE: Duration = Duration::from_secs(30 * 24 * 3600);
/// R23: an owner renews what it has not changed. Half of the lease, so that a bridge may be cut off for the other half.
pub(crate) const INTEREST_RENEWAL: Duration = Duration::from_secs(15 * 24 * 3600);
/// R20: nobody counts that far; who claims to is lying or broken.
pub(crate) const EPOCH_MAX: u64 = 1 << 48;
/// Changes kept per set to answer with deltas, beside half as many as the set has entries; beyond them a snapshot is sent.
pub(crate) const HISTORY_CHANGES_MIN: usize = 10_000;
pub(crate) const HISTORY_VERSIONS_MAX: usize = 1_024;
/// What is put by of a set and the steps after it, before everything is anew, at least: a small set does not need a small
/// file.
pub(crate) const KEPT_BYTES_MIN: usize = 256 << 10;
/// Links a record lists, and its encoded size.
pub(crate) const RECORD_LINKS_MAX: usize = 64;
pub(crate) const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Bridges of a federation, and so destinations of a frame.
pub(crate) const BRIDGES_MAX: usize = 4_096;
