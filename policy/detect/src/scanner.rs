//! The walk over a text or tape: which strings are looked at, under which names, through which layers.
//!
//! Most strings end in [`profile`], one pass over their bytes. A string that may hold something is unescaped and
//! folded if it needs that, looked through flat, and then its layers: JSON in it, percent-encoded words and runs of
//! base64, two levels deep, within a budget of decoded bytes. Everything found in one token of the tape is settled
//! together at its end, by bytes of the scanned text.

mod beside;
mod columns;
mod escapes;
mod layers;
mod parts;
mod points;
mod profile;
mod settle;

use crate::class::{Class, ClassSet};
use crate::finding::{Confidence, Finding, ScanError};
use crate::flat::{self, Hit, Kind as FlatKind, Run, View};
use crate::fold;
use crate::keys::{Hint, KeyCache};
use crate::tape::{self, Kind, Tape, TapeBuffer};

use columns::{Title, Titles};
use layers::{Layer, Places, has_form};
use profile::{LENGTH_MIN, Profile, Signs, expand, is_candidate, profile, profile_of};
use settle::Raw;

/// Layers inside layers are looked at this deep (POLICY §6, rule 1).
const LEVELS_MAX: u8 = 2;

/// Bytes of decoded layers in one text, unless [`Scanner::with_budget`] says otherwise.
const BUDGET_BYTES: usize = 1024 * 1024;

/// Shorter numbers are nobody's.
const NUMBER_BYTES_MIN: u32 = 7;

/// Members looked at for what describes a value, and bytes of such a description.
const DESCRIBED_MAX: usize = 8;
const DESCRIPTION_BYTES_MAX: u32 = 64;

/// Looks for personal data; keeps its buffers from text to text, so that an event without any costs no allocation.
#[derive(Debug)]
pub struct Scanner {
    keys: KeyCache,
    run: Box<Run>,
    hits: Vec<Hit>,
    found: Vec<Raw>,
    layers: Vec<Layer>,
    tapes: Vec<TapeBuffer>,
    above: Vec<Above>,
    budget_bytes: usize,
    spent_bytes: usize,
}

/// An open object or array: the node behind it, and what holds for its values.
#[derive(Clone, Copy, Debug)]
struct Above {
    next: u32,
    hint: Hint,
    /// What its first members say of those that are described, once somebody has asked. Their names may be long, and
    /// are read once for all that stand beside them.
    said: Option<Hint>,
    /// The value of the first longitude in it, in the same way; the root, which is no member, where it has none.
    longitude: Option<u32>,
    /// Whether a member says that it is a person, once somebody has asked.
    is_person: Option<bool>,
    /// Of an array, the names of the columns of the rows in it.
    titles: Titles,
    /// Of a row, the name of its next cell.
    title: Option<Title>,
}

/// What one scan is asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    wanted: ClassSet,
    least: Confidence,
}

/// One string on its way through the layers.
#[derive(Clone, Copy, Debug)]
struct Value<'v> {
    text: &'v str,
    /// Where its bytes stand in the scanned text.
    places: Places<'v>,
    hint: Hint,
    /// How many layers it was decoded from.
    level: u8,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner::new()
    }
}

impl Scanner {
    pub fn new() -> Scanner {
        Scanner {
            keys: KeyCache::new(),
            run: Box::new(Run::new()),
            hits: Vec::new(),
            found: Vec::new(),
            layers: Vec::new(),
            tapes: Vec::new(),
            above: Vec::new(),
            budget_bytes: BUDGET_BYTES,
            spent_bytes: 0,
        }
    }

    /// A scanner that looks at no more than `bytes` of decoded layers in one text; beyond that the scan is an error.
    #[must_use]
    pub fn with_budget(mut self, bytes: usize) -> Scanner {
        self.budget_bytes = bytes;
        self
    }

