//! What goes wrong in a storm, and when: each bridge and each link has a task that draws from the seed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use meshbridge_integration::{Mesh, Relay, SharedLedger, Way, Weather};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// A bridge that is asked to stop drains first.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);
const GARBLED: Weather = Weather {
    loss: 0.25,
    duplicate: 0.1,
    reorder: 0.2,
    delay: Duration::from_millis(5),
    jitter: Duration::from_millis(800),
    is_cut: false,
    bytes_per_second: None,
    mtu: None,
};

/// A source of draws of its own for each task, so that one does not shift what the others draw.
pub(super) fn draws(seed: u64, of: &str) -> Pcg64Mcg {
    let name = of.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Pcg64Mcg::seed_from_u64(seed ^ name)
}

/// Strikes one bridge again and again; it runs when this returns. `may_wipe`: nobody publishes or reads there.
pub(super) async fn strike_bridge(
    mesh: &Mesh,
    zone: &str,
    may_wipe: bool,
    seed: u64,
    until: Instant,
    ledger: &SharedLedger,
) -> Result<()> {
    let mut random = draws(seed, zone);
    loop {
        pause(&mut random, 300..5_000).await;
        if Instant::now() >= until {
            return Ok(());
        }
        let kinds = if may_wipe { 6 } else { 5 };
        let kind = match random.random_range(0..kinds) {
            0 | 1 => {
                mesh.kill(zone)?;
                pause(&mut random, 0..2_500).await;
                start(mesh, zone, &mut random).await?;
                "kill"
            }
            2 => {
                mesh.terminate(zone, STOPPED_WITHIN).await?;
                pause(&mut random, 0..2_000).await;
                start(mesh, zone, &mut random).await?;
                "stop"
            }
            3 => {
                mesh.freeze(zone)?;
                pause(&mut random, 100..6_000).await;
                mesh.thaw(zone)?;
                "freeze"
            }
            4 => {
                mesh.freeze(zone)?;
                pause(&mut random, 1_000..4_000).await;
                mesh.kill(zone)?;
                start(mesh, zone, &mut random).await?;
                "freeze and kill"
            }
            _ => {
                mesh.kill(zone)?;
                mesh.wipe(zone)?;
                pause(&mut random, 0..2_000).await;
                start(mesh, zone, &mut random).await?;
                "wipe"
            }
        };
        ledger.with(|ledger| ledger.fault(kind));
    }
}

/// Starts it; one time in three it is killed while it starts, perhaps more than once.
async fn start(mesh: &Mesh, zone: &str, random: &mut Pcg64Mcg) -> Result<()> {
    while random.random_range(0..3) == 0 {
        mesh.launch(zone)?;
        pause(random, 0..400).await;
        mesh.kill(zone)?;
    }
    mesh.restart(zone).await
}

/// Strikes one link again and again; it is faultless when this returns.
pub(super) async fn strike_link(
    relay: &Relay,
    name: &str,
    seed: u64,
    until: Instant,
    mesh: &Mesh,
    ledger: &SharedLedger,
) {
    let mut random = draws(seed, name);
    loop {
        pause(&mut random, 500..6_000).await;
        if Instant::now() >= until {
            return;
        }
        let kind = match random.random_range(0..5) {
            0 | 1 => {
                relay.set_both(Weather::cut());
                "cut"
            }
            2 => {
                relay.set(Way::BOTH[random.random_range(0..2)], Weather::cut());
                "one-way cut"
            }
            3 => {
                let slow = random.random_range(4_000..80_000);
                let delay = Duration::from_millis(random.random_range(0..150));
                relay.set_both(Weather { bytes_per_second: Some(slow), delay, ..Weather::default() });
                "slow"
            }
            _ => {
                relay.set_both(GARBLED);
                "garbled"
            }
        };
        mesh.note(&format!("{name}: {kind}"));
        pause(&mut random, 300..6_000).await;
        relay.heal();
        mesh.note(&format!("{name}: healed"));
        ledger.with(|ledger| ledger.fault(kind));
    }
}

/// All bridges die at once and start in any order.
pub(super) async fn strike_all(
    mesh: &Mesh,
    zones: &[String],
    seed: u64,
    ledger: &SharedLedger,
) -> Result<()> {
    let mut random = draws(seed, "all");
    for zone in zones {
        mesh.kill(zone)?;
    }
    let mut order: Vec<&String> = zones.iter().collect();
    rand::seq::SliceRandom::shuffle(&mut order[..], &mut random);
    for zone in &order {
        mesh.launch(zone)?;
        pause(&mut random, 0..500).await;
    }
    for zone in order {
        mesh.up(zone).await.with_context(|| format!("{zone} after all were killed"))?;
    }
    ledger.with(|ledger| ledger.fault("all killed"));
    Ok(())
}

async fn pause(random: &mut Pcg64Mcg, ms: std::ops::Range<u64>) {
    tokio::time::sleep(Duration::from_millis(random.random_range(ms))).await;
}
