//! Comparing databases and exchanging interest (R8, R11 to R15).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use meshbridge_topic::TopicFilter;

use super::{EPOCH_MAX, Router};
use crate::ids::{BridgeId, LinkId};
use crate::interest::{COALESCE, InterestSet, Step, empty_digest};
use crate::wire::control::{Digest, FILTERS_PER_MESSAGE_MAX, InterestVersion, Message, Signed};

/// The only audience of this version of the protocol.
const AUDIENCE: &str = "all";

/// A snapshot that is on its way, chunk by chunk.
#[derive(Debug)]
pub(super) struct Staging {
    link: LinkId,
    version: Signed<InterestVersion>,
    next_chunk: u32,
    filters: BTreeSet<TopicFilter>,
    not_after: Instant,
}

impl Router {
    pub(super) fn originate_first_set(&mut self, now: Instant) {
        let version = self.sign_version(1, 0, empty_digest());
        let set = InterestSet::from_snapshot(version, BTreeSet::new(), far(now)).expect("empty is empty");
        self.sets.insert(self.config.id.clone(), set);
        self.on_interest_changed();
    }

    /// The same filters under the present run: after the epoch was raised.
    pub(super) fn restart_set(&mut self, now: Instant) {
        self.replace_own_set(1, now);
    }

    /// The same filters under the present key.
    pub(super) fn resign_set(&mut self, now: Instant) {
        let version = self.sets.get(&self.config.id).map_or(0, |set| set.version.statement.version);
        self.replace_own_set(version + 1, now);
    }

    fn replace_own_set(&mut self, version: u64, now: Instant) {
        let Some(set) = self.sets.get(&self.config.id) else { return };
        let filters = set.filters.clone();
        let digest = set.digest_after(&[], &[]);
        let version = self.sign_version(version, filters.len(), digest);
        if let Ok(set) = InterestSet::from_snapshot(version, filters, far(now)) {
            self.sets.insert(self.config.id.clone(), set);
            self.on_interest_changed();
            self.spread_set(&self.config.id.clone(), None, now);
        }
    }

    fn sign_version(&self, version: u64, count: usize, digest: [u8; 32]) -> Signed<InterestVersion> {
        let statement = InterestVersion {
            bridge: self.config.id.clone(),
            zone: self.config.zone.clone(),
            audience: AUDIENCE.to_owned(),
            run: self.config.run,
            version,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            digest,
        };
        let bytes = statement.to_signed_bytes();
        let signature = self.keyring.sign(&bytes);
        Signed { statement, bytes, signature }
    }

    /// R15: the first change goes out at once, those within the next millisecond together.
    pub(super) fn schedule_flush(&mut self, now: Instant) {
        match self.flushed_at {
            Some(at) if now < at + COALESCE => {
                self.flush_at = Some(at + COALESCE);
            }
            _ => self.flush_interest(now),
        }
    }

    /// Announces what has changed, as one version.
    pub(super) fn flush_interest(&mut self, now: Instant) {
        self.flush_at = None;
        let Some(set) = self.sets.get(&self.config.id) else { return };
        let (adds, removes) = self.own.take_changes(&set.filters);
        if adds.is_empty() && removes.is_empty() {
            return;
        }
        self.flushed_at = Some(now);
        let base = set.version.statement.version;
        let count = set.filters.len() + adds.len() - removes.len();
        let version = self.sign_version(base + 1, count, set.digest_after(&adds, &removes));
        let step = Step { base, version, adds, removes };
        let set = self.sets.get_mut(&self.config.id).expect("made with the router");
        set.apply(step.clone(), far(now)).expect("the owner signed what it computed");
        self.on_interest_changed();
        self.spread(&step, None, now);
    }

    fn spread(&mut self, step: &Step, except: Option<LinkId>, now: Instant) {
        if step.adds.len() + step.removes.len() > FILTERS_PER_MESSAGE_MAX {
            return self.broadcast_digests(now);
        }
        let message = delta(step);
        for link in self.up_links(except) {
            self.send(link, &message);
        }
    }

    pub(super) fn set_digests(&self) -> Vec<Digest> {
        self.sets
            .iter()
            .map(|(bridge, set)| {
                let InterestVersion { run, version, .. } = set.version.statement;
                Digest { bridge: bridge.clone(), run, number: version }
            })
            .collect()
    }

    pub(super) fn send_digests(&mut self, link: LinkId, now: Instant) {
        let turn = self.peers.get_mut(&link).is_some_and(|peer| peer.is_up() && peer.take_digests_turn(now));
        if turn {
            let message = Message::Digests { records: self.topology.digests(), sets: self.set_digests() };
            self.send(link, &message);
        }
    }

