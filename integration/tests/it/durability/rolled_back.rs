//! T9, M20: an origin comes back on an older copy of its disk, under load. The others tell it of numbers that it does not know: it says so, per destination and
//! lane, and goes on in a higher epoch, by itself. What was published before the image and since the return comes exactly once, and so does what a
//! destination had stored meanwhile; only what nobody had is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::judge::{Demands, Topics, Verdict};
use meshbridge_integration::{
    Consumer, Draft, Mesh, Node, Plan, Reading, Rigging, SharedLedger, Weather, eventually,
};
use serde_json::json;
use tokio::task::JoinSet;

use super::books::close;

const FILTER: &str = "orders.flow.**";
const TOPIC: &str = "orders.flow.created";
/// Small files, for the disk is copied.
const SPOOL: &str = "segmentMiB: 8, sizeMiB: 256";
const DESTINATIONS: [&str; 2] = ["middle", "east"];
/// Events of each part.
const EVENTS: usize = 30;
const LANES: usize = 7;
const LOADERS: usize = 4;
/// Answered before the bridge is cut off, and more before it is killed.
const LOADED: usize = 60;
const WITHIN: Duration = Duration::from_secs(20);
/// A bridge that comes back with an epoch it has used before is heard when its former self has been silent for thirty seconds.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

/// A key, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    run: String,
    lane: u64,
    seq: u64,
}

impl Number {
    fn of(key: &str) -> Result<Number> {
        let parts: Vec<&str> = key.split(':').collect();
        let [_, run, lane, seq] = parts[..] else { anyhow::bail!("{key} is no key") };
        Ok(Number { run: run.to_owned(), lane: lane.parse()?, seq: seq.parse()? })
    }

    fn epoch(&self) -> Result<u64> {
        Ok(self.run.split('-').next().unwrap_or_default().parse()?)
    }
}

fn event(number: usize) -> Draft {
    Draft::new(json!({ "number": number })).with("partitionkey", &(number % LANES).to_string())
}

/// Publishes a part; each event is for both destinations.
async fn part(node: &Node, ledger: &SharedLedger) -> Result<Vec<Number>> {
    let mut numbers = Vec::new();
    for number in 0..EVENTS {
        let reply = super::publish(node, TOPIC, &event(number), ledger).await?;
        ensure!(reply.destinations == ["east-1", "middle-1"], "{reply:?}");
        numbers.push(Number::of(&reply.key)?);
    }
    Ok(numbers)
}

