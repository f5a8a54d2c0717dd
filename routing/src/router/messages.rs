//! What a neighbour says, one message at a time.

use std::time::Instant;

use super::{ProtocolViolation, Router};
use crate::flood::{Item, Stamp};
use crate::interest::{Assembly, InterestSet, OwnerSets};
use crate::limits::{EPOCH_MAX, INTEREST_LEASE, SETS_PER_OWNER_MAX};
use crate::peer::Session;
use crate::topology::Held;
use crate::wire::{Delta, Head, Message, SnapshotChunk};
use crate::{BridgeId, LinkId, LinkState, Refusal, Verified};

impl Router {
    pub(super) fn on_message(
        &mut self,
        link: LinkId,
        message: Message,
        now: Instant,
    ) -> Result<(), ProtocolViolation> {
        let Some(peer) = self.peers.get(&link) else { return Ok(()) };
        match (peer.session, message) {
            (_, Message::Open { federation, bridge, zone, run }) => {
                return self.on_open(link, (federation, bridge, zone), run, now);
            }
            (_, Message::Hello { open_received, digest_received }) => {
                self.on_hello(link, open_received, digest_received, now);
            }
            (_, Message::Jump { above }) => self.on_jump(above, now),
            // R3: before the introduction nothing else counts; it will be sent again.
            (Session::Opening | Session::Refused(_), _) => {}
            (Session::Up(_), Message::LinkState(record)) => self.on_link_state(link, record, now),
            (Session::Up(_), Message::Ack { item, stamp }) => self.on_holds(link, item, stamp, now),
            (Session::Up(_), Message::Digest { entries, last }) => self.on_digest(link, entries, last, now),
            (Session::Up(_), Message::Pull { owner, audience, have }) => {
                self.on_pull(link, Item::Interest(owner, audience), have, now);
            }
            (Session::Up(_), Message::Delta(delta)) => self.on_delta(link, delta, now),
            (Session::Up(_), Message::Snapshot(chunk)) => self.on_snapshot(link, chunk, now),
        }
        Ok(())
    }

    fn on_hello(&mut self, link: LinkId, open_received: bool, digest_received: bool, now: Instant) {
        let Some(peer) = self.peers.get(&link) else { return };
        if let Session::Up(run) | Session::Refused(run) = peer.session {
            let bridge = peer.bridge.clone();
            match self.known_run(&bridge) {
                // The record of another bridge of this name arrived after the introduction.
                Some(known) if run.is_clone_of(&known) => self.on_clone(link, bridge, [known, run], now),
                Some(known) if known != run => {}
                _ => {
                    self.spoke.insert(bridge, now);
                }
            }
        }
        let up = self.peers.get(&link).is_some_and(|peer| peer.is_up());
        if !open_received {
            self.send_open(link);
        } else if !digest_received && up {
            self.send_digest(link);
        }
    }

