//! Differences, as data and as people read them.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::edition::{Edition, Term};
use crate::diagnostics::Span;
use crate::model::{Layer, Rule};
use crate::prove::RulePlace;

/// What a change means for those who publish and those who must not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// Passes in the new edition and not in the old.
    NewlyAllowed,
    /// A protection discloses more.
    Weaker,
    /// What events must be or hold was added, removed or rewritten.
    ChangedCheck,
    /// Of an event that is stopped another copy is kept, or none.
    Kept,
    /// Passes in the old edition and not in the new.
    NewlyBlocked,
    /// A protection discloses less.
    Stronger,
}

impl ChangeKind {
    pub const ALL: [ChangeKind; 6] = [
        ChangeKind::NewlyAllowed,
        ChangeKind::Weaker,
        ChangeKind::ChangedCheck,
        ChangeKind::Kept,
        ChangeKind::NewlyBlocked,
        ChangeKind::Stronger,
    ];

    pub fn title(self) -> &'static str {
        match self {
            ChangeKind::NewlyAllowed => "newly allowed",
            ChangeKind::Weaker => "weaker",
            ChangeKind::ChangedCheck => "changed checks",
            ChangeKind::Kept => "kept otherwise",
            ChangeKind::NewlyBlocked => "newly blocked",
            ChangeKind::Stronger => "stronger",
        }
    }
}

/// Which way a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Stops more, and nothing less.
    Tighter,
    /// Stops less, and nothing more.
    Looser,
    /// Some events pass that did not, or the other way round: which, nobody can say without them.
    Either,
}

/// Everything in which two editions differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// The worst first.
    pub changes: Vec<Change>,
    /// Changes beyond those that are listed.
    pub left_off: usize,
    /// Why they could not be compared; nothing is known then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<Unknown>,
}

/// Topics that are too many to compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unknown {
    pub why: String,
    /// The filters to blame.
    pub filters: Vec<String>,
}

impl Diff {
    /// Nothing is newly allowed, nothing is weaker, no check lets more through, and no more is kept.
    pub fn is_no_looser(&self) -> bool {
        self.unknown.is_none() && self.left_off == 0 && !self.changes.iter().any(Change::is_looser)
    }

    pub fn count(&self, kind: ChangeKind) -> usize {
        self.changes.iter().filter(|change| change.kind == kind).count()
    }
}

/// One difference, for all topics and pairs of zones where the same rules make it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    pub kind: ChangeKind,
    /// In one line.
    pub what: String,
    /// Of a check, and of what is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Where it shows: published, sent, carried, arrives, delivered, subscribed, learned.
    pub places: Vec<&'static str>,
    /// An example of each class of topics, the first few.
    pub topics: Vec<String>,
    pub topic_count: usize,
    /// From and to, the first few.
    pub pairs: Vec<Pair>,
    pub pair_count: usize,
    /// Lines of the old edition.
    pub before: Vec<Line>,
    /// Lines of the new edition.
    pub after: Vec<Line>,
    /// What has to be so of events, of what the editions do not have in common.
    pub depends_on: Vec<Condition>,
    /// It depends on nothing, and both editions judged the example as the change says.
    #[serde(rename = "certain")]
    pub is_certain: bool,
    pub example: Example,
}

impl Change {
    /// Whether something passes or shows that did not before.
    pub fn is_looser(&self) -> bool {
        match self.kind {
            ChangeKind::NewlyAllowed | ChangeKind::Weaker => true,
            ChangeKind::ChangedCheck | ChangeKind::Kept => self.effect != Some(Effect::Tighter),
            ChangeKind::NewlyBlocked | ChangeKind::Stronger => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    pub from: String,
    pub to: String,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// An event to which it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    pub topic: String,
    pub from: String,
    pub to: String,
    pub event: Value,
    /// Both editions judged it, and it differs as told. Else it only shows what the change is about.
    pub judged: bool,
}

/// A line of an edition that has to do with a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The id of the rule; `default-deny@<layer>` or a zone where no rule is written.
    pub rule: String,
    pub layer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// What it does there.
    pub does: String,
    #[serde(skip)]
    pub(super) is_permit: bool,
    #[serde(skip)]
    pub(super) is_gate: bool,
    /// Of the edition that lets through or shows more.
    #[serde(skip)]
    pub(super) is_open: bool,
}

impl Line {
    pub(super) fn of(rule: &Rule, does: &str) -> Line {
        Line {
            rule: rule.id.to_string(),
            layer: rule.layer.name().to_string(),
            span: Some(rule.span.clone()),
            does: does.to_owned(),
            is_permit: rule.is_permit(),
            is_gate: false,
            is_open: false,
        }
    }

    fn unwritten(rule: String, layer: String, does: &str) -> Line {
        Line {
            rule,
            layer,
            span: None,
            does: does.to_owned(),
            is_permit: false,
            is_gate: false,
            is_open: false,
        }
    }

    pub(super) fn default_deny(layer: &Layer) -> Line {
        let line =
            Line::unwritten(format!("default-deny@{}", layer.name()), layer.name().to_string(), "stops it");
        Line { is_gate: true, ..line }
    }

    pub(super) fn zone(name: &str) -> Line {
        Line::unwritten(format!("zone {name}"), "federation".to_owned(), "is not in this federation")
    }

    pub(super) fn classification(name: &str, layer: &str, does: &str) -> Line {
        Line::unwritten(name.to_owned(), layer.to_owned(), does)
    }

    pub(super) fn of_open(self) -> Line {
        Line { is_open: true, ..self }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.span {
            Some(span) => write!(f, "{} {} ({}:{})", self.rule, self.does, span.file, span.line),
            None => write!(f, "{} {}", self.rule, self.does),
        }
    }
}

/// Something that has to be so of the events.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    pub rule: String,
    pub span: Span,
    pub why: String,
    /// Its condition as it is written.
    pub when: String,
}

impl Condition {
    pub(super) fn of(edition: &Edition<'_>, term: &Term, why: &str) -> Condition {
        let RulePlace { rule, span, .. } = edition.place(term);
        // The same condition at several borders is told once.
        let when = term.when.split_once(": ").map_or(term.when.as_str(), |(_, when)| when).trim();
        Condition { rule, span, why: why.to_owned(), when: when.to_owned() }
    }

    /// The same of a rule that reads something of the event, which an event need not have.
    pub(super) fn of_form(mut self, thing: &str) -> Condition {
        let joint = if self.when.is_empty() { "" } else { " and " };
        self.when = format!("{}{joint}the event holds {thing}", self.when);
        self
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Condition { rule, span, why, when } = self;
        write!(f, "{rule} ({}:{}): {why} ({when})", span.file, span.line)
    }
}
