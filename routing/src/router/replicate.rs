//! The record of this bridge, and how everything spreads (R5, R7–R9, R40).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Router;
use crate::audience::AudienceId;
use crate::flood::{Item, Need, Stamp};
use crate::interest::{Assembly, InterestSet, KeptInterest, OwnerSets};
use crate::limits::{ORIGINATE_INTERVAL, RECORD_LINKS_MAX};
use crate::topology::{Held, LinkState, ListedLink};
use crate::want::Want;
use crate::wire::Message;
use crate::{BridgeId, LinkId, Signature};

/// Entries of one digest message; see `wire`.
const DIGEST_ENTRIES: usize = 1_024;

impl Router {
    pub(super) fn stamp_of(&self, item: &Item) -> Option<Stamp> {
        match item {
            Item::LinkState(bridge) => self.topology.get(bridge).map(|held| held.record.stamp()),
            Item::Interest(owner, audience) => self.set(owner, *audience).map(InterestSet::stamp),
        }
    }

    pub(super) fn filters_of_others(&self) -> usize {
        self.interest.iter().filter(|(owner, _)| **owner != self.id).map(|(_, sets)| sets.len()).sum()
    }

    /// The sets of another bridge, of which there may be none yet.
    pub(super) fn sets_of(&mut self, owner: BridgeId) -> &mut OwnerSets {
        self.interest.entry(owner).or_insert_with(OwnerSets::of_other)
    }

    pub(super) fn set(&self, owner: &BridgeId, audience: AudienceId) -> Option<&InterestSet> {
        self.interest.get(owner)?.get(audience)
    }

    /// The entries of a set that is held here, in no order.
    pub(super) fn wants_of(&self, set: &InterestSet) -> Vec<Want> {
        if set.head.owner == self.id { self.own_interest.told(&set.head.audience) } else { set.wants() }
    }

    /// R40: whether a neighbour may be told of a thing, or may have told us of it. Whatever is said of a set, its name
    /// and its version too, is said among the members of its audience only.
    pub(super) fn may_share(&self, link: LinkId, item: &Item) -> bool {
        let Item::Interest(owner, audience) = item else { return true };
        let zone = self.peers.get(&link).and_then(|peer| self.members.get(&peer.bridge));
        match self.set(owner, *audience) {
            Some(set) => zone.is_some_and(|zone| set.head.audience.contains(zone)),
            None => true,
        }
    }

    /// R5: at once, unless the record has just changed.
    pub(super) fn originate_soon(&mut self, now: Instant) {
        match self.originated_at.map(|at| at + ORIGINATE_INTERVAL).filter(|next| *next > now) {
            Some(next) => self.originate_at = Some(next),
            None => self.originate(now),
        }
    }

    pub(super) fn originate(&mut self, now: Instant) {
        self.originate_at = None;
        self.originated_at = Some(now);
        self.seq += 1;
        let mut links: Vec<ListedLink> = Vec::new();
        if !self.shut_down {
            let mut up: Vec<(&BridgeId, u32)> =
                self.peers.values().filter(|p| self.carries(p)).map(|p| (&p.bridge, p.cost)).collect();
            up.sort();
            up.dedup_by_key(|(bridge, _)| (*bridge).clone());
            up.iter().for_each(|(bridge, _)| self.damping.on_up(bridge, now));
            // R42
            let listed =
                up.into_iter().filter(|(bridge, _)| !self.damping.holds(bridge)).take(RECORD_LINKS_MAX);
            links.extend(listed.map(|(to, cost)| ListedLink { to: to.clone(), cost }));
        }
        let zone = self.members.get(&self.id).expect("checked when the router was made").clone();
        let mut record = LinkState {
            bridge: self.id.clone(),
            zone,
            run: self.run,
            seq: self.seq,
            links,
            policy_digest: self.policy_digest,
            signature: Signature { chain: Vec::new(), signature: Default::default() },
        };
        record.signature = self.keyring.sign(&record.signed_bytes(&self.federation));
        self.topology.insert(Held::new(record, None));
        self.push_to_all(&Item::LinkState(self.id.clone()), now);
    }

    /// R23
    pub(super) fn expire_interest(&mut self, now: Instant) {
        if self.lease_end.is_none_or(|end| now < end) {
            return;
        }
        let own = &self.id;
        let others = self.interest.iter_mut().filter(|(owner, _)| *owner != own);
        let over: Vec<BridgeId> =
            others.filter_map(|(owner, sets)| sets.expire(now).then(|| owner.clone())).collect();
        for owner in over {
            self.interest.retain(|_, sets| !sets.is_empty());
            self.interest_changed = true;
            self.events.push_back(super::RouterEvent::InterestChanged(owner));
        }
        let others = self.interest.iter().filter(|(owner, _)| **owner != self.id);
        self.lease_end = others.flat_map(|(_, sets)| sets.iter().map(|set| set.lease_end)).min();
    }

    /// What is to be kept of what another bridge wants, since this was asked last.
    pub fn take_interest_news(&mut self, owner: &BridgeId) -> KeptInterest {
        match self.interest.get_mut(owner).filter(|_| *owner != self.id) {
            Some(sets) => sets.take_news(),
            None => KeptInterest::Whole(Vec::new()),
        }
    }

