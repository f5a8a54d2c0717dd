//! T27 and M32: wall clocks that are set while bridges run. No event ends early, nothing is lost or comes twice, and what a certificate allows follows the wall.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{
    Fault, Mesh, PAYLOAD_BYTES, Plan, Rigging, Schedule, Step, eventually, faketime, skip, throughout,
};

use super::{Scene, share};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
const YEAR: i64 = 365 * DAY;
/// Corrections that are followed, steps that are not, and steps beyond every certificate's end or beginning.
const STEPS: [i64; 10] =
    [1, -1, 4 * MINUTE, -4 * MINUTE, 10 * MINUTE, -10 * MINUTE, YEAR, -YEAR, 10 * YEAR, -10 * YEAR];
/// G2: a link whose certificate has ended is cut within five seconds; the rest is for a busy machine.
const CUT_WITHIN: Duration = Duration::from_secs(10);
const BACK_WITHIN: Duration = Duration::from_secs(20);

fn clocks() -> Option<Rigging> {
    let Some(library) = faketime() else {
        skip("clocks that are set", "libfaketime is not installed (apt-get install libfaketime)");
        return None;
    };
    Some(Rigging { clocks: Some(library), ..Rigging::default() })
}

fn clock(zone: &str, off_by: i64) -> Fault {
    Fault::Clock { zone: zone.to_owned(), off_by }
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_set_end_nothing_early_and_lose_nothing() -> Result<()> {
    let Some(rigging) = clocks() else { return Ok(()) };
    let zones = ["west", "middle", "east"];
    let scene = Scene::start_rigged(&Plan::chain(), &["west", "east"], true, &rigging, PAYLOAD_BYTES).await?;
    let step = |fault, lasts| Step { after: Duration::from_millis(300), fault, lasts };
    // The longest is beyond what a link may live with a certificate that has ended.
    let each = zones.map(|zone| step(clock(zone, 10 * YEAR), Duration::from_secs(6)));
    let strobe = |(zone, off_by): (&str, i64)| Fault::Strobe { zone: zone.to_owned(), off_by };
    let strobes = [("west", 10 * YEAR), ("east", -10 * YEAR)].map(strobe);
    let strobes = strobes.map(|fault| step(fault, Duration::from_secs(2)));
    let menu: Vec<Fault> = zones.iter().flat_map(|zone| STEPS.map(|off_by| clock(zone, off_by))).collect();
    let more = Schedule::random(scene.seed, &menu, share(2), 100..500, 200..1_500);
    let steps = each.into_iter().chain(strobes).chain(more.steps().iter().cloned()).collect();
    let schedule = Schedule::new(scene.seed, steps);
    let totals = scene.judge(&[schedule], 200).await?;
    let struck = |kind: &str| totals.faults.get(kind).copied().unwrap_or_default();
    ensure!(struck("clock") >= 5 && struck("strobe") == 2, "{:?}", totals.faults);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_cut_when_the_wall_says_that_a_certificate_has_ended() -> Result<()> {
    let Some(rigging) = clocks() else { return Ok(()) };
    for transport in ["quic", "tcp"] {
        let rigging = Rigging { transport: Some(transport), ..rigging.clone() };
        let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 1, &rigging).await?;
        mesh.set_clock("west", 2 * YEAR)?;
        mesh.note("the clock of west is two years ahead");
        link_is_up(&mesh, CUT_WITHIN, false).await?;
        eventually("the clock is in doubt", CUT_WITHIN, || async {
            ensure!(alarms(&mesh, "clock_ahead").await? >= 1.0);
            Ok(())
        })
        .await?;
        ensure!(mesh.log("west").contains("certificate has expired"), "{}", mesh.story());
        mesh.set_clock("west", 0)?;
        mesh.note("it is right again");
        link_is_up(&mesh, BACK_WITHIN, true).await?;
        // A little ahead, and the certificates have not ended.
        mesh.set_clock("west", 10 * MINUTE)?;
        throughout("the link stays", Duration::from_secs(6), || async { up(&mesh).await }).await?;
    }
    Ok(())
}

async fn alarms(mesh: &Mesh, kind: &str) -> Result<f64> {
    let metrics = mesh.zone("west").admin().metrics().await?;
    Ok(metrics.get(&format!("meshbridge_alarms_total{{kind=\"{kind}\"}}")).copied().unwrap_or_default())
}

async fn up(mesh: &Mesh) -> Result<()> {
    let peer = mesh.zone("west").admin().peer("east-1").await?;
    ensure!(peer.state == "up", "{peer:?}");
    Ok(())
}

async fn link_is_up(mesh: &Mesh, within: Duration, is_up: bool) -> Result<()> {
    eventually(&format!("the link is up: {is_up}"), within, || async {
        ensure!(up(mesh).await.is_ok() == is_up);
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}
