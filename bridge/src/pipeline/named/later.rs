//! Events that come again at a time: refused by their subscriber, or by a rate that has no room yet.

use std::time::{Duration, Instant};

use super::super::lock;
use super::{Named, NamedState};

impl Named {
    /// It may not be handed out yet: it comes again after `wait`, which is no attempt.
    pub(in crate::pipeline) fn postpone(&self, body: u64, token: u64, wait: Duration, now: Instant) {
        let mut state = lock(&self.state);
        let Some(lease) = state.leases.get(&body).copied().filter(|lease| lease.token == token) else {
            return;
        };
        state.leases.remove(&body);
        state.members.released(lease.connection);
        state.later.insert((now + wait, lease.order), body);
    }

    /// A rule makes a dead letter of it. Where there is no room for one it comes again later, and the subscription
    /// pauses: `false`.
    pub(in crate::pipeline) fn takes_letter(&self, body: u64, token: u64, now: Instant) -> bool {
        if self.letters.take() {
            return true;
        }
        let mut state = lock(&self.state);
        let was_paused = std::mem::replace(&mut state.paused, true);
        self.say_paused(was_paused, &state);
        drop(state);
        self.postpone(body, token, Duration::ZERO, now);
        false
    }
}

impl NamedState {
    /// What has waited long enough waits for its turn; `true` where there was any.
    pub(super) fn wake_later(&mut self, now: Instant) -> bool {
        let mut any = false;
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, order), body) = entry.remove_entry();
            self.waiting.insert(order, body);
            any = true;
        }
        any
    }
}
