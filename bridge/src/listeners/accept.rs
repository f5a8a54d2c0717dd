//! The accept loop of all listeners: who may connect, how many, and how fast.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use governor::{Quota, RateLimiter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use super::ListenerSettings;
use super::auth::Authenticator;
use super::certificates::ListenerCertificates;
use super::connection::{Door, Host, serve};
use super::limits as limit;
use super::places::{Place, Places};

/// Why a listener could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindProblem {
    /// The address is taken, or not of this machine.
    #[error("cannot listen on {address}")]
    Address {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// Certificates or tokens cannot be used.
    #[error("the listener on {address} cannot be set up: {reason}")]
    Settings { address: SocketAddr, reason: String },
}

/// A listener that holds its address and does not serve yet.
#[derive(Debug)]
pub(crate) struct BoundListener {
    listener: TcpListener,
    settings: ListenerSettings,
    certificates: Option<Arc<ListenerCertificates>>,
    authenticator: Authenticator,
}

/// Takes the address and reads the listener's files.
pub(crate) async fn bind(settings: ListenerSettings) -> Result<BoundListener, BindProblem> {
    let address = settings.address;
    let unusable = |reason| BindProblem::Settings { address, reason };
    let certificates =
        ListenerCertificates::load(&settings).map_err(|problem| unusable(format!("{problem:#}")))?;
    let authenticator = Authenticator::new(&settings).map_err(unusable)?;
    let listener =
        TcpListener::bind(address).await.map_err(|source| BindProblem::Address { address, source })?;
    Ok(BoundListener { listener, settings, certificates, authenticator })
}

impl BoundListener {
    pub(super) fn settings(&self) -> &ListenerSettings {
        &self.settings
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Its certificates, to reload them; `None` where it is cleartext.
    pub(crate) fn certificates(&self) -> Option<Arc<ListenerCertificates>> {
        self.certificates.clone()
    }

    /// Serves `router` until `stop`. Each request carries the client's principal as an extension.
    pub(crate) async fn serve_router(self, router: Router, stop: CancellationToken) {
        self.serve_connections(stop, move |door, stream, remote, place| {
            serve(Arc::new(Host { router: router.clone(), door }), stream, remote, place)
        })
        .await;
    }

    /// Gives each connection that may be to `serve` until `stop`, then lets open ones end.
    pub(super) async fn serve_connections<F>(
        self,
        stop: CancellationToken,
        serve: impl Fn(Arc<Door>, TcpStream, SocketAddr, Place) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let BoundListener { listener, settings, certificates, authenticator } = self;
        let (address, kind) = (settings.address, settings.kind);
        info!(%address, ?kind, tls = certificates.is_some(), "Listening");
        // Held for its Drop, which ends the watch with the listener.
        let _watch = certificates
            .clone()
            .map(|certificates| AbortOnDropHandle::new(tokio::spawn(certificates.watch())));
        let places = Places::new(settings.connections_max);
        let rate = RateLimiter::keyed(
            Quota::per_second(limit::RATE_PER_SOURCE).allow_burst(limit::BURST_PER_SOURCE),
        );
        let door = Arc::new(Door {
            certificates,
            authenticator,
            handshakes: Semaphore::new(limit::HANDSHAKES_MAX),
            kind,
            stop: stop.clone(),
        });
        let mut connections = JoinSet::new();
        let mut seen: u64 = 0;
        loop {
            let (stream, remote) = tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(problem) => {
                        // Out of descriptors, or a client that left at once: neither ends the listener.
                        debug!(%problem, "Accept failed");
                        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                        continue;
                    }
                },
            };
            seen += 1;
            if seen.is_multiple_of(1_024) {
                rate.retain_recent();
            }
            if !remote.ip().is_loopback() && rate.check_key(&source(remote.ip())).is_err() {
                continue;
            }
            let Some(place) = places.take() else { continue };
            connections.spawn(serve(Arc::clone(&door), stream, remote, place));
        }
        // The address is free for the next process while open requests end.
        drop(listener);
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(limit::DRAIN_MAX, drained).await;
    }
}

/// An IPv4 address, or the /64 of an IPv6 one.
fn source(ip: IpAddr) -> [u8; 8] {
    let mut key = [0; 8];
    match ip {
        IpAddr::V4(v4) => key[4..].copy_from_slice(&v4.octets()),
        IpAddr::V6(v6) => key.copy_from_slice(&v6.octets()[..8]),
    }
    key
}
