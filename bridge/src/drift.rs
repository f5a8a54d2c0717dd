//! What events hold that the Classification does not declare: looked for in samples, off the path of events.
//!
//! ```text
//!  plan ── every 64th event of a thread ─► queue (64, or skipped) ─► one thread: scan ─► table, metric, decision log
//! ```
//!
//! Findings are those since the policies in force were activated: proofs rest on what these declare. Never a value: a
//! class, a topic and a path.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

use meshbridge_event::Event;
use meshbridge_policy::{Context, Scratch, ZoneIndex};
use meshbridge_topic::Topic;
use serde::Serialize;
use tracing::warn;

use crate::audit::{AuditLog, EventName, Finding, Record, Verdict};
use crate::metrics::Metrics;
use crate::policy_store::{Generation, PolicyStore};

/// Of so many events that a thread plans, one is looked through.
const EVENTS_PER_SAMPLE: u32 = 64;
/// Samples that wait. Full: the event is not looked through, and counted.
const QUEUE_MAX: usize = 64;
/// Findings that are kept apart. Full: further ones are counted together.
const FINDINGS_MAX: usize = 1_000;
/// The rule that the decision log names.
const RULE: &str = "classification/drift";

thread_local! {
    /// Events until the next sample. The first event of a thread is one, so that a quiet bridge samples too.
    static UNTIL_SAMPLE: Cell<u32> = const { Cell::new(0) };
}

/// Something that is not declared where it was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DriftView {
    pub(crate) topic: String,
    pub(crate) class: &'static str,
    /// Elements of lists alike: `$.data.items[*].note`.
    pub(crate) path: String,
    /// Samples in which it was.
    pub(crate) samples: u64,
    #[serde(serialize_with = "crate::pipeline::rfc3339")]
    pub(crate) first: SystemTime,
    #[serde(serialize_with = "crate::pipeline::rfc3339")]
    pub(crate) last: SystemTime,
}

/// All that was found under the policies in force.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DriftReport {
    pub(crate) generation: u64,
    /// Events looked through.
    pub(crate) samples: u64,
    /// Events that were to be looked through while too many waited.
    pub(crate) skipped: u64,
    pub(crate) findings: Vec<DriftView>,
    /// Findings beside these, in all samples: there was no room to tell them apart.
    pub(crate) further: u64,
}

struct Sample {
    generation: Arc<Generation>,
    topic: Topic,
    event: Event,
}

#[derive(Debug, Default)]
struct Table {
    generation: u64,
    samples: u64,
    skipped: u64,
    findings: BTreeMap<(String, &'static str, String), (u64, SystemTime, SystemTime)>,
    further: u64,
}

impl Table {
    /// Other policies declare other things: what was found before says nothing about them.
    fn begin(&mut self, generation: u64) {
        if generation > self.generation {
            *self = Table { generation, ..Table::default() };
        }
    }
}

/// Samples what is published at this bridge. Dropping it ends its thread once the queue is empty.
#[derive(Debug)]
pub(crate) struct DriftSampler {
    queue: Option<SyncSender<Sample>>,
    table: Arc<Mutex<Table>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sample").finish_non_exhaustive()
    }
}

impl DriftSampler {
    pub(crate) fn start(
        zone: ZoneIndex,
        audit: Arc<AuditLog>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<DriftSampler> {
        let (queue, samples) = sync_channel(QUEUE_MAX);
        let table = Arc::new(Mutex::new(Table::default()));
        let looker = Looker { zone, table: Arc::clone(&table), audit, metrics };
        let thread =
            std::thread::Builder::new().name("drift".to_owned()).spawn(move || looker.run(&samples))?;
        Ok(DriftSampler { queue: Some(queue), table, thread: Some(thread) })
    }

    /// An event is planned, the first of so many. Most cost a look at a counter of the thread.
    pub(crate) fn on_events(&self, policies: &PolicyStore, topic: &Topic, event: &Event, events: u32) {
        let is_due = UNTIL_SAMPLE.with(|until| {
            let left = until.get().checked_sub(events);
            until.set(left.unwrap_or(EVENTS_PER_SAMPLE - 1));
            left.is_none()
        });
        if !is_due {
            return;
        }
        let sample =
            Sample { generation: Arc::clone(&policies.active()), topic: topic.clone(), event: event.clone() };
        if self.queue.as_ref().is_some_and(|queue| queue.try_send(sample).is_err()) {
            lock(&self.table).skipped += 1;
        }
    }

    /// What was found since the generation with this number is in force.
    pub(crate) fn report(&self, generation: u64) -> DriftReport {
        let mut table = lock(&self.table);
        table.begin(generation);
        let view = |((topic, class, path), (samples, first, last)): (
            &(String, &'static str, String),
            &(u64, SystemTime, SystemTime),
        )| DriftView {
            topic: topic.clone(),
            class,
            path: path.clone(),
            samples: *samples,
            first: *first,
            last: *last,
        };
        DriftReport {
            generation: table.generation,
            samples: table.samples,
            skipped: table.skipped,
            findings: table.findings.iter().map(view).collect(),
            further: table.further,
        }
    }
}

impl Drop for DriftSampler {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // It ends after what is queued; a panic of it has been printed, and took no event with it.
            let _ = thread.join();
        }
    }
}

