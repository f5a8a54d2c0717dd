//! The beginning of a run: a core from what the log holds, and from a word that the log is behind (M20).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use meshbridge_routing::{BridgeId, EventKey, LANES, Run};
use roaring::RoaringTreemap;

use super::behind::Behind;
use super::doubt::Doubt;
use super::local::Local;
use super::receiver::Lanes;
use super::{Action, Config, Core, LateNews, Speaker};
use crate::record::Record;
use crate::state::{Effect, State};

impl Core {
    /// Goes on from what the log holds. `run` is new, and already durable; `seed` spreads timers.
    pub fn recover(mut state: State, config: Config, spool: u128, run: Run, seed: u64, now: Instant) -> Core {
        let given_before = state.given.clone();
        let started = Record::Started { run };
        state.apply(&started, &mut Vec::new());
        let mut core = Core {
            own: Speaker { spool, run },
            begun: vec![run],
            given_before,
            behind: Behind::default(),
            doubt: Doubt::default(),
            config,
            peers: BTreeMap::new(),
            local: Local::default(),
            next_seq: vec![1; usize::from(LANES)],
            last_for: HashMap::new(),
            first_body: state.next_body,
            never_sent: RoaringTreemap::new(),
            began_at: state.next_body,
            durable_body: state.next_body - 1,
            expiries: BTreeSet::new(),
            records: vec![(started, Bytes::new())],
            then: Vec::new(),
            ticket: 0,
            committed: 0,
            waiting: VecDeque::new(),
            claims: HashMap::new(),
            actions: VecDeque::new(),
            credit: u64::MAX,
            random: seed | 1,
            late: LateNews::default(),
            state,
        };
        core.resume(now);
        core
    }

    fn resume(&mut self, now: Instant) {
        let own = self.state.own.clone();
        for (bridge, destination) in &self.state.destinations {
            let sender = &mut self.peers.entry(bridge.clone()).or_default().sender;
            sender.outcomes_noted = destination.outcomes_known;
            sender.unsent =
                destination.lanes.values().flat_map(|lane| lane.values().map(|p| p.body)).collect();
        }
        for (bridge, source) in &self.state.sources {
            self.peers.entry(bridge.clone()).or_default().lanes = Lanes::recover(source);
        }
        for (name, bodies) in &self.state.unchosen {
            let effects = bodies.iter().map(|body| Effect::Unchosen { body: *body, name: name.clone() });
            self.actions.extend(effects.map(Action::Effect));
        }
        let mut bodies: Vec<u64> = self.state.events.keys().collect();
        if !self.state.late.is_empty() {
            // As they were offered before: a subscriber that says what it has seen last means that order.
            let (events, late) = (&self.state.events, &self.state.late);
            bodies.sort_by_key(|body| late.place(*body, events.get(body).map_or(0, |event| event.key.seq)));
        }
        for body in &bodies {
            let Some(event) = self.state.events.get(body) else { continue };
            if event.expires > 0 {
                self.expiries.insert((event.expires, *body));
            }
            if event.key.origin != own
                && let Some(peer) = self.peers.get_mut(&event.key.origin)
            {
                peer.lanes.not_offered(&event.key, event.prev);
                if event.local_open {
                    peer.lanes.resumed.insert((event.key.run, event.key.lane), event.key.seq);
                }
            }
        }
        // Of a closed run their numbers are all that puts them in order, in the places that they have among the others.
        let is_closed =
            |key: &EventKey| self.state.sources.get(&key.origin).is_some_and(|s| s.is_closed(key.run));
        let mut closed: HashMap<(BridgeId, Run, u8), BTreeSet<(u64, u64)>> = HashMap::new();
        for body in &bodies {
            let event =
                self.state.events.get(body).filter(|event| event.key.origin != own && is_closed(&event.key));
            if let Some(EventKey { origin, run, lane, seq }) = event.map(|event| event.key.clone()) {
                closed.entry((origin, run, lane)).or_default().insert((seq, *body));
            }
        }
        for body in bodies {
            let Some(event) = self.state.events.get(&body) else { continue };
            if event.key.origin == own {
                if event.local_open || event.open_groups().next().is_some() {
                    self.actions.push_back(Action::Ready { body, out_of_order: false });
                }
                continue;
            }
            let place = (event.key.origin.clone(), event.key.run, event.key.lane);
            if let Some((_, next)) = closed.get_mut(&place).and_then(BTreeSet::pop_first) {
                self.actions.push_back(Action::Ready { body: next, out_of_order: false });
            } else {
                let (key, prev) = (event.key.clone(), event.prev);
                self.offer_in_order(&key, prev, Some(body), now);
            }
        }
    }

    /// The federation remembers a higher epoch of this bridge than its disk does, or [`Action::BeginRun`] has asked for it:
    /// it goes on in another run, as if it had started again. The epoch is durable already.
    pub fn begin_run(&mut self, run: Run, now: Instant) {
        if run.epoch <= self.own.run.epoch {
            return;
        }
        self.write(Record::Started { run }, Bytes::new());
        self.own.run = run;
        self.begun.push(run);
        self.next_seq = vec![1; usize::from(LANES)];
        self.last_for.clear();
        // What was sent was sent by somebody whose word counts no more.
        self.first_body = self.state.next_body;
        for peer in self.peers.values_mut() {
            peer.session = None;
            peer.may_skip_outcomes = false;
            peer.asked = 0;
            peer.ask_at = peer.reachable.then_some(now);
            peer.sender.take_back();
        }
        self.resolve_doubt(run);
    }
}
