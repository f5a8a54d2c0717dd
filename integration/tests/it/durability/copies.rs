//! M23: two copies of one disk run at once, as after a restored snapshot whose original was not stopped. While both speak neither is heard; when one has
//! fallen silent the other goes on in a higher epoch. What both have comes once, and nothing of either is lost.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{
    Admin, Draft, Mesh, Node, Plan, Weather, binary, copy_tree, eventually, meshbridge,
};
use reqwest::StatusCode;
use serde_json::json;

use super::books::balance;
use crate::delivery::{make, next_within, open};

const WITHIN: Duration = Duration::from_secs(20);
/// A copy that has been silent for thirty seconds is no copy any more.
const SILENT_WITHIN: Duration = Duration::from_secs(60);
/// An origin that is not heard sends again ever more seldom, at last every thirty seconds; the next time may be that far off when it is heard again.
const RESENT_WITHIN: Duration = Duration::from_secs(50);
const TOPIC: &str = "orders.flow.created";
const EVENTS: usize = 10;

/// The second process, on a copy of the first one's disk; killed on drop.
struct Copy {
    child: Child,
    node: Node,
}

impl Copy {
    /// Copies the data and the configuration of a bridge that does not run, with other ports, dialling `peer` itself.
    fn prepare(original: &Node, dialled: &str, peer: &str) -> Result<Node> {
        let from = original.config.parent().context("a directory")?;
        let to = from.with_file_name("copy");
        copy_tree(from, &to)?;
        let text = fs::read_to_string(&original.config)?.replace(dialled, peer);
        let mut node = Node { config: to.join("bridge.yaml"), ..original.clone() };
        let mut text = text.replace(&from.display().to_string(), &to.display().to_string());
        for address in [&mut node.http, &mut node.grpc, &mut node.nats, &mut node.admin, &mut node.peer] {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let old = address.rsplit(':').next().context("a port")?.to_owned();
            text = text.replace(&format!("127.0.0.1:{old}"), &format!("127.0.0.1:{port}"));
            *address = address.replace(&old, &port.to_string());
        }
        fs::write(&node.config, text)?;
        Ok(node)
    }

    fn start(node: Node) -> Result<Copy> {
        let log = fs::File::create(node.config.with_file_name("bridge.log"))?;
        let child = Command::new(binary())
            .args(["run", "--stop-with-stdin", "--config"])
            .arg(&node.config)
            .env("MESHBRIDGE_LOG", "info")
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Copy { child, node })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.node.config.with_file_name("bridge.log")).unwrap_or_default()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

async fn publish(node: &Node) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for _ in 0..EVENTS {
        let event = Draft::new(json!({}));
        let reply = node.publisher().publish(TOPIC, &event).await?;
        ensure!(reply.destinations == ["east-1"], "{reply:?}");
        ids.push(event.id);
    }
    Ok(ids)
}

async fn ready(admin: &Admin) -> Result<()> {
    eventually("the copy is ready", WITHIN, || async {
        ensure!(admin.text("/readyz").await?.0 == 200, "not ready");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_a_disk_are_refused_until_one_is_silent_and_lose_nothing() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), super::seed()).await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    ensure!(make(&east, "all", TOPIC).await? == StatusCode::CREATED, "no subscription");
    mesh.knows("east", TOPIC).await?;
    let (mut stream, mut rest) = (open(&east, "subscription=all").await?, String::new());
    mesh.relay("west", "east").set_both(Weather::cut());
    let of_both = publish(&west).await?;
    mesh.kill("west")?;
    let dialled = mesh.relay("west", "east").address().to_string();
    let copied = Copy::prepare(&west, &dialled, &east.peer)?;
    mesh.relay("west", "east").heal();
    mesh.restart("west").await?;
    mesh.connected().await?;
    let copy = Copy::start(copied)?;
    ready(&copy.node.admin()).await.with_context(|| copy.log())?;
    eventually("the copies are noticed", WITHIN, || async {
        let log = mesh.log("east");
        ensure!(log.contains("CloneDetected"), "{log}");
        Ok(())
    })
    .await
    .with_context(|| format!("{}\n{}", mesh.story(), copy.log()))?;
    let of_original = publish(&mesh.zone("west")).await?;
    let of_copy = publish(&copy.node).await.with_context(|| copy.log())?;

    mesh.kill("west")?;
    let story = || format!("{}\n--- the copy:\n{}", mesh.story(), copy.log());
    eventually("the copy goes on in a higher epoch", SILENT_WITHIN, || async {
        let route = east.admin().route_to("west-1").await?;
        ensure!(route.reachable && copy.log().contains("Epoch raised"), "{route:?}");
        Ok(())
    })
    .await
    .with_context(story)?;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    while [&of_both, &of_copy].into_iter().flatten().any(|id| !seen.contains_key(id)) {
        let (_, event) = next_within(&mut stream, &mut rest, RESENT_WITHIN).await.with_context(story)?;
        *seen.entry(event["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    // The copy is put away, and the original hears what was done under its name.
    drop(copy);
    mesh.restart("west").await?;
    // It comes with the epoch that its copy has taken: until that one has been silent for thirty seconds they are two again.
    eventually("the original is heard again", SILENT_WITHIN, || async {
        let route = east.admin().route_to("west-1").await?;
        ensure!(route.reachable, "{route:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    while of_original.iter().any(|id| !seen.contains_key(id)) {
        let (_, event) =
            next_within(&mut stream, &mut rest, RESENT_WITHIN).await.with_context(|| mesh.story())?;
        *seen.entry(event["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    ensure!(seen.len() == 3 * EVENTS && seen.values().all(|copies| *copies == 1), "{seen:?}");
    balance(&mesh).await
}

/// A disk in the wrong place: its bridge would take another's accounts for its own, and the others would end what it has.
#[tokio::test(flavor = "multi_thread")]
async fn the_disk_of_another_bridge_is_refused_and_nothing_is_lost_by_it() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), super::seed()).await?;
    ensure!(make(&mesh.zone("east"), "all", TOPIC).await? == StatusCode::CREATED, "no subscription");
    mesh.knows("east", TOPIC).await?;
    mesh.kill("east")?;
    let published = publish(&mesh.zone("west")).await?;
    mesh.kill("west")?;
    let data = |zone: &str| mesh.zone(zone).config.with_file_name("data");
    let aside = data("west").with_file_name("aside");
    fs::rename(data("west"), &aside)?;
    copy_tree(&data("east"), &data("west"))?;
    let config = mesh.zone("west").config.display().to_string();
    let refused = meshbridge(&["run", "--config", &config], WITHIN)?;
    ensure!(refused.code == 3, "{refused:?}");
    for name in ["west-1", "east-1", "owner"] {
        ensure!(refused.stderr.contains(name), "{name}: {}", refused.stderr);
    }
    fs::remove_dir_all(data("west"))?;
    fs::rename(&aside, data("west"))?;
    mesh.restart("west").await?;
    mesh.restart("east").await?;
    mesh.connected().await?;
    let (mut stream, mut rest) = (open(&mesh.zone("east"), "subscription=all").await?, String::new());
    for id in published {
        let (_, event) =
            next_within(&mut stream, &mut rest, RESENT_WITHIN).await.with_context(|| mesh.story())?;
        ensure!(event["id"] == json!(id), "{event}, not {id}");
    }
    Ok(())
}
