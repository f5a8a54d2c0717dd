//! What Classifications tell the rules of a layer. A rule that stays as it is stops other events where that changes: what
//! is declared is found without a detector, what is listed is no surprise, and what data hold that cannot be read is only
//! known from here.

use super::edition::{Edition, Term};
use crate::classes::{Class, ClassSet};
use crate::model::{Action, Forbid, ProtectItem, Rule};
use crate::prove::{Here, Pairs};

/// What is known where a rule is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// What data that are neither JSON nor text hold, as far as the rule may rely on it.
    opaque: Option<ClassSet>,
    fields: Vec<(String, Class, bool)>,
    /// The same by the word of the outermost layer alone, which makes a class listed.
    vouched: Vec<(String, Class)>,
    may_hold: ClassSet,
}

/// A term split by what is known in its pairs.
pub(super) fn split(edition: &Edition<'_>, here: &Here, term: Term) -> Vec<(Term, Known)> {
    let rule = edition.rule(&term);
    if !matches!(rule.action, Action::Forbid(_) | Action::Protect(_)) {
        return vec![(term, Known::default())];
    }
    let program = edition.program();
    let mut parts: Vec<(Pairs, Known)> = vec![(term.pairs.clone(), Known::default())];
    for (document, entry) in &here.classified {
        let document = &program.classifications[*document as usize];
        let topic = &document.topics[*entry as usize];
        let spoken = edition.lift(&edition.borders.spoken(&document.layer, term.context));
        let depth = document.layer.depth;
        for (pairs, known) in std::mem::take(&mut parts) {
            let (inside, outside) = (pairs.and(&spoken), pairs.without(&spoken));
            if !inside.is_empty() {
                let mut more = known.clone();
                if let Some(opaque) = topic.opaque.filter(|_| depth <= rule.layer.depth) {
                    more.opaque = Some(more.opaque.unwrap_or_default().union(opaque));
                }
                for (path, class) in &topic.fields {
                    more.fields.push((path.to_string(), *class, path.is_data()));
                    if depth == 0 {
                        more.vouched.push((path.to_string(), *class));
                    }
                }
                if depth == 0 {
                    more.may_hold = more.may_hold.union(topic.may_hold);
                }
                parts.push((inside, more));
            }
            if !outside.is_empty() {
                parts.push((outside, known));
            }
        }
    }
    parts.into_iter().map(|(pairs, known)| (Term { pairs, ..term.clone() }, known)).collect()
}

/// Whether a rule stops whatever the other stops by what is known, where it says as much as the other.
pub(super) fn forbids((one, known): (&Forbid, &Known), (other, of): (&Forbid, &Known)) -> bool {
    // What cannot be read is an error where nothing is known of it.
    let stops = |forbid: &Forbid, known: &Known| {
        known.opaque.is_none_or(|opaque| !opaque.intersection(forbid.classes).is_empty())
    };
    let is_asked = |class: &Class| other.classes.contains(*class);
    let declared =
        of.fields.iter().filter(|(_, class, _)| is_asked(class)).all(|field| known.fields.contains(field));
    // What the outermost layer declares is nothing else, though it may look like it; and it is listed.
    let vouched = known
        .vouched
        .iter()
        .all(|field| of.vouched.contains(field) || (!one.undeclared && one.classes.contains(field.1)));
    let listed = known.may_hold.intersection(one.classes);
    let is_listed_no_more = !one.undeclared || listed.minus(of.may_hold).is_empty();
    (stops(one, known) || !stops(other, of)) && declared && vouched && is_listed_no_more
}

/// Whether protections stop whatever the others stop for want of what they need to protect it: data they can read, a
/// JSON document for a path, a signature that may be removed.
pub(super) fn protects(
    (one, known): (&[ProtectItem], &Known),
    (other, of): (&[ProtectItem], &Known),
) -> bool {
    let unread = |items: &[ProtectItem], known: &Known| {
        items.iter().map(|item| &item.demand).any(|demand| {
            let is_excused = demand.fields.is_empty()
                && known.opaque.is_some_and(|opaque| opaque.intersection(demand.classes).is_empty());
            demand.concerns_data() && !is_excused
        })
    };
    let text = |items: &[ProtectItem], known: &Known| {
        let is_declared = known.fields.iter().any(|(_, _, is_data)| *is_data);
        items.iter().map(|item| &item.demand).any(|demand| {
            demand.fields.iter().any(|path| path.is_data()) || is_declared && demand.concerns_data()
        })
    };
    let malformed = |items: &[ProtectItem]| items.iter().any(|item| item.demand.concerns_data());
    let signed = other.iter().filter(|item| item.demand.signatures_error).all(|item| {
        one.iter().filter(|mine| mine.demand.signatures_error).any(|mine| {
            let (mine, other) = (&mine.demand, &item.demand);
            other.classes.minus(mine.classes).is_empty()
                && other.fields.iter().all(|path| mine.fields.contains(path))
                && mine.confidence <= other.confidence
                && (!mine.undeclared || other.undeclared)
        })
    });
    (unread(one, known) || !unread(other, of))
        && (text(one, known) || !text(other, of))
        && (malformed(one) || !malformed(other))
        && signed
}

/// Attributes of zones that a check reads, whose values changed between the editions: pairs where it may come out
/// differently though it is written the same.
pub(super) fn moved(edition: &Edition<'_>, rule: &Rule) -> Pairs {
    match &rule.action {
        Action::Validate(validate) => {
            let mut pairs = Pairs::none(edition.count);
            for check in &validate.checks {
                edition.moved(check.expression.reads()).iter().for_each(|(region, _)| pairs.add(region));
            }
            pairs
        }
        Action::Require { .. } | Action::Structure(_) | Action::Limit(_) => {
            let text = &rule.canonical;
            edition.moved_where(|of_to, name| {
                text.contains(&format!("{}.{name}", if of_to { "to" } else { "from" }))
            })
        }
        _ => Pairs::none(edition.count),
    }
}
