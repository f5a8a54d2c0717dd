//! Routers and the links between them in virtual time. What goes wrong is decided in `faults`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{
    Audience, BridgeId, Limits, LinkId, Members, Router, RouterConfig, RouterEvent, Run, ZoneName,
};
use meshbridge_topic::TopicFilter;

use crate::audiences::{Policy, audience_names};
use crate::counts::Counts;
use crate::frames::{Frame, Journey, Parked};
use crate::keyring::FakeKeyring;
use crate::log::Log;
use crate::rng::Rng;

/// How many bridges a world has.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub min: usize,
    pub max: usize,
}

pub struct Node {
    pub id: BridgeId,
    pub zone: ZoneName,
    /// The node's place in the tables of all routers; that of its original for a twin.
    pub place: usize,
    /// `None` while the bridge is down.
    pub router: Option<Router>,
    pub subscriptions: BTreeMap<TopicFilter, u32>,
    /// It has said good-bye, and its links still live.
    pub left: bool,
    pub epoch_on_disk: u64,
    /// The editions of the policies that were in force here, the last one now.
    pub salts: Vec<u64>,
    pub parked: Vec<Parked>,
    woken_for: Option<Instant>,
    /// The versions its router held, of records and of the sets of each audience.
    held: BTreeMap<(BridgeId, Option<Audience>), (Run, u64)>,
}

pub struct Wire {
    pub ends: [usize; 2],
    /// As each end has it configured.
    pub costs: [u32; 2],
    /// The session both ends have, if they have one.
    pub session: Option<LinkId>,
    /// Per direction.
    pub blocked: [bool; 2],
    /// Its twin is no more; it never connects again.
    pub removed: bool,
}

/// What messages meet on their way.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss_percent: u64,
    pub delay_ms_max: u64,
    /// How many take 300 ms, so that others overtake them by far.
    pub slow_percent: u64,
}

impl Weather {
    pub const CALM: Weather = Weather { loss_percent: 0, delay_ms_max: 5, slow_percent: 0 };
}

#[derive(Debug)]
pub enum Event {
    Deliver { wire: usize, to: usize, link: LinkId, payload: Bytes },
    Frame { wire: usize, to: usize, link: LinkId, frame: Frame },
    Wake { node: usize },
    Connect { wire: usize },
    Closed { node: usize, link: LinkId },
}

/// By owner and audience.
pub type Told = HashMap<(usize, Audience), BTreeSet<usize>>;

pub struct World {
    pub nodes: Vec<Node>,
    /// The nodes that are not twins come first.
    pub size: usize,
    pub wires: Vec<Wire>,
    pub policy: Policy,
    pub audience_names: BTreeMap<Vec<u8>, Audience>,
    /// Who was told by whom of what, while these sessions lived.
    pub told_to: RefCell<(Vec<LinkId>, Told)>,
    pub counts: Counts,
    pub log: Log,
    pub now: Instant,
    pub rng: Rng,
    pub weather: Weather,
    /// Control messages of this kind are lost when this node sends them.
    pub lost_kind: Option<(usize, u8)>,
    /// How many control messages of each kind were sent since this was last emptied.
    pub sent: BTreeMap<u8, u64>,
    /// Bridges whose disk was copied or set back since the world was last whole.
    pub copied: BTreeSet<BridgeId>,
    /// The highest epoch that anyone had under a name.
    pub epochs: BTreeMap<BridgeId, u64>,
    pub journeys: Vec<Journey>,
    members: Members,
    pub start: Instant,
    queue: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    links: u64,
    trace: blake3::Hasher,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time; only differences are used")]
    pub fn new(seed: u64, sizes: Sizes, log: Log) -> World {
        let mut rng = Rng::new(seed);
        // The smaller of two draws: most trouble needs few bridges, and few are quick.
        let range = sizes.max - sizes.min + 1;
        let size = sizes.min + rng.pick(range).min(rng.pick(range));
        let start = Instant::now();
        let nodes: Vec<Node> = (0..size)
            .map(|i| {
                let id = BridgeId::parse(&format!("b{i:02}")).expect("a name");
                Node::new(id, ZoneName::parse(&format!("z{}", i % 4)).expect("a name"), i)
            })
            .collect();
        let mut world = World {
            members: nodes.iter().map(|node| (node.id.clone(), node.zone.clone())).collect(),
            nodes,
            size,
            wires: Vec::new(),
            policy: [Policy::Everyone, Policy::Split, Policy::Narrow][(seed % 3) as usize],
            audience_names: audience_names(),
            told_to: RefCell::default(),
            counts: Counts::default(),
            log,
            now: start,
            rng,
            weather: Weather::CALM,
            lost_kind: None,
            sent: BTreeMap::new(),
            copied: BTreeSet::new(),
            epochs: BTreeMap::new(),
            journeys: Vec::new(),
            start,
            queue: BTreeMap::new(),
            sequence: 0,
            links: 0,
            trace: blake3::Hasher::new(),
        };
        // A tree of random shape or a line, chords, and now and then a second link between the same two.
        let chord_percent = (140 / size as u64).max(4);
        let line = world.rng.percent(40);
        for b in 1..size {
            let parent = if line { b - 1 } else { world.rng.pick(b) };
            for a in 0..b {
                if a == parent || world.rng.percent(chord_percent) {
                    world.add_wire([a, b]);
                    if world.rng.percent(6) {
                        world.add_wire([a, b]);
                    }
                }
            }
        }
        (0..size).for_each(|node| world.boot(node));
        world
    }

