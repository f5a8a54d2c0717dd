//! The items of `protect`.

use super::Lowering;
use crate::Confidence;
use crate::diagnostics::Diagnostic;
use crate::documents;
use crate::keys::{KeyRef, KeyUse};
use crate::model::ProtectItem;
use crate::path::Path;
use crate::protect::Demand;
use crate::protection::{Ladder, Protection, Scope};
use crate::yaml::{Node, NodeKind};

/// Which keys belong to which form.
const BELONGS: [(&str, &[&str]); 4] = [
    ("keep", &["mask"]),
    ("key", &["pseudonymise", "encrypt"]),
    ("scope", &["pseudonymise"]),
    ("to", &["generalise"]),
];

impl Lowering<'_> {
    pub(super) fn protections(&mut self, node: &Node) -> Vec<ProtectItem> {
        node.items().iter().filter_map(|item| self.protection(item)).collect()
    }

    fn protection(&mut self, item: &Node) -> Option<ProtectItem> {
        let how = item.get("as").and_then(Node::text).unwrap_or_default();
        if item.get("classes").is_none() && item.get("fields").is_none() {
            let help = "say what is to be protected";
            self.error("P0403", item, "neither `classes` nor `fields` is given", help);
        }
        if item.get("classes").is_none() {
            for key in ["except", "undeclared", "confidence"] {
                if let Some(place) = item.get(key) {
                    let help = format!("add `classes`, or remove `{key}`");
                    self.error("P0404", place, format!("`{key}` says something of `classes`"), &help);
                }
            }
        }
        for (key, forms) in BELONGS {
            if let Some(place) = item.get(key)
                && !forms.contains(&how)
            {
                let forms = forms.join(" and ");
                let help = format!("remove `{key}`, or write as: {forms}");
                self.error("P0404", place, format!("`{key}` belongs to {forms}"), &help);
            }
        }
        let fields = self.fields(item);
        let classes = self.classes(item);
        if how == "hash" && item.get("classes").is_some() {
            let place = item.get("as").unwrap_or(item);
            let problem = Diagnostic::warning("P0405", &place.span, "a hash can be confirmed by guessing");
            let help = "card numbers, phones and ids can be enumerated; use pseudonymise, mask or redact for secrecy";
            self.problems.push(problem.help(help));
        }
        let protection = self.form(item, how)?;
        let names = |key: &str| -> Vec<String> {
            let items = item.get(key).map(Node::items).unwrap_or_default();
            items.iter().filter_map(Node::text).map(str::to_owned).collect()
        };
        let signatures_error = item.get("signatures").and_then(Node::text) == Some("error");
        let undeclared = item.get("undeclared").and_then(Node::boolean).unwrap_or(false);
        let confidence = Self::confidence(item, Confidence::Medium);
        Some(ProtectItem {
            demand: Demand { classes, confidence, undeclared, fields, protection, signatures_error },
            families: names("classes"),
            excepted: names("except"),
            span: item.span.clone(),
        })
    }

    fn fields(&mut self, item: &Node) -> Vec<Path> {
        let mut fields = Vec::new();
        for field in item.get("fields").map(Node::items).unwrap_or_default() {
            let Some(path) = documents::path(field, self.problems) else { continue };
            if matches!(path.attribute(), Some("id" | "source" | "type" | "specversion")) {
                let message = "this attribute names the event and cannot be protected";
                self.error("P0401", field, message, "match the event and deny it instead");
            }
            fields.push(path);
        }
        fields
    }

    fn form(&mut self, item: &Node, how: &str) -> Option<Protection> {
        let count = |key: &str| {
            let number = item.get("keep").and_then(|keep| keep.get(key)).and_then(Node::integer);
            number.and_then(|number| u8::try_from(number).ok()).unwrap_or(0)
        };
        Some(match how {
            "drop" => Protection::Drop,
            "hash" => Protection::Hash,
            "mask" => Protection::Mask { first: count("first"), last: count("last") },
            "pseudonymise" => {
                let key = self.key(item, how, KeyUse::Pseudonymise)?;
                let scope = item.get("scope").and_then(Node::text).and_then(Scope::named);
                let scope = scope.unwrap_or(Scope::DESTINATION);
                Protection::Pseudonymise { key, scope }
            }
            "encrypt" => Protection::Encrypt { key: self.key(item, how, KeyUse::Encrypt)? },
            "generalise" => {
                let Some(to) = item.get("to") else {
                    let help = "add `to`, such as to: year";
                    self.error("P0403", item, "generalise to what?", help);
                    return None;
                };
                let rung = match &to.kind {
                    NodeKind::Integer(number) => number.to_string(),
                    _ => to.text().unwrap_or_default().to_owned(),
                };
                let Some((ladder, rung)) = Ladder::named(&rung) else {
                    let help = "known: year, month, network, degree, tenth, country, 1000, 100, 10";
                    self.error("P0407", to, "there is no such rung", help);
                    return None;
                };
                Protection::Generalise { ladder, rung }
            }
            _ => Protection::Redact,
        })
    }

    fn key(&mut self, item: &Node, how: &str, wanted: KeyUse) -> Option<KeyRef> {
        let Some(place) = item.get("key") else {
            let help = "add `key` with the name of a key of the federation document";
            self.error("P0403", item, format!("{how} needs a key"), help);
            return None;
        };
        let name = place.text()?;
        let Some(key) = self.federation.key_table().newest(name) else {
            let help = format!("add it under `keys`: {name}: {{use: {how}, version: 1, zones: […]}}");
            self.error("P0408", place, format!("the federation has no key `{name}` for data"), &help);
            return None;
        };
        let purpose = self.federation.key_table().entry(key).map(|entry| entry.purpose);
        if purpose != Some(wanted) {
            let help = format!("use a key with use: {how}");
            self.error("P0408", place, format!("`{name}` is a key for another use"), &help);
            return None;
        }
        Some(key)
    }
}
