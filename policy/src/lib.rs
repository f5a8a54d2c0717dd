//! Governance policies: YAML text and an event in, a decision out.
//!
//! Pure: no file, no clock, no socket. The daemon reads files and hands their text in; a decision says what to do and
//! which rule said so.
//!
//! ```text
//!  SourceFile ─► yaml (nodes with spans) ─► shape (every structural problem) ─► lower ─► model
//!                                                                                         │
//!      decide(context, from, to, topic, event) ◄── engine ◄── Program ◄── compile ◄───────┘
//! ```
//!
//! A compiled [`Program`] also says how topics are delivered ([`Program::delivery`]): the same documents, the same
//! generation.
//!
//! What is stopped stays stopped and what is removed stays removed by construction: layers intersect what they permit,
//! add up what they require and meet what they protect, so an inner layer cannot loosen an outer one.

mod analysis;
pub mod capture;
mod classes;
pub mod codes;
mod compile;
mod condition;
mod decision;
mod delivery;
mod diagnostics;
pub mod diff;
mod documents;
mod drift;
mod duration;
mod engine;
pub mod explain;
mod federation;
mod hex;
mod keys;
mod limits;
mod link;
mod lower;
mod message;
mod model;
mod path;
mod pattern;
mod program;
mod protect;
mod protection;
mod prove;
#[cfg(test)]
mod reference;
pub mod replay;
mod schema;
mod shape;
pub mod testing;
pub mod why_not;
mod yaml;

pub use analysis::RuleCost;
pub use classes::{is_known_class, nearest_class};
pub use compile::{Compiled, compile, misnamed};
pub use decision::{Debited, Decision, Editors, Found, Report, RuleRef, Stopped, Verdict};
pub use delivery::{
    DeliveryClass, DeliveryOptions, OnDestinationFull, Retain, TopicDelivery, shape as delivery_shape,
};
pub use diagnostics::{Diagnostic, Diagnostics, Example, Label, Severity, Span};
pub use documents::classification::shape as classification_shape;
pub use documents::invariant::shape as invariant_shape;
pub use documents::policy::shape as policy_shape;
pub use documents::waiver::shape as waiver_shape;
pub use duration::parse as parse_duration;
pub use engine::{Concern, Request, Scratch, Told, ZoneSet, personal_class, shown};
pub use federation::{
    BridgeEntry, Federation, FederationLink, NotForLayer, SigningKey, ZoneIndex, shape as federation_shape,
};
pub use keys::{KeyRing, KeyUse, MapKeyRing, SECRET_BYTES};
pub use limits::Buckets;
pub use link::{LinkDenials, ZoneLink};
pub use meshbridge_detect::{Class, ClassSet, Confidence};
pub use model::{Context, Disposition};
pub use program::{ClassId, Program};
pub use protect::{DecryptReport, GOVPROTECTED, Randomness, decrypt};
pub use prove::{
    Basis, Counterexample, Dependency, InvariantProof, Proof, Refutation, Role, RulePlace, Step,
};
pub use shape::{Key, Shape, check, json_schema};
pub use testing::shape as policy_test_shape;
pub use yaml::{Node, NodeKind, documents};

/// A file of documents, as the daemon read it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As diagnostics name it.
    pub name: String,
    pub text: String,
}
