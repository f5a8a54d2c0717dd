//! The key of two bridges, from the X25519 keys of their processes: X25519, HKDF-SHA-256, HMAC-SHA-256.
//!
//! Both ends get the same key and the same short name for it; which of them speaks is in what the MAC covers.

use std::fmt;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::{constant_time, hkdf, hmac};
use bytes::{BufMut, BytesMut};
use meshbridge_routing::BridgeId;
use zeroize::Zeroizing;

pub(super) const PUBLIC_BYTES: usize = 32;
pub(super) const TAG_BYTES: usize = 32;
const SALT: &[u8] = b"meshbridge pair key 1";

/// An X25519 key as it travels.
pub(super) type Public = [u8; PUBLIC_BYTES];
/// Names a key to who has it; says nothing to others.
pub(super) type KeyId = [u8; 8];

/// Who speaks to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direction<'a> {
    pub(super) from: &'a BridgeId,
    pub(super) to: &'a BridgeId,
}

impl Direction<'_> {
    /// Unambiguous: each name behind its length.
    pub(super) fn write(&self, out: &mut BytesMut) {
        for bridge in [self.from, self.to] {
            put_name(out, bridge);
        }
    }
}

fn put_name(out: &mut BytesMut, bridge: &BridgeId) {
    out.put_u16(u16::try_from(bridge.as_str().len()).expect("a name is at most 63 bytes"));
    out.put_slice(bridge.as_str().as_bytes());
}

/// The X25519 key of this process; never on a disk.
pub(super) struct OwnKey {
    private: PrivateKey,
    public: Public,
}

impl OwnKey {
    pub(super) fn draw() -> OwnKey {
        let private = PrivateKey::generate(&X25519).expect("the random generator of the system works");
        let public = private.compute_public_key().expect("a key that was just made has a public half");
        let public = public.as_ref().try_into().expect("an X25519 key has 32 bytes");
        OwnKey { private, public }
    }

    pub(super) fn public(&self) -> Public {
        self.public
    }

    /// The key shared with `other`; `None` where its public key is no good one.
    pub(super) fn agree(&self, own: &BridgeId, other: &BridgeId, public: &Public) -> Option<PairKey> {
        let mut info = BytesMut::new();
        let mut both = [(own, &self.public), (other, public)];
        both.sort_by_key(|(bridge, _)| *bridge);
        for (bridge, public) in both {
            put_name(&mut info, bridge);
            info.put_slice(public);
        }
        let theirs = UnparsedPublicKey::new(&X25519, public);
        agreement::agree(&self.private, theirs, (), |secret| {
            let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
            let mut key = Zeroizing::new([0_u8; 32]);
            expand(&secret, &[b"mac", &info], &mut *key)?;
            let mut id = KeyId::default();
            expand(&secret, &[b"id", &info], &mut id)?;
            Ok(PairKey { id, mac: hmac::Key::new(hmac::HMAC_SHA256, &*key) })
        })
        .ok()
    }
}

impl fmt::Debug for OwnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnKey")
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(secret: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) -> Result<(), ()> {
    secret.expand(info, Length(out.len())).and_then(|material| material.fill(out)).map_err(|_| ())
}

/// What two bridges share while both processes live.
pub(super) struct PairKey {
    id: KeyId,
    mac: hmac::Key,
}

impl PairKey {
    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn tag(&self, direction: Direction<'_>, counter: u64, message: &[u8]) -> [u8; TAG_BYTES] {
        let mut head = BytesMut::new();
        direction.write(&mut head);
        head.put_u64(counter);
        let mut context = hmac::Context::with_key(&self.mac);
        context.update(&head);
        context.update(message);
        context.sign().as_ref().try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }

    pub(super) fn verifies(
        &self,
        direction: Direction<'_>,
        counter: u64,
        message: &[u8],
        tag: &[u8; TAG_BYTES],
    ) -> bool {
        constant_time::verify_slices_are_equal(&self.tag(direction, counter, message), tag).is_ok()
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairKey")
    }
}
