//! What a bridge proves before it activates a generation: 100 zones, 1,000 rules in three layers. Target: 50 ms.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use meshbridge_policy::{Federation, Program, SourceFile, compile};

const DOMAINS: [&str; 8] = ["orders", "payments", "catalog", "hr", "billing", "legacy", "telemetry", "kyc"];
const EVENTS: [&str; 5] = ["created", "settled", "cancelled", "updated", "viewed"];
const JURISDICTIONS: [&str; 5] = ["EU", "US", "CN", "BR", "IN"];

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn filter(&mut self) -> String {
        let (domain, event) = (DOMAINS[self.roll(8)], EVENTS[self.roll(5)]);
        match self.roll(8) {
            0 => format!("{domain}.**"),
            1 => format!("{domain}.*.{event}"),
            2 => format!("{domain}.part-{}.**", self.roll(24)),
            3 => format!("{domain}.part-{}.{event}.v{}", self.roll(24), self.roll(3)),
            _ => format!("{domain}.part-{}.{event}", self.roll(24)),
        }
    }
}

fn federation(zones: usize) -> Federation {
    let mut text = String::from(
        "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: bench}\nspec:\n  zones:\n",
    );
    for zone in 0..zones {
        let (region, law) = (zone % 10, JURISDICTIONS[zone % 5]);
        writeln!(text, "    z-{zone}: {{region: r-{region}, cloud: c-{}, jurisdiction: {law}}}", zone % 3)
            .expect("text");
    }
    text.push_str("  bridges: [{id: a, zone: z-0}]\n  keys:\n");
    for region in 0..10 {
        let holders: Vec<String> =
            (0..zones).filter(|zone| zone % 10 == region).map(|zone| format!("z-{zone}")).collect();
        writeln!(text, "    k-{region}: {{use: pseudonymise, version: 1, zones: [{}]}}", holders.join(", "))
            .expect("text");
    }
    let file = SourceFile { name: "federation.yaml".to_owned(), text };
    Federation::parse(&file).unwrap_or_else(|problems| panic!("{problems}"))
}

fn policy(name: &str, layer: &str, rules: &[String]) -> SourceFile {
    let mut text = format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: {name}, layer: {layer}}}\nspec:\n  rules:\n"
    );
    for (at, rule) in rules.iter().enumerate() {
        writeln!(text, "    - {{name: r{at}, {rule}}}").expect("text");
    }
    SourceFile { name: format!("{name}.yaml"), text }
}

fn rule(dice: &mut Dice, region: usize, law: &str) -> String {
    let filter = dice.filter();
    match dice.roll(10) {
        0 => format!(
            "match: {{topics: [\"{filter}\"], event: {{dataclassification: restricted}}}}, deny: {{}}"
        ),
        1 => format!("match: {{topics: [\"{filter}\"]}}, residency: {{allow: {{jurisdictions: [{law}]}}}}"),
        2 => format!(
            "match: {{topics: [\"{filter}\"]}}, require: {{attributes: {{traceparent: {{format: w3c-traceparent}}}}}}"
        ),
        3 => format!("match: {{topics: [\"{filter}\"], to: {{clouds: [c-{}]}}}}, deny: {{}}", dice.roll(3)),
        4 => format!(
            "match: {{topics: [\"{filter}\"]}}, except: {{same: [jurisdiction]}}, protect: [{{classes: [contact], as: pseudonymise, key: k-{region}}}]"
        ),
        5 => format!(
            "match: {{topics: [\"{filter}\"]}}, except: {{same: [region]}}, protect: [{{classes: [payment.card], as: mask, keep: {{last: 4}}}}, {{classes: [gov-id], as: redact}}]"
        ),
        6 => format!(
            "match: {{topics: [\"{filter}\"]}}, protect: [{{classes: [contact], as: redact}}], mode: shadow"
        ),
        7 => format!("match: {{topics: [\"{filter}\"]}}, limit: {{rate: {{events: 100, per: 1s}}}}"),
        _ => format!("match: {{topics: [\"{filter}\"]}}, forbid: {{classes: [secret]}}"),
    }
}

