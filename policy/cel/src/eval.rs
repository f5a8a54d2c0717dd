//! Evaluation: walks the code, counts every step, and stops at the first that is too many.
//!
//! `&&`, `||`, `all` and `exists` decide as soon as one operand does, whatever errors the others had: an error beside a
//! `false` in a conjunction does not make it uncertain. The step counter is the exception, for when it has run out,
//! nothing is known of the rest.

mod compare;
mod convert;
mod lookup;

use std::borrow::Cow;
use std::rc::Rc;

use crate::code::{Code, Element, LoopKind, Maybe, MaybeOp, Op, TextTest};
use crate::cost::{ELEMENT, STEP, Steps, TEXT};
use crate::facts::{Facts, Json, Side, Unreadable, ZoneAttribute};
use crate::failure::{Failure, FailureKind, Place};
use crate::limits::Limits;
use crate::times;
use crate::value::{Elements, Shape, Text, Value};

type Of<'a, F> = Value<'a, <F as Facts>::Json<'a>>;

/// The variables in scope, innermost first.
pub(crate) struct Bound<'b, 'a, F: Facts + 'a> {
    outer: Option<&'b Bound<'b, 'a, F>>,
    depth: usize,
    value: Of<'a, F>,
}

type Scope<'b, 'a, F> = Option<&'b Bound<'b, 'a, F>>;

pub(crate) struct Machine<'a, 's, F> {
    pub(crate) facts: &'a F,
    pub(crate) steps: &'s mut Steps,
    pub(crate) limits: &'a Limits,
}