struct Looker {
    zone: ZoneIndex,
    table: Arc<Mutex<Table>>,
    audit: Arc<AuditLog>,
    metrics: Arc<Metrics>,
}

impl Looker {
    fn run(&self, samples: &Receiver<Sample>) {
        let mut scratch = Scratch::new();
        while let Ok(sample) = samples.recv() {
            self.look(&sample, &mut scratch);
        }
    }

    fn look(&self, sample: &Sample, scratch: &mut Scratch) {
        let Sample { generation, topic, event } = sample;
        let found = generation.program.drift(self.zone, topic, event, scratch);
        self.metrics.drift_samples.inc();
        // A token of a topic may be personal data as well.
        let shown = meshbridge_policy::shown(topic.as_str());
        let now = SystemTime::now();
        let mut news = Vec::new();
        {
            let mut table = lock(&self.table);
            table.begin(generation.number);
            if table.generation != generation.number {
                return;
            }
            table.samples += 1;
            let mut seen: Vec<(&'static str, String)> =
                found.iter().map(|one| (one.class.name(), without_numbers(&one.path))).collect();
            seen.sort();
            seen.dedup();
            for (class, path) in seen {
                self.metrics.on_drift(class);
                let key = (shown.clone(), class, path);
                if let Some((samples, _, last)) = table.findings.get_mut(&key) {
                    *samples += 1;
                    *last = now;
                } else if table.findings.len() < FINDINGS_MAX {
                    news.push((key.1, key.2.clone()));
                    table.findings.insert(key, (1, now, now));
                } else {
                    table.further += 1;
                }
            }
        }
        if !news.is_empty() {
            let classes: Vec<&str> = news.iter().map(|(class, _)| *class).collect();
            warn!(topic = %shown, ?classes, "Events hold what the Classification does not declare: proofs that rest on it are open");
            self.record(sample, &news);
        }
    }

    /// The first of its kind goes into the decision log, under the name of the event that had it.
    fn record(&self, sample: &Sample, news: &[(&'static str, String)]) {
        let Sample { generation, topic, event } = sample;
        let findings: Vec<Finding<'_>> = news
            .iter()
            .map(|(class, path)| Finding { class, path, confidence: "high", protection: None })
            .collect();
        let federation = generation.program.federation();
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.audit.record(&Record {
            time_unix_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            event: Some(EventName { id: event.id(), source: event.source(), kind: event.ty() }),
            topic: topic.as_str(),
            context: Context::Publish.name(),
            from: federation.zone_name(self.zone),
            to: federation.zone_name(self.zone),
            verdict: Verdict::Forward,
            edited: false,
            by: None,
            also_by: &[],
            editors: &[],
            protected: "",
            findings: &findings,
            // Named among the warnings, which are always kept.
            warned: &[RULE],
            shadowed: &[],
            waived: &[],
            generation: generation.program.digest(),
            cost: 0,
            principal: None,
            ruling: None,
        });
    }
}

/// The path with every number of an element as `*`.
fn without_numbers(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && after.as_bytes().get(digits) == Some(&b']') {
            out.push_str("[*]");
            rest = after.get(digits + 1..).unwrap_or_default();
        } else {
            out.push('[');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_lists_are_alike() {
        for (path, expected) in [
            ("$.data.a[12].b[0]", "$.data.a[*].b[*]"),
            ("$.data['a[1]'].b", "$.data['a[*]'].b"),
            ("$.data['x y'][3]", "$.data['x y'][*]"),
            ("$.subject", "$.subject"),
        ] {
            assert_eq!(without_numbers(path), expected);
        }
    }

    #[test]
    fn a_newer_generation_begins_anew_and_an_older_one_changes_nothing() {
        let mut table = Table::default();
        table.begin(2);
        table.samples = 5;
        table.begin(2);
        table.begin(1);
        assert_eq!((table.generation, table.samples), (2, 5));
        table.begin(3);
        assert_eq!((table.generation, table.samples), (3, 0));
    }
}