    /// Appends what stands in JSON, in document order: in strings, numbers and the names of members.
    ///
    /// # Errors
    /// Where encoded layers exceed the budget. What was appended until then stays.
    pub fn scan_json(
        &mut self,
        tape: &Tape<'_>,
        wanted: &ClassSet,
        least: Confidence,
        out: &mut Vec<Finding>,
    ) -> Result<(), ScanError> {
        self.spent_bytes = 0;
        self.above.clear();
        self.found.clear();
        self.walk(tape, Places::at(0), Hint::NONE, 0, Asked { wanted: *wanted, least }, Some(out))
    }

    /// Appends what stands in a text that is no JSON: plain, CSV, Markdown.
    ///
    /// # Errors
    /// As [`Scanner::scan_json`], and where the text has 4 GiB or more.
    pub fn scan_text(
        &mut self,
        text: &str,
        wanted: &ClassSet,
        least: Confidence,
        out: &mut Vec<Finding>,
    ) -> Result<(), ScanError> {
        self.scan_value(text, None, wanted, least, out)
    }

    /// Appends what stands in one value, as an attribute of an event, under the name `key`.
    ///
    /// # Errors
    /// As [`Scanner::scan_text`].
    pub fn scan_value(
        &mut self,
        value: &str,
        key: Option<&str>,
        wanted: &ClassSet,
        least: Confidence,
        out: &mut Vec<Finding>,
    ) -> Result<(), ScanError> {
        if value.len() >= u32::MAX as usize {
            return Err(ScanError::Size);
        }
        self.spent_bytes = 0;
        self.above.clear();
        self.found.clear();
        let hint = key.map_or(Hint::NONE, |key| Hint::NONE.below(self.keys.name(key, is_candidate).hint));
        let asked = Asked { wanted: *wanted, least };
        self.value(Value { text: value, places: Places::at(0), hint, level: 0 }, asked)?;
        settle::settle(&mut self.found, None, out);
        Ok(())
    }

