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

mod compile;
mod delivery;
mod detect;
mod diagnostics;
mod engine;
mod federation;
#[allow(dead_code, unused_imports)] // Wider than what the present engine asks.
mod keys;
mod lower;
mod message;
mod model;
mod path;
#[allow(dead_code, unused_imports)] // Wider than what the present engine asks.
mod protect;
#[allow(dead_code, unused_imports)] // Wider than what the present engine asks.
mod protection;
#[cfg(test)]
mod reference;
mod rules;
mod shape;
mod transform;
mod yaml;

pub use compile::{ClassId, Compiled, Program, compile};
pub use delivery::{
    DeliveryClass, DeliveryOptions, OnDestinationFull, Retain, TopicDelivery, shape as delivery_shape,
};
pub use detect::{Class, Finding, find};
pub use diagnostics::{Diagnostic, Diagnostics, Label, Severity, Span};
pub use engine::{Decision, RuleRef};
pub use federation::{BridgeEntry, Federation, FederationLink, ZoneIndex, shape as federation_shape};
pub use keys::{KeyRing, KeyUse, MapKeyRing, SECRET_BYTES};
pub use model::{Context, Disposition};
pub use protect::{DecryptReport, Randomness, decrypt};
pub use rules::shape as policy_shape;
pub use shape::{Key, Shape, check, json_schema};
pub use yaml::{Node, NodeKind, documents};

/// A file of documents, as the daemon read it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// As diagnostics name it.
    pub name: String,
    pub text: String,
}
