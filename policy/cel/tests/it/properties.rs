//! What holds for any source, any data, and any limits.

use meshbridge_cel::{FailureKind, Limits, Scope, Steps, compile};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Event, Random};

/// Pieces of the language, and some of what is not.
const PIECES: [&str; 84] = [
    "event",
    ".data",
    ".?a",
    ".a",
    "[0]",
    "[?0]",
    "[?\"a\"]",
    "topic",
    "tokens",
    "from",
    ".zone",
    ".labels",
    ".?env",
    "to",
    "now",
    "publisher",
    "==",
    "!=",
    "<",
    ">=",
    "in",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&&",
    "||",
    "!",
    "?",
    ":",
    "(",
    ")",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".orValue(",
    ".all(x,",
    ".exists(y,",
    ".map(x,",
    ".filter(x,",
    "x",
    "y",
    ".size()",
    ".optMap(x,",
    "has(",
    "optional.of(",
    "optional.none()",
    ".hasValue()",
    ".value()",
    "1",
    "0",
    "9223372036854775807",
    "1.5",
    "\"a\"",
    "'é'",
    "\"",
    "'''",
    "\\",
    "`a-b`",
    "null",
    "true",
    "false",
    ".matches(\"a*\")",
    ".startsWith(",
    ".contains(",
    "timestamp(\"2026-01-01T00:00:00Z\")",
    "duration(\"1h\")",
    ".getHours()",
    "int(",
    "double(",
    "string(",
    "r\"\\",
    "b'",
    "0x",
    "1e",
    "ü",
    "\u{0}",
    "//",
    "\n",
];

fn random_json(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(i64::try_from(random.below(7)).unwrap_or(0) - 3),
        3 => json!(1.5),
        4 => json!("a".repeat(random.below(40))),
        5 => json!(i64::MAX),
        6 => Value::Array((0..random.below(5)).map(|_| random_json(random, depth - 1)).collect()),
        _ => {
            let keys = ["a", "b", "qty", "env"];
            let member =
                |random: &mut Random| ((*random.pick(&keys)).to_owned(), random_json(random, depth - 1));
            Value::Object((0..random.below(5)).map(|_| member(random)).collect())
        }
    }
}

/// Limits that this event just meets, so that the worst case is near.
fn tight_limits(event: &Event) -> Limits {
    Limits {
        event_bytes: event.data.as_ref().map_or(0, |data| data.to_string().len() as u64),
        attribute_bytes: 32,
        topic_bytes: event.topic.len() as u64,
        topic_tokens: 3,
        text_bytes: 60,
        items: 5,
        members: 4,
        steps: u64::MAX,
        ..Limits::default()
    }
}

/// Compiles and evaluates, and checks what must hold of any of it. Returns whether it was a condition.
fn run(source: &str, seed: u64, limits: &Limits) -> bool {
    let expression = match compile(source, &Scope::at_origin(), limits) {
        Ok(expression) => expression,
        Err(problems) => {
            assert!(!problems.is_empty(), "{source:?}");
            for problem in problems {
                assert!(source.get(problem.range.clone()).is_some(), "{source:?}: {problem:?}");
            }
            return false;
        }
    };
    let mut random = Random::new(seed);
    for _ in 0..4 {
        let event = Event::payment(random_json(&mut random, 4));
        let mut steps = Steps::new(expression.cost());
        let result = expression.evaluate(&event, &mut steps);
        let kind = result.map_err(|failure| failure.kind);
        assert_ne!(
            kind,
            Err(FailureKind::Exhausted),
            "{} steps: {source:?} over {:?}",
            expression.cost(),
            event.data
        );
        assert_eq!(result, expression.evaluate(&event, &mut Steps::new(u64::MAX)), "{source:?}");
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(source in any::<String>()) {
        run(&source, 1, &Limits::default());
    }

    #[test]
    fn no_sequence_of_pieces_makes_it_panic(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..30),
        spaced in any::<bool>(),
    ) {
        let source = pieces.join(if spaced { " " } else { "" });
        run(&source, 2, &Limits::default());
    }
}

/// Well-formed expressions of any types, so that many are conditions.
struct Generator {
    random: Random,
    variables: usize,
}

