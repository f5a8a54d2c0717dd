//! Attempts that failed: the event comes again after a pause, or is a dead letter.

use std::time::Instant;

use rand::RngExt;
use tracing::warn;

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
        let was_paused = state.paused;
        let is_dead = state.fail(body, lease, &self.settings, &self.letters, now);
        self.say_paused(was_paused, &state);
        Some(is_dead)
    }

    /// Bodies whose last attempt is over. Wakes what has waited long enough.
    pub(in crate::pipeline) fn tick(&self, now: Instant) -> Vec<u64> {
        let mut state = lock(&self.state);
        let was_paused = state.paused;
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
        self.say_paused(was_paused, &state);
        let resumes = state.paused && !self.letters.is_full();
        if state.wake_later(now) || resumes {
            drop(state);
            self.wake();
        }
        dead
    }

    pub(super) fn say_paused(&self, was_paused: bool, state: &NamedState) {
        if state.paused && !was_paused {
            warn!(
                subscription = %self.name,
                "There is no room for a dead letter: the subscription pauses until some are purged or replayed"
            );
        }
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
