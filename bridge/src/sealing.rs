//! What two ends of a pair say to each other, proven end to end (RELIABILITY G4). Hops in between pass bytes on; none
//! of them can speak for another bridge, because receipts, exchanges and fences decide what an origin forgets.
//!
//! ```text
//! A  exchange, signed: A's public key, a challenge ───────────────▶ B   who cannot tell it from an old one: refused,
//! A ◀────── B's public key, a challenge, A's challenge said back    B   and prompts an exchange of its own
//! A  takes it; pair key; exchange: B's challenge said back ───────▶ B   takes it; the same pair key
//! A ◀═══ receipts, fences, known outcomes: MAC under that key ════▶ B
//! ```
//!
//! **Exchanges** are signed with the key of the certificate, over both names, the sender's X25519 key of this process,
//! its count of messages to this listener, challenges and the digest of the message. The certificate must name the
//! sender, in the zone where the federation document has it. Both X25519 keys give the **pair key**, under which all
//! other messages carry a MAC over direction, count and message. Neither end keeps anything on disk: a bridge that
//! starts has a new key, and its first exchange takes it to the other end, in whatever order they start.
//!
//! What is refused is counted; what shows that one end does not know the other's key prompts an exchange, so the ends
//! find together again by themselves. Prompts are bounded, for each bridge and in all.
//!
//! # What somebody on the way gains
//!
//! They see everything, and can drop, delay, repeat and invent.
//!
//! - *Invented or changed*: needs the key of a certificate or a pair key. A prompt a second at most follows.
//! - *Repeated within a run*: each message has a number under its signature or MAC, and a number counts once, in a
//!   window of 128 that begins with the exchange that brought the key. Without that an old receipt could take credit away from an origin.
//! - *An exchange of an earlier run of the sender*: would bring back its old key, and in the delivery core an old disk
//!   ("everything stored there is lost") or old cursors. So a key that is not the one in use counts only when the
//!   exchange says back the listener's challenge, and that is drawn anew with each key taken or dropped: what passes
//!   was signed after that. Order of epochs would not do: a bridge with a new disk and a slow clock begins below its
//!   former epoch.
//! - *The same after the listener has started again*: its challenges are new as well, so nothing from before its start
//!   passes, however current the sender's run is.
//! - *Flooded*: a prompt is owed to a bridge once a second, and all of them share 200. Who names many bridges can use
//!   those up and delay the prompts of others, not what the delivery core asks by itself.
//! - *Drowned*: a bridge that starts says back two challenges of those it heard, the latest and the one of the highest
//!   epoch, so that repeating old exchanges does not hide the true one. Only where the peer's epoch has fallen back
//!   *and* old exchanges come faster than true ones, the pair's first exchange waits as long as that goes on. Each of
//!   them costs a signature check, on the task of the link that brought it and outside every lock.
//!
//! **Trust that ends.** A key is used for as long as the chain that vouched for it: past its end, and when certificates
//! or the deny-list were read again and the same signature no longer verifies, it is dropped. The next exchange,
//! signed with a renewed certificate, brings it back.
//!
//! The delivery messages inside are not secret, here or on any hop that carries them.

mod end;
mod envelope;
mod pair_key;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use meshbridge_delivery::Message;
use meshbridge_routing::wire::Relay;
use meshbridge_routing::{BridgeId, Keyring as _, Members, Refusal};

use crate::identity::CertificateKeyring;
use end::{Bucket, End, Vouch};
use envelope::{Claims, Envelope, Keyed, Signed};
use pair_key::{Direction, OwnKey};

/// Exchanges prompted in a second, for all bridges together (D10).
const PROMPTS_PER_SECOND: u32 = 200;

/// Why a message between two ends was not taken, or could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Of a bridge that predates seals, or of nobody.
    #[error("the message has no seal: its version is {0}")]
    Unsealed(u8),
    #[error("the message makes no sense: {0}")]
    Malformed(&'static str),
    /// The federation lists no such bridge, or it is this one.
    #[error("it claims to be from a bridge that is not listed")]
    Unlisted,
    /// A signature that proves nothing: an attack, a denied or expired certificate.
    #[error("the signature proves nothing")]
    Untrusted(#[source] Refusal),
    /// Well signed, but perhaps long ago. Each bridge that starts says one or two of these.
    #[error("nothing shows that the exchange is new")]
    Unproven,
    /// Its number has been seen, or is far behind.
    #[error("the message has been here before")]
    Repeated,
    /// One of the two has started again, or the chain behind the key has ended.
    #[error("the key is not known")]
    UnknownKey,
    #[error("the authentication code is wrong")]
    WrongCode,
    /// On the way out: no exchange of that bridge has been taken yet.
    #[error("there is no key to say it with")]
    NoKey,
}

impl Refused {
    /// As the metric names it.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Refused::Unsealed(_) => "unsealed",
            Refused::Malformed(_) => "malformed",
            Refused::Unlisted => "unlisted",
            Refused::Untrusted(_) => "untrusted",
            Refused::Unproven => "unproven",
            Refused::Repeated => "repeated",
            Refused::UnknownKey => "unknown_key",
            Refused::WrongCode => "wrong_code",
            Refused::NoKey => "no_key",
        }
    }

    /// Whether an exchange can help.
    const fn wants_exchange(&self) -> bool {
        matches!(self, Refused::Unproven | Refused::UnknownKey | Refused::WrongCode | Refused::NoKey)
    }

    /// Whether it is a part of starting and renewing, and nobody's fault.
    pub(crate) const fn is_ordinary(&self) -> bool {
        matches!(self, Refused::Unproven | Refused::UnknownKey | Refused::NoKey | Refused::Repeated)
    }
}

