//! How much may wait for one destination, how much one producer may have in the spool, and how many dead letters are
//! kept (RELIABILITY D12, D14, S13).

use std::time::Duration;

use meshbridge_delivery::state::Used;
use meshbridge_policy::{OnDestinationFull, TopicDelivery};
use meshbridge_routing::{BridgeId, BridgeIndex, Forwarding};
use smallvec::SmallVec;

use super::admission::{RETRY_AFTER, owner};
use super::plan::Planned;
use super::{Inner, Principal, PublishRefused};

/// The most that may be there at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// What `delivery` in the configuration says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quotas {
    /// Not on the destination's disk yet.
    pub(crate) destination: Quota,
    /// Kept here for anybody.
    pub(crate) producer: Quota,
    /// Dead letters of subscriptions here.
    pub(crate) letters: Quota,
    /// A full destination that was out of reach for so long leaves the destinations.
    pub(crate) absence: Duration,
}

/// Destinations without room for a batch.
#[derive(Debug, Default)]
pub(super) struct Full {
    /// Their pairs end as dead letters.
    pub(super) full: Vec<BridgeId>,
    /// Out of reach for long: they leave the set.
    pub(super) gone: Vec<BridgeId>,
}

impl Quota {
    /// The limit that adding would break, as the configuration names it.
    fn broken(self, used: Used, adding: Used, [events, mebibytes]: [&'static str; 2]) -> Option<String> {
        if used.events + adding.events > self.events {
            return Some(format!("{events} is {}", self.events));
        }
        let over = used.bytes + adding.bytes > self.bytes;
        over.then(|| format!("{mebibytes} is {}", self.bytes >> 20))
    }
}

impl Inner {
    /// Which destinations have no room for this batch; or the refusal, where a topic asks for it or the producer has
    /// used up its own share.
    pub(super) fn check_quotas(
        &self,
        principal: &Principal,
        forwarding: &Forwarding,
        planned: &[Planned],
        topics: &[TopicDelivery],
    ) -> Result<Full, PublishRefused> {
        let quotas = self.parts.quotas;
        let wall = self.durable.wall();
        let absence = quotas.absence.as_millis() as u64;
        let size = |plan: &Planned| plan.event.encoded().len() as u64;
        let mut adding: SmallVec<[(BridgeIndex, Used, bool); 16]> = SmallVec::new();
        for (plan, topic) in planned.iter().zip(topics) {
            let refuse = topic.on_destination_full == OnDestinationFull::Refuse;
            for index in plan.pending() {
                let at = adding.iter().position(|(known, ..)| *known == index).unwrap_or_else(|| {
                    adding.push((index, Used::default(), false));
                    adding.len() - 1
                });
                let (_, used, strict) = &mut adding[at];
                used.events += 1;
                used.bytes += size(plan);
                *strict |= refuse;
            }
        }
        let whole = Used { events: planned.len() as u64, bytes: planned.iter().map(size).sum() };
        self.durable.view(|core| {
            let state = core.state();
            let names = ["`delivery.producerEvents`", "`delivery.producerMiB`"];
            if let Some(quota) = quotas.producer.broken(state.usage.of(owner(&principal.0)), whole, names) {
                return Err(PublishRefused::ProducerFull { quota, retry_after: RETRY_AFTER });
            }
            let mut full = Full::default();
            for (index, adding, refuse) in &adding {
                let bridge = forwarding.bridge(*index).0;
                // Those get nothing whatever the quota says.
                if state.membership.leaves_out(bridge).is_some() {
                    continue;
                }
                let used = state.destinations.get(bridge).map_or(Used::default(), |known| known.used);
                let names = ["`delivery.destinationEvents`", "`delivery.destinationMiB`"];
                let Some(quota) = quotas.destination.broken(used, *adding, names) else { continue };
                let since = state.membership.unreachable_since(bridge);
                if since.is_some_and(|since| since.saturating_add(absence) <= wall) {
                    full.gone.push(bridge.clone());
                } else if *refuse {
                    let bridge = bridge.clone();
                    return Err(PublishRefused::DestinationFull { bridge, quota, retry_after: RETRY_AFTER });
                } else {
                    full.full.push(bridge.clone());
                }
            }
            Ok(full)
        })
    }
}
