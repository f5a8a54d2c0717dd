//! How well the detectors find in the formats of real systems, and how often they are deceived by what those systems
//! call their things. The values are those of the other corpus; nothing around them is.

#[path = "../corpus/digits.rs"]
mod digits;
#[path = "../corpus/government.rs"]
mod government;
mod lookalikes;
mod shapes;
#[path = "../corpus/values.rs"]
#[expect(dead_code, reason = "the other corpus puts words before its values")]
mod values;

use std::collections::{BTreeMap, BTreeSet};

use meshbridge_detect::tape::TapeBuffer;
use meshbridge_detect::{Class, ClassSet, Confidence, Finding, Scanner};
use rand::{RngExt as _, SeedableRng as _};

use lookalikes::LOOKALIKES;
use shapes::{Fits, SHAPES, Shown};
use values::Value;

pub type Random = rand_pcg::Pcg64Mcg;

fn look(line: &str, least: Confidence) -> Vec<Finding> {
    let (mut buffer, mut found) = (TapeBuffer::new(), Vec::new());
    let tape = buffer.parse(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    Scanner::new().scan_json(&tape, &ClassSet::ALL, least, &mut found).expect("within budget");
    found
}

/// Eleven digits that nothing checks: in a text they are a phone number only beside a word that says so.
fn is_bare(value: &Value) -> bool {
    value.class == "contact.phone.cn-mobile" && !value.text.starts_with('+')
}

/// A value that the shape can show.
fn value(rng: &mut Random, fits: Fits) -> Value {
    loop {
        let number = rng.random_range(0..values::COUNT);
        let made = values::make(rng, number);
        let can = match fits {
            Fits::Named => true,
            Fits::Alone => !made.needs_key && !is_bare(&made),
            Fits::AloneAscii => !made.needs_key && !is_bare(&made) && made.text.is_ascii(),
        };
        if can {
            return made;
        }
    }
}

/// Whether a finding of the class, or of one that it may also be, covers the value. Labels are what people read; that
/// the value is covered by a protection for its class is what counts.
fn covers(finding: &Finding, class: Class, start: usize, end: usize) -> bool {
    let is = finding.class == class || finding.alternatives.contains(class);
    let (from, to) = (finding.range.start as usize, finding.range.end as usize);
    let common = to.min(end).saturating_sub(from.max(start));
    is && common * 10 >= (end - start) * 9
}

/// Of each shape so many events, and how many values are missed, or more is found than there is.
#[test]
fn values_are_found_in_the_formats_of_real_systems() {
    const EVENTS: usize = 300;
    let mut rng = Random::seed_from_u64(0x7379_7374);
    let (mut seen, mut report) = (BTreeSet::new(), String::new());
    let (mut all, mut missed_all, mut more_all, mut worst) = (0, 0, 0, 0.0_f64);
    for (name, fits, make) in SHAPES {
        let (mut missed, mut more) = (0, 0);
        let mut examples: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for _ in 0..EVENTS {
            let value = value(&mut rng, *fits);
            let key = values::pick(&mut rng, value.keys);
            let Shown { event, text } = make(&mut rng, &value, key);
            let line = event.to_string();
            let quoted = serde_json::to_string(&text).expect("text");
            let needles = [&quoted[1..quoted.len() - 1], text.as_str()];
            let Some((start, end)) = needles
                .iter()
                .find_map(|needle| line.find(needle).map(|start| (start, start + needle.len())))
            else {
                panic!("{text} is not in {line}")
            };
            let class = Class::named(value.class).expect(value.class);
            seen.insert(class);
            let found = look(&line, Confidence::Medium);
            let mut note = |what: String| {
                let example = examples.entry(what).or_default();
                example.0 += 1;
                example.1 = format!("{line} -> {found:?}");
            };
            if !found.iter().any(|finding| covers(finding, class, start, end)) {
                missed += 1;
                note(format!("missed {class}"));
            }
            let beside = |finding: &&Finding| {
                finding.range.end as usize <= start || finding.range.start as usize >= end
            };
            if let Some(finding) = found.iter().find(beside) {
                more += 1;
                note(format!("also {}", finding.class));
            }
        }
        let share = missed as f64 / EVENTS as f64;
        worst = worst.max(share);
        (all, missed_all, more_all) = (all + EVENTS, missed_all + missed, more_all + more);
        report.push_str(&format!("{name}: {missed} missed, {more} more, of {EVENTS}\n"));
        for (what, (count, example)) in &examples {
            report.push_str(&format!("    {count} x {what}: {example}\n"));
        }
    }
    println!("{report}");
    assert!(seen.len() >= 40, "{} classes", seen.len());
    assert!(missed_all * 100 <= all, "{missed_all} of {all} are missed\n{report}");
    assert!(more_all * 200 <= all, "{more_all} of {all} have something beside\n{report}");
    assert!(worst <= 0.05, "{report}");
}

#[test]
fn what_only_looks_like_personal_data_is_seldom_taken_for_it() {
    const EVENTS: usize = 200;
    let mut rng = Random::seed_from_u64(0x6c6f_6f6b);
    let (mut report, mut high, mut medium, mut worst) = (String::new(), 0, 0, 0);
    for (name, make) in LOOKALIKES {
        let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
        let mut of_kind = 0;
        for _ in 0..EVENTS {
            let line = format!("{{\"specversion\":\"1.0\",\"data\":{{{}}}}}", make(&mut rng));
            let found = look(&line, Confidence::Medium);
            high += usize::from(found.iter().any(|finding| finding.confidence == Confidence::High));
            of_kind += usize::from(!found.is_empty());
            for finding in &found {
                let count = counts.entry(format!("{:?} {}", finding.confidence, finding.class)).or_default();
                *count = (count.0 + 1, line.clone());
            }
        }
        medium += of_kind;
        worst = worst.max(of_kind);
        for (what, (count, example)) in &counts {
            report.push_str(&format!("{name}: {count} x {what}: {example}\n"));
        }
    }
    let all = EVENTS * LOOKALIKES.len();
    println!("of {all}: medium {medium}, high {high}\n{report}");
    assert!(LOOKALIKES.len() >= 80);
    assert!(high * 1_000 <= all, "high {high} of {all}\n{report}");
    assert!(medium * 100 <= all, "medium {medium} of {all}\n{report}");
    assert!(worst * 8 <= EVENTS, "{report}");
}
