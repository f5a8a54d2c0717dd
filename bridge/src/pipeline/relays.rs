//! Messages between the two ends of a pair: told hop by hop, passed on, and heard.

use std::time::Instant;

use meshbridge_delivery::Message;
use meshbridge_routing::BridgeId;
use meshbridge_routing::wire::Relay;
use meshbridge_spool::fail_point;
use tracing::debug;

use super::{Inner, Pipeline, lock};

/// Hops a message between two ends may take; more than any path.
const RELAY_HOPS: u8 = 64;

impl Inner {
    /// To the other end of a pair, hop by hop.
    pub(super) fn tell(&self, to: &BridgeId, message: &Message) {
        fail_point!(match message {
            Message::Receipt(receipt) if receipt.endings.is_empty() => "destination.before-receipt",
            Message::Receipt(_) => "destination.before-outcomes",
            Message::OutcomesKnown { .. } => "origin.before-outcomes-known",
            Message::Exchange(_) => "pair.before-exchange",
            Message::Fence { .. } => "origin.before-fence",
        });
        let Some(body) = self.seal(to, message) else { return };
        let relay = Relay { to: to.clone(), from: self.parts.own.clone(), hop_limit: RELAY_HOPS, body };
        self.route_relay(&relay);
    }

    fn route_relay(&self, relay: &Relay) {
        let forwarding = self.parts.forwarding.load();
        let link = forwarding.index_of(&relay.to).and_then(|to| forwarding.next_hop(to));
        // Without a way it is lost; both ends repeat what is not answered.
        if let Some((_, link)) = link {
            self.parts.links.send_control(link, relay.encode());
        }
    }
}

impl Pipeline {
    /// A message between two ends came over a link, for us or to be passed on.
    pub(crate) fn on_relay(&self, mut relay: Relay) {
        let inner = &self.inner;
        if relay.to != inner.parts.own {
            relay.hop_limit = relay.hop_limit.saturating_sub(1);
            if relay.hop_limit > 0 {
                inner.route_relay(&relay);
            }
            return;
        }
        // Before there are policies nothing is judged, and nothing is settled either.
        if !inner.parts.policies.active().is_open() || !inner.durable.keeps_up() {
            // Both ends repeat what is not answered (RELIABILITY D4, D7, D10). Waiting here would hold up the link's
            // greetings and routes, which come over the same stream.
            debug!(from = %relay.from, "A message of another end is left to its repetition: too much waits to be done");
            return;
        }
        if let Some(message) = inner.unseal(&relay) {
            fail_point!("pair.before-noting");
            inner.durable.with(|core| core.on_message(&relay.from, message, Instant::now()));
            fail_point!("pair.after-noting");
        }
    }

    /// The forwarding table has changed: who can be reached, and by which way.
    pub(crate) fn on_forwarding_changed(&self) {
        let inner = &self.inner;
        let forwarding = inner.parts.forwarding.load();
        let now = Instant::now();
        let mut ways = lock(&inner.ways);
        inner.durable.with(|core| {
            for bridge in inner.parts.bridges.iter().filter(|bridge| **bridge != inner.parts.own) {
                let hop = forwarding.index_of(bridge).and_then(|index| forwarding.next_hop(index));
                let way = hop.map(|(_, link)| link);
                let before = ways.insert(bridge.clone(), way).flatten();
                core.on_reachable(bridge, way.is_some(), now);
                if before.is_some() && way.is_some() && before != way {
                    core.on_path_changed(bridge, now);
                }
            }
        });
    }
}
