//! P0409: a zone that would have to make a form and does not hold the key, so that every such event would be stopped.
//!
//! What a sender has protected is not protected again on arrival. So a recipient needs a key only for what the egress of
//! the sender leaves open: a rule of a layer that the sender does not hear, or one that is not judged at egress.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::effects::{Where, name};
use super::findings::shown;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{Context, ProtectItem};
use crate::prove::{Applied, Borders, Here, Pairs, Ways, items};

pub(super) fn check(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let program = borders.program;
    let mut told: BTreeSet<(u32, usize)> = BTreeSet::new();
    for (atom, here) in here.iter().enumerate() {
        if !items(borders, &here.rules).any(|(_, item)| item.demand.protection.key().is_some()) {
            continue;
        }
        let passing = Ways::new(borders, &here.rules, false).to;
        for (applied, item) in items(borders, &here.rules) {
            let Some(key) = item.demand.protection.key() else { continue };
            for context in [Context::Egress, Context::Ingress] {
                let is_arrival = context == Context::Ingress;
                let mut pairs = borders.possible(applied, context).and(&passing);
                if is_arrival && !pairs.is_empty() {
                    pairs.remove(&made_at_egress(borders, here, applied, item));
                }
                for (from, to) in pairs.iter() {
                    let maker = if is_arrival { to } else { from };
                    if program.keys().holds(maker, key) || !told.insert((applied.rule, usize::from(maker.0)))
                    {
                        continue;
                    }
                    let topic = borders.atoms.example(atom).as_str().to_owned();
                    let place = Where { topic, from: usize::from(from.0), to: usize::from(to.0) };
                    let zone_name = name(program, usize::from(maker.0));
                    let label = program.keys().label(key);
                    let message =
                        format!("{zone_name} would have to use the key {label}, which it does not hold");
                    let problem = Diagnostic::error("P0409", &item.span, message).related(
                        &borders.rule(applied).span,
                        "where this applies, events with such a value are stopped",
                    );
                    let help = if is_arrival {
                        format!(
                            "protect it at egress, in a layer that {} hears; who has the key can try values until one fits, or read them",
                            name(program, usize::from(from.0))
                        )
                    } else {
                        format!(
                            "leave what begins in {zone_name} out of the permit or the rule; give it the key only if it may know what the others send"
                        )
                    };
                    problems.push(problem.example(shown(program, &place)).help(help));
                }
            }
        }
    }
}

/// Pairs between which the sender makes all that an item asks for, in this form or one that shows less.
fn made_at_egress(borders: &Borders<'_>, here: &Here, applied: &Applied, item: &ProtectItem) -> Pairs {
    let wanted = &item.demand;
    let made: Vec<(&ProtectItem, Cow<'_, Pairs>)> = items(borders, &here.rules)
        .filter(|(_, other)| other.demand.protection.meet(wanted.protection) == other.demand.protection)
        .map(|(other, made)| {
            // A rule that asks something of the event is answered at egress as it is on arrival.
            let pairs = match other.rule == applied.rule {
                true => borders.possible(other, Context::Egress),
                false => borders.certain(other, Context::Egress),
            };
            (made, pairs)
        })
        .collect();
    let mut all = Pairs::all(borders.count);
    let mut keep = |covers: &dyn Fn(&ProtectItem) -> bool| {
        let mut some = Pairs::none(borders.count);
        made.iter().filter(|(other, _)| covers(other)).for_each(|(_, pairs)| some.add(pairs));
        all.keep(&some);
    };
    for class in wanted.classes.iter() {
        keep(&|other| {
            other.demand.classes.contains(class)
                && (!other.demand.undeclared || wanted.undeclared)
                && other.demand.confidence <= wanted.confidence
        });
    }
    for field in &wanted.fields {
        keep(&|other| other.demand.fields.iter().any(|path| path.covers(field)));
    }
    all
}
