//! The delivery equation, continuously: what was sent, how it ended, what is pending, for each pair of bridges
//! (RELIABILITY P6); and where one event is.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use meshbridge_delivery::state::GroupState;
use meshbridge_delivery::{Core, Outcome, State};
use meshbridge_routing::{BridgeId, EventKey};
use serde::Serialize;

use super::membership::standing_name;
use super::{Inner, Pipeline, lock};

/// Why a pair is pending that waits for a person.
const QUARANTINED: &str = "quarantined";
/// There is a way to the destination, and none that the event may take.
const NO_LAWFUL_PATH: &str = "no-lawful-path";
/// Ends of pairs that `trace` can still tell.
const ENDS_MAX: usize = 50_000;

/// How pairs ended lately.
#[derive(Debug, Default)]
pub(super) struct Ends(Mutex<EndsTable>);

#[derive(Debug, Default)]
struct EndsTable {
    by_key: HashMap<EventKey, Vec<(BridgeId, Outcome)>>,
    /// Keys under which events went on.
    further: HashMap<EventKey, Vec<EventKey>>,
    order: VecDeque<EventKey>,
}

impl EndsTable {
    fn evict(&mut self) {
        while self.order.len() > ENDS_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.by_key.remove(&oldest);
            self.further.remove(&oldest);
        }
    }
}

impl Ends {
    pub(super) fn note_moved(&self, from: &EventKey, to: &EventKey) {
        let mut table = lock(&self.0);
        table.order.push_back(from.clone());
        let further = table.further.entry(from.clone()).or_default();
        if !further.contains(to) {
            further.push(to.clone());
        }
        table.evict();
    }

    fn further(&self, key: &EventKey) -> Vec<EventKey> {
        lock(&self.0).further.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn note(&self, key: &EventKey, destination: &BridgeId, outcome: &Outcome) {
        let mut table = lock(&self.0);
        table.order.push_back(key.clone());
        table.by_key.entry(key.clone()).or_default().push((destination.clone(), outcome.clone()));
        table.evict();
    }

    pub(super) fn of(&self, key: &EventKey) -> Vec<(BridgeId, Outcome)> {
        lock(&self.0).by_key.get(key).cloned().unwrap_or_default()
    }
}

/// The account of one destination of this bridge's events.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountView {
    pub(crate) destination: String,
    sent: u64,
    delivered: u64,
    denied: u64,
    expired: u64,
    dead_lettered: u64,
    /// Went to another destination, for a consumer group; `sent` does not count them any more.
    moved: u64,
    pub(crate) pending: u64,
    /// Of these, not on the destination's disk yet.
    unsettled: u64,
    in_flight: usize,
    /// Waiting for the destination's word on how they end.
    in_doubt: usize,
    pub(crate) balanced: bool,
    /// `member`, `draining` or `removed`.
    standing: &'static str,
    /// Publications that left it out although it wanted them.
    left_out: u64,
}

/// What this bridge has taken of another one's events.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceView {
    origin: String,
    ended: u64,
    /// Taken and not ended.
    open: u64,
    /// Ends that the origin has not noted yet.
    untold: u64,
}

