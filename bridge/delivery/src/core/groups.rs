//! Consumer groups across bridges: chosen once, given back, chosen anew (RELIABILITY D9).

use std::sync::Arc;

use bytes::Bytes;
use meshbridge_routing::{BridgeId, EventKey, GroupName};
use smallvec::smallvec;

use super::{Admitted, Core, NewEvent};
use crate::bugs::{Bug, bug};
use crate::record::{Choices, Outcome, Record};

/// Where a group's member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Bridge(BridgeId),
    /// This subscription of this bridge.
    Here(u32),
}

/// What the log has of an event, and the state has not.
#[derive(Clone, Debug)]
pub struct Logged<'a> {
    pub topic: &'a str,
    pub publisher: Option<Arc<str>>,
    pub payload: Bytes,
}

impl Core {
    /// As a destination, also of own events: no member of the group is left here, so the event of subscription `group`
    /// goes back to its origin. `attempts` tells how often it was offered here. `false` where it has ended.
    pub fn return_group(&mut self, body: u64, group: u32, name: &GroupName, attempts: u32) -> bool {
        let Some(event) = self.state.events.get(&body) else { return false };
        // A dead letter that is replayed stays where it is, and so does what its origin has seen end.
        if !event.local_open || !event.open_groups().any(|id| id == group) {
            return false;
        }
        let key = event.key.clone();
        let attempts = attempts.saturating_add(event.attempts);
        self.write_returned(body, &key, group, name.clone(), attempts);
        self.end_if_done(body);
        true
    }

    pub(super) fn return_at_arrival(
        &mut self,
        body: u64,
        key: &EventKey,
        returned: Vec<GroupName>,
        attempts: u32,
    ) {
        for name in returned {
            self.write_returned(body, key, 0, name, attempts);
        }
    }

    fn write_returned(&mut self, body: u64, key: &EventKey, group: u32, name: GroupName, attempts: u32) {
        let origin = key.origin.clone();
        let own = origin == self.state.own;
        let number = if own { 0 } else { self.next_outcome(&origin) };
        let record = Record::GroupReturned { body, key: key.clone(), number, group, name, attempts };
        self.write(record, Bytes::new());
        if !own {
            self.outcome_added(&origin);
        }
    }

    /// As an origin: events whose group was chosen for `bridge` and that have never left for there.
    pub fn unsent_groups(&self, bridge: &BridgeId) -> Vec<(u64, GroupName)> {
        let Some(peer) = self.peers.get(bridge) else { return Vec::new() };
        let bodies = peer.sender.unsent.iter().filter(|body| *body >= self.first_body);
        let bodies = bodies.filter(|body| !peer.sender.has_left(*body) || bug(Bug::GroupRechosenInDoubt));
        let events = bodies.filter_map(|body| Some((body, self.state.events.get(&body)?.choices.as_ref()?)));
        events.flat_map(|(body, c)| c.groups_at(bridge).map(move |name| (body, name.clone()))).collect()
    }

    /// Takes such a group back, so that it can be chosen anew. `false` where the event may have left meanwhile: then the
    /// destination alone can give it back.
    pub fn take_group_back(&mut self, body: u64, bridge: &BridgeId, name: &GroupName) -> bool {
        let left = self.peers.get(bridge).is_none_or(|peer| {
            body < self.first_body || !peer.sender.unsent.contains(body) || peer.sender.has_left(body)
        });
        let choices = |core: &Core| core.state.events.get(&body).and_then(|event| event.choices.clone());
        let chosen = choices(self).is_some_and(|choices| choices.groups_at(bridge).any(|one| one == name));
        if left && !bug(Bug::GroupRechosenInDoubt) || !chosen {
            return false;
        }
        let record = Record::GroupTakenBack { body, destination: bridge.clone(), name: name.clone() };
        self.write(record, Bytes::new());
        let empty = choices(self).is_some_and(|choices| {
            choices.groups_only.contains(bridge) && choices.groups_at(bridge).next().is_none()
        });
        if empty && bug(Bug::GroupRechosenInDoubt) {
            self.end_unsent(body, bridge, Outcome::Moved);
        } else if empty {
            self.end_pair(body, bridge, Outcome::Moved, std::time::Instant::now());
        }
        true
    }

    /// Sends an event that waits for a bridge of this group on its way, under a new key. Gives `None` where it does not
    /// wait any more.
    pub fn choose(
        &mut self,
        body: u64,
        name: &GroupName,
        choice: Choice,
        Logged { topic, publisher, payload }: Logged<'_>,
        wall: u64,
    ) -> Option<Admitted> {
        let event = self.state.events.get(&body)?;
        let choices = event.choices.as_ref().filter(|choices| choices.unchosen.contains(name))?;
        let (bridge, group) = match choice {
            Choice::Bridge(bridge) => (bridge, None),
            Choice::Here(group) => (self.state.own.clone(), Some(group)),
        };
        let next = Choices {
            chosen: vec![(bridge.clone(), name.clone())],
            unchosen: Vec::new(),
            groups_only: vec![bridge.clone()],
            attempts: choices.attempts,
            moved: Some((body, name.clone())),
        };
        let event = NewEvent {
            producer: 0,
            lane: event.key.lane,
            topic: topic.into(),
            payload,
            expires: event.expires,
            retain_delivered: event.retain_delivered,
            destinations: if group.is_some() { smallvec![] } else { smallvec![bridge] },
            groups: group.into_iter().collect(),
            local: group.is_some(),
            choices: Some(Box::new(next)),
            publisher,
        };
        let wall = wall.max(self.state.wall);
        Some(self.accept_one(event, wall))
    }

    /// Ends an event for the groups that wait for a bridge, or for one of them.
    pub fn end_unchosen(&mut self, body: u64, name: Option<&GroupName>, outcome: &Outcome) {
        let choices = self.state.events.get(&body).and_then(|event| event.choices.as_ref());
        let waiting = choices.map(|choices| choices.unchosen.clone()).unwrap_or_default();
        for group in waiting.into_iter().filter(|group| name.is_none_or(|name| name == group)) {
            let record = Record::GroupEnded { body, name: group, outcome: outcome.clone() };
            self.write(record, Bytes::new());
        }
    }
}
