//! Which bundles this bridge holds, and which are in force: the rules of POLICY §10, in their order.
//!
//! Nothing here waits for anybody. What is offered comes from a file or from a neighbour and is treated alike; what is
//! held is signed; what is in force compiled, proved what it must, and was recorded before it came into force.
//!
//! Where several layers have something new, all of it is tried together. If that does not do, as much as does: with the
//! outermost layer rather than without it, for it only tightens, and so on inwards. A broken bundle of a zone thus keeps
//! back nothing of the federation. Only a bridge that has no record of anything needs all of it: it cannot know which
//! layer it judged by before.

mod activation;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use meshbridge_bundle::{
    ARCHIVE_BYTES_MAX, Digest, KeyRing, Layer, Observation, Offer, Revisions, StateError, Verified,
    VerifyError, open, verify,
};
use meshbridge_policy::Federation;
use tracing::{info, warn};

use super::BundleSettings;
use super::alarms::{AlarmKind, Alarms};
use super::documents::{Contents, key_ring, layers_for};
use super::set::Member;
use super::shelf::Shelf;
use crate::metrics::Metrics;
use crate::policy_store::Generation;

/// Bytes of bundles that are held for others only.
const RELAYED_BYTES_MAX: u64 = 256 << 20;

/// What a keeper is made from.
#[derive(Debug)]
pub(crate) struct KeeperParts {
    pub(crate) bridge: String,
    pub(crate) zone: String,
    pub(crate) settings: BundleSettings,
    /// Plain directories with policies of layers that nobody signs.
    pub(crate) unsigned: Vec<PathBuf>,
    /// The document of the configuration; it counts until a signed one is held.
    pub(crate) federation: Federation,
    pub(crate) data: PathBuf,
    pub(crate) metrics: Arc<Metrics>,
}

/// Why the bundles of a bridge cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenBundlesError {
    /// The data directory cannot be used.
    #[error("cannot use `{}`", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A newer meshbridge wrote the record; an older one must not guess what it says.
    #[error("cannot use the record of activated bundles")]
    Record(#[from] StateError),
    /// The configuration's own federation document binds keys wrongly.
    #[error("cannot use the keys of the federation document: {0}")]
    Keys(String),
}

/// Who brought a bundle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    File(&'a str),
    /// A neighbour, and what it said it would be.
    Peer(&'a str, &'a Offer),
}

/// What became of a bundle that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It is held now.
    Taken,
    /// It is held, or in force.
    Known,
    /// A newer one is.
    Older(String),
    /// It is no bundle, or not signed as it must be.
    Wrong(String),
    /// Nobody signs for its layer, as far as is known here.
    Unknown(String),
    /// It is signed, and so is another one with its number.
    Contradicts(String),
    /// There is no room for it.
    NotNow(String),
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) member: Member,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct InForce {
    pub(super) federation: Arc<Federation>,
    pub(super) members: BTreeMap<Layer, Member>,
    pub(super) digest: Digest,
}

/// The bundles of one bridge.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(super) parts: KeeperParts,
    pub(super) shelf: Shelf,
    pub(super) revisions: Revisions,
    pub(super) held: BTreeMap<Layer, Held>,
    pub(super) alarms: Alarms,
    pub(super) in_force: Option<InForce>,
    topology: Option<Arc<Federation>>,
    first: Option<Generation>,
    ring: KeyRing,
    /// What did not come into force the last time, so that it is not proved again for nothing.
    tried: Vec<Digest>,
    /// Of the files in the directory, as of the last look.
    pub(super) seen: BTreeSet<Digest>,
    pub(super) has_scanned: bool,
}