    fn broadcast_digests(&mut self, now: Instant) {
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.send_digests(link, now);
        }
    }

    /// R8: sends what the peer lacks, pulls what we lack.
    pub(super) fn on_digests(&mut self, link: LinkId, records: &[Digest], sets: &[Digest], now: Instant) {
        let theirs: BTreeMap<&BridgeId, &Digest> = records.iter().map(|d| (&d.bridge, d)).collect();
        let mine = self.topology.digests();
        let ours: BTreeMap<&BridgeId, &Digest> = mine.iter().map(|d| (&d.bridge, d)).collect();
        for digest in &mine {
            if theirs.get(&digest.bridge).is_none_or(|their| is_newer(digest, their)) {
                self.send_record(link, &digest.bridge, now);
            }
        }
        let mut peer_is_ahead =
            records.iter().any(|their| ours.get(&their.bridge).is_none_or(|our| is_newer(their, our)));
        // A set of another life of ours with our epoch or above: its record will tell, and we jump.
        for their in sets {
            let have = self.sets.get(&their.bridge).map(|set| {
                let InterestVersion { run, version, .. } = set.version.statement;
                Digest { bridge: their.bridge.clone(), run, number: version }
            });
            let wanted = have.as_ref().is_none_or(|have| is_newer(their, have));
            if wanted && their.bridge != self.config.id && self.config.members.zone(&their.bridge).is_some() {
                let have = have.unwrap_or(Digest { number: 0, ..their.clone() });
                self.send(link, &Message::InterestPull { have });
            }
        }
        let their_sets: BTreeMap<&BridgeId, &Digest> = sets.iter().map(|d| (&d.bridge, d)).collect();
        for our in self.set_digests() {
            // The peer pulls what it sees in our digests.
            peer_is_ahead |= their_sets.get(&our.bridge).is_none_or(|their| is_newer(&our, their));
        }
        if peer_is_ahead {
            self.send_digests(link, now);
        }
    }

    /// R12: steps where we still have them, else the whole set.
    pub(super) fn on_pull(&mut self, link: LinkId, have: &Digest) {
        let Some(set) = self.sets.get(&have.bridge) else { return };
        let current = &set.version.statement;
        if current.run == have.run && have.number >= current.version {
            return;
        }
        let same_run = current.run == have.run;
        let steps: Option<Vec<Message>> =
            set.steps_since(have.number).filter(|_| same_run).map(|steps| steps.map(delta).collect());
        let messages = steps.unwrap_or_else(|| snapshot(set));
        for message in messages {
            self.send(link, &message);
        }
    }

    pub(super) fn on_delta(
        &mut self,
        link: LinkId,
        version: Signed<InterestVersion>,
        base: u64,
        adds: Vec<TopicFilter>,
        removes: Vec<TopicFilter>,
        now: Instant,
    ) {
        let statement = &version.statement;
        let bridge = statement.bridge.clone();
        if !self.is_news(statement) {
            return;
        }
        let same_run = self.sets.get(&bridge).filter(|set| set.version.statement.run == statement.run);
        if same_run.is_none_or(|set| set.version.statement.version != base) {
            return self.pull(link, &bridge, statement.run);
        }
        let not_after = match self.check_version(&version, now) {
            Ok(not_after) => not_after,
            Err(why) => return self.refuse(link, why),
        };
        let step = Step { base, version, adds, removes };
        let set = self.sets.get_mut(&bridge).expect("found above");
        if set.apply(step.clone(), not_after).is_err() {
            return self.refuse(link, format!("a change of the interest of `{bridge}` is not what it signed"));
        }
        self.staging.remove(&bridge);
        self.on_interest_changed();
        self.spread(&step, Some(link), now);
    }

    fn pull(&mut self, link: LinkId, bridge: &BridgeId, run: crate::ids::Run) {
        let have = match self.sets.get(bridge) {
            Some(set) => {
                let InterestVersion { run, version, .. } = set.version.statement;
                Digest { bridge: bridge.clone(), run, number: version }
            }
            None => Digest { bridge: bridge.clone(), run, number: 0 },
        };
        self.send(link, &Message::InterestPull { have });
    }

    pub(super) fn on_snapshot(
        &mut self,
        link: LinkId,
        version: Signed<InterestVersion>,
        chunk: u32,
        last: bool,
        filters: Vec<TopicFilter>,
        now: Instant,
    ) {
        let bridge = version.statement.bridge.clone();
        if !self.is_news(&version.statement) {
            return;
        }
        if chunk == 0 {
            match self.check_version(&version, now) {
                Ok(not_after) => {
                    let staging = Staging { link, version, next_chunk: 0, filters: BTreeSet::new(), not_after };
                    self.staging.insert(bridge.clone(), staging);
                }
                Err(why) => return self.refuse(link, why),
            }
        } else if self.staging.get(&bridge).is_none_or(|s| s.link != link || s.version != version) {
            return;
        }
        let Some(staging) = self.staging.get_mut(&bridge) else { return };
        // A chunk that is missing: what follows is worth nothing, the next comparison pulls again.
        if staging.next_chunk != chunk
            || staging.filters.len() + filters.len() > staging.version.statement.count as usize
        {
            self.staging.remove(&bridge);
            return;
        }
        staging.next_chunk += 1;
        staging.filters.extend(filters);
        // R14: nothing that was there is gone before the end-of-set mark.
        if last && let Some(done) = self.staging.remove(&bridge) {
            self.take_snapshot(done, now);
        }
    }

    fn take_snapshot(&mut self, done: Staging, now: Instant) {
        let bridge = done.version.statement.bridge.clone();
        match InterestSet::from_snapshot(done.version, done.filters, done.not_after) {
            Ok(set) => {
                self.sets.insert(bridge.clone(), set);
                self.on_interest_changed();
                self.spread_set(&bridge, Some(done.link), now);
            }
            Err(_) => self.refuse(done.link, format!("the interest of `{bridge}` is not what it signed")),
        }
    }

    /// Passes on a set that came or changed as a whole: itself where it is one message, else word of it, and who lacks
    /// it pulls.
    fn spread_set(&mut self, bridge: &BridgeId, except: Option<LinkId>, now: Instant) {
        let Some(set) = self.sets.get(bridge) else { return };
        if set.filters.len() > FILTERS_PER_MESSAGE_MAX {
            return self.broadcast_digests(now);
        }
        let messages = snapshot(set);
        for link in self.up_links(except) {
            for message in &messages {
                self.send(link, message);
            }
        }
    }

    pub(super) fn up_links(&self, except: Option<LinkId>) -> Vec<LinkId> {
        let up = self.peers.values().filter(|peer| peer.is_up() && Some(peer.link) != except);
        up.map(|peer| peer.link).collect()
    }

    /// Newer than what we have, and not about ourselves: only the owner writes its set (R11).
    fn is_news(&self, statement: &InterestVersion) -> bool {
        statement.bridge != self.config.id
            && self.sets.get(&statement.bridge).is_none_or(|set| {
                let known = &set.version.statement;
                let digest = |version: &InterestVersion| Digest {
                    bridge: version.bridge.clone(),
                    run: version.run,
                    number: version.version,
                };
                is_newer(&digest(statement), &digest(known))
            })
    }

    fn check_version(&self, version: &Signed<InterestVersion>, now: Instant) -> Result<Instant, String> {
        let InterestVersion { bridge, zone, audience, run, count, .. } = &version.statement;
        if self.config.members.zone(bridge) != Some(zone) {
            return Err(format!("interest of `{bridge}` in zone `{zone}`, which the federation document does not list"));
        }
        if audience != AUDIENCE || run.epoch > EPOCH_MAX {
            return Err(format!("the interest of `{bridge}` is for another audience or out of bounds"));
        }
        let count = *count as usize;
        let others = self.sets.iter().filter(|(owner, _)| *owner != bridge);
        let total: usize = others.map(|(_, set)| set.filters.len()).sum();
        let limits = self.config.limits;
        if count > limits.filters_per_owner || total.saturating_add(count) > limits.filters_total {
            return Err(format!("the interest of `{bridge}` has {count} filters, which is over the limit"));
        }
        let signature = &version.signature;
        self.keyring
            .verify(bridge, zone, &signature.chain, &version.bytes, &signature.signature, now)
            .map(|verified| verified.not_after)
            .map_err(|refusal| format!("interest of `{bridge}`: {refusal}"))
    }

    /// Interest of others ends with the certificate that signed it, where nothing newer came.
    pub(super) fn expire_sets(&mut self, now: Instant) {
        let before = self.sets.len();
        let own = self.config.id.clone();
        self.sets.retain(|bridge, set| *bridge == own || set.not_after > now);
        if self.sets.len() != before {
            self.on_interest_changed();
        }
    }
}

/// R11, R16: a higher epoch, or a higher number of the same life. Two lives of one epoch are not compared.
fn is_newer(this: &Digest, that: &Digest) -> bool {
    this.run.epoch > that.run.epoch || this.run == that.run && this.number > that.number
}

fn delta(step: &Step) -> Message {
    Message::InterestDelta {
        version: step.version.clone(),
        base: step.base,
        adds: step.adds.clone(),
        removes: step.removes.clone(),
    }
}

fn snapshot(set: &InterestSet) -> Vec<Message> {
    let filters: Vec<TopicFilter> = set.filters.iter().cloned().collect();
    let mut chunks: Vec<&[TopicFilter]> = filters.chunks(FILTERS_PER_MESSAGE_MAX).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let end = chunks.len() - 1;
    chunks
        .into_iter()
        .enumerate()
        .map(|(at, filters)| Message::InterestSnapshot {
            version: set.version.clone(),
            chunk: u32::try_from(at).unwrap_or(u32::MAX),
            last: at == end,
            filters: filters.to_vec(),
        })
        .collect()
}

/// Our own set does not expire: its record does.
fn far(now: Instant) -> Instant {
    now + std::time::Duration::from_secs(10 * 365 * 24 * 3_600)
}
