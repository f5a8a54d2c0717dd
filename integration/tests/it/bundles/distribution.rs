//! From one directory to every bridge.

use super::*;

use meshbridge_integration::{Draft, HostilePeer};
use serde_json::json;

const REGION: &str = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: eu, layer: region/eu-west}\nspec:\n  rules:\n    - {name: no-drafts, match: {topics: [\"orders.draft\"]}, deny: {}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_dropped_at_one_end_comes_into_force_at_the_other() -> Result<()> {
    let chain = Chain::start().await?;
    chain.all_reach(1).await?;
    let subscriber = chain.mesh.zone("east").subscribe(&["orders.**"]).await?;
    chain.mesh.knows("east", "orders.**").await?;
    let west = chain.mesh.zone("west");
    let reply = west.publisher().publish("orders.secret", &Draft::new(json!({}))).await?;
    ensure!(reply.denied.is_empty() && reply.destinations == ["east-1"], "{reply:?}");

    // The federation at one end, the region at the other.
    chain.put("west", &chain.signer.federation(2, "", &closed(), &[])?)?;
    chain.put("east", &chain.signer.region(5, &closed(), REGION)?)?;
    chain.all_reach(2).await?;
    for zone in ["west", "middle", "east"] {
        eventually(&format!("{zone} has both, and knows that the others have"), WITHIN, || async {
            let view = chain.view(zone).await?;
            let region = view["bundles"]
                .as_array()
                .and_then(|all| all.iter().find(|one| one["layer"] == "region/eu-west"));
            ensure!(region.is_some_and(|region| region["active"] == 5), "{view}");
            ensure!(view["drift"]["count"] == 0 && view["recovering"] == false, "{view}");
            let metrics = chain.mesh.zone(zone).admin().metrics().await?;
            ensure!(metrics["meshbridge_policy_revision{layer=\"federation\"}"] == 2.0, "{metrics:?}");
            ensure!(metrics["meshbridge_policy_drift_bridges"] == 0.0, "{metrics:?}");
            Ok(())
        })
        .await
        .with_context(|| chain.mesh.story())?;
        let (status, health) = chain.mesh.zone(zone).admin().text("/healthz").await?;
        ensure!(status == 200 && health == "ok", "{health}");
    }
    for (topic, rule) in [("orders.secret", "open/no-secrets"), ("orders.draft", "eu/no-drafts")] {
        let reply = west.publisher().publish(topic, &Draft::new(json!({}))).await?;
        ensure!(reply.denied.iter().any(|denied| denied.by == rule), "{topic}: {reply:?}");
    }
    ensure!(!subscriber.has_ended(), "a reload disturbs no stream");

    let shown = chain.command("middle", &["policy", "bundles"])?;
    ensure!(shown.code == 0, "{shown:?}");
    let digits = |word: &str| if word.len() == 64 { "<digest>".to_owned() } else { word.to_owned() };
    let redacted: Vec<String> = shown
        .stdout
        .lines()
        .map(|line| line.split_whitespace().map(digits).collect::<Vec<_>>().join(" "))
        .collect();
    insta::assert_snapshot!("policy_bundles", redacted.join("\n"));
    let shown = chain.command("middle", &["policy", "bundles", "--output", "json"])?;
    let view: Value = serde_json::from_str(&shown.stdout)?;
    ensure!(shown.code == 0 && view["federationRevision"] == 2 && view["alarms"] == json!([]), "{view}");
    let peers = chain.command("middle", &["peers"])?;
    ensure!(peers.stdout.matches("in step").count() == 2, "{peers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_does_not_fit_keeps_the_old_generation_everywhere() -> Result<()> {
    let chain = Chain::start().await?;
    chain.all_reach(1).await?;
    let before = chain.view("east").await?["digest"].clone();
    // Its signer believes in a federation that permits more; here its permit could never take effect.
    let other = format!("{OPEN}    - {{name: bills, match: {{topics: [\"billing.**\"]}}, permit: {{}}}}\n");
    let permit = REGION.replace("orders.draft", "billing.new").replace("deny", "permit");
    chain.put("west", &chain.signer.region(1, &other, &permit)?)?;
    for zone in ["west", "middle", "east"] {
        let what = chain.alarms(zone, "bundle_refused", "region/eu-west").await?;
        ensure!(what.contains("P0203"), "{what}");
        let view = chain.view(zone).await?;
        ensure!(view["digest"] == before && view["generation"] == 1, "{view}");
        let admin = chain.mesh.zone(zone).admin();
        let (status, health) = admin.text("/healthz").await?;
        ensure!(status == 200 && health.contains("bundle_refused"), "{health}");
        let metrics = admin.metrics().await?;
        ensure!(metrics["meshbridge_policy_alarms{kind=\"bundle_refused\"}"] == 1.0, "{metrics:?}");
        ensure!(metrics["meshbridge_alarms_total{kind=\"bundle_refused\"}"] >= 1.0, "{metrics:?}");
        let policy = admin.json("/v1/policy").await?;
        ensure!(policy["last_error"].to_string().contains("P0203"), "{policy}");
    }
    let shown = chain.command("east", &["policy", "bundles"])?;
    ensure!(shown.code == 1 && shown.stderr.contains("alarm: bundle_refused region/eu-west"), "{shown:?}");
    // The right one under the next number ends it.
    chain.put("middle", &chain.signer.region(2, OPEN, REGION)?)?;
    for zone in ["west", "middle", "east"] {
        eventually(&format!("{zone} has no alarm"), WITHIN, || async {
            let view = chain.view(zone).await?;
            ensure!(view["alarms"] == json!([]) && view["digest"] != before, "{view}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_of_a_stranger_goes_nowhere() -> Result<()> {
    let chain = Chain::start().await?;
    chain.all_reach(1).await?;
    let plan = Plan::chain();
    let stranger = Signer::new(|keys| plan.federation(keys))?;
    chain.put("middle", &stranger.federation(9, "", &closed(), &[])?)?;
    let what = chain.alarms("middle", "bundle_unsigned", "federation.9.bundle").await?;
    ensure!(what.contains("by none of its keys"), "{what}");
    chain.put("east", &chain.signer.federation(2, "", OPEN, &[])?)?;
    chain.all_reach(2).await?;
    for zone in ["west", "east"] {
        let view = chain.view(zone).await?;
        ensure!(view["alarms"] == json!([]), "{view}");
    }
    Ok(())
}

/// A bridge that was taken over says that it holds what nobody signed, sends what was not asked for, and asks for more than
/// there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_lying_neighbour_keeps_nothing_away() -> Result<()> {
    let chain = Chain::start().await?;
    chain.all_reach(1).await?;
    chain.mesh.kill("east")?;
    let (middle, east) = (chain.mesh.zone("middle"), chain.mesh.zone("east"));
    let mut liar = HostilePeer::dial(&middle.peer, &east.config.with_file_name("tls")).await?;
    let federation = [&[10u8][..], b"federation"].concat();
    let mut invented: u64 = 1_000_000;
    for round in 0..50u8 {
        invented += 1;
        let digest = [round; 32];
        let held = [&[35, 1, 0, 1][..], &federation, &invented.to_be_bytes(), &digest].concat();
        liar.say(&held).await?;
        let part = [&[37, 1][..], &digest, &64u32.to_be_bytes(), &0u32.to_be_bytes(), &[7; 64]].concat();
        liar.say(&part).await?;
        for _ in 0..100 {
            liar.say(&[&[36, 1][..], &digest, &0u32.to_be_bytes()].concat()).await?;
        }
    }
    let what = chain.alarms("middle", "bundle_unsigned", "bridge east-1").await?;
    ensure!(!what.is_empty(), "an alarm says something");
    chain.put("west", &chain.signer.federation(2, "", OPEN, &[])?)?;
    chain.reaches("middle", 2).await?;
    let state = middle.admin().peer("west-1").await?.state;
    ensure!(state == "up", "the link with the honest one is {state}");
    // What is no message ends the link of who said it, and nothing else.
    drop(liar.say(&[35, 9, 0, 0]).await);
    eventually("the liar is cut off", WITHIN, || async {
        let peer = middle.admin().peer("east-1").await?;
        ensure!(peer.last_error.as_deref().is_some_and(|error| error.contains("version 9")), "{peer:?}");
        Ok(())
    })
    .await?;
    drop(liar);
    chain.mesh.restart("east").await?;
    chain.all_reach(2).await
}
