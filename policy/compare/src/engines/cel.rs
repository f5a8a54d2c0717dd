//! One expression per rule, evaluated in turn until one is true, as gateways do.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use cel::{Context, Env, Program, Value};

use super::Engine;
use crate::workload::Workload;

struct Cel {
    rules: Vec<Program>,
    contexts: Vec<Context<'static, 'static>>,
}

pub(super) fn load(workload: &Workload) -> Result<Box<dyn Engine>> {
    let env = Arc::new(Env::stdlib());
    let rules = workload.rules.iter().map(|rule| {
        let tokens = rule.tokens().map(|(at, token)| format!(" && t{at} == \"{token}\""));
        let text = format!("purpose == \"{}\"{}", rule.purpose, tokens.collect::<String>());
        env.compile(&text).map_err(|error| anyhow!("{error}"))
    });
    let rules = rules.collect::<Result<_>>()?;
    let contexts = workload.events.iter().map(|facts| {
        let mut context = Context::with_env(Arc::clone(&env));
        for (at, token) in facts.topic.iter().enumerate() {
            context.add_variable_from_value(format!("t{at}"), token.clone());
        }
        context.add_variable_from_value("purpose", facts.purpose.to_owned());
        context
    });
    let contexts = contexts.collect();
    Ok(Box::new(Cel { rules, contexts }))
}

impl Engine for Cel {
    fn passes(&self, event: usize) -> bool {
        let context = &self.contexts[event];
        // What fails to evaluate does not pass.
        self.rules.iter().all(|rule| matches!(rule.execute(context), Ok(Value::Bool(false))))
    }
}
