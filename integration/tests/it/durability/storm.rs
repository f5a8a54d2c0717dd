//! A storm: bridges die, stop, freeze and lose their disks, links are cut, throttled and garbled, all at random and at the same time, while publishers of every
//! kind publish and subscribers of every kind read. At the end everything is healed, and a ledger outside the product judges.
//!
//! ```text
//!  seed ─► topology, who publishes and reads where and how
//!  one task a bridge: kill, kill in the start, stop, freeze, wipe (where nobody publishes or reads)   ┐ until the time is over;
//!  one task a link:   cut, cut one way, throttle, garble                                               ├ each heals what it broke
//!  one task:          everything dies at once                                                          ┘
//!  then: all connected ─► nothing outstanding ─► the judge ─► the books of each bridge: nothing pending, all balanced
//! ```
//!
//! `MESHBRIDGE_STORM_SECONDS` is how long the faults strike, 12 without it; more than a minute is rounds of a minute, each with the next seed. The message of a
//! round that failed names its seed for `MESHBRIDGE_SEED`.

mod books;
mod faults;
mod publishers;
mod readers;
mod rot;
mod scene;

use std::env;
use std::time::Duration;

use anyhow::{Context, Result};

use scene::Scene;

/// What one seed is good for.
const ROUND: Duration = Duration::from_secs(60);
const SECONDS: u64 = 12;

fn seconds() -> u64 {
    env::var("MESHBRIDGE_STORM_SECONDS")
        .map_or(SECONDS, |text| text.parse().expect("MESHBRIDGE_STORM_SECONDS is a number"))
}

/// T1, T12, T16, T18, T23, T24 and T30 together.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_loses_nothing_and_repeats_nothing() -> Result<()> {
    let mut left = Duration::from_secs(seconds().max(1));
    let mut seed = super::seed();
    while !left.is_zero() {
        let time = left.min(ROUND);
        left -= time;
        let mut scene = Scene::start(seed).await.with_context(|| format!("MESHBRIDGE_SEED={seed}"))?;
        eprintln!("storm of seed {seed}: {}", scene.summary());
        let outcome = scene.storm(time).await;
        let told = if outcome.is_err() { scene.told().await } else { String::new() };
        let totals =
            outcome.with_context(|| format!("MESHBRIDGE_SEED={seed}, {}\n{told}", scene.summary()))?;
        eprintln!("storm of seed {seed}: {totals}");
        seed = seed.wrapping_add(1);
    }
    Ok(())
}