    /// Walks the nodes of a tape whose text stands at `places`. With `out`, each token is settled by itself; without,
    /// in a layer, everything is left to the token outside.
    fn walk(
        &mut self,
        tape: &Tape<'_>,
        places: Places<'_>,
        outside: Hint,
        level: u8,
        asked: Asked,
        mut out: Option<&mut Vec<Finding>>,
    ) -> Result<(), ScanError> {
        let floor = self.above.len();
        let bytes = tape.text().as_bytes();
        // What holds for values here, and the node with which that ends.
        let mut around = outside;
        let mut around_ends = u32::MAX;
        let mut in_row = false;
        let mut named = None;
        for (index, node) in tape.nodes().iter().enumerate() {
            let index = index as u32;
            if index >= around_ends {
                while self.above.len() > floor && self.above[self.above.len() - 1].next <= index {
                    self.above.pop();
                }
                (around, around_ends, in_row) = match self.above.get(floor..).and_then(<[Above]>::last) {
                    Some(above) => (above.hint, above.next, above.title.is_some()),
                    None => (outside, u32::MAX, false),
                };
            }
            let hint = match named.take() {
                Some(hint) => hint,
                None if in_row => self.next_cell(tape, around),
                None => around,
            };
            match node.kind {
                Kind::Key => {
                    let name = if node.escaped {
                        self.keys.name(&tape.unescape(index), is_candidate)
                    } else {
                        self.keys.name_at(tape.text(), node.start + 1..node.end - 1, is_candidate)
                    };
                    let mut hint = around.below(name.hint);
                    if name.hint.has(Hint::DESCRIBED) && hint.is_silent() {
                        hint = self.described(tape, index, hint);
                    }
                    if hint.has(Hint::BARE_NAME) {
                        let is_own = name.hint.says(Class::NAME);
                        if hint.says(Class::NAME) && !is_own && self.is_of_a_pair(tape, index) {
                            hint.classes.remove(Class::NAME);
                        } else if !hint.says(Class::NAME) && self.is_of_a_person(tape, index) {
                            hint.classes.insert(Class::NAME);
                        }
                    }
                    named = Some(hint);
                    if name.is_candidate {
                        self.string(tape, index, places, Hint::NONE, level, asked)?;
                    }
                    if hint.has(Hint::LATITUDE) && asked.wanted.contains(Class::GEO_POINT) {
                        self.coordinates(tape, index, places, level, asked, out.as_deref_mut());
                    }
                }
                Kind::String if !node.escaped => {
                    let (start, end) = (node.start as usize + 1, node.end as usize - 1);
                    let is_silent = hint.is_silent();
                    if is_silent && end - start < LENGTH_MIN {
                        continue;
                    }
                    let profile = profile_of(bytes, start, end);
                    let inside = &bytes[start..end];
                    let may_hold = || profile.is_candidate(inside) && !profile.is_time_or_uuid(inside);
                    if is_silent && profile.is_ascii && !may_hold() {
                        continue;
                    }
                    let value =
                        Value { text: tape.inner(index), places: places.behind(node.start + 1), hint, level };
                    self.profiled(value, profile, asked)?;
                }
                Kind::String => self.string(tape, index, places, hint, level, asked)?,
                Kind::Number if node.end - node.start < NUMBER_BYTES_MIN => continue,
                Kind::Number => self.number(tape.raw(index), places.behind(node.start), hint, level, asked),
                Kind::Object | Kind::Array => {
                    let (mut titles, mut title) = (Titles::default(), None);
                    if node.kind == Kind::Array {
                        let outside = self.above.get(floor..).and_then(<[Above]>::last);
                        title = outside.and_then(|above| above.titles.first(index));
                        let first = tape.nodes().get(index as usize + 1);
                        if node.next > index + 1 && first.is_some_and(|first| first.kind == Kind::Array) {
                            titles = self.titles(tape, index);
                        }
                    }
                    let (said, longitude, is_person) = (None, None, None);
                    self.above.push(Above {
                        next: node.next,
                        hint,
                        said,
                        longitude,
                        is_person,
                        titles,
                        title,
                    });
                    (around, around_ends, in_row) = (hint, node.next, title.is_some());
                    if node.kind == Kind::Array && hint.says(Class::GEO_POINT) {
                        self.point_array(tape, (index, hint), places, level, asked, out.as_deref_mut());
                    }
                    continue;
                }
                Kind::True | Kind::False | Kind::Null => continue,
            }
            if !self.found.is_empty()
                && let Some(out) = &mut out
            {
                settle::settle(&mut self.found, Some(index), out);
            }
        }
        self.above.truncate(floor);
        Ok(())
    }

    fn string(
        &mut self,
        tape: &Tape<'_>,
        index: u32,
        places: Places<'_>,
        hint: Hint,
        level: u8,
        asked: Asked,
    ) -> Result<(), ScanError> {
        let node = tape.node(index);
        let inner = tape.inner(index);
        let inside = places.behind(node.start + 1);
        if !node.escaped {
            return self.value(Value { text: inner, places: inside, hint, level }, asked);
        }
        let mut layer = self.layer();
        tape::unescape(inner, &mut layer.text, |place| layer.places.push(inside.of(place as usize)));
        let value = Value { text: &layer.text, places: inside.decoded(&layer.places), hint, level };
        let outcome = self.value(value, asked);
        self.give_back(layer);
        outcome
    }

    /// A text on one level: flat, then its layers.
    fn value(&mut self, value: Value<'_>, asked: Asked) -> Result<(), ScanError> {
        let profile = profile(value.text.as_bytes()).of_written(value.text.as_bytes());
        if profile.is_ascii && value.hint.is_silent() && !profile.is_candidate(value.text.as_bytes()) {
            return Ok(());
        }
        self.profiled(value, profile, asked)
    }

