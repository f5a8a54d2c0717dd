//! Runs a suite against policies and says what held, what did not, and what no case has shown.

use std::collections::BTreeSet;

use super::case::Origin;
use super::crossing::{Crossing, cross};
use super::expect::{Expected, mismatches};
use super::keys::TestKeys;
use super::mutants::{self, Mutant};
use super::suite::{ProofCase, Suite};
use crate::decision::RuleRef;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::engine::Scratch;
use crate::federation::Federation;
use crate::model::{Mode, OnViolation, Rule};
use crate::program::{Documents, Program};
use crate::prove::Proof;

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mismatch {
    /// The key of `expect`.
    pub what: String,
    pub expected: String,
    pub came: String,
}

/// What one case showed.
#[derive(Clone, Debug)]
pub struct CaseResult {
    pub origin: Origin,
    /// Nothing, where all is as expected.
    pub mismatches: Vec<Mismatch>,
    /// A case that could not be judged as it is meant: an error, not a failure that is left out.
    pub error: Option<String>,
}

impl CaseResult {
    pub fn is_good(&self) -> bool {
        self.mismatches.is_empty() && self.error.is_none()
    }
}

/// What one question to the leak proof showed.
#[derive(Clone, Debug)]
pub struct ProofResult {
    pub origin: Origin,
    pub expected: String,
    pub came: &'static str,
    /// Why it is not as expected, where there is more to say.
    pub note: Option<String>,
}

impl ProofResult {
    pub fn is_good(&self) -> bool {
        self.expected == self.came
    }
}

/// A weakened rule that no case noticed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Survivor {
    pub rule: String,
    pub file: String,
    pub line: usize,
    /// What was done to it.
    pub change: String,
}

/// What a suite showed.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub cases: Vec<CaseResult>,
    pub proofs: Vec<ProofResult>,
    /// Enforced and shadowed rules, and those that no case saw deciding or changing something.
    pub rules: usize,
    pub never_decisive: Vec<String>,
    pub mutants: usize,
    pub survivors: Vec<Survivor>,
}

impl Outcome {
    /// Whether every case and proof is as expected, and as much is tested as the suite asks for. Without mutants
    /// nothing is said of them.
    pub fn is_good(&self, coverage: super::Coverage) -> bool {
        let enough = |share: f64, least: Option<f64>| least.is_none_or(|least| share >= least);
        self.cases.iter().all(CaseResult::is_good)
            && self.proofs.iter().all(ProofResult::is_good)
            && enough(self.rule_coverage(), coverage.rules)
            && enough(self.mutant_coverage(), coverage.mutants)
    }

    /// Share of rules that decided or changed something; 1 where there are none.
    pub fn rule_coverage(&self) -> f64 {
        share(self.rules - self.never_decisive.len(), self.rules)
    }

    /// Share of weakened rules that some case noticed.
    pub fn mutant_coverage(&self) -> f64 {
        share(self.mutants - self.survivors.len(), self.mutants)
    }
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { part as f64 / all as f64 }
}

/// Runs all cases, and with `with_mutants` all of them again for each weakened rule.
pub fn run(suite: &Suite, program: &Program, with_mutants: bool) -> Outcome {
    let keys = TestKeys::of(&program.federation);
    let mut outcome = Outcome::default();
    let mut decisive: BTreeSet<String> = BTreeSet::new();
    let mut scratch = Scratch::new();
    for (origin, case, expected) in &suite.cases {
        let crossing = cross(program, case, &keys, &mut scratch);
        let error = unknown_names(expected, program)
            .or_else(|| only_by_everything(case.topic.as_str(), program, case))
            .or_else(|| undecided(expected, &crossing));
        note_decisive(&crossing, program, &mut decisive);
        outcome.cases.push(CaseResult {
            origin: origin.clone(),
            mismatches: mismatches(expected, &crossing, &case.event, &program.federation),
            error,
        });
    }
    outcome.proofs = suite.proofs.iter().map(|proof| answer(proof, program)).collect();
    let counted = |rule: &&Rule| rule.mode != Mode::Warn || rule.on_violation == OnViolation::Annotate;
    let rules: Vec<&Rule> = program.rules.iter().filter(counted).collect();
    outcome.rules = rules.len();
    outcome.never_decisive =
        rules.iter().filter(|rule| !decisive.contains(&*rule.id)).map(|rule| rule.id.to_string()).collect();
    if with_mutants {
        for mutant in mutants::of(program) {
            outcome.mutants += 1;
            if survives(suite, &mutant, program, &keys) {
                outcome.survivors.push(mutant.survivor);
            }
        }
    }
    outcome
}

/// The answer to one question, beside the one that is expected.
fn answer(asked: &ProofCase, program: &Program) -> ProofResult {
    let named = |name: &String| program.invariants.iter().find(|invariant| *invariant.name == **name);
    let question = match (&asked.never, asked.invariant.as_ref().map(named)) {
        (Some(never), _) => Some(never),
        (None, Some(Some(invariant))) => Some(&invariant.never),
        (None, _) => None,
    };
    let (came, note) = match question.map(|question| crate::prove::prove(program, question)) {
        // No answer that can be expected: a question that was not asked shows nothing.
        None => ("error", Some("there is no such invariant".to_owned())),
        Some(Proof::Proved { .. }) => ("proved", None),
        Some(Proof::Refuted(refutation)) => ("refuted", Some(refutation.to_string())),
        Some(Proof::Unknown { why, .. }) => ("unknown", Some(why)),
    };
    ProofResult { origin: asked.origin.clone(), expected: asked.expect.clone(), came, note }
}

