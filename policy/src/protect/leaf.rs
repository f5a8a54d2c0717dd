//! One text under all demands that concern it: a string of the data, an attribute, data that is plain text.

use std::ops::Range;

use smallvec::SmallVec;

use meshbridge_detect::Class;

use super::demand::{Demanded, Label};
use super::seal::Kind;
use super::value::{Made, Maker, MissingKey, redacted};
use crate::keys::KeyTable;
use crate::protection::{Protection, Token, tokens, whole_token};

/// A part of a text with what is demanded of it.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) range: Range<usize>,
    pub(crate) demanded: Demanded,
}

/// A text, and everything that is known and demanded of it.
pub(crate) struct Leaf<'a> {
    pub(crate) text: &'a str,
    /// Of all of it: by field, declared, or found in a decoded layer.
    pub(crate) whole: Option<Demanded>,
    /// In order of their ranges, which may overlap.
    pub(crate) parts: SmallVec<[Part; 4]>,
    /// Forms that the list says it has.
    pub(crate) listed: SmallVec<[ListedForm; 2]>,
    /// By which class's rules equal values are told, where a field asked.
    pub(crate) declared: Option<Class>,
}

/// A form that the list says a value has, with what is demanded of the class it was of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListedForm {
    pub(crate) form: Protection,
    pub(crate) demanded: Option<Demanded>,
}

/// What becomes of a text.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Keep,
    /// It goes, and what holds it.
    Remove(Label),
    Whole(Made, Label),
    /// In order, not overlapping.
    Parts(Vec<Change>),
}

/// One part of a text that is replaced.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) range: Range<usize>,
    /// `None`: nothing stands in its place.
    pub(crate) made: Option<Made>,
    pub(crate) label: Label,
}

/// The text as it is sealed, so that opening gives back the same bytes: a part of it, or all of it for `None`.
pub(crate) type Raw<'r> = dyn Fn(Option<&Range<usize>>) -> (Kind, &'r str) + 'r;

