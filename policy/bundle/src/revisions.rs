//! Which revision of each layer is in force, and which may follow.
//!
//! Pure state. The caller proves the rest of an activation (the documents compile with the other layers and the
//! invariants hold) and makes the state durable; all or nothing is kept by the order:
//!
//! ```text
//!  propose ─► compile, prove ─► Activation::state, fsynced ─► swap the program ─► commit
//! ```
//!
//! A crash before the fsync leaves the old bundles in force; after it, the new ones are found at the next start. For
//! every layer two things are known: what is in force, and the *floor*, the highest revision that was ever vouched for
//! here. The floor is never below what is in force. It is above it only after a lost disk, when peers have shown what
//! this bridge must have had: until it has that again, older bundles are refused.

mod state;

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::layer::{Layer, LayerKind};
use crate::ring::Verified;

pub use state::{STATE_BYTES_MAX, StateError};

/// Layers a bridge may hold: its own, and those of zones that carry for it.
pub const LAYERS_MAX: usize = 1_024;

/// One signed bundle, named by what cannot be argued with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    revision: u64,
    digest: Digest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    active: Option<Mark>,
    // INVARIANT: not below `active`, and equal to it where the revisions are equal.
    floor: Mark,
}

/// The bundles of one bridge: what is in force per layer, and below what it never goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revisions {
    layers: BTreeMap<Layer, Held>,
    /// The disk was lost, and what peers show becomes the floor.
    is_recovering: bool,
}

/// Why a bundle may not follow the one in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevisionError {
    /// An alarm: somebody with the key signed two bundles under one number, or the key is no longer theirs alone.
    #[error(
        "ALARM: two different bundles of layer {layer} are signed as revision {revision}: {known} and {other}; find out who signed them, and sign the right one under a new revision"
    )]
    Equivocation { layer: Layer, revision: u64, known: Digest, other: Digest },
    #[error(
        "revision {offered} of layer {layer} is older than revision {active} in force; to go back, sign the old content under a new revision"
    )]
    Rollback { layer: Layer, offered: u64, active: u64 },
    #[error(
        "revision {offered} of layer {layer} is older than revision {floor}, which this bridge had before; fetch that one or a later one from a peer"
    )]
    BelowFloor { layer: Layer, offered: u64, floor: u64 },
    #[error("layer {0} is offered twice in one activation; offer one bundle per layer")]
    Twice(Layer),
    #[error("more than {LAYERS_MAX} layers; a bridge holds those of its zone and of its carriers only")]
    TooManyLayers,
    #[error("other bundles were activated in between; propose again")]
    Overtaken,
}

/// A change of what is in force that was allowed and has not happened yet.
#[derive(Clone, Debug)]
#[must_use = "nothing is in force before `Revisions::commit`"]
pub struct Activation {
    base: Revisions,
    next: Revisions,
}

impl Activation {
    /// What has to be durable before the program is swapped.
    pub fn state(&self) -> Vec<u8> {
        self.next.to_bytes()
    }

    /// Whether all that was proposed is in force already; then there is nothing to do.
    pub fn is_unchanged(&self) -> bool {
        self.base == self.next
    }
}

/// What a peer's manifest says about ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The same bundle is in force here.
    Same,
    /// The peer has an older one.
    Older,
    /// The peer has a newer one: fetch it.
    Newer,
    /// It is newer, and as this bridge lost its disk it is now the floor.
    Floor,
}

impl Default for Revisions {
    fn default() -> Revisions {
        Revisions::new()
    }
}

impl Revisions {
    /// Of a bridge that never had a bundle.
    pub fn new() -> Revisions {
        Revisions { layers: BTreeMap::new(), is_recovering: false }
    }

    /// Of a bridge that lost its disk. Show it every manifest that its peers have, then
    /// [`Revisions::finish_recovery`].
    pub fn recovering() -> Revisions {
        Revisions { is_recovering: true, ..Revisions::new() }
    }

    pub fn is_recovering(&self) -> bool {
        self.is_recovering
    }

    /// All peers that can be reached have been asked. The floors stay.
    pub fn finish_recovery(&mut self) {
        self.is_recovering = false;
    }

    /// Whether these bundles may come into force together. Changes nothing.
    pub fn propose(&self, bundles: &[Verified]) -> Result<Activation, RevisionError> {
        let mut next = self.clone();
        for (at, bundle) in bundles.iter().enumerate() {
            if bundles.iter().take(at).any(|other| other.layer() == bundle.layer()) {
                return Err(RevisionError::Twice(bundle.layer().clone()));
            }
            next.activate(bundle)?;
        }
        Ok(Activation { base: self.clone(), next })
    }

    /// Takes an activation over, once its state is durable and the program swapped.
    pub fn commit(&mut self, activation: Activation) -> Result<(), RevisionError> {
        if *self != activation.base {
            return Err(RevisionError::Overtaken);
        }
        *self = activation.next;
        Ok(())
    }

    fn activate(&mut self, bundle: &Verified) -> Result<(), RevisionError> {
        let offered = Mark { revision: bundle.revision(), digest: bundle.digest() };
        let layer = bundle.layer();
        match self.layers.get(layer) {
            None if self.layers.len() >= LAYERS_MAX => return Err(RevisionError::TooManyLayers),
            None => {}
            Some(held) => admits(held, layer, offered)?,
        }
        self.layers.insert(layer.clone(), Held { active: Some(offered), floor: offered });
        Ok(())
    }

