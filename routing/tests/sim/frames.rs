//! Frames on their way through the snapshots of the routers, as the pipeline of a bridge takes them.

use std::collections::BTreeSet;

use meshbridge_routing::{BridgeIndex, CarrierSet, DeniedLinks, DestinationSet, Passage, Split, ZoneName};

use crate::rng::Rng;
use crate::world::World;

/// One copy of a frame.
#[derive(Clone, Debug)]
pub struct Frame {
    journey: usize,
    destinations: DestinationSet,
    passage: Passage,
    hop_limit: u8,
    /// The nodes it came through, the origin first.
    path: Vec<usize>,
}

/// A frame that found no next hop; asked again when the snapshot changes.
#[derive(Clone, Debug)]
pub struct Parked(Frame);

/// What became of all copies of a frame.
#[derive(Clone, Debug)]
pub struct Journey {
    pub origin: usize,
    pub destinations: DestinationSet,
    pub passage: Passage,
    pub hop_limit: u8,
    /// The way to each destination that has it.
    pub arrived: Vec<Vec<usize>>,
    /// Every bridge that some copy came to.
    pub visited: Vec<usize>,
}

/// The classes of events that are tried.
pub fn classes() -> Vec<Passage> {
    let zone = |name: &str| ZoneName::parse(name).expect("a name");
    let denied = |pairs: &[(&str, &str)]| DeniedLinks::between(pairs.iter().map(|(a, b)| (zone(a), zone(b))));
    vec![
        Passage::ANY,
        CarrierSet::zones([]).into(),
        CarrierSet::zones([zone("z0"), zone("z2")]).into(),
        CarrierSet::zones([zone("z1"), zone("z2"), zone("z3")]).into(),
        Passage { carriers: CarrierSet::All, denied: denied(&[("z1", "z0")]) },
        Passage { carriers: CarrierSet::All, denied: denied(&[("z0", "z1"), ("z1", "z2"), ("z3", "z0")]) },
        Passage {
            carriers: CarrierSet::zones([zone("z0"), zone("z1"), zone("z2")]),
            denied: denied(&[("z0", "z2")]),
        },
    ]
}

/// One of them.
pub fn some_class(rng: &mut Rng) -> Passage {
    let mut all = classes();
    let one = rng.pick(all.len());
    all.swap_remove(one)
}

impl World {
    pub fn send_frame(&mut self, origin: usize, destinations: DestinationSet, passage: Passage) {
        let Some(router) = &self.nodes[origin].router else { return };
        if destinations.is_empty() {
            return;
        }
        let hop_limit = router.forwarding().default_hop_limit(&destinations, &passage);
        let journey = self.journeys.len();
        self.journeys.push(Journey {
            origin,
            destinations: destinations.clone(),
            passage: passage.clone(),
            hop_limit,
            arrived: Vec::new(),
            visited: vec![origin],
        });
        self.counts.frames += 1;
        self.log.event(self.elapsed(), || format!("frame {journey} from node {origin} to {destinations:?}"));
        self.forward(origin, Frame { journey, destinations, passage, hop_limit, path: vec![origin] });
    }

    pub fn on_frame(&mut self, at: usize, mut frame: Frame) {
        let here = BridgeIndex(self.nodes[at].place as u16);
        self.log.event(self.elapsed(), || format!("frame {} at node {at}: {frame:?}", frame.journey));
        // R43
        let (before, zone) = (&self.nodes[frame.path[frame.path.len() - 1]].zone, &self.nodes[at].zone);
        let is_denied = frame.passage.denied.contains(before, zone);
        assert!(!is_denied, "invariant_no_denied_link: {before} to {zone}: {frame:?}");
        self.counts.frames_twice_at_a_bridge += u64::from(frame.path.contains(&at));
        frame.path.push(at);
        let Some(journey) = self.journeys.get_mut(frame.journey) else { return };
        journey.visited.push(at);
        let hops = frame.path.len() - 1;
        assert!(hops <= usize::from(journey.hop_limit), "invariant_hop_limit: {hops} hops: {frame:?}");
        if frame.destinations.contains(here) {
            assert!(
                journey.destinations.contains(here),
                "invariant_no_stranger_is_served: {journey:?} at {at}"
            );
            let again = journey.arrived.iter().any(|path| path.last() == Some(&at));
            assert!(!again, "invariant_no_destination_served_twice: {journey:?} at {at}");
            journey.arrived.push(frame.path.clone());
            self.counts.frames_arrived += 1;
            frame.destinations.remove(here);
        }
        if frame.destinations.is_empty() {
            return;
        }
        let zone = &self.nodes[at].zone;
        assert!(frame.passage.carriers.contains(zone), "invariant_carriers: {zone} carries {frame:?}");
        if frame.hop_limit <= 1 {
            self.counts.frames_at_hop_limit += 1;
            return;
        }
        frame.hop_limit -= 1;
        self.forward(at, frame);
    }

    fn forward(&mut self, at: usize, frame: Frame) {
        let Some(router) = &self.nodes[at].router else { return };
        let from = frame.path.len().checked_sub(2).map(|before| self.nodes[frame.path[before]].id.clone());
        let forwarding = router.forwarding();
        let mut split = Split::default();
        forwarding.split(&frame.destinations, &frame.passage, from.as_ref(), &mut split);
        let from = from.and_then(|from| forwarding.index_of(&from));
        let back = split.hops.iter().any(|hop| Some(hop.next) == from);
        assert!(!back, "invariant_never_back: {frame:?} at {at}: {split:?}");
        let mut parts: Vec<BridgeIndex> = split.unreachable.iter().chain(split.parked.iter()).collect();
        parts.extend(split.hops.iter().flat_map(|hop| hop.destinations.iter()));
        parts.sort();
        let all = frame.destinations.iter().eq(parts);
        assert!(all && !split.here, "invariant_split_is_a_partition: {frame:?} at {at}: {split:?}");
        for hop in &split.hops {
            let copy = Frame { destinations: hop.destinations.clone(), ..frame.clone() };
            self.transmit_frame(at, hop.link, copy);
        }
        for waiting in [split.unreachable, split.parked].into_iter().filter(|set| !set.is_empty()) {
            self.counts.frames_parked += 1;
            self.nodes[at].parked.push(Parked(Frame { destinations: waiting, ..frame.clone() }));
        }
    }

    pub fn resolve_parked(&mut self, node: usize) {
        for Parked(frame) in std::mem::take(&mut self.nodes[node].parked) {
            self.forward(node, frame);
        }
    }

    /// What was on its way is given up, as after 5 s on a bridge.
    pub fn forget_frames(&mut self) {
        self.nodes.iter_mut().for_each(|node| node.parked.clear());
        self.journeys.clear();
    }
}

impl Journey {
    /// For a stable topology: no bridge has seen it twice.
    pub fn visits_each_bridge_once(&self) -> bool {
        let distinct: BTreeSet<usize> = self.visited.iter().copied().collect();
        distinct.len() == self.visited.len()
    }
}
