//! T11, M24, M25: the disk of a destination is lost, or rolled back to an older image, after it has said `stored`. Its origin lists what is gone with it: every
//! event that was stored and had no outcome, and no other. With `retain: delivered` the origin still has them, and nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::judge::{Demands, Topics};
use meshbridge_integration::{
    Consumer, Draft, Image, Mesh, Node, Plan, Reading, Rigging, SharedLedger, Weather, eventually,
};
use serde_json::{Value, json};

use super::books::close;
use crate::delivery::{make, next, open, settle};

const FILTER: &str = "orders.flow.**";
const TOPIC: &str = "orders.flow.created";
/// Small files, for the disk is copied.
const SPOOL: &str = "segmentMiB: 8, sizeMiB: 256";
const LANES: usize = 5;
const WITHIN: Duration = Duration::from_secs(20);
/// A bridge that comes back with an epoch it has used before is heard when its former self has been silent for thirty seconds.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

/// Events that had ended, and the origin had heard of it, before anything else.
const EARLY: usize = 10;
/// On the image, when there is one; ended later.
const IMAGED: usize = 15;
/// Stored at the destination since.
const STORED: usize = 30;
/// Of those, ended, and the origin has heard of it.
const NOTED: usize = 8;
/// Of those, ended, and the origin has not.
const UNNOTED: usize = 5;
/// Published while there was no way.
const WAITING: usize = 10;
const AFTER: usize = 10;
const ALL: usize = EARLY + IMAGED + STORED + WAITING + AFTER;

const RETAINED: &str = "
apiVersion: meshbridge/v1
kind: Delivery
metadata: {name: retained, layer: federation}
spec:
  topics:
    - {match: \"orders.**\", class: durable, retain: delivered}
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Wiped,
    RolledBack,
}

/// Keys by id, of everything published.
type Keys = BTreeMap<String, String>;
type Ids = BTreeSet<String>;

async fn publish(node: &Node, count: usize, keys: &mut Keys) -> Result<Ids> {
    let mut ids = Ids::new();
    for number in 0..count {
        let lane = (number % LANES).to_string();
        let event = Draft::new(json!({ "number": number })).with("partitionkey", &lane);
        let reply = node.publisher().publish(TOPIC, &event).await?;
        ensure!(reply.destinations == ["east-1"], "{reply:?}");
        keys.insert(event.id.clone(), reply.key);
        ids.insert(event.id);
    }
    Ok(ids)
}

/// Reads so many, and acknowledges them.
async fn take(node: &Node, count: usize, from: &Ids) -> Result<Ids> {
    let (mut stream, mut rest) = (open(node, "subscription=all&ack=manual").await?, String::new());
    let mut taken = Ids::new();
    while taken.len() < count {
        let (token, event) = next(&mut stream, &mut rest).await?;
        let id = event["id"].as_str().context("an id")?.to_owned();
        ensure!(from.contains(&id), "{id} came too early");
        ensure!(settle(node, "all", "ack", &token).await?["settled"] == 1, "{id} is not acknowledged");
        ensure!(taken.insert(id), "{event} came twice");
    }
    Ok(taken)
}

async fn account(mesh: &Mesh) -> Result<Value> {
    let books = mesh.zone("west").admin().json("/v1/delivery").await?;
    let mut rows = books["destinations"].as_array().into_iter().flatten();
    rows.find(|row| row["destination"] == "east-1").cloned().context("no account")
}

/// Waits until the origin's account has these figures.
async fn says(mesh: &Mesh, figures: &[(&str, usize)]) -> Result<()> {
    eventually(&format!("the origin says {figures:?}"), WITHIN, || async {
        let account = account(mesh).await?;
        ensure!(figures.iter().all(|(name, figure)| account[*name] == *figure), "{account}");
        Ok(())
    })
    .await
}

async fn alarms(node: &Node, kind: &str) -> Result<f64> {
    let metrics = node.admin().metrics().await?;
    Ok(metrics.get(&format!("meshbridge_alarms_total{{kind=\"{kind}\"}}")).copied().unwrap_or_default())
}

