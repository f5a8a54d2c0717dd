//! `kind: Federation`: the zones and their attributes, the bridges and the links. The only source of zone attributes:
//! what a bridge claims of itself selects nothing.

mod keys;

use std::collections::BTreeMap;

use crate::SourceFile;
use crate::diagnostics::{Diagnostic, Diagnostics, Span};
use crate::keys::{KeyTable, KeyUse};
use crate::shape::{Key, Shape, check, is_name};
use crate::yaml::{Node, documents};

static ZONE: Shape = Shape::Map(&[
    Key::optional("region", &Shape::Name, "where the zone is, such as eu-west"),
    Key::optional("cloud", &Shape::Name, "who runs its machines, such as aws or onprem"),
    Key::optional("jurisdiction", &Shape::Text, "whose law applies, such as EU"),
    Key::optional("labels", &Shape::Dict(&Shape::Text), "further attributes of your own"),
]);

static BRIDGE: Shape = Shape::Map(&[
    Key::required("id", &Shape::Name, "the name of the bridge, unique in the federation"),
    Key::required("zone", &Shape::Name, "the zone it serves, one of `zones`"),
    Key::optional("address", &Shape::Text, "host:port at which its peers dial it"),
]);

static LINK: Shape = Shape::Map(&[
    Key::required("from", &Shape::Name, "the bridge that dials"),
    Key::required("to", &Shape::Name, "the bridge that is dialled"),
    Key::optional(
        "cost",
        &Shape::Integer { min: 1, max: 1_000_000 },
        "smaller is preferred; 10 where it is left out",
    ),
]);

static SPEC: Shape = Shape::Map(&[
    Key::optional(
        "layers",
        &Shape::List { of: &Shape::Name, non_empty: true },
        "outermost first; federation, region, zone by default",
    ),
    Key::required("zones", &Shape::Dict(&ZONE), "name: attributes"),
    Key::required("bridges", &Shape::List { of: &BRIDGE, non_empty: true }, "a list of {id, zone, address}"),
    Key::optional("links", &Shape::List { of: &LINK, non_empty: false }, "a list of {from, to, cost}"),
    Key::optional(
        "policies",
        &Shape::List { of: &Shape::Text, non_empty: false },
        "directories with policies, relative to this file",
    ),
    Key::optional(
        "minRevision",
        &Shape::Integer { min: 1, max: i64::MAX },
        "traffic with bridges under an older revision of the federation's bundle is refused",
    ),
    Key::optional(
        "keys",
        &Shape::Dict(&keys::KEY),
        "name: {use, version, zones} or {use: sign, layer, ed25519}",
    ),
]);

static METADATA: Shape = Shape::Map(&[Key::required("name", &Shape::Name, "the name of the federation")]);

static DOCUMENT: Shape = Shape::Map(&[
    Key::required("apiVersion", &Shape::OneOf(&["meshbridge/v1"]), "write apiVersion: meshbridge/v1"),
    Key::required("kind", &Shape::OneOf(&["Federation"]), "write kind: Federation"),
    Key::required("metadata", &METADATA, "write metadata: {name: …}"),
    Key::required("spec", &SPEC, "the zones, bridges and links"),
]);

/// The form of the document.
pub fn shape() -> &'static Shape {
    &DOCUMENT
}

/// A zone's place in the federation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneIndex(pub(crate) u16);

/// A zone with what selectors read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) name: String,
    pub(crate) attributes: BTreeMap<&'static str, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeEntry {
    pub id: String,
    pub zone: String,
    pub address: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationLink {
    pub from: String,
    pub to: String,
    pub cost: u32,
}

/// A key that signs the bundles of a layer, by its public half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    pub name: String,
    pub layer: String,
    /// Ed25519, in base64.
    pub ed25519: String,
}