impl Keeper {
    /// Finds what there is on the disk, and what of it was in force.
    pub(crate) fn open(parts: KeeperParts) -> Result<Keeper, OpenBundlesError> {
        let shelf = Shelf::open(&parts.data)
            .map_err(|source| OpenBundlesError::Unusable { path: parts.data.clone(), source })?;
        let unusable = |source| OpenBundlesError::Unusable { path: shelf.directory().to_owned(), source };
        let revisions = match shelf.record().map_err(unusable)?.map(|bytes| Revisions::from_bytes(&bytes)) {
            Some(Ok(revisions)) => revisions,
            Some(Err(StateError::Damaged)) => {
                warn!("The record of activated bundles is damaged; the neighbours are asked");
                Revisions::recovering()
            }
            Some(Err(problem)) => return Err(problem.into()),
            None => Revisions::recovering(),
        };
        let ring = key_ring(&parts.federation, parts.settings.root)
            .map_err(|problem| OpenBundlesError::Keys(format!("{problem:#}")))?;
        let mut keeper = Keeper {
            alarms: Alarms::new(Arc::clone(&parts.metrics)),
            parts,
            shelf,
            revisions,
            held: BTreeMap::new(),
            in_force: None,
            topology: None,
            ring,
            tried: Vec::new(),
            seen: BTreeSet::new(),
            has_scanned: false,
            first: None,
        };
        keeper.find_held().map_err(|source| OpenBundlesError::Unusable {
            path: keeper.shelf.directory().to_owned(),
            source,
        })?;
        if !keeper.is_recovering() {
            keeper.first = keeper.activate(true);
        }
        // From now on zones, bridges and links stay as they are.
        keeper.topology = Some(keeper.federation());
        Ok(keeper)
    }

    fn find_held(&mut self) -> std::io::Result<()> {
        let mut inner = Vec::new();
        for digest in self.shelf.digests()? {
            let archive = self.shelf.archive(digest);
            let opened = archive.ok().and_then(|bytes| Some((bytes.len(), open(&bytes).ok()?)));
            match opened {
                Some((bytes, opened)) if opened.signed_manifest().digest() == digest => {
                    match opened.manifest().layer().is_federation() {
                        true => self.find(&opened, bytes),
                        false => inner.push((opened, bytes)),
                    }
                }
                _ => warn!(%digest, "A bundle in the data directory is damaged; it is fetched again"),
            }
        }
        self.renew_ring();
        for (opened, bytes) in inner {
            self.find(&opened, bytes);
        }
        Ok(())
    }

    fn find(&mut self, opened: &meshbridge_bundle::Opened, bytes: usize) {
        let manifest = opened.manifest();
        let (layer, digest) = (manifest.layer(), opened.signed_manifest().digest());
        let verified = verify(opened, &self.ring).ok();
        let is_recorded = self.revisions.active(layer).is_some_and(|(_, active)| active == digest);
        let is_newer = self.held.get(layer).is_none_or(|held| held.member.revision < manifest.revision());
        if (verified.is_some() || is_recorded) && is_newer {
            let member = Member {
                revision: manifest.revision(),
                digest,
                expires_unix: manifest.expires_unix(),
                verified,
            };
            self.held.insert(layer.clone(), Held { member, bytes: bytes as u64 });
        }
    }

    /// No record was found, or it is not whole: what neighbours show is the floor.
    pub(crate) fn is_recovering(&self) -> bool {
        self.revisions.is_recovering()
    }

    /// All neighbours have said what they hold. The floors stay.
    pub(super) fn finish_recovery(&mut self) {
        if self.is_recovering() && self.in_force.is_some() {
            self.revisions.finish_recovery();
            self.write_record();
        }
    }

    /// The document that counts: the one in force, else the newest that root has signed, else that of the configuration.
    pub(crate) fn federation(&self) -> Arc<Federation> {
        if let Some(in_force) = &self.in_force {
            return Arc::clone(&in_force.federation);
        }
        let listed = |federation: &Federation| {
            let bridge = federation.bridge(&self.parts.bridge);
            bridge.is_some_and(|bridge| bridge.zone == self.parts.zone)
        };
        let signed = self.held_federation().filter(listed);
        Arc::new(signed.unwrap_or_else(|| self.parts.federation.clone()))
    }

    /// What was in force before the restart, or is newer; not where this bridge is recovering.
    pub(crate) fn take_first(&mut self) -> Option<Generation> {
        self.first.take()
    }

