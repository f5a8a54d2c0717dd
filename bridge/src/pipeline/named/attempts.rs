//! Attempts that failed: the event comes again after a pause, or is a dead letter.

use std::time::Instant;

use rand::RngExt;

use super::super::letter_room::LetterRoom;
use super::super::lock;
use super::{Lease, Named, NamedState};
use crate::pipeline::settings::SubscriptionSettings;

impl Named {
    /// The subscriber could not deal with it: it waits and comes again. `true` when it has had all its attempts.
    pub(in crate::pipeline) fn refuse(&self, body: u64, token: u64, now: Instant) -> Option<bool> {
        let mut state = lock(&self.state);
        let lease = state.leases.get(&body).copied().filter(|lease| lease.token == token)?;
        state.note_progress(lease, now);
        Some(state.fail(body, lease, &self.settings, &self.letters, now))
    }

    /// Bodies whose last attempt is over. Wakes what has waited long enough.
    pub(in crate::pipeline) fn tick(&self, now: Instant) -> Vec<u64> {
        let mut state = lock(&self.state);
        state.renew(now);
        let over: Vec<(u64, Lease)> = state
            .leases
            .iter()
            .filter(|(_, lease)| lease.until.is_some_and(|until| until <= now))
            .map(|(body, lease)| (*body, *lease))
            .collect();
        let dead = over
            .into_iter()
            .filter(|(body, lease)| state.fail(*body, *lease, &self.settings, &self.letters, now))
            .map(|(body, _)| body);
        let dead = dead.collect();
        let resumes = state.paused && !self.letters.is_full();
        if state.wake_later(now) || resumes {
            drop(state);
            self.wake();
        }
        dead
    }
}

impl NamedState {
    /// `true` where this was the last attempt, and there is room for a dead letter.
    fn fail(
        &mut self,
        body: u64,
        lease: Lease,
        settings: &SubscriptionSettings,
        letters: &LetterRoom,
        now: Instant,
    ) -> bool {
        self.leases.remove(&body);
        self.members.released(lease.connection);
        let attempts = self.attempts.entry(body).or_default();
        *attempts = attempts.saturating_add(1);
        let attempts = *attempts;
        if attempts >= settings.max_attempts {
            if letters.take() {
                self.end(body);
                return true;
            }
            self.paused = true;
        }
        let pause = settings.pause(attempts).mul_f64(rand::rng().random_range(0.8..=1.2));
        self.later.insert((now + pause, lease.order), body);
        false
    }
}
