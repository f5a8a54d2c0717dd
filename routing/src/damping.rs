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
//! caught up with when it is listed again. And where there is no other way, for some event at least, it is listed all the
//! same: being held back is to spare the others the news, and costs nobody a destination.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::{BridgeId, Run};

/// What one end of a session adds.
const FLAP: f64 = 1_000.0;
/// Four ends within 13 s, or a steady one each 8 s.
const HOLD_FROM: f64 = 3_000.0;
const LIST_FROM: f64 = 1_000.0;
const PENALTY_MAX: f64 = 6_000.0;
const HALF_LIFE: Duration = Duration::from_secs(15);
/// Less is forgotten.
const PENALTY_MIN: f64 = 250.0;
/// How long the only way is to last before the neighbour it begins with is listed in spite of its penalty.
const ONLY_WAY_AFTER: Duration = Duration::from_secs(1);

/// The neighbours whose links came and went lately; each is listed in the Federation document.
#[derive(Debug, Default)]
pub(crate) struct Damping {
    neighbours: BTreeMap<BridgeId, Flaps>,
}

#[derive(Debug)]
struct Flaps {
    penalty: Penalty,
    /// What the neighbour makes of the same ends: its present run knows of none before.
    theirs: Penalty,
    /// The run that the neighbour was in at the last end.
    run: Run,
    /// Since when there is a session, if there is one.
    up: Option<Instant>,
    /// When to see whether it is the only way; as long as it is held back.
    check: Option<Instant>,
    /// Listed in spite of its penalty, as long as the session lasts: taking it back would be one more piece of news,
    /// and two such links that are each other's other way would be listed in turns for ever.
    only_way: bool,
}

#[derive(Clone, Copy, Debug)]
struct Penalty {
    value: f64,
    /// When it had that value.
    at: Instant,
    /// Held back until then.
    until: Option<Instant>,
}

impl Penalty {
    fn none(now: Instant) -> Penalty {
        Penalty { value: 0.0, at: now, until: None }
    }

    fn value(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.at);
        self.value * (-age.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
    }

    fn on_end(&mut self, now: Instant) {
        self.value = (self.value(now) + FLAP).min(PENALTY_MAX);
        self.at = now;
        if self.until.is_some() || self.value >= HOLD_FROM {
            let half_lives = (self.value / LIST_FROM).log2().max(0.0);
            self.until = Some(now + HALF_LIFE.mul_f64(half_lives));
        }
    }
}

impl Flaps {
    fn is_held(&self) -> bool {
        self.penalty.until.is_some() && !self.only_way
    }

    /// The session is one that may be listed as the only way.
    fn lasts(&self, now: Instant) -> bool {
        self.up.is_some_and(|up| up + ONLY_WAY_AFTER <= now)
    }
}

impl Damping {
    /// The last session with a neighbour, in this run of it, has ended. Tells until when it is held back, if it was not
    /// before.
    pub(crate) fn on_down(&mut self, neighbour: &BridgeId, run: Run, now: Instant) -> Option<Instant> {
        let matters =
            |flaps: &Flaps| flaps.penalty.until.is_some() || flaps.penalty.value(now) >= PENALTY_MIN;
        self.neighbours.retain(|_, flaps| matters(flaps));
        let none = Penalty::none(now);
        let flaps = self.neighbours.entry(neighbour.clone()).or_insert(Flaps {
            penalty: none,
            theirs: none,
            run,
            up: None,
            check: None,
            only_way: false,
        });
        let was_held = flaps.penalty.until.is_some();
        flaps.penalty.on_end(now);
        if std::mem::replace(&mut flaps.run, run) != run {
            flaps.theirs = none;
        }
        flaps.theirs.until.take_if(|until| *until <= now);
        flaps.theirs.on_end(now);
        flaps.up = None;
        flaps.check = None;
        flaps.only_way = false;
        flaps.penalty.until.filter(|_| !was_held)
    }

    /// There is a session with a neighbour.
    pub(crate) fn on_up(&mut self, neighbour: &BridgeId, now: Instant) {
        if let Some(flaps) = self.neighbours.get_mut(neighbour).filter(|flaps| flaps.up.is_none()) {
            flaps.up = Some(now);
            flaps.check = flaps.penalty.until.map(|_| now + ONLY_WAY_AFTER);
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

    /// Of those, the ones whose session has lasted for long enough to ask whether it is the only way.
    pub(crate) fn lasting(&self, now: Instant) -> impl Iterator<Item = &BridgeId> {
        let lasting = self.neighbours.iter().filter(move |(_, flaps)| flaps.is_held() && flaps.lasts(now));
        lasting.map(|(id, _)| id)
    }

    /// Whether a neighbour, in this run of it, has as much reason to leave this bridge out as the other way round: if it
    /// lists this bridge, then because it has found that it needs the link.
    pub(crate) fn is_held_there(&self, neighbour: &BridgeId, run: Run, now: Instant) -> bool {
        let flaps = self.neighbours.get(neighbour).filter(|flaps| flaps.run == run);
        flaps.and_then(|flaps| flaps.theirs.until).is_some_and(|until| now < until)
    }

    /// Lets go of whom has been still for long enough, and of those that last and are the only way; tells whether one of
    /// them has a session, and so is to be listed.
    pub(crate) fn release(&mut self, only_ways: &[BridgeId], now: Instant) -> bool {
        let mut any = false;
        for (neighbour, flaps) in &mut self.neighbours {
            let Some(until) = flaps.penalty.until else { continue };
            flaps.check.take_if(|at| *at <= now);
            let was_held = flaps.is_held();
            if until <= now {
                flaps.penalty.until = None;
                flaps.check = None;
                flaps.only_way = false;
            } else if flaps.lasts(now) && only_ways.contains(neighbour) {
                flaps.only_way = true;
            }
            any |= was_held && !flaps.is_held() && flaps.up.is_some();
        }
        any
    }

    /// When [`Damping::release`] is to be called next, unless the topology changes before.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let timers = self.neighbours.values().map(|flaps| [flaps.penalty.until, flaps.check]);
        timers.flatten().flatten().min()
    }
}

#[cfg(test)]
mod tests;
