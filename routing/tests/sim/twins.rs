//! A copied disk, and both copies speak: the same name, the same epoch, two nonces (R21).

use std::time::Duration;

use meshbridge_routing::{BridgeIndex, DestinationSet, Passage};

use crate::reference;
use crate::world::{Node, Weather, World};

/// Longer than the silence after which a newcomer may take the name over.
const BOTH_SPEAK: Duration = Duration::from_secs(40);
/// Frames that went into one of the twins are lost; their origin sends them again.
const TRIES: usize = 6;

impl World {
    /// Both live for a while, and third routers still reach each other. Then one of them ends; which one is chance.
    pub fn twins(&mut self) {
        self.weather = Weather { loss_percent: 0, delay_ms_max: 20, slow_percent: 5 };
        let original = self.rng.pick(self.size);
        let twin = self.add_twin(original);
        self.run_for(BOTH_SPEAK);
        self.invariant_third_routers_reach_each_other(original);
        if self.rng.percent(50) {
            self.stop_router(twin);
            self.remove_wires_of(twin);
        } else {
            self.stop_router(original);
            self.nodes.swap(original, twin);
            for wire in self.wires_of(twin) {
                for end in self.wires[wire].ends.iter_mut().filter(|end| **end == twin) {
                    *end = original;
                }
            }
            self.wake_again(original);
        }
    }

    fn add_twin(&mut self, original: usize) -> usize {
        let twin = self.nodes.len();
        let Node { id, zone, epoch_on_disk, subscriptions, .. } = &self.nodes[original];
        let mut node = Node::new(id.clone(), zone.clone(), original);
        node.epoch_on_disk = *epoch_on_disk;
        node.subscriptions = subscriptions.clone();
        self.copied.insert(node.id.clone());
        self.nodes.push(node);
        self.counts.twins += 1;
        self.log.fault(self.elapsed(), || format!("node {twin} is a copy of node {original}"));
        for other in (0..self.size).filter(|other| *other != original) {
            if self.rng.percent(40) {
                self.add_wire([other, twin]);
            }
        }
        if self.wires_of(twin).is_empty() {
            self.add_wire([(original + 1) % self.size, twin]);
        }
        self.start_router(twin);
        twin
    }

    fn remove_wires_of(&mut self, node: usize) {
        for wire in self.wires_of(node) {
            self.wires[wire].removed = true;
        }
    }

    /// Whatever the twins say, who is connected without them is served, and that without loops.
    fn invariant_third_routers_reach_each_other(&mut self, original: usize) {
        for origin in (0..self.size).filter(|node| *node != original) {
            let mut waiting: DestinationSet = reference::reachable_without(self, origin, original)
                .into_iter()
                .map(|to| BridgeIndex(to as u16))
                .collect();
            for _ in 0..TRIES {
                self.forget_frames();
                self.send_frame(origin, waiting.clone(), Passage::ANY);
                self.run_for(Duration::from_secs(2));
                let arrived = self.journeys.iter().flat_map(|journey| &journey.arrived);
                for to in arrived.filter_map(|path| path.last()) {
                    waiting.remove(BridgeIndex(*to as u16));
                }
                if waiting.is_empty() {
                    break;
                }
            }
            let live = self.counts.jumps;
            assert!(
                waiting.is_empty(),
                "invariant_third_routers_reach_each_other: {origin} to {waiting:?} past {original}, {live} jumps"
            );
        }
        self.forget_frames();
    }
}
