//! The forms in which a value can be seen, numbered, and what each shows in which zone.

use std::collections::HashMap;

use super::zones::Zones;
use crate::keys::KeyTable;
use crate::model::Disclosure;
use crate::protection::{Facet, Facets, Protection, meet};

/// Forms of one proof. There are as many as meets of the protections that its rules name.
pub(crate) const FORMS_MAX: usize = 4_096;

/// A form by its number; the value itself is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Form(u16);

impl Form {
    /// The value, as its origin has it.
    pub(crate) const VALUE: Form = Form(0);

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The forms that were met so far.
#[derive(Debug)]
pub(crate) struct Forms<'p> {
    keys: &'p KeyTable,
    count: usize,
    all: Vec<Option<Protection>>,
    numbers: HashMap<Option<Protection>, Form>,
    /// What must not be seen.
    asked: Facets,
    /// Zones in which the form shows something of it.
    shown: Vec<Zones>,
    /// Zones that can turn the form into the value.
    opened: Vec<Zones>,
}

/// There are more forms than a proof looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooManyForms;

impl<'p> Forms<'p> {
    pub(crate) fn new(keys: &'p KeyTable, count: usize, asked: Facets) -> Forms<'p> {
        let mut forms = Forms {
            keys,
            count,
            all: Vec::new(),
            numbers: HashMap::new(),
            asked,
            shown: Vec::new(),
            opened: Vec::new(),
        };
        forms.number(None).expect("the first one has room");
        forms
    }

    pub(crate) fn number(&mut self, protection: Option<Protection>) -> Result<Form, TooManyForms> {
        if let Some(known) = self.numbers.get(&protection) {
            return Ok(*known);
        }
        if self.all.len() == FORMS_MAX {
            return Err(TooManyForms);
        }
        let form = Form(u16::try_from(self.all.len()).map_err(|_| TooManyForms)?);
        let facets = |zone: usize| facets(self.keys, protection, zone);
        self.shown.push(Zones::of(self.count, |zone| facets(zone).intersects(self.asked)));
        let opens = |zone: usize| protection.is_some() && facets(zone).contains(Facet::Value);
        self.opened.push(Zones::of(self.count, opens));
        self.all.push(protection);
        self.numbers.insert(protection, form);
        Ok(form)
    }

    pub(crate) fn protection(&self, form: Form) -> Option<Protection> {
        self.all[form.index()]
    }

    /// Names of the keys on which the forms rest.
    pub(crate) fn keys_met(&self) -> Vec<String> {
        let keys = self.all.iter().filter_map(|one| one.and_then(Protection::key));
        let mut names: Vec<String> = keys.map(|key| self.keys.label(key)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Zones in which the form shows something that must not be seen.
    pub(crate) fn shown(&self, form: Form) -> &Zones {
        &self.shown[form.index()]
    }

    /// Whether nothing of what is asked about can follow from the form, in any zone: what is made of a form shows no more
    /// than the form, so it need not be followed.
    pub(crate) fn is_silent(&self, form: Form) -> bool {
        self.shown(form).is_empty() && self.opened(form).is_empty()
    }

    /// Zones that hold the key under which the form is the value.
    pub(crate) fn opened(&self, form: Form) -> &Zones {
        &self.opened[form.index()]
    }
}

/// What a form shows in a zone, the keys it holds considered.
pub(crate) fn facets(keys: &KeyTable, protection: Option<Protection>, zone: usize) -> Facets {
    let holds = |key| keys.holds(super::zones::zone(zone), key);
    protection.map_or(Facets::ALL, |protection| protection.discloses().in_zone(holds))
}

/// What a question asks for. `value` includes `guess`: card numbers, phones and government ids can simply be tried
/// (POLICY §4). The value shows everything, so whatever is asked for includes it.
pub(crate) fn asked(discloses: &[Disclosure]) -> Facets {
    discloses.iter().fold(Facets::NONE, |facets, one| match one {
        Disclosure::Value => facets.with(Facet::Value).with(Facet::Guess),
        Disclosure::Partial => facets.with(Facet::Partial),
        Disclosure::Link => facets.with(Facet::Link),
        Disclosure::Type => facets.with(Facet::Type),
    })
}

/// What is seen of a value that a zone published again in the form in which it received it, where path rules demand
/// `demanded`.
///
/// An application may have lost what says that the value is protected. A mask of a mask and a coarser rung are then
/// still what they seem; but a token made of a masked value tells masked values apart, which their meet would not. What
/// is computed from a form shows no more than the form, so the form itself is the bound.
pub(crate) fn again(form: Option<Protection>, demanded: Option<Protection>) -> Option<Protection> {
    use Protection::{Drop, Generalise, Mask, Redact};
    match (form, demanded) {
        (Some(Mask { .. }), Some(Drop | Redact | Mask { .. })) => meet(form, demanded),
        (Some(Generalise { ladder: a, .. }), Some(Generalise { ladder: b, .. })) if a == b => {
            meet(form, demanded)
        }
        (Some(Generalise { .. }), Some(Drop | Redact)) => meet(form, demanded),
        (Some(Mask { .. } | Generalise { .. }), _) => form,
        _ => meet(form, demanded),
    }
}

/// Everything that some of the possible protections make of a value beside the certain ones. What cannot have a form,
/// such as a name of a member or what a ladder does not read, is redacted instead, and then may be carried further.
pub(crate) fn closure(
    certain: Option<Protection>,
    possible: &[Protection],
    forms: &mut Forms<'_>,
) -> Result<Vec<Form>, TooManyForms> {
    let mut found = vec![forms.number(certain)?];
    for one in possible {
        for at in 0..found.len() {
            let form = forms.number(meet(forms.protection(found[at]), Some(*one)))?;
            if !found.contains(&form) {
                found.push(form);
            }
        }
    }
    for at in 0..found.len() {
        if forms.protection(found[at]).is_some() {
            let less = forms.number(meet(forms.protection(found[at]), Some(Protection::Redact)))?;
            if !found.contains(&less) {
                found.push(less);
            }
        }
    }
    Ok(found)
}

/// As people read it.
pub(crate) fn described(keys: &KeyTable, protection: Option<Protection>) -> String {
    match protection {
        None => "the value itself".to_owned(),
        Some(Protection::Drop) => "nothing (drop)".to_owned(),
        Some(Protection::Redact) => "redact".to_owned(),
        Some(Protection::Hash) => "hash".to_owned(),
        Some(Protection::Mask { first, last }) => format!("mask, first {first} and last {last} kept"),
        Some(Protection::Pseudonymise { key, scope }) => {
            format!("pseudonym under {} for scope {}", keys.label(key), scope.name())
        }
        Some(Protection::Encrypt { key }) => format!("cipher under {}", keys.label(key)),
        Some(Protection::Generalise { ladder, rung }) => {
            let rungs = ladder.rungs();
            format!("generalised to {}", rungs.get(usize::from(rung)).copied().unwrap_or("a rung"))
        }
    }
}

/// Names of what shows, for people.
pub(crate) fn named(facets: Facets) -> Vec<&'static str> {
    let names = [
        (Facet::Value, "value"),
        (Facet::Guess, "guess"),
        (Facet::Partial, "partial"),
        (Facet::Link, "link"),
        (Facet::Type, "type"),
    ];
    names.into_iter().filter(|(facet, _)| facets.contains(*facet)).map(|(_, name)| name).collect()
}
