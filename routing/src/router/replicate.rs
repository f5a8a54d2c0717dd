//! The record of this bridge, and how everything spreads (R5, R7–R9, R40).

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use super::Router;
use crate::audience::AudienceId;
use crate::flood::{Item, Stamp};
use crate::interest::{Assembly, CHUNK_FILTERS, InterestSet, OwnerSets, Update};
use crate::limits::{ORIGINATE_INTERVAL, RECORD_LINKS_MAX};
use crate::topology::{Held, LinkState, ListedLink};
use crate::wire::Message;
use crate::{Audience, BridgeId, LinkId, Signature};

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

    pub(super) fn set(&self, owner: &BridgeId, audience: AudienceId) -> Option<&InterestSet> {
        self.interest.get(owner)?.get(audience)
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
            let listed = up.into_iter().take(RECORD_LINKS_MAX);
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
        self.topology.insert(Held { record, not_after: None });
        self.topology_changed = true;
        self.push_to_all(&Item::LinkState(self.id.clone()), now);
    }

    /// R23
    pub(super) fn expire_interest(&mut self, now: Instant) {
        let own = &self.id;
        let others = self.interest.iter_mut().filter(|(owner, _)| *owner != own);
        let over: Vec<BridgeId> =
            others.filter_map(|(owner, sets)| sets.expire(now).then(|| owner.clone())).collect();
        for owner in over {
            self.interest.retain(|_, sets| !sets.is_empty());
            self.forwarding_changed = true;
            self.events.push_back(super::RouterEvent::InterestChanged(owner));
        }
    }

    /// What the bridge wants, as messages that [`Router::recall_interest`] understands; none where nothing is known.
    pub fn interest_of(&self, owner: &BridgeId) -> Vec<Bytes> {
        let sets = self.interest.get(owner).filter(|_| *owner != self.id);
        // What tells of an end only is learned again from those that remember more.
        let kept = sets.into_iter().flat_map(OwnerSets::iter);
        let kept = kept.filter(|set| !set.filters.is_empty() || set.head.audience == Audience::All);
        kept.flat_map(InterestSet::snapshot).map(|chunk| Message::Snapshot(chunk).encode()).collect()
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
        for message in messages {
            let Message::Snapshot(chunk) = Message::decode(message)? else { continue };
            let head = chunk.head.clone();
            if head.owner == self.id || !self.members.contains_key(&head.owner) {
                return Ok(());
            }
            if !head.audience.contains(&own_zone) {
                continue;
            }
            let id = head.audience.id();
            let assembly = assemblies.entry(id).or_insert_with(|| Assembly::new(head.clone()));
            let Ok(Some(filters)) = assembly.take(chunk) else { continue };
            let newer = self.set(&head.owner, id).is_none_or(|held| held.stamp() < head.stamp());
            if newer && let Ok(set) = InterestSet::new(head.clone(), filters, now) {
                self.interest.entry(head.owner).or_default().insert(set);
                self.forwarding_changed = true;
            }
        }
        self.refresh();
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
        let base = peer.flood.base(item, again);
        if !peer.flood.lacks(item, ours) {
            return peer.flood.forget(item);
        }
        if base >= Some(ours) {
            return;
        }
        let messages = match item {
            Item::LinkState(bridge) => {
                self.topology.get(bridge).map(|held| vec![Message::LinkState(held.record.clone())])
            }
            Item::Interest(owner, audience) => {
                self.set(owner, *audience).map(|set| match set.update_from(base) {
                    Update::Delta(delta) => vec![Message::Delta(delta)],
                    Update::Snapshot(chunks) => chunks.into_iter().map(Message::Snapshot).collect(),
                })
            }
        };
        let payloads: Vec<_> = messages.unwrap_or_default().iter().map(Message::encode).collect();
        let bytes = payloads.iter().map(|payload| payload.len()).sum();
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.flood.on_sent(item.clone(), ours, bytes, again, now);
        self.transmits.extend(payloads.into_iter().map(|payload| super::Transmit { link, payload }));
    }
}

const _: () = assert!(CHUNK_FILTERS <= 192, "chunks fit a control message");
