//! T22, M30: the disk of a bridge fills up under load, and has room again.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Node, Plan, Rigging, eventually, http, skip};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Scene, publish};
use crate::delivery::{make, next, open, settle};

const DISK_MIB: u32 = 160;
/// The smallest files a spool can have, so that the disk is full soon.
const SPOOL: &str = "segmentMiB: 8, sizeMiB: 4096";
const EVENT_BYTES: usize = 48 << 10;
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// Twice T22's 100 ms; of the median, since other tests run beside this one.
const REFUSED_WITHIN: Duration = Duration::from_millis(200);
/// Twice T22's five seconds.
const BACK_WITHIN: Duration = Duration::from_secs(10);
const HELD: usize = 20;
/// Before and after.
const EVENTS: u64 = 50;

/// A file system of its own; gone when dropped, which must come after the end of whoever uses it.
struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount() -> Result<Option<SmallDisk>> {
        let directory = tempfile::tempdir()?;
        let size = format!("size={DISK_MIB}m,mode=700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "meshbridge-test"]).arg(directory.path());
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        Ok(is_mounted.then_some(SmallDisk { directory }))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all space that is left.
    fn fill(&self) -> Result<()> {
        let mut ballast = fs::File::options().create(true).append(true).open(self.path().join("ballast"))?;
        while ballast.write_all(&[0; 64 << 10]).is_ok() {}
        Ok(())
    }

    fn free(&self) -> Result<()> {
        Ok(fs::remove_file(self.path().join("ballast"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            drop(Command::new("umount").arg("--lazy").arg(self.path()).status());
        }
    }
}

/// Publishes once: status, `Retry-After`, code, and how long the answer took.
async fn probe(node: &Node) -> Result<(u16, Option<String>, Value, Duration)> {
    let began = Instant::now();
    let event = Draft::new(json!({})).structured().to_string();
    let request = http().post(format!("{}/v1/topics/orders.probe", node.http)).body(event);
    let reply = request.header("content-type", "application/cloudevents+json").send().await?;
    let status = reply.status().as_u16();
    let wait = reply.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = reply.text().await?;
    Ok((status, wait, serde_json::from_str(&text).unwrap_or_default(), began.elapsed()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_in_time_takes_acknowledgements_and_recovers_by_itself() -> Result<()> {
    let Some(disk) = SmallDisk::mount()? else {
        skip("a full disk (T22)", "mounting a small tmpfs needs root");
        return Ok(());
    };
    let data = [("west".to_owned(), disk.path().join("data"))].into();
    let rigging = Rigging { spool: SPOOL.to_owned(), data, ..Rigging::default() };
    let scene = Scene::start_rigged(&Plan::chain(), &["west", "east"], true, &rigging, EVENT_BYTES).await?;
    let west = scene.mesh.zone("west");
    // What a subscriber holds when the disk is full, and acknowledges then.
    ensure!(make(&west, "held", "orders.held").await?.is_success(), "not made");
    for _ in 0..HELD {
        publish(&west, "orders.held", &Draft::new(json!({})), &scene.ledger).await?;
    }
    let (mut stream, mut rest, mut tokens) =
        (open(&west, "subscription=held&ack=manual").await?, String::new(), vec![]);
    for _ in 0..HELD {
        tokens.push(next(&mut stream, &mut rest).await?.0);
    }
    scene.run_for(EVENTS).await?;
    disk.fill()?;
    let refused = eventually("the full disk is noticed", NOTICED_WITHIN, || async {
        // Space that maintenance gives back is taken at once.
        disk.fill()?;
        let (status, wait, body, _) = probe(&west).await?;
        ensure!(status == 503, "status {status}");
        Ok((wait, body))
    })
    .await
    .with_context(|| scene.mesh.story())?;
    scene.ledger.with(|ledger| ledger.fault("disk full"));
    ensure!(refused.0.is_some() && refused.1["error"]["code"] == "busy", "{refused:?}");
    let mut times = Vec::new();
    for token in tokens {
        let answer = settle(&west, "held", "ack", &token).await.with_context(|| scene.mesh.story())?;
        ensure!(answer["settled"] == 1, "not acknowledged while the disk was full: {answer}");
        let (status, _, _, took) = probe(&west).await?;
        ensure!(status == 503, "status {status} on a full disk");
        times.push(took);
    }
    times.sort_unstable();
    let median = times[times.len() / 2];
    ensure!(median <= REFUSED_WITHIN, "refused after {times:?}");
    disk.free()?;
    let freed = Instant::now();
    eventually("events are taken again", BACK_WITHIN, || async {
        let (status, ..) = probe(&west).await?;
        ensure!(status == 202, "status {status}");
        Ok(())
    })
    .await
    .with_context(|| scene.mesh.story())?;
    eprintln!("refused in {median:?}, back {:?} after there was room", freed.elapsed());
    ensure!(scene.mesh.zone("west").pid == west.pid, "it was started again");
    scene.run_for(2 * EVENTS).await?;
    scene.judge(&[], 2 * EVENTS).await?;
    Ok(())
}
