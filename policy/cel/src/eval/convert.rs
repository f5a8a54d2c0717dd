//! Arithmetic and conversions, all checked: what leaves its range is an error.

use time::format_description::well_known::Rfc3339;

use super::{Machine, Of};
use crate::ast::Operator;
use crate::check::CONVERTIBLE_BYTES;
use crate::code::Conversion;
use crate::cost::TEXT;
use crate::facts::{Facts, Json};
use crate::failure::{Failure, FailureKind, Place};
use crate::times;
use crate::value::{Shape, Text, Value};

pub(super) fn negate<'a, J: Json<'a>>(value: &Value<'a, J>) -> Result<Value<'a, J>, FailureKind> {
    match value {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(FailureKind::Range),
        Value::Double(value) => Ok(Value::Double(-value)),
        Value::Duration(value) => value.checked_neg().map(Value::Duration).ok_or(FailureKind::Range),
        _ => Err(FailureKind::Mismatch),
    }
}

/// Integers with integers and doubles with doubles; times with durations. Division of integers is towards zero.
pub(super) fn arithmetic<'a, J: Json<'a>>(
    operator: Operator,
    left: &Value<'a, J>,
    right: &Value<'a, J>,
) -> Result<Value<'a, J>, FailureKind> {
    let found = match (operator, left, right) {
        (Operator::Add, Value::Int(left), Value::Int(right)) => left.checked_add(*right).map(Value::Int),
        (Operator::Subtract, Value::Int(left), Value::Int(right)) => left.checked_sub(*right).map(Value::Int),
        (Operator::Multiply, Value::Int(left), Value::Int(right)) => left.checked_mul(*right).map(Value::Int),
        (Operator::Divide, Value::Int(left), Value::Int(right)) => left.checked_div(*right).map(Value::Int),
        (Operator::Remainder, Value::Int(left), Value::Int(right)) => {
            left.checked_rem(*right).map(Value::Int)
        }
        (Operator::Add, Value::Double(left), Value::Double(right)) => Some(Value::Double(left + right)),
        (Operator::Subtract, Value::Double(left), Value::Double(right)) => Some(Value::Double(left - right)),
        (Operator::Multiply, Value::Double(left), Value::Double(right)) => Some(Value::Double(left * right)),
        (Operator::Divide, Value::Double(left), Value::Double(right)) => Some(Value::Double(left / right)),
        (Operator::Add, Value::Timestamp(time), Value::Duration(span))
        | (Operator::Add, Value::Duration(span), Value::Timestamp(time)) => {
            time.checked_add(*span).and_then(times::in_range).map(Value::Timestamp)
        }
        (Operator::Subtract, Value::Timestamp(time), Value::Duration(span)) => {
            time.checked_sub(*span).and_then(times::in_range).map(Value::Timestamp)
        }
        (Operator::Subtract, Value::Timestamp(left), Value::Timestamp(right)) => {
            Some(Value::Duration(*left - *right))
        }
        (Operator::Add, Value::Duration(left), Value::Duration(right)) => {
            left.checked_add(*right).map(Value::Duration)
        }
        (Operator::Subtract, Value::Duration(left), Value::Duration(right)) => {
            left.checked_sub(*right).map(Value::Duration)
        }
        _ => return Err(FailureKind::Mismatch),
    };
    found.ok_or(FailureKind::Range)
}

impl<'a, F: Facts> Machine<'a, '_, F> {
    pub(super) fn convert(
        &mut self,
        to: Conversion,
        value: Of<'a, F>,
        place: Place,
    ) -> Result<Of<'a, F>, Failure> {
        let fail = |kind| Failure::new(kind, place);
        match (to, &value) {
            (Conversion::Int, Value::Int(_))
            | (Conversion::Double, Value::Double(_))
            | (Conversion::Bool, Value::Bool(_))
            | (Conversion::Timestamp, Value::Timestamp(_))
            | (Conversion::Duration, Value::Duration(_))
            | (Conversion::Text, Value::Text(_)) => return Ok(value),
            (Conversion::Text, Value::Json(_)) => {
                return self.decoded(&value, place).map(Value::Text);
            }
            (Conversion::Text, _) => {
                let text = match &value {
                    Value::Int(value) => value.to_string(),
                    Value::Bool(value) => value.to_string(),
                    Value::Timestamp(time) => time.format(&Rfc3339).map_err(|_| fail(FailureKind::Range))?,
                    _ => return Err(fail(FailureKind::Mismatch)),
                };
                return Ok(Value::Text(Text::Shared(text.into())));
            }
            (Conversion::Double, Value::Int(value)) => return Ok(Value::Double(*value as f64)),
            (Conversion::Int, Value::Double(value)) => {
                let whole = value.trunc();
                // Both ends are exact doubles; the upper one is beyond the range, the lower one in it.
                let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&whole);
                return if fits { Ok(Value::Int(whole as i64)) } else { Err(fail(FailureKind::Range)) };
            }
            (Conversion::Int, Value::Timestamp(time)) => return Ok(Value::Int(time.unix_timestamp())),
            _ => {}
        }
        if value.shape() != Shape::Text {
            return Err(fail(FailureKind::Mismatch));
        }
        let text = value.text(CONVERTIBLE_BYTES + 1).ok_or(fail(FailureKind::Mismatch))?;
        if text.len() > CONVERTIBLE_BYTES {
            return Err(fail(FailureKind::Malformed));
        }
        self.spend(TEXT * text.len() as u64, place)?;
        match to {
            Conversion::Int => text.parse().ok().map(Value::Int),
            Conversion::Double => text.parse().ok().map(Value::Double),
            Conversion::Bool => text.parse().ok().map(Value::Bool),
            Conversion::Timestamp => times::timestamp(&text).map(Value::Timestamp),
            Conversion::Duration => times::duration(&text).map(Value::Duration),
            Conversion::Text => None,
        }
        .ok_or(fail(FailureKind::Malformed))
    }
}
