//! From demands to an edited event: data, attributes, and the list of what was protected.

use bytes::Bytes;
use meshbridge_detect::Finding;
use meshbridge_event::{AttributeValue, DataKind, Event, EventBuilder, InvalidEvent, is_reserved_name};
use smallvec::SmallVec;

use super::asked::Asked;
use super::demand::{Claim, Demanded, Label};
use super::leaf::{Change, Leaf, ListedForm, Outcome, Part};
use super::listed::{self, GOVPROTECTED, Line, Said};
use super::plan::{Note, Plan};
use super::pointers::Pointers;
use super::seal::{Kind, Randomness};
use super::survey::{CannotRead, Place, Read, Survey};
use super::value::{Maker, MissingKey, can_have};
use super::{Crossing, NAMING};
use crate::keys::{KeyRef, KeyRing, KeyTable};
use crate::protection::Protection;

/// Attributes that vouch for the data. After an edit they would lie.
pub(crate) const BINDING: [&str; 4] = ["dssematerial", "datahash", "digest", "signature"];
/// Those of them that may vouch for attributes too.
pub(crate) const BINDING_ATTRIBUTES: [&str; 2] = ["dssematerial", "signature"];

/// Most lists of what was protected have fewer entries.
const ENTRIES: usize = 8;

/// Why protection cannot be claimed; the rules' `onError` decides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct CannotProtect {
    /// The rules whose demands cannot be fulfilled, in order, each once.
    pub(crate) rules: SmallVec<[usize; 4]>,
    pub(crate) why: Unprotectable,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unprotectable {
    #[error("{0}")]
    Unreadable(#[from] CannotRead),
    #[error("the data is text, which has no fields")]
    NoFields,
    /// `id`, `source`, `type`, the topic, or what bridges set.
    #[error("a protection is demanded of what names the event")]
    Name,
    #[error("a key is not held here")]
    MissingKey(KeyRef),
    #[error("an edit would break a signature")]
    Signed,
    #[error("more places are protected than can be listed")]
    ListFull,
    #[error("the protected event is none: {0}")]
    Event(InvalidEvent),
}

/// An event as demands make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protected {
    pub(crate) event: Event,
    /// The rules whose demands met something, in order, each once.
    pub(crate) rules: SmallVec<[usize; 4]>,
}

/// Fulfils all demands on an event: the edited event, or `None` where it fulfils them as it is.
pub(crate) fn apply<'a>(
    survey: &'a Survey<'a>,
    claims: &'a [Claim<'a>],
    keys: &KeyTable,
    ring: &dyn KeyRing,
    randomness: &Randomness,
    crossing: Crossing<'_>,
) -> Result<Option<Protected>, CannotProtect> {
    if claims.is_empty() {
        return Ok(None);
    }
    let event = survey.event;
    let mut asked = Asked::new(survey, claims);
    let mut maker = Maker::new(keys, ring, randomness, event, crossing);
    check_names(&mut asked)?;
    let mut result = Edited { event, builder: None, entries: Vec::new(), is_data: false };
    protect_data(&mut asked, &mut maker, &mut result)?;
    protect_attributes(&mut asked, &mut maker, &mut result)?;
    result.finish(&asked, keys)
}

/// An event on its way to be edited.
struct Edited<'a> {
    event: &'a Event,
    /// There from the first edit on.
    builder: Option<EventBuilder>,
    /// In any order.
    entries: Vec<Line>,
    is_data: bool,
}

impl Edited<'_> {
    fn edit(&mut self, change: impl FnOnce(EventBuilder) -> EventBuilder) {
        let builder = self.builder.take().unwrap_or_else(|| self.event.to_builder());
        self.builder = Some(change(builder));
    }

    fn data(&mut self, text: String) {
        let kind = if text.is_empty() { DataKind::None } else { self.event.data_kind() };
        self.edit(|builder| builder.data(kind, Bytes::from(text)));
        self.is_data = true;
    }

    fn list(&mut self, pointer: &str, label: &Label, said: &Said) {
        if self.entries.is_empty() {
            self.entries.reserve(ENTRIES);
        }
        if label.classes.is_empty() {
            self.entries.push((pointer.to_owned(), None, said.clone()));
        }
        for class in label.classes.iter() {
            self.entries.push((pointer.to_owned(), Some(class), said.clone()));
        }
    }

    fn finish(mut self, asked: &Asked<'_>, keys: &KeyTable) -> Result<Option<Protected>, CannotProtect> {
        if self.builder.is_none() {
            return Ok(None);
        }
        let binding: &[&str] = if self.is_data { &BINDING } else { &BINDING_ATTRIBUTES };
        for name in binding.iter().filter(|name| self.event.attribute(name).is_some()) {
            let errs = |at: usize, claim: &Claim<'_>| asked.hit[at] && claim.demand.signatures_error;
            let broken = asked.fail(Unprotectable::Signed, errs);
            if !broken.rules.is_empty() {
                return Err(broken);
            }
            self.edit(|builder| builder.remove_attribute(name));
            self.list(&format!("/{name}"), &Label::FIELD, &Said::Value(Protection::Drop));
        }
        let met = |at: usize, _: &Claim<'_>| asked.hit[at];
        let list =
            listed::write(&mut self.entries, keys).ok_or_else(|| asked.fail(Unprotectable::ListFull, met))?;
        self.edit(|builder| builder.set_attribute(GOVPROTECTED, AttributeValue::String(&list)));
        let Some(built) = self.builder.map(EventBuilder::build) else { return Ok(None) };
        let event = built.map_err(|error| asked.fail(Unprotectable::Event(error), met))?;
        Ok(Some(Protected { event, rules: asked.rules(met) }))
    }
}

