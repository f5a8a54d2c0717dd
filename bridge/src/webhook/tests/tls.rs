//! https: the certificate must be for the host of the URL, whatever address the name led to.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::server::{Reply, Server, TestNetwork};
use super::{Outcome, RetryReason, client, delivery, settings, target};
use crate::identity::provider;

/// A server with a certificate for `hook.example`, and the authority it is from.
async fn server() -> (Server, Arc<RootCertStore>) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::new(Vec::new()).expect("parameters");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("signed");
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["hook.example".to_owned()])
        .and_then(|leaf| leaf.signed_by(&key, &issuer))
        .expect("signed");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions we have")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("a chain and its key");
    let mut roots = RootCertStore::empty();
    roots.add(ca_certificate.der().clone()).expect("an authority");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let answer = |seen: &super::Seen| match seen.method.as_str() {
        "OPTIONS" => Reply::consent(),
        _ => Reply::ok(),
    };
    (Server::start(answer, Some(acceptor)).await, Arc::new(roots))
}

#[tokio::test]
async fn the_certificate_is_checked_against_the_host_and_the_authorities() {
    let (server, roots) = server().await;
    let network = || {
        let network = TestNetwork::landing_at(&server).with_name("hook.example", &[&["93.184.216.34"]]);
        let public: &[&[&str]] = &[&["93.184.216.34"]];
        Arc::new(network.with_name("other.example", public).with_name("hook.example.", public))
    };
    let mut trusting = settings();
    trusting.roots = Some(roots);
    for (url, settings, expected) in [
        ("https://hook.example/a", trusting.clone(), Outcome::Accepted),
        ("https://hook.example./a", trusting.clone(), Outcome::Accepted),
        ("https://other.example/a", trusting.clone(), Outcome::Retry(RetryReason::Tls)),
        ("https://93.184.216.34/a", trusting.clone(), Outcome::Retry(RetryReason::Tls)),
        ("https://hook.example/a", settings(), Outcome::Retry(RetryReason::Tls)),
    ] {
        assert_eq!(client(settings, network()).deliver(&target(url), &delivery()).await, expected, "{url}");
    }
    assert_eq!(server.count("POST"), 2);
}