/// Why bridges would not take what a key signs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotForLayer {
    #[error("this key is `{name}`, which signs for {bound}; sign {layer} with its own key")]
    Other { layer: String, name: String, bound: String },
    #[error("the federation document binds no key to {layer}; add one with `use: sign` under `keys`")]
    Unbound { layer: String },
    #[error("this key does not sign for {layer}; its public half is {ed25519}")]
    Unknown { layer: String, ed25519: String },
}

/// A validated federation document.
#[derive(Clone, Debug)]
pub struct Federation {
    name: String,
    pub(crate) layers: Vec<String>,
    pub(crate) zones: Vec<Zone>,
    bridges: Vec<BridgeEntry>,
    links: Vec<FederationLink>,
    policies: Vec<String>,
    min_revision: u64,
    signing_keys: Vec<SigningKey>,
    key_table: KeyTable,
}

const COST_DEFAULT: u32 = 10;
const LAYERS: [&str; 3] = ["federation", "region", "zone"];
const BRIDGES_MAX: usize = 4_096;

impl Federation {
    /// Reads the one federation document of a file.
    pub fn parse(file: &SourceFile) -> Result<Federation, Diagnostics> {
        let mut problems = Diagnostics::default();
        let all = documents(file, &mut problems);
        let federation = match all.as_slice() {
            [document] => {
                check(document, shape(), &mut problems);
                if problems.has_errors() { None } else { Some(lower(document, &mut problems)) }
            }
            [] if !problems.has_errors() => {
                let place = Span {
                    file: file.name.as_str().into(),
                    line: 1,
                    column: 1,
                    end_line: 1,
                    end_column: 2,
                    source: "".into(),
                };
                let problem = Diagnostic::error("P0101", &place, "the file is empty");
                problems.push(problem.help("begin with apiVersion: meshbridge/v1 and kind: Federation"));
                None
            }
            [_, second, ..] => {
                let message = "only one document belongs in this file";
                let problem = Diagnostic::error("P0101", &second.span, message);
                problems.push(problem.help("move the others into the directory of the policies"));
                None
            }
            [] => None,
        };
        problems.sort();
        match federation {
            Some(federation) if !problems.has_errors() => Ok(federation),
            _ => Err(problems),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn bridges(&self) -> &[BridgeEntry] {
        &self.bridges
    }

    pub fn bridge(&self, id: &str) -> Option<&BridgeEntry> {
        self.bridges.iter().find(|bridge| bridge.id == id)
    }

    pub fn links(&self) -> &[FederationLink] {
        &self.links
    }

    pub fn zones(&self) -> impl Iterator<Item = &str> {
        self.zones.iter().map(|zone| zone.name.as_str())
    }

    /// Directories with policies, relative to the document.
    pub fn policies(&self) -> &[String] {
        &self.policies
    }

    /// The lowest revision of the federation's bundle that bridges may be under; 0 where any will do.
    pub fn min_revision(&self) -> u64 {
        self.min_revision
    }

    /// Keys that sign bundles of inner layers.
    pub fn signing_keys(&self) -> &[SigningKey] {
        &self.signing_keys
    }

    /// Whether bridges take bundles of a layer that are signed by this key, given by its public half in base64. The
    /// outermost layer's key is in the configuration of bridges; it is none that is bound to another layer here.
    ///
    /// # Errors
    /// Says what the key is, and what would do.
    pub fn may_sign(&self, layer: &str, ed25519: &str) -> Result<(), NotForLayer> {
        let outermost = self.layers.first().is_some_and(|outermost| outermost == layer);
        let own = || self.signing_keys.iter().filter(|known| known.layer == layer);
        let other =
            self.signing_keys.iter().find(|known| known.ed25519.trim() == ed25519 && known.layer != layer);
        let layer = layer.to_owned();
        match other {
            _ if own().any(|known| known.ed25519.trim() == ed25519) => Ok(()),
            Some(known) => {
                Err(NotForLayer::Other { layer, name: known.name.clone(), bound: known.layer.clone() })
            }
            None if outermost => Ok(()),
            None if own().next().is_none() => Err(NotForLayer::Unbound { layer }),
            None => Err(NotForLayer::Unknown { layer, ed25519: ed25519.to_owned() }),
        }
    }

    /// Keys for data, by name and version.
    pub(crate) fn key_table(&self) -> &KeyTable {
        &self.key_table
    }

    /// Names, versions and uses of the keys for data, and whether a zone holds them.
    pub fn data_keys(&self, zone: ZoneIndex) -> impl Iterator<Item = (&str, u32, KeyUse, bool)> {
        self.key_table.iter().map(move |(key, entry)| {
            (&*entry.name, entry.version, entry.purpose, self.key_table.holds(zone, key))
        })
    }

    /// Attributes that make the layers, outermost first.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    pub(crate) fn zone_at(&self, index: ZoneIndex) -> &Zone {
        &self.zones[usize::from(index.0)]
    }

    pub(crate) fn zone_indexes(&self) -> impl Iterator<Item = ZoneIndex> + use<> {
        (0..self.zones.len()).filter_map(|at| u16::try_from(at).ok().map(ZoneIndex))
    }

    /// The name of a zone.
    pub fn zone_name(&self, index: ZoneIndex) -> &str {
        &self.zone_at(index).name
    }

    pub fn zone(&self, name: &str) -> Option<ZoneIndex> {
        let at = self.zones.iter().position(|zone| zone.name == name)?;
        u16::try_from(at).ok().map(ZoneIndex)
    }

    /// What a zone has for `region`, `cloud`, `jurisdiction` or `zone`.
    pub fn zone_attribute(&self, zone: &str, attribute: &str) -> Option<&str> {
        self.zones.iter().find(|known| known.name == zone)?.attribute(attribute)
    }

    /// The zone whose name is most like a misspelled one, if any is like it at all.
    pub fn nearest_zone(&self, name: &str) -> Option<&str> {
        crate::classes::nearest(name, self.zones())
    }
}

impl Zone {
    /// The value of `region`, `cloud`, `jurisdiction` or `zone`.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        if name == "zone" { Some(&self.name) } else { self.attributes.get(name).map(String::as_str) }
    }
}

