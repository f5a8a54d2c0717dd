//! `meshbridge up`: what it prints, and that it leaves nothing behind.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use meshbridge_integration::{Federation, Options, eventually, is_alive, repository, signal};

#[tokio::test(flavor = "multi_thread")]
async fn every_bridge_is_announced_with_addresses_that_answer() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let ids: BTreeSet<String> = federation.bridges().into_iter().map(|node| node.bridge).collect();
    ensure!(ids.iter().map(String::as_str).eq(["cloud-us-1", "dmz-1", "internal-1"]), "{ids:?}");
    for node in federation.bridges() {
        for address in [&node.http, &node.grpc, &node.admin] {
            let port = address.strip_prefix("http://127.0.0.1:").unwrap_or_default();
            ensure!(port.parse::<u16>().is_ok(), "{address} is a cleartext address without a trailing slash");
        }
        ensure!(node.peer.parse::<std::net::SocketAddr>().is_ok(), "{} is host:port", node.peer);
        ensure!(node.config.is_file(), "{} is the configuration", node.config.display());
        ensure!(is_alive(node.pid), "pid {} runs", node.pid);
        ensure!(node.admin().text("/healthz").await?.0 == 200, "healthz");
        ensure!(node.admin().text("/readyz").await?.0 == 200, "readyz");
    }
    // Ready means that the links are up, and that every bridge has a route to every other soon after.
    for peer in federation.zone("dmz").admin().peers().await? {
        ensure!(peer.state == "up", "{peer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_children_of_a_killed_parent_die() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    signal(federation.pid(), "KILL")?;
    all_gone(&federation).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_everything() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    signal(federation.pid(), "TERM")?;
    all_gone(&federation).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_restart_a_dead_bridge_is_reported_and_stays_down() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    federation.kill("cloud-us-1")?;
    eventually("the death is reported", Duration::from_secs(5), || async {
        ensure!(federation.log().contains("cloud-us-1"), "{}", federation.log());
        let peer = federation.zone("dmz").admin().peer("cloud-us-1").await?;
        ensure!(peer.state != "up", "{peer:?}");
        Ok(())
    })
    .await?;
    ensure!(is_alive(federation.pid()), "`up` goes on");
    ensure!(!is_alive(federation.bridge("cloud-us-1").pid), "the bridge stays down");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_federation_directory_is_not_written_to() -> Result<()> {
    let federation =
        Federation::up(&repository().join("topology-examples/diamond"), Options::default()).await?;
    let mut found = Vec::new();
    list(federation.directory(), &mut found)?;
    let mut example = Vec::new();
    list(&repository().join("topology-examples/diamond"), &mut example)?;
    let names =
        |list: &[(String, SystemTime)]| list.iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    ensure!(names(&found) == names(&example), "{:?}", names(&found));
    for (name, _) in &found {
        let (copy, original) =
            (federation.directory().join(name), repository().join("topology-examples/diamond").join(name));
        ensure!(fs::read(copy)? == fs::read(original)?, "{name} was changed");
    }
    Ok(())
}

async fn all_gone(federation: &Federation) -> Result<()> {
    let pids: Vec<u32> = federation.bridges().into_iter().map(|node| node.pid).collect();
    eventually("every bridge ends", Duration::from_secs(15), || async {
        let left: Vec<&u32> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        ensure!(left.is_empty(), "{left:?} still run");
        Ok(())
    })
    .await
}

fn list(directory: &Path, into: &mut Vec<(String, SystemTime)>) -> Result<()> {
    let mut waiting = vec![directory.to_owned()];
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(directory)?.display().to_string();
                into.push((name, entry.metadata()?.modified()?));
            }
        }
    }
    Ok(())
}
