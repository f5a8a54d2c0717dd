//! T29: memory is bounded. A peer is black-holed at full ingress: the wire takes packets and gives nothing back. `MESHBRIDGE_BLACKHOLE_SECONDS` is for how long, 30
//! without it and an hour in the deep run. From ten minutes on the growth is judged by its slope as well, and by T29's own bound.

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{BATCH, Draft, Mesh, PAYLOAD_BYTES, Plan, Publisher, Weather};
use serde_json::{Value, json};

use super::books::hold;
use super::seed;
use crate::delivery::make;

const FLOW: &str = "orders.flow";
const SECONDS: u64 = 30;
const PUBLISHERS: usize = 4;
const BATCH_EVENTS: usize = 32;
/// What caches and pools grow to is part of the baseline.
const WARM: Duration = Duration::from_secs(5);
/// T29's bound, twice that in the ordinary run.
const GROWTH_MAX_MIB: u64 = 64;
const DESCRIPTORS_MAX: usize = 16;
/// What is shorter has no slope that says anything.
const LONG: Duration = Duration::from_secs(600);
/// The rest is judged: until then what waits has reached its quota, and pools their size.
const SETTLING: f64 = 0.4;
const SLOPE_MAX_MIB: f64 = 1.0;
const SLOPE_OVER: Duration = Duration::from_secs(600);
/// Of a run of any length.
const SAMPLES: u32 = 600;
const SAMPLED_EVERY_MIN: Duration = Duration::from_secs(1);
const EVENTS_MIN: u64 = 10_000;

pub(super) fn resident_mib(pid: u32) -> Result<u64> {
    Ok(resident_kib(pid)? / 1_024)
}

fn resident_kib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()?)
}

/// What the bridge takes at one time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    resident_mib: f64,
    descriptors: usize,
}

/// Looks at the bridge for so long.
async fn samples(pid: u32, time: Duration) -> Result<Vec<Sample>> {
    let every = (time / SAMPLES).max(SAMPLED_EVERY_MIN);
    let began = Instant::now();
    let mut samples = Vec::new();
    while began.elapsed() < time {
        tokio::time::sleep(every).await;
        let resident_mib = resident_kib(pid)? as f64 / 1_024.0;
        samples.push(Sample { at: began.elapsed(), resident_mib, descriptors: descriptors(pid)? });
    }
    Ok(samples)
}

/// By least squares, MiB in [`SLOPE_OVER`].
fn slope(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (at, resident) = (mean(&|one| one.at.as_secs_f64()), mean(&|one| one.resident_mib));
    let off = |one: &Sample| one.at.as_secs_f64() - at;
    let joint: f64 = samples.iter().map(|one| off(one) * (one.resident_mib - resident)).sum();
    let own: f64 = samples.iter().map(|one| off(one) * off(one)).sum();
    joint / own * SLOPE_OVER.as_secs_f64()
}

/// Neither memory nor descriptors grow, once all has its size.
fn is_flat(samples: &[Sample]) -> Result<f64> {
    let (settling, rest) = samples.split_at((samples.len() as f64 * SETTLING) as usize);
    let slope = slope(rest);
    ensure!(slope <= SLOPE_MAX_MIB, "{slope:.2} MiB in {SLOPE_OVER:?}");
    let most = |samples: &[Sample]| samples.iter().map(|one| one.descriptors).max().unwrap_or(0);
    ensure!(most(rest) <= most(settling), "{} descriptors, then {}", most(settling), most(rest));
    Ok(slope)
}

pub(super) fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// As many as the bridge takes.
async fn publish(base: String, until: Instant) -> Result<u64> {
    let publisher = Publisher::over(reqwest::Client::builder().no_proxy().build()?, &base);
    let mut count = 0;
    while Instant::now() < until {
        let events: Vec<Value> = (0..BATCH_EVENTS)
            .map(|_| Draft::new(json!({"payload": "x".repeat(PAYLOAD_BYTES)})).structured())
            .collect();
        let body = Value::Array(events).to_string().into_bytes();
        let answer = publisher.post(&format!("/v1/topics/{FLOW}"), &[BATCH], body).await?;
        match answer.status {
            202 => count += BATCH_EVENTS as u64,
            // Full is an answer; memory is what is judged here.
            429 | 503 => tokio::time::sleep(Duration::from_millis(100)).await,
            status => anyhow::bail!("status {status}: {}", answer.text),
        }
    }
    Ok(count)
}

async fn all(base: &str, for_how_long: Duration) -> Result<u64> {
    let until = Instant::now() + for_how_long;
    let each = (0..PUBLISHERS).map(|_| publish(base.to_owned(), until));
    Ok(futures_util::future::try_join_all(each).await?.into_iter().sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_holed_peer_does_not_fill_the_memory() -> Result<()> {
    let seconds = env::var("MESHBRIDGE_BLACKHOLE_SECONDS")
        .map_or(SECONDS, |text| text.parse().expect("MESHBRIDGE_BLACKHOLE_SECONDS is a number"));
    let time = Duration::from_secs(seconds);
    let _busy = super::MACHINE.read().await;
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), seed()).await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    ensure!(make(&east, "all", FLOW).await?.is_success(), "not made");
    mesh.knows("east", FLOW).await?;
    all(&west.http, WARM).await?;
    let (before, open) = (resident_mib(west.pid)?, descriptors(west.pid)?);
    mesh.relay("west", "east").set_both(Weather::cut());
    let (published, samples) =
        tokio::try_join!(all(&west.http, time), samples(west.pid, time)).with_context(|| mesh.story())?;
    let (after, still_open) = (resident_mib(west.pid)?, descriptors(west.pid)?);
    let pending = west.admin().json("/v1/delivery").await?["destinations"][0]["pending"].clone();
    eprintln!(
        "{published} events published in {time:?}, {pending} pending; resident {before} MiB, then {after} MiB; {open} descriptors, then {still_open}"
    );
    ensure!(published >= EVENTS_MIN, "only {published} events");
    ensure!(still_open <= open + DESCRIPTORS_MAX, "{open} descriptors before, {still_open} after");
    let is_long = time >= LONG;
    let most = if is_long { GROWTH_MAX_MIB } else { 2 * GROWTH_MAX_MIB };
    ensure!(after <= before + most, "{before} MiB before, {after} MiB after {published} events");
    if is_long {
        eprintln!("slope {:.3} MiB in {SLOPE_OVER:?}, of {} samples", is_flat(&samples)?, samples.len());
    }
    hold(&mesh).await
}

/// The judge of a long run is not blind.
#[test]
fn what_grows_slowly_or_keeps_descriptors_is_noticed() {
    let hour = |mib_in_ten_minutes: f64, late: usize| -> Vec<Sample> {
        let sample = |number: u64| {
            let at = Duration::from_secs(number * 6);
            // Up and down by a few MiB, as allocators do.
            let noise = ((number * 7_919) % 11) as f64 - 5.0;
            let resident_mib = 80.0 + noise + mib_in_ten_minutes * at.as_secs_f64() / 600.0;
            Sample { at, resident_mib, descriptors: if number > 500 { 40 + late } else { 40 } }
        };
        (1..=600).map(sample).collect()
    };
    assert!(is_flat(&hour(0.0, 0)).is_ok_and(|slope| slope.abs() < 0.3));
    let text =
        |samples: &[Sample]| is_flat(samples).err().map(|problem| problem.to_string()).unwrap_or_default();
    assert!(text(&hour(1.5, 0)).contains("MiB in"), "a slow leak passed");
    assert!(text(&hour(0.0, 1)).contains("descriptors"), "a descriptor that is kept passed");
}
