//! From syntax to code: resolves names, decides what is an optional, checks types as far as they are known, and sums
//! the worst case. All problems of a source are found, not just the first.

mod call;
mod chain;
mod loops;
mod operators;

use std::ops::Range;

use crate::ast::{Expr, Kind, Literal};
use crate::code::{Code, Constant, Element, Maybe, Op};
use crate::cost::Cost;
use crate::limits::{Limits, Scope};
use crate::problem::{Problem, ProblemKind};
use crate::reads::Reads;
use crate::types::{Size, Type};

pub(crate) use call::CONVERTIBLE_BYTES;
use chain::Path;

/// A checked expression whose value is always there, unless its evaluation fails.
pub(crate) struct Plain {
    pub(crate) code: Code,
    pub(crate) ty: Type,
    size: Size,
    pub(crate) cost: Cost,
}

/// A checked expression of type optional.
struct Optional {
    code: Maybe,
    /// Of the value, if there is one.
    ty: Type,
    size: Size,
    cost: Cost,
    /// What it reads, if it only reads.
    path: Option<Path>,
}

enum Lowered {
    Plain(Plain),
    Optional(Optional),
}

struct Variable {
    name: String,
    /// Unlike the depth, never used again in the same source, so that no guard outlives its loop.
    id: usize,
    ty: Type,
    size: Size,
}

pub(crate) struct Checker<'l> {
    scope: Scope,
    limits: &'l Limits,
    pub(crate) problems: Vec<Problem>,
    pub(crate) reads: Reads,
    /// Loop variables that are in scope, outermost first.
    variables: Vec<Variable>,
    variables_made: usize,
    /// Regular expressions so far.
    patterns: usize,
    /// What is known to be there at this place.
    guards: Vec<Path>,
}

