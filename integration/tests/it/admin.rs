//! The admin port: what it shows, and to whom.

use std::time::Duration;

use anyhow::{Result, ensure};
use meshbridge_integration::{Draft, Federation, eventually, http, stand_alone};
use serde_json::json;
use std::fs;

#[tokio::test(flavor = "multi_thread")]
async fn state_is_shown_as_json() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let _subscriber = federation.zone("cloud-us").subscribe(&["orders.**"]).await?;
    federation.knows("cloud-us-1", "orders.**").await?;
    let admin = federation.zone("internal").admin();
    let peers = admin.peers().await?;
    ensure!(peers.len() == 1 && peers[0].bridge == "dmz-1" && peers[0].direction == "dialled", "{peers:?}");
    let dmz = federation.zone("dmz").admin().peers().await?;
    ensure!(dmz.len() == 2, "both links of the DMZ are listed, whoever dials: {dmz:?}");
    let route = admin.route_to("cloud-us-1").await?;
    ensure!(route.path.iter().any(|id| id == "dmz-1"), "{route:?}");
    let routes = admin.json("/v1/routes").await?;
    let distant =
        routes["routes"].as_array().into_iter().flatten().find(|route| route["bridge"] == "cloud-us-1");
    ensure!(
        distant
            .is_some_and(|route| route["cost"] == 60 && route["hops"] == 2 && route["next_hop"] == "dmz-1"),
        "{routes}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let internal = federation.zone("internal");
    let subscriber = federation.zone("dmz").subscribe(&["orders.**"]).await?;
    federation.knows("dmz-1", "orders.**").await?;
    for _ in 0..5 {
        let event = Draft::new(json!({}));
        internal.publisher().publish("orders.a", &event).await?;
        subscriber.wait_for(&event.id).await?;
        internal.publisher().publish("nobody.wants", &Draft::new(json!({}))).await?;
    }
    let metrics = internal.admin().metrics().await?;
    let value = |name: &str| {
        metrics.iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum::<f64>()
    };
    ensure!(value("meshbridge_events_published_total") == 10.0, "{metrics:?}");
    ensure!(value("meshbridge_events_unrouted_total") == 5.0, "{metrics:?}");
    let sent = metrics.iter().find(|(name, _)| {
        name.starts_with("meshbridge_link_events_total")
            && name.contains("\"dmz-1\"")
            && name.contains("\"sent\"")
    });
    ensure!(sent.is_some_and(|(_, events)| *events == 5.0), "{metrics:?}");
    ensure!(
        metrics.keys().all(|name| !name.contains("orders.a") && !name.contains("nobody")),
        "a topic became a label"
    );
    eventually("the delivery is counted", Duration::from_secs(5), || async {
        let metrics = federation.zone("dmz").admin().metrics().await?;
        let delivered: f64 = metrics
            .iter()
            .filter(|(name, _)| name.starts_with("meshbridge_events_delivered_total"))
            .map(|(_, value)| value)
            .sum();
        ensure!(delivered == 5.0, "{delivered}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_on_another_page_is_refused() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let admin = federation.zone("internal").admin;
    let status = async |name: &str, value: &str| -> Result<u16> {
        Ok(http().get(format!("{admin}/v1/peers")).header(name, value).send().await?.status().as_u16())
    };
    for (name, value) in [("host", "rebound.example.com"), ("origin", "https://evil.example.com")] {
        let refused = status(name, value).await?;
        ensure!(matches!(refused, 400 | 403 | 421), "{name}: {value} is answered {refused}");
    }
    let port = admin.rsplit(':').next().unwrap_or_default();
    ensure!(status("host", &format!("localhost:{port}")).await? == 200, "localhost is the same machine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_the_admin_port_demands_mutual_tls() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let node = federation.zone("cloud-us");
    federation.kill(&node.bridge)?;
    let config = fs::read_to_string(&node.config)?;
    let address = node.admin.trim_start_matches("http://");
    let open = config.replace(address, &address.replace("127.0.0.1", "0.0.0.0"));
    ensure!(open != config, "{config} names {address}");
    let file = node.config.with_file_name("open-admin.yaml");
    fs::write(&file, open)?;
    let bridge = std::sync::Mutex::new(stand_alone(&file)?);
    let code = eventually("the bridge refuses to start", Duration::from_secs(10), || async {
        let mut bridge = bridge.lock().expect("not poisoned");
        bridge.exit_code()?.ok_or_else(|| anyhow::anyhow!("it runs: {}", bridge.log()))
    })
    .await?;
    let log = bridge.lock().expect("not poisoned").log();
    ensure!(code != 0 && log.contains("admin"), "exit code {code}: {log}");
    Ok(())
}
