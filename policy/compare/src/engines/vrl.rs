//! One program with an `if` per rule, which ends at the first that is true.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use vrl::compiler::state::RuntimeState;
use vrl::compiler::{Context, Program, TargetValue, TimeZone};
use vrl::value::{Secrets, Value};

use super::Engine;
use crate::workload::Workload;

struct Vrl {
    program: Program,
    targets: RefCell<Vec<TargetValue>>,
    zone: TimeZone,
}

pub(super) fn load(workload: &Workload) -> Result<Box<dyn Engine>> {
    let mut text = String::new();
    for rule in &workload.rules {
        write!(text, "if .purpose == \"{}\"", rule.purpose)?;
        for (at, token) in rule.tokens() {
            write!(text, " && .t{at} == \"{token}\"")?;
        }
        text.push_str(" { return true }\n");
    }
    text.push_str("false\n");
    let compiled = vrl::compiler::compile(&text, &[]).map_err(|problems| anyhow!("{problems:?}"))?;
    let targets = workload.events.iter().map(|facts| {
        let mut fields = BTreeMap::new();
        for (at, token) in facts.topic.iter().enumerate() {
            fields.insert(format!("t{at}").into(), Value::from(token.as_str()));
        }
        fields.insert("purpose".into(), Value::from(facts.purpose));
        TargetValue {
            value: Value::Object(fields),
            metadata: Value::Object(BTreeMap::new()),
            secrets: Secrets::default(),
        }
    });
    let targets = RefCell::new(targets.collect());
    Ok(Box::new(Vrl { program: compiled.program, targets, zone: TimeZone::default() }))
}

impl Engine for Vrl {
    fn passes(&self, event: usize) -> bool {
        let mut targets = self.targets.borrow_mut();
        let mut state = RuntimeState::default();
        let mut context = Context::new(&mut targets[event], &mut state, &self.zone);
        let denied = match self.program.resolve(&mut context) {
            Ok(value) => value,
            Err(vrl::compiler::ExpressionError::Return { value, .. }) => value,
            // What fails to evaluate does not pass.
            Err(_) => return false,
        };
        denied == Value::Boolean(false)
    }
}
