//! Two endpoints in one process, and a third one with a good certificate and bad intentions.

use std::fs;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use tempfile::TempDir;

use super::preface::Token;
use super::*;
use crate::identity::{BridgeIdentity, CredentialFiles};
use crate::link::transport::{CloseCode, Connection, DATA_STREAMS};

const SOON: Duration = Duration::from_secs(10);

struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("a file");
        Authority { directory, issuer: Issuer::new(params, key) }
    }

    /// A new certificate each time.
    fn credentials(&self, name: &str) -> Credentials {
        let path = |file: &str| self.directory.path().join(file);
        let uri = format!("spiffe://acme/zone/{name}/bridge/{name}");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().expect("ASCII"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(path("cert.pem"), certificate.pem()).expect("a file");
        fs::write(path("key.pem"), key.serialize_pem()).expect("a file");
        let files = CredentialFiles {
            certificate: path("cert.pem"),
            key: path("key.pem"),
            ca: path("ca.pem"),
            deny_list: None,
        };
        let identity = BridgeIdentity::parse(&uri).expect("a name");
        Credentials::load(&files, &identity).expect("good credentials")
    }
}

/// Who accepts: every peer is welcome.
struct Host {
    endpoint: Arc<TcpEndpoint>,
    address: SocketAddr,
    peers: tokio::sync::mpsc::Receiver<Arc<Bundle>>,
    task: tokio::task::JoinHandle<()>,
}

impl Host {
    fn start(credentials: &Credentials) -> Host {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = Arc::new(TcpEndpoint::bind(Some(any), credentials).expect("a port"));
        let address = endpoint.listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let (found, peers) = tokio::sync::mpsc::channel(8);
        let accepting = Arc::clone(&endpoint);
        let task = tokio::spawn(async move {
            loop {
                let (stream, remote) = accepting.accept().await;
                let (endpoint, found) = (Arc::clone(&accepting), found.clone());
                tokio::spawn(async move {
                    if let Ok(Arrived::Peer(bundle)) = endpoint.handshake(stream, remote).await
                        && endpoint.welcome(&bundle).await.is_ok()
                    {
                        let _ = found.send(bundle).await;
                    }
                });
            }
        });
        Host { endpoint, address: address.expect("it listens"), peers, task }
    }