/// `rules` rules: a tenth for all, three tenths for regions, the others for zones.
fn program(zones: usize, rules: usize) -> Program {
    let mut dice = Dice(42);
    let mut base: Vec<String> = (0..rules / 20)
        .map(|_| format!("match: {{topics: [\"{}\"]}}, permit: {{}}", dice.filter()))
        .collect();
    base.extend(DOMAINS.iter().map(|domain| format!("match: {{topics: [\"{domain}.**\"]}}, permit: {{}}")));
    base.push(
        "match: {topics: [\"kyc.**\", \"hr.**\"]}, except: {same: [jurisdiction]}, deny: {}".to_owned(),
    );
    base.push("match: {topics: [\"**\"]}, except: {same: [jurisdiction]}, protect: [{classes: [gov-id], as: redact}]".to_owned());
    base.push("match: {topics: [\"**\"]}, except: {same: [jurisdiction]}, protect: [{classes: [payment], as: mask, keep: {last: 4}}]".to_owned());
    while base.len() < rules / 10 {
        base.push(rule(&mut dice, 0, "EU"));
    }
    let mut files = vec![policy("base", "federation", &base)];
    for region in 0..10 {
        let rules: Vec<String> =
            (0..rules * 3 / 100).map(|_| rule(&mut dice, region, JURISDICTIONS[region % 5])).collect();
        files.push(policy(&format!("region-{region}"), &format!("region/r-{region}"), &rules));
    }
    let each = (rules * 6 / 10).div_ceil(zones);
    for zone in 0..zones {
        let rules: Vec<String> =
            (0..each).map(|_| rule(&mut dice, zone % 10, JURISDICTIONS[zone % 5])).collect();
        files.push(policy(&format!("zone-{zone}"), &format!("zone/z-{zone}"), &rules));
    }
    let text = "apiVersion: meshbridge/v1\nkind: Classification\nmetadata: {name: data, layer: federation}\nspec:
  topics:
    - {match: [\"orders.**\", \"billing.**\"], fields: {\"$.data.mail\": contact.email}, mayHold: [payment.card]}
    - {match: \"payments.**\", fields: {\"$.data.card\": payment.card, \"$.data.iban\": payment.iban}}
    - {match: [\"kyc.**\", \"hr.**\"], mayHold: [gov-id, person]}
    - {match: [\"catalog.**\", \"legacy.**\", \"telemetry.**\"]}\n";
    files.push(SourceFile { name: "classes.yaml".to_owned(), text: text.to_owned() });
    for (name, never) in [
        (
            "no-gov-id-abroad",
            "{classes: [gov-id], discloses: [value, partial], except: {same: [jurisdiction]}}",
        ),
        ("no-cards-abroad", "{classes: [payment], discloses: [value], except: {same: [jurisdiction]}}"),
        (
            "no-cards-to-subscribers",
            "{classes: [payment], discloses: [value], except: {same: [jurisdiction]}, at: deliver}",
        ),
    ] {
        let text = format!(
            "apiVersion: meshbridge/v1\nkind: Invariant\nmetadata: {{name: {name}, layer: federation}}\nspec: {{never: {never}}}\n"
        );
        files.push(SourceFile { name: format!("{name}.yaml"), text });
    }
    compile(&files, &federation(zones), None).unwrap_or_else(|problems| panic!("{problems}")).program
}

fn prove(c: &mut Criterion) {
    for (zones, rules) in [(20, 200), (100, 1_000)] {
        let program = program(zones, rules);
        let proofs = program.prove_invariants();
        for one in &proofs {
            assert!(one.proof.is_proved(), "{}: {}", one.name, one.proof);
        }
        c.bench_function(
            &format!("prove_{}_invariants_{zones}_zones_{}_rules", proofs.len(), program.len()),
            |b| {
                b.iter(|| black_box(&program).prove_invariants());
            },
        );
    }
}

criterion_group!(benches, prove);
criterion_main!(benches);
