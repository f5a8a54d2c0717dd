//! Findings of `check` that need all topics and zones.

use std::collections::BTreeSet;

use super::dead;
use super::effects::{Where, does_at_least, effects, example, forgotten, name};
use super::keys;
use crate::diagnostics::{Diagnostic, Diagnostics, Example, Span};
use crate::model::{Context, Match, Mode, ProtectItem, Rule};
use crate::program::Program;
use crate::protection::Protection;
use crate::prove::{Applied, Borders, Here, Ways, items, zone};

pub(super) fn findings(program: &Program) -> Diagnostics {
    let mut problems = Diagnostics::default();
    // Where the filters of questions make too many classes of topics, the rules are looked at without them.
    let asked = Borders::new(program, &dead::filters(program));
    let is_whole = asked.is_ok();
    let borders = match asked.or_else(|_| Borders::new(program, &[])) {
        Ok(borders) => borders,
        Err(problem) => {
            // Blamed filters stand in some rule.
            let blamed =
                |rule: &&Rule| rule.matcher.topics.iter().any(|filter| problem.filters.contains(filter));
            if let Some(rule) = program.rules.iter().find(blamed).or(program.rules.first()) {
                let filters: Vec<&str> = problem.filters.iter().map(|filter| filter.as_str()).collect();
                let help = format!("write these without a wildcard before a literal: {}", filters.join(", "));
                problems.push(Diagnostic::warning("P0214", &rule.span, problem.to_string()).help(help));
            }
            return problems;
        }
    };
    let here: Vec<Here> = (0..borders.atoms.len()).map(|atom| borders.at(atom)).collect();
    rules(&borders, &here, &mut problems);
    waivers(&borders, &here, &mut problems);
    zones(&borders, &here, &mut problems);
    keys::check(&borders, &here, &mut problems);
    meets(&borders, &here, &mut problems);
    carriers(&borders, &here, &mut problems);
    if is_whole {
        dead::check(&borders, &here, &mut problems);
    }
    problems.sort();
    problems
}

pub(super) fn shown(program: &Program, place: &Where) -> Example {
    Example { topic: place.topic.clone(), from: name(program, place.from), to: name(program, place.to) }
}

/// P0215: never applies. P0216: applies only where nothing passes. P0217: a permit that opens nothing. P0218: another
/// rule does as much wherever this one applies.
fn rules(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let program = borders.program;
    let effects = effects(borders, here);
    for (rule, effect) in program.rules.iter().zip(&effects) {
        let warn = |code, message: &str| Diagnostic::warning(code, &rule.span, message);
        let Some(place) = &effect.applies else {
            let help =
                "no two zones and no topic meet its match; look at `from`, `to`, `same`, `at` and its layer";
            problems.push(warn("P0215", "this rule can never apply").help(help));
            continue;
        };
        if !effect.matters {
            let help = "permit what it is about, or remove it";
            let problem = warn("P0216", "this rule never decides: nothing that it is about may pass");
            problems.push(problem.example(shown(program, place)).help(help));
            continue;
        }
        if rule.is_permit() && rule.mode == Mode::Enforce && !effect.opens {
            let other = program.rules.iter().find(|other| {
                other.is_permit()
                    && other.id != rule.id
                    && other.layer == rule.layer
                    && other
                        .matcher
                        .topics
                        .iter()
                        .any(|a| rule.matcher.topics.iter().any(|b| a.intersects(b)))
            });
            let mut problem = warn("P0217", "this permit adds nothing to the others of its layer");
            if let Some(other) = other {
                problem = problem.related(&other.span, "permits the same already");
            }
            problems.push(problem.example(shown(program, place)).help("remove it"));
        }
        let outdone = effect.outdone_by.iter().flatten().map(|at| &program.rules[*at as usize]);
        // Of two that do the same, the later one is told of.
        let mut better = outdone.filter(|other| !(does_at_least(rule, other) && other.id > rule.id));
        if rule.mode == Mode::Enforce
            && let Some(other) = better.next()
        {
            let message = format!("this rule does nothing that {} does not do wherever it applies", other.id);
            let problem = warn("P0218", &message).related(&other.span, "does as much, or more");
            problems.push(problem.example(shown(program, place)).help("remove it"));
        }
    }
}

/// P0219: a waiver of a rule that never applies where the waiver is about.
fn waivers(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let program = borders.program;
    for (at, waiver) in program.waivers.iter().enumerate() {
        let is_alive = here.iter().flat_map(|here| &here.rules).any(|applied| {
            applied.waivers.iter().any(|number| *number as usize == at)
                && Context::ALL.into_iter().any(|context| {
                    borders.possible(applied, context).intersects(&borders.matched(&waiver.matcher, context))
                })
        });
        let rule = program.rules.iter().find(|rule| *rule.id == *waiver.rule);
        if let (false, Some(rule)) = (is_alive, rule) {
            let problem = Diagnostic::warning("P0219", &waiver.span, "this waiver waives nothing");
            problems.push(
                problem.related(&rule.span, "never applies where it is waived").help("remove the waiver"),
            );
        }
    }
}

