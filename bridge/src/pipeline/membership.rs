//! Other bridges as an operator wants them treated: drained before they leave, removed when they have left
//! (RELIABILITY D2, M39). The rules are in the delivery core; here is what the admin port asks for.

use meshbridge_delivery::{LeftOut, NewEvent, Removal, Standing};
use meshbridge_event::AttributeValue;
use meshbridge_routing::{BridgeId, KeptInterest, Router, Run, lane_of};
use serde::Serialize;
use smallvec::smallvec;

use super::admission::{partition, producer};
use super::durable::Durable;
use super::{Inner, NamedRefused, Pipeline};

/// Whose publications those are that come from the dead letters of this bridge.
pub(super) const REPLAYED: &str = "meshbridge-replay";

/// On an event that comes from the dead letters of its origin: the key that it had before.
const REPLAY: &str = "meshbridgereplay";

/// A bridge as a destination of this one's events.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BridgeView {
    bridge: String,
    /// `member`, `draining` or `removed`.
    standing: &'static str,
    reachable: bool,
    /// Pairs that have not ended: `unsettled` and `stored` together.
    pending: u64,
    /// Not on its disk, as far as is known.
    unsettled: u64,
    /// Of these, the ones that may have been sent.
    in_doubt: u64,
    /// On its disk, not known to have ended there.
    stored: u64,
    /// Publications that left it out.
    left_out: u64,
    /// Events kept here because it was removed.
    dead_letters: usize,
}

/// What a removal did.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemovalView {
    /// Pairs that ended as dead letters.
    ended: u64,
    /// Of these, the ones that the bridge may have all the same.
    in_doubt: u64,
    /// On its disk, lost to us unless it delivers them.
    stored: u64,
    /// Events kept as dead letters.
    kept: usize,
}

/// Why a bridge is not drained or removed.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum MembershipRefused {
    #[error("neither the federation nor an account of this bridge knows a bridge `{0}`")]
    Unknown(BridgeId),
    #[error("`{0}` is this bridge itself; call the admin port of another one")]
    Own(BridgeId),
    #[error(
        "`{0}` is removed; it is a member again when it has been started anew and says what it wants, as long as the federation lists it"
    )]
    Removed(BridgeId),
    #[error(
        "{pending} events have not ended at `{bridge}`: run `meshbridge peers drain {bridge}` first, or give --yes to end them as dead letters"
    )]
    Pending { bridge: BridgeId, pending: u64 },
    #[error("the bridge is stopping")]
    Stopping,
}

impl From<NamedRefused> for MembershipRefused {
    fn from(_: NamedRefused) -> MembershipRefused {
        MembershipRefused::Stopping
    }
}

impl Pipeline {
    pub(crate) fn bridge_view(&self, bridge: &BridgeId) -> Result<BridgeView, MembershipRefused> {
        self.check_bridge(bridge)?;
        let reachable = super::lock(&self.inner.ways).get(bridge).is_some_and(Option::is_some);
        Ok(self.inner.durable.view(|core| {
            let membership = &core.state().membership;
            let Removal { unsettled, in_doubt, stored } = core.pending_with(bridge);
            BridgeView {
                bridge: bridge.to_string(),
                standing: standing_name(membership.standing(bridge)),
                reachable,
                pending: unsettled + stored,
                unsettled,
                in_doubt,
                stored,
                left_out: membership.left_out(bridge),
                dead_letters: membership.letters().filter(|(_, of, _)| *of == bridge).count(),
            }
        }))
    }

    fn check_bridge(&self, bridge: &BridgeId) -> Result<(), MembershipRefused> {
        if *bridge == self.inner.parts.own {
            return Err(MembershipRefused::Own(bridge.clone()));
        }
        let known = self.inner.parts.bridges.contains(bridge)
            || self.inner.durable.view(|core| core.state().destinations.contains_key(bridge));
        if known { Ok(()) } else { Err(MembershipRefused::Unknown(bridge.clone())) }
    }

    /// New events leave the bridge out, or take it in again; durable when this returns.
    pub(crate) async fn drain_bridge(
        &self,
        bridge: &BridgeId,
        draining: bool,
    ) -> Result<BridgeView, MembershipRefused> {
        self.check_bridge(bridge)?;
        if !self.inner.durable.with(|core| core.drain_bridge(bridge, draining)) {
            return Err(MembershipRefused::Removed(bridge.clone()));
        }
        self.commit_all().await?;
        self.bridge_view(bridge)
    }

