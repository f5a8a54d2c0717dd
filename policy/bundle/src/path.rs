//! Names of the files in a bundle.

use std::fmt;

/// Longest path, in bytes. It fits the name field of a tar header, so no long-name extension is ever needed.
pub const PATH_BYTES_MAX: usize = 100;

/// A relative, normalised path: segments of letters, digits, `.`, `_` and `-` that do not begin with a dot, joined by
/// single slashes. Such a path means the same on every system and needs no escaping anywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundlePath(Box<str>);

/// Why a text is no path of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path `{0}` is too long; shorten it to {PATH_BYTES_MAX} bytes")]
    TooLong(String),
    #[error(
        "the path `{0}` is not relative and normalised; name the file relative to the directory that is signed"
    )]
    NotNormalised(String),
    #[error(
        "the path `{0}` has a character other than ASCII letters, digits, `.`, `_` and `-`; rename the file"
    )]
    Characters(String),
}

impl BundlePath {
    pub fn new(text: &str) -> Result<BundlePath, PathError> {
        let shown = || text.chars().take(PATH_BYTES_MAX).collect::<String>();
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong(shown()));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        if !text.bytes().all(is_plain) {
            return Err(PathError::Characters(shown()));
        }
        if text.split('/').any(|segment| segment.is_empty() || segment.starts_with('.')) {
            return Err(PathError::NotNormalised(shown()));
        }
        Ok(BundlePath(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the other path would have to be inside this one, as if this file were a directory.
    pub(crate) fn is_parent_of(&self, other: &BundlePath) -> bool {
        other.0.strip_prefix(&*self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl fmt::Display for BundlePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
