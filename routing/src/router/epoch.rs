//! Runs: hearing of oneself, and two bridges under one name (R20, R21).

use std::time::Instant;

use super::{ProtocolViolation, Router, RouterEvent};
use crate::interest::OwnerSets;
use crate::limits::{CLONE_SILENCE, DEAD_AFTER, EPOCH_MAX};
use crate::peer::{Peer, Session};
use crate::wire::Message;
use crate::{BridgeId, LinkId, Run, ZoneName};

impl Router {
    /// The introduction of a neighbour, judged against what is known of its name.
    pub(super) fn on_open(
        &mut self,
        link: LinkId,
        claimed: (String, BridgeId, ZoneName),
        run: Run,
        now: Instant,
    ) -> Result<(), ProtocolViolation> {
        let (federation, bridge, zone) = claimed;
        let Some(peer) = self.peers.get(&link) else { return Ok(()) };
        // R3
        if federation != self.federation {
            return Err(ProtocolViolation::WrongFederation);
        }
        if bridge != peer.bridge || self.members.get(&bridge) != Some(&zone) {
            return Err(ProtocolViolation::WrongIdentity(bridge));
        }
        if run.epoch > EPOCH_MAX {
            return Err(ProtocolViolation::EpochTooHigh(run.epoch));
        }
        let known = self.known_run(&bridge);
        if let Some(known) = known.filter(|known| run.is_clone_of(known)) {
            self.on_clone(link, bridge, [known, run], now);
            return Ok(());
        }
        if self.clones.get(&bridge).is_some_and(|until| now < *until) {
            self.spoke.insert(bridge, now);
            self.change_session(link, Session::Refused(run), now);
            return Ok(());
        }
        self.clones.remove(&bridge);
        if known.is_none_or(|known| known <= run) {
            self.spoke.insert(bridge, now);
        }
        let was = peer_session(self, link);
        self.change_session(link, Session::Up(run), now);
        if was != Some(Session::Up(run)) {
            self.send_digest(link);
        }
        Ok(())
    }

    /// The newest run a bridge has signed something in.
    pub(super) fn known_run(&self, bridge: &BridgeId) -> Option<Run> {
        let record = self.topology.get(bridge).map(|held| held.record.run);
        record.max(self.interest.get(bridge).and_then(OwnerSets::run))
    }

    /// R21: `runs` are the one we know and the newcomer's.
    pub(super) fn on_clone(&mut self, link: LinkId, bridge: BridgeId, runs: [Run; 2], now: Instant) {
        let silent = self.spoke.get(&bridge).is_none_or(|spoke| *spoke + CLONE_SILENCE <= now);
        self.change_session(link, Session::Refused(runs[1]), now);
        if silent {
            self.send(link, &Message::Jump { above: runs[0].epoch });
            return;
        }
        let news = self.clones.insert(bridge.clone(), now + DEAD_AFTER).is_none();
        if news {
            self.events.push_back(RouterEvent::CloneDetected { bridge: bridge.clone(), runs });
        }
        let both: Vec<LinkId> = self
            .peers
            .iter()
            .filter(|(_, p)| p.bridge == bridge && p.is_up())
            .map(|(link, _)| *link)
            .collect();
        for link in both {
            self.change_session(link, Session::Refused(runs[0]), now);
        }
    }

    pub(super) fn change_session(&mut self, link: LinkId, session: Session, now: Instant) {
        let Some(peer) = self.peers.get_mut(&link) else { return };
        let was = std::mem::replace(&mut peer.session, session);
        let known = self.known_run(&self.peers[&link].bridge);
        if was.carries(known) != session.carries(known) {
            self.forwarding_changed = true;
            self.originate_soon(now);
        }
    }

    /// A bridge that is a neighbour has signed something in another run than `before`, the newest until now.
    pub(super) fn on_run_known(&mut self, bridge: &BridgeId, before: Option<Run>, now: Instant) {
        let known = self.known_run(bridge);
        let sessions = self.peers.values().filter(|peer| peer.bridge == *bridge).map(|peer| peer.session);
        if known != before && sessions.into_iter().any(|s| s.carries(before) != s.carries(known)) {
            self.forwarding_changed = true;
            self.originate_soon(now);
        }
    }

    pub(super) fn carrying(&self) -> usize {
        self.peers.values().filter(|peer| self.carries(peer)).count()
    }

    /// Whether a neighbour is listed and takes frames.
    pub(super) fn carries(&self, peer: &Peer) -> bool {
        peer.session.carries(self.known_run(&peer.bridge))
    }

    /// A neighbour holds a record of another run in our epoch whose owner has long been silent.
    pub(super) fn on_jump(&mut self, above: u64, now: Instant) {
        // Exactly our epoch: nobody can make us count further than we would by ourselves.
        if above == self.run.epoch {
            self.raise_epoch(above, now);
        }
    }

    /// Something signed by us that is newer than what we know of: we ran before, and have forgotten it. A boot that
    /// answers our jump with its own is no memory but a living copy: the two of us would count up against each other
    /// without end, so we answer once in the time that R21 gives a silent bridge.
    pub(super) fn on_own_heard(&mut self, run: Run, now: Instant) {
        let answered = |(nonce, at): (u64, Instant)| nonce == run.nonce && now < at + CLONE_SILENCE;
        if run.is_clone_of(&self.run) || self.jumped_over.is_some_and(answered) {
            let runs = [self.run, run];
            let event = RouterEvent::CloneDetected { bridge: self.id.clone(), runs };
            if !self.events.contains(&event) {
                self.events.push_back(event);
            }
        } else {
            self.jumped_over = Some((run.nonce, now));
            self.raise_epoch(run.epoch, now);
        }
    }

    /// Something of this run is in doubt, which its owner knows from elsewhere: starts over in one that nobody has been in.
    pub fn begin_run(&mut self, nonce: u64, now: Instant) {
        if self.run.epoch < EPOCH_MAX {
            self.run.nonce = nonce;
            self.raise_epoch(self.run.epoch, now);
        }
    }

    /// R20: starts over above `epoch`.
    fn raise_epoch(&mut self, epoch: u64, now: Instant) {
        if epoch >= EPOCH_MAX {
            return;
        }
        self.run.epoch = epoch + 1;
        self.events.push_back(RouterEvent::EpochRaised(self.run.epoch));
        self.seq = 0;
        self.interest.remove(&self.id);
        self.version_floor = 0;
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        links.into_iter().for_each(|link| self.send_open(link));
        self.originate(now);
        self.flush_interest(now);
    }
}

fn peer_session(router: &Router, link: LinkId) -> Option<Session> {
    router.peers.get(&link).map(|peer| peer.session)
}
