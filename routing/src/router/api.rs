//! What the driver calls.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_topic::TopicFilter;

use super::{InterestFull, ProtocolViolation, Router, RouterConfig, RouterEvent, Transmit};
use crate::damping::Damping;
use crate::graph::Graph;
use crate::limits::{
    BRIDGES_MAX, COALESCE, DIGEST_INTERVAL, HELLO_INTERVAL, LINGER, LINGER_JITTER_MS, RESTORED_LINGER,
};
use crate::only_way::OnlyWays;
use crate::own_audiences::OwnAudiences;
use crate::paths::Paths;
use crate::peer::{Peer, Session};
use crate::rng::Jitter;
use crate::topology::Topology;
use crate::wire::Message;
use crate::{BridgeId, BridgeIndex, Forwarding, GroupName, Keyring, Learners, LinkId, Refusal, ZoneName};

impl Router {
    /// # Panics
    /// If the members are more than 4,096 or do not list the bridge itself: the configuration is checked before.
    pub fn new(config: RouterConfig, keyring: Arc<dyn Keyring + Send + Sync>, now: Instant) -> Router {
        let RouterConfig { federation, id, zone, run, members, limits, seed, policy_digest } = config;
        assert!(members.len() <= BRIDGES_MAX, "a federation has 4,096 bridges at most");
        assert_eq!(members.get(&id), Some(&zone), "the federation document lists this bridge");
        let bridges: Arc<Vec<(BridgeId, ZoneName)>> =
            Arc::new(members.iter().map(|(id, zone)| (id.clone(), zone.clone())).collect());
        let place = bridges.binary_search_by(|(other, _)| other.cmp(&id)).expect("checked above");
        let own = BridgeIndex(u16::try_from(place).expect("checked above"));
        let mut only_ways = OnlyWays::new(now);
        let forwarding = Arc::new(Forwarding {
            generation: 0,
            own,
            bridges: Arc::clone(&bridges),
            interest: Arc::default(),
            paths: Arc::new(Paths::new(
                own,
                Arc::clone(&bridges),
                Graph::new(&vec![Vec::new(); bridges.len()]),
                only_ways.demand(now),
            )),
            links: Vec::new(),
        });
        let mut router = Router {
            federation,
            id,
            run,
            members,
            bridges: Arc::clone(&bridges),
            own,
            limits,
            policy_digest,
            keyring,
            jitter: Jitter::new(seed),
            peers: BTreeMap::new(),
            topology: Topology::new(Arc::clone(&bridges)),
            damping: Damping::default(),
            only_ways,
            interest: BTreeMap::new(),
            own_interest: OwnAudiences::new(zone, limits.audiences_per_owner_max),
            version_floor: 0,
            spoke: BTreeMap::new(),
            clones: BTreeMap::new(),
            jumped_over: None,
            seq: 0,
            originated_at: None,
            originate_at: None,
            flushed_at: None,
            flush_at: None,
            shut_down: false,
            interest_changed: false,
            in_turn: false,
            forwarding_changed: true,
            lease_end: None,
            forwarding,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        };
        router.originate(now);
        router.refresh(now);
        router
    }

    /// A session with an authenticated neighbour begins. Links beyond the limit and to bridges that the federation
    /// document does not list are reported dead at once.
    pub fn handle_link_up(&mut self, link: LinkId, bridge: BridgeId, cost: u32, now: Instant) {
        let listed = self.members.contains_key(&bridge) && bridge != self.id;
        if !listed {
            self.events.push_back(RouterEvent::Refused {
                peer: bridge.clone(),
                why: Refusal::Unlisted(bridge.clone()),
            });
        }
        if !listed || self.peers.len() >= self.limits.links_max {
            self.events.push_back(RouterEvent::LinkDead(link));
            return;
        }
        // The first version goes out with the first link, so that a run without interest is known to have none.
        if !self.interest.contains_key(&self.id) {
            self.flush_interest(now);
        }
        let digest_at = now + DIGEST_INTERVAL + Duration::from_millis(self.jitter.below(500));
        self.peers.insert(link, Peer::new(bridge, cost.max(1), digest_at, now));
        self.send_open(link);
        self.refresh(now);
    }

    /// The session is over, whoever ended it.
    pub fn handle_link_down(&mut self, link: LinkId, now: Instant) {
        if let Some(peer) = self.peers.remove(&link) {
            self.transmits.retain(|transmit| transmit.link != link);
            if let Session::Up(run) = peer.session {
                self.forwarding_changed = true;
                self.on_flap(&peer.bridge, run, now);
                self.originate_soon(now);
            }
            self.refresh(now);
        }
    }

