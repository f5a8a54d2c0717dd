//! The judge: what was published for whom, against what arrived where.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{Received, Subscriber, eventually};

/// How long a stream must bring nothing before what did not come counts as not sent. It bounds how late an event that should not exist may still be seen.
const QUIET: Duration = Duration::from_millis(300);
const DELIVERED_WITHIN: Duration = Duration::from_secs(20);

/// What was published, and the zones that must receive it.
#[derive(Debug, Default)]
pub struct Ledger {
    expected: BTreeMap<String, BTreeSet<String>>,
}

/// The faults found; all empty when the promise was kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// (id, zone) that never arrived.
    pub lost: Vec<(String, String)>,
    /// (id, zone) that arrived more than once.
    pub duplicated: Vec<(String, String)>,
    /// (id, zone) that arrived where it should not.
    pub unauthorised: Vec<(String, String)>,
    /// (earlier key, later key, zone): two events of a lane that arrived the wrong way round.
    pub out_of_order: Vec<(String, String, String)>,
}

impl Verdict {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        *self == Verdict::default()
    }
}

impl Ledger {
    /// Notes a published event and who must receive it.
    pub fn publish<'a>(&mut self, id: &str, zones: impl IntoIterator<Item = &'a str>) {
        self.expected.insert(id.to_owned(), zones.into_iter().map(str::to_owned).collect());
    }

    /// Waits until everything has arrived and the streams are quiet, then fails on any fault.
    pub async fn settle(&self, subscribers: &[&Subscriber]) -> Result<()> {
        let arrived = eventually("every event arrives where it should", DELIVERED_WITHIN, || async {
            let verdict = self.judge(subscribers);
            ensure!(verdict.lost.is_empty(), "{verdict:#?}");
            let newest = subscribers.iter().flat_map(|one| one.received()).map(|one| one.at).max();
            ensure!(newest.is_none_or(|at| Instant::now() - at >= QUIET), "the streams are not quiet yet");
            Ok(())
        })
        .await;
        arrived.with_context(|| format!("{} events published", self.expected.len()))?;
        let verdict = self.judge(subscribers);
        ensure!(verdict.is_clean(), "{verdict:#?}");
        Ok(())
    }

    /// The faults as of now. Deliveries of events the ledger does not know are not judged.
    pub fn judge(&self, subscribers: &[&Subscriber]) -> Verdict {
        let mut verdict = Verdict::default();
        for subscriber in subscribers {
            let received = subscriber.received();
            self.judge_zone(subscriber.zone(), &received, &mut verdict);
            order(subscriber.zone(), &received, &mut verdict);
        }
        verdict
    }

    fn judge_zone(&self, zone: &str, received: &[Received], verdict: &mut Verdict) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for one in received {
            *counts.entry(one.id()).or_default() += 1;
        }
        for (id, zones) in &self.expected {
            let place = (id.clone(), zone.to_owned());
            match (zones.contains(zone), counts.get(id.as_str()).copied().unwrap_or(0)) {
                (true, 0) => verdict.lost.push(place),
                (false, 1..) => verdict.unauthorised.push(place),
                (true, 2..) => verdict.duplicated.push(place),
                (true, 1) | (false, 0) => {}
            }
        }
    }
}

/// A key is `origin:run:lane:sequence`; within origin, run and lane the sequence only grows.
fn order(zone: &str, received: &[Received], verdict: &mut Verdict) {
    let mut last: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for one in received {
        let Some((lane, sequence)) = one.key.rsplit_once(':') else { continue };
        let Ok(sequence) = sequence.parse::<u64>() else { continue };
        if let Some((before, key)) = last.insert(lane, (sequence, &one.key))
            && before >= sequence
        {
            verdict.out_of_order.push(((*key).to_owned(), one.key.clone(), zone.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn delivery(id: &str, key: &str) -> Received {
        let event = json!({"id": id});
        Received { key: key.to_owned(), topic: "t".to_owned(), event, at: Instant::now() }
    }

    fn judged(received: &[Received]) -> Verdict {
        let mut ledger = Ledger::default();
        ledger.publish("for-here", ["here"]);
        ledger.publish("for-there", ["there"]);
        let mut verdict = Verdict::default();
        ledger.judge_zone("here", received, &mut verdict);
        order("here", received, &mut verdict);
        verdict
    }

    #[test]
    fn a_delivery_as_expected_is_clean() {
        assert!(judged(&[delivery("for-here", "a:1-f:3:1")]).is_clean());
    }

    #[test]
    fn loss_duplication_and_trespass_are_found() {
        assert_eq!(judged(&[]).lost, [("for-here".to_owned(), "here".to_owned())]);
        let twice = judged(&[delivery("for-here", "a:1-f:3:1"), delivery("for-here", "a:1-f:4:1")]);
        assert_eq!(twice.duplicated, [("for-here".to_owned(), "here".to_owned())]);
        let stray = judged(&[delivery("for-here", "a:1-f:3:1"), delivery("for-there", "a:1-f:3:2")]);
        assert_eq!(stray.unauthorised, [("for-there".to_owned(), "here".to_owned())]);
    }

    #[test]
    fn order_counts_within_a_lane_only() {
        let other_lane =
            [delivery("for-here", "a:1-f:3:5"), delivery("x", "a:1-f:4:1"), delivery("y", "a:2-e:3:1")];
        assert!(judged(&other_lane).out_of_order.is_empty());
        assert_eq!(
            judged(&[delivery("for-here", "a:1-f:3:10"), delivery("x", "a:1-f:3:9")]).out_of_order.len(),
            1
        );
    }
}
