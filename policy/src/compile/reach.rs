//! Rules and waivers that can never have the effect they seem to have.

use meshbridge_topic::TopicFilter;
use time::OffsetDateTime;

use super::Lost;
use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::federation::{Federation, Zone};
use crate::model::{
    Action, Amount, BucketPart, CLASSIFYING, Classification, Classified, Context, Match, OnViolation, Rule,
    Selector, WAIVER_MAX,
};
use crate::path::Path;
use crate::program::Documents;
use crate::protect::{BINDING, BINDING_ATTRIBUTES, Demand};
use crate::protection::Protection;

/// Contexts in which there is an event, in their order.
const EVENTS: u8 = Context::Publish.bit()
    | Context::Egress.bit()
    | Context::Transit.bit()
    | Context::Ingress.bit()
    | Context::Deliver.bit();

pub(super) fn check(
    documents: &Documents,
    lost: Lost,
    federation: &Federation,
    now: Option<OffsetDateTime>,
    problems: &mut Diagnostics,
) {
    if !lost.outermost {
        inner_permits(&documents.rules, federation, problems);
    }
    conditional_permits(&documents.rules, problems);
    attributes_others_read(documents, problems);
    what_may_be_gone(documents, problems);
    waivers(documents, lost, now, problems);
}

/// P0203: a permit of an inner layer has no effect on topics that the outermost layer never permits, or permits between
/// other zones only.
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
            if outer.iter().any(|outer| shared(&outer) && share_a_border(rule, outer, federation)) {
                continue;
            }
            let elsewhere = outer.iter().find(shared);
            if elsewhere.is_some() && !applies_anywhere(rule, federation) {
                // P0215 tells what is wrong with it.
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
            if let Some(elsewhere) = elsewhere {
                let label = format!("permits \"{filter}\" between other zones only");
                problem = problem.related(&elsewhere.span, label);
            } else if let Some(first) = outer.first() {
                let label = format!("no permit of the outermost layer covers \"{filter}\"");
                problem = problem.related(first.topic_spans.first().unwrap_or(&first.span), label);
            }
            problems.push(problem);
        }
    }
}

/// Pairs of zones, and a context, in which a rule of an inner layer may speak.
fn borders_of<'a>(
    rule: &'a Rule,
    federation: &'a Federation,
) -> impl Iterator<Item = (Context, &'a Zone, &'a Zone)> {
    let selected = |selector: &Selector| -> Vec<&'a Zone> {
        federation.zones.iter().filter(|zone| selector.selects(zone)).collect()
    };
    let (from, to) = (selected(&rule.matcher.from), selected(&rule.matcher.to));
    let pairs = from.into_iter().flat_map(move |from| to.clone().into_iter().map(move |to| (from, to)));
    let pairs = pairs.filter(|(from, to)| from.name != to.name);
    let all =
        pairs.flat_map(|(from, to)| Context::BORDERS.into_iter().map(move |context| (context, from, to)));
    all.filter(move |(context, from, to)| {
        rule.layer.speaks_at(*context, from, to) && rule.matcher.border_holds(*context, from, to)
    })
}

fn applies_anywhere(rule: &Rule, federation: &Federation) -> bool {
    borders_of(rule, federation).next().is_some()
}

/// Whether there is a border at which both permits may apply.
fn share_a_border(rule: &Rule, outer: &Rule, federation: &Federation) -> bool {
    borders_of(rule, federation).any(|(context, from, to)| outer.matcher.border_holds(context, from, to))
}

/// A topic that the filter matches, and two zones.
pub(super) fn example(
    filter: &meshbridge_topic::TopicFilter,
    federation: &Federation,
) -> crate::diagnostics::Example {
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

/// What a rule does to an attribute of the events that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Edit {
    /// Gone before the checks of the same context.
    Strip,
    /// Gone after them.
    Drop,
    /// There after them, with another value.
    Change,
}

