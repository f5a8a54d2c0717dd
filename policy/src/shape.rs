//! What a document may look like, as data. One description checks documents and makes the JSON Schema that editors
//! use, so the two cannot differ.

use serde_json::{Value, json};

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::yaml::{Node, NodeKind};

/// The form of a value.
#[derive(Debug)]
pub enum Shape {
    Text,
    /// `[a-z0-9-]`, 1 to 63 characters.
    Name,
    /// Two names with a slash between them.
    ZonePair,
    Bool,
    /// `250ms`, `10s`, `5m`, `1h`, `7d`.
    Duration,
    TextOrInteger,
    /// 0 to 1.
    Fraction,
    /// Whatever JSON could say too.
    Any,
    Integer {
        min: i64,
        max: i64,
    },
    OneOf(&'static [&'static str]),
    /// A list, at least one element where so said.
    List {
        of: &'static Shape,
        non_empty: bool,
    },
    /// One value or a list of them.
    OneOrMany(&'static Shape),
    /// One value or a list of at least one.
    AtLeastOne(&'static Shape),
    /// A mapping with these keys.
    Map(&'static [Key]),
    /// A mapping with keys of the user's choice.
    Dict(&'static Shape),
    /// A mapping that has no keys yet: `{}`.
    Empty,
}

/// A key of a mapping.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub shape: &'static Shape,
    pub required: bool,
    pub doc: &'static str,
    /// Part of the language, not of this version: refused by name.
    pub later: bool,
}

impl Key {
    pub const fn required(name: &'static str, shape: &'static Shape, doc: &'static str) -> Key {
        Key { name, shape, required: true, doc, later: false }
    }

    pub const fn optional(name: &'static str, shape: &'static Shape, doc: &'static str) -> Key {
        Key { name, shape, required: false, doc, later: false }
    }

    /// A key that a later version has.
    pub const fn later(name: &'static str) -> Key {
        Key { name, shape: &Shape::Text, required: false, doc: "", later: true }
    }
}

/// Checks a node against a shape and reports everything that does not fit.
pub fn check(node: &Node, shape: &Shape, problems: &mut Diagnostics) {
    let mut wrong = |expected: &str| {
        let message = format!("expected {expected}, found {}", node.type_name());
        let problem = Diagnostic::error("P0105", &node.span, message);
        problems.push(
            problem.help(match node.kind {
                NodeKind::Integer(_) | NodeKind::Decimal(_) | NodeKind::Bool(_)
                    if expected.contains("text") =>
                {
                    "quote it".to_owned()
                }
                NodeKind::Text(_) if expected.contains("number") || expected.contains("share") => {
                    "write the number without quotes".to_owned()
                }
                NodeKind::Text(_) if expected.contains("true or false") => {
                    "write true or false, without quotes".to_owned()
                }
                _ if expected.contains("list") => {
                    "write a list: [one, another], or a line `- one` for each".to_owned()
                }
                _ if expected.contains("mapping") => {
                    "write a mapping: {key: value}, or a line `key: value` for each; look at the indentation"
                        .to_owned()
                }
                NodeKind::Null => format!("write {expected} after the colon, or remove the key"),
                _ => format!("write {expected}"),
            }),
        );
    };
    match (shape, &node.kind) {
        (Shape::Text, NodeKind::Text(_)) | (Shape::Bool, NodeKind::Bool(_)) => {}
        (Shape::Text, _) => wrong("text"),
        (Shape::Duration, NodeKind::Text(text)) if crate::duration::parse(text).is_some() => {}
        (Shape::Duration, _) => wrong("a duration such as 500ms, 10s, 5m, 1h or 7d"),
        (Shape::TextOrInteger, NodeKind::Text(_) | NodeKind::Integer(_)) => {}
        (Shape::TextOrInteger, _) => wrong("text or a whole number"),
        (Shape::Bool, _) => wrong("true or false"),
        (Shape::Name, NodeKind::Text(text)) if is_name(text) => {}
        (Shape::Name, NodeKind::Text(text)) => {
            let message = format!("`{text}` is not a name: use 1 to 63 characters out of a-z, 0-9 and -");
            problems.push(Diagnostic::error("P0106", &node.span, message).help(name_help(text)));
        }
        (Shape::Name, _) => wrong("a name as text"),
        // Whether there are such zones is told by who knows them.
        (Shape::ZonePair, NodeKind::Text(_)) => {}
        (Shape::ZonePair, _) => wrong("two zones as text, such as eu-1/us-1"),
        (Shape::Any, _) => {}
        (Shape::Fraction, NodeKind::Integer(0 | 1)) => {}
        (Shape::Fraction, NodeKind::Decimal(text))
            if text.parse().is_ok_and(|n: f64| (0.0..=1.0).contains(&n)) => {}
        (Shape::Fraction, _) => wrong("a share between 0 and 1"),
        (Shape::Integer { min, max }, NodeKind::Integer(number)) => {
            if number < min || number > max {
                let message = format!("`{number}` is not between {min} and {max}");
                let near = if number < min { min } else { max };
                problems.push(
                    Diagnostic::error("P0107", &node.span, message)
                        .help(format!("write {near}, or something between")),
                );
            }
        }
        (Shape::Integer { .. }, _) => wrong("a whole number"),
        (Shape::OneOf(all), NodeKind::Text(text)) => {
            if !all.contains(&text.as_str()) {
                problems.push(unknown(node, text, all, "value"));
            }
        }
        (Shape::OneOf(_), _) => wrong("text"),
        (Shape::List { of, non_empty }, NodeKind::List(items)) => {
            if *non_empty && items.is_empty() {
                problems.push(empty_list(node));
            }
            items.iter().for_each(|item| check(item, of, problems));
        }
        (Shape::List { .. }, _) => wrong("a list"),
        (Shape::OneOrMany(of), NodeKind::List(items)) => {
            items.iter().for_each(|item| check(item, of, problems));
        }
        (Shape::AtLeastOne(of), NodeKind::List(items)) => {
            if items.is_empty() {
                problems.push(empty_list(node));
            }
            items.iter().for_each(|item| check(item, of, problems));
        }
        (Shape::OneOrMany(of) | Shape::AtLeastOne(of), _) => check(node, of, problems),
        (Shape::Map(keys), NodeKind::Map(entries)) => check_map(node, keys, entries, problems),
        (Shape::Dict(value), NodeKind::Map(entries)) => {
            entries.iter().for_each(|(_, entry)| check(entry, value, problems));
        }
        (Shape::Empty, NodeKind::Map(entries)) if entries.is_empty() => {}
        (Shape::Empty, NodeKind::Map(_)) => {
            let problem = Diagnostic::error("P0104", &node.span, "this takes no keys");
            problems.push(problem.help("write {}; what the rule is about stands in `match`"));
        }
        (Shape::Map(_) | Shape::Dict(_) | Shape::Empty, _) => wrong("a mapping"),
    }
}

fn empty_list(node: &Node) -> Diagnostic {
    let problem = Diagnostic::error("P0107", &node.span, "the list must not be empty");
    problem.help("name at least one, or remove the key")
}

/// What is like the text and a name.
pub(crate) fn name_help(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let spelled: String =
        text.to_lowercase().chars().map(|c| if allowed(c) { c } else { '-' }).take(63).collect();
    match spelled.trim_matches('-') {
        "" => "names become parts of ids, metrics and certificates; write one such as eu-west".to_owned(),
        near => format!("write `{near}`, everywhere it is used"),
    }
}

fn check_map(node: &Node, keys: &[Key], entries: &[(Node, Node)], problems: &mut Diagnostics) {
    for (name, value) in entries {
        let Some(text) = name.text() else { continue };
        match keys.iter().find(|key| key.name == text) {
            Some(key) if key.later => {
                let message = format!("`{text}` is not supported by this version of meshbridge");
                let problem = Diagnostic::error("P0108", &name.span, message)
                    .help("remove it: a key that is not enforced must not look as if it were");
                problems.push(problem);
            }
            Some(key) => check(value, key.shape, problems),
            None => {
                let names: Vec<&str> = keys.iter().filter(|key| !key.later).map(|key| key.name).collect();
                problems.push(unknown(name, text, &names, "key"));
            }
        }
    }
    for key in keys.iter().filter(|key| key.required) {
        if !entries.iter().any(|(name, _)| name.text() == Some(key.name)) {
            let message = format!("key `{}` is missing", key.name);
            problems.push(Diagnostic::error("P0109", &node.span, message).help(key.doc));
        }
    }
}

fn unknown(node: &Node, text: &str, known: &[&str], what: &str) -> Diagnostic {
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(candidate, text), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3));
    let shown: String = text.chars().take(64).collect();
    let problem = Diagnostic::error("P0104", &node.span, format!("unknown {what} `{shown}`"));
    match near {
        Some((_, candidate)) => problem.help(format!("did you mean `{candidate}`?")),
        None => problem.help(format!("known here: {}", known.join(", "))),
    }
}

