//! How bundles travel: what each neighbour holds, and the pulling of what is newer, part by part.
//!
//! Pure: time comes in, effects are polled for. Every bridge holds the newest bundle of each layer, its own layers or
//! not, so that bundles reach those behind it; and it holds only what somebody entitled has signed, so none is passed on
//! by those who were deceived.
//!
//! ```text
//!  Held list of a neighbour ─► wanted? ─► Pull, Part, Pull, Part … ─► Effect::Fetched ─► signature, disk
//!                                                                                             │
//!  Held list to all neighbours ◄── Exchange::set_held ◄── Exchange::judged ◄──────────────────┘
//! ```
//!
//! **A hostile neighbour** can offer what nobody signed, send garbage, or send slowly. What it costs: one pull at a time
//! of [`PULLS_MAX`], each with an end, then a pause for this bundle, which doubles each time that it came for nothing, and no more than
//! eight wrongs before it is asked for something once in 30 s. A pause is of the digest: no other list, layer or revision
//! that the neighbour says ends it. What it offers never keeps a bundle of another neighbour
//! away: bundles are known by their digest, and each neighbour is asked for its own. What it asks for is limited by a
//! bucket; what is beyond is not answered.

mod peer;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::digest::Digest;
use crate::layer::Layer;
use crate::revisions::LAYERS_MAX;

use peer::{Heard, Peer};

/// Bundles that are pulled at a time.
pub const PULLS_MAX: usize = 4;
/// Bytes of a part.
pub const PART_BYTES_MAX: usize = 32 * 1024;
/// All is said again so often: a message may have found a full queue.
const REPEAT: Duration = Duration::from_secs(30);
/// Changes are told this much after the list before.
const PAUSE: Duration = Duration::from_secs(1);

/// A session with a neighbour; a number is used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// A bundle somebody says to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub layer: Layer,
    pub revision: u64,
    /// Of the manifest.
    pub digest: Digest,
}

/// What neighbours say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Everything the sender holds.
    Held(Vec<Offer>),
    /// The part at `offset`, please.
    Pull { digest: Digest, offset: u32 },
    /// `total` is that of the archive; 0 where it is not held.
    Part { digest: Digest, total: u32, offset: u32, bytes: Vec<u8> },
}

/// What the caller has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    Send {
        to: PeerId,
        message: Message,
    },
    /// Send [`Message::Part`] with [`PART_BYTES_MAX`] bytes at `offset` of the archive with this digest; with a total of 0
    /// where it is held no more, for a newer one was taken since.
    Serve {
        to: PeerId,
        digest: Digest,
        offset: u32,
    },
    /// A whole archive, as the neighbour sent it. Nothing about it is known to be true; answer with
    /// [`Exchange::judged`].
    Fetched {
        from: PeerId,
        offer: Offer,
        archive: Vec<u8>,
    },
}

/// A neighbour that broke the protocol. Its session should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaved {
    #[error("a list of bundles names a layer twice")]
    LayerTwice,
    #[error("a list of bundles names more than {LAYERS_MAX} layers")]
    TooManyLayers,
}

/// What became of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is on the disk; [`Exchange::set_held`] names it.
    Taken,
    /// Not the bundle that was offered, or nobody entitled has signed it: the neighbour is to blame.
    Wrong,
    /// Nobody is to blame; it may be another time.
    NotNow,
}

/// All neighbours of one bridge.
#[derive(Debug, Default)]
pub struct Exchange {
    held: BTreeMap<Layer, Offer>,
    peers: BTreeMap<PeerId, Peer>,
    /// Fetched, and not judged yet.
    judging: BTreeMap<Digest, PeerId>,
    effects: VecDeque<Effect>,
}

impl Exchange {
    pub fn new() -> Exchange {
        Exchange::default()
    }

    /// A session begins.
    pub fn on_peer_up(&mut self, peer: PeerId, now: Instant) {
        self.peers.insert(peer, Peer::new(now));
        self.tell(peer, now);
    }

    /// A session has ended; what was being pulled from it is pulled from another.
    pub fn on_peer_down(&mut self, peer: PeerId, now: Instant) {
        self.peers.remove(&peer);
        self.judging.retain(|_, from| *from != peer);
        self.pull(now);
    }

    /// What this bridge holds now, one of each layer.
    pub fn set_held(&mut self, held: impl IntoIterator<Item = Offer>, now: Instant) {
        let held: BTreeMap<Layer, Offer> =
            held.into_iter().map(|offer| (offer.layer.clone(), offer)).collect();
        if held != self.held {
            self.held = held;
            for peer in self.peers.values_mut() {
                peer.tell_by(now, PAUSE);
            }
        }
        self.on_timeout(now);
    }