fn lower(document: &Node, problems: &mut Diagnostics) -> Federation {
    let text = |node: Option<&Node>| node.and_then(Node::text).unwrap_or_default().to_owned();
    let metadata = document.get("metadata");
    let spec = document.get("spec");
    let of_spec = |key: &str| spec.and_then(|spec| spec.get(key));
    let mut zones = Vec::new();
    for (name, node) in of_spec("zones").map(Node::entries).unwrap_or_default() {
        let name_text = name.text().unwrap_or_default();
        if !is_name(name_text) {
            let message =
                format!("`{name_text}` is not a name: use 1 to 63 characters out of a-z, 0-9 and -");
            problems.push(
                Diagnostic::error("P0106", &name.span, message).help(crate::shape::name_help(name_text)),
            );
        }
        let attributes = ["region", "cloud", "jurisdiction"]
            .into_iter()
            .filter_map(|key| Some((key, node.get(key)?.text()?.to_owned())))
            .collect();
        let labels = node.get("labels").map(Node::entries).unwrap_or_default();
        let labels = labels.iter().map(|(key, value)| (text(Some(key)), text(Some(value)))).collect();
        zones.push(Zone { name: name_text.to_owned(), attributes, labels });
    }
    let mut bridges: Vec<BridgeEntry> = Vec::new();
    for node in of_spec("bridges").map(Node::items).unwrap_or_default() {
        let entry = BridgeEntry {
            id: text(node.get("id")),
            zone: text(node.get("zone")),
            address: node.get("address").and_then(Node::text).map(str::to_owned),
        };
        let span = |key: &str| node.get(key).map_or(&node.span, |value| &value.span);
        if bridges.iter().any(|known| known.id == entry.id) {
            let message = format!("bridge `{}` is listed twice", entry.id);
            problems.push(Diagnostic::error("P0110", span("id"), message));
        }
        if !zones.iter().any(|zone| zone.name == entry.zone) {
            let message = format!("there is no zone `{}`", entry.zone);
            problems.push(Diagnostic::error("P0110", span("zone"), message).help("add it under `zones`"));
        }
        if let Some(address) = &entry.address
            && address
                .rsplit_once(':')
                .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            let message = format!("`{address}` is not host:port");
            let help = "write a host and a port, such as bridge-1.example.com:7946";
            problems.push(Diagnostic::error("P0107", span("address"), message).help(help));
        }
        bridges.push(entry);
    }
    if bridges.len() > BRIDGES_MAX {
        let message = format!("a federation has at most {BRIDGES_MAX} bridges");
        let help = "make two federations of it";
        problems.push(Diagnostic::error("P0107", &document.span, message).help(help));
    }
    let mut links: Vec<FederationLink> = Vec::new();
    for node in of_spec("links").map(Node::items).unwrap_or_default() {
        let cost = node.get("cost").and_then(Node::integer).and_then(|cost| u32::try_from(cost).ok());
        let link = FederationLink {
            from: text(node.get("from")),
            to: text(node.get("to")),
            cost: cost.unwrap_or(COST_DEFAULT),
        };
        for end in ["from", "to"] {
            let id = text(node.get(end));
            if !bridges.iter().any(|bridge| bridge.id == id) {
                let span = node.get(end).map_or(&node.span, |value| &value.span);
                let message = format!("there is no bridge `{id}`");
                problems.push(Diagnostic::error("P0110", span, message).help("add it under `bridges`"));
            }
        }
        if link.from == link.to {
            problems.push(Diagnostic::error("P0110", &node.span, "a link needs two different bridges"));
        }
        let same = |known: &FederationLink| {
            (&known.from, &known.to) == (&link.from, &link.to)
                || (&known.from, &known.to) == (&link.to, &link.from)
        };
        if links.iter().any(same) {
            problems.push(Diagnostic::error("P0110", &node.span, "these two bridges are linked already"));
        }
        links.push(link);
    }
    let layers = match of_spec("layers") {
        None => LAYERS.map(str::to_owned).to_vec(),
        Some(node) => lower_layers(node, problems),
    };
    let keys = of_spec("keys").map(Node::entries).unwrap_or_default();
    let (signing_keys, key_table) = keys::lower(keys, &zones, problems);
    let policies = of_spec("policies").map(Node::items).unwrap_or_default();
    Federation {
        name: text(metadata.and_then(|metadata| metadata.get("name"))),
        layers,
        zones,
        bridges,
        links,
        policies: policies.iter().map(|node| text(Some(node))).collect(),
        min_revision: of_spec("minRevision")
            .and_then(Node::integer)
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0),
        signing_keys,
        key_table,
    }
}

fn lower_layers(node: &Node, problems: &mut Diagnostics) -> Vec<String> {
    let layers: Vec<String> = node.items().iter().filter_map(Node::text).map(str::to_owned).collect();
    let known = |layer: &str| matches!(layer, "region" | "cloud" | "jurisdiction");
    let good = layers.first().is_some_and(|first| first == "federation")
        && layers.last().is_some_and(|last| last == "zone")
        && layers.iter().skip(1).take(layers.len().saturating_sub(2)).all(|layer| known(layer));
    if !good {
        let problem = Diagnostic::error("P0107", &node.span, "these layers make no order")
            .help("begin with federation, end with zone; between them region, cloud or jurisdiction");
        problems.push(problem);
    }
    for (at, layer) in layers.iter().enumerate() {
        if layers[..at].contains(layer) {
            let place = node.items().get(at).unwrap_or(node);
            let problem =
                Diagnostic::error("P0107", &place.span, format!("the layer {layer} is listed twice"));
            problems.push(problem.help("remove one of the two: a layer has one place in the order"));
        }
    }
    layers
}
