//! Who may learn what in a world, and a listener at every wire who knows it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use meshbridge_routing::{Audience, Learners, ZoneName};
use meshbridge_topic::TopicFilter;

use crate::world::World;

const ZONES: usize = 4;
const DIGEST: u8 = 5;
const ACK: u8 = 4;
const PULL: u8 = 6;
const DELTA: u8 = 7;
const SNAPSHOT: u8 = 8;

/// What the policies of a world are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// One audience: all.
    Everyone,
    /// Several audiences, all of which every zone belongs to: nothing may differ from the former.
    Split,
    /// Each filter of a zone is for some zones.
    Narrow,
}

/// The policies at one bridge; another salt is another edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edition {
    pub policy: Policy,
    pub zone: usize,
    pub salt: u64,
}

fn zone(at: usize) -> ZoneName {
    ZoneName::parse(&format!("z{at}")).expect("a name")
}

thread_local! {
    /// The same few filters are asked about with every message.
    static KNOWN: RefCell<HashMap<(Edition, String), Audience>> = RefCell::default();
}

impl Edition {
    fn work_out(&self, text: &str) -> Audience {
        let draw = self.draw(text);
        match self.policy {
            Policy::Everyone => Audience::All,
            Policy::Split => {
                let nobody = ZoneName::parse(&format!("nobody-{}", draw % 3)).expect("a name");
                Audience::zones((0..ZONES).map(zone).chain([nobody]))
            }
            Policy::Narrow if draw.is_multiple_of(5) => Audience::All,
            Policy::Narrow => {
                let chosen = |at: &usize| *at == self.zone || draw >> (8 + at) & 1 == 1;
                Audience::zones((0..ZONES).filter(chosen).map(zone))
            }
        }
    }

    fn draw(&self, text: &str) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.salt.to_le_bytes()).update(&[self.zone as u8]).update(text.as_bytes());
        u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("eight bytes"))
    }
}

impl Learners for Edition {
    fn audience(&self, filter: &TopicFilter) -> Audience {
        if self.policy == Policy::Everyone {
            return Audience::All;
        }
        // Filters that a claim of the simulation has together stay together.
        let text = filter.as_str();
        let text = if text.starts_with("gap.") || text.starts_with("bulk.") { &text[..4] } else { text };
        KNOWN.with_borrow_mut(|known| {
            let audience = known.entry((*self, text.to_owned())).or_insert_with(|| self.work_out(text));
            audience.clone()
        })
    }
}

impl World {
    pub fn edition(&self, node: usize) -> Edition {
        let salt = *self.nodes[node].salts.last().expect("there is one from the start");
        Edition { policy: self.policy, zone: self.nodes[node].place % ZONES, salt }
    }

    /// Other policies come into force at a bridge.
    pub fn reload(&mut self, node: usize) {
        if self.policy == Policy::Everyone {
            return;
        }
        let salt = self.rng.next();
        self.nodes[node].salts.push(salt);
        self.counts.reloads += 1;
        self.log.fault(self.elapsed(), || format!("node {node} has other policies: {salt}"));
        let edition = self.edition(node);
        if let Some(router) = &mut self.nodes[node].router {
            router.set_learners(Arc::new(edition), self.now);
            self.drain(node);
        }
    }

    /// Whether `at` may learn a filter of `owner`, and there is a way to tell it.
    pub fn learns(&self, at: usize, owner: usize, filter: &TopicFilter) -> bool {
        let audience = self.edition(owner).audience(filter);
        audience.contains(&self.nodes[at].zone) && self.told(owner, &audience).contains(&at)
    }

    /// Nodes that are reached from one through members of an audience.
    fn told(&self, owner: usize, audience: &Audience) -> BTreeSet<usize> {
        let sessions = self.wires.iter().filter_map(|wire| wire.session).collect();
        let mut cache = self.told_to.borrow_mut();
        if cache.0 != sessions {
            *cache = (sessions, HashMap::new());
        }
        let told = cache.1.entry((owner, audience.clone()));
        told.or_insert_with(|| self.walk(owner, audience)).clone()
    }

    fn walk(&self, owner: usize, audience: &Audience) -> BTreeSet<usize> {
        let mut told = BTreeSet::from([owner]);
        let mut edge = vec![owner];
        while let Some(at) = edge.pop() {
            for wire in self.wires.iter().filter(|wire| wire.session.is_some() && wire.ends.contains(&at)) {
                let next = if wire.ends[0] == at { wire.ends[1] } else { wire.ends[0] };
                if audience.contains(&self.nodes[next].zone) && told.insert(next) {
                    edge.push(next);
                }
            }
        }
        told
    }

    /// No bridge is sent what it may not learn, nor the name of a set that it may not have.
    pub fn invariant_nobody_is_told_what_it_may_not_learn(&mut self, to: usize, payload: &[u8]) {
        let zone = self.nodes[to].zone.clone();
        let mut reader = Reader(&payload[1..]);
        match payload[0] {
            ACK => self.check_entry(to, &mut reader),
            DIGEST => {
                reader.take(1);
                (0..reader.u16()).for_each(|_| self.check_entry(to, &mut reader));
            }
            PULL => {
                reader.name();
                self.check_name(to, reader.take(16));
            }
            DELTA | SNAPSHOT => {
                let owner = reader.name();
                reader.take(16);
                let audience = match reader.take(1)[0] {
                    0 => Audience::All,
                    _ => {
                        let count = reader.u16();
                        Audience::zones((0..count).map(|_| ZoneName::parse(&reader.name()).expect("a zone")))
                    }
                };
                assert!(
                    audience.contains(&zone),
                    "invariant_relays_keep_to_the_audience: {audience:?} to {zone}"
                );
                reader.take(8 + 32 + 4);
                for _ in 0..reader.take(1)[0] {
                    let length = reader.u16();
                    reader.take(length);
                }
                let length = reader.u16();
                reader.take(length);
                reader.take(if payload[0] == DELTA { 8 } else { 5 });
                let owner = self.nodes.iter().position(|node| node.id.as_str() == owner).expect("a member");
                let lists = if payload[0] == DELTA { 2 } else { 1 };
                for _ in 0..lists {
                    for _ in 0..reader.u16() {
                        let length = reader.u16();
                        let text = std::str::from_utf8(reader.take(length)).expect("text");
                        let filter = TopicFilter::parse(text).expect("a filter");
                        assert_eq!(reader.take(1)[0], 0, "no groups in these worlds");
                        self.check_filter(to, owner, &filter);
                    }
                }
            }
            _ => {}
        }
    }