impl<'a, F: Facts> Machine<'a, '_, F> {
    /// The whole expression.
    pub(crate) fn condition(&mut self, code: &'a Code) -> Result<bool, Failure> {
        self.truth(code, None)
    }

    fn spend(&mut self, units: u64, place: Place) -> Result<(), Failure> {
        self.steps.take(units).map_err(|kind| Failure::new(kind, place))
    }

    fn truth(&mut self, code: &'a Code, scope: Scope<'_, 'a, F>) -> Result<bool, Failure> {
        match self.eval(code, scope)? {
            Value::Bool(value) => Ok(value),
            _ => Err(Failure::new(FailureKind::Mismatch, code.place)),
        }
    }

    fn eval(&mut self, code: &'a Code, scope: Scope<'_, 'a, F>) -> Result<Of<'a, F>, Failure> {
        let place = code.place;
        self.spend(code.op.price(), place)?;
        let missing = || Failure::new(FailureKind::Missing, place);
        Ok(match &code.op {
            Op::Constant(constant) => Value::of_constant(constant),
            Op::Constants(constants) => Value::Constants(constants),
            Op::Topic => Value::Text(Text::Borrowed(self.facts.topic())),
            Op::Tokens => Value::Tokens(self.facts.topic()),
            Op::Publisher => Value::Text(Text::Borrowed(self.facts.publisher().ok_or_else(missing)?)),
            Op::Now => Value::Timestamp(self.facts.now()),
            Op::Variable(depth) => variable(scope, *depth).ok_or_else(missing)?,
            Op::Require(of) => self.maybe(of, scope)?.ok_or_else(missing)?,
            Op::HasValue(of) => Value::Bool(self.maybe(of, scope)?.is_some()),
            Op::OrValue(of, other) => match self.maybe(of, scope)? {
                Some(value) => value,
                None => self.eval(other, scope)?,
            },
            Op::Not(of) => Value::Bool(!self.truth(of, scope)?),
            Op::Negate(of) => {
                let value = self.eval(of, scope)?;
                convert::negate(&value).map_err(|kind| Failure::new(kind, place))?
            }
            Op::And(operands) => Value::Bool(!self.any(operands, false, scope)?),
            Op::Or(operands) => Value::Bool(self.any(operands, true, scope)?),
            Op::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                let chosen = if self.truth(condition, scope)? { yes } else { no };
                self.eval(chosen, scope)?
            }
            Op::Binary(operator, operands) => {
                let [left, right] = &**operands;
                let (left, right) = (self.eval(left, scope)?, self.eval(right, scope)?);
                self.binary(*operator, &left, &right, place)?
            }
            Op::IsNull { of, negated } => {
                let value = self.eval(of, scope)?;
                Value::Bool(matches!(value, Value::Null) != *negated)
            }
            Op::HasLabel(side, name) => {
                let name = self.eval(name, scope)?;
                let name = self.whole_text(&name, 1, place)?;
                Value::Bool(self.facts.zone(*side, ZoneAttribute::Label(&name)).is_some())
            }
            Op::List(elements) => self.list(elements, scope)?,
            Op::Map(entries) => self.map(entries, scope)?,
            Op::Size(of) => {
                let value = self.eval(of, scope)?;
                self.size(&value, place)?
            }
            Op::Text(test, operands) => {
                let [of, other] = &**operands;
                let (of, other) = (self.eval(of, scope)?, self.eval(other, scope)?);
                Value::Bool(self.text_test(*test, &of, &other, place)?)
            }
            Op::Matches(of, pattern) => {
                let of = self.eval(of, scope)?;
                let text = self.whole_text(&of, pattern.factor, place)?;
                Value::Bool(pattern.regex.is_match(&text))
            }
            Op::Case { of, upper } => {
                let of = self.eval(of, scope)?;
                let text = self.whole_text(&of, 1, place)?;
                let changed = if *upper { text.to_ascii_uppercase() } else { text.to_ascii_lowercase() };
                Value::Text(Text::Shared(changed.into()))
            }
            Op::Convert(to, of) => {
                let value = self.eval(of, scope)?;
                self.convert(*to, value, place)?
            }
            Op::TimePart { part, of, offset } => {
                let found = match self.eval(of, scope)? {
                    Value::Timestamp(time) => times::part(*part, time, *offset),
                    Value::Duration(duration) => times::duration_part(*part, duration),
                    _ => return Err(Failure::new(FailureKind::Mismatch, place)),
                };
                Value::Int(found.ok_or(Failure::new(FailureKind::Range, place))?)
            }
            Op::Loop { kind, over, body, transform } => {
                let list = self.eval(over, scope)?;
                let elements = self.elements(&list, over.place)?;
                self.iterate(*kind, elements, body, transform.as_deref(), scope)?
            }
        })
    }

    fn maybe(&mut self, maybe: &'a Maybe, scope: Scope<'_, 'a, F>) -> Result<Option<Of<'a, F>>, Failure> {
        let place = maybe.place;
        self.spend(maybe.op.price(), place)?;
        Ok(match &maybe.op {
            MaybeOp::None => None,
            MaybeOp::Of(code) => Some(self.eval(code, scope)?),
            MaybeOp::Attribute(name) => self.facts.attribute(name).map(Value::of_attribute),
            MaybeOp::Data => {
                let data = self.facts.data();
                data.map_err(|Unreadable| Failure::new(FailureKind::Unreadable, place))?.map(Value::of_json)
            }
            MaybeOp::Zone(side, field) => {
                self.zone(*side, field).map(|text| Value::Text(Text::Borrowed(text)))
            }
            MaybeOp::Get(of, key) => match self.maybe(of, scope)? {
                Some(value) => self.get(&value, key, place)?,
                None => None,
            },
            MaybeOp::At(of, index) => match self.maybe(of, scope)? {
                Some(value) => {
                    let index = self.eval(index, scope)?;
                    self.at(&value, &index, place)?
                }
                None => None,
            },
            MaybeOp::Or(left, right) => match self.maybe(left, scope)? {
                Some(value) => Some(value),
                None => self.maybe(right, scope)?,
            },
            MaybeOp::Map(of, body) => match self.maybe(of, scope)? {
                Some(value) => Some(self.eval(body, Some(&bound(scope, value)))?),
                None => None,
            },
            MaybeOp::FlatMap(of, body) => match self.maybe(of, scope)? {
                Some(value) => self.maybe(body, Some(&bound(scope, value)))?,
                None => None,
            },
            MaybeOp::Conditional(condition, yes, no) => {
                let chosen = if self.truth(condition, scope)? { yes } else { no };
                self.maybe(chosen, scope)?
            }
        })
    }

    /// Whether an operand has the value `decisive`. If none has, the first error counts.
    fn any(
        &mut self,
        operands: &'a [Code],
        decisive: bool,
        scope: Scope<'_, 'a, F>,
    ) -> Result<bool, Failure> {
        let mut failure = None;
        for operand in operands {
            match self.truth(operand, scope) {
                Ok(value) if value == decisive => return Ok(true),
                Ok(_) => {}
                Err(found) if found.kind == FailureKind::Exhausted => return Err(found),
                Err(found) => failure = failure.or(Some(found)),
            }
        }
        failure.map_or(Ok(false), Err)
    }

    fn zone(&self, side: Side, field: &'a crate::code::ZoneField) -> Option<&'a str> {
        use crate::code::ZoneField;
        let attribute = match field {
            ZoneField::Zone => ZoneAttribute::Zone,
            ZoneField::Region => ZoneAttribute::Region,
            ZoneField::Cloud => ZoneAttribute::Cloud,
            ZoneField::Jurisdiction => ZoneAttribute::Jurisdiction,
            ZoneField::Label(name) => ZoneAttribute::Label(name),
        };
        self.facts.zone(side, attribute)
    }

    fn elements(&mut self, list: &Of<'a, F>, place: Place) -> Result<Elements<'a, F::Json<'a>>, Failure> {
        let fail = |kind| Failure::new(kind, place);
        let len = list.len().ok_or(fail(FailureKind::Mismatch))?;
        if len as u64 > self.limits.items {
            return Err(fail(FailureKind::TooLarge));
        }
        list.elements().ok_or(fail(FailureKind::Mismatch))
    }

    fn iterate(
        &mut self,
        kind: LoopKind,
        elements: Elements<'a, F::Json<'a>>,
        body: &'a Code,
        transform: Option<&'a Code>,
        scope: Scope<'_, 'a, F>,
    ) -> Result<Of<'a, F>, Failure> {
        let mut failure = None;
        let mut holds = 0u64;
        let mut made = Vec::new();
        for element in elements {
            self.spend(STEP, body.place)?;
            let inner = bound(scope, element);
            match kind {
                LoopKind::All | LoopKind::Exists => match self.truth(body, Some(&inner)) {
                    Ok(value) if value == (kind == LoopKind::Exists) => return Ok(Value::Bool(value)),
                    Ok(_) => {}
                    Err(found) if found.kind == FailureKind::Exhausted => return Err(found),
                    Err(found) => failure = failure.or(Some(found)),
                },
                LoopKind::ExistsOne => holds += u64::from(self.truth(body, Some(&inner))?),
                LoopKind::Filter => {
                    if self.truth(body, Some(&inner))? {
                        made.push(inner.value);
                    }
                }
                LoopKind::Map => match transform {
                    None => made.push(self.eval(body, Some(&inner))?),
                    Some(transform) => {
                        if self.truth(body, Some(&inner))? {
                            made.push(self.eval(transform, Some(&inner))?);
                        }
                    }
                },
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok(match kind {
            LoopKind::All => Value::Bool(true),
            LoopKind::Exists => Value::Bool(false),
            LoopKind::ExistsOne => Value::Bool(holds == 1),
            LoopKind::Filter | LoopKind::Map => Value::List(made.into()),
        })
    }

    fn list(&mut self, elements: &'a [Element], scope: Scope<'_, 'a, F>) -> Result<Of<'a, F>, Failure> {
        let mut list = Vec::with_capacity(elements.len());
        for element in elements {
            match element {
                Element::Plain(code) => list.push(self.eval(code, scope)?),
                Element::Optional(maybe) => list.extend(self.maybe(maybe, scope)?),
            }
        }
        Ok(Value::List(list.into()))
    }

    fn map(&mut self, entries: &'a [(Code, Code)], scope: Scope<'_, 'a, F>) -> Result<Of<'a, F>, Failure> {
        let mut map = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let Value::Text(text) = self.eval(key, scope)? else {
                return Err(Failure::new(FailureKind::Mismatch, key.place));
            };
            map.push((text, self.eval(value, scope)?));
        }
        Ok(Value::Map(Rc::from(map)))
    }

    /// All of a text, counted at `factor` times the price of plain text.
    fn whole_text<'v>(
        &mut self,
        value: &'v Of<'a, F>,
        factor: u64,
        place: Place,
    ) -> Result<Cow<'v, str>, Failure> {
        let most = usize::try_from(self.limits.text_bytes).unwrap_or(usize::MAX);
        let text = value.text(most.saturating_add(1)).ok_or(Failure::new(FailureKind::Mismatch, place))?;
        if text.len() > most {
            return Err(Failure::new(FailureKind::TooLarge, place));
        }
        self.spend(TEXT.saturating_mul(factor).saturating_mul(text.len() as u64), place)?;
        Ok(text)
    }

    /// All of a text as a value of its own.
    fn decoded(&mut self, value: &Of<'a, F>, place: Place) -> Result<Text<'a>, Failure> {
        let fail = |kind| Failure::new(kind, place);
        let most = usize::try_from(self.limits.text_bytes).unwrap_or(usize::MAX);
        let text = match value {
            Value::Text(text) => text.clone(),
            Value::Json(json) => json.text(most.saturating_add(1)).ok_or(fail(FailureKind::Mismatch))?.into(),
            _ => return Err(fail(FailureKind::Mismatch)),
        };
        if text.as_str().len() > most {
            return Err(fail(FailureKind::TooLarge));
        }
        self.spend(TEXT.saturating_mul(text.as_str().len() as u64), place)?;
        Ok(text)
    }

    fn size(&mut self, value: &Of<'a, F>, place: Place) -> Result<Of<'a, F>, Failure> {
        let size = match value.shape() {
            Shape::Text => self.whole_text(value, 1, place)?.chars().count(),
            _ => value.len().ok_or(Failure::new(FailureKind::Mismatch, place))?,
        };
        Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
    }

    fn text_test(
        &mut self,
        test: TextTest,
        of: &Of<'a, F>,
        other: &Of<'a, F>,
        place: Place,
    ) -> Result<bool, Failure> {
        let other = self.whole_text(other, 1, place)?;
        if test == TextTest::StartsWith {
            // Its first bytes decide, however long it is.
            let text = of.text(other.len()).ok_or(Failure::new(FailureKind::Mismatch, place))?;
            return Ok(text.starts_with(&*other));
        }
        let text = self.whole_text(of, 1, place)?;
        Ok(if test == TextTest::EndsWith { text.ends_with(&*other) } else { text.contains(&*other) })
    }

    /// Two lists as one.
    fn joined(&mut self, left: &Of<'a, F>, right: &Of<'a, F>, place: Place) -> Result<Of<'a, F>, Failure> {
        let (first, second) = (self.elements(left, place)?, self.elements(right, place)?);
        let len = left.len().unwrap_or(0) + right.len().unwrap_or(0);
        if len as u64 > self.limits.items {
            return Err(Failure::new(FailureKind::TooLarge, place));
        }
        self.spend(ELEMENT.saturating_mul(len as u64), place)?;
        Ok(Value::List(first.chain(second).collect()))
    }
}

fn variable<'a, F: Facts>(mut scope: Scope<'_, 'a, F>, depth: usize) -> Option<Of<'a, F>> {
    while let Some(found) = scope {
        if found.depth == depth {
            return Some(found.value.clone());
        }
        scope = found.outer;
    }
    None
}

fn bound<'b, 'a, F: Facts>(outer: Scope<'b, 'a, F>, value: Of<'a, F>) -> Bound<'b, 'a, F> {
    Bound { outer, depth: outer.map_or(0, |outer| outer.depth + 1), value }
}
