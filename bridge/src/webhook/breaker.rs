//! The circuit breaker of one target. Pure: time and randomness come in.
//!
//! ```text
//!            N failures in a row              wait over
//!   closed ─────────────────────► open ─────────────────────► probing
//!     ▲                            ▲     one request may go      │
//!     │ success                    └──────── failure ────────────┤ the next wait is twice as long
//!     └──────────────────────────────────── success ─────────────┘
//! ```

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// The longest wait; up to it each is twice as long as the one before.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// What others are told while a probe is out.
const PROBE_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// Times it opened since the last success.
    openings: u32,
    /// The first wait.
    wait_min: Duration,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// What is known of the target after a request to it, or an attempt at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It answered sensibly, be it with a refusal.
    Alive,
    Failing,
    /// Nothing was learned: the attempt was given up before an answer could come.
    Unknown,
}

impl Breaker {
    pub(super) fn new(wait_min: Duration) -> Breaker {
        Breaker { state: State::Closed { failures: 0 }, openings: 0, wait_min }
    }

    /// Whether a request may go; else how long to wait. Each `Ok` is followed by one [`Breaker::handle_outcome`].
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } if now < until => Err(until - now),
            State::Open { .. } => {
                self.state = State::Probing;
                Ok(())
            }
            State::Probing => Err(PROBE_WAIT),
        }
    }

    /// `jitter` is a random number from 0 to 1.
    pub(super) fn handle_outcome(&mut self, health: Health, jitter: f64, now: Instant) {
        match (health, &mut self.state) {
            (Health::Alive, _) => *self = Breaker::new(self.wait_min),
            (Health::Failing, State::Closed { failures }) => {
                *failures += 1;
                if *failures >= FAILURES_MAX {
                    self.open(jitter, now);
                }
            }
            (Health::Failing, State::Probing) => self.open(jitter, now),
            // Requests that were under way when it opened.
            (Health::Failing, State::Open { .. }) => {}
            (Health::Unknown, State::Probing) => self.state = State::Open { until: now },
            (Health::Unknown, State::Closed { .. } | State::Open { .. }) => {}
        }
    }

    fn open(&mut self, jitter: f64, now: Instant) {
        let wait = self.wait_min.saturating_mul(1 << self.openings.min(16)).min(WAIT_MAX);
        self.openings += 1;
        self.state = State::Open { until: now + wait.mul_f64(0.8 + 0.4 * jitter) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT_MIN: Duration = Duration::from_secs(5);

    /// Everything that can happen, in order; `+n` lets n seconds pass.
    #[track_caller]
    fn check(script: &str) {
        let start = Instant::now();
        let (mut breaker, mut now) = (Breaker::new(WAIT_MIN), start);
        for step in script.split_whitespace() {
            match step {
                "go" => assert_eq!(breaker.admit(now), Ok(()), "{script}, at {:?}", now - start),
                "stop" => assert!(breaker.admit(now).is_err(), "{script}, at {:?}", now - start),
                "alive" => breaker.handle_outcome(Health::Alive, 0.5, now),
                "failing" => breaker.handle_outcome(Health::Failing, 0.5, now),
                "unknown" => breaker.handle_outcome(Health::Unknown, 0.5, now),
                seconds => {
                    now += Duration::from_secs(seconds.trim_start_matches('+').parse().expect("seconds"))
                }
            }
        }
    }

    const FIVE: &str = "go failing go failing go failing go failing go failing";

    #[test]
    fn failures_in_a_row_open_it() {
        check(&format!("{FIVE} stop +4 stop +1 go"));
        check("go failing go failing go failing go failing go alive go failing go failing go failing go");
    }

    #[test]
    fn one_probe_goes_at_a_time() {
        check(&format!("{FIVE} +5 go stop stop alive go go"));
    }

    #[test]
    fn each_failed_probe_doubles_the_wait_up_to_five_minutes() {
        check(&format!(
            "{FIVE} +5 go failing +9 stop +1 go failing +19 stop +1 go failing +39 stop +1 go alive go"
        ));
        let probes = "+300 go failing ".repeat(40);
        check(&format!("{FIVE} {probes} +299 stop +1 go"));
    }

    #[test]
    fn after_a_success_the_wait_starts_over() {
        check(&format!("{FIVE} +5 go failing +10 go alive {FIVE} stop +5 go"));
    }

    #[test]
    fn late_failures_change_nothing_and_late_successes_close() {
        check(&format!("{FIVE} failing failing +5 go"));
        check(&format!("{FIVE} alive go"));
    }

    #[test]
    fn a_probe_that_is_given_up_leaves_room_for_the_next() {
        check(&format!("{FIVE} +5 go unknown go failing +10 go"));
    }

    #[test]
    fn the_wait_is_spread_by_a_fifth_either_way() {
        let now = Instant::now();
        for (jitter, wait) in [(0.0, 4_000), (0.5, 5_000), (1.0, 6_000)] {
            let mut breaker = Breaker::new(WAIT_MIN);
            for _ in 0..FAILURES_MAX {
                breaker.handle_outcome(Health::Failing, jitter, now);
            }
            assert_eq!(breaker.admit(now), Err(Duration::from_millis(wait)), "{jitter}");
        }
    }
}
