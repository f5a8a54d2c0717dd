//! How two editions of policies differ in what they do: what may pass, what is seen, what is checked (POLICY §8, `diff`).
//!
//! ```text
//!  filters of both ─► atoms ─► at each: terms of both editions ─► passing  who gets events
//!                                                              ├► forms    what is seen of personal data
//!                                                              └► checks   what events must be
//!                     the same rules make one entry ◄───────────┘
//! ```
//!
//! Nothing has to be known of events: every topic there can be and every pair of zones is looked at, and conditions are
//! compared as they are written. What changes only where a condition holds is told with that condition; an unchanged
//! condition changes nothing. The comparison errs on one side only: what could let through or show more is told, even if
//! two conditions that read differently mean the same.
//!
//! What is decided beyond the letter of POLICY §8:
//! - A protection that cannot be computed for an event stops it; that comes and goes with the protection and is not told
//!   beside it. Where the protection stays and other events are stopped so, that is a changed check.
//! - What a Classification says belongs to the rules that rely on it: they are told as changed where it changes what they
//!   stop. So do the attributes of zones that a condition or a check reads.
//! - Each border is compared for the same event. A form that egress makes differently may meet or fail a check behind
//!   it, though that stays as it is: such a check is told as changed, with the value as its condition.
//! - A link that is denied, or denied no longer, is a changed check of its rule: it lets nothing through and stops nothing,
//!   and decides which bridges see it on the way. Events inside a zone are not looked at for that.
//! - A check that is removed or eased is a changed check with the effect `looser`, and counts like what is newly allowed.
//! - Waivers count as conditions: nobody's clock is asked.
//! - An event that is stopped may be kept (`onViolation`, `onError`), and then released or sent again: what is kept that
//!   was not is told, and counts like what is newly allowed. Messages are not compared.

mod behind;
mod checks;
mod edition;
mod example;
mod forms;
mod group;
mod kept;
mod known;
mod links;
mod markdown;
mod passing;
mod report;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashSet;

use meshbridge_topic::TooManyStates;

use crate::model::{Action, Context, Rule};
use crate::program::Program;
use crate::prove::{Applied, Here, Pairs, Zones, leaves};

use checks::Changed;
use edition::Edition;
use group::Groups;
pub use report::{Change, ChangeKind, Condition, Diff, Effect, Example, Line, Pair, Unknown};

/// What is compared of an event's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Aspect {
    /// It enters at its origin.
    Published,
    /// It leaves for a destination, whose bridge then sees it.
    Sent,
    /// It comes through the destination's border, too.
    Arrives,
    /// A zone on the way may carry it.
    Carried,
    /// Subscribers get it.
    Delivered,
    /// A client may ask for it.
    Subscribed,
    /// A zone is told that another wants it.
    Learned,
}

