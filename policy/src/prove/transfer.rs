//! What one crossing makes of a value: for each pair of zones the forms in which the recipient can see it.
//!
//! From the value itself, all forms are listed that some event can get: the certain protections met with any of the
//! possible ones. From a form that was published again, the certain protections by path bound what is seen.

use std::borrow::Cow;

use super::borders::{Applied, Borders};
use super::forms::{Form, Forms, TooManyForms, again, closure};
use super::subjects::{Concern, Cover, SubjectKey, items};
use super::zones::{Pairs, Zones, bits};
use crate::federation::BridgeEntry;
use crate::model::{Context, Disposition, OnViolation};
use crate::protection::{Protection, meet};

/// Who sees events of some topics, whatever they hold.
#[derive(Debug)]
pub(crate) struct Ways {
    /// Pairs between which events pass: to another zone's bridge, or, asked of subscribers, to them.
    pub(crate) to: Pairs,
    /// Pairs of an origin and a zone that may carry its events. `None` where carriers do not count.
    pub(crate) carriers: Option<Pairs>,
}

/// Contexts whose protections are demanded towards a carrier.
const CARRIED: [Context; 2] = [Context::Egress, Context::Transit];

/// Contexts whose protections a recipient's form went through.
pub(crate) fn contexts(at_deliver: bool) -> &'static [Context] {
    if at_deliver { &[Context::Egress, Context::Ingress, Context::Deliver] } else { &[Context::Egress] }
}

impl Ways {
    pub(crate) fn new(borders: &Borders<'_>, rules: &[Applied], at_deliver: bool) -> Ways {
        let mut to = Pairs::all(borders.count);
        to.remove(&Pairs::diagonal(borders.count));
        for context in contexts(at_deliver) {
            to.keep(&borders.permitted(rules, *context));
            to.remove(&borders.stopped(rules, *context));
        }
        // Subscribers are not asked about as carriers, and what a carrier's bridge has its applications have not.
        let carriers = (!at_deliver && !to.is_empty()).then(|| {
            let mut carriers = may_carry(borders, rules);
            if borders.program.judges_interest() {
                // Who is told of nothing that the origin's events are for is no carrier for them.
                let told = borders.told(rules);
                for (from, carrier) in carriers.clone().iter() {
                    let (from, carrier) = (usize::from(from.0), usize::from(carrier.0));
                    if to.row(from).iter().zip(told.row(carrier)).all(|(to, told)| to & told == 0) {
                        carriers.remove_one(from, carrier);
                    }
                }
            }
            carriers
        });
        Ways { to, carriers }
    }
}

/// Pairs of an origin and a zone that nothing stops from carrying events of it.
fn may_carry(borders: &Borders<'_>, rules: &[Applied]) -> Pairs {
    let mut carriers = borders.permitted(rules, Context::Transit);
    carriers.remove(&Pairs::diagonal(borders.count));
    carriers.remove(&borders.stopped(rules, Context::Transit));
    carriers.remove(&borders.stopped(rules, Context::Egress));
    carriers
}

/// The ways over borders, and those inside a zone that lead over another.
#[derive(Debug)]
pub(crate) struct Crossings {
    pub(crate) to: Pairs,
    pub(crate) carriers: Option<Pairs>,
    /// Pairs of a zone and one that may carry what bridges of the first send each other: the event itself, for between
    /// them it crosses no border. Without those that get the same as destinations.
    pub(crate) home: Pairs,
}

impl Crossings {
    pub(crate) fn new(borders: &Borders<'_>, rules: &[Applied], at_deliver: bool) -> Crossings {
        let Ways { to, carriers } = Ways::new(borders, rules, at_deliver);
        let mut home = Pairs::none(borders.count);
        if !at_deliver {
            let mut others = may_carry(borders, rules);
            others.remove(&to);
            others.keep_origins(&with_siblings(borders));
            if !others.is_empty() {
                let learned = learned(borders, rules, carriers.as_ref());
                let is_told = |(zone, carrier): &(usize, usize)| learned.contains(*carrier, *zone);
                let pairs = others.iter().map(|(from, to)| (usize::from(from.0), usize::from(to.0)));
                pairs.filter(is_told).for_each(|(zone, carrier)| home.insert(zone, carrier));
            }
        }
        Crossings { to, carriers, home }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.to.is_empty() && self.home.is_empty()
    }
}

/// Zones of several bridges: one alone has nobody inside its zone to send to.
fn with_siblings(borders: &Borders<'_>) -> Zones {
    let federation = &borders.program.federation;
    Zones::of(borders.count, |at| {
        let of_zone = |bridge: &&BridgeEntry| bridge.zone == federation.zones[at].name;
        federation.bridges().iter().filter(of_zone).nth(1).is_some()
    })
}

