//! Links over TCP do what links over QUIC do, and a link that may choose takes what gets through.

mod failover;
mod faults;
mod hostile;
mod identity;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{
    Admin, Draft, Federation, Mesh, Options, Plan, Rigging, Way, Weather, eventually, repository, throughout,
};
use serde_json::json;

const WITHIN: Duration = Duration::from_secs(20);
const FILTER: &str = "orders.**";

fn over(transport: &'static str) -> Rigging {
    Rigging { transport: Some(transport), ..Rigging::default() }
}

/// The link with this peer is up, and this carries it.
async fn carried_by(admin: &Admin, peer: &str, transport: &str, within: Duration) -> Result<()> {
    eventually(&format!("{transport} carries the link with {peer}"), within, || async {
        let seen = admin.peer(peer).await?;
        ensure!(seen.state == "up" && seen.transport.as_deref() == Some(transport), "{seen:?}");
        Ok(())
    })
    .await
}

async fn sessions(admin: &Admin, peer: &str) -> Result<f64> {
    let name = format!("meshbridge_link_sessions_total{{peer=\"{peer}\"}}");
    let all = admin.metrics().await?;
    all.get(&name).copied().with_context(|| format!("{name} is not among {all:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federation_over_tcp_carries_events_and_says_so() -> Result<()> {
    let example = repository().join("topology-examples/three-zones");
    let options = Options { transport: Some("tcp"), ..Options::default() };
    let federation = Federation::up(&example, options).await?;
    let (internal, dmz) = (federation.zone("internal"), federation.zone("dmz"));
    let subscriber = dmz.subscribe(&[FILTER]).await?;
    federation.knows("dmz-1", FILTER).await?;
    for _ in 0..20 {
        let event = Draft::new(json!({}));
        internal.publisher().publish("orders.eu.created", &event).await?;
        subscriber.wait_for(&event.id).await.with_context(|| federation.log())?;
    }
    for (admin, peer) in [(internal.admin(), "dmz-1"), (dmz.admin(), "internal-1")] {
        carried_by(&admin, peer, "tcp", WITHIN).await?;
        let metrics = admin.metrics().await?;
        let carried = |transport: &str| {
            metrics.get(&format!("meshbridge_link_transport{{peer=\"{peer}\",transport=\"{transport}\"}}"))
        };
        ensure!(carried("tcp") == Some(&1.0) && carried("quic") == Some(&0.0), "{metrics:?}");
        ensure!(sessions(&admin, peer).await? == 1.0, "one session for a link");
    }
    Ok(())
}

/// What the dialler may choose it chooses rightly, both ways, and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_falls_back_to_tcp_where_udp_is_blocked_and_goes_back() -> Result<()> {
    let rigging = Rigging { peering: ", quicRetrySecs: 1".to_owned(), ..over("auto") };
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 1, &rigging).await?;
    let (west, east) = (mesh.zone("west").admin(), mesh.zone("east").admin());
    let relay = mesh.relay("west", "east");
    carried_by(&west, "east-1", "quic", WITHIN).await?;
    // A peer that is only just starting may be dialled over TCP too. It is not taken: a session is nine connections.
    ensure!(relay.connections() <= 1, "TCP was taken although QUIC answered");
    let subscriber = mesh.zone("east").subscribe(&[FILTER]).await?;
    mesh.knows("east", FILTER).await?;
    let mut published = Vec::new();

    Way::BOTH.into_iter().for_each(|way| relay.set_udp(way, Weather::cut()));
    mesh.note("UDP is blocked");
    carried_by(&west, "east-1", "tcp", WITHIN).await.with_context(|| mesh.story())?;
    carried_by(&east, "west-1", "tcp", WITHIN).await.with_context(|| mesh.story())?;
    let before = sessions(&west, "east-1").await?;
    let publish = async |count: usize, ids: &mut Vec<String>| {
        for _ in 0..count {
            let event = Draft::new(json!({}));
            mesh.zone("west").publisher().publish("orders.made", &event).await?;
            ids.push(event.id);
        }
        anyhow::Ok(())
    };
    publish(20, &mut published).await?;
    throughout("the link stays on TCP while UDP is blocked", Duration::from_secs(4), || async {
        let seen = west.peer("east-1").await?;
        ensure!(seen.transport.as_deref() == Some("tcp") && seen.last_error.is_none(), "{seen:?}");
        let seen = east.peer("west-1").await?;
        ensure!(seen.state == "up" && seen.last_error.is_none(), "{seen:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    ensure!(sessions(&west, "east-1").await? == before, "trials of QUIC cost sessions: {}", mesh.story());

    relay.heal();
    mesh.note("UDP is open");
    publish(20, &mut published).await?;
    for (admin, peer) in [(&west, "east-1"), (&east, "west-1")] {
        carried_by(admin, peer, "quic", WITHIN).await.with_context(|| mesh.story())?;
    }
    publish(20, &mut published).await?;
    throughout("the link stays on QUIC", Duration::from_secs(4), || async {
        let seen = west.peer("east-1").await?;
        ensure!(seen.state == "up" && seen.transport.as_deref() == Some("quic"), "{seen:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    ensure!(sessions(&west, "east-1").await? == before + 1.0, "one more session: {}", mesh.story());
    for id in &published {
        subscriber.wait_for(id).await.with_context(|| mesh.story())?;
    }
    ensure!(subscriber.received().len() == published.len(), "an event came twice");
    Ok(())
}

/// A bridge that starts where UDP never worked, and one that does not listen on TCP.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_allowed_is_tried() -> Result<()> {
    let plan = Plan::new(&[("west", "east")]);
    let mesh = Mesh::start_rigged(&plan, 1, &over("quic")).await?;
    let relay = mesh.relay("west", "east");
    Way::BOTH.into_iter().for_each(|way| relay.set_udp(way, Weather::cut()));
    let west = mesh.zone("west").admin();
    eventually("the link is down", WITHIN, || async {
        let seen = west.peer("east-1").await?;
        ensure!(seen.state != "up" && seen.transport.as_deref() == Some("quic"), "{seen:?}");
        Ok(())
    })
    .await?;
    throughout("it stays down", Duration::from_secs(4), || async {
        ensure!(west.peer("east-1").await?.state != "up");
        Ok(())
    })
    .await?;
    ensure!(relay.connections() == 0, "TCP was dialled");
    drop(mesh);

    let rigging = Rigging { peering: ", tcp: false".to_owned(), ..over("auto") };
    let mesh = Mesh::start_rigged(&plan, 1, &rigging).await?;
    carried_by(&mesh.zone("west").admin(), "east-1", "quic", WITHIN).await?;
    let refused = tokio::net::TcpStream::connect(&mesh.zone("east").peer).await;
    ensure!(refused.is_err(), "it listens on TCP");
    Ok(())
}
