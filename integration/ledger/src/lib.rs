//! The one judge of loss, repetition, order, balance and authorisation, for every level of the tests (RELIABILITY §6): simulations feed it from virtual time,
//! the black-box tests from real ports. It does no input or output, knows no clock, and draws no random numbers.
//!
//! Feed a [`Ledger`] in the order in which things happened: [`Ledger::submitted`] before the first attempt to publish, [`Ledger::accepted`] for each positive
//! answer, [`Ledger::subscribed`], [`Ledger::delivered`] and [`Ledger::acknowledged`] for each subscription, [`Ledger::ended`] and [`Ledger::account`] from the
//! books of the bridges, [`Ledger::fault`] for each fault that struck. Then [`Ledger::judge`].
//!
//! The CloudEvents id says which event something is; a key says where it stands in its lane. A retry whose first attempt left nothing behind has one id and
//! may have two keys. An event that was submitted and never accepted may exist or not: nothing is owed of it, unless one subscription of a destination got
//! it: then it is stored there, and the others get it too.
//!
//! What it needs is about 130 bytes an event and 4 more for each subscription.

mod intern;
mod judge;
mod key;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use intern::{Interner, SetTable};
use key::{Keys, Position};
use report::Findings;

pub use judge::Demands;
pub use report::{Found, Report, Totals, Verdict};

/// A subscription that was announced to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u32);

/// The topics a subscription wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topics {
    /// Whatever comes.
    All,
    /// These and no others. The ledger knows no filters: whoever feeds it knows what is published and what of it matches.
    Only(Vec<String>),
}

/// One offer of an event to a subscription.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The event key.
    pub key: &'a str,
    /// The CloudEvents id.
    pub id: &'a str,
    /// Which attempt the bridge says this is; the first is 1.
    pub count: u32,
    /// The bridge says itself that this one is out of its lane's order (RELIABILITY P5).
    pub is_out_of_order: bool,
    /// Since the start of the run; only shown.
    pub at: Duration,
}

/// How a pair of event and destination ended, as a bridge recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every group acknowledged it.
    Delivered,
    /// The rule that refused it.
    Denied(String),
    /// Its life was over.
    Expired,
    /// Why it was given up.
    DeadLettered(String),
    /// It goes on under another key, perhaps at another destination.
    Moved,
}

/// What a bridge's books say about one (origin, destination).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Account {
    pub sent: u64,
    pub delivered: u64,
    pub denied: u64,
    pub expired: u64,
    pub dead_lettered: u64,
    pub pending: u64,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    /// The first key it was seen under; any others are in `Ledger::more_keys`.
    key: Position,
    topic: u32,
    destinations: u32,
    denied: u32,
    submitted: bool,
    accepted: bool,
}

/// What a subscription has seen of an event.
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    /// The delivery count of the last offer; 0 before the first.
    count: u16,
    /// Which of the event's keys it came under.
    key: u8,
    acknowledged: bool,
}

#[derive(Debug)]
struct Subscription {
    destination: u32,
    name: String,
    /// Numbers of topics; `None` wants all.
    topics: Option<BTreeSet<u32>>,
    /// Events from this number on are owed when their publisher was told so.
    owed_from: usize,
    /// Events from this number on must name the destination: its interest was known everywhere.
    established_from: Option<usize>,
    closed: bool,
    offers: Vec<Offer>,
}

/// An offer that is a repetition unless the books say that the earlier key had ended, as a replay from dead letters does.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    place: Place,
    event: u32,
    before: Position,
    now: Position,
}

/// Everything that was fed. See the crate's documentation for the order of calls.
#[derive(Debug)]
pub struct Ledger {
    ids: Interner,
    topics: Interner,
    bridges: Interner,
    keys: Keys,
    sets: SetTable,
    events: Vec<Event>,
    by_key: HashMap<Position, u32>,
    more_keys: HashMap<u32, Vec<Position>>,
    subscriptions: Vec<Subscription>,
    /// The latest position offered, by subscription and lane.
    lanes: HashMap<(Place, u32), Position>,
    ends: HashMap<(u32, Position), End>,
    accounts: BTreeMap<(u32, u32), Account>,
    suspects: Vec<Suspect>,
    found: Findings,
    totals: Totals,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger::new(10)
    }
}

