//! One run of traffic: a publisher and its subscribers, each a thread with a connection of its own, and what they tell each other.
//!
//! ```text
//!   publisher ── events ──► server … server ── events ──► subscriber(s)
//!       ▲                                                     │
//!       └──────── Shared: the highest number of the slowest ──┘
//! ```
//!
//! The publisher is never more than a window ahead of the slowest subscriber: servers that drop what a slow consumer does not take in time
//! would lose events otherwise, and the figure would be one of the generator's, not of the server's.

mod publisher;
mod subscriber;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

pub(crate) use publisher::{Pace, Published, Publisher};
pub(crate) use subscriber::{Received, Subscriber};

/// How long anything may stand still before a run is given up. A server that syncs a whole window event by event and then answers all of it stands still for
/// four seconds on a disk that takes four milliseconds.
pub(crate) const STALL_AFTER: Duration = Duration::from_secs(20);

/// Counters of different threads, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    /// One more than the highest number that has arrived.
    next: AtomicU64,
    /// A probe has arrived: the path from the publisher is there.
    is_live: AtomicBool,
    /// The thread has everything, or has given up.
    is_done: AtomicBool,
}

/// What the threads of a run share.
#[derive(Debug)]
pub(crate) struct Shared {
    started: Instant,
    lanes: Vec<Lane>,
    publisher: OnceLock<Thread>,
    /// The publisher sleeps until the slowest subscriber is here.
    wanted: AtomicU64,
    sent: AtomicU64,
    acknowledged: AtomicU64,
    /// Probing is over, the sequence begins.
    is_running: AtomicBool,
    /// The publisher has begun with it.
    has_begun: AtomicBool,
    /// Latencies are recorded.
    is_measuring: AtomicBool,
    /// The publisher is to end.
    is_over: AtomicBool,
    /// How many events there were, when that is known.
    end: AtomicU64,
    /// Everybody ends at once, complete or not.
    is_abandoned: AtomicBool,
}

impl Shared {
    pub(crate) fn new(subscribers: usize) -> Shared {
        Shared {
            started: Instant::now(),
            lanes: (0..subscribers).map(|_| Lane::default()).collect(),
            publisher: OnceLock::new(),
            wanted: AtomicU64::new(u64::MAX),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            is_running: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
            is_measuring: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            end: AtomicU64::new(u64::MAX),
            is_abandoned: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the run began: the clock of both ends, for they are one process.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// One more than the highest number that every subscriber has seen.
    pub(crate) fn slowest(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.next.load(Ordering::Acquire)).min().unwrap_or(u64::MAX)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.lanes.iter().all(|lane| lane.is_live.load(Ordering::Acquire))
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// The path is there: numbers count from now on.
    pub(crate) fn run(&self) {
        self.is_running.store(true, Ordering::Release);
        self.wake_publisher();
    }

    /// Whether the publisher is past its probes.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    pub(crate) fn measure(&self, on: bool) {
        self.is_measuring.store(on, Ordering::Release);
    }

    /// The publisher ends.
    pub(crate) fn finish(&self) {
        self.is_over.store(true, Ordering::Release);
        self.wake_publisher();
    }

    pub(crate) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        self.finish();
    }

    /// Whether all subscribers have ended.
    pub(crate) fn is_done(&self) -> bool {
        self.lanes.iter().all(|lane| lane.is_done.load(Ordering::Acquire))
    }

    fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire)
    }

    fn wake_publisher(&self) {
        if let Some(publisher) = self.publisher.get() {
            publisher.unpark();
        }
    }

    /// A subscriber has seen all below `next`, or knows that they are lost.
    fn advance(&self, lane: usize, next: u64) {
        self.lanes[lane].next.store(next, Ordering::SeqCst);
        // The publisher says what it waits for before it looks at the lanes again, so one of the two sees the other.
        if self.wanted.load(Ordering::SeqCst) <= next {
            self.wake_publisher();
        }
    }

    /// Sleeps until every subscriber is at `wanted`, or shortly.
    fn wait_for(&self, wanted: u64) {
        self.wanted.store(wanted, Ordering::SeqCst);
        if self.lanes.iter().map(|lane| lane.next.load(Ordering::SeqCst)).min().unwrap_or(u64::MAX) < wanted {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.wanted.store(u64::MAX, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_follows_the_slowest_subscriber() {
        let shared = Shared::new(3);
        shared.advance(0, 10);
        shared.advance(1, 4);
        assert_eq!(shared.slowest(), 0);
        shared.advance(2, 7);
        assert_eq!(shared.slowest(), 4);
    }

    #[test]
    fn a_publisher_that_waits_is_woken_when_the_window_opens() {
        let shared = Shared::new(1);
        let woken = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                shared.publisher.set(std::thread::current()).expect("once");
                let mut rounds = 0;
                while shared.slowest() < 5 {
                    shared.wait_for(5);
                    rounds += 1;
                }
                rounds
            });
            for next in 1..=5 {
                shared.advance(0, next);
            }
            waiting.join().expect("it ends")
        });
        assert!(woken < 1_000, "it woke {woken} times for nothing");
    }
}
