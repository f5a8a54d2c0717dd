//! T2 and T21: bridges end at each step whose order matters, and have their disks fail. The steps are those of `fail_point!` in the code; a binary made with
//! them is at `MESHBRIDGE_FAILING_BIN`. `MESHBRIDGE_FAILPOINT_ROUNDS` is how often each strikes, once without it; `MESHBRIDGE_FAILPOINT` names one alone.
//!
//! A bridge that has ended is started again so that it ends at the next step: what one crash left is what the next one meets.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use anyhow::{Result, ensure};
use meshbridge_integration::{PAYLOAD_BYTES, Plan, Rigging, failing_binary, skip};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::Scene;

const ZONES: [&str; 3] = ["west", "middle", "east"];
const SIGABRT: i32 = 6;
/// Exit code of a bridge whose spool can no longer be written.
const EXIT_SPOOL: i32 = 6;
/// Under load every step is passed within moments; those of a full segment take longest.
const STRUCK_WITHIN: Duration = Duration::from_secs(30);
/// Segments of 8 MiB are full after some hundred of these.
const LARGE_EVENT_BYTES: usize = 48 << 10;
/// A start makes one file at most, whose zeros are eight writes: a bridge whose start fails ends otherwise.
const SMALL_SEGMENTS: &str = "segmentMiB: 8, sizeMiB: 256";
/// The smallest spool there is: soon tight, so that checkpoints, moves and unlinks are due all the time.
const TIGHT_SPOOL: &str = "segmentMiB: 8, sizeMiB: 80";

