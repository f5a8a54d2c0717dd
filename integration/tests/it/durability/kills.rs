//! T1 and T12: bridges die.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Fault, Plan, Schedule, Step};

use super::{Probe, Scene, kills, share};

#[tokio::test(flavor = "multi_thread")]
async fn killed_bridges_lose_nothing_and_repeat_nothing() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "middle", "east"], true).await?;
    let menu = ["west", "middle", "east"].map(|zone| Fault::Kill { zone: zone.to_owned() });
    let schedule = Schedule::random(scene.seed, &menu, kills(), 200..1_500, 0..800);
    let events = 20 * kills() as u64;
    scene.judge(&[schedule], events).await?;
    Ok(())
}

/// Several die at once, the publisher's bridge and the subscriber's among them.
#[tokio::test(flavor = "multi_thread")]
async fn bridges_killed_together_lose_nothing_and_repeat_nothing() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "middle", "east"], true).await?;
    let schedules = ["west", "middle", "east"].map(|zone| {
        let seed = scene.seed ^ zone.len() as u64;
        let menu = [Fault::Kill { zone: zone.to_owned() }];
        Schedule::random(seed, &menu, share(3), 200..1_500, 0..800)
    });
    scene.judge(&schedules, 20 * share(3) as u64).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn transit_bridges_are_disposable_with_their_disks() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "east"], true).await?;
    let menu = [Fault::Wipe { zone: "middle".to_owned() }];
    let schedule = Schedule::random(scene.seed, &menu, share(6), 500..2_000, 0..3_000);
    scene.judge(&[schedule], 100).await?;
    Ok(())
}

/// Both ways over a diamond die with their disks, one shortly after the other, so that for a time there is none.
#[tokio::test(flavor = "multi_thread")]
async fn all_transit_bridges_together_are_disposable() -> Result<()> {
    let scene = Scene::start(&Plan::diamond(), &["west", "east"], true).await?;
    let schedules = ["north", "south"].map(|zone| {
        let menu = [Fault::Wipe { zone: zone.to_owned() }];
        Schedule::random(!scene.seed ^ u64::from(zone == "south"), &menu, share(6), 500..1_000, 500..3_000)
    });
    scene.judge(&schedules, 100).await?;
    Ok(())
}

/// T12's time: twice two seconds after a path exists.
#[tokio::test(flavor = "multi_thread")]
async fn events_flow_soon_after_a_wiped_transit_bridge_is_back() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "east"], true).await?;
    let probe = Probe::at(&scene.mesh, "east", &scene.ledger).await?;
    for _ in 0..share(6) {
        scene.mesh.kill("middle")?;
        scene.mesh.wipe("middle")?;
        scene.mesh.restart("middle").await?;
        scene.mesh.connected().await?;
        probe.arrives(&scene.mesh, "west", Duration::from_secs(4)).await?;
        scene.ledger.with(|ledger| ledger.fault("wipe"));
    }
    scene.judge(&[], 50).await?;
    Ok(())
}

/// Live streams promise nothing over the death of their bridge. That they lose something, that the judge sees it, and that the message says what was done, shows
/// that the other tests of this file can fail.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_takes_from_live_streams_is_noticed() -> Result<()> {
    let mut scene = Scene::start(&Plan::chain(), &["west", "east"], false).await?;
    scene.settled_within = Duration::from_secs(1);
    let kill = |zone: &str| Step {
        after: Duration::from_millis(300),
        fault: Fault::Kill { zone: zone.to_owned() },
        lasts: Duration::from_millis(200),
    };
    let schedule = Schedule::new(scene.seed, vec![kill("east"), kill("middle"), kill("west")]);
    let verdict = scene.judge(&[schedule], 20).await.err().context("a loss passed for a clean run")?;
    let text = format!("{verdict:#}");
    let story = ["lost", "at east-1/all", "(MESHBRIDGE_SEED)", "killed east", "west is back", "\"kill\": 3"];
    for part in story {
        ensure!(text.contains(part), "`{part}` is not in {text}");
    }
    Ok(())
}
