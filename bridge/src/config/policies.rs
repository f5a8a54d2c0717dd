//! `policy`: where the policies of a bridge come from.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use meshbridge_bundle::PublicKey;
use meshbridge_policy::{Federation, Node as Yaml};

use crate::bundles::BundleSettings;

/// Plain directories, signed bundles, or both; relative paths are below `base`.
pub(super) fn lower(
    policy: &Yaml,
    base: &Path,
    federation: &Federation,
) -> anyhow::Result<(Vec<PathBuf>, Option<BundleSettings>)> {
    let directories = policy.get("directories").map(Yaml::items).unwrap_or_default();
    let directories: Vec<PathBuf> =
        directories.iter().filter_map(Yaml::text).map(|directory| base.join(directory)).collect();
    let text = |key: &str| policy.get(key).and_then(Yaml::text);
    match (text("bundles"), text("root")) {
        (Some(bundles), Some(root)) => {
            let root = PublicKey::from_text(root).context("policy.root")?;
            Ok((directories, Some(BundleSettings { directory: base.join(bundles), root })))
        }
        (Some(_), None) => bail!(
            "policy.bundles needs `policy.root`: the public half of the key that signs the layer federation, which no document vouches for"
        ),
        (None, Some(_)) => bail!("policy.root is for signed bundles: add `policy.bundles`, or remove it"),
        (None, None) if directories.is_empty() => bail!("policy needs `directories` or `bundles`"),
        (None, None) if federation.min_revision() > 0 => bail!(
            "the federation document has minRevision {}, and plain directories are revision 0: use `policy.bundles` and `policy.root`",
            federation.min_revision()
        ),
        (None, None) => Ok((directories, None)),
    }
}