    /// Ends everything that is pending with the bridge and forgets what it wants; durable when this returns.
    pub(crate) async fn remove_bridge(
        &self,
        bridge: &BridgeId,
        even_pending: bool,
    ) -> Result<RemovalView, MembershipRefused> {
        self.check_bridge(bridge)?;
        let asked = bridge.clone();
        let heard = self.inner.parts.router.view(move |router| newest_run(router, &asked)).await;
        let heard = heard.ok_or(MembershipRefused::Stopping)?;
        let removal = self.inner.durable.with(|core| {
            let removal = core.pending_with(bridge);
            let drained = core.state().membership.standing(bridge).is_some();
            if removal.pending() > 0 && !drained && !even_pending {
                return Err(MembershipRefused::Pending {
                    bridge: bridge.clone(),
                    pending: removal.pending(),
                });
            }
            core.remove_bridge(bridge, heard);
            Ok(removal)
        })?;
        // In pieces, so that publications for others go on in between.
        while self.inner.durable.with(|core| core.end_removed(bridge)) > 0 {
            self.commit_all().await?;
        }
        self.commit_all().await?;
        let kept = self
            .inner
            .durable
            .view(|core| core.state().membership.letters().filter(|(_, of, _)| *of == bridge).count());
        let Removal { unsettled: _, in_doubt, stored } = removal;
        Ok(RemovalView { ended: removal.pending(), in_doubt, stored, kept })
    }

    /// What another bridge wants, said in this run, for the next start of this one.
    pub(crate) fn remember_interest(&self, owner: &BridgeId, run: Option<Run>, heard: KeptInterest) {
        self.inner.durable.with(|core| core.heard_interest(owner.clone(), run, heard));
    }

    /// Neighbours, and whether each has acknowledged all that this bridge wants.
    pub(crate) async fn interest_at_neighbours(&self) -> Vec<(String, bool)> {
        let neighbours = self.inner.parts.router.view(Router::own_interest_at_neighbours).await;
        neighbours
            .unwrap_or_default()
            .into_iter()
            .map(|(bridge, known)| (bridge.to_string(), known))
            .collect()
    }

    /// Publishes a dead letter of this bridge again, under a new key, for the destination it had alone (D5). `false`
    /// where that is no member, the letter is gone, or the destination has still to say whether it has the event.
    pub(super) fn replay_letter(&self, body: u64, bridge: &BridgeId) -> bool {
        let inner = &self.inner;
        if *bridge == inner.parts.own {
            return inner.replay_kept_back(body);
        }
        let Ok(stored) = tokio::task::block_in_place(|| inner.durable.stored(body)) else { return false };
        // Its destination may have had it: who gets it again can see that.
        let former = stored.key.to_string();
        let marked = stored.event.to_builder().set_attribute(REPLAY, AttributeValue::String(&former)).build();
        let marked = marked.unwrap_or_else(|_| stored.event.clone());
        let event = NewEvent {
            producer: producer(REPLAYED, bridge.as_str(), &stored.key.to_string()),
            lane: lane_of(stored.topic.as_str(), partition(&stored.event)),
            topic: stored.topic.as_str().into(),
            payload: marked.encoded().clone(),
            expires: stored.expires,
            retain_delivered: false,
            destinations: smallvec![bridge.clone()],
            groups: smallvec![],
            local: false,
            choices: None,
            publisher: stored.publisher.clone(),
        };
        let wall = inner.durable.wall();
        let member = inner.parts.bridges.contains(bridge);
        inner.durable.with(|core| {
            let membership = &core.state().membership;
            let may = member
                && membership.standing(bridge).is_none()
                && membership.has_letter(body, bridge)
                && !core.state().is_letter_open(body, bridge);
            if may {
                core.accept(vec![event], wall);
                core.end_letter(body, bridge);
            }
            may
        })
    }
}

/// The newest run in which routing has heard of the bridge.
fn newest_run(router: &Router, bridge: &BridgeId) -> Option<Run> {
    let record = router.records().find(|record| record.bridge == *bridge).map(|record| record.run);
    record.max(router.interest_run(bridge))
}

pub(super) fn standing_name(standing: Option<Standing>) -> &'static str {
    match standing {
        None => "member",
        Some(Standing::Draining) => "draining",
        Some(Standing::Removed { .. }) => "removed",
    }
}

impl Inner {
    /// Who can be reached, since when not; and what came too late.
    pub(super) fn tick_membership(&self) {
        let ways: Vec<(BridgeId, bool)> =
            super::lock(&self.ways).iter().map(|(bridge, way)| (bridge.clone(), way.is_some())).collect();
        let wall = self.durable.wall();
        let late = self.durable.with(|core| {
            ways.iter().for_each(|(bridge, reachable)| core.note_reach(bridge, *reachable, wall));
            core.finish_removals();
            core.take_late_news()
        });
        self.parts.metrics.on_late("receipt", late.receipts);
        self.parts.metrics.on_late("outcome", late.outcomes);
    }
}

impl Durable {
    /// Bridges that new events leave out.
    pub(super) fn left_out(&self) -> Vec<(BridgeId, LeftOut)> {
        self.view(|core| {
            let membership = &core.state().membership;
            let all = membership.standings();
            all.filter_map(|(bridge, _)| Some((bridge.clone(), membership.leaves_out(bridge)?))).collect()
        })
    }
}
