//! Functions, methods and the macro `has`.

use time::UtcOffset;

use super::{Checker, Lowered, Optional, Plain};
use crate::ast::{Expr, Kind, Literal, Name};
use crate::code::{Constant, Conversion, LoopKind, Maybe, MaybeOp, Op, TextTest, TimePart};
use crate::cost::Cost;
use crate::pattern;
use crate::problem::ProblemKind;
use crate::times;
use crate::types::{Size, Type};

/// Text that a conversion of a number or a time makes.
const CONVERTED_BYTES: u64 = 40;
/// Longer text is no number and no time.
pub(crate) const CONVERTIBLE_BYTES: usize = 64;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        expr: &Expr,
        target: Option<&Expr>,
        function: &Name,
        arguments: &[Expr],
    ) -> Option<Lowered> {
        let Some(target) = target else { return self.function(expr, function, arguments) };
        if matches!(&target.kind, Kind::Name(name) if name == "optional") {
            return self.make_optional(expr, function, arguments);
        }
        let kind = match (function.text.as_str(), arguments.len()) {
            ("all", 2) => Some(LoopKind::All),
            ("exists", 2) => Some(LoopKind::Exists),
            ("exists_one" | "existsOne", 2) => Some(LoopKind::ExistsOne),
            ("filter", 2) => Some(LoopKind::Filter),
            ("map", 2 | 3) => Some(LoopKind::Map),
            _ => None,
        };
        if let Some(kind) = kind {
            return self.iterate(expr, kind, target, arguments).map(Lowered::Plain);
        }
        match (function.text.as_str(), arguments) {
            ("orValue", [other]) => self.or_value(expr, target, other),
            ("or", [other]) => {
                let (left, right) = (self.optional(target), self.optional(other));
                let (left, right) = (left?, right?);
                let op = MaybeOp::Or(Box::new(left.code), Box::new(right.code));
                let cost = Cost::step().and(&left.cost).and(&right.cost);
                let (ty, size) = (left.ty.join(&right.ty), left.size.join(right.size));
                Some(Lowered::Optional(Optional {
                    code: Maybe::new(&expr.range, op),
                    ty,
                    size,
                    cost,
                    path: None,
                }))
            }
            ("hasValue", []) => {
                let of = self.optional(target)?;
                let op = Op::HasValue(Box::new(of.code));
                Some(Lowered::Plain(self.over(expr, op, Type::Bool, Size::SCALAR, &[&of.cost])))
            }
            ("value", []) => self.value(expr, target, function),
            ("optMap", [variable, body]) => self.opt_map(expr, target, variable, body),
            ("optFlatMap", [variable, body]) => self.opt_flat_map(expr, target, variable, body),
            ("size", []) => self.size(expr, target).map(Lowered::Plain),
            ("startsWith", [other]) => self.text_test(expr, TextTest::StartsWith, target, other),
            ("endsWith", [other]) => self.text_test(expr, TextTest::EndsWith, target, other),
            ("contains", [other]) => self.text_test(expr, TextTest::Contains, target, other),
            ("matches", [regex]) => self.matches(expr, target, regex),
            ("lowerAscii", []) => self.case(expr, target, false),
            ("upperAscii", []) => self.case(expr, target, true),
            _ => match time_part(&function.text) {
                Some(part) => self.time_part(expr, part, target, function, arguments),
                None => self.unknown(function, arguments.len(), true),
            },
        }
    }

    fn function(&mut self, expr: &Expr, function: &Name, arguments: &[Expr]) -> Option<Lowered> {
        match (function.text.as_str(), arguments) {
            ("has", [of]) => self.has(expr, of),
            ("size", [of]) => self.size(expr, of).map(Lowered::Plain),
            ("matches", [of, regex]) => self.matches(expr, of, regex),
            ("int", [of]) => self.convert(expr, Conversion::Int, of),
            ("double", [of]) => self.convert(expr, Conversion::Double, of),
            ("string", [of]) => self.convert(expr, Conversion::Text, of),
            ("bool", [of]) => self.convert(expr, Conversion::Bool, of),
            ("timestamp", [of]) => self.convert(expr, Conversion::Timestamp, of),
            ("duration", [of]) => self.convert(expr, Conversion::Duration, of),
            ("type" | "dyn" | "uint" | "bytes", _) => {
                let message = format!("`{}` is not part of conditions", function.text);
                self.problem(ProblemKind::Unsupported, &function.range, message, None)
            }
            _ => self.unknown(function, arguments.len(), false),
        }
    }

    fn unknown<T>(&mut self, function: &Name, arguments: usize, method: bool) -> Option<T> {
        let what = if method { "method" } else { "function" };
        let plural = if arguments == 1 { "argument" } else { "arguments" };
        let message = format!("no {what} `{}` with {arguments} {plural}", function.text);
        self.problem(ProblemKind::Unknown, &function.range, message, None)
    }

    fn has(&mut self, expr: &Expr, of: &Expr) -> Option<Lowered> {
        let Kind::Select { of: operand, field, optional: false } = &of.kind else {
            let message = "`has` asks for a field, such as `has(event.subject)`";
            return self.problem(ProblemKind::Type, &of.range, message, None);
        };
        let found = match self.chain(of) {
            Some(chain) => self.lower_chain(of, &chain, true)?,
            None => {
                // The same as an optional read of the field.
                let operand = operand.clone();
                let kind = Kind::Select { of: operand, field: field.clone(), optional: true };
                self.member(&Expr { range: of.range.clone(), depth: of.depth, kind })?
            }
        };
        let Lowered::Optional(found) = found else { return None };
        let op = Op::HasValue(Box::new(found.code));
        Some(Lowered::Plain(self.over(expr, op, Type::Bool, Size::SCALAR, &[&found.cost])))
    }

    /// `optional.of(x)` and `optional.none()`.
    fn make_optional(&mut self, expr: &Expr, function: &Name, arguments: &[Expr]) -> Option<Lowered> {
        let (op, ty, size, cost) = match (function.text.as_str(), arguments) {
            ("none", []) => (MaybeOp::None, Type::Any, Size::SCALAR, Cost::default()),
            ("of", [of]) => {
                let of = self.plain(of)?;
                (MaybeOp::Of(Box::new(of.code)), of.ty, of.size, of.cost)
            }
            _ => return self.unknown(function, arguments.len(), true),
        };
        Some(Lowered::Optional(Optional { code: Maybe::new(&expr.range, op), ty, size, cost, path: None }))
    }

    fn or_value(&mut self, expr: &Expr, target: &Expr, other: &Expr) -> Option<Lowered> {
        let (of, other) = (self.optional(target), self.plain(other));
        let (of, other) = (of?, other?);
        let op = Op::OrValue(Box::new(of.code), Box::new(other.code));
        let (ty, size) = (of.ty.join(&other.ty), of.size.join(other.size));
        Some(Lowered::Plain(self.over(expr, op, ty, size, &[&of.cost, &other.cost])))
    }

    fn value(&mut self, expr: &Expr, target: &Expr, function: &Name) -> Option<Lowered> {
        let of = self.optional(target)?;
        if !of.path.as_ref().is_some_and(|path| self.is_known(path)) {
            let message = "`value()` fails where there is no value";
            let help = "write `.orValue(…)`, or test `.hasValue()` in the same conjunction".to_owned();
            return self.problem(ProblemKind::Unguarded, &function.range, message, Some(help));
        }
        let op = Op::Require(Box::new(of.code));
        Some(Lowered::Plain(self.over(expr, op, of.ty, of.size, &[&of.cost])))
    }

    fn size(&mut self, expr: &Expr, of: &Expr) -> Option<Plain> {
        let of_range = &of.range;
        let of = self.plain(of)?;
        if !matches!(of.ty, Type::Any | Type::Text | Type::List(_) | Type::Map) {
            let message = format!("a `{}` has no size", of.ty);
            return self.problem(ProblemKind::Type, of_range, message, None);
        }
        let work = match of.ty {
            Type::Any | Type::Text => Cost::text(of.size, self.limits.text_bytes, 1),
            _ => Cost::default(),
        };
        Some(self.over(expr, Op::Size(Box::new(of.code)), Type::Int, Size::SCALAR, &[&of.cost, &work]))
    }

    fn text_test(&mut self, expr: &Expr, test: TextTest, of: &Expr, other: &Expr) -> Option<Lowered> {
        let (of, other) = (self.typed(of, &Type::Text), self.typed(other, &Type::Text));
        let (of, other) = (of?, other?);
        let most = self.limits.text_bytes;
        let mut work = Cost::text(other.size, most, 1);
        if test != TextTest::StartsWith {
            work = work.and(&Cost::text(of.size, most, 1));
        }
        let op = Op::Text(test, Box::new([of.code, other.code]));
        Some(Lowered::Plain(self.over(expr, op, Type::Bool, Size::SCALAR, &[&of.cost, &other.cost, &work])))
    }

    fn matches(&mut self, expr: &Expr, of: &Expr, regex: &Expr) -> Option<Lowered> {
        let of = self.typed(of, &Type::Text);
        let Kind::Literal(Literal::Text(source)) = &regex.kind else {
            let message = "a regular expression must be a string literal";
            let help = "so that it is compiled, and its size known, before any event comes".to_owned();
            return self.problem(ProblemKind::Pattern, &regex.range, message, Some(help));
        };
        self.patterns += 1;
        if self.patterns > pattern::COUNT_MAX {
            let message = format!("more than {} regular expressions", pattern::COUNT_MAX);
            return self.problem(ProblemKind::TooLarge, &regex.range, message, None);
        }
        let pattern = match pattern::compile(source) {
            Ok(pattern) => pattern,
            Err(message) => return self.problem(ProblemKind::Pattern, &regex.range, message, None),
        };
        let of = of?;
        let work = Cost::text(of.size, self.limits.text_bytes, pattern.factor);
        let op = Op::Matches(Box::new(of.code), pattern);
        Some(Lowered::Plain(self.over(expr, op, Type::Bool, Size::SCALAR, &[&of.cost, &work])))
    }

    fn case(&mut self, expr: &Expr, of: &Expr, upper: bool) -> Option<Lowered> {
        let of = self.typed(of, &Type::Text)?;
        let work = Cost::text(of.size, self.limits.text_bytes, 1);
        let op = Op::Case { of: Box::new(of.code), upper };
        Some(Lowered::Plain(self.over(expr, op, Type::Text, of.size, &[&of.cost, &work])))
    }

    fn convert(&mut self, expr: &Expr, to: Conversion, of: &Expr) -> Option<Lowered> {
        let literal = match &of.kind {
            Kind::Literal(Literal::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        if let Some(text) = literal {
            let folded = match to {
                Conversion::Timestamp => {
                    Some((times::timestamp(text).map(Constant::Timestamp), Type::Timestamp))
                }
                Conversion::Duration => Some((times::duration(text).map(Constant::Duration), Type::Duration)),
                _ => None,
            };
            if let Some((constant, ty)) = folded {
                let Some(constant) = constant else {
                    let help = match to {
                        Conversion::Timestamp => "write it like \"2026-11-21T10:00:00Z\"",
                        _ => "write it like \"1h30m\", with the units h, m, s, ms, us, ns",
                    };
                    let message = format!("`{text}` is no {ty}");
                    return self.problem(ProblemKind::Type, &of.range, message, Some(help.to_owned()));
                };
                return Some(Lowered::Plain(self.over(expr, Op::Constant(constant), ty, Size::SCALAR, &[])));
            }
        }
        let (ty, takes): (Type, &[Type]) = match to {
            Conversion::Int => (Type::Int, &[Type::Int, Type::Double, Type::Text, Type::Timestamp]),
            Conversion::Double => (Type::Double, &[Type::Int, Type::Double, Type::Text]),
            Conversion::Text => (Type::Text, &[Type::Int, Type::Bool, Type::Text, Type::Timestamp]),
            Conversion::Bool => (Type::Bool, &[Type::Bool, Type::Text]),
            Conversion::Timestamp => (Type::Timestamp, &[Type::Timestamp, Type::Text]),
            Conversion::Duration => (Type::Duration, &[Type::Duration, Type::Text]),
        };
        let range = &of.range;
        let of = self.plain(of)?;
        if !takes.iter().any(|taken| of.ty.may_be(taken)) {
            let message = format!("a `{}` cannot be made a `{ty}`", of.ty);
            return self.problem(ProblemKind::Type, range, message, None);
        }
        let most = if to == Conversion::Text { self.limits.text_bytes } else { CONVERTIBLE_BYTES as u64 };
        let work = Cost::text(of.size, most, 1);
        let size = match to {
            Conversion::Text => Size { bytes: of.size.bytes.max(CONVERTED_BYTES), share: None, ..of.size },
            _ => Size::SCALAR,
        };
        Some(Lowered::Plain(self.over(
            expr,
            Op::Convert(to, Box::new(of.code)),
            ty,
            size,
            &[&of.cost, &work],
        )))
    }

    fn time_part(
        &mut self,
        expr: &Expr,
        part: TimePart,
        of: &Expr,
        function: &Name,
        arguments: &[Expr],
    ) -> Option<Lowered> {
        let offset = match arguments {
            [] => Some(UtcOffset::UTC),
            [zone] => {
                let found = match &zone.kind {
                    Kind::Literal(Literal::Text(text)) => times::offset(text),
                    _ => None,
                };
                if found.is_none() {
                    let message = "this is not a time zone that conditions know";
                    let help = "write \"UTC\" or an offset such as \"+01:00\", as a literal".to_owned();
                    return self.problem(ProblemKind::Unsupported, &zone.range, message, Some(help));
                }
                found
            }
            _ => return self.unknown(function, arguments.len(), true),
        }?;
        let range = &of.range;
        let of = self.plain(of)?;
        let of_duration = matches!(part, TimePart::Hours | TimePart::Minutes | TimePart::Seconds)
            && arguments.is_empty()
            && of.ty.may_be(&Type::Duration);
        if !of.ty.may_be(&Type::Timestamp) && !of_duration {
            let message = format!("`{}` is for timestamps, this is `{}`", function.text, of.ty);
            return self.problem(ProblemKind::Type, range, message, None);
        }
        let op = Op::TimePart { part, of: Box::new(of.code), offset };
        Some(Lowered::Plain(self.over(expr, op, Type::Int, Size::SCALAR, &[&of.cost])))
    }
}

fn time_part(method: &str) -> Option<TimePart> {
    Some(match method {
        "getFullYear" => TimePart::FullYear,
        "getMonth" => TimePart::Month,
        "getDate" => TimePart::Date,
        "getDayOfMonth" => TimePart::DayOfMonth,
        "getDayOfWeek" => TimePart::DayOfWeek,
        "getDayOfYear" => TimePart::DayOfYear,
        "getHours" => TimePart::Hours,
        "getMinutes" => TimePart::Minutes,
        "getSeconds" => TimePart::Seconds,
        "getMilliseconds" => TimePart::Milliseconds,
        _ => return None,
    })
}
