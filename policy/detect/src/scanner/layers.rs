//! Text inside text: JSON in a string, percent-encoded words, base64 (POLICY §6, rule 1).

use std::ops::Range;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Asked, Scanner, Value};
use crate::finding::ScanError;
use crate::flat;
use crate::keys::Hint;

/// Capacity of a buffer that is kept for the next text.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Fewer characters of base64 hide nothing worth the false alarms.
const BASE64_MIN: usize = 12;

/// So many segments of a path are looked at.
const SEGMENTS_MAX: usize = 32;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// A decoded text, and where each of its bytes, and its end, stand in the scanned one.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) text: String,
    pub(super) places: Vec<u32>,
}

impl Layer {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(KEPT_BYTES_MAX);
        self.places.clear();
        self.places.shrink_to(KEPT_BYTES_MAX);
    }
}

/// Where the bytes of a text stand in the scanned one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Places<'p> {
    /// One after the other from here on.
    From(u32),
    /// Each by itself, and the end.
    Table(&'p [u32]),
    /// All of them in one piece that cannot be divided.
    Whole(u32, u32),
}

impl<'p> Places<'p> {
    pub(super) fn at(start: u32) -> Places<'static> {
        Places::From(start)
    }

    /// Of a text that was made from this one, by the table that goes with it: what cannot be divided stays so.
    pub(super) fn decoded(self, places: &'p [u32]) -> Places<'p> {
        match self {
            Places::Whole(..) => self,
            _ => Places::Table(places),
        }
    }

    pub(super) fn whole(range: Range<u32>) -> Places<'static> {
        Places::Whole(range.start, range.end)
    }

    /// The places of the text from `start` on.
    pub(super) fn behind(self, start: u32) -> Places<'p> {
        match self {
            Places::From(base) => Places::From(base + start),
            Places::Table(places) => Places::Table(&places[start as usize..]),
            whole => whole,
        }
    }

    pub(super) fn of(self, byte: usize) -> u32 {
        match self {
            Places::From(base) => base + byte as u32,
            Places::Table(places) => places[byte],
            Places::Whole(start, end) => {
                if byte == 0 {
                    start
                } else {
                    end
                }
            }
        }
    }

    /// Bytes of the scanned text that stand for a range of this one.
    pub(super) fn range(self, range: Range<usize>) -> Range<u32> {
        match self {
            Places::Whole(start, end) => start..end,
            places => places.of(range.start)..places.of(range.end),
        }
    }
}

