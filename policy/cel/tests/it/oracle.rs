//! The same conditions, evaluated by another interpreter of the language, over random data.
//!
//! Only what both mean alike is generated: no comparison across types (an error here, `false` there), no optionals, and
//! paths only behind `has` of each of their parts, for `has` of an absent object's member is an error there.

use std::collections::HashMap;

use cel::{Context, Program};
use meshbridge_cel::{Limits, Scope, Steps, compile};
use serde_json::{Value, json};

use crate::support::{Event, Random};

#[derive(Clone, Copy)]
enum Kind {
    Bool,
    Int,
    Double,
    Text,
}

/// Variables in scope are elements of lists of integers.
struct Generator<'r> {
    random: &'r mut Random,
    variables: usize,
}

/// The other parser needs ten milliseconds for a condition.
const SEEDS: u64 = 600;

const TEXTS: [&str; 7] = ["", "a", "ab", "payments", "grün", "zz9", "EU"];
const INTS: [i64; 7] = [-3, -1, 0, 1, 2, 7, 9_007_199_254_740_993];
const DOUBLES: [f64; 6] = [-1.5, 0.0, 0.5, 1.0, 2.0, 1e16];

impl Generator<'_> {
    fn expression(&mut self, kind: Kind, depth: usize) -> String {
        match kind {
            Kind::Bool => self.boolean(depth),
            Kind::Int => self.int(depth),
            Kind::Double => self.double(depth),
            Kind::Text => self.text(depth),
        }
    }

    /// A field of the data behind the guards it needs.
    fn guarded(&mut self, field: &str, then: &str, otherwise: &str) -> String {
        if self.random.below(4) == 0 {
            return format!("(!has(event.data.{field}) ? {otherwise} : {then})");
        }
        format!("(has(event.data.{field}) ? {then} : {otherwise})")
    }

    fn boolean(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.random.pick(&["true", "false"]).to_string();
        }
        let below = depth - 1;
        let kind = *self.random.pick(&[Kind::Int, Kind::Double, Kind::Text, Kind::Bool]);
        match self.random.below(13) {
            0 => format!("!({})", self.boolean(below)),
            1 | 2 => {
                let sign = *self.random.pick(&["&&", "||"]);
                let operands: Vec<String> =
                    (0..2 + self.random.below(2)).map(|_| format!("({})", self.boolean(below))).collect();
                operands.join(sign)
            }
            3 | 4 => {
                let sign = *self.random.pick(&["==", "!=", "<", "<=", ">", ">="]);
                format!("({}) {sign} ({})", self.expression(kind, below), self.expression(kind, below))
            }
            5 => {
                let sign = *self.random.pick(&["<", "<=", ">", ">="]);
                format!("({}) {sign} ({})", self.int(below), self.double(below))
            }
            6 => {
                let test = *self.random.pick(&["startsWith", "endsWith", "contains"]);
                format!("({}).{test}({})", self.text(below), self.text(below))
            }
            7 => {
                let pattern = *self.random.pick(&["^[a-z]+$", "a|b", "ü", "^$", "[0-9]"]);
                format!("({}).matches(\"{pattern}\")", self.text(below))
            }
            8 => {
                let elements: Vec<String> = (0..self.random.below(4)).map(|_| self.int(below)).collect();
                format!("({}) in [{}]", self.int(below), elements.join(", "))
            }
            9 => format!("({}) ? ({}) : ({})", self.boolean(below), self.boolean(below), self.boolean(below)),
            10 | 11 => {
                let list = self.list(below);
                let name = format!("v{}", self.variables);
                self.variables += 1;
                let body = self.boolean(below);
                self.variables -= 1;
                let name = if self.random.below(2) == 0 { name } else { format!("v{}", self.variables) };
                let test = *self.random.pick(&["all", "exists", "exists_one"]);
                format!("{list}.{test}({name}, {body})")
            }
            _ => self.guarded("flag", "event.data.flag", "false"),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        let below = depth.saturating_sub(1);
        match self.random.below(4) {
            0 => self.guarded("list", "event.data.list", "[1]"),
            1 if depth > 0 => {
                let (list, name) = (self.list(below), format!("v{}", self.variables));
                self.variables += 1;
                let body = if self.random.below(2) == 0 {
                    format!("filter({name}, {})", self.boolean(below))
                } else {
                    format!("map({name}, {})", self.int(below))
                };
                self.variables -= 1;
                format!("{list}.{body}")
            }
            2 if depth > 0 => format!("({} + {})", self.list(below), self.list(below)),
            _ => {
                let elements: Vec<String> =
                    (0..self.random.below(4)).map(|_| self.int(below.min(1))).collect();
                format!("[{}]", elements.join(", "))
            }
        }
    }

    fn int(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.below(4) == 0 {
            if self.variables > 0 && self.random.below(2) == 0 {
                return format!("v{}", self.random.below(self.variables));
            }
            return format!("({})", self.random.pick(&INTS));
        }
        let below = depth - 1;
        match self.random.below(5) {
            0 | 1 => {
                let sign = *self.random.pick(&["+", "-", "*", "/", "%"]);
                format!("({}) {sign} ({})", self.int(below), self.int(below))
            }
            2 => format!("size({})", self.text(below)),
            3 => format!("{}.size()", self.list(below)),
            _ => self.guarded("int", "event.data.int", "5"),
        }
    }

    fn double(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.below(3) == 0 {
            return format!("({:?})", self.random.pick(&DOUBLES));
        }
        let below = depth - 1;
        match self.random.below(3) {
            0 => {
                // NaN is left out: its order is `false` here, as the language has it, and an error there.
                if self.random.below(4) == 0 {
                    return format!("({}) / 4.0", self.double(below));
                }
                let sign = *self.random.pick(&["+", "-", "*"]);
                format!("({}) {sign} ({})", self.double(below), self.double(below))
            }
            1 => format!("double({})", self.int(below)),
            _ => self.guarded("double", "event.data.double", "0.5"),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 || self.random.below(4) == 0 {
            return match self.random.below(4) {
                0 => "topic".to_owned(),
                1 => "event.id".to_owned(),
                _ => format!("\"{}\"", self.random.pick(&TEXTS)),
            };
        }
        let below = depth - 1;
        match self.random.below(3) {
            0 => format!("(({}) + ({}))", self.text(below), self.text(below)),
            1 => self.guarded("text", "event.data.text", "\"none\""),
            _ => {
                let deep = "(has(event.data.map.text) ? event.data.map.text : \"deep\")";
                self.guarded("map", deep, "\"none\"")
            }
        }
    }
}

