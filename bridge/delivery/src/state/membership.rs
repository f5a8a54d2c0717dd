//! Other bridges as an operator wants them treated: drained, removed; the events that removal or a rule left over; and
//! who has been out of reach since when (RELIABILITY D2, D12, M39; POLICY §3).

use std::collections::BTreeMap;

use meshbridge_routing::{BridgeId, EventKey};

use super::{Effect, Event, State};
use crate::codec::{Reader, Result, Writer};
use crate::record::membership::{
    GonePair, LeftOut, MembershipRecord, Standing, read_standing, write_standing,
};
use crate::record::{Outcome, REASON_BYTES_MAX};

/// How a pair with a removed destination ends.
pub const DESTINATION_REMOVED: &str = "destination-removed";
/// Entries of one part.
const ENTRIES_PER_PART: usize = 1_024;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    standing: BTreeMap<BridgeId, Standing>,
    /// Bodies that are kept because their destination was removed, or a rule made dead letters of them.
    letters: BTreeMap<u64, BTreeMap<BridgeId, Letter>>,
    /// Of those, the ones of rules.
    rule_letters: u64,
    left_out: BTreeMap<BridgeId, u64>,
    /// Milliseconds since 1970.
    unreachable_since: BTreeMap<BridgeId, u64>,
}

/// Why an event is kept for a destination that does not get it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter {
    /// The destination may have it all the same.
    in_doubt: bool,
    /// The rule; none where the destination was removed.
    reason: Option<Box<str>>,
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

    /// Dead letters of this bridge as an origin, by body and the destination that did not get it; `true` where that may
    /// have the event all the same.
    pub fn letters(&self) -> impl Iterator<Item = (u64, &BridgeId, bool)> {
        self.all_letters().map(|(body, bridge, letter)| (body, bridge, letter.in_doubt))
    }

    fn all_letters<'s>(&'s self) -> impl Iterator<Item = (u64, &'s BridgeId, &'s Letter)> {
        let of_one = |(body, letters): (&u64, &'s BTreeMap<BridgeId, Letter>)| {
            let body = *body;
            letters.iter().map(move |(bridge, letter)| (body, bridge, letter))
        };
        self.letters.iter().flat_map(of_one)
    }

    /// How many of them rules have made; counted, not summed up.
    pub fn rule_letters(&self) -> u64 {
        self.rule_letters
    }

    /// Why the event is a dead letter for this destination, where it is one.
    pub fn letter_reason(&self, body: u64, bridge: &BridgeId) -> Option<&str> {
        let letter = self.letters.get(&body)?.get(bridge)?;
        Some(letter.reason.as_deref().unwrap_or(DESTINATION_REMOVED))
    }

    fn keep(&mut self, body: u64, bridge: BridgeId, letter: Letter) {
        self.rule_letters += u64::from(letter.reason.is_some());
        let before = self.letters.entry(body).or_default().insert(bridge, letter);
        self.rule_letters -= u64::from(before.is_some_and(|letter| letter.reason.is_some()));
    }

    /// What the destination says of a pair whose event a rule made a dead letter while it was in doubt. Where it did not
    /// end so, there is no letter.
    fn settle_letter(&mut self, body: u64, bridge: &BridgeId, outcome: &Outcome) {
        let letter = self.letters.get_mut(&body).and_then(|letters| letters.get_mut(bridge));
        let Some(letter) = letter.filter(|letter| letter.reason.is_some()) else { return };
        match outcome {
            // By this rule, or by the one that was named before the last start.
            Outcome::DeadLettered(_) | Outcome::Kept(_) => letter.in_doubt = false,
            _ => self.forget_letter(body, bridge),
        }
    }

    fn forget_letter(&mut self, body: u64, bridge: &BridgeId) {
        let Some(letters) = self.letters.get_mut(&body) else { return };
        let gone = letters.remove(bridge);
        self.rule_letters -= u64::from(gone.is_some_and(|letter| letter.reason.is_some()));
        if letters.is_empty() {
            self.letters.remove(&body);
        }
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

    pub(super) fn keeps_for_rule(&self, body: u64) -> bool {
        self.letters.get(&body).is_some_and(|letters| letters.values().any(|letter| letter.reason.is_some()))
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
        let (of_rules, of_removals): (Vec<_>, Vec<_>) =
            self.all_letters().partition(|(_, _, letter)| letter.reason.is_some());
        for (which, letters) in [(2, of_removals), (5, of_rules)] {
            for chunk in letters.chunks(ENTRIES_PER_PART) {
                part(which, &|out| {
                    for (body, bridge, letter) in chunk {
                        out.number(*body);
                        out.text(bridge.as_str());
                        out.u8(u8::from(letter.in_doubt));
                        letter.reason.iter().for_each(|reason| out.text(reason));
                    }
                });
            }
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
            which @ (2 | 5) => {
                while !from.0.is_empty() {
                    let (body, bridge, in_doubt) = (from.number()?, from.bridge()?, from.flag()?);
                    let of_rule = which == 5;
                    let reason = of_rule.then(|| from.text(REASON_BYTES_MAX, "a reason")).transpose()?;
                    self.keep(body, bridge, Letter { in_doubt, reason: reason.map(Into::into) });
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
            MembershipRecord::Letter { body, bridge, in_doubt, reason } => {
                self.keep_letter(*body, bridge, reason.clone(), *in_doubt);
            }
            MembershipRecord::LetterGone { body, bridge } => {
                self.membership.forget_letter(*body, bridge);
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

    pub(super) fn keep_letter(&mut self, body: u64, bridge: &BridgeId, reason: Box<str>, in_doubt: bool) {
        // Only while the bytes are there for this destination.
        let is_here = |event: &&Event| event.destinations.contains(bridge);
        if let Some(event) = self.events.get(&body).filter(is_here) {
            self.retained.insert((event.key.run, event.key.lane, event.key.seq), body);
            self.membership.keep(body, bridge.clone(), Letter { in_doubt, reason: Some(reason) });
        }
    }

    /// Whether the pair of a dead letter has not ended: its destination may have the event, and has still to say so.
    pub fn is_letter_open(&self, body: u64, bridge: &BridgeId) -> bool {
        let (Some(event), Some(destination)) = (self.events.get(&body), self.destinations.get(bridge)) else {
            return false;
        };
        let EventKey { run, lane, seq, .. } = event.key;
        let awaited = destination.awaiting.get(&(run, lane)).is_some_and(|set| set.contains(seq));
        awaited || destination.pending(run, lane, seq).is_some()
    }

    /// How a pair ended whose event may be a dead letter here.
    pub(super) fn letter_ended(
        &mut self,
        key: &EventKey,
        bridge: &BridgeId,
        outcome: &Outcome,
        effects: &mut Vec<Effect>,
    ) {
        if self.membership.rule_letters == 0 {
            return;
        }
        if let Some(body) = self.retained.get(&(key.run, key.lane, key.seq)).copied() {
            self.membership.settle_letter(body, bridge, outcome);
            self.release_if_done(body, effects);
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
                self.membership.keep(body, bridge.clone(), Letter { in_doubt: pair.in_doubt, reason: None });
            }
            effects.push(Effect::Settled { body, destination: bridge.clone() });
        }
        effects.push(Effect::Ended { key, destination: bridge.clone(), outcome });
    }
}
