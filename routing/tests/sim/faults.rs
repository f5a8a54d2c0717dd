//! What goes wrong, and how it is mended.

use std::time::Duration;

use meshbridge_topic::{Topic, TopicFilter};

use crate::frames;
use crate::world::{Node, Weather, World};

const CHAOS: Duration = Duration::from_secs(8);
/// After the mending, links come back within 2.5 s and the slowest repetition and the next digest within 6.4 s.
pub const SOON: Duration = Duration::from_secs(12);
/// R42: a bridge looks at where events go with each hello, and what it then lists is told to the other end.
pub const NOTICED: Duration = Duration::from_secs(2);
/// Together with [`SOON`] longer than restored interest lingers, than a clone must be silent, and than some digests
/// take after that.
pub const LATER: Duration = Duration::from_secs(70);

pub const FILTERS: [&str; 8] = ["a.b", "a.*", "a.**", "**", "c.d", "c.*", "*.**", "**.d"];
pub const TOPICS: [&str; 6] = ["a", "a.b", "a.x.y", "c.d", "q", "c.x"];
/// More than one part of a snapshot and one delta hold.
const BULK: usize = 300;

/// What may happen in a round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Disks may be copied or set back, so that a run shares its epoch with an earlier one.
    pub copies: bool,
}

impl World {
    /// Faults, churn and frames.
    pub fn chaos(&mut self, round: Round) {
        self.weather = Weather {
            loss_percent: [0, 10, 30, 50, 70][self.rng.pick(5)],
            delay_ms_max: [5, 20, 60][self.rng.pick(3)],
            slow_percent: 5,
        };
        let weather = self.weather;
        self.log.fault(self.elapsed(), || format!("{round:?} in {weather:?}"));
        let end = self.now + CHAOS;
        while self.now < end {
            let pause = self.rng.below(300);
            self.run_for(Duration::from_millis(pause));
            self.fault(round);
            if self.rng.percent(60) {
                self.send_some_frame();
            }
        }
    }

    /// Everything is repaired, and left alone.
    pub fn mend(&mut self) {
        self.log.fault(self.elapsed(), || "all is mended".to_owned());
        self.weather = Weather { loss_percent: 0, delay_ms_max: 20, slow_percent: 5 };
        for node in 0..self.size {
            if self.nodes[node].router.is_none() {
                self.boot(node);
            }
        }
        for wire in 0..self.wires.len() {
            self.wires[wire].blocked = [false; 2];
            self.connect_later(wire);
        }
    }

    fn fault(&mut self, round: Round) {
        let node = self.rng.pick(self.size);
        let wire = self.rng.pick(self.wires.len());
        let up = self.nodes[node].router.is_some();
        match self.rng.below(100) {
            0..25 => self.subscribe_some(node),
            25..42 => self.unsubscribe_some(node),
            42..50 => self.cut(wire),
            50..56 => self.wires[wire].blocked = [false; 2],
            56..62 => {
                self.log.fault(self.elapsed(), || format!("session of wire {wire} ends"));
                self.close(wire);
            }
            62..74 => self.churn_around_a_cut(wire),
            74..82 if up => self.stop_router(node),
            74..82 => self.boot(node),
            // So short that neighbours hear the new run before they have missed the old one.
            82..86 if up => {
                self.stop_router(node);
                let pause = self.rng.below(600);
                self.run_for(Duration::from_millis(pause));
                self.boot(node);
            }
            86..92 if round.copies => self.boot_from_a_copy(node),
            92..93 => self.bulk(node),
            93..95 => self.reload(node),
            _ => {
                if let Some(router) = &mut self.nodes[node].router {
                    router.resign(self.now);
                    router.set_policy_digest([self.rng.below(4) as u8; 32], self.now);
                    self.drain(node);
                }
            }
        }
    }

    /// Silence, one way or both; found out by hello.
    fn cut(&mut self, wire: usize) {
        let both = self.rng.percent(50);
        self.wires[wire].blocked = [true, both];
        self.counts.cuts += 1;
        self.log
            .fault(self.elapsed(), || format!("wire {wire} is cut{}", if both { "" } else { " one way" }));
    }

