//! Runs seeds on all cores, and the bugs against all scenarios.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use meshbridge_spool::{Bug, seed_bug};

use crate::life::{Kind, life};
use crate::world::Counts;
use crate::{exhaustive, rot};

/// Whether each seed is run a second time to see that it does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Once,
    Twice,
}

/// Runs every seed; panics with the first failure. Adds the counts up.
pub fn each_seed(
    seeds: Range<u64>,
    scope: Scope,
    run: impl Fn(u64) -> Result<(Counts, u64), String> + Sync,
) -> Counts {
    let next = AtomicU64::new(seeds.start);
    let outcome: Mutex<Result<Counts, String>> = Mutex::new(Ok(Counts::default()));
    thread::scope(|threads| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let mut result = run(seed);
                    if scope == Scope::Twice
                        && let Ok((_, trace)) = result
                        && run(seed).map(|(_, again)| again) != Ok(trace)
                    {
                        result = Err(format!("seed {seed} did something else the second time"));
                    }
                    let mut outcome = outcome.lock().expect("no holder panics");
                    match (&mut *outcome, result) {
                        (Ok(total), Ok((counts, _))) => total.add(&counts),
                        (Ok(_), Err(why)) => {
                            *outcome = Err(why);
                            next.store(u64::MAX / 2, Ordering::Relaxed);
                        }
                        (Err(_), _) => return,
                    }
                }
            });
        }
    });
    match outcome.into_inner().expect("no holder panics") {
        Ok(total) => total,
        Err(why) => panic!("{why}"),
    }
}

/// What the scenarios say of a log with this bug, each within its every-run budget.
pub fn first_failure(bug: Bug) -> Option<String> {
    seed_bug(Some(bug));
    let cuts = (0..6_500).map(|seed| life(seed, Kind::Cuts));
    let errors = (0..2_000).map(|seed| life(seed, Kind::Errors));
    let full = (0..300).map(|seed| life(seed, Kind::Full));
    let rotten = (0..3_000).map(rot::damage_bytes);
    let removed = (0..100).map(rot::remove_files);
    let walked = (0..100).map(|seed| exhaustive::walk(seed, 4));
    let mut all = errors.chain(full).chain(rotten).chain(removed).chain(cuts).chain(walked);
    let found = all.find_map(Result::err);
    seed_bug(None);
    found
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.events += other.events;
        self.acknowledged += other.acknowledged;
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.faults += other.faults;
        self.torn += other.torn;
        self.damaged += other.damaged;
        self.rolled += other.rolled;
        self.unlinked += other.unlinked;
        self.moved += other.moved;
        self.full += other.full;
        self.no_room += other.no_room;
    }
}
