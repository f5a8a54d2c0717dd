//! What a subscriber says it has seen when it comes back with the last id it got.
//!
//! It has seen what it was handed before that one, and nothing else: events that wait for a rate, for their lane or for a
//! person have been overtaken. This process knows what it handed out. Of a former one only the order is known in which it
//! went through the events, which of them were overtaken ([`Turn`]), and that a lane that blocks hands them out one after
//! the other. What is in doubt comes again: it is marked, and a repetition is better than a loss.
//!
//! [`Turn`]: meshbridge_delivery::Turn

use std::collections::HashSet;

use super::super::lock;
use super::Named;
use crate::pipeline::settings::OnRetry;

/// What becomes of an event that a connection has leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum HandOut {
    Now,
    /// The next process must know what it overtook, which its subscriber may say that it has seen, and how often events were
    /// offered: so many notes are to be on the disk first.
    OnceNoted(u64),
    /// The lease is another's.
    Gone,
}

impl Named {
    /// A reader is about to get it under this lease.
    pub(in crate::pipeline) fn hand_out(&self, body: u64, connection: u64, token: u64) -> HandOut {
        let mut state = lock(&self.state);
        if state.leases.get(&body).is_none_or(|lease| lease.token != token) {
            return HandOut::Gone;
        }
        if state.notes > state.notes_durable {
            return HandOut::OnceNoted(state.notes);
        }
        if self.group.is_none() {
            state.handed.insert(body, (connection, token));
        }
        HandOut::Now
    }

    /// Something is noted that must be on the disk before anything is handed out.
    pub(in crate::pipeline) fn noted_first(&self) {
        lock(&self.state).notes += 1;
    }

    /// So many are on the disk.
    pub(in crate::pipeline) fn noted_durably(&self, noted: u64) {
        let mut state = lock(&self.state);
        state.notes_durable = state.notes_durable.max(noted);
    }

    /// Everything that its reader got up to this body is dealt with, as the subscriber says; gives the bodies.
    /// `former` are those that a former life of the bridge may have handed out, and `overtaken` those of them that it may
    /// not have handed out before later ones.
    pub(in crate::pipeline) fn end_up_to(
        &self,
        last: u64,
        former: &HashSet<u64>,
        overtaken: &HashSet<u64>,
    ) -> Vec<u64> {
        let mut state = lock(&self.state);
        let Some(last_order) = state.waiting.iter().find(|(_, body)| **body == last).map(|(order, _)| *order)
        else {
            return Vec::new();
        };
        let blocks = self.settings.on_retry == OnRetry::Block;
        let last_handed = state.handed.get(&last).copied();
        let is_seen = |order: u64, body: u64| match last_handed {
            // What another reader got, and may have lost, says nothing of this one.
            Some((reader, newest)) => {
                state.handed.get(&body).is_some_and(|(by, token)| *by == reader && *token <= newest)
            }
            // An id that this subscription has not handed out, or of one that has no place in the order.
            None if !former.contains(&last) => false,
            None if overtaken.contains(&last) => body == last,
            None => {
                let in_order = order <= last_order && former.contains(&body) && !overtaken.contains(&body);
                body == last || in_order && (!blocks || state.lanes.are_of_one(body, last))
            }
        };
        let seen: Vec<(u64, u64)> = state
            .waiting
            .iter()
            .map(|(order, body)| (*order, *body))
            .filter(|(o, b)| is_seen(*o, *b))
            .collect();
        for (order, body) in &seen {
            state.waiting.remove(order);
            state.end(*body);
        }
        seen.into_iter().map(|(_, body)| body).collect()
    }
}
