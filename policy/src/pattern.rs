//! Regular expressions in which `${from.zone}` and the like stand for what the zones of a border have. Linear in the
//! text and bounded in size (RE2 semantics of the `regex` crate).

use std::sync::{Arc, OnceLock};

use regex::{Regex, RegexBuilder};

use crate::federation::{Zone, ZoneIndex};

/// Bytes of a compiled expression.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Attributes of zones that a pattern may name, after `from.` or `to.`.
pub(crate) const ZONE_ATTRIBUTES: [&str; 4] = ["zone", "region", "cloud", "jurisdiction"];

/// What is wrong with a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadPattern {
    UnknownPlaceholder(String),
    Malformed(String),
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Zone { of_to: bool, attribute: &'static str },
}

/// A pattern, compiled once, or once for each pair of zones where it names them.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Arc<Compiled>);

#[derive(Debug)]
enum Compiled {
    Same(Regex),
    ByZones { parts: Vec<Part>, zones: usize, slots: Box<[OnceLock<Option<Regex>>]> },
}

impl Pattern {
    /// `zones` is the number of zones of the federation.
    pub(crate) fn parse(text: &str, zones: usize) -> Result<Pattern, BadPattern> {
        let parts = split(text)?;
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Ok(Pattern(Arc::new(Compiled::Same(compile(text)?))));
        }
        // Whether it compiles does not depend on what is inserted, for that is escaped.
        compile(&insert(&parts, |_, _| Some("x")).unwrap_or_default())?;
        let slots = (0..zones * zones).map(|_| OnceLock::new()).collect();
        Ok(Pattern(Arc::new(Compiled::ByZones { parts, zones, slots })))
    }

    /// The expression as it is between two zones; `None` where one lacks an attribute that it names.
    pub(crate) fn between(&self, from: &Zone, to: &Zone) -> Option<String> {
        match &*self.0 {
            Compiled::Same(regex) => Some(regex.as_str().to_owned()),
            Compiled::ByZones { parts, .. } => {
                insert(parts, |of_to, name| if of_to { to.attribute(name) } else { from.attribute(name) })
            }
        }
    }

    /// As it is written.
    pub(crate) fn text(&self) -> String {
        let part = |part: &Part| match part {
            Part::Text(plain) => plain.clone(),
            Part::Zone { of_to, attribute } => {
                format!("${{{}.{attribute}}}", if *of_to { "to" } else { "from" })
            }
        };
        match &*self.0 {
            Compiled::Same(regex) => regex.as_str().to_owned(),
            Compiled::ByZones { parts, .. } => parts.iter().map(part).collect(),
        }
    }

    pub(crate) fn depends_on_destination(&self) -> bool {
        match &*self.0 {
            Compiled::Same(_) => false,
            Compiled::ByZones { parts, .. } => {
                parts.iter().any(|part| matches!(part, Part::Zone { of_to: true, .. }))
            }
        }
    }

    /// A zone without the attribute that the pattern names matches nothing.
    pub(crate) fn is_match(&self, text: &str, from: (ZoneIndex, &Zone), to: (ZoneIndex, &Zone)) -> bool {
        match &*self.0 {
            Compiled::Same(regex) => regex.is_match(text),
            Compiled::ByZones { parts, zones, slots } => {
                let slot = usize::from(from.0.0) * zones + usize::from(to.0.0);
                let regex = slots[slot].get_or_init(|| {
                    let value =
                        |of_to, name: &str| if of_to { to.1.attribute(name) } else { from.1.attribute(name) };
                    compile(&insert(parts, value)?).ok()
                });
                regex.as_ref().is_some_and(|regex| regex.is_match(text))
            }
        }
    }
}

fn compile(text: &str) -> Result<Regex, BadPattern> {
    let built =
        RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build();
    built.map_err(|problem| {
        BadPattern::Malformed(problem.to_string().lines().last().unwrap_or_default().trim().to_owned())
    })
}

fn insert<'a>(parts: &[Part], value: impl Fn(bool, &str) -> Option<&'a str>) -> Option<String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Zone { of_to, attribute } => text.push_str(&regex::escape(value(*of_to, attribute)?)),
        }
    }
    Some(text)
}

fn split(text: &str) -> Result<Vec<Part>, BadPattern> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let unknown = |name: &str| BadPattern::UnknownPlaceholder(name.to_owned());
        let (name, after) = after.split_once('}').ok_or_else(|| unknown(after))?;
        let (of_to, attribute) = match name.split_once('.') {
            Some(("from", attribute)) => (false, attribute),
            Some(("to", attribute)) => (true, attribute),
            _ => return Err(unknown(name)),
        };
        let attribute =
            ZONE_ATTRIBUTES.into_iter().find(|known| *known == attribute).ok_or_else(|| unknown(name))?;
        parts.push(Part::Text(before.to_owned()));
        parts.push(Part::Zone { of_to, attribute });
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}
