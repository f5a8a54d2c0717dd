//! A bridge on the active of two paths ends: how soon do new events arrive over the other?

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Plan, eventually};
use serde_json::json;

use super::{FILTER, WITHIN, over};
use crate::durability::MACHINE;

const ROUNDS: usize = 3;
/// Between two events.
const PACE: Duration = Duration::from_millis(4);
const BEFORE: usize = 25;
const AFTER: usize = 100;

#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Terminate,
}

/// What a reader of the other zone saw.
#[derive(Debug)]
struct Gap {
    /// From the strike until an event that was published after it arrived.
    first: Duration,
    /// The longest that any event took, those in doubt included.
    slowest: Duration,
    /// The longest that a publisher waited for its answer, which no link has a part in: the disk and the machine.
    answered: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_at_once_when_a_transit_bridge_on_tcp_is_killed() -> Result<()> {
    check("tcp", End::Kill, Duration::from_millis(400)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_at_once_when_a_transit_bridge_on_tcp_stops() -> Result<()> {
    check("tcp", End::Terminate, Duration::from_millis(400)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_flow_at_once_when_a_transit_bridge_on_quic_stops() -> Result<()> {
    check("quic", End::Terminate, Duration::from_millis(400)).await
}

/// Each round must lose nothing; the median of the gaps must be below `bound`, which leaves room for a machine that is busy with other tests, and for two disks
/// that are as slow as the publishers saw them: the origin's and the destination's. The figures that the product is held to are printed, for a machine of its own.
async fn check(transport: &'static str, end: End, bound: Duration) -> Result<()> {
    let _alone = MACHINE.write().await;
    let mesh = Mesh::start_rigged(&Plan::diamond(), 1, &over(transport)).await?;
    let subscriber = mesh.zone("east").subscribe(&[FILTER]).await?;
    mesh.knows("east", FILTER).await?;
    let mut gaps = Vec::new();
    for _ in 0..ROUNDS {
        gaps.push(round(&mesh, &subscriber, end).await.with_context(|| mesh.story())?);
    }
    gaps.sort_by_key(|gap| gap.first);
    let answered = gaps.iter().map(|gap| gap.answered).max().unwrap_or_default();
    eprintln!("{transport}, {end:?}: {gaps:?}; publishers were answered within {answered:?}");
    let median = &gaps[ROUNDS / 2];
    ensure!(median.first <= bound + 2 * median.answered, "{gaps:?}\n{}", mesh.story());
    Ok(())
}

async fn round(mesh: &Mesh, subscriber: &meshbridge_integration::Subscriber, end: End) -> Result<Gap> {
    let west = mesh.zone("west").admin();
    mesh.connected().await?;
    eventually("both paths are there", WITHIN, || async {
        for zone in ["north", "south"] {
            let near = west.peer(&format!("{zone}-1")).await?;
            let far = mesh.zone(zone).admin().peer("east-1").await?;
            ensure!(near.state == "up" && far.state == "up", "{near:?}, {far:?}");
        }
        Ok(())
    })
    .await?;
    let path = west.route_to("east-1").await?.path;
    let carrier = path.get(1).context("a carrier")?.clone();
    let zone = carrier.strip_suffix("-1").context("a bridge of the plan")?.to_owned();
    let mut submitted = Vec::new();
    let answered = Cell::new(Duration::ZERO);
    let publisher = mesh.zone("west").publisher();
    let publish = async |submitted: &mut Vec<(String, Instant)>, count: usize| {
        for _ in 0..count {
            let event = Draft::new(json!({}));
            submitted.push((event.id.clone(), Instant::now()));
            let began = Instant::now();
            publisher.publish("orders.made", &event).await?;
            answered.set(answered.get().max(began.elapsed()));
            tokio::time::sleep(PACE).await;
        }
        anyhow::Ok(())
    };
    publish(&mut submitted, BEFORE).await?;
    let struck = Instant::now();
    let strike = async {
        match end {
            End::Kill => mesh.kill(&zone),
            End::Terminate => mesh.terminate(&zone, WITHIN).await,
        }
    };
    let (ended, published) = tokio::join!(strike, publish(&mut submitted, AFTER));
    ended?;
    published?;
    let mut gap = Gap { first: Duration::MAX, slowest: Duration::ZERO, answered: answered.get() };
    for (id, at) in &submitted {
        let received = subscriber.wait_for(id).await?;
        gap.slowest = gap.slowest.max(received.at.saturating_duration_since(*at));
        if *at >= struck {
            gap.first = gap.first.min(received.at.saturating_duration_since(struck));
        }
    }
    let ids: Vec<String> = subscriber.received().iter().map(|one| one.id().to_owned()).collect();
    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    ensure!(ids.len() == distinct.len(), "an event came twice");
    mesh.restart(&zone).await?;
    Ok(gap)
}
