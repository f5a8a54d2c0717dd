//! A way of a value, told: which rules let it through, what made its form, and what has to be so for it to happen.

use super::borders::{Applied, Borders, Here};
use super::forms::{Form, Forms, TooManyForms, again, closure, described, facets, named};
use super::reach::Seen;
use super::report::{Counterexample, Dependency, Role, RulePlace, Step};
use super::subjects::{Concern, Cover, Leaf, Subject, items};
use super::transfer::{Crossings, certain, contexts};
use super::zones::zone;
use crate::model::{Action, Context, Mode, OnViolation, ProtectItem, Rule};
use crate::protection::{Protection, meet};

/// Where a way was found.
pub(super) struct Found<'f, 'q> {
    pub(super) atom: usize,
    pub(super) here: &'f Here,
    pub(super) subject: &'f Subject<'q>,
    pub(super) ways: &'f Crossings,
    pub(super) at_deliver: bool,
}

/// What is told of one crossing.
#[derive(Default)]
struct Telling {
    permits: Vec<RulePlace>,
    protections: Vec<RulePlace>,
    depends_on: Vec<Dependency>,
    checks: Vec<RulePlace>,
    not_relied_on: Vec<Dependency>,
}

pub(super) fn counterexample(
    borders: &Borders<'_>,
    forms: &mut Forms<'_>,
    found: &Found<'_, '_>,
    path: &[Seen],
) -> Result<Counterexample, TooManyForms> {
    let mut telling = Telling::default();
    let mut steps = Vec::new();
    let keys = borders.program.keys();
    let name = |zone: usize| borders.program.federation.zones[zone].name.clone();
    for pair in path.windows(2) {
        let [before, after] = pair else { continue };
        // A holder of the key that publishes the value crosses no border by that.
        if before.zone == after.zone {
            continue;
        }
        let role = role(borders, forms, found, *before, *after)?;
        tell(borders, forms, found, *before, *after, &role, &mut telling);
        let protection = forms.protection(after.form);
        steps.push(Step {
            from: name(before.zone),
            to: name(after.zone),
            form: described(keys, protection),
            shows: named(facets(keys, protection, after.zone)),
            role: match role {
                At::Destination if found.at_deliver => Role::Subscribers,
                At::Destination => Role::Destination,
                At::Carrier(towards) => Role::Carrier { towards: name(towards) },
                At::Home => Role::Carrier { towards: name(before.zone) },
            },
            permits: std::mem::take(&mut telling.permits),
            protections: std::mem::take(&mut telling.protections),
        });
    }
    let Telling { mut depends_on, mut checks, mut not_relied_on, .. } = telling;
    dedup(&mut depends_on, |a, b| a.place.rule == b.place.rule && a.why == b.why);
    dedup(&mut checks, |a, b| a.rule == b.rule);
    dedup(&mut not_relied_on, |a, b| a.place.rule == b.place.rule && a.why == b.why);
    Ok(Counterexample {
        topic: borders.atoms.example(found.atom).as_str().to_owned(),
        class: found.subject.leaf.name(),
        field: found.subject.place.map(ToString::to_string),
        steps,
        depends_on,
        checks,
        not_relied_on,
    })
}

fn dedup<T>(all: &mut Vec<T>, same: impl Fn(&T, &T) -> bool) {
    let mut kept: Vec<T> = Vec::new();
    for one in all.drain(..) {
        if !kept.iter().any(|known| same(known, &one)) {
            kept.push(one);
        }
    }
    *all = kept;
}

/// As what a zone sees an event.
#[derive(Clone, Copy)]
enum At {
    Destination,
    /// Towards a zone.
    Carrier(usize),
    /// Between bridges of the zone that sends it.
    Home,
}

/// What is done between two zones in some contexts: certainly, and by each item that may.
struct Done {
    certain: Option<Protection>,
    possible: Vec<Protection>,
}