/// A step, and up to how many times it is passed before it strikes.
type Step = (&'static str, u32);

/// Before the log is written: first it takes long, so that whoever does not wait for it says more than is true.
const STALLED: &str = "spool.before-append";

/// M1 to M6, M12, M16.
const ORIGIN: [Step; 9] = [
    ("origin.before-append", 20),
    ("origin.after-append", 20),
    ("spool.before-append", 40),
    ("spool.after-append", 40),
    ("spool.after-sync", 40),
    ("origin.before-answer", 20),
    ("origin.before-send", 20),
    ("origin.after-send", 20),
    ("origin.before-outcomes-known", 5),
];
/// M9 to M12, M14 to M16, M41.
const DESTINATION: [Step; 13] = [
    ("destination.before-append", 20),
    ("spool.before-append", 40),
    ("spool.after-append", 40),
    ("destination.after-append", 20),
    ("destination.before-receipt", 10),
    ("destination.before-offer", 20),
    ("destination.before-acknowledging", 10),
    ("destination.after-acknowledging", 5),
    ("destination.acknowledged", 5),
    ("destination.before-outcomes", 10),
    ("pair.before-noting", 20),
    ("pair.after-noting", 20),
    ("pair.before-exchange", 2),
];
/// M13, and what goes on below.
const SPOOL: [Step; 12] = [
    ("spool.checkpoint-begun", 1),
    ("spool.checkpoint-ended", 1),
    ("spool.checkpoint-durable", 1),
    ("spool.spare-created", 2),
    ("spool.spare-synced", 2),
    ("spool.before-roll", 2),
    ("spool.after-roll", 2),
    ("spool.after-retiring", 2),
    ("spool.before-unlink", 2),
    ("spool.after-unlink", 2),
    ("spool.before-moving", 1),
    ("spool.after-moving", 1),
];
/// S8: one crash in a recovery after the other, before any of them was whole.
const RECOVERY: [Step; 7] = [
    ("recovery.surveyed", 1),
    ("spool.spare-created", 1),
    ("spool.spare-synced", 1),
    ("recovery.before-sync", 1),
    ("recovery.before-unlinking-spares", 1),
    ("recovery.replayed", 1),
    ("recovery.before-spare", 1),
];

fn rigging(spool: &str) -> Option<Rigging> {
    let binary = failing_binary();
    if binary.is_none() {
        skip("fail points", "there is no meshbridge-failing: ./integration/test builds it");
    }
    Some(Rigging { binary: Some(binary?), spool: spool.to_owned(), ..Rigging::default() })
}

fn rounds() -> usize {
    env::var("MESHBRIDGE_FAILPOINT_ROUNDS")
        .map_or(1, |text| text.parse().expect("MESHBRIDGE_FAILPOINT_ROUNDS is a number"))
}

fn is_wanted(step: &str) -> bool {
    env::var("MESHBRIDGE_FAILPOINT").map_or(true, |wanted| wanted == step)
}

/// Ends the bridge of `zone` at each of these steps, and starts it again.
async fn strike(scene: &Scene, zone: &str, steps: &[Step]) -> Result<()> {
    let mut random = Pcg64Mcg::seed_from_u64(scene.seed);
    let mesh = &scene.mesh;
    mesh.kill(zone)?;
    for _ in 0..rounds() {
        for (step, passes) in steps.iter().filter(|(step, _)| is_wanted(step)) {
            let before = random.random_range(*passes / 2..*passes);
            let stall = if *step == STALLED { "1*sleep(200)->" } else { "" };
            mesh.start_failing(zone, &format!("{step}={before}*off->{stall}panic"))?;
            let status = mesh.ends(zone, STRUCK_WITHIN).await?;
            let struck = format!("failpoint {step} panic");
            let log = mesh.log(zone);
            let last = log.lines().rev().find(|line| line.contains("failpoint")).unwrap_or_default();
            ensure!(status.signal() == Some(SIGABRT), "{status} at {step}: {}", mesh.story());
            ensure!(log.trim_end().ends_with(&struck), "{step} did not strike, {last}: {}", mesh.story());
            scene.ledger.with(|ledger| ledger.fault(step));
        }
    }
    mesh.restart(zone).await
}

fn expected(steps: &[Step]) -> u64 {
    (rounds() * steps.iter().filter(|(step, _)| is_wanted(step)).count()) as u64
}

async fn ends_everywhere(spool: &str, bytes: usize, zone: &str, steps: &[Step]) -> Result<()> {
    let Some(rigging) = rigging(spool) else { return Ok(()) };
    let scene = Scene::start_rigged(&Plan::chain(), &ZONES, true, &rigging, bytes).await?;
    strike(&scene, zone, steps).await?;
    let struck = scene.ledger.with(|ledger| ledger.totals().faults.values().sum::<u64>());
    ensure!(struck == expected(steps), "{struck} faults struck");
    let totals = scene.judge(&[], 100).await?;
    eprintln!("{zone}: {totals:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_ends_at_any_step_loses_nothing_and_repeats_nothing() -> Result<()> {
    ends_everywhere("", PAYLOAD_BYTES, "west", &ORIGIN).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_ends_at_any_step_loses_nothing_and_repeats_nothing() -> Result<()> {
    ends_everywhere("", PAYLOAD_BYTES, "east", &DESTINATION).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_on_the_way_that_ends_before_it_forwards_loses_nothing() -> Result<()> {
    ends_everywhere(
        "",
        PAYLOAD_BYTES,
        "middle",
        &[("transit.before-forward", 20), ("transit.before-forward", 3)],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_is_left_at_any_step_of_its_upkeep_loses_nothing() -> Result<()> {
    ends_everywhere(TIGHT_SPOOL, LARGE_EVENT_BYTES, "west", &SPOOL).await
}

#[tokio::test(flavor = "multi_thread")]
async fn recoveries_that_are_cut_short_one_after_the_other_lose_nothing() -> Result<()> {
    ends_everywhere("", PAYLOAD_BYTES, "east", &RECOVERY).await
}

/// T21, M31: after a flush or a write that failed nothing is acknowledged, the process ends with its own exit code, and the next start decides.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_the_bridge_and_loses_nothing() -> Result<()> {
    let Some(rigging) = rigging(SMALL_SEGMENTS) else { return Ok(()) };
    let scene = Scene::start_rigged(&Plan::chain(), &ZONES, true, &rigging, PAYLOAD_BYTES).await?;
    let mesh = &scene.mesh;
    let failures = [
        ("disk.sync-data", "EIO"),
        ("disk.sync-data", "ENOSPC"),
        ("disk.sync-data", "EROFS"),
        ("disk.write", "EIO"),
    ];
    let mut random = Pcg64Mcg::seed_from_u64(scene.seed);
    for _ in 0..rounds() {
        for (at, (step, how)) in failures.into_iter().enumerate() {
            let zone = ["west", "east"][at % 2];
            mesh.kill(zone)?;
            // Past the writes of the start, which ends with another code when it fails.
            let before = random.random_range(60..120);
            mesh.start_failing(zone, &format!("{step}={before}*off->return({how})"))?;
            let fails = "The spool cannot be written any more";
            let lives = mesh.log(zone).matches(fails).count();
            let status = mesh.ends(zone, STRUCK_WITHIN).await?;
            ensure!(status.code() == Some(EXIT_SPOOL), "{status} after {how} at {step}: {}", mesh.story());
            ensure!(mesh.log(zone).matches(fails).count() == lives + 1, "it said nothing: {}", mesh.story());
            scene.ledger.with(|ledger| ledger.fault(how));
            mesh.restart(zone).await?;
        }
    }
    scene.judge(&[], 100).await?;
    Ok(())
}
