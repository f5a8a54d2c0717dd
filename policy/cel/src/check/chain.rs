//! Members of members: which are always there, which are proved to be, and which need an answer for when they are
//! not.
//!
//! A **chain** is a root (the event, a zone, a loop variable) and the fields that follow it. Its path is **guarded**
//! at a place if evaluation gets a result from there only when the path is present: behind `has(path)` in the same
//! conjunction (on either side, for `false` wins over an error), in the branch of a `?:` that it chooses, or beside
//! `!has(path)` in a disjunction.

use std::ops::Range;

use super::{Checker, Lowered, Optional};
use crate::ast::{Expr, Kind, Literal};
use crate::code::{Code, Maybe, MaybeOp, Op, ZoneField};
use crate::cost::Cost;
use crate::facts::Side;
use crate::problem::ProblemKind;
use crate::types::{Size, Type};

/// Attributes that every event has.
const ALWAYS: [&str; 4] = ["id", "source", "type", "specversion"];
/// Attributes that are text in every event.
const TEXTS: [&str; 7] = ["id", "source", "type", "specversion", "subject", "datacontenttype", "dataschema"];
const ZONE: &str = "zone, region, cloud, jurisdiction and labels";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Event,
    Zone(Side),
    /// By the variable's id.
    Variable(usize),
}

/// A place whose presence can be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    root: Root,
    fields: Vec<String>,
}

pub(super) struct Chain<'e> {
    root: Root,
    name: &'e str,
    /// Outermost first.
    links: Vec<Link<'e>>,
}

struct Link<'e> {
    field: &'e str,
    optional: bool,
    /// Where the expression up to and including this field ends.
    end: usize,
}

impl Chain<'_> {
    fn path(&self) -> Path {
        Path { root: self.root, fields: self.links.iter().map(|link| link.field.to_owned()).collect() }
    }

    /// The first `count` fields as they would be written, optional from field `optional_from` on.
    fn written(&self, count: usize, optional_from: usize) -> String {
        let mut text = self.name.to_owned();
        for (index, link) in self.links.iter().take(count).enumerate() {
            let optional = index >= optional_from;
            let identifier = link.field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !link.field.starts_with(|first: char| first.is_ascii_digit());
            text.push_str(match (identifier, optional) {
                (true, true) => ".?",
                (true, false) => ".",
                (false, true) => "[?\"",
                (false, false) => "[\"",
            });
            text.push_str(link.field);
            if !identifier {
                text.push_str("\"]");
            }
        }
        text
    }
}