    /// R23: goes on from what an earlier process of this bridge knew of another's interest. Our own disk said it, so no
    /// signature is asked for: the owner's certificate may have ended while it was away. Its lease begins anew.
    pub fn recall_interest(
        &mut self,
        messages: Vec<Bytes>,
        now: Instant,
    ) -> Result<(), crate::wire::DecodeError> {
        let own_zone = self.zone_of(&self.id).cloned().expect("checked when the router was made");
        let mut assemblies: BTreeMap<AudienceId, Assembly> = BTreeMap::new();
        let mut recalled: BTreeSet<BridgeId> = BTreeSet::new();
        let bytes = messages.iter().map(Bytes::len).sum();
        for message in messages {
            let (head, chunk) = match Message::decode(message)? {
                Message::Snapshot(chunk) => (chunk.head.clone(), Ok(chunk)),
                Message::Delta(delta) => (delta.head.clone(), Err(delta)),
                _ => continue,
            };
            if head.owner == self.id || !self.members.contains_key(&head.owner) {
                return Ok(());
            }
            if !head.audience.contains(&own_zone) {
                continue;
            }
            let id = head.audience.id();
            match chunk {
                Ok(chunk) => {
                    let assembly = assemblies.entry(id).or_insert_with(|| Assembly::new(head.clone()));
                    // What ends in the middle, in a crash, is followed by another version.
                    if assembly.head != head {
                        *assembly = Assembly::new(head.clone());
                    }
                    let Ok(Some(filters)) = assembly.take(chunk) else { continue };
                    let newer = self.set(&head.owner, id).is_none_or(|held| held.stamp() < head.stamp());
                    if newer && let Ok(set) = InterestSet::new(head.clone(), filters, now) {
                        self.lease_end = self.lease_end.into_iter().chain([set.lease_end]).min();
                        self.sets_of(head.owner.clone()).insert(set);
                        recalled.insert(head.owner);
                    }
                }
                // A step that does not fit leaves the set as it was before: its owner tells more.
                Err(delta) => {
                    let held = self.set(&head.owner, id).map(InterestSet::stamp);
                    let follows = held.is_some_and(|held| {
                        held.run == head.run && delta.from <= held.version && held.version < head.version
                    });
                    if follows {
                        let _ = self.sets_of(head.owner).apply(delta, now);
                    }
                }
            }
            self.interest_changed = true;
        }
        // What was put by is not put by again.
        for owner in recalled {
            self.sets_of(owner).on_put_by(bytes);
        }
        self.refresh(now);
        Ok(())
    }

    pub(super) fn send_open(&mut self, link: LinkId) {
        let zone = self.members.get(&self.id).expect("checked when the router was made").clone();
        let (federation, bridge) = (self.federation.clone(), self.id.clone());
        self.send(link, &Message::Open { federation, bridge, zone, run: self.run });
    }

    /// R9: all that is held and may be shared, by stamp.
    pub(super) fn send_digest(&mut self, link: LinkId) {
        let items = self.items().into_iter().filter(|item| self.may_share(link, item));
        let entries: Vec<_> = items.filter_map(|item| Some((item.clone(), self.stamp_of(&item)?))).collect();
        let parts = entries.chunks(DIGEST_ENTRIES).count();
        for (i, part) in entries.chunks(DIGEST_ENTRIES).enumerate() {
            self.send(link, &Message::Digest { entries: part.to_vec(), last: i + 1 == parts });
        }
    }

    fn items(&self) -> Vec<Item> {
        let records = self.topology.iter().map(|record| Item::LinkState(record.bridge.clone()));
        let sets = self.interest.iter().flat_map(|(owner, sets)| {
            sets.iter().map(|set| Item::Interest(owner.clone(), set.head.audience.id()))
        });
        records.chain(sets).collect()
    }

    pub(super) fn push_all(&mut self, link: LinkId, now: Instant) {
        for item in self.items() {
            self.push(link, &item, false, now);
        }
    }

    pub(super) fn push_to_all(&mut self, item: &Item, now: Instant) {
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.push(link, item, false, now);
        }
    }

    /// R7: sends a neighbour what it lacks; `again` repeats from what it has acknowledged.
    pub(super) fn push(&mut self, link: LinkId, item: &Item, again: bool, now: Instant) {
        let Some(ours) = self.stamp_of(item).filter(|_| self.may_share(link, item)) else { return };
        let Some(peer) = self.peers.get_mut(&link).filter(|peer| peer.is_synced()) else { return };
        let Need::From(base) = peer.flood.needs(item, ours, again) else { return };
        let payloads: SmallVec<[Bytes; 1]> = match item {
            Item::LinkState(bridge) => {
                self.topology.get(bridge).map(|held| held.message.clone()).into_iter().collect()
            }
            Item::Interest(owner, audience) => {
                let set = self.set(owner, *audience);
                let payloads = set.map(|set| set.update_from(base, || self.wants_of(set)));
                payloads.unwrap_or_default().into()
            }
        };
        let bytes = payloads.iter().map(|payload| payload.len()).sum();
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.flood.on_sent(item, ours, bytes, again, now);
        self.transmits.extend(payloads.into_iter().map(|payload| super::Transmit { link, payload }));
    }
}
