//! What a bundle says of itself. There is one way to write a manifest, so equal manifests have equal digests.
//!
//! Canonical bytes: one JSON object without white space, keys in the order `federation`, `layer`, `revision`,
//! `created`, `expires` (left out when there is none), `files`; files sorted by path; times `YYYY-MM-DDThh:mm:ssZ`.
//! No string in it can need an escape. A manifest that would be written differently is refused.

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::archive::{FILE_BYTES_MAX, FILES_MAX};
use crate::bundle::{MANIFEST_NAME, SIGNATURE_NAME};
use crate::digest::Digest;
use crate::layer::{Layer, LayerError};
use crate::path::{BundlePath, PathError};

/// Largest manifest, in bytes: [`FILES_MAX`] entries with the longest paths fit.
pub const MANIFEST_BYTES_MAX: usize = 512 * 1024;
/// Largest revision: every JSON reader keeps it exactly.
pub const REVISION_MAX: u64 = (1 << 53) - 1;
const NAME_BYTES_MAX: usize = 63;
/// The last second of the year 9999; RFC 3339 knows no later one.
const UNIX_MAX: i64 = 253_402_300_799;

/// What the signer decides; the list of files is made from the files.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The name of the federation.
    pub federation: String,
    pub layer: Layer,
    /// 1 to [`REVISION_MAX`]; 0 means a plain directory and is never signed.
    pub revision: u64,
    /// Seconds since 1970.
    pub created_unix: i64,
    /// Seconds since 1970. After it the policies stay in force and an alarm says so.
    pub expires_unix: Option<i64>,
}

/// One file of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    pub path: BundlePath,
    /// Bytes.
    pub size: u64,
    pub sha256: Digest,
}

/// The manifest of a bundle, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    federation: String,
    layer: Layer,
    revision: u64,
    created_unix: i64,
    expires_unix: Option<i64>,
    /// Sorted by path, no path twice, none inside another.
    files: Vec<FileEntry>,
}

/// Why something is no manifest. The signer's fault, unless the bytes were changed on the way.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is larger than {MANIFEST_BYTES_MAX} bytes; sign fewer files")]
    TooLarge,
    #[error(
        "the manifest is not the JSON object it has to be; sign the directory again with `meshbridge policy sign`"
    )]
    Json(#[source] serde_json::Error),
    #[error(
        "the manifest is not written in its canonical form; sign the directory again with `meshbridge policy sign`"
    )]
    NotCanonical,
    #[error("`{0}` is no name of a federation; use up to {NAME_BYTES_MAX} of a-z, 0-9 and `-`")]
    Federation(String),
    #[error("the manifest names no layer")]
    Layer(#[from] LayerError),
    #[error("{0} is no revision; use a number from 1 to {REVISION_MAX}, higher than the last one")]
    Revision(u64),
    #[error("`{0}` is no time in UTC with whole seconds; write it like 2026-01-31T12:00:00Z")]
    Time(String),
    #[error("the bundle expires before it is created; choose a later end")]
    ExpiresBeforeCreated,
    #[error(
        "the bundle lists {0} files; split the layer or merge documents until there are at most {FILES_MAX}"
    )]
    TooManyFiles(usize),
    #[error("the bundle lists no file; add the documents of the layer")]
    NoFiles,
    #[error("the bundle lists a path that cannot be used")]
    Path(#[from] PathError),
    #[error("`{0}` has {1} bytes; split it into files of at most {FILE_BYTES_MAX}")]
    FileTooLarge(BundlePath, u64),
    #[error("the digest of `{0}` is not 64 lower-case hexadecimal digits; sign the directory again")]
    Digest(BundlePath),
    #[error("`{0}` is listed twice; remove one")]
    Duplicate(BundlePath),
    #[error("`{0}` cannot be a file and hold `{1}`; rename one")]
    FileAndDirectory(BundlePath, BundlePath),
    #[error("`{0}` is the bundle's own file; rename yours")]
    Reserved(BundlePath),
}

/// As the JSON has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    federation: String,
    layer: String,
    revision: u64,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    files: Vec<WrittenFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    path: String,
    size: u64,
    sha256: String,
}

