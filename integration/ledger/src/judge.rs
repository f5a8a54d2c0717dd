//! What can be said only at the end: loss, authorisation by answers that came late, balance, and whether enough happened.

use std::collections::BTreeMap;

use crate::key::Position;
use crate::report::Findings;
use crate::{Account, End, Event, Ledger, Report, Subscription, Suspect, Verdict, full_name};

/// The least a run must have consisted of to prove something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Accepted events.
    pub events: u64,
    /// Offers to subscriptions.
    pub deliveries: u64,
    /// Faults that struck.
    pub faults: u64,
    /// Books for every (origin, destination) that had traffic.
    pub accounts: bool,
}

impl Ledger {
    /// The verdict on everything fed so far, taking for granted that nothing is still on its way.
    pub fn judge(&self, demands: &Demands) -> Report {
        let mut found = self.found.clone();
        for suspect in &self.suspects {
            self.judge_suspect(suspect, &mut found);
        }
        for (number, event) in self.events.iter().enumerate() {
            self.judge_event(number, event, &mut found);
        }
        self.judge_accounts(demands, &mut found);
        let totals = self.totals();
        let faults = totals.faults.values().sum();
        for (what, is, least) in [
            ("accepted events", totals.accepted, demands.events),
            ("offers", totals.offered, demands.deliveries),
            ("faults", faults, demands.faults),
        ] {
            if is < least {
                found.add(Verdict::TooLittle, || format!("{is} {what}, at least {least} are demanded"));
            }
        }
        Report { totals, findings: found.by_verdict }
    }

    /// (event, subscription) that are owed and have not come. 0 means that waiting longer will bring nothing that is missing.
    pub fn outstanding(&self) -> u64 {
        let mut found = Findings { by_verdict: BTreeMap::new(), examples_max: 0 };
        for (number, event) in self.events.iter().enumerate() {
            self.judge_event(number, event, &mut found);
        }
        found.by_verdict.get(&Verdict::Lost).map_or(0, |lost| lost.count)
    }

    fn judge_suspect(&self, suspect: &Suspect, found: &mut Findings) {
        let subscription = &self.subscriptions[suspect.place.0 as usize];
        let end = self.ends.get(&(subscription.destination, suspect.before));
        if end.is_some_and(|end| *end != End::Delivered) {
            return;
        }
        found.add(Verdict::Repeated, || {
            let (before, now) = (self.keys.text(suspect.before), self.keys.text(suspect.now));
            let (id, place) = (self.ids.text(suspect.event), full_name(&self.bridges, subscription));
            format!("{id} at {place} under {now} after {before}, whose end nobody recorded")
        });
    }

    fn judge_event(&self, number: usize, event: &Event, found: &mut Findings) {
        let has = |one: &Subscription| one.offers.get(number).is_some_and(|offer| offer.count > 0);
        for subscription in &self.subscriptions {
            let destination = subscription.destination;
            let wanted = subscription.topics.as_ref().is_none_or(|topics| topics.contains(&event.topic));
            let named = self.sets.contains(event.destinations, destination);
            if has(subscription) {
                let why = if !event.submitted {
                    "nobody submitted it".to_owned()
                } else if !wanted {
                    format!("it does not want topic `{}`", self.topics.text(event.topic))
                } else if event.accepted && !named && !self.has_moved(number) {
                    if self.sets.contains(event.denied, destination) {
                        "the answer says denied".to_owned()
                    } else {
                        format!("the answer names {}", self.names(event.destinations))
                    }
                } else {
                    continue;
                };
                found.add(Verdict::Unauthorised, || format!("{}: {why}", self.pair(number, subscription)));
                continue;
            }
            let is_owed = || {
                let since = number >= subscription.owed_from;
                if event.accepted && named {
                    return since.then(|| format!("the answer names {}", self.names(event.destinations)));
                }
                if event.accepted {
                    let known = subscription.established_from.is_some_and(|from| number >= from);
                    let unnamed = known && !self.sets.contains(event.denied, destination);
                    let names = || self.names(event.destinations);
                    return unnamed
                        .then(|| format!("the answer names {}, although its interest was known", names()));
                }
                let sibling =
                    || self.subscriptions.iter().find(|one| one.destination == destination && has(one));
                let sibling = if since { sibling() } else { None };
                sibling.map(|one| format!("no answer, but {} has it", full_name(&self.bridges, one)))
            };
            if !wanted || subscription.closed || self.has_ended(number, destination) {
                continue;
            }
            if let Some(why) = is_owed() {
                found.add(Verdict::Lost, || format!("{}: {why}", self.pair(number, subscription)));
            }
        }
    }

