//! Who a peer is counts for as long as a link lives, whatever carries it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Mesh, Plan, eventually, issue, signal, throughout};
use serde_json::json;

use super::{FILTER, WITHIN, over, sessions};

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_peer_is_cut_from_a_live_link_over_tcp() -> Result<()> {
    denied("tcp").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_peer_is_cut_from_a_live_link_over_quic() -> Result<()> {
    denied("quic").await
}

async fn denied(transport: &'static str) -> Result<()> {
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 1, &over(transport)).await?;
    let east = mesh.zone("east");
    let list = mesh.path().join("denied.txt");
    fs::write(&list, "# nobody so far\n")?;
    let config = fs::read_to_string(&east.config)?;
    let with_list = config.replace("ca: ../ca/ca.pem", "ca: ../ca/ca.pem, denyList: ../denied.txt");
    ensure!(config != with_list, "{config}");
    fs::write(&east.config, with_list)?;
    mesh.terminate("east", WITHIN).await?;
    mesh.restart("east").await?;
    mesh.connected().await?;
    let east = mesh.zone("east");

    fs::write(&list, "west-1\n")?;
    signal(east.pid, "HUP")?;
    let down = async || {
        let peer = east.admin().peer("west-1").await?;
        ensure!(peer.state != "up", "{peer:?}");
        anyhow::Ok(())
    };
    eventually("the denied peer is cut", Duration::from_secs(5), &down)
        .await
        .with_context(|| mesh.story())?;
    throughout("and gets no other link", Duration::from_secs(3), &down).await?;
    ensure!(mesh.log("east").contains("Link cut, its peer is on the deny-list"), "{}", mesh.story());
    let told = mesh.zone("west").admin().peer("east-1").await?.last_error.unwrap_or_default();
    // FIXME: over QUIC the end of the control stream may be reported instead of the reason in the close.
    let says_why = told.contains("deny-list") || transport == "quic" && !told.is_empty();
    ensure!(says_why, "west hears why: {told}");

    fs::write(&list, "")?;
    signal(east.pid, "HUP")?;
    eventually("the link is back", WITHIN, || async {
        let peer = east.admin().peer("west-1").await?;
        ensure!(peer.state == "up", "{peer:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_without_dropping_a_link_over_tcp() -> Result<()> {
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 1, &over("tcp")).await?;
    let subscriber = mesh.zone("east").subscribe(&[FILTER]).await?;
    mesh.knows("east", FILTER).await?;
    let west = mesh.zone("west").admin();
    let before = sessions(&west, "east-1").await?;
    for zone in ["west", "east"] {
        let node = mesh.zone(zone);
        let directory = node.config.with_file_name("tls");
        issue(&mesh.path().join("ca"), &directory, &["--zone", zone, "--bridge", &node.bridge])?;
        signal(node.pid, "HUP")?;
        eventually("the new certificate is in use", WITHIN, || async {
            ensure!(mesh.log(zone).matches("Reloading policies and certificates").count() == 1);
            Ok(())
        })
        .await?;
        let event = Draft::new(json!({}));
        mesh.zone("west").publisher().publish("orders.made", &event).await?;
        subscriber.wait_for(&event.id).await.with_context(|| mesh.story())?;
    }
    ensure!(sessions(&west, "east-1").await? == before, "the link was dropped: {}", mesh.story());
    // A link that breaks now is made with the new ones.
    mesh.relay("west", "east").reset();
    eventually("the link is back with new certificates", WITHIN, || async {
        ensure!(sessions(&west, "east-1").await? > before);
        ensure!(west.peer("east-1").await?.state == "up");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    let event = Draft::new(json!({}));
    mesh.zone("west").publisher().publish("orders.made", &event).await?;
    subscriber.wait_for(&event.id).await.with_context(|| mesh.story())?;
    Ok(())
}
