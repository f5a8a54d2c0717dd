//! T19, M40, D2: a destination is away, and its origin starts again and again meanwhile. Who wants what is on the origin's disk, and so is all that waits; each of
//! its runs is a short one. `MESHBRIDGE_ABSENCE_SECONDS` is how long, 15 without it and an hour in the deep run.

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::judge::{Demands, Topics};
use meshbridge_integration::{
    Consumer, Mesh, PAYLOAD_BYTES, Pace, Plan, Producer, Reading, SharedLedger, eventually,
};

use super::books;

const ALL: &str = "orders.flow.**";
const TOPIC: &str = "orders.flow.created";
const SECONDS: u64 = 15;
/// Of an absence of any length.
const LIVES: u32 = 600;
const LIFE_MIN: Duration = Duration::from_millis(1_000);
const EVENTS_PER_LIFE: u32 = 30;
const LIVES_MIN: u64 = 4;
const WITHIN: Duration = Duration::from_secs(30);
/// What waits goes one run after the other.
const SETTLED_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_was_away_gets_what_many_short_runs_left() -> Result<()> {
    let seconds = env::var("MESHBRIDGE_ABSENCE_SECONDS")
        .map_or(SECONDS, |text| text.parse().expect("MESHBRIDGE_ABSENCE_SECONDS is a number"));
    let absence = Duration::from_secs(seconds);
    let life = (absence / LIVES).max(LIFE_MIN);
    let _busy = super::MACHINE.read().await;
    let mesh = Mesh::start(&Plan::chain(), super::seed()).await?;
    let ledger = SharedLedger::default();
    let mut consumers = Vec::new();
    for (zone, name, reading) in [
        ("east", "all", Reading::Manual),
        ("east", "too", Reading::LastEventId),
        ("middle", "all", Reading::Manual),
    ] {
        let node = mesh.zone(zone);
        consumers.push(Consumer::start(&node, name, ALL, &Topics::All, reading, &ledger).await?);
        mesh.knows(zone, ALL).await?;
    }
    consumers.iter().for_each(Consumer::established);
    let pace = Pace { topic: TOPIC.to_owned(), every: life / EVENTS_PER_LIFE, bytes: PAYLOAD_BYTES };
    let producer = Producer::start(&mesh.zone("west"), "publisher", pace, &ledger);
    let run = async {
        accepted(&ledger, u64::from(EVENTS_PER_LIFE)).await?;
        mesh.terminate("east", WITHIN).await?;
        let (began, mut lives) = (Instant::now(), 0_u64);
        while began.elapsed() < absence || lives < LIVES_MIN {
            let before = ledger.with(|ledger| ledger.totals().accepted);
            accepted(&ledger, before + u64::from(EVENTS_PER_LIFE)).await?;
            // Upgrades and crashes by turns.
            match lives % 2 {
                0 => mesh.kill("west")?,
                _ => mesh.terminate("west", WITHIN).await?,
            }
            mesh.restart("west").await?;
            ledger.with(|ledger| ledger.fault("a restart of the origin"));
            lives += 1;
        }
        let published = producer.stop().await?;
        let away = began.elapsed();
        mesh.restart("east").await?;
        let back = Instant::now();
        let demands = Demands {
            events: published.events.max(LIVES_MIN * u64::from(EVENTS_PER_LIFE)),
            deliveries: published.events * consumers.len() as u64,
            faults: LIVES_MIN,
            accounts: false,
        };
        let totals = ledger.settle(SETTLED_WITHIN, &demands).await?;
        let settled = back.elapsed();
        let closed = books::close(&mesh).await?;
        books::enter(&mesh, &ledger).await?;
        ledger.with(|ledger| ledger.judge(&Demands { accounts: true, ..demands })).into_result()?;
        super::would_notice(&ledger, "east-1")?;
        eprintln!(
            "away for {away:?}, {lives} runs of the origin, {published:?}; {totals:?}; settled {settled:?} after it was back, closed {closed:?} later"
        );
        Ok(())
    };
    let result: Result<()> = run.await;
    let books = if result.is_err() { mesh.books().await } else { String::new() };
    result.with_context(|| {
        let readers: Vec<_> = consumers.iter().map(Consumer::read).collect();
        format!("{readers:#?}\n{books}\n{}", mesh.story())
    })
}

async fn accepted(ledger: &SharedLedger, events: u64) -> Result<()> {
    eventually("a life has gone by", super::SETTLED_WITHIN, || async {
        let accepted = ledger.with(|ledger| ledger.totals().accepted);
        ensure!(accepted >= events, "{accepted} of {events}");
        Ok(())
    })
    .await
}
