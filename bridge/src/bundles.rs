//! Signed policy bundles at a running bridge: kept, activated, passed on (POLICY §10).
//!
//! ```text
//!  policy.bundles (directory) ─┐
//!                              ├─► Keeper::offer ── signature, layer, revision ──► Shelf (every layer's newest)
//!  links ◄─► Exchange ─────────┘                                                      │
//!                                                                                     ▼
//!  PolicyStore::install ◄── record fsynced ◄── invariants ◄── compile ◄── Keeper::activate
//! ```
//!
//! One task owns the keeper and the exchange; what it does with the disk, and compiling, blocks it and nobody else.
//! Where something is refused the running generation stays in force, and an alarm tells what to do.
//!
//! The surprising thing: a bridge that finds no record of what it had activated does not know whether it is new or has
//! lost its disk. It takes itself for the latter, and judges nothing before its neighbours have said what they hold.

mod alarms;
mod documents;
mod keeper;
mod scan;
mod set;
mod shelf;
mod task;
mod view;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use meshbridge_bundle::PublicKey;

pub(crate) use alarms::AlarmKind;
pub(crate) use documents::{key_ring, layers_of};
pub(crate) use keeper::{Keeper, KeeperParts};
pub(crate) use task::{BundleHandle, BundleTask, channel};
pub(crate) use view::BundlesView;

/// Where bundles come from, by the configuration of the bridge.
#[derive(Clone, Debug)]
pub(crate) struct BundleSettings {
    /// What operators drop there is read; nothing is ever written.
    pub(crate) directory: PathBuf,
    /// Signs the layer federation.
    pub(crate) root: PublicKey,
}
