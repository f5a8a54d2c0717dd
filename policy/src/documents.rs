//! The forms of the documents, and the small kinds from nodes to what they mean. Rules are lowered in `lower`.

pub(crate) mod classification;
pub(crate) mod invariant;
pub(crate) mod policy;
mod spelling;
pub(crate) mod waiver;

use std::sync::Arc;

use meshbridge_topic::TopicFilter;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::federation::Federation;
use crate::model::Layer;
use crate::path::Path;
use crate::shape::Shape;
use crate::yaml::Node;

/// The kinds that may stand in a policy directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Policy,
    Classification,
    Delivery,
    Invariant,
    Waiver,
    PolicyTest,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] =
        [Kind::Policy, Kind::Classification, Kind::Delivery, Kind::Invariant, Kind::Waiver, Kind::PolicyTest];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Policy => "Policy",
            Kind::Classification => "Classification",
            Kind::Delivery => "Delivery",
            Kind::Invariant => "Invariant",
            Kind::Waiver => "Waiver",
            Kind::PolicyTest => "PolicyTest",
        }
    }

    pub(crate) fn shape(self) -> &'static Shape {
        match self {
            Kind::Policy => policy::shape(),
            Kind::Classification => classification::shape(),
            Kind::Delivery => crate::delivery::shape(),
            Kind::Invariant => invariant::shape(),
            Kind::Waiver => waiver::shape(),
            Kind::PolicyTest => crate::testing::shape(),
        }
    }

    /// The kind of this name; a misspelled one is read as the nearest, so that its other problems show too.
    pub(crate) fn nearest(name: Option<&str>) -> Kind {
        let name = name.unwrap_or_default();
        let distance = |kind: &Kind| strsim::damerau_levenshtein(kind.name(), name);
        Kind::ALL.into_iter().min_by_key(distance).unwrap_or(Kind::Policy)
    }
}

/// As messages name the kind.
pub(crate) fn described(kind: Kind) -> &'static str {
    match kind {
        Kind::Policy => "policy",
        Kind::Classification => "classification",
        Kind::Delivery => "delivery",
        Kind::Invariant => "invariant",
        Kind::Waiver => "waiver",
        Kind::PolicyTest => "test",
    }
}

/// What every document says of itself.
pub(crate) struct Heading {
    pub(crate) name: Arc<str>,
    pub(crate) layer: Layer,
}

/// `None` where the layer cannot be read; that is reported.
pub(crate) fn heading(
    document: &Node,
    federation: &Federation,
    problems: &mut Diagnostics,
) -> Option<Heading> {
    let metadata = document.get("metadata")?;
    let layer = crate::lower::lower_layer(metadata.get("layer")?, federation, problems)?;
    let name = metadata.get("name").and_then(Node::text).unwrap_or_default().into();
    Some(Heading { name, layer })
}

/// A path to an attribute or into the data; one that cannot be read is reported.
pub(crate) fn path(node: &Node, problems: &mut Diagnostics) -> Option<Path> {
    let text = node.text()?;
    let parsed = match spelling::unseen(text).or_else(|| spelling::space_beside_a_name(text)) {
        Some(problem) => Err(problem),
        None => Path::parse(text),
    };
    let path = parsed
        .map_err(|(message, at)| {
            let message = format!("this is no path: {message} (byte {at})");
            let help = "write $.subject, $.data.customer.email, $.data.items[*].card; a name of the data that has such a character is quoted, as ['a\\u200b']";
            let help = if message.contains("U+") || message.contains("white space") {
                help
            } else {
                help.split_once(';').map_or(help, |(short, _)| short)
            };
            problems.push(Diagnostic::error("P0402", &node.span, message).help(help));
        })
        .ok()?;
    if let Some(name) = path.attribute().filter(|name| !crate::lower::is_attribute_name(name)) {
        let problem = Diagnostic::error("P0120", &node.span, format!("no event has an attribute `{name}`"));
        let lower: String = name.to_ascii_lowercase();
        problems.push(if crate::lower::is_attribute_name(&lower) {
            problem.help(format!(
                "attributes have lower-case letters and digits: write $.{lower}, or $.data.{name}"
            ))
        } else {
            problem.help(format!(
                "attributes have lower-case letters and digits; a field of the data is $.data.{name}"
            ))
        });
    }
    Some(path)
}

/// Topic filters of one key; those that cannot be read are reported and left out.
pub(crate) fn filters(node: &Node, problems: &mut Diagnostics) -> Vec<TopicFilter> {
    if node.items().is_empty() {
        let problem = Diagnostic::error("P0107", &node.span, "the list of topics is empty");
        problems.push(problem.help("write [\"**\"] for every topic"));
    }
    let mut filters = Vec::new();
    for item in node.items() {
        let Some(text) = item.text() else { continue };
        if text.starts_with('!') {
            let message = format!("`{text}` is no topic filter: there is no negation");
            problems.push(Diagnostic::error("P0114", &item.span, message).help("exclude with `except`"));
            continue;
        }
        if let Some((problem, _)) = spelling::unseen(text) {
            let message = format!("this is no topic filter: it has {problem}");
            problems.push(Diagnostic::error("P0114", &item.span, message).help("write the words anew"));
            continue;
        }
        match TopicFilter::parse(text) {
            Ok(filter) => filters.push(filter),
            Err(problem) => {
                let message = format!("`{text}` is no topic filter: {problem}");
                let help = "tokens between dots; `*` is one token, `**` any number; exclude with `except`";
                problems.push(Diagnostic::error("P0114", &item.span, message).help(help));
            }
        }
    }
    filters
}
