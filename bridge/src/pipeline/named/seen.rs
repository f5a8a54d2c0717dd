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

impl Named {
    /// A reader has it under this lease.
    pub(in crate::pipeline) fn handed(&self, body: u64, token: u64) {
        if self.group.is_none() {
            lock(&self.state).handed.insert(body, token);
        }
    }

    /// Everything that its reader got up to this body is dealt with, as the subscriber says; gives the bodies.
    /// `overtaken` are those that may not have been handed out before later ones, in former lives of the bridge.
    pub(in crate::pipeline) fn end_up_to(&self, last: u64, overtaken: &HashSet<u64>) -> Vec<u64> {
        let mut state = lock(&self.state);
        let Some(last_order) = state.waiting.iter().find(|(_, body)| **body == last).map(|(order, _)| *order)
        else {
            return Vec::new();
        };
        let blocks = self.settings.on_retry == OnRetry::Block;
        let last_handed = state.handed.get(&last).copied();
        let is_seen = |order: u64, body: u64| match last_handed {
            Some(last_token) => state.handed.get(&body).is_some_and(|token| *token <= last_token),
            None => {
                let in_order = order <= last_order && !overtaken.contains(&body);
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