    /// Other keys sign now: what was not signed may be.
    pub fn forgive(&mut self, now: Instant) {
        self.peers.values_mut().for_each(Peer::forgive);
        self.pull(now);
    }

    pub fn on_message(&mut self, from: PeerId, message: Message, now: Instant) -> Result<(), Misbehaved> {
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        match message {
            Message::Held(offers) => {
                if offers.len() > LAYERS_MAX {
                    return Err(Misbehaved::TooManyLayers);
                }
                let mut layers = BTreeSet::new();
                if !offers.iter().all(|offer| layers.insert(&offer.layer)) {
                    return Err(Misbehaved::LayerTwice);
                }
                peer.on_offers(offers);
            }
            Message::Pull { digest, offset } => {
                if !peer.may_be_served(now) {
                    return Ok(());
                }
                let effect = match self.held.values().any(|held| held.digest == digest) {
                    true => Effect::Serve { to: from, digest, offset },
                    false => {
                        let message = Message::Part { digest, total: 0, offset, bytes: Vec::new() };
                        Effect::Send { to: from, message }
                    }
                };
                self.effects.push_back(effect);
            }
            Message::Part { digest, total, offset, bytes } => {
                match peer.on_part(digest, total, offset, &bytes, now) {
                    Heard::Nothing => {}
                    Heard::More(message) => self.effects.push_back(Effect::Send { to: from, message }),
                    Heard::All(offer, archive) => {
                        self.judging.insert(offer.digest, from);
                        self.effects.push_back(Effect::Fetched { from, offer, archive });
                    }
                }
            }
        }
        self.pull(now);
        Ok(())
    }

    /// The answer to [`Effect::Fetched`]. After `Taken`, [`Exchange::set_held`] is due.
    pub fn judged(&mut self, from: PeerId, digest: Digest, judged: Judged, now: Instant) {
        self.judging.remove(&digest);
        if let Some(peer) = self.peers.get_mut(&from) {
            match judged {
                // Held now. Where it is wanted all the same, it was offered as something that it is not.
                Judged::Taken => peer.on_useless(digest, false, now),
                Judged::Wrong => peer.on_useless(digest, true, now),
                Judged::NotNow => peer.on_useless(digest, false, now),
            }
        }
        // Not before the caller has said what it holds now.
        if judged != Judged::Taken {
            self.pull(now);
        }
    }

    pub fn on_timeout(&mut self, now: Instant) {
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if let Some(message) = peer.ask_again(now) {
                self.effects.push_back(Effect::Send { to: id, message });
            }
            if peer.tells_at() <= now {
                self.tell(id, now);
            }
        }
        self.pull(now);
    }

    /// When [`Exchange::on_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.peers.values().filter_map(Peer::poll_timeout).min()
    }

    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// This neighbour has said what it holds, and all of it that is wanted was pulled, or will not be soon.
    pub fn is_settled_with(&self, peer: PeerId) -> bool {
        let is_judged = !self.judging.values().any(|from| *from == peer);
        self.peers.get(&peer).is_some_and(|one| {
            one.has_spoken()
                && !one.is_pulling()
                && is_judged
                && !one.wants(&|offer| is_newer(&self.held, offer))
        })
    }

    /// Something is being pulled, or looked at.
    pub fn is_busy(&self) -> bool {
        !self.judging.is_empty() || self.peers.values().any(Peer::is_pulling)
    }

    fn tell(&mut self, to: PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.on_told(now, REPEAT);
            let message = Message::Held(self.held.values().cloned().collect());
            self.effects.push_back(Effect::Send { to, message });
        }
    }

    /// Asks whom there is to ask. Who was asked longest ago comes first.
    fn pull(&mut self, now: Instant) {
        let mut under_way: BTreeSet<Digest> = self.judging.keys().copied().collect();
        under_way.extend(self.peers.values().filter_map(Peer::pulls));
        let mut pulling = self.peers.values().filter(|peer| peer.is_pulling()).count();
        let mut order: Vec<PeerId> = self.peers.keys().copied().collect();
        order.sort_by_key(|id| self.peers.get(id).and_then(Peer::asked_at));
        for id in order {
            if pulling >= PULLS_MAX {
                return;
            }
            let held = &self.held;
            let wanted = |offer: &Offer| is_newer(held, offer) && !under_way.contains(&offer.digest);
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            if let Some((digest, message)) = peer.begin(&wanted, now) {
                under_way.insert(digest);
                pulling += 1;
                self.effects.push_back(Effect::Send { to: id, message });
            }
        }
    }
}

fn is_newer(held: &BTreeMap<Layer, Offer>, offer: &Offer) -> bool {
    held.get(&offer.layer).is_none_or(|held| {
        // The same number with another digest: if it is signed, somebody has to know.
        offer.revision > held.revision || (offer.revision == held.revision && offer.digest != held.digest)
    })
}
