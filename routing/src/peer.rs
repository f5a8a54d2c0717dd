//! One neighbour: greeting, hellos, and what it has yet to confirm.
//!
//! | state | `Open` from the peer | anything else | two seconds of silence |
//! |---|---|---|---|
//! | Greeting | → Up; digests are sent | passed over; a hello is answered with our `Open` where it asks | dead |
//! | Up | passed over | handled | dead |
//!
//! A dead link stays dead: the driver makes a new session with a new id.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::ids::{BridgeId, LinkId};
use crate::wire::control::Digest;

/// R2
pub(crate) const HELLO_EVERY: Duration = Duration::from_millis(500);
/// R3
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(2);
/// R7: until the first repetition; links are reliable, so this is for a peer that forgot.
pub(crate) const RESEND_AFTER: Duration = Duration::from_secs(1);
/// R8: digest vectors to one peer, at most this often.
pub(crate) const DIGESTS_EVERY: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Greeting,
    Up,
}

/// A live link as the core sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) link: LinkId,
    pub(crate) bridge: BridgeId,
    pub(crate) cost: u32,
    pub(crate) state: State,
    pub(crate) heard_at: Instant,
    pub(crate) hello_at: Instant,
    /// The last two summaries that did not agree with ours; one alone may be a message that crossed another.
    pub(crate) disagreed: bool,
    digests_at: Option<Instant>,
    /// Records the peer has not confirmed, and when each is sent again.
    unacknowledged: BTreeMap<BridgeId, (Digest, Instant)>,
}

impl Peer {
    pub(crate) fn new(link: LinkId, bridge: BridgeId, cost: u32, now: Instant) -> Peer {
        Peer {
            link,
            bridge,
            cost,
            state: State::Greeting,
            heard_at: now,
            hello_at: now,
            disagreed: false,
            digests_at: None,
            unacknowledged: BTreeMap::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(crate) fn dead_at(&self) -> Instant {
        self.heard_at + DEAD_AFTER
    }

    /// Whether a digest vector may be sent now; says so once.
    pub(crate) fn take_digests_turn(&mut self, now: Instant) -> bool {
        let ready = self.digests_at.is_none_or(|at| now.duration_since(at) >= DIGESTS_EVERY);
        if ready {
            self.digests_at = Some(now);
        }
        ready
    }

    pub(crate) fn on_record_sent(&mut self, digest: Digest, now: Instant) {
        self.unacknowledged.insert(digest.bridge.clone(), (digest, now + RESEND_AFTER));
    }

    pub(crate) fn on_ack(&mut self, acknowledged: &Digest) {
        let confirmed = |(sent, _): &(Digest, Instant)| {
            sent.run == acknowledged.run && sent.number <= acknowledged.number
                || sent.run.epoch < acknowledged.run.epoch
        };
        if self.unacknowledged.get(&acknowledged.bridge).is_some_and(confirmed) {
            self.unacknowledged.remove(&acknowledged.bridge);
        }
    }

    /// Bridges whose records are due to be sent again.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<BridgeId> {
        let due: Vec<BridgeId> = self
            .unacknowledged
            .iter()
            .filter(|(_, (_, resend_at))| *resend_at <= now)
            .map(|(bridge, _)| bridge.clone())
            .collect();
        for bridge in &due {
            self.unacknowledged.remove(bridge);
        }
        due
    }

    pub(crate) fn next_timeout(&self) -> Instant {
        let resend = self.unacknowledged.values().map(|(_, resend_at)| *resend_at).min();
        let base = self.hello_at.min(self.dead_at());
        resend.map_or(base, |resend| resend.min(base))
    }
}
