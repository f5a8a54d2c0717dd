//! How far a reader has come with what it holds.
//!
//! A reader takes its events one after the other, and those it has not come to yet lie in buffers on the way. A lease therefore
//! runs from when the reader was last done with something that it got *before*: one that is slow, and goes on, keeps what
//! lies ahead of it. Otherwise it would acknowledge nothing but old tokens from the moment its backlog takes longer than a
//! lease, get everything again and again, and lose it to the dead letters in the end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Lease, NamedState};

/// A lease is told apart in so many parts, which bounds what is kept of it.
const PARTS: u32 = 64;

/// Of one connection.
#[derive(Debug)]
pub(super) struct Progress {
    lease: Duration,
    begun: Instant,
    /// Tokens and times both ascend: something up to this token was dealt with at this time, and nothing before it later.
    /// At most [`PARTS`] of one lease, and one of an older.
    steps: VecDeque<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    token: u64,
    at: Instant,
    part: u128,
}

impl Progress {
    pub(super) fn new(lease: Duration, now: Instant) -> Progress {
        Progress { lease, begun: now, steps: VecDeque::new() }
    }

    /// The reader is done with the event it got under this token.
    pub(super) fn note(&mut self, token: u64, now: Instant) {
        let part =
            now.saturating_duration_since(self.begun).as_nanos() / (self.lease / PARTS).as_nanos().max(1);
        while self.steps.back().is_some_and(|step| step.token >= token) {
            self.steps.pop_back();
        }
        match self.steps.back_mut() {
            // Takes in a little more than it should, for a sixty-fourth of a lease.
            Some(step) if step.part == part => step.at = now,
            _ => self.steps.push_back(Step { token, at: now, part }),
        }
        while self.steps.front().is_some_and(|step| step.at + self.lease <= now) {
            self.steps.pop_front();
        }
    }

    /// When the lease of `token` ends, as long as nothing more is dealt with; `None` where nothing before it was.
    pub(super) fn until(&self, token: u64) -> Option<Instant> {
        let before = self.steps.partition_point(|step| step.token < token);
        let step = self.steps.get(before.checked_sub(1)?)?;
        Some(step.at + self.lease)
    }
}

impl NamedState {
    pub(super) fn note_progress(&mut self, lease: Lease, now: Instant) {
        if let Some(progress) = self.progress.get_mut(&lease.connection) {
            progress.note(lease.token, now);
        }
    }

    /// Leases that are over by their own time and whose reader has gone on since.
    pub(super) fn renew(&mut self, now: Instant) {
        for lease in self.leases.values_mut().filter(|lease| lease.until.is_some_and(|until| until <= now)) {
            let progress = self.progress.get(&lease.connection);
            lease.until = lease.until.max(progress.and_then(|progress| progress.until(lease.token)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(32);

    /// What is kept in parts agrees with all that was noted, to one part, and is bounded.
    #[test]
    fn the_last_step_before_a_token_counts() {
        let begun = Instant::now();
        let (mut progress, mut all) = (Progress::new(LEASE, begun), Vec::new());
        let mut random = 7_u64;
        for round in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Mostly in order, sometimes far behind.
            let token = round + 100 - (random >> 60) * 6;
            let now = begun + Duration::from_millis(round * 7);
            progress.note(token, now);
            all.push((token, now));
            assert!(progress.steps.len() <= PARTS as usize + 2, "{} steps", progress.steps.len());
            let asked = round + 40;
            let exact =
                all.iter().rev().take(6_000).find(|(token, _)| *token < asked).map(|(_, at)| *at + LEASE);
            let (Some(exact), Some(told)) = (exact.filter(|at| *at > now), progress.until(asked)) else {
                continue;
            };
            assert!(told >= exact && told <= exact + LEASE / PARTS, "{:?} too much", told - exact);
        }
    }

    #[test]
    fn what_comes_later_says_nothing_of_what_came_before() {
        let now = Instant::now();
        let mut progress = Progress::new(LEASE, now);
        progress.note(5, now);
        assert_eq!(progress.until(5), None);
        assert_eq!(progress.until(6), Some(now + LEASE));
    }
}
