//! T28: who is slow stays alone. One destination's subscriber does not read, another never acknowledges; the others notice nothing, and nothing of theirs is
//! dropped. What they would notice is measured beside a second federation where everybody reads, at the same time: so the machine is as busy for both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Plan, Subscriber, eventually};
use serde_json::json;

use super::seed;
use crate::delivery::{make, next, open};

const FLOW: &str = "orders.flow";
const OTHERS: [&str; 2] = ["s0", "s1"];
const EVENTS: usize = 250;
const EVERY: Duration = Duration::from_millis(20);
/// More in all than sockets and buffers hold for one that does not read.
const EVENT_BYTES: usize = 96 << 10;
const ARRIVED_WITHIN: Duration = Duration::from_secs(30);
/// Twice T28's 1.1.
const RATIO_MAX: f64 = 2.2;
/// Below this a ratio says more about the machine's scheduler than about the bridges.
const FLOOR: Duration = Duration::from_millis(25);

/// Publishes at the hub; the ids, and the 99th percentile of the time to the others.
async fn flow(mesh: &Mesh, others: &[Subscriber]) -> Result<(Vec<String>, Duration)> {
    let publisher = mesh.zone("hub").publisher();
    let mut sent = BTreeMap::new();
    let mut ids = Vec::new();
    for _ in 0..EVENTS {
        let event = Draft::new(json!({"payload": "x".repeat(EVENT_BYTES)}));
        sent.insert(event.id.clone(), Instant::now());
        ids.push(event.id.clone());
        publisher.publish_structured(FLOW, &event).await?;
        tokio::time::sleep(EVERY).await;
    }
    let mut times = Vec::new();
    for other in others {
        let last = ids.last().context("events")?;
        other.wait_for_within(last, ARRIVED_WITHIN).await?;
        let received = other.received();
        let of = |id: &String| received.iter().find(|one| one.id() == id).map(|one| one.at - sent[id]);
        let all: Option<Vec<Duration>> = ids.iter().map(of).collect();
        times.extend(all.with_context(|| format!("not all came to {}", other.zone()))?);
    }
    times.sort_unstable();
    Ok((ids, times[times.len() * 99 / 100]))
}

async fn subscribed(mesh: &Mesh, zones: &[&str]) -> Result<Vec<Subscriber>> {
    let mut subscribers = Vec::new();
    for zone in zones {
        subscribers.push(mesh.zone(zone).subscribe(&[FLOW]).await?);
        mesh.knows(zone, FLOW).await?;
    }
    Ok(subscribers)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_or_never_acknowledges_holds_up_nobody_else() -> Result<()> {
    let plan = Plan::new(&[("hub", "s0"), ("hub", "s1"), ("hub", "deaf"), ("hub", "mute")]);
    let mesh = Mesh::start(&plan, seed()).await?;
    let prompt = Mesh::start(&plan, seed()).await?;
    let others = subscribed(&mesh, &OTHERS).await?;
    let readers = subscribed(&prompt, &OTHERS).await?;
    // There the others read as well.
    let _readers_too = subscribed(&prompt, &["deaf", "mute"]).await?;
    let (deaf, mute) = (mesh.zone("deaf"), mesh.zone("mute"));
    for (node, name) in [(&deaf, "deaf"), (&mute, "mute")] {
        ensure!(make(node, name, FLOW).await?.is_success(), "{name} not made");
        mesh.knows(&node.zone, FLOW).await?;
    }
    // One opens its stream and does not read; one reads and never acknowledges.
    let mut unread = open(&deaf, "subscription=deaf").await?;
    let mut unanswered = open(&mute, "subscription=mute&ack=manual").await?;
    let (beside_slow, beside_prompt) = tokio::join!(flow(&mesh, &others), flow(&prompt, &readers));
    let ((ids, after), (_, before)) = (beside_slow?, beside_prompt?);
    let limit = before.max(FLOOR).mul_f64(RATIO_MAX);
    eprintln!("p99 to the others: {before:?} beside prompt ones, {after:?} beside the slow ones");
    ensure!(after <= limit, "p99 {after:?}, {before:?} without the slow ones; {}", mesh.story());
    drop(prompt);

    let ids: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let mut rest = String::new();
    let mut offered = BTreeSet::new();
    while offered.len() < ids.len() {
        let (_, event) = next(&mut unanswered, &mut rest).await.with_context(|| mesh.story())?;
        offered.insert(event["id"].as_str().unwrap_or_default().to_owned());
    }
    ensure!(offered.iter().all(|id| ids.contains(id.as_str())), "strangers were offered");
    let pending = eventually("what was not read waits", ARRIVED_WITHIN, || async {
        let account = mesh.zone("hub").admin().json("/v1/delivery").await?;
        let of = |bridge: &str| {
            let mut all = account["destinations"].as_array().into_iter().flatten();
            all.find(|one| one["bridge"] == bridge || one["destination"] == bridge).cloned()
        };
        let (deaf, mute) = (of("deaf-1").context("no account")?, of("mute-1").context("no account")?);
        ensure!(mute["pending"] == ids.len(), "{mute}");
        for account in [&deaf, &mute] {
            ensure!(account["dead_lettered"].as_u64().unwrap_or(0) == 0, "{account}");
        }
        Ok(deaf["pending"].as_u64().unwrap_or(0))
    })
    .await?;
    ensure!(pending > 0, "sockets and buffers took everything: the deaf one was not slow");
    let (mut rest, mut read) = (String::new(), BTreeSet::new());
    while read.len() < ids.len() {
        let (_, event) = next(&mut unread, &mut rest).await.with_context(|| mesh.story())?;
        read.insert(event["id"].as_str().unwrap_or_default().to_owned());
    }
    ensure!(read == offered, "something else was read");
    Ok(())
}