pub(crate) fn is_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(good)
}

/// The JSON Schema (draft 2020-12) of a shape.
pub fn json_schema(shape: &Shape, title: &str) -> Value {
    let mut schema = schema_of(shape);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema
}

fn schema_of(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Name => json!({"type": "string", "pattern": "^[a-z0-9-]{1,63}$"}),
        Shape::ZonePair => json!({"type": "string", "pattern": "^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}$"}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Duration => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}),
        Shape::Fraction => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Shape::Any => json!({}),
        Shape::TextOrInteger => json!({"type": ["string", "integer"]}),
        Shape::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::OneOf(all) => json!({"type": "string", "enum": all}),
        Shape::List { of, non_empty } => {
            json!({"type": "array", "items": schema_of(of), "minItems": i32::from(*non_empty)})
        }
        Shape::OneOrMany(of) => {
            json!({"anyOf": [schema_of(of), {"type": "array", "items": schema_of(of)}]})
        }
        Shape::AtLeastOne(of) => {
            json!({"anyOf": [schema_of(of), {"type": "array", "items": schema_of(of), "minItems": 1}]})
        }
        Shape::Dict(value) => json!({"type": "object", "additionalProperties": schema_of(value)}),
        Shape::Empty => json!({"type": "object", "maxProperties": 0}),
        Shape::Map(keys) => {
            let mut properties = serde_json::Map::new();
            for key in keys.iter().filter(|key| !key.later) {
                let mut schema = schema_of(key.shape);
                schema["description"] = json!(key.doc);
                properties.insert(key.name.to_owned(), schema);
            }
            let required: Vec<&str> = keys.iter().filter(|key| key.required).map(|key| key.name).collect();
            json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
        }
    }
}