    fn check_filter(&mut self, to: usize, owner: usize, filter: &TopicFilter) {
        let (node, policy) = (&self.nodes[owner], self.policy);
        let zone = node.place % ZONES;
        let mut editions = node.salts.iter().map(|salt| Edition { policy, zone, salt: *salt });
        let may = editions.any(|edition| edition.audience(filter).contains(&self.nodes[to].zone));
        assert!(may, "invariant_nobody_is_told_what_it_may_not_learn: node {to} of {filter} at node {owner}");
        self.counts.filters_told += 1;
    }

    fn check_entry(&self, to: usize, reader: &mut Reader<'_>) {
        let kind = reader.take(1)[0];
        reader.name();
        if kind == 1 {
            self.check_name(to, reader.take(16));
        }
        reader.take(24);
    }

    fn check_name(&self, to: usize, id: &[u8]) {
        if id.iter().all(|byte| *byte == 0) {
            return;
        }
        let members = self.audience_names.get(id).expect("an audience of this world");
        let zone = &self.nodes[to].zone;
        assert!(members.contains(zone), "invariant_nobody_hears_of_a_set: {members:?} to {zone}");
    }

    /// Every filter is held by those that may learn it and can be told, and by nobody else.
    pub fn invariant_views_equal_what_may_be_learned(&self) {
        for at in 0..self.size {
            let router = self.nodes[at].router.as_ref().expect("all are up in quiet");
            for owner in (0..self.size).filter(|owner| *owner != at) {
                let sets = router.interest_sets().filter(|set| set.bridge == self.nodes[owner].id);
                let held: Vec<(Audience, TopicFilter)> = sets
                    .flat_map(|set| set.filters.into_iter().map(move |filter| (set.audience.clone(), filter)))
                    .collect();
                for (audience, filter) in &held {
                    assert!(self.learns(at, owner, filter), "node {at} knows {filter} of node {owner}");
                    assert_eq!(*audience, self.edition(owner).audience(filter), "{filter} of node {owner}");
                }
                let own = self.nodes[owner].subscriptions.keys();
                for filter in own.filter(|filter| self.learns(at, owner, filter)) {
                    let audience = self.edition(owner).audience(filter);
                    let covers = |(of, held): &(Audience, TopicFilter)| {
                        *of == audience && (held == filter || held.covers(filter))
                    };
                    assert!(held.iter().any(covers), "node {at} lacks {filter} of node {owner}: {held:?}");
                }
            }
        }
    }

    /// What an owner says of those whom it cannot tell is what the map says.
    pub fn invariant_who_is_cut_off_is_known(&self) {
        for owner in 0..self.size {
            let router = self.nodes[owner].router.as_ref().expect("all are up in quiet");
            let everyone = self.told(owner, &Audience::All);
            let mut expected: BTreeMap<Audience, Vec<_>> = BTreeMap::new();
            for filter in self.nodes[owner].subscriptions.keys() {
                let audience = self.edition(owner).audience(filter);
                let told = self.told(owner, &audience);
                let missed = |at: &usize| {
                    audience.contains(&self.nodes[*at].zone) && everyone.contains(at) && !told.contains(at)
                };
                let missed: Vec<_> =
                    (0..self.size).filter(missed).map(|at| self.nodes[at].id.clone()).collect();
                if !missed.is_empty() {
                    expected.insert(audience, missed);
                }
            }
            assert_eq!(router.cut_off().into_iter().collect::<BTreeMap<_, _>>(), expected, "node {owner}");
        }
    }
}

/// The names of all audiences that a world can have.
pub fn audience_names() -> BTreeMap<Vec<u8>, Audience> {
    let nobody = (0..3).map(|at| {
        Audience::zones(
            (0..ZONES).map(zone).chain([ZoneName::parse(&format!("nobody-{at}")).expect("a name")]),
        )
    });
    let some = (0..1 << ZONES)
        .map(|bits: usize| Audience::zones((0..ZONES).filter(|at| bits >> at & 1 == 1).map(zone)));
    nobody.chain(some).map(|audience| (name_of(&audience), audience)).collect()
}

/// R10, written down a second time.
fn name_of(audience: &Audience) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"meshbridge/1 audience\0");
    for zone in audience.list().unwrap_or_default() {
        hasher.update(zone.as_str().as_bytes()).update(&[0]);
    }
    hasher.finalize().as_bytes()[..16].to_vec()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn u16(&mut self) -> usize {
        usize::from(u16::from_be_bytes(self.take(2).try_into().expect("two bytes")))
    }

    fn name(&mut self) -> String {
        let length = usize::from(self.take(1)[0]);
        String::from_utf8(self.take(length).to_vec()).expect("a name")
    }
}