    fn held_federation(&self) -> Option<Federation> {
        let held = self.held.get(&Layer::federation())?;
        let opened = open(&self.shelf.archive(held.member.digest).ok()?).ok()?;
        Contents::of(&opened).ok()?.federation
    }

    /// Keys of inner layers are those of the newest document that root has signed, in force or not: what they sign is
    /// held and passed on, and looked at once more before it comes into force.
    fn renew_ring(&mut self) {
        if let Some(federation) = self.held_federation()
            && let Ok(ring) = key_ring(&federation, self.parts.settings.root)
        {
            self.ring = ring;
        }
    }

    /// One of each layer, for the neighbours. What is in force and was lost from the disk is not among them.
    pub(super) fn offers(&self) -> Vec<Offer> {
        let offer = |(layer, held): (&Layer, &Held)| Offer {
            layer: layer.clone(),
            revision: held.member.revision,
            digest: held.member.digest,
        };
        self.held.iter().map(offer).collect()
    }

    /// The part of an archive that a neighbour asked for, with the size of the whole.
    pub(super) fn part(&self, digest: Digest, offset: u32) -> std::io::Result<(u32, Vec<u8>)> {
        self.shelf.part(digest, offset)
    }

    /// What is in force, for people: `federation@3 <digest>`.
    pub(super) fn in_force_names(&self) -> Vec<String> {
        let members = self.in_force.iter().flat_map(|in_force| &in_force.members);
        members.map(|(layer, member)| format!("{layer}@{} {}", member.revision, member.digest)).collect()
    }

    /// A session is over, and with it what there was to say of the neighbour.
    pub(super) fn forget_peer(&mut self, bridge: &str) {
        self.alarms.clear(AlarmKind::Unsigned, &about_peer(bridge));
    }

    /// Takes a bundle onto the disk if somebody entitled has signed it and it is newer than what is held.
    pub(super) fn offer(&mut self, archive: &[u8], source: Source<'_>) -> Offered {
        let offered = self.try_offer(archive, source);
        let about = match source {
            Source::File(name) => name.to_owned(),
            Source::Peer(bridge, _) => about_peer(bridge),
        };
        match &offered {
            Offered::Wrong(what) => self.alarms.raise(AlarmKind::Unsigned, &about, what.clone()),
            Offered::Taken | Offered::Known => self.alarms.clear(AlarmKind::Unsigned, &about),
            Offered::Older(_) | Offered::Unknown(_) | Offered::Contradicts(_) | Offered::NotNow(_) => {}
        }
        offered
    }

    fn try_offer(&mut self, archive: &[u8], source: Source<'_>) -> Offered {
        if archive.len() > ARCHIVE_BYTES_MAX {
            return Offered::Wrong(format!(
                "it has {} bytes, a bundle has {ARCHIVE_BYTES_MAX} at most",
                archive.len()
            ));
        }
        let opened = match open(archive) {
            Ok(opened) => opened,
            Err(problem) => return Offered::Wrong(format!("{:#}", anyhow::Error::from(problem))),
        };
        let verified = match verify(&opened, &self.ring) {
            Ok(verified) => verified,
            // Its keys may come with a document that is still on its way.
            Err(problem @ VerifyError::NoKey(_)) if matches!(source, Source::Peer(..)) => {
                return Offered::Unknown(problem.to_string());
            }
            Err(problem) => return Offered::Wrong(problem.to_string()),
        };
        if let Source::Peer(_, offer) = source
            && (offer.digest, offer.revision, &offer.layer)
                != (verified.digest(), verified.revision(), verified.layer())
        {
            return Offered::Wrong("it is another bundle than the one that was offered".to_owned());
        }
        if let Some(settled) = self.compare(&verified) {
            return settled;
        }
        let layer = verified.layer().clone();
        let federation = self.federation();
        let is_own = layers_for(&federation, &self.parts.zone).contains(&layer);
        let others = self.held.iter().filter(|(of, _)| **of != layer).map(|(_, held)| held.bytes);
        if !is_own && others.sum::<u64>() + archive.len() as u64 > RELAYED_BYTES_MAX {
            let what = format!("bundles of other layers have {RELAYED_BYTES_MAX} bytes at most here");
            warn!(%layer, %what, "A bundle is not passed on");
            return Offered::NotNow(what);
        }
        if let Err(problem) = self.shelf.put(verified.digest(), archive) {
            self.alarms.raise(AlarmKind::Disk, "shelf", format!("a bundle cannot be kept: {problem}"));
            return Offered::NotNow(problem.to_string());
        }
        self.alarms.clear(AlarmKind::Disk, "shelf");
        let (revision, digest) = (verified.revision(), verified.digest());
        info!(%layer, revision, %digest, key = verified.key(), ?source, "Policy bundle taken");
        let member =
            Member { revision, digest, expires_unix: verified.expires_unix(), verified: Some(verified) };
        self.held.insert(layer.clone(), Held { member, bytes: archive.len() as u64 });
        if layer.is_federation() {
            self.renew_ring();
        }
        self.tidy();
        Offered::Taken
    }

