//! M26 and M27 on the real binary: bits turn over in files of a bridge that does not run. What the bridges report may be missing, and nothing else.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::judge::{Demands, End, Topics};
use meshbridge_integration::{Consumer, Draft, Mesh, Plan, Reading, Rigging, SharedLedger, eventually};
use rand::RngExt;
use serde_json::{Value, json};

use super::super::books::balance;
use super::faults::draws;

const FILTER: &str = "orders.flow.**";
const TOPIC: &str = "orders.flow.created";
const EVENTS: usize = 240;
/// With [`EVENTS`] of them two files are full, and a third is begun.
const BYTES: usize = 90_000;
const SPOOL: &str = "segmentMiB: 8, sizeMiB: 256";
const WITHIN: Duration = Duration::from_secs(120);

/// The keys of what was published for `east`, by id.
async fn backlog(mesh: &Mesh, ledger: &SharedLedger) -> Result<BTreeMap<String, String>> {
    let publisher = mesh.zone("west").publisher();
    let mut keys = BTreeMap::new();
    for number in 0..EVENTS {
        let event =
            Draft::new(json!({"payload": "x".repeat(BYTES)})).with("partitionkey", &number.to_string());
        ledger.with(|ledger| ledger.submitted(&event.id, TOPIC));
        let reply = publisher.publish(TOPIC, &event).await?;
        let destinations = reply.destinations.iter().map(String::as_str);
        ledger.with(|ledger| ledger.accepted(&reply.key, &event.id, destinations, []));
        keys.insert(event.id, reply.key);
    }
    Ok(keys)
}

/// Turns bits over in files that are full; tells how many.
fn turn_bits(mesh: &Mesh, zone: &str, seed: u64) -> Result<usize> {
    let directory = mesh.zone(zone).config.with_file_name("data").join("spool");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("seg-")) {
            files.push(path);
        }
    }
    files.sort();
    // The newest is being written, or a spare one.
    files.truncate(files.len().saturating_sub(2));
    ensure!(!files.is_empty(), "no file of {} is full", directory.display());
    let mut random = draws(seed, zone);
    let bits = random.random_range(1..24);
    for _ in 0..bits {
        let path = &files[random.random_range(0..files.len())];
        let file = File::options().read(true).write(true).open(path)?;
        let at = random.random_range(0..file.metadata()?.len());
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        byte[0] ^= 1 << random.random_range(0..8);
        file.write_all_at(&byte, at)?;
    }
    mesh.note(&format!("turned {bits} bits over in {} files of {zone}", files.len()));
    Ok(bits)
}

/// Enters the ends that the origin knows, for what has not come.
async fn enter_ends(
    mesh: &Mesh,
    ledger: &SharedLedger,
    keys: &BTreeMap<String, String>,
    consumer: &Consumer,
) -> Result<usize> {
    let admin = mesh.zone("west").admin();
    let mut ended = 0;
    for (id, key) in keys {
        if ledger.with(|ledger| ledger.has_been_offered(consumer.place(), id)) {
            continue;
        }
        let (status, text) = admin.text(&format!("/v1/events/{key}")).await?;
        if status == 404 {
            continue;
        }
        let known: Value = serde_json::from_str(&text)?;
        for pair in known["destinations"].as_array().into_iter().flatten() {
            if pair["destination"] == "east-1" && pair["state"] == "dead-lettered" {
                let why = pair["why"].as_str().unwrap_or_default().to_owned();
                ledger.with(|ledger| ledger.ended("east-1", key, End::DeadLettered(why)));
                ended += 1;
            }
        }
    }
    Ok(ended)
}