impl Manifest {
    /// Sorts the files. Times outside the years 1970 to 9999 are errors.
    pub(crate) fn new(draft: Draft, mut files: Vec<FileEntry>) -> Result<Manifest, ManifestError> {
        let Draft { federation, layer, revision, created_unix, expires_unix } = draft;
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if federation.is_empty() || federation.len() > NAME_BYTES_MAX || !federation.bytes().all(is_name) {
            return Err(ManifestError::Federation(federation.chars().take(NAME_BYTES_MAX).collect()));
        }
        if revision == 0 || revision > REVISION_MAX {
            return Err(ManifestError::Revision(revision));
        }
        for time in [Some(created_unix), expires_unix].into_iter().flatten() {
            if !(0..=UNIX_MAX).contains(&time) {
                return Err(ManifestError::Time(time.to_string()));
            }
        }
        if expires_unix.is_some_and(|expires| expires <= created_unix) {
            return Err(ManifestError::ExpiresBeforeCreated);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        check_files(&files)?;
        Ok(Manifest { federation, layer, revision, created_unix, expires_unix, files })
    }

    /// Reads canonical bytes and refuses all others.
    pub fn from_bytes(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge);
        }
        let written: Written = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let files = written.files.iter().map(|file| {
            let path = BundlePath::new(&file.path)?;
            let sha256 = Digest::from_hex(&file.sha256).ok_or_else(|| ManifestError::Digest(path.clone()))?;
            Ok(FileEntry { path, size: file.size, sha256 })
        });
        let draft = Draft {
            layer: written.layer.parse()?,
            revision: written.revision,
            created_unix: unix_of(&written.created)?,
            expires_unix: written.expires.as_deref().map(unix_of).transpose()?,
            federation: written.federation,
        };
        let manifest = Manifest::new(draft, files.collect::<Result<_, ManifestError>>()?)?;
        if manifest.to_bytes() != bytes {
            return Err(ManifestError::NotCanonical);
        }
        Ok(manifest)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let file = |entry: &FileEntry| WrittenFile {
            path: entry.path.as_str().to_owned(),
            size: entry.size,
            sha256: entry.sha256.to_string(),
        };
        let written = Written {
            federation: self.federation.clone(),
            layer: self.layer.to_string(),
            revision: self.revision,
            created: text_of(self.created_unix),
            expires: self.expires_unix.map(text_of),
            files: self.files.iter().map(file).collect(),
        };
        serde_json::to_vec(&written).expect("strings and numbers are JSON")
    }

    pub fn federation(&self) -> &str {
        &self.federation
    }

    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Seconds since 1970.
    pub fn created_unix(&self) -> i64 {
        self.created_unix
    }

    /// Seconds since 1970.
    pub fn expires_unix(&self) -> Option<i64> {
        self.expires_unix
    }

    /// Sorted by path.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }
}

fn check_files(files: &[FileEntry]) -> Result<(), ManifestError> {
    if files.is_empty() {
        return Err(ManifestError::NoFiles);
    }
    if files.len() > FILES_MAX {
        return Err(ManifestError::TooManyFiles(files.len()));
    }
    for file in files {
        if file.size > FILE_BYTES_MAX as u64 {
            return Err(ManifestError::FileTooLarge(file.path.clone(), file.size));
        }
        if [MANIFEST_NAME, SIGNATURE_NAME].iter().any(|own| is_or_is_below(file.path.as_str(), own)) {
            return Err(ManifestError::Reserved(file.path.clone()));
        }
    }
    for (at, file) in files.iter().enumerate() {
        // What begins with this path follows it directly, however many names such as `a-b` sort between `a` and `a/b`.
        let following = files.iter().skip(at + 1);
        for other in following.take_while(|other| other.path.as_str().starts_with(file.path.as_str())) {
            if other.path == file.path {
                return Err(ManifestError::Duplicate(file.path.clone()));
            }
            if file.path.is_parent_of(&other.path) {
                return Err(ManifestError::FileAndDirectory(file.path.clone(), other.path.clone()));
            }
        }
    }
    Ok(())
}

fn is_or_is_below(path: &str, own: &str) -> bool {
    path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn unix_of(text: &str) -> Result<i64, ManifestError> {
    let wrong = || ManifestError::Time(text.chars().take(64).collect());
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wrong())?;
    if time.nanosecond() != 0 || time.offset() != UtcOffset::UTC {
        return Err(wrong());
    }
    Ok(time.unix_timestamp())
}

fn text_of(unix: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix).expect("checked to be before the year 10000");
    time.format(&Rfc3339).expect("years from 1970 to 9999 have a form")
}