    /// What a peer shows of itself, after its signature was checked.
    pub fn observe(&mut self, theirs: &Verified) -> Result<Observation, RevisionError> {
        let layer = theirs.layer();
        let shown = Mark { revision: theirs.revision(), digest: theirs.digest() };
        let held = self.layers.get(layer).copied();
        for known in held.into_iter().flat_map(|held| [Some(held.floor), held.active]).flatten() {
            contradicts(known, layer, shown)?;
        }
        let active = held.and_then(|held| held.active);
        match held.map(|held| held.floor.revision) {
            Some(floor) if shown.revision <= floor => {}
            _ if !self.is_recovering => return Ok(Observation::Newer),
            None if self.layers.len() >= LAYERS_MAX => return Err(RevisionError::TooManyLayers),
            _ => {
                self.layers.insert(layer.clone(), Held { active, floor: shown });
                return Ok(Observation::Floor);
            }
        }
        Ok(match active {
            Some(active) if active.revision == shown.revision => Observation::Same,
            Some(active) if active.revision > shown.revision => Observation::Older,
            _ => Observation::Newer,
        })
    }

    /// The revision and digest in force.
    pub fn active(&self, layer: &Layer) -> Option<(u64, Digest)> {
        self.layers.get(layer)?.active.map(|mark| (mark.revision, mark.digest))
    }

    /// The highest revision that was ever vouched for here, with its digest.
    pub fn floor(&self, layer: &Layer) -> Option<(u64, Digest)> {
        self.layers.get(layer).map(|held| (held.floor.revision, held.floor.digest))
    }

    /// Layers whose floor is above what is in force, with the floor: these bundles are to be fetched.
    pub fn missing(&self) -> impl Iterator<Item = (&Layer, u64)> {
        let is_missing = |held: &Held| held.active != Some(held.floor);
        self.layers.iter().filter(move |(_, held)| is_missing(held)).map(|(l, held)| (l, held.floor.revision))
    }

    /// What this bridge says of itself in link state: its federation revision (0 for none), and SHA-256 over the
    /// digests in force, in the order of the layers. `order` is the Federation's, outermost first; layers of one kind
    /// are ordered by value, and kinds that are not in it come last.
    pub fn standing(&self, order: &[LayerKind]) -> Standing {
        let active = self.layers.iter().filter_map(|(layer, held)| Some((layer, held.active?.digest)));
        let federation_revision = self.active(&Layer::federation()).map_or(0, |(revision, _)| revision);
        Standing { federation_revision, digest: digest_of_layers(order, active) }
    }
}

/// SHA-256 over the digests of bundles in the order of their layers; `order` is as for [`Revisions::standing`].
pub fn digest_of_layers<'a>(
    order: &[LayerKind],
    bundles: impl IntoIterator<Item = (&'a Layer, Digest)>,
) -> Digest {
    let depth = |layer: &Layer| order.iter().position(|kind| *kind == layer.kind());
    let mut all: Vec<(&Layer, Digest)> = bundles.into_iter().collect();
    all.sort_by_key(|(layer, _)| (depth(layer).unwrap_or(usize::MAX), *layer));
    let digests: Vec<&[u8]> = all.iter().map(|(_, digest)| &digest.0[..]).collect();
    Digest::of(&digests)
}

fn admits(held: &Held, layer: &Layer, offered: Mark) -> Result<(), RevisionError> {
    contradicts(held.floor, layer, offered)?;
    if let Some(active) = held.active {
        contradicts(active, layer, offered)?;
        if offered.revision < active.revision {
            let (layer, offered, active) = (layer.clone(), offered.revision, active.revision);
            return Err(RevisionError::Rollback { layer, offered, active });
        }
    }
    if offered.revision < held.floor.revision {
        let (layer, offered, floor) = (layer.clone(), offered.revision, held.floor.revision);
        return Err(RevisionError::BelowFloor { layer, offered, floor });
    }
    Ok(())
}

fn contradicts(known: Mark, layer: &Layer, other: Mark) -> Result<(), RevisionError> {
    if known.revision == other.revision && known.digest != other.digest {
        let (layer, revision) = (layer.clone(), known.revision);
        let (known, other) = (known.digest, other.digest);
        return Err(RevisionError::Equivocation { layer, revision, known, other });
    }
    Ok(())
}

/// What a bridge says of its policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// 0 where the policies come from plain directories.
    pub federation_revision: u64,
    /// Over all layers in force.
    pub digest: Digest,
}

/// How a peer's policies differ from ours. Digests of bridges that hold different layers differ rightly; compare those
/// of one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    None,
    /// The peer's federation bundle is so many revisions older.
    PeerBehind(u64),
    /// Ours is.
    PeerAhead(u64),
    /// The same federation revision, and something else differs.
    Digest,
}

impl Standing {
    /// How far a peer's policies are from ours.
    pub fn drift(&self, peer: &Standing) -> Drift {
        let (own, theirs) = (self.federation_revision, peer.federation_revision);
        match own.cmp(&theirs) {
            std::cmp::Ordering::Greater => Drift::PeerBehind(own - theirs),
            std::cmp::Ordering::Less => Drift::PeerAhead(theirs - own),
            std::cmp::Ordering::Equal if self.digest == peer.digest => Drift::None,
            std::cmp::Ordering::Equal => Drift::Digest,
        }
    }
}

/// Traffic with a bridge is refused until it has a later federation bundle. It settles nothing; the event stays
/// pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "stale-policy: its federation bundle is revision {has}, and at least {needs} is required; update its bundles"
)]
pub struct StalePolicy {
    pub has: u64,
    pub needs: u64,
}

/// Whether a bridge at `federation_revision` may exchange traffic under `minRevision`. A bridge asks this of its peers
/// and of itself; 0 (plain directories) meets no `minRevision` at all.
pub fn check_min_revision(min_revision: Option<u64>, federation_revision: u64) -> Result<(), StalePolicy> {
    match min_revision {
        Some(needs) if federation_revision < needs.max(1) => {
            Err(StalePolicy { has: federation_revision, needs })
        }
        _ => Ok(()),
    }
}
