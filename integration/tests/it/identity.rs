//! Who a bridge is, is in its certificate; whoever cannot show the right one gets no link, and the others do not notice.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{
    Admin, Draft, Federation, Node, Setup, Single, StandAlone, eventually, issue, stand_alone, throughout,
};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_the_federation_does_not_list_gets_no_link_with_a_good_certificate() -> Result<()> {
    let bridge = Single::start(Setup::default()).await?;
    let document = fs::read_to_string(bridge.path().join("federation.yaml"))?;
    let (_listed, its_admin) = dial(&bridge, "internal", "internal-1", &document)?;
    linked(&bridge, &its_admin).await?;
    let sessions = sessions(&bridge).await?;

    // Both are of the same authority, and right by their own copies of the document.
    let unlisted = document.replace(
        "  links:\n",
        "    - {id: rogue-1, zone: internal}\n  links:\n    - {from: rogue-1, to: dmz-1}\n",
    );
    let moved = document.replace("zone: internal}", "zone: lab}").replace(
        "    internal:",
        "    lab: {region: eu-west, cloud: onprem, jurisdiction: EU}\n    internal:",
    );
    for (zone, id, document, reason) in [
        ("internal", "rogue-1", unlisted, "the federation document lists no bridge `rogue-1`"),
        ("lab", "internal-1", moved, "`internal-1` is of zone `internal` by the federation document"),
    ] {
        let (rogue, admin) = dial(&bridge, zone, id, &document)?;
        bridge.logs(&["Peer refused", reason]).await.with_context(|| rogue.log())?;
        throughout("the rogue has no link", WATCHED, || async {
            // It may believe in its link until it hears the refusal, which is the first thing it hears.
            let believed = admin.peer("dmz-1").await?;
            ensure!(believed.received.control_bytes == 0 && believed.received.events == 0, "{believed:?}");
            let peers = bridge.admin().peers().await?;
            ensure!(peers.iter().all(|peer| peer.bridge == "internal-1" && peer.state == "up"), "{peers:?}");
            ensure!(bridge.admin().route_to("rogue-1").await.is_err(), "a route leads to the rogue");
            Ok(())
        })
        .await?;
        let shown = eventually("the refusal is shown", WATCHED, || async {
            admin.peer("dmz-1").await?.last_error.context("no error")
        });
        shown.await.with_context(|| rogue.log())?;
    }
    ensure!(self::sessions(&bridge).await? == sessions, "the true bridge lost its link for a while");
    Ok(())
}

/// Sessions with `internal-1` so far.
async fn sessions(bridge: &Single) -> Result<f64> {
    let name = r#"meshbridge_link_sessions_total{peer="internal-1"}"#;
    let all = bridge.admin().metrics().await?;
    all.get(name).copied().with_context(|| format!("{name} is not among {all:?}"))
}

/// Runs a bridge that dials the one of the test, with a certificate of the same authority and a federation document of its own.
fn dial(bridge: &Single, zone: &str, id: &str, document: &str) -> Result<(StandAlone, Admin)> {
    let base = bridge.path().join(format!("{zone}-{id}"));
    fs::create_dir_all(base.join("policies"))?;
    issue(&bridge.path().join("ca"), &base.join("tls"), &["--zone", zone, "--bridge", id])?;
    fs::write(base.join("federation.yaml"), document)?;
    fs::copy(bridge.path().join("policies/open.yaml"), base.join("policies/open.yaml"))?;
    let admin = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = format!(
        "apiVersion: meshbridge/v1
kind: Bridge
metadata: {{name: {id}}}
spec:
  zone: {zone}
  federation: federation.yaml
  tls: {{certificate: tls/cert.pem, key: tls/key.pem, ca: ../ca/ca.pem}}
  peering: {{listen: \"127.0.0.1:0\"}}
  peers:
    - {{bridge: dmz-1, address: \"{}\"}}
  admin: {{listen: \"{admin}\"}}
  policy: {{directories: [policies]}}
",
        bridge.peer
    );
    let file = base.join("bridge.yaml");
    fs::write(&file, config)?;
    Ok((stand_alone(&file)?, Admin::new(&format!("http://{admin}"))))
}

async fn linked(bridge: &Single, dialler: &Admin) -> Result<()> {
    eventually("the listed bridge has its link", Duration::from_secs(20), || async {
        let (here, there) = (bridge.admin().peer("internal-1").await?, dialler.peer("dmz-1").await?);
        ensure!(here.state == "up" && there.state == "up", "{here:?}, {there:?}");
        Ok(())
    })
    .await
    .with_context(|| bridge.log())
}
