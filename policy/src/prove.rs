//! The leak proof: can a class of personal data be seen, in a form that shows too much, where it must not (POLICY §9)?
//!
//! ```text
//!  filters ─► atoms ──┐
//!  rules ───► borders ┼─► transfer ─► direct: what the mesh itself delivers
//!  question ► subjects┘       └─────► reach: over zones that publish again what they received
//! ```
//!
//! Everything is decided for all topics, all zones and all events at once, by what is certain: what lets an event
//! through is taken to do so wherever it may, what stops or protects it only where it does so for every event. `require`,
//! `validate`, `forbid` and `limit` stop nothing here, and rules in `warn` or `shadow`, or under a waiver, are not relied
//! on. So *proved* is a proof, and *refuted* is one way in which it may happen, marked with what it depends on.
//!
//! What is decided beyond the letter of POLICY §9:
//! - A value begins where a Classification that speaks for the zone says so. Where none speaks, it may begin anywhere.
//! - `value` asks for *guess* too. The value itself shows everything, so it answers every question; a form shows what
//!   POLICY §4 lists for it, the keys of the zone considered.
//! - A zone that holds the key of a cipher may publish the value it reads. A zone that could confirm a guess is not
//!   taken to have guessed.
//! - A field is declared where the layer that declares it speaks. Elsewhere a rule about its class is not relied on, for
//!   nothing says what stands there.
//! - Data that cannot be read pass a rule that may rely on a layer's word that they do not hold the class; another
//!   layer's word that they do is then no help.
//! - What bridges of one zone send each other, where it has several, may be carried as it is by zones that are told what the zone wants.
//! - What an origin sees of its own values is no answer.
//! - Asked of subscribers (`at: deliver`), carriers do not count: a bridge on the way has no subscribers for it.

mod borders;
mod explain;
mod forms;
mod question;
mod reach;
mod report;
mod subjects;
#[cfg(test)]
pub(crate) mod tests;
mod transfer;
mod zones;

use meshbridge_topic::{TooManyStates, TopicFilter};

use crate::diagnostics::{Diagnostic, Diagnostics, Example};
use crate::federation::ZoneIndex;
use crate::model::{Disclosure, Invariant, Match, Never};
use crate::program::Program;

pub(crate) use borders::{Applied, Borders, Here};
pub(crate) use forms::{described, facets};
pub(crate) use subjects::{Concern, Cover, Leaf, concern, is_within, items, leaves, says_what_topics_hold};
pub(crate) use transfer::Ways;
pub(crate) use zones::{Pairs, Zones, bits, zone};

pub use report::{
    Basis, Counterexample, Dependency, InvariantProof, Proof, Refutation, Role, RulePlace, Step,
};

/// Answers a question about a program.
pub(crate) fn prove(program: &Program, question: &Never) -> Proof {
    match Borders::new(program, &filters(question)) {
        Ok(borders) => question::answer(&borders, question),
        Err(problem) => Proof::too_many_states(&problem),
    }
}

impl Program {
    /// Every invariant with its proof, in the order of their names.
    pub fn prove_invariants(&self) -> Vec<InvariantProof> {
        let told = |(invariant, proof): (&Invariant, Proof)| InvariantProof {
            name: invariant.name.to_string(),
            layer: invariant.layer.name().to_string(),
            span: invariant.span.clone(),
            must_hold: invariant.must_hold,
            proof,
        };
        invariants(self).into_iter().map(told).collect()
    }

    /// Whether values of the classes can be seen in `to` that begin in `from`; any zone where one is left out. Classes
    /// are named as in policies, families and `*` included. Also asked: what a zone may have published again.
    pub fn ask(&self, classes: &[String], from: Option<ZoneIndex>, to: Option<ZoneIndex>) -> Proof {
        let zones = |zone: Option<ZoneIndex>| {
            let attributes = zone.map(|zone| ("zone", vec![self.federation.zone_name(zone).to_owned()]));
            crate::model::Selector { attributes: attributes.into_iter().collect(), labels: Vec::new() }
        };
        let question = Never {
            classes: classes.to_vec(),
            discloses: vec![Disclosure::Value, Disclosure::Partial],
            matcher: Match { at: u8::MAX, from: zones(from), to: zones(to), ..Match::default() },
            except: None,
            at_deliver: false,
            relay: true,
        };
        prove(self, &question)
    }

