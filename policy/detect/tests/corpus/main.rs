//! How well the detectors find, on events made from the standards by code of its own: labelled values in ten lanes,
//! and ordinary events without any. Thresholds are those of POLICY §6.

mod clean;
mod digits;
mod events;
mod values;

use std::collections::BTreeMap;

use meshbridge_detect::tape::TapeBuffer;
use meshbridge_detect::{ClassSet, Confidence, Finding, Scanner};
use rand::SeedableRng as _;

use events::{Event, LANES};

pub type Random = rand_pcg::Pcg64Mcg;

/// The quick run has a tenth of the events; `MESHBRIDGE_DEEP=1` has all of them, enough to show one in 10,000.
fn scale() -> usize {
    if std::env::var_os("MESHBRIDGE_DEEP").is_some() { 10 } else { 1 }
}

const CLEAN_EVENTS: usize = 12_000;
const LABELLED_PER_LANE: usize = 400;

struct Eyes {
    buffer: TapeBuffer,
    scanner: Scanner,
}

impl Eyes {
    fn new() -> Eyes {
        Eyes { buffer: TapeBuffer::new(), scanner: Scanner::new() }
    }

    fn look(&mut self, line: &str, least: Confidence) -> Vec<Finding> {
        let mut found = Vec::new();
        let tape = self.buffer.parse(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.scanner.scan_json(&tape, &ClassSet::ALL, least, &mut found).expect("within budget");
        found
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Score {
    labels: usize,
    right: usize,
    wrong: usize,
    characters: usize,
    leaked: usize,
}

impl Score {
    fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (self.labels + self.right + self.wrong).max(1) as f64
    }

    fn add(&mut self, other: Score) {
        self.labels += other.labels;
        self.right += other.right;
        self.wrong += other.wrong;
        self.characters += other.characters;
        self.leaked += other.leaked;
    }
}

/// A finding is right where its class is the label's and they share half of what either covers.
fn judge(event: &Event, found: &[Finding]) -> Score {
    let mut score = Score { labels: event.labels.len(), ..Score::default() };
    let mut matched = vec![false; found.len()];
    for label in &event.labels {
        let overlap = |finding: &Finding| {
            let (start, end) = (finding.range.start as usize, finding.range.end as usize);
            let common = end.min(label.end).saturating_sub(start.max(label.start));
            let all = end.max(label.end) - start.min(label.start);
            common as f64 / all as f64
        };
        let hit =
            found.iter().position(|finding| finding.class.name() == label.class && overlap(finding) >= 0.5);
        if let Some(hit) = hit {
            score.right += 1;
            matched[hit] = true;
        }
        score.characters += label.end - label.start;
        score.leaked += (label.start..label.end)
            .filter(|at| !found.iter().any(|finding| finding.range.contains(&(*at as u32))))
            .count();
    }
    score.wrong = matched.iter().filter(|matched| !**matched).count();
    score
}

#[test]
fn labelled_values_are_found_in_every_lane() {
    let per_lane = LABELLED_PER_LANE * scale();
    let mut rng = Random::seed_from_u64(0x6d65_7368);
    let mut eyes = Eyes::new();
    let mut lanes = BTreeMap::new();
    let mut total = Score::default();
    let mut misses: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for lane in LANES {
        for _ in 0..per_lane {
            let event = events::labelled(&mut rng, lane);
            let found = eyes.look(&event.line, Confidence::Medium);
            let score = judge(&event, &found);
            if score.right < score.labels || score.wrong > 0 {
                let class = event.labels.first().map_or("nothing", |label| label.class);
                let miss = misses.entry(format!("{lane:?} {class}")).or_default();
                miss.0 += 1;
                miss.1 = format!("{} -> {found:?}", event.line);
            }
            lanes.entry(lane).or_insert_with(Score::default).add(score);
            total.add(score);
        }
    }
    let mut report = String::new();
    for (lane, score) in &lanes {
        report.push_str(&format!("{lane:?}: F1 {:.4}, {score:?}\n", score.f1()));
    }
    for (what, (count, example)) in &misses {
        report.push_str(&format!("{count} x {what}: {example}\n"));
    }
    let leaked = total.leaked as f64 / total.characters as f64;
    println!("F1 {:.4}, leaked {:.3} %\n{report}", total.f1(), leaked * 100.0);
    assert!(total.labels > per_lane * LANES.len() * 99 / 100, "{} labels", total.labels);
    assert!(total.f1() >= 0.98, "F1 {:.4}\n{report}", total.f1());
    assert!(leaked <= 0.005, "leaked {:.3} %\n{report}", leaked * 100.0);
    for (lane, score) in &lanes {
        assert!(score.f1() >= 0.97, "{lane:?}: F1 {:.4}\n{report}", score.f1());
    }
}

#[test]
fn clean_events_stay_within_the_budget_of_each_confidence() {
    let clean_events = CLEAN_EVENTS * scale();
    let mut rng = Random::seed_from_u64(0x636c_6561);
    let mut eyes = Eyes::new();
    let mut alarms = BTreeMap::new();
    let mut examples: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for _ in 0..clean_events {
        let line = clean::event(&mut rng);
        let found = eyes.look(&line, Confidence::Low);
        if let Some(worst) = found.iter().map(|finding| finding.confidence).max() {
            *alarms.entry(worst).or_insert(0) += 1;
        }
        for finding in found {
            let text = &line[finding.range.start as usize..finding.range.end as usize];
            let example = examples.entry(format!("{:?} {}", finding.confidence, finding.class)).or_default();
            example.0 += 1;
            let around = finding.range.start.saturating_sub(24) as usize;
            example.1 = format!("{text} in {}", line.get(around..finding.range.end as usize).unwrap_or(text));
        }
    }
    let at_least = |least: Confidence| alarms.range(least..).map(|(_, count)| *count).sum::<usize>();
    let [low, medium, high] = [Confidence::Low, Confidence::Medium, Confidence::High].map(at_least);
    let report: String =
        examples.iter().map(|(what, (count, example))| format!("{count} x {what}: {example}\n")).collect();
    println!("of {clean_events}: low {low}, medium {medium}, high {high}\n{report}");
    assert!(high <= clean_events / 10_000, "high {high} of {clean_events}\n{report}");
    assert!(medium <= clean_events / 1_000, "medium {medium} of {clean_events}\n{report}");
    assert!(low <= clean_events / 50, "low {low} of {clean_events}\n{report}");
}
