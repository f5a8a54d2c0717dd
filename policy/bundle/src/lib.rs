//! Signed policy bundles (POLICY §10): one archive per layer, its signature, and the order in which revisions may be
//! activated.
//!
//! Pure: bytes in, bytes out. No file, no clock, no randomness; the time of creation and the seed of a key are
//! arguments.
//!
//! ```text
//!  Draft + files ─► pack ─► archive ─► open ─► Opened ─► verify(KeyRing) ─► Verified
//!                                                                              │
//!               state on disk ◄── Activation ◄── Revisions::propose ◄──────────┘
//! ```
//!
//! Each step proves one thing and only that. [`open`]: the archive holds exactly the files its manifest lists, each
//! with its digest. [`verify`]: a key that is bound to the manifest's layer signed it. [`Revisions`]: it is no rollback
//! and no second bundle of the same number. What the documents inside say, their own `metadata.layer` included, is
//! for the compiler of policies, which alone reads YAML; activation is not complete without it.
//!
//! Between bridges, [`Exchange`] carries the archives.
//!
//! Start reading at [`Opened`]; the layout of an archive is in `archive.rs`.

mod archive;
mod bundle;
mod digest;
mod exchange;
mod keys;
mod layer;
mod manifest;
mod path;
mod revisions;
mod ring;

pub use archive::{ARCHIVE_BYTES_MAX, ArchiveError, FILE_BYTES_MAX, FILES_MAX, UNPACKED_BYTES_MAX};
pub use bundle::{BundleError, MANIFEST_NAME, Opened, PackError, SIGNATURE_NAME, SignedManifest, open, pack};
pub use digest::Digest;
pub use exchange::{Effect, Exchange, Judged, Message, Misbehaved, Offer, PART_BYTES_MAX, PULLS_MAX, PeerId};
pub use keys::{DataKey, KeyError, PublicKey, SigningKey};
pub use layer::{Layer, LayerError, LayerKind};
pub use manifest::{Draft, FileEntry, MANIFEST_BYTES_MAX, Manifest, ManifestError, REVISION_MAX};
pub use path::{BundlePath, PATH_BYTES_MAX, PathError};
pub use revisions::{
    Activation, Drift, LAYERS_MAX, Observation, RevisionError, Revisions, STATE_BYTES_MAX, StalePolicy,
    Standing, StateError, check_min_revision, digest_of_layers,
};
pub use ring::{KEYS_PER_LAYER_MAX, KeyRing, KeyRingError, Verified, VerifyError, verify, verify_manifest};