/// Everything is on the disks of both destinations.
async fn stored(mesh: &Mesh) -> Result<()> {
    let admin = mesh.zone("west").admin();
    eventually("both have stored everything", WITHIN, || async {
        let books = admin.json("/v1/delivery").await?;
        let rows = books["destinations"].as_array().context("destinations")?;
        ensure!(rows.len() == 2 && rows.iter().all(|row| row["unsettled"] == 0), "{books}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

/// Publishers that end with the first event that is not answered. Their events may be lost lawfully: nothing is owed of them.
#[derive(Default)]
struct Load {
    tasks: JoinSet<()>,
    answered: Arc<Mutex<Vec<(String, Number)>>>,
}

impl Load {
    fn start(node: &Node, ledger: &SharedLedger) -> Load {
        let mut load = Load::default();
        for loader in 0..LOADERS {
            let (node, ledger, answered) = (node.clone(), ledger.clone(), Arc::clone(&load.answered));
            load.tasks.spawn(async move {
                for number in loader.. {
                    let event = event(number);
                    ledger.with(|ledger| ledger.submitted(&event.id, TOPIC));
                    let Ok(reply) = node.publisher().publish(TOPIC, &event).await else { return };
                    let number = Number::of(&reply.key).expect("a key");
                    answered.lock().expect("not poisoned").push((event.id, number));
                }
            });
        }
        load
    }

    async fn answered(&self, count: usize) -> Result<()> {
        eventually("the load is answered", WITHIN, || async {
            let answered = self.answered.lock().expect("not poisoned").len();
            ensure!(answered >= count, "{answered} of {count}");
            Ok(())
        })
        .await
    }

    async fn end(mut self) -> Vec<(String, Number)> {
        while self.tasks.join_next().await.is_some() {}
        let answered = self.answered.lock().expect("not poisoned");
        answered.clone()
    }
}

/// What the origin reports: by destination, run and lane the highest number seen there.
fn reported(log: &str) -> Result<BTreeMap<(String, String, u64), u64>> {
    let mut all = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("knows events of this bridge that it does not know"))
    {
        ensure!(line.contains("ERROR"), "{line}");
        let field = |name: &str| {
            let found = line.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
            found.with_context(|| format!("no {name}: {line}"))
        };
        let place = (field("destination")?.to_owned(), field("run")?.to_owned(), field("lane")?.parse()?);
        let upto: &mut u64 = all.entry(place).or_default();
        *upto = (*upto).max(field("upto")?.parse()?);
    }
    Ok(all)
}

async fn alarms(node: &Node, kind: &str) -> Result<f64> {
    let metrics = node.admin().metrics().await?;
    Ok(metrics.get(&format!("meshbridge_alarms_total{{kind=\"{kind}\"}}")).copied().unwrap_or_default())
}

/// The image is so many lives old.
async fn roll_back(lives: usize, check: impl AsyncFnOnce(&Mesh, Before) -> Result<()>) -> Result<()> {
    let _busy = super::MACHINE.read().await;
    let seed = super::seed();
    let rigging = Rigging { spool: SPOOL.to_owned(), ..Rigging::default() };
    let mesh = Mesh::start_rigged(&Plan::chain(), seed, &rigging).await?;
    let ledger = SharedLedger::default();
    let mut consumers = Vec::new();
    for zone in DESTINATIONS {
        let node = mesh.zone(zone);
        consumers.push(Consumer::start(&node, "all", FILTER, &Topics::All, Reading::Manual, &ledger).await?);
        mesh.knows(zone, FILTER).await?;
    }
    consumers.iter().for_each(Consumer::established);
    let run = async {
        let before = scenario(&mesh, &ledger, &consumers, lives).await?;
        check(&mesh, before).await
    };
    let result = run.await;
    let books = if result.is_err() { mesh.books().await } else { String::new() };
    result.with_context(|| format!("MESHBRIDGE_SEED={seed}\n{books}\n{}", mesh.story()))
}

/// What was, before the disk was rolled back.
struct Before {
    /// Bytes of the origin's log.
    log: usize,
    /// Stored at both destinations since the image.
    known: Vec<Number>,
    last_run: String,
    loaded: Vec<(String, Number)>,
}

async fn scenario(
    mesh: &Mesh,
    ledger: &SharedLedger,
    consumers: &[Consumer],
    lives: usize,
) -> Result<Before> {
    let west = mesh.zone("west");
    // Before the image: what has ended everywhere, and what one destination does not have yet.
    part(&west, ledger).await?;
    stored(mesh).await?;
    mesh.relay("middle", "east").set_both(Weather::cut());
    eventually("the cut is seen", WITHIN, || async {
        ensure!(!west.admin().route_to("east-1").await?.reachable, "reachable");
        Ok(())
    })
    .await?;
    part(&west, ledger).await?;
    mesh.kill("west")?;
    let image = mesh.image("west")?;
    mesh.relay("middle", "east").heal();
    let mut known = Vec::new();
    for _ in 0..lives {
        mesh.restart("west").await?;
        mesh.connected().await?;
        known = part(&west, ledger).await?;
        stored(mesh).await?;
        mesh.kill("west")?;
    }
    mesh.restart("west").await?;
    mesh.connected().await?;
    known.extend(part(&west, ledger).await?);
    stored(mesh).await?;
    let last_run = known.last().context("numbers")?.run.clone();
    let last_epoch = known.last().context("numbers")?.epoch()?;
    let load = Load::start(&west, ledger);
    load.answered(LOADED).await?;
    // Of these nobody but the origin hears.
    mesh.relay("west", "middle").set_both(Weather::cut());
    let answered = load.answered.lock().expect("not poisoned").len();
    // Each loader may have had one under way that left before the cut and was answered behind it.
    load.answered(answered + LOADERS + LOADED).await?;
    mesh.kill("west")?;
    let loaded = load.end().await;
    mesh.roll_back("west", &image)?;
    mesh.relay("west", "middle").heal();
    let log_before = mesh.log("west").len();
    mesh.restart("west").await?;
    ledger.with(|ledger| ledger.fault("rolled back"));
    // Before anybody has told it anything.
    let first = part(&west, ledger).await?;
    eventually("it goes on in a higher epoch", HEARD_WITHIN, || async {
        ensure!(mesh.log("west")[log_before..].contains("Epoch raised"), "the epoch is the old one");
        Ok(())
    })
    .await?;
    mesh.connected().await?;
    let later = part(&west, ledger).await?;

    eventually("everything has come", HEARD_WITHIN, || async {
        let outstanding = ledger.with(|ledger| ledger.outstanding());
        ensure!(outstanding == 0, "{outstanding} have not come");
        Ok(())
    })
    .await?;
    let took = close(mesh).await?;
    let events = ((lives + 5) * EVENTS) as u64;
    let deliveries = events * DESTINATIONS.len() as u64;
    let demands = Demands { events, deliveries, faults: 1, accounts: false };
    let mut report = ledger.with(|ledger| ledger.judge(&demands));
    // Until it was told it counted in an epoch that its former lives had left behind: what came so is in order, only its number is not.
    let forgotten = format!("({}:{}:", west.bridge, first[0].run);
    if report.findings.get(&Verdict::OutOfOrder).is_some_and(|found| {
        first[0].run != later[0].run && found.examples.iter().all(|example| example.contains(&forgotten))
    }) {
        report.findings.remove(&Verdict::OutOfOrder);
    }
    let totals = report.into_result()?;
    let runs: BTreeSet<&str> = known.iter().map(|number| number.run.as_str()).collect();
    for number in first.iter().chain(&later) {
        ensure!(!runs.contains(number.run.as_str()), "{number:?} is of a run that was there before");
    }
    for number in &later {
        ensure!(number.epoch()? > last_epoch, "{number:?} after epoch {last_epoch}");
    }
    for (at, consumer) in consumers.iter().enumerate() {
        let has = |id: &String| ledger.with(|ledger| ledger.has_been_offered(consumer.place(), id));
        let lost: Vec<&(String, Number)> = loaded.iter().filter(|(id, _)| !has(id)).collect();
        let zone = DESTINATIONS[at];
        eprintln!("{} of {} answered under load never came to {zone}", lost.len(), loaded.len());
        ensure!(lost.len() >= LOADED, "an event survived its only disk: only {} are lost", lost.len());
    }
    ensure!(alarms(&west, "egress_lost").await? == 0.0, "destinations are accused of a loss");
    for zone in DESTINATIONS {
        super::would_notice(ledger, &format!("{zone}-1"))?;
    }
    eprintln!("{lives} lives older: {totals:?}; closed after {took:?}");
    Ok(Before { log: log_before, known, last_run, loaded })
}

/// The origin is alarmed, and names for each destination and lane the highest number that was seen there.
async fn is_reported(mesh: &Mesh, before: &Before) -> Result<()> {
    let west = mesh.zone("west");
    ensure!(alarms(&west, "origin_behind").await? >= 1.0, "no alarm");
    let Before { known, last_run, loaded, .. } = before;
    let report = reported(&mesh.log("west")[before.log..])?;
    let mut highest: BTreeMap<u64, u64> = BTreeMap::new();
    for number in known.iter().filter(|number| number.run == *last_run) {
        let seq = highest.entry(number.lane).or_default();
        *seq = (*seq).max(number.seq);
    }
    let mut given = highest.clone();
    for (_, number) in loaded {
        ensure!(number.run == *last_run, "{number:?}");
        let seq = given.entry(number.lane).or_default();
        *seq = (*seq).max(number.seq);
    }
    for zone in DESTINATIONS {
        for (lane, seq) in &highest {
            let place = (format!("{zone}-1"), last_run.clone(), *lane);
            let upto = *report.get(&place).with_context(|| format!("nothing of {place:?}: {report:?}"))?;
            // Each loader may have had one more that was stored and not answered.
            let most = given[lane] + LOADERS as u64;
            ensure!((*seq..=most).contains(&upto), "{place:?}: {seq} were stored of {most}, {upto} reported");
        }
    }
    Ok(())
}

/// To an epoch it has used before, with another nonce.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_on_an_older_disk_takes_no_new_event_for_an_old_one() -> Result<()> {
    roll_back(0, async |_, _| Ok(())).await
}

/// Over several runs, some of which are closed at both ends.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_on_a_much_older_disk_takes_no_new_event_for_an_old_one() -> Result<()> {
    roll_back(3, async |_, _| Ok(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_on_an_older_disk_says_so_and_what_was_seen_of_it() -> Result<()> {
    roll_back(1, async |mesh, before| is_reported(mesh, &before).await).await
}
