//! One body of `deny` per rule, in Rego, compiled to its entry point.

use std::fmt::Write as _;

use anyhow::Result;
use regorus::{CompiledPolicy, Value};

use super::Engine;
use crate::workload::Workload;

struct Rego {
    policy: CompiledPolicy,
    inputs: Vec<Value>,
}

pub(super) fn load(workload: &Workload) -> Result<Box<dyn Engine>> {
    let mut text = String::from("package mesh\nimport rego.v1\ndefault deny := false\n");
    for rule in &workload.rules {
        write!(text, "deny if {{ input.purpose == \"{}\"", rule.purpose)?;
        for (at, token) in rule.tokens() {
            write!(text, "; input.t{at} == \"{token}\"")?;
        }
        text.push_str(" }\n");
    }
    let mut engine = regorus::Engine::new();
    engine.clear_policy_length_config();
    engine.add_policy("mesh.rego".to_owned(), text)?;
    let policy = engine.compile_with_entrypoint(&"data.mesh.deny".into())?;
    let inputs = workload.events.iter().map(|facts| {
        let [t0, t1, t2] = &facts.topic;
        let input = serde_json::json!({"t0": t0, "t1": t1, "t2": t2, "purpose": facts.purpose});
        Value::from_json_str(&input.to_string())
    });
    let inputs = inputs.collect::<Result<_>>()?;
    Ok(Box::new(Rego { policy, inputs }))
}

impl Engine for Rego {
    fn passes(&self, event: usize) -> bool {
        let denied = self.policy.eval_with_input(self.inputs[event].clone());
        // What fails to evaluate does not pass.
        matches!(denied, Ok(Value::Bool(false)))
    }
}
