//! Values under a key: sealed so that a holder can open them, or replaced by a pseudonym (POLICY §5).
//!
//! ```text
//! sealed value = base64url(salt, 16 bytes ‖ ciphertext ‖ tag, 16 bytes)
//! key          = HKDF-SHA-256(secret, salt, info "meshbridge/v1 seal"), for AES-256-GCM with a nonce of zeros
//! plaintext    = kind, 1 byte ‖ value ‖ 0x80 ‖ zeros up to a multiple of 16
//! bound to     = name and version of the key, `source` and `id` of the event
//! ```
//!
//! A key made for one value needs no nonce. Random nonces of 96 bits under one key would run out after 2^32 values
//! (NIST SP 800-38D, 8.3), a day at 50,000 a second.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, KeyType};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keys::SECRET_BYTES;
use crate::protection::{BASE32, SALT_BYTES, SEAL_BLOCK_BYTES, Scope};

/// Random bytes for one evaluation. The same bytes, event and demands give the same result, so the engine stays pure;
/// two evaluations must not share them unless they are meant to be equal.
#[derive(Clone)]
pub struct Randomness([u8; 32]);

impl Randomness {
    pub const fn new(bytes: [u8; 32]) -> Randomness {
        Randomness(bytes)
    }
}

impl std::fmt::Debug for Randomness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Randomness(..)")
    }
}

/// What a sealed value was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// JSON text: a whole value, of a string with its quotes.
    Json = 1,
    /// Part of a JSON string as it stood between the quotes.
    Inner = 2,
    /// Text outside JSON.
    Text = 3,
}

impl Kind {
    fn of_byte(byte: u8) -> Option<Kind> {
        [Kind::Json, Kind::Inner, Kind::Text].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// What a sealed value is bound to, and what tells it from its neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) key: &'a str,
    pub(crate) version: u32,
    pub(crate) source: &'a str,
    pub(crate) id: &'a str,
}

impl Binding<'_> {
    fn associated_data(&self) -> Vec<u8> {
        framed(&[
            b"meshbridge/v1 seal",
            self.key.as_bytes(),
            &self.version.to_be_bytes(),
            self.source.as_bytes(),
            self.id.as_bytes(),
        ])
    }
}

/// The body of an `enc_` value. `number` differs for each value of an evaluation.
pub(crate) fn seal(
    secret: &[u8; SECRET_BYTES],
    binding: &Binding<'_>,
    kind: Kind,
    value: &str,
    randomness: &Randomness,
    number: u32,
) -> String {
    let associated = binding.associated_data();
    let mut plain = Vec::with_capacity(value.len() + 2 + SEAL_BLOCK_BYTES);
    plain.push(kind as u8);
    plain.extend_from_slice(value.as_bytes());
    plain.push(0x80);
    plain.resize(plain.len().next_multiple_of(SEAL_BLOCK_BYTES), 0);
    // The bytes of the evaluation are mixed with all that is sealed: were they ever used twice, equal salts would
    // still mean equal plaintexts.
    for attempt in 0_u32.. {
        let mixed =
            mix(randomness, &[&number.to_be_bytes(), &attempt.to_be_bytes(), secret, &associated, &plain]);
        let salt = &mixed.as_ref()[..SALT_BYTES];
        let mut sealed = salt.to_vec();
        let mut body = plain.clone();
        let key = value_key(secret, salt);
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key([0; 12]),
            Aad::from(&associated[..]),
            &mut body,
        )
        .expect("a value is far shorter than 2^36 bytes");
        sealed.extend_from_slice(&body);
        // Sealed values are told from text in disguise by not being text.
        if std::str::from_utf8(&sealed).is_err() {
            return URL_SAFE_NO_PAD.encode(sealed);
        }
    }
    unreachable!("ciphertext is text once in 10^12 times")
}

/// Opens the body of an `enc_` value; `None` where it was altered, moved from another event, or sealed under another
/// secret.
pub(crate) fn unseal(
    secret: &[u8; SECRET_BYTES],
    binding: &Binding<'_>,
    body: &str,
) -> Option<(Kind, String)> {
    let mut sealed = URL_SAFE_NO_PAD.decode(body).ok()?;
    let (salt, ciphertext) = sealed.split_at_mut_checked(SALT_BYTES)?;
    let associated = binding.associated_data();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let plain = value_key(secret, salt).open_in_place(nonce, Aad::from(&associated[..]), ciphertext).ok()?;
    let end = plain.iter().rposition(|byte| *byte != 0).filter(|end| plain[*end] == 0x80)?;
    let (kind, value) = plain[..end].split_first()?;
    Some((Kind::of_byte(*kind)?, String::from_utf8(value.to_vec()).ok()?))
}

/// Bytes that differ wherever the randomness or one of the parts does.
pub(crate) fn mix(randomness: &Randomness, parts: &[&[u8]]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &randomness.0), &framed(parts))
}

fn value_key(secret: &[u8; SECRET_BYTES], salt: &[u8]) -> LessSafeKey {
    let key = derive(secret, salt, b"meshbridge/v1 seal");
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("a key of 32 bytes"))
}

/// The body of a `tok_` value: 128 bits of HMAC-SHA-256 over the canonical form.
pub(crate) fn pseudonym(
    secret: &[u8; SECRET_BYTES],
    scope: Scope,
    to_zone: &str,
    topic: &str,
    canonical: &str,
) -> String {
    let mut info = vec![b"meshbridge/v1 pseudonym".as_slice(), scope.name().as_bytes()];
    if scope.is_within(Scope::DESTINATION) {
        info.push(to_zone.as_bytes());
    }
    if scope.is_within(Scope::TOPIC) {
        info.push(topic.as_bytes());
    }
    let key = derive(secret, &[], &framed(&info));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), canonical.as_bytes());
    base32(&mac.as_ref()[..16])
}

/// HKDF with SHA-256 (RFC 5869), 32 bytes out.
pub(crate) fn derive(secret: &[u8], salt: &[u8], info: &[u8]) -> [u8; 32] {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let info = [info];
    let mut out = [0; 32];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let expanded = extracted.expand(&info, Length).expect("32 bytes are fewer than 255 blocks");
    expanded.fill(&mut out).expect("the length that was asked for");
    out
}

/// Parts with their lengths before them, so that no two lists of parts give the same bytes.
pub(crate) fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// RFC 4648 base 32 in lower case, without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let symbol = |first: usize| (first..first + 5).fold(0, |value, at| value << 1 | usize::from(bit(at)));
    (0..(bytes.len() * 8).div_ceil(5)).map(|at| char::from(BASE32[symbol(at * 5)])).collect()
}
