//! Watching verdicts: rules in `warn` and `shadow`, whose effect nobody sees otherwise, and rules that are asked for by
//! name. Counts are exact; lines are as many as the watcher can take.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use meshbridge_policy::{RuleRef, shown};
use meshbridge_topic::TopicFilter;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;

use super::{Place, Seen, is_asked_for, lock};

/// Lines that wait for a watcher.
const LINES_MAX: usize = 1_024;
/// Rules that are counted one by one; what further ones say counts together.
const RULES_MAX: usize = 1_024;

/// What somebody wants to see.
#[derive(Clone, Debug, Default)]
pub(crate) struct WatchWish {
    /// None given means any topic.
    pub(crate) topics: Vec<TopicFilter>,
    /// Only this rule, and also where it is enforced.
    pub(crate) rule: Option<String>,
}

#[derive(Debug)]
pub(super) struct Watcher {
    wish: WatchWish,
    lines: mpsc::Sender<String>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    judged: u64,
    missed: u64,
    /// By rule and mode.
    rules: BTreeMap<(String, &'static str), u64>,
    other_rules: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    kind: &'static str,
    time: String,
    rule: &'a str,
    layer: &'a str,
    mode: &'static str,
    context: &'static str,
    from: &'a str,
    to: &'a str,
    topic: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
    /// What became of the event.
    verdict: &'static str,
}

/// What has been seen so far; the JSON of a summary.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    kind: &'static str,
    seconds: f64,
    /// Decisions on topics that are watched.
    judged: u64,
    /// Verdicts that are counted, but whose lines found no room.
    missed: u64,
    rules: Vec<RuleCount>,
    /// Verdicts of rules beyond those that are counted one by one.
    #[serde(skip_serializing_if = "is_zero")]
    other_rules: u64,
    /// Why nothing follows: `time`, or `stopping` where the bridge stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleCount {
    rule: String,
    mode: &'static str,
    count: u64,
    per_second: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls it with")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Watcher {
    pub(super) fn new(wish: WatchWish) -> (Watcher, mpsc::Receiver<String>) {
        let (lines, received) = mpsc::channel(LINES_MAX);
        (Watcher { wish, lines, counts: Mutex::default() }, received)
    }

    pub(super) fn on_decision(&self, seen: &Seen<'_>) {
        if !is_asked_for(&self.wish.topics, seen.topic) {
            return;
        }
        lock(&self.counts).judged += 1;
        if let Some(report) = seen.report {
            report.warned.iter().for_each(|rule| self.on_verdict(seen, rule, "warn"));
            report.shadowed.iter().for_each(|rule| self.on_verdict(seen, rule, "shadow"));
        }
        if self.wish.rule.is_some() {
            let stopping = seen.by.into_iter().chain(seen.also_by.unwrap_or_default());
            stopping.for_each(|rule| self.on_verdict(seen, rule, "enforce"));
        }
    }

    fn on_verdict(&self, seen: &Seen<'_>, rule: &RuleRef, mode: &'static str) {
        if self.wish.rule.as_ref().is_some_and(|wanted| wanted != rule.id()) {
            return;
        }
        let mut counts = lock(&self.counts);
        let key = (rule.id().to_owned(), mode);
        if counts.rules.len() < RULES_MAX || counts.rules.contains_key(&key) {
            *counts.rules.entry(key).or_default() += 1;
        } else {
            counts.other_rules += 1;
        }
        match self.lines.try_reserve() {
            Ok(room) => room.send(line(seen, rule, mode)),
            Err(_) => counts.missed += 1,
        }
    }
}

/// Ids and names may be personal data themselves, so they are shown as people may see them.
fn line(seen: &Seen<'_>, rule: &RuleRef, mode: &'static str) -> String {
    let federation = seen.generation.program.federation();
    let line = Line {
        kind: "verdict",
        time: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        rule: rule.id(),
        layer: rule.layer(),
        mode,
        context: seen.context.name(),
        from: federation.zone_name(seen.from),
        to: federation.zone_name(seen.to),
        topic: shown(seen.topic.as_str()),
        id: shown(seen.event.id()),
        source: shown(seen.event.source()),
        ty: shown(seen.event.ty()),
        verdict: seen.verdict,
    };
    serde_json::to_string(&line).expect("texts have a form in JSON")
}

/// A watcher at work.
#[derive(Debug)]
pub(crate) struct Watching {
    place: Place<Watcher>,
    lines: mpsc::Receiver<String>,
    begun: Instant,
}

impl Watching {
    pub(super) fn new(place: Place<Watcher>, lines: mpsc::Receiver<String>) -> Watching {
        Watching { place, lines, begun: Instant::now() }
    }

    /// The next verdict, as JSON. Cancel safe.
    pub(crate) async fn next(&mut self) -> String {
        match self.lines.recv().await {
            Some(line) => line,
            // The sender lives as long as the place does, which is held here.
            None => std::future::pending().await,
        }
    }

    /// A verdict that is there already.
    pub(crate) fn ready(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    pub(crate) fn summary(&self, end: Option<&'static str>) -> Summary {
        let seconds = self.begun.elapsed().as_secs_f64();
        let counts = lock(&self.place.who.counts);
        let rules = counts.rules.iter().map(|((rule, mode), count)| RuleCount {
            rule: rule.clone(),
            mode,
            count: *count,
            per_second: *count as f64 / seconds.max(0.001),
        });
        Summary {
            kind: "summary",
            seconds,
            judged: counts.judged,
            missed: counts.missed,
            rules: rules.collect(),
            other_rules: counts.other_rules,
            end,
        }
    }
}

impl Summary {
    pub(crate) fn to_line(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts have a form in JSON")
    }
}

/// So that tests need not send a thousand lines twice.
#[cfg(test)]
pub(super) const fn lines_max() -> usize {
    LINES_MAX
}

#[cfg(test)]
impl Summary {
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        (self.judged, self.missed, self.rules.iter().map(|rule| rule.count).sum())
    }
}

impl Watching {
    #[cfg(test)]
    pub(super) fn watcher(&self) -> &std::sync::Arc<Watcher> {
        &self.place.who
    }
}
