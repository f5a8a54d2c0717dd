//! Which protection a place of an event needs: all demands that apply to it, met.

use meshbridge_event::{AttributeValue, Event};

use crate::detect::{Class, find};
use crate::json::{Decoded, Edit, Kind, Visitor, quote, quote_inner};
use crate::model::Protect;
use crate::path::{Segment, pointer};
use crate::protection::{Protection, known_form};

/// The attribute in which bridges list what is protected already: `<pointer> <class> <form>`, comma-separated.
pub(crate) const GOVPROTECTED: &str = "govprotected";
/// Entries kept; an event with more protected places than that lists the first ones.
const ENTRIES_MAX: usize = 48;

/// What was done to one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) pointer: String,
    /// `-` for a protection by field.
    pub(crate) class: String,
    pub(crate) form: Protection,
}

pub(crate) fn parse_entries(text: &str) -> Vec<Entry> {
    text.split(',')
        .take(ENTRIES_MAX)
        .filter_map(|entry| {
            let mut words = entry.split(' ');
            let (pointer, class, form) = (words.next()?, words.next()?, words.next()?);
            Some(Entry {
                pointer: pointer.to_owned(),
                class: class.to_owned(),
                form: Protection::parse_form(form)?,
            })
        })
        .collect()
}

pub(crate) fn write_entries(entries: &[Entry]) -> String {
    let entry = |entry: &Entry| format!("{} {} {}", entry.pointer, entry.class, entry.form.form());
    entries.iter().take(ENTRIES_MAX).map(entry).collect::<Vec<_>>().join(",")
}

/// All demands of the rules that apply to an event.
pub(crate) struct Demands<'a> {
    pub(crate) items: Vec<&'a Protect>,
    /// What the event says is protected already.
    pub(crate) known: Vec<Entry>,
    /// What was done by this pass.
    pub(crate) done: Vec<Entry>,
}