/// A protection of what names the event cannot be.
fn check_names(asked: &mut Asked<'_>) -> Result<(), CannotProtect> {
    let is_name = |name: &str| NAMING.contains(&name) || is_reserved_name(name);
    let has_name = |_: usize, claim: &Claim<'_>| {
        claim.demand.fields.iter().any(|path| path.attribute().is_some_and(is_name))
    };
    let failed = asked.fail(Unprotectable::Name, has_name);
    if !failed.rules.is_empty() {
        return Err(failed);
    }
    let survey = asked.survey;
    let in_names = survey.attributes.iter().filter(|(place, _)| match place {
        Place::Topic => true,
        Place::Attribute(at) => {
            survey.event.attributes().nth(usize::from(*at)).is_some_and(|(name, _)| NAMING.contains(&name))
        }
    });
    for (place, finding) in in_names {
        if asked.by_finding_outside(*place, finding).is_some() {
            return Err(asked.fail(Unprotectable::Name, |at, _| asked.hit[at]));
        }
    }
    let declared = survey.declared.fields.iter();
    for (_, class) in declared.filter(|(path, _)| path.attribute().is_some_and(|name| NAMING.contains(&name)))
    {
        if asked.by_declared(*class, true).is_some() {
            return Err(asked.fail(Unprotectable::Name, |at, _| asked.hit[at]));
        }
    }
    Ok(())
}

fn protect_data(
    asked: &mut Asked<'_>,
    maker: &mut Maker<'_>,
    result: &mut Edited<'_>,
) -> Result<(), CannotProtect> {
    if !asked.claims.iter().any(|claim| claim.demand.concerns_data()) {
        keep_entries(asked, result, None, "/data");
        return Ok(());
    }
    let has_fields = |claim: &Claim<'_>| claim.demand.fields.iter().any(crate::path::Path::is_data);
    match asked.survey.content {
        Ok(Read::None) => {}
        Ok(Read::Json(tape)) => {
            let mut plan = Plan::new(asked, tape, maker);
            let done = plan.run();
            let Plan { edits, mut notes, mut pointers, mut replaced, .. } = plan;
            done.map_err(|missing| asked.missing(missing))?;
            replaced.sort_unstable();
            pointers.removed.sort_unstable();
            notes.sort_by_key(|note| note.node);
            if !edits.is_empty() {
                result.data(edits.write(&tape));
            }
            keep_json_entries(asked, result, &tape, &notes, &mut pointers, &replaced);
            for Note { node, label, said } in &notes {
                let pointer = pointers.of(&tape, &asked.survey.listed.numbering, *node);
                result.list(&pointer, label, said);
            }
            return Ok(());
        }
        Ok(Read::Text(text)) => {
            // A path says nothing about a text; were it ignored, another content type would slip past it.
            let declared = asked.survey.declared.fields.iter().any(|(path, _)| path.is_data());
            let failed = asked.fail(Unprotectable::NoFields, |_, claim| {
                has_fields(claim) || declared && claim.demand.concerns_data()
            });
            if !failed.rules.is_empty() {
                return Err(failed);
            }
            let mut leaf = leaf(asked, text, "/data", None);
            for finding in asked.survey.data {
                let Some(demanded) = asked.by_finding(finding) else { continue };
                leaf.find(finding, demanded);
            }
            let outcome = settle(leaf, maker).map_err(|missing| asked.missing(missing))?;
            let whole = matches!(outcome, Outcome::Whole(..) | Outcome::Remove(_));
            if let Some(edited) = note_text(result, "/data", text, outcome) {
                result.data(edited.unwrap_or_default());
            }
            keep_entries(asked, result, whole.then_some("/data"), "/data");
            return Ok(());
        }
        Err(cannot) => {
            let excused = |claim: &Claim<'_>| {
                let opaque = claim.opaque.filter(|_| cannot == CannotRead::Opaque && !has_fields(claim));
                opaque.is_some_and(|holds| holds.intersection(claim.demand.classes).is_empty())
            };
            let failed = asked.fail(Unprotectable::Unreadable(cannot), |_, claim| {
                claim.demand.concerns_data() && !excused(claim)
            });
            if !failed.rules.is_empty() {
                return Err(failed);
            }
        }
    }
    keep_entries(asked, result, None, "/data");
    Ok(())
}

