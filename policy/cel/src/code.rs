//! The compiled form: checked, names resolved, constants folded. Optionals are not values but a second kind of
//! code, [`Maybe`], so the evaluator cannot meet one where it does not belong.

use std::ops::Range;

use regex::Regex;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::ast::Operator;
use crate::cost::{ELEMENT, STEP};
use crate::facts::Side;
use crate::failure::Place;

/// A literal or what was folded into one. Never a list in a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    Timestamp(OffsetDateTime),
    Duration(Duration),
}

#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub(crate) place: Place,
    pub(crate) op: Op,
}

#[derive(Clone, Debug)]
pub(crate) struct Maybe {
    pub(crate) place: Place,
    pub(crate) op: MaybeOp,
}

/// An attribute of a zone, with an owned label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ZoneField {
    Zone,
    Region,
    Cloud,
    Jurisdiction,
    Label(Box<str>),
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Constant(Constant),
    Constants(Box<[Constant]>),
    Topic,
    Tokens,
    Publisher,
    Now,
    /// A loop variable, by the depth of its loop, from 0.
    Variable(usize),
    /// The value of an optional that is there, or the failure `Missing`.
    Require(Box<Maybe>),
    HasValue(Box<Maybe>),
    OrValue(Box<Maybe>, Box<Code>),
    Not(Box<Code>),
    Negate(Box<Code>),
    /// Two or more operands, as in `Or`.
    And(Box<[Code]>),
    Or(Box<[Code]>),
    Conditional(Box<[Code; 3]>),
    /// A relation, `in`, or arithmetic.
    Binary(Operator, Box<[Code; 2]>),
    /// `==` or `!=` where one side is the literal `null`: the only comparison across types.
    IsNull {
        of: Box<Code>,
        negated: bool,
    },
    /// Whether the zone has a label of this name.
    HasLabel(Side, Box<Code>),
    List(Box<[Element]>),
    Map(Box<[(Code, Code)]>),
    Size(Box<Code>),
    Text(TextTest, Box<[Code; 2]>),
    Matches(Box<Code>, Pattern),
    Case {
        of: Box<Code>,
        upper: bool,
    },
    Convert(Conversion, Box<Code>),
    TimePart {
        part: TimePart,
        of: Box<Code>,
        offset: UtcOffset,
    },
    Loop {
        kind: LoopKind,
        over: Box<Code>,
        body: Box<Code>,
        transform: Option<Box<Code>>,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Element {
    Plain(Code),
    Optional(Maybe),
}

#[derive(Clone, Debug)]
pub(crate) enum MaybeOp {
    None,
    Of(Box<Code>),
    Attribute(Box<str>),
    Data,
    Zone(Side, ZoneField),
    Get(Box<Maybe>, Box<str>),
    /// An element by index, or a member by key.
    At(Box<Maybe>, Box<Code>),
    Or(Box<Maybe>, Box<Maybe>),
    Map(Box<Maybe>, Box<Code>),
    FlatMap(Box<Maybe>, Box<Maybe>),
    Conditional(Box<Code>, Box<Maybe>, Box<Maybe>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    Int,
    Double,
    Text,
    Bool,
    Timestamp,
    Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimePart {
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// What a byte of text costs, relative to plain text.
    pub(crate) factor: u64,
}

impl Op {
    /// What it costs by itself, in units, whatever its operands are.
    pub(crate) fn price(&self) -> u64 {
        match self {
            Op::Constant(_) | Op::Constants(_) | Op::Variable(_) | Op::Require(_) => 0,
            // As many operations as there are signs.
            Op::And(operands) | Op::Or(operands) => STEP * (operands.len() as u64 - 1),
            Op::List(elements) => STEP + ELEMENT * elements.len() as u64,
            Op::Map(entries) => STEP + ELEMENT * entries.len() as u64,
            _ => STEP,
        }
    }
}

impl MaybeOp {
    pub(crate) fn price(&self) -> u64 {
        match self {
            MaybeOp::None | MaybeOp::Of(_) => 0,
            _ => STEP,
        }
    }
}

impl Code {
    pub(crate) fn new(range: &Range<usize>, op: Op) -> Code {
        Code { place: range.into(), op }
    }
}

impl Maybe {
    pub(crate) fn new(range: &Range<usize>, op: MaybeOp) -> Maybe {
        Maybe { place: range.into(), op }
    }
}
