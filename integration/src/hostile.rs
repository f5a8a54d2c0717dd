//! A bridge that was taken over, as far as its neighbours can tell: it has the certificate of a true one, and says on its link what it likes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, SendStream};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::{chain, tls_connect};

/// The link of a liar; closed when dropped.
#[derive(Debug)]
pub struct HostilePeer {
    control: SendStream,
    // Held: the link ends with them.
    reader: tokio::task::JoinHandle<()>,
    _connection: Connection,
    _endpoint: Endpoint,
}

impl HostilePeer {
    /// Dials a bridge as whoever the certificate in this directory names.
    pub async fn dial(address: &str, certificate: &Path) -> Result<HostilePeer> {
        let address: SocketAddr = address.parse().context("the address of a bridge")?;
        let mut tls = as_whoever(certificate)?;
        tls.alpn_protocols = vec![b"meshbridge/1".to_vec()];
        let mut endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
        let connection = endpoint.connect(address, "localhost")?.await?;
        let (control, mut heard) = connection.open_bi().await?;
        // Read, or the bridge would find its own words unwanted and close the link.
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 4_096];
            while let Ok(Some(_)) = heard.read(&mut buffer).await {}
        });
        Ok(HostilePeer { control, reader, _connection: connection, _endpoint: endpoint })
    }

    /// Writes a message to the control stream; gives the bytes it takes there.
    pub async fn say(&mut self, message: &[u8]) -> Result<u64> {
        let length = u32::try_from(message.len())?;
        self.control.write_all(&length.to_be_bytes()).await?;
        self.control.write_all(message).await?;
        Ok(u64::from(length) + 4)
    }

    /// A message that says it is from one bridge and for another.
    pub async fn relay(&mut self, from: &str, to: &str, body: &[u8]) -> Result<u64> {
        let mut message = vec![34];
        for name in [to, from] {
            message.push(u8::try_from(name.len())?);
            message.extend_from_slice(name.as_bytes());
        }
        message.push(16);
        message.extend_from_slice(body);
        self.say(&message).await
    }
}

impl Drop for HostilePeer {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The same over TCP, on a connection of which nothing has been said yet. `protocol` is its ALPN.
pub async fn hostile_tcp(address: &str, certificate: &Path, protocol: &[u8]) -> Result<TlsStream<TcpStream>> {
    tls_connect(address, as_whoever(certificate)?, &[protocol]).await
}

fn as_whoever(certificate: &Path) -> Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_file(certificate.join("key.pem"))?;
    Ok(rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_client_auth_cert(chain(&certificate.join("cert.pem"))?, key)?)
}

/// A liar does not care who answers.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
