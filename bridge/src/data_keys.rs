//! The keys for data that a bridge holds: one file for each key and version (POLICY §1, `Bridge`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use meshbridge_bundle::DataKey;
use meshbridge_policy::{Federation, KeyUse, MapKeyRing, ZoneIndex};
use tracing::warn;

/// Bytes of a key file: 32 bytes in base64, and some white space.
const FILE_BYTES_MAX: u64 = 256;

/// A file with the secret of a key.
#[derive(Clone, Debug)]
pub(crate) struct DataKeyFile {
    pub(crate) name: String,
    /// `None` for the version that the federation document says is in use.
    pub(crate) version: Option<u32>,
    pub(crate) path: PathBuf,
}

/// Reads all files. A key that the federation document does not have, or does not give to this zone, is refused: it
/// would make values that nobody else takes for protected. One that is missing is a warning, for only a rule that needs
/// it cannot be fulfilled then.
pub(crate) fn load(
    files: &[DataKeyFile],
    federation: &Federation,
    zone: ZoneIndex,
) -> anyhow::Result<MapKeyRing> {
    let known: Vec<(&str, u32, KeyUse, bool)> = federation.data_keys(zone).collect();
    let mut ring = MapKeyRing::new();
    let mut have: BTreeSet<(&str, u32)> = BTreeSet::new();
    for file in files {
        let newest =
            known.iter().filter(|(name, ..)| *name == file.name).map(|(_, version, ..)| *version).max();
        let Some(newest) = newest else {
            bail!("policy.keys: the federation document has no key `{}` for data", file.name);
        };
        let version = file.version.unwrap_or(newest);
        let entry = known.iter().find(|(name, of, ..)| *name == file.name && *of == version);
        let Some((name, _, _, holds)) = entry else {
            bail!("policy.keys: the key `{}` has no version {version}; the newest is {newest}", file.name);
        };
        if !holds {
            bail!(
                "policy.keys: the federation document does not give `{}` to the zone of this bridge",
                file.name
            );
        }
        let path = file.path.display();
        let size = std::fs::metadata(&file.path)
            .with_context(|| format!("cannot read the key file `{path}`"))?
            .len();
        if size > FILE_BYTES_MAX {
            bail!("`{path}` is no key file: {size} bytes");
        }
        let text = std::fs::read_to_string(&file.path)
            .with_context(|| format!("cannot read the key file `{path}`"))?;
        let key = DataKey::from_text(text.trim_end()).with_context(|| format!("`{path}` is no key file"))?;
        ring.insert(name, version, *key.expose());
        have.insert((name, version));
    }
    for (name, version, usage, holds) in known {
        if holds && !have.contains(&(name, version)) {
            warn!(
                key = name,
                version,
                usage = usage.name(),
                "This bridge does not have a key that its zone holds"
            );
        }
    }
    Ok(ring)
}