impl Scanner {
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), ScanError> {
        self.spent_bytes += bytes;
        if self.spent_bytes > self.budget_bytes {
            return Err(ScanError::Budget { bytes: self.budget_bytes });
        }
        Ok(())
    }

    /// Looks through a text that is JSON as a whole; whether it was.
    pub(super) fn json_inside(&mut self, value: Value<'_>, asked: Asked) -> Result<bool, ScanError> {
        self.spend(value.text.len())?;
        let mut buffer = self.tapes.pop().unwrap_or_default();
        let outcome = match buffer.parse(value.text) {
            Ok(tape) => {
                let around = Hint { flags: value.hint.flags & (Hint::PERSON | Hint::PLACE), ..Hint::NONE };
                self.walk(&tape, value.places, around, value.level + 1, asked, None).map(|()| true)
            }
            Err(_) => Ok(false),
        };
        self.tapes.push(buffer);
        outcome
    }

    /// Decodes the words that have `%` and two hexadecimal digits, and the fields of forms, in which `+` is a space. What no such sequence is part of is found
    /// again, and settled as one with what stands there.
    pub(super) fn percent_inside(&mut self, value: Value<'_>, asked: Asked) -> Result<(), ScanError> {
        let bytes = value.text.as_bytes();
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\t' | b'\r' | b'"');
        let mut at = 0;
        // Of the word around `at`: where it begins, and whether the sign of a field was seen in it. A sign that is not
        // encoded does not end it.
        let (mut start, mut is_form) = (0, false);
        while let Some(sign) = memchr::memchr2(b'%', b'+', &bytes[at..]).map(|found| at + found) {
            if let Some(space) = bytes[at..sign].iter().rposition(is_space) {
                (start, is_form) = (at + space + 1, false);
            }
            is_form |= memchr::memchr(b'=', &bytes[start.max(at)..sign]).is_some();
            let is_encoded = match bytes[sign] {
                b'%' => hex_pair(&bytes[sign..]).is_some(),
                _ => is_form,
            };
            if !is_encoded {
                at = sign + 1;
                continue;
            }
            let end = bytes[sign..].iter().position(is_space).map_or(bytes.len(), |space| sign + space);
            let word = start..end;
            (at, start, is_form) = (end, end, false);
            self.spend(word.len())?;
            let mut layer = self.layer();
            let place = |byte| value.places.of(word.start + byte);
            percent_decode(&value.text[word.clone()], &mut layer, place);
            let places = value.places.decoded(&layer.places);
            let inside = Value { text: &layer.text, places, level: value.level + 1, ..value };
            let outcome = self.value(inside, asked);
            self.give_back(layer);
            outcome?;
        }
        Ok(())
    }

    /// Decodes runs of base64 that give readable text.
    pub(super) fn base64_inside(&mut self, value: Value<'_>, asked: Asked) -> Result<(), ScanError> {
        let bytes = value.text.as_bytes();
        // A run begins at `at` or later; what may stand before it was looked at.
        let mut at = 0;
        while let Some(head) = bytes.get(at..at + BASE64_MIN) {
            // Backwards, so that what is too short to be looked at is passed in one step.
            if let Some(other) = head.iter().rposition(|byte| !is_base64(*byte)) {
                at += other + 1;
                continue;
            }
            let behind = &bytes[at + BASE64_MIN..];
            let length =
                BASE64_MIN + behind.iter().position(|byte| !is_base64(*byte)).unwrap_or(behind.len());
            let padding = bytes[at + length..].iter().take(2).take_while(|byte| **byte == b'=').count();
            let run = at..at + length + padding;
            at = run.end + 1;
            if may_be_text(&bytes[run.clone()]) && !self.base64_run(value, run.clone(), asked)? {
                self.base64_segments(value, run, asked)?;
            }
        }
        Ok(())
    }

    /// Decodes what stands behind a `/` of a run, to its end or to the next one, as in the paths of addresses.
    fn base64_segments(
        &mut self,
        value: Value<'_>,
        run: Range<usize>,
        asked: Asked,
    ) -> Result<(), ScanError> {
        let bytes = value.text.as_bytes();
        let mut next = run.start;
        // In data that is no text every 64th character is a `/`, and some of what follows would look like text at first.
        for _ in 0..SEGMENTS_MAX {
            if next >= run.end {
                break;
            }
            let start = next;
            let slash = memchr::memchr(b'/', &bytes[start..run.end]);
            let end = slash.map_or(run.end, |slash| start + slash);
            next = end + 1;
            if run.end - start < BASE64_MIN || start == run.start && end == run.end {
                continue;
            }
            if start > run.start && self.base64_run(value, start..run.end, asked)? {
                return Ok(());
            }
            if end - start >= BASE64_MIN && end < run.end && may_be_text(&bytes[start..end]) {
                self.base64_run(value, start..end, asked)?;
            }
        }
        Ok(())
    }

    /// Looks through a run of base64; whether it was one of readable text.
    fn base64_run(&mut self, value: Value<'_>, run: Range<usize>, asked: Asked) -> Result<bool, ScanError> {
        let encoded = &value.text.as_bytes()[run.clone()];
        let engine_of = |text: &[u8]| {
            if text.iter().any(|byte| matches!(byte, b'-' | b'_')) { &BASE64_URL } else { &BASE64 }
        };
        // Random text fails within the first few bytes.
        let (first, mut head) = (&encoded[..BASE64_MIN], [0; 9]);
        if engine_of(first).decode_slice(first, &mut head).is_err() {
            return Ok(false);
        }
        let wide = Wide::of(&head);
        if wide.is_none() && !may_go_on(&head) {
            return Ok(false);
        }
        self.spend(encoded.len())?;
        let engine = engine_of(encoded);
        let Ok(decoded) = engine.decode(encoded) else { return Ok(false) };
        let text = match wide {
            Some(wide) => wide.text(&decoded),
            None => String::from_utf8(decoded).ok(),
        };
        let Some(text) = text.filter(|text| text.bytes().all(is_readable)) else { return Ok(false) };
        let places = Places::whole(value.places.range(run));
        self.value(Value { text: &text, places, level: value.level + 1, ..value }, asked)?;
        Ok(true)
    }
}