/// What is to be done about a refused message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reaction {
    /// Worth a line in the log: bounded where somebody should look.
    pub(crate) tell: bool,
    /// Ask the other end for an exchange.
    pub(crate) prompt: bool,
}

/// Seals what goes to other ends and opens what comes from them.
///
/// Each bridge of the federation has one entry, made at the start; its lock is held for no signature of an exchange.
#[derive(Debug)]
pub(crate) struct Sealing {
    own: BridgeId,
    /// Of the run that this bridge is in.
    epoch: AtomicU64,
    key: OwnKey,
    keyring: Arc<CertificateKeyring>,
    ends: BTreeMap<BridgeId, Mutex<End>>,
    prompts: Mutex<Bucket>,
}

impl Sealing {
    /// `epoch` is that of this run.
    pub(crate) fn new(
        own: &BridgeId,
        epoch: u64,
        members: &Members,
        keyring: Arc<CertificateKeyring>,
        now: Instant,
    ) -> Sealing {
        let others = members.iter().filter(|(bridge, _)| *bridge != own);
        Sealing {
            own: own.clone(),
            epoch: AtomicU64::new(epoch),
            key: OwnKey::draw(),
            keyring,
            ends: others.map(|(bridge, zone)| (bridge.clone(), Mutex::new(End::new(zone, now)))).collect(),
            prompts: Mutex::new(Bucket::new(PROMPTS_PER_SECOND, PROMPTS_PER_SECOND, now)),
        }
    }

    /// The bridge goes on in a run of this epoch.
    pub(crate) fn raise_epoch(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::Relaxed);
    }

    /// The body of a relay to `to`.
    pub(crate) fn seal(&self, to: &BridgeId, message: &Message, now: Instant) -> Result<Bytes, Refused> {
        let end = self.ends.get(to).ok_or(Refused::Unlisted)?;
        let is_exchange = matches!(message, Message::Exchange(_));
        let message = Bytes::from(message.encode());
        let direction = Direction { from: &self.own, to };
        if is_exchange {
            let claims = lock(end).claims(self.epoch.load(Ordering::Relaxed), self.key.public());
            let signature = self.keyring.sign(&claims.statement(direction, &message));
            return Ok(Signed { claims, signature, message }.encode());
        }
        let mut end = lock(end);
        end.drop_unless_vouched(&self.keyring, now);
        let counter = end.next_counter();
        let peer = end.peer.as_ref().ok_or(Refused::NoKey)?;
        let tag = peer.key.tag(direction, counter, &message);
        Ok(Keyed { key: peer.key.id(), counter, tag, message }.encode())
    }

    /// The message in a relay to this bridge, if `relay.from` said it, to us, now and not before.
    pub(crate) fn open(&self, relay: &Relay, now: Instant) -> Result<Message, Refused> {
        let end = self.ends.get(&relay.from).ok_or(Refused::Unlisted)?;
        let direction = Direction { from: &relay.from, to: &self.own };
        let (message, signed) = match Envelope::decode(&relay.body)? {
            Envelope::Signed(signed) => {
                self.check_signed(direction, end, &signed, now)?;
                (signed.message, true)
            }
            Envelope::Keyed(keyed) => {
                let mut end = lock(end);
                end.drop_unless_vouched(&self.keyring, now);
                end.check_keyed(direction, &keyed)?;
                (keyed.message, false)
            }
        };
        let message = Message::decode(&message).map_err(|_| Refused::Malformed("the message inside"))?;
        if matches!(message, Message::Exchange(_)) != signed {
            return Err(Refused::Malformed("the kind of seal"));
        }
        Ok(message)
    }

    fn check_signed(
        &self,
        direction: Direction<'_>,
        end: &Mutex<End>,
        signed: &Signed,
        now: Instant,
    ) -> Result<(), Refused> {
        let claims: &Claims = &signed.claims;
        let zone = {
            let end = lock(end);
            // Cheap, and enough: a repeated one would be refused below as well.
            if end.peer.as_ref().is_some_and(|peer| peer.is_repeated(claims)) {
                return Err(Refused::Repeated);
            }
            end.zone.clone()
        };
        // Before the check, so that credentials read meanwhile have it checked again.
        let vouch = Vouch::of(&self.keyring, direction, &zone, signed, now).map_err(Refused::Untrusted)?;
        let mut end = lock(end);
        end.drop_unless_vouched(&self.keyring, now);
        end.take(direction, &self.key, claims, vouch)
    }

    /// What to do about a message from or to `bridge` that was refused.
    pub(crate) fn react(&self, bridge: &BridgeId, refused: &Refused, now: Instant) -> Reaction {
        let Some(end) = self.ends.get(bridge) else { return Reaction { tell: false, prompt: false } };
        let mut end = lock(end);
        // What does not prompt takes nothing from what does: repeating messages must not delay the next exchange.
        let prompt = refused.wants_exchange() && end.prompts.allow(now) && lock(&self.prompts).allow(now);
        Reaction { tell: refused.is_ordinary() || end.lines.allow(now), prompt }
    }
}

/// Each critical section leaves an entry whole between statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
