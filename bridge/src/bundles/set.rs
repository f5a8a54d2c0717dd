//! One bundle of each layer, tried together: whether they make policies that this bridge may judge by.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, anyhow, bail, ensure};
use meshbridge_bundle::{
    Activation, Digest, Layer, Revisions, Verified, check_min_revision, digest_of_layers, open, verify,
};
use meshbridge_policy::{Federation, Program, SourceFile, compile};
use tracing::info;

use super::BundleSettings;
use super::alarms::AlarmKind;
use super::documents::{Contents, is_same_topology, key_ring, layers_for, layers_of_policies, order_of};
use super::shelf::Shelf;
use crate::policy_store::read_sources;

/// A bundle that may be part of a set.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) revision: u64,
    pub(super) digest: Digest,
    pub(super) expires_unix: Option<i64>,
    /// `None` for what is in force by the record alone: its key may have been replaced since.
    pub(super) verified: Option<Verified>,
}

/// A set that may come into force.
#[derive(Debug)]
pub(super) struct Edition {
    pub(super) program: Program,
    pub(super) files: usize,
    pub(super) federation: Arc<Federation>,
    pub(super) members: BTreeMap<Layer, Member>,
    pub(super) activation: Activation,
}

impl Edition {
    /// SHA-256 over the digests of the layers.
    pub(super) fn digest(&self) -> Digest {
        let marks = self.members.iter().map(|(layer, member)| (layer, member.digest));
        digest_of_layers(&order_of(&self.federation), marks)
    }

    pub(super) fn federation_revision(&self) -> u64 {
        self.members.get(&Layer::federation()).map_or(0, |member| member.revision)
    }
}

/// Why a set does not come into force.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) kind: AlarmKind,
    pub(super) what: String,
}

impl From<anyhow::Error> for Unfit {
    fn from(problem: anyhow::Error) -> Unfit {
        Unfit { kind: AlarmKind::Refused, what: format!("{problem:#}") }
    }
}

/// What a set is tried against.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) settings: &'a BundleSettings,
    pub(super) bridge: &'a str,
    pub(super) zone: &'a str,
    /// Directories with policies of layers that nobody signs.
    pub(super) unsigned: &'a [PathBuf],
    pub(super) revisions: &'a Revisions,
    /// Zones, bridges and links that this process runs with; `None` while it may still choose.
    pub(super) topology: Option<&'a Federation>,
}

impl Ground<'_> {
    /// Everything that has to hold before the record is written (POLICY §10). `set` is the whole of it, and `fresh` are
    /// the layers that would change.
    pub(super) fn judge(&self, set: &BTreeMap<Layer, Member>, fresh: &[&Layer]) -> Result<Edition, Unfit> {
        let outermost = set.get(&Layer::federation()).ok_or_else(|| {
            anyhow!("there is no bundle of the layer federation yet; sign and distribute one")
        })?;
        let (mut files, federation) = match self.contents(outermost)? {
            Contents { files, federation: Some(federation) } => (files, federation),
            Contents { .. } => return Err(anyhow!("the layer federation has no federation document").into()),
        };
        self.check_federation(&federation, outermost.revision)?;
        let ring = key_ring(&federation, self.settings.root)?;
        let wanted = layers_for(&federation, self.zone);
        let mut members = BTreeMap::new();
        let mut proposed = Vec::new();
        for layer in &wanted {
            let Some(member) = set.get(layer) else { continue };
            if fresh.contains(&layer) {
                // Again, for the keys may be others since: those of the document that comes into force with it count.
                let opened = self.open(member)?;
                proposed.push(verify(&opened, &ring).map_err(anyhow::Error::from)?);
            }
            if !layer.is_federation() {
                files.extend(self.contents(member)?.files);
            }
            members.insert(layer.clone(), member.clone());
        }
        files.extend(self.unsigned(&federation, &members)?);
        let activation = self.revisions.propose(&proposed).map_err(anyhow::Error::from)?;
        let compiled = compile(&files, &federation, Some(SystemTime::now().into()))
            .map_err(|problems| anyhow!("the policies have errors:\n{problems}"))?;
        let unproved = compiled.program.unproved();
        if unproved.has_errors() {
            return Err(anyhow!("an invariant is not proved:\n{unproved}").into());
        }
        for warning in compiled.warnings.iter().chain(unproved.iter()) {
            info!(place = %format!("{}:{}", warning.span.file, warning.span.line), warning = %warning.message, "Policy warning");
        }
        let files = files.len();
        Ok(Edition {
            program: compiled.program,
            files,
            federation: Arc::new(federation),
            members,
            activation,
        })
    }

    fn open(&self, member: &Member) -> anyhow::Result<meshbridge_bundle::Opened> {
        let read = self.shelf.archive(member.digest);
        let bytes = read.with_context(|| format!("the bundle {} cannot be read back", member.digest))?;
        let opened =
            open(&bytes).with_context(|| format!("the bundle {} was damaged here", member.digest))?;
        let digest = opened.signed_manifest().digest();
        ensure!(digest == member.digest, "the bundle {} was replaced here", member.digest);
        Ok(opened)
    }

    fn contents(&self, member: &Member) -> anyhow::Result<Contents> {
        Contents::of(&self.open(member)?)
    }

    fn check_federation(&self, federation: &Federation, revision: u64) -> Result<(), Unfit> {
        let listed = federation.bridge(self.bridge);
        if listed.is_none_or(|listed| listed.zone != self.zone) {
            let what =
                format!("its federation document has no bridge `{}` in zone `{}`", self.bridge, self.zone);
            return Err(anyhow!(what).into());
        }
        let least = Some(federation.min_revision()).filter(|least| *least > 0);
        if check_min_revision(least, revision).is_err() {
            let what = format!(
                "its minRevision {} is above its own revision {revision}, so it would refuse itself; raise minRevision one release after the bundle it names",
                federation.min_revision()
            );
            return Err(anyhow!(what).into());
        }
        if self.topology.is_some_and(|running| !is_same_topology(running, federation)) {
            let what = "its federation document has other zones, bridges or links than this bridge runs with; restart the bridge, and it comes into force".to_owned();
            return Err(Unfit { kind: AlarmKind::Restart, what });
        }
        Ok(())
    }

    /// Files of plain directories: only for layers that nobody signs.
    fn unsigned(
        &self,
        federation: &Federation,
        members: &BTreeMap<Layer, Member>,
    ) -> anyhow::Result<Vec<SourceFile>> {
        let files = read_sources(self.unsigned)?;
        for file in files.iter().filter(|file| !file.name.ends_with(".json")) {
            for (layer, line) in layers_of_policies(file) {
                let is_signed = layer == "federation"
                    || federation.signing_keys().iter().any(|key| key.layer == layer)
                    || members.keys().any(|signed| signed.to_string() == layer);
                if is_signed {
                    bail!(
                        "{}:{line} is of {layer}, which comes in signed bundles; take it out of `directories`",
                        file.name
                    );
                }
            }
        }
        Ok(files)
    }
}
