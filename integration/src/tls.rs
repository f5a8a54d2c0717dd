//! TLS as a client of a listener speaks it: which authority it trusts, which certificate it shows.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

/// A certificate and its key, as `meshbridge cert issue` writes them into a directory.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a Path);

/// A client that trusts the authority of this file, and shows a certificate or none.
pub fn tls_client(authority: &Path, shown: Option<Shown<'_>>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(authority)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match shown {
        Some(Shown(directory)) => {
            let key = PrivateKeyDer::from_pem_file(directory.join("key.pem"))?;
            builder.with_client_auth_cert(chain(&directory.join("cert.pem"))?, key)?
        }
        None => builder.with_no_client_auth(),
    })
}

/// The certificates of a PEM file.
pub fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.with_context(|| path.display().to_string())
}

/// A connection after its handshake. With TLS 1.3 a server that refuses the client's certificate says so only afterwards.
pub async fn tls_connect(
    address: &str,
    mut config: ClientConfig,
    protocols: &[&[u8]],
) -> Result<TlsStream<TcpStream>> {
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a DNS name");
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

/// An HTTP client with this TLS; every request gets a connection of its own.
pub fn https(config: ClientConfig) -> Result<reqwest::Client> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .connect_timeout(Duration::from_secs(5))
        .tls_backend_preconfigured(config)
        .build()?;
    Ok(client)
}

/// A gRPC channel with this TLS.
pub async fn grpc_over_tls(address: &str, config: ClientConfig) -> Result<Channel> {
    let target = address.to_owned();
    let connector = tower::service_fn(move |_| {
        let (target, config) = (target.clone(), config.clone());
        async move {
            let stream = tls_connect(&target, config, &[b"h2"]).await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connector).await?)
}
