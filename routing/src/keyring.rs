//! How the core signs what it says and checks what others say, without knowing certificates.

use std::time::Instant;

use bytes::Bytes;

use crate::ids::{BridgeId, ZoneName};

/// A signature and the certificates that belong to it, leaf first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub chain: Vec<Bytes>,
    pub signature: Bytes,
}

/// What a valid signature rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// When the signer's chain ends; what it signed is dropped then.
    pub not_after: Instant,
}

/// Why a signature does not count. For the log of the operator; never sent to a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

impl Refusal {
    pub fn new(reason: impl Into<String>) -> Refusal {
        Refusal(reason.into())
    }
}

/// The keys of one bridge and the trust it has in others.
pub trait Keyring {
    fn sign(&self, message: &[u8]) -> Signature;

    /// Checks that `chain` is trusted now, is that of bridge `claimed` in `zone`, and signed `message`.
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
