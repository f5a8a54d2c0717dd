//! The bundles of a bridge, as the admin port shows them.

use std::collections::BTreeMap;

use meshbridge_bundle::{Digest, Layer, digest_of_layers};
use meshbridge_policy::Federation;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::documents::{layers_for, order_of};
use super::keeper::Keeper;

/// What was true after the last change.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BundlesView {
    /// SHA-256 over the digests of the layers in force; `None` before there are any.
    pub(crate) digest: Option<String>,
    pub(crate) federation_revision: u64,
    pub(crate) generation: u64,
    /// The neighbours are being asked what this bridge had, because it has no record.
    pub(crate) recovering: bool,
    pub(crate) bundles: Vec<BundleRow>,
    pub(crate) alarms: Vec<AlarmRow>,
    /// What a bridge of each zone reports that has the newest bundles that are held here.
    #[serde(skip)]
    expected: BTreeMap<String, Digest>,
}

/// One layer.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BundleRow {
    layer: String,
    /// It speaks for the zone of this bridge; others are held to be passed on.
    own: bool,
    active: Option<u64>,
    /// The newest that is signed.
    held: Option<u64>,
    /// Of the one in force; of the newest where none is.
    digest: String,
    expires: Option<String>,
    state: &'static str,
}

/// Something to look at.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AlarmRow {
    pub(crate) kind: &'static str,
    pub(crate) about: String,
    pub(crate) what: String,
}

impl BundlesView {
    pub(super) fn of(keeper: &Keeper, generation: u64) -> BundlesView {
        let federation = keeper.federation();
        let own = layers_for(&federation, &keeper.parts.zone);
        let active = keeper.in_force.as_ref().map(|in_force| &in_force.members);
        let mut layers: Vec<&Layer> = keeper.held.keys().collect();
        layers.extend(active.into_iter().flat_map(BTreeMap::keys));
        layers.sort();
        layers.dedup();
        let bundles = layers.into_iter().map(|layer| {
            let active = active.and_then(|members| members.get(layer));
            let held = keeper.held.get(layer).map(|held| &held.member);
            let is_own = own.contains(layer);
            let shown = active.or(held);
            let newest = held.map(|held| held.revision);
            BundleRow {
                layer: layer.to_string(),
                own: is_own,
                active: active.map(|active| active.revision),
                held: newest,
                digest: shown.map(|shown| shown.digest.to_string()).unwrap_or_default(),
                expires: shown.and_then(|shown| time_text(shown.expires_unix?)),
                state: match active {
                    _ if !is_own => "relayed",
                    Some(active) if newest.is_none_or(|newest| newest <= active.revision) => "in force",
                    Some(_) => "newer refused",
                    None => "not in force",
                },
            }
        });
        let alarm = |(kind, about, what): (super::AlarmKind, &str, &str)| AlarmRow {
            kind: kind.name(),
            about: about.to_owned(),
            what: what.to_owned(),
        };
        let in_force = keeper.in_force.as_ref();
        BundlesView {
            digest: in_force.map(|in_force| in_force.digest.to_string()),
            federation_revision: in_force
                .and_then(|in_force| Some(in_force.members.get(&Layer::federation())?.revision))
                .unwrap_or(0),
            generation,
            recovering: keeper.is_recovering(),
            bundles: bundles.collect(),
            alarms: keeper.alarms.iter().map(alarm).collect(),
            expected: expected(keeper, &federation),
        }
    }

    /// Whether a bridge of this zone runs by the newest bundles that are held here. Bridges of other zones have other
    /// layers, so their digests differ rightly; each is compared with what its own zone should have.
    pub(crate) fn is_in_step(&self, zone: &str, digest: &[u8; 32]) -> Option<bool> {
        self.expected.get(zone).map(|expected| expected.0 == *digest)
    }
}

fn expected(keeper: &Keeper, federation: &Federation) -> BTreeMap<String, Digest> {
    let order = order_of(federation);
    let of = |zone: &str| {
        let layers = layers_for(federation, zone);
        let held = layers.iter().filter_map(|layer| Some((layer, keeper.held.get(layer)?.member.digest)));
        (zone.to_owned(), digest_of_layers(&order, held))
    };
    federation.zones().map(of).collect()
}

fn time_text(unix: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(unix).ok()?.format(&Rfc3339).ok()
}
