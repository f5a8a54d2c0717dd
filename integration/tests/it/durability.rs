//! Nothing acknowledged is lost and nothing comes twice, whatever is killed, wiped, cut or garbled on the way (RELIABILITY §7; each test names its row).
//!
//! `MESHBRIDGE_KILLS` is how many faults T1 strikes, 12 without it; the other tests take their share of it. `MESHBRIDGE_STORM_SECONDS` is how long all faults strike
//! at once, 12 without it, `MESHBRIDGE_SOAK_SECS` how long the soak lasts, 40 without it, `MESHBRIDGE_ABSENCE_SECONDS` how long a
//! destination is away, 15 without it, and `MESHBRIDGE_BLACKHOLE_SECONDS` how long a peer gives nothing back, 30 without it. `MESHBRIDGE_SEED` repeats a schedule that failed:
//! its number is in the message. The times at which processes run are not repeated with it.

mod absence;
mod books;
mod chaos;
mod clocks;
mod copies;
mod counts;
mod egress_lost;
mod failpoints;
mod federation;
mod first_file;
mod full;
mod in_doubt;
mod kills;
mod latency;
mod lazyfs;
mod lost;
mod memory;
mod partition;
mod reroute;
mod rolled_back;
mod slow;
mod soak;
mod stops;
mod storm;
mod tightened;

use std::env;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::judge::{Demands, Topics, Totals, Verdict};
use meshbridge_integration::{
    Consumer, Draft, Mesh, Node, PAYLOAD_BYTES, Pace, Plan, Producer, Reading, Reply, Rigging, Schedule,
    SharedLedger, Subscriber,
};
use serde_json::json;
use tokio::sync::{RwLock, RwLockReadGuard};

/// Held by scenes that keep the machine busy, all together, and by a test that measures times, alone: both would otherwise judge what the other does.
pub(crate) static MACHINE: RwLock<()> = RwLock::const_new(());

const ALL: &str = "orders.flow.**";
const FROM_WEST: &str = "orders.flow.west.**";
const PROBE: &str = "orders.probe";
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(20);

/// A mesh under load, with a ledger that sees it all.
pub(crate) struct Scene {
    /// Kept as long as the scene.
    _busy: RwLockReadGuard<'static, ()>,
    mesh: Mesh,
    ledger: SharedLedger,
    producers: Vec<Producer>,
    consumers: Vec<Consumer>,
    seed: u64,
    settled_within: Duration,
}

impl Scene {
    /// Publishers and subscribers in these zones, everybody's interest known to everybody. With [`Reading::LastEventId`] and [`Reading::Manual`] the first zone
    /// reads one way, the next the other, and so on; `is_durable` false reads live streams.
    async fn start(plan: &Plan, zones: &[&str], is_durable: bool) -> Result<Scene> {
        Scene::start_rigged(plan, zones, is_durable, &Rigging::default(), PAYLOAD_BYTES).await
    }

    /// The same with bridges that are run otherwise, and events of this size.
    pub(crate) async fn start_rigged(
        plan: &Plan,
        zones: &[&str],
        is_durable: bool,
        rigging: &Rigging,
        bytes: usize,
    ) -> Result<Scene> {
        let busy = MACHINE.read().await;
        let seed = seed();
        let mesh = Mesh::start_rigged(plan, seed, rigging).await?;
        let ledger = SharedLedger::default();
        let topic = |zone: &str| format!("orders.flow.{zone}.created");
        let every = Topics::Only(zones.iter().map(|zone| topic(zone)).collect());
        let mut consumers = Vec::new();
        for (at, zone) in zones.iter().enumerate() {
            let node = mesh.zone(zone);
            let [first, second] = match (is_durable, at % 2) {
                (false, _) => [Reading::Live; 2],
                (true, 0) => [Reading::LastEventId, Reading::Manual],
                (true, _) => [Reading::Manual, Reading::LastEventId],
            };
            let west = Topics::Only(vec![topic("west")]);
            consumers.push(Consumer::start(&node, "all", ALL, &every, first, &ledger).await?);
            consumers.push(Consumer::start(&node, "west", FROM_WEST, &west, second, &ledger).await?);
        }
        for zone in zones {
            mesh.knows(zone, ALL).await?;
        }
        consumers.iter().for_each(Consumer::established);
        let producers = zones.iter().map(|zone| {
            let pace = Pace { topic: topic(zone), every: PACE, bytes };
            Producer::start(&mesh.zone(zone), &format!("{zone}-publisher"), pace, &ledger)
        });
        let producers = producers.collect();
        Ok(Scene { _busy: busy, mesh, ledger, producers, consumers, seed, settled_within: SETTLED_WITHIN })
    }

    /// What the draws of its faults come from.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Strikes, sees the last events through, and judges: by what publishers and subscribers saw, and by the books of the bridges (T18).
    pub(crate) async fn judge(self, schedules: &[Schedule], events: u64) -> Result<Totals> {
        let shown: Vec<String> = schedules.iter().map(Schedule::to_string).collect();
        let faults: u64 = schedules.iter().map(|schedule| schedule.steps().len() as u64).sum();
        let struck = self.ledger.with(|ledger| ledger.totals().faults.values().sum::<u64>());
        let mesh = &self.mesh;
        let ledger = &self.ledger;
        let consumers = &self.consumers;
        let run = async {
            let strikes = schedules.iter().map(|schedule| schedule.strike(mesh, ledger));
            futures_util::future::try_join_all(strikes).await?;
            let mut published = 0;
            for producer in self.producers {
                published += producer.stop().await?.events;
            }
            // Every zone gets every event, and one of its two subscriptions is for everything.
            let deliveries = published * (consumers.len() as u64 / 2);
            let demands = Demands {
                events: events.max(published),
                deliveries,
                faults: struck + faults,
                accounts: false,
            };
            ledger.settle(self.settled_within, &demands).await?;
            books::close(mesh).await?;
            books::enter(mesh, ledger).await?;
            let report = ledger.with(|ledger| ledger.judge(&Demands { accounts: true, ..demands }));
            Ok(report.into_result()?)
        };
        let result: Result<Totals> = run.await;
        // Asked while they still do what they do.
        let books = if result.is_err() { mesh.books().await } else { String::new() };
        result.with_context(|| {
            let readers: Vec<_> = consumers.iter().map(Consumer::read).collect();
            format!("{}\nsubscribers: {readers:#?}\n{books}\n{}", shown.join("\n"), mesh.story())
        })
    }

