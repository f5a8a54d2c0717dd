//! The stream of outcomes between a destination and an origin, and what their numbers mean after a restart (D11, M25).
//!
//! ```text
//!  destination                                      origin
//!  starts ──────────── exchange ─────────────────►  what it has noted of earlier processes becomes durable
//!  everything still here is numbered above it ◄──── outcomes known, for this process
//!              ─────── receipts with outcomes ───►  noted
//!                                               ◄── outcomes known
//! ```
//!
//! A disk that is an older copy of itself gives numbers that it has given before. So nothing is told before the origin
//! has said, to this process, up to which number others were told; until it can say so it says nothing.

use std::time::Instant;

use bytes::Bytes;
use meshbridge_routing::BridgeId;

use super::{Action, Core, Waiting};
use crate::bugs::{Bug, bug};
use crate::message::{Message, Receipt};
use crate::record::{Outcome, Record};

impl Core {
    /// As an origin: notes what a receipt says of outcomes.
    pub(super) fn note_outcomes(&mut self, from: &BridgeId, receipt: Receipt, now: Instant) {
        let Receipt { speaker, base, first, endings, .. } = receipt;
        let Some(destination) = self.state.destinations.get(from) else { return };
        let known = destination.outcomes_known;
        let Some(last) = first.checked_add(endings.len() as u64).and_then(|next| next.checked_sub(1)) else {
            return;
        };
        // What lies before `base` was noted by us once, on a disk that remembered more: which events those were must be
        // known before they are passed over, and also where nothing comes behind them.
        if base > known + 1
            && let Some(peer) = self.peers.get_mut(from).filter(|peer| !peer.may_skip_outcomes)
        {
            peer.ask_at.get_or_insert(now);
            return;
        }
        if endings.is_empty() || first > known + 1 && first != base {
            return;
        }
        if last > known {
            if let Some(peer) = self.peers.get_mut(from) {
                let new = (first..).zip(&endings).filter(|(number, _)| *number > known);
                peer.sender.delivered.note(new.map(|(_, ending)| ending));
            }
            self.write(Record::Outcomes { from: from.clone(), first, endings }, Bytes::new());
            if bug(Bug::OutcomeCursorEarly) {
                self.on_outcomes_noted(from, speaker.spool, last);
            }
            self.then(Waiting::Noted { destination: from.clone(), spool: speaker.spool, upto: last });
        } else if self.peers.get(from).is_some_and(|peer| last <= peer.sender.outcomes_noted) {
            self.tell_outcomes_known(from);
        }
    }

    /// As an origin: outcomes that the destination told from this disk are noted durably.
    pub(super) fn on_outcomes_noted(&mut self, destination: &BridgeId, spool: u128, upto: u64) {
        let known = self.state.destinations.get(destination).and_then(|destination| destination.peer);
        if known.is_none_or(|(known, _)| known != spool) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(destination) {
            peer.sender.outcomes_noted = peer.sender.outcomes_noted.max(upto);
        }
        self.tell_outcomes_known(destination);
    }

    pub(super) fn tell_outcomes_known(&mut self, destination: &BridgeId) {
        let Some(peer) = self.peers.get(destination) else { return };
        let Some(listener) = peer.session else { return };
        let upto = peer.sender.outcomes_noted;
        if upto < peer.sender.outcomes_before {
            // It would number its outcomes from here, although the next ones are taken.
            return;
        }
        let message = Message::OutcomesKnown { speaker: self.own, listener, upto };
        self.actions.push_back(Action::Message { to: destination.clone(), message });
    }

    /// As a destination: the origin has noted outcomes up to this number, and this process is told so.
    pub(super) fn on_outcomes_known(&mut self, origin: &BridgeId, upto: u64, now: Instant) {
        let Some(peer) = self.peers.get_mut(origin) else { return };
        if peer.lanes.outcomes_agreed {
            return self.forget_outcomes_known(origin, upto, now);
        }
        let Some(source) = self.state.sources.get(origin) else { return };
        peer.lanes.agree_on_outcomes(now);
        let before = source.outcomes_from.max(1);
        if before <= upto {
            // M25: under the numbers of those that are still here it may have noted others, told by a process whose
            // records this disk has lost. An outcome that it has heard before changes nothing.
            let from = upto.saturating_add(1);
            peer.lanes.tell_from(from);
            self.write(Record::OutcomesAnew { by: origin.clone(), before, from }, Bytes::new());
            self.outcome_added(origin);
        }
    }

    /// As a destination: what the origin has noted need not be kept.
    pub(super) fn forget_outcomes_known(&mut self, origin: &BridgeId, upto: u64, now: Instant) {
        let agreed = self.peers.get(origin).is_some_and(|peer| peer.lanes.outcomes_agreed);
        let Some(source) = self.state.sources.get(origin).filter(|_| agreed) else { return };
        if source.outcomes.is_empty() || source.outcomes_from > upto {
            return;
        }
        if let Some(peer) = self.peers.get_mut(origin) {
            peer.lanes.delivered.note(source.outcomes_upto(upto));
        }
        let noted = source.outcomes_upto(upto);
        let kept = noted.filter(|ending| matches!(ending.outcome, Outcome::Kept(_)));
        let kept: Vec<_> = kept.map(|ending| ((ending.run, ending.lane), ending.seq)).collect();
        self.write(Record::OutcomesKnown { by: origin.clone(), upto }, Bytes::new());
        if let Some(peer) = self.peers.get_mut(origin) {
            peer.lanes.outcomes_answered(upto.saturating_add(1), now);
            peer.lanes.say_kept(&kept, now);
        }
    }
}
