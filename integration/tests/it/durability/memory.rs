//! T29: memory is bounded. A peer is black-holed at full ingress: the wire takes packets and gives nothing back.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{BATCH, Draft, Mesh, PAYLOAD_BYTES, Plan, Publisher, Weather};
use serde_json::{Value, json};

use super::seed;
use crate::delivery::make;

const FLOW: &str = "orders.flow";
const FOR: Duration = Duration::from_secs(30);
const PUBLISHERS: usize = 4;
const BATCH_EVENTS: usize = 32;
/// What caches and pools grow to is part of the baseline.
const WARM: Duration = Duration::from_secs(5);
/// Twice T29's bound.
const GROWTH_MAX_MIB: u64 = 128;
const DESCRIPTORS_MAX: usize = 16;
const EVENTS_MIN: u64 = 10_000;

pub(super) fn resident_mib(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1_024)
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
    let _busy = super::MACHINE.read().await;
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), seed()).await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    ensure!(make(&east, "all", FLOW).await?.is_success(), "not made");
    mesh.knows("east", FLOW).await?;
    all(&west.http, WARM).await?;
    let (before, open) = (resident_mib(west.pid)?, descriptors(west.pid)?);
    mesh.relay("west", "east").set_both(Weather::cut());
    let published = all(&west.http, FOR).await.with_context(|| mesh.story())?;
    let (after, still_open) = (resident_mib(west.pid)?, descriptors(west.pid)?);
    let pending = west.admin().json("/v1/delivery").await?["destinations"][0]["pending"].clone();
    eprintln!(
        "{published} events published, {pending} pending; resident {before} MiB, then {after} MiB; {open} descriptors, then {still_open}"
    );
    ensure!(published >= EVENTS_MIN, "only {published} events");
    ensure!(still_open <= open + DESCRIPTORS_MAX, "{open} descriptors before, {still_open} after");
    ensure!(after <= before + GROWTH_MAX_MIB, "{before} MiB before, {after} MiB after {published} events");
    Ok(())
}
