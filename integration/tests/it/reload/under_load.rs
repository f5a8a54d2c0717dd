//! Policies that are replaced while events pass (RELIABILITY T39, T41): each event is judged by one edition, the one on its
//! record; an edition that is broken is never in force; what a new edition forbids stops at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use meshbridge_integration::{Draft, Mesh, Node, Plan, Reply, eventually, meshbridge, signal};
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(20);
const TOPIC: &str = "orders.flow.created";
const RELOADS: usize = 50;
const PACE: Duration = Duration::from_millis(100);
/// What was permitted when the rule came into force may be on its way for so long.
const STOPPED_WITHIN: Duration = Duration::from_secs(1);

/// Two editions of one rule; what is left of the mark tells which of them judged.
const EDITIONS: [(&str, &str); 2] = [("redact", "[redacted]"), ("mask", "*********")];

fn edition(how: &str) -> String {
    format!(
        "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {{name: edition, layer: zone/west}}\nspec:\n  rules:\n    - {{name: marks, match: {{at: egress, topics: [\"orders.**\"]}}, protect: [{{fields: [\"$.data.mark\"], as: {how}}}]}}\n"
    )
}

/// Puts the file in its place as a whole, and tells the bridge.
fn load(node: &Node, text: &str) -> Result<()> {
    let file = node.config.with_file_name("policies").join("edition.yaml");
    let draft = node.config.with_file_name("edition.draft");
    fs::write(&draft, text)?;
    fs::rename(draft, file)?;
    signal(node.pid, "HUP")
}

/// Waits until the generation is another one than before, and gives what is said of it.
async fn loaded(node: &Node, text: &str) -> Result<Value> {
    let before = node.admin().json("/v1/policy").await?;
    load(node, text)?;
    eventually("another generation", WITHIN, || async {
        let now = node.admin().json("/v1/policy").await?;
        ensure!(now["generation"] != before["generation"] && now["last_error"].is_null(), "{now}");
        Ok(now)
    })
    .await
}

async fn publish(node: &Node) -> Result<(String, Reply)> {
    let event = Draft::new(json!({"mark": "abcdefghi"}));
    let reply = node.publisher().publish(TOPIC, &event).await?;
    Ok((event.id, reply))
}

/// What a record of several decisions keeps of an event's id.
fn mark(id: &str) -> [u8; 8] {
    let named = [b"meshbridge/v1 audit event\0", id.as_bytes()].concat();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &named);
    *hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