impl Aspect {
    const ALL: [Aspect; 7] = [
        Aspect::Published,
        Aspect::Sent,
        Aspect::Arrives,
        Aspect::Carried,
        Aspect::Delivered,
        Aspect::Subscribed,
        Aspect::Learned,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Aspect::Published => "published",
            Aspect::Sent => "sent",
            Aspect::Arrives => "arrives",
            Aspect::Carried => "carried",
            Aspect::Delivered => "delivered",
            Aspect::Subscribed => "subscribed",
            Aspect::Learned => "learned",
        }
    }

    /// Contexts whose gates have to be open.
    fn gated(self) -> &'static [Context] {
        match self {
            Aspect::Published => &[Context::Publish],
            Aspect::Sent => &[Context::Egress],
            Aspect::Arrives => &[Context::Egress, Context::Ingress],
            Aspect::Carried => &[Context::Transit],
            Aspect::Delivered => &[Context::Deliver],
            Aspect::Subscribed => &[Context::Subscribe],
            Aspect::Learned => &[Context::Interest],
        }
    }

    /// Contexts in which nothing may stop it: who may not receive it may not carry it.
    fn stopped(self) -> &'static [Context] {
        match self {
            Aspect::Carried => &[Context::Transit, Context::Egress],
            other => other.gated(),
        }
    }

    /// Contexts whose protections make what is seen; none where nothing is.
    fn protected(self) -> &'static [Context] {
        match self {
            Aspect::Published => &[Context::Publish],
            Aspect::Sent => &[Context::Egress],
            Aspect::Carried => &[Context::Egress, Context::Transit],
            Aspect::Delivered => &[Context::Egress, Context::Ingress, Context::Deliver],
            Aspect::Arrives | Aspect::Subscribed | Aspect::Learned => &[],
        }
    }

    /// Contexts whose checks are compared; none where there is no event.
    fn checked(self) -> &'static [Context] {
        match self {
            Aspect::Published => &[Context::Publish],
            Aspect::Sent => &[Context::Egress],
            Aspect::Arrives => &[Context::Ingress],
            Aspect::Carried => &[Context::Transit, Context::Egress],
            Aspect::Delivered => &[Context::Deliver],
            Aspect::Subscribed | Aspect::Learned => &[],
        }
    }

    /// Whether a check of one of these contexts is asked: what is forbidden to a recipient is to a carrier, no more.
    fn asks(self, context: Context, rule: &Rule) -> bool {
        (self, context) != (Aspect::Carried, Context::Egress)
            || matches!(rule.action, Action::Forbid(_) | Action::Protect(_))
    }

    /// Whether a zone decides for itself, whatever crosses its borders.
    fn is_local(self) -> bool {
        matches!(self, Aspect::Published | Aspect::Delivered | Aspect::Subscribed)
    }

    /// Pairs of zones that it is about.
    fn pairs(self, present: &Zones, count: usize) -> Pairs {
        let mut pairs = Pairs::product(present, present, count);
        match self {
            Aspect::Published | Aspect::Subscribed => pairs.keep(&Pairs::diagonal(count)),
            Aspect::Delivered => {}
            Aspect::Sent | Aspect::Arrives | Aspect::Carried | Aspect::Learned => {
                pairs.remove(&Pairs::diagonal(count));
            }
        }
        pairs
    }
}

/// Some pairs of zones, and why something is different there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    pairs: Pairs,
    /// Of the edition that stops or protects more, then of the other.
    before: Vec<Line>,
    after: Vec<Line>,
    depends_on: Vec<Condition>,
}

impl Part {
    fn new(pairs: Pairs) -> Part {
        Part { pairs, before: Vec::new(), after: Vec::new(), depends_on: Vec::new() }
    }

    fn tidy(&mut self) {
        for lines in [&mut self.before, &mut self.after] {
            lines.sort();
            lines.dedup();
        }
        self.depends_on.sort();
        self.depends_on.dedup();
    }

    /// Takes another part in, of which the same is told.
    fn join(&mut self, other: Part) {
        self.pairs.add(&other.pairs);
        self.before.extend(other.before);
        self.after.extend(other.after);
        // What one of them does without a condition needs none.
        if self.depends_on.is_empty() || other.depends_on.is_empty() {
            self.depends_on.clear();
        } else {
            self.depends_on.extend(other.depends_on);
        }
        self.tidy();
    }

    /// With the old edition first, whichever of them does more.
    fn of_new_closing(mut self) -> Part {
        std::mem::swap(&mut self.before, &mut self.after);
        self
    }
}

impl Program {
    /// What another edition changes, each with an example; this one is the old.
    pub fn diff(&self, new: &Program) -> Diff {
        match compared(self, new) {
            Ok(groups) => groups.into_diff(self, new),
            Err(problem) => Diff {
                changes: Vec::new(),
                left_off: 0,
                unknown: Some(Unknown {
                    why: problem.to_string(),
                    filters: problem.filters.iter().map(|filter| filter.as_str().to_owned()).collect(),
                }),
            },
        }
    }
}