impl Checker<'_> {
    /// The chain that an expression is, with at least one field.
    pub(super) fn chain<'e>(&self, expr: &'e Expr) -> Option<Chain<'e>> {
        let mut links = Vec::new();
        let mut at = expr;
        let (root, name) = loop {
            match &at.kind {
                Kind::Select { of, field, optional } => {
                    links.push(Link { field: &field.text, optional: *optional, end: at.range.end });
                    at = of;
                }
                Kind::Index { of, index, optional } => {
                    let Kind::Literal(Literal::Text(field)) = &index.kind else { return None };
                    links.push(Link { field, optional: *optional, end: at.range.end });
                    at = of;
                }
                Kind::Name(name) => break (self.root(name)?, name.as_str()),
                _ => return None,
            }
        };
        if links.is_empty() {
            return None;
        }
        links.reverse();
        Some(Chain { root, name, links })
    }

    fn root(&self, name: &str) -> Option<Root> {
        if let Some(variable) = self.variables.iter().rfind(|variable| variable.name == name) {
            return Some(Root::Variable(variable.id));
        }
        match name {
            "event" if self.scope.event => Some(Root::Event),
            "from" => Some(Root::Zone(Side::From)),
            "to" => Some(Root::Zone(Side::To)),
            _ => None,
        }
    }

    /// A chain as code. With `test` it is an optional whatever it is written as, because `has` asks.
    pub(super) fn lower_chain(&mut self, expr: &Expr, chain: &Chain<'_>, test: bool) -> Option<Lowered> {
        let (optional, always) = match chain.root {
            Root::Event => self.event_chain(expr, chain)?,
            Root::Zone(side) => self.zone_chain(expr, chain, side)?,
            Root::Variable(id) => (self.variable_chain(expr, chain, id)?, 0),
        };
        if test {
            return Some(Lowered::Optional(optional));
        }
        let first_optional = chain.links.iter().position(|link| link.optional);
        // Fields behind the first optional one are optional too. Those before it must be there, but for
        // `event.data`, which is where every path into the data begins.
        let plain = first_optional.unwrap_or(chain.links.len());
        let begins = first_optional.is_some_and(|first| first == 1 && chain.links[0].field == "data");
        if plain > always && !(chain.root == Root::Event && begins) {
            let known = self.known(&chain.path(), plain);
            if known < plain {
                return self.unguarded(expr, chain, known.max(always));
            }
        }
        if first_optional.is_some() {
            return Some(Lowered::Optional(optional));
        }
        let op = Op::Require(Box::new(optional.code));
        Some(Lowered::Plain(self.over(expr, op, optional.ty, optional.size, &[&optional.cost])))
    }

    /// How many of the first `wanted` fields of a path are known to be there.
    fn known(&self, path: &Path, wanted: usize) -> usize {
        let shared = |guard: &Path| {
            let pairs = guard.fields.iter().zip(&path.fields);
            pairs.take_while(|(left, right)| left == right).count()
        };
        let guards = self.guards.iter().filter(|guard| guard.root == path.root);
        guards.map(shared).max().unwrap_or(0).min(wanted)
    }

    /// Whether all of a path is known to be there.
    pub(super) fn is_known(&self, path: &Path) -> bool {
        self.known(path, path.fields.len()) == path.fields.len()
    }

    fn unguarded<T>(&mut self, expr: &Expr, chain: &Chain<'_>, known: usize) -> Option<T> {
        // `event.data` alone is no news to the reader: the first path into it is.
        let data = chain.root == Root::Event && chain.links[0].field == "data";
        let missing = if data && known == 0 && chain.links.len() > 1 { 1 } else { known };
        let missing = missing.min(chain.links.len() - 1);
        let range = expr.range.start..chain.links[missing].end;
        let count = chain.links.len();
        let message = format!("`{}` may be absent", chain.written(missing + 1, count));
        let help = format!(
            "write `{}.orValue(…)`, or test `has({})` in the same conjunction",
            chain.written(count, missing),
            chain.written(count, count),
        );
        self.problem(ProblemKind::Unguarded, &range, message, Some(help))
    }

    /// An attribute or data, with the number of fields that are always there.
    fn event_chain(&mut self, expr: &Expr, chain: &Chain<'_>) -> Option<(Optional, usize)> {
        let (first, rest) = chain.links.split_first()?;
        let start = expr.range.start;
        let place = start..first.end;
        let path = Some(chain.path());
        if first.field == "data" {
            self.reads.data.insert(rest.iter().map(|link| link.field.to_owned()).collect());
            let code = Maybe::new(&place, MaybeOp::Data);
            let (ty, size) = (Type::Any, Size::data(self.limits));
            let data = Optional { code, ty, size, cost: Cost::step(), path };
            return Some((self.members(data, start, rest), 0));
        }
        if first.field.is_empty()
            || !first.field.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        {
            let message = format!("`{}` is not the name of an attribute", first.field);
            let help = match first.field.to_ascii_lowercase() {
                lower if lower.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !lower.is_empty() => {
                    format!("attributes are lower-case letters and digits: `event.{lower}`")
                }
                _ => format!(
                    "attributes are lower-case letters and digits; data are under `event.data.{}`",
                    first.field
                ),
            };
            return self.problem(ProblemKind::Unknown, &place, message, Some(help));
        }
        if let Some(next) = rest.first() {
            let message = format!("the attribute `{}` has no field `{}`", first.field, next.field);
            return self.problem(ProblemKind::Type, &(start..next.end), message, None);
        }
        self.reads.attributes.insert(first.field.to_owned());
        let always = usize::from(ALWAYS.contains(&first.field));
        let ty = match first.field {
            text if TEXTS.contains(&text) => Type::Text,
            "time" => Type::Timestamp,
            _ => Type::Any,
        };
        let code = Maybe::new(&place, MaybeOp::Attribute(first.field.into()));
        let size = Size::text(self.limits.attribute_bytes);
        Some((Optional { code, ty, size, cost: Cost::step(), path }, always))
    }

    fn zone_chain(&mut self, expr: &Expr, chain: &Chain<'_>, side: Side) -> Option<(Optional, usize)> {
        let (first, rest) = chain.links.split_first()?;
        let place = expr.range.start..first.end;
        let reads = match side {
            Side::From => &mut self.reads.from,
            Side::To => &mut self.reads.to,
        };
        let (field, used) = match (first.field, rest.first()) {
            ("labels", Some(label)) => {
                reads.labels.insert(label.field.to_owned());
                (ZoneField::Label(label.field.into()), 2)
            }
            ("labels", None) => {
                let message = "the labels of a zone are not a value";
                let help = format!("read one, such as `{}.labels.?env`", chain.name);
                return self.problem(ProblemKind::Type, &place, message, Some(help));
            }
            ("zone", _) => {
                reads.zone = true;
                (ZoneField::Zone, 1)
            }
            ("region", _) => {
                reads.region = true;
                (ZoneField::Region, 1)
            }
            ("cloud", _) => {
                reads.cloud = true;
                (ZoneField::Cloud, 1)
            }
            ("jurisdiction", _) => {
                reads.jurisdiction = true;
                (ZoneField::Jurisdiction, 1)
            }
            (other, _) => {
                let message = format!("a zone has no attribute `{other}`");
                let help = format!("the attributes are {ZONE}");
                return self.problem(ProblemKind::Unknown, &place, message, Some(help));
            }
        };
        if let Some(link) = chain.links.get(used) {
            let message = format!("this attribute of a zone has no field `{}`", link.field);
            return self.problem(ProblemKind::Type, &(expr.range.start..link.end), message, None);
        }
        let code = Maybe::new(&expr.range, MaybeOp::Zone(side, field));
        let size = Size::text(self.limits.attribute_bytes);
        let path = Some(chain.path());
        // The attributes are the federation's to give; a label is for each zone to have or not.
        Some((Optional { code, ty: Type::Text, size, cost: Cost::step(), path }, 1))
    }

    fn variable_chain(&mut self, expr: &Expr, chain: &Chain<'_>, id: usize) -> Option<Optional> {
        let depth = self.variables.iter().position(|variable| variable.id == id)?;
        let (ty, size) = (self.variables[depth].ty.clone(), self.variables[depth].size);
        if !matches!(ty, Type::Any | Type::Map) {
            let message =
                format!("`{}` is `{ty}`, which has no field `{}`", chain.name, chain.links[0].field);
            return self.problem(ProblemKind::Type, &expr.range, message, None);
        }
        let start = expr.range.start;
        let place = start..start + chain.name.len();
        let of = Box::new(Code::new(&place, Op::Variable(depth)));
        let code = Maybe::new(&place, MaybeOp::Of(of));
        let variable =
            Optional { code, ty: Type::Any, size, cost: Cost::default(), path: Some(chain.path()) };
        Some(self.members(variable, start, &chain.links))
    }

    fn members(&self, mut of: Optional, start: usize, links: &[Link<'_>]) -> Optional {
        for link in links {
            of = self.get(of, &(start..link.end), link.field);
        }
        of
    }

    /// A member of an optional value.
    fn get(&self, of: Optional, range: &Range<usize>, field: &str) -> Optional {
        let look_up = Cost::member(of.size, self.limits.members);
        let cost = Cost::step().and(&of.cost).and(&look_up);
        let code = Maybe::new(range, MaybeOp::Get(Box::new(of.code), field.into()));
        // A list that is a member may have more elements than what it is a member of.
        let size = Size { items: self.limits.items, ..of.size };
        Optional { code, ty: Type::Any, size, cost, path: of.path }
    }

    /// A member of what is not a chain: an element of a list, or a field of a computed value.
    pub(super) fn member(&mut self, expr: &Expr) -> Option<Lowered> {
        let (of, optional) = match &expr.kind {
            Kind::Select { of, optional, .. } | Kind::Index { of, optional, .. } => (of, *optional),
            _ => return None,
        };
        let (of, optional) = match self.lower(of)? {
            Lowered::Optional(of) => (Optional { path: None, ..of }, true),
            Lowered::Plain(plain) => {
                let code = Maybe::new(&of.range, MaybeOp::Of(Box::new(plain.code)));
                (Optional { code, ty: plain.ty, size: plain.size, cost: plain.cost, path: None }, optional)
            }
        };
        let is_list = matches!(of.ty, Type::List(_));
        let found = match &expr.kind {
            Kind::Select { field, .. } => {
                self.has_members(&of.ty, false, &expr.range)?;
                self.get(of, &expr.range, &field.text)
            }
            Kind::Index { index, .. } => {
                self.has_members(&of.ty, true, &expr.range)?;
                self.at(of, expr, index)?
            }
            _ => return None,
        };
        if optional {
            return Some(Lowered::Optional(found));
        }
        if !is_list {
            let message = "this element or member may be absent";
            let help = "read it as an optional: `.?name` or `[?index]`, then `.orValue(…)`".to_owned();
            return self.problem(ProblemKind::Unguarded, &expr.range, message, Some(help));
        }
        let op = Op::Require(Box::new(found.code));
        Some(Lowered::Plain(self.over(expr, op, found.ty, found.size, &[&found.cost])))
    }

    fn has_members(&mut self, ty: &Type, index: bool, range: &Range<usize>) -> Option<()> {
        match ty {
            Type::Any | Type::Map => Some(()),
            Type::List(_) if index => Some(()),
            _ => {
                let what = if index { "elements" } else { "fields" };
                self.problem(ProblemKind::Type, range, format!("a `{ty}` has no {what}"), None)
            }
        }
    }

    fn at(&mut self, of: Optional, expr: &Expr, index: &Expr) -> Option<Optional> {
        let key = self.plain(index)?;
        let wanted = match &of.ty {
            Type::List(_) => key.ty.may_be(&Type::Int),
            Type::Map => key.ty.may_be(&Type::Text),
            _ => key.ty.may_be(&Type::Int) || key.ty.may_be(&Type::Text),
        };
        if !wanted {
            let message = format!("an index of type `{}` finds nothing in `{}`", key.ty, of.ty);
            return self.problem(ProblemKind::Type, &index.range, message, None);
        }
        let ty = match &of.ty {
            Type::List(element) => (**element).clone(),
            _ => Type::Any,
        };
        let look_up = Cost::element(of.size, self.limits.items.max(self.limits.members));
        let key_text = Cost::text(key.size, self.limits.text_bytes, 1);
        let cost = Cost::step().and(&of.cost).and(&key.cost).and(&look_up).and(&key_text);
        let code = Maybe::new(&expr.range, MaybeOp::At(Box::new(of.code), Box::new(key.code)));
        let size = if ty.is_scalar() && ty != Type::Text {
            Size::SCALAR
        } else {
            Size { items: self.limits.items.max(of.size.items), ..of.size }
        };
        Some(Optional { code, ty, size, cost, path: None })
    }

    /// Adds what is present if `expr` has the value `holds`.
    pub(super) fn guards_of(&self, expr: &Expr, holds: bool, found: &mut Vec<Path>) {
        match &expr.kind {
            Kind::Not(of) => self.guards_of(of, !holds, found),
            Kind::And(operands) if holds => operands.iter().for_each(|of| self.guards_of(of, true, found)),
            Kind::Or(operands) if !holds => operands.iter().for_each(|of| self.guards_of(of, false, found)),
            Kind::Call { target: None, function, arguments } if holds && function.text == "has" => {
                found.extend(arguments.first().and_then(|of| self.chain(of)).map(|chain| chain.path()));
            }
            Kind::Call { target: Some(target), function, arguments }
                if holds && function.text == "hasValue" && arguments.is_empty() =>
            {
                found.extend(self.chain(target).map(|chain| chain.path()));
            }
            _ => {}
        }
    }
}