fn done(
    borders: &Borders<'_>,
    found: &Found<'_, '_>,
    contexts: &[Context],
    from: usize,
    to: usize,
    by_path: bool,
) -> Done {
    let mut done = Done { certain: None, possible: Vec::new() };
    for ((applied, item), concern) in items(borders, &found.here.rules).zip(&found.subject.key.concerns) {
        let concern = if by_path { Concern { class: Cover::No, ..*concern } } else { *concern };
        if concern.is_none() {
            continue;
        }
        for context in contexts {
            if certain(borders, applied, concern, &found.subject.key, *context).contains(from, to) {
                done.certain = meet(done.certain, Some(item.demand.protection));
            } else if borders.possible(applied, *context).contains(from, to) {
                done.possible.push(item.demand.protection);
            }
        }
    }
    done
}

/// Whether the event, sent from a zone in some form, can get to another in this form as its destination.
fn arrives(
    borders: &Borders<'_>,
    forms: &mut Forms<'_>,
    found: &Found<'_, '_>,
    before: Seen,
    to: usize,
    form: Form,
) -> Result<bool, TooManyForms> {
    if !found.ways.to.contains(before.zone, to) {
        return Ok(false);
    }
    let is_value = before.form == Form::VALUE;
    let done = done(borders, found, contexts(found.at_deliver), before.zone, to, !is_value);
    if is_value {
        Ok(closure(done.certain, &done.possible, forms)?.contains(&form))
    } else {
        Ok(again(forms.protection(before.form), done.certain) == forms.protection(form))
    }
}

fn role(
    borders: &Borders<'_>,
    forms: &mut Forms<'_>,
    found: &Found<'_, '_>,
    before: Seen,
    after: Seen,
) -> Result<At, TooManyForms> {
    if arrives(borders, forms, found, before, after.zone, after.form)? {
        return Ok(At::Destination);
    }
    let carries =
        found.ways.carriers.as_ref().is_some_and(|carriers| carriers.contains(before.zone, after.zone));
    let others: Vec<usize> = (0..borders.count).filter(|zone| carries && *zone != after.zone).collect();
    for towards in &others {
        if arrives(borders, forms, found, before, *towards, after.form)? {
            return Ok(At::Carrier(*towards));
        }
    }
    if found.ways.home.contains(before.zone, after.zone) {
        return Ok(At::Home);
    }
    // A form that was published again may be carried as less than what the destination gets.
    let any = others.into_iter().find(|towards| found.ways.to.contains(before.zone, *towards));
    Ok(any.map_or(At::Destination, At::Carrier))
}