/// Whether a text may be fields of a form: a plus somewhere behind the sign of a field. Base64 has its signs at the end.
pub(super) fn has_form(bytes: &[u8]) -> bool {
    memchr::memrchr(b'+', bytes).is_some_and(|plus| memchr::memchr(b'=', &bytes[..plus]).is_some())
}

/// The order of the bytes of UTF-16.
#[derive(Clone, Copy, Debug)]
enum Wide {
    Little,
    Big,
}

impl Wide {
    /// By the mark at the beginning, or by the zeros beside characters of ASCII.
    fn of(head: &[u8; 9]) -> Option<Wide> {
        let zeros = |from: usize| head[from..8].iter().step_by(2).all(|byte| *byte == 0);
        match head {
            [0xff, 0xfe, ..] => Some(Wide::Little),
            [0xfe, 0xff, ..] => Some(Wide::Big),
            _ if zeros(1) && !zeros(0) => Some(Wide::Little),
            _ if zeros(0) && !zeros(1) => Some(Wide::Big),
            _ => None,
        }
    }

    fn text(self, bytes: &[u8]) -> Option<String> {
        let units = bytes.as_chunks::<2>().0.iter().map(|unit| match self {
            Wide::Little => u16::from_le_bytes(*unit),
            Wide::Big => u16::from_be_bytes(*unit),
        });
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.ok().map(|text| text.trim_start_matches('\u{feff}').to_owned())
    }
}

fn is_base64(byte: u8) -> bool {
    flat::marks(byte) & flat::ALNUM != 0 || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Whether base64 of readable text can look like this: it has capitals and something else, and is no hexadecimal
/// number.
fn may_be_text(run: &[u8]) -> bool {
    let (any, every) = run.iter().fold((0, u8::MAX), |(any, every), byte| {
        let marks = flat::marks(*byte);
        (any | marks, every & marks)
    });
    any & flat::UPPER != 0 && any & (flat::LOWER | flat::DIGIT) != 0 && every & flat::HEX == 0
}

/// Whether readable text can begin so; a character may be cut at the end.
fn may_go_on(head: &[u8]) -> bool {
    let is_text = std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true);
    is_text && head.iter().all(|byte| is_readable(*byte))
}

fn is_readable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\n' | b'\r' | b'\t' | 0x80..)
}

pub(super) fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    Some((digit(1)? * 16 + digit(2)?) as u8)
}

/// Writes the decoded text. Bytes that are not UTF-8 are taken for Latin-1.
fn percent_decode(text: &str, layer: &mut Layer, place: impl Fn(usize) -> u32) {
    let bytes = text.as_bytes();
    // In a form a plus behind the sign of a field is a space; in a path it is one.
    let form_from = memchr::memchr(b'=', bytes).unwrap_or(bytes.len());
    let mut decoded = std::mem::take(&mut layer.text).into_bytes();
    let mut at = 0;
    while at < bytes.len() {
        layer.places.push(place(at));
        match (bytes[at], hex_pair(&bytes[at..])) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (b'+', _) if at > form_from => {
                decoded.push(b' ');
                at += 1;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    layer.places.push(place(bytes.len()));
    finish(decoded, layer);
}

/// Makes decoded bytes, whose places the layer has, its text.
pub(super) fn finish(decoded: Vec<u8>, layer: &mut Layer) {
    match String::from_utf8(decoded) {
        Ok(text) => layer.text = text,
        Err(error) => from_latin1(error.as_bytes(), layer),
    }
}

fn from_latin1(bytes: &[u8], layer: &mut Layer) {
    let places = std::mem::take(&mut layer.places);
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        layer.text.push_str(chunk.valid());
        layer.places.extend(&places[at..at + chunk.valid().len()]);
        at += chunk.valid().len();
        for byte in chunk.invalid() {
            // All of these have two bytes in UTF-8.
            layer.text.push(char::from(*byte));
            layer.places.extend([places[at]; 2]);
            at += 1;
        }
    }
    layer.places.push(places[at]);
}
