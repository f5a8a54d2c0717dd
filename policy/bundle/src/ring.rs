//! Who may sign for which layer, and whether they did.

use std::collections::BTreeMap;

use crate::bundle::{Opened, SignedManifest, message};
use crate::digest::Digest;
use crate::keys::PublicKey;
use crate::layer::Layer;

/// Keys of one layer: one, and one more while it is replaced, for several people.
pub const KEYS_PER_LAYER_MAX: usize = 8;
/// Layers with keys; a federation has at most 4,096 bridges, hence fewer zones and attributes.
const LAYERS_MAX: usize = 8_192;
/// Other layers' keys that are tried in order to name the one that signed. Each costs a signature check, and bundles
/// come from outside.
const KEYS_DIAGNOSED_MAX: usize = 64;

/// The keys that may sign: `root` for the federation layer, from the bridge's own configuration; the others as the
/// Federation document binds them.
#[derive(Clone, Debug)]
pub struct KeyRing {
    federation: String,
    keys: BTreeMap<Layer, Vec<(String, PublicKey)>>,
}

/// Why a key cannot be bound. The Federation document is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    #[error(
        "key `{0}` is bound to the federation layer; that key is `root` in the Bridge document, so remove it here"
    )]
    Federation(String),
    #[error("key `{0}` is the same as `{1}`, which signs for {2}; make one key per layer")]
    Shared(String, String, Layer),
    #[error("layer {0} has more than {KEYS_PER_LAYER_MAX} keys; remove those that no longer sign")]
    TooManyKeys(Layer),
    #[error("more than {LAYERS_MAX} layers have keys; remove those that no bundle is signed for")]
    TooManyLayers,
}

impl KeyRing {
    pub fn new(federation: impl Into<String>, root: PublicKey) -> KeyRing {
        let keys = BTreeMap::from([(Layer::federation(), vec![("root".to_owned(), root)])]);
        KeyRing { federation: federation.into(), keys }
    }

    /// Binds a key to a layer. A key never signs for two layers, or a zone could speak for its region.
    pub fn bind(&mut self, name: &str, layer: Layer, key: PublicKey) -> Result<(), KeyRingError> {
        if layer.is_federation() {
            return Err(KeyRingError::Federation(name.to_owned()));
        }
        if let Some((bound, (other, _))) = self.all().find(|(_, (_, known))| *known == key) {
            return Err(KeyRingError::Shared(name.to_owned(), other.clone(), bound.clone()));
        }
        if self.keys.len() >= LAYERS_MAX && !self.keys.contains_key(&layer) {
            return Err(KeyRingError::TooManyLayers);
        }
        let keys = self.keys.entry(layer.clone()).or_default();
        if keys.len() >= KEYS_PER_LAYER_MAX {
            return Err(KeyRingError::TooManyKeys(layer));
        }
        keys.push((name.to_owned(), key));
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = (&Layer, &(String, PublicKey))> {
        self.keys.iter().flat_map(|(layer, keys)| keys.iter().map(move |key| (layer, key)))
    }
}

/// Why nobody vouches for a bundle. Any of these is an alarm when the bundle came from outside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error(
        "the bundle is for federation `{theirs}`, this is `{ours}`; take the bundle that was signed for this one"
    )]
    OtherFederation { ours: String, theirs: String },
    #[error(
        "no key is bound to layer {0}; add one with `use: sign` to the Federation, or do not use bundles of this layer"
    )]
    NoKey(Layer),
    #[error(
        "the bundle is of layer {layer} but signed with `{key}`, which signs for {bound} only; have it signed by a key of {layer}"
    )]
    OtherLayer { layer: Layer, key: String, bound: Layer },
    #[error(
        "the signature of the bundle of layer {0} is by none of its keys; do not use it, and ask who signed it"
    )]
    BadSignature(Layer),
}

/// A manifest that somebody entitled has signed. Only [`verify`] and [`verify_manifest`] make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    layer: Layer,
    revision: u64,
    digest: Digest,
    expires_unix: Option<i64>,
    key: String,
}

impl Verified {
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// SHA-256 of the manifest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Seconds since 1970.
    pub fn expires_unix(&self) -> Option<i64> {
        self.expires_unix
    }

    /// The name of the key, as the Federation has it; `root` for the federation layer.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Whether the alarm is due. The policies stay in force: a bridge without policies would be worse.
    pub fn is_expired(&self, now_unix: i64) -> bool {
        self.expires_unix.is_some_and(|expires| now_unix >= expires)
    }
}

/// Whether a key that is bound to the bundle's layer signed it.
pub fn verify(bundle: &Opened, ring: &KeyRing) -> Result<Verified, VerifyError> {
    verify_manifest(bundle.signed_manifest(), ring)
}

/// As [`verify`], for a manifest without its bundle, as peers show it.
pub fn verify_manifest(signed: &SignedManifest, ring: &KeyRing) -> Result<Verified, VerifyError> {
    let manifest = signed.manifest();
    if manifest.federation() != ring.federation {
        let (ours, theirs) = (ring.federation.clone(), manifest.federation().to_owned());
        return Err(VerifyError::OtherFederation { ours, theirs });
    }
    let layer = manifest.layer();
    let signed_bytes = message(&manifest.to_bytes());
    let is_by = |key: &PublicKey| key.verifies(&signed_bytes, signed.signature());
    let own = ring.keys.get(layer).map(Vec::as_slice).unwrap_or_default();
    if let Some((name, _)) = own.iter().find(|(_, key)| is_by(key)) {
        return Ok(Verified {
            layer: layer.clone(),
            revision: manifest.revision(),
            digest: signed.digest(),
            expires_unix: manifest.expires_unix(),
            key: name.clone(),
        });
    }
    // Only to say what is wrong; the answer is no already.
    if let Some((bound, (key, _))) = ring.all().take(KEYS_DIAGNOSED_MAX).find(|(_, (_, key))| is_by(key)) {
        let (key, bound) = (key.clone(), bound.clone());
        return Err(VerifyError::OtherLayer { layer: layer.clone(), key, bound });
    }
    Err(if own.is_empty() {
        VerifyError::NoKey(layer.clone())
    } else {
        VerifyError::BadSignature(layer.clone())
    })
}
