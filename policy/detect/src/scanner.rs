//! The walk over a text or tape: which strings are looked at, under which names, through which layers.
//!
//! Most strings end in [`profile`], one pass over their bytes. A string that may hold something is unescaped and
//! folded if it needs that, looked through flat, and then its layers: JSON in it, percent-encoded words and runs of
//! base64, two levels deep, within a budget of decoded bytes. Everything found in one token of the tape is settled
//! together at its end, by bytes of the scanned text.

mod layers;
mod settle;

use crate::class::{Class, ClassSet};
use crate::finding::{Confidence, Finding, ScanError};
use crate::flat::{self, Hit, Kind as FlatKind, Run, View};
use crate::fold;
use crate::keys::{Hint, KeyCache};
use crate::tape::{self, Kind, Tape, TapeBuffer};

use layers::{Layer, Places};
use settle::Raw;

/// Layers inside layers are looked at this deep (POLICY §6, rule 1).
const LEVELS_MAX: u8 = 2;

/// Bytes of decoded layers in one text, unless [`Scanner::with_budget`] says otherwise.
const BUDGET_BYTES: usize = 1024 * 1024;

/// Members looked at for the other half of a coordinate.
const SIBLINGS_MAX: usize = 64;

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
        let mut around = outside;
        let mut named = None;
        for (index, node) in tape.nodes().iter().enumerate() {
            let index = index as u32;
            while self.above.len() > floor && self.above[self.above.len() - 1].next <= index {
                self.above.pop();
                around =
                    if self.above.len() > floor { self.above[self.above.len() - 1].hint } else { outside };
            }
            let hint = named.take().unwrap_or(around);
            match node.kind {
                Kind::Key => {
                    named = Some(self.key(tape, index, places, around, level, asked)?);
                    if let Some(hint) = named
                        && hint.has(Hint::LATITUDE)
                        && asked.wanted.contains(Class::GEO_POINT)
                    {
                        self.coordinates(tape, index, places, level, asked, out.as_deref_mut());
                    }
                }
                Kind::String => {
                    self.string(tape, index, places, hint, level, asked)?;
                }
                Kind::Number => self.number(tape.raw(index), places.behind(node.start), hint, level, asked),
                Kind::Object | Kind::Array => {
                    self.above.push(Above { next: node.next, hint });
                    around = hint;
                    if node.kind == Kind::Array && hint.says(Class::GEO_POINT) {
                        self.point_array(tape, index, places, level, asked, out.as_deref_mut());
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

    /// A member's name: looked through like a value, and what it says about its own value.
    fn key(
        &mut self,
        tape: &Tape<'_>,
        index: u32,
        places: Places<'_>,
        around: Hint,
        level: u8,
        asked: Asked,
    ) -> Result<Hint, ScanError> {
        let name = if tape.node(index).escaped {
            self.keys.name(&tape.unescape(index), is_candidate)
        } else {
            self.keys.name(tape.inner(index), is_candidate)
        };
        if name.is_candidate {
            self.string(tape, index, places, Hint::NONE, level, asked)?;
        }
        Ok(around.below(name.hint))
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
        let value = Value { text: &layer.text, places: Places::table(&layer.places), hint, level };
        let outcome = self.value(value, asked);
        self.give_back(layer);
        outcome
    }

    /// A text on one level: flat, then its layers.
    fn value(&mut self, value: Value<'_>, asked: Asked) -> Result<(), ScanError> {
        let profile = profile(value.text.as_bytes());
        if profile.is_ascii && !profile.is_candidate(value.text) && value.hint.is_silent() {
            return Ok(());
        }
        if profile.is_ascii || !fold::is_needed(value.text) {
            return self.plain(value, profile, asked);
        }
        let mut layer = self.layer();
        fold::fold(value.text, &mut layer.text, |place| layer.places.push(value.places.of(place)));
        let folded = Value { text: &layer.text, places: Places::table(&layer.places), ..value };
        let profile = self::profile(layer.text.as_bytes());
        let outcome = self.plain(folded, profile, asked);
        self.give_back(layer);
        outcome
    }

    fn plain(&mut self, value: Value<'_>, profile: Profile, asked: Asked) -> Result<(), ScanError> {
        let Value { text, hint, level, .. } = value;
        let is_named = !hint.is_silent();
        if is_named {
            self.hits.clear();
            flat::keyed(text, &hint, &mut self.hits);
            self.note_hits(value, asked);
        }
        if !(profile.is_candidate(text) || is_named && text.len() >= 6) || is_time_or_uuid(text.as_bytes()) {
            return Ok(());
        }
        if level < LEVELS_MAX && profile.braces && self.json_inside(value, asked)? {
            return Ok(());
        }
        self.hits.clear();
        let mut view = View::new(text, hint, FlatKind::Text, asked.wanted, &mut self.hits);
        view.walk(&mut self.run);
        self.note_hits(value, asked);
        if level < LEVELS_MAX {
            if profile.marks & P_SIGN != 0 {
                self.percent_inside(value, asked)?;
            }
            if profile.is_mixed() {
                self.base64_inside(value, asked)?;
            }
        }
        Ok(())
    }

    /// The digits of a number, also where it is written with an exponent or a fraction of zeros.
    fn number(&mut self, raw: &str, places: Places<'_>, hint: Hint, level: u8, asked: Asked) {
        if raw.len() < 7 {
            return;
        }
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

    /// A latitude and the longitude beside it, each in its own member.
    fn coordinates(
        &mut self,
        tape: &Tape<'_>,
        key: u32,
        places: Places<'_>,
        level: u8,
        asked: Asked,
        out: Option<&mut Vec<Finding>>,
    ) {
        let object = tape.node(key).parent;
        let is_value = |index: u32| matches!(tape.node(index).kind, Kind::Number | Kind::String);
        let longitude = tape.members(object).take(SIBLINGS_MAX).find(|(sibling, value)| {
            is_value(*value) && self.keys.name(tape.inner(*sibling), is_candidate).hint.has(Hint::LONGITUDE)
        });
        let Some((_, longitude)) = longitude.filter(|_| is_value(key + 1)) else { return };
        self.pair(tape, [key + 1, longitude], places, level, asked, out);
    }

    /// `[13.4050, 52.5200]` under a name that speaks of places.
    fn point_array(
        &mut self,
        tape: &Tape<'_>,
        array: u32,
        places: Places<'_>,
        level: u8,
        asked: Asked,
        out: Option<&mut Vec<Finding>>,
    ) {
        let mut elements = tape.elements(array);
        if let (Some(first), Some(second)) = (elements.next(), elements.next())
            && elements.next().is_none_or(|third| tape.node(third).next == tape.node(array).next)
            && [first, second].iter().all(|at| tape.node(*at).kind == Kind::Number)
        {
            // Which of the two comes first differs between formats.
            let pair = if flat::geo_pair(tape.raw(first), tape.raw(second)) {
                [first, second]
            } else {
                [second, first]
            };
            self.pair(tape, pair, places, level, asked, out);
        }
    }

    fn pair(
        &mut self,
        tape: &Tape<'_>,
        [latitude, longitude]: [u32; 2],
        places: Places<'_>,
        level: u8,
        asked: Asked,
        mut out: Option<&mut Vec<Finding>>,
    ) {
        const STRENGTH: i16 = 37;
        if !asked.wanted.contains(Class::GEO_POINT)
            || !flat::geo_pair(tape.inner(latitude), tape.inner(longitude))
            || STRENGTH < asked.least.threshold()
        {
            return;
        }
        for index in [latitude, longitude] {
            let node = tape.node(index);
            let quote = u32::from(node.kind == Kind::String);
            let range = places.of((node.start + quote) as usize)..places.of((node.end - quote) as usize);
            let raw = Raw { class: Class::GEO_POINT, range, strength: STRENGTH, nested: level > 0 };
            match &mut out {
                Some(out) => settle::report(&raw, Some(index), out),
                None => self.found.push(raw),
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

/// What bytes a text has, as far as that decides whether and how to look at it.
#[derive(Clone, Copy, Debug)]
struct Profile {
    length: usize,
    marks: u8,
    is_ascii: bool,
    /// Counted as far as matters.
    digits: u8,
    /// It may be JSON as a whole.
    braces: bool,
}

const P_UPPER: u8 = 1;
const P_LOWER: u8 = 2;
const P_SIGN: u8 = 4;
const P_COLON: u8 = 8;
const P_SPACE: u8 = 16;
const P_DIGIT: u8 = 32;
const P_LESS: u8 = 64;
const P_HIGH: u8 = 128;

static PROFILE: [u8; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = match at as u8 {
            b'A'..=b'Z' => P_UPPER,
            b'a'..=b'z' => P_LOWER,
            b'@' | b'%' => P_SIGN,
            b':' => P_COLON,
            b' ' => P_SPACE,
            b'0'..=b'9' => P_DIGIT,
            b'<' => P_LESS,
            128.. => P_HIGH,
            _ => 0,
        };
        at += 1;
    }
    table
};

/// Fewer digits are no number of any class.
const DIGITS_MIN: u8 = 4;

#[inline]
fn profile(bytes: &[u8]) -> Profile {
    let marks = bytes.iter().fold(0, |marks, byte| marks | PROFILE[*byte as usize]);
    let digits = if marks & P_DIGIT == 0 {
        0
    } else {
        bytes.iter().filter(|byte| byte.is_ascii_digit()).take(DIGITS_MIN as usize).count() as u8
    };
    let braces = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
        && matches!(bytes.trim_ascii_end().last(), Some(b'}' | b']'));
    Profile { length: bytes.len(), marks, is_ascii: marks & P_HIGH == 0, digits, braces }
}

impl Profile {
    /// Whether a detector or a layer could begin in it.
    #[inline]
    fn is_candidate(&self, text: &str) -> bool {
        if self.digits >= DIGITS_MIN || self.marks & P_SIGN != 0 || self.braces {
            return self.length >= 6;
        }
        if self.marks & (P_COLON | P_LESS) != 0 && (self.digits > 0 || self.marks & P_UPPER != 0) {
            return self.length >= 6;
        }
        self.length >= 16 && self.marks & P_UPPER != 0 && has_long_word(text.as_bytes())
    }

    /// Capitals and small letters, as random text and encodings have.
    fn is_mixed(&self) -> bool {
        self.marks & P_UPPER != 0 && self.marks & P_LOWER != 0 || self.marks & P_LESS != 0
    }
}

/// Whether a name of a member may hold personal data itself.
fn is_candidate(key: &str) -> bool {
    let profile = profile(key.as_bytes());
    profile.is_candidate(key) || !profile.is_ascii && fold::is_needed(key)
}

/// Sixteen letters and digits or more, as tokens and encodings without digits have.
fn has_long_word(bytes: &[u8]) -> bool {
    let mut length = 0;
    bytes.iter().any(|byte| {
        length = if byte.is_ascii_alphanumeric() { length + 1 } else { 0 };
        length >= 16
    })
}

/// A time by RFC 3339 or a UUID, and nothing else: the commonest strings with digits.
fn is_time_or_uuid(bytes: &[u8]) -> bool {
    match bytes.len() {
        36 => bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        }),
        19..=35 => {
            [bytes[4], bytes[7], bytes[13], bytes[16]] == *b"--::"
                && matches!(bytes[10], b'T' | b't' | b' ')
                && bytes.iter().enumerate().all(|(at, byte)| match at {
                    4 | 7 | 10 | 13 | 16 => true,
                    ..19 => byte.is_ascii_digit(),
                    _ => byte.is_ascii_digit() || b".+-:Zz".contains(byte),
                })
        }
        _ => false,
    }
}

/// Writes the digits of a whole number that is written in another way, `4.2e15` or `42.0`; how many.
fn expand(raw: &str, digits: &mut [u8; 40]) -> Option<usize> {
    let raw = raw.strip_prefix('-').unwrap_or(raw);
    let (mantissa, exponent) = match raw.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (raw, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let point = usize::try_from(point).ok().filter(|point| (7..=digits.len()).contains(point))?;
    let mut all = whole.bytes().chain(fraction.bytes());
    for digit in &mut digits[..point] {
        *digit = all.next().unwrap_or(b'0');
    }
    // Behind the point there is nothing but zeros, or it is no whole number.
    all.all(|byte| byte == b'0').then_some(point)
}

#[cfg(test)]
mod tests;
