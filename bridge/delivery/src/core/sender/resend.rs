//! Sending again what may be lost: holes that hold up progress, and what left before the path changed (D4).

use std::time::{Duration, Instant};

use meshbridge_routing::BridgeId;

use super::super::Core;
use super::Sender;
use crate::bugs::{Bug, bug};

/// Frames sent again at once when progress stops; the rest follows as receipts come.
const RESEND_BATCH: usize = 1_024;
/// The round trip to a destination that none was measured to.
const ROUND_TRIP_FIRST: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    left_by: Instant,
    until: Instant,
}

impl Sender {
    /// The path has changed. A second change while there is doubt adds what has left since, and puts nothing off.
    pub(in super::super) fn hurry(&mut self, now: Instant) {
        let until = now + self.srtt.unwrap_or(ROUND_TRIP_FIRST);
        self.doubt =
            Some(Doubt { left_by: now, until: self.doubt.map_or(until, |doubt| doubt.until.min(until)) });
    }

    pub(in super::super) fn resend_at(&self) -> Option<Instant> {
        let doubt = self.doubt.map(|doubt| doubt.until);
        let flight = self
            .progress_at
            .map(|at| doubt.map_or(at + self.patience, |doubt| doubt.min(at + self.patience)));
        let flight = flight.filter(|_| !self.flight.is_empty());
        let fences = self.fence_at.filter(|_| !self.fenced.is_empty());
        [flight, fences].into_iter().flatten().min()
    }
}

impl Core {
    pub(in super::super) fn resend_if_due(&mut self, bridge: &BridgeId, now: Instant) {
        let Some(peer) = self.peers.get_mut(bridge) else { return };
        if !peer.reachable || peer.session.is_none() || peer.sender.resend_at().is_none_or(|at| at > now) {
            return;
        }
        let sender = &mut peer.sender;
        if sender.fence_at.is_some_and(|at| at <= now) {
            sender.fence_at = Some(now + sender.patience).filter(|_| !sender.fenced.is_empty());
            self.send_fences(bridge);
        }
        self.resend_flight(bridge, now);
    }

    fn resend_flight(&mut self, bridge: &BridgeId, now: Instant) {
        let share = self.jittered(Duration::from_secs(1)).as_secs_f64();
        let Some(peer) = self.peers.get_mut(bridge) else { return };
        let sender = &mut peer.sender;
        if bug(Bug::NotResent) || sender.flight.is_empty() {
            return;
        }
        let doubt = sender.doubt.take_if(|doubt| doubt.until <= now);
        let is_stuck = sender.progress_at.is_some_and(|at| at + sender.patience <= now);
        if doubt.is_none() && !is_stuck {
            return;
        }
        let late = sender.flight.iter().filter(|(_, flight)| {
            is_stuck && flight.at + sender.patience <= now
                || doubt.is_some_and(|doubt| flight.at <= doubt.left_by)
        });
        let late: Vec<u64> = late.take(RESEND_BATCH).map(|(body, _)| *body).collect();
        if let Some(doubt) = doubt
            && late.len() == RESEND_BATCH
        {
            sender.doubt = Some(Doubt { until: now + sender.srtt.unwrap_or(ROUND_TRIP_FIRST), ..doubt });
        }
        if late.is_empty() && !is_stuck {
            return;
        }
        sender.narrow();
        for body in late {
            if let Some(flight) = sender.flight.remove(&body) {
                sender.flight_bytes -= flight.bytes;
            }
            sender.unsent.insert(body);
        }
        sender.progress_at = Some(now);
        if is_stuck {
            sender.patience = (sender.patience * 2).min(self.config.resend_max).mul_f64(share);
        }
    }
}
