//! RELIABILITY T40: an older bundle replayed, updates withheld, a disk lost.

use super::*;

use std::fs;

use meshbridge_integration::Draft;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[tokio::test(flavor = "multi_thread")]
async fn an_older_bundle_that_is_replayed_is_refused_and_alarmed() -> Result<()> {
    let chain = Chain::start().await?;
    let first = chain.signer.federation(1, "", OPEN, &[])?;
    chain.put("east", &chain.signer.federation(2, "", &closed(), &[])?)?;
    chain.all_reach(2).await?;
    let file = chain.put("middle", &first)?;
    let what = chain.alarms("middle", "bundle_rollback", &first.name).await?;
    ensure!(
        what.contains("revision 2 in force") && what.contains("sign the old content under a new revision"),
        "{what}"
    );
    for zone in ["west", "middle", "east"] {
        ensure!(chain.view(zone).await?["federationRevision"] == 2, "{zone} went back");
    }
    // Also over a restart, with nothing but the old file to look at.
    chain.mesh.kill("middle")?;
    chain.mesh.restart("middle").await?;
    ensure!(chain.view("middle").await?["federationRevision"] == 2, "{}", chain.mesh.story());
    fs::remove_file(file)?;
    // What the error says to do works.
    chain.put("middle", &chain.signer.federation(3, "", OPEN, &[])?)?;
    chain.all_reach(3).await?;
    ensure!(chain.view("middle").await?["alarms"] == json!([]), "{}", chain.mesh.story());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_are_withheld_are_noticed_at_the_end_of_the_old_ones() -> Result<()> {
    let chain = Chain::start().await?;
    let end = OffsetDateTime::now_utc() + Duration::from_secs(12);
    let end = end.replace_nanosecond(0)?.format(&Rfc3339)?;
    chain.put("west", &chain.signer.federation(2, "", OPEN, &["--expires", &end])?)?;
    chain.all_reach(2).await?;
    let _subscriber = chain.mesh.zone("east").subscribe(&["orders.**"]).await?;
    chain.mesh.knows("east", "orders.**").await?;
    // East hears nothing more; the others get the next one.
    chain.mesh.kill("east")?;
    chain.put("west", &chain.signer.federation(3, "", OPEN, &[])?)?;
    chain.reaches("middle", 3).await?;
    chain.mesh.kill("middle")?;
    chain.mesh.restart("east").await?;
    let what = chain.alarms("east", "bundle_expired", "federation").await?;
    ensure!(what.contains("stays in force") && what.contains("kept from this bridge"), "{what}");
    let east = chain.mesh.zone("east");
    let (status, health) = east.admin().text("/healthz").await?;
    ensure!(status == 200 && health.contains("bundle_expired"), "{health}");
    let reply = east.publisher().publish("orders.new", &Draft::new(json!({}))).await?;
    ensure!(reply.denied.is_empty(), "the policies are in force: {reply:?}");
    chain.mesh.restart("middle").await?;
    chain.reaches("east", 3).await?;
    ensure!(chain.view("east").await?["alarms"] == json!([]), "{}", chain.mesh.story());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_lost_its_disk_takes_nothing_older_than_its_peers_show() -> Result<()> {
    let chain = Chain::start().await?;
    chain.all_reach(1).await?;
    chain.put("west", &chain.signer.federation(2, "", &closed(), &[])?)?;
    chain.all_reach(2).await?;
    chain.mesh.kill("middle")?;
    chain.mesh.wipe("middle")?;
    // All that is left there is the old one.
    chain.put("middle", &chain.signer.federation(1, "", OPEN, &[])?)?;
    let lived = chain.mesh.log("middle").len();
    chain.mesh.restart("middle").await?;
    let view = chain.view("middle").await?;
    ensure!(view["federationRevision"] == 2, "ready with {view}: {}", chain.mesh.story());
    let log = chain.mesh.log("middle").split_off(lived);
    ensure!(log.contains("federation@2") && !log.contains("federation@1"), "{log}");
    eventually("both neighbours were heard", WITHIN, || async {
        let view = chain.view("middle").await?;
        ensure!(view["recovering"] == false, "{view}");
        Ok(())
    })
    .await
    .with_context(|| chain.mesh.story())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_without_peers_goes_by_its_directory_after_a_while_and_catches_up() -> Result<()> {
    let chain = Chain::start().await?;
    chain.all_reach(1).await?;
    chain.put("west", &chain.signer.federation(2, "", &closed(), &[])?)?;
    chain.all_reach(2).await?;
    for zone in ["west", "middle", "east"] {
        chain.mesh.kill(zone)?;
    }
    chain.mesh.wipe("east")?;
    chain.put("east", &chain.signer.federation(1, "", OPEN, &[])?)?;
    chain.mesh.restart("east").await?;
    let view = chain.view("east").await?;
    ensure!(view["federationRevision"] == 1 && view["recovering"] == true, "{view}");
    chain.mesh.restart("middle").await?;
    chain.reaches("east", 2).await?;
    Ok(())
}
