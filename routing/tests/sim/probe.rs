//! A world at rest is touched once, and must answer in time. Convergence in the end proves little: repetitions and
//! digests mend nearly everything in seconds, so what ought to happen at once is asked for at once.

use std::collections::BTreeSet;
use std::time::Duration;

use meshbridge_routing::{BridgeIndex, DestinationSet};
use meshbridge_topic::TopicFilter;

use crate::frames;
use crate::reference;
use crate::world::{Weather, World};

const HELLO: u8 = 2;
const DIGEST: u8 = 5;
const DELTA: u8 = 7;
/// R15
const LINGER_MS: [u64; 2] = [100, 150];

impl World {
    /// Long enough for a message, a question, its answer and the relays of that; R8 repeats much later.
    fn reach(&self) -> Duration {
        let hops = self.size as u64 + 3;
        Duration::from_millis(2 + Weather::CALM.delay_ms_max * hops)
    }

    /// R8, R9: what has been acknowledged is not repeated; a world at rest says hello and compares, nothing more.
    pub fn invariant_rest_is_silent(&mut self) {
        self.sent.clear();
        self.run_for(Duration::from_secs(6));
        let others: Vec<_> = self.sent.iter().filter(|(kind, _)| ![HELLO, DIGEST].contains(kind)).collect();
        assert!(others.is_empty(), "invariant_rest_is_silent: (kind, messages) {others:?}");
    }

    /// R11, R14, R15: a delta is lost to everyone. The next one shows the gap, and a pull fills it within a round
    /// trip. When the filters go they linger, and then are gone everywhere.
    pub fn invariant_gaps_are_filled_by_the_next_delta(&mut self) {
        let filters = ["gap.one", "gap.two"].map(|text| TopicFilter::parse(text).expect("a filter"));
        let free =
            |node: &usize| !self.nodes[*node].subscriptions.keys().any(|held| held.covers(&filters[0]));
        let free: Vec<usize> = (0..self.size).filter(free).collect();
        if free.is_empty() {
            return;
        }
        let node = free[self.rng.pick(free.len())];
        self.counts.gaps_probed += 1;
        self.weather = Weather::CALM;
        self.lost_kind = Some((node, DELTA));
        self.subscribe(node, filters[0].clone());
        self.run_for(Duration::from_millis(3));
        self.lost_kind = None;
        self.subscribe(node, filters[1].clone());
        self.run_for(self.reach());
        self.expect_filters(node, &filters, true, "invariant_gaps_are_filled_by_the_next_delta");
        filters.iter().for_each(|filter| self.unsubscribe(node, filter));
        self.run_for(Duration::from_millis(LINGER_MS[0] - 1));
        self.expect_filters(node, &filters, true, "invariant_removals_linger");
        self.run_for(Duration::from_millis(LINGER_MS[1] - LINGER_MS[0] + 1) + self.reach());
        self.expect_filters(node, &filters, false, "invariant_withdrawn_interest_ends");
    }

    #[track_caller]
    fn expect_filters(&self, owner: usize, filters: &[TopicFilter], there: bool, invariant: &str) {
        for at in 0..self.size {
            let router = self.nodes[at].router.as_ref().expect("all are up at rest");
            let sets = router.interest_sets().filter(|set| set.bridge == self.nodes[owner].id);
            let known: BTreeSet<TopicFilter> = sets.flat_map(|set| set.filters).collect();
            for filter in filters {
                assert_eq!(known.contains(filter), there, "{invariant}: {filter} of {owner} at {at}");
            }
        }
    }

    /// R5, R17: a bridge has said good-bye while its links still live, so its neighbours list it and it does not
    /// list them. Nobody's way leads through it. It is down afterwards.
    pub fn invariant_who_leaves_carries_nothing(&mut self) {
        self.weather = Weather::CALM;
        let node = self.rng.pick(self.size);
        self.log.fault(self.elapsed(), || format!("node {node} says good-bye"));
        self.nodes[node].router.as_mut().expect("all are up at rest").shutdown(&BTreeSet::new(), self.now);
        self.nodes[node].left = true;
        self.drain(node);
        self.run_for(self.reach());
        reference::invariant_forwarding_equals_reference(self);
        reference::invariant_destinations_equal_reference(self);
        self.stop_router(node);
    }

    /// Frames from everyone to everyone: where there is a way each destination has it once and no bridge sees it
    /// twice.
    pub fn invariant_frames_arrive_once_at_rest(&mut self) {
        self.weather = Weather::CALM;
        self.forget_frames();
        for origin in 0..self.size {
            let all: DestinationSet =
                (0..self.size).filter(|to| *to != origin).map(|to| BridgeIndex(to as u16)).collect();
            let passage = frames::some_class(&mut self.rng);
            self.send_frame(origin, all, passage);
        }
        self.run_for(self.reach());
        for journey in std::mem::take(&mut self.journeys) {
            let best = reference::best_paths(self, journey.origin, &journey.passage);
            for (to, best) in best.iter().enumerate().filter(|(to, _)| *to != journey.origin) {
                let arrived = journey.arrived.iter().filter(|path| path.last() == Some(&to)).count();
                assert_eq!(
                    arrived,
                    usize::from(best.is_some()),
                    "invariant_frames_arrive_once: {to} {journey:?}"
                );
            }
            assert!(journey.visits_each_bridge_once(), "invariant_no_bridge_visited_twice: {journey:?}");
        }
        self.forget_frames();
    }
}
