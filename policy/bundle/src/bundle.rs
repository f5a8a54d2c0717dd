//! From files to a signed archive and back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::archive::{self, ArchiveError, Entry};
use crate::digest::Digest;
use crate::keys::{SIGNATURE_BYTES, SigningKey};
use crate::manifest::{Draft, FileEntry, Manifest, ManifestError};
use crate::path::{BundlePath, PathError};

/// First entry of every archive.
pub const MANIFEST_NAME: &str = "manifest.json";
/// Second entry: 64 bytes in Base64 and a line feed.
pub const SIGNATURE_NAME: &str = "manifest.sig";
/// What is signed begins with this, so that a signature over anything else of ours is none over a bundle.
const CONTEXT: &[u8] = b"meshbridge/v1 policy bundle\0";

/// Why files cannot become a bundle.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("a file has a name that cannot be in a bundle")]
    Path(#[from] PathError),
    #[error("these files make no bundle")]
    Manifest(#[from] ManifestError),
    #[error("these files make no archive")]
    Archive(#[from] ArchiveError),
}

/// Why an archive is no bundle. Nothing here says that it came from an attacker; nothing of it may be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("the archive cannot be read")]
    Archive(#[from] ArchiveError),
    #[error("the bundle's manifest cannot be used")]
    Manifest(#[from] ManifestError),
    #[error(
        "the archive does not begin with `{MANIFEST_NAME}` and `{SIGNATURE_NAME}`; sign the directory again"
    )]
    NoManifest,
    #[error("`{SIGNATURE_NAME}` is not 64 bytes in Base64 and a line feed; sign the directory again")]
    Signature,
    #[error(
        "`{0}` is in the archive but not in the manifest, or out of order; do not use it, and sign again"
    )]
    Unlisted(BundlePath),
    #[error("`{0}` is in the manifest but not in the archive; fetch the bundle again, or sign again")]
    Missing(BundlePath),
    #[error("`{0}` is not what the manifest says; do not use the bundle, and fetch it again")]
    Changed(BundlePath),
}

/// A manifest and the signature that came with it. Nobody has looked at the signature yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedManifest {
    manifest: Manifest,
    signature: [u8; SIGNATURE_BYTES],
    digest: Digest,
}

impl SignedManifest {
    /// From the contents of the two files. Peers show each other these two and not the documents.
    pub fn from_files(manifest: &[u8], signature: &[u8]) -> Result<SignedManifest, BundleError> {
        let digest = Digest::of(&[manifest]);
        Ok(SignedManifest {
            manifest: Manifest::from_bytes(manifest)?,
            signature: read_signature(signature).ok_or(BundleError::Signature)?,
            digest,
        })
    }

    /// The contents of the two files, manifest first.
    pub fn to_files(&self) -> (Vec<u8>, Vec<u8>) {
        (self.manifest.to_bytes(), signature_text(&self.signature).into_bytes())
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the manifest's bytes; it stands for the bundle.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// A bundle that is consistent in itself. Whether anybody vouches for it is for [`verify`](crate::verify) to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    signed: SignedManifest,
    /// In the order of the manifest.
    files: Vec<Vec<u8>>,
}

impl Opened {
    pub fn signed_manifest(&self) -> &SignedManifest {
        &self.signed
    }

    pub fn manifest(&self) -> &Manifest {
        &self.signed.manifest
    }

    /// Paths with their contents, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&BundlePath, &[u8])> {
        let paths = self.manifest().files().iter().map(|entry| &entry.path);
        paths.zip(self.files.iter().map(Vec::as_slice))
    }

    /// The contents of one file.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        let at = self.manifest().files().binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        self.files.get(at).map(Vec::as_slice)
    }
}

/// Signs files and packs them. The same input gives the same bytes, whatever the order of the files.
pub fn pack(draft: Draft, files: &[(&str, &[u8])], key: &SigningKey) -> Result<Vec<u8>, PackError> {
    let entry = |(path, bytes): &(&str, &[u8])| {
        let path = BundlePath::new(path)?;
        Ok(FileEntry { path, size: bytes.len() as u64, sha256: Digest::of(&[bytes]) })
    };
    let entries = files.iter().map(entry).collect::<Result<_, PathError>>()?;
    let manifest = Manifest::new(draft, entries)?.to_bytes();
    let signature = signature_text(&key.sign(&message(&manifest)));
    let mut sorted = files.to_vec();
    sorted.sort_by_key(|(path, _)| *path);
    let own = [(MANIFEST_NAME, &manifest[..]), (SIGNATURE_NAME, signature.as_bytes())];
    Ok(archive::pack(own.into_iter().chain(sorted))?)
}

/// Reads an archive: exactly the files of its manifest, each with its size and digest, within all limits.
pub fn open(bytes: &[u8]) -> Result<Opened, BundleError> {
    let mut entries = archive::unpack(bytes)?.into_iter();
    let mut own = |name: &str| {
        entries.next().filter(|entry| entry.path.as_str() == name).ok_or(BundleError::NoManifest)
    };
    let (manifest, signature) = (own(MANIFEST_NAME)?, own(SIGNATURE_NAME)?);
    let signed = SignedManifest::from_files(&manifest.bytes, &signature.bytes)?;
    let files = listed_files(&signed.manifest, entries)?;
    Ok(Opened { signed, files })
}

fn listed_files(
    manifest: &Manifest,
    mut entries: impl Iterator<Item = Entry>,
) -> Result<Vec<Vec<u8>>, BundleError> {
    let mut files = Vec::with_capacity(manifest.files().len());
    for listed in manifest.files() {
        let entry = entries.next().ok_or_else(|| BundleError::Missing(listed.path.clone()))?;
        if entry.path != listed.path {
            let is_listed = manifest.files().iter().any(|file| file.path == entry.path);
            return Err(match is_listed && entry.path > listed.path {
                true => BundleError::Missing(listed.path.clone()),
                false => BundleError::Unlisted(entry.path),
            });
        }
        if entry.bytes.len() as u64 != listed.size || Digest::of(&[&entry.bytes]) != listed.sha256 {
            return Err(BundleError::Changed(entry.path));
        }
        files.push(entry.bytes);
    }
    match entries.next() {
        Some(entry) => Err(BundleError::Unlisted(entry.path)),
        None => Ok(files),
    }
}

/// What is signed.
pub(crate) fn message(manifest: &[u8]) -> Vec<u8> {
    [CONTEXT, manifest].concat()
}

fn signature_text(signature: &[u8; SIGNATURE_BYTES]) -> String {
    STANDARD.encode(signature) + "\n"
}

fn read_signature(text: &[u8]) -> Option<[u8; SIGNATURE_BYTES]> {
    let line = text.strip_suffix(b"\n")?;
    STANDARD.decode(line).ok()?.try_into().ok()
}