    /// Few distinct costs, so that ties are common; the ends rarely disagree.
    pub fn add_wire(&mut self, ends: [usize; 2]) {
        let cost = [10, 10, 20, 30][self.rng.pick(4)];
        let other = if self.rng.percent(15) { 25 } else { cost };
        self.wires.push(Wire {
            ends,
            costs: [cost, other],
            session: None,
            blocked: [false; 2],
            removed: false,
        });
    }

    pub fn trace(&self) -> [u8; 32] {
        *self.trace.finalize().as_bytes()
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// The node at this place is another one now, which no timer knows.
    pub fn wake_again(&mut self, node: usize) {
        self.nodes[node].woken_for = None;
        self.drain(node);
    }

    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.on_event(event);
        }
        self.now = end;
    }

    /// A new run over the disk as it is: the caller has counted the epoch, or not. What was wanted lingers, and half
    /// of the subscribers come back at once.
    pub fn start_router(&mut self, node: usize) {
        let edition = self.edition(node);
        let state = &mut self.nodes[node];
        let keyring = FakeKeyring::new(state.id.clone(), state.zone.clone());
        let run = Run { epoch: state.epoch_on_disk, nonce: self.rng.next() };
        let config = RouterConfig {
            federation: "sim".to_owned(),
            id: state.id.clone(),
            zone: state.zone.clone(),
            run,
            members: self.members.clone(),
            limits: Limits::default(),
            seed: self.rng.next(),
            policy_digest: [0; 32],
        };
        let mut router = Router::new(config, Arc::new(keyring), self.now);
        router.set_learners(Arc::new(edition), self.now);
        router.restore_interest(state.subscriptions.keys().cloned(), self.now);
        let rng = &mut self.rng;
        state.subscriptions.retain(|_, _| rng.percent(50));
        for (filter, count) in &state.subscriptions {
            (0..*count).for_each(|_| router.subscribe(filter, self.now).expect("far below the limits"));
        }
        state.router = Some(router);
        state.left = false;
        state.held.clear();
        let highest = self.epochs.entry(state.id.clone()).or_default();
        *highest = run.epoch.max(*highest);
        self.counts.restarts += 1;
        let id = self.nodes[node].id.clone();
        self.log.fault(self.elapsed(), || format!("{id} (node {node}) starts as {run}"));
        self.drain(node);
        for wire in self.wires_of(node) {
            self.connect_later(wire);
        }
    }

    pub fn stop_router(&mut self, node: usize) {
        self.log.fault(self.elapsed(), || format!("node {node} stops"));
        let state = &mut self.nodes[node];
        state.router = None;
        state.woken_for = None;
        state.parked.clear();
        for wire in self.wires_of(node) {
            self.close(wire);
        }
    }

    pub fn wires_of(&self, node: usize) -> Vec<usize> {
        (0..self.wires.len()).filter(|wire| self.wires[*wire].ends.contains(&node)).collect()
    }

    pub fn close(&mut self, wire: usize) {
        let Some(link) = self.wires[wire].session.take() else { return };
        for node in self.wires[wire].ends {
            // Each end finds out by itself.
            let delay = self.rng.below(100);
            self.at(delay, Event::Closed { node, link });
        }
        self.connect_later(wire);
    }

    pub fn connect_later(&mut self, wire: usize) {
        let delay = 200 + self.rng.below(300);
        self.at(delay, Event::Connect { wire });
    }

    fn at(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + Duration::from_millis(delay_ms), self.sequence), event);
    }

    fn on_event(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Wake { node } => {
                if self.nodes[node].woken_for.take_if(|at| *at <= now).is_some() {
                    if let Some(router) = &mut self.nodes[node].router {
                        router.handle_timeout(now);
                    }
                    self.drain(node);
                }
            }
            Event::Closed { node, link } => {
                if let Some(router) = &mut self.nodes[node].router {
                    router.handle_link_down(link, now);
                    self.drain(node);
                }
            }
            Event::Connect { wire } => self.connect(wire),
            Event::Deliver { wire, to, link, payload } => {
                if self.wires[wire].session != Some(link) {
                    return;
                }
                self.counts.delivered += 1;
                self.trace.update(&(now - self.start).as_nanos().to_le_bytes());
                self.trace.update(&[to as u8]);
                self.trace.update(&payload);
                self.log
                    .event(now - self.start, || format!("node {to} hears {} on {link:?}", shown(&payload)));
                if let Some(router) = &mut self.nodes[to].router {
                    router.handle_message(link, payload, now).expect("nobody breaks the protocol");
                    self.drain(to);
                }
            }
            Event::Frame { wire, to, link, frame } => {
                if self.wires[wire].session == Some(link) && self.nodes[to].router.is_some() {
                    self.on_frame(to, frame);
                } else {
                    self.counts.frames_lost += 1;
                }
            }
        }
    }

    fn connect(&mut self, wire: usize) {
        let Wire { ends, costs, session, blocked, removed } = &self.wires[wire];
        let alive = ends.iter().all(|node| self.nodes[*node].router.is_some());
        if session.is_some() || *removed || !alive {
            return;
        }
        if blocked.contains(&true) {
            return self.connect_later(wire);
        }
        let (ends, costs) = (*ends, *costs);
        self.links += 1;
        let link = LinkId(self.links);
        self.log.event(self.elapsed(), || format!("{link:?} joins nodes {ends:?}"));
        self.wires[wire].session = Some(link);
        for side in [0, 1] {
            let other = self.nodes[ends[1 - side]].id.clone();
            let router = self.nodes[ends[side]].router.as_mut().expect("alive");
            router.handle_link_up(link, other, costs[side], self.now);
            self.drain(ends[side]);
        }
    }

    /// Events first: the epoch is on the disk before anything leaves.
    pub fn drain(&mut self, node: usize) {
        let mut dead = Vec::new();
        let mut changed = false;
        while let Some(event) = self.nodes[node].router.as_mut().and_then(Router::poll_event) {
            if event != RouterEvent::ForwardingChanged {
                self.log.event(self.elapsed(), || format!("node {node}: {event:?}"));
            }
            match event {
                RouterEvent::InterestChanged(_) | RouterEvent::Damped { .. } => {}
                RouterEvent::EpochRaised(epoch) => self.on_epoch_raised(node, epoch),
                RouterEvent::LinkDead(link) => dead.push(link),
                RouterEvent::Refused { peer, why } => panic!("a true statement of {peer} was refused: {why}"),
                RouterEvent::ForwardingChanged => changed = true,
                RouterEvent::CloneDetected { bridge, runs } => {
                    let copied = self.copied.contains(&bridge);
                    assert!(copied, "invariant_only_copies_are_clones: {bridge} {runs:?} at node {node}");
                    self.counts.clones_detected += 1;
                }
            }
        }
        while let Some(transmit) = self.nodes[node].router.as_mut().and_then(Router::poll_transmit) {
            self.transmit(node, transmit.link, transmit.payload);
        }
        if changed {
            self.invariant_versions_never_go_back(node);
            self.resolve_parked(node);
        }
        for link in dead {
            if let Some(wire) = self.wires.iter().position(|wire| wire.session == Some(link)) {
                self.close(wire);
            }
        }
        let timeout = self.nodes[node].router.as_ref().and_then(Router::poll_timeout);
        if let Some(at) = timeout.filter(|at| self.nodes[node].woken_for.is_none_or(|woken| *at < woken)) {
            self.nodes[node].woken_for = Some(at);
            self.sequence += 1;
            self.queue.insert((at.max(self.now), self.sequence), Event::Wake { node });
        }
    }

    /// R20: above what anyone had under this name, by one, and only for a bridge whose disk lies.
    fn on_epoch_raised(&mut self, node: usize, epoch: u64) {
        let state = &mut self.nodes[node];
        let highest = self.epochs.entry(state.id.clone()).or_default();
        assert!(epoch > state.epoch_on_disk, "invariant_epochs_rise: {} to {epoch}", state.epoch_on_disk);
        assert!(
            epoch <= *highest + 1,
            "invariant_epochs_rise_by_need: {epoch} where {highest} was the highest"
        );
        assert!(self.copied.contains(&state.id), "invariant_honest_disks_need_no_jump: {}", state.id);
        *highest = epoch.max(*highest);
        state.epoch_on_disk = epoch;
        self.counts.jumps += 1;
    }

    /// R7: an older version never replaces a newer one, whatever order they arrive in.
    fn invariant_versions_never_go_back(&mut self, node: usize) {
        let Node { router: Some(router), held, id, .. } = &mut self.nodes[node] else { return };
        let records = router.records().map(|record| (&record.bridge, (record.run, record.seq)));
        for (bridge, version) in records {
            let before = held.insert((bridge.clone(), None), version).unwrap_or(version);
            assert!(
                before <= version,
                "invariant_versions_never_go_back: {bridge} at {id}: {before:?} {version:?}"
            );
        }
        for view in router.interest_sets() {
            let version = (view.run, view.version);
            let before =
                held.insert((view.bridge.clone(), Some(view.audience.clone())), version).unwrap_or(version);
            assert!(before <= version, "invariant_versions_never_go_back: {view:?} at {id} after {before:?}");
        }
    }

    fn transmit(&mut self, from: usize, link: LinkId, payload: Bytes) {
        let Some((index, to, blocked)) = self.wire_of(from, link) else { return };
        *self.sent.entry(payload[0]).or_default() += 1;
        self.invariant_nobody_is_told_what_it_may_not_learn(to, &payload);
        let chosen = self.lost_kind == Some((from, payload[0]));
        if blocked || chosen || self.rng.percent(self.weather.loss_percent) {
            self.counts.lost += 1;
            self.log
                .event(self.elapsed(), || format!("lost: {} of node {from} on {link:?}", shown(&payload)));
            return;
        }
        let delay = self.delay();
        self.at(delay, Event::Deliver { wire: index, to, link, payload });
    }

    /// Data streams lose nothing while the session lives.
    pub fn transmit_frame(&mut self, from: usize, link: LinkId, frame: Frame) {
        match self.wire_of(from, link) {
            Some((wire, to, false)) => {
                let delay = self.delay();
                self.at(delay, Event::Frame { wire, to, link, frame });
            }
            Some((_, _, true)) | None => self.counts.frames_lost += 1,
        }
    }

    /// The wire of a session, its other end, and whether that direction is cut.
    fn wire_of(&self, from: usize, link: LinkId) -> Option<(usize, usize, bool)> {
        let index = self.wires.iter().position(|wire| wire.session == Some(link))?;
        let wire = &self.wires[index];
        let direction = usize::from(wire.ends[0] != from);
        Some((index, wire.ends[1 - direction], wire.blocked[direction]))
    }

    /// Every message takes its own time, so they overtake each other.
    fn delay(&mut self) -> u64 {
        let slow = self.rng.percent(self.weather.slow_percent);
        if slow { 300 } else { 1 + self.rng.below(self.weather.delay_ms_max) }
    }
}

impl Node {
    pub fn new(id: BridgeId, zone: ZoneName, place: usize) -> Node {
        Node {
            id,
            zone,
            place,
            router: None,
            subscriptions: BTreeMap::new(),
            left: false,
            epoch_on_disk: 0,
            salts: vec![0],
            parked: Vec::new(),
            woken_for: None,
            held: BTreeMap::new(),
        }
    }
}

/// The kind of a control message and its first bytes.
fn shown(payload: &[u8]) -> String {
    let kinds = ["?", "open", "hello", "link-state", "ack", "digest", "pull", "delta", "snapshot", "jump"];
    let kind = kinds.get(usize::from(payload[0])).unwrap_or(&"?");
    format!(
        "{kind} {}",
        payload[1..].iter().take(24).map(|byte| byte.escape_ascii().to_string()).collect::<String>()
    )
}