    /// Both ends of a session.
    async fn session(&mut self, credentials: &Credentials) -> (Connection, Connection) {
        let dialler = TcpEndpoint::bind(None, credentials).expect("dials only");
        let dialled = dialler.dial(self.address, credentials).await.expect("welcome");
        let accepted = self.peers.recv().await.expect("it was welcome");
        (dialled.into(), Connection::Tcp(accepted))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn bundle(connection: &Connection) -> &Bundle {
    let Connection::Tcp(bundle) = connection else { panic!("over TCP") };
    bundle
}

/// The transport's own work, for as long as the test.
fn drive(connection: &Connection) {
    let connection = connection.clone();
    tokio::spawn(async move { connection.drive().await });
}

#[tokio::test]
async fn each_stream_of_a_session_carries_its_own_bytes() {
    let authority = Authority::new();
    let mut host = Host::start(&authority.credentials("east"));
    let (west, east) = host.session(&authority.credentials("west")).await;
    let (mut send, _west_reads) = west.open_control().await.expect("the dialling side begins");
    let (_east_writes, mut recv) = east.accept_control().await.expect("it has begun");
    send.write_all(&7_u32.to_be_bytes()).await.expect("written");
    assert_eq!(recv.read_length().await.expect("read"), 7);
    drive(&west);
    drive(&east);
    for (from, to) in [(&west, &east), (&east, &west)] {
        let mut sent = Vec::new();
        for number in 0..DATA_STREAMS {
            let mut stream = from.open_data(number).await.expect("a stream");
            let length = u32::try_from(number).expect("few").to_be_bytes();
            // In parts, so that records and chunks have other borders.
            let mut parts: Vec<bytes::Bytes> =
                length.iter().map(|byte| bytes::Bytes::copy_from_slice(&[*byte])).collect();
            parts.push(vec![u8::try_from(number).expect("few"); 300_000].into());
            let writing = tokio::spawn(async move {
                stream.write_chunks(&mut parts).await.expect("written");
                stream
            });
            sent.push(writing);
        }
        let mut heard = Vec::new();
        for _ in 0..DATA_STREAMS {
            let mut stream = to.accept_data().await.expect("a stream");
            let number = stream.read_length().await.expect("its number");
            let mut bytes = vec![0; 300_000];
            stream.read_exact(&mut bytes).await.expect("what it carries");
            assert!(bytes.iter().all(|byte| usize::from(*byte) == number), "stream {number}");
            heard.push(number);
        }
        heard.sort_unstable();
        assert!(heard.into_iter().eq(0..DATA_STREAMS));
        for writing in sent {
            drop(writing.await.expect("the writer does not panic"));
        }
    }
}

#[tokio::test]
async fn nobody_else_gets_a_stream_into_a_session() {
    let authority = Authority::new();
    let mut host = Host::start(&authority.credentials("east"));
    let own = authority.credentials("west");
    let (west, east) = host.session(&own).await;
    let token = bundle(&west).token().clone();
    assert_eq!(token, *bundle(&east).token(), "both ends derive the same");
    let (other, _held) = host.session(&own).await;
    assert_ne!(token, *bundle(&other).token(), "of one bridge, and still another session");

    let guess = Token([7; 32]);
    let again = authority.credentials("west");
    let thief = authority.credentials("north");
    let cases = [
        ("the token is known, the certificate is of another bridge", &thief, token.clone()),
        ("of the same bridge, and another certificate", &again, token.clone()),
        ("the certificate is right, the token a guess", &own, guess),
    ];
    for (what, credentials, token) in cases {
        for slot in 0..preface::SLOTS {
            assert!(!attaches(host.address, credentials, token.clone(), slot).await, "{what}, slot {slot}");
        }
    }
    assert!(attaches(host.address, &own, token.clone(), 0).await, "the true one is taken");
    assert!(!attaches(host.address, &own, token.clone(), 0).await, "and only once");
    drop((east, _held));
    drop((west, other));
    assert!(!attaches(host.address, &own, token, 1).await, "the session has ended");
}

/// Whether a data connection that says this is kept. One that is refused is closed, which its reader sees.
async fn attaches(address: SocketAddr, credentials: &Credentials, token: Token, slot: usize) -> bool {
    let config = peer_client_config(credentials, TCP_ALPN).expect("a configuration");
    let connector = TlsConnector::from(Arc::new(config));
    let (mut stream, _) = connect(address, &connector).await.expect("the handshake");
    stream.write_all(&Preface::Data { token, slot }.encode()).await.expect("the preface");
    stream.flush().await.expect("the preface");
    let closed = tokio::time::timeout(Duration::from_millis(500), stream.read_u8()).await;
    if closed.is_err() {
        // Kept open, or the place would be that of a connection which has ended.
        std::mem::forget(stream);
    }
    closed.is_err()
}

#[tokio::test]
async fn an_end_tells_its_reason() {
    let authority = Authority::new();
    let mut host = Host::start(&authority.credentials("east"));
    let (west, east) = host.session(&authority.credentials("west")).await;
    let (send, _west_reads) = west.open_control().await.expect("the dialling side begins");
    let (_east_writes, mut recv) = east.accept_control().await.expect("it has begun");
    west.close(CloseCode::Identity, "the certificate has expired");
    west.close(CloseCode::Stopping, "a later reason");
    assert_eq!(west.closed().await, "the certificate has expired");
    send.farewell(&west).await;
    let told = tokio::time::timeout(SOON, recv.read_length()).await.expect("at once");
    assert_eq!(told.expect_err("the end").to_string(), "closed by the peer: the certificate has expired");
}

#[tokio::test]
async fn who_is_refused_hears_why() {
    let authority = Authority::new();
    let credentials = authority.credentials("east");
    let mut host = Host::start(&credentials);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let strict = Arc::new(TcpEndpoint::bind(Some(any), &credentials).expect("a port"));
    let address = strict.listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let refusing = Arc::clone(&strict);
    tokio::spawn(async move {
        let (stream, remote) = refusing.accept().await;
        if let Ok(Arrived::Peer(bundle)) = refusing.handshake(stream, remote).await {
            Connection::Tcp(bundle).refuse(CloseCode::Refused, "the federation has no such bridge").await;
        }
    });
    let own = authority.credentials("west");
    let dialler = TcpEndpoint::bind(None, &own).expect("dials only");
    let refused = dialler.dial(address.expect("it listens"), &own).await.expect_err("refused");
    assert_eq!(refused.to_string(), "closed by the peer: the federation has no such bridge");
    // The other one takes it.
    drop(host.session(&own).await);
}

#[tokio::test]
async fn renewed_credentials_are_shown_to_new_connections_and_old_ones_go_on() {
    let authority = Authority::new();
    let mut host = Host::start(&authority.credentials("east"));
    let own = authority.credentials("west");
    let (before, accepted) = host.session(&own).await;
    host.endpoint.renew(&authority.credentials("east")).expect("good credentials");
    let (after, _held) = host.session(&own).await;
    assert_ne!(before.peer_chain(), after.peer_chain());
    let (mut send, _reads) = before.open_control().await.expect("the old one goes on");
    let (_writes, mut recv) = accepted.accept_control().await.expect("the old one goes on");
    send.write_all(&9_u32.to_be_bytes()).await.expect("written");
    assert_eq!(recv.read_length().await.expect("read"), 9);
}

/// What came with the preface is not lost when the reads become larger.
#[tokio::test]
async fn widening_keeps_what_was_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let writing = sent.clone();
    tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(&writing).await.expect("written");
    });
    let (stream, _) = listener.accept().await.expect("connected");
    let mut socket = Socket::new(stream).expect("options");
    let mut first = [0; 10];
    socket.read_exact(&mut first).await.expect("the beginning");
    socket.widen();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.expect("the rest");
    assert_eq!([&first[..], &rest].concat(), sent);
}
