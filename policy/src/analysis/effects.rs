//! What each rule does over all topics and zones: where it may apply, and where that makes a difference.

use crate::model::{Action, Context, Mode, Rule};
use crate::program::Program;
use crate::prove::{Applied, Borders, Here, Pairs, is_within};

/// Where something can be seen: a topic, from a zone to a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Where {
    pub(crate) topic: String,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// What is known of a rule after all atoms were looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effect {
    /// It may apply somewhere.
    pub(crate) applies: Option<Where>,
    /// It may apply where something is permitted to pass.
    pub(crate) matters: bool,
    /// A permit that lets through what no other permit of its layer certainly does.
    pub(crate) opens: bool,
    /// Rules that certainly do the same or more wherever this one may apply; `None` until it may apply.
    pub(crate) outdone_by: Option<Vec<u32>>,
}

/// The effects of all rules, in their order.
pub(crate) fn effects(borders: &Borders<'_>, here: &[Here]) -> Vec<Effect> {
    let program = borders.program;
    let mut effects = vec![Effect::default(); program.rules.len()];
    for (atom, here) in here.iter().enumerate() {
        for context in Context::ALL {
            let permitted = borders.permitted(&here.rules, context);
            for applied in &here.rules {
                let rule = borders.rule(applied);
                if rule.matcher.at & context.bit() == 0 {
                    continue;
                }
                let possible = borders.possible(applied, context);
                if possible.is_empty() {
                    continue;
                }
                let effect = &mut effects[applied.rule as usize];
                if effect.applies.is_none() {
                    effect.applies = example(borders, atom, &possible);
                }
                effect.matters |= possible.intersects(&permitted);
                if rule.is_permit() {
                    effect.opens |= opens(borders, here, applied, &possible, context);
                }
                let known = effect.outdone_by.take();
                effect.outdone_by = Some(outdoing(borders, here, applied, &possible, context, known));
            }
        }
    }
    effects
}

pub(crate) fn example(borders: &Borders<'_>, atom: usize, pairs: &Pairs) -> Option<Where> {
    let (from, to) = pairs.iter().find(|(from, to)| from != to).or_else(|| pairs.iter().next())?;
    let topic = borders.atoms.example(atom).as_str().to_owned();
    Some(Where { topic, from: usize::from(from.0), to: usize::from(to.0) })
}

fn opens(borders: &Borders<'_>, here: &Here, applied: &Applied, possible: &Pairs, context: Context) -> bool {
    let rule = borders.rule(applied);
    let mut alone = possible.clone();
    for other in &here.rules {
        let rival = borders.rule(other);
        if other.rule != applied.rule
            && rival.is_permit()
            && rival.mode == Mode::Enforce
            && rival.layer == rule.layer
        {
            alone.remove(&borders.certain(other, context));
        }
    }
    !alone.is_empty()
}

/// Of the rules known so far, those that outdo this one here too.
fn outdoing(
    borders: &Borders<'_>,
    here: &Here,
    applied: &Applied,
    possible: &Pairs,
    context: Context,
    known: Option<Vec<u32>>,
) -> Vec<u32> {
    let rule = borders.rule(applied);
    let outdoes = |other: &&Applied| {
        other.rule != applied.rule
            && known.as_ref().is_none_or(|known| known.contains(&other.rule))
            && does_at_least(borders.rule(other), rule)
            && possible.without(&borders.certain(other, context)).is_empty()
    };
    here.rules.iter().filter(outdoes).map(|other| other.rule).collect()
}

/// Whether what a rule does includes what another does, where both apply.
pub(crate) fn does_at_least(rule: &Rule, other: &Rule) -> bool {
    if rule.mode != Mode::Enforce {
        return false;
    }
    match (&rule.action, &other.action) {
        (Action::Deny, Action::Deny | Action::Residency { .. }) => true,
        // An inner layer does not speak for every link from every origin.
        (Action::DenyLinks, Action::DenyLinks) => {
            (rule.layer.depth == 0 || rule.layer == other.layer)
                && other.matcher.links.iter().all(|link| rule.matcher.links.contains(link))
        }
        (Action::Protect(items), Action::Protect(others)) => others.iter().all(|one| {
            items.iter().any(|item| {
                item.demand.classes.intersection(one.demand.classes) == one.demand.classes
                    && one
                        .families
                        .iter()
                        .all(|family| item.families.iter().any(|outer| is_within(family, outer)))
                    && item.excepted.iter().all(|name| one.excepted.contains(name))
                    && (!item.demand.undeclared || one.demand.undeclared)
                    && item.demand.confidence <= one.demand.confidence
                    && one
                        .demand
                        .fields
                        .iter()
                        .all(|field| item.demand.fields.iter().any(|path| path.covers(field)))
                    && item.demand.protection.discloses_at_most(one.demand.protection)
                    && (item.demand.signatures_error || !one.demand.signatures_error)
            })
        }),
        _ => false,
    }
}

/// Zones that no rule is about, neither as origin nor as recipient.
pub(crate) fn forgotten(borders: &Borders<'_>, here: &[Here]) -> Vec<usize> {
    let mut about = crate::prove::Zones::none(borders.count);
    for here in here {
        for context in Context::BORDERS {
            for applied in &here.rules {
                let pairs = borders.possible(applied, context);
                about.add(pairs.origins().words());
                (0..borders.count).for_each(|origin| about.add(pairs.row(origin)));
            }
        }
    }
    (0..borders.count).filter(|zone| !about.contains(*zone)).collect()
}

/// Zones by name, as examples show them.
pub(crate) fn name(program: &Program, zone: usize) -> String {
    program.federation.zones[zone].name.clone()
}
