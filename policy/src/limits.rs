//! Rates: buckets that fill at a steady pace (the generic cell rate algorithm, ITU-T I.371), one for each rule and key.
//! Buckets belong to one enforcement point of one bridge; time is an argument.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::decision::Debited;
use crate::model::{Amount, Rate};

/// Buckets of an enforcement point; keys beyond it share one for each rule.
const KEYS_MAX: usize = 10_000;

/// What one rate would take from one bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Debit {
    /// The rule, by its place in the program.
    pub(crate) rule: usize,
    /// A hash of the rule's key, or 0 where it has none.
    pub(crate) key: u64,
    /// In nanoseconds of the bucket's time.
    cost: u64,
    capacity: u64,
}

impl Debit {
    /// `bytes` is the size of the event.
    pub(crate) fn new(rule: usize, rate: &Rate, key: u64, bytes: u64) -> Debit {
        let (per_period, units) = match rate.amount {
            Amount::Events(events) => (events, 1),
            Amount::Bytes(limit) => (limit, bytes),
        };
        let period = rate.per.as_nanos();
        let clamp = |nanos: u128| u64::try_from(nanos).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
        Debit {
            rule,
            key,
            cost: clamp(period * u128::from(units) / u128::from(per_period.max(1))),
            capacity: clamp(period * u128::from(rate.burst)),
        }
    }
}

/// How full a bucket is, as the time at which it will be empty of debts.
type Until = u64;

/// The buckets of one enforcement point.
#[derive(Debug, Default)]
pub struct Buckets {
    hasher: RandomState,
    by_rule: Mutex<HashMap<(usize, u64), Until>>,
}

/// Why a debit is not possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// There will be room after this long.
    For(Duration),
    /// The event alone is more than the bucket ever holds.
    Forever,
}

impl Buckets {
    pub fn new() -> Buckets {
        Buckets::default()
    }

    /// A key of the table from the values a rate is keyed by.
    pub(crate) fn key<'a>(&self, values: impl Iterator<Item = &'a str>) -> u64 {
        let mut hash = 0;
        for value in values {
            hash = self.hasher.hash_one((hash, value));
        }
        // 0 is the bucket of rates without a key, 1 the shared one.
        hash.max(2)
    }

    /// How long until the bucket can take the debit; nothing is taken. `now` counts nanoseconds from any beginning.
    pub(crate) fn wait(&self, debit: &Debit, now: u64) -> Option<Short> {
        if debit.cost > debit.capacity {
            return Some(Short::Forever);
        }
        let buckets = self.by_rule.lock().unwrap_or_else(PoisonError::into_inner);
        let until = buckets.get(&slot(&buckets, debit)).copied().unwrap_or(0).max(now);
        let over = (until + debit.cost).saturating_sub(now + debit.capacity);
        (over > 0).then(|| Short::For(Duration::from_nanos(over)))
    }

    /// Takes all of them, or none: false where another took the room meanwhile.
    pub(crate) fn take(&self, debits: &[Debit], now: u64) -> bool {
        if debits.is_empty() {
            return true;
        }
        let mut buckets = self.by_rule.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |debit: &Debit| {
            let until = buckets.get(&slot(&buckets, debit)).copied().unwrap_or(0).max(now);
            until + debit.cost <= now + debit.capacity
        };
        if !debits.iter().all(fits) {
            return false;
        }
        for debit in debits {
            if buckets.len() >= KEYS_MAX {
                // Buckets without debts are as good as new.
                buckets.retain(|_, until| *until > now);
            }
            let slot = slot(&buckets, debit);
            let until = buckets.entry(slot).or_insert(now);
            *until = (*until).max(now) + debit.cost;
        }
        true
    }
}

impl Buckets {
    /// Undoes what an event took that went no further. Who was refused meanwhile is not asked again.
    pub fn give_back(&self, debited: &Debited) {
        if debited.0.is_empty() {
            return;
        }
        let mut buckets = self.by_rule.lock().unwrap_or_else(PoisonError::into_inner);
        for debit in &debited.0 {
            let slot = slot(&buckets, debit);
            if let Some(until) = buckets.get_mut(&slot) {
                *until = until.saturating_sub(debit.cost);
            }
        }
    }
}

