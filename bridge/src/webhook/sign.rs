//! Signed requests, as Standard Webhooks has them, so that receivers verify with a library they find:
//!
//! ```text
//! webhook-id:        <event key>
//! webhook-timestamp: <seconds since 1970>
//! webhook-signature: v1,<base64 of HMAC-SHA-256 over "<event key>.<timestamp>.<body>"> v1,…
//! ```
//!
//! The key and the timestamp hold no dot, so no two triples have the same text. The attributes of the event travel in
//! headers and are not covered.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::secret::Secret;

const PREFIX: &str = "whsec_";
const FILE_BYTES_MAX: u64 = 4_096;
/// Old and new while one is replaced by the other, and a spare of each.
const KEYS_MAX: usize = 4;
/// What cannot be guessed.
const KEY_BYTES_MIN: usize = 16;

/// The keys a target's requests are signed with: a signature by each, so that one can be replaced without a gap.
pub(crate) struct SigningKeys(Vec<Secret<Vec<u8>>>);

/// Why a file gives no keys; never says what is in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadKeysError {
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{}` must hold 1 to {KEYS_MAX} keys, one a line", .0.display())]
    Count(PathBuf),
    #[error("`{}` line {line}: {what}", path.display())]
    Line { path: PathBuf, line: usize, what: &'static str },
}

impl SigningKeys {
    /// One key a line: `whsec_` and base64, or else the line itself.
    pub(crate) fn load(path: &Path) -> Result<SigningKeys, LoadKeysError> {
        let unreadable = |source| LoadKeysError::Unreadable { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(LoadKeysError::Count(path.to_owned()));
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unreadable)?);
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let wrong = |what| LoadKeysError::Line { path: path.to_owned(), line: at + 1, what };
            let key = Secret::new(match line.strip_prefix(PREFIX) {
                Some(encoded) => STANDARD.decode(encoded).map_err(|_| wrong("this is not base64"))?,
                None => line.as_bytes().to_vec(),
            });
            if key.expose().len() < KEY_BYTES_MIN {
                return Err(wrong("a key has at least 16 bytes"));
            }
            keys.push(key);
        }
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(LoadKeysError::Count(path.to_owned()));
        }
        Ok(SigningKeys(keys))
    }

    /// The header `webhook-signature`.
    pub(super) fn signature(&self, key: &str, timestamp: u64, body: &[u8]) -> String {
        debug_assert!(!key.contains('.'), "a dot would let two triples have one text");
        let signed: Vec<String> = self
            .0
            .iter()
            .map(|secret| {
                let mut context =
                    hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
                context.update(key.as_bytes());
                context.update(format!(".{timestamp}.").as_bytes());
                context.update(body);
                format!("v1,{}", STANDARD.encode(context.sign()))
            })
            .collect();
        signed.join(" ")
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}
