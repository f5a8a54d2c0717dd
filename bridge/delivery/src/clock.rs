//! The clock on the wall, believed as far as the monotonic clock confirms it (RELIABILITY D13).
//!
//! Nothing may end early because somebody set a clock. So time that ends lives is the earliest that is plausible, and
//! time that lives are counted from is the latest: a step ahead of more than [`STEP_MAX`] is not followed and a step back
//! not at all, and while either stands nothing expires. The process that starts anew believes the wall again, but for what
//! the log has reached.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A step ahead up to this is followed: clocks are corrected.
pub const STEP_MAX: Duration = Duration::from_secs(300);
/// A step back beyond this is worth an alarm.
const BACK_MAX_MS: u64 = 1_000;

/// Why nothing expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockDoubt {
    /// The wall clock has stepped ahead, and the monotonic one has not.
    Ahead,
    /// The wall clock says less than it has said before, or than the log has.
    Behind,
}

/// The wall clock of one process. Milliseconds since 1970 throughout.
#[derive(Debug)]
pub struct WallClock {
    start: Instant,
    start_wall: u64,
    /// The highest time that was believed, or logged.
    reached: AtomicU64,
}

/// What one look at the clock says.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The earliest that it may be.
    earliest: u64,
    /// The latest that it may be.
    latest: u64,
    reached: u64,
    ahead: bool,
}

impl WallClock {
    /// `logged` is the highest time in the log; `wall` and `now` are read at the same moment.
    pub fn new(logged: u64, wall: u64, now: Instant) -> WallClock {
        WallClock { start: now, start_wall: wall, reached: AtomicU64::new(logged.max(wall)) }
    }

    /// Judges what the wall says.
    pub fn read(&self, wall: u64, now: Instant) -> Reading {
        let elapsed =
            u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX);
        let expected = self.start_wall.saturating_add(elapsed);
        let ahead = wall > expected.saturating_add(STEP_MAX.as_millis() as u64);
        let earliest = if ahead { expected } else { wall };
        let reached = self.reached.fetch_max(earliest, Ordering::Relaxed).max(earliest);
        Reading { earliest, latest: reached.max(expected), reached, ahead }
    }
}

impl Reading {
    /// For the log: never earlier than what it has.
    pub fn logged(&self) -> u64 {
        self.reached
    }

    /// What ends before this has ended; `None` while the clock is in doubt.
    pub fn for_expiry(&self) -> Option<u64> {
        (!self.ahead && self.earliest >= self.reached).then_some(self.earliest)
    }

    /// How long something lives that ends at `end`.
    pub fn remaining(&self, end: u64) -> Duration {
        Duration::from_millis(end.saturating_sub(self.earliest))
    }

    /// When something ends that lives for so long.
    pub fn end_of(&self, life: Duration) -> u64 {
        self.latest.saturating_add(u64::try_from(life.as_millis()).unwrap_or(u64::MAX))
    }

    /// Whether somebody should look at the clock.
    pub fn doubt(&self) -> Option<ClockDoubt> {
        if self.ahead {
            Some(ClockDoubt::Ahead)
        } else if self.earliest + BACK_MAX_MS < self.reached {
            Some(ClockDoubt::Behind)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000_000;
    const YEAR: i64 = 365 * 86_400_000;

    /// After a minute by the monotonic clock the wall is `off` from what it should be.
    #[track_caller]
    fn check(off: i64, expires: bool, doubt: Option<ClockDoubt>) {
        let now = Instant::now();
        let clock = WallClock::new(0, START, now);
        let true_wall = START + 60_000;
        let later = now + Duration::from_secs(60);
        assert_eq!(clock.read(true_wall - 1, later).for_expiry(), Some(true_wall - 1));
        let reading = clock.read(true_wall.saturating_add_signed(off), later);
        assert_eq!((reading.for_expiry().is_some(), reading.doubt()), (expires, doubt), "{off}");
        assert!(reading.logged() >= true_wall - 1 && reading.logged() <= true_wall + 300_000, "{off}");
        // A life of a minute counted from here has not ended before its time, whatever the clock says next.
        let end = reading.end_of(Duration::from_secs(60));
        assert!(end >= true_wall + 60_000, "{off}: {end}");
        let followed = reading.remaining(true_wall + 400_000) <= Duration::from_secs(400);
        assert!(followed || !(0..=300_000).contains(&off), "{off}");
        assert!(
            off.abs() <= 300_000 || reading.remaining(true_wall + 60_000) >= Duration::from_secs(60),
            "{off}"
        );
        let right = clock.read(true_wall + 1_000_000, later + Duration::from_secs(1_000));
        assert_eq!((right.for_expiry(), right.doubt()), (Some(true_wall + 1_000_000), None), "{off}");
    }

    #[test]
    fn steps_are_followed_refused_or_waited_out() {
        check(0, true, None);
        check(1_000, true, None);
        check(300_000, true, None);
        check(300_001, false, Some(ClockDoubt::Ahead));
        check(YEAR, false, Some(ClockDoubt::Ahead));
        check(10 * YEAR, false, Some(ClockDoubt::Ahead));
        check(-500, false, None);
        check(-5_000, false, Some(ClockDoubt::Behind));
        check(-YEAR, false, Some(ClockDoubt::Behind));
        check(-10 * YEAR, false, Some(ClockDoubt::Behind));
    }

    #[test]
    fn small_steps_do_not_add_up() {
        let now = Instant::now();
        let clock = WallClock::new(0, START, now);
        for step in 1..=10 {
            let reading = clock.read(START + step * 200_000, now + Duration::from_secs(step));
            assert_eq!(reading.doubt().is_some(), step > 1, "step {step}");
        }
    }

    #[test]
    fn a_start_goes_on_from_what_was_logged() {
        let now = Instant::now();
        let clock = WallClock::new(START + 10_000, START, now);
        let reading = clock.read(START, now);
        assert_eq!((reading.for_expiry(), reading.logged()), (None, START + 10_000));
        assert_eq!(reading.doubt(), Some(ClockDoubt::Behind));
        let caught_up = clock.read(START + 10_000, now + Duration::from_secs(10));
        assert_eq!(caught_up.for_expiry(), Some(START + 10_000));
    }
}