/// From a zone to those of which it learns what they want: events could pass to them, or be carried by it. Only such a
/// zone carries anything towards them.
fn learned(borders: &Borders<'_>, rules: &[Applied], carriers: Option<&Pairs>) -> Pairs {
    // What a person may release could pass.
    let is_held = OnViolation::Stop(Disposition::Quarantine);
    let kept: Vec<Applied> =
        rules.iter().filter(|applied| borders.rule(applied).on_violation != is_held).cloned().collect();
    let mut sent = Ways::new(borders, &kept, false).to;
    sent.keep(&borders.permitted(&kept, Context::Ingress));
    sent.remove(&borders.stopped(&kept, Context::Ingress));
    let mut learned = sent.clone();
    for origin in sent.origins().iter() {
        let row = carriers.map_or(&[][..], |carriers| carriers.row(origin));
        bits(row).for_each(|carrier| learned.add_row(carrier, sent.row(origin)));
    }
    learned.keep(&borders.told(&kept));
    learned
}

/// A crossing for one subject.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// From the value itself: the forms, and who can see them; without those from which nothing follows.
    pub(crate) value: Vec<(Form, Pairs)>,
    /// From a form that was published again: what paths demand.
    pub(crate) forms: Vec<(Option<Protection>, Pairs)>,
    /// Of those that may carry such a form, what paths demand towards them.
    pub(crate) carried: Vec<(Option<Protection>, Pairs)>,
    /// The same of those that may carry it inside its zone, as it is.
    pub(crate) home: Vec<(Option<Protection>, Pairs)>,
    /// Origins that have anybody to send to.
    pub(crate) sending: Zones,
}

/// Pairs with what is done between them.
struct Part {
    certain: Option<Protection>,
    possible: Vec<Protection>,
    pairs: Pairs,
}

impl Transfer {
    pub(crate) fn new(
        borders: &Borders<'_>,
        rules: &[Applied],
        ways: &Crossings,
        key: &SubjectKey,
        at_deliver: bool,
        forms: &mut Forms<'_>,
    ) -> Result<Transfer, TooManyForms> {
        let mut sending = ways.to.origins();
        sending.add(ways.home.origins().words());
        let mut value: Vec<(Form, Pairs)> = Vec::new();
        let mut add = |form: Form, pairs: &Pairs| match value.iter_mut().find(|(known, _)| *known == form) {
            Some((_, known)) => known.add(pairs),
            None => value.push((form, pairs.clone())),
        };
        for part in split(borders, rules, key, contexts(at_deliver), ways.to.clone()) {
            for form in closure(part.certain, &part.possible, forms)? {
                if !forms.is_silent(form) {
                    add(form, &part.pairs);
                }
            }
        }
        if let Some(carriers) = ways.carriers.as_ref().filter(|_| !value.is_empty()) {
            let made: Vec<(Form, Zones)> =
                value.iter().map(|(form, pairs)| (*form, pairs.origins())).collect();
            let mut demands = vec![(key.clone(), true, true)];
            if key.may_lose_its_class() {
                // What is asked of a carrier is asked of the form, in which the class may not be known.
                demands = vec![(key.clone(), true, false), (key_by_path(key), false, true)];
            }
            for (key, of_value, of_forms) in demands {
                for part in split(borders, rules, &key, &CARRIED, carriers.clone()) {
                    for (form, origins) in &made {
                        let is_asked = if *form == Form::VALUE { of_value } else { of_forms };
                        // A carrier edits nothing: the form has to meet what is demanded towards it.
                        if !is_asked || meet(forms.protection(*form), part.certain) != forms.protection(*form)
                        {
                            continue;
                        }
                        let mut pairs = part.pairs.clone();
                        pairs.keep_origins(origins);
                        match value.iter_mut().find(|(known, _)| known == form) {
                            Some((_, known)) => known.add(&pairs),
                            None => value.push((*form, pairs)),
                        }
                    }
                }
            }
        }
        for part in split(borders, rules, key, &CARRIED, ways.home.clone()) {
            // Nobody made anything of it, so nothing may be demanded towards the carrier.
            if part.certain.is_none() {
                match value.iter_mut().find(|(known, _)| *known == Form::VALUE) {
                    Some((_, known)) => known.add(&part.pairs),
                    None => value.push((Form::VALUE, part.pairs)),
                }
            }
        }
        let (mut by_path, mut carried, mut home) = (Vec::new(), Vec::new(), Vec::new());
        if value.iter().any(|(form, _)| *form != Form::VALUE) {
            let key = key_by_path(key);
            by_path = merged(split(borders, rules, &key, contexts(at_deliver), ways.to.clone()));
            if let Some(carriers) = &ways.carriers {
                carried = merged(split(borders, rules, &key, &CARRIED, carriers.clone()));
            }
            home = merged(split(borders, rules, &key, &CARRIED, ways.home.clone()));
        }
        Ok(Transfer { value, forms: by_path, carried, home, sending })
    }