/// Whether every case still holds under the weakened policies.
fn survives(suite: &Suite, mutant: &Mutant, program: &Program, keys: &TestKeys) -> bool {
    let weakened = with_rules(program, mutant.rules.clone());
    let mut scratch = Scratch::new();
    suite.cases.iter().all(|(_, case, expected)| {
        let crossing = cross(&weakened, case, keys, &mut scratch);
        mismatches(expected, &crossing, &case.event, &weakened.federation).is_empty()
    })
}

fn with_rules(program: &Program, rules: Vec<Rule>) -> Program {
    let documents = Documents {
        rules,
        classifications: program.classifications.clone(),
        waivers: program.waivers.clone(),
        invariants: Vec::new(),
        delivery: Vec::new(),
        other_files: Vec::new(),
    };
    let federation: Federation = program.federation.clone();
    Program::new(documents, federation)
}

impl Suite {
    /// P0503: names of rules and waivers that the policies do not have.
    pub fn unknown_names(&self, program: &Program) -> Diagnostics {
        let mut problems = Diagnostics::default();
        for (origin, _, expected) in &self.cases {
            if let Some(message) = unknown_names(expected, program) {
                let help = "write <policy>/<rule> as the policies have it";
                problems.push(Diagnostic::error("P0503", &origin.span, message).help(help));
            }
        }
        problems.sort();
        problems
    }
}

/// An unknown rule or waiver is an error, not something that happens not to be there.
fn unknown_names(expected: &Expected, program: &Program) -> Option<String> {
    let is_rule = |name: &str| program.rules.iter().any(|rule| *rule.id == *name);
    let stops = |name: &str| {
        is_rule(name)
            || name.strip_prefix("default-deny@").is_some_and(|layer| is_layer(layer, program))
            || name.strip_suffix("/unmet-obligation").is_some_and(|by| lists_obligations(by, program))
    };
    let unknown = expected.stopping().find(|name| !stops(name));
    if let Some(name) = unknown.or_else(|| expected.applying().find(|name| !is_rule(name))) {
        return Some(format!("there is no rule `{name}`"));
    }
    let name =
        expected.waivers().find(|name| !program.waivers.iter().any(|waiver| *waiver.name == **name))?;
    Some(format!("there is no waiver `{name}`"))
}

fn is_layer(name: &str, program: &Program) -> bool {
    let federation = &program.federation;
    let of_zone = |attribute: &str, value: &str| {
        federation.layers.iter().any(|layer| layer == attribute)
            && federation.zones.iter().any(|zone| zone.attribute(attribute) == Some(value))
    };
    name == "federation" || name.split_once('/').is_some_and(|(attribute, value)| of_zone(attribute, value))
}

/// Whether it is a document, or the outermost layer, which lists something also where no document says so.
fn lists_obligations(name: &str, program: &Program) -> bool {
    name == "federation" || program.classifications.iter().any(|one| *one.name == *name)
}

/// A topic that no filter but `**` covers is most likely misspelt.
fn only_by_everything(topic: &str, program: &Program, case: &super::Case) -> Option<String> {
    let mut filters = program.rules.iter().flat_map(|rule| &rule.matcher.topics);
    let named = filters.any(|filter| filter.as_str() != "**" && filter.matches(&case.topic));
    (!named).then(|| format!("no rule but those about every topic is about `{topic}`"))
}

/// A case in which no rule decided shows nothing, unless that is what it expects. What no rule permits is stopped by
/// none, whichever others apply to it.
fn undecided(expected: &Expected, crossing: &Crossing) -> Option<String> {
    if expected.expects_default_deny() || crossing.held_for.is_some() {
        return None;
    }
    let decides = |by: &RuleRef| by.place().is_some() || by.id().ends_with("/unmet-obligation");
    let applied = || crossing.reports().any(|report| !report.hits.is_empty() || !report.shadowed.is_empty());
    let decided = match (crossing.stopped(), crossing.by()) {
        (Some(stopped), _) => decides(&stopped.by) || stopped.also_by.iter().any(decides),
        (None, by) => by.is_some_and(decides) || applied(),
    };
    (!decided).then(|| "no rule decided; expect `by: default-deny@…` where nothing is to match".to_owned())
}

/// Notes the rules without which the outcome could have been another: those that stopped, permitted or edited, and
/// those that reported.
fn note_decisive(crossing: &Crossing, program: &Program, decisive: &mut BTreeSet<String>) {
    let mut note = |rule: &RuleRef| {
        decisive.insert(rule.id().to_owned());
    };
    let denials = crossing.denied_links.iter();
    let denying = denials.flat_map(|all| all.iter().filter_map(|link| program.denied_by(all, link)));
    denying.for_each(|rule| note(&rule));
    for leg in &crossing.legs {
        if let Some(stopped) = leg.decision.stopped() {
            note(&stopped.by);
            stopped.also_by.iter().for_each(&mut note);
        }
        let editors = leg.decision.editors.iter().map(|at| &program.rules[at]);
        editors.for_each(|rule| note(&RuleRef::of(rule)));
        let Some(report) = &leg.decision.report else { continue };
        report.warned.iter().chain(&report.shadowed).for_each(&mut note);
        let forwarded = leg.decision.is_forward();
        let is_permit =
            |hit: &&RuleRef| program.rules.iter().any(|rule| *rule.id == *hit.id() && rule.is_permit());
        report.hits.iter().filter(|_| forwarded).filter(is_permit).for_each(&mut note);
    }
}