    /// Whether somebody recorded why nothing more comes of the event there.
    fn has_ended(&self, number: usize, destination: u32) -> bool {
        let ends = self.keys_of_event(number).filter_map(|key| self.ends.get(&(destination, key)));
        ends.into_iter().any(|end| *end != End::Delivered)
    }

    fn has_moved(&self, number: usize) -> bool {
        // Only chosen members of groups move, and few events have an end before they are delivered.
        let all = self.ends.iter().filter(|(_, end)| **end == End::Moved);
        let keys: Vec<Position> = self.keys_of_event(number).collect();
        all.into_iter().any(|((_, key), _)| keys.contains(key))
    }

    fn judge_accounts(&self, demands: &Demands, found: &mut Findings) {
        let seen = self.seen_pairs();
        let unknown = self.events.iter().filter(|event| event.submitted && !event.accepted).count() as u64;
        for ((origin, destination), account) in &self.accounts {
            let name = || format!("{} to {}", self.bridges.text(*origin), self.bridges.text(*destination));
            let Account { sent, delivered, denied, expired, dead_lettered, pending } = *account;
            let ended = delivered + denied + expired + dead_lettered + pending;
            if sent != ended {
                found.add(Verdict::OutOfBalance, || {
                    format!("{}: sent {sent}, accounted for {ended}: {account:?}", name())
                });
            }
            let (least, most) = seen.get(&(*origin, *destination)).copied().unwrap_or_default();
            if !(least..=most + unknown).contains(&sent) {
                found.add(Verdict::OutOfBalance, || {
                    format!("{}: sent {sent}, publishers were told of {least} to {}", name(), most + unknown)
                });
            }
        }
        if demands.accounts {
            for (origin, destination) in seen.keys().filter(|pair| !self.accounts.contains_key(pair)) {
                found.add(Verdict::TooLittle, || {
                    let (from, to) = (self.bridges.text(*origin), self.bridges.text(*destination));
                    format!("no books for {from} to {to}")
                });
            }
        }
    }

    /// For each (origin, destination): how many events an origin must have sent, and could have. What was denied at admission may or may not be entered in its
    /// books, and each further key of an event may be a pair of its own.
    fn seen_pairs(&self) -> BTreeMap<(u32, u32), (u64, u64)> {
        let mut pairs: BTreeMap<(u32, u32), (u64, u64)> = BTreeMap::new();
        for (number, event) in self.events.iter().enumerate() {
            if !event.accepted || event.key == Position::NONE {
                continue;
            }
            let origin = self.keys.stream(event.key).origin;
            let keys = self.keys_of_event(number).count() as u64;
            for destination in self.sets.members(event.destinations) {
                let pair = pairs.entry((origin, *destination)).or_default();
                *pair = (pair.0 + 1, pair.1 + keys);
            }
            for destination in self.sets.members(event.denied) {
                if let Some(pair) = pairs.get_mut(&(origin, *destination)) {
                    pair.1 += keys;
                } else {
                    pairs.insert((origin, *destination), (0, keys));
                }
            }
        }
        pairs
    }

    fn keys_of_event(&self, number: usize) -> impl Iterator<Item = Position> {
        self.keys_of(u32::try_from(number).expect("events are numbered in 32 bits"))
    }

    fn names(&self, set: u32) -> String {
        let names: Vec<&str> =
            self.sets.members(set).iter().map(|bridge| self.bridges.text(*bridge)).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }

    fn pair(&self, number: usize, subscription: &Subscription) -> String {
        let event = u32::try_from(number).expect("events are numbered in 32 bits");
        let keys: Vec<String> = self.keys_of(event).map(|key| self.keys.text(key)).collect();
        let keys = if keys.is_empty() { "no key".to_owned() } else { keys.join(", ") };
        format!("{} ({keys}) at {}", self.ids.text(event), full_name(&self.bridges, subscription))
    }
}