impl Ledger {
    /// A ledger that gives at most this many examples for each verdict.
    pub fn new(examples_max: usize) -> Ledger {
        Ledger {
            ids: Interner::default(),
            topics: Interner::default(),
            bridges: Interner::default(),
            keys: Keys::default(),
            sets: SetTable::default(),
            events: Vec::new(),
            by_key: HashMap::new(),
            more_keys: HashMap::new(),
            subscriptions: Vec::new(),
            lanes: HashMap::new(),
            ends: HashMap::new(),
            accounts: BTreeMap::new(),
            suspects: Vec::new(),
            found: Findings { by_verdict: BTreeMap::new(), examples_max },
            totals: Totals::default(),
        }
    }

    /// A publisher is about to send this event. Until it is accepted nobody knows whether it exists.
    pub fn submitted(&mut self, id: &str, topic: &str) {
        let topic = self.topics.intern(topic);
        let event = self.event(id);
        let event = &mut self.events[event as usize];
        event.topic = topic;
        if !event.submitted {
            event.submitted = true;
            self.totals.submitted += 1;
        }
    }

    /// A publisher was told that the event is stored, for whom, and for whom a rule refused it. More than one answer for an id adds up.
    pub fn accepted<'a>(
        &mut self,
        key: &str,
        id: &str,
        destinations: impl IntoIterator<Item = &'a str>,
        denied: impl IntoIterator<Item = &'a str>,
    ) {
        let event = self.event(id);
        if let Some(position) = self.position(key, id) {
            self.name(event, position);
        }
        self.answered(event, destinations, denied);
    }

    /// The event is stored and for these: what a test knows that publishes without looking at the answer's key.
    pub fn owed<'a>(&mut self, id: &str, destinations: impl IntoIterator<Item = &'a str>) {
        let event = self.event(id);
        self.answered(event, destinations, []);
    }

    fn answered<'a>(
        &mut self,
        event: u32,
        destinations: impl IntoIterator<Item = &'a str>,
        denied: impl IntoIterator<Item = &'a str>,
    ) {
        let destinations: Vec<u32> = destinations.into_iter().map(|name| self.bridges.intern(name)).collect();
        let denied: Vec<u32> = denied.into_iter().map(|name| self.bridges.intern(name)).collect();
        let event = &mut self.events[event as usize];
        event.destinations = self.sets.union(event.destinations, destinations);
        event.denied = self.sets.union(event.denied, denied);
        self.totals.submitted += u64::from(!event.submitted);
        self.totals.accepted += u64::from(!event.accepted);
        event.submitted = true;
        event.accepted = true;
    }

    /// A subscription of a destination, which is a bridge. Events submitted from now on are owed to it where the answer names the destination.
    pub fn subscribed(&mut self, destination: &str, name: &str, topics: &Topics) -> Place {
        let topics = match topics {
            Topics::All => None,
            Topics::Only(topics) => Some(topics.iter().map(|topic| self.topics.intern(topic)).collect()),
        };
        let place = Place(u32::try_from(self.subscriptions.len()).expect("few subscriptions"));
        self.subscriptions.push(Subscription {
            destination: self.bridges.intern(destination),
            name: name.to_owned(),
            topics,
            owed_from: self.events.len(),
            established_from: None,
            closed: false,
            offers: Vec::new(),
        });
        place
    }

    /// Every bridge knows of the subscription by now: an event submitted from here on whose answer does not name its destination is lost to it.
    pub fn established(&mut self, place: Place) {
        let next = self.events.len();
        self.subscriptions[place.0 as usize].established_from.get_or_insert(next);
    }

    /// The subscription was cancelled: nothing is owed to it any more, and nothing may come.
    pub fn closed(&mut self, place: Place) {
        self.subscriptions[place.0 as usize].closed = true;
    }

    /// A subscription was offered an event.
    pub fn delivered(&mut self, place: Place, delivery: Delivery<'_>) {
        let Delivery { key, id, count, is_out_of_order, at } = delivery;
        self.totals.offered += 1;
        self.totals.retried += u64::from(count > 1);
        let event = self.event(id);
        let position = self.position(key, id);
        let ordinal = position.map_or(0, |position| self.name(event, position));
        let subscription = &self.subscriptions[place.0 as usize];
        let to = || full_name(&self.bridges, subscription);
        if subscription.closed {
            let say = || format!("{id} ({key}) at {} after {at:?}, which had been cancelled", to());
            self.found.add(Verdict::Unauthorised, say);
        }
        if let Some(position) = position
            && let Some(end @ (End::Denied(_) | End::Expired | End::DeadLettered(_))) =
                self.ends.get(&(subscription.destination, position))
        {
            let say = || format!("{id} ({key}) at {} after {at:?}, after its end {end:?}", to());
            self.found.add(Verdict::Unauthorised, say);
        }
        let before = self.offer(place, event);
        let is_first = before.count == 0;
        let is_same = before.key == ordinal;
        if !is_first && !is_same {
            let previous = self.keys_of(event).nth(usize::from(before.key));
            let (before, now) = (previous.unwrap_or(Position::NONE), position.unwrap_or(Position::NONE));
            self.suspects.push(Suspect { place, event, before, now });
        } else if before.acknowledged || (!is_first && count <= u32::from(before.count)) {
            let why = if before.acknowledged { ", acknowledged durably" } else { "" };
            let last = before.count;
            let say =
                || format!("{id} ({key}) at {}, offer {count} after offer {last}{why}, after {at:?}", to());
            self.found.add(Verdict::Repeated, say);
        }
        if let Some(position) = position
            && (is_first || !is_same)
        {
            let is_judged = count <= 1 && !is_out_of_order;
            self.in_lane(place, position, is_judged, id, at);
        }
        let count = u16::try_from(count.max(1)).unwrap_or(u16::MAX);
        let offers = &mut self.subscriptions[place.0 as usize].offers;
        if offers.len() <= event as usize {
            offers.resize(event as usize + 1, Offer::default());
        }
        let continues = is_first || is_same;
        offers[event as usize] = Offer {
            count: if continues { count.max(before.count) } else { count },
            key: ordinal,
            acknowledged: continues && before.acknowledged,
        };
    }

    /// A subscription's acknowledgement of an event is durable: the bridge said so.
    pub fn acknowledged(&mut self, place: Place, id: &str) {
        let Some(event) = self.ids.find(id) else { return };
        let offers = &mut self.subscriptions[place.0 as usize].offers;
        if let Some(offer) =
            offers.get_mut(event as usize).filter(|offer| offer.count > 0 && !offer.acknowledged)
        {
            offer.acknowledged = true;
            self.totals.acknowledged += 1;
        }
    }

    /// Whether the event was offered to this subscription so far.
    pub fn has_been_offered(&self, place: Place, id: &str) -> bool {
        let offers = &self.subscriptions[place.0 as usize].offers;
        self.ids.find(id).and_then(|event| offers.get(event as usize)).is_some_and(|offer| offer.count > 0)
    }

    /// A bridge recorded that the event of this key ended at this destination. One end for each pair; both books may say the same.
    pub fn ended(&mut self, destination: &str, key: &str, end: End) {
        let Some(position) = self.position(key, "an end") else { return };
        let pair = (self.bridges.intern(destination), position);
        if let Some(first) = self.ends.get(&pair) {
            if *first != end {
                let say = || format!("{key} ended twice at {destination}: {first:?}, then {end:?}");
                self.found.add(Verdict::OutOfBalance, say);
            }
            return;
        }
        self.ends.insert(pair, end);
    }

    /// The books of a bridge; the last word about a pair counts.
    pub fn account(&mut self, origin: &str, destination: &str, account: Account) {
        let pair = (self.bridges.intern(origin), self.bridges.intern(destination));
        self.accounts.insert(pair, account);
    }

    /// A fault struck.
    pub fn fault(&mut self, kind: &str) {
        *self.totals.faults.entry(kind.to_owned()).or_default() += 1;
    }

    /// What happened so far.
    pub fn totals(&self) -> Totals {
        let surfaced = self.events.iter().enumerate().filter(|(_, event)| event.submitted && !event.accepted);
        let surfaced = surfaced.filter(|(number, _)| {
            self.subscriptions.iter().any(|one| one.offers.get(*number).is_some_and(|offer| offer.count > 0))
        });
        Totals { surfaced: surfaced.count() as u64, ..self.totals.clone() }
    }

    fn event(&mut self, id: &str) -> u32 {
        let event = self.ids.intern(id);
        if event as usize == self.events.len() {
            self.events.push(Event {
                key: Position::NONE,
                topic: self.topics.intern(""),
                destinations: SetTable::EMPTY,
                denied: SetTable::EMPTY,
                submitted: false,
                accepted: false,
            });
        }
        event
    }

    fn position(&mut self, key: &str, of: &str) -> Option<Position> {
        let position = self.keys.position(key, &mut self.bridges);
        if position.is_none() {
            let say = || format!("`{key}` of {of} is not origin:epoch-nonce:lane:sequence");
            self.found.add(Verdict::BadKey, say);
        }
        position
    }

    /// Notes that the event has this key; which of its keys that is.
    fn name(&mut self, event: u32, position: Position) -> u8 {
        let owner = *self.by_key.entry(position).or_insert(event);
        if owner != event {
            let key = self.keys.text(position);
            let say =
                || format!("{key} is the key of {} and of {}", self.ids.text(owner), self.ids.text(event));
            self.found.add(Verdict::BadKey, say);
        }
        if self.events[event as usize].key == Position::NONE {
            self.events[event as usize].key = position;
        }
        if let Some(at) = self.keys_of(event).position(|known| known == position) {
            return u8::try_from(at).unwrap_or(u8::MAX);
        }
        let more = self.more_keys.entry(event).or_default();
        more.push(position);
        u8::try_from(more.len()).unwrap_or(u8::MAX)
    }

    fn keys_of(&self, event: u32) -> impl Iterator<Item = Position> {
        let first = Some(self.events[event as usize].key).filter(|key| *key != Position::NONE);
        first.into_iter().chain(self.more_keys.get(&event).into_iter().flatten().copied())
    }

    fn offer(&self, place: Place, event: u32) -> Offer {
        self.subscriptions[place.0 as usize].offers.get(event as usize).copied().unwrap_or_default()
    }

    /// Notes an offer in its lane. Only a first attempt is judged: a second one was overtaken lawfully.
    fn in_lane(&mut self, place: Place, position: Position, is_judged: bool, id: &str, at: Duration) {
        let stream = self.keys.stream(position);
        let last = self.lanes.entry((place, stream.lane)).or_insert(position);
        let last_epoch = self.keys.stream(*last).epoch;
        let is_behind =
            if last.stream == position.stream { position.seq < last.seq } else { stream.epoch < last_epoch };
        if !is_behind {
            *last = position;
        } else if is_judged {
            let (now, before) = (self.keys.text(position), self.keys.text(*last));
            let subscription = &self.subscriptions[place.0 as usize];
            let to = || full_name(&self.bridges, subscription);
            let say = || format!("{id} ({now}) at {} behind {before}, after {at:?}", to());
            self.found.add(Verdict::OutOfOrder, say);
        }
    }
}

/// `destination/subscription`.
fn full_name(bridges: &Interner, subscription: &Subscription) -> String {
    format!("{}/{}", bridges.text(subscription.destination), subscription.name)
}
