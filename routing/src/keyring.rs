//! Signing and verifying, as an argument: the crate knows no certificate.

use std::time::Instant;

use bytes::Bytes;

use crate::{BridgeId, ZoneName};

/// A signature and the certificates that explain it, leaf first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub chain: Vec<Bytes>,
    pub signature: Bytes,
}

/// What a good signature promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// When the first certificate of the chain ends; what it signed is dropped then.
    pub not_after: Instant,
}

/// Why a signed statement was not believed. Blame lies with the peer that sent it or with the owner it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the signature does not verify")]
    BadSignature,
    #[error("the certificate chain is not trusted: {0}")]
    Untrusted(String),
    #[error("the certificate names another bridge or zone")]
    WrongIdentity,
    #[error("the certificate has expired or is denied")]
    Expired,
    #[error("the federation document does not list bridge `{0}`")]
    Unlisted(BridgeId),
    #[error("bridge `{bridge}` claims zone `{claimed}`")]
    WrongZone { bridge: BridgeId, claimed: ZoneName },
    #[error("epoch {0} is beyond 2^48")]
    EpochTooHigh(u64),
    #[error("the set does not have the digest its owner signed")]
    WrongDigest,
    #[error("the set holds more filters than one owner may have")]
    TooManyFilters,
    #[error("bridge `{0}` has more audiences than are kept of one owner")]
    TooManyAudiences(BridgeId),
    #[error("the set of bridge `{0}` is not for this zone, or not for that of the neighbour")]
    WrongAudience(BridgeId),
}

/// Holds this bridge's key and judges the signatures of others.
pub trait Keyring {
    fn sign(&self, message: &[u8]) -> Signature;

    /// Whether `claimed` in `zone` signed `message`.
    fn verify(
        &self,
        claimed: &BridgeId,
        zone: &ZoneName,
        chain: &[Bytes],
        message: &[u8],
        signature: &[u8],
        now: Instant,
    ) -> Result<Verified, Refusal>;
}