fn tell(
    borders: &Borders<'_>,
    forms: &Forms<'_>,
    found: &Found<'_, '_>,
    before: Seen,
    after: Seen,
    role: &At,
    telling: &mut Telling,
) {
    let leaf = &found.subject.leaf;
    if let Leaf::Unknown(_) = leaf {
        // There is no rule to name: the dependency is that there is such a class.
        if let Some(place) = found.here.rules.first().map(|applied| place(borders.rule(applied))) {
            telling.depends_on.push(Dependency { place, why: format!("there is {}", leaf.name()) });
        }
    }
    let (from, to) = (before.zone, after.zone);
    let mut judged: Vec<(Context, usize, bool)> = match role {
        At::Destination => contexts(found.at_deliver).iter().map(|context| (*context, to, true)).collect(),
        // What makes the form is done for the destination.
        At::Carrier(towards) => {
            vec![
                (Context::Egress, *towards, true),
                (Context::Transit, to, false),
                (Context::Egress, to, false),
            ]
        }
        At::Home => vec![(Context::Transit, to, false), (Context::Egress, to, false)],
    };
    judged.push((Context::Publish, from, false));
    let made = done_for(borders, found, before, role, to);
    lacking(borders, found, before, role, to, telling);
    for (context, to, makes) in judged {
        let is_gated = !matches!((context, role, makes), (Context::Egress, At::Carrier(_) | At::Home, false));
        if is_gated {
            permits(borders, found, context, from, to, telling);
        }
        for applied in &found.here.rules {
            rule(borders, found, applied, context, from, to, telling);
        }
        if context == Context::Publish {
            continue;
        }
        for ((applied, item), concern) in items(borders, &found.here.rules).zip(&found.subject.key.concerns) {
            if concern.is_none() || !borders.possible(applied, context).contains(from, to) {
                continue;
            }
            let rule = borders.rule(applied);
            let form = forms.protection(after.form);
            let is_certain =
                certain(borders, applied, *concern, &found.subject.key, context).contains(from, to);
            if is_certain && makes && before.form == Form::VALUE {
                telling.protections.push(place(rule));
                if let (Protection::Generalise { .. }, true) = (item.demand.protection, form == made) {
                    let why = "the value is one that can be generalised so".to_owned();
                    telling.depends_on.push(Dependency { place: place(rule), why });
                } else if form == Some(Protection::Redact) && stands_in(found, item) {
                    let why = "what the value stands in is left as it is".to_owned();
                    telling.depends_on.push(Dependency { place: place(rule), why });
                } else if form != made && form == Some(Protection::Redact) {
                    let why = "the value stands where it can only be redacted".to_owned();
                    telling.depends_on.push(Dependency { place: place(rule), why });
                }
            } else if !is_certain || before.form != Form::VALUE {
                let is_met = meet(form, Some(item.demand.protection)) == form;
                let why = match (is_met, form == made) {
                    (true, true) => continue,
                    (true, false) => "it protects the value".to_owned(),
                    (false, _) if before.form != Form::VALUE => "it does not know the value again".to_owned(),
                    (false, _) => format!("it does not protect the value{}", why(rule, *concern, found)),
                };
                if is_met && makes {
                    telling.protections.push(place(rule));
                }
                telling.depends_on.push(Dependency { place: place(rule), why });
            }
        }
    }
}

/// What is made on the way has to be made by somebody who holds the key; else the event goes no further. Egress is the
/// sender's, ingress and delivery are the recipient's.
fn lacking(
    borders: &Borders<'_>,
    found: &Found<'_, '_>,
    before: Seen,
    role: &At,
    to: usize,
    telling: &mut Telling,
) {
    let towards = match role {
        At::Destination => to,
        At::Carrier(towards) => *towards,
        At::Home => return,
    };
    let keys = borders.program.keys();
    for context in contexts(found.at_deliver) {
        let maker = if *context == Context::Egress { before.zone } else { towards };
        for ((applied, item), concern) in items(borders, &found.here.rules).zip(&found.subject.key.concerns) {
            let Some(key) = item.demand.protection.key().filter(|key| !keys.holds(zone(maker), *key)) else {
                continue;
            };
            if concern.is_none() || !borders.possible(applied, *context).contains(before.zone, towards) {
                continue;
            }
            let name = &borders.program.federation.zones[maker].name;
            let why = format!("{name} can make it, though it does not hold {}", keys.label(key));
            telling.depends_on.push(Dependency { place: place(borders.rule(applied)), why });
        }
    }
}

/// Whether an item replaces something around the declared field, so that not even a trace of it may be left.
fn stands_in(found: &Found<'_, '_>, item: &ProtectItem) -> bool {
    let place = found.subject.place;
    place.is_some_and(|place| item.demand.fields.iter().any(|path| path.covers(place) && !place.covers(path)))
}

/// The form that the certain protections make.
fn done_for(
    borders: &Borders<'_>,
    found: &Found<'_, '_>,
    before: Seen,
    role: &At,
    to: usize,
) -> Option<Protection> {
    let towards = match role {
        At::Destination => to,
        At::Carrier(towards) => *towards,
        At::Home => return None,
    };
    done(borders, found, contexts(found.at_deliver), before.zone, towards, before.form != Form::VALUE).certain
}

