//! From what is held to what is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use meshbridge_bundle::{Digest, Layer, open};
use meshbridge_routing::wire::PolicyMark;

use super::super::alarms::AlarmKind;
use super::super::documents::layers_for;
use super::super::set::{Edition, Ground, Member, Unfit};
use super::{InForce, Keeper};
use crate::policy_store::Generation;

/// Layers that may have something new at once; the Federation knows five kinds.
const FRESH_MAX: usize = 5;

impl Keeper {
    /// Tries to bring what is held into force. `Some`: these policies are recorded, and have to be judged by from now on.
    /// `again`: also where nothing new is held, for plain directories may have changed.
    pub(crate) fn activate(&mut self, again: bool) -> Option<Generation> {
        let base: BTreeMap<Layer, Member> = self.base();
        let mut fresh = self.fresh(&base);
        fresh.truncate(FRESH_MAX);
        let digests: Vec<Digest> = fresh.iter().map(|(_, member)| member.digest).collect();
        let is_open = self.in_force.is_some();
        if is_open && !again && (digests.is_empty() || digests == self.tried) {
            return None;
        }
        if fresh.is_empty() && base.is_empty() {
            return None;
        }
        self.tried = digests;
        let mut failed: Vec<(usize, Unfit)> = Vec::new();
        let all = (1usize << fresh.len()) - 1;
        // The outermost layer has the highest bit, so that sets with it come before all without it.
        let bit = |at: usize| 1usize << (fresh.len() - 1 - at);
        let mut found = None;
        for mask in (0..=all).rev() {
            let chosen: Vec<&(Layer, Member)> =
                fresh.iter().enumerate().filter(|(at, _)| mask & bit(*at) != 0).map(|(_, one)| one).collect();
            // A bridge without a record may have had what does not fit now: it begins with every layer, or not at all.
            if mask != all && base.is_empty() {
                break;
            }
            // What is in force alone is only looked at where it may have become something else.
            if mask == 0 && is_open && !again {
                break;
            }
            let mut set = base.clone();
            set.extend(chosen.iter().map(|(layer, member)| (layer.clone(), member.clone())));
            let layers: Vec<&Layer> = chosen.iter().map(|(layer, _)| layer).collect();
            match self.ground().judge(&set, &layers) {
                Ok(edition) => {
                    found = Some((mask, edition));
                    break;
                }
                Err(unfit) => failed.push((mask, unfit)),
            }
        }
        let won = found.as_ref().map_or(0, |(mask, _)| *mask);
        let mut refused: BTreeSet<(AlarmKind, String)> = BTreeSet::new();
        for (at, (layer, member)) in fresh.iter().enumerate().filter(|(at, _)| won & bit(*at) == 0) {
            let with_it = failed.iter().find(|(mask, _)| *mask == won | bit(at)).or(failed.first());
            if let Some((_, Unfit { kind, what })) = with_it {
                refused.insert((*kind, layer.to_string()));
                let what = format!("revision {} does not come into force: {what}", member.revision);
                self.alarms.raise(*kind, &layer.to_string(), what);
            }
        }
        if found.is_none()
            && let Some((_, Unfit { kind, what })) = failed.into_iter().find(|(mask, _)| *mask == 0)
        {
            refused.insert((kind, "policies".to_owned()));
            self.alarms.raise(kind, "policies", what);
        }
        for kind in [AlarmKind::Refused, AlarmKind::Restart] {
            self.alarms.retain(kind, |about| refused.contains(&(kind, about.to_owned())));
        }
        self.install(found?.1)
    }

