//! Consumer groups of own events: which bridge was chosen, and which are to be chosen anew (RELIABILITY D9).
//!
//! ```text
//!            chosen ── returned, or never sent and taken back ──► unchosen
//!              │                                                    │
//!              ▼                                                    ├─► another event, with a new key, chosen anew
//!    ends with its pair                                             └─► ended: expired, or nobody is left
//! ```

use meshbridge_routing::{BridgeId, EventKey, GroupName};

use super::{Effect, GroupState, State};
use crate::record::Outcome;

impl State {
    /// `bridge` has no member of the group any more.
    pub(super) fn unchoose(
        &mut self,
        body: u64,
        bridge: &BridgeId,
        name: &GroupName,
        attempts: u32,
        effects: &mut Vec<Effect>,
    ) {
        let Some(choices) = self.events.get_mut(&body).and_then(|event| event.choices.as_mut()) else {
            return;
        };
        let Some(at) = choices.chosen.iter().position(|(at, group)| at == bridge && group == name) else {
            return;
        };
        choices.chosen.remove(at);
        choices.unchosen.push(name.clone());
        choices.attempts = choices.attempts.max(attempts);
        self.unchosen.entry(name.clone()).or_default().insert(body);
        effects.push(Effect::Unchosen { body, name: name.clone() });
    }

    /// A destination says so of one of our events.
    pub(super) fn on_returned(
        &mut self,
        from: &BridgeId,
        key: &EventKey,
        pending: Option<u64>,
        name: &GroupName,
        attempts: u32,
        effects: &mut Vec<Effect>,
    ) {
        let kept = || self.retained.get(&(key.run, key.lane, key.seq)).copied();
        if let Some(body) = pending.or_else(kept) {
            self.unchoose(body, from, name, attempts, effects);
        }
    }

    /// This bridge gives back an event: one of its own, or that of another.
    #[expect(clippy::too_many_arguments, reason = "the fields of the record")]
    pub(super) fn on_group_returned(
        &mut self,
        body: u64,
        key: &EventKey,
        number: u64,
        group: u32,
        name: &GroupName,
        attempts: u32,
        effects: &mut Vec<Effect>,
    ) {
        let own = key.origin == self.own;
        if !own {
            let source = self.sources.entry(key.origin.clone()).or_default();
            source.end(number, key, Outcome::Returned(name.clone(), attempts));
        }
        if let Some(event) = self.events.get_mut(&body) {
            event.groups.retain(|(id, state)| *id != group || *state != GroupState::Open);
        }
        self.turns.forget(body, group);
        if own {
            let bridge = self.own.clone();
            self.unchoose(body, &bridge, name, attempts, effects);
        }
    }

    fn leave_unchosen(&mut self, body: u64, name: &GroupName) -> bool {
        if let Some(bodies) = self.unchosen.get_mut(name) {
            bodies.remove(&body);
            if bodies.is_empty() {
                self.unchosen.remove(name);
            }
        }
        let Some(choices) = self.events.get_mut(&body).and_then(|event| event.choices.as_mut()) else {
            return false;
        };
        let before = choices.unchosen.len();
        choices.unchosen.retain(|group| group != name);
        choices.unchosen.len() < before
    }

    /// The event `body` goes on as `to`, for this group.
    pub(super) fn on_moved(
        &mut self,
        before: u64,
        name: &GroupName,
        to: &EventKey,
        body: u64,
        destination: &BridgeId,
        effects: &mut Vec<Effect>,
    ) {
        if self.leave_unchosen(before, name)
            && let Some(event) = self.events.get(&before)
        {
            let (from, to) = (event.key.clone(), to.clone());
            let (destination, group) = (destination.clone(), Some(name.clone()));
            effects.push(Effect::Moved { from, to, body, destination, group });
            self.release_if_done(before, effects);
        }
    }

    /// The group gets the event from nobody.
    pub(super) fn on_group_ended(
        &mut self,
        body: u64,
        name: &GroupName,
        outcome: &Outcome,
        effects: &mut Vec<Effect>,
    ) {
        if !self.leave_unchosen(body, name) {
            return;
        }
        let Some(event) = self.events.get(&body) else { return };
        // It was on no account while no bridge was chosen; its end is on ours.
        let account = &mut self.destinations.entry(self.own.clone()).or_default().account;
        account.sent += 1;
        account.count(outcome);
        let (key, destination) = (event.key.clone(), self.own.clone());
        effects.push(Effect::Ended { key, destination, outcome: outcome.clone() });
        self.release_if_done(body, effects);
    }
}
