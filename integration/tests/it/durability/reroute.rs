//! T14: the path is cut after events were sent over it, and another one is there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Fault, Mesh, Plan, Schedule, SharedLedger, Way, Weather, eventually};

use super::books::balance;
use super::{Probe, Scene, share};

/// Two seconds of silence until a link counts as down, two to move, twice.
const MOVED_WITHIN: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn events_in_doubt_take_the_other_path_once() -> Result<()> {
    let scene = Scene::start(&Plan::diamond(), &["west", "east"], true).await?;
    let menu = cuts(&scene.mesh);
    let schedule = Schedule::random(scene.seed, &menu, share(3), 1_000..2_000, 3_000..6_000);
    scene.judge(&[schedule], 200).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_path_is_left_soon_and_loses_nothing() -> Result<()> {
    let scene = Scene::start(&Plan::diamond(), &["west", "east"], true).await?;
    let probe = Probe::at(&scene.mesh, "east", &scene.ledger).await?;
    for _ in 0..share(6) {
        leave_the_active_path(&scene.mesh, &probe).await?;
        scene.ledger.with(|ledger| ledger.fault("cut"));
    }
    scene.judge(&[], 100).await?;
    Ok(())
}

/// What routing alone promises: new events go the other way.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_path_is_left_soon() -> Result<()> {
    let mesh = Mesh::start(&Plan::diamond(), 1).await?;
    let probe = Probe::at(&mesh, "east", &SharedLedger::default()).await?;
    probe.arrives(&mesh, "west", MOVED_WITHIN).await?;
    leave_the_active_path(&mesh, &probe).await?;
    balance(&mesh).await
}

/// Cuts the link to the carrier in use, both ways, until events go another way; then heals it.
async fn leave_the_active_path(mesh: &Mesh, probe: &Probe) -> Result<()> {
    let west = mesh.zone("west").admin();
    let path = west.route_to("east-1").await?.path;
    let carrier = path.get(1).context("the path has a carrier")?.clone();
    let zone = carrier.strip_suffix("-1").context("a bridge of the plan")?;
    let relay = mesh.relay("west", zone);
    let cut_at = Instant::now();
    relay.set_both(Weather::cut());
    mesh.note(&format!("cut west–{zone}"));
    eventually("another path", MOVED_WITHIN, || async {
        let route = west.route_to("east-1").await?;
        ensure!(route.reachable && !route.path.contains(&carrier), "{route:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    probe.arrives(mesh, "west", MOVED_WITHIN.saturating_sub(cut_at.elapsed())).await?;
    ensure!(Way::BOTH.iter().all(|way| relay.traffic(*way).cut > 0), "the cut met nothing");
    relay.heal();
    mesh.note("healed");
    eventually("the link is back", MOVED_WITHIN, || async {
        let peer = west.peer(&carrier).await?;
        ensure!(peer.state == "up", "{peer:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

/// A cut of each link.
fn cuts(mesh: &Mesh) -> Vec<Fault> {
    let links = mesh.relays().map(|(from, to, _)| (from.to_owned(), to.to_owned()));
    let cut = |(from, to)| Fault::Weather { from, to, ways: Way::BOTH.to_vec(), weather: Weather::cut() };
    links.map(cut).collect()
}
