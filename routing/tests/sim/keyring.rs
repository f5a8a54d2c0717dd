//! Signatures that cost little: a keyed hash that everyone could make and nobody here does.

use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{BridgeId, Keyring, Refusal, Signature, Verified, ZoneName};

#[derive(Debug)]
pub struct FakeKeyring {
    pub id: BridgeId,
    pub zone: ZoneName,
    /// How long the chains of others hold, from when they are looked at.
    pub chains_hold: Duration,
}

impl FakeKeyring {
    pub fn new(id: BridgeId, zone: ZoneName) -> FakeKeyring {
        FakeKeyring { id, zone, chains_hold: Duration::from_secs(24 * 3600) }
    }
}

fn tag(id: &BridgeId, zone: &ZoneName, message: &[u8]) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(id.as_str().as_bytes())
        .update(b"/")
        .update(zone.as_str().as_bytes())
        .update(b"/")
        .update(message);
    Bytes::copy_from_slice(hasher.finalize().as_bytes())
}

impl Keyring for FakeKeyring {
    fn sign(&self, message: &[u8]) -> Signature {
        let chain = vec![Bytes::copy_from_slice(self.id.as_str().as_bytes())];
        Signature { chain, signature: tag(&self.id, &self.zone, message) }
    }

    fn verify(
        &self,
        claimed: &BridgeId,
        zone: &ZoneName,
        chain: &[Bytes],
        message: &[u8],
        signature: &[u8],
        now: Instant,
    ) -> Result<Verified, Refusal> {
        if chain.len() != 1 || chain[0] != claimed.as_str().as_bytes() {
            return Err(Refusal::WrongIdentity);
        }
        if tag(claimed, zone, message) != signature {
            return Err(Refusal::BadSignature);
        }
        Ok(Verified { not_after: now + self.chains_hold })
    }
}