impl<'a> Demands<'a> {
    pub(crate) fn new(items: Vec<&'a Protect>, event: &Event) -> Demands<'a> {
        let known = event.attribute(GOVPROTECTED).and_then(|value| value.as_str().map(parse_entries));
        Demands { items, known: known.unwrap_or_default(), done: Vec::new() }
    }

    /// Whether data must be looked into at all.
    pub(crate) fn concern_data(&self) -> bool {
        self.wants_classes() || self.concern_data_fields()
    }

    pub(crate) fn concern_data_fields(&self) -> bool {
        self.items.iter().any(|item| item.fields.iter().any(|path| path.attribute().is_none()))
    }

    pub(crate) fn wants_classes(&self) -> bool {
        self.items.iter().any(|item| !item.classes.is_empty())
    }

    fn by_class(&self, class: Class) -> Option<Protection> {
        let demands =
            self.items.iter().filter(|item| item.classes.contains(&class)).map(|item| item.protection);
        demands.reduce(Protection::meet)
    }

    fn by_place(&self, place: &[Segment]) -> Option<Protection> {
        let hits = |item: &&&Protect| item.fields.iter().any(|path| path.matches_data(place));
        self.items.iter().filter(hits).map(|item| item.protection).reduce(Protection::meet)
    }

    pub(crate) fn by_attribute(&self, name: &str) -> Option<Protection> {
        let hits = |item: &&&Protect| item.fields.iter().any(|path| path.attribute() == Some(name));
        self.items.iter().filter(hits).map(|item| item.protection).reduce(Protection::meet)
    }

    /// Demands by class on a place that is listed as protected: its value no longer shows what it was.
    fn by_known(&self, place: &str) -> Option<(Protection, Protection)> {
        let entry = self.known.iter().find(|entry| entry.pointer == place)?;
        let class = Class::ALL.into_iter().find(|class| class.name() == entry.class);
        let demanded = class.and_then(|class| self.by_class(class));
        Some((entry.form, demanded.unwrap_or(entry.form)))
    }

    fn note(&mut self, pointer: &str, class: &str, form: Protection) {
        self.done.push(Entry { pointer: pointer.to_owned(), class: class.to_owned(), form });
    }

    /// A whole text under a demand by field, met with everything found in it. `None`: it stays. `Some(None)`: it goes.
    pub(crate) fn whole(
        &mut self,
        pointer: &str,
        text: &str,
        demanded: Protection,
        key: Option<&str>,
    ) -> Option<Option<String>> {
        let mut protection = demanded;
        for finding in find(text, key) {
            if let Some(by_class) = self.by_class(finding.class) {
                protection = protection.meet(by_class);
            }
        }
        let listed = self.by_known(pointer).map(|(form, by_class)| form.meet(by_class));
        if let Some(form) = known_form(text).or(listed) {
            protection = protection.meet(form);
            if known_form(text) == Some(protection) {
                return None;
            }
        }
        let replacement = protection.apply(text, "");
        if replacement.as_deref() == Some(text) {
            return None;
        }
        self.note(pointer, "-", protection);
        Some(replacement)
    }

    /// The places of a text that classes demand something of, with what is to stand there.
    pub(crate) fn parts(
        &mut self,
        pointer: &str,
        text: &str,
        key: Option<&str>,
    ) -> Vec<(std::ops::Range<usize>, String)> {
        if !self.wants_classes() || known_form(text).is_some() {
            return Vec::new();
        }
        if let Some((form, demanded)) = self.by_known(pointer) {
            // Listed: the meet with the form it has.
            let met = form.meet(demanded);
            if met == form {
                return Vec::new();
            }
            self.note(pointer, "-", met);
            let replacement = met.apply(text, "").unwrap_or_default();
            return vec![(0..text.len(), replacement)];
        }
        let mut parts = Vec::new();
        for finding in find(text, key) {
            let Some(protection) = self.by_class(finding.class) else { continue };
            let class = finding.class.name();
            let old = &text[finding.range.clone()];
            let replacement = protection.apply(old, class).unwrap_or_default();
            if replacement != old {
                self.note(pointer, class, protection);
                parts.push((finding.range, replacement));
            }
        }
        parts
    }

    /// Whether a class demands that the only thing in `text` is dropped: then its member goes too.
    fn drops_all(&self, text: &str, key: Option<&str>) -> bool {
        match find(text, key).as_slice() {
            [finding] => {
                finding.range == (0..text.len()) && self.by_class(finding.class) == Some(Protection::Drop)
            }
            _ => false,
        }
    }
}

fn key_of(place: &[Segment]) -> Option<&str> {
    place.iter().rev().find_map(|segment| match segment {
        Segment::Name(name) => Some(name.as_str()),
        Segment::Index(_) => None,
    })
}

impl Visitor for Demands<'_> {
    fn value(&mut self, place: &[Segment], kind: Kind, raw: &str, decoded: Option<&Decoded>) -> Edit {
        // A demand on a subtree holds for each leaf below it, unless the subtree itself is replaced.
        let inherited =
            (0..=place.len()).filter_map(|end| self.by_place(&place[..end])).reduce(Protection::meet);
        let pointer = pointer(place);
        let key = key_of(place);
        match kind {
            Kind::Object | Kind::Array => match self.by_place(place) {
                Some(Protection::Drop) => {
                    self.note(&pointer, "-", Protection::Drop);
                    Edit::Remove
                }
                Some(Protection::Redact) => {
                    self.note(&pointer, "-", Protection::Redact);
                    Edit::Replace(if kind == Kind::Object { "{}" } else { "[]" }.to_owned())
                }
                _ => Edit::Keep,
            },
            Kind::Word => match inherited {
                Some(Protection::Drop) => {
                    self.note(&pointer, "-", Protection::Drop);
                    Edit::Remove
                }
                Some(_) if raw != "null" => {
                    self.note(&pointer, "-", Protection::Redact);
                    Edit::Replace("null".to_owned())
                }
                _ => Edit::Keep,
            },
            Kind::Number => {
                let class = find(raw, key).first().map(|finding| finding.class);
                let demanded = inherited.into_iter().chain(class.and_then(|class| self.by_class(class)));
                let Some(protection) = demanded.reduce(Protection::meet) else { return Edit::Keep };
                let class = class.filter(|_| inherited.is_none()).map(Class::name);
                self.note(&pointer, class.unwrap_or("-"), protection);
                match protection {
                    Protection::Drop => Edit::Remove,
                    Protection::Redact => Edit::Replace("null".to_owned()),
                    other => {
                        Edit::Replace(quote(&other.apply(raw, class.unwrap_or_default()).unwrap_or_default()))
                    }
                }
            }
            Kind::String => {
                let Some(decoded) = decoded else { return Edit::Keep };
                if let Some(demanded) = inherited {
                    return match self.whole(&pointer, &decoded.text, demanded, key) {
                        None => Edit::Keep,
                        Some(None) => Edit::Remove,
                        Some(Some(text)) => Edit::Replace(quote(&text)),
                    };
                }
                if self.drops_all(&decoded.text, key) {
                    self.note(&pointer, "-", Protection::Drop);
                    return Edit::Remove;
                }
                let parts = self.parts(&pointer, &decoded.text, key);
                if parts.is_empty() {
                    return Edit::Keep;
                }
                // Cut at the places of the source, so that what stays keeps its spelling.
                let start = decoded.raw(&(0..0)).start;
                let mut out = String::from("\"");
                let mut at = start;
                for (range, replacement) in parts {
                    let range = decoded.raw(&range);
                    out.push_str(&raw[at - start + 1..range.start - start + 1]);
                    out.push_str(&quote_inner(&replacement));
                    at = range.end;
                }
                out.push_str(&raw[at - start + 1..]);
                Edit::Replace(out)
            }
        }
    }