fn compared(old: &Program, new: &Program) -> Result<Groups, TooManyStates> {
    let names = edition::names(old, new);
    let before = Edition::new(old, new, &names)?;
    let after = Edition::new(new, old, &names)?;
    let mut groups = Groups::new(names);
    let mut done: HashSet<(Seen, Seen)> = HashSet::new();
    for atom in 0..after.borders.atoms.len() {
        let topic = after.borders.atoms.example(atom).as_str().to_owned();
        // Both are made of the same filters, so what the one tells apart the other does.
        let Some(same) = before.borders.atoms.of(after.borders.atoms.example(atom)) else { continue };
        let (of_old, of_new) = (before.borders.at(same), after.borders.at(atom));
        let key = (seen(&of_old), seen(&of_new));
        if done.contains(&key) {
            groups.also(&key, &topic);
            continue;
        }
        groups.begin(&key, &topic);
        compare((&before, &of_old), (&after, &of_new), &mut groups);
        done.insert(key);
    }
    groups.begin_everywhere();
    for Changed { part, name, what, effect } in checks::obligations(&before, &after) {
        groups.check(None, part, name, what, effect);
    }
    Ok(groups)
}

/// What decides at an atom: topics with the same differ in the same way.
type Seen = (Vec<Applied>, Vec<(u32, u32)>);

fn seen(here: &Here) -> Seen {
    (here.rules.clone(), here.classified.clone())
}

fn compare(old: (&Edition<'_>, &Here), new: (&Edition<'_>, &Here), groups: &mut Groups) {
    let every = ["*".to_owned()];
    let leaves = leaves(&every);
    let things = forms::things([old, new], &leaves);
    for aspect in Aspect::ALL {
        let (mut was, mut is) = (old.0.view(old.1, aspect), new.0.view(new.1, aspect));
        if aspect.is_local() {
            // What a new zone does with events of its own crosses no border.
            let (of_old, of_new) = (&old.0.present, &new.0.present);
            for pass in [&mut was.pass, &mut is.pass] {
                pass.keep(&Pairs::product(of_old, of_new, old.0.count));
                pass.keep(&Pairs::product(of_new, of_old, old.0.count));
            }
        }
        for part in passing::gained((new.0, &is), (old.0, &was)) {
            groups.passing(ChangeKind::NewlyAllowed, aspect, part);
        }
        for part in passing::gained((old.0, &was), (new.0, &is)) {
            groups.passing(ChangeKind::NewlyBlocked, aspect, part.of_new_closing());
        }
        for Changed { part, name, what, effect } in kept::changed(old, new, aspect) {
            groups.kept(aspect, part, &name, &what, effect);
        }
        let both = was.pass.and(&is.pass);
        if both.is_empty() {
            continue;
        }
        if !aspect.protected().is_empty() {
            let weaker = forms::shown(new, old, &things, aspect.protected(), &both);
            let stronger = forms::shown(old, new, &things, aspect.protected(), &both);
            let kinds = [(ChangeKind::Weaker, weaker), (ChangeKind::Stronger, stronger)];
            for (kind, shown) in
                kinds.into_iter().flat_map(|(kind, all)| all.into_iter().map(move |one| (kind, one)))
            {
                if aspect == Aspect::Sent {
                    let behind = behind::changed([old, new], &shown, kind == ChangeKind::Weaker);
                    for (aspect, Changed { part, name, what, effect }) in behind {
                        groups.check(Some(aspect), part, name, what, effect);
                    }
                }
                groups.form(kind, aspect, shown);
            }
        }
        for Changed { part, name, what, effect } in checks::changed(old, new, aspect, &both) {
            groups.check(Some(aspect), part, name, what, effect);
        }
        if aspect == Aspect::Sent {
            for Changed { part, name, what, effect } in links::changed(old, new, &both) {
                groups.check(Some(aspect), part, name, what, effect);
            }
        }
    }
}
