//! Messages between two ends on their way out and in: sealed, opened, and what happens to those that are refused.

use std::time::Instant;

use bytes::Bytes;
use meshbridge_delivery::Message;
use meshbridge_routing::BridgeId;
use meshbridge_routing::wire::Relay;
use tracing::{debug, warn};

use super::Inner;
use crate::sealing::Refused;

impl Inner {
    /// The body of a relay; `None` where the other end's key is not known yet. Both ends repeat what is not answered.
    pub(super) fn seal(&self, to: &BridgeId, message: &Message) -> Option<Bytes> {
        let now = Instant::now();
        self.parts
            .sealing
            .seal(to, message, now)
            .map_err(|refused| self.on_seal_refused(to, &refused, now))
            .ok()
    }

    /// What `relay.from` has said to this bridge, proven; `None` for everything else.
    pub(super) fn unseal(&self, relay: &Relay) -> Option<Message> {
        let now = Instant::now();
        let opened = self.parts.sealing.open(relay, now);
        opened.map_err(|refused| self.on_seal_refused(&relay.from, &refused, now)).ok()
    }

    fn on_seal_refused(&self, bridge: &BridgeId, refused: &Refused, now: Instant) {
        self.parts.metrics.on_delivery_refused(refused.name());
        let reaction = self.parts.sealing.react(bridge, refused, now);
        if reaction.prompt {
            self.durable.with(|core| core.ask_for_exchange(bridge, now));
        }
        match refused {
            _ if !reaction.tell => {}
            ordinary if ordinary.is_ordinary() => {
                debug!(%bridge, reason = %ordinary, "A delivery message is refused")
            }
            Refused::Untrusted(cause) => {
                warn!(%bridge, reason = %refused, %cause, "A delivery message is refused")
            }
            other => warn!(%bridge, reason = %other, "A delivery message is refused"),
        }
    }
}