/// P0207: an inner layer edits what later contexts see, so it may not touch an attribute that an outer rule reads.
fn attributes_others_read(documents: &Documents, problems: &mut Diagnostics) {
    for rule in documents.rules.iter().filter(|rule| rule.layer.depth > 0) {
        let mut told: Vec<&str> = Vec::new();
        for (name, edit) in edits(rule, &documents.classifications) {
            if told.contains(&name) {
                continue;
            }
            let reader = documents.rules.iter().find(|outer| {
                outer.layer.depth < rule.layer.depth && sees(outer, rule) && reads(outer, name, edit)
            });
            let is_obligation = edit != Edit::Change && CLASSIFYING.contains(&name);
            let (message, help) = match edit {
                Edit::Strip | Edit::Drop => ("takes away", "take it away"),
                Edit::Change => ("protects", "protect it"),
            };
            let reads = if reader.is_some() { "an outer rule reads" } else { "brings obligations" };
            let problem =
                Diagnostic::error("P0207", &rule.span, format!("this {message} `{name}`, which {reads}"))
                    .label(format!("of the layer {}", rule.layer.name()))
                    .help(format!("leave the attribute, or ask the outer layer to {help}"));
            match reader {
                Some(outer) => problems.push(problem.related(&outer.span, format!("{} reads it", outer.id))),
                None if is_obligation => problems.push(problem),
                None => continue,
            }
            told.push(name);
        }
    }
}

/// The attributes that the rule is known to edit; what detectors find may be in any other too.
fn edits<'a>(rule: &'a Rule, classifications: &'a [Classification]) -> Vec<(&'a str, Edit)> {
    let mut edits = Vec::new();
    match &rule.action {
        Action::Require { attributes, .. } if rule.on_violation == OnViolation::Strip => {
            edits.extend(attributes.iter().map(|one| (one.attribute.as_str(), Edit::Strip)));
        }
        Action::Protect(items) => {
            for item in items {
                let edit = if item.demand.protection == Protection::Drop { Edit::Drop } else { Edit::Change };
                let named = item.demand.fields.iter().filter_map(Path::attribute);
                let declared = declared(rule, &item.demand, classifications);
                edits.extend(named.chain(declared).map(|name| (name, edit)));
                edits.extend(bindings(&item.demand).iter().map(|name| (*name, Edit::Drop)));
            }
        }
        _ => {}
    }
    edits.sort_unstable();
    edits
}

/// Attributes that go with an edit, because what they vouch for is no more what it was.
fn bindings(demand: &Demand) -> &'static [&'static str] {
    let may_edit_data = !demand.classes.is_empty() || demand.fields.iter().any(Path::is_data);
    match may_edit_data {
        _ if demand.signatures_error => &[],
        true => &BINDING,
        false => &BINDING_ATTRIBUTES,
    }
}

/// Attributes that hold what is demanded, by the word of the Classification.
fn declared<'a>(
    rule: &'a Rule,
    demand: &'a Demand,
    classifications: &'a [Classification],
) -> impl Iterator<Item = &'a str> {
    let about = move |topic: &&Classified| shares(&topic.filters, &rule.matcher.topics);
    // What the outermost layer declares is not undeclared; an inner layer's word does not count for that.
    let asked = move |of: &&Classification| !(demand.undeclared && of.layer.depth == 0);
    classifications
        .iter()
        .filter(asked)
        .flat_map(|of| &of.topics)
        .filter(about)
        .flat_map(|topic| &topic.fields)
        .filter(move |(_, class)| demand.classes.contains(*class))
        .filter_map(|(path, _)| path.attribute())
}

fn shares(some: &[TopicFilter], others: &[TopicFilter]) -> bool {
    some.iter().any(|a| others.iter().any(|b| a.intersects(b)))
}

/// Whether what the other rule made of an event may be judged by this one: in the same context or a later one.
fn sees(rule: &Rule, other: &Rule) -> bool {
    let first = other.matcher.at & EVENTS;
    first != 0
        && (rule.matcher.at & EVENTS) >> first.trailing_zeros() != 0
        && shares(&rule.matcher.topics, &other.matcher.topics)
}

fn reads(rule: &Rule, name: &str, edit: Edit) -> bool {
    conditions(rule).any(|m| asks_of_event(m, name) || asks_by_when(m, name))
        || match &rule.action {
            // What is protected is still there, and no more like what was required than before.
            Action::Require { attributes, .. } => {
                edit != Edit::Change && attributes.iter().any(|one| one.attribute == name)
            }
            Action::Validate(validate) => {
                validate.checks.iter().any(|check| check.expression.reads().attributes.contains(name))
            }
            // These judge the whole event, without what the same context has stripped.
            Action::Forbid(_) => edit == Edit::Strip,
            Action::Protect(items) => {
                edit == Edit::Strip && items.iter().any(|item| item.demand.signatures_error)
            }
            Action::Limit(limit) => {
                let rate = limit.rate.as_ref();
                let counts_bytes = rate.is_some_and(|rate| matches!(rate.amount, Amount::Bytes(_)));
                let is_key = |part: &BucketPart| matches!(part, BucketPart::Event(key) if key == name);
                (limit.event_bytes.is_some() || counts_bytes) && edit == Edit::Strip
                    || rate.is_some_and(|rate| rate.key.iter().any(is_key))
            }
            _ => false,
        }
}

