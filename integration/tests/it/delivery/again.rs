//! Events that are said again, are over before they come, or come back from the dead letters.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Plan, Rigging, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{WITHIN, make, next, open, publish, settle, up};

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_waits_for_the_level_and_names_those_who_get_the_event() -> Result<()> {
    let federation = up().await?;
    let (origin, far) = (federation.bridge("internal-1"), federation.bridge("cloud-us-1"));
    let nobodys = Draft::new(json!({"n": 0}));
    let first = publish(&origin, &nobodys, "").await?;
    ensure!(first["destinations"] == json!([]), "{first}");
    ensure!(make(&far, "billing", "orders.**").await? == StatusCode::CREATED, "not made");
    federation.knows("cloud-us-1", "orders.**").await?;
    let again = publish(&origin, &nobodys, "?ack=replicated").await?;
    ensure!(again["duplicate"] == true && again["ack"]["missing"] == json!([]), "it goes to nobody: {again}");

    let event = Draft::new(json!({"n": 1}));
    let waits = "?ack=delivered&timeout=0.5";
    let missing = json!(["cloud-us-1"]);
    let first = publish(&origin, &event, waits).await?;
    ensure!(first["ack"]["missing"] == missing, "nobody reads: {first}");
    let again = publish(&origin, &event, waits).await?;
    ensure!(again["duplicate"] == true && again["key"] == first["key"], "{again}");
    ensure!(again["destinations"] == missing && again["ack"]["missing"] == missing, "{again}");
    ensure!(again["ack"]["level"] == "replicated", "{again}");
    // Two publishers that wait for one event, one of which gives up before.
    let patient = |timeout: &'static str| publish(&origin, &event, timeout);
    let read = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (mut stream, mut rest) = (open(&far, "subscription=billing&ack=manual").await?, String::new());
        let (token, came) = next(&mut stream, &mut rest).await?;
        ensure!(came["id"] == event.id.as_str(), "{came}");
        settle(&far, "billing", "ack", &token).await
    };
    let (long, short, read) = tokio::join!(patient("?ack=delivered&timeout=20"), patient(waits), read);
    let (long, short) = (long?, short?);
    read?;
    ensure!(short["ack"]["missing"] == missing, "{short}");
    ensure!(long["ack"]["level"] == "delivered" && long["ack"]["missing"] == json!([]), "{long}");
    let after = publish(&origin, &event, "?ack=delivered").await?;
    ensure!(after["ack"]["level"] == "delivered" && after["destinations"] == missing, "{after}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_over_when_it_comes_is_called_so() -> Result<()> {
    let federation = up().await?;
    let (origin, far) = (federation.bridge("internal-1"), federation.bridge("cloud-us-1"));
    ensure!(make(&far, "billing", "orders.**").await? == StatusCode::CREATED, "not made");
    federation.knows("cloud-us-1", "orders.**").await?;
    let over = Draft::new(json!({})).with("expirytime", "2020-01-01T00:00:00Z");
    let reply = publish(&origin, &over, "").await?;
    ensure!(reply["expired"] == true && reply["destinations"] == json!([]), "{reply}");
    let lives =
        publish(&origin, &Draft::new(json!({})).with("expirytime", "2120-01-01T00:00:00Z"), "").await?;
    ensure!(lives.get("expired").is_none() && lives["destinations"] == json!(["cloud-us-1"]), "{lives}");
    let odd = Draft::new(json!({})).with("expirytime", "tomorrow");
    let refused = origin.publisher().publish("orders.eu.created", &odd).await;
    let refused = format!("{:#}", refused.err().context("a time that is none was taken")?);
    ensure!(refused.contains("400") && refused.contains("expirytime"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_while_its_destination_was_down_is_handed_to_nobody() -> Result<()> {
    let mesh = Mesh::start_rigged(&Plan::chain(), 1, &Rigging::default()).await?;
    let west = mesh.zone("west");
    ensure!(make(&mesh.zone("middle"), "billing", "orders.**").await? == StatusCode::CREATED, "not made");
    mesh.knows("middle", "orders.**").await?;
    let end = OffsetDateTime::now_utc() + Duration::from_secs(4);
    let text = end.format(&Rfc3339)?;
    for n in 0..20 {
        let reply =
            publish(&west, &Draft::new(json!({ "n": n })).with("expirytime", &text), "?ack=replicated")
                .await?;
        ensure!(reply["ack"]["level"] == "replicated", "{reply}");
    }
    mesh.kill("middle")?;
    let left = end - OffsetDateTime::now_utc();
    // Its life is over by the clock, and nothing else.
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(200)).await;
    mesh.restart("middle").await?;
    let (mut stream, mut rest) = eventually("the stream", WITHIN, || async {
        Ok((open(&mesh.zone("middle"), "subscription=billing").await?, String::new()))
    })
    .await?;
    mesh.connected().await?;
    let last = Draft::new(json!({"n": "last"}));
    publish(&west, &last, "").await?;
    let (_, came): (String, Value) = next(&mut stream, &mut rest).await.with_context(|| mesh.story())?;
    ensure!(came["id"] == last.id.as_str(), "its life was over: {came}");
    eventually("the account", WITHIN, || async {
        let books = west.admin().json("/v1/delivery").await?;
        let account = &books["destinations"][0];
        ensure!(account["expired"] == 20 && account["delivered"] == 1 && account["pending"] == 0, "{books}");
        Ok(())
    })
    .await
}