impl<'l> Checker<'l> {
    pub(crate) fn new(scope: Scope, limits: &'l Limits) -> Checker<'l> {
        Checker {
            scope,
            limits,
            problems: Vec::new(),
            reads: Reads::default(),
            variables: Vec::new(),
            variables_made: 0,
            patterns: 0,
            guards: Vec::new(),
        }
    }

    /// The whole expression: a boolean.
    pub(crate) fn condition(&mut self, expr: &Expr) -> Option<Plain> {
        let plain = self.plain(expr)?;
        if !plain.ty.may_be(&Type::Bool) {
            let message = format!("the result is `{}`, and a condition must be `bool`", plain.ty);
            return self.problem(ProblemKind::NotBoolean, &expr.range, message, None);
        }
        Some(plain)
    }

    /// Records a problem. Returns nothing, in any type, so that the caller can end with it.
    fn problem<T>(
        &mut self,
        kind: ProblemKind,
        range: &Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Option<T> {
        let problem = Problem::new(kind, range.clone(), message);
        self.problems.push(match help {
            Some(help) => problem.with_help(help),
            None => problem,
        });
        None
    }

    /// An expression whose value must be there.
    fn plain(&mut self, expr: &Expr) -> Option<Plain> {
        match self.lower(expr)? {
            Lowered::Plain(plain) => Some(plain),
            Lowered::Optional(_) => {
                let help = "say what holds without a value: add `.orValue(…)`".to_owned();
                let message = "this is an optional, which may have no value";
                self.problem(ProblemKind::Unguarded, &expr.range, message, Some(help))
            }
        }
    }

    /// An expression that must be an optional.
    fn optional(&mut self, expr: &Expr) -> Option<Optional> {
        match self.lower(expr)? {
            Lowered::Optional(optional) => Some(optional),
            Lowered::Plain(plain) => {
                let message = format!("an optional is needed here, this is always a `{}`", plain.ty);
                let help = "read it with `.?`, or wrap it in `optional.of(…)`".to_owned();
                self.problem(ProblemKind::Type, &expr.range, message, Some(help))
            }
        }
    }

    /// A value that must be able to be of this type.
    fn typed(&mut self, expr: &Expr, wanted: &Type) -> Option<Plain> {
        let plain = self.plain(expr)?;
        if !plain.ty.may_be(wanted) {
            let message = format!("a `{wanted}` is needed here, this is `{}`", plain.ty);
            return self.problem(ProblemKind::Type, &expr.range, message, None);
        }
        Some(plain)
    }

    fn lower(&mut self, expr: &Expr) -> Option<Lowered> {
        if let Some(chain) = self.chain(expr) {
            return self.lower_chain(expr, &chain, false);
        }
        let plain = match &expr.kind {
            Kind::Literal(literal) => literal_code(&expr.range, literal),
            Kind::Name(name) => self.variable(expr, name)?,
            Kind::Select { .. } | Kind::Index { .. } => return self.member(expr),
            Kind::Call { target, function, arguments } => {
                return self.call(expr, target.as_deref(), function, arguments);
            }
            Kind::Conditional { condition, yes, no } => return self.conditional(expr, condition, yes, no),
            Kind::Not(of) => {
                let of = self.typed(of, &Type::Bool)?;
                self.over(expr, Op::Not(Box::new(of.code)), Type::Bool, Size::SCALAR, &[&of.cost])
            }
            Kind::Negate(of) => self.negate(expr, of)?,
            Kind::And(operands) => self.connected(expr, operands, true)?,
            Kind::Or(operands) => self.connected(expr, operands, false)?,
            Kind::Binary { operator, left, right } => self.binary(expr, *operator, left, right)?,
            Kind::List(elements) => self.list(expr, elements)?,
            Kind::Map(entries) => self.map(expr, entries)?,
        };
        Some(Lowered::Plain(plain))
    }

    /// Code with what it costs by itself, one step, and what its operands cost.
    fn over(&self, expr: &Expr, op: Op, ty: Type, size: Size, costs: &[&Cost]) -> Plain {
        let cost = costs.iter().fold(Cost::units(op.price()), |sum, cost| sum.and(cost));
        Plain { code: Code::new(&expr.range, op), ty, size, cost }
    }

    fn variable(&mut self, expr: &Expr, name: &str) -> Option<Plain> {
        if let Some((depth, variable)) =
            self.variables.iter().enumerate().rfind(|(_, found)| found.name == name)
        {
            let (ty, size) = (variable.ty.clone(), variable.size);
            return Some(self.over(expr, Op::Variable(depth), ty, size, &[]));
        }
        let limits = self.limits;
        let (op, ty, size) = match name {
            "topic" => {
                self.reads.topic = true;
                (Op::Topic, Type::Text, Size::text(limits.topic_bytes))
            }
            "tokens" => {
                self.reads.topic = true;
                let size = Size { items: limits.topic_tokens, bytes: limits.topic_bytes, share: None };
                (Op::Tokens, Type::list(Type::Text), size)
            }
            "now" => {
                self.reads.now = true;
                (Op::Now, Type::Timestamp, Size::SCALAR)
            }
            "publisher" if self.scope.publisher => {
                self.reads.publisher = true;
                (Op::Publisher, Type::Text, Size::text(limits.attribute_bytes))
            }
            "publisher" => {
                let message =
                    "`publisher` is known only where the event is published and at its origin's egress";
                let help = "add `at: publish` or `at: egress` to the rule's match".to_owned();
                return self.problem(ProblemKind::Unknown, &expr.range, message, Some(help));
            }
            "event" if self.scope.event => {
                let message = "`event` is not a value";
                let help = "read one of its attributes, such as `event.type`".to_owned();
                return self.problem(ProblemKind::Type, &expr.range, message, Some(help));
            }
            "event" => {
                return self.problem(ProblemKind::Unknown, &expr.range, "there is no event here", None);
            }
            "from" | "to" => {
                let message = format!("`{name}` is not a value");
                let help = format!("read one of its attributes, such as `{name}.zone`");
                return self.problem(ProblemKind::Type, &expr.range, message, Some(help));
            }
            _ => {
                let message = format!("no variable `{name}`");
                let help = "the variables are event, topic, tokens, from, to, publisher and now".to_owned();
                return self.problem(ProblemKind::Unknown, &expr.range, message, Some(help));
            }
        };
        Some(self.over(expr, op, ty, size, &[]))
    }

    fn list(&mut self, expr: &Expr, elements: &[crate::ast::Element]) -> Option<Plain> {
        let literals = elements.iter().map(|element| match &element.value.kind {
            Kind::Literal(literal) if !element.optional => Some(literal),
            _ => None,
        });
        if let Some(literals) = literals.collect::<Option<Vec<_>>>() {
            let constants: Box<[Constant]> = literals.iter().map(|literal| constant(literal)).collect();
            let parts = elements.iter().zip(&literals).map(|(element, literal)| {
                let plain = literal_code(&element.value.range, literal);
                (plain.ty, plain.size)
            });
            let (ty, size) = list_of(parts);
            return Some(self.over(expr, Op::Constants(constants), ty, size, &[]));
        }
        let (mut compiled, mut parts, mut cost) = (Vec::new(), Vec::new(), Cost::default());
        let mut sound = true;
        for element in elements {
            // Goes on behind a problem, to find the others.
            let (code, ty, size, part) = if element.optional {
                match self.optional(&element.value) {
                    Some(found) => (Element::Optional(found.code), found.ty, found.size, found.cost),
                    None => {
                        sound = false;
                        continue;
                    }
                }
            } else {
                match self.plain(&element.value) {
                    Some(found) => (Element::Plain(found.code), found.ty, found.size, found.cost),
                    None => {
                        sound = false;
                        continue;
                    }
                }
            };
            compiled.push(code);
            parts.push((ty, size));
            cost = cost.and(&part);
        }
        if !sound {
            return None;
        }
        let (ty, size) = list_of(parts.into_iter());
        Some(self.over(expr, Op::List(compiled.into()), ty, size, &[&cost]))
    }

    fn map(&mut self, expr: &Expr, entries: &[(Expr, Expr)]) -> Option<Plain> {
        let (mut compiled, mut cost, mut size) = (Vec::new(), Cost::default(), Size::SCALAR);
        for (key, value) in entries {
            let Kind::Literal(Literal::Text(text)) = &key.kind else {
                let message = "the keys of a map must be string literals here";
                return self.problem(ProblemKind::Unsupported, &key.range, message, None);
            };
            let twice = |(found, _): &&(Expr, Expr)| found.kind_is_text(text);
            if entries.iter().filter(twice).count() > 1 {
                let message = format!("the key `{text}` is there twice");
                return self.problem(ProblemKind::Type, &key.range, message, None);
            }
            let (key, value) = (self.plain(key)?, self.plain(value)?);
            // At least as many bytes as the same object would have as JSON, so that a look-up is counted alike.
            size = size.plus(key.size).plus(value.size).plus(Size::text(5));
            cost = cost.and(&key.cost).and(&value.cost);
            compiled.push((key.code, value.code));
        }
        size.items = entries.len() as u64;
        Some(self.over(expr, Op::Map(compiled.into()), Type::Map, size, &[&cost]))
    }
}

impl Expr {
    fn kind_is_text(&self, text: &str) -> bool {
        matches!(&self.kind, Kind::Literal(Literal::Text(found)) if found == text)
    }
}

/// Type and size of a list of these.
fn list_of(parts: impl Iterator<Item = (Type, Size)>) -> (Type, Size) {
    let mut of: Option<Type> = None;
    let mut total = Size::SCALAR;
    let mut count = 0u64;
    for (ty, size) in parts {
        of = Some(of.map_or(ty.clone(), |joined| joined.join(&ty)));
        total = total.plus(size);
        count += 1;
    }
    (Type::list(of.unwrap_or(Type::Any)), Size { items: count, ..total })
}

fn constant(literal: &Literal) -> Constant {
    match literal {
        Literal::Null => Constant::Null,
        Literal::Bool(value) => Constant::Bool(*value),
        Literal::Int(value) => Constant::Int(*value),
        Literal::Double(value) => Constant::Double(*value),
        Literal::Text(text) => Constant::Text(text.as_str().into()),
    }
}

fn literal_code(range: &Range<usize>, literal: &Literal) -> Plain {
    let (ty, size) = match literal {
        Literal::Null => (Type::Null, Size::SCALAR),
        Literal::Bool(_) => (Type::Bool, Size::SCALAR),
        Literal::Int(_) => (Type::Int, Size::SCALAR),
        Literal::Double(_) => (Type::Double, Size::SCALAR),
        Literal::Text(text) => (Type::Text, Size::text(text.len() as u64)),
    };
    Plain { code: Code::new(range, Op::Constant(constant(literal))), ty, size, cost: Cost::default() }
}
