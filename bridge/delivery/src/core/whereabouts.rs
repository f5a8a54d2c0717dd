//! Where an event still is, for its publisher who says it again (RELIABILITY P4).

use meshbridge_routing::{BridgeId, EventKey};

use super::Core;

/// What an origin knows of one of its own events. What has ended everywhere is nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Destinations that may not have it yet.
    pub pending: Vec<BridgeId>,
    /// Destinations that have it, and have not said how it ended.
    pub stored: Vec<BridgeId>,
    /// Of its record, where the log still needs that.
    pub body: Option<u64>,
    /// Consumer groups that wait for a bridge with a member.
    pub unchosen: usize,
}

impl Core {
    /// With `all`, its subscribers here and its consumer groups, too: for that every event may have to be looked through.
    pub fn whereabouts(&self, key: &EventKey, all: bool) -> Whereabouts {
        let mut found = Whereabouts::default();
        for (bridge, destination) in &self.state.destinations {
            if let Some(pending) = destination.pending(key.run, key.lane, key.seq) {
                found.body = Some(pending.body);
                found.pending.push(bridge.clone());
            } else if destination.awaiting.get(&(key.run, key.lane)).is_some_and(|set| set.contains(key.seq))
            {
                found.stored.push(bridge.clone());
            }
        }
        let known = || self.state.events.iter().find(|(_, event)| event.key == *key).map(|(body, _)| body);
        if all && found.body.is_none() {
            found.body = known();
        }
        let Some(event) = found.body.and_then(|body| self.state.events.get(&body)) else { return found };
        found.unchosen = event.choices.as_ref().map_or(0, |choices| choices.unchosen.len());
        let own = &self.state.own;
        if event.local_open && !found.stored.contains(own) && !found.pending.contains(own) {
            found.stored.push(own.clone());
        }
        found
    }
}
