//! Who a bridge is, is in its certificate; whoever cannot show the right one gets no link, and the others do not notice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Federation, Node, StandAlone, eventually, stand_alone, throughout};
use serde_json::json;

/// Long enough for several attempts of the dialling side, which starts again well within a second.
const WATCHED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_of_another_authority_gets_no_link() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    // The same names, and another authority behind them.
    let other = Federation::example("three-zones").await?;
    let impostor = other.zone("cloud-us").config;
    check_refused(&federation, |config, node| {
        let with_key =
            replace_path(config, &node.config, "certificate", &path_in(&impostor, "certificate")?)?;
        replace_path(&with_key, &node.config, "key", &path_in(&impostor, "key")?)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_with_the_certificate_of_another_gets_no_link() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let stolen = federation.zone("internal").config;
    check_refused(&federation, |config, node| {
        let with_key = replace_path(config, &node.config, "certificate", &path_in(&stolen, "certificate")?)?;
        replace_path(&with_key, &node.config, "key", &path_in(&stolen, "key")?)
    })
    .await
}

/// Runs a changed `cloud-us-1` in place of the true one, sees that it gets no link while the others go on, and that the true one would.
async fn check_refused(
    federation: &Federation,
    change: impl Fn(&str, &Node) -> Result<String>,
) -> Result<()> {
    let (dmz, internal, victim) =
        (federation.zone("dmz"), federation.zone("internal"), federation.zone("cloud-us"));
    federation.kill(&victim.bridge)?;
    eventually("the link is down", Duration::from_secs(10), || async {
        let peer = dmz.admin().peer("cloud-us-1").await?;
        ensure!(peer.state != "up", "{peer:?}");
        Ok(())
    })
    .await?;
    let subscriber = dmz.subscribe(&["orders.**"]).await?;
    federation.knows("dmz-1", "orders.**").await?;

    let impostor = run_changed(&victim, &change)?;
    throughout("the impostor has no link", WATCHED, || async {
        let peer = dmz.admin().peer("cloud-us-1").await?;
        ensure!(peer.state != "up", "{peer:?}; {}", impostor.log());
        Ok(())
    })
    .await?;
    let peer = dmz.admin().peer("cloud-us-1").await?;
    ensure!(peer.last_error.is_some(), "the refusal is shown: {peer:?}");
    ensure!(dmz.admin().peer("internal-1").await?.state == "up", "the good link stays up");
    let event = Draft::new(json!({}));
    internal.publisher().publish("orders.eu.created", &event).await?;
    subscriber.wait_for(&event.id).await?;
    drop(impostor);

    let true_one = stand_alone(&victim.config)?;
    eventually("the true bridge has its link again", Duration::from_secs(20), || async {
        let peer = dmz.admin().peer("cloud-us-1").await?;
        ensure!(peer.state == "up", "{peer:?}; {}", true_one.log());
        Ok(())
    })
    .await
}

fn run_changed(node: &Node, change: &impl Fn(&str, &Node) -> Result<String>) -> Result<StandAlone> {
    let config = change(&fs::read_to_string(&node.config)?, node)?;
    let file = node.config.with_file_name("impostor.yaml");
    fs::write(&file, config)?;
    stand_alone(&file)
}

/// The value of a key that holds a path, as written.
fn written(config: &str, key: &str) -> Result<String> {
    let marker = format!("{key}:");
    let start = config.find(&marker).with_context(|| format!("no {key} in {config}"))? + marker.len();
    let value = config[start..].split([',', '}', '\n']).next().unwrap_or_default();
    Ok(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The absolute path that a key of a configuration file means.
fn path_in(file: &Path, key: &str) -> Result<PathBuf> {
    let value = written(&fs::read_to_string(file)?, key)?;
    let path = file.parent().context("a configuration is in a directory")?.join(value);
    ensure!(path.is_file(), "{} is no file", path.display());
    Ok(path)
}

fn replace_path(config: &str, file: &Path, key: &str, with: &Path) -> Result<String> {
    let old = written(config, key)?;
    ensure!(path_in(file, key)? != with, "{key} would stay as it is");
    Ok(config.replacen(&old, &with.display().to_string(), 1))
}