/// The bucket of a debit: its own where there is one or room for one, else the one that is shared.
fn slot(buckets: &HashMap<(usize, u64), Until>, debit: &Debit) -> (usize, u64) {
    let own = (debit.rule, debit.key);
    if buckets.len() < KEYS_MAX || buckets.contains_key(&own) { own } else { (debit.rule, 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(amount: Amount, burst: u32) -> Rate {
        Rate { amount, per: Duration::from_secs(1), burst, key: Vec::new() }
    }

    /// In any window, at most the burst and what the rate gives in it.
    #[test]
    fn a_window_never_holds_more_than_burst_and_rate() {
        for (limit, burst) in [(10, 1), (10, 3), (1_000, 2)] {
            let buckets = Buckets::new();
            let rate = rate(Amount::Events(limit), burst);
            let mut taken = Vec::new();
            let mut seed = 88_172_645_463_325_252_u64;
            let mut now = 0_u64;
            for _ in 0..20_000 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                now += seed % (2_000_000_000 / limit);
                let debit = Debit::new(0, &rate, 0, 1);
                let room = buckets.wait(&debit, now).is_none();
                assert_eq!(buckets.take(&[debit], now), room);
                if room {
                    taken.push(now);
                }
            }
            let window = 5_000_000_000;
            let allowed = usize::try_from(limit * u64::from(burst) + limit * 5).expect("small") + 1;
            for (at, start) in taken.iter().enumerate() {
                let inside = taken[at..].iter().take_while(|time| **time < start + window).count();
                assert!(inside <= allowed, "{inside} in five seconds at {limit} a second, burst {burst}");
            }
            assert!(taken.len() > 1_000);
        }
    }

    #[test]
    fn what_is_larger_than_the_bucket_never_fits() {
        let buckets = Buckets::new();
        let rate = rate(Amount::Bytes(1_000), 2);
        assert_eq!(buckets.wait(&Debit::new(0, &rate, 0, 2_001), 0), Some(Short::Forever));
        let debit = Debit::new(0, &rate, 0, 2_000);
        assert_eq!(buckets.wait(&debit, 0), None);
        assert!(buckets.take(&[debit], 0));
        assert_eq!(buckets.wait(&debit, 0), Some(Short::For(Duration::from_secs(2))));
        assert_eq!(buckets.wait(&debit, 2_000_000_000), None);
    }

    #[test]
    fn all_buckets_admit_or_none_is_debited() {
        let buckets = Buckets::new();
        let rate = rate(Amount::Events(1), 1);
        let (a, b) = (Debit::new(0, &rate, 7, 1), Debit::new(1, &rate, 7, 1));
        assert!(buckets.take(&[a], 0));
        assert!(!buckets.take(&[b, a], 0));
        assert!(buckets.take(&[b], 0), "the failed attempt took nothing");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let buckets = Buckets::new();
        let rate = rate(Amount::Events(3), 1);
        let debit = Debit::new(0, &rate, 7, 1);
        let take = |n: usize| (0..n).filter(|_| buckets.take(&[debit], 0)).count();
        assert_eq!(take(5), 3);
        let debited = Debited([debit].into_iter().collect());
        buckets.give_back(&debited);
        buckets.give_back(&debited);
        assert_eq!(take(5), 2);
    }

    #[test]
    fn keys_beyond_the_table_share_a_bucket() {
        let buckets = Buckets::new();
        let rate = rate(Amount::Events(1), 1);
        for key in 0..KEYS_MAX as u64 {
            assert!(buckets.take(&[Debit::new(0, &rate, key + 2, 1)], 0));
        }
        assert!(buckets.take(&[Debit::new(0, &rate, 99_999_999, 1)], 0));
        assert!(!buckets.take(&[Debit::new(0, &rate, 88_888_888, 1)], 0), "the shared bucket is empty");
    }
}
