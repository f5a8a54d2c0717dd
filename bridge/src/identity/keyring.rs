//! Signing what this bridge says in link state and interest, and verifying what others say (RELIABILITY G4).
//!
//! A signature travels as two bytes of TLS 1.3 signature scheme and the signature itself, next to the chain of the
//! signer. Verified chains are remembered, so that a record costs one signature check and not a path building.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use meshbridge_routing::{BridgeId, Keyring, Refusal, Signature, Verified, ZoneName};
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::{RootCertStore, SignatureScheme};
use webpki::aws_lc_rs as algorithms;
use webpki::{EndEntityCert, KeyUsage};

use super::spiffe::{not_after_unix, serial_hex};
use super::tls::CHAIN_MAX;
use super::{BridgeIdentity, Credentials, unix_now};

/// Chains remembered as verified; a federation has at most 4,096 bridges, and each rotates now and then.
const CHAINS_CACHED: u64 = 8_192;

/// In the order of preference; the first one the key can do is used.
pub(super) const SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
];

#[derive(Clone, Debug)]
struct KnownChain {
    identity: BridgeIdentity,
    not_after_unix: u64,
    serial_hex: String,
}

/// The keyring of the routing core, over the credentials in force.
#[derive(Debug)]
pub(crate) struct CertificateKeyring {
    credentials: Arc<ArcSwap<Credentials>>,
    /// Keyed by the digest of the chain and of the generation of the credentials that vouched for it.
    known: moka::sync::Cache<[u8; 32], KnownChain>,
}

impl CertificateKeyring {
    pub(crate) fn new(credentials: Arc<ArcSwap<Credentials>>) -> CertificateKeyring {
        CertificateKeyring { credentials, known: moka::sync::Cache::new(CHAINS_CACHED) }
    }

    /// Differs after each reading of the credentials; what an earlier one vouched for may hold no longer.
    pub(crate) fn generation(&self) -> u64 {
        self.credentials.load().generation
    }

    fn known_chain(&self, own: &Credentials, chain: &[Bytes]) -> Result<KnownChain, Refusal> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&own.generation.to_le_bytes());
        for certificate in chain {
            hasher.update(&(certificate.len() as u64).to_le_bytes());
            hasher.update(certificate);
        }
        let digest = *hasher.finalize().as_bytes();
        if let Some(known) = self.known.get(&digest) {
            return Ok(known);
        }
        let chain: Vec<CertificateDer<'_>> =
            chain.iter().map(|certificate| CertificateDer::from(certificate.as_ref())).collect();
        let verified = verify_chain(&chain, &own.roots, unix_now())
            .map_err(|reason| Refusal::Untrusted(reason.to_string()))?;
        let leaf = chain.first().ok_or_else(|| Refusal::Untrusted("the chain is empty".to_owned()))?;
        let identity = BridgeIdentity::of_certificate(leaf)
            .map_err(|problem| Refusal::Untrusted(problem.to_string()))?;
        let serial_hex = serial_hex(leaf).unwrap_or_default();
        let known = KnownChain { identity, not_after_unix: verified.not_after_unix, serial_hex };
        self.known.insert(digest, known.clone());
        Ok(known)
    }
}

impl Keyring for CertificateKeyring {
    fn sign(&self, message: &[u8]) -> Signature {
        let own = self.credentials.load();
        let signer =
            own.key.key.choose_scheme(&SCHEMES).expect("Credentials::load checked the kind of the key");
        let mut signature = u16::from(signer.scheme()).to_be_bytes().to_vec();
        signature.extend(signer.sign(message).expect("signing with a key in memory does not fail"));
        Signature {
            chain: own.key.cert.iter().map(|c| Bytes::copy_from_slice(c)).collect(),
            signature: Bytes::from(signature),
        }
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
        let own = self.credentials.load();
        let known = self.known_chain(&own, chain)?;
        if known.identity.federation != own.identity.federation
            || known.identity.bridge != *claimed
            || known.identity.zone != *zone
        {
            return Err(Refusal::WrongIdentity);
        }
        if own.denied.denies(claimed.as_str(), &known.serial_hex) {
            return Err(Refusal::Expired);
        }
        let remaining = known.not_after_unix.saturating_sub(unix_now());
        if remaining == 0 {
            return Err(Refusal::Expired);
        }
        let (scheme, signature) = signature.split_first_chunk::<2>().ok_or(Refusal::BadSignature)?;
        let algorithm =
            algorithm(SignatureScheme::from(u16::from_be_bytes(*scheme))).ok_or(Refusal::BadSignature)?;
        let leaf = chain.first().map(|c| CertificateDer::from(c.as_ref()));
        let leaf = leaf.ok_or_else(|| Refusal::Untrusted("the chain is empty".to_owned()))?;
        EndEntityCert::try_from(&leaf)
            .and_then(|certificate| certificate.verify_signature(algorithm, message, signature))
            .map_err(|_| Refusal::BadSignature)?;
        Ok(Verified { not_after: now + Duration::from_secs(remaining) })
    }
}

/// A chain that leads to a root we trust and is valid now.
pub(super) struct VerifiedChain {
    /// The earliest end of any certificate in the chain.
    pub(super) not_after_unix: u64,
}

pub(super) fn verify_chain(
    chain: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now_unix: u64,
) -> Result<VerifiedChain, webpki::Error> {
    let Some((leaf, intermediates)) = chain.split_first() else {
        return Err(webpki::Error::BadDer);
    };
    if chain.len() > CHAIN_MAX {
        return Err(webpki::Error::MaximumPathDepthExceeded);
    }
    EndEntityCert::try_from(leaf)?.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &roots.roots,
        intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(now_unix)),
        KeyUsage::client_auth(),
        None,
        None,
    )?;
    let not_after_unix = chain.iter().filter_map(not_after_unix).min().ok_or(webpki::Error::BadDer)?;
    Ok(VerifiedChain { not_after_unix })
}

fn algorithm(scheme: SignatureScheme) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => Some(algorithms::ECDSA_P256_SHA256),
        SignatureScheme::ECDSA_NISTP384_SHA384 => Some(algorithms::ECDSA_P384_SHA384),
        SignatureScheme::ED25519 => Some(algorithms::ED25519),
        SignatureScheme::RSA_PSS_SHA256 => Some(algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY),
        _ => None,
    }
}
