//! What rules do.

use std::sync::Arc;
use std::time::Duration;

use meshbridge_cel::Expression;

use super::Selector;
use crate::diagnostics::Span;
use crate::pattern::Pattern;
use crate::protect::Demand;
use crate::schema::Schema;
use crate::{ClassSet, Confidence};

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Permit,
    Deny,
    /// A `deny` with links: it stops no event, and takes the links of the match off its way.
    DenyLinks,
    Residency {
        allow: Vec<Selector>,
        transit: Vec<Selector>,
    },
    Require {
        attributes: Vec<Requirement>,
        hops_max: Option<u8>,
    },
    Validate(Validate),
    Structure(Structure),
    Forbid(Forbid),
    Protect(Vec<ProtectItem>),
    Limit(Limit),
}

impl Action {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Action::Permit => "permit",
            Action::Deny | Action::DenyLinks => "deny",
            Action::Residency { .. } => "residency",
            Action::Require { .. } => "require",
            Action::Validate(_) => "validate",
            Action::Structure(_) => "structure",
            Action::Forbid(_) => "forbid",
            Action::Protect(_) => "protect",
            Action::Limit(_) => "limit",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Traceparent,
    Rfc3339,
    Uri,
    UriReference,
    Uuid,
    MediaType,
}

/// What one attribute must be.
#[derive(Clone, Debug)]
pub(crate) struct Requirement {
    pub(crate) attribute: String,
    pub(crate) presence: Presence,
    pub(crate) format: Option<Format>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) values: Vec<String>,
}

/// What the data must be.
#[derive(Clone, Debug)]
pub(crate) struct Validate {
    pub(crate) schema: Option<Arc<Schema>>,
    pub(crate) checks: Vec<Check>,
}

#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) expression: Expression,
    pub(crate) message: Option<Arc<str>>,
}

/// How topic and type are built.
#[derive(Clone, Debug)]
pub(crate) struct Structure {
    pub(crate) segments: Vec<Segment>,
    /// Whether further tokens may follow.
    pub(crate) more: bool,
    /// Text with `${segment}` and the static placeholders.
    pub(crate) type_prefix: Option<crate::message::Template>,
}

#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) values: Vec<String>,
    pub(crate) pattern: Option<Pattern>,
}

/// What must not be in the event.
#[derive(Clone, Debug)]
pub(crate) struct Forbid {
    pub(crate) classes: ClassSet,
    pub(crate) undeclared: bool,
    pub(crate) confidence: Confidence,
}

/// One item of a `protect` list.
#[derive(Clone, Debug)]
pub(crate) struct ProtectItem {
    pub(crate) demand: Demand,
    /// Classes as they are named: a family also stands for members that no detector knows.
    pub(crate) families: Vec<String>,
    pub(crate) excepted: Vec<String>,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) event_bytes: Option<u64>,
    pub(crate) data_bytes: Option<u64>,
    pub(crate) rate: Option<Rate>,
    /// How long an event may wait for the rate.
    pub(crate) wait: Duration,
}

/// So much in each `per`.
#[derive(Clone, Debug)]
pub(crate) struct Rate {
    pub(crate) amount: Amount,
    pub(crate) per: Duration,
    /// Multiple of the amount that may come at once.
    pub(crate) burst: u32,
    /// One bucket for each value of these.
    pub(crate) key: Vec<BucketPart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Events(u64),
    Bytes(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BucketPart {
    Topic,
    /// `zone`, `region`, `cloud` or `jurisdiction`.
    From(&'static str),
    To(&'static str),
    Publisher,
    /// An attribute of the event.
    Event(String),
}
