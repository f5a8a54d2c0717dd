//! What the policies say of an event.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meshbridge_event::Event;
use smallvec::SmallVec;

use crate::limits::Debit;

use crate::model::{Disposition, Layer, Rule};
use crate::{Class, Confidence};

/// The rule that decided: `<policy>/<rule>`, `default-deny@<layer>` or `<name>/unmet-obligation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    id: Arc<str>,
    layer: Arc<str>,
    /// File and line, where the rule is written somewhere.
    place: Option<(Arc<str>, usize)>,
}

impl RuleRef {
    pub(crate) fn of(rule: &Rule) -> RuleRef {
        RuleRef {
            id: Arc::clone(&rule.id),
            layer: Arc::clone(rule.layer.name()),
            place: Some((Arc::clone(&rule.span.file), rule.span.line)),
        }
    }

    pub(crate) fn default_deny(layer: &Layer) -> RuleRef {
        let id = format!("default-deny@{}", layer.name()).into();
        RuleRef { id, layer: Arc::clone(layer.name()), place: None }
    }

    pub(crate) fn unmet_obligation(classification: &str, layer: &Arc<str>) -> RuleRef {
        RuleRef {
            id: format!("{classification}/unmet-obligation").into(),
            layer: Arc::clone(layer),
            place: None,
        }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn layer(&self) -> &str {
        &self.layer
    }

    /// File and line of the rule.
    pub fn place(&self) -> Option<(&str, usize)> {
        self.place.as_ref().map(|(file, line)| (&**file, *line))
    }
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// What becomes of an event, and what is to be reported of it.
#[derive(Clone, Debug)]
pub struct Decision {
    pub verdict: Verdict,
    /// `None` where there is nothing to tell but the verdict.
    pub report: Option<Box<Report>>,
    /// Who edited the event that goes on; nobody where it goes on as it came.
    pub editors: Editors,
    /// What it took from rates to go on.
    pub debited: Debited,
}

/// What an event took from rates, for [`Buckets::give_back`](crate::Buckets::give_back) where it goes no further after all.
#[derive(Clone, Debug, Default)]
pub struct Debited(pub(crate) SmallVec<[Debit; 1]>);

/// The rules that had a part in an edit, for [`Program::editors`](crate::Program::editors). Four cost no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Editors(SmallVec<[u32; 4]>);

impl Editors {
    /// By their places in the program, in any order.
    pub(crate) fn extend(&mut self, rules: impl IntoIterator<Item = usize>) {
        self.0.extend(rules.into_iter().filter_map(|at| u32::try_from(at).ok()));
        self.0.sort_unstable();
        self.0.dedup();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|at| *at as usize)
    }
}

#[derive(Clone, Debug)]
pub enum Verdict {
    /// It goes on: as it is, or as `event` where a rule edits something.
    Forward {
        event: Option<Event>,
    },
    /// A rate has no room yet; the event may wait so long and be judged again.
    Hold {
        wait: Duration,
        by: RuleRef,
    },
    Stop(Box<Stopped>),
}

/// Why an event does not go on.
#[derive(Clone, Debug)]
pub struct Stopped {
    pub disposition: Disposition,
    /// Of the rules with that disposition the outermost, then the first by id.
    pub by: RuleRef,
    pub also_by: Vec<RuleRef>,
    /// What the rule says, or how it could not be judged.
    pub message: Option<String>,
    pub help: Option<Arc<str>>,
    /// The rule could not be judged: its `onError` decided.
    pub is_error: bool,
    /// How long until the event might pass, where a rate stopped it.
    pub retry_after: Option<Duration>,
    /// A limit on size stopped it.
    pub is_too_large: bool,
}

/// What is told beside the verdict; never a value of the event.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Enforced rules that applied. Only where the request asks for a trace.
    pub hits: Vec<RuleRef>,
    /// Rules in `mode: warn` that would have stopped, edited, or could not be judged.
    pub warned: Vec<RuleRef>,
    /// The same for rules in `mode: shadow`.
    pub shadowed: Vec<RuleRef>,
    /// Rules that would apply, with the waivers that switch them off.
    pub waived: Vec<(RuleRef, Arc<str>)>,
    pub findings: Vec<Found>,
}

impl Report {
    pub(crate) fn is_empty(&self) -> bool {
        self.hits.is_empty()
            && self.warned.is_empty()
            && self.shadowed.is_empty()
            && self.waived.is_empty()
            && self.findings.is_empty()
    }
}

/// Something of a class, and where; never what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub class: Class,
    /// Such as `$.data.memo`; a key that is itself personal data is shown as its class.
    pub path: String,
    pub confidence: Confidence,
    /// The Classification does not list the class for the topic.
    pub is_undeclared: bool,
}

impl Decision {
    /// The event goes on as it is, and there is nothing to tell.
    pub(crate) fn pass() -> Decision {
        Decision {
            verdict: Verdict::Forward { event: None },
            report: None,
            editors: Editors::default(),
            debited: Debited::default(),
        }
    }

    pub fn is_forward(&self) -> bool {
        matches!(self.verdict, Verdict::Forward { .. })
    }

    pub fn stopped(&self) -> Option<&Stopped> {
        match &self.verdict {
            Verdict::Stop(stopped) => Some(stopped),
            _ => None,
        }
    }
}