/// At the destination: what it had stored and not delivered.
#[tokio::test(flavor = "multi_thread")]
async fn what_rots_at_a_destination_is_listed_and_the_rest_arrives() -> Result<()> {
    let seed = super::super::seed();
    let rigging = Rigging { spool: SPOOL.to_owned(), ..Rigging::default() };
    let mesh = Mesh::start_rigged(&Plan::chain(), seed, &rigging).await?;
    let ledger = SharedLedger::default();
    let east = mesh.zone("east");
    // Made, and left: what comes stays in the spool.
    let first =
        Consumer::start(&east, "all", FILTER, &Topics::All, Reading::Manual, &SharedLedger::default())
            .await?;
    mesh.knows("east", FILTER).await?;
    drop(first);
    let run = async {
        let keys = backlog(&mesh, &ledger).await?;
        let west = mesh.zone("west").admin();
        eventually("all is stored at east", WITHIN, || async {
            let books = west.json("/v1/delivery").await?;
            let account = books["destinations"].as_array().into_iter().flatten();
            let account = account.clone().find(|one| one["destination"] == "east-1").context("no account")?;
            ensure!(account["unsettled"] == 0 && account["sent"] == EVENTS as u64, "{account}");
            Ok(())
        })
        .await?;
        mesh.kill("east")?;
        turn_bits(&mesh, "east", seed)?;
        mesh.restart("east").await?;
        let consumer = Consumer::start(&east, "all", FILTER, &Topics::All, Reading::Manual, &ledger).await?;
        // It was there before all of them were published.
        let missing = eventually("each event has come or is listed", WITHIN, || async {
            enter_ends(&mesh, &ledger, &keys, &consumer).await?;
            let missing =
                keys.keys().filter(|id| !ledger.with(|ledger| ledger.has_been_offered(consumer.place(), id)));
            let missing: Vec<&String> = missing.collect();
            let listed = enter_ends(&mesh, &ledger, &keys, &consumer).await?;
            ensure!(listed == missing.len(), "{} have not come, {listed} are listed", missing.len());
            Ok(missing.len())
        })
        .await?;
        eprintln!("rot of seed {seed}: {missing} of {EVENTS} events lost and listed");
        ledger.settle(WITHIN, &Demands { events: EVENTS as u64, ..Demands::default() }).await?;
        let books = east.admin().json("/v1/delivery").await?;
        ensure!(missing == 0 || books["spool"]["damaged"] == true, "silent damage: {}", books["spool"]);
        ensure!(missing < EVENTS / 2, "{missing} of {EVENTS} are lost with a few bits");
        balance(&mesh).await
    };
    let result: Result<()> = run.await;
    let books = if result.is_err() { mesh.books().await } else { String::new() };
    result.with_context(|| format!("MESHBRIDGE_SEED={seed}\n{books}\n{}", mesh.story()))
}

/// At the origin: what it had accepted and not sent. Its books name what they still know, and the log of its start is loud.
#[tokio::test(flavor = "multi_thread")]
async fn what_rots_at_an_origin_is_reported_and_the_rest_arrives_once() -> Result<()> {
    let seed = super::super::seed();
    let rigging = Rigging { spool: SPOOL.to_owned(), ..Rigging::default() };
    let mesh = Mesh::start_rigged(&Plan::chain(), seed, &rigging).await?;
    let ledger = SharedLedger::default();
    let east = mesh.zone("east");
    let consumer = Consumer::start(&east, "all", FILTER, &Topics::All, Reading::Manual, &ledger).await?;
    mesh.knows("east", FILTER).await?;
    consumer.established();
    let run = async {
        mesh.kill("east")?;
        let keys = backlog(&mesh, &ledger).await?;
        mesh.kill("west")?;
        turn_bits(&mesh, "west", seed)?;
        mesh.restart("west").await?;
        mesh.restart("east").await?;
        let west = mesh.zone("west").admin();
        let last = std::sync::Mutex::new((0, std::time::Instant::now()));
        eventually("the origin has nothing pending, and nothing more comes", WITHIN, || async {
            let books = west.json("/v1/delivery").await?;
            let open = books["destinations"].as_array().into_iter().flatten().find(|one| one["pending"] != 0);
            ensure!(open.is_none(), "{open:?}");
            let offered = ledger.with(|ledger| ledger.totals().offered);
            let mut last = last.lock().expect("not poisoned");
            if last.0 != offered {
                *last = (offered, std::time::Instant::now());
            }
            ensure!(last.1.elapsed() > Duration::from_secs(2), "{offered} so far");
            Ok(())
        })
        .await?;
        let missing =
            keys.keys().filter(|id| !ledger.with(|ledger| ledger.has_been_offered(consumer.place(), id)));
        let missing = missing.count();
        eprintln!("rot at the origin, seed {seed}: {missing} of {EVENTS} events lost");
        let books = west.json("/v1/delivery").await?;
        ensure!(missing == 0 || books["spool"]["damaged"] == true, "silent damage: {}", books["spool"]);
        ensure!(
            missing == 0 || mesh.log("west").contains("ERROR"),
            "nothing is said of {missing} lost events"
        );
        ensure!(missing < EVENTS / 2, "{missing} of {EVENTS} are lost with a few bits");
        let report = ledger.with(|ledger| ledger.judge(&Demands::default()));
        let worse: Vec<_> = report
            .findings
            .keys()
            .filter(|verdict| **verdict != meshbridge_integration::judge::Verdict::Lost)
            .collect();
        ensure!(worse.is_empty(), "{report}");
        balance(&mesh).await
    };
    let result: Result<()> = run.await;
    let books = if result.is_err() { mesh.books().await } else { String::new() };
    result.with_context(|| format!("MESHBRIDGE_SEED={seed}\n{books}\n{}", mesh.story()))
}
