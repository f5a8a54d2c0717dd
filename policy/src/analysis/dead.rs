//! Parts of documents that do nothing: what was left out by a slip of the pen looks as if it were ruled.

use std::collections::BTreeSet;

use meshbridge_topic::TopicFilter;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::model::{Action, CLASSIFYING, Context, Match, Mode, Rule};
use crate::program::Program;
use crate::prove::{Applied, Borders, Here, Pairs};

/// Filters beside those of the rules that classes of topics have to be told apart by.
pub(super) fn filters(program: &Program) -> Vec<TopicFilter> {
    let questions = program.invariants.iter().map(|one| &one.never);
    let matches = questions.flat_map(|never| std::iter::once(&never.matcher).chain(&never.except));
    let delivered = program.delivery_entries().iter().flat_map(|entry| entry.filters());
    matches.flat_map(|one| &one.topics).chain(delivered).cloned().collect()
}

pub(super) fn check(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let known: Vec<bool> = (0..here.len()).map(|atom| is_ruled(borders, atom, &here[atom])).collect();
    exceptions(borders, here, problems);
    filters_of_rules(borders, here, problems);
    obligations(borders.program, problems);
    topics(borders, &known, problems);
    invariants(borders, here, &known, problems);
}

fn atom_matches(borders: &Borders<'_>, atom: usize, filter: &TopicFilter) -> bool {
    filter.matches(borders.atoms.example(atom))
}

/// Whether some rule knows the topics: it permits them, or does not mean every topic there is.
fn is_ruled(borders: &Borders<'_>, atom: usize, here: &Here) -> bool {
    here.rules.iter().any(|applied| {
        let rule = borders.rule(applied);
        let is_named = |filter: &TopicFilter| filter.as_str() != "**" && atom_matches(borders, atom, filter);
        (rule.is_permit() && rule.mode == Mode::Enforce) || rule.matcher.topics.iter().any(is_named)
    })
}

/// Where a rule would apply without its exception.
fn unexcepted(borders: &Borders<'_>, rule: u32, context: Context) -> Pairs {
    let whole = Applied { rule, except: false, waivers: Default::default() };
    borders.possible(&whole, context).into_owned()
}

/// P0224: an exception that takes nothing away from its rule.
fn exceptions(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let program = borders.program;
    let mut meets = BTreeSet::new();
    for applied in here.iter().flat_map(|here| &here.rules).filter(|applied| applied.except) {
        meets.insert(applied.rule);
    }
    for (at, rule) in program.rules.iter().enumerate() {
        let (Some(except), Ok(number)) = (&rule.except, u32::try_from(at)) else { continue };
        let bases = Context::ALL.map(|context| (context, unexcepted(borders, number, context)));
        if bases.iter().all(|(_, pairs)| pairs.is_empty()) {
            // P0215 tells that nothing does.
            continue;
        }
        let shares_zones = bases.iter().any(|(context, pairs)| {
            !pairs.is_empty() && pairs.intersects(&borders.matched(except, *context))
        });
        let why = if !meets.contains(&number) {
            "no topic of the rule is one of its `except`"
        } else if !shares_zones {
            "no two zones meet both, or they are judged in different contexts"
        } else if let Some((attribute, value)) = unmet(program, rule, except) {
            problems.push(dead_exception(rule, &format!(
                "no event with {attribute} `{value}` crosses a border, for no Classification of the layer federation lists it"
            )));
            continue;
        } else {
            continue;
        };
        problems.push(dead_exception(rule, why));
    }
}

fn dead_exception(rule: &Rule, why: &str) -> Diagnostic {
    let message = format!("the exception of this rule excepts nothing: {why}");
    let help = if rule.is_permit() {
        "look at its spelling: what it should keep back is permitted; or remove it"
    } else {
        "look at its spelling, or remove it"
    };
    Diagnostic::warning("P0224", &rule.span, message).help(help)
}

/// P0225: a filter of several that is about nothing its rule can decide.
fn filters_of_rules(borders: &Borders<'_>, here: &[Here], problems: &mut Diagnostics) {
    let program = borders.program;
    // A permit is about what it permits; P0203 tells of those that outer layers do not.
    let is_asked = |rule: &Rule| rule.matcher.topics.len() > 1 && !rule.is_permit();
    let excepts = |rule: &Rule| rule.except.as_ref().is_some_and(|except| except.topics.len() > 1);
    let mut alive: Vec<Vec<bool>> =
        program.rules.iter().map(|rule| vec![false; rule.matcher.topics.len()]).collect();
    let mut excepting: Vec<Vec<bool>> = program
        .rules
        .iter()
        .map(|rule| vec![false; rule.except.as_ref().map_or(0, |except| except.topics.len())])
        .collect();
    for (atom, here) in here.iter().enumerate() {
        let mut permitted: Vec<(Context, Pairs)> = Vec::new();
        for applied in &here.rules {
            let (at, rule) = (applied.rule as usize, borders.rule(applied));
            if let Some(except) = rule.except.as_ref().filter(|_| excepts(rule)) {
                for (is_alive, filter) in excepting[at].iter_mut().zip(&except.topics) {
                    *is_alive = *is_alive || atom_matches(borders, atom, filter);
                }
            }
            if !is_asked(rule) || alive[at].iter().all(|is_alive| *is_alive) {
                continue;
            }
            if permitted.is_empty() {
                permitted
                    .extend(Context::ALL.map(|context| (context, borders.permitted(&here.rules, context))));
            }
            if permitted.iter().any(|(context, open)| borders.possible(applied, *context).intersects(open)) {
                for (is_alive, filter) in alive[at].iter_mut().zip(&rule.matcher.topics) {
                    *is_alive = *is_alive || atom_matches(borders, atom, filter);
                }
            }
        }
    }
    for (at, rule) in program.rules.iter().enumerate() {
        let some = |all: &[bool]| all.iter().any(|is_alive| *is_alive);
        if is_asked(rule) && some(&alive[at]) {
            let spans = rule.matcher.topics.iter().zip(&rule.topic_spans).zip(&alive[at]);
            for ((filter, span), _) in spans.filter(|(_, is_alive)| !**is_alive) {
                let message =
                    format!("`{filter}` adds nothing to this rule: nothing that it is about may pass");
                let help = "look at its spelling, permit what it is about, or remove it";
                problems.push(Diagnostic::warning("P0225", span, message).help(help));
            }
        }
        if let Some(except) = rule.except.as_ref().filter(|_| excepts(rule) && some(&excepting[at])) {
            for (filter, _) in except.topics.iter().zip(&excepting[at]).filter(|(_, is_alive)| !**is_alive) {
                let message = format!(
                    "`{filter}` adds nothing to the exception of this rule: it is no topic of the rule"
                );
                let help = "look at its spelling, or remove it";
                problems.push(Diagnostic::warning("P0225", &rule.span, message).help(help));
            }
        }
    }
}

