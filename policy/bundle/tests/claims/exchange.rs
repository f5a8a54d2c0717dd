//! Newer bundles reach every bridge, whatever is lost, and no neighbour can keep them away or make another one work for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use meshbridge_bundle::{
    Digest, Effect, Exchange, Judged, Message, Misbehaved, Offer, PART_BYTES_MAX, PULLS_MAX, PeerId,
};
use proptest::prelude::*;

use crate::layer;

fn offer(layer_text: &str, revision: u64, edition: u8) -> Offer {
    let digest = Digest::of(&[layer_text.as_bytes(), &revision.to_be_bytes(), &[edition]]);
    Offer { layer: layer(layer_text), revision, digest }
}

/// What stands for the archive of an offer: its digest, so that one can be told from another, and then some.
fn archive(offer: &Offer, bytes: usize) -> Vec<u8> {
    let mut archive = offer.digest.0.to_vec();
    archive.resize(bytes.max(32), 7);
    archive
}

fn effects(exchange: &mut Exchange) -> Vec<Effect> {
    std::iter::from_fn(|| exchange.poll_effect()).collect()
}

fn pulls(exchange: &mut Exchange) -> Vec<(PeerId, Digest, u32)> {
    let pull = |effect| match effect {
        Effect::Send { to, message: Message::Pull { digest, offset } } => Some((to, digest, offset)),
        _ => None,
    };
    effects(exchange).into_iter().filter_map(pull).collect()
}

fn part(offer: &Offer, total: usize, offset: usize) -> Message {
    let whole = archive(offer, total);
    let end = whole.len().min(offset + PART_BYTES_MAX);
    Message::Part {
        digest: offer.digest,
        total: whole.len() as u32,
        offset: offset as u32,
        bytes: whole[offset..end].to_vec(),
    }
}

