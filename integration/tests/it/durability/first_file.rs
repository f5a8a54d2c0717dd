//! M26, P8: the first file of an origin's spool is damaged where its run and its first checkpoint stand. What is outside the
//! range that is reported arrives, and what comes after it; health stays red until somebody says that he knows.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Node, Plan, Rigging, eventually, meshbridge};
use serde_json::json;

use crate::delivery::{make, next, open, settle};
use crate::quarantine::publish;

const WITHIN: Duration = Duration::from_secs(60);
const TOPIC: &str = "orders.flow.created";
/// Enough for a second file.
const EVENTS: usize = 100;
const EVENT_BYTES: usize = 100 << 10;

fn data(node: &Node) -> PathBuf {
    node.config.with_file_name("data")
}

fn first_file(node: &Node) -> Result<PathBuf> {
    let files = fs::read_dir(data(node).join("spool"))?.map(|file| Ok(file?.path()));
    let files: Vec<PathBuf> = files.collect::<Result<_>>()?;
    let is_segment =
        |path: &&PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("seg-"));
    files.iter().filter(is_segment).min().cloned().context("a file of the spool")
}

async fn health(node: &Node, expected: u16) -> Result<()> {
    eventually(&format!("health is {expected}"), WITHIN, || async {
        let (status, text) = node.admin().text("/healthz").await?;
        ensure!(status == expected, "{status}: {text}");
        Ok(())
    })
    .await
}

/// With and without something that both ends knew of each other before.
async fn what_is_outside_the_damage_arrives(settled: usize) -> Result<()> {
    let rigging = Rigging { spool: "segmentMiB: 8, sizeMiB: 256".to_owned(), ..Rigging::default() };
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 41 + settled as u64, &rigging).await?;
    ensure!(make(&mesh.zone("east"), "box", "orders.**").await? == 201);
    mesh.knows("east", "orders.**").await?;
    let event = || Draft::new(json!({"text": "x".repeat(EVENT_BYTES)}));
    let mut ids = Vec::new();
    for number in 0..settled + EVENTS {
        if number == settled {
            mesh.kill("east")?;
        }
        let event = event();
        let query = if number < settled { "?ack=replicated" } else { "" };
        let reply = publish(&mesh.zone("west"), TOPIC, &event, query).await?;
        ensure!(reply["destinations"] == json!(["east-1"]), "{reply}");
        ids.push(event.id);
    }
    // The last commit is vouched for after a tenth of a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    mesh.kill("west")?;
    let west = mesh.zone("west");
    let damaged = first_file(&west)?;
    let file = OpenOptions::new().write(true).open(&damaged)?;
    file.write_all_at(&[0; 12 * 4096], 4096)?;
    drop(file);
    let directory = data(&west).display().to_string();
    let export = meshbridge(&["spool", "export", "--salvage", &directory], WITHIN)?.stdout;
    let readable: BTreeSet<&String> = ids.iter().filter(|id| export.contains(&format!("\"{id}\""))).collect();
    ensure!(readable.len() + 3 >= EVENTS, "{} of {EVENTS} are readable", readable.len());
    mesh.restart("west").await?;
    mesh.restart("east").await?;
    mesh.connected().await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    health(&west, 503).await?;
    let last = event();
    publish(&west, TOPIC, &last, "").await?;
    let mut stream = open(&east, "subscription=box&ack=manual").await?;
    let (mut rest, mut seen) = (String::new(), Vec::new());
    while seen.last() != Some(&last.id) {
        let next = next(&mut stream, &mut rest).await;
        let (token, came) = next.with_context(|| format!("{} came; {}", seen.len(), mesh.story()))?;
        settle(&east, "box", "ack", &token).await?;
        seen.push(came["id"].as_str().context("an id")?.to_owned());
    }
    let came: BTreeSet<&String> = seen.iter().collect();
    ensure!(came.len() == seen.len(), "something came twice: {seen:?}");
    let missing: Vec<_> = readable.difference(&came).collect();
    ensure!(missing.is_empty(), "readable, and never came: {missing:?}");
    eventually("the account", WITHIN, || async {
        let answer = west.admin().json("/v1/delivery").await?;
        let one = &answer["destinations"][0];
        ensure!(one["pending"] == 0 && one["deadLettered"] == 0 && answer["balanced"] == true, "{answer}");
        Ok(())
    })
    .await?;

    // Nobody has said anything of it, so it is not forgotten.
    mesh.kill("west")?;
    mesh.restart("west").await?;
    let west = mesh.zone("west");
    health(&west, 503).await?;
    let name = damaged.file_name().context("a name")?;
    let aside = damaged.with_file_name("quarantine").join(name);
    eventually("the damaged file is set aside", WITHIN, || async {
        ensure!(aside.exists() && !damaged.exists());
        Ok(())
    })
    .await?;
    let said = meshbridge(&["spool", "acknowledge", &directory], WITHIN)?.stdout;
    ensure!(said.contains("were durable once") && said.contains("acknowledged; kept as"), "{said}");
    health(&west, 200).await?;
    mesh.kill("west")?;
    mesh.restart("west").await?;
    // What is damaged was set aside, and does not become news again.
    health(&mesh.zone("west"), 200).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_outside_the_damage_of_a_first_file_arrives() -> Result<()> {
    what_is_outside_the_damage_arrives(0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_outside_the_damage_of_a_first_file_arrives_after_others() -> Result<()> {
    what_is_outside_the_damage_arrives(5).await
}
