//! What a filter costs, in time and memory, where it is wanted and at the neighbour that is told: batches of a thousand, as
//! a client that subscribes to very many brings them, each followed by a table of its own at the neighbour.
//!
//! `cargo bench -p meshbridge-routing --bench interest -- 100000 1000000`; 100,000 where nothing is said. `-- literal` takes one shape alone.

#[path = "../tests/sim/keyring.rs"]
mod keyring;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use keyring::FakeKeyring;
use meshbridge_routing::{
    BridgeId, Forwarding, KeptInterest, Limits, LinkId, Router, RouterConfig, RouterEvent, Run, ZoneName,
};
use meshbridge_topic::TopicFilter;

const TOGETHER: usize = 1_024;
const LINK: LinkId = LinkId(1);

/// Its name, and the text of each of its filters.
type Shape = (&'static str, fn(usize) -> String);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let sizes: Vec<usize> = args.iter().filter_map(|text| text.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![100_000] } else { sizes };
    println!("filters    shape      owner ns  bytes   neighbour ns  bytes  news ns");
    for size in sizes {
        let shapes: [Shape; 3] = [
            ("literal", |at| format!("bench.fast.{}.{}.{at}", at % 97, at % 1_009)),
            ("below", |at| format!("bench.fast.{}.{}.{at}.**", at % 97, at % 1_009)),
            ("anywhere", |at| format!("bench.*.{}.{at}", at % 97)),
        ];
        let wanted = |name: &str| args.iter().any(|arg| arg == name);
        let any = !shapes.iter().any(|(name, _)| wanted(name));
        for (name, text) in shapes.into_iter().filter(|(name, _)| any || wanted(name)) {
            grow(size, name, text);
        }
    }
}

/// Both ends of a link, and what each has cost.
struct Pair {
    now: Instant,
    owner: (Router, Cost),
    neighbour: (Router, Cost),
    news: Cost,
    table: Arc<Forwarding>,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    time: Duration,
    bytes: i64,
}

impl Cost {
    fn add(&mut self, work: impl FnOnce()) {
        let mut time = Duration::ZERO;
        let measured = allocation_counter::measure(|| {
            let begin = processor_time();
            work();
            time = processor_time() - begin;
        });
        self.time += time;
        self.bytes += measured.bytes_current;
    }

    fn each(self, size: usize) -> (u128, i64) {
        (self.time.as_nanos() / size as u128, self.bytes / size as i64)
    }
}

/// Of this thread: others may need the machine as well.
fn processor_time() -> Duration {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(at.tv_sec as u64, at.tv_nsec as u32)
}

fn grow(size: usize, name: &str, text: fn(usize) -> String) {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    let now = Instant::now();
    let owner = (router("b", now), Cost::default());
    let neighbour = (router("a", now), Cost::default());
    let table = neighbour.0.forwarding();
    let mut pair = Pair { now, owner, neighbour, news: Cost::default(), table };
    pair.owner.0.handle_link_up(LINK, pair.neighbour.0.id().clone(), 10, now);
    pair.neighbour.0.handle_link_up(LINK, pair.owner.0.id().clone(), 10, now);
    pair.exchange();
    (pair.owner.1, pair.neighbour.1, pair.news) = Default::default();
    for batch in (0..size).collect::<Vec<_>>().chunks(TOGETHER) {
        // A client's session has parsed them, and holds them too.
        let filters: Vec<TopicFilter> =
            batch.iter().map(|at| TopicFilter::parse(&text(*at)).expect("a filter")).collect();
        pair.now += Duration::from_millis(2);
        let now = pair.now;
        let (owner, cost) = &mut pair.owner;
        cost.add(|| owner.subscribe_all(&filters, now).expect("room"));
        pair.exchange();
        std::mem::forget(filters);
    }
    let told: usize = pair.neighbour.0.interest_sets().map(|set| set.filters.len()).sum();
    assert_eq!(told, size);
    let (owner, neighbour, news) =
        (pair.owner.1.each(size), pair.neighbour.1.each(size), pair.news.each(size));
    println!(
        "{size:<10} {name:<10} {:>8} {:>6}   {:>12} {:>6} {:>8}",
        owner.0, owner.1, neighbour.0, neighbour.1, news.0
    );
    black_box(pair);
}

impl Pair {
    fn exchange(&mut self) {
        let now = self.now;
        loop {
            let (owner, cost) = &mut self.owner;
            let mut said = Vec::new();
            cost.add(|| {
                while owner.poll_event().is_some() {}
                said.extend(std::iter::from_fn(|| owner.poll_transmit()));
            });
            let (neighbour, cost) = &mut self.neighbour;
            cost.add(|| {
                for sent in &said {
                    // As it is read from the link.
                    let message = Bytes::copy_from_slice(&sent.payload);
                    neighbour.handle_message(LINK, message, now).expect("kept");
                }
            });
            self.owner.1.add(|| drop(said));
            let (neighbour, cost) = &mut self.neighbour;
            while let Some(event) = neighbour.poll_event() {
                if let RouterEvent::InterestChanged(owner) = event {
                    self.news.add(|| {
                        let (KeptInterest::Whole(news) | KeptInterest::More(news)) =
                            neighbour.take_interest_news(&owner);
                        black_box(news);
                    });
                }
            }
            let mut answers = Vec::new();
            cost.add(|| {
                self.table = neighbour.forwarding();
                answers.extend(std::iter::from_fn(|| neighbour.poll_transmit()));
            });
            if answers.is_empty() {
                return;
            }
            let (owner, cost) = &mut self.owner;
            cost.add(|| {
                for sent in answers {
                    owner.handle_message(LINK, sent.payload, now).expect("kept");
                }
            });
        }
    }
}

fn router(name: &str, now: Instant) -> Router {
    let id = |name: &str| BridgeId::parse(name).expect("a name");
    let zone = ZoneName::parse("z").expect("a name");
    let limits = Limits {
        filters_per_owner_max: usize::MAX >> 1,
        filters_total_max: usize::MAX >> 1,
        ..Limits::default()
    };
    let config = RouterConfig {
        federation: "f".to_owned(),
        id: id(name),
        zone: zone.clone(),
        run: Run { epoch: 1, nonce: 1 },
        members: ["a", "b"].map(|name| (id(name), zone.clone())).into(),
        limits,
        seed: 1,
        policy_digest: [0; 32],
    };
    Router::new(config, Arc::new(FakeKeyring::new(id(name), zone)), now)
}
