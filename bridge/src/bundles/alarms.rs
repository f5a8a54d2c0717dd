//! What somebody should look at, for as long as it is so.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{error, info};

use crate::metrics::Metrics;

/// Alarms that are kept; further ones are logged and counted only.
const ALARMS_MAX: usize = 256;

/// What is wrong. The names are label values of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AlarmKind {
    /// A signed bundle that cannot come into force: its documents, or what it would no longer prove.
    Refused,
    /// An older bundle than the one in force was offered.
    Rollback,
    /// Two different bundles are signed as one revision.
    Equivocation,
    /// Nobody entitled has signed it, or it is no bundle.
    Unsigned,
    /// A bundle in force is past its end.
    Expired,
    /// It comes into force with the next start.
    Restart,
    /// The disk does not keep what it must.
    Disk,
}

impl AlarmKind {
    pub(crate) const ALL: [AlarmKind; 7] = [
        AlarmKind::Refused,
        AlarmKind::Rollback,
        AlarmKind::Equivocation,
        AlarmKind::Unsigned,
        AlarmKind::Expired,
        AlarmKind::Restart,
        AlarmKind::Disk,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            AlarmKind::Refused => "bundle_refused",
            AlarmKind::Rollback => "bundle_rollback",
            AlarmKind::Equivocation => "bundle_equivocation",
            AlarmKind::Unsigned => "bundle_unsigned",
            AlarmKind::Expired => "bundle_expired",
            AlarmKind::Restart => "bundle_restart",
            AlarmKind::Disk => "bundle_disk",
        }
    }
}

/// The alarms of now, by what they are about: a layer, a file or a neighbour.
#[derive(Debug)]
pub(super) struct Alarms {
    current: BTreeMap<(AlarmKind, String), String>,
    /// Counts changes.
    version: u64,
    metrics: Arc<Metrics>,
}

impl Alarms {
    pub(super) fn new(metrics: Arc<Metrics>) -> Alarms {
        let alarms = Alarms { current: BTreeMap::new(), version: 0, metrics };
        alarms.show();
        alarms
    }

    /// Logged and counted when it is new, or says something new.
    pub(super) fn raise(&mut self, kind: AlarmKind, about: &str, what: String) {
        let key = (kind, about.to_owned());
        if self.current.get(&key) == Some(&what) {
            return;
        }
        error!(alarm = kind.name(), about, %what, "Policy bundle alarm");
        self.metrics.on_alarm(kind.name());
        if self.current.len() < ALARMS_MAX || self.current.contains_key(&key) {
            self.current.insert(key, what);
        }
        self.version += 1;
        self.show();
    }

    pub(super) fn clear(&mut self, kind: AlarmKind, about: &str) {
        if self.current.remove(&(kind, about.to_owned())).is_some() {
            info!(alarm = kind.name(), about, "Policy bundle alarm is over");
            self.version += 1;
            self.show();
        }
    }

    /// Ends those of a kind that `stays` says no to.
    pub(super) fn retain(&mut self, kind: AlarmKind, stays: impl Fn(&str) -> bool) {
        let over: Vec<String> = self
            .current
            .keys()
            .filter(|(of, about)| *of == kind && !stays(about))
            .map(|(_, about)| about.clone())
            .collect();
        over.iter().for_each(|about| self.clear(kind, about));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AlarmKind, &str, &str)> {
        self.current.iter().map(|((kind, about), what)| (*kind, about.as_str(), what.as_str()))
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    fn show(&self) {
        for kind in AlarmKind::ALL {
            let count = self.current.keys().filter(|(of, _)| *of == kind).count();
            self.metrics.set_policy_alarms(kind.name(), count);
        }
    }
}
