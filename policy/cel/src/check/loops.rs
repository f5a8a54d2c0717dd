//! The macros that bind a variable: over the elements of a list or the keys of an object, and over the one value that
//! an optional may have.

use super::{Checker, Lowered, Optional, Plain, Variable};
use crate::ast::{Expr, Kind};
use crate::code::{LoopKind, Maybe, MaybeOp, Op};
use crate::cost::Cost;
use crate::problem::ProblemKind;
use crate::types::{Size, Type};

/// Names that a loop variable cannot have: a condition in which `from` means two things is not reviewed well.
const TAKEN: [&str; 8] = ["event", "topic", "tokens", "from", "to", "publisher", "now", "optional"];

impl Checker<'_> {
    pub(super) fn iterate(
        &mut self,
        expr: &Expr,
        kind: LoopKind,
        target: &Expr,
        arguments: &[Expr],
    ) -> Option<Plain> {
        let over = self.plain(target);
        let name = self.variable_name(arguments.first()?)?;
        let over = over?;
        let element = match &over.ty {
            Type::List(of) => (**of).clone(),
            Type::Map => Type::Text,
            // Elements of an array or keys of an object.
            Type::Any => Type::Any,
            other => {
                let message = format!("a `{other}` has no elements");
                return self.problem(ProblemKind::Type, &target.range, message, None);
            }
        };
        let list = Size { items: over.size.items.min(self.limits.items), ..over.size };
        let depth = self.bind(name, element, list);
        let (body, transform) = match arguments {
            [_, condition, transform] => {
                let checked = self.typed(condition, &Type::Bool);
                // Only elements that fulfil the condition come to be transformed.
                let outer = self.guards.len();
                let mut guards = Vec::new();
                self.guards_of(condition, true, &mut guards);
                self.guards.append(&mut guards);
                let transformed = self.plain(transform);
                self.guards.truncate(outer);
                (checked, Some(transformed))
            }
            [_, body] if kind == LoopKind::Map => (self.plain(body), None),
            [_, body] => (self.typed(body, &Type::Bool), None),
            _ => (None, None),
        };
        let variable = self.variables.pop()?;
        let (body, transform) = (body?, transform.map_or(Some(None), |found| found.map(Some))?);
        let result = transform.as_ref().unwrap_or(&body);
        let (ty, size) = match kind {
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => (Type::Bool, Size::SCALAR),
            LoopKind::Filter => (Type::list(variable.ty), list),
            LoopKind::Map => (Type::list(result.ty.clone()), collected(result.size, list, depth)),
        };
        let mut each = Cost::step().and(&body.cost);
        if let Some(transform) = &transform {
            each = each.and(&transform.cost);
        }
        let all = each.for_each(list, depth);
        let op = Op::Loop {
            kind,
            over: Box::new(over.code),
            body: Box::new(body.code),
            transform: transform.map(|found| Box::new(found.code)),
        };
        Some(self.over(expr, op, ty, size, &[&over.cost, &all]))
    }

    pub(super) fn opt_map(
        &mut self,
        expr: &Expr,
        target: &Expr,
        variable: &Expr,
        body: &Expr,
    ) -> Option<Lowered> {
        let (of, name) = (self.optional(target), self.variable_name(variable));
        let (of, name) = (of?, name?);
        let depth = self.bind(name, of.ty.clone(), of.size);
        let body = self.plain(body);
        self.variables.pop();
        let body = body?;
        let once = Size { items: 1, ..of.size };
        let cost = Cost::step().and(&of.cost).and(&body.cost.for_each(once, depth));
        let size = released(body.size, of.size, depth);
        let code = Maybe::new(&expr.range, MaybeOp::Map(Box::new(of.code), Box::new(body.code)));
        Some(Lowered::Optional(Optional { code, ty: body.ty, size, cost, path: None }))
    }

    pub(super) fn opt_flat_map(
        &mut self,
        expr: &Expr,
        target: &Expr,
        variable: &Expr,
        body: &Expr,
    ) -> Option<Lowered> {
        let (of, name) = (self.optional(target), self.variable_name(variable));
        let (of, name) = (of?, name?);
        let depth = self.bind(name, of.ty.clone(), of.size);
        let body = self.optional(body);
        self.variables.pop();
        let body = body?;
        let once = Size { items: 1, ..of.size };
        let cost = Cost::step().and(&of.cost).and(&body.cost.for_each(once, depth));
        let size = released(body.size, of.size, depth);
        let code = Maybe::new(&expr.range, MaybeOp::FlatMap(Box::new(of.code), Box::new(body.code)));
        Some(Lowered::Optional(Optional { code, ty: body.ty, size, cost, path: None }))
    }

    fn variable_name(&mut self, expr: &Expr) -> Option<String> {
        let Kind::Name(name) = &expr.kind else {
            let message = "the name of a new variable is needed here";
            return self.problem(ProblemKind::Syntax, &expr.range, message, None);
        };
        if TAKEN.contains(&name.as_str()) || self.variables.iter().any(|variable| variable.name == *name) {
            let message = format!("`{name}` has a meaning here already");
            let help = "take another name for the variable".to_owned();
            return self.problem(ProblemKind::Type, &expr.range, message, Some(help));
        }
        Some(name.clone())
    }

    /// Brings a variable into scope, for the elements of a list of this size, and returns its depth.
    fn bind(&mut self, name: String, ty: Type, list: Size) -> usize {
        let depth = self.variables.len();
        let size = if ty.is_scalar() && ty != Type::Text {
            Size::SCALAR
        } else {
            Size { items: self.limits.items.max(list.items), bytes: list.bytes, share: Some(depth) }
        };
        self.variables_made += 1;
        self.variables.push(Variable { name, id: self.variables_made, ty, size });
        depth
    }
}

/// The size of what a loop makes of all elements.
fn collected(each: Size, list: Size, depth: usize) -> Size {
    if each.share == Some(depth) {
        return list;
    }
    Size { items: list.items, bytes: each.bytes.saturating_mul(list.items), share: None }
}

/// A size outside of the variable that it may be a part of.
fn released(size: Size, of: Size, depth: usize) -> Size {
    if size.share == Some(depth) { Size { share: of.share, ..size } } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_elements_share_the_bytes_of_the_list() {
        let list = Size { items: 1_000, bytes: 1 << 20, share: None };
        let part = Size { items: 0, bytes: 1 << 20, share: Some(0) };
        let each = Cost::text(part, 256 << 10, 1);
        assert_eq!(
            each.for_each(list, 0).steps(),
            4_096,
            "one mebibyte at 256 bytes for a step, not 1,000 times that"
        );
        let inner = Size { share: Some(0), ..list };
        let element = Size { share: Some(1), ..part };
        let both = Cost::text(element, 256 << 10, 1).for_each(inner, 1).for_each(list, 0);
        assert_eq!(both.steps(), 4_096, "nor for lists in lists");
        let again = Cost::text(part, 256 << 10, 1).for_each(inner, 1).for_each(list, 0);
        assert!(again.steps() >= 1_000 * 4_096, "but the same part again for each inner element");
    }

    #[test]
    fn a_mapped_list_is_as_large_as_what_is_collected() {
        let list = Size { items: 10, bytes: 100, share: Some(3) };
        assert_eq!(collected(Size { share: Some(4), ..list }, list, 4), list);
        assert_eq!(collected(Size::text(50), list, 4), Size { items: 10, bytes: 500, share: None });
    }
}
