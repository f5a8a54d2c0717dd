//! What is known of one other bridge: its key and who vouches for it, what it has said, what it must say back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::{BridgeId, Keyring as _, Refusal, Signature, Verified, ZoneName};

use super::Refused;
use super::envelope::{CHALLENGE_BYTES, Challenge, Claims, Keyed, Signed};
use super::pair_key::{Direction, OwnKey, PairKey, Public};
use crate::identity::{CertificateKeyring, unix_now};

/// Prompts that may follow each other at once for one bridge; then one a second.
const PROMPTS_BURST: u32 = 4;
/// Numbers behind the highest one that may still come, over slower paths.
const WINDOW: u64 = 128;

/// See the module.
#[derive(Debug)]
pub(super) struct End {
    /// Where the federation document has it.
    pub(super) zone: ZoneName,
    /// The key in use, if there is one.
    pub(super) peer: Option<Peer>,
    pub(super) prompts: Bucket,
    /// Lines in the log about it.
    pub(super) lines: Bucket,
    /// What an exchange must say back to bring another key. Drawn anew when a key is taken or dropped.
    challenge: Challenge,
    heard: HeardChallenges,
    counted: u64,
}

impl End {
    pub(super) fn new(zone: &ZoneName, now: Instant) -> End {
        End {
            zone: zone.clone(),
            peer: None,
            prompts: Bucket::new(PROMPTS_BURST, 1, now),
            lines: Bucket::new(PROMPTS_BURST, 1, now),
            challenge: draw(),
            heard: HeardChallenges::default(),
            counted: 0,
        }
    }

    /// Of the next message to it.
    pub(super) fn next_counter(&mut self) -> u64 {
        self.counted += 1;
        self.counted
    }

    /// Of the next exchange to it.
    pub(super) fn claims(&mut self, epoch: u64, public: Public) -> Claims {
        let counter = self.next_counter();
        Claims { counter, epoch, public, challenge: self.challenge, echoes: self.heard.echoes() }
    }

    /// Drops a key whose chain has ended, is denied or is not trusted any more.
    pub(super) fn drop_unless_vouched(&mut self, keyring: &CertificateKeyring, now: Instant) {
        if self.peer.as_mut().is_some_and(|peer| !peer.vouch.holds(keyring, &self.zone, now)) {
            self.peer = None;
            self.challenge = draw();
        }
    }

    /// A message under the pair key.
    pub(super) fn check_keyed(&mut self, direction: Direction<'_>, keyed: &Keyed) -> Result<(), Refused> {
        let peer = self.peer.as_mut().filter(|peer| peer.key.id() == keyed.key);
        let peer = peer.ok_or(Refused::UnknownKey)?;
        if !peer.key.verifies(direction, keyed.counter, &keyed.message, &keyed.tag) {
            return Err(Refused::WrongCode);
        }
        if peer.window.take(keyed.counter) { Ok(()) } else { Err(Refused::Repeated) }
    }

    /// An exchange whose signature is good.
    pub(super) fn take(
        &mut self,
        direction: Direction<'_>,
        own: &OwnKey,
        claims: &Claims,
        vouch: Vouch,
    ) -> Result<(), Refused> {
        if let Some(peer) = self.peer.as_mut().filter(|peer| peer.public == claims.public) {
            if !peer.window.take(claims.counter) {
                return Err(Refused::Repeated);
            }
            // A renewed certificate, or the same one again.
            peer.vouch = vouch;
            self.heard.only(claims);
            return Ok(());
        }
        if !claims.echoes.contains(&self.challenge) {
            self.heard.perhaps(claims);
            return Err(Refused::Unproven);
        }
        let key = own.agree(direction.to, direction.from, &claims.public);
        let key = key.ok_or(Refused::Malformed("the public key"))?;
        let window = Window::from(claims.counter);
        self.peer = Some(Peer { public: claims.public, key, window, vouch });
        self.challenge = draw();
        self.heard.only(claims);
        Ok(())
    }
}

/// The process of the other bridge that is believed now.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) key: PairKey,
    public: Public,
    window: Window,
    vouch: Vouch,
}

impl Peer {
    /// An exchange of this process with a number that has been here.
    pub(super) fn is_repeated(&self, claims: &Claims) -> bool {
        self.public == claims.public && !self.window.admits(claims.counter)
    }
}

/// The signed statement that a key rests on, to be verified again when trust changes.
#[derive(Debug)]
pub(super) struct Vouch {
    bridge: BridgeId,
    statement: Bytes,
    signature: Signature,
    not_after: Instant,
    /// The same by the wall clock, which may be set: seconds since 1970. What comes first counts.
    not_after_unix: u64,
    /// Of the credentials that it was verified with.
    generation: u64,
}

