//! TLS of a listener: what it presents, whom it believes, and reading both again while it serves.
//!
//! A new set of files is taken whole or not at all: one with an error is logged and the set in use stays. Connections
//! that are open go on with what they were accepted with; sessions are not resumed across sets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use arc_swap::ArcSwap;
use notify::{RecursiveMode, Watcher};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::sync::mpsc;
use tracing::{error, info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ListenerKind, ListenerSettings, TlsFiles};
use crate::identity::{provider, read_chain, read_roots};

/// Files are replaced in several steps; a reload waits until they are quiet.
const SETTLE: Duration = Duration::from_millis(150);

/// The TLS configuration of one listener, and the files it came from.
#[derive(Debug)]
pub(crate) struct ListenerCertificates {
    address: SocketAddr,
    kind: ListenerKind,
    files: TlsFiles,
    /// With tokens beside it, a certificate is one of two ways to show who one is.
    optional: bool,
    current: ArcSwap<ServerConfig>,
    /// What the files held when they were last looked at, right or wrong: the same error is reported once.
    seen: Mutex<[u8; 32]>,
}

impl ListenerCertificates {
    /// Reads the files of a listener; `None` where it is cleartext.
    pub(super) fn load(settings: &ListenerSettings) -> anyhow::Result<Option<Arc<ListenerCertificates>>> {
        let Some(files) = &settings.tls else { return Ok(None) };
        let optional = settings.tokens.is_some();
        let seen = digest(files);
        let config = server_config(files, settings.kind, optional)?;
        Ok(Some(Arc::new(ListenerCertificates {
            address: settings.address,
            kind: settings.kind,
            files: files.clone(),
            optional,
            current: ArcSwap::from_pointee(config),
            seen: Mutex::new(seen),
        })))
    }

    /// What the next connection is accepted with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files again, if they hold something else than before.
    pub(crate) fn reload(&self) {
        let address = self.address;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = digest(&self.files);
        if *seen == found {
            return;
        }
        *seen = found;
        match server_config(&self.files, self.kind, self.optional) {
            Ok(config) => {
                self.current.store(Arc::new(config));
                info!(%address, "Listener certificate reloaded");
            }
            Err(problem) => {
                let problem = format!("{problem:#}");
                error!(%address, %problem, "Listener certificate refused, the running one stays in use");
            }
        }
    }

    /// Reloads whenever one of the files changes; runs until it is dropped.
    pub(super) async fn watch(self: Arc<Self>) {
        let (tell, mut told) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files makes access events of its own; those must not make us read again.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = tell.try_send(());
            }
        });
        let mut watcher = match watcher {
            Ok(watcher) => watcher,
            Err(problem) => return warn!(%problem, "Certificates are not watched, reload with SIGHUP"),
        };
        // The directories and not the files: a file that is replaced by renaming is another one.
        for directory in directories(&self.files) {
            if let Err(problem) = watcher.watch(&directory, RecursiveMode::NonRecursive) {
                warn!(directory = %directory.display(), %problem, "Certificates are not watched, reload with SIGHUP");
            }
        }
        loop {
            // The first time for what changed before there was a watch.
            let certificates = Arc::clone(&self);
            let _ = tokio::task::spawn_blocking(move || certificates.reload()).await;
            if told.recv().await.is_none() {
                return;
            }
            tokio::time::sleep(SETTLE).await;
            while told.try_recv().is_ok() {}
        }
    }
}

fn paths(files: &TlsFiles) -> impl Iterator<Item = &Path> {
    [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
}

fn directories(files: &TlsFiles) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = paths(files).filter_map(Path::parent).map(Path::to_owned).collect();
    directories.sort();
    directories.dedup();
    directories
}

/// Of what the files hold; an unreadable file counts as one of its own kind.
fn digest(files: &TlsFiles) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for path in paths(files) {
        match std::fs::read(path) {
            Ok(bytes) => hasher.update(blake3::hash(&bytes).as_bytes()),
            Err(_) => hasher.update(b"unreadable"),
        };
    }
    *hasher.finalize().as_bytes()
}

fn server_config(files: &TlsFiles, kind: ListenerKind, optional: bool) -> anyhow::Result<ServerConfig> {
    let chain = read_chain(&files.certificate)?;
    let ended = chain.iter().filter_map(not_after).any(|end| end <= SystemTime::now());
    ensure!(!ended, "certificate `{}` has ended", files.certificate.display());
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("cannot read `{}`", files.key.display()))?;
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
    let builder = match &files.client_ca {
        Some(ca) => {
            let roots = Arc::new(read_roots(ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build()?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).with_context(|| {
        format!("key `{}` does not fit certificate `{}`", files.key.display(), files.certificate.display())
    })?;
    config.alpn_protocols = match kind {
        ListenerKind::Grpc => vec![b"h2".to_vec()],
        ListenerKind::Http | ListenerKind::Admin => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        // TLS begins in the middle of the protocol, which has no name for it.
        ListenerKind::Nats => Vec::new(),
    };
    config.max_early_data_size = 0;
    // A resumed session would not have its client's certificate looked at again (RELIABILITY G2).
    if files.client_ca.is_some() {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// When a certificate ends.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}