    fn on_holds(&mut self, link: LinkId, item: Item, stamp: Stamp, now: Instant) {
        let ours = self.stamp_of(&item);
        // Names that the federation does not list are not remembered.
        if ours.is_none() && !self.members.contains_key(item_owner(&item)) || !self.may_share(link, &item) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&link)
            && (ours.is_some() || peer.flood.has_room_for(&item))
        {
            peer.flood.on_holds(item, stamp, ours, now);
        }
    }

    fn on_digest(&mut self, link: LinkId, entries: Vec<(Item, Stamp)>, last: bool, now: Instant) {
        for (item, stamp) in entries {
            self.on_holds(link, item, stamp, now);
        }
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.digest_received |= last;
        if last {
            self.push_all(link, now);
        }
    }

    fn on_pull(&mut self, link: LinkId, item: Item, have: Option<Stamp>, now: Instant) {
        // Who may not have it hears nothing, as if there were nothing.
        if self.stamp_of(&item).is_none() || !self.may_share(link, &item) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&link).filter(|peer| peer.is_synced()) {
            peer.flood.on_lacks(item.clone(), have);
            self.push(link, &item, false, now);
        }
    }

    fn on_link_state(&mut self, link: LinkId, record: LinkState, now: Instant) {
        let item = Item::LinkState(record.bridge.clone());
        let stamp = record.stamp();
        if self.is_known(link, &item, stamp, now) {
            return;
        }
        let verified = match self.judge_record(&record, now) {
            Ok(verified) => verified,
            Err(why) => return self.refuse(link, why),
        };
        if record.bridge == self.id {
            return self.on_own_heard(record.run, now);
        }
        let bridge = record.bridge.clone();
        let before = self.known_run(&bridge);
        self.spoke.insert(bridge.clone(), now);
        self.forwarding_changed |= self.topology.get(&bridge).is_none_or(|held| held.record.run != stamp.run);
        self.topology.insert(Held::new(record, Some(verified.not_after)));
        self.on_run_known(&bridge, before, now);
        self.on_taken(link, item, stamp, now);
    }

    fn judge_record(&self, record: &LinkState, now: Instant) -> Result<Verified, Refusal> {
        let zone = self.zone_of(&record.bridge)?;
        if *zone != record.zone {
            return Err(Refusal::WrongZone { bridge: record.bridge.clone(), claimed: record.zone.clone() });
        }
        if record.run.epoch > EPOCH_MAX {
            return Err(Refusal::EpochTooHigh(record.run.epoch));
        }
        let message = record.signed_bytes(&self.federation);
        let signature = &record.signature;
        self.keyring.verify(&record.bridge, zone, &signature.chain, &message, &signature.signature, now)
    }

    fn judge_head(&self, head: &Head, now: Instant) -> Result<(), Refusal> {
        let zone = self.zone_of(&head.owner)?;
        if head.run.epoch > EPOCH_MAX {
            return Err(Refusal::EpochTooHigh(head.run.epoch));
        }
        let sets = self.interest.get(&head.owner).filter(|_| head.owner != self.id);
        let audience = head.audience.id();
        if sets.is_some_and(|sets| !sets.has_room_for(audience)) {
            return Err(Refusal::TooManyAudiences(head.owner.clone()));
        }
        let replaced = sets.and_then(|sets| sets.get(audience)).map_or(0, InterestSet::len);
        let of_owner = sets.map_or(0, OwnerSets::len) - replaced;
        let total = self.filters_of_others() + self.own_interest.len() - replaced;
        let count = head.count as usize;
        if of_owner + count > self.limits.filters_per_owner_max
            || total + count > self.limits.filters_total_max
        {
            return Err(Refusal::TooManyFilters);
        }
        let message = head.signed_bytes(&self.federation);
        let signature = &head.signature;
        self.keyring.verify(&head.owner, zone, &signature.chain, &message, &signature.signature, now)?;
        Ok(())
    }

    /// R40: a set is for us, and the neighbour that tells it may have it. Nothing is answered otherwise: not even whether
    /// it is known.
    fn is_for_both(&mut self, link: LinkId, head: &Head) -> bool {
        let zone = |bridge: &BridgeId| self.members.get(bridge);
        let peer = self.peers.get(&link).and_then(|peer| zone(&peer.bridge));
        let ends = [zone(&self.id), peer];
        let both = ends.iter().all(|zone| zone.is_some_and(|zone| head.audience.contains(zone)));
        if !both {
            self.refuse(link, Refusal::WrongAudience(head.owner.clone()));
        }
        both
    }

    /// A set that bears our own name; tells whether it does.
    fn is_own(&mut self, link: LinkId, head: &Head, now: Instant) -> bool {
        if head.owner != self.id {
            return false;
        }
        let stamp = head.stamp();
        if head.run <= self.run && self.stamp_of(&item_of(head)).is_none() {
            // What ended is no more than that, whoever remembers it.
            if head.count > 0 {
                self.on_forgotten_set(head, now);
            }
            self.on_holds(link, item_of(head), stamp, now);
            self.send(link, &Message::Ack { item: item_of(head), stamp });
            return true;
        }
        match self.judge_head(head, now) {
            Ok(()) => self.on_own_heard(head.run, now),
            Err(why) => self.refuse(link, why),
        }
        true
    }

    fn on_delta(&mut self, link: LinkId, delta: Delta, now: Instant) {
        let (owner, stamp, from) = (delta.head.owner.clone(), delta.head.stamp(), delta.from);
        let (item, audience) = (item_of(&delta.head), delta.head.audience.id());
        if !self.is_for_both(link, &delta.head)
            || self.is_known(link, &item, stamp, now)
            || self.is_own(link, &delta.head, now)
        {
            return;
        }
        if let Err(why) = self.judge_head(&delta.head, now) {
            return self.refuse(link, why);
        }
        let held = self.set(&owner, audience).filter(|set| set.head.run == stamp.run).map(InterestSet::stamp);
        let Some(held) = held.filter(|held| from <= held.version) else {
            // R11: there is a gap.
            let have = self.stamp_of(&item);
            return self.send(link, &Message::Pull { owner, audience, have });
        };
        let Some(sets) = self.interest.get_mut(&owner) else { return };
        match sets.apply(delta, now) {
            Ok(()) => self.on_interest_taken(link, item, stamp, now),
            // R11: what came and went between its start and our version is in neither list of the delta.
            Err(_) if from < held.version => {
                self.send(link, &Message::Pull { owner, audience, have: Some(held) })
            }
            Err(why) => {
                self.refuse(link, why);
                self.send(link, &Message::Pull { owner, audience, have: None });
            }
        }
    }

    fn on_snapshot(&mut self, link: LinkId, chunk: SnapshotChunk, now: Instant) {
        let (owner, stamp) = (chunk.head.owner.clone(), chunk.head.stamp());
        let (item, place) = (item_of(&chunk.head), (owner.clone(), chunk.head.audience.id()));
        if !self.is_for_both(link, &chunk.head)
            || self.is_known(link, &item, stamp, now)
            || self.is_own(link, &chunk.head, now)
        {
            return;
        }
        let Some(peer) = self.peers.get(&link) else { return };
        let assembly = peer.assemblies.get(&place);
        if assembly.is_some_and(|assembly| assembly.head.stamp() > stamp) {
            return;
        }
        let begun = assembly.is_some_and(|assembly| assembly.head == chunk.head);
        if !begun && let Err(why) = self.judge_head(&chunk.head, now) {
            return self.refuse(link, why);
        }
        let head = chunk.head.clone();
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if !begun {
            let of_owner = peer.assemblies.keys().filter(|(of, _)| *of == owner).count();
            if of_owner >= SETS_PER_OWNER_MAX && !peer.assemblies.contains_key(&place) {
                return self.refuse(link, Refusal::TooManyAudiences(owner));
            }
            peer.assemblies.insert(place.clone(), Assembly::new(head.clone()));
        }
        let Some(assembly) = peer.assemblies.get_mut(&place) else { return };
        // R12: nothing is removed before the end mark, and nothing is taken that the owner did not sign.
        let set = match assembly.take(chunk) {
            Ok(None) => return,
            Ok(Some(filters)) => InterestSet::new(head, filters, now),
            Err(why) => Err(why),
        };
        peer.assemblies.remove(&place);
        match set {
            Ok(set) => {
                let before = self.known_run(&owner);
                self.sets_of(owner.clone()).insert(set);
                self.on_run_known(&owner, before, now);
                self.on_interest_taken(link, item, stamp, now);
            }
            Err(why) => self.refuse(link, why),
        }
    }

    fn on_interest_taken(&mut self, link: LinkId, item: Item, stamp: Stamp, now: Instant) {
        self.interest_changed = true;
        let lease = now + INTEREST_LEASE;
        self.lease_end.get_or_insert(lease);
        self.events.push_back(super::RouterEvent::InterestChanged(item_owner(&item).clone()));
        self.on_taken(link, item, stamp, now);
    }

    /// R7: acknowledged to the neighbour it came from, passed on to the others.
    fn on_taken(&mut self, link: LinkId, item: Item, stamp: Stamp, now: Instant) {
        self.on_holds(link, item.clone(), stamp, now);
        self.send(link, &Message::Ack { item: item.clone(), stamp });
        self.push_to_all(&item, now);
    }

    /// What is not newer than ours needs no look at its signature: a replay costs nothing and changes nothing.
    fn is_known(&mut self, link: LinkId, item: &Item, stamp: Stamp, now: Instant) -> bool {
        let Some(ours) = self.stamp_of(item).filter(|ours| *ours >= stamp) else { return false };
        self.on_holds(link, item.clone(), stamp, now);
        self.send(link, &Message::Ack { item: item.clone(), stamp: ours });
        if ours > stamp {
            self.push(link, item, false, now);
        }
        true
    }
}

fn item_owner(item: &Item) -> &BridgeId {
    match item {
        Item::LinkState(owner) | Item::Interest(owner, _) => owner,
    }
}

fn item_of(head: &Head) -> Item {
    Item::Interest(head.owner.clone(), head.audience.id())
}