impl Vouch {
    pub(super) fn of(
        keyring: &CertificateKeyring,
        direction: Direction<'_>,
        zone: &ZoneName,
        signed: &Signed,
        now: Instant,
    ) -> Result<Vouch, Refusal> {
        // Read first: credentials that change meanwhile have the statement verified again.
        let generation = keyring.generation();
        let statement = signed.claims.statement(direction, &signed.message);
        let Signature { chain, signature } = &signed.signature;
        let verified = keyring.verify(direction.from, zone, chain, &statement, signature, now)?;
        // Copies: the slices would keep the whole message.
        let chain = chain.iter().map(|certificate| Bytes::copy_from_slice(certificate)).collect();
        let signature = Signature { chain, signature: Bytes::copy_from_slice(signature) };
        let bridge = direction.from.clone();
        let (not_after, not_after_unix) = (verified.not_after, end_of(verified, now));
        Ok(Vouch { bridge, statement, signature, not_after, not_after_unix, generation })
    }

    fn holds(&mut self, keyring: &CertificateKeyring, zone: &ZoneName, now: Instant) -> bool {
        if self.not_after <= now || self.not_after_unix <= unix_now() {
            return false;
        }
        let generation = keyring.generation();
        if self.generation == generation {
            return true;
        }
        let Signature { chain, signature } = &self.signature;
        match keyring.verify(&self.bridge, zone, chain, &self.statement, signature, now) {
            Ok(verified) => {
                (self.not_after, self.not_after_unix) = (verified.not_after, end_of(verified, now));
                self.generation = generation;
                true
            }
            Err(_) => false,
        }
    }
}

fn end_of(verified: Verified, now: Instant) -> u64 {
    unix_now() + verified.not_after.saturating_duration_since(now).as_secs()
}

/// Challenges of the other end, to be said back.
#[derive(Debug, Default)]
struct HeardChallenges {
    latest: Heard,
    /// Of the highest run; what is repeated from earlier runs does not push it out.
    highest: Heard,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    at: (u64, u64),
    challenge: Challenge,
}

impl HeardChallenges {
    fn echoes(&self) -> [Challenge; 2] {
        [self.latest.challenge, self.highest.challenge]
    }

    /// Of an exchange that was taken.
    fn only(&mut self, claims: &Claims) {
        self.latest = Heard { at: (claims.epoch, claims.counter), challenge: claims.challenge };
        self.highest = self.latest;
    }

    /// Of one that may be old.
    fn perhaps(&mut self, claims: &Claims) {
        self.latest = Heard { at: (claims.epoch, claims.counter), challenge: claims.challenge };
        if self.latest.at >= self.highest.at {
            self.highest = self.latest;
        }
    }
}

/// Numbers that have been seen, of the last [`WINDOW`] ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    highest: u64,
    /// Bit n: `highest - n` has been seen.
    seen: u128,
}

impl Window {
    /// Nothing up to and with `number` counts any more: a key that was dropped and comes back is still the same one,
    /// and so is what was said under it.
    pub(super) fn from(number: u64) -> Window {
        Window { highest: number, seen: u128::MAX }
    }

    pub(super) fn admits(&self, number: u64) -> bool {
        match self.highest.checked_sub(number) {
            None => true,
            Some(behind) => behind < WINDOW && self.seen & (1 << behind) == 0,
        }
    }

    /// `false` where it has been seen, or is too far behind to know.
    pub(super) fn take(&mut self, number: u64) -> bool {
        if !self.admits(number) {
            return false;
        }
        match self.highest.checked_sub(number) {
            Some(behind) => self.seen |= 1 << behind,
            None => {
                let ahead = number - self.highest;
                self.seen = if ahead < WINDOW { self.seen << ahead } else { 0 } | 1;
                self.highest = number;
            }
        }
        true
    }
}

/// Tokens that come back with time; what finds none is not done.
#[derive(Debug)]
pub(super) struct Bucket {
    full: f64,
    left: f64,
    per_second: f64,
    since: Instant,
}

impl Bucket {
    pub(super) fn new(burst: u32, per_second: u32, now: Instant) -> Bucket {
        let full = f64::from(burst);
        Bucket { full, left: full, per_second: f64::from(per_second), since: now }
    }

    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.since);
        self.left = (self.left + passed.as_secs_f64() * self.per_second).min(self.full);
        self.since = now.max(self.since);
        let allowed = self.left >= 1.0;
        if allowed {
            self.left -= 1.0;
        }
        allowed
    }
}

fn draw() -> Challenge {
    let mut challenge = [0; CHALLENGE_BYTES];
    aws_lc_rs::rand::fill(&mut challenge).expect("the random generator of the system works");
    challenge
}
