//! The digest of a set of policies.

use super::Documents;
use crate::federation::Federation;

/// Covers everything that decides, in one order whatever the order of files.
pub(super) fn of(documents: &Documents, federation: &Federation) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("meshbridge policy digest v2");
    let mut part = |kind: &str, layer: &str, text: &str| {
        for part in [kind, layer, text] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
    };
    for rule in &documents.rules {
        part("rule", &rule.id, "");
        part("rule", rule.layer.name(), &rule.canonical);
    }
    for entry in &documents.delivery {
        part("delivery", &entry.layer_name(), &entry.canonical);
    }
    for one in &documents.classifications {
        part("classification", one.layer.name(), &one.canonical);
    }
    for one in &documents.waivers {
        part("waiver", one.layer.name(), &one.canonical);
    }
    for one in &documents.invariants {
        part("invariant", one.layer.name(), &one.canonical);
    }
    for file in &documents.other_files {
        part("file", "", file);
    }
    for zone in &federation.zones {
        part("zone", "", &format!("{zone:?}"));
    }
    for (_, key) in federation.key_table().iter() {
        part("key", "", &format!("{key:?}"));
    }
    for key in federation.signing_keys() {
        part("signing key", &key.layer, &key.ed25519);
    }
    part("layers", "", &federation.layers.join(","));
    *hasher.finalize().as_bytes()
}
