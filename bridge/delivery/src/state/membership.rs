//! Other bridges as an operator wants them treated: drained, removed; the events that removal left over; and who has
//! been out of reach since when (RELIABILITY D2, D12, M39).

use std::collections::BTreeMap;

use meshbridge_routing::{BridgeId, EventKey};

use super::{Effect, State};
use crate::codec::{Reader, Result, Writer};
use crate::record::Outcome;
use crate::record::membership::{
    GonePair, LeftOut, MembershipRecord, Standing, read_standing, write_standing,
};

/// How a pair with a removed destination ends.
pub const DESTINATION_REMOVED: &str = "destination-removed";
/// Entries of one part.
const ENTRIES_PER_PART: usize = 1_024;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    standing: BTreeMap<BridgeId, Standing>,
    /// Bodies that are kept because their destination was removed; `true` where it may have the event.
    letters: BTreeMap<u64, BTreeMap<BridgeId, bool>>,
    left_out: BTreeMap<BridgeId, u64>,
    /// Milliseconds since 1970.
    unreachable_since: BTreeMap<BridgeId, u64>,
}

impl Membership {
    pub fn standing(&self, bridge: &BridgeId) -> Option<Standing> {
        self.standing.get(bridge).copied()
    }

    /// All that are not plain members.
    pub fn standings(&self) -> impl Iterator<Item = (&BridgeId, Standing)> {
        self.standing.iter().map(|(bridge, standing)| (bridge, *standing))
    }

    /// Why new events do not go to this bridge.
    pub fn leaves_out(&self, bridge: &BridgeId) -> Option<LeftOut> {
        Some(match self.standing.get(bridge)? {
            Standing::Draining => LeftOut::Draining,
            Standing::Removed { .. } => LeftOut::Removed,
        })
    }

    /// Dead letters of this bridge as an origin, by body and the destination that was removed; `true` where that may
    /// have the event all the same.
    pub fn letters<'s>(&'s self) -> impl Iterator<Item = (u64, &'s BridgeId, bool)> {
        let of_one = |(body, letters): (&u64, &'s BTreeMap<BridgeId, bool>)| {
            let body = *body;
            letters.iter().map(move |(bridge, in_doubt)| (body, bridge, *in_doubt))
        };
        self.letters.iter().flat_map(of_one)
    }

    pub fn has_letter(&self, body: u64, bridge: &BridgeId) -> bool {
        self.letters.get(&body).is_some_and(|letters| letters.contains_key(bridge))
    }

    /// Publications that left the bridge out, though it wanted them.
    pub fn left_out(&self, bridge: &BridgeId) -> u64 {
        self.left_out.get(bridge).copied().unwrap_or(0)
    }

    /// Since when the bridge has been out of reach, where it is.
    pub fn unreachable_since(&self, bridge: &BridgeId) -> Option<u64> {
        self.unreachable_since.get(bridge).copied()
    }

    pub(super) fn keeps(&self, body: u64) -> bool {
        self.letters.contains_key(&body)
    }

    pub(super) fn parts(&self, kind: u8, parts: &mut Vec<Vec<u8>>) {
        let mut part = |which: u8, write: &dyn Fn(&mut Writer)| {
            let mut out = Writer::kind(kind);
            out.u8(which);
            write(&mut out);
            parts.push(out.0);
        };
        for (bridge, standing) in &self.standing {
            part(1, &|out| {
                out.text(bridge.as_str());
                write_standing(out, Some(*standing));
            });
        }
        let letters: Vec<_> = self.letters().collect();
        for chunk in letters.chunks(ENTRIES_PER_PART) {
            part(2, &|out| {
                for (body, bridge, in_doubt) in chunk {
                    out.number(*body);
                    out.text(bridge.as_str());
                    out.u8(u8::from(*in_doubt));
                }
            });
        }
        for (which, map) in [(3, &self.left_out), (4, &self.unreachable_since)] {
            for (bridge, number) in map {
                part(which, &|out| {
                    out.text(bridge.as_str());
                    out.number(*number);
                });
            }
        }
    }

    pub(super) fn apply_part(&mut self, from: &mut Reader<'_>) -> Result<()> {
        match from.u8()? {
            1 => {
                let bridge = from.bridge()?;
                if let Some(standing) = read_standing(from)? {
                    self.standing.insert(bridge, standing);
                }
            }
            2 => {
                while !from.0.is_empty() {
                    let (body, bridge) = (from.number()?, from.bridge()?);
                    self.letters.entry(body).or_default().insert(bridge, from.flag()?);
                }
            }
            3 => {
                let bridge = from.bridge()?;
                self.left_out.insert(bridge, from.number()?);
            }
            4 => {
                let bridge = from.bridge()?;
                self.unreachable_since.insert(bridge, from.number()?);
            }
            unknown => return Err(crate::codec::DecodeError::UnknownKind(unknown)),
        }
        Ok(())
    }
}