    /// Who can see what after a zone publishes a form other than the value; `found` is given forms and recipients.
    pub(crate) fn again(
        &self,
        origin: usize,
        form: Form,
        forms: &mut Forms<'_>,
        mut found: impl FnMut(Form, &[u64]),
    ) -> Result<(), TooManyForms> {
        let before = forms.protection(form);
        for (demanded, pairs) in &self.forms {
            let row = pairs.row(origin);
            if row.iter().all(|word| *word == 0) {
                continue;
            }
            let made = again(before, *demanded);
            let number = forms.number(made)?;
            if !forms.is_silent(number) {
                found(number, row);
            }
            // What is carried for them meets at least what is demanded towards the carrier.
            for (towards, carriers) in &self.carried {
                let number = forms.number(again(made, *towards))?;
                if !forms.is_silent(number) {
                    found(number, carriers.row(origin));
                }
            }
        }
        for (towards, carriers) in &self.home {
            let number = forms.number(again(before, *towards))?;
            if !forms.is_silent(number) {
                found(number, carriers.row(origin));
            }
        }
        Ok(())
    }
}

/// The subject as it is after its value was changed: classes are not recognised.
fn key_by_path(key: &SubjectKey) -> SubjectKey {
    let by_path = |concern: &Concern| Concern { class: Cover::No, ..*concern };
    SubjectKey { concerns: key.concerns.iter().map(by_path).collect(), ..key.clone() }
}

fn merged(parts: Vec<Part>) -> Vec<(Option<Protection>, Pairs)> {
    let mut merged: Vec<(Option<Protection>, Pairs)> = Vec::new();
    for part in parts {
        match merged.iter_mut().find(|(known, _)| *known == part.certain) {
            Some((_, known)) => known.add(&part.pairs),
            None => merged.push((part.certain, part.pairs)),
        }
    }
    merged
}

/// Splits pairs by what is done to the subject between them in the contexts.
fn split(
    borders: &Borders<'_>,
    rules: &[Applied],
    key: &SubjectKey,
    contexts: &[Context],
    pairs: Pairs,
) -> Vec<Part> {
    let mut parts = vec![Part { certain: None, possible: Vec::new(), pairs }];
    parts.retain(|part| !part.pairs.is_empty());
    for ((applied, item), concern) in items(borders, rules).zip(&key.concerns) {
        if concern.is_none() {
            continue;
        }
        let protection = item.demand.protection;
        for context in contexts {
            let possible = borders.possible(applied, *context);
            if !parts.iter().any(|part| part.pairs.intersects(&possible)) {
                continue;
            }
            let certain = certain(borders, applied, *concern, key, *context);
            let mut next: Vec<Part> = Vec::new();
            for mut part in parts {
                let sure = part.pairs.and(&certain);
                part.pairs.remove(&certain);
                let maybe = part.pairs.and(&possible);
                part.pairs.remove(&possible);
                if !sure.is_empty() {
                    let certain = meet(part.certain, Some(protection));
                    merge(&mut next, Part { certain, possible: part.possible.clone(), pairs: sure });
                }
                if !maybe.is_empty() {
                    let mut possible = part.possible.clone();
                    if !possible.contains(&protection) {
                        possible.push(protection);
                        possible.sort_unstable();
                    }
                    merge(&mut next, Part { certain: part.certain, possible, pairs: maybe });
                }
                if !part.pairs.is_empty() {
                    merge(&mut next, part);
                }
            }
            parts = next;
        }
    }
    parts
}

fn merge(parts: &mut Vec<Part>, part: Part) {
    match parts.iter_mut().find(|known| known.certain == part.certain && known.possible == part.possible) {
        Some(known) => known.pairs.add(&part.pairs),
        None => parts.push(part),
    }
}

/// Pairs for which an item protects the subject, whatever the event.
pub(crate) fn certain<'b>(
    borders: &'b Borders<'_>,
    applied: &Applied,
    concern: Concern,
    key: &SubjectKey,
    context: Context,
) -> Cow<'b, Pairs> {
    let after_others = matches!(context, Context::Ingress | Context::Deliver);
    let knows_class = concern.class == Cover::Sure && !(after_others && key.may_lose_its_class());
    if !knows_class && concern.path != Cover::Sure {
        return Cow::Owned(Pairs::none(borders.count));
    }
    let mut pairs = borders.certain(applied, context);
    if concern.declared_only && concern.path != Cover::Sure {
        // The declaration has to be known where the rule is judged.
        match context {
            Context::Ingress | Context::Deliver => pairs.to_mut().keep_recipients(&key.declared),
            _ => pairs.to_mut().keep_origins(&key.declared),
        }
    }
    if let Some(unread) = key.unread.get(borders.rule(applied).layer.depth) {
        match context {
            Context::Ingress | Context::Deliver => pairs.to_mut().keep_recipients(unread),
            // The layers of both zones are heard.
            Context::Transit => {
                pairs.to_mut().keep_origins(unread);
                pairs.to_mut().keep_recipients(unread);
            }
            _ => pairs.to_mut().keep_origins(unread),
        }
    }
    pairs
}
