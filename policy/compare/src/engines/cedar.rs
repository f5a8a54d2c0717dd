//! One `forbid` per rule, with tokens and purpose in the context.

use std::fmt::Write as _;

use anyhow::Result;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};

use super::Engine;
use crate::workload::Workload;

struct Cedar {
    authorizer: Authorizer,
    policies: PolicySet,
    entities: Entities,
    requests: Vec<Request>,
}

pub(super) fn load(workload: &Workload) -> Result<Box<dyn Engine>> {
    let mut text = String::from("permit (principal, action, resource);\n");
    for rule in &workload.rules {
        write!(text, "forbid (principal, action, resource) when {{ context.purpose == \"{}\"", rule.purpose)?;
        for (at, token) in rule.tokens() {
            write!(text, " && context.t{at} == \"{token}\"")?;
        }
        text.push_str(" };\n");
    }
    let (zone, action): (EntityUid, EntityUid) = (r#"Zone::"eu-1""#.parse()?, r#"Action::"egress""#.parse()?);
    let to: EntityUid = r#"Zone::"us-1""#.parse()?;
    let requests = workload.events.iter().map(|facts| {
        let tokens = facts.topic.iter().enumerate().map(|(at, token)| (format!("t{at}"), token.clone()));
        let all = tokens.chain([("purpose".to_owned(), facts.purpose.to_owned())]);
        let context =
            Context::from_pairs(all.map(|(name, value)| (name, RestrictedExpression::new_string(value))))?;
        Ok(Request::new(zone.clone(), action.clone(), to.clone(), context, None)?)
    });
    Ok(Box::new(Cedar {
        requests: requests.collect::<Result<_>>()?,
        authorizer: Authorizer::new(),
        policies: text.parse()?,
        entities: Entities::empty(),
    }))
}

impl Engine for Cedar {
    fn passes(&self, event: usize) -> bool {
        let answer = self.authorizer.is_authorized(&self.requests[event], &self.policies, &self.entities);
        answer.decision() == Decision::Allow
    }
}