fn random_data(random: &mut Random) -> Value {
    let mut data = serde_json::Map::new();
    let mut put = |key: &str, value: Value, random: &mut Random| {
        if random.below(3) > 0 {
            data.insert(key.to_owned(), value);
        }
    };
    put("flag", json!(random.below(2) == 0), random);
    put("int", json!(random.pick(&INTS)), random);
    put("double", json!(random.pick(&DOUBLES)), random);
    put("text", json!(random.pick(&TEXTS)), random);
    let list: Vec<i64> = (0..random.below(5)).map(|_| *random.pick(&INTS)).collect();
    put("list", json!(list), random);
    let map = if random.below(2) == 0 { json!({"text": random.pick(&TEXTS)}) } else { json!({}) };
    put("map", map, random);
    Value::Object(data)
}

fn foreign(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(int) => cel::Value::Int(int),
            None => cel::Value::Float(number.as_f64().expect("a double")),
        },
        Value::String(text) => cel::Value::String(text.clone().into()),
        Value::Array(array) => cel::Value::List(array.iter().map(foreign).collect::<Vec<_>>().into()),
        Value::Object(object) => {
            let members: HashMap<String, cel::Value> =
                object.iter().map(|(key, value)| (key.clone(), foreign(value))).collect();
            members.into()
        }
    }
}

#[test]
fn conditions_mean_what_they_mean_elsewhere() {
    let limits = Limits { steps: u64::MAX, nesting: 64, ..Limits::default() };
    let (mut truths, mut falsehoods, mut failures) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let source = Generator { random: &mut random, variables: 0 }.boolean(4);
        let expression = match compile(&source, &Scope::event(), &limits) {
            Ok(expression) => expression,
            // The generator does not know about sizes; everything else it makes must be accepted.
            Err(problems) => {
                let size =
                    problems.iter().all(|problem| problem.kind == meshbridge_cel::ProblemKind::TooLarge);
                assert!(size, "seed {seed}: {source}: {problems:?}");
                continue;
            }
        };
        let program = Program::compile(&source).expect("the same language");
        for _ in 0..4 {
            let event = Event::payment(random_data(&mut random));
            let mut context = Context::default();
            let members = HashMap::from([
                ("id".to_owned(), cel::Value::from("p-1")),
                ("data".to_owned(), foreign(event.data.as_ref().expect("data"))),
            ]);
            context.add_variable_from_value("event", cel::Value::from(members));
            context.add_variable_from_value("topic", event.topic.as_str());
            let theirs = program.execute(&context);
            let ours = expression.evaluate(&event, &mut Steps::new(u64::MAX));
            let told = || format!("seed {seed}: {source} over {:?}: {ours:?} and {theirs:?}", event.data);
            match (&ours, &theirs) {
                (Ok(ours), Ok(cel::Value::Bool(theirs))) => {
                    assert_eq!(ours, theirs, "{}", told());
                    if *ours { truths += 1 } else { falsehoods += 1 }
                }
                (Err(_), Err(_)) => failures += 1,
                _ => panic!("{}", told()),
            }
        }
    }
    println!("{truths} true, {falsehoods} false, {failures} failed");
    assert!(truths > 400 && falsehoods > 400 && failures > 40, "the generator makes all outcomes");
}
