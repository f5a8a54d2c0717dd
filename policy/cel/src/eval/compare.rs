//! Equality, order and membership. Types that do not go together are an error, not `false`: data that look other than
//! the author thought must not pass in silence.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Machine, Of};
use crate::ast::Operator;
use crate::cost::{ELEMENT, TEXT};
use crate::facts::Facts;
use crate::failure::{Failure, FailureKind, Place};
use crate::value::{Shape, Text, Value, compare_int_double};

impl<'a, F: Facts> Machine<'a, '_, F> {
    pub(super) fn binary(
        &mut self,
        operator: Operator,
        left: &Of<'a, F>,
        right: &Of<'a, F>,
        place: Place,
    ) -> Result<Of<'a, F>, Failure> {
        let ordered = |holds: fn(Ordering) -> bool| move |found: Option<Ordering>| found.is_some_and(holds);
        Ok(Value::Bool(match operator {
            Operator::Equal => self.equal(left, right, place)?,
            Operator::NotEqual => !self.equal(left, right, place)?,
            Operator::Less => ordered(Ordering::is_lt)(self.order(left, right, place)?),
            Operator::LessEqual => ordered(Ordering::is_le)(self.order(left, right, place)?),
            Operator::Greater => ordered(Ordering::is_gt)(self.order(left, right, place)?),
            Operator::GreaterEqual => ordered(Ordering::is_ge)(self.order(left, right, place)?),
            Operator::In => self.contains(left, right, place)?,
            Operator::Add if left.shape() == Shape::List && right.shape() == Shape::List => {
                return self.joined(left, right, place);
            }
            Operator::Add if left.shape() == Shape::Text && right.shape() == Shape::Text => {
                return self.concatenated(left, right, place);
            }
            _ => {
                return super::convert::arithmetic(operator, left, right)
                    .map_err(|kind| Failure::new(kind, place));
            }
        }))
    }

    fn equal(&mut self, left: &Of<'a, F>, right: &Of<'a, F>, place: Place) -> Result<bool, Failure> {
        if left.shape() == Shape::List && right.shape() == Shape::List {
            return self.equal_lists(left, right, place);
        }
        let mut allowance = self.limits.text_bytes;
        self.compare(left, right, &mut allowance, place).map(|found| found == Some(Ordering::Equal))
    }

    fn order(
        &mut self,
        left: &Of<'a, F>,
        right: &Of<'a, F>,
        place: Place,
    ) -> Result<Option<Ordering>, Failure> {
        if matches!((left, right), (Value::Null, _) | (_, Value::Null)) {
            return Err(Failure::new(FailureKind::Mismatch, place));
        }
        let mut allowance = self.limits.text_bytes;
        self.compare(left, right, &mut allowance, place)
    }

    /// Compares values without parts; `None` beside NaN. Texts may be looked at up to `allowance` bytes in all.
    fn compare(
        &mut self,
        left: &Of<'a, F>,
        right: &Of<'a, F>,
        allowance: &mut u64,
        place: Place,
    ) -> Result<Option<Ordering>, Failure> {
        Ok(match (left, right) {
            (Value::Null, Value::Null) => Some(Ordering::Equal),
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
            (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
            (Value::Double(left), Value::Double(right)) => left.partial_cmp(right),
            (Value::Int(left), Value::Double(right)) => compare_int_double(*left, *right),
            (Value::Double(left), Value::Int(right)) => {
                compare_int_double(*right, *left).map(Ordering::reverse)
            }
            (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
            (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
            _ if left.shape() == Shape::Text && right.shape() == Shape::Text => {
                Some(self.compare_texts(left, right, allowance, place)?)
            }
            _ => return Err(Failure::new(FailureKind::Mismatch, place)),
        })
    }

    fn compare_texts(
        &mut self,
        left: &Of<'a, F>,
        right: &Of<'a, F>,
        allowance: &mut u64,
        place: Place,
    ) -> Result<Ordering, Failure> {
        let fail = |kind| Failure::new(kind, place);
        let most = usize::try_from(self.limits.text_bytes).unwrap_or(usize::MAX);
        // One side is read as far as the other is long, and one byte more decides.
        let (left, right, looked) = match (left, right) {
            (Value::Json(_), Value::Json(_)) => {
                let left = left.text(most.saturating_add(1)).unwrap_or(Cow::Borrowed(""));
                if left.len() > most {
                    return Err(fail(FailureKind::TooLarge));
                }
                let right = right.text(left.len() + 1).unwrap_or(Cow::Borrowed(""));
                let looked = left.len();
                (left, right, looked)
            }
            (Value::Json(_), _) => {
                let right = right.text(most).unwrap_or(Cow::Borrowed(""));
                let left = left.text(right.len() + 1).unwrap_or(Cow::Borrowed(""));
                let looked = left.len().min(right.len());
                (left, right, looked)
            }
            _ => {
                let left = left.text(most).unwrap_or(Cow::Borrowed(""));
                let right = right.text(left.len() + 1).unwrap_or(Cow::Borrowed(""));
                let looked = left.len().min(right.len());
                (left, right, looked)
            }
        };
        *allowance = allowance.checked_sub(looked as u64).ok_or(fail(FailureKind::TooLarge))?;
        self.spend(TEXT.saturating_mul(looked as u64), place)?;
        Ok(left.cmp(&right))
    }

    /// Lists of values without parts. A pair that differs decides, whatever the others are.
    fn equal_lists(&mut self, left: &Of<'a, F>, right: &Of<'a, F>, place: Place) -> Result<bool, Failure> {
        if left.len() != right.len() {
            return Ok(false);
        }
        let (left, right) = (self.elements(left, place)?, self.elements(right, place)?);
        let mut allowance = self.limits.text_bytes;
        let mut failure = None;
        for (left, right) in left.zip(right) {
            self.spend(ELEMENT, place)?;
            match self.compare(&left, &right, &mut allowance, place) {
                Ok(Some(Ordering::Equal)) => {}
                Ok(_) => return Ok(false),
                Err(found) if found.kind == FailureKind::Exhausted => return Err(found),
                Err(found) => failure = failure.or(Some(found)),
            }
        }
        failure.map_or(Ok(true), Err)
    }

    /// `left in right`: an element of a list, or a key of a map.
    fn contains(&mut self, left: &Of<'a, F>, right: &Of<'a, F>, place: Place) -> Result<bool, Failure> {
        let fail = |kind| Failure::new(kind, place);
        // A text of the data is decoded once, not for every element.
        let decoded: Of<'a, F>;
        let needle = match left {
            Value::Json(_) if left.shape() == Shape::Text => {
                decoded = Value::Text(self.decoded(left, place)?);
                &decoded
            }
            other => other,
        };
        match right.shape() {
            Shape::List => {}
            Shape::Map => {
                let Value::Text(key) = needle else { return Err(fail(FailureKind::Mismatch)) };
                return Ok(self.get(right, key.as_str(), place)?.is_some());
            }
            Shape::Scalar | Shape::Text => return Err(fail(FailureKind::Mismatch)),
        }
        let mut allowance = self.limits.text_bytes;
        let mut failure = None;
        for element in self.elements(right, place)? {
            self.spend(ELEMENT, place)?;
            match self.compare(needle, &element, &mut allowance, place) {
                Ok(Some(Ordering::Equal)) => return Ok(true),
                Ok(_) => {}
                Err(found) if found.kind == FailureKind::Exhausted => return Err(found),
                Err(found) => failure = failure.or(Some(found)),
            }
        }
        failure.map_or(Ok(false), Err)
    }

    fn concatenated(
        &mut self,
        left: &Of<'a, F>,
        right: &Of<'a, F>,
        place: Place,
    ) -> Result<Of<'a, F>, Failure> {
        let (first, second) = (self.whole_text(left, 1, place)?, self.whole_text(right, 1, place)?);
        if (first.len() + second.len()) as u64 > self.limits.text_bytes {
            return Err(Failure::new(FailureKind::TooLarge, place));
        }
        let mut text = String::with_capacity(first.len() + second.len());
        text.push_str(&first);
        text.push_str(&second);
        Ok(Value::Text(Text::Shared(text.into())))
    }
}