    /// Until [`Router::end_turn`] what others want may be newer than [`Router::forwarding`]: one new snapshot comes of many
    /// inputs. Drain nothing before that.
    pub fn begin_turn(&mut self) {
        self.in_turn = true;
    }

    pub fn end_turn(&mut self, now: Instant) {
        self.in_turn = false;
        self.refresh(now);
    }

    /// One control message, its length prefix taken off. After an error the link is to be closed.
    pub fn handle_message(
        &mut self,
        link: LinkId,
        message: Bytes,
        now: Instant,
    ) -> Result<(), ProtocolViolation> {
        let message = Message::decode(message)?;
        let Some(peer) = self.peers.get_mut(&link) else { return Ok(()) };
        peer.heard_at = now;
        let result = self.on_message(link, message, now);
        self.refresh(now);
        result
    }

    /// Whatever was due until `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let dead: Vec<LinkId> =
            self.peers.iter().filter(|(_, peer)| peer.is_dead(now)).map(|(link, _)| *link).collect();
        for link in dead {
            self.handle_link_down(link, now);
            self.events.push_back(RouterEvent::LinkDead(link));
        }
        if self.topology.next_expiry().is_some_and(|end| end <= now) {
            let carrying = self.carrying();
            self.forwarding_changed |= self.topology.expire(now);
            // A neighbour may have been in an older run than the one that is forgotten now.
            if self.carrying() != carrying {
                self.originate_soon(now);
            }
        }
        self.expire_interest(now);
        if self.originate_at.is_some_and(|at| at <= now) {
            self.originate(now);
        }
        if self.own_interest.expire(now) || self.flush_at.is_some_and(|at| at <= now) {
            self.flush_interest(now);
        }
        if self.renew_at().is_some_and(|at| at <= now) {
            self.sign_interest(now, true);
        }
        self.list_again(now);
        let links: Vec<LinkId> = self.peers.keys().copied().collect();
        for link in links {
            self.on_peer_timeout(link, now);
        }
        self.refresh(now);
    }

    fn on_peer_timeout(&mut self, link: LinkId, now: Instant) {
        let Some(peer) = self.peers.get(&link) else { return };
        // Who is in an older run than its name is asked for the run that it is in now.
        let open_received = self.carries(peer);
        let digest_jitter = Duration::from_millis(self.jitter.below(500));
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if peer.hello_at <= now {
            peer.hello_at = now + HELLO_INTERVAL;
            let hello =
                Message::Hello { open_received, digest_received: peer.digest_received || !peer.is_up() };
            self.send(link, &hello);
        }
        let Some(peer) = self.peers.get_mut(&link) else { return };
        if peer.digest_at <= now {
            peer.digest_at = now + DIGEST_INTERVAL + digest_jitter;
            if peer.is_up() {
                self.send_digest(link);
            }
        }
        let Some(peer) = self.peers.get(&link) else { return };
        for item in peer.flood.due(now) {
            self.push(link, &item, true, now);
            // What could not be repeated, because the session or the thing itself is gone, is not due any more.
            if let Some(peer) = self.peers.get_mut(&link)
                && peer.flood.is_due(&item, now)
            {
                peer.flood.forget(&item);
            }
        }
        if let Some(peer) = self.peers.get_mut(&link) {
            peer.flood.rearm(now);
        }
    }

    /// Counts a subscription. The first one for a filter becomes interest everywhere. After the good-bye none does:
    /// nobody would be left to take it back.
    pub fn subscribe(&mut self, filter: &TopicFilter, now: Instant) -> Result<(), InterestFull> {
        self.subscribe_all(std::slice::from_ref(filter), now)
    }

    /// Counts all of these, as one change, or none of them.
    pub fn subscribe_all(&mut self, filters: &[TopicFilter], now: Instant) -> Result<(), InterestFull> {
        if self.shut_down {
            return Ok(());
        }
        for (taken, filter) in filters.iter().enumerate() {
            let room = if self.own_interest.contains(filter) { Ok(()) } else { self.check_room() };
            if let Err(full) = room.and_then(|()| self.own_interest.add(filter)) {
                filters[..taken].iter().for_each(|filter| self.unsubscribe(filter, now));
                self.flush_soon(now);
                return Err(full);
            }
        }
        self.flush_soon(now);
        self.refresh(now);
        Ok(())
    }

    /// R14
    fn flush_soon(&mut self, now: Instant) {
        if self.own_interest.is_touched() {
            let next = self.flushed_at.map(|at| at + COALESCE).filter(|next| *next > now);
            match next {
                None => self.flush_interest(now),
                Some(next) => self.flush_at = Some(next),
            }
        }
    }

    /// Takes one subscription away. The last one leaves the filter to linger (R15). After the good-bye none does: what
    /// lasts is wanted whoever leaves, and who came after it was not counted.
    pub fn unsubscribe(&mut self, filter: &TopicFilter, now: Instant) {
        if self.shut_down {
            return;
        }
        let jitter = Duration::from_millis(self.jitter.below(LINGER_JITTER_MS));
        self.own_interest.release(filter, now + LINGER + jitter);
    }

    /// A consumer group is behind this bridge, with a connected member or without one, or is here no more (`None`).
    /// Told at once: origins choose by it.
    pub fn set_group(
        &mut self,
        filter: &TopicFilter,
        name: &GroupName,
        live: Option<bool>,
        now: Instant,
    ) -> Result<(), InterestFull> {
        if self.shut_down {
            return Ok(());
        }
        if live.is_some() && !self.own_interest.contains_group(filter, name) {
            self.check_room()?;
        }
        self.own_interest.set_group(filter, name, live)?;
        if self.own_interest.is_touched() {
            self.flush_interest(now);
        }
        self.refresh(now);
        Ok(())
    }

    fn check_room(&self) -> Result<(), InterestFull> {
        if self.own_interest.len() >= self.limits.filters_per_owner_max {
            return Err(InterestFull::Owner(self.own_interest.len()));
        }
        let total = self.filters_of_others() + self.own_interest.len();
        if total >= self.limits.filters_total_max {
            return Err(InterestFull::Total(total));
        }
        Ok(())
    }

    /// R40: who may learn of what this bridge wants; everyone until this is called. Where the answer is another one than
    /// before, what is wanted moves to the set of those that may: they are told at once, the others lose it within a
    /// second.
    pub fn set_learners(&mut self, learners: Arc<dyn Learners + Send + Sync>, now: Instant) {
        self.own_interest.set_learners(learners, now);
        if self.own_interest.is_touched() {
            self.flush_interest(now);
        }
        self.refresh(now);
    }

    /// R22: the filters of the run before, kept until their subscribers had time to come back. Beyond the limits
    /// the rest is left out.
    pub fn restore_interest(&mut self, filters: impl IntoIterator<Item = TopicFilter>, now: Instant) {
        let room = self.limits.filters_per_owner_max.saturating_sub(self.own_interest.len());
        for filter in filters.into_iter().take(room) {
            self.own_interest.restore(&filter, now + RESTORED_LINGER);
        }
        self.flush_interest(now);
        self.refresh(now);
    }

    /// The policies changed; neighbours see it in the record.
    pub fn set_policy_digest(&mut self, digest: [u8; 32], now: Instant) {
        if self.policy_digest != digest {
            self.policy_digest = digest;
            self.originate_soon(now);
            self.refresh(now);
        }
    }

    /// The certificate was rotated: everything is signed anew, with higher versions.
    pub fn resign(&mut self, now: Instant) {
        self.originate(now);
        self.sign_interest(now, true);
        self.refresh(now);
    }

    /// R23: says good-bye: no links, and of its interest only `lasting`, the filters of subscriptions that outlive this
    /// process: what is published for them while it is away waits for it. Consumer groups stay, without a member. Drain the
    /// transmits, then close the links.
    pub fn shutdown(&mut self, lasting: &BTreeSet<TopicFilter>, now: Instant) {
        self.shut_down = true;
        self.own_interest.leave(lasting);
        self.flush_interest(now);
        self.originate(now);
        self.refresh(now);
    }

    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    pub fn poll_event(&mut self) -> Option<RouterEvent> {
        self.events.pop_front()
    }

    /// When to call [`Router::handle_timeout`]. It may have nothing to do then, where what was due has been settled.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = [
            self.originate_at,
            self.flush_at,
            self.renew_at(),
            self.own_interest.next_end(),
            self.topology.next_expiry(),
            self.lease_end,
            self.damping.next_timeout(),
        ];
        own.into_iter().flatten().chain(self.peers.values().map(Peer::next_timeout)).min()
    }

    /// The current snapshot.
    pub fn forwarding(&self) -> Arc<Forwarding> {
        Arc::clone(&self.forwarding)
    }
}
