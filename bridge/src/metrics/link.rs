//! What is counted of one link.

use prometheus::{IntCounter, IntGauge};

use super::Metrics;
use crate::link::Transport;

/// The counters of one link; shared by its sessions, so they survive a reconnect.
#[derive(Clone, Debug)]
pub(crate) struct LinkMetrics {
    pub(crate) sent_data_bytes: IntCounter,
    pub(crate) sent_control_bytes: IntCounter,
    pub(crate) sent_events: IntCounter,
    pub(crate) received_data_bytes: IntCounter,
    pub(crate) received_control_bytes: IntCounter,
    pub(crate) received_events: IntCounter,
    sessions: IntCounter,
    up: IntGauge,
    over: [(Transport, IntGauge); 2],
}

impl LinkMetrics {
    pub(crate) fn on_up(&self, transport: Transport) {
        self.sessions.inc();
        self.up.set(1);
        for (other, gauge) in &self.over {
            gauge.set(i64::from(*other == transport));
        }
    }

    pub(crate) fn on_down(&self) {
        self.up.set(0);
        self.over.iter().for_each(|(_, gauge)| gauge.set(0));
    }
}

impl Metrics {
    pub(crate) fn link(&self, peer: &str) -> LinkMetrics {
        let bytes = |direction, plane| self.link_bytes.with_label_values(&[peer, direction, plane]);
        LinkMetrics {
            sent_data_bytes: bytes("sent", "data"),
            sent_control_bytes: bytes("sent", "control"),
            sent_events: self.link_events.with_label_values(&[peer, "sent"]),
            received_data_bytes: bytes("received", "data"),
            received_control_bytes: bytes("received", "control"),
            received_events: self.link_events.with_label_values(&[peer, "received"]),
            sessions: self.link_sessions.with_label_values(&[peer]),
            up: self.link_up.with_label_values(&[peer]),
            over: Transport::ALL.map(|transport| {
                (transport, self.link_transport.with_label_values(&[peer, transport.name()]))
            }),
        }
    }
}
