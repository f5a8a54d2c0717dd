//! Copies on their way: split by next hop, queue, park, drop with a reason.

use std::time::Instant;

use meshbridge_routing::wire::NoticeKind;
use meshbridge_routing::{BridgeId, DestinationSet, Forwarding, Split};

use super::admission::set_of;
use super::parking::{Parked, WAIT_MAX};
use super::{Inner, Pipeline, lock};
use crate::link::{NotQueued, Outbound};
use crate::metrics::DropReason;

impl Inner {
    /// Sends one copy to each next hop. `from` is the neighbour the frame came from: it never goes back there, that
    /// part waits for the next forwarding table instead.
    pub(super) fn forward(&self, forwarding: &Forwarding, frame: Outbound, from: Option<&BridgeId>) {
        let mut split = Split::default();
        forwarding.split(&set_of(&frame.destinations), &frame.body.passage, from, &mut split);
        let sessions = self.parts.links.sessions();
        for hop in &split.hops {
            let copy = part_of(&frame, &hop.destinations);
            if self.is_barred(forwarding, &copy, hop.next) {
                continue;
            }
            let outcome = match sessions.get(&hop.link) {
                Some(session) => session.outbox.push(copy),
                None => Err(NotQueued::Closed(copy)),
            };
            match outcome {
                Ok(()) => {}
                Err(NotQueued::Full(copy)) => self.drop_frame(&copy, DropReason::QueueFull),
                Err(NotQueued::Closed(copy)) => self.park(copy, from.cloned()),
            }
        }
        for waiting in [&split.unreachable, &split.parked] {
            if !waiting.is_empty() {
                self.park(part_of(&frame, waiting), from.cloned());
            }
        }
    }

    fn park(&self, frame: Outbound, from: Option<BridgeId>) {
        if frame.since.elapsed() >= WAIT_MAX {
            self.drop_frame(&frame, DropReason::Waited);
        } else if let Err(parked) = lock(&self.parking).park(Parked { frame, from }) {
            self.drop_frame(&parked.frame, DropReason::QueueFull);
        }
    }

    /// Counts a copy that ends here, and tells the origin.
    pub(super) fn drop_frame(&self, frame: &Outbound, reason: DropReason) {
        // A frame for this bridge alone names no other.
        let copies = frame.destinations.len().max(1) as u64;
        self.parts.metrics.on_dropped(reason, copies * u64::from(frame.events()));
        let kind = NoticeKind::Dropped { reason: reason.name().replace('_', "-") };
        self.notify_origin(&frame.body.key, kind);
    }
}

impl Pipeline {
    /// Tries parked frames again: the forwarding table has changed.
    pub(crate) fn resolve_parked(&self) {
        let forwarding = self.inner.parts.forwarding.load();
        let waiting = lock(&self.inner.parking).take();
        for Parked { frame, from } in waiting {
            self.inner.forward(&forwarding, frame, from.as_ref());
        }
    }

    /// Drops what has waited too long. Called a few times a second.
    pub(crate) fn drop_overdue(&self) {
        let now = Instant::now();
        let overdue = lock(&self.inner.parking).take_overdue(now);
        for Parked { frame, .. } in overdue {
            self.on_not_written(&frame, now);
        }
    }

    /// Frames that a session left unwritten find another way, or wait for one.
    pub(crate) fn redispatch(&self, frames: Vec<Outbound>) {
        let forwarding = self.inner.parts.forwarding.load();
        for frame in frames {
            self.inner.forward(&forwarding, frame, None);
        }
    }

    /// A frame left a queue too late to be sent.
    pub(crate) fn on_not_written(&self, frame: &Outbound, now: Instant) {
        let expired = frame.expires.is_some_and(|expires| expires <= now);
        self.inner.drop_frame(frame, if expired { DropReason::Expired } else { DropReason::Waited });
    }
}

fn part_of(frame: &Outbound, destinations: &DestinationSet) -> Outbound {
    let mut part = frame.clone();
    part.destinations.retain(|destination| destinations.contains(destination.bridge));
    part
}
