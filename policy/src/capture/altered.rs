//! Where the protected view of an event is not what was judged.
//!
//! Who captures an event knows both, and writes down the places, never what was there. So a reader need not guess them
//! from what protected values look like. The rule is careful in one direction: a place that is not named here is what
//! it was.

use std::collections::BTreeSet;

use meshbridge_detect::tape::{Kind, Tape, TapeBuffer};
use meshbridge_event::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Paths, path, pointer};
use crate::condition::has_duplicates;
use crate::engine::json_of;

/// Places that are named one by one; with more the whole data counts as altered.
const PLACES_MAX: usize = 512;

/// Places of the view that are not what they were. The default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Altered {
    /// Attributes with another value, or that were not there.
    pub(crate) attributes: BTreeSet<String>,
    /// Some attributes are gone; which, the view does not tell, so it may be any that it lacks.
    pub(crate) attributes_missing: bool,
    /// Values, or whole subtrees. The empty path is all of the data.
    pub(crate) data: Paths,
    /// Objects that some members are gone from.
    pub(crate) missing: Paths,
}

/// As captures have it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AlteredText {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    attributes: BTreeSet<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    attributes_missing: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    members_missing: Vec<String>,
}

impl From<&Altered> for AlteredText {
    fn from(altered: &Altered) -> AlteredText {
        AlteredText {
            attributes: altered.attributes.clone(),
            attributes_missing: altered.attributes_missing,
            data: altered.data.iter().map(|at| pointer(at)).collect(),
            members_missing: altered.missing.iter().map(|at| pointer(at)).collect(),
        }
    }
}

impl From<AlteredText> for Altered {
    fn from(text: AlteredText) -> Altered {
        Altered {
            attributes: text.attributes,
            attributes_missing: text.attributes_missing,
            data: text.data.iter().map(|at| path(at)).collect(),
            missing: text.members_missing.iter().map(|at| path(at)).collect(),
        }
    }
}

impl Altered {
    /// Where `view` differs from what was judged; `None` where it is the same, byte for byte.
    pub(super) fn between(judged: &Event, view: &Event) -> Option<Altered> {
        if judged.encoded() == view.encoded() {
            return None;
        }
        let mut altered = Altered::default();
        for (name, value) in view.attributes() {
            if judged.attribute(name) != Some(value) {
                altered.attributes.insert(name.to_owned());
            }
        }
        altered.attributes_missing = judged.attributes().any(|(name, _)| view.attribute(name).is_none());
        if judged.data_kind() != view.data_kind() || judged.data_bytes() != view.data_bytes() {
            altered.data(judged, view);
        }
        if altered == Altered::default() {
            // They differ in what nobody can name: then everything may differ.
            altered.data.insert(Vec::new());
            altered.attributes_missing = true;
            altered.attributes.extend(view.attributes().map(|(name, _)| name.to_owned()));
        }
        Some(altered)
    }

    /// Nothing but what an outline shows is known, and of that not what is named here.
    pub(super) fn outline(hidden: impl IntoIterator<Item = String>) -> Altered {
        Altered {
            attributes: hidden.into_iter().collect(),
            attributes_missing: true,
            data: Paths::from([Vec::new()]),
            missing: Paths::new(),
        }
    }

    fn data(&mut self, judged: &Event, view: &Event) {
        let (mut first, mut second) = (TapeBuffer::new(), TapeBuffer::new());
        let tapes = (json_of(judged), json_of(view));
        let all = |altered: &mut Altered| {
            altered.data = Paths::from([Vec::new()]);
            altered.missing.clear();
        };
        let (Some(judged), Some(view)) = tapes else { return all(self) };
        let (Ok(judged), Ok(view)) = (first.parse(judged), second.parse(view)) else { return all(self) };
        // Of members with one name readers see one, and an edit may leave another one.
        if has_duplicates(&judged) || has_duplicates(&view) {
            return all(self);
        }
        self.node((&judged, 0), (&view, 0), &mut Vec::new());
        if self.data.len() + self.missing.len() > PLACES_MAX
            || (self.data.is_empty() && self.missing.is_empty())
        {
            // Where only white space and spelling differ, the whole is named: it does not happen.
            all(self);
        }
    }

    fn node(&mut self, judged: (&Tape<'_>, u32), view: (&Tape<'_>, u32), at: &mut Vec<String>) {
        let (old, new) = (judged.0.node(judged.1), view.0.node(view.1));
        if judged.0.raw(judged.1) == view.0.raw(view.1) || self.data.len() > PLACES_MAX {
            return;
        }
        match (old.kind, new.kind) {
            (Kind::Object, Kind::Object) => {
                let member =
                    |name: &str| judged.0.members(judged.1).find(|(key, _)| judged.0.unescape(*key) == name);
                let mut same = 0;
                for (key, value) in view.0.members(view.1) {
                    let name = view.0.unescape(key);
                    at.push(name.to_string());
                    match member(&name) {
                        Some((_, before)) => {
                            same += 1;
                            self.node((judged.0, before), (view.0, value), at);
                        }
                        None => _ = self.data.insert(at.clone()),
                    }
                    at.pop();
                }
                if same < judged.0.members(judged.1).count() {
                    self.missing.insert(at.clone());
                }
            }
            (Kind::Array, Kind::Array)
                if judged.0.elements(judged.1).count() == view.0.elements(view.1).count() =>
            {
                let pairs = judged.0.elements(judged.1).zip(view.0.elements(view.1));
                for (index, (before, after)) in pairs.enumerate() {
                    at.push(index.to_string());
                    self.node((judged.0, before), (view.0, after), at);
                    at.pop();
                }
            }
            _ => _ = self.data.insert(at.clone()),
        }
    }

    /// Whether an attribute may not be what the view says of it.
    pub(crate) fn hides_attribute(&self, view: &Event, name: &str) -> bool {
        self.attributes.contains(name)
            || (self.attributes_missing && name != "specversion" && view.attribute(name).is_none())
    }

    /// Whether anything of the data may not be what the view says.
    pub(crate) fn hides_data(&self) -> bool {
        !self.data.is_empty() || !self.missing.is_empty()
    }

    /// Whether what a condition reads under this path may not be what the view says. `json` is the view's data.
    pub(crate) fn hides_path(&self, json: Option<&Value>, read: &[String]) -> bool {
        let meet = |at: &Vec<String>| at.starts_with(read) || read.starts_with(at);
        if self.data.iter().any(meet) {
            return true;
        }
        self.missing.iter().any(|object| {
            if object.starts_with(read) {
                return true;
            }
            // What is still there is what was there, and what is not may have been.
            let is_below = read.starts_with(object);
            is_below && json.and_then(|json| json.pointer(&pointer(&read[..=object.len()]))).is_none()
        })
    }

    /// Whether a protection was made, or something stripped: more than what bridges note for each other.
    pub(crate) fn is_protected(&self) -> bool {
        let is_note = |name: &String| matches!(name.as_str(), "govprotected" | "govwarn");
        self.hides_data() || self.attributes_missing || self.attributes.iter().any(|name| !is_note(name))
    }
}