/// P0216: a rule about events with an obligation that nobody has promised to meet; they cross no border as it is.
fn obligations(program: &Program, problems: &mut Diagnostics) {
    for rule in &program.rules {
        if let Some((attribute, value)) = unmet(program, rule, &rule.matcher) {
            let message =
                format!("this rule never decides: no event with {attribute} `{value}` crosses a border");
            let help = "look at the spelling, or list the value in `attributes` of a Classification of the layer federation";
            problems.push(Diagnostic::warning("P0216", &rule.span, message).help(help));
        }
    }
}

/// A value of an attribute that is asked for, where no value that is asked for crosses a border.
fn unmet<'a>(program: &Program, rule: &Rule, asked: &'a Match) -> Option<(&'a str, String)> {
    let is_at_borders =
        Context::ALL.into_iter().all(|context| context.is_border() || rule.matcher.at & context.bit() == 0);
    if !is_at_borders || matches!(rule.action, Action::DenyLinks) {
        return None;
    }
    let outermost = || program.classifications.iter().filter(|one| one.layer.depth == 0);
    asked.event.iter().filter(|(name, _)| CLASSIFYING.contains(&name.as_str())).find_map(|(name, globs)| {
        let lists = outermost().flat_map(|one| &one.attributes).filter(|(known, _)| known == name);
        let values: Vec<&str> = lists.flat_map(|(_, values)| values).map(String::as_str).collect();
        // Without a list nothing says how the values are spelled.
        let is_met =
            values.is_empty() || globs.iter().any(|glob| values.iter().any(|value| glob.is_match(value)));
        (!is_met).then(|| globs.first().map(|glob| (name.as_str(), glob.text())))?
    })
}

/// P0226: an entry about topics that no rule knows.
fn topics(borders: &Borders<'_>, known: &[bool], problems: &mut Diagnostics) {
    let program = borders.program;
    let is_known = |filter: &TopicFilter| {
        known.iter().enumerate().any(|(atom, known)| *known && atom_matches(borders, atom, filter))
    };
    let classified = program.classifications.iter().flat_map(|one| &one.topics);
    let classified = classified.map(|topic| (&topic.filters[..], &topic.span));
    // Best-effort topics may as well stay in their zone; what is said of destinations is about borders.
    let delivered = program.delivery_entries().iter().filter(|entry| entry.asks_of_destinations());
    let delivered = delivered.map(|entry| (entry.filters(), &entry.span));
    for (filters, span) in classified.chain(delivered) {
        for filter in filters.iter().filter(|filter| !is_known(filter)) {
            let message = format!("no rule is about `{filter}`: no such event crosses a border");
            let help = "look at its spelling, permit the topic, or remove the entry";
            problems.push(Diagnostic::warning("P0226", span, message).help(help));
        }
    }
}

/// P0227: an invariant that every set of policies keeps, for it asks nothing.
fn invariants(borders: &Borders<'_>, here: &[Here], known: &[bool], problems: &mut Diagnostics) {
    for invariant in &borders.program.invariants {
        let never = &invariant.never;
        let holds = |one: &Match, atom: usize| {
            one.topics.is_empty() || one.topics.iter().any(|filter| atom_matches(borders, atom, filter))
        };
        let mut atoms = (0..here.len())
            .filter(|atom| holds(&never.matcher, *atom))
            .filter(|atom| known[*atom] || !here[*atom].classified.is_empty())
            .peekable();
        let mut asked = borders.matched(&never.matcher, Context::Egress);
        asked.remove(&Pairs::diagonal(borders.count));
        let why = if borders.count > 1 && asked.is_empty() {
            "no two zones meet its `match`"
        } else if !here.is_empty() && atoms.peek().is_none() {
            "no rule and no Classification is about its topics"
        } else if let Some(except) = &never.except
            && !here.is_empty()
            && asked.without(&borders.matched(except, Context::Egress)).is_empty()
            && atoms.all(|atom| holds(except, atom))
            && borders.count > 1
        {
            "its `except` leaves nothing of it"
        } else {
            continue;
        };
        let message = format!("invariant `{}` asks nothing: {why}", invariant.name);
        let help = "look at the spelling; what asks nothing is always proved";
        problems.push(Diagnostic::warning("P0227", &invariant.span, message).help(help));
    }
}