    /// A text that may hold something.
    fn profiled(&mut self, value: Value<'_>, profile: Profile, asked: Asked) -> Result<(), ScanError> {
        if profile.is_ascii || !fold::is_needed(value.text) {
            return self.plain(value, profile, asked);
        }
        let mut layer = self.layer();
        fold::fold(value.text, &mut layer.text, |place| layer.places.push(value.places.of(place)));
        let folded = Value { text: &layer.text, places: value.places.decoded(&layer.places), ..value };
        let is_written = profile.is_written;
        let mut profile = profile::profile(layer.text.as_bytes());
        profile.is_written = is_written;
        let outcome = self.plain(folded, profile, asked);
        self.give_back(layer);
        outcome
    }

    fn plain(&mut self, value: Value<'_>, profile: Profile, asked: Asked) -> Result<(), ScanError> {
        let Value { text, hint, level, .. } = value;
        let bytes = text.as_bytes();
        let is_named = !hint.is_silent();
        if is_named {
            self.hits.clear();
            flat::keyed(text, &hint, &mut self.hits);
            self.note_hits(value, asked);
        }
        let is_candidate = profile.is_candidate(bytes) || is_named && bytes.len() >= LENGTH_MIN;
        if !is_candidate || profile.is_time_or_uuid(bytes) {
            return Ok(());
        }
        if level < LEVELS_MAX && profile.braces && self.json_inside(value, asked)? {
            return Ok(());
        }
        self.hits.clear();
        let mut view = View::new(text, hint, FlatKind::Text, asked.wanted, &mut self.hits);
        view.walk(&mut self.run);
        self.note_hits(value, asked);
        if profile.is_written {
            self.table_inside(value, asked);
        }
        let signs = Signs::of(bytes);
        if signs.equals || signs.tag || profile.is_written {
            self.named_inside(value, asked);
        }
        if level < LEVELS_MAX {
            if signs.brace && !profile.braces {
                self.json_within(value, asked)?;
            }
            if profile.has_sign || signs.plus && has_form(bytes) {
                self.percent_inside(value, asked)?;
            }
            if signs.equals || signs.escape {
                self.escapes_inside(value, asked)?;
            }
            if profile.is_mixed() {
                self.base64_inside(value, asked)?;
            }
        }
        Ok(())
    }

    /// The digits of a number, also where it is written with an exponent or a fraction of zeros.
    fn number(&mut self, raw: &str, places: Places<'_>, hint: Hint, level: u8, asked: Asked) {
        let mut digits = [0; 40];
        let (text, places) = if raw.bytes().all(|byte| byte.is_ascii_digit()) {
            (raw, places)
        } else {
            let Some(length) = expand(raw, &mut digits) else { return };
            // Nothing but digits was written to it.
            let Ok(text) = str::from_utf8(&digits[..length]) else { return };
            let end = places.of(raw.len());
            (text, Places::whole(places.of(0)..end))
        };
        let value = Value { text, places, hint, level };
        if hint.says(Class::BIRTH_DATE) {
            self.hits.clear();
            flat::keyed(text, &hint, &mut self.hits);
            self.note_hits(value, asked);
        }
        self.hits.clear();
        View::new(text, hint, FlatKind::Number, asked.wanted, &mut self.hits).walk(&mut self.run);
        self.note_hits(value, asked);
    }

    fn note_hits(&mut self, value: Value<'_>, asked: Asked) {
        if self.hits.is_empty() {
            return;
        }
        let least = asked.least.threshold();
        for hit in self.hits.drain(..) {
            if hit.strength >= least && asked.wanted.contains(hit.class) {
                let range = value.places.range(hit.start as usize..hit.end as usize);
                let nested = value.level > 0;
                self.found.push(Raw { class: hit.class, range, strength: hit.strength, nested });
            }
        }
    }

    fn layer(&mut self) -> Layer {
        self.layers.pop().unwrap_or_default()
    }

    fn give_back(&mut self, mut layer: Layer) {
        layer.clear();
        self.layers.push(layer);
    }
}

#[cfg(test)]
mod tests;
