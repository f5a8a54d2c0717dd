//! What is wrong with a source: data first, for the caller's diagnostics.

use std::ops::Range;

/// Which rule of the language a source breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The source is not an expression of the language.
    Syntax,
    /// The source, its nesting or one of its literals is larger than [`Limits`](crate::Limits) allow.
    TooLarge,
    /// A name, function or attribute that does not exist here.
    Unknown,
    /// A part of the language that conditions do not have.
    Unsupported,
    /// A value that may be absent is read as if it were always there.
    Unguarded,
    /// An operation that can never succeed on operands of these types.
    Type,
    /// The result is not a boolean.
    NotBoolean,
    /// A regular expression that cannot be compiled, or is too large.
    Pattern,
    /// The worst case needs more steps than allowed.
    Cost,
}

/// One finding of [`compile`](crate::compile).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub kind: ProblemKind,
    /// The narrowest place in the source that shows the problem, in bytes, on character boundaries.
    pub range: Range<usize>,
    /// What is wrong: lowercase, no full stop, parts of the source in backticks.
    pub message: String,
    /// One suggested fix, where there is one.
    pub help: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, range: Range<usize>, message: impl Into<String>) -> Problem {
        Problem { kind, range, message: message.into(), help: None }
    }

    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}
