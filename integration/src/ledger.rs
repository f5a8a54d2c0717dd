//! What was published for whom against what arrived where, for tests that publish first and look afterwards; the judge is that of [`crate::judge`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_ledger::{Delivery, Demands, Report, Topics, Verdict};

use crate::{Received, Subscriber, eventually};

/// How long a stream must bring nothing before what did not come counts as not sent. It bounds how late an event that should not exist may still be seen.
const QUIET: Duration = Duration::from_millis(300);
const DELIVERED_WITHIN: Duration = Duration::from_secs(20);

/// What was published, and the zones that must receive it.
#[derive(Debug, Default)]
pub struct Ledger {
    expected: BTreeMap<String, BTreeSet<String>>,
}

impl Ledger {
    /// Notes a published event and who must receive it.
    pub fn publish<'a>(&mut self, id: &str, zones: impl IntoIterator<Item = &'a str>) {
        self.expected.insert(id.to_owned(), zones.into_iter().map(str::to_owned).collect());
    }

    /// Waits until everything has arrived and the streams are quiet, then fails on any fault.
    pub async fn settle(&self, subscribers: &[&Subscriber]) -> Result<()> {
        let arrived = eventually("every event arrives where it should", DELIVERED_WITHIN, || async {
            let report = self.judge(subscribers);
            ensure!(report.count(Verdict::Lost) == 0, "{report}");
            let newest = subscribers.iter().flat_map(|one| one.received()).map(|one| one.at).max();
            ensure!(newest.is_none_or(|at| Instant::now() - at >= QUIET), "the streams are not quiet yet");
            Ok(())
        })
        .await;
        arrived.with_context(|| format!("{} events published", self.expected.len()))?;
        self.judge(subscribers).into_result()?;
        Ok(())
    }

    /// The faults as of now. Deliveries of events the ledger does not know are not judged.
    pub fn judge(&self, subscribers: &[&Subscriber]) -> Report {
        let streams = subscribers.iter().map(|one| (one.zone().to_owned(), one.received())).collect();
        self.report(streams)
    }

    fn report(&self, streams: Vec<(String, Vec<Received>)>) -> Report {
        let mut judge = meshbridge_ledger::Ledger::default();
        let places: Vec<_> = streams
            .iter()
            .map(|(zone, received)| (judge.subscribed(zone, "stream", &Topics::All), received))
            .collect();
        for (id, zones) in &self.expected {
            judge.owed(id, zones.iter().map(String::as_str));
        }
        for (place, received) in places {
            for one in received.iter().filter(|one| self.expected.contains_key(one.id())) {
                let delivery = Delivery {
                    key: &one.key,
                    id: one.id(),
                    count: 1,
                    is_out_of_order: false,
                    at: Duration::ZERO,
                };
                judge.delivered(place, delivery);
            }
        }
        judge.judge(&Demands::default())
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

    fn judged(received: &[Received]) -> BTreeMap<Verdict, u64> {
        let mut ledger = Ledger::default();
        ledger.publish("for-here", ["here"]);
        ledger.publish("for-there", ["there"]);
        let report = ledger.report(vec![("here".to_owned(), received.to_vec())]);
        report.findings.into_iter().map(|(verdict, found)| (verdict, found.count)).collect()
    }

    #[test]
    fn a_delivery_as_expected_is_clean_and_strangers_are_not_judged() {
        assert!(judged(&[delivery("for-here", "a:1-f:3:1"), delivery("x", "a:1-f:3:0")]).is_empty());
    }

    #[test]
    fn loss_repetition_and_trespass_are_found() {
        assert_eq!(judged(&[]), BTreeMap::from([(Verdict::Lost, 1)]));
        let twice = judged(&[delivery("for-here", "a:1-f:3:1"), delivery("for-here", "a:1-f:4:1")]);
        assert_eq!(twice, BTreeMap::from([(Verdict::Repeated, 1)]));
        let stray = judged(&[delivery("for-here", "a:1-f:3:1"), delivery("for-there", "a:1-f:3:2")]);
        assert_eq!(stray, BTreeMap::from([(Verdict::Unauthorised, 1)]));
    }
}
