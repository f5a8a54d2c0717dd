//! Draining and removing another bridge as a destination of this one's events (RELIABILITY D2, M39).
//!
//! ```text
//!            drain                    remove                         interest of a later run
//!  member ─────────► draining ──────────────────► removed ──────────────────────────────────► member, afresh
//!     ▲  ◄───────────   │  ▲                        │ pairs end `dead-lettered(destination-removed)`, in pieces;
//!     │       undo      │  └── a restart changes     │ what is left of a piecework is ended after a restart
//!     └── remove ───────┘     nothing here           ▼ payloads are dead letters of this bridge
//! ```
//!
//! A removed bridge is not forgotten as an origin: what it sent is delivered, and it is told how its events ended.

use std::time::Instant;

use bytes::Bytes;
use meshbridge_routing::{BridgeId, KeptInterest, Run};

use super::Core;
use crate::message::Message;
use crate::record::membership::{GonePair, LeftOut, MembershipRecord, PAIRS_MAX, Standing};
use crate::record::{Outcome, Record, cut};

/// What the removal of a bridge ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    /// Not on the bridge's disk, as far as is known; the payload is kept.
    pub unsettled: u64,
    /// Of these, the ones that may have been sent.
    pub in_doubt: u64,
    /// On its disk, and how they end there is not known.
    pub stored: u64,
}

impl Removal {
    pub fn pending(&self) -> u64 {
        self.unsettled + self.stored
    }
}

/// What came from bridges after their pairs had ended here; it changed nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LateNews {
    pub receipts: u64,
    pub outcomes: u64,
}

impl Core {
    /// New events leave the bridge out from now on, or take it in again. `false` where it is removed.
    pub fn drain_bridge(&mut self, bridge: &BridgeId, draining: bool) -> bool {
        let standing = draining.then_some(Standing::Draining);
        match self.state.membership.standing(bridge) {
            Some(Standing::Removed { .. }) => return false,
            now if now == standing => {}
            _ => self.write_membership(MembershipRecord::Standing { bridge: bridge.clone(), standing }),
        }
        true
    }

    /// What is pending with a bridge.
    pub fn pending_with(&self, bridge: &BridgeId) -> Removal {
        let Some(destination) = self.state.destinations.get(bridge) else { return Removal::default() };
        let bodies = destination.lanes.values().flat_map(|lane| lane.values().map(|pending| pending.body));
        let in_doubt = bodies.filter(|body| self.may_have_left(*body, bridge)).count() as u64;
        let unsettled = destination.unsettled();
        Removal { unsettled, in_doubt, stored: destination.open() - unsettled }
    }

    /// Sent in this run, or of an earlier run, of which nobody knows (D7). What is for this bridge itself never leaves.
    pub(super) fn may_have_left(&self, body: u64, bridge: &BridgeId) -> bool {
        let touched = || self.peers.get(bridge).is_some_and(|peer| peer.sender.touched.contains(body));
        let of_before = body < self.first_body && !self.never_sent.contains(body);
        *bridge != self.state.own && (of_before || touched())
    }

    /// The bridge is no destination any more. `heard` is the run of the interest that routing has of it. To be followed
    /// by [`Core::end_removed`] until nothing is left.
    pub fn remove_bridge(&mut self, bridge: &BridgeId, heard: Option<Run>) {
        let known = self.state.destinations.get(bridge).and_then(|destination| destination.peer);
        let run = heard.max(known.map(|(_, run)| run));
        let standing = Some(Standing::Removed { run });
        self.write_membership(MembershipRecord::Standing { bridge: bridge.clone(), standing });
        // If it comes back, the first number that is for it follows nothing.
        self.last_for.remove(bridge);
    }

    /// Ends some of the pairs with a removed bridge, and gives how many are left.
    pub fn end_removed(&mut self, bridge: &BridgeId) -> u64 {
        let removed = matches!(self.state.membership.standing(bridge), Some(Standing::Removed { .. }));
        let Some(destination) = self.state.destinations.get(bridge).filter(|_| removed) else { return 0 };
        let open = destination.open();
        if open == 0 {
            return 0;
        }
        let unsettled = destination.lanes.iter().flat_map(|((run, lane), numbers)| {
            numbers.iter().map(move |(seq, pending)| (*run, *lane, *seq, Some(pending.body)))
        });
        let stored = destination
            .awaiting
            .iter()
            .flat_map(|((run, lane), set)| set.iter().map(move |seq| (*run, *lane, seq, None)));
        let pairs = unsettled.chain(stored).take(PAIRS_MAX).map(|(run, lane, seq, body)| {
            // What it said it had stored it certainly has.
            let in_doubt = body.is_none_or(|body| self.may_have_left(body, bridge));
            GonePair { run, lane, seq, in_doubt }
        });
        let pairs: Vec<GonePair> = pairs.collect();
        let left = open - pairs.len() as u64;
        self.write_membership(MembershipRecord::Gone { bridge: bridge.clone(), pairs });
        left
    }

