//! Members of objects and elements of lists.

use super::{Machine, Of};
use crate::cost::MEMBER;
use crate::facts::{Facts, Json, JsonKind};
use crate::failure::{Failure, FailureKind, Place};
use crate::value::{Shape, Text, Value};

impl<'a, F: Facts> Machine<'a, '_, F> {
    /// The member of an object or a map; nothing if it has none or the value is neither.
    pub(super) fn get(
        &mut self,
        value: &Of<'a, F>,
        key: &str,
        place: Place,
    ) -> Result<Option<Of<'a, F>>, Failure> {
        match value {
            Value::Json(json) => {
                let JsonKind::Object(members) = json.kind() else { return Ok(None) };
                self.pass(members, self.limits.members, place)?;
                Ok(json.get(key).map(Value::of_json))
            }
            Value::Map(entries) => {
                self.pass(entries.len(), self.limits.members, place)?;
                Ok(entries.iter().find(|(found, _)| found.as_str() == key).map(|(_, value)| value.clone()))
            }
            _ => Ok(None),
        }
    }

    /// Counts members or elements that are passed over.
    fn pass(&mut self, count: usize, most: u64, place: Place) -> Result<(), Failure> {
        if count as u64 > most {
            return Err(Failure::new(FailureKind::TooLarge, place));
        }
        self.spend(MEMBER.saturating_mul(count as u64), place)
    }

    /// The element at an index or the member at a key; nothing beyond the end, or where the value has no parts.
    pub(super) fn at(
        &mut self,
        value: &Of<'a, F>,
        index: &Of<'a, F>,
        place: Place,
    ) -> Result<Option<Of<'a, F>>, Failure> {
        match (value.shape(), index) {
            (Shape::Scalar | Shape::Text, _) => Ok(None),
            (Shape::List, Value::Int(index)) => match usize::try_from(*index) {
                Ok(index) => self.element(value, index, place),
                Err(_) => Ok(None),
            },
            (Shape::Map, key) if key.shape() == Shape::Text => {
                let key = self.whole_text(key, 1, place)?;
                self.get(value, &key, place)
            }
            (Shape::List | Shape::Map, _) => Err(Failure::new(FailureKind::Mismatch, place)),
        }
    }

    fn element(
        &mut self,
        list: &Of<'a, F>,
        index: usize,
        place: Place,
    ) -> Result<Option<Of<'a, F>>, Failure> {
        match list {
            Value::Constants(constants) => Ok(constants.get(index).map(Value::of_constant)),
            Value::List(list) => Ok(list.get(index).cloned()),
            Value::Tokens(topic) => {
                let token = topic.split('.').nth(index);
                if token.is_some() {
                    self.pass(index, self.limits.items, place)?;
                }
                Ok(token.map(|token| Value::Text(Text::Borrowed(token))))
            }
            Value::Json(json) => {
                if list.len().is_none_or(|len| index >= len) {
                    return Ok(None);
                }
                self.pass(index, self.limits.items, place)?;
                Ok(json.at(index).map(Value::of_json))
            }
            _ => Ok(None),
        }
    }
}
