//! Who a bridge is, and how it proves that: certificates, TLS configurations, signatures.
//!
//! RELIABILITY G1: the identity is exactly one URI SAN, `spiffe://<federation>/zone/<zone>/bridge/<id>`, compared
//! exactly. Neither the common name nor a DNS name is ever looked at; a certificate with two URI names is refused.

mod keyring;
mod spiffe;
mod tls;
mod wall;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, crypto::CryptoProvider};

pub(crate) use keyring::CertificateKeyring;
pub(crate) use spiffe::{BridgeIdentity, IdentityProblem};
pub(crate) use tls::{QUIC_ALPN, TCP_ALPN, peer_client_config, peer_server_config};
pub(crate) use wall::wall_reaches;

/// The provider every TLS configuration of this program names explicitly; AES suites come first in it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The files a bridge's credentials are read from.
#[derive(Clone, Debug)]
pub(crate) struct CredentialFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
    /// One bridge id or hexadecimal certificate serial a line; `#` starts a comment.
    pub(crate) deny_list: Option<PathBuf>,
}

/// Why credentials could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialProblem {
    /// A file is missing, unreadable or not PEM.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A PEM file holds nothing of the kind that is needed.
    #[error("`{}` holds no {what}", path.display())]
    Empty { path: PathBuf, what: &'static str },
    /// The key is of an unsupported kind, or does not belong to the certificate.
    #[error("key `{}` does not fit certificate `{}`", key.display(), certificate.display())]
    Mismatch {
        key: PathBuf,
        certificate: PathBuf,
        #[source]
        source: rustls::Error,
    },
    /// The certificate does not carry the one name it must.
    #[error("certificate `{}` names no bridge", path.display())]
    Identity {
        path: PathBuf,
        #[source]
        source: IdentityProblem,
    },
    /// The certificate names another bridge than the configuration.
    #[error("certificate `{}` is for `{found}`, the configuration is for `{expected}`", path.display())]
    OtherBridge { path: PathBuf, found: BridgeIdentity, expected: BridgeIdentity },
    /// The certificate is not signed by the configured authority, or not valid now.
    #[error("certificate `{}` does not verify under its own ca: {reason}", path.display())]
    Untrusted { path: PathBuf, reason: String },
}

/// A bridge's own certificate chain and key, the roots it trusts and the identities it denies.
#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) identity: BridgeIdentity,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) denied: DenyList,
    /// Seconds since the Unix epoch.
    pub(crate) not_after_unix: u64,
    /// Differs for every set that was loaded.
    generation: u64,
}

/// What a peer's certificate says of it, once its chain has been verified by the handshake.
#[derive(Clone, Debug)]
pub(crate) struct PeerCertificate {
    pub(crate) identity: BridgeIdentity,
    pub(crate) not_after_unix: u64,
    pub(crate) serial_hex: String,
}

/// Why a peer with a valid chain is refused all the same.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerRefused {
    /// The handshake gave no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// The certificate does not carry one bridge name.
    #[error("the peer's certificate names no bridge: {0}")]
    Identity(#[from] IdentityProblem),
    /// Certificate of another federation that happens to share the root.
    #[error("the peer belongs to federation `{0}`")]
    OtherFederation(String),
    /// On the deny-list.
    #[error("`{0}` is on the deny-list")]
    Denied(BridgeIdentity),
}

impl PeerCertificate {
    pub(crate) fn check(
        own: &Credentials,
        chain: &[CertificateDer<'_>],
    ) -> Result<PeerCertificate, PeerRefused> {
        let leaf = chain.first().ok_or(PeerRefused::NoCertificate)?;
        let identity = BridgeIdentity::of_certificate(leaf)?;
        if identity.federation != own.identity.federation {
            return Err(PeerRefused::OtherFederation(identity.federation));
        }
        let peer = PeerCertificate {
            identity,
            not_after_unix: chain.iter().filter_map(spiffe::not_after_unix).min().unwrap_or_default(),
            serial_hex: spiffe::serial_hex(leaf).unwrap_or_default(),
        };
        if peer.is_denied(own) {
            return Err(PeerRefused::Denied(peer.identity));
        }
        Ok(peer)
    }

    pub(crate) fn is_denied(&self, own: &Credentials) -> bool {
        own.denied.denies(self.identity.bridge.as_str(), &self.serial_hex)
    }
}

static GENERATION: AtomicU64 = AtomicU64::new(0);

impl Credentials {
    /// Reads and checks everything; nothing is kept of a set that is wrong anywhere.
    pub(crate) fn load(
        files: &CredentialFiles,
        expected: &BridgeIdentity,
    ) -> Result<Credentials, CredentialProblem> {
        let chain = read_chain(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unreadable(&files.key, e))?;
        let mismatch = |source| CredentialProblem::Mismatch {
            key: files.key.clone(),
            certificate: files.certificate.clone(),
            source,
        };
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(mismatch)?;
        if key.key.choose_scheme(&keyring::SCHEMES).is_none() {
            return Err(mismatch(rustls::Error::General("the kind of key is not supported".to_owned())));
        }
        let roots = read_roots(&files.ca)?;
        let leaf = key.cert.first().expect("read_chain returns at least one");
        let identity = BridgeIdentity::of_certificate(leaf)
            .map_err(|source| CredentialProblem::Identity { path: files.certificate.clone(), source })?;
        if identity != *expected {
            return Err(CredentialProblem::OtherBridge {
                path: files.certificate.clone(),
                found: identity,
                expected: expected.clone(),
            });
        }
        let now = unix_now();
        let verified = keyring::verify_chain(&key.cert, &roots, now).map_err(|reason| {
            CredentialProblem::Untrusted { path: files.certificate.clone(), reason: reason.to_string() }
        })?;
        let denied = match &files.deny_list {
            Some(path) => DenyList::read(path)?,
            None => DenyList::default(),
        };
        Ok(Credentials {
            identity,
            key: Arc::new(key),
            roots: Arc::new(roots),
            denied,
            not_after_unix: verified.not_after_unix,
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// Bridge ids and certificate serials that are refused although their chain verifies (RELIABILITY G2).
#[derive(Clone, Debug, Default)]
pub(crate) struct DenyList {
    entries: std::collections::HashSet<String>,
}

impl DenyList {
    fn read(path: &Path) -> Result<DenyList, CredentialProblem> {
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, e))?;
        let entries = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim().to_ascii_lowercase())
            .filter(|line| !line.is_empty())
            .collect();
        Ok(DenyList { entries })
    }

    pub(crate) fn denies(&self, id: &str, serial_hex: &str) -> bool {
        !self.entries.is_empty() && (self.entries.contains(id) || self.entries.contains(serial_hex))
    }
}

/// Seconds since the Unix epoch by the wall clock; certificates are judged by it.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default()
}

/// Reads a PEM certificate chain, leaf first.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialProblem> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|e| unreadable(path, e))?;
    if chain.is_empty() {
        return Err(CredentialProblem::Empty { path: path.to_owned(), what: "certificate" });
    }
    Ok(chain)
}

/// Reads the authorities of a PEM file.
pub(crate) fn read_roots(path: &Path) -> Result<RootCertStore, CredentialProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(path)? {
        roots.add(certificate).map_err(|e| unreadable(path, e))?;
    }
    Ok(roots)
}

fn unreadable(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> CredentialProblem {
    CredentialProblem::Unreadable { path: path.to_owned(), source: Box::new(source) }
}
