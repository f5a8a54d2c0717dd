//! What one edition lets through that the other stops.
//!
//! An event passes where every gate has a permit that applies and nothing stops it. So whatever passes in the one passes
//! in the other, too, where each gate of the other is as wide as one of the first, and each of its stops is in the first.
//! Where that is not so the pairs are told, split by the rules that make the difference.

use super::Part;
use super::edition::{Edition, Gate, Term, View};
use super::report::{Condition, Line};
use crate::prove::Pairs;

/// What a line says of a rule that has nothing to do there.
const WRITTEN: &str = "is written so";

/// A reason, where it holds.
struct Blame {
    pairs: Pairs,
    line: Line,
    /// What has to be so of the rule; `None` if nothing has to.
    depends: Option<Condition>,
    /// It is about the edition that stops.
    of_stopper: bool,
}

/// Pairs for which something passes in `open` that does not in `closed`, with the reasons.
pub(super) fn gained(open: (&Edition<'_>, &View), closed: (&Edition<'_>, &View)) -> Vec<Part> {
    let (open_edition, open) = open;
    let (closed_edition, closed) = closed;
    let all = Pairs::all(open_edition.count);
    let mut kept = Pairs::product(&closed_edition.present, &closed_edition.present, open_edition.count);
    let mut gained = open.pass.clone();
    let mut blames: Vec<Blame> = Vec::new();
    let both = kept.clone();
    for gate in &closed.gates {
        let as_wide = as_wide(gate, open, &all);
        let narrower = open.pass.and(&both).without(&as_wide);
        if !narrower.is_empty() {
            blames.extend(of_gate(gate, closed_edition, open_edition, open, &narrower));
        }
        kept.keep(&as_wide);
    }
    for stop in &closed.stops {
        let mut covered = all.without(&stop.pairs);
        open.stops.iter().filter(|other| other.covers(stop)).for_each(|other| covered.add(&other.pairs));
        let stopped = open.pass.and(&both).without(&covered);
        if !stopped.is_empty() {
            let rule = closed_edition.rule(stop);
            let depends = (!stop.is_certain())
                .then(|| Condition::of(closed_edition, stop, "it applies, and stops the event"));
            blames.push(Blame {
                pairs: stopped.clone(),
                line: Line::of(rule, "stops it"),
                depends,
                of_stopper: true,
            });
            // The same rule as the other edition has it, so that both lines can be read beside each other.
            if let Some(other) = open_edition.program().rules.iter().find(|other| other.id == rule.id) {
                let line = Line::of(other, WRITTEN);
                blames.push(Blame { pairs: stopped, line: line.of_open(), depends: None, of_stopper: false });
            }
        }
        kept.keep(&covered);
    }
    gained.remove(&kept);
    if gained.is_empty() {
        return Vec::new();
    }
    blames.extend(new_zones(closed_edition, open_edition, &gained.without(&both)));
    blames.extend(new_conditions((open_edition, open), closed, &gained));
    parts(gained, &blames)
}

/// Pairs for which a gate is closed only where some gate of the other edition is closed, too.
fn as_wide(gate: &Gate, open: &View, all: &Pairs) -> Pairs {
    let mut wide = all.without(&gate.spoken);
    gate.permits.iter().filter(|one| one.is_certain()).for_each(|permit| wide.add(&permit.pairs));
    for other in &open.gates {
        let mut implied = other.spoken.clone();
        for permit in &other.permits {
            let mut alone = permit.pairs.clone();
            gate.permits.iter().filter(|mine| mine.covers(permit)).for_each(|mine| alone.remove(&mine.pairs));
            implied.remove(&alone);
        }
        wide.add(&implied);
    }
    wide
}

fn of_gate(
    gate: &Gate,
    closed_edition: &Edition<'_>,
    open_edition: &Edition<'_>,
    open: &View,
    narrower: &Pairs,
) -> Vec<Blame> {
    let mut blames = vec![Blame {
        pairs: narrower.clone(),
        line: Line::default_deny(&gate.layer),
        depends: None,
        of_stopper: true,
    }];
    for permit in &gate.permits {
        let pairs = permit.pairs.and(narrower);
        if !pairs.is_empty() {
            let why = "it does not apply, and so does not permit";
            blames.push(Blame {
                pairs,
                line: Line::of(closed_edition.rule(permit), "permits less"),
                depends: Some(Condition::of(closed_edition, permit, why)),
                of_stopper: true,
            });
        }
    }
    let same = open.gates.iter().filter(|other| other.layer == gate.layer && other.context == gate.context);
    let mut has_same = false;
    for permit in same.flat_map(|other| &other.permits) {
        has_same = true;
        let pairs = permit.pairs.and(narrower);
        if !pairs.is_empty() {
            let line = Line::of(open_edition.rule(permit), "permits it").of_open();
            blames.push(Blame { pairs, line, depends: None, of_stopper: false });
        }
    }
    if !has_same {
        // The layer does not narrow any more: what it had permitted elsewhere shows which rules did.
        for rule in closed_edition.program().rules.iter() {
            if rule.is_permit() && rule.layer == gate.layer && rule.matcher.at & gate.context.bit() != 0 {
                let line = Line::of(rule, "narrowed the layer");
                blames.push(Blame { pairs: narrower.clone(), line, depends: None, of_stopper: false });
            }
        }
    }
    blames
}

