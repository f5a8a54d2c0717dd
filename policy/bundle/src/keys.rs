//! Keys and their files. The text of every key is 32 bytes in Base64 (RFC 4648, with padding) and a line feed; which
//! mode a file has is the caller's business, and so is where randomness comes from.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

const KEY_BYTES: usize = 32;
pub(crate) const SIGNATURE_BYTES: usize = 64;

/// Why a text is no key. The text itself is never part of the message, for it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("this is not Base64 with padding; make a key with `meshbridge policy keygen`")]
    NotBase64,
    #[error("this is not {KEY_BYTES} bytes; make a key with `meshbridge policy keygen`")]
    Length,
    #[error("this key is all zeros; make a key with `meshbridge policy keygen`")]
    Zeros,
}

/// A key that signs bundles: an Ed25519 seed (RFC 8032).
pub struct SigningKey {
    seed: Zeroizing<[u8; KEY_BYTES]>,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// From 32 bytes of a cryptographic random generator. The argument's own copy is for the caller to wipe.
    pub fn from_seed(seed: &[u8; KEY_BYTES]) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are a seed");
        SigningKey { seed: Zeroizing::new(*seed), pair }
    }

    /// Reads the text of a seed file.
    pub fn from_text(text: &str) -> Result<SigningKey, KeyError> {
        Ok(SigningKey::from_seed(&*secret_of(text)?))
    }

    /// The text of a seed file.
    pub fn to_text(&self) -> Zeroizing<String> {
        secret_text(&self.seed)
    }

    /// The half that the Federation or the Bridge document names.
    pub fn public(&self) -> PublicKey {
        let bytes = self.pair.public_key().as_ref().try_into().expect("Ed25519 public keys have 32 bytes");
        PublicKey(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.pair.sign(message).as_ref().try_into().expect("Ed25519 signatures have 64 bytes")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {})", self.public())
    }
}

/// The public half of a [`SigningKey`]. Its text, as documents have it, is Base64 without a line feed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; KEY_BYTES]);

impl PublicKey {
    pub fn from_text(text: &str) -> Result<PublicKey, KeyError> {
        decode(text).map(|bytes| PublicKey(*bytes))
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A symmetric key for `pseudonymise`, `encrypt` or `store`: 32 bytes, wiped when dropped.
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// From 32 bytes of a cryptographic random generator. The argument's own copy is for the caller to wipe.
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> DataKey {
        DataKey(Zeroizing::new(*bytes))
    }

    /// Reads the text of a key file.
    pub fn from_text(text: &str) -> Result<DataKey, KeyError> {
        secret_of(text).map(DataKey)
    }

    /// The text of a key file.
    pub fn to_text(&self) -> Zeroizing<String> {
        secret_text(&self.0)
    }

    /// The secret itself.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// Text editors and shells end a file with a line feed or not; nothing else around the key is forgiven.
fn secret_of(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let secret = decode(line.strip_suffix('\r').unwrap_or(line))?;
    if secret.iter().all(|byte| *byte == 0) {
        return Err(KeyError::Zeros);
    }
    Ok(secret)
}

fn secret_text(secret: &[u8; KEY_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(secret) + "\n")
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    let mut decoded = Zeroizing::new(STANDARD.decode(text).map_err(|_| KeyError::NotBase64)?);
    if decoded.len() != KEY_BYTES {
        return Err(KeyError::Length);
    }
    bytes.copy_from_slice(&decoded);
    decoded.zeroize();
    Ok(bytes)
}