/// Where one event is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventView {
    key: String,
    /// `origin` or `destination`: what this bridge is to the event.
    role: &'static str,
    /// Its bytes are in the spool of this bridge.
    kept: bool,
    destinations: Vec<PairView>,
    /// Consumer groups that wait for a bridge with a member.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting_groups: Vec<String>,
    /// Keys under which it went on: for a consumer group, or because numbers were used twice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    continues_as: Vec<String>,
    /// Subscriptions with memory of this bridge that have not ended it well.
    subscriptions: Vec<SubscriptionState>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PairView {
    destination: String,
    /// `pending`, `stored`, or how it ended.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscriptionState {
    subscription: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Pipeline {
    /// All accounts of this bridge as an origin, and what it owes others as a destination.
    pub(crate) fn accounts(&self) -> (Vec<AccountView>, Vec<SourceView>) {
        self.inner.durable.view(|core| {
            let state = core.state();
            let accounts = state.destinations.iter().map(|(bridge, destination)| {
                let account = destination.account;
                let here = if *bridge == state.own { pending_here(state) } else { 0 };
                // With this bridge itself also what a rule has kept back.
                let pending = destination.open() + here;
                let (in_flight, in_doubt) = core.in_doubt(bridge);
                AccountView {
                    destination: bridge.to_string(),
                    sent: account.sent,
                    delivered: account.delivered,
                    denied: account.denied,
                    expired: account.expired,
                    dead_lettered: account.dead_lettered,
                    moved: account.moved,
                    pending,
                    unsettled: destination.unsettled(),
                    in_flight,
                    in_doubt,
                    balanced: account.sent == account.ended() + pending,
                    standing: standing_name(state.membership.standing(bridge)),
                    left_out: state.membership.left_out(bridge),
                }
            });
            let accounts = accounts.filter(|account| account.sent > 0).collect();
            let open = open_by_origin(core);
            let sources = state.sources.iter().map(|(bridge, source)| SourceView {
                origin: bridge.to_string(),
                ended: source.ended,
                open: open.get(bridge).copied().unwrap_or(0),
                untold: source.outcomes.len() as u64,
            });
            (accounts, sources.collect())
        })
    }

    /// Where the event is, as far as this bridge knows; `None` where it knows nothing of it.
    pub(crate) fn trace(&self, key: &EventKey) -> Option<EventView> {
        let ended = self.inner.ends.of(key);
        let further = self.inner.ends.further(key);
        let mut waiting: Vec<(usize, u64, BridgeId)> = Vec::new();
        let mut view = self.inner.durable.view(|core| {
            let state = core.state();
            let role = if key.origin == state.own { "origin" } else { "destination" };
            let kept = state.events.values().find(|event| event.key == *key);
            let mut pairs: Vec<PairView> = Vec::new();
            if role == "origin" {
                for (bridge, destination) in &state.destinations {
                    let awaited = destination.awaiting.get(&(key.run, key.lane));
                    let stored = awaited.is_some_and(|set| set.contains(key.seq));
                    let pending = destination.pending(key.run, key.lane, key.seq);
                    let held = pending.is_some_and(|pending| core.is_held(pending.body, bridge));
                    let local = *bridge == state.own && kept.is_some_and(|event| event.local_open);
                    if stored || pending.is_some() || local {
                        let word = if pending.is_some() { "pending" } else { "stored" };
                        let why = held.then(|| QUARANTINED.to_owned());
                        if let Some(pending) = pending.filter(|_| !held) {
                            waiting.push((pairs.len(), pending.body, bridge.clone()));
                        }
                        pairs.push(PairView { destination: bridge.to_string(), state: word, why });
                    }
                }
            } else if state.sources.get(&key.origin).is_some_and(|source| source.has(key)) && ended.is_empty()
            {
                let word = if kept.is_some_and(|event| event.local_open) { "stored" } else { "ended" };
                pairs.push(PairView { destination: state.own.to_string(), state: word, why: None });
            }
            pairs.extend(ended.iter().map(|(bridge, outcome)| PairView {
                destination: bridge.to_string(),
                state: outcome.name(),
                why: outcome.why().map(str::to_owned),
            }));
            let subscriptions: Vec<SubscriptionState> = kept
                .into_iter()
                .flat_map(|event| &event.groups)
                .map(|(id, group)| {
                    let name =
                        state.subscriptions.get(id).map_or_else(|| id.to_string(), |s| s.name.to_string());
                    let (word, why) = match group {
                        GroupState::Open => ("pending", None),
                        GroupState::Dead(reason) => ("dead-lettered", Some(reason.to_string())),
                    };
                    SubscriptionState { subscription: name, state: word, why }
                })
                .collect();
            let waiting = kept.and_then(|event| event.choices.as_ref()).into_iter();
            let waiting = waiting.flat_map(|choices| &choices.unchosen).map(ToString::to_string).collect();
            let known = kept.is_some() || !pairs.is_empty() || !further.is_empty();
            known.then(|| EventView {
                key: key.to_string(),
                role,
                kept: kept.is_some(),
                destinations: pairs,
                waiting_groups: waiting,
                continues_as: further.iter().map(ToString::to_string).collect(),
                subscriptions,
            })
        })?;
        for (at, body, bridge) in waiting {
            if let Some(pair) = view.destinations.get_mut(at)
                && self.inner.has_no_lawful_path(body, &bridge)
            {
                pair.why = Some(NO_LAWFUL_PATH.to_owned());
            }
        }
        Some(view)
    }

    /// Accounts that do not balance; anything but zero is a fault of the bridge.
    pub(crate) fn audit(&self) -> usize {
        self.inner.audit()
    }

    /// Whether the spool is whole and every account balances.
    pub(crate) fn is_healthy(&self) -> bool {
        !self.inner.durable.journal.figures().damaged && self.audit() == 0
    }
}

impl Inner {
    fn audit(&self) -> usize {
        let pipeline_accounts = self.durable.view(|core| {
            let state = core.state();
            let local = pending_here(state);
            let unbalanced = state.destinations.iter().filter(|(bridge, destination)| {
                let here = if **bridge == state.own { local } else { 0 };
                destination.account.sent != destination.account.ended() + destination.open() + here
            });
            unbalanced.count()
        });
        self.parts.metrics.unbalanced.set(pipeline_accounts as i64);
        pipeline_accounts
    }
}

/// Events of this bridge that its own subscribers have not ended.
fn pending_here(state: &State) -> u64 {
    state.events.values().filter(|event| event.local_open && event.key.origin == state.own).count() as u64
}

fn open_by_origin(core: &Core) -> HashMap<BridgeId, u64> {
    let mut open = HashMap::new();
    for event in core.state().events.values().filter(|event| event.local_open) {
        *open.entry(event.key.origin.clone()).or_default() += 1;
    }
    open
}
