//! P3: a repetition has a higher delivery count than any before it, also where the bridge is killed as soon as one was told and
//! its disk is slow.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Plan, Rigging, eventually, failing_binary, skip};
use reqwest::StatusCode;
use serde_json::json;

use crate::delivery::{make, next, open, settle};
use crate::quarantine::publish;

const WITHIN: Duration = Duration::from_secs(20);
const TOPIC: &str = "orders.flow.created";
const STREAM: &str = "subscription=box&ack=manual";
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn no_count_of_deliveries_is_told_twice() -> Result<()> {
    let Some(binary) = failing_binary() else {
        skip("fail points", "there is no meshbridge-failing: ./integration/test builds it");
        return Ok(());
    };
    let rigging = Rigging { binary: Some(binary), ..Rigging::default() };
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), super::seed(), &rigging).await?;
    ensure!(make(&mesh.zone("east"), "box", "orders.**").await? == StatusCode::CREATED, "not made");
    mesh.knows("east", "orders.**").await?;
    for round in 0..ROUNDS {
        // Each batch is on the disk 400 ms after it was begun.
        mesh.kill("east")?;
        mesh.start_failing("east", "spool.before-append=sleep(400)")?;
        mesh.connected().await?;
        let event = Draft::new(json!({"round": round}));
        publish(&mesh.zone("west"), TOPIC, &event, "?ack=replicated").await?;
        let east = mesh.zone("east");
        let mut counts: Vec<u64> = Vec::new();
        let mut told = async |stream: &mut reqwest::Response, rest: &mut String| {
            let (token, came) = next(stream, rest).await?;
            ensure!(came["id"] == event.id.as_str(), "{came}");
            counts.push(came["meshbridgedelivery"].as_u64().unwrap_or(1));
            ensure!(counts.is_sorted_by(|a, b| a < b), "round {round}: {counts:?}");
            Ok(token)
        };
        let (mut stream, mut rest) = (open(&east, STREAM).await?, String::new());
        let first = told(&mut stream, &mut rest).await?;
        settle(&east, "box", "nack", &first).await?;
        told(&mut stream, &mut rest).await?;
        mesh.kill("east")?;
        mesh.restart("east").await?;
        let east = mesh.zone("east");
        let again = eventually("the stream is back", WITHIN, || async { open(&east, STREAM).await }).await;
        (stream, rest) = (again?, String::new());
        let last = told(&mut stream, &mut rest).await.with_context(|| mesh.story())?;
        settle(&east, "box", "ack", &last).await?;
    }
    Ok(())
}
