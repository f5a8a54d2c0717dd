//! T28: who is slow stays alone. One of eight destinations has a subscriber that does not read; at another one, one of a hundred subscribers never acknowledges. The
//! others notice nothing, and nothing of theirs is dropped. What they would notice is measured beside a second federation where everybody reads, at the same time: so
//! the machine is as busy for both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Plan, Subscriber, eventually};
use serde_json::json;

use super::books::balance;
use super::seed;
use crate::delivery::{make, next, open};

const FLOW: &str = "orders.flow";
const CROWD: &str = "orders.crowd";
/// With `crowd` and `deaf` they are eight.
const OTHERS: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", "s5"];
/// With the one that never acknowledges they are a hundred.
const PROMPT: usize = 99;
const EVENTS: usize = 100;
const EVERY: Duration = Duration::from_millis(40);
/// Those of the crowd are small and come with every second one.
const CROWD_EVENTS: usize = EVENTS / 2;
/// More in all than sockets and buffers hold for one that does not read.
const EVENT_BYTES: usize = 96 << 10;
const ARRIVED_WITHIN: Duration = Duration::from_secs(30);
/// Twice T28's 1.1.
const RATIO_MAX: f64 = 2.2;
/// Below this a ratio says more about the machine's scheduler than about the bridges.
const FLOOR: Duration = Duration::from_millis(25);

/// A federation, and those in it who read.
struct Readers {
    mesh: Mesh,
    others: Vec<Subscriber>,
    crowd: Vec<Subscriber>,
}

/// What came of the events of one topic: their ids, and the 99th percentile of the time they took.
struct Flow {
    ids: Vec<String>,
    p99: Duration,
}

impl Readers {
    async fn start() -> Result<Readers> {
        let zones = OTHERS.into_iter().chain(["crowd", "deaf"]);
        let links: Vec<(&str, &str)> = zones.map(|zone| ("hub", zone)).collect();
        let mesh = Mesh::start(&Plan::new(&links), seed()).await?;
        let (mut others, mut crowd) = (Vec::new(), Vec::new());
        for zone in OTHERS {
            others.push(mesh.zone(zone).subscribe(&[FLOW]).await?);
            mesh.knows(zone, FLOW).await?;
        }
        let node = mesh.zone("crowd");
        for number in 0..PROMPT {
            crowd.push(node.subscribe_as(&format!("prompt-{number}"), CROWD).await?);
        }
        mesh.knows("crowd", CROWD).await?;
        Ok(Readers { mesh, others, crowd })
    }

    /// Publishes at the hub.
    async fn run(&self) -> Result<(Flow, Flow)> {
        let publisher = self.mesh.zone("hub").publisher();
        let mut sent = BTreeMap::new();
        let (mut flow, mut crowd) = (Vec::new(), Vec::new());
        for number in 0..EVENTS {
            let event = Draft::new(json!({"payload": "x".repeat(EVENT_BYTES)}));
            sent.insert(event.id.clone(), Instant::now());
            flow.push(event.id.clone());
            publisher.publish_structured(FLOW, &event).await?;
            if number % 2 == 0 {
                let event = Draft::new(json!({ "number": number }));
                sent.insert(event.id.clone(), Instant::now());
                crowd.push(event.id.clone());
                publisher.publish_structured(CROWD, &event).await?;
            }
            tokio::time::sleep(EVERY).await;
        }
        let of_others = p99(&self.others, &flow, &sent).await?;
        let of_crowd = p99(&self.crowd, &crowd, &sent).await?;
        Ok((Flow { ids: flow, p99: of_others }, Flow { ids: crowd, p99: of_crowd }))
    }
}