/// Those that the origin lists as lost with their destination.
async fn listed(node: &Node, keys: &Keys) -> Result<Ids> {
    let mut ids = Ids::new();
    for (id, key) in keys {
        let (status, text) = node.admin().text(&format!("/v1/events/{key}")).await?;
        if status == 404 {
            continue;
        }
        let known: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let pairs = known["destinations"].as_array().context("pairs")?;
        let ends: Vec<&Value> = pairs.iter().filter(|pair| pair["destination"] == "east-1").collect();
        ensure!(ends.len() <= 1, "more than one end: {text}");
        if let Some(end) = ends.first().filter(|end| end["state"] == "dead-lettered") {
            ensure!(end["why"] == "egress-lost", "{text}");
            ids.insert(id.clone());
        }
    }
    Ok(ids)
}

async fn lose(disk: Disk, is_retained: bool, check: impl AsyncFnOnce(&Mesh) -> Result<()>) -> Result<()> {
    let _busy = super::MACHINE.read().await;
    let seed = super::seed();
    let mut rigging = Rigging { spool: SPOOL.to_owned(), ..Rigging::default() };
    if is_retained {
        let file = || (PathBuf::from("policies/retained.yaml"), RETAINED.as_bytes().to_vec());
        for zone in Plan::chain().zones() {
            let (path, bytes) = file();
            rigging.files.push((zone.clone(), path, bytes));
        }
    }
    let mesh = Mesh::start_rigged(&Plan::chain(), seed, &rigging).await?;
    let result = async {
        scenario(&mesh, disk, is_retained).await?;
        check(&mesh).await
    };
    let result = result.await;
    let books = if result.is_err() { mesh.books().await } else { String::new() };
    result.with_context(|| format!("MESHBRIDGE_SEED={seed}\n{books}\n{}", mesh.story()))
}