impl Leaf<'_> {
    pub(crate) fn settle(mut self, maker: &mut Maker<'_>, raw: &Raw<'_>) -> Result<Outcome, MissingKey> {
        if let Some(token) = whole_token(self.text) {
            return Ok(self.settle_token(token, maker.keys()));
        }
        let mut known: Option<Protection> = None;
        for listed in &self.listed {
            // By class: where the form found shows no more than that, it stays as it is.
            if let Some(demanded) = listed.demanded
                && demanded.protection.meet(listed.form) != listed.form
            {
                self.whole = Demanded::join(self.whole, Some(demanded));
            }
            known = Some(known.map_or(listed.form, |known| known.meet(listed.form)));
        }
        let is_all = |part: &Part| part.range == (0..self.text.len());
        if let [part] = self.parts.as_slice()
            && is_all(part)
        {
            self.whole = Demanded::join(self.whole, Some(part.demanded));
            self.parts.clear();
        }
        let within: SmallVec<[(Range<usize>, Protection); 2]> =
            tokens(self.text).map(|(range, token)| (range, token.protection(maker.keys()))).collect();
        match self.whole {
            Some(mut whole) => {
                for part in &self.parts {
                    whole = whole.and(part.demanded);
                }
                let known = within.iter().map(|(_, form)| *form).chain(known).reduce(Protection::meet);
                whole.protection = settled(whole.protection, known);
                self.replace(&whole, maker, raw)
            }
            None if self.parts.is_empty() => Ok(Outcome::Keep),
            None => self.replace_parts(&within, maker, raw),
        }
    }

    /// A text that already stands in place of a value.
    fn settle_token(self, token: Token<'_>, keys: &KeyTable) -> Outcome {
        let mut form = token.protection(keys);
        if let Protection::Pseudonymise { key, .. } = form {
            // The list knows the scope.
            let mut scopes = self.listed.iter().filter_map(|listed| match listed.form {
                same @ Protection::Pseudonymise { key: listed, .. } if listed == key => Some(same),
                _ => None,
            });
            if let Some(first) = scopes.next()
                && scopes.all(|other| other == first)
            {
                form = first;
            }
        }
        let by_class = self.listed.iter().filter_map(|listed| listed.demanded);
        let parts = self.parts.iter().map(|part| part.demanded);
        let Some(demanded) = self.whole.into_iter().chain(by_class).chain(parts).reduce(Demanded::and) else {
            return Outcome::Keep;
        };
        match demanded.protection.meet(form) {
            same if same == form => Outcome::Keep,
            Protection::Drop => Outcome::Remove(demanded.label),
            _ => Outcome::Whole(redacted(&demanded.label), demanded.label),
        }
    }

    fn replace(&self, whole: &Demanded, maker: &mut Maker<'_>, raw: &Raw<'_>) -> Result<Outcome, MissingKey> {
        let made = match whole.protection {
            Protection::Drop => return Ok(Outcome::Remove(whole.label)),
            Protection::Encrypt { key } => {
                let (kind, value) = raw(None);
                maker.seal(key, kind, value)?
            }
            _ => maker.make(whole, self.canonical(&whole.label), self.text)?,
        };
        Ok(if made.text == self.text { Outcome::Keep } else { Outcome::Whole(made, whole.label) })
    }

    fn replace_parts(
        &self,
        within: &[(Range<usize>, Protection)],
        maker: &mut Maker<'_>,
        raw: &Raw<'_>,
    ) -> Result<Outcome, MissingKey> {
        let mut merged: SmallVec<[Part; 4]> = SmallVec::new();
        for part in &self.parts {
            match merged.last_mut() {
                Some(last) if part.range.start < last.range.end => {
                    last.range.end = last.range.end.max(part.range.end);
                    last.demanded = last.demanded.and(part.demanded);
                }
                _ => merged.push(part.clone()),
            }
        }
        // A range that cuts a protected value takes all of it, and shows no more than it did.
        for part in &mut merged {
            let from = within.partition_point(|(range, _)| range.end <= part.range.start);
            let touched = within[from..].iter().take_while(|(range, _)| range.start < part.range.end);
            let (mut start, mut end, mut known) = (part.range.start, part.range.end, None::<Protection>);
            for (range, form) in touched {
                start = start.min(range.start);
                end = end.max(range.end);
                known = Some(known.map_or(*form, |known| known.meet(*form)));
            }
            part.range = start..end;
            part.demanded.protection = settled(part.demanded.protection, known);
        }
        merged.dedup_by(|next, last| {
            let joins = next.range.start < last.range.end;
            if joins {
                last.range.end = last.range.end.max(next.range.end);
                last.demanded = last.demanded.and(next.demanded);
            }
            joins
        });
        let mut changes = Vec::new();
        for Part { range, demanded } in merged {
            let old = &self.text[range.clone()];
            let made = match demanded.protection {
                Protection::Drop => None,
                Protection::Encrypt { key } => {
                    let (kind, value) = raw(Some(&range));
                    Some(maker.seal(key, kind, value)?)
                }
                _ => Some(maker.make(&demanded, self.canonical(&demanded.label), old)?),
            };
            if made.as_ref().is_none_or(|made| made.text != old) {
                changes.push(Change { range, made, label: demanded.label });
            }
        }
        Ok(if changes.is_empty() { Outcome::Keep } else { Outcome::Parts(changes) })
    }

    /// What a field holds is told by the Classification, never by what other rules happen to look for: else their
    /// coming and going would change pseudonyms.
    fn canonical(&self, label: &Label) -> Option<Class> {
        if label.by_field { self.declared } else { label.class }
    }
}

/// A demand on a value that has a form already: masks and ladders tighten in place; what was made to be recognised or
/// opened is not made into something else that can be, so everything else is redacted.
pub(crate) fn settled(demanded: Protection, known: Option<Protection>) -> Protection {
    let Some(known) = known else { return demanded };
    match demanded.meet(known) {
        met if met == demanded => met,
        met @ (Protection::Drop | Protection::Mask { .. } | Protection::Generalise { .. }) => met,
        _ => Protection::Redact,
    }
}