    fn key(&mut self, place: &[Segment], name: &Decoded) -> Edit {
        let Some(finding) = find(&name.text, None).into_iter().next() else { return Edit::Keep };
        let Some(protection) = self.by_class(finding.class) else { return Edit::Keep };
        let class = finding.class.name();
        let parent = &place[..place.len().saturating_sub(1)];
        self.note(&pointer(parent), class, protection);
        match protection {
            Protection::Drop => Edit::Remove,
            Protection::Hash => {
                Edit::Replace(quote(&protection.apply(&name.text, class).unwrap_or_default()))
            }
            Protection::Redact | Protection::Mask { .. } => {
                // Made unique by a number: two members of one name would be one to most readers.
                let count = self.done.iter().filter(|entry| entry.class == class).count();
                let number = if count > 1 { format!("#{count}") } else { String::new() };
                Edit::Replace(quote(&format!("[redacted:{class}]{number}")))
            }
        }
    }
}

/// The attributes after all demands: name and new text, `None` where the attribute goes.
pub(crate) fn attributes(demands: &mut Demands<'_>, event: &Event) -> Vec<(String, Option<String>)> {
    let mut edits = Vec::new();
    for (name, value) in event.attributes() {
        if matches!(name, "id" | "source" | "type" | GOVPROTECTED)
            || matches!(value, AttributeValue::Binary(_))
        {
            continue;
        }
        let text = value.to_text();
        let pointer = format!("/{name}");
        if let Some(demanded) = demands.by_attribute(name) {
            if let Some(edit) = demands.whole(&pointer, &text, demanded, Some(name)) {
                edits.push((name.to_owned(), edit));
            }
        } else if name != "time" && name != "traceparent" {
            let edited = splice(&text, demands.parts(&pointer, &text, Some(name)));
            edits.extend(edited.map(|text| (name.to_owned(), (!text.is_empty()).then_some(text))));
        }
    }
    edits
}

/// `text` with its parts replaced; `None` where there are none.
pub(crate) fn splice(text: &str, parts: Vec<(std::ops::Range<usize>, String)>) -> Option<String> {
    if parts.is_empty() {
        return None;
    }
    let mut out = String::new();
    let mut at = 0;
    for (range, replacement) in parts {
        out.push_str(&text[at..range.start]);
        out.push_str(&replacement);
        at = range.end;
    }
    out.push_str(&text[at..]);
    Some(out)
}