/// Each of them has come to each, and this is how long it took.
async fn p99(to: &[Subscriber], ids: &[String], sent: &BTreeMap<String, Instant>) -> Result<Duration> {
    let mut times = Vec::new();
    for one in to {
        one.wait_for_within(ids.last().context("events")?, ARRIVED_WITHIN).await?;
        let at: BTreeMap<String, Instant> =
            one.received().iter().map(|received| (received.id().to_owned(), received.at)).collect();
        let all: Option<Vec<Duration>> = ids.iter().map(|id| Some(*at.get(id)? - sent[id])).collect();
        times.extend(all.with_context(|| format!("not all came to {}", one.zone()))?);
        ensure!(at.len() == ids.len(), "{} events came to {}", at.len(), one.zone());
    }
    times.sort_unstable();
    Ok(times[times.len() * 99 / 100])
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_or_never_acknowledges_holds_up_nobody_else() -> Result<()> {
    let (slow, prompt) = tokio::try_join!(Readers::start(), Readers::start())?;
    // There all read.
    let _reads_too = prompt.mesh.zone("deaf").subscribe(&[FLOW]).await?;
    prompt.mesh.knows("deaf", FLOW).await?;
    let _last_of_the_crowd = prompt.mesh.zone("crowd").subscribe_as("mute", CROWD).await?;
    let mesh = &slow.mesh;
    for (zone, name, filter) in [("deaf", "deaf", FLOW), ("crowd", "mute", CROWD)] {
        ensure!(make(&mesh.zone(zone), name, filter).await?.is_success(), "{name} not made");
        mesh.knows(zone, filter).await?;
    }
    // One opens its stream and does not read; one reads and never acknowledges.
    let mut unread = open(&mesh.zone("deaf"), "subscription=deaf").await?;
    let mut unanswered = open(&mesh.zone("crowd"), "subscription=mute&ack=manual").await?;
    let (beside_slow, beside_prompt) = tokio::join!(slow.run(), prompt.run());
    let ((flow, crowd), (flow_beside, crowd_beside)) =
        (beside_slow.with_context(|| mesh.story())?, beside_prompt?);
    drop(prompt);
    for (who, after, before) in
        [("the others", &flow, &flow_beside), ("the rest of the crowd", &crowd, &crowd_beside)]
    {
        let (after, before) = (after.p99, before.p99);
        eprintln!("p99 to {who}: {before:?} beside prompt ones, {after:?} beside the slow ones");
        let limit = before.max(FLOOR).mul_f64(RATIO_MAX);
        ensure!(after <= limit, "p99 to {who} {after:?}, {before:?} without the slow ones; {}", mesh.story());
    }
    let ids: BTreeSet<&str> = flow.ids.iter().map(String::as_str).collect();
    let crowd_ids: BTreeSet<&str> = crowd.ids.iter().map(String::as_str).collect();
    ensure!(ids.len() == EVENTS && crowd_ids.len() == CROWD_EVENTS, "too few events");
    let mut rest = String::new();
    let mut offered = BTreeSet::new();
    while offered.len() < crowd_ids.len() {
        let (_, event) = next(&mut unanswered, &mut rest).await.with_context(|| mesh.story())?;
        offered.insert(event["id"].as_str().unwrap_or_default().to_owned());
    }
    ensure!(offered.iter().all(|id| crowd_ids.contains(id.as_str())), "strangers were offered");
    let pending = eventually("what was not read or acknowledged waits", ARRIVED_WITHIN, || async {
        let books = mesh.zone("hub").admin().json("/v1/delivery").await?;
        let of = |bridge: &str| {
            let mut all = books["destinations"].as_array().into_iter().flatten();
            all.find(|one| one["destination"] == bridge).cloned()
        };
        let (deaf, crowd) = (of("deaf-1").context("no account")?, of("crowd-1").context("no account")?);
        ensure!(crowd["pending"] == CROWD_EVENTS, "{crowd}");
        for account in [&deaf, &crowd] {
            ensure!(account["deadLettered"] == 0 && account["expired"] == 0, "{account}");
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
    ensure!(read.iter().all(|id| ids.contains(id.as_str())), "something else was read");
    eprintln!("{pending} of {EVENTS} waited for the deaf one, all {CROWD_EVENTS} for the mute one");
    balance(mesh).await
}
