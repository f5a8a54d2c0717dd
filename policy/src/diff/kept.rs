//! What is kept of events that a rule stops, or cannot judge: a copy that a person may release or send again, or none.
//!
//! Such an event passes in neither edition, so nothing else tells of it. A rule is compared with the one of its name, where
//! both stop events and permits are open; what another rule rejects whatever the event is kept by nobody.

use super::checks::Changed;
use super::edition::Edition;
use super::report::{Effect, Line};
use super::{Aspect, Part};
use crate::model::{Action, Context, Disposition, Mode, OnViolation, Rule};
use crate::prove::{Applied, Here, Pairs};

/// What a line says of such a rule.
fn keeps(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Reject => "keeps no copy",
        Disposition::DeadLetter => "keeps it as a dead letter",
        Disposition::Quarantine => "keeps it for a person",
    }
}

fn told(disposition: Disposition) -> &'static str {
    match disposition {
        Disposition::Reject => "no copy is kept",
        Disposition::DeadLetter => "a copy is kept at its origin, to be sent again",
        Disposition::Quarantine => "a copy is kept, and a person may release it",
    }
}

/// How much can still become of an event: the less is kept the stricter.
fn rank(disposition: Disposition) -> u8 {
    match disposition {
        Disposition::Reject => 0,
        Disposition::DeadLetter => 1,
        Disposition::Quarantine => 2,
    }
}

/// Where the events of an aspect end.
fn context(aspect: Aspect) -> Option<Context> {
    match aspect {
        Aspect::Published => Some(Context::Publish),
        Aspect::Sent => Some(Context::Egress),
        Aspect::Carried => Some(Context::Transit),
        Aspect::Arrives => Some(Context::Ingress),
        Aspect::Delivered => Some(Context::Deliver),
        Aspect::Subscribed | Aspect::Learned => None,
    }
}

/// What becomes of an event that the rule stops; `None` where it stops none.
fn of_violation(rule: &Rule) -> Option<Disposition> {
    match (&rule.action, rule.on_violation) {
        (Action::Permit | Action::Protect(_) | Action::DenyLinks, _) => None,
        (_, OnViolation::Stop(disposition)) => Some(disposition),
        _ => None,
    }
}

/// The same of one that it cannot judge.
fn of_error(rule: &Rule) -> Option<Disposition> {
    let can_fail = match rule.action {
        Action::Permit | Action::DenyLinks => false,
        Action::Deny | Action::Residency { .. } => !rule.is_static(),
        _ => true,
    };
    can_fail.then_some(rule.on_error)
}

/// Rules of an atom that keep of events what they did not, or no longer what they did.
pub(super) fn changed(
    old: (&Edition<'_>, &Here),
    new: (&Edition<'_>, &Here),
    aspect: Aspect,
) -> Vec<Changed> {
    let Some(context) = context(aspect) else { return Vec::new() };
    let mut found = Vec::new();
    for applied in stopping(new) {
        let rule = new.0.borders.rule(applied);
        let same = stopping(old).find(|other| {
            let other = old.0.borders.rule(other);
            other.id == rule.id && other.action.name() == rule.action.name()
        });
        let Some(other) = same else { continue };
        let was = old.0.borders.rule(other);
        let reasons = [
            ("what it stops", of_violation(was), of_violation(rule)),
            ("what it cannot judge", of_error(was), of_error(rule)),
        ];
        for (events, before, after) in reasons {
            let (Some(before), Some(after)) = (before, after) else { continue };
            if before == after {
                continue;
            }
            let mut pairs = applies(new, applied, context).and(&applies(old, other, context));
            pairs.keep(&aspect.pairs(&old.0.present, old.0.count));
            pairs.keep(&aspect.pairs(&new.0.present, new.0.count));
            let effect = if rank(before) < rank(after) { Effect::Looser } else { Effect::Tighter };
            for (edition, of) in [(old, was), (new, rule)] {
                pairs.keep(&edition.0.lift(&edition.0.borders.permitted(&edition.1.rules, context)));
                pairs.remove(&rejected(edition, of, context));
            }
            if pairs.is_empty() {
                continue;
            }
            let mut part = Part::new(pairs);
            part.before.push(Line::of(was, keeps(before)));
            part.after.push(Line::of(rule, keeps(after)));
            let what = format!("of {events} {} now; before, {}", told(after), told(before));
            found.push(Changed { part, name: rule.id.to_string(), what, effect });
        }
    }
    found
}

fn stopping<'a>((edition, here): (&'a Edition<'_>, &'a Here)) -> impl Iterator<Item = &'a Applied> {
    here.rules.iter().filter(|applied| edition.borders.rule(applied).mode == Mode::Enforce)
}

fn applies((edition, _): (&Edition<'_>, &Here), applied: &Applied, context: Context) -> Pairs {
    let mut pairs = Pairs::none(edition.count);
    edition.terms(applied, context).iter().for_each(|term| pairs.add(&term.pairs));
    pairs
}

/// Pairs between which another rule rejects every event: of several verdicts that is the strictest.
fn rejected((edition, here): (&Edition<'_>, &Here), rule: &Rule, context: Context) -> Pairs {
    let others: Vec<Applied> = here
        .rules
        .iter()
        .filter(|applied| {
            let other = edition.borders.rule(applied);
            other.id != rule.id && other.on_violation == OnViolation::Stop(Disposition::Reject)
        })
        .cloned()
        .collect();
    edition.lift(&edition.borders.stopped(&others, context))
}