/// Zones that only one edition has.
fn new_zones(closed: &Edition<'_>, open: &Edition<'_>, pairs: &Pairs) -> Vec<Blame> {
    let mut blames = Vec::new();
    for (at, zone) in open.program().federation.zones.iter().enumerate() {
        let number = open.number(at);
        if closed.present.contains(number) {
            continue;
        }
        let mut about = pairs.clone();
        let it = crate::prove::Zones::of(open.count, |one| one == number);
        let mut to_it = pairs.clone();
        to_it.keep_recipients(&it);
        about.keep_origins(&it);
        about.add(&to_it);
        if !about.is_empty() {
            let line = Line::zone(&zone.name);
            blames.push(Blame { pairs: about, line, depends: None, of_stopper: true });
        }
    }
    blames
}

/// Conditions of the open edition that the closed one does not ask, and on which it hangs that the event passes.
fn new_conditions(open: (&Edition<'_>, &View), closed: &View, gained: &Pairs) -> Vec<Blame> {
    let (edition, open) = open;
    let mut blames = Vec::new();
    let mut add = |term: &Term, pairs: Pairs, say: &'static str, why: &'static str| {
        if !pairs.is_empty() {
            blames.push(Blame {
                pairs,
                line: Line::of(edition.rule(term), say).of_open(),
                depends: Some(Condition::of(edition, term, why)),
                of_stopper: false,
            });
        }
    };
    for gate in &open.gates {
        let same =
            closed.gates.iter().filter(|other| other.layer == gate.layer && other.context == gate.context);
        let known: Vec<&Term> = same.flat_map(|other| &other.permits).collect();
        let mut sure = Pairs::none(edition.count);
        gate.permits.iter().filter(|one| one.is_certain()).for_each(|permit| sure.add(&permit.pairs));
        for permit in gate.permits.iter().filter(|one| !one.is_certain()) {
            let mut pairs = permit.pairs.and(gained).without(&sure);
            known.iter().filter(|one| one.when == permit.when).for_each(|one| pairs.remove(&one.pairs));
            add(permit, pairs, "permits it", "it applies");
        }
    }
    for stop in open.stops.iter().filter(|one| !one.is_certain()) {
        let mut pairs = stop.pairs.and(gained);
        closed.stops.iter().filter(|one| one.when == stop.when).for_each(|one| pairs.remove(&one.pairs));
        add(stop, pairs, "may stop it", "it does not apply");
    }
    blames
}

/// Splits pairs by the reasons that hold for them.
fn parts(gained: Pairs, blames: &[Blame]) -> Vec<Part> {
    let mut split: Vec<(Pairs, Vec<usize>)> = vec![(gained, Vec::new())];
    for (at, blame) in blames.iter().enumerate() {
        for (pairs, mut reasons) in std::mem::take(&mut split) {
            let (inside, outside) = (pairs.and(&blame.pairs), pairs.without(&blame.pairs));
            if !outside.is_empty() {
                split.push((outside, reasons.clone()));
            }
            if !inside.is_empty() {
                reasons.push(at);
                split.push((inside, reasons));
            }
        }
    }
    split.into_iter().map(|(pairs, reasons)| part(pairs, &reasons, blames)).collect()
}

fn part(pairs: Pairs, reasons: &[usize], blames: &[Blame]) -> Part {
    let all: Vec<&Blame> = reasons.iter().map(|at| &blames[*at]).collect();
    // One stop that is certain is enough; what else might have stopped it does not matter then.
    let gates_hang = |layer: &str| {
        all.iter().any(|one| {
            one.of_stopper && one.depends.is_some() && one.line.layer == layer && one.line.is_permit
        })
    };
    let is_sure = all.iter().any(|one| {
        one.of_stopper && one.depends.is_none() && !(one.line.is_gate && gates_hang(&one.line.layer))
    });
    let mut part = Part { pairs, before: Vec::new(), after: Vec::new(), depends_on: Vec::new() };
    for one in all {
        let list = if one.line.is_open { &mut part.after } else { &mut part.before };
        match list.iter_mut().find(|known| known.rule == one.line.rule) {
            // What it does says more than that it is there.
            Some(known) if known.does == WRITTEN => *known = one.line.clone(),
            Some(_) => {}
            None => list.push(one.line.clone()),
        }
        if let Some(condition) = one.depends.as_ref().filter(|_| !(one.of_stopper && is_sure))
            && !part.depends_on.contains(condition)
        {
            part.depends_on.push(condition.clone());
        }
    }
    part
}