fn after(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_session_begins_with_a_list_and_a_newer_bundle_is_pulled_part_by_part() {
    let now = Instant::now();
    let mut exchange = Exchange::new();
    exchange.set_held([offer("federation", 3, 0)], now);
    let peer = PeerId(1);
    exchange.on_peer_up(peer, now);
    let held = Message::Held(vec![offer("federation", 3, 0)]);
    assert_eq!(effects(&mut exchange), [Effect::Send { to: peer, message: held }]);
    assert!(!exchange.is_settled_with(peer), "it has said nothing yet");

    let newer = offer("federation", 4, 0);
    let older = offer("region/eu", 1, 0);
    exchange.on_message(peer, Message::Held(vec![older.clone(), newer.clone()]), now).expect("a list");
    assert_eq!(pulls(&mut exchange), [(peer, newer.digest, 0)], "the outermost layer first, one at a time");
    let total = PART_BYTES_MAX + 10;
    exchange.on_message(peer, part(&newer, total, 0), now).expect("a part");
    assert_eq!(pulls(&mut exchange), [(peer, newer.digest, PART_BYTES_MAX as u32)]);
    exchange.on_message(peer, part(&newer, total, PART_BYTES_MAX), now).expect("the rest");
    let all = effects(&mut exchange);
    let [Effect::Fetched { from, offer: fetched, archive: bytes }, Effect::Send { .. }] = all.as_slice()
    else {
        panic!("{all:?}")
    };
    assert_eq!((from, fetched, bytes), (&peer, &newer, &archive(&newer, total)));
    assert!(!exchange.is_settled_with(peer) && exchange.is_busy());
    exchange.judged(peer, newer.digest, Judged::Taken, now);
    exchange.set_held([newer], now);
    exchange.on_message(peer, part(&older, 40, 0), now).expect("a part");
    exchange.judged(peer, older.digest, Judged::Wrong, now);
    effects(&mut exchange);
    assert!(exchange.is_settled_with(peer), "what is put off is not waited for");
}

#[test]
fn what_is_older_or_held_is_not_pulled_and_the_same_number_with_another_digest_is() {
    let now = Instant::now();
    let mut exchange = Exchange::new();
    exchange.set_held([offer("federation", 3, 0)], now);
    exchange.on_peer_up(PeerId(1), now);
    let say = |exchange: &mut Exchange, offers: Vec<Offer>| {
        exchange.on_message(PeerId(1), Message::Held(offers), now).expect("a list");
        pulls(exchange)
    };
    assert_eq!(say(&mut exchange, vec![offer("federation", 2, 0)]), []);
    assert_eq!(say(&mut exchange, vec![offer("federation", 3, 0)]), []);
    assert_eq!(
        say(&mut exchange, vec![offer("federation", 3, 1)]).len(),
        1,
        "if it is signed, it is an alarm"
    );
    let twice = Message::Held(vec![offer("zone/a", 1, 0), offer("zone/a", 2, 0)]);
    assert_eq!(exchange.on_message(PeerId(1), twice, now), Err(Misbehaved::LayerTwice));
}

#[test]
fn a_silent_neighbour_is_asked_three_times_and_then_another_one() {
    let now = Instant::now();
    let mut exchange = Exchange::new();
    let wanted = offer("federation", 4, 0);
    for peer in [1, 2] {
        exchange.on_peer_up(PeerId(peer), now);
        exchange.on_message(PeerId(peer), Message::Held(vec![wanted.clone()]), now).expect("a list");
    }
    assert_eq!(pulls(&mut exchange), [(PeerId(1), wanted.digest, 0)], "one copy is enough");
    for asked in 1..3 {
        exchange.on_timeout(now + after(5 * asked));
        assert_eq!(pulls(&mut exchange), [(PeerId(1), wanted.digest, 0)]);
    }
    exchange.on_timeout(now + after(15));
    assert_eq!(pulls(&mut exchange), [(PeerId(2), wanted.digest, 0)]);
    exchange.on_peer_down(PeerId(2), now + after(16));
    assert_eq!(pulls(&mut exchange), [], "the first is put off");
    exchange.on_timeout(now + after(46));
    assert_eq!(pulls(&mut exchange), [(PeerId(1), wanted.digest, 0)]);
}

#[test]
fn a_trickle_ends() {
    let now = Instant::now();
    let mut exchange = Exchange::new();
    let wanted = offer("federation", 4, 0);
    exchange.on_peer_up(PeerId(1), now);
    exchange.on_message(PeerId(1), Message::Held(vec![wanted.clone()]), now).expect("a list");
    let mut at = now;
    let mut offset = 0;
    // A byte every four seconds, of eight mebibytes.
    while exchange.is_busy() {
        at += after(4);
        let bytes = vec![0];
        let message = Message::Part { digest: wanted.digest, total: 8 << 20, offset, bytes };
        exchange.on_message(PeerId(1), message, at).expect("a part");
        exchange.on_timeout(at);
        offset += 1;
        assert!(at < now + after(200), "it is still pulled");
    }
    effects(&mut exchange);
}

#[test]
fn what_cannot_be_an_archive_is_the_neighbours_fault() {
    let wanted = offer("federation", 4, 0);
    let digest = wanted.digest;
    let wrong = [
        Message::Part { digest, total: u32::MAX, offset: 0, bytes: vec![1] },
        Message::Part { digest, total: 2, offset: 0, bytes: vec![1, 2, 3] },
        Message::Part { digest, total: 9, offset: 0, bytes: Vec::new() },
        Message::Part { digest, total: 90_000, offset: 0, bytes: vec![0; PART_BYTES_MAX + 1] },
    ];
    for message in wrong {
        let now = Instant::now();
        let mut exchange = Exchange::new();
        exchange.on_peer_up(PeerId(1), now);
        exchange.on_message(PeerId(1), Message::Held(vec![wanted.clone()]), now).expect("a list");
        effects(&mut exchange);
        exchange.on_message(PeerId(1), message.clone(), now).expect("heard");
        assert_eq!(effects(&mut exchange), [], "{message:?}");
        assert!(!exchange.is_busy() && exchange.is_settled_with(PeerId(1)), "{message:?}");
    }
}

#[test]
fn a_liar_is_asked_less_and_less() {
    let now = Instant::now();
    let mut exchange = Exchange::new();
    let liar = PeerId(1);
    exchange.on_peer_up(liar, now);
    let mut pulled = 0;
    // A new invention every second, for ten minutes.
    for second in 0..600u64 {
        let at = now + after(second);
        let invented = offer("federation", 1_000 + second, 0);
        exchange.on_message(liar, Message::Held(vec![invented.clone()]), at).expect("a list");
        if !pulls(&mut exchange).is_empty() {
            pulled += 1;
            exchange.on_message(liar, part(&invented, 32, 0), at).expect("a part");
            exchange.judged(liar, invented.digest, Judged::Wrong, at);
            effects(&mut exchange);
        }
    }
    assert!((8..=30).contains(&pulled), "{pulled} were pulled");
}

/// Of a bundle that is known by now its neighbour says that it is newer: each time it comes it is what is held.
#[test]
fn what_is_offered_as_newer_than_it_is_is_not_pulled_again_and_again() {
    let mut now = Instant::now();
    let mut exchange = Exchange::new();
    let held = offer("federation", 3, 0);
    exchange.set_held([held.clone()], now);
    let peer = PeerId(1);
    exchange.on_peer_up(peer, now);
    let mut pulled = 0;
    for second in 0..60 {
        now += after(1);
        let lie = Offer { revision: 4 + second, ..held.clone() };
        exchange.on_message(peer, Message::Held(vec![lie]), now).expect("a list");
        exchange.on_timeout(now);
        for (_, digest, _) in pulls(&mut exchange) {
            assert_eq!(digest, held.digest);
            pulled += 1;
            exchange.on_message(peer, part(&held, 40, 0), now).expect("a part");
            assert!(effects(&mut exchange).iter().any(|one| matches!(one, Effect::Fetched { .. })));
            exchange.judged(peer, held.digest, Judged::Taken, now);
            exchange.set_held([held.clone()], now);
        }
    }
    assert!((1..=2).contains(&pulled), "{pulled} times in a minute");
}

#[test]
fn a_list_that_comes_and_goes_does_not_end_a_pause() {
    let mut now = Instant::now();
    let mut exchange = Exchange::new();
    let peer = PeerId(1);
    exchange.on_peer_up(peer, now);
    let old = offer("federation", 3, 0);
    let mut pulled = 0;
    for _ in 0..50 {
        now += Duration::from_millis(500);
        exchange.on_message(peer, Message::Held(vec![old.clone()]), now).expect("a list");
        for (_, digest, _) in pulls(&mut exchange) {
            pulled += 1;
            exchange.on_message(peer, part(&old, 40, 0), now).expect("a part");
            exchange.judged(peer, digest, Judged::NotNow, now);
        }
        exchange.on_message(peer, Message::Held(Vec::new()), now).expect("a list");
        effects(&mut exchange);
    }
    assert_eq!(pulled, 1, "in 25 seconds");
}

#[test]
fn a_list_that_goes_while_its_bundle_is_pulled_does_not_end_a_pause_either() {
    for (judged, gives_up) in [(Judged::NotNow, false), (Judged::Wrong, false), (Judged::NotNow, true)] {
        let mut now = Instant::now();
        let mut exchange = Exchange::new();
        let peer = PeerId(1);
        exchange.on_peer_up(peer, now);
        let old = offer("federation", 3, 0);
        let mut pulled = 0;
        for _ in 0..50 {
            now += Duration::from_millis(500);
            exchange.on_message(peer, Message::Held(vec![old.clone()]), now).expect("a list");
            let asked = pulls(&mut exchange);
            pulled += asked.len();
            exchange.on_message(peer, Message::Held(Vec::new()), now).expect("a list");
            for (_, digest, _) in asked {
                if gives_up {
                    // It has nothing to send after all.
                    let none = Message::Part { digest, total: 0, offset: 0, bytes: Vec::new() };
                    exchange.on_message(peer, none, now).expect("a part");
                } else {
                    exchange.on_message(peer, part(&old, 40, 0), now).expect("a part");
                    exchange.judged(peer, digest, judged, now);
                }
            }
            effects(&mut exchange);
        }
        assert_eq!(pulled, 1, "in 25 seconds; {judged:?}, gives up: {gives_up}");
        // The pause has its end, and the next one is longer.
        let mut ask = |seconds| {
            now += after(seconds);
            exchange.on_timeout(now);
            effects(&mut exchange);
            exchange.on_message(peer, Message::Held(vec![old.clone()]), now).expect("a list");
            let asked = pulls(&mut exchange).len();
            exchange.on_message(peer, Message::Held(Vec::new()), now).expect("a list");
            if asked > 0 {
                exchange.on_message(peer, part(&old, 40, 0), now).expect("a part");
                exchange.judged(peer, old.digest, judged, now);
            }
            asked
        };
        // What never came has only now begun to count.
        let expected = if gives_up { [1, 1, 0] } else { [1, 0, 1] };
        assert_eq!([ask(10), ask(31), ask(31)], expected);
    }
}

#[test]
fn a_greedy_neighbour_gets_what_its_bucket_has() {
    let now = Instant::now();
    let mut exchange = Exchange::new();
    let held = offer("federation", 4, 0);
    exchange.set_held([held.clone()], now);
    exchange.on_peer_up(PeerId(1), now);
    effects(&mut exchange);
    let ask = |exchange: &mut Exchange, digest, at| {
        exchange.on_message(PeerId(1), Message::Pull { digest, offset: 0 }, at).expect("a question");
        effects(exchange)
    };
    let serve = [Effect::Serve { to: PeerId(1), digest: held.digest, offset: 0 }];
    assert_eq!(ask(&mut exchange, held.digest, now), serve);
    let unknown = offer("federation", 5, 0).digest;
    let nothing = Message::Part { digest: unknown, total: 0, offset: 0, bytes: Vec::new() };
    assert_eq!(ask(&mut exchange, unknown, now), [Effect::Send { to: PeerId(1), message: nothing }]);
    let served = (0..10_000).filter(|_| !ask(&mut exchange, held.digest, now).is_empty()).count();
    assert_eq!(served, 62, "64 at once, the two before included");
    let served = (0..10_000).filter(|_| !ask(&mut exchange, held.digest, now + after(1)).is_empty()).count();
    assert_eq!(served, 32);
}

#[test]
fn no_more_than_four_are_pulled_at_a_time() {
    let now = Instant::now();
    let mut exchange = Exchange::new();
    for peer in 0..20 {
        exchange.on_peer_up(PeerId(peer), now);
        let invented = offer("federation", 100 + peer, 0);
        exchange.on_message(PeerId(peer), Message::Held(vec![invented]), now).expect("a list");
    }
    assert_eq!(pulls(&mut exchange).len(), PULLS_MAX);
}

/// Bridges in a graph, each with an exchange and what it holds; the network loses, delays and reorders. A hostile one
/// says anything.
struct World {
    now: Instant,
    nodes: Vec<(Exchange, BTreeMap<String, Offer>)>,
    links: Vec<(usize, usize)>,
    hostile: BTreeSet<usize>,
    flying: Vec<(Instant, usize, usize, Message)>,
    seed: u64,
    genuine: BTreeMap<Digest, usize>,
    moved: u64,
}

impl World {
    fn random(&mut self) -> u64 {
        // splitmix64
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn send(&mut self, from: usize, to: usize, message: Message, loss: u64) {
        if self.random() % 100 >= loss {
            let delay = Duration::from_millis(self.random() % 400);
            self.flying.push((self.now + delay, from, to, message));
        }
    }

    fn drain(&mut self, at: usize, loss: u64) {
        while let Some(effect) = self.nodes[at].0.poll_effect() {
            match effect {
                Effect::Send { to, message } => self.send(at, to.0 as usize, message, loss),
                Effect::Serve { to, digest, offset } => {
                    let held = self.nodes[at].1.values().find(|held| held.digest == digest).cloned();
                    // A newer one may have been taken since the neighbour asked.
                    let answer = match held {
                        Some(held) => part(&held, self.genuine[&held.digest], offset as usize),
                        None => Message::Part { digest, total: 0, offset, bytes: Vec::new() },
                    };
                    self.send(at, to.0 as usize, answer, loss);
                }
                Effect::Fetched { from, offer, archive: bytes } => {
                    let is_true =
                        self.genuine.get(&offer.digest).is_some_and(|size| bytes == archive(&offer, *size));
                    let now = self.now;
                    self.moved += 1;
                    if is_true {
                        self.nodes[at].1.insert(offer.layer.to_string(), offer.clone());
                    }
                    let (exchange, held) = &mut self.nodes[at];
                    let judged = if is_true { Judged::Taken } else { Judged::Wrong };
                    exchange.judged(from, offer.digest, judged, now);
                    exchange.set_held(held.values().cloned().collect::<Vec<_>>(), now);
                }
            }
        }
    }

    fn run(&mut self, seconds: u64, loss: u64) {
        let end = self.now + after(seconds);
        while self.now < end {
            self.now += Duration::from_millis(100);
            let now = self.now;
            let (due, later) = std::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= now);
            self.flying = later;
            let due: Vec<(Instant, usize, usize, Message)> = due;
            for (_, from, to, message) in due {
                if self.hostile.contains(&to) {
                    if let Message::Pull { digest, offset } = message {
                        let bytes = vec![9; (self.random() % 40) as usize];
                        let total = (self.random() % 100) as u32;
                        self.send(to, from, Message::Part { digest, total, offset, bytes }, loss);
                    }
                    continue;
                }
                let _ = self.nodes[to].0.on_message(PeerId(from as u64), message, now);
            }
            for at in 0..self.nodes.len() {
                if self.hostile.contains(&at) {
                    self.lie(at);
                } else {
                    self.nodes[at].0.on_timeout(now);
                    self.drain(at, loss);
                }
            }
        }
    }

    fn lie(&mut self, at: usize) {
        if !self.random().is_multiple_of(10) {
            return;
        }
        let neighbours: Vec<usize> =
            self.links.iter().filter_map(|(a, b)| (*a == at).then_some(*b)).collect();
        for to in neighbours {
            let invented = offer("federation", 1 + self.random() % 1_000_000, 9);
            self.send(at, to, Message::Held(vec![invented]), 0);
        }
    }
}

fn world(count: usize, links: &[(usize, usize)], hostile: &[usize], seed: u64) -> World {
    let now = Instant::now();
    let both: Vec<(usize, usize)> = links.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]).collect();
    let mut nodes: Vec<_> = (0..count).map(|_| (Exchange::new(), BTreeMap::new())).collect();
    for (at, to) in &both {
        nodes[*at].0.on_peer_up(PeerId(*to as u64), now);
    }
    let hostile = hostile.iter().copied().collect();
    World { now, nodes, links: both, hostile, flying: Vec::new(), seed, genuine: BTreeMap::new(), moved: 0 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Where the honest ones are connected, each of them ends up with the newest of every layer, and nothing else.
    #[test]
    fn every_bridge_ends_with_the_newest_of_every_layer(
        seed in any::<u64>(),
        loss in 0u64..40,
        dropped in prop::collection::vec((0usize..5, 0usize..3, 1u64..5, 1usize..100_000), 1..8),
    ) {
        // A ring of five, with a liar at two of them.
        let links = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (5, 0), (5, 2)];
        let mut world = world(6, &links, &[5], seed);
        let layers = ["federation", "region/eu", "zone/a"];
        let mut newest: BTreeMap<String, Offer> = BTreeMap::new();
        for (node, at, revision, size) in dropped {
            let bundle = offer(layers[at], revision, 0);
            world.genuine.insert(bundle.digest, size);
            let (exchange, held) = &mut world.nodes[node];
            if held.get(layers[at]).is_none_or(|held| held.revision < revision) {
                held.insert(layers[at].to_owned(), bundle.clone());
                exchange.set_held(held.values().cloned().collect::<Vec<_>>(), world.now);
            }
            if newest.get(layers[at]).is_none_or(|known| known.revision <= revision) {
                newest.insert(layers[at].to_owned(), bundle);
            }
        }
        // One bundle of a number has one size here: the last that was named.
        world.run(240, loss);
        world.run(60, 0);
        for (at, (_, held)) in world.nodes.iter().enumerate().take(5) {
            prop_assert_eq!(held, &newest, "bridge {}", at);
        }
        // And then there is nothing more to do but to say so.
        let moved = world.moved;
        world.hostile.insert(usize::MAX);
        world.links.retain(|(from, _)| *from != 5);
        world.run(30, 0);
        prop_assert!(world.moved - moved <= 4, "bundles are pulled again and again");
    }
}
