//! What this bridge wants, signed version by version, a set for each audience (R10, R13–R15, R40, R41).

use std::collections::VecDeque;
use std::time::Instant;

use super::Router;
use crate::flood::{Item, Stamp};
use crate::interest::{InterestSet, OwnerSets, pieces};
use crate::limits::INTEREST_RENEWAL;
use crate::want::Want;
use crate::wire::{ENTRIES_BYTES_MAX, Head};
use crate::{Audience, BridgeId, Signature};

impl Router {
    /// Signs the next version of each set whose advertised filters changed, or of which there is none in this run.
    pub(super) fn flush_interest(&mut self, now: Instant) {
        self.sign_interest(now, false);
    }

    pub(super) fn sign_interest(&mut self, now: Instant, even_unchanged: bool) {
        self.flush_at = None;
        let audiences: Vec<Audience> = self.own_interest.audiences().cloned().collect();
        for audience in &audiences {
            if self.sign_set(audience, even_unchanged, now) {
                self.flushed_at = Some(now);
                self.push_to_all(&Item::Interest(self.id.clone(), audience.id()), now);
            }
        }
        // After what was added has been told, so that an audience that ends makes room for another one.
        while let Some(audience) = self.own_interest.surplus() {
            self.own_interest.forget(&audience);
            let id = audience.id();
            self.version_floor =
                self.version_floor.max(self.set(&self.id, id).map_or(0, |set| set.head.version));
            if let Some(sets) = self.interest.get_mut(&self.id) {
                sets.remove(id);
            }
        }
    }

    /// The next version of one set; tells whether there is one.
    fn sign_set(&mut self, audience: &Audience, even_unchanged: bool, now: Instant) -> bool {
        let Some(own) = self.own_interest.get_mut(audience) else { return false };
        let (added, removed) = own.take_changes();
        let sign = |version: u64, digest: [u8; 32], count: usize| {
            let mut head = Head {
                owner: self.id.clone(),
                run: self.run,
                audience: audience.clone(),
                version,
                digest,
                count: u32::try_from(count).expect("an owner has 100,000 filters at most"),
                signature: Signature { chain: Vec::new(), signature: Default::default() },
            };
            head.signature = self.keyring.sign(&head.signed_bytes(&self.federation));
            head
        };
        let sets = self.interest.entry(self.id.clone()).or_default();
        if sets.get(audience.id()).is_none() {
            let advertised: Vec<Want> = own.advertised().collect();
            let sign = |digest, count| sign(self.version_floor + 1, digest, count);
            sets.insert(InterestSet::of_owner(&advertised, sign, now));
            return true;
        }
        let steps = steps(added, removed, even_unchanged);
        if steps.is_empty() {
            return false;
        }
        for step in steps {
            sets.advance(audience.id(), step, sign, now);
        }
        true
    }

    /// R41: others hold a set of this bridge that it knows nothing of, said before or for an audience that it uses no
    /// more: its end is signed, so that nobody keeps it. Nothing needs to be true of what was heard for that.
    pub(super) fn on_forgotten_set(&mut self, head: &Head, now: Instant) {
        let own_zone = self.zone_of(&self.id).cloned();
        if !own_zone.is_ok_and(|zone| head.audience.contains(&zone)) {
            return;
        }
        // A number that nobody has signed could be the last one there is.
        if head.run == self.run && self.is_signed(head, now) {
            self.version_floor = self.version_floor.max(head.version);
        }
        self.own_interest.end(head.audience.clone());
        self.flush_interest(now);
    }

    /// Whether the owner has signed a version, as far as its certificate can be told from others.
    fn is_signed(&self, head: &Head, now: Instant) -> bool {
        let Ok(zone) = self.zone_of(&head.owner) else { return false };
        let (message, signature) = (head.signed_bytes(&self.federation), &head.signature);
        self.keyring.verify(&head.owner, zone, &signature.chain, &message, &signature.signature, now).is_ok()
    }

    /// R23: sets that stay the same are signed anew, long before they end elsewhere.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        let alive = !self.shut_down && self.interest.contains_key(&self.id);
        self.flushed_at.filter(|_| alive).map(|at| at + INTEREST_RENEWAL)
    }

    /// R40: bridges that may learn something of what this bridge wants and that it cannot be told, although they are
    /// reached: only zones that may not learn it lie between. Nothing could go that way either. In the order of ids.
    pub fn cut_off(&self) -> Vec<(Audience, Vec<BridgeId>)> {
        let Some(sets) = self.interest.get(&self.id) else { return Vec::new() };
        let narrow = sets.iter().filter(|set| set.head.audience != Audience::All && !set.is_empty());
        let narrow: Vec<&Audience> = narrow.map(|set| &set.head.audience).collect();
        if narrow.is_empty() {
            return Vec::new();
        }
        let links = self.forwarding.paths.graph();
        let told = |audience: &Audience| {
            let mut seen = vec![false; self.bridges.len()];
            seen[usize::from(self.own.0)] = true;
            let mut edge = VecDeque::from([self.own]);
            while let Some(at) = edge.pop_front() {
                for (next, _) in links.of(at) {
                    let place = usize::from(next.0);
                    if !seen[place] && audience.contains(&self.bridges[place].1) {
                        seen[place] = true;
                        edge.push_back(*next);
                    }
                }
            }
            seen
        };
        let reached = told(&Audience::All);
        let missed = |audience: &Audience| {
            let told = told(audience);
            let bridges = self.bridges.iter().enumerate();
            let missed =
                bridges.filter(|(at, (_, zone))| audience.contains(zone) && reached[*at] && !told[*at]);
            (audience.clone(), missed.map(|(_, (bridge, _))| bridge.clone()).collect::<Vec<_>>())
        };
        narrow.into_iter().map(missed).filter(|(_, missed)| !missed.is_empty()).collect()
    }

    /// R40: how many filters are told to the own zone only, because the audiences were too many.
    pub fn untold(&self) -> usize {
        self.own_interest.untold().count()
    }

    pub(super) fn own_stamps(&self) -> impl Iterator<Item = (Item, Stamp)> + '_ {
        let sets = self.interest.get(&self.id).into_iter().flat_map(OwnerSets::iter);
        sets.map(|set| (Item::Interest(self.id.clone(), set.head.audience.id()), set.stamp()))
    }
}

/// One version, or as many as have room for what changed in a message each (R13): what is new comes first, so that nothing
/// that stays wanted is without interest in between.
fn steps(added: Vec<Want>, removed: Vec<Want>, even_unchanged: bool) -> Vec<(Vec<Want>, Vec<Want>)> {
    let bytes: usize = added.iter().chain(&removed).map(Want::encoded_bytes).sum();
    if bytes <= ENTRIES_BYTES_MAX {
        let is_some = bytes > 0 || even_unchanged;
        return is_some.then_some((added, removed)).into_iter().collect();
    }
    let added = pieces(added).into_iter().map(|added| (added, Vec::new()));
    added.chain(pieces(removed).into_iter().map(|removed| (Vec::new(), removed))).collect()
}