    /// Lets the load run.
    async fn run_for(&self, events: u64) -> Result<()> {
        meshbridge_integration::eventually("the load has run", Duration::from_secs(60), || async {
            let accepted = self.ledger.with(|ledger| ledger.totals().accepted);
            ensure!(accepted >= events, "{accepted} of {events}");
            Ok(())
        })
        .await
        .with_context(|| self.mesh.story())
    }
}

/// An event on a stream of its own, to see how soon a way works again.
struct Probe {
    subscriber: Subscriber,
    ledger: SharedLedger,
}

impl Probe {
    /// The ledger hears of its events, for they are in the books of the bridges.
    async fn at(mesh: &Mesh, zone: &str, ledger: &SharedLedger) -> Result<Probe> {
        let subscriber = mesh.zone(zone).subscribe(&[PROBE]).await?;
        mesh.knows(zone, PROBE).await?;
        Ok(Probe { subscriber, ledger: ledger.clone() })
    }

    async fn arrives(&self, mesh: &Mesh, from: &str, within: Duration) -> Result<()> {
        let event = Draft::new(json!({}));
        publish(&mesh.zone(from), PROBE, &event, &self.ledger).await?;
        self.subscriber.wait_for_within(&event.id, within).await.with_context(|| mesh.story())?;
        Ok(())
    }
}

/// Publishes an event that the ledger is to judge.
async fn publish(node: &Node, topic: &str, event: &Draft, ledger: &SharedLedger) -> Result<Reply> {
    ledger.with(|ledger| ledger.submitted(&event.id, topic));
    let reply = node.publisher().publish(topic, event).await?;
    let destinations = reply.destinations.iter().map(String::as_str);
    let denied = reply.denied.iter().map(|denied| denied.destination.as_str());
    ledger.with(|ledger| ledger.accepted(&reply.key, &event.id, destinations, denied));
    Ok(reply)
}

/// What a ledger has found in order it would not have, had an event for this destination not come.
fn would_notice(ledger: &SharedLedger, destination: &str) -> Result<()> {
    let report = ledger.with(|ledger| {
        ledger.owed("an event that never came", [destination]);
        ledger.judge(&Demands::default())
    });
    ensure!(report.count(Verdict::Lost) > 0, "a loss at {destination} passed for a clean run: {report}");
    Ok(())
}

/// How many faults T1 strikes.
pub(crate) fn kills() -> usize {
    env::var("MESHBRIDGE_KILLS").map_or(12, |text| text.parse().expect("MESHBRIDGE_KILLS is a number"))
}

/// A share of the faults of T1, and never none.
pub(crate) fn share(divisor: usize) -> usize {
    (kills() / divisor).max(2)
}

/// Another one for each run, unless a run is to be repeated.
fn seed() -> u64 {
    match env::var("MESHBRIDGE_SEED") {
        Ok(text) => text.parse().expect("MESHBRIDGE_SEED is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
            u64::from(now.subsec_nanos()) | now.as_secs() << 32
        }
    }
}

/// Without faults everything is as it should be: what the others blame on a fault was not there before.
#[tokio::test(flavor = "multi_thread")]
async fn without_faults_every_event_comes_once_and_in_order() -> Result<()> {
    for plan in [Plan::chain(), Plan::diamond()] {
        let scene = Scene::start(&plan, &["west", "east"], false).await?;
        scene.run_for(200).await?;
        let totals = scene.judge(&[], 200).await?;
        ensure!(totals.retried == 0 && totals.surfaced == 0, "{totals:?}");
    }
    Ok(())
}

/// The judge is not blind: what reaches a subscription behind its back is noticed.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_the_ledger_does_not_know_is_noticed() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "east"], false).await?;
    let stray = Draft::new(json!({}));
    scene.mesh.zone("west").publisher().publish("orders.flow.west.created", &stray).await?;
    scene.run_for(50).await?;
    let verdict = scene.judge(&[], 1).await.err().context("a stray event passed for a clean run")?;
    let text = format!("{verdict:#}");
    ensure!(text.contains("4 unauthorised") && text.contains("nobody submitted it"), "{text}");
    Ok(())
}

/// T18: nor are the books taken at their word. They know of an event that nobody told the ledger of.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_only_the_books_know_is_noticed() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "east"], false).await?;
    let probe = Probe::at(&scene.mesh, "east", &SharedLedger::default()).await?;
    probe.arrives(&scene.mesh, "west", Duration::from_secs(10)).await?;
    scene.run_for(50).await?;
    let verdict = scene.judge(&[], 1).await.err().context("an event too many passed for a clean run")?;
    let text = format!("{verdict:#}");
    ensure!(text.contains("1 out of balance") && text.contains("west-1 to east-1: sent"), "{text}");
    Ok(())
}
