//! Three bridges of one authority, and somebody between them who has everything they say.

mod forged;
mod repeated;
mod trust;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use meshbridge_delivery::Message;
use meshbridge_delivery::message::{Exchange, Receipt, Speaker};
use meshbridge_routing::wire::Relay;
use meshbridge_routing::{BridgeId, Members, Run, ZoneName};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use tempfile::TempDir;
use time::{Duration as Span, OffsetDateTime};

use super::{Refused, Sealing};
use crate::identity::{BridgeIdentity, CertificateKeyring, CredentialFiles, Credentials};

const HOUR: Span = Span::hours(1);

fn bridge(id: &str) -> BridgeId {
    BridgeId::parse(id).expect("a good id")
}

fn members() -> Members {
    let all = [("a", "east"), ("b", "west"), ("c", "north")];
    all.map(|(id, zone)| (bridge(id), ZoneName::parse(zone).expect("a good name"))).into()
}

/// An authority, and the directory where credentials are.
struct World {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(directory.path().join("ca.pem"), certificate.pem()).expect("a file");
        World { directory, issuer: Issuer::new(params, key) }
    }

    /// New credentials, of this authority, for as long.
    fn credentials(&self, zone: &str, id: &str, lives: Span, denied: &str) -> Credentials {
        let path = |name: &str| self.directory.path().join(name);
        let uri = format!("spiffe://acme/zone/{zone}/bridge/{id}");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.as_str().try_into().expect("ASCII"))];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = OffsetDateTime::now_utc() - Span::minutes(5);
        params.not_after = OffsetDateTime::now_utc() + lives;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        fs::write(path("cert.pem"), certificate.pem()).expect("a file");
        fs::write(path("key.pem"), key.serialize_pem()).expect("a file");
        fs::write(path("denied"), denied).expect("a file");
        load(self.directory.path(), &uri)
    }

    /// A bridge that starts with a certificate for this zone, whatever the document says.
    fn start_in(&self, zone: &str, id: &str, epoch: u64, lives: Span) -> Party {
        let credentials = Arc::new(ArcSwap::from_pointee(self.credentials(zone, id, lives, "")));
        let keyring = Arc::new(CertificateKeyring::new(Arc::clone(&credentials)));
        let sealing = Sealing::new(&bridge(id), epoch, &members(), keyring, Instant::now());
        Party { id: bridge(id), epoch, sealing, credentials }
    }

    fn start(&self, id: &str, epoch: u64) -> Party {
        self.start_in(members()[&bridge(id)].as_str(), id, epoch, HOUR)
    }

    /// Two bridges that have a pair key.
    fn pair(&self) -> (Party, Party) {
        let (a, b) = (self.start("a", 1), self.start("b", 1));
        a.meet(&b);
        (a, b)
    }
}

fn load(directory: &Path, uri: &str) -> Credentials {
    let files = CredentialFiles {
        certificate: directory.join("cert.pem"),
        key: directory.join("key.pem"),
        ca: directory.join("ca.pem"),
        deny_list: Some(directory.join("denied")),
    };
    Credentials::load(&files, &BridgeIdentity::parse(uri).expect("a bridge")).expect("good credentials")
}

/// One process of a bridge.
struct Party {
    id: BridgeId,
    epoch: u64,
    sealing: Sealing,
    credentials: Arc<ArcSwap<Credentials>>,
}

impl Party {
    fn speaker(&self) -> Speaker {
        Speaker { spool: 7, run: Run { epoch: self.epoch, nonce: 0 } }
    }

    fn exchange(&self) -> Message {
        Message::Exchange(Exchange {
            speaker: self.speaker(),
            number: 1,
            wall: 0,
            open: Vec::new(),
            lanes: Vec::new(),
            complete: true,
            listener: None,
            heard: false,
            closed: Vec::new(),
            outcomes_known: 0,
            open_here: None,
            delivered_here: Vec::new(),
            unsettled: Vec::new(),
            resumed: Vec::new(),
            delivered: None,
            reply: true,
        })
    }

    fn receipt(&self) -> Message {
        let speaker = self.speaker();
        Message::Receipt(Receipt {
            speaker,
            number: 2,
            lanes: Vec::new(),
            credit: 9,
            base: 0,
            first: 1,
            endings: Vec::new(),
        })
    }

    fn seal(&self, to: &Party, message: &Message) -> Result<Relay, Refused> {
        let body = self.sealing.seal(&to.id, message, Instant::now())?;
        Ok(Relay { to: to.id.clone(), from: self.id.clone(), hop_limit: 1, body })
    }

    fn says_exchange(&self, to: &Party) -> Relay {
        self.seal(to, &self.exchange()).expect("an exchange needs no key")
    }

    fn says_receipt(&self, to: &Party) -> Relay {
        self.seal(to, &self.receipt()).expect("there is a key")
    }

    fn hears(&self, relay: &Relay) -> Result<Message, Refused> {
        self.sealing.open(relay, Instant::now())
    }

    /// Exchanges go to and fro until both are taken, as the delivery core would have them.
    fn meet(&self, other: &Party) {
        for _ in 0..3 {
            let there = other.hears(&self.says_exchange(other));
            let back = self.hears(&other.says_exchange(self));
            if there.is_ok() && back.is_ok() {
                return;
            }
        }
        panic!("{} and {} do not find together", self.id, other.id);
    }

    #[track_caller]
    fn understands(&self, other: &Party) {
        assert_eq!(self.hears(&other.says_receipt(self)), Ok(other.receipt()));
    }
}

#[test]
fn two_bridges_understand_each_other_whoever_starts_again_and_in_whatever_order() {
    let world = World::new();
    let (mut a, mut b) = world.pair();
    for round in 2..6 {
        a.understands(&b);
        b.understands(&a);
        if round % 2 == 0 {
            a = world.start("a", round);
        }
        if round > 2 {
            b = world.start("b", round);
        }
        a.meet(&b);
    }
}

#[test]
fn the_first_exchange_is_answered_and_the_answer_to_it_is_taken() {
    let world = World::new();
    let (a, b) = (world.start("a", 1), world.start("b", 1));
    assert_eq!(b.hears(&a.says_exchange(&b)), Err(Refused::Unproven));
    assert_eq!(a.hears(&b.says_exchange(&a)), Ok(b.exchange()));
    // Of one end only; the other cannot read it yet.
    assert_eq!(b.hears(&a.says_receipt(&b)), Err(Refused::UnknownKey));
    assert_eq!(b.seal(&a, &b.receipt()), Err(Refused::NoKey));
    assert_eq!(b.hears(&a.says_exchange(&b)), Ok(a.exchange()));
    a.understands(&b);
    b.understands(&a);
}

#[test]
fn a_body_without_a_seal_is_refused_by_that_name() {
    let world = World::new();
    let (a, b) = world.pair();
    for message in [a.receipt(), a.exchange()] {
        let body = Bytes::from(message.encode());
        let relay = Relay { to: b.id.clone(), from: a.id.clone(), hop_limit: 1, body };
        let refused = b.hears(&relay).expect_err("it is not sealed");
        assert_eq!(refused, Refused::Unsealed(1));
        assert_eq!(refused.name(), "unsealed");
    }
}
