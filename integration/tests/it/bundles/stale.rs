//! `minRevision`: who judges by old policies is not heard, and loses nothing.

use super::*;

use meshbridge_integration::Draft;
use serde_json::json;

/// Fits revision 1 of the federation, and not the later ones, which permit no bills: their permit could never take effect.
const OWN: &str = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: own, layer: zone/west}\nspec:\n  rules:\n    - {name: bills, match: {topics: [\"billing.**\"], at: egress}, permit: {}}\n    - {name: orders, match: {topics: [\"orders.**\"]}, permit: {}}\n";
const EVENTS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_stale_bridge_wait_and_are_delivered_once_it_has_caught_up() -> Result<()> {
    let bills = format!("{OPEN}    - {{name: bills, match: {{topics: [\"billing.**\"]}}, permit: {{}}}}\n");
    let files =
        [("west", "plain/own.yaml", OWN), ("middle", "plain/README", ""), ("east", "plain/README", "")];
    let chain = Chain::with(&bills, ", directories: [plain]", &files).await?;
    chain.all_reach(1).await?;
    chain.put("east", &chain.signer.federation(2, "", OPEN, &[])?)?;
    chain.reaches("middle", 2).await?;
    let what = chain.alarms("west", "bundle_refused", "federation").await?;
    ensure!(what.contains("P0203") && chain.view("west").await?["federationRevision"] == 1, "{what}");
    // One release after the one it names.
    chain.put("east", &chain.signer.federation(3, "  minRevision: 2\n", OPEN, &[])?)?;
    chain.reaches("middle", 3).await?;
    chain.reaches("east", 3).await?;
    let seen = chain.command("east", &["policy", "bundles"])?;
    ensure!(seen.code == 1 && seen.stderr.contains("west-1 does not run by the newest bundles"), "{seen:?}");

    let subscriber = chain.mesh.zone("east").subscribe(&["orders.**"]).await?;
    chain.mesh.knows("east", "orders.**").await?;
    let west = chain.mesh.zone("west");
    let mut expected = Vec::new();
    for number in 0..EVENTS {
        let draft = Draft::new(json!({"n": number}));
        expected.push(draft.id.clone());
        let reply = west.publisher().publish("orders.new", &draft).await?;
        ensure!(reply.destinations == ["east-1"], "{reply:?}");
    }
    eventually("they are refused on their way", WITHIN, || async {
        let metrics = chain.mesh.zone("middle").admin().metrics().await?;
        let refused =
            metrics.get("meshbridge_events_dropped_total{intentional=\"true\",reason=\"stale_policy\"}");
        ensure!(refused.is_some_and(|refused| *refused >= EVENTS as f64), "{refused:?}");
        Ok(())
    })
    .await
    .with_context(|| chain.mesh.story())?;
    let before = account(&chain).await?;
    ensure!(before["pending"] == EVENTS && before["denied"] == 0, "it settles nothing: {before}");
    ensure!(chain.mesh.log("west").contains("stale-policy"), "{}", chain.mesh.story());

    // What kept it back goes; nobody touches the events.
    std::fs::remove_file(west.config.with_file_name("plain").join("own.yaml"))?;
    chain.reaches("west", 3).await?;
    for id in &expected {
        subscriber.wait_for_within(id, Duration::from_secs(60)).await.with_context(|| chain.mesh.story())?;
    }
    let got: Vec<String> = subscriber.received().iter().map(|one| one.id().to_owned()).collect();
    ensure!(got == expected, "each once, in order: {got:?}");
    eventually("the account balances", WITHIN, || async {
        let account = account(&chain).await?;
        ensure!(
            account["pending"] == 0 && account["sent"] == EVENTS && account["balanced"] == true,
            "{account}"
        );
        Ok(())
    })
    .await
}

async fn account(chain: &Chain) -> Result<Value> {
    let answer = chain.mesh.zone("west").admin().json("/v1/delivery").await?;
    let all = answer["destinations"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["destination"] == "east-1").with_context(|| answer.to_string())
}

#[tokio::test]
async fn plain_directories_do_not_go_together_with_a_least_revision() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let text = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: acme}\nspec:\n  zones: {a: {region: eu}}\n  bridges: [{id: a-1, zone: a}]\n  links: []\n  minRevision: 2\n";
    std::fs::write(directory.path().join("federation.yaml"), text)?;
    let config = directory.path().join("bridge.yaml");
    let bridge = "apiVersion: meshbridge/v1\nkind: Bridge\nmetadata: {name: a-1}\nspec:\n  zone: a\n  federation: federation.yaml\n  tls: {certificate: c, key: k, ca: a}\n  peering: {listen: \"127.0.0.1:0\"}\n  admin: {listen: \"127.0.0.1:0\"}\n  policy: POLICY\n";
    for (policy, words) in [
        ("{directories: [policies]}", "minRevision 2, and plain directories are revision 0"),
        ("{bundles: bundles}", "needs `policy.root`"),
        ("{directories: [policies], root: x}", "add `policy.bundles`"),
        ("{keys: {}}", "needs `directories` or `bundles`"),
    ] {
        std::fs::write(&config, bridge.replace("POLICY", policy))?;
        let output = meshbridge(&["run", "--config", &config.display().to_string()], WITHIN)?;
        ensure!(output.code == 3 && output.stderr.contains(words), "{policy}: {output:?}");
    }
    Ok(())
}
