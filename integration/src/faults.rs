//! Faults by schedule: what strikes when, drawn from a seed before the run, so that it can be printed when the run fails and be struck again.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::{Mesh, SharedLedger, Way, Weather};

/// From one turn of a strobing clock to the next.
const STROBE: Duration = Duration::from_millis(5);

/// One thing that goes wrong, for a time.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// `kill -9`, then a start on the same data.
    Kill {
        /// Whose bridge.
        zone: String,
    },
    /// `kill -9`, then a start without any data.
    Wipe {
        /// Whose bridge.
        zone: String,
    },
    /// Another weather on a link, or on one of its ways, then none.
    Weather {
        /// Who dials.
        from: String,
        /// Who is dialled.
        to: String,
        /// Which ways.
        ways: Vec<Way>,
        /// What it is like.
        weather: Weather,
    },
    /// The wall clock of a bridge is set off by so many seconds, then right again.
    Clock {
        /// Whose bridge.
        zone: String,
        /// Seconds.
        off_by: i64,
    },
    /// The wall clock of a bridge is off and right by turns, a hundred times a second.
    Strobe {
        /// Whose bridge.
        zone: String,
        /// Seconds.
        off_by: i64,
    },
}

impl Fault {
    fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::Wipe { .. } => "wipe",
            Fault::Weather { weather, ways, .. } if weather.is_cut && ways.len() == 1 => "one-way cut",
            Fault::Weather { weather, .. } if weather.is_cut => "cut",
            Fault::Weather { .. } => "weather",
            Fault::Clock { .. } => "clock",
            Fault::Strobe { .. } => "strobe",
        }
    }
}

/// A fault, the calm before it and the time until it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Since the end of the fault before.
    pub after: Duration,
    /// What happens.
    pub fault: Fault,
    /// How long.
    pub lasts: Duration,
}

/// Faults one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    seed: u64,
    steps: Vec<Step>,
}

impl Schedule {
    /// These steps.
    pub fn new(seed: u64, steps: Vec<Step>) -> Schedule {
        Schedule { seed, steps }
    }

    /// As many faults as asked, each drawn from `menu`, calm and length drawn from their ranges (milliseconds).
    ///
    /// # Panics
    ///
    /// When the menu or a range is empty.
    pub fn random(
        seed: u64,
        menu: &[Fault],
        count: usize,
        calm_ms: Range<u64>,
        lasts_ms: Range<u64>,
    ) -> Schedule {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let mut step = || Step {
            after: Duration::from_millis(random.random_range(calm_ms.clone())),
            fault: menu[random.random_range(0..menu.len())].clone(),
            lasts: Duration::from_millis(random.random_range(lasts_ms.clone())),
        };
        let steps = (0..count).map(|_| step()).collect();
        Schedule { seed, steps }
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Strikes it all; each fault is entered in the ledger when it is over. Afterwards everything runs again and every wire is faultless.
    pub async fn strike(&self, mesh: &Mesh, ledger: &SharedLedger) -> Result<()> {
        for (number, step) in self.steps.iter().enumerate() {
            tokio::time::sleep(step.after).await;
            mesh.note(&format!("step {number}: {step}"));
            strike(mesh, step).await.with_context(|| format!("step {number} of {self}"))?;
            ledger.with(|ledger| ledger.fault(step.fault.kind()));
        }
        Ok(())
    }
}

async fn strike(mesh: &Mesh, step: &Step) -> Result<()> {
    match &step.fault {
        Fault::Kill { zone } => {
            mesh.kill(zone)?;
            tokio::time::sleep(step.lasts).await;
            mesh.restart(zone).await
        }
        Fault::Wipe { zone } => {
            mesh.kill(zone)?;
            mesh.wipe(zone)?;
            tokio::time::sleep(step.lasts).await;
            mesh.restart(zone).await
        }
        Fault::Weather { from, to, ways, weather } => {
            let relay = mesh.relay(from, to);
            ways.iter().for_each(|way| relay.set(*way, *weather));
            tokio::time::sleep(step.lasts).await;
            relay.heal();
            Ok(())
        }
        Fault::Clock { zone, off_by } => {
            mesh.set_clock(zone, *off_by)?;
            tokio::time::sleep(step.lasts).await;
            mesh.set_clock(zone, 0)
        }
        Fault::Strobe { zone, off_by } => {
            let ends = tokio::time::Instant::now() + step.lasts;
            let mut turns = tokio::time::interval(STROBE);
            let mut is_off = false;
            while turns.tick().await < ends {
                is_off = !is_off;
                mesh.set_clock(zone, if is_off { *off_by } else { 0 })?;
            }
            mesh.set_clock(zone, 0)
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { after, fault, lasts } = self;
        write!(f, "after {after:?} {} for {lasts:?}: {fault:?}", fault.kind())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule of seed {} (MESHBRIDGE_SEED)", self.seed)?;
        for (number, step) in self.steps.iter().enumerate() {
            write!(f, "\n  {number}: {step}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule() {
        let menu = ["a", "b", "c"].map(|zone| Fault::Kill { zone: zone.to_owned() });
        let draw = |seed| Schedule::random(seed, &menu, 100, 5..50, 10..20);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1).steps, draw(2).steps);
        let (first, shown) = (draw(1), draw(1).to_string());
        assert!(shown.starts_with("schedule of seed 1 ") && shown.lines().count() == 101, "{shown}");
        for fault in &menu {
            assert!(first.steps().iter().any(|step| step.fault == *fault), "{fault:?} never comes");
        }
        for step in first.steps() {
            assert!((5..50).contains(&step.after.as_millis()) && (10..20).contains(&step.lasts.as_millis()));
        }
    }
}
