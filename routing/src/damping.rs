//! Links that come and go are kept out of the own record until they have been still for a while (R42).
//!
//! ```text
//! penalty
//! 6000 ┤ · · · · · · · · · · · · · ·  at most, so that nobody waits longer than 39 s
//!      │        ▟▙
//! 3000 ┤ · · ▟▙▟█▙ · · · · · · · · ·  from here on the neighbour is held back
//!      │  ▟▙▟█████▙▄
//! 1000 ┤ ▟███████████▙▄▄ · · · · · ·  from here on it is listed again
//!      └─▲──▲─▲▲──────────────────── each ▲: the last session with the neighbour ended
//! ```
//!
//! The penalty and its two thresholds are those of RFC 2439, with the times of a mesh instead of those of the Internet. Two
//! things are added. The session of a neighbour that is held back lives and carries control messages, so nothing is to be
//! caught up with when it is listed again. And where there is no other way to it, it is listed all the same: being
//! held back is to spare the others the news, and costs nobody a destination.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::BridgeId;

/// What one end of a session adds.
const FLAP: f64 = 1_000.0;
/// Four ends within 13 s, or a steady one each 8 s.
const HOLD_FROM: f64 = 3_000.0;
const LIST_FROM: f64 = 1_000.0;
const PENALTY_MAX: f64 = 6_000.0;
const HALF_LIFE: Duration = Duration::from_secs(15);
/// Less is forgotten.
const PENALTY_MIN: f64 = 250.0;
/// How long the only way to a neighbour is to last before it is listed in spite of its penalty.
const ONLY_WAY_AFTER: Duration = Duration::from_secs(1);

/// The neighbours whose links came and went lately; each is listed in the Federation document.
#[derive(Debug, Default)]
pub(crate) struct Damping {
    neighbours: BTreeMap<BridgeId, Flaps>,
}

#[derive(Debug)]
struct Flaps {
    penalty: f64,
    /// When it had that value.
    at: Instant,
    /// Held back until then.
    until: Option<Instant>,
    /// Since when there is a session, if there is one.
    up: Option<Instant>,
    /// When to see whether it is the only way; as long as it is held back.
    check: Option<Instant>,
    /// Listed in spite of its penalty, as long as the session lasts: taking it back would be one more piece of news,
    /// and two such links that are each other's other way would be listed in turns for ever.
    only_way: bool,
}

impl Flaps {
    fn penalty(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at);
        self.penalty * (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
    }

    fn is_held(&self) -> bool {
        self.until.is_some() && !self.only_way
    }
}

impl Damping {
    /// The last session with a neighbour has ended. Tells until when it is held back, if it was not before.
    pub(crate) fn on_down(&mut self, neighbour: &BridgeId, now: Instant) -> Option<Instant> {
        self.neighbours.retain(|_, flaps| flaps.until.is_some() || flaps.penalty(now) >= PENALTY_MIN);
        let flaps = self.neighbours.entry(neighbour.clone()).or_insert(Flaps {
            penalty: 0.0,
            at: now,
            until: None,
            up: None,
            check: None,
            only_way: false,
        });
        flaps.penalty = (flaps.penalty(now) + FLAP).min(PENALTY_MAX);
        flaps.at = now;
        flaps.up = None;
        flaps.check = None;
        flaps.only_way = false;
        let was_held = flaps.until.is_some();
        if was_held || flaps.penalty >= HOLD_FROM {
            let half_lives = (flaps.penalty / LIST_FROM).log2().max(0.0);
            flaps.until = Some(now + HALF_LIFE.mul_f64(half_lives));
        }
        flaps.until.filter(|_| !was_held)
    }

    /// There is a session with a neighbour.
    pub(crate) fn on_up(&mut self, neighbour: &BridgeId, now: Instant) {
        if let Some(flaps) = self.neighbours.get_mut(neighbour).filter(|flaps| flaps.up.is_none()) {
            flaps.up = Some(now);
            flaps.check = flaps.until.map(|_| now + ONLY_WAY_AFTER);
        }
    }

    /// Whether the own record leaves a neighbour out.
    pub(crate) fn holds(&self, neighbour: &BridgeId) -> bool {
        self.neighbours.get(neighbour).is_some_and(Flaps::is_held)
    }

    /// The neighbours that are left out although there is a session with them.
    pub(crate) fn held(&self) -> impl Iterator<Item = &BridgeId> {
        self.neighbours.iter().filter(|(_, flaps)| flaps.up.is_some() && flaps.is_held()).map(|(id, _)| id)
    }

    /// Lets go of whom has been still for long enough, and of whom `is_reached` says that there is no other way to them;
    /// tells whether one of them has a session, and so is to be listed.
    pub(crate) fn release(&mut self, is_reached: impl Fn(&BridgeId) -> bool, now: Instant) -> bool {
        let mut any = false;
        for (neighbour, flaps) in &mut self.neighbours {
            let Some(until) = flaps.until else { continue };
            flaps.check.take_if(|at| *at <= now);
            let was_held = flaps.is_held();
            if until <= now {
                flaps.until = None;
                flaps.check = None;
                flaps.only_way = false;
            } else if flaps.up.is_some_and(|up| up + ONLY_WAY_AFTER <= now) && !is_reached(neighbour) {
                flaps.only_way = true;
            }
            any |= was_held && !flaps.is_held() && flaps.up.is_some();
        }
        any
    }

    /// When [`Damping::release`] is to be called next, unless the topology changes before.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.neighbours.values().flat_map(|flaps| flaps.until.into_iter().chain(flaps.check)).min()
    }
}

#[cfg(test)]
mod tests;
