//! What the admin endpoints read from.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use meshbridge_policy::{MapKeyRing, ZoneIndex};
use serde::Serialize;

use crate::bundles::BundlesView;
use crate::drift::DriftSampler;
use crate::link::Links;
use crate::metrics::Metrics;
use crate::observers::Observers;
use crate::pipeline::Pipeline;
use crate::policy_store::PolicyStore;
use crate::router_task::RouterHandle;

/// Handles to the parts of a running bridge.
#[derive(Debug)]
pub(crate) struct AdminState {
    pub(crate) bridge: String,
    pub(crate) zone: String,
    pub(crate) links: Arc<Links>,
    pub(crate) pipeline: Pipeline,
    pub(crate) policies: Arc<PolicyStore>,
    /// `None` where policies come from plain directories alone.
    pub(crate) bundles: Option<Arc<ArcSwap<BundlesView>>>,
    pub(crate) router: RouterHandle,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) observers: Arc<Observers>,
    pub(crate) drift: Arc<DriftSampler>,
    /// Keys for data that this bridge holds.
    pub(crate) keys: Arc<MapKeyRing>,
    pub(crate) zone_index: ZoneIndex,
    pub(crate) listeners_up: AtomicBool,
    pub(crate) draining: AtomicBool,
}

/// The answer of `/readyz`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) listeners: bool,
    pub(crate) policies: bool,
    pub(crate) draining: bool,
}

impl AdminState {
    /// Ready means: clients can reach the listeners, policies are loaded, and the bridge is not stopping. Links are
    /// no part of it, or a lost peer would take a healthy zone out of service.
    pub(crate) fn readiness(&self) -> Readiness {
        let listeners = self.listeners_up.load(Ordering::Relaxed);
        let draining = self.draining.load(Ordering::Relaxed);
        let policies = self.policies.active().is_open();
        Readiness { ready: listeners && policies && !draining, listeners, policies, draining }
    }

    /// Gauges that nothing moves as it happens.
    pub(crate) fn refresh_gauges(&self) {
        let subscriptions = self.pipeline.subscriptions();
        self.metrics.subscriptions.set(i64::try_from(subscriptions).unwrap_or(i64::MAX));
        self.metrics.parked_bytes.set(i64::try_from(self.pipeline.parked_bytes()).unwrap_or(i64::MAX));
        let gaps = i64::try_from(self.pipeline.best_effort_gaps()).unwrap_or(i64::MAX);
        self.metrics.best_effort_gaps.set(gaps);
        let spool = self.pipeline.spool_figures();
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        self.metrics.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.spool_segments.set(number(spool.segments));
        self.metrics.spool_live_bytes.set(number(spool.live_bytes));
        self.metrics.spool_queued_bytes.set(number(spool.queued_bytes as u64));
        self.metrics.spool_flush_microseconds.set(number(spool.flush.as_micros() as u64));
        self.metrics.spool_admits.set(i64::from(spool.admits));
        self.metrics.spool_damaged.set(i64::from(spool.damaged));
        self.metrics.producer_window.set(number(self.pipeline.producer_window() as u64));
        for account in self.pipeline.accounts().0 {
            self.metrics.set_pending(&account.destination, account.pending);
        }
        self.metrics.quarantine_held.set(number(self.pipeline.held_pairs() as u64));
        self.pipeline.audit();
    }
}