    /// The invariants that are not proved, as problems of the documents.
    pub fn unproved(&self) -> Diagnostics {
        let mut problems = Diagnostics::default();
        for (invariant, proof) in invariants(self) {
            if let Some(problem) = problem(invariant, &proof) {
                problems.push(problem);
            }
        }
        problems.sort();
        problems
    }
}

/// All invariants over the same atoms; each by itself where they are too many together.
fn invariants(program: &Program) -> Vec<(&Invariant, Proof)> {
    let asked: Vec<TopicFilter> = program.invariants.iter().flat_map(|one| filters(&one.never)).collect();
    match Borders::new(program, &asked) {
        Ok(borders) => {
            program.invariants.iter().map(|one| (one, question::answer(&borders, &one.never))).collect()
        }
        Err(_) => program.invariants.iter().map(|one| (one, prove(program, &one.never))).collect(),
    }
}

fn filters(question: &Never) -> Vec<TopicFilter> {
    let matches = std::iter::once(&question.matcher).chain(&question.except);
    matches.flat_map(|one| one.topics.iter().cloned()).collect()
}

impl Proof {
    fn too_many_states(problem: &TooManyStates) -> Proof {
        Proof::Unknown {
            why: problem.to_string(),
            filters: problem.filters.iter().map(|filter| filter.as_str().to_owned()).collect(),
        }
    }
}

/// P0701: refuted. P0702: the question has no answer, which is no proof.
fn problem(invariant: &Invariant, proof: &Proof) -> Option<Diagnostic> {
    let begin = |code: &'static str, message: String| {
        if invariant.must_hold {
            Diagnostic::error(code, &invariant.span, message)
        } else {
            Diagnostic::warning(code, &invariant.span, message)
        }
    };
    match proof {
        Proof::Proved { .. } => None,
        Proof::Unknown { why, filters } => {
            let problem = begin("P0702", format!("invariant `{}` cannot be decided: {why}", invariant.name));
            Some(problem.help(if filters.is_empty() {
                "ask about fewer topics or classes".to_owned()
            } else {
                format!("write these filters without a wildcard before a literal: {}", filters.join(", "))
            }))
        }
        Proof::Refuted(refutation) => {
            let Refutation { counterexample, relay_only, .. } = &**refutation;
            let (first, last) = (counterexample.steps.first()?, counterexample.steps.last()?);
            let message = format!(
                "invariant `{}` is not proved: {} of {} can see {} of {}{}",
                invariant.name,
                last.to,
                if *relay_only { "what others may publish again" } else { "what it is sent" },
                last.shows.join(", "),
                counterexample.class,
                if counterexample.depends_on.is_empty() { "" } else { ", depending on conditions" },
            );
            let mut problem = begin("P0701", message).label(counterexample.way()).example(Example {
                topic: counterexample.topic.clone(),
                from: first.from.clone(),
                to: last.to.clone(),
            });
            for step in &counterexample.steps {
                for permit in &step.permits {
                    problem = problem
                        .related(&permit.span, format!("{} lets it through to {}", permit.rule, step.to));
                }
                for one in &step.protections {
                    problem = problem.related(&one.span, format!("{} leaves it as {}", one.rule, step.form));
                }
            }
            for one in &counterexample.depends_on {
                problem = problem.related(&one.place.span, format!("only if {}", one.why));
            }
            problem.related.truncate(RELATED_MAX);
            Some(problem.help(if *relay_only {
                "protect the class wherever it crosses, or say `relay: false` if no zone publishes again what it received"
            } else {
                "protect the class for these zones, deny the topic, or narrow the invariant by `except`"
            }))
        }
    }
}

/// Places that a diagnostic shows beside its own.
const RELATED_MAX: usize = 12;
