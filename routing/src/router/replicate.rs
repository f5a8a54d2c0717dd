//! What this bridge says of itself, and how everything spreads (R5, R7–R9, R13–R15).

use std::collections::BTreeSet;
use std::time::Instant;

use super::Router;
use crate::flood::{Item, Stamp};
use bytes::Bytes;

use crate::interest::{Assembly, CHUNK_FILTERS, InterestSet, Update};
use crate::limits::{INTEREST_RENEWAL, ORIGINATE_INTERVAL, RECORD_LINKS_MAX};
use crate::topology::{Held, LinkState, ListedLink};
use crate::wire::{Delta, Head, Message};
use crate::{BridgeId, LinkId, Signature};

/// Entries of one digest message; see `wire`.
const DIGEST_ENTRIES: usize = 1_024;

impl Router {
    pub(super) fn stamp_of(&self, item: &Item) -> Option<Stamp> {
        match item {
            Item::LinkState(bridge) => self.topology.get(bridge).map(|held| held.record.stamp()),
            Item::Interest(bridge) => self.interest.get(bridge).map(InterestSet::stamp),
        }
    }

    pub(super) fn filters_of_others(&self) -> usize {
        self.interest.iter().filter(|(owner, _)| **owner != self.id).map(|(_, set)| set.filters.len()).sum()
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
        let [item, _] = self.own_items();
        self.push_to_all(&item, now);
    }

    /// Signs the next version if the advertised filters changed, or there is none in this run.
    pub(super) fn flush_interest(&mut self, now: Instant) {
        self.sign_interest(now, false);
    }

    pub(super) fn sign_interest(&mut self, now: Instant, even_unchanged: bool) {
        self.flush_at = None;
        let touched = self.own_interest.take_touched();
        let sign = |version: u64, digest: [u8; 32], count: usize| {
            let mut head = Head {
                owner: self.id.clone(),
                run: self.run,
                audience: 0,
                version,
                digest,
                count: u32::try_from(count).expect("an owner has 100,000 filters at most"),
                signature: Signature { chain: Vec::new(), signature: Default::default() },
            };
            head.signature = self.keyring.sign(&head.signed_bytes(&self.federation));
            head
        };
        match self.interest.get(&self.id) {
            None => {
                let mut hash = crate::lthash::LtHash::default();
                let advertised: BTreeSet<_> = self.own_interest.advertised().collect();
                advertised.iter().for_each(|want| hash.add(&want.digest_bytes()));
                let head = sign(1, hash.digest(), advertised.len());
                let set = InterestSet::new(head, advertised, now).expect("the digest is of these filters");
                self.interest.insert(self.id.clone(), set);
            }
            Some(set) => {
                let (now_in, now_out): (Vec<_>, Vec<_>) =
                    touched.into_iter().partition(|want| self.own_interest.advertises(want));
                let added: Vec<_> =
                    now_in.into_iter().filter(|filter| !set.filters.contains(filter)).collect();
                let removed: Vec<_> =
                    now_out.into_iter().filter(|filter| set.filters.contains(filter)).collect();
                if added.is_empty() && removed.is_empty() && !even_unchanged {
                    return;
                }
                let digest = set.digest_after(&added, &removed);
                let from = set.head.version;
                let head = sign(from + 1, digest, self.own_interest.advertised_len());
                let set = self.interest.get_mut(&self.id).expect("found above");
                set.apply(Delta { head, from, added, removed }, now).expect("the digest is of this change");
            }
        }
        self.flushed_at = Some(now);
        let [_, item] = self.own_items();
        self.push_to_all(&item, now);
    }

    /// R23: a set that stays the same is signed anew, long before it ends elsewhere.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        let alive = !self.shut_down && self.interest.contains_key(&self.id);
        self.flushed_at.filter(|_| alive).map(|at| at + INTEREST_RENEWAL)
    }

    /// R23
    pub(super) fn expire_interest(&mut self, now: Instant) {
        let own = &self.id;
        let over = self.interest.iter().filter(|(owner, set)| *owner != own && now >= set.lease_end);
        let over: Vec<BridgeId> = over.map(|(owner, _)| owner.clone()).collect();
        for owner in over {
            self.interest.remove(&owner);
            self.forwarding_changed = true;
            self.events.push_back(super::RouterEvent::InterestChanged(owner));
        }
    }

    /// What the bridge wants, as messages that [`Router::recall_interest`] understands; none where nothing is known.
    pub fn interest_of(&self, owner: &BridgeId) -> Vec<Bytes> {
        let set = self.interest.get(owner).filter(|_| *owner != self.id);
        let chunks = set.map(InterestSet::snapshot).unwrap_or_default();
        chunks.into_iter().map(|chunk| Message::Snapshot(chunk).encode()).collect()
    }

    /// R23: goes on from what an earlier process of this bridge knew of another's interest. Our own disk said it, so no
    /// signature is asked for: the owner's certificate may have ended while it was away. Its lease begins anew.
    pub fn recall_interest(
        &mut self,
        messages: Vec<Bytes>,
        now: Instant,
    ) -> Result<(), crate::wire::DecodeError> {
        let mut assembly: Option<Assembly> = None;
        for message in messages {
            let Message::Snapshot(chunk) = Message::decode(message)? else { continue };
            let head = chunk.head.clone();
            if head.owner == self.id || !self.members.contains_key(&head.owner) {
                return Ok(());
            }
            let assembly = assembly.get_or_insert_with(|| Assembly::new(head.clone()));
            let Ok(Some(filters)) = assembly.take(chunk) else { continue };
            let newer = self.interest.get(&head.owner).is_none_or(|held| held.stamp() < head.stamp());
            if newer && let Ok(set) = InterestSet::new(head.clone(), filters, now) {
                self.interest.insert(head.owner, set);
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

    /// R9: all that is held, by stamp.
    pub(super) fn send_digest(&mut self, link: LinkId) {
        let entries: Vec<_> =
            self.items().into_iter().filter_map(|item| Some((item.clone(), self.stamp_of(&item)?))).collect();
        let parts = entries.chunks(DIGEST_ENTRIES).count();
        for (i, part) in entries.chunks(DIGEST_ENTRIES).enumerate() {
            self.send(link, &Message::Digest { entries: part.to_vec(), last: i + 1 == parts });
        }
    }

    fn items(&self) -> Vec<Item> {
        let records = self.topology.iter().map(|record| Item::LinkState(record.bridge.clone()));
        records.chain(self.interest.keys().cloned().map(Item::Interest)).collect()
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
        let Some(ours) = self.stamp_of(item) else { return };
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
            Item::Interest(bridge) => self.interest.get(bridge).map(|set| match set.update_from(base) {
                Update::Delta(delta) => vec![Message::Delta(delta)],
                Update::Snapshot(chunks) => chunks.into_iter().map(Message::Snapshot).collect(),
            }),
        };
        let payloads: Vec<_> = messages.unwrap_or_default().iter().map(Message::encode).collect();
        let bytes = payloads.iter().map(|payload| payload.len()).sum();
        let Some(peer) = self.peers.get_mut(&link) else { return };
        peer.flood.on_sent(item.clone(), ours, bytes, again, now);
        self.transmits.extend(payloads.into_iter().map(|payload| super::Transmit { link, payload }));
    }
}

const _: () = assert!(CHUNK_FILTERS <= 192, "chunks fit a control message");
