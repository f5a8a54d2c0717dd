//! Conditions in the [Common Expression Language](https://cel.dev): compiled and checked once, evaluated against
//! facts that are read lazily. PURE: no clock, no files, no randomness; the same facts give the same result.
//!
//! What makes it fit for policies, where a condition is written once and then meets every event there will ever be:
//!
//! - **No surprise at run time.** Everything that an event may lack is an optional. Reading it without an answer for
//!   its absence is a [`Problem`] of the source, with its place and a fix, not a [`Failure`] in production.
//! - **A bounded worst case.** [`compile`] computes from the [`Limits`] what an evaluation can cost at most
//!   ([`Expression::cost`]) and refuses too much; [`Steps`] holds every evaluation to it. Regular expressions are
//!   literals, linear in the text, and bounded in size.
//! - **Failure is neither true nor false.** Types that do not go together are an error, also for `==`. The caller
//!   decides what an error means; a condition does not.
//!
//! # The language
//!
//! Variables are `event`, `topic`, `tokens`, `from`, `to`, `publisher` and `now`, as far as the [`Scope`] has them.
//! `event.id`, `source`, `type` and `specversion` are always there, other attributes and everything under
//! `event.data` are optionals: `event.data.?amount.orValue(0.0)`, or `has(event.data.amount) && event.data.amount >
//! 0.0`. `has` of a path is false if any part of it is absent. A field of an optional is an optional: `a.?b.c` is
//! `a.?b.?c`. A member of what is no object, and an element of what is no list, are absent.
//!
//! | | |
//! |---|---|
//! | values | `null`, `bool`, `int` (64 bits), `double`, `string`, `timestamp`, `duration`, lists, maps with literal keys |
//! | operators | `!` `-` `*` `/` `%` `+` `<` `<=` `>` `>=` `==` `!=` `in` `&&` `||` `?:` |
//! | optionals | `.?f`, `[?i]`, `[?x]` in a list, `orValue`, `or`, `hasValue`, `value`, `optMap`, `optFlatMap`, `optional.of`, `optional.none` |
//! | macros | `has`, `all`, `exists`, `exists_one` (`existsOne`), `map`, `filter` |
//! | text | `size`, `startsWith`, `endsWith`, `contains`, `matches`, `lowerAscii`, `upperAscii` |
//! | times | `timestamp`, `duration`, `getFullYear`, `getMonth`, `getDate`, `getDayOfMonth`, `getDayOfWeek`, `getDayOfYear`, `getHours`, `getMinutes`, `getSeconds`, `getMilliseconds`; time zones are `"UTC"` and offsets |
//! | conversions | `int`, `double`, `string`, `bool` |
//!
//! Not in it: byte strings, unsigned integers, messages, types as values, maps as operands of `==`, lists in lists as
//! operands of `==`, names of time zones. Where the language would mix types, this is stricter: `1 == "a"` is an
//! error, not `false`. Only `int` and `double` compare with each other, exactly, and anything compares with a literal
//! `null`. Arithmetic mixes no types: write `double(x) * 1.5`.
//!
//! Start reading at [`compile`]: `lexer`, `parser` (to `ast`), `check` (to `code`, with `types` and `cost`), `eval`.

mod ast;
mod check;
mod code;
mod cost;
mod eval;
mod facts;
mod failure;
mod lexer;
mod limits;
mod parser;
mod pattern;
mod problem;
mod reads;
mod times;
mod types;
mod value;

pub use cost::Steps;
pub use facts::{Attribute, Facts, Json, JsonKind, Side, Unreadable, ZoneAttribute};
pub use failure::{Failure, FailureKind};
pub use limits::{Limits, Scope};
pub use problem::{Problem, ProblemKind};
pub use reads::{Reads, ZoneReads};

/// A checked condition.
#[derive(Clone, Debug)]
pub struct Expression {
    code: code::Code,
    cost: u64,
    reads: Reads,
    limits: Limits,
}

/// Compiles and checks a source.
///
/// # Errors
///
/// All problems that can be told apart, in the order of their places; a syntax error hides what is behind it.
pub fn compile(source: &str, scope: &Scope, limits: &Limits) -> Result<Expression, Vec<Problem>> {
    let limits = limits.bounded();
    let syntax = parser::parse(source, &limits).map_err(|problem| vec![problem])?;
    let mut checker = check::Checker::new(*scope, &limits);
    let checked = checker.condition(&syntax);
    let (mut problems, reads) = (checker.problems, checker.reads);
    let Some(checked) = checked.filter(|_| problems.is_empty()) else {
        problems.sort_by_key(|problem| (problem.range.start, problem.range.end));
        return Err(problems);
    };
    let cost = checked.cost.steps();
    if cost > limits.steps {
        let message = format!("the worst case needs {cost} steps, more than {}", limits.steps);
        let help = "loop over fewer lists, or look at less text: see the limits of conditions";
        return Err(vec![Problem::new(ProblemKind::Cost, syntax.range, message).with_help(help)]);
    }
    Ok(Expression { code: checked.code, cost, reads, limits })
}

impl Expression {
    /// The steps of the worst case, for facts within the limits.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// What the result depends on.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Whether topic and zones alone decide, so that the result can be computed once for all events.
    pub fn is_static(&self) -> bool {
        self.reads.is_static()
    }

    /// Evaluates the condition.
    ///
    /// Common conditions allocate nothing: only computed texts and lists do, and texts in data that have escapes.
    ///
    /// # Errors
    ///
    /// The condition is neither true nor false, see [`FailureKind`].
    pub fn evaluate(&self, facts: &impl Facts, steps: &mut Steps) -> Result<bool, Failure> {
        eval::Machine { facts, steps, limits: &self.limits }.condition(&self.code)
    }
}
