//! Every metric of a bridge: names, label values and help texts live here and nowhere else.
//!
//! Labels are enums or names from the configuration, never topics or error texts. The help text says when a metric
//! moves. Handles that the data path needs are resolved once per link or listener.

mod drop_reason;
mod link;

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::audit::Figures;

pub(crate) use drop_reason::DropReason;
pub(crate) use link::LinkMetrics;

/// All metrics of one bridge.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    link_bytes: IntCounterVec,
    link_events: IntCounterVec,
    link_sessions: IntCounterVec,
    link_up: prometheus::IntGaugeVec,
    link_transport: prometheus::IntGaugeVec,
    published: IntCounter,
    delivered: IntCounter,
    unrouted: IntCounter,
    dropped: IntCounterVec,
    verdicts: IntCounterVec,
    passed_publish: IntCounter,
    passed_deliver: IntCounter,
    reloads: IntCounterVec,
    ended: IntCounterVec,
    alarms: IntCounterVec,
    out_of_order: IntCounter,
    group_moves: IntCounter,
    delivery_refused: IntCounterVec,
    pub(crate) best_effort_gaps: IntGauge,
    pub(crate) spool_segments: IntGauge,
    pub(crate) spool_live_bytes: IntGauge,
    pub(crate) spool_queued_bytes: IntGauge,
    pub(crate) spool_flush_microseconds: IntGauge,
    pub(crate) spool_admits: IntGauge,
    pub(crate) spool_damaged: IntGauge,
    audit_records: IntCounter,
    audit_gathered: IntCounter,
    audit_unsampled: IntCounter,
    audit_lost: IntCounterVec,
    audit_segments: IntGauge,
    audit_queued_bytes: IntGauge,
    audit_state: IntGauge,
    pub(crate) tasks: IntGauge,
    pub(crate) dead_letters: IntGauge,
    pub(crate) quarantine_held: IntGauge,
    quarantine_ended: IntCounterVec,
    pending: prometheus::IntGaugeVec,
    pub(crate) unbalanced: IntGauge,
    pub(crate) producer_window: IntGauge,
    notices: IntCounterVec,
    left_out: IntCounterVec,
    late: IntCounterVec,
    pub(crate) policy_generation: IntGauge,
    policy_alarms: prometheus::IntGaugeVec,
    policy_revision: prometheus::IntGaugeVec,
    pub(crate) policy_drift: IntGauge,
    pub(crate) subscriptions: IntGauge,
    pub(crate) routes_reachable: IntGauge,
    pub(crate) interest_cut_off_bridges: IntGauge,
    pub(crate) drift_samples: IntCounter,
    drift: IntCounterVec,
    pub(crate) interest_untold_filters: IntGauge,
    pub(crate) parked_bytes: IntGauge,
    pub(crate) certificate_not_after: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let registry = Registry::new();
        let counter = |name: &str, help: &str| register(&registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help));
        let counters = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let verdicts = counters(
            "meshbridge_policy_verdicts_total",
            "Policy decisions; moves once for each event that is published, its destination class, its arrival, and the principal it is handed to.",
            &["context", "layer", "rule", "verdict"],
        );
        // Resolved once: most topics of most bridges pass these without a rule.
        let passed = |context: &str| verdicts.with_label_values(&[context, "", "", "forward"]);
        Metrics {
            passed_publish: passed("publish"),
            passed_deliver: passed("deliver"),
            link_bytes: counters(
                "meshbridge_link_bytes_total",
                "Bytes a link carried; data moves only with events, control with hellos, topology and interest.",
                &["peer", "direction", "plane"],
            ),
            link_events: counters(
                "meshbridge_link_events_total",
                "Frames a link carried; moves once for each event and next hop.",
                &["peer", "direction"],
            ),
            link_sessions: counters(
                "meshbridge_link_sessions_total",
                "Sessions of a link that completed their handshake; moves at every reconnect.",
                &["peer"],
            ),
            link_up: register(
                &registry,
                prometheus::IntGaugeVec::new(
                    Opts::new("meshbridge_link_up", "1 while the link has a live session, else 0."),
                    &["peer"],
                ),
            ),
            link_transport: register(
                &registry,
                prometheus::IntGaugeVec::new(
                    Opts::new(
                        "meshbridge_link_transport",
                        "1 for what carries the live session of a link, quic or tcp, else 0.",
                    ),
                    &["peer", "transport"],
                ),
            ),
            published: counter(
                "meshbridge_events_published_total",
                "Events taken from clients; moves when the publisher is answered 202 or OK.",
            ),
            delivered: counter(
                "meshbridge_events_delivered_total",
                "Events handed to subscribers; moves once for each event and subscriber.",
            ),
            unrouted: counter(
                "meshbridge_events_unrouted_total",
                "Events published while nobody, here or elsewhere, was subscribed to their topic.",
            ),
            dropped: counters(
                "meshbridge_events_dropped_total",
                "Events or copies that went no further here; moves with the reason, at the bridge that dropped.",
                &["reason", "intentional"],
            ),
            verdicts,
            reloads: counters(
                "meshbridge_policy_reloads_total",
                "Attempts to load policies again; `refused` kept the running generation.",
                &["outcome"],
            ),
            left_out: counters(
                "meshbridge_destinations_left_out_total",
                "Interested bridges that a publication did not take into its destinations; moves once for each event and bridge.",
                &["reason"],
            ),
            late: counters(
                "meshbridge_late_news_total",
                "Receipts of removed bridges, and outcomes of pairs that had ended here otherwise; they change nothing.",
                &["kind"],
            ),
            notices: counters(
                "meshbridge_notices_total",
                "What other bridges reported of events published here; moves when the report arrives.",
                &["kind"],
            ),
            ended: counters(
                "meshbridge_pairs_ended_total",
                "Pairs of event and destination that ended, as this bridge learned it: own events, and events delivered here.",
                &["outcome"],
            ),
            alarms: counters(
                "meshbridge_alarms_total",
                "Things somebody should look at; each is logged with its details.",
                &["kind"],
            ),
            out_of_order: counter(
                "meshbridge_events_out_of_order_total",
                "Events offered although an earlier one of their lane was missing, after a wait of 60 seconds, or after a later one, as what was held.",
            ),
            group_moves: counter(
                "meshbridge_group_moves_total",
                "Events for which a consumer group's bridge was chosen anew; moves when the last member at a bridge has left.",
            ),
            delivery_refused: counters(
                "meshbridge_delivery_refused_total",
                "Receipts, exchanges and fences that were not believed, or had no key to be sent with; `unproven` and `no_key` move when a bridge starts.",
                &["reason"],
            ),
            best_effort_gaps: gauge(
                "meshbridge_best_effort_gaps",
                "Gaps in the numbers of best-effort events that came here since the start; each is at least one that was lost on the way or is still on it.",
            ),
            spool_segments: gauge(
                "meshbridge_spool_segments",
                "Files of the spool; moves when one is begun, or given back.",
            ),
            spool_live_bytes: gauge(
                "meshbridge_spool_live_bytes",
                "Bytes of events in the spool that somebody still needs.",
            ),
            spool_queued_bytes: gauge(
                "meshbridge_spool_queued_bytes",
                "Bytes that wait to be written to the spool.",
            ),
            spool_flush_microseconds: gauge(
                "meshbridge_spool_flush_microseconds",
                "How long the last flush of the spool took.",
            ),
            spool_admits: gauge(
                "meshbridge_spool_admits",
                "1 while the spool takes events, 0 while it is full or its disk is.",
            ),
            spool_damaged: gauge(
                "meshbridge_spool_damaged",
                "1 when a part of the spool has rotted or is missing; it stays until the next start.",
            ),
            audit_records: counter(
                "meshbridge_audit_records_total",
                "Records written to the decision log, its own notes included.",
            ),
            audit_gathered: counter(
                "meshbridge_audit_gathered_total",
                "Decisions about edited or warned-about events that were written as one record with others.",
            ),
            audit_unsampled: counter(
                "meshbridge_audit_unsampled_total",
                "Plain permits that were not chosen for the decision log.",
            ),
            audit_lost: counters(
                "meshbridge_audit_lost_total",
                "Decisions that the log had no room for; `other` is what must be kept, and an alarm.",
                &["kind"],
            ),
            audit_segments: gauge(
                "meshbridge_audit_segments",
                "Files of the decision log; moves when one is begun, or the oldest goes.",
            ),
            audit_queued_bytes: gauge(
                "meshbridge_audit_queued_bytes",
                "Bytes that wait to be written to the decision log.",
            ),
            audit_state: gauge(
                "meshbridge_audit_state",
                "0 while the decision log is written, 1 while its disk is full, 2 when it has failed.",
            ),
            tasks: gauge(
                "meshbridge_tasks",
                "Tasks that live now; what connections, links and subscriptions hold.",
            ),
            dead_letters: gauge(
                "meshbridge_dead_letters",
                "Dead letters of subscriptions and of rules that are kept here.",
            ),
            quarantine_held: gauge(
                "meshbridge_quarantine_held",
                "Pairs of own events and a destination that a rule holds until a person decides.",
            ),
            quarantine_ended: counters(
                "meshbridge_quarantine_ended_total",
                "Held pairs that a person released or refused, or that nobody decided about in time.",
                &["how"],
            ),
            pending: register(
                &registry,
                prometheus::IntGaugeVec::new(
                    Opts::new(
                        "meshbridge_delivery_pending",
                        "Pairs of own events and this destination that have not ended.",
                    ),
                    &["destination"],
                ),
            ),
            unbalanced: gauge(
                "meshbridge_delivery_unbalanced",
                "Destinations whose account does not balance; anything but 0 is a fault of the bridge.",
            ),
            producer_window: gauge(
                "meshbridge_producer_window_ids",
                "Ids of producers whose retries are recognised.",
            ),
            policy_generation: gauge(
                "meshbridge_policy_generation",
                "Number of the policy generation in force; moves at every successful reload.",
            ),
            policy_alarms: register(
                &registry,
                prometheus::IntGaugeVec::new(
                    Opts::new(
                        "meshbridge_policy_alarms",
                        "Alarms about policy bundles that are not over, by kind; `meshbridge policy bundles` tells them.",
                    ),
                    &["kind"],
                ),
            ),
            policy_revision: register(
                &registry,
                prometheus::IntGaugeVec::new(
                    Opts::new(
                        "meshbridge_policy_revision",
                        "Revision of the signed bundle in force, by layer; moves when one comes into force.",
                    ),
                    &["layer"],
                ),
            ),
            policy_drift: gauge(
                "meshbridge_policy_drift_bridges",
                "Bridges, this one included, that report other policies than the newest bundles for their zone; with plain directories, others than this one.",
            ),
            subscriptions: gauge("meshbridge_subscriptions", "Live subscriptions of clients at this bridge."),
            routes_reachable: gauge("meshbridge_routes_reachable", "Other bridges that a path leads to now."),
            drift_samples: counter(
                "meshbridge_policy_drift_samples_total",
                "Published events looked through for what the Classification does not declare.",
            ),
            drift: counters(
                "meshbridge_policy_drift_total",
                "Such findings; moves once for each class and place in a sample.",
                &["class"],
            ),
            interest_cut_off_bridges: gauge(
                "meshbridge_interest_cut_off_bridges",
                "Bridges that may learn something of what is wanted here and are reached through zones alone that may not.",
            ),
            interest_untold_filters: gauge(
                "meshbridge_interest_untold_filters",
                "Filters told to no other zone, because the policies divide what is wanted among too many audiences.",
            ),
            parked_bytes: gauge(
                "meshbridge_parked_bytes",
                "Bytes of events that wait for a path; each waits five seconds at most.",
            ),
            certificate_not_after: gauge(
                "meshbridge_certificate_not_after_seconds",
                "Unix time at which the bridge's own certificate ends; moves when it is reloaded.",
            ),
            registry,
        }
    }

    pub(crate) fn on_published(&self, events: u64, unrouted: u64) {
        self.published.inc_by(events);
        self.unrouted.inc_by(unrouted);
    }

    pub(crate) fn on_delivered(&self, events: u64) {
        self.delivered.inc_by(events);
    }

    pub(crate) fn on_dropped(&self, reason: DropReason, events: u64) {
        if events > 0 {
            self.dropped.with_label_values(&reason.labels()).inc_by(events);
        }
    }

    /// `rule` and `layer` are names from policy documents: bounded by what an operator wrote.
    pub(crate) fn on_verdict(&self, context: &str, layer: &str, rule: &str, verdict: &str) {
        self.on_verdicts(context, layer, rule, verdict, 1);
    }

    /// The same of so many events.
    pub(crate) fn on_verdicts(&self, context: &str, layer: &str, rule: &str, verdict: &str, events: u64) {
        self.verdicts.with_label_values(&[context, layer, rule, verdict]).inc_by(events);
    }

    /// Events that go on, edited or as they are.
    pub(crate) fn on_forwarded(&self, context: &str, is_edited: bool, events: u64) {
        let verdict = if is_edited { "protect" } else { "forward" };
        self.verdicts.with_label_values(&[context, "", "", verdict]).inc_by(events);
    }

    /// No rule has anything to ask of the topic in a context inside the zone.
    pub(crate) fn on_passed(&self, context: meshbridge_policy::Context, events: u64) {
        match context {
            meshbridge_policy::Context::Publish => self.passed_publish.inc_by(events),
            meshbridge_policy::Context::Deliver => self.passed_deliver.inc_by(events),
            other => self.on_forwarded(other.name(), false, events),
        }
    }

    pub(crate) fn on_drift(&self, class: &'static str) {
        self.drift.with_label_values(&[class]).inc();
    }

    pub(crate) fn on_reload(&self, outcome: &str) {
        self.reloads.with_label_values(&[outcome]).inc();
    }

    /// `kind` is a name of [`crate::bundles::AlarmKind`].
    pub(crate) fn set_policy_alarms(&self, kind: &str, count: usize) {
        self.policy_alarms.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Layers are those of the own zone: five at most.
    pub(crate) fn set_policy_revision(&self, layer: &str, revision: u64) {
        self.policy_revision.with_label_values(&[layer]).set(i64::try_from(revision).unwrap_or(i64::MAX));
    }

    pub(crate) fn on_left_out(&self, reason: &str) {
        self.left_out.with_label_values(&[reason]).inc();
    }

    pub(crate) fn on_late(&self, kind: &str, count: u64) {
        if count > 0 {
            self.late.with_label_values(&[kind]).inc_by(count);
        }
    }

    pub(crate) fn on_notice(&self, kind: &str) {
        self.notices.with_label_values(&[kind]).inc();
    }

    pub(crate) fn on_ended(&self, outcome: &str) {
        self.ended.with_label_values(&[outcome]).inc();
    }

    pub(crate) fn on_alarm(&self, kind: &str) {
        self.alarms.with_label_values(&[kind]).inc();
    }

    /// What the decision log did between two looks at it.
    pub(crate) fn on_audit(&self, before: &Figures, now: &Figures) {
        self.audit_records.inc_by(now.written - before.written);
        self.audit_gathered.inc_by(now.gathered - before.gathered);
        self.audit_unsampled.inc_by(now.unsampled - before.unsampled);
        let lost = |kind: &str, count: u64| self.audit_lost.with_label_values(&[kind]).inc_by(count);
        lost("permit", now.lost_permits - before.lost_permits);
        lost("other", now.lost_others - before.lost_others);
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.audit_segments.set(number(now.segments));
        self.audit_queued_bytes.set(number(now.queued_bytes as u64));
        self.audit_state.set(now.state as i64);
    }

    pub(crate) fn on_group_chosen_anew(&self) {
        self.group_moves.inc();
    }

    /// `reason` is a name of [`crate::sealing::Refused`].
    pub(crate) fn on_delivery_refused(&self, reason: &str) {
        self.delivery_refused.with_label_values(&[reason]).inc();
    }

    pub(crate) fn on_out_of_order(&self) {
        self.out_of_order.inc();
    }

    pub(crate) fn on_quarantine_ended(&self, how: &str) {
        self.quarantine_ended.with_label_values(&[how]).inc();
    }

    pub(crate) fn set_pending(&self, destination: &str, pairs: u64) {
        self.pending.with_label_values(&[destination]).set(i64::try_from(pairs).unwrap_or(i64::MAX));
    }

    /// The Prometheus text format.
    pub(crate) fn render(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("registered metrics encode as text")
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    collector: prometheus::Result<C>,
) -> C {
    let collector = collector.expect("metric names and labels in this file are well-formed");
    registry.register(Box::new(collector.clone())).expect("metric names in this file are unique");
    collector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_prefixed_and_explained() {
        let metrics = Metrics::new();
        metrics.link("peer");
        metrics.on_dropped(DropReason::Expired, 1);
        metrics.on_verdict("egress", "federation", "a/b", "reject");
        metrics.on_reload("applied");
        metrics.on_notice("denied");
        let families = metrics.registry.gather();
        assert!(families.len() >= 15, "{} families", families.len());
        for family in families {
            assert!(family.name().starts_with("meshbridge_"), "{}", family.name());
            assert!(family.help().ends_with('.') && family.help().len() > 30, "{}", family.name());
        }
    }
}
