//! `keys` of the federation document: names, holders and public halves; never a secret.

use super::{SigningKey, Zone, ZoneIndex};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::keys::{KeyEntry, KeyTable, KeyUse};
use crate::shape::{Key, Shape, is_name};
use crate::yaml::Node;

pub(super) static KEY: Shape = Shape::Map(&[
    Key::required(
        "use",
        &Shape::OneOf(&["pseudonymise", "encrypt", "store", "sign"]),
        "one of pseudonymise, encrypt, store, sign",
    ),
    Key::optional("version", &Shape::Integer { min: 1, max: 1_000 }, "of the key in use; 1 by default"),
    Key::optional("zones", &Shape::OneOrMany(&Shape::Name), "zones whose bridges hold the key"),
    Key::optional("layer", &Shape::Text, "with use: sign, the layer whose bundles it signs"),
    Key::optional("ed25519", &Shape::Text, "with use: sign, the public half in base64"),
]);

/// Names of keys in a federation.
const KEYS_MAX: usize = 1_000;

pub(super) fn lower(
    entries: &[(Node, Node)],
    zones: &[Zone],
    problems: &mut Diagnostics,
) -> (Vec<SigningKey>, KeyTable) {
    let (mut signing, mut table) = (Vec::new(), KeyTable::default());
    if let Some((name, _)) = entries.get(KEYS_MAX) {
        let message = format!("a federation has at most {KEYS_MAX} keys");
        problems.push(Diagnostic::error("P0107", &name.span, message));
        return (signing, table);
    }
    for (name, node) in entries {
        let name_text = name.text().unwrap_or_default();
        if !is_name(name_text) {
            let message =
                format!("`{name_text}` is not a name: use 1 to 63 characters out of a-z, 0-9 and -");
            problems.push(Diagnostic::error("P0106", &name.span, message));
        }
        match node.get("use").and_then(Node::text) {
            Some("sign") => signing.extend(signing_key(name, node, problems)),
            Some(usage) => {
                if let Some(usage) = KeyUse::named(usage) {
                    data_key(name, node, usage, zones, problems, &mut table);
                }
            }
            None => {}
        }
    }
    (signing, table)
}

fn refuse(place: &Node, message: &str, help: &str, problems: &mut Diagnostics) {
    problems.push(Diagnostic::error("P0604", &place.span, message).help(help));
}

fn signing_key(name: &Node, node: &Node, problems: &mut Diagnostics) -> Option<SigningKey> {
    let text = |key: &str| node.get(key).and_then(Node::text);
    for key in ["version", "zones"] {
        if let Some(place) = node.get(key) {
            refuse(place, &format!("`{key}` has no meaning with use: sign"), "remove it", problems);
        }
    }
    let (Some(layer), Some(public)) = (text("layer"), text("ed25519")) else {
        let help = "add `layer` and `ed25519`";
        refuse(name, "a signing key needs its layer and its public half", help, problems);
        return None;
    };
    if layer == "federation" {
        let place = node.get("layer").unwrap_or(name);
        let help =
            "remove it: the configuration of each bridge names the key of the federation layer as `root`";
        refuse(place, "a document cannot vouch for its own signer", help, problems);
    }
    if !is_public_key(public) {
        let place = node.get("ed25519").unwrap_or(name);
        let help = "32 bytes in base64, as `meshbridge policy keygen` prints them";
        refuse(place, "this is no Ed25519 public key", help, problems);
    }
    Some(SigningKey { name: name.text()?.to_owned(), layer: layer.to_owned(), ed25519: public.to_owned() })
}

fn data_key(
    name: &Node,
    node: &Node,
    usage: KeyUse,
    zones: &[Zone],
    problems: &mut Diagnostics,
    table: &mut KeyTable,
) {
    for key in ["layer", "ed25519"] {
        if let Some(place) = node.get(key) {
            refuse(
                place,
                &format!("`{key}` has no meaning with use: {}", usage.name()),
                "remove it",
                problems,
            );
        }
    }
    let mut holders = smallvec::SmallVec::new();
    for zone in node.get("zones").map(Node::items).unwrap_or_default() {
        let Some(text) = zone.text() else { continue };
        match zones.iter().position(|known| known.name == text).and_then(|at| u16::try_from(at).ok()) {
            Some(at) => holders.push(ZoneIndex(at)),
            None => {
                let message = format!("there is no zone `{text}`");
                problems.push(Diagnostic::error("P0110", &zone.span, message).help("add it under `zones`"));
            }
        }
    }
    if holders.is_empty() {
        let help = "add `zones` with those whose bridges have it";
        refuse(name, "nobody holds this key", help, problems);
    }
    let newest = node.get("version").and_then(Node::integer).and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    for version in 1..=newest {
        let entry = KeyEntry {
            name: name.text().unwrap_or_default().into(),
            version,
            purpose: usage,
            zones: holders.clone(),
        };
        if table.add(entry).is_none() {
            refuse(
                name,
                "there are too many keys and versions",
                "remove versions nobody reads any more",
                problems,
            );
            return;
        }
    }
}

/// 32 bytes in base64 with padding.
fn is_public_key(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.len() == 44 && text.ends_with('=') && text.as_bytes()[..43].iter().all(|b| good(*b))
}

#[cfg(test)]
mod tests {
    use crate::SourceFile;
    use crate::federation::{Federation, NotForLayer};

    /// Public halves, which are 32 bytes whatever they are.
    fn half(fill: char) -> String {
        fill.to_string().repeat(42) + "A="
    }

    #[test]
    fn a_key_signs_for_its_own_layer_only() {
        let text = format!(
            "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {{name: f}}\nspec:\n  zones: {{eu: {{region: eu}}, us: {{region: us}}}}\n  bridges: [{{id: eu-1, zone: eu}}]\n  keys:\n    dpo-eu: {{use: sign, layer: region/eu, ed25519: \"{}\"}}\n    ops-us: {{use: sign, layer: zone/us, ed25519: \"{}\"}}\n",
            half('B'),
            half('C'),
        );
        let file = SourceFile { name: "federation.yaml".to_owned(), text };
        let federation = Federation::parse(&file).unwrap_or_else(|problems| panic!("{problems}"));
        let answer = |layer: &str, fill: char| federation.may_sign(layer, &half(fill));
        assert_eq!(answer("region/eu", 'B'), Ok(()));
        assert_eq!(answer("zone/us", 'C'), Ok(()));
        // The outermost layer's own key stands in no document.
        assert_eq!(answer("federation", 'D'), Ok(()));
        for (layer, fill, bound) in
            [("federation", 'B', "region/eu"), ("region/eu", 'C', "zone/us"), ("zone/eu", 'B', "region/eu")]
        {
            let refused = answer(layer, fill).expect_err("another layer's key");
            assert!(matches!(&refused, NotForLayer::Other { bound: of, .. } if of == bound), "{refused}");
            assert!(refused.to_string().contains("sign "), "{refused}");
        }
        assert!(matches!(answer("zone/eu", 'D'), Err(NotForLayer::Unbound { .. })));
        assert!(matches!(answer("region/eu", 'D'), Err(NotForLayer::Unknown { .. })));
    }
}