    /// What is in force, by the record, as far as it is on the disk.
    fn base(&self) -> BTreeMap<Layer, Member> {
        if let Some(in_force) = &self.in_force {
            return in_force.members.clone();
        }
        let on_disk = self.shelf.digests().unwrap_or_default();
        let mut base = BTreeMap::new();
        for layer in layers_for(&self.federation(), &self.parts.zone) {
            let Some((revision, digest)) = self.revisions.active(&layer) else { continue };
            let held = self.held.get(&layer).map(|held| &held.member).filter(|held| held.digest == digest);
            let manifest = |digest| {
                let opened = open(&self.shelf.archive(digest).ok()?).ok()?;
                Some(opened.manifest().expires_unix())
            };
            let expires_unix = match held {
                Some(held) => held.expires_unix,
                None => on_disk.contains(&digest).then(|| manifest(digest)).flatten().flatten(),
            };
            base.insert(layer, Member { revision, digest, expires_unix, verified: None });
        }
        base
    }

    /// What is held and newer than `base`, the outermost layer first.
    fn fresh(&self, base: &BTreeMap<Layer, Member>) -> Vec<(Layer, Member)> {
        let mut layers = layers_for(&self.federation(), &self.parts.zone);
        // A document that is not in force yet may put the zone under other layers.
        if let Some(next) = self.held_federation() {
            for layer in layers_for(&next, &self.parts.zone) {
                if !layers.contains(&layer) {
                    layers.push(layer);
                }
            }
        }
        let is_fresh = |layer: &Layer| {
            let held = &self.held.get(layer)?.member;
            held.verified.as_ref()?;
            let is_newer = base.get(layer).is_none_or(|active| active.revision < held.revision);
            is_newer.then(|| (layer.clone(), held.clone()))
        };
        layers.iter().filter_map(is_fresh).collect()
    }

    fn ground(&self) -> Ground<'_> {
        Ground {
            shelf: &self.shelf,
            settings: &self.parts.settings,
            bridge: &self.parts.bridge,
            zone: &self.parts.zone,
            unsigned: &self.parts.unsigned,
            revisions: &self.revisions,
            topology: self.topology.as_deref(),
        }
    }

    /// The last two steps before the swap: the record is on the disk, or nothing changes.
    fn install(&mut self, edition: Edition) -> Option<Generation> {
        let (digest, federation_revision) = (edition.digest(), edition.federation_revision());
        let Edition { program, files, federation, members, activation } = edition;
        if !activation.is_unchanged() {
            if let Err(problem) = self.shelf.write_record(&activation.state()) {
                let what = format!("what comes into force cannot be recorded: {problem}");
                self.alarms.raise(AlarmKind::Disk, "record", what);
                self.tried.clear();
                return None;
            }
            self.alarms.clear(AlarmKind::Disk, "record");
            self.revisions.commit(activation).expect("nothing was activated between proposal and commit");
        }
        for layer in members.keys() {
            let before = self.in_force.as_ref().and_then(|in_force| in_force.members.get(layer));
            if before.is_some_and(|before| Some(before.digest) != members.get(layer).map(|now| now.digest)) {
                self.alarms.clear(AlarmKind::Equivocation, &layer.to_string());
            }
        }
        for (layer, member) in &members {
            self.parts.metrics.set_policy_revision(&layer.to_string(), member.revision);
        }
        let min_revision = federation.min_revision();
        self.in_force = Some(InForce { federation, members, digest });
        self.tidy();
        self.watch_ends();
        let mark = PolicyMark { digest: digest.0, federation_revision };
        // Whoever installs it counts.
        Some(Generation { program, number: 0, files, loaded_at: SystemTime::now(), mark, min_revision })
    }

    /// Alarms for what is past its end; the policies stay in force.
    pub(in crate::bundles) fn watch_ends(&mut self) {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        let Some(in_force) = &self.in_force else { return };
        let mut over = BTreeSet::new();
        for (layer, member) in &in_force.members {
            if member.expires_unix.is_some_and(|end| end <= now) {
                let what = format!(
                    "revision {} is past its end and stays in force; sign a new revision, and find out whether one is kept from this bridge",
                    member.revision
                );
                self.alarms.raise(AlarmKind::Expired, &layer.to_string(), what);
                over.insert(layer.to_string());
            }
        }
        self.alarms.retain(AlarmKind::Expired, |about| over.contains(about));
    }
}