    /// The ends of a wire change their minds while it breaks and comes back.
    fn churn_around_a_cut(&mut self, wire: usize) {
        let ends = self.wires[wire].ends;
        let steps = 4 + self.rng.pick(6);
        for step in 0..steps {
            let node = ends[self.rng.pick(2)];
            if self.rng.percent(60) {
                self.subscribe_some(node)
            } else {
                self.unsubscribe_some(node)
            }
            if step == steps / 2 {
                if self.rng.percent(50) { self.close(wire) } else { self.cut(wire) }
            }
            let pause = [0, 1, 30, 200][self.rng.pick(4)];
            self.run_for(Duration::from_millis(pause));
        }
        if self.rng.percent(50) {
            self.wires[wire].blocked = [false; 2];
        }
    }

    /// The epoch file is read and counted up, as it should be.
    pub fn boot(&mut self, node: usize) {
        self.nodes[node].epoch_on_disk += 1;
        self.start_router(node);
    }

    /// The disk is that of an earlier run: its epoch comes a second time.
    fn boot_from_a_copy(&mut self, node: usize) {
        if self.nodes[node].router.is_some() {
            self.stop_router(node);
        }
        let state = &mut self.nodes[node];
        state.epoch_on_disk = state.epoch_on_disk.saturating_sub(self.rng.below(3)).max(1);
        self.copied.insert(state.id.clone());
        self.counts.copies += 1;
        self.start_router(node);
    }

    pub fn subscribe(&mut self, node: usize, filter: TopicFilter) {
        if let Some(router) = &mut self.nodes[node].router {
            self.log.fault(self.now - self.start, || format!("node {node} subscribes to {filter}"));
            router.subscribe(&filter, self.now).expect("far below the limits");
            *self.nodes[node].subscriptions.entry(filter).or_default() += 1;
            self.counts.subscriptions += 1;
            self.drain(node);
        }
    }

    pub fn unsubscribe(&mut self, node: usize, filter: &TopicFilter) {
        let Node { router: Some(router), subscriptions, .. } = &mut self.nodes[node] else { return };
        let Some(left) = subscriptions.get_mut(filter) else { return };
        self.log.fault(self.now - self.start, || format!("node {node} unsubscribes from {filter}"));
        router.unsubscribe(filter, self.now);
        *left -= 1;
        if *left == 0 {
            subscriptions.remove(filter);
        }
        self.drain(node);
    }

    fn subscribe_some(&mut self, node: usize) {
        let filter = FILTERS[self.rng.pick(FILTERS.len())];
        self.subscribe(node, TopicFilter::parse(filter).expect("a filter"));
    }

    fn unsubscribe_some(&mut self, node: usize) {
        let count = self.nodes[node].subscriptions.len();
        if count > 0 {
            let chosen = self.rng.pick(count);
            let filter = self.nodes[node].subscriptions.keys().nth(chosen).expect("below the count").clone();
            self.unsubscribe(node, &filter);
        }
    }

    /// Many filters come, or those that came go.
    fn bulk(&mut self, node: usize) {
        let Node { router: Some(router), subscriptions, .. } = &mut self.nodes[node] else { return };
        self.log.fault(self.now - self.start, || format!("many filters of node {node} come or go"));
        let filters = (0..BULK).map(|i| TopicFilter::parse(&format!("bulk.{i}")).expect("a filter"));
        let skip = self.rng.pick(3);
        let coming = !subscriptions.keys().any(|filter| filter.as_str().starts_with("bulk"));
        for (i, filter) in filters.enumerate() {
            if coming {
                router.subscribe(&filter, self.now).expect("far below the limits");
                subscriptions.insert(filter, 1);
            } else if i % 3 != skip && subscriptions.remove(&filter).is_some() {
                router.unsubscribe(&filter, self.now);
            }
        }
        self.counts.bulks += 1;
        self.drain(node);
    }

    /// A frame for who wants some topic, from a bridge that is up.
    fn send_some_frame(&mut self) {
        let origin = self.rng.pick(self.size);
        let topic = Topic::parse(TOPICS[self.rng.pick(TOPICS.len())]).expect("a topic");
        let passage = frames::some_class(&mut self.rng);
        if let Some(router) = &self.nodes[origin].router {
            let mut set = meshbridge_routing::DestinationSet::default();
            router.forwarding().match_topic(&topic, &mut set, &mut Default::default());
            self.send_frame(origin, set, passage);
        }
    }
}