fn protect_attributes(
    asked: &mut Asked<'_>,
    maker: &mut Maker<'_>,
    result: &mut Edited<'_>,
) -> Result<(), CannotProtect> {
    let survey = asked.survey;
    let is_asked = |claim: &Claim<'_>| claim.demand.fields.iter().any(|path| path.attribute().is_some());
    let declares = || survey.declared.fields.iter().any(|(path, _)| path.attribute().is_some());
    let nothing_found = survey.attributes.is_empty() && survey.listed.entries.is_empty();
    if nothing_found && !asked.claims.iter().any(is_asked) && !declares() {
        return Ok(());
    }
    for (at, (name, value)) in survey.event.attributes().enumerate() {
        if NAMING.contains(&name) || is_reserved_name(name) {
            continue;
        }
        let mut whole = None;
        for number in 0..asked.claims.len() {
            if asked.claims[number].demand.fields.iter().any(|path| path.attribute() == Some(name)) {
                whole = Demanded::join(whole, Some(asked.by_claim(number, Label::FIELD)));
            }
        }
        let place = Place::Attribute(at as u16);
        for class in survey.declared_attribute(name) {
            let undeclared = survey.is_undeclared_outside(class, Some(place));
            whole = Demanded::join(whole, asked.by_declared(class, undeclared));
        }
        let has_findings = survey.attributes.iter().any(|(other, _)| *other == place);
        if whole.is_none() && !has_findings && survey.listed.entries.is_empty() {
            continue;
        }
        let text = value.to_text();
        let pointer = format!("/{name}");
        let mut leaf = leaf(asked, &text, &pointer, Some(place));
        leaf.whole = whole;
        leaf.declared = survey.declared_attribute(name).min();
        for (_, finding) in survey.attributes.iter().filter(|(other, _)| *other == place) {
            let Some(demanded) = asked.by_finding_outside(place, finding) else { continue };
            leaf.find(finding, demanded);
        }
        let mut outcome = settle(leaf, maker).map_err(|missing| asked.missing(missing))?;
        if let Outcome::Whole(made, label) = &mut outcome
            && label.by_field
            && made.form.hides_its_class()
        {
            label.classes = label.classes.union(asked.classes_of(&text, Some(name)));
        }
        let is_whole = matches!(outcome, Outcome::Whole(..) | Outcome::Remove(_));
        let Some(edited) = note_text(result, &pointer, &text, outcome) else {
            keep_entries(asked, result, None, &pointer);
            continue;
        };
        keep_entries(asked, result, is_whole.then_some(&pointer), &pointer);
        // What the type of the attribute cannot hold goes.
        let typed = edited.as_deref().and_then(|text| match value {
            _ if text.is_empty() => None,
            AttributeValue::Timestamp(_) => None,
            AttributeValue::Uri(_) => {
                (text.contains(':') && !text.contains(' ')).then_some(AttributeValue::Uri(text))
            }
            AttributeValue::UriRef(_) => (!text.contains(' ')).then_some(AttributeValue::UriRef(text)),
            _ => Some(AttributeValue::String(text)),
        });
        result.edit(|builder| match typed {
            Some(value) => builder.set_attribute(name, value),
            None => builder.remove_attribute(name),
        });
    }
    // Entries about attributes that are no more there.
    for entry in &survey.listed.entries {
        let name = entry.pointer.strip_prefix('/').unwrap_or_default();
        if !name.contains('/') && name != "data" && survey.event.attribute(name).is_none() {
            result.entries.push((entry.pointer.clone(), entry.class, entry.said.clone()));
        }
    }
    Ok(())
}

