//! Sizes and rates.

use std::borrow::Cow;

use meshbridge_event::Event;
use smallvec::SmallVec;

use super::checks::{Detail, Outcome};
use super::evaluation::{Evaluation, Live};
use crate::decision::{RuleRef, Verdict};
use crate::limits::{Debit, Short};
use crate::model::{BucketPart, Limit, Rate, attribute_text};

impl<'a> Evaluation<'a> {
    pub(super) fn limit(
        &self,
        one: Live<'a>,
        limit: &Limit,
        event: &Event,
        debits: &mut SmallVec<[Debit; 4]>,
    ) -> Outcome {
        let bytes = event.encoded().len() as u64;
        let sizes = [(limit.event_bytes, bytes), (limit.data_bytes, event.data_bytes().len() as u64)];
        for (max, size) in sizes {
            if let Some(max) = max.filter(|max| size > *max) {
                return Outcome::Violated(Detail { size: Some((size, max)), ..Detail::default() });
            }
        }
        let (Some(rate), Some(buckets)) = (&limit.rate, self.request.buckets) else { return Outcome::Passes };
        let debit = Debit::new(one.at, rate, self.bucket(rate), bytes);
        match buckets.wait(&debit, self.request.tick) {
            None => {
                debits.push(debit);
                Outcome::Passes
            }
            Some(Short::For(wait)) if wait <= limit.wait => Outcome::Waits(wait),
            Some(Short::For(wait)) => {
                Outcome::Violated(Detail { retry_after: Some(wait), ..Detail::default() })
            }
            Some(Short::Forever) => Outcome::Violated(Detail {
                message: Some("the event alone is more than the rate ever lets through at once".into()),
                ..Detail::default()
            }),
        }
    }

    fn bucket(&self, rate: &Rate) -> u64 {
        let Some(buckets) = self.request.buckets.filter(|_| !rate.key.is_empty()) else { return 0 };
        let (from, to) = self.zones();
        let values: SmallVec<[Cow<'_, str>; 4]> = rate
            .key
            .iter()
            .map(|part| match part {
                BucketPart::Topic => self.request.topic.as_str().into(),
                BucketPart::From(name) => from.attribute(name).unwrap_or_default().into(),
                BucketPart::To(name) => to.attribute(name).unwrap_or_default().into(),
                BucketPart::Publisher => self.request.publisher.unwrap_or_default().into(),
                BucketPart::Event(name) => attribute_text(self.request.event, name).unwrap_or_default(),
            })
            .collect();
        buckets.key(values.iter().map(AsRef::as_ref))
    }

    /// Phase 5. `Some` where another event took the room between the look and now.
    pub(super) fn debit(&self, debits: &[Debit]) -> Option<Verdict> {
        let buckets = self.request.buckets.filter(|_| !debits.is_empty())?;
        if buckets.take(debits, self.request.tick) {
            return None;
        }
        let rule = debits.iter().find(|debit| buckets.wait(debit, self.request.tick).is_some());
        let rule = rule.or(debits.first()).map(|debit| &self.program.rules[debit.rule])?;
        Some(Verdict::Hold { wait: std::time::Duration::from_millis(1), by: RuleRef::of(rule) })
    }
}
