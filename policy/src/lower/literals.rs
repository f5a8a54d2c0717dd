//! Values that a condition compares with attributes of zones: with one that no zone has, it says the same of all.

use std::sync::LazyLock;

use regex::Regex;

use super::Lowering;
use crate::diagnostics::{Diagnostic, Severity};
use crate::yaml::Node;

/// `from.zone`, also as an optional one, with what stands in for its absence.
const MEMBER: &str = r#"(?:from|to)\.\??(zone|region|cloud|jurisdiction)\b(?:\.orValue\((?:""|'')\))?"#;
const LITERAL: &str = r#"("[^"\\]*"|'[^'\\]*')"#;

static COMPARED: LazyLock<[Regex; 3]> = LazyLock::new(|| {
    let pattern = |text: String| Regex::new(&text).expect("a constant pattern");
    [
        pattern(format!(r"{MEMBER}\s*[!=]=\s*{LITERAL}")),
        pattern(format!(r"{LITERAL}\s*[!=]=\s*{MEMBER}")),
        pattern(format!(r"{MEMBER}\s+in\s*\[([^\[\]]*)\]")),
    ]
});
static LITERALS: LazyLock<Regex> = LazyLock::new(|| Regex::new(LITERAL).expect("a constant pattern"));

impl Lowering<'_> {
    /// P0110: comparisons with values that no zone has.
    pub(super) fn values_of_zones(&mut self, node: &Node) {
        let Some(source) = node.text() else { return };
        for (attribute, value) in compared(source) {
            let zones = &self.federation.zones;
            if !value.is_empty() && !zones.iter().any(|zone| zone.attribute(attribute) == Some(value)) {
                // A condition may be written for a zone to come.
                let problem =
                    Diagnostic { severity: Severity::Warning, ..self.no_zone_has(node, attribute, value) };
                self.problems.push(problem);
            }
        }
    }
}

/// Attributes with the values that they are compared with.
fn compared(source: &str) -> Vec<(&str, &str)> {
    let texts: Vec<_> = LITERALS.find_iter(source).map(|found| found.range()).collect();
    let in_text = |at: usize| texts.iter().any(|text| text.start < at && at < text.end);
    let is_member = |at: usize| {
        let before = source[..at].trim_end();
        !in_text(at)
            && !before.ends_with(['.', '?'])
            && !source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
    };
    let mut found = Vec::new();
    let [before, after, among] = &*COMPARED;
    for one in before.captures_iter(source).chain(among.captures_iter(source)) {
        let (Some(whole), Some(attribute), Some(values)) = (one.get(0), one.get(1), one.get(2)) else {
            continue;
        };
        if is_member(whole.start()) {
            let values = LITERALS.find_iter(values.as_str());
            found.extend(values.map(|value| (attribute.as_str(), bare(value.as_str()))));
        }
    }
    for one in after.captures_iter(source) {
        let (Some(whole), Some(value), Some(attribute)) = (one.get(0), one.get(1), one.get(2)) else {
            continue;
        };
        if texts.iter().any(|text| text.start == whole.start()) {
            found.push((attribute.as_str(), bare(value.as_str())));
        }
    }
    found
}

fn bare(literal: &str) -> &str {
    &literal[1..literal.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_with_attributes_of_zones_are_found() {
        for (source, expected) in [
            ("from.zone == \"aa\"", &[("zone", "aa")][..]),
            ("'us' != to.jurisdiction && true", &[("jurisdiction", "us")]),
            ("to.region in [\"a\", 'b']", &[("region", "a"), ("region", "b")]),
            ("to.?cloud.orValue(\"\") == 'x'", &[("cloud", "x")]),
            ("event.data.from.zone == \"aa\"", &[]),
            ("topic == 'from.zone == \"aa\"'", &[]),
            ("afrom.zone == 'x'", &[]),
            ("from.zone == to.zone", &[]),
            ("from.labels.env == 'x'", &[]),
        ] {
            assert_eq!(compared(source), expected, "{source}");
        }
    }
}