/// P0220: a zone that no rule is about.
fn zones(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let program = borders.program;
    let Some(place) = program.rules.first() else { return };
    for at in forgotten(borders, here) {
        let message =
            format!("no rule is about the zone {}: nothing passes to or from it", name(program, at));
        let help = "permit some topics for it, or take the zone out of the federation";
        problems.push(Diagnostic::warning("P0220", &place.span, message).help(help));
    }
}

/// P0410: two protections of one value that leave nothing but its type.
fn meets(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let program = borders.program;
    let mut told: BTreeSet<(Span, Span)> = BTreeSet::new();
    for (atom, here) in here.iter().enumerate() {
        let all: Vec<(&Applied, &ProtectItem)> = items(borders, &here.rules).collect();
        for (place, (a_rule, a)) in all.iter().enumerate() {
            for (b_rule, b) in &all[place + 1..] {
                let redacts = |one: Protection| matches!(one, Protection::Drop | Protection::Redact);
                let (first, second) = (a.demand.protection, b.demand.protection);
                let is_lost = !redacts(first) && !redacts(second) && redacts(first.meet(second));
                let share_place = !a.demand.classes.intersection(b.demand.classes).is_empty()
                    || a.demand
                        .fields
                        .iter()
                        .any(|path| b.demand.fields.iter().any(|other| path.may_meet(other)));
                if !is_lost || !share_place || told.contains(&(a.span.clone(), b.span.clone())) {
                    continue;
                }
                let both = Context::BORDERS
                    .into_iter()
                    .map(|context| borders.possible(a_rule, context).and(&borders.possible(b_rule, context)))
                    .find(|pairs| !pairs.is_empty());
                let Some(example) = both.and_then(|pairs| example(borders, atom, &pairs)) else { continue };
                told.insert((a.span.clone(), b.span.clone()));
                let problem =
                    Diagnostic::warning("P0410", &b.span, "together with another protection this redacts")
                        .label(borders.rule(b_rule).id.to_string())
                        .related(
                            &a.span,
                            format!("{} demands another form of the same value", borders.rule(a_rule).id),
                        );
                let help = "use one key or one ladder in both, or say redact";
                problems.push(problem.example(shown(program, &example)).help(help));
            }
        }
    }
}

/// Whether a permit is for carriers only, and says for which.
fn names_carriers(permit: &Rule) -> bool {
    let Match { at, to, .. } = &permit.matcher;
    *at == Context::Transit.bit() && (!to.attributes.is_empty() || !to.labels.is_empty())
}

/// P0221: a zone may carry, and so see, what it may not receive.
fn carriers(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let program = borders.program;
    let mut told: BTreeSet<usize> = BTreeSet::new();
    for (atom, here) in here.iter().enumerate() {
        let Ways { to, carriers: Some(mut carriers) } = Ways::new(borders, &here.rules, false) else {
            continue;
        };
        let sending = to.origins();
        carriers.keep_origins(&sending);
        carriers.remove(&to);
        for (from, carrier) in carriers.iter() {
            let at = usize::from(carrier.0);
            let towards = crate::prove::bits(to.row(usize::from(from.0))).find(|other| *other != at);
            let (Some(towards), false) = (towards, told.contains(&at)) else { continue };
            told.insert(at);
            let permit = here.rules.iter().find(|applied| {
                let rule = borders.rule(applied);
                let pairs = || borders.possible(applied, Context::Transit);
                rule.is_permit() && rule.mode == Mode::Enforce && pairs().contains(usize::from(from.0), at)
            });
            // Who names the carriers means them.
            let Some(permit) = permit.filter(|permit| !names_carriers(borders.rule(permit))) else {
                continue;
            };
            let (carrier, destination) = (name(program, at), name(program, usize::from(zone(towards).0)));
            let message = format!(
                "{carrier} may carry what it may not receive, and sees it on the way to {destination}"
            );
            let place = Where {
                topic: borders.atoms.example(atom).as_str().to_owned(),
                from: usize::from(from.0),
                to: at,
            };
            let problem = Diagnostic::warning("P0221", &borders.rule(permit).span, message)
                .label(format!("lets {carrier} carry it"))
                .example(shown(program, &place));
            problems.push(problem.help("name the zones that may carry it, `at: transit` with `to`; or deny it `at: transit` for this zone"));
        }
    }
}
