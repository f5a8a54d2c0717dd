//! P03: conditions and checks in CEL.

use super::Page;

pub(super) const PAGES: &[Page] = &[
    Page::new(
        "P0301",
        "not CEL",
        "The expression cannot be read.",
        "A quote or bracket that is not closed, or an operator of another language.",
        "Correct the place that is marked.",
    ),
    Page::new(
        "P0302",
        "an expression that is too large",
        "Length and nesting of expressions are bounded.",
        "A long list of values that was written as comparisons.",
        "Use `in [...]`, or make several rules of it.",
    ),
    Page::new(
        "P0303",
        "an unknown name",
        "Conditions know `event`, `topic`, `tokens`, `from`, `to`, `publisher` and `now`, with their attributes and the functions of CEL.",
        "A spelling error, or a variable of another product.",
        "Use one of the names.",
    ),
    Page::new(
        "P0304",
        "a part of CEL that is not supported",
        "The expression is CEL, but it uses something that policies leave out because its cost or meaning cannot be bounded.",
        "A macro or function of an extension.",
        "Say it with what is supported.",
    ),
    Page::new(
        "P0305",
        "an optional value is read without a guard",
        "Only `id`, `source`, `type` and `specversion` are always there. Reading anything else that is absent would be an error while events flow, so it is one now.",
        "An attribute or a field of the data that is read as if it were always there.",
        "Read it with `.?` and `orValue`, as in `event.data.?amount.orValue(0.0) > 10.0`, or behind `has` in the same conjunction.",
    )
    .example("when: 'event.data.amount > 10.0'"),
    Page::new(
        "P0306",
        "types that do not fit",
        "An operator or function is applied to a type that it does not take. Whole numbers and decimals compare with each other, nothing else across types.",
        "A text compared with a number.",
        "Convert one side, or compare with a value of its type.",
    ),
    Page::new(
        "P0307",
        "a condition that is not true or false",
        "The whole expression must give a truth value.",
        "An expression that ends in a value instead of a comparison.",
        "Compare the value with something.",
    ),
    Page::new(
        "P0308",
        "no pattern",
        "The regular expression of `matches` is invalid, too large, or not a constant.",
        "A look-around, a back-reference, or a pattern that is computed.",
        "Write a constant pattern without them.",
    ),
    Page::new(
        "P0309",
        "a condition that costs too much",
        "The checker computes what the condition costs in the worst case that event sizes allow, and more than 10,000 steps are refused: otherwise one event could hold up a bridge.",
        "Loops within loops over the data.",
        "Ask less of the data, or bound it by a schema.",
    ),
];
