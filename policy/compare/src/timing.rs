//! Medians of many short samples.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::engines::Engine;

/// A sample takes about this long, so that reading the clock does not count.
const SAMPLE: Duration = Duration::from_micros(50);
/// And all samples together.
const TOTAL: Duration = Duration::from_millis(600);
const SAMPLES_MIN: usize = 15;

/// Nanoseconds of one decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) median_ns: f64,
    /// Of a hundred samples the slowest.
    p99_ns: f64,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measured { median_ns, p99_ns } = self;
        write!(f, "{}, p99 {}", Nanoseconds(*median_ns), Nanoseconds(*p99_ns))
    }
}

struct Nanoseconds(f64);

impl fmt::Display for Nanoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns if ns < 1e3 => write!(f, "{ns:.0} ns"),
            ns if ns < 1e6 => write!(f, "{:.1} µs", ns / 1e3),
            ns => write!(f, "{:.1} ms", ns / 1e6),
        }
    }
}

/// Decides about the events in turn, until there are enough samples.
pub(crate) fn measure(engine: &dyn Engine, events: usize) -> Measured {
    let round = |rounds: usize| {
        let start = Instant::now();
        for _ in 0..rounds {
            for at in 0..events {
                black_box(engine.passes(black_box(at)));
            }
        }
        start.elapsed()
    };
    let once = round(1).max(Duration::from_nanos(1));
    let rounds = usize::try_from(SAMPLE.as_nanos() / once.as_nanos()).unwrap_or(1).max(1);
    let start = Instant::now();
    let mut samples = Vec::new();
    while samples.len() < SAMPLES_MIN || start.elapsed() < TOTAL {
        samples.push(round(rounds).as_nanos() as f64 / (rounds * events) as f64);
    }
    samples.sort_unstable_by(f64::total_cmp);
    Measured { median_ns: samples[samples.len() / 2], p99_ns: samples[samples.len() * 99 / 100] }
}
