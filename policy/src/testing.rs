//! `kind: PolicyTest`: cases with what is expected of them, run through the engine that judges real events
//! (POLICY §8).

mod case;
mod crossing;
mod document;
mod expect;
mod keys;
mod mutants;
mod run;
mod search;
mod suite;
#[cfg(test)]
mod tests;

pub use case::{Case, Origin};
pub(crate) use crossing::request;
pub use crossing::{Crossing, Leg, cross};
pub use document::shape;
pub use keys::TestKeys;
pub use run::{CaseResult, Mismatch, Outcome, ProofResult, Survivor, run};
pub use suite::{Coverage, ProofCase, Suite, places, suites};
