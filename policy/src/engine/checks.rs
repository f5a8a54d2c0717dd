//! What each action asks of an event.

use std::sync::Arc;
use std::time::Duration;

use meshbridge_event::Event;
use smallvec::SmallVec;

use super::attributes::is_met;
use super::evaluation::{Evaluation, Live};
use crate::Class;
use crate::limits::Debit;
use crate::message;
use crate::model::{Action, Context, Facts as _, Forbid, Rule, Selector, Structure, Truth, Validate};
use crate::protect::Survey;

/// What a check says.
#[derive(Debug)]
pub(super) enum Outcome {
    Passes,
    Violated(Detail),
    /// The check could not be made; with why.
    Error(Arc<str>),
    /// There is no room yet, but soon.
    Waits(Duration),
}

/// What a message may say of a violation.
#[derive(Debug, Default)]
pub(super) struct Detail {
    /// Class and path.
    pub(super) finding: Option<(Class, String)>,
    /// What was measured and what is allowed.
    pub(super) size: Option<(u64, u64)>,
    pub(super) message: Option<Arc<str>>,
    pub(super) retry_after: Option<Duration>,
}

impl Detail {
    fn says(message: impl Into<Arc<str>>) -> Detail {
        Detail { message: Some(message.into()), ..Detail::default() }
    }
}

impl<'a> Evaluation<'a> {
    pub(super) fn outcome(
        &self,
        one: Live<'a>,
        event: &Event,
        sight: Option<&Survey<'_>>,
        debits: &mut SmallVec<[Debit; 4]>,
    ) -> Outcome {
        match &one.rule.action {
            Action::Permit | Action::Protect(_) | Action::DenyLinks => Outcome::Passes,
            Action::Deny => Outcome::Violated(Detail::default()),
            Action::Residency { allow, transit } => self.residency(allow, transit),
            Action::Require { hops_max, .. } => self.require(one.rule, *hops_max, event),
            Action::Validate(validate) => self.validate(validate),
            Action::Structure(structure) => self.structure(structure),
            Action::Forbid(forbid) => self.forbid(one.rule, forbid, sight),
            Action::Limit(limit) => self.limit(one, limit, event, debits),
        }
    }

    fn residency(&self, allow: &[Selector], transit: &[Selector]) -> Outcome {
        let allowed = if self.request.context == Context::Transit { transit } else { allow };
        let (_, to) = self.zones();
        let is_allowed = allowed.iter().any(|selector| selector.selects(to));
        if is_allowed { Outcome::Passes } else { Outcome::Violated(Detail::default()) }
    }

    /// The attributes that fail.
    pub(super) fn unmet(&self, rule: &'a Rule, event: &Event) -> SmallVec<[&'a str; 2]> {
        let Action::Require { attributes, .. } = &rule.action else { return SmallVec::new() };
        let fails = |one: &&crate::model::Requirement| !is_met(one, event, self.ends());
        attributes.iter().filter(fails).map(|one| one.attribute.as_str()).collect()
    }

    fn require(&self, rule: &'a Rule, hops_max: Option<u8>, event: &Event) -> Outcome {
        if let Some(max) = hops_max.filter(|max| self.request.hops > *max) {
            let text = format!("{} hops, at most {max}", self.request.hops);
            return Outcome::Violated(Detail::says(text));
        }
        let unmet = self.unmet(rule, event);
        if unmet.is_empty() {
            return Outcome::Passes;
        }
        // The rule's own message says it better.
        let detail = match rule.message {
            Some(_) => Detail::default(),
            None => Detail::says(format!("attribute {} is not as required", unmet.join(", "))),
        };
        Outcome::Violated(detail)
    }

    fn validate(&self, validate: &Validate) -> Outcome {
        if let Some(schema) = &validate.schema {
            let Some(data) = self.data() else {
                return Outcome::Error("the data are no JSON that can be read in one way only".into());
            };
            if let Some(problem) = schema.first_problem(data) {
                return Outcome::Violated(Detail::says(message::shown(&problem)));
            }
        }
        for check in &validate.checks {
            match self.facts.condition(&check.expression) {
                Truth::Yes => {}
                Truth::No => {
                    let message = check.message.clone().unwrap_or_else(|| "a check of the data fails".into());
                    return Outcome::Violated(Detail { message: Some(message), ..Detail::default() });
                }
                Truth::Unknown => return Outcome::Error("a check cannot be computed for this event".into()),
            }
        }
        Outcome::Passes
    }

    fn structure(&self, structure: &Structure) -> Outcome {
        let (from, to) = self.ends();
        let mut tokens = self.request.topic.tokens();
        for segment in &structure.segments {
            let Some(token) = tokens.next() else {
                let name = message::shown(&segment.name);
                return Outcome::Violated(Detail::says(format!("segment `{name}` is missing")));
            };
            let good = (segment.values.is_empty() || segment.values.iter().any(|value| value == token))
                && segment.pattern.as_ref().is_none_or(|pattern| pattern.is_match(token, from, to));
            if !good {
                return Outcome::Violated(Detail::says(format!(
                    "segment `{}` is not as required",
                    segment.name
                )));
            }
        }
        if !structure.more && tokens.next().is_some() {
            return Outcome::Violated(Detail::says("the topic has more segments than it may"));
        }
        let Some(prefix) = &structure.type_prefix else { return Outcome::Passes };
        let facts = message::Facts {
            rule: "",
            layer: "",
            topic: self.request.topic,
            from: from.1,
            to: to.1,
            event: self.request.event,
            finding: None,
            size: None,
        };
        if self.request.event.ty().starts_with(&prefix.resolve(&facts)) {
            Outcome::Passes
        } else {
            Outcome::Violated(Detail::says("the type does not begin as required"))
        }
    }

    fn forbid(&self, rule: &Rule, forbid: &Forbid, sight: Option<&Survey<'_>>) -> Outcome {
        let Some(sight) = sight else { return Outcome::Error("the event was not searched".into()) };
        let found = sight.findings().find(|finding| {
            let may_be = forbid.classes.contains(finding.class)
                || !forbid.classes.intersection(finding.alternatives).is_empty();
            may_be && finding.confidence >= forbid.confidence && (finding.undeclared || !forbid.undeclared)
        });
        if let Some(finding) = found {
            return violated(finding.class, finding.path());
        }
        let Err(problem) = &sight.content else { return Outcome::Passes };
        match self.opaque(rule) {
            Some(opaque) => match forbid.classes.intersection(opaque).iter().next() {
                Some(class) => violated(class, "$.data".to_owned()),
                None => Outcome::Passes,
            },
            None => Outcome::Error(problem.to_string().into()),
        }
    }
}

fn violated(class: Class, path: String) -> Outcome {
    Outcome::Violated(Detail { finding: Some((class, path)), ..Detail::default() })
}
