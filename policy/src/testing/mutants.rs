//! Policies with one rule weakened: tests that still pass do not test that rule.

use super::run::Survivor;
use crate::model::{Action, Limit, Mode, ProtectItem, Rule};
use crate::program::Program;
use crate::protection::Protection;

/// All rules, one of them weakened.
pub(super) struct Mutant {
    pub(super) rules: Vec<Rule>,
    pub(super) survivor: Survivor,
}

pub(super) fn of(program: &Program) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    for (at, rule) in program.rules.iter().enumerate() {
        if rule.mode == Mode::Warn {
            continue;
        }
        let mut add = |change: &str, weakened: Option<Rule>| {
            let mut rules = program.rules.clone();
            match weakened {
                Some(weakened) => rules[at] = weakened,
                None => {
                    rules.remove(at);
                }
            }
            let survivor = Survivor {
                rule: rule.id.to_string(),
                file: rule.span.file.to_string(),
                line: rule.span.line,
                change: change.to_owned(),
            };
            mutants.push(Mutant { rules, survivor });
        };
        add("deleted", None);
        if rule.mode == Mode::Enforce {
            add("put in shadow", Some(Rule { mode: Mode::Shadow, ..rule.clone() }));
        }
        if rule.except.is_some() {
            add("its exception removed", Some(Rule { except: None, ..rule.clone() }));
        }
        match &rule.action {
            Action::Protect(items) => {
                for (item, protection) in items.iter().enumerate().filter_map(|(at, item)| {
                    raised(item.demand.protection).map(|protection| (at, protection))
                }) {
                    let mut items: Vec<ProtectItem> = items.clone();
                    items[item].demand.protection = protection;
                    let change = format!("item {} discloses more", item + 1);
                    add(&change, Some(Rule { action: Action::Protect(items), ..rule.clone() }));
                }
            }
            // Cases share no buckets, so a rate is never short in one; doubling it changes nothing that a test could see.
            Action::Limit(limit) if limit.event_bytes.is_some() || limit.data_bytes.is_some() => {
                let doubled = Limit {
                    event_bytes: limit.event_bytes.map(|bytes| bytes.saturating_mul(2)),
                    data_bytes: limit.data_bytes.map(|bytes| bytes.saturating_mul(2)),
                    ..limit.clone()
                };
                add("its limits doubled", Some(Rule { action: Action::Limit(doubled), ..rule.clone() }));
            }
            _ => {}
        }
    }
    mutants
}

/// One step up: what discloses a little more.
fn raised(protection: Protection) -> Option<Protection> {
    Some(match protection {
        Protection::Drop => Protection::Redact,
        Protection::Redact => Protection::Mask { first: 0, last: 4 },
        Protection::Mask { first, last } => {
            Protection::Mask { first: first.saturating_add(1), last: last.saturating_add(1) }
        }
        Protection::Pseudonymise { .. } | Protection::Encrypt { .. } => Protection::Hash,
        Protection::Generalise { ladder, rung } => {
            let finer = rung + 1;
            let exists = usize::from(finer) < ladder.rungs().len();
            if exists { Protection::Generalise { ladder, rung: finer } } else { Protection::Hash }
        }
        Protection::Hash => return None,
    })
}
