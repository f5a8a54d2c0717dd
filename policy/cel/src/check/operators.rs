//! Operators: what they take, what they give, what they cost.

use super::{Checker, Lowered, Optional, Plain};
use crate::ast::{Expr, Kind, Literal, Operator};
use crate::code::{Code, Maybe, MaybeOp, Op};
use crate::cost::{Cost, ELEMENT};
use crate::facts::Side;
use crate::problem::ProblemKind;
use crate::types::{Size, Type};

impl Checker<'_> {
    /// `&&` or `||`.
    pub(super) fn connected(&mut self, expr: &Expr, operands: &[Expr], and: bool) -> Option<Plain> {
        let outer = self.guards.len();
        let mut guards = Vec::new();
        for operand in operands {
            self.guards_of(operand, and, &mut guards);
        }
        // What one operand proves, all may rely on: where it proves nothing, it decides the whole by itself.
        self.guards.append(&mut guards);
        let checked: Vec<_> = operands.iter().map(|operand| self.typed(operand, &Type::Bool)).collect();
        self.guards.truncate(outer);
        let checked: Vec<Plain> = checked.into_iter().collect::<Option<_>>()?;
        let cost = checked.iter().fold(Cost::default(), |sum, operand| sum.and(&operand.cost));
        let codes: Box<[Code]> = checked.into_iter().map(|operand| operand.code).collect();
        let op = if and { Op::And(codes) } else { Op::Or(codes) };
        Some(self.over(expr, op, Type::Bool, Size::SCALAR, &[&cost]))
    }

    pub(super) fn conditional(
        &mut self,
        expr: &Expr,
        condition: &Expr,
        yes: &Expr,
        no: &Expr,
    ) -> Option<Lowered> {
        let outer = self.guards.len();
        let checked = self.typed(condition, &Type::Bool);
        let mut branch = |holds, of| {
            let mut guards = Vec::new();
            self.guards_of(condition, holds, &mut guards);
            self.guards.append(&mut guards);
            let lowered = self.lower(of);
            self.guards.truncate(outer);
            lowered
        };
        let (yes_found, no_found) = (branch(true, yes), branch(false, no));
        let (condition, yes_found, no_found) = (checked?, yes_found?, no_found?);
        // Both branches are counted: a bound, and the sharing of loops stays intact.
        let cost = Cost::step().and(&condition.cost);
        Some(match (yes_found, no_found) {
            (Lowered::Plain(yes), Lowered::Plain(no)) => {
                let op = Op::Conditional(Box::new([condition.code, yes.code, no.code]));
                let cost = cost.and(&yes.cost).and(&no.cost);
                let (ty, size) = (yes.ty.join(&no.ty), yes.size.join(no.size));
                Lowered::Plain(Plain { code: Code::new(&expr.range, op), ty, size, cost })
            }
            (Lowered::Optional(yes), Lowered::Optional(no)) => {
                let op =
                    MaybeOp::Conditional(Box::new(condition.code), Box::new(yes.code), Box::new(no.code));
                let cost = cost.and(&yes.cost).and(&no.cost);
                let (ty, size) = (yes.ty.join(&no.ty), yes.size.join(no.size));
                Lowered::Optional(Optional { code: Maybe::new(&expr.range, op), ty, size, cost, path: None })
            }
            (yes_found, _) => {
                let (range, other) = match yes_found {
                    Lowered::Optional(_) => (&no.range, "an optional and this is not"),
                    Lowered::Plain(_) => (&no.range, "not an optional and this is"),
                };
                let message = format!("the other branch is {other}");
                let help = "wrap the one in `optional.of(…)`, or give the other an `.orValue(…)`".to_owned();
                return self.problem(ProblemKind::Type, range, message, Some(help));
            }
        })
    }

    pub(super) fn negate(&mut self, expr: &Expr, of: &Expr) -> Option<Plain> {
        let checked = self.plain(of)?;
        if !matches!(checked.ty, Type::Any | Type::Int | Type::Double | Type::Duration) {
            let message = format!("a `{}` has no negative", checked.ty);
            return self.problem(ProblemKind::Type, &of.range, message, None);
        }
        let ty = checked.ty.clone();
        Some(self.over(expr, Op::Negate(Box::new(checked.code)), ty, Size::SCALAR, &[&checked.cost]))
    }

    pub(super) fn binary(
        &mut self,
        expr: &Expr,
        operator: Operator,
        left: &Expr,
        right: &Expr,
    ) -> Option<Plain> {
        if let Some(test) = self.null_test(expr, operator, left, right) {
            return test;
        }
        if operator == Operator::In
            && let Some(side) = self.labels(right)
        {
            return self.has_label(expr, side, left);
        }
        let (left_found, right_found) = (self.plain(left), self.plain(right));
        let (left_found, right_found) = (left_found?, right_found?);
        let (ty, size, work) = match operator {
            Operator::Equal | Operator::NotEqual => self.equality(&left_found, &right_found),
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => {
                self.order(&left_found, &right_found)
            }
            Operator::In => self.membership(&left_found, &right_found),
            _ => self.arithmetic(operator, &left_found, &right_found),
        }
        .or_else(|| self.mismatch(expr, operator, &left_found.ty, &right_found.ty))?;
        let op = Op::Binary(operator, Box::new([left_found.code, right_found.code]));
        Some(self.over(expr, op, ty, size, &[&left_found.cost, &right_found.cost, &work]))
    }

    fn mismatch<T>(&mut self, expr: &Expr, operator: Operator, left: &Type, right: &Type) -> Option<T> {
        let message = format!("`{left} {} {right}` is always an error", operator.text());
        let help = if *left == Type::Map || *right == Type::Map {
            Some("compare the members of maps one by one".to_owned())
        } else if left.is_number() && right.is_number() && operator != Operator::Remainder {
            Some("convert one side with `double(…)` or `int(…)`".to_owned())
        } else {
            None
        };
        self.problem(ProblemKind::Type, &expr.range, message, help)
    }

    /// `x == null` and `x != null`.
    fn null_test(
        &mut self,
        expr: &Expr,
        operator: Operator,
        left: &Expr,
        right: &Expr,
    ) -> Option<Option<Plain>> {
        let negated = match operator {
            Operator::Equal => false,
            Operator::NotEqual => true,
            _ => return None,
        };
        let is_null = |of: &Expr| matches!(of.kind, Kind::Literal(Literal::Null));
        let of = match (is_null(left), is_null(right)) {
            (_, true) => left,
            (true, false) => right,
            (false, false) => return None,
        };
        Some(self.plain(of).map(|of| {
            let op = Op::IsNull { of: Box::new(of.code), negated };
            self.over(expr, op, Type::Bool, Size::SCALAR, &[&of.cost])
        }))
    }

    /// The zone whose labels this is.
    fn labels(&self, expr: &Expr) -> Option<Side> {
        match &expr.kind {
            Kind::Select { of, field, optional: false } if field.text == "labels" => match &of.kind {
                Kind::Name(name) if self.variables.iter().any(|variable| variable.name == *name) => None,
                Kind::Name(name) if name == "from" => Some(Side::From),
                Kind::Name(name) if name == "to" => Some(Side::To),
                _ => None,
            },
            _ => None,
        }
    }

    fn has_label(&mut self, expr: &Expr, side: Side, name: &Expr) -> Option<Plain> {
        let reads = match side {
            Side::From => &mut self.reads.from,
            Side::To => &mut self.reads.to,
        };
        match &name.kind {
            Kind::Literal(Literal::Text(label)) => drop(reads.labels.insert(label.clone())),
            _ => reads.any_label = true,
        }
        let name = self.typed(name, &Type::Text)?;
        let work = Cost::text(name.size, self.limits.text_bytes, 1);
        let op = Op::HasLabel(side, Box::new(name.code));
        Some(self.over(expr, op, Type::Bool, Size::SCALAR, &[&name.cost, &work]))
    }

    /// What a comparison of two texts looks at: the shorter one, or where both are data, the first.
    fn compared(&self, left: &Plain, right: &Plain) -> Cost {
        let most = self.limits.text_bytes;
        let literal = |of: &Plain| of.ty.is_scalar() && of.size.share.is_none();
        match (literal(left), literal(right)) {
            (true, true) => Cost::text(Size::text(left.size.bytes.min(right.size.bytes)), most, 1),
            (true, false) => Cost::text(left.size, most, 1),
            (false, true) => Cost::text(right.size, most, 1),
            (false, false) => Cost::text(left.size, most, 1),
        }
    }

    fn equality(&self, left: &Plain, right: &Plain) -> Option<(Type, Size, Cost)> {
        if !left.ty.is_comparable(&right.ty) {
            return None;
        }
        let mut work = self.compared(left, right);
        if !left.ty.is_scalar() && !right.ty.is_scalar() {
            let items = left.size.items.min(right.size.items).min(self.limits.items);
            let texts =
                Cost::text(Size::text(left.size.bytes.min(right.size.bytes)), self.limits.text_bytes, 1);
            work = work.and(&Cost::units(ELEMENT.saturating_mul(items))).and(&texts);
        }
        Some((Type::Bool, Size::SCALAR, work))
    }

    fn order(&self, left: &Plain, right: &Plain) -> Option<(Type, Size, Cost)> {
        let ordered = |ty: &Type| !matches!(ty, Type::Null | Type::List(_) | Type::Map);
        let fits = ordered(&left.ty) && ordered(&right.ty) && left.ty.is_comparable(&right.ty);
        fits.then(|| (Type::Bool, Size::SCALAR, self.compared(left, right)))
    }

    fn membership(&self, left: &Plain, right: &Plain) -> Option<(Type, Size, Cost)> {
        let fits = match &right.ty {
            _ if matches!(left.ty, Type::List(_) | Type::Map) => false,
            Type::Any => true,
            Type::List(of) => left.ty.is_comparable(of),
            Type::Map => left.ty.may_be(&Type::Text),
            _ => false,
        };
        if !fits {
            return None;
        }
        let items = right.size.items.min(self.limits.items);
        // The texts that are compared: no more than the needle for each element, nor than all of the list.
        let texts = left.size.bytes.saturating_mul(items).min(right.size.bytes).min(self.limits.text_bytes);
        let needle = Cost::text(left.size, self.limits.text_bytes, 1);
        let mut work =
            Cost::units(ELEMENT.saturating_mul(items)).and(&Cost::text(Size::text(texts), texts, 1));
        work = work.and(&needle);
        if !matches!(right.ty, Type::List(_)) {
            work = work.and(&Cost::member(right.size, self.limits.members));
        }
        Some((Type::Bool, Size::SCALAR, work))
    }

    fn arithmetic(&self, operator: Operator, left: &Plain, right: &Plain) -> Option<(Type, Size, Cost)> {
        let limits = self.limits;
        let (mut size, mut work) = (Size::SCALAR, Cost::default());
        if operator == Operator::Add {
            let texts = [left, right].iter().any(|of| matches!(of.ty, Type::Text | Type::Any));
            let lists = [left, right].iter().all(|of| matches!(of.ty, Type::List(_) | Type::Any));
            if texts && left.ty.may_be(&Type::Text) && right.ty.may_be(&Type::Text) {
                let most = limits.text_bytes;
                work = Cost::text(left.size, most, 1).and(&Cost::text(right.size, most, 1));
                size = left.size.plus(right.size);
                size.bytes = size.bytes.min(most);
            }
            if lists {
                let sum = left.size.plus(right.size);
                let items = sum.items.min(limits.items);
                work = work.and(&Cost::units(ELEMENT.saturating_mul(items)));
                size = Size { items, bytes: sum.bytes, share: None };
            }
        }
        let ty = match (operator, &left.ty, &right.ty) {
            (_, Type::Map | Type::Null | Type::Bool, _) | (_, _, Type::Map | Type::Null | Type::Bool) => {
                return None;
            }
            (Operator::Remainder, left, right) => {
                if !left.may_be(&Type::Int) || !right.may_be(&Type::Int) {
                    return None;
                }
                Type::Int
            }
            (_, Type::Any, Type::Any) => Type::Any,
            (Operator::Add, Type::Timestamp, other) | (Operator::Add, other, Type::Timestamp) => {
                other.may_be(&Type::Duration).then_some(Type::Timestamp)?
            }
            (Operator::Subtract, Type::Timestamp, Type::Timestamp) => Type::Duration,
            (Operator::Subtract, Type::Timestamp, Type::Duration) => Type::Timestamp,
            (Operator::Subtract, Type::Timestamp, Type::Any) | (Operator::Subtract, Type::Any, _)
                if !right.ty.is_number() && right.ty.is_scalar() || left.ty == Type::Timestamp =>
            {
                matches!(right.ty, Type::Any | Type::Timestamp | Type::Duration).then_some(Type::Any)?
            }
            (Operator::Add, Type::Duration, Type::Any) | (Operator::Add, Type::Any, Type::Duration) => {
                Type::Any
            }
            (Operator::Add | Operator::Subtract, Type::Duration, Type::Duration) => Type::Duration,
            (Operator::Subtract, Type::Duration, Type::Any) => Type::Duration,
            (Operator::Add, Type::Text, other) | (Operator::Add, other, Type::Text) => {
                other.may_be(&Type::Text).then_some(Type::Text)?
            }
            (Operator::Add, Type::List(left), Type::List(right)) => Type::list(left.join(right)),
            (Operator::Add, Type::List(_), Type::Any) | (Operator::Add, Type::Any, Type::List(_)) => {
                Type::list(Type::Any)
            }
            (_, left, right) => {
                let number = |ty: &Type| *ty == Type::Any || ty.is_number();
                if !number(left) || !number(right) || !left.may_be(right) {
                    return None;
                }
                if *left == Type::Any { right.clone() } else { left.clone() }
            }
        };
        Some((ty, size, work))
    }
}
