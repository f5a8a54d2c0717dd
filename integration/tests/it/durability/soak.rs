//! T30: mixed faults for long, and nothing grows.
//!
//! `MESHBRIDGE_SOAK_SECS` is how long faults strike, 40 without it, and the whole test about a minute. Three days:
//! `MESHBRIDGE_SOAK_SECS=259200 cargo test --release -p meshbridge-integration --test it soak`. Beyond the first ten minutes faults come every 30 to 300
//! seconds, as T30 has it; before, every one to four.

use std::env;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Fault, Mesh, Plan, Schedule, Way, Weather, eventually};

use super::memory::{descriptors, resident_mib};
use super::{SETTLED_WITHIN, Scene};

const QUICK_SECS: u64 = 40;
/// Until memory has been given back: the allocator keeps it for ten seconds.
const WITHIN: Duration = Duration::from_secs(40);
/// The longest soak whose faults come as fast as in the quick form.
const FAST_SECS: u64 = 600;
/// Allocators and caches settle within a run; what is left of a leak after it is above this.
const GROWTH_MAX_MIB: u64 = 24;
const DESCRIPTORS_MAX: usize = 16;
const TASKS_MAX: f64 = 24.0;

#[derive(Debug)]
struct Usage {
    resident_mib: u64,
    descriptors: usize,
    tasks: f64,
}

/// Of the bridge that is never killed.
async fn usage(mesh: &Mesh) -> Result<Usage> {
    let node = mesh.zone("middle");
    let metrics = node.admin().metrics().await?;
    let tasks = *metrics.get("meshbridge_tasks").context("meshbridge_tasks")?;
    Ok(Usage { resident_mib: resident_mib(node.pid)?, descriptors: descriptors(node.pid)?, tasks })
}

fn menu() -> Vec<Fault> {
    let wire = |from: &str, to: &str, ways: &[Way], weather| Fault::Weather {
        from: from.to_owned(),
        to: to.to_owned(),
        ways: ways.to_vec(),
        weather,
    };
    let [forward, backward] = Way::BOTH;
    let rain =
        Weather { loss: 0.2, duplicate: 0.05, jitter: Duration::from_millis(200), ..Weather::default() };
    vec![
        Fault::Kill { zone: "west".to_owned() },
        Fault::Kill { zone: "east".to_owned() },
        wire("west", "middle", &[forward, backward], Weather::cut()),
        wire("middle", "east", &[forward], Weather::cut()),
        wire("middle", "east", &[backward], Weather::cut()),
        wire("west", "middle", &[forward, backward], rain),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soak_loses_nothing_repeats_nothing_and_grows_nothing() -> Result<()> {
    let secs = env::var("MESHBRIDGE_SOAK_SECS")
        .map_or(QUICK_SECS, |text| text.parse().expect("MESHBRIDGE_SOAK_SECS is a number"));
    let mut scene = Scene::start(&Plan::chain(), &["west", "middle", "east"], true).await?;
    scene.settled_within = 2 * SETTLED_WITHIN;
    // What it grows to under load and one fault of each kind is the baseline.
    let each = menu().into_iter().map(|fault| meshbridge_integration::Step {
        after: Duration::from_millis(300),
        fault,
        lasts: Duration::from_millis(1_200),
    });
    Schedule::new(scene.seed, each.collect()).strike(&scene.mesh, &scene.ledger).await?;
    scene.run_for(200).await?;
    let before = usage(&scene.mesh).await?;
    let (calm, lasts) =
        if secs <= FAST_SECS { (1_000..4_000, 500..3_000) } else { (30_000..300_000, 500..30_000) };
    let mean_ms = (calm.start + calm.end + lasts.start + lasts.end) / 2;
    let count = usize::try_from(secs * 1_000 / mean_ms)?.max(3);
    let schedule = Schedule::random(scene.seed, &menu(), count, calm, lasts);
    schedule.strike(&scene.mesh, &scene.ledger).await.with_context(|| schedule.to_string())?;
    // What a backlog took for a moment goes back to the system within seconds; a leak stays.
    let after = eventually("it uses what it used before", WITHIN, || async {
        let after = usage(&scene.mesh).await?;
        ensure!(after.resident_mib <= before.resident_mib + GROWTH_MAX_MIB, "{before:?}, then {after:?}");
        ensure!(after.descriptors <= before.descriptors + DESCRIPTORS_MAX, "{before:?}, then {after:?}");
        ensure!(after.tasks <= before.tasks + TASKS_MAX, "{before:?}, then {after:?}");
        Ok(after)
    });
    let after = after.await.with_context(|| scene.mesh.story())?;
    eprintln!("{count} faults; {before:?}, then {after:?}");
    let totals = scene.judge(&[], 500).await?;
    eprintln!("{totals:?}");
    Ok(())
}