async fn scenario(mesh: &Mesh, disk: Disk, is_retained: bool) -> Result<()> {
    let (west, east, wire) = (mesh.zone("west"), mesh.zone("east"), mesh.relay("middle", "east"));
    let mut keys = Keys::new();
    ensure!(make(&east, "all", FILTER).await?.is_success(), "no subscription");
    mesh.knows("east", FILTER).await?;
    let early = publish(&west, EARLY, &mut keys).await?;
    take(&east, EARLY, &early).await?;
    says(mesh, &[("delivered", EARLY)]).await?;
    let imaged = publish(&west, IMAGED, &mut keys).await?;
    says(mesh, &[("unsettled", 0), ("pending", IMAGED)]).await?;
    let image: Option<Image> = if disk == Disk::RolledBack {
        mesh.kill("east")?;
        let image = mesh.image("east")?;
        mesh.restart("east").await?;
        mesh.connected().await?;
        Some(image)
    } else {
        None
    };
    let stored = publish(&west, STORED, &mut keys).await?;
    says(mesh, &[("unsettled", 0), ("pending", IMAGED + STORED)]).await?;
    let both: Ids = imaged.union(&stored).cloned().collect();
    let noted = take(&east, IMAGED + NOTED, &both).await?;
    says(mesh, &[("delivered", EARLY + IMAGED + NOTED)]).await?;
    wire.set_both(Weather::cut());
    eventually("the cut is seen", WITHIN, || async {
        ensure!(!west.admin().route_to("east-1").await?.reachable, "reachable");
        Ok(())
    })
    .await?;
    let rest: Ids = both.difference(&noted).cloned().collect();
    let unnoted = take(&east, UNNOTED, &rest).await?;
    let waiting = publish(&west, WAITING, &mut keys).await?;
    says(mesh, &[("delivered", EARLY + IMAGED + NOTED), ("unsettled", WAITING)]).await?;
    mesh.kill("east")?;
    match &image {
        Some(image) => mesh.roll_back("east", image)?,
        None => mesh.wipe("east")?,
    }
    mesh.restart("east").await?;
    let ledger = SharedLedger::default();
    ledger.with(|ledger| ledger.fault("a disk of a destination"));
    // A lost disk takes the subscription with it: it is made again before anything comes.
    let consumer = Consumer::start(&east, "all", FILTER, &Topics::All, Reading::Manual, &ledger).await?;
    wire.heal();
    eventually("the loss is seen", HEARD_WITHIN, || async {
        let route = west.admin().route_to("east-1").await?;
        ensure!(route.reachable, "{route:?}");
        let account = account(mesh).await?;
        ensure!(account["unsettled"] == 0, "{account}");
        let (lost, other) = (alarms(&west, "egress_lost").await?, alarms(&west, "other_disk").await?);
        ensure!(is_retained || lost == 1.0, "no alarm of lost events");
        ensure!(disk == Disk::RolledBack || other == 1.0, "no alarm of another disk");
        Ok(())
    })
    .await?;
    mesh.knows("east", FILTER).await?;
    let after = publish(&west, AFTER, &mut keys).await?;

    // By what the test knows: stored, and the origin has not heard of an end; an image still has what was on it.
    let mut gone: Ids = both.difference(&noted).cloned().collect();
    if disk == Disk::RolledBack {
        gone.retain(|id| stored.contains(id));
    }
    let lost: Ids = gone.difference(&unnoted).cloned().collect();
    let expected = if is_retained { Ids::new() } else { gone.clone() };
    ensure!(lost.len() >= STORED / 2, "only {} events are lost", lost.len());
    let come: Vec<&String> = if is_retained {
        waiting.iter().chain(&after).chain(&gone).collect()
    } else {
        waiting.iter().chain(&after).collect()
    };
    for id in &come {
        ledger.with(|ledger| {
            ledger.submitted(id, TOPIC);
            ledger.accepted(&keys[*id], id, ["east-1"], []);
        });
    }
    for id in keys.keys() {
        ledger.with(|ledger| ledger.submitted(id, TOPIC));
    }
    let demands =
        Demands { events: come.len() as u64, deliveries: come.len() as u64, faults: 1, accounts: false };
    let totals = ledger.settle(HEARD_WITHIN, &demands).await?;
    let took = close(mesh).await?;
    let list = listed(&west, &keys).await?;
    ensure!(list.is_superset(&lost) || is_retained, "lost and not listed: {:?}", lost.difference(&list));
    ensure!(list == expected, "listed {list:?}, and not {expected:?}");
    let again: Ids = keys
        .keys()
        .filter(|id| ledger.with(|ledger| ledger.has_been_offered(consumer.place(), id)))
        .cloned()
        .collect();
    let again: Ids = again.into_iter().filter(|id| !come.contains(&id)).collect();
    // What was on the image and had ended since is pending there again.
    let may = if disk == Disk::RolledBack { imaged.clone() } else { Ids::new() };
    ensure!(again.is_subset(&may), "came again: {:?}", again.difference(&may));
    says(mesh, &[("sent", ALL), ("delivered", ALL - expected.len()), ("deadLettered", expected.len())])
        .await?;
    let metrics = west.admin().metrics().await?;
    let ended =
        metrics.get("meshbridge_pairs_ended_total{outcome=\"dead-lettered\"}").copied().unwrap_or(0.0);
    ensure!(ended == expected.len() as f64, "{ended} pairs ended as dead letters by the metric");
    let said = said(mesh);
    if !is_retained {
        let events = format!("events={}", expected.len());
        let is_said = said.len() == 1 && said[0].contains("ERROR") && said[0].contains(&events);
        ensure!(is_said && said[0].contains("destination=east-1"), "{events}: {said:?}");
    }
    super::would_notice(&ledger, "east-1")?;
    eprintln!(
        "{disk:?}, retained: {is_retained}: {} lost, {} listed, {} came again, {totals:?}; closed after {took:?}",
        if is_retained { 0 } else { lost.len() },
        list.len(),
        again.len()
    );
    Ok(())
}

/// The alarms of lost events, in the log of the origin.
fn said(mesh: &Mesh) -> Vec<String> {
    let log = mesh.log("west");
    log.lines().filter(|line| line.contains("egress-lost")).map(str::to_owned).collect()
}

/// Where nothing more is to be said.
async fn nothing(_: &Mesh) -> Result<()> {
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_on_a_disk_that_is_lost_is_listed_exactly() -> Result<()> {
    lose(Disk::Wiped, false, nothing).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_since_the_image_of_a_disk_is_listed_exactly() -> Result<()> {
    lose(Disk::RolledBack, false, nothing).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_survives_an_older_disk_of_its_destination() -> Result<()> {
    lose(Disk::RolledBack, true, nothing).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_survives_the_disk_of_its_destination() -> Result<()> {
    lose(Disk::Wiped, true, nothing).await
}

/// An alarm of lost events is for lost events: one that cries over what is sent again is not believed the next time.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_retained_is_not_called_lost() -> Result<()> {
    lose(Disk::Wiped, true, async |mesh| {
        let (said, alarms) = (said(mesh), alarms(&mesh.zone("west"), "egress_lost").await?);
        ensure!(said.is_empty() && alarms == 0.0, "{alarms} alarms without a loss: {said:?}");
        Ok(())
    })
    .await
}