/// The digests on the records of each of these events at its border, in the order of the records. A record that is about
/// several events counts for each.
fn on_record(data: &Path, ids: &[String]) -> Result<BTreeMap<String, Vec<String>>> {
    let by_mark: BTreeMap<[u8; 8], &String> = ids.iter().map(|id| (mark(id), id)).collect();
    let output = meshbridge(&["audit", "export", &data.display().to_string()], WITHIN)?;
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in output.stdout.lines() {
        let record: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if record["context"] != "egress" {
            continue;
        }
        let digest = record["generation"].as_str().context("a digest")?;
        let about: Vec<[u8; 8]> = match record["events"]["marks"].as_str() {
            Some(marks) => BASE64_URL_SAFE_NO_PAD.decode(marks)?.as_chunks().0.to_vec(),
            None => record["event"]["id"].as_str().map(mark).into_iter().collect(),
        };
        for id in about {
            let id = by_mark.get(&id).with_context(|| format!("a record of nobody's event: {record}"))?;
            all.entry((*id).clone()).or_default().push(digest.to_owned());
        }
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_judged_by_the_one_edition_on_its_record() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), 39).await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    let subscriber = east.subscribe(&["orders.**"]).await?;
    mesh.knows("east", "orders.**").await?;
    let mut forms: BTreeMap<String, &str> = BTreeMap::new();
    for (how, left) in EDITIONS {
        let now = loaded(&west, &edition(how)).await?;
        forms.insert(now["digest"].as_str().context("a digest")?.to_owned(), left);
    }
    let first = west.admin().json("/v1/policy").await?["generation"].as_u64().context("a number")?;

    let over = Arc::new(AtomicBool::new(false));
    let (node, until) = (west.clone(), Arc::clone(&over));
    let publishing = tokio::spawn(async move {
        let mut ids = Vec::new();
        while !until.load(Ordering::Relaxed) {
            let (id, reply) = publish(&node).await?;
            ensure!(reply.destinations == ["east-1"], "{reply:?}");
            ids.push(id);
        }
        anyhow::Ok(ids)
    });
    let mut pace = tokio::time::interval(PACE);
    for number in 0..RELOADS {
        pace.tick().await;
        let (how, _) = EDITIONS[number / 2 % EDITIONS.len()];
        let text = edition(how);
        load(&west, &if number % 2 == 0 { text } else { text.replace("protect", "protct") })?;
    }
    over.store(true, Ordering::Relaxed);
    let ids = publishing.await??;

    let last = ids.last().context("something was published")?;
    subscriber.wait_for_within(last, WITHIN).await.with_context(|| mesh.story())?;
    let mut marks: BTreeMap<String, Value> = BTreeMap::new();
    for one in subscriber.received() {
        let twice = marks.insert(one.id().to_owned(), one.event["data"]["mark"].clone());
        ensure!(twice.is_none(), "{} came twice", one.id());
    }
    let lost: Vec<&String> = ids.iter().filter(|id| !marks.contains_key(*id)).collect();
    ensure!(lost.is_empty(), "of {} these did not come: {lost:?}", ids.len());

    let data = west.config.with_file_name("data");
    let records = eventually("every decision is on record", WITHIN, || async {
        let records = on_record(&data, &ids)?;
        let missing = ids.iter().filter(|id| !records.contains_key(*id)).count();
        ensure!(missing == 0, "{missing} of {} are not", ids.len());
        Ok(records)
    })
    .await?;
    let mut seen = BTreeSet::new();
    for (id, digests) in &records {
        // An event that was not on its way yet is judged again under the new edition, and has a record of both.
        let digest = digests.last().context("a record")?;
        let left = forms
            .get(digest)
            .with_context(|| format!("{id} was judged by {digest}, which was never whole"))?;
        ensure!(marks[id] == *left, "{id} came with {}, and its record says {left}: {digests:?}", marks[id]);
        seen.insert(*left);
    }
    ensure!(seen.len() == EDITIONS.len(), "only {seen:?} of {} events", ids.len());
    let now = west.admin().json("/v1/policy").await?;
    let loads = now["generation"].as_u64().context("a number")? - first;
    ensure!(loads >= RELOADS as u64 / 8, "{loads} editions came into force in {} events: {now}", ids.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_edition_forbids_stops_within_a_second() -> Result<()> {
    let mesh = Mesh::start(&Plan::chain(), 41).await?;
    let west = mesh.zone("west");
    let subscriber = mesh.zone("east").subscribe(&["orders.**"]).await?;
    mesh.knows("east", "orders.**").await?;
    let over = Arc::new(AtomicBool::new(false));
    let (node, until) = (west.clone(), Arc::clone(&over));
    let publishing = tokio::spawn(async move {
        let mut last = publish(&node).await?;
        while !until.load(Ordering::Relaxed) {
            last = publish(&node).await?;
        }
        anyhow::Ok(last)
    });
    eventually("events flow", WITHIN, || async {
        ensure!(subscriber.received().len() > 20, "{} events", subscriber.received().len());
        Ok(())
    })
    .await?;
    let stop = edition("redact").replace("protect: [{fields: [\"$.data.mark\"], as: redact}]", "deny: {}");
    loaded(&west, &stop).await?;
    let in_force = Instant::now();
    eventually("more is published for as long as it may take", WITHIN, || async {
        ensure!(in_force.elapsed() > 2 * STOPPED_WITHIN, "{:?}", in_force.elapsed());
        Ok(())
    })
    .await?;
    over.store(true, Ordering::Relaxed);
    let (_, reply) = publishing.await??;
    ensure!(reply.denied.iter().any(|denied| denied.by == "edition/marks"), "{reply:?}");
    let late = subscriber.received().iter().filter(|one| one.at > in_force + STOPPED_WITHIN).count();
    ensure!(late == 0, "{late} events came more than {STOPPED_WITHIN:?} after the rule was in force");
    Ok(())
}