impl Generator {
    fn boolean(&mut self, depth: usize) -> String {
        if depth == 0 {
            return (*self.random.pick(&["true", "false", "topic == \"a\"", "has(event.data.a)"])).to_owned();
        }
        let below = depth - 1;
        match self.random.below(11) {
            0 => format!("({} && {})", self.boolean(below), self.boolean(below)),
            1 => format!("({} || {})", self.boolean(below), self.boolean(below)),
            2 => format!("!({})", self.boolean(below)),
            3 | 4 => {
                let sign = *self.random.pick(&["==", "!=", "<", ">", "in"]);
                format!("({} {sign} {})", self.any(below), self.any(below))
            }
            5 | 6 => {
                let (over, name) = (self.any(below), format!("v{}", self.variables));
                self.variables += 1;
                let body = self.boolean(below);
                self.variables -= 1;
                let test = *self.random.pick(&["all", "exists", "exists_one"]);
                format!("{over}.{test}({name}, {body})")
            }
            7 => {
                let test = *self.random.pick(&["startsWith", "endsWith", "contains"]);
                format!("{}.{test}({})", self.any(below), self.any(below))
            }
            8 => format!("{}.matches(\"^a+b?$\")", self.any(below)),
            9 => format!("({} ? {} : {})", self.boolean(below), self.boolean(below), self.boolean(below)),
            _ => format!("{}.hasValue()", self.optional(below)),
        }
    }

    fn any(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.below(5) == 0 {
            if self.variables > 0 && self.random.below(3) > 0 {
                return format!("v{}", self.random.below(self.variables));
            }
            // Mostly of unknown type: what is known to mismatch is refused, and not evaluated.
            if self.random.below(4) > 0 {
                let other = *self.random.pick(&["[]", "\"aa\"", "1", "{\"a\": 1}"]);
                return format!(
                    "event.data{}.orValue({other})",
                    self.random.pick(&[".?a", ".?b.?a", ".?a[?1]"])
                );
            }
            let leaves = ["1", "\"aaaa\"", "[1, 2]", "[]", "topic", "tokens", "{\"a\": 1, \"b\": [1]}"];
            return (*self.random.pick(&leaves)).to_owned();
        }
        let below = depth - 1;
        match self.random.below(12) {
            0..=3 => format!("{}.orValue({})", self.optional(below), self.any(below)),
            4 => format!("({} + {})", self.any(below), self.any(below)),
            5 => format!("{}.size()", self.any(below)),
            6 => format!("[{}, ?{}]", self.any(below), self.optional(below)),
            7 | 8 => {
                let (over, name) = (self.any(below), format!("v{}", self.variables));
                self.variables += 1;
                let body = if self.random.below(2) == 0 {
                    format!("map({name}, {})", self.any(below))
                } else {
                    format!("filter({name}, {})", self.boolean(below))
                };
                self.variables -= 1;
                format!("{over}.{body}")
            }
            9 => format!("{}.upperAscii()", self.any(below)),
            10 => format!("string({})", self.any(below)),
            _ => format!("{{\"a\": {}}}", self.any(below)),
        }
    }

    fn optional(&mut self, depth: usize) -> String {
        if depth == 0 {
            return (*self.random.pick(&["event.data.?a", "event.?subject", "event.?data", "tokens[?1]"]))
                .to_owned();
        }
        let below = depth - 1;
        match self.random.below(7) {
            0 | 1 => format!("{}.?{}", self.optional(below), self.random.pick(&["a", "b", "qty"])),
            2 => format!("{}[?{}]", self.optional(below), self.random.below(4)),
            3 => format!("{}.?a", self.any(below)),
            4 => format!("{}.or({})", self.optional(below), self.optional(below)),
            5 => {
                let (of, name) = (self.optional(below), format!("v{}", self.variables));
                self.variables += 1;
                let body = self.any(below);
                self.variables -= 1;
                format!("{of}.optMap({name}, {body})")
            }
            _ => format!("{}[?{}]", self.any(below), self.any(below)),
        }
    }
}