impl State {
    pub(super) fn on_membership(&mut self, record: &MembershipRecord, effects: &mut Vec<Effect>) {
        match record {
            MembershipRecord::Standing { bridge, standing } => {
                match standing {
                    Some(standing) => self.membership.standing.insert(bridge.clone(), *standing),
                    None => self.membership.standing.remove(bridge),
                };
                if matches!(standing, Some(Standing::Removed { .. })) {
                    // Its interest ends by removal, and by nothing else (D2).
                    self.interest.remove(bridge);
                    self.membership.unreachable_since.remove(bridge);
                }
            }
            MembershipRecord::Gone { bridge, pairs } => {
                pairs.iter().for_each(|pair| self.on_gone(bridge, pair, effects));
                if let Some(destination) = self.destinations.get_mut(bridge) {
                    destination.awaiting.retain(|_, set| !set.is_empty());
                }
                self.drop_idle_runs();
            }
            MembershipRecord::LeftOut { bridge, .. } => {
                *self.membership.left_out.entry(bridge.clone()).or_default() += 1;
            }
            MembershipRecord::LetterGone { body, bridge } => {
                if let Some(letters) = self.membership.letters.get_mut(body) {
                    letters.remove(bridge);
                    if letters.is_empty() {
                        self.membership.letters.remove(body);
                    }
                }
                self.release_if_done(*body, effects);
            }
            MembershipRecord::Reach { bridge, since: 0 } => {
                self.membership.unreachable_since.remove(bridge);
            }
            MembershipRecord::Reach { bridge, since } => {
                self.membership.unreachable_since.insert(bridge.clone(), *since);
            }
        }
    }

    fn on_gone(&mut self, bridge: &BridgeId, pair: &GonePair, effects: &mut Vec<Effect>) {
        let key = EventKey { origin: self.own.clone(), run: pair.run, lane: pair.lane, seq: pair.seq };
        let retained = self.retained(&key, bridge);
        let Some(destination) = self.destinations.get_mut(bridge) else { return };
        let pending = destination.remove(pair.run, pair.lane, pair.seq);
        let awaiting = destination.awaiting.get_mut(&(pair.run, pair.lane));
        let awaited = awaiting.is_some_and(|set| set.remove(pair.seq));
        if pending.is_none() && !awaited {
            return;
        }
        let body = pending.map(|pending| pending.body).or(retained);
        let choices = body.and_then(|body| self.events.get(&body)?.choices.clone()).unwrap_or_default();
        let groups: Vec<_> = choices.groups_at(bridge).cloned().collect();
        let moved = !groups.is_empty() && choices.groups_only.contains(bridge);
        let outcome = if moved { Outcome::Moved } else { Outcome::DeadLettered(DESTINATION_REMOVED.into()) };
        destination.account.count(&outcome);
        for name in groups {
            // Another bridge may have a member; what this one may have delivered is marked as a repetition.
            self.unchoose(body.unwrap_or_default(), bridge, &name, u32::from(pair.in_doubt), effects);
        }
        if let Some(body) = body
            && let Some(event) = self.events.get_mut(&body)
        {
            event.destinations.retain(|known| known != bridge);
            if !moved {
                self.membership.letters.entry(body).or_default().insert(bridge.clone(), pair.in_doubt);
            }
            effects.push(Effect::Settled { body, destination: bridge.clone() });
        }
        effects.push(Effect::Ended { key, destination: bridge.clone(), outcome });
    }
}
