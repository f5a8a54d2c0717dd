//! Places on the Earth: a latitude and a longitude, in two members or in an array of two.

use super::layers::Places;
use super::settle::{self, Raw};
use super::{Asked, Scanner, is_candidate};
use crate::class::Class;
use crate::finding::Finding;
use crate::flat;
use crate::keys::Hint;
use crate::tape::{Kind, Tape};

/// The tape's root, which is no member.
const ROOT: u32 = 0;
/// Members looked at for the other half of a coordinate.
const SIBLINGS_MAX: usize = 64;
/// A ten-thousandth of a degree is eleven metres.
const POSITION_DECIMALS_MIN: usize = 4;

impl Scanner {
    /// A latitude and the longitude beside it, each in its own member.
    pub(super) fn coordinates(
        &mut self,
        tape: &Tape<'_>,
        key: u32,
        places: Places<'_>,
        level: u8,
        asked: Asked,
        out: Option<&mut Vec<Finding>>,
    ) {
        if !is_scalar(tape, key + 1) {
            return;
        }
        let longitude = match self.above.last().and_then(|above| above.longitude) {
            Some(longitude) => longitude,
            None => {
                let longitude = self.longitude(tape, tape.node(key).parent);
                if let Some(above) = self.above.last_mut() {
                    above.longitude = Some(longitude);
                }
                longitude
            }
        };
        if longitude != ROOT {
            self.pair(tape, [key + 1, longitude], places, level, asked, out);
        }
    }

    fn longitude(&mut self, tape: &Tape<'_>, object: u32) -> u32 {
        let mut members = tape.members(object).take(SIBLINGS_MAX);
        let found = members.find(|(sibling, value)| {
            is_scalar(tape, *value)
                && self.keys.name(tape.inner(*sibling), is_candidate).hint.has(Hint::LONGITUDE)
        });
        found.map_or(ROOT, |(_, value)| value)
    }

    /// `[13.4050, 52.5200]` under a name that speaks of places; `hint` is what it says.
    pub(super) fn point_array(
        &mut self,
        tape: &Tape<'_>,
        (array, hint): (u32, Hint),
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
            // Around the crossing of equator and prime meridian is the sea: these are metres, radians or shares.
            let is_small = |at: u32| tape.raw(at).parse::<f64>().is_ok_and(|degrees| degrees.abs() < 2.0);
            if pair.iter().all(|at| is_small(*at)) {
                return;
            }
            // Things have positions too, in metres: those on the Earth are given to ten metres or closer.
            let is_coarse = |at: &u32| decimals(tape.raw(*at)) < POSITION_DECIMALS_MIN;
            if hint.has(Hint::POSITION) && pair.iter().any(is_coarse) {
                return;
            }
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
}

fn decimals(number: &str) -> usize {
    number.split_once('.').map_or(0, |(_, behind)| behind.len())
}

fn is_scalar(tape: &Tape<'_>, index: u32) -> bool {
    matches!(tape.node(index).kind, Kind::Number | Kind::String)
}
