//! Rules and waivers that can never have the effect they seem to have.

use time::OffsetDateTime;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::federation::Federation;
use crate::model::{Action, Context, OnViolation, Rule, WAIVER_MAX};
use crate::program::Documents;
use crate::protection::Protection;

pub(super) fn check(
    documents: &Documents,
    federation: &Federation,
    now: Option<OffsetDateTime>,
    problems: &mut Diagnostics,
) {
    inner_permits(&documents.rules, federation, problems);
    conditional_permits(&documents.rules, problems);
    attributes_others_read(&documents.rules, problems);
    fields_that_may_be_gone(&documents.rules, problems);
    waivers(documents, now, problems);
}

/// P0203: a permit of an inner layer about topics that the outermost layer never permits has no effect.
fn inner_permits(rules: &[Rule], federation: &Federation, problems: &mut Diagnostics) {
    let permits = || rules.iter().filter(|rule| rule.is_permit());
    let outer: Vec<&Rule> = permits().filter(|rule| rule.layer.depth == 0).collect();
    for rule in permits().filter(|rule| rule.layer.depth > 0) {
        let borders = rule.matcher.at & Context::BORDERS.iter().fold(0, |bits, context| bits | context.bit());
        if borders == 0 {
            // Elsewhere the outermost layer narrows only where it has permits of its own.
            continue;
        }
        for (filter, span) in rule.matcher.topics.iter().zip(&rule.topic_spans) {
            let shared = |outer: &&&Rule| {
                outer.matcher.at & borders != 0
                    && outer.matcher.topics.iter().any(|permitted| permitted.intersects(filter))
            };
            if outer.iter().any(|outer| shared(&outer)) {
                continue;
            }
            let mut problem = Diagnostic::error("P0203", span, "this permit can never take effect")
                .label(format!("{} cannot add to what the federation permits", rule.layer.name()))
                .example(example(filter, federation))
                .help(match outer.first().and_then(|rule| rule.owner.as_ref()) {
                    Some(owner) => format!("ask {owner} to permit \"{filter}\", or remove this topic"),
                    None => format!(
                        "permit \"{filter}\" in a policy of the layer federation, or remove this topic"
                    ),
                });
            if let Some(first) = outer.first() {
                let label = format!("no permit of the outermost layer covers \"{filter}\"");
                problem = problem.related(first.topic_spans.first().unwrap_or(&first.span), label);
            }
            problems.push(problem);
        }
    }
}

/// A topic that the filter matches, and two zones.
fn example(filter: &meshbridge_topic::TopicFilter, federation: &Federation) -> crate::diagnostics::Example {
    let tokens: Vec<&str> =
        filter.tokens().map(|token| if token.starts_with('*') { "x" } else { token }).collect();
    let mut zones = federation.zones();
    let from = zones.next().unwrap_or_default().to_owned();
    let to = zones.next().unwrap_or_default().to_owned();
    crate::diagnostics::Example { topic: tokens.join("."), from, to }
}

/// P0210: the publisher controls most conditions, so a permit that hangs on one is no border.
fn conditional_permits(rules: &[Rule], problems: &mut Diagnostics) {
    for rule in rules.iter().filter(|rule| rule.is_permit() && rule.layer.depth == 0) {
        let is_told_by_event = !rule.matcher.event.is_empty()
            || rule.matcher.when.as_ref().is_some_and(|(condition, _)| !condition.is_static());
        if is_told_by_event {
            let message = "this permit hangs on what the publisher says";
            let help = "permit by topic and zones; deny what must not pass";
            problems.push(Diagnostic::warning("P0210", &rule.span, message).help(help));
        }
    }
}

/// P0207: an inner layer edits what later contexts see, so it may not take away an attribute that an outer rule reads.
fn attributes_others_read(rules: &[Rule], problems: &mut Diagnostics) {
    for rule in rules {
        for name in removed(rule) {
            let reader =
                rules.iter().find(|outer| outer.layer.depth < rule.layer.depth && reads(outer, name));
            let Some(outer) = reader else { continue };
            let message = format!("this takes away `{name}`, which an outer rule reads");
            let help = "leave the attribute, or ask the outer layer to take it away";
            let problem = Diagnostic::error("P0207", &rule.span, message)
                .label(format!("of the layer {}", rule.layer.name()))
                .related(&outer.span, format!("{} reads it", outer.id))
                .help(help);
            problems.push(problem);
        }
    }
}

