//! Links that other bridges have refused lately: hints, which this origin leaves out while it has another way (R44).
//!
//! A hint settles nothing and is believed as little: it is for the lane of the event that was refused, ends by itself, and
//! counts for a destination only as long as that is reached without the link. So whoever makes hints up sends events another
//! way, and holds none.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use meshbridge_routing::{BridgeIndex, DENIED_LINKS_MAX, DeniedLinks, Forwarding, Passage, ZoneName};
use smallvec::SmallVec;

use super::plan::Planned;
use super::trains::Part;
use super::{Inner, lock};

/// How long a hint counts. Longer than an event takes to be sent again, short enough for a policy that was put right.
const LASTS: Duration = Duration::from_secs(30);

/// Hints of all lanes.
#[derive(Debug, Default)]
pub(super) struct Detours {
    /// So that nobody asks for the lock where nobody was refused anything.
    any: AtomicBool,
    lanes: Mutex<HashMap<u8, Lane>>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Each with its end. Full with as many as a frame can say: a further one is not noted.
    links: Vec<((ZoneName, ZoneName), Instant)>,
    all: DeniedLinks,
}

impl Detours {
    pub(super) fn note(&self, lane: u8, link: (ZoneName, ZoneName), now: Instant) {
        let mut lanes = lock(&self.lanes);
        let lane = lanes.entry(lane).or_default();
        lane.links.retain(|(known, until)| *known != link && *until > now);
        if lane.links.len() < DENIED_LINKS_MAX {
            lane.links.push((link, now + LASTS));
        }
        lane.all = DeniedLinks::between(lane.links.iter().map(|(link, _)| link.clone()));
        self.any.store(true, Ordering::Relaxed);
    }

    /// The links to leave out for events of a lane.
    fn of(&self, lane: u8, now: Instant) -> Option<DeniedLinks> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut lanes = lock(&self.lanes);
        lanes.retain(|_, lane| {
            let known = lane.links.len();
            lane.links.retain(|(_, until)| *until > now);
            if lane.links.len() < known {
                lane.all = DeniedLinks::between(lane.links.iter().map(|(link, _)| link.clone()));
            }
            !lane.links.is_empty()
        });
        self.any.store(!lanes.is_empty(), Ordering::Relaxed);
        lanes.get(&lane).map(|lane| lane.all.clone())
    }
}

impl Inner {
    /// The passage without what was refused lately, where the bridge is reached so too.
    pub(super) fn detour(
        &self,
        forwarding: &Forwarding,
        lane: u8,
        passage: Passage,
        bridge: BridgeIndex,
    ) -> Passage {
        match self.detours.of(lane, Instant::now()) {
            Some(refused) => without(forwarding, passage, &refused, bridge),
            None => passage,
        }
    }

    /// The same for all that is planned for the event: destinations that take another way become variants of their own.
    pub(super) fn take_detours(&self, forwarding: &Forwarding, lane: u8, plan: &mut Planned) {
        let Some(refused) = self.detours.of(lane, Instant::now()) else { return };
        for variant in std::mem::take(&mut plan.variants) {
            for (passage, destinations) in
                apart(forwarding, &variant.passage, &refused, &variant.destinations)
            {
                plan.variants.push(super::plan::Variant { passage, destinations, ..variant.clone() });
            }
        }
    }

    /// The same for the parts of a train.
    pub(super) fn take_detours_of_train(
        &self,
        forwarding: &Forwarding,
        lane: u8,
        parts: &mut SmallVec<[Part; 2]>,
    ) {
        let Some(refused) = self.detours.of(lane, Instant::now()) else { return };
        for part in std::mem::take(parts) {
            // Pieces of one train may have different ways; each destination takes them all.
            for bridge in part.destinations {
                let pieces = part.pieces.iter().cloned().map(|mut piece| {
                    piece.passage = without(forwarding, piece.passage, &refused, bridge);
                    piece
                });
                parts.push(Part { destinations: SmallVec::from_iter([bridge]), pieces: pieces.collect() });
            }
        }
    }
}

/// Destinations by the passage that each gets.
fn apart(
    forwarding: &Forwarding,
    passage: &Passage,
    refused: &DeniedLinks,
    destinations: &[BridgeIndex],
) -> SmallVec<[(Passage, SmallVec<[BridgeIndex; 4]>); 2]> {
    let mut all: SmallVec<[(Passage, SmallVec<[BridgeIndex; 4]>); 2]> = SmallVec::new();
    for bridge in destinations {
        let own = without(forwarding, passage.clone(), refused, *bridge);
        match all.iter_mut().find(|(known, _)| *known == own) {
            Some((_, bridges)) => bridges.push(*bridge),
            None => all.push((own, SmallVec::from_iter([*bridge]))),
        }
    }
    all
}

fn without(forwarding: &Forwarding, passage: Passage, refused: &DeniedLinks, bridge: BridgeIndex) -> Passage {
    let Some(denied) = passage.denied.with(refused) else { return passage };
    let other = Passage { carriers: passage.carriers.clone(), denied };
    if forwarding.reaches(bridge, &other) { other } else { passage }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(one: &str, other: &str) -> (ZoneName, ZoneName) {
        let zone = |name| ZoneName::parse(name).expect("a name");
        (zone(one), zone(other))
    }

    #[test]
    fn a_hint_is_for_its_lane_and_ends_by_itself() {
        let (detours, now) = (Detours::default(), Instant::now());
        assert_eq!(detours.of(3, now), None);
        detours.note(3, link("a", "b"), now);
        detours.note(3, link("b", "c"), now + LASTS / 2);
        assert_eq!(detours.of(4, now), None);
        assert_eq!(detours.of(3, now), Some(DeniedLinks::between([link("a", "b"), link("b", "c")])));
        assert_eq!(detours.of(3, now + LASTS), Some(DeniedLinks::between([link("b", "c")])));
        assert_eq!(detours.of(3, now + LASTS * 2), None);
        assert!(!detours.any.load(Ordering::Relaxed), "nobody asks for the lock any more");
    }

    #[test]
    fn hints_are_no_more_than_a_frame_can_say() {
        let (detours, now) = (Detours::default(), Instant::now());
        (0..200).for_each(|at| detours.note(0, link("hub", &format!("z{at}")), now));
        assert_eq!(detours.of(0, now).map(|all| all.iter().len()), Some(DENIED_LINKS_MAX));
    }
}
