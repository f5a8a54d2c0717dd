//! T15, M36, D7: a rule is tightened while nobody knows whether events have arrived. What the destination has it keeps, and that is their end; what it does not
//! have ends `denied` there, so that a copy that was on its way all the time is refused when it comes. One end for each pair.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Node, Plan, Rigging, Way, Weather, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::books::close;
use super::tightened::{EVENTS, OPEN, SECRET, account, decided, publish, rule};
use crate::delivery::{make, next, open, settle};

const FILTER: &str = "orders.**";
const SENT_WITHIN: Duration = Duration::from_secs(10);
/// Bytes a second, and the bytes that go first: twelve seconds in which a rule is read and a fence is answered.
const SLOW: u32 = 2 << 10;
const FILLING: usize = 24 << 10;
/// Events of each of the two topics, the large one among them; all in the first window.
const EACH: usize = 7;
const COME_WITHIN: Duration = Duration::from_secs(35);

/// What a destination has of one origin.
async fn source(mesh: &Mesh, name: &str) -> Result<u64> {
    let books = mesh.zone("east").admin().json("/v1/delivery").await?;
    let mut rows = books["sources"].as_array().into_iter().flatten();
    let row: Option<&Value> = rows.find(|row| row["origin"] == "west-1");
    Ok(row.map_or(0, |row| row[name].as_u64().unwrap_or_default()))
}

/// Data arrives, receipts do not: the destination has them all, and has handed out half of them, when its origin learns of the rule.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_destination_has_keeps_its_end_when_a_rule_is_tightened_in_doubt() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), super::seed()).await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    ensure!(make(&east, "all", FILTER).await? == StatusCode::CREATED, "no subscription");
    mesh.knows("east", FILTER).await?;
    let relay = mesh.relay("west", "east");
    relay.set(Way::Backward, Weather::cut());
    mesh.note("receipts are cut off");
    let published = publish(&west).await?;
    eventually("all have arrived", SENT_WITHIN, || async {
        let has = source(&mesh, "open").await?;
        ensure!(has == EVENTS as u64, "{has} of {EVENTS}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    let (mut stream, mut rest) = (open(&east, "subscription=all&ack=manual").await?, String::new());
    let mut seen = BTreeSet::new();
    while seen.len() < EVENTS / 2 {
        let (token, event) = next(&mut stream, &mut rest).await?;
        ensure!(settle(&east, "all", "ack", &token).await?["settled"] == 1, "not acknowledged: {event}");
        ensure!(seen.insert(event["id"].as_str().context("an id")?.to_owned()), "{event} came twice");
    }
    drop(stream);
    rule(&west, true).await?;
    let doubt = account(&west).await?;
    ensure!(doubt["unsettled"] == EVENTS && doubt["denied"] == 0, "nothing is in doubt: {doubt}");
    relay.heal();
    mesh.note("healed");
    let (mut stream, mut rest) = (open(&east, "subscription=all&ack=manual").await?, String::new());
    while seen.len() < EVENTS {
        let (token, event) = next(&mut stream, &mut rest).await.with_context(|| mesh.story())?;
        ensure!(settle(&east, "all", "ack", &token).await?["settled"] == 1, "not acknowledged: {event}");
        ensure!(seen.insert(event["id"].as_str().context("an id")?.to_owned()), "{event} came twice");
    }
    ensure!(published.iter().all(|(id, _)| seen.contains(id)), "{seen:?}");
    close(&mesh).await?;
    let account = account(&west).await?;
    ensure!(account["delivered"] == EVENTS && account["sent"] == EVENTS, "{account}");
    for (_, key) in &published {
        let event = west.admin().json(&format!("/v1/events/{key}")).await?;
        let pairs = event["destinations"].as_array().context("pairs")?;
        ensure!(pairs.len() == 1 && pairs[0]["state"] == "delivered", "{event}");
    }
    Ok(())
}

/// They are on their way, on a slow wire: the fence overtakes them, and then they come.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_after_a_fence_was_answered_denied_is_refused() -> Result<()> {
    // Lanes have connections of their own there: what is slow holds up its lane only, and no receipt and no fence.
    let rigging = Rigging { transport: Some("tcp"), ..Rigging::default() };
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), super::seed(), &rigging).await?;
    let result = overtaken(&mesh).await;
    let books = if result.is_err() { mesh.books().await } else { String::new() };
    result.with_context(|| format!("{books}\n{}", mesh.story()))
}