    /// With what is in force, with the floor, and with what is held. `None`: it is newer than all of them.
    fn compare(&mut self, verified: &Verified) -> Option<Offered> {
        let layer = verified.layer();
        let observed = match self.revisions.observe(verified) {
            Ok(observed) => observed,
            Err(problem) => return Some(self.equivocation(layer, problem.to_string())),
        };
        if observed == Observation::Floor {
            self.write_record();
        }
        let older = |what: String| Some(Offered::Older(what));
        let (offered, floor) = (verified.revision(), self.revisions.floor(layer).map(|(floor, _)| floor));
        match self.revisions.active(layer) {
            Some((active, _)) if offered < active => {
                return older(format!(
                    "revision {offered} of layer {layer} is older than revision {active} in force; to go back, sign the old content under a new revision"
                ));
            }
            _ if floor.is_some_and(|floor| offered < floor) => {
                return older(format!(
                    "revision {offered} of layer {layer} is older than revision {}, which this bridge had or was shown before; fetch that one or a later one",
                    floor.unwrap_or_default()
                ));
            }
            _ => {}
        }
        let held = &self.held.get(layer)?.member;
        if held.revision == offered && held.digest != verified.digest() {
            let what = format!(
                "two different bundles of layer {layer} are signed as revision {offered}: {} and {}; find out who signed them, and sign the right one under a new revision",
                held.digest,
                verified.digest()
            );
            return Some(self.equivocation(layer, what));
        }
        match held.revision.cmp(&offered) {
            std::cmp::Ordering::Less => None,
            std::cmp::Ordering::Equal => Some(Offered::Known),
            std::cmp::Ordering::Greater => {
                older(format!("revision {} of layer {layer} is held already", held.revision))
            }
        }
    }

    fn equivocation(&mut self, layer: &Layer, what: String) -> Offered {
        self.alarms.raise(AlarmKind::Equivocation, &layer.to_string(), what.clone());
        Offered::Contradicts(what)
    }

    fn write_record(&mut self) {
        match self.shelf.write_record(&self.revisions.to_bytes()) {
            Ok(()) => self.alarms.clear(AlarmKind::Disk, "record"),
            Err(problem) => {
                self.alarms.raise(
                    AlarmKind::Disk,
                    "record",
                    format!("a floor cannot be recorded: {problem}"),
                );
            }
        }
    }

    /// Removes archives that are neither held nor in force.
    fn tidy(&self) {
        let active = self.held.keys().filter_map(|layer| self.revisions.active(layer));
        let mut wanted: BTreeSet<Digest> = active.map(|(_, digest)| digest).collect();
        wanted.extend(self.held.values().map(|held| held.member.digest));
        let running = self.in_force.iter().flat_map(|in_force| in_force.members.values());
        wanted.extend(running.map(|member| member.digest));
        self.shelf.keep(&wanted);
    }
}

fn about_peer(bridge: &str) -> String {
    format!("bridge {bridge}")
}
