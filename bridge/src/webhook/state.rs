//! What the sender remembers of one URL. In memory only: after a restart every receiver is asked again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::Limits;
use super::breaker::{Breaker, Health};
use super::connection::Idle;
use super::consent::Consent;
use super::pace::Pace;

/// Locks are held for a few instructions and never two at once, but for `consent`, which is held during a handshake
/// and inside which the others may be taken.
#[derive(Debug)]
pub(super) struct TargetState {
    pub(super) slots: Semaphore,
    pub(super) consent: tokio::sync::Mutex<Consent>,
    pub(super) idle: Idle,
    breaker: Mutex<Breaker>,
    pace: Mutex<Pace>,
}

impl TargetState {
    pub(super) fn new(limits: &Limits) -> TargetState {
        TargetState {
            slots: Semaphore::new(limits.in_flight),
            consent: tokio::sync::Mutex::default(),
            idle: Idle::default(),
            breaker: Mutex::new(Breaker::new(limits.breaker_wait)),
            pace: Mutex::default(),
        }
    }

    pub(super) fn begin(&self) -> Result<Attempt<'_>, Duration> {
        let now = Instant::now().into_std();
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).admit(now)?;
        Ok(Attempt { state: self, health: Health::Unknown })
    }

    pub(super) fn with_pace<T>(&self, change: impl FnOnce(&mut Pace, std::time::Instant) -> T) -> T {
        let now = Instant::now().into_std();
        change(&mut self.pace.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

/// A request that the circuit breaker let through. It hears how that ended when this is dropped, also where the
/// delivery was given up half-way.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    state: &'a TargetState,
    health: Health,
}

impl Attempt<'_> {
    pub(super) fn finish(mut self, health: Health) {
        self.health = health;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut breaker = self.state.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        breaker.handle_outcome(self.health, rand::rng().random(), Instant::now().into_std());
    }
}