fn removed(rule: &Rule) -> Vec<&str> {
    match &rule.action {
        Action::Require { attributes, .. } if rule.on_violation == OnViolation::Strip => {
            attributes.iter().map(|one| one.attribute.as_str()).collect()
        }
        Action::Protect(items) => items
            .iter()
            .filter(|item| item.demand.protection == Protection::Drop)
            .flat_map(|item| item.demand.fields.iter().filter_map(crate::path::Path::attribute))
            .collect(),
        _ => Vec::new(),
    }
}

fn reads(rule: &Rule, name: &str) -> bool {
    let of_match = [Some(&rule.matcher), rule.except.as_ref()].into_iter().flatten().any(|m| {
        m.event.iter().any(|(attribute, _)| attribute == name)
            || m.when.as_ref().is_some_and(|(condition, _)| condition.reads().attributes.contains(name))
    });
    of_match
        || match &rule.action {
            Action::Require { attributes, .. } => attributes.iter().any(|one| one.attribute == name),
            Action::Validate(validate) => {
                validate.checks.iter().any(|check| check.expression.reads().attributes.contains(name))
            }
            _ => false,
        }
}

/// P0208: what `ingress` asks of the data may be protected already.
fn fields_that_may_be_gone(rules: &[Rule], problems: &mut Diagnostics) {
    let protects = |rule: &&Rule| {
        matches!(rule.action, Action::Protect(_)) && rule.matcher.at & Context::Egress.bit() != 0
    };
    for rule in rules {
        let asked_later = rule.matcher.at & (Context::Ingress.bit() | Context::Deliver.bit()) != 0;
        let reads_data =
            |(condition, _): &&(meshbridge_cel::Expression, crate::Span)| !condition.reads().data.is_empty();
        let Some((_, span)) = rule.matcher.when.as_ref().filter(reads_data).filter(|_| asked_later) else {
            continue;
        };
        let shares = |other: &Rule| {
            other.matcher.topics.iter().any(|a| rule.matcher.topics.iter().any(|b| a.intersects(b)))
        };
        if let Some(protecting) = rules.iter().filter(protects).find(|other| shares(other)) {
            let message = "the data may be protected before this condition reads them";
            let help = "add `at: egress`, or ask of the topic and the attributes only";
            let problem = Diagnostic::warning("P0208", span, message);
            problems
                .push(problem.related(&protecting.span, "this protects data of the same topics").help(help));
        }
    }
}

fn waivers(documents: &Documents, now: Option<OffsetDateTime>, problems: &mut Diagnostics) {
    for waiver in &documents.waivers {
        match documents.rules.iter().find(|rule| *rule.id == *waiver.rule) {
            None => {
                let near = documents.rules.iter().map(|rule| &*rule.id);
                let near = near.min_by_key(|id| strsim::damerau_levenshtein(id, &waiver.rule));
                let problem = Diagnostic::error(
                    "P0211",
                    &waiver.rule_span,
                    format!("there is no rule `{}`", waiver.rule),
                );
                problems.push(match near {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => problem.help("write <policy>/<rule>"),
                });
            }
            Some(rule) if rule.layer != waiver.layer => {
                let message = format!("only the layer {} can waive this rule", rule.layer.name());
                let problem = Diagnostic::error("P0212", &waiver.rule_span, message)
                    .label(format!("a waiver of the layer {}", waiver.layer.name()))
                    .related(&rule.span, "the rule");
                problems.push(problem.help("ask the owner of the rule for a waiver"));
            }
            Some(_) => {}
        }
        let Some(now) = now else { continue };
        if waiver.expires <= now {
            let problem = Diagnostic::warning("P0213", &waiver.span, "this waiver is over");
            problems.push(problem.help("remove it"));
        } else if waiver.expires > now + WAIVER_MAX {
            let problem = Diagnostic::error("P0206", &waiver.span, "a waiver lasts a year at most");
            problems.push(problem.help("let it expire sooner, and renew it if the reason is still there"));
        }
    }
}
