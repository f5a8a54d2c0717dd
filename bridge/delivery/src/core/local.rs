//! The end of an event at this bridge: when every subscription has ended it (RELIABILITY §2, steps 10 and 11).

use std::collections::HashMap;

use bytes::Bytes;

use super::Core;
use crate::record::{DeadLetterEnd, GroupEnd, Outcome, Record, SubscriptionRecord, Turn};
use crate::state::NO_SUBSCRIBER;

/// Subscriptions without memory that still have an event.
#[derive(Clone, Debug, Default)]
struct Living {
    left: u32,
    delivered: bool,
    /// A rule forbids it to all of them now.
    denied: Option<Outcome>,
}

#[derive(Debug, Default)]
#[cfg_attr(feature = "seeded-bugs", derive(Clone))]
pub(super) struct Local {
    living: HashMap<u64, Living>,
}

impl Local {
    pub(super) fn forget(&mut self, body: u64) {
        self.living.remove(&body);
    }
}

impl Core {
    /// The event was handed to `living` subscriptions without memory. To be called once for each
    /// [`super::Action::Ready`].
    pub fn on_offered(&mut self, body: u64, living: u32) {
        self.local.living.insert(body, Living { left: living, delivered: false, denied: None });
        self.end_if_done(body);
    }

    /// In place of [`Core::on_offered`]: a rule forbids the event to the subscriptions without memory now. It ends in this
    /// way unless a durable one has it.
    pub fn on_denied(&mut self, body: u64, outcome: Outcome) {
        self.local.living.insert(body, Living { left: 0, delivered: false, denied: Some(outcome) });
        self.end_if_done(body);
    }

    /// One of those has taken it, or has gone without it.
    pub fn on_living_done(&mut self, body: u64, delivered: bool) {
        if let Some(living) = self.local.living.get_mut(&body) {
            living.left = living.left.saturating_sub(1);
            living.delivered |= delivered;
            self.end_if_done(body);
        }
    }

    /// A durable subscription has ended the event. `false` when it had done so before.
    pub fn end_group(&mut self, body: u64, group: u32, end: GroupEnd) -> bool {
        let open =
            self.state.events.get(&body).is_some_and(|event| event.open_groups().any(|id| id == group));
        if open {
            self.write(Record::Group { body, group, end }, Bytes::new());
            self.end_if_done(body);
        }
        open
    }

    /// What a subscription has made so far of an event that it has not ended.
    pub fn note_turn(&mut self, body: u64, group: u32, turn: Turn) {
        let open =
            self.state.events.get(&body).is_some_and(|event| event.open_groups().any(|id| id == group));
        if open && self.state.turns.of(body, group) != turn {
            self.write(Record::Turn { body, group, turn }, Bytes::new());
        }
    }

    pub(super) fn end_if_done(&mut self, body: u64) {
        let Some(event) = self.state.events.get(&body) else { return };
        let Some(living) = self.local.living.get(&body) else { return };
        if !event.local_open || living.left > 0 || event.open_groups().next().is_some() {
            return;
        }
        let outcome = event.worst.as_deref().cloned().unwrap_or_else(|| {
            if living.delivered {
                Outcome::Delivered
            } else if let Some(denied) = &living.denied {
                denied.clone()
            } else if event.groups_only {
                // Its consumer groups were given back, and nobody else was to have it.
                Outcome::Moved
            } else {
                Outcome::DeadLettered(NO_SUBSCRIBER.into())
            }
        });
        let key = event.key.clone();
        let origin = key.origin.clone();
        let number = if origin == self.state.own { 0 } else { self.next_outcome(&origin) };
        self.write(Record::LocalEnd { body, key, number, outcome }, Bytes::new());
        if origin != self.state.own {
            self.outcome_added(&origin);
        }
    }

    /// Every open subscription of the event has had its time.
    pub(super) fn expire_groups(&mut self, body: u64) {
        let open: Vec<u32> =
            self.state.events.get(&body).into_iter().flat_map(|event| event.open_groups()).collect();
        for group in open {
            self.end_group(body, group, GroupEnd::Expired);
        }
    }

    /// Makes a durable subscription. The caller has looked that there is none of this name and owner.
    pub fn subscribe(&mut self, name: &str, owner: &str, filters: Vec<Box<str>>, settings: &str) -> u32 {
        let id = self.state.next_subscription;
        let record = SubscriptionRecord {
            id,
            name: name.into(),
            owner: owner.into(),
            filters,
            settings: settings.into(),
        };
        self.write(Record::Subscription(record), Bytes::new());
        id
    }

    /// Ends a durable subscription; what it had not acknowledged ends for it as a dead letter without a keeper.
    pub fn unsubscribe(&mut self, id: u32) {
        let holding =
            self.state.events.iter().filter(|(_, event)| event.groups.iter().any(|(group, _)| *group == id));
        let bodies: Vec<u64> = holding.map(|(body, _)| body).collect();
        for body in bodies {
            self.end_group_for_good(body, id);
        }
        self.write(Record::SubscriptionGone { id }, Bytes::new());
    }

    /// Ends an event for a subscription that is no more; nobody can replay it.
    pub fn end_group_for_good(&mut self, body: u64, group: u32) {
        self.end_group(body, group, GroupEnd::DeadLettered("subscription-ended".into()));
        self.write(Record::DeadLetter { body, group, end: DeadLetterEnd::Purged }, Bytes::new());
    }

    /// Purges a dead letter, or opens it again for its subscription. `false` when there is none.
    pub fn end_dead_letter(&mut self, body: u64, group: u32, end: DeadLetterEnd) -> bool {
        let dead = self.state.events.get(&body).is_some_and(|event| {
            event.groups.iter().any(|(id, state)| *id == group && *state != crate::state::GroupState::Open)
        });
        if dead {
            self.write(Record::DeadLetter { body, group, end }, Bytes::new());
        }
        dead
    }
}
