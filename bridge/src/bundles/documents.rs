//! What is inside a bundle, as far as activation has to know it.

use anyhow::{Context as _, anyhow, bail, ensure};
use meshbridge_bundle::{KeyRing, Layer, LayerKind, Opened, PublicKey};
use meshbridge_policy::{Diagnostics, Federation, Node, SourceFile, documents};

/// The files of a bundle, for the compiler.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) files: Vec<SourceFile>,
    /// With the layer federation comes the document.
    pub(super) federation: Option<Federation>,
}

impl Contents {
    /// Files are named for their bundle, so that a diagnostic tells which one it is about.
    pub(super) fn of(opened: &Opened) -> anyhow::Result<Contents> {
        let manifest = opened.manifest();
        let layer = manifest.layer().to_string();
        let home = format!("{}.{}", layer.replace('/', "-"), manifest.revision());
        let mut files = Vec::new();
        for (path, bytes) in opened.files() {
            let text = std::str::from_utf8(bytes).map_err(|_| anyhow!("`{home}/{path}` is no text"))?;
            files.push(SourceFile { name: format!("{home}/{path}"), text: text.to_owned() });
        }
        for file in files.iter().filter(|file| !file.name.ends_with(".json")) {
            if let Some((other, line)) = layers_of(file).into_iter().find(|(of, _)| *of != layer) {
                bail!(
                    "{}:{line} is of {other}, in a bundle of {layer}: sign it for its own layer",
                    file.name
                );
            }
        }
        let federation = match manifest.layer().is_federation() {
            true => Some(federation_of(&files, manifest.federation()).with_context(|| home.clone())?),
            false => None,
        };
        Ok(Contents { files, federation })
    }
}

fn federation_of(files: &[SourceFile], name: &str) -> anyhow::Result<Federation> {
    let mut ignored = Diagnostics::default();
    let is_federation = |document: &Node| document.get("kind").and_then(Node::text) == Some("Federation");
    let found: Vec<&SourceFile> =
        files.iter().filter(|file| documents(file, &mut ignored).iter().any(is_federation)).collect();
    let [file] = found.as_slice() else {
        bail!(
            "the bundle has {} federation documents, and needs one: sign it with the document",
            found.len()
        );
    };
    let federation = Federation::parse(file).map_err(|problems| anyhow!("{problems}"))?;
    ensure!(federation.name() == name, "the federation document is of `{}`, not `{name}`", federation.name());
    Ok(federation)
}

/// The layer of each document of a file, with its line. Tests and configuration of bridges have none and are no part of a
/// bundle; the federation document is of the outermost layer.
pub(crate) fn layers_of(file: &SourceFile) -> Vec<(String, usize)> {
    layers(file, Some("federation"))
}

/// As [`layers_of`], without the federation document: one that lies beside policies is not read from there.
pub(super) fn layers_of_policies(file: &SourceFile) -> Vec<(String, usize)> {
    layers(file, None)
}

fn layers(file: &SourceFile, of_federation: Option<&str>) -> Vec<(String, usize)> {
    let mut ignored = Diagnostics::default();
    let layer = |document: &Node| {
        let kind = document.get("kind").and_then(Node::text);
        let layer = match kind {
            Some("PolicyTest" | "Bridge") => None,
            Some("Federation") => of_federation,
            _ => document.get("metadata")?.get("layer")?.text(),
        };
        layer.map(|layer| (layer.to_owned(), document.span.line))
    };
    documents(file, &mut ignored).iter().filter_map(layer).collect()
}

/// Who may sign: `root`, and whom the federation document names.
pub(crate) fn key_ring(federation: &Federation, root: PublicKey) -> anyhow::Result<KeyRing> {
    let mut ring = KeyRing::new(federation.name(), root);
    for key in federation.signing_keys() {
        let mut bind = || -> anyhow::Result<()> {
            Ok(ring.bind(&key.name, key.layer.parse()?, PublicKey::from_text(&key.ed25519)?)?)
        };
        bind().with_context(|| format!("key `{}` of the federation document", key.name))?;
    }
    Ok(ring)
}

/// The order of the layers, outermost first.
pub(super) fn order_of(federation: &Federation) -> Vec<LayerKind> {
    let known = [
        LayerKind::Federation,
        LayerKind::Region,
        LayerKind::Cloud,
        LayerKind::Jurisdiction,
        LayerKind::Zone,
    ];
    let kind = |name: &String| known.into_iter().find(|kind| kind.name() == name);
    federation.layers().iter().filter_map(kind).collect()
}

/// The layers that speak for a zone, outermost first.
pub(super) fn layers_for(federation: &Federation, zone: &str) -> Vec<Layer> {
    let layer = |kind: LayerKind| match kind {
        LayerKind::Federation => Some(Layer::federation()),
        kind => {
            let value = federation.zone_attribute(zone, kind.name())?;
            format!("{}/{value}", kind.name()).parse().ok()
        }
    };
    order_of(federation).into_iter().filter_map(layer).collect()
}

/// Whether a bridge that runs by one document may go on under the other. Zones, bridges and links are taken at a start.
pub(super) fn is_same_topology(a: &Federation, b: &Federation) -> bool {
    let bridges = |federation: &Federation| -> Vec<(String, String)> {
        federation.bridges().iter().map(|bridge| (bridge.id.clone(), bridge.zone.clone())).collect()
    };
    a.name() == b.name() && a.zones().eq(b.zones()) && bridges(a) == bridges(b) && a.links() == b.links()
}