fn conditions(rule: &Rule) -> impl Iterator<Item = &Match> {
    [Some(&rule.matcher), rule.except.as_ref()].into_iter().flatten()
}

fn asks_of_event(m: &Match, name: &str) -> bool {
    m.event.iter().any(|(attribute, _)| attribute == name)
}

fn asks_by_when(m: &Match, name: &str) -> bool {
    m.when.as_ref().is_some_and(|(condition, _)| condition.reads().attributes.contains(name))
}

/// P0208: what `ingress` asks of the event may be protected already.
fn what_may_be_gone(documents: &Documents, problems: &mut Diagnostics) {
    let protects = |rule: &&Rule| {
        matches!(rule.action, Action::Protect(_)) && rule.matcher.at & Context::Egress.bit() != 0
    };
    let asked_later = |rule: &&Rule| rule.matcher.at & (Context::Ingress.bit() | Context::Deliver.bit()) != 0;
    for rule in documents.rules.iter().filter(asked_later) {
        let mut protecting = documents
            .rules
            .iter()
            .filter(protects)
            .filter(|other| shares(&rule.matcher.topics, &other.matcher.topics));
        let reads_data =
            |(condition, _): &&(meshbridge_cel::Expression, Span)| !condition.reads().data.is_empty();
        if let Some((_, span)) = rule.matcher.when.as_ref().filter(reads_data) {
            if let Some(protecting) = protecting.next() {
                let message = "the data may be protected before this condition reads them";
                let help = "add `at: egress`, or ask of the topic and the attributes only";
                let problem = Diagnostic::warning("P0208", span, message);
                problems.push(
                    problem.related(&protecting.span, "this protects data of the same topics").help(help),
                );
            }
            continue;
        }
        // What the outermost layer stops by an attribute it has stopped at egress, before anything is protected.
        if rule.layer.depth == 0 && !rule.is_permit() && rule.matcher.at & Context::Egress.bit() != 0 {
            continue;
        }
        let names = asked_attributes(rule);
        let touched = protecting.find_map(|other| {
            let name = names.iter().find(|(name, _)| may_touch(other, name, &documents.classifications));
            Some((other, name?))
        });
        if let Some((other, (name, span))) = touched {
            let message = format!("the attribute `{name}` may be protected before this condition reads it");
            let problem = Diagnostic::warning("P0208", span, message);
            let help = "add `at: egress`, or ask of the topic only";
            problems.push(problem.related(&other.span, "this protects attributes too").help(help));
        }
    }
}

/// Attributes that conditions read and that can be protected, with the place to show.
fn asked_attributes(rule: &Rule) -> Vec<(&str, &Span)> {
    let mut names = Vec::new();
    for m in conditions(rule) {
        names.extend(m.event.iter().map(|(name, _)| (name.as_str(), &rule.span)));
        if let Some((condition, span)) = &m.when {
            names.extend(condition.reads().attributes.iter().map(|name| (name.as_str(), span)));
        }
    }
    names.retain(|(name, _)| !matches!(*name, "id" | "source" | "type" | "specversion"));
    names
}

/// Whether a rule may edit the attribute: by name, by what is declared, or because a detector finds something in it.
fn may_touch(rule: &Rule, name: &str, classifications: &[Classification]) -> bool {
    let Action::Protect(items) = &rule.action else { return false };
    items.iter().any(|item| !item.demand.classes.is_empty())
        || edits(rule, classifications).iter().any(|(edited, _)| *edited == name)
}

fn waivers(documents: &Documents, lost: Lost, now: Option<OffsetDateTime>, problems: &mut Diagnostics) {
    for waiver in &documents.waivers {
        match documents.rules.iter().find(|rule| *rule.id == *waiver.rule) {
            None if lost.rules => {}
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
