//! Policies are replaced while the bridges run, all or nothing.

mod under_load;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Federation, Node, Reply, eventually, signal};
use serde_json::{Value, json};

const FREEZE: &str = "
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: freeze, layer: federation}
spec:
  rules:
    - name: no-orders-today
      match: {topics: [\"orders.**\"]}
      deny: {}
      message: stocktaking
";
const RELOADED_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_rule_is_in_force_after_the_file_changed() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let _subscriber = federation.zone("dmz").subscribe(&["orders.**"]).await?;
    federation.knows("dmz-1", "orders.**").await?;
    let internal = federation.zone("internal");
    let before = internal.admin().json("/v1/policy").await?;
    ensure!(publish(&internal).await?.denied.is_empty(), "orders are permitted at first");
    fs::write(policies(&internal)?.join("90-freeze.yaml"), FREEZE)?;
    until_denied_by(&internal, "freeze/no-orders-today").await.with_context(|| federation.log())?;
    let after = internal.admin().json("/v1/policy").await?;
    ensure!(after["digest"] != before["digest"], "{after}");
    ensure!(after["generation"].as_u64() > before["generation"].as_u64(), "{before} became {after}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_loads_what_is_there() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let internal = federation.zone("internal");
    let before = internal.admin().json("/v1/policy").await?["generation"].as_u64();
    fs::write(policies(&internal)?.join("90-freeze.yaml"), FREEZE)?;
    signal(internal.pid, "HUP")?;
    eventually("a new generation", RELOADED_WITHIN, || async {
        let now = internal.admin().json("/v1/policy").await?;
        ensure!(now["generation"].as_u64() > before, "{now}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_keeps_the_running_generation() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let subscriber = federation.zone("dmz").subscribe(&["orders.**"]).await?;
    federation.knows("dmz-1", "orders.**").await?;
    let internal = federation.zone("internal");
    let before = internal.admin().json("/v1/policy").await?;
    let file = policies(&internal)?.join("90-freeze.yaml");
    fs::write(&file, FREEZE.replace("deny", "denny"))?;
    signal(internal.pid, "HUP")?;
    let failed = eventually("the failure is shown", RELOADED_WITHIN, || async {
        let now = internal.admin().json("/v1/policy").await?;
        ensure!(!now["last_error"].is_null(), "{now}");
        Ok(now)
    })
    .await
    .with_context(|| federation.log())?;
    ensure!(
        failed["digest"] == before["digest"] && failed["generation"] == before["generation"],
        "{before} became {failed}"
    );
    ensure!(failed["last_error"].to_string().contains("90-freeze.yaml"), "{failed}");
    let reply = publish(&internal).await?;
    ensure!(reply.destinations == ["dmz-1"], "{reply:?}");
    ensure!(!subscriber.has_ended(), "a failed reload disturbs no stream");

    fs::write(&file, FREEZE)?;
    signal(internal.pid, "HUP")?;
    until_denied_by(&internal, "freeze/no-orders-today").await?;
    let mended = internal.admin().json("/v1/policy").await?;
    ensure!(mended["last_error"] == Value::Null, "{mended}");
    Ok(())
}

async fn publish(node: &Node) -> Result<Reply> {
    node.publisher().publish("orders.eu.created", &Draft::new(json!({}))).await
}

async fn until_denied_by(node: &Node, rule: &str) -> Result<()> {
    eventually(&format!("{rule} denies"), RELOADED_WITHIN, || async {
        let reply = publish(node).await?;
        ensure!(reply.denied.iter().any(|denied| denied.by == rule), "{reply:?}");
        Ok(())
    })
    .await
}

/// The first policy directory that a node's configuration names.
pub(crate) fn policies(node: &Node) -> Result<PathBuf> {
    let text = fs::read_to_string(&node.config)?;
    let list = text.split("directories:").nth(1).with_context(|| text.clone())?;
    let first = list.split(['[', ']', ',', '\n', '-']).map(str::trim).find(|item| !item.is_empty());
    let named = first.with_context(|| text.clone())?.trim_matches(['"', '\'']);
    let directory = node.config.parent().context("the configuration is in a directory")?.join(named);
    ensure!(directory.is_dir(), "{} is a directory", directory.display());
    Ok(directory)
}
