//! R42 among three: `a` and `b` in zone p, `c` in zone q, a link between each two. What may be carried by p only has one way
//! from `a` to `b`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use meshbridge_routing::{
    BridgeId, CarrierSet, DestinationSet, Limits, LinkId, Router, RouterConfig, Run, Split,
};

use crate::keyring::FakeKeyring;
use crate::pair::{ms, zone_named};

const ZONES: [&str; 3] = ["p", "p", "q"];

fn id(at: usize) -> BridgeId {
    BridgeId::parse(["a", "b", "c"][at]).expect("a name")
}

fn router(at: usize, now: Instant) -> Router {
    let zone = zone_named(ZONES[at]);
    let config = RouterConfig {
        federation: "f".to_owned(),
        id: id(at),
        zone: zone.clone(),
        run: Run { epoch: 1, nonce: 1 },
        members: (0..3).map(|at| (id(at), zone_named(ZONES[at]))).collect(),
        limits: Limits::default(),
        seed: at as u64,
        policy_digest: [0; 32],
    };
    Router::new(config, Arc::new(FakeKeyring::new(id(at), zone)), now)
}

struct Triangle {
    routers: Vec<Router>,
    /// The ends of each session.
    sessions: BTreeMap<LinkId, [usize; 2]>,
    links: u64,
    now: Instant,
}

impl Triangle {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn connected() -> Triangle {
        let now = Instant::now();
        let routers = (0..3).map(|at| router(at, now)).collect();
        let mut triangle = Triangle { routers, sessions: BTreeMap::new(), links: 0, now };
        [[0, 1], [0, 2], [1, 2]].into_iter().for_each(|ends| triangle.connect(ends));
        triangle.run(ms(100));
        triangle
    }

    fn connect(&mut self, ends: [usize; 2]) {
        self.links += 1;
        self.sessions.insert(LinkId(self.links), ends);
        for (one, other) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            self.routers[one].handle_link_up(LinkId(self.links), id(other), 10, self.now);
        }
    }

    fn disconnect(&mut self, ends: [usize; 2]) {
        let link = *self.sessions.iter().find(|(_, of)| **of == ends).expect("a session").0;
        self.sessions.remove(&link);
        ends.into_iter().for_each(|end| self.routers[end].handle_link_down(link, self.now));
    }

    /// The link between `a` and `b` comes and goes until both hold each other back.
    fn flap(&mut self) {
        for _ in 0..5 {
            self.disconnect([0, 1]);
            self.run(ms(100));
            self.connect([0, 1]);
            self.run(ms(100));
        }
        assert!(self.routers[0].held_back().eq([&id(1)]) && self.routers[1].held_back().eq([&id(0)]));
    }

    fn exchange(&mut self) {
        loop {
            let mut any = false;
            for from in 0..3 {
                while let Some(sent) = self.routers[from].poll_transmit() {
                    any = true;
                    let Some(ends) = self.sessions.get(&sent.link) else { continue };
                    let to = if ends[0] == from { ends[1] } else { ends[0] };
                    self.routers[to].handle_message(sent.link, sent.payload, self.now).expect("kept");
                }
                while self.routers[from].poll_event().is_some() {}
            }
            if !any {
                return;
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.exchange();
            let next = self.routers.iter().filter_map(Router::poll_timeout).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next.max(self.now);
            self.routers.iter_mut().for_each(|router| router.handle_timeout(self.now));
        }
        self.now = end;
    }

    /// Whether `a` has a way to `b` through these zones.
    fn goes(&self, carriers: &CarrierSet) -> bool {
        let table = self.routers[0].forwarding();
        let (mut destinations, mut split) = (DestinationSet::default(), Split::default());
        destinations.insert(table.index_of(&id(1)).expect("a member"));
        table.split(&destinations, carriers, None, &mut split);
        split.unreachable.is_empty()
    }

    /// The same, asked as often as an event comes.
    fn goes_within(&mut self, carriers: &CarrierSet, span: Duration) -> bool {
        let end = self.now + span;
        while self.now < end {
            if self.goes(carriers) {
                return true;
            }
            self.run(ms(50));
        }
        self.goes(carriers)
    }
}

fn own_zone() -> CarrierSet {
    CarrierSet::zones([zone_named("p")])
}

#[test]
fn the_only_way_that_events_may_go_is_listed_once_it_lasts() {
    let mut triangle = Triangle::connected();
    assert!(triangle.goes(&own_zone()));
    triangle.flap();
    assert!(triangle.goes(&CarrierSet::All) && !triangle.goes(&own_zone()));
    // Only `a` sends: `b` learns of the need by what `a` lists.
    assert!(triangle.goes_within(&own_zone(), ms(2_000)));
}

/// Who passes events on gets none while there is no way: it knows what it passed on before.
#[test]
fn the_only_way_of_events_that_came_before_is_listed_too() {
    let mut triangle = Triangle::connected();
    assert!(triangle.goes(&own_zone()));
    triangle.flap();
    triangle.run(ms(2_000));
    assert!(triangle.goes(&own_zone()));
}

#[test]
fn without_such_events_a_link_that_flaps_waits() {
    let mut triangle = Triangle::connected();
    triangle.flap();
    triangle.run(ms(2_000));
    assert!(triangle.routers[0].held_back().eq([&id(1)]));
    assert!(triangle.goes(&CarrierSet::All) && !triangle.goes(&own_zone()));
}
