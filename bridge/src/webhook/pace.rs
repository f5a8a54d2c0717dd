//! How often a target may be asked: the rate it allowed, and the time it asked us to wait. Pure.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// Requests stand at least `60 s / rate` apart, so no minute has more of them than were allowed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    interval: Duration,
    /// No request before this.
    next: Option<Instant>,
}

impl Pace {
    /// Takes the rate of a handshake; `None` allows any.
    pub(super) fn allow(&mut self, per_minute: Option<NonZeroU32>) {
        self.interval = per_minute.map_or(Duration::ZERO, |rate| MINUTE / rate.get());
    }

    /// The target asked for a pause.
    pub(super) fn hold(&mut self, pause: Duration, now: Instant) {
        self.next = self.next.max(Some(now + pause));
    }

    /// How long this request must wait, and its place is taken; or, where that is more than `patience`, the wait as
    /// an error, and nothing is taken.
    pub(super) fn reserve(&mut self, patience: Duration, now: Instant) -> Result<Duration, Duration> {
        let at = self.next.map_or(now, |next| next.max(now));
        let wait = at - now;
        if wait > patience {
            return Err(wait);
        }
        self.next = Some(at + self.interval);
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_has_more_requests_than_were_allowed() {
        for rate in [1, 7, 60, 1_000] {
            let start = Instant::now();
            let mut pace = Pace::default();
            pace.allow(NonZeroU32::new(rate));
            let mut sent = Vec::new();
            for step in 0..30_000_u64 {
                let now = start + Duration::from_millis(step * 10);
                if pace.reserve(Duration::ZERO, now).is_ok() {
                    sent.push(now);
                }
            }
            assert!(sent.len() as u32 >= rate * 4, "{rate} a minute: {} in five", sent.len());
            for (at, first) in sent.iter().enumerate() {
                let within = sent[at..].iter().take_while(|later| **later - *first < MINUTE).count();
                assert!(within as u32 <= rate, "{within} in a minute, {rate} were allowed");
            }
        }
    }

    #[test]
    fn a_pause_holds_everything_back_and_does_not_shrink() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.hold(Duration::from_secs(30), now);
        pace.hold(Duration::from_secs(10), now);
        assert_eq!(pace.reserve(Duration::from_secs(1), now), Err(Duration::from_secs(30)));
        assert_eq!(pace.reserve(Duration::ZERO, now + Duration::from_secs(30)), Ok(Duration::ZERO));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let mut pace = Pace::default();
        for _ in 0..100 {
            assert_eq!(pace.reserve(Duration::ZERO, now), Ok(Duration::ZERO));
        }
    }
}
