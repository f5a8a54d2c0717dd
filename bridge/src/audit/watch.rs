//! What others see of the log: its figures as metrics, and an alarm when a decision is lost.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::{AuditLog, Figures, State};
use crate::metrics::Metrics;

/// How often the figures are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Looks at the log and tells.
pub(crate) struct AuditWatch {
    log: Arc<AuditLog>,
    metrics: Arc<Metrics>,
    seen: Figures,
}

impl AuditWatch {
    pub(crate) fn new(log: Arc<AuditLog>, metrics: Arc<Metrics>) -> AuditWatch {
        // What the log wrote while it was opened counts as well.
        let seen = Figures {
            written: 0,
            gathered: 0,
            unsampled: 0,
            lost_permits: 0,
            lost_others: 0,
            ..log.figures()
        };
        AuditWatch { log, metrics, seen: Figures { state: State::Running, ..seen } }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut interval = tokio::time::interval(LOOK);
        loop {
            interval.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let (before, now) = (self.seen, self.log.figures());
        self.seen = now;
        self.metrics.on_audit(&before, &now);
        let lost = now.lost_others - before.lost_others;
        if lost > 0 {
            self.metrics.on_alarm("audit_lost");
            error!(decisions = lost, "Decisions that must be kept were not: the decision log had no room");
        }
        if now.state == before.state {
            return;
        }
        match now.state {
            State::Running => info!("The decision log is written again"),
            State::DiskFull => {
                self.metrics.on_alarm("audit_disk_full");
                warn!("The disk of the decision log is full");
            }
            State::Failed => {
                self.metrics.on_alarm("audit_failed");
                error!("The decision log has failed; what is decided from here on is not in it");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::{denial, open, options, permit, temporary};

    fn samples(metrics: &Metrics, name: &str) -> Vec<String> {
        metrics.render().lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    #[test]
    fn a_lost_decision_is_an_alarm_and_a_lost_permit_is_a_figure() {
        let directory = temporary();
        let log = Arc::new(open(directory.path(), options()));
        let metrics = Arc::new(Metrics::new());
        let mut watch = AuditWatch::new(Arc::clone(&log), Arc::clone(&metrics));
        log.record(&denial("1"));
        log.close();
        watch.look();
        assert_eq!(samples(&metrics, "meshbridge_audit_records_total"), ["meshbridge_audit_records_total 3"]);
        log.record(&permit("2"));
        watch.look();
        assert!(!metrics.render().contains("kind=\"audit_lost\""), "a permit may be lost");
        log.record(&denial("3"));
        log.record(&denial("4"));
        watch.look();
        watch.look();
        assert_eq!(
            samples(&metrics, "meshbridge_alarms_total"),
            [
                "meshbridge_alarms_total{kind=\"audit_failed\"} 1",
                "meshbridge_alarms_total{kind=\"audit_lost\"} 1"
            ],
        );
        let lost = samples(&metrics, "meshbridge_audit_lost_total");
        let expected = [("other", 2), ("permit", 1)];
        assert_eq!(
            lost,
            expected.map(|(kind, count)| format!("meshbridge_audit_lost_total{{kind=\"{kind}\"}} {count}"))
        );
    }
}
