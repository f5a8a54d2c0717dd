//! Clocks on the wall: each bridge has one, wrong from its start by some skew, and set to another time by jumps (D13).

use meshbridge_delivery::{Append, GroupEnd, Reading, Record, WallClock};

use super::*;

/// The wall when the world begins, so late that a clock may be set back ten years.
const WALL_MS: u64 = 1_800_000_000_000;
const DAY_MS: i64 = 86_400_000;
/// Steps up to this are followed, so an event may end earlier by twice as much: its origin's and its destination's.
const SHORT_MS: i64 = 1_500;
/// The other steps begin above what is followed.
const LONG_MS: i64 = 301_000;

#[derive(Debug)]
pub(super) struct Clock {
    skew: i64,
    /// Off from the skewed time, until it is set right.
    off: i64,
    /// Goes to and fro by `off` every five milliseconds.
    strobes: bool,
    process: Option<WallClock>,
}

impl Clock {
    pub(super) fn skewed(faults: &Faults, rng: &mut StdRng) -> Clock {
        let most = i64::try_from(faults.skew_ms).expect("some years");
        let skew = if most > 0 { rng.random_range(-most..=most) } else { 0 };
        Clock { skew, off: 0, strobes: false, process: None }
    }

    pub(super) fn set_right(&mut self) {
        (self.off, self.strobes) = (0, false);
    }

    /// A process that starts believes the wall, but for what is logged: one that stands ahead is found out by nobody.
    pub(super) fn set_right_for_start(&mut self) {
        if self.off > 0 || self.strobes {
            self.set_right();
        }
    }

    fn wall(&self, now: u64) -> u64 {
        let off = if self.strobes && (now / 5).is_multiple_of(2) { 0 } else { self.off };
        (WALL_MS + now).saturating_add_signed(self.skew + off)
    }
}

impl World {
    pub(super) fn start_clock(&mut self, node: usize) {
        let logged = self.nodes[node].core.as_ref().map_or(0, |core| core.state().wall);
        let wall = self.clocks[node].wall(self.now);
        self.clocks[node].process = Some(WallClock::new(logged, wall, self.instant()));
    }

    /// As a bridge sees it.
    pub(super) fn reading(&self, node: usize) -> Reading {
        let clock = &self.clocks[node];
        let wall = clock.wall(self.now);
        match &clock.process {
            Some(process) => process.read(wall, self.instant()),
            None => WallClock::new(0, wall, self.instant()).read(wall, self.instant()),
        }
    }

    /// How long an event lives that does not live for ever.
    pub(super) fn life(&mut self) -> u64 {
        let most = if self.faults.clock_jumps > 0 { 30_000 } else { 3_000 };
        self.rng.random_range(1..most)
    }

    /// When it ends: by the world, and by its publisher, whose clock is that of its bridge but does not jump.
    pub(super) fn ends_of(&self, node: usize, life: u64) -> (u64, u64) {
        if life == 0 {
            return (0, 0);
        }
        let dies = self.now + life;
        (dies, (WALL_MS + dies).saturating_add_signed(self.clocks[node].skew))
    }

    /// From a second to ten years, ahead or back, for a while; or to and fro two hundred times a second.
    pub(super) fn clock_jumps(&mut self) -> Result<(), String> {
        let node = self.rng.random_range(0..self.nodes.len());
        let size = match self.rng.random_range(0..4) {
            0 => self.rng.random_range(1_000..=SHORT_MS),
            1 => self.rng.random_range(LONG_MS..DAY_MS),
            2 => self.rng.random_range(DAY_MS..365 * DAY_MS),
            _ => self.rng.random_range(365 * DAY_MS..=3_650 * DAY_MS),
        };
        let ahead = self.rng.random_bool(0.5);
        let strobes = self.rng.random_bool(0.2);
        self.clocks[node].off = if ahead { size } else { -size };
        self.clocks[node].strobes = strobes;
        self.report.clock_jumps += 1;
        let ms = self.rng.random_range(200..8_000);
        self.at(ms, Step::ClockBack { node });
        Ok(())
    }

    /// No record may say that an event has expired before it has.
    pub(super) fn check_expiries(&self, node: usize, append: &Append) -> Result<(), String> {
        let core = self.nodes[node].core.as_ref();
        for (record, _) in &append.records {
            let body = match record {
                Record::Group { body, end: GroupEnd::Expired, .. } => body,
                Record::EndedHere { body, outcome: Outcome::Expired, .. } => body,
                Record::LocalEnd { body, outcome: Outcome::Expired, .. } => body,
                _ => continue,
            };
            let Some(payload) = self.nodes[node].disk.bodies.get(body) else { continue };
            let id = u64::from_le_bytes(payload[..8].try_into().map_err(|_| "payload")?);
            let slack = if self.report.clock_jumps > 0 { 2 * SHORT_MS as u64 } else { 0 };
            if let Some(published) = self.published.get(&id)
                && published.dies > self.now + slack
            {
                let early = published.dies - self.now;
                return Err(format!("{id} ended {early} ms too early at b{node} (up: {})", core.is_some()));
            }
        }
        Ok(())
    }
}