/// A text that is not JSON, with what the list says of it.
fn leaf<'t>(asked: &mut Asked<'_>, text: &'t str, pointer: &str, place: Option<Place>) -> Leaf<'t> {
    let survey = asked.survey;
    let mut listed = SmallVec::new();
    for entry in survey.listed.of_pointer(pointer) {
        let Said::Value(form) = entry.said else { continue };
        if can_have(form, text) {
            let demanded = entry
                .class
                .and_then(|class| asked.by_listed(class, survey.is_undeclared_outside(class, place)));
            listed.push(ListedForm { form, demanded });
        }
    }
    Leaf { text, whole: None, parts: SmallVec::new(), listed, declared: None }
}

impl Leaf<'_> {
    fn find(&mut self, finding: &Finding, demanded: Demanded) {
        if finding.nested {
            self.whole = Demanded::join(self.whole, Some(demanded));
            return;
        }
        let length = self.text.len();
        let (start, end) = (finding.range.start as usize, finding.range.end as usize);
        self.parts.push(Part { range: start.min(length)..end.min(length), demanded });
    }
}

fn settle(mut leaf: Leaf<'_>, maker: &mut Maker<'_>) -> Result<Outcome, MissingKey> {
    leaf.parts.sort_by_key(|part| (part.range.start, part.range.end));
    let text = leaf.text;
    leaf.settle(maker, &|range| match range {
        None => (Kind::Text, text),
        Some(range) => (Kind::Text, &text[range.clone()]),
    })
}

/// Lists what was done to a text. The edited text; `None` where it stays, `Some(None)` where it goes.
fn note_text(result: &mut Edited<'_>, pointer: &str, text: &str, outcome: Outcome) -> Option<Option<String>> {
    match outcome {
        Outcome::Keep => None,
        Outcome::Remove(label) => {
            result.list(pointer, &label, &Said::Value(Protection::Drop));
            Some(None)
        }
        Outcome::Whole(made, label) => {
            result.list(pointer, &label, &Said::Value(made.form));
            Some(Some(made.text))
        }
        Outcome::Parts(parts) => {
            let mut out = String::with_capacity(text.len());
            let mut at = 0;
            for Change { range, made, label } in parts {
                out.push_str(&text[at..range.start]);
                if let Some(made) = made {
                    out.push_str(&made.text);
                    result.list(pointer, &label, &Said::Value(made.form));
                }
                at = range.end;
            }
            out.push_str(&text[at..]);
            Some(Some(out))
        }
    }
}

/// Carries over what was listed about `pointer` and below it, but for the place itself where it was replaced.
fn keep_entries(asked: &Asked<'_>, result: &mut Edited<'_>, replaced: Option<&str>, pointer: &str) {
    for entry in &asked.survey.listed.entries {
        let below = entry.pointer.strip_prefix(pointer);
        if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            && replaced != Some(&entry.pointer)
        {
            result.entries.push((entry.pointer.clone(), entry.class, entry.said.clone()));
        }
    }
}

/// As [`keep_entries`] for JSON: what was replaced is listed anew, and a pointer goes with the names on its way.
fn keep_json_entries(
    asked: &Asked<'_>,
    result: &mut Edited<'_>,
    tape: &meshbridge_detect::tape::Tape<'_>,
    notes: &[Note],
    pointers: &mut Pointers,
    replaced: &[u32],
) {
    let listed = &asked.survey.listed;
    let is_replaced = |node: u32| {
        let before = replaced.partition_point(|at| *at <= node);
        before.checked_sub(1).is_some_and(|at| node < tape.node(replaced[at]).next)
    };
    for (number, entry) in listed.entries.iter().enumerate() {
        if !(entry.pointer == "/data" || entry.pointer.starts_with("/data/")) {
            continue;
        }
        let number = number as u32;
        let mut nodes =
            listed.at.iter().filter(|(_, other)| *other == number).map(|(node, _)| *node).peekable();
        let is_renumbered = |node: u32| {
            let is_elements = |said: &Said| matches!(said, Said::Elements(_));
            is_elements(&entry.said) && notes.iter().any(|note| note.node == node && is_elements(&note.said))
        };
        let is_exact = nodes.peek().is_some();
        // What is about nothing that is there may name a member that has another name now.
        let mut verbatim = listed.anywhere.contains(&number) || !is_exact && pointers.renamed.is_empty();
        for node in nodes.filter(|node| !is_replaced(*node) && !is_renumbered(*node)) {
            if pointers.renamed.is_empty() && pointers.removed.is_empty() {
                verbatim = true;
                break;
            }
            let pointer = pointers.of(tape, &listed.numbering, node);
            result.entries.push((pointer, entry.class, entry.said.clone()));
        }
        if verbatim {
            result.entries.push((entry.pointer.clone(), entry.class, entry.said.clone()));
        }
    }
}