/// Why an item of a rule may leave the value alone.
fn why(rule: &Rule, concern: Concern, found: &Found<'_, '_>) -> &'static str {
    if rule.matcher.has_conditions() {
        ": its condition does not hold"
    } else if !found.subject.key.unread.is_empty() {
        ": it may rely on a layer that says that data which cannot be read do not hold the value"
    } else if concern.declared_only {
        ": nothing declares the field where it is judged, or it does not know the class any more"
    } else if concern.class == Cover::Maybe {
        ": it acts on what is found with high confidence, or not listed"
    } else if concern.path == Cover::Maybe {
        ": the value stands somewhere else"
    } else {
        ": its exception holds, or it is waived"
    }
}

/// One permit of each layer that must permit; one that needs no condition, if there is one.
fn permits(
    borders: &Borders<'_>,
    found: &Found<'_, '_>,
    context: Context,
    from: usize,
    to: usize,
    telling: &mut Telling,
) {
    for layer in borders.gates(context, from, to) {
        let of_layer = |applied: &&Applied| {
            let rule = borders.rule(applied);
            rule.is_permit()
                && rule.mode == Mode::Enforce
                && rule.layer == *layer
                && borders.possible(applied, context).contains(from, to)
        };
        let all: Vec<&Applied> = found.here.rules.iter().filter(of_layer).collect();
        let sure = all.iter().find(|applied| borders.certain(applied, context).contains(from, to));
        let Some(applied) = sure.or(all.first()) else { continue };
        let rule = borders.rule(applied);
        telling.permits.push(place(rule));
        if sure.is_none() {
            let why = if rule.matcher.has_conditions() {
                "its condition holds"
            } else if applied.waivers.is_empty() {
                "its exception does not hold"
            } else {
                "it is not waived"
            };
            telling.depends_on.push(Dependency { place: place(rule), why: why.to_owned() });
        }
    }
    dedup(&mut telling.permits, |a, b| a.rule == b.rule);
}

/// What a rule that is no permit has to do with the crossing.
fn rule(
    borders: &Borders<'_>,
    found: &Found<'_, '_>,
    applied: &Applied,
    context: Context,
    from: usize,
    to: usize,
    telling: &mut Telling,
) {
    let rule = borders.rule(applied);
    if rule.is_permit() || !borders.possible(applied, context).contains(from, to) {
        return;
    }
    let stops = match &rule.action {
        Action::Forbid(forbid) => match found.subject.leaf {
            Leaf::Known(class) => forbid.classes.contains(class),
            Leaf::Unknown(_) => false,
        },
        _ => borders.refused(rule, context).is_some_and(|refused| refused.contains(to)),
    };
    match rule.mode {
        Mode::Enforce if stops => {
            let why = match rule.action {
                Action::Forbid(_) => "it does not find the value",
                _ if rule.matcher.has_conditions() => "its condition does not hold",
                _ if !applied.waivers.is_empty() => "it is waived, or its exception holds",
                _ => "its exception holds",
            };
            telling.depends_on.push(Dependency { place: place(rule), why: why.to_owned() });
        }
        Mode::Enforce => {
            let checks = matches!(
                rule.action,
                Action::Require { .. }
                    | Action::Validate(_)
                    | Action::Structure(_)
                    | Action::Limit(_)
                    // Of other classes, which the event then must not hold.
                    | Action::Forbid(_)
            );
            if checks && rule.on_violation != OnViolation::Strip {
                telling.checks.push(place(rule));
            }
        }
        mode => {
            if stops || matches!(rule.action, Action::Protect(_)) {
                let why = if mode == Mode::Warn { "it only warns" } else { "it is in shadow" };
                telling.not_relied_on.push(Dependency { place: place(rule), why: why.to_owned() });
            }
        }
    }
}

fn place(rule: &Rule) -> RulePlace {
    RulePlace::of(rule)
}
