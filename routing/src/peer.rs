//! One session with a neighbour.
//!
//! ```text
//!            Open with our federation, its identity          silence of 2 s, link down
//! Opening ───────────────────────────────────────► Up ────────────────────────────────► gone
//!    ▲  └── Open of a clone ──► Refused ──┐         │
//!    └────────── Open once alone ─────────┴─────────┘ Open of a clone
//! ```

use std::collections::BTreeMap;
use std::time::Instant;

use crate::audience::AudienceId;
use crate::flood::Flood;
use crate::interest::Assembly;
use crate::limits::{DEAD_AFTER, HELLO_INTERVAL};
use crate::{BridgeId, Run};

/// Where the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// The neighbour has not introduced itself; the link is not listed.
    Opening,
    Up(Run),
    /// R21: two bridges speak under this name; neither is listed.
    Refused(Run),
}

impl Session {
    /// A neighbour speaks for its name in the newest run of that name only. One in an older run may be a copy of a
    /// disk, while the record under its name is of the other copy and tells of other links.
    pub(crate) fn carries(self, known: Option<Run>) -> bool {
        matches!(self, Session::Up(run) if known.is_none_or(|known| known <= run))
    }
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) bridge: BridgeId,
    pub(crate) cost: u32,
    pub(crate) session: Session,
    pub(crate) flood: Flood,
    /// Snapshots on their way, one per set.
    pub(crate) assemblies: BTreeMap<(BridgeId, AudienceId), Assembly>,
    /// The neighbour's first digest has ended: what it did not name it does not have.
    pub(crate) digest_received: bool,
    pub(crate) heard_at: Instant,
    pub(crate) hello_at: Instant,
    pub(crate) digest_at: Instant,
}

impl Peer {
    pub(crate) fn new(bridge: BridgeId, cost: u32, digest_at: Instant, now: Instant) -> Peer {
        Peer {
            bridge,
            cost,
            session: Session::Opening,
            flood: Flood::default(),
            assemblies: BTreeMap::new(),
            digest_received: false,
            heard_at: now,
            hello_at: now + HELLO_INTERVAL,
            digest_at,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.session, Session::Up(_))
    }

    /// R9: may be sent what it lacks.
    pub(crate) fn is_synced(&self) -> bool {
        self.is_up() && self.digest_received
    }

    /// R2
    pub(crate) fn is_dead(&self, now: Instant) -> bool {
        self.heard_at + DEAD_AFTER <= now
    }

    pub(crate) fn next_timeout(&self) -> Instant {
        let timers = [self.heard_at + DEAD_AFTER, self.hello_at, self.digest_at];
        timers.into_iter().chain(self.flood.next_due()).min().unwrap_or(self.hello_at)
    }
}
