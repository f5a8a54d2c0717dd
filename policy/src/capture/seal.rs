//! Events under a `store` key, as captures keep them.
//!
//! ```text
//! sealed     = base64(salt, 16 bytes ‖ ciphertext ‖ tag, 16 bytes)
//! key        = HKDF-SHA-256(secret, salt, info "meshbridge/v1 capture"), for AES-256-GCM with a nonce of zeros
//! plaintext  = length of the event, 8 bytes ‖ event ‖ its form, where it was edited
//! bound to   = name and version of the key, capture, federation, zone, and the decision beside it
//! ```
//!
//! As with sealed values, a key is made for each entry, so there is no nonce that could run out.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use meshbridge_event::Event;
use zeroize::Zeroizing;

use super::Header;
use crate::keys::SECRET_BYTES;
use crate::protect::{Randomness, derive, framed, mix};

const SALT_BYTES: usize = 16;
const INFO: &[u8] = b"meshbridge/v1 capture";

/// A `store` key of the zone.
pub(super) struct Key {
    /// Name and version.
    pub(super) label: String,
    pub(super) secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.label)
    }
}

fn associated(header: &Header, label: &str, decision: &str) -> Vec<u8> {
    let parts = [label, &header.capture, &header.federation, &header.zone, decision];
    let parts: Vec<&[u8]> = std::iter::once(INFO).chain(parts.iter().map(|part| part.as_bytes())).collect();
    framed(&parts)
}

fn entry_key(secret: &[u8; SECRET_BYTES], salt: &[u8]) -> LessSafeKey {
    let key = Zeroizing::new(derive(secret, salt, INFO));
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key).expect("a key of 32 bytes"))
}

pub(super) fn seal(
    key: &Key,
    header: &Header,
    decision: &str,
    (event, form): (&Event, Option<&Event>),
    randomness: &Randomness,
) -> String {
    let associated = associated(header, &key.label, decision);
    let event = event.encoded();
    let form = form.map(|form| form.encoded().clone()).unwrap_or_default();
    let mut body = Vec::with_capacity(8 + event.len() + form.len() + 16);
    body.extend_from_slice(&(event.len() as u64).to_be_bytes());
    body.extend_from_slice(event);
    body.extend_from_slice(&form);
    // Mixed with all that is sealed: were the same randomness ever used twice, equal salts would still mean equal
    // plaintexts.
    let salt = mix(randomness, &[&*key.secret, &associated, &body]);
    let salt = &salt.as_ref()[..SALT_BYTES];
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    entry_key(&key.secret, salt)
        .seal_in_place_append_tag(nonce, Aad::from(&associated[..]), &mut body)
        .expect("two events are far shorter than 2^36 bytes");
    STANDARD.encode([salt, &body].concat())
}

/// The event and its form; `None` where it was altered, moved, or sealed under another secret.
pub(super) fn open(
    secret: &[u8; SECRET_BYTES],
    label: &str,
    header: &Header,
    decision: &str,
    sealed: &str,
) -> Option<(Event, Option<Event>)> {
    let mut sealed = STANDARD.decode(sealed).ok()?;
    let (salt, ciphertext) = sealed.split_at_mut_checked(SALT_BYTES)?;
    let associated = associated(header, label, decision);
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let plain = entry_key(secret, salt).open_in_place(nonce, Aad::from(&associated[..]), ciphertext).ok()?;
    let (length, rest) = plain.split_first_chunk::<8>()?;
    let (event, form) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
    let decode = |bytes: &[u8]| Event::decode(Bytes::copy_from_slice(bytes)).ok();
    let form = if form.is_empty() { None } else { Some(decode(form)?) };
    Some((decode(event)?, form))
}