#[test]
fn no_evaluation_costs_more_than_was_computed() {
    let mut conditions = 0;
    let mut nearest = 0.0f64;
    for seed in 0..12_000 {
        let mut generator = Generator { random: Random::new(seed), variables: 0 };
        let source = generator.boolean(4);
        for _ in 0..3 {
            let event = Event::payment(random_json(&mut generator.random, 4));
            let Ok(expression) = compile(&source, &Scope::at_origin(), &tight_limits(&event)) else { break };
            conditions += 1;
            let mut steps = Steps::new(u64::MAX);
            let result = expression.evaluate(&event, &mut steps);
            let (spent, cost) = (steps.spent(), expression.cost());
            assert!(spent <= cost, "seed {seed}: {spent} of {cost} steps: {source} over {:?}", event.data);
            let exact = expression.evaluate(&event, &mut Steps::new(cost));
            assert_eq!(exact, result, "seed {seed}: {source} over {:?}", event.data);
            if cost > 20 {
                nearest = nearest.max(spent as f64 / cost as f64);
            }
        }
    }
    println!("{conditions} evaluations, at most {:.0} % of the worst case", nearest * 100.0);
    assert!(conditions > 3_000, "{conditions} evaluations");
    assert!(nearest > 0.8, "a worst case that is never near proves little: {nearest}");
}

/// On the stack of a test, which is that of a worker thread.
#[test]
fn the_deepest_conditions_fit_the_stack() {
    let limits = Limits { nesting: usize::MAX, steps: u64::MAX, source_bytes: 64 << 10, ..Limits::default() };
    let nested = |levels: usize, open: &dyn Fn(usize) -> String, inner: &str, close: &str| {
        let opened: String = (0..levels).map(open).collect();
        format!("{opened}{inner}{}", close.repeat(levels))
    };
    type Shape<'s> = (&'s dyn Fn(usize) -> String, &'s str, &'s str);
    let shapes: [Shape<'_>; 6] = [
        (&|_| "(".to_owned(), "true", ")"),
        (&|_| "!(".to_owned(), "true", ")"),
        (&|_| "(false || ".to_owned(), "true", ")"),
        (&|_| "(true ? ".to_owned(), "true", " : false)"),
        (&|level| format!("[1].all(v{level}, "), "true", ")"),
        (&|level| format!("optional.of(1).optMap(v{level}, "), "true", ").orValue(true)"),
    ];
    for (open, inner, close) in shapes {
        let mut deepest = 0;
        for levels in 1..80 {
            deepest += usize::from(run(&nested(levels, open, inner, close), 1, &limits));
        }
        assert!(deepest < 70, "{deepest} levels of {}", open(0));
        assert!(deepest > 15, "{deepest} levels of {}", open(0));
    }
}

/// Conditions with plain reads here and guards there, most of them unsound.
fn guarded(random: &mut Random, depth: usize) -> String {
    let path = *random.pick(&[
        "event.data.a",
        "event.data.a.b",
        "event.data.b",
        "event.subject",
        "event.dataschema",
    ]);
    if depth == 0 {
        return match random.below(4) {
            0 => format!("has({path})"),
            1 => format!("!has({path})"),
            2 => format!("{path} != null"),
            _ => format!("event.data[?\"a\"].hasValue() == ({path} == null)"),
        };
    }
    let mut below = || guarded(random, depth - 1);
    let (first, second, third) = (below(), below(), below());
    match random.below(6) {
        0 | 1 => format!("({first} && {second})"),
        2 => format!("({first} || {second})"),
        3 => format!("!({first})"),
        4 => format!("({first} ? {second} : {third})"),
        _ => format!("[1].all(v{depth}, {first} && {second})"),
    }
}

#[test]
fn what_the_check_accepts_never_misses_a_path() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..12_000 {
        let mut random = Random::new(seed);
        let depth = 1 + random.below(3);
        let source = guarded(&mut random, depth);
        let Ok(expression) = compile(&source, &Scope::event(), &Limits::default()) else {
            refused += 1;
            continue;
        };
        accepted += u32::from(source.contains(" == null") || source.contains(" != null"));
        for data in
            [json!({}), json!({"a": 1}), json!({"b": 1}), json!({"a": {"b": 1}}), json!(5), Value::Null]
        {
            for present in 0..4 {
                let mut event = Event {
                    data: Some(data.clone()).filter(|data| !data.is_null()),
                    ..Event::payment(json!(0))
                };
                event.attributes.remove("subject");
                for (bit, name) in ["subject", "dataschema"].into_iter().enumerate() {
                    if present & (1 << bit) != 0 {
                        event.attributes.insert(name.to_owned(), "x".to_owned());
                    }
                }
                let result =
                    expression.evaluate(&event, &mut Steps::new(10_000)).map_err(|failure| failure.kind);
                assert_ne!(result, Err(FailureKind::Missing), "seed {seed}: {source} over {event:?}");
            }
        }
    }
    println!("{accepted} accepted with plain reads, {refused} refused");
    assert!(accepted > 200 && refused > 200);
}
