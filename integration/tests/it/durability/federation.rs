//! T6: the whole federation ends at once. Power loss itself is the simulator's; here all processes are killed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::Plan;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use super::{Probe, Scene, share};

/// Twice T6's ten seconds after the last start.
const SERVING_WITHIN: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn a_federation_that_ends_at_once_loses_nothing_and_serves_soon() -> Result<()> {
    let zones = ["west", "north", "south", "east"];
    let scene = Scene::start(&Plan::diamond(), &zones, true).await?;
    let mesh = &scene.mesh;
    let mut random = Pcg64Mcg::seed_from_u64(scene.seed);
    let mut order = zones;
    for round in 1..=share(6) as u64 {
        scene.run_for(40 * round).await?;
        // Whoever is killed last still acknowledges and sends: that is part of it.
        order.shuffle(&mut random);
        for zone in order {
            mesh.kill(zone)?;
        }
        order.shuffle(&mut random);
        for zone in order {
            mesh.restart(zone).await.with_context(|| mesh.story())?;
        }
        let started = Instant::now();
        let within = || SERVING_WITHIN.saturating_sub(started.elapsed());
        tokio::time::timeout(within(), mesh.connected()).await.context("no ways to each other")??;
        let probe = Probe::at(mesh, "east", &scene.ledger).await?;
        probe.arrives(mesh, "west", within()).await?;
        ensure!(started.elapsed() < SERVING_WITHIN, "serving after {:?}", started.elapsed());
        mesh.note(&format!("round {round}: serving {:?} after the last start", started.elapsed()));
        scene.ledger.with(|ledger| ledger.fault("all killed"));
    }
    scene.judge(&[], 80).await?;
    Ok(())
}
