//! What the words of a schema are: JSON Schema ignores what it does not know, so a misspelt restriction restricts nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Of all drafts.
const ASSERTIONS: [&str; 48] = [
    "$schema",
    "$id",
    "id",
    "$ref",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
    "$vocabulary",
    "$comment",
    "dependentRequired",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "example",
    "examples",
    "format",
    "contentEncoding",
    "contentMediaType",
    "$defs",
    "definitions",
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
];
/// Their values are schemas, or lists of schemas.
const APPLICATORS: [&str; 16] = [
    "allOf",
    "anyOf",
    "oneOf",
    "prefixItems",
    "items",
    "additionalItems",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "additionalProperties",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
];
/// Their values are schemas by names of the author's choice.
const NAMED: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

fn all() -> impl Iterator<Item = &'static str> {
    ASSERTIONS.into_iter().chain(APPLICATORS)
}

/// The keyword that is most like a misspelt one.
pub(crate) fn nearest(keyword: &str) -> Option<&'static str> {
    crate::classes::nearest(keyword, all())
}

/// Keywords that no draft has, with the place of their schema as a JSON pointer. Notes begin with `x-`.
pub(super) fn unknown(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    look(schema, "#", &mut found);
    found
}

fn look(schema: &Value, at: &str, found: &mut Vec<(String, String)>) {
    let Value::Object(members) = schema else { return };
    for (keyword, value) in members {
        let place = format!("{at}/{keyword}");
        if APPLICATORS.contains(&keyword.as_str()) {
            match value {
                Value::Array(all) => {
                    all.iter().enumerate().for_each(|(n, one)| look(one, &format!("{place}/{n}"), found));
                }
                one => look(one, &place, found),
            }
        } else if NAMED.contains(&keyword.as_str()) {
            for (name, one) in value.as_object().into_iter().flatten() {
                look(one, &format!("{place}/{name}"), found);
            }
        } else if !keyword.starts_with("x-") && !ASSERTIONS.contains(&keyword.as_str()) {
            found.push((at.to_owned(), keyword.clone()));
        }
    }
}

/// The first key that an object of the text has twice; programs differ in which of the two they take.
pub(super) fn twice(text: &str) -> Option<String> {
    let mut key = None;
    // What is no JSON was told before.
    let _ = Keys(&mut key).deserialize(&mut serde_json::Deserializer::from_str(text));
    key
}

/// Walks through a value and keeps the first key that is there twice.
struct Keys<'a>(&'a mut Option<String>);

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) && self.0.is_none() {
                *self.0 = Some(key);
            }
            map.next_value_seed(Keys(self.0))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Keys(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn misspelt_keywords_are_found_where_schemas_stand_and_nowhere_else() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "requird": ["a"], "x-note": 1,
            "properties": {"maxlen": {"type": "string", "maxlength": 3}, "b": true},
            "enum": [{"requird": 1}], "default": {"oneof": 2}, "allOf": [{"mininum": 1}],
        });
        let found = unknown(&schema);
        let mut found: Vec<(&str, &str)> =
            found.iter().map(|(at, keyword)| (at.as_str(), keyword.as_str())).collect();
        found.sort_unstable();
        assert_eq!(found, [("#", "requird"), ("#/allOf/0", "mininum"), ("#/properties/maxlen", "maxlength")]);
        assert_eq!(nearest("requird"), Some("required"));
        assert_eq!(nearest("nullable"), None);
    }

    #[test]
    fn a_key_that_is_there_twice_is_found_at_any_depth() {
        assert_eq!(twice(r#"{"a": [{"b": 1, "c": {}, "b": 2}]}"#).as_deref(), Some("b"));
        assert_eq!(twice(r#"{"a": {"b": 1.5}, "b": [null, true, -1, "b"]}"#), None);
    }
}