    /// Goes on with removals that a restart has interrupted.
    pub fn finish_removals(&mut self) {
        let removed = |(bridge, standing): (&BridgeId, Standing)| {
            matches!(standing, Standing::Removed { .. }).then(|| bridge.clone())
        };
        let removed: Vec<BridgeId> = self.state.membership.standings().filter_map(removed).collect();
        for bridge in removed {
            self.end_removed(&bridge);
        }
    }

    /// Routing has interest of a bridge, said in this run; none where it ended. Interest that a removed bridge had said
    /// before is not taken up again: a neighbour that has not removed it may still tell it.
    pub fn heard_interest(&mut self, owner: BridgeId, run: Option<Run>, heard: KeptInterest) {
        if let Some(Standing::Removed { run: former }) = self.state.membership.standing(&owner) {
            if run.is_none_or(|run| former.is_some_and(|former| run <= former)) {
                return;
            }
            while self.end_removed(&owner) > 0 {}
            self.write_membership(MembershipRecord::Standing { bridge: owner.clone(), standing: None });
        }
        match heard {
            KeptInterest::Whole(messages) => self.remember_interest(owner, messages),
            KeptInterest::More(messages) => self.remember_more_interest(owner, messages),
        }
    }

    /// The event with this body was not for a bridge that wants it.
    pub fn leave_out(&mut self, body: u64, bridge: BridgeId, reason: LeftOut) {
        self.write_membership(MembershipRecord::LeftOut { body, bridge, reason });
    }

    /// A rule makes a dead letter of the pair: it ends so, and the event is kept here until somebody purges it or
    /// publishes it again. Where the destination may have it, that decides, and says how the pair ended.
    pub fn dead_letter(&mut self, body: u64, destination: &BridgeId, reason: &str, now: Instant) {
        let in_doubt = self.may_have_left(body, destination);
        self.keep_letter(body, destination, reason, in_doubt);
        self.end_pair(body, destination, Outcome::DeadLettered(reason.into()), now);
    }

    /// As [`Core::dead_letter`], of a frame that was handed out and not sent after all.
    pub fn not_sent_dead(&mut self, body: u64, destination: &BridgeId, reason: &str, now: Instant) {
        self.take_back(body, destination);
        self.dead_letter(body, destination, reason, now);
        self.pump(vec![destination.clone()], now);
    }

    fn keep_letter(&mut self, body: u64, bridge: &BridgeId, reason: &str, in_doubt: bool) {
        let (bridge, reason) = (bridge.clone(), cut(reason).into());
        self.write_membership(MembershipRecord::Letter { body, bridge, in_doubt, reason });
    }

    /// A dead letter of this bridge as an origin is no more. `false` when there is none.
    pub fn end_letter(&mut self, body: u64, bridge: &BridgeId) -> bool {
        let there = self.state.membership.has_letter(body, bridge);
        if there {
            self.write_membership(MembershipRecord::LetterGone { body, bridge: bridge.clone() });
        }
        there
    }

    /// Whether the bridge can be reached at this time, for those who must know for how long it could not.
    pub fn note_reach(&mut self, bridge: &BridgeId, reachable: bool, wall: u64) {
        let since = self.state.membership.unreachable_since(bridge);
        let removed = matches!(self.state.membership.standing(bridge), Some(Standing::Removed { .. }));
        if removed || since.is_none() == reachable {
            return;
        }
        let since = if reachable { 0 } else { wall.max(1) };
        self.write_membership(MembershipRecord::Reach { bridge: bridge.clone(), since });
    }

    /// Since the last call.
    pub fn take_late_news(&mut self) -> LateNews {
        std::mem::take(&mut self.late)
    }

    /// Counts what a message says of pairs that have ended here otherwise.
    pub(super) fn count_late(&mut self, from: &BridgeId, message: &Message) {
        let Message::Receipt(receipt) = message else { return };
        let Some(destination) = self.state.destinations.get(from) else { return };
        let removed = matches!(self.state.membership.standing(from), Some(Standing::Removed { .. }));
        self.late.receipts += u64::from(removed && !receipt.lanes.is_empty());
        let new = (receipt.first..).zip(&receipt.endings).filter(|(n, _)| *n > destination.outcomes_known);
        let ended_otherwise = new.filter(|(_, ending)| {
            let awaiting = destination.awaiting.get(&(ending.run, ending.lane));
            ending.seq > 0
                && destination.pending(ending.run, ending.lane, ending.seq).is_none()
                && !awaiting.is_some_and(|set| set.contains(ending.seq))
        });
        self.late.outcomes += ended_otherwise.count() as u64;
    }

    fn write_membership(&mut self, record: MembershipRecord) {
        self.write(Record::Membership(record), Bytes::new());
    }
}
