//! What is there before the policies are: the bundles on the disk, and what can bring more.

use std::sync::Arc;

use anyhow::Context as _;
use hickory_resolver::TokioResolver;
use meshbridge_policy::Federation;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bundles::{Keeper, KeeperParts};
use crate::config::Node;
use crate::link::{PeerToDial, SessionContext, accept_peers, dial_peer};
use crate::listeners;
use crate::metrics::Metrics;

/// The bundles of this bridge, where it is configured for them. From here on the federation is what they say.
pub(super) fn find_bundles(node: &mut Node, metrics: &Arc<Metrics>) -> anyhow::Result<Option<Keeper>> {
    let Some(settings) = node.bundles.clone() else { return Ok(None) };
    let keeper = Keeper::open(KeeperParts {
        bridge: node.bridge.to_string(),
        zone: node.zone.to_string(),
        settings,
        unsigned: node.policy_directories.clone(),
        federation: node.federation.clone(),
        data: node.data_dir.clone(),
        metrics: Arc::clone(metrics),
    })
    .context("cannot keep policy bundles")?;
    node.federation = Federation::clone(&keeper.federation());
    Ok(Some(keeper))
}

/// What a bridge has to run also while it has no policies yet.
pub(super) struct LinksAndAdmin {
    pub(super) context: SessionContext,
    pub(super) peers: Vec<PeerToDial>,
    pub(super) resolver: Arc<TokioResolver>,
    pub(super) admin: listeners::BoundListener,
    pub(super) router: axum::Router,
}

impl LinksAndAdmin {
    pub(super) fn spawn(self, tasks: &mut JoinSet<()>, late: &CancellationToken) {
        tasks.spawn(accept_peers(self.context.clone(), late.clone()));
        for peer in self.peers {
            let resolver = Arc::clone(&self.resolver);
            tasks.spawn(dial_peer(self.context.clone(), peer, resolver, late.clone()));
        }
        tasks.spawn(self.admin.serve_router(self.router, late.clone()));
    }
}
