//! Two routers and the link between them, on which nothing is lost and which takes no time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meshbridge_routing::{
    BridgeId, InterestFull, InterestView, Limits, LinkId, Router, RouterConfig, RouterEvent, Run, ZoneName,
};
use meshbridge_topic::{Topic, TopicFilter};

use crate::keyring::FakeKeyring;

pub fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text).expect("a filter")
}

pub fn topic(text: &str) -> Topic {
    Topic::parse(text).expect("a topic")
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub struct Pair {
    pub a: Router,
    pub b: Router,
    pub now: Instant,
    pub events: Vec<RouterEvent>,
    pub links: u64,
}

/// What the two are told; the same for both but for the limits.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub chains_hold: Duration,
    pub limits: [Limits; 2],
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { chains_hold: Duration::from_secs(1_000 * 24 * 3600), limits: [Limits::default(); 2] }
    }
}

/// `a` is in zone y, `b` in zone z.
fn router(name: &str, run: Run, limits: Limits, setup: Setup, now: Instant) -> Router {
    let id = |name: &str| BridgeId::parse(name).expect("a name");
    let members = [("a", "y"), ("b", "z")].map(|(bridge, zone)| (id(bridge), zone_named(zone)));
    let zone = members.iter().find(|(bridge, _)| bridge.as_str() == name).expect("a member").1.clone();
    let keyring = FakeKeyring { chains_hold: setup.chains_hold, ..FakeKeyring::new(id(name), zone.clone()) };
    let config = RouterConfig {
        federation: "f".to_owned(),
        id: id(name),
        zone,
        run,
        members: members.into(),
        limits,
        seed: 1,
        policy_digest: [0; 32],
    };
    Router::new(config, Arc::new(keyring), now)
}

pub fn zone_named(text: &str) -> ZoneName {
    ZoneName::parse(text).expect("a name")
}

impl Pair {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    pub fn new(setup: Setup) -> Pair {
        let now = Instant::now();
        let a = router("a", Run { epoch: 1, nonce: 1 }, setup.limits[0], setup, now);
        let b = router("b", Run { epoch: 1, nonce: 1 }, setup.limits[1], setup, now);
        Pair { a, b, now, events: Vec::new(), links: 0 }
    }

    /// `b` starts anew and remembers nothing but its epoch.
    pub fn restart_b(&mut self, epoch: u64) {
        self.disconnect();
        self.b = router("b", Run { epoch, nonce: 1 }, Limits::default(), Setup::default(), self.now);
    }

    /// `a` starts anew and remembers nothing.
    pub fn restart_a(&mut self) {
        self.disconnect();
        self.a = router("a", Run { epoch: 2, nonce: 1 }, Limits::default(), Setup::default(), self.now);
    }

    pub fn connected(setup: Setup) -> Pair {
        let mut pair = Pair::new(setup);
        pair.connect();
        pair
    }

    pub fn connect(&mut self) {
        self.links += 1;
        let link = LinkId(self.links);
        self.a.handle_link_up(link, self.b.id().clone(), 10, self.now);
        self.b.handle_link_up(link, self.a.id().clone(), 10, self.now);
        self.exchange();
        // R5: the record that lists the link may have to wait.
        self.run(ms(20));
    }

    pub fn disconnect(&mut self) {
        self.a.handle_link_down(LinkId(self.links), self.now);
        self.b.handle_link_down(LinkId(self.links), self.now);
    }

    /// Until neither has anything to say.
    pub fn exchange(&mut self) {
        loop {
            self.events.extend(std::iter::from_fn(|| self.a.poll_event()));
            self.events.extend(std::iter::from_fn(|| self.b.poll_event()));
            let to_b: Vec<_> = std::iter::from_fn(|| self.a.poll_transmit()).collect();
            let to_a: Vec<_> = std::iter::from_fn(|| self.b.poll_transmit()).collect();
            if to_a.is_empty() && to_b.is_empty() {
                return;
            }
            for sent in to_b {
                self.b.handle_message(sent.link, sent.payload, self.now).expect("kept");
            }
            for sent in to_a {
                self.a.handle_message(sent.link, sent.payload, self.now).expect("kept");
            }
        }
    }

    /// Lets time pass, from deadline to deadline.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            self.exchange();
            let next = [self.a.poll_timeout(), self.b.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = next.max(self.now);
            self.a.handle_timeout(self.now);
            self.b.handle_timeout(self.now);
        }
        self.now = end;
    }

    pub fn subscribe(&mut self, text: &str) -> Result<(), InterestFull> {
        let result = self.b.subscribe(&filter(text), self.now);
        self.exchange();
        result
    }

    pub fn unsubscribe(&mut self, text: &str) {
        self.b.unsubscribe(&filter(text), self.now);
        self.exchange();
    }

    /// What `a` knows of the interest of `b`.
    pub fn seen(&self) -> Option<InterestView> {
        self.a.interest_sets().find(|set| set.bridge == *self.b.id())
    }

    #[track_caller]
    pub fn check_seen(&self, expected: &[&str]) {
        let seen = self.seen().expect("the set of b");
        let texts: Vec<&str> = seen.filters.iter().map(TopicFilter::as_str).collect();
        assert_eq!(texts, expected);
    }

    pub fn version(&self) -> u64 {
        self.seen().expect("the set of b").version
    }

    /// Whether `a` has a way to `b`.
    pub fn has_route(&self) -> bool {
        self.a.routes().any(|route| route.bridge == *self.b.id() && route.reachable)
    }
}