async fn overtaken(mesh: &Mesh) -> Result<()> {
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    ensure!(make(&east, "all", FILTER).await? == StatusCode::CREATED, "no subscription");
    mesh.knows("east", FILTER).await?;
    let relay = mesh.relay("west", "east");
    relay.set(Way::Forward, Weather { bytes_per_second: Some(SLOW), ..Weather::default() });
    let (secret, open_ones) = (lane(&west, SECRET).await?, lane(&west, OPEN).await?);
    eventually("all are on their way", SENT_WITHIN, || async {
        let (account, peer) = (account(&west).await?, west.admin().peer("east-1").await?);
        ensure!(
            account["unsettled"] == 2 * EACH && peer.sent.events >= 2 * EACH as u64,
            "{peer:?}, {account}"
        );
        Ok(())
    })
    .await?;
    let tightened = rule(&west, true).await?;
    eventually("the fence is answered", SENT_WITHIN, || async {
        let account = account(&west).await?;
        ensure!(account["denied"] == EACH, "{account}");
        Ok(())
    })
    .await?;
    // Nobody has read yet: what has ended there has ended by the fence, and nothing has come yet.
    let (ended, stored) = (source(mesh, "ended").await?, source(mesh, "open").await?);
    ensure!(ended == EACH as u64, "{ended} of {EACH} have ended at east");
    ensure!(
        stored == 0 && refused(&east).await? == 0.0,
        "{stored} came before the fence: nothing was in doubt"
    );
    decided(mesh, "west", "egress", (tightened, EACH))?;
    let copies = eventually("they come after all", COME_WITHIN, || async {
        let (stored, copies) = (source(mesh, "open").await?, refused(&east).await?);
        ensure!(stored == EACH as u64 && copies >= EACH as f64, "{stored} stored, {copies} refused");
        Ok(copies)
    })
    .await?;
    eprintln!("{EACH} pairs denied by the fence, {copies} copies refused when they came");
    relay.heal();
    // What is still on the slow wire was sent again in vain.
    relay.reset();
    mesh.connected().await?;
    let (mut stream, mut rest) = (open(&east, "subscription=all").await?, String::new());
    for (id, _) in &open_ones {
        let (_, event) = next(&mut stream, &mut rest).await?;
        ensure!(event["id"] == *id, "{event}, and not {id}");
    }
    let last = Draft::new(json!({}));
    west.publisher().publish(OPEN, &last).await?;
    let (_, event) = next(&mut stream, &mut rest).await?;
    ensure!(event["id"] == last.id, "what has ended has come after all: {event}");
    close(mesh).await?;
    for (_, key) in secret.iter().chain(&open_ones) {
        let event = west.admin().json(&format!("/v1/events/{key}")).await?;
        let pairs = event["destinations"].as_array().context("pairs")?;
        let is_denied = pairs[0]["state"] == "denied" && pairs[0]["why"] == "tightened/no-secrets";
        let is_secret = secret.iter().any(|(_, one)| one == key);
        ensure!(pairs.len() == 1 && is_denied == is_secret, "{event}");
    }
    let account = account(&west).await?;
    let is_right = account["denied"] == EACH && account["delivered"] == EACH + 1;
    ensure!(is_right && account["sent"] == 2 * EACH + 1, "{account}");
    Ok(())
}

/// A large one and some behind it, on the way of their topic.
async fn lane(node: &Node, topic: &str) -> Result<Vec<(String, String)>> {
    let mut published = Vec::new();
    for number in 0..EACH {
        let filling = if number == 0 { FILLING } else { 1 };
        let event = Draft::new(json!({"filling": "x".repeat(filling)}));
        let reply = node.publisher().publish(topic, &event).await?;
        published.push((event.id, reply.key));
    }
    Ok(published)
}

/// Copies that came and were there already, or had ended.
async fn refused(node: &Node) -> Result<f64> {
    let metrics = node.admin().metrics().await?;
    let dropped = metrics.iter().filter(|(name, _)| name.starts_with("meshbridge_events_dropped_total{"));
    Ok(dropped.filter(|(name, _)| name.contains("reason=\"duplicate\"")).map(|(_, value)| value).sum())
}
