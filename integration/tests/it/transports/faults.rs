//! Streams that are cut, frozen, throttled, reset or half closed; and bridges that die beside.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Fault, Mesh, PAYLOAD_BYTES, Plan, Schedule, Way, Weather, eventually};
use serde_json::json;

use super::{FILTER, WITHIN, over, sessions};
use crate::durability::{Scene, kills, share};

/// T1 over TCP.
#[tokio::test(flavor = "multi_thread")]
async fn killed_bridges_over_tcp_lose_nothing_and_repeat_nothing() -> Result<()> {
    let zones = ["west", "middle", "east"];
    let scene = Scene::start_rigged(&Plan::chain(), &zones, true, &over("tcp"), PAYLOAD_BYTES).await?;
    let menu = zones.map(|zone| Fault::Kill { zone: zone.to_owned() });
    let schedule = Schedule::random(scene.seed(), &menu, kills(), 200..1_500, 0..800);
    scene.judge(&[schedule], 20 * kills() as u64).await?;
    Ok(())
}

/// T12, T23 and T24 over TCP, in a diamond: the bridges in between lose their disks while links are cut, both ways and one way, and throttled.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_over_tcp_loses_nothing_and_repeats_nothing() -> Result<()> {
    let scene =
        Scene::start_rigged(&Plan::diamond(), &["west", "east"], true, &over("tcp"), PAYLOAD_BYTES).await?;
    let weather = |from: &str, to: &str, ways: &[Way], weather: Weather| Fault::Weather {
        from: from.to_owned(),
        to: to.to_owned(),
        ways: ways.to_vec(),
        weather,
    };
    let slow =
        Weather { bytes_per_second: Some(64 << 10), delay: Duration::from_millis(30), ..Weather::default() };
    let wires = vec![
        weather("west", "north", &Way::BOTH, Weather::cut()),
        weather("south", "east", &[Way::Forward], Weather::cut()),
        weather("west", "south", &[Way::Backward], Weather::cut()),
        weather("north", "east", &Way::BOTH, slow),
    ];
    let deaths = ["north", "south"].map(|zone| Fault::Wipe { zone: zone.to_owned() });
    let seed = scene.seed();
    let schedules = [
        Schedule::random(seed, &wires, share(3), 300..1_000, 1_000..3_000),
        Schedule::random(!seed, &deaths, share(4), 500..2_000, 0..2_000),
        Schedule::random(
            seed ^ 7,
            &[Fault::Kill { zone: "west".to_owned() }, Fault::Kill { zone: "east".to_owned() }],
            share(6),
            1_000..3_000,
            0..500,
        ),
    ];
    scene.judge(&schedules, 100).await?;
    Ok(())
}

/// What breaks a stream is seen at both ends at once, not after the silence of two seconds, and mended.
#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_end_the_link_at_once_and_it_comes_back() -> Result<()> {
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 1, &over("tcp")).await?;
    let ends = [(mesh.zone("west").admin(), "east-1"), (mesh.zone("east").admin(), "west-1")];
    let subscriber = mesh.zone("east").subscribe(&[FILTER]).await?;
    mesh.knows("east", FILTER).await?;
    let relay = mesh.relay("west", "east");
    let strikes: [(&str, &dyn Fn()); 3] = [
        ("reset", &|| relay.reset()),
        ("half closed forward", &|| relay.half_close(Way::Forward)),
        ("half closed backward", &|| relay.half_close(Way::Backward)),
    ];
    for (what, strike) in strikes {
        let mut before = Vec::new();
        for (admin, peer) in &ends {
            before.push(sessions(admin, peer).await?);
        }
        let connections = relay.connections();
        let struck = Instant::now();
        strike();
        mesh.note(what);
        for ((admin, peer), before) in ends.iter().zip(before) {
            eventually(&format!("a new session after the old one was {what}"), WITHIN, || async {
                ensure!(sessions(admin, peer).await? > before, "no new session with {peer}");
                ensure!(admin.peer(peer).await?.state == "up", "the link is down");
                Ok(())
            })
            .await
            .with_context(|| mesh.story())?;
        }
        let took = struck.elapsed();
        ensure!(took < Duration::from_millis(1_900), "{what}: {took:?}, as if by silence\n{}", mesh.story());
        ensure!(relay.connections() == connections + 9, "{what}: one session, nine connections");
        let event = Draft::new(json!({}));
        mesh.zone("west").publisher().publish("orders.made", &event).await?;
        subscriber.wait_for(&event.id).await.with_context(|| mesh.story())?;
    }
    Ok(())
}

/// A hello does not wait behind the events that a slow wire has not carried yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_link_stays_up_under_load() -> Result<()> {
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 1, &over("tcp")).await?;
    let (west, east) = (mesh.zone("west").admin(), mesh.zone("east").admin());
    let subscriber = mesh.zone("east").subscribe(&[FILTER]).await?;
    mesh.knows("east", FILTER).await?;
    let before = sessions(&west, "east-1").await?;
    mesh.relay("west", "east")
        .set(Way::Forward, Weather { bytes_per_second: Some(256 << 10), ..Weather::default() });
    let publisher = mesh.zone("west").publisher();
    let mut last = String::new();
    // About eight seconds of the wire, for each of the lanes that these sources make.
    for round in 0..20 {
        let data = json!({"filling": "x".repeat(100 << 10)});
        let events: Vec<Draft> = (0..10)
            .map(|n| {
                let mut event = Draft::new(data.clone());
                event.source = format!("/sources/{}", (round * 10 + n) % 8);
                event
            })
            .collect();
        last = events.last().expect("ten").id.clone();
        publisher.publish_batch("orders.large", &events).await?;
    }
    subscriber.wait_for_within(&last, Duration::from_secs(120)).await.with_context(|| mesh.story())?;
    for (admin, peer) in [(&west, "east-1"), (&east, "west-1")] {
        ensure!(sessions(admin, peer).await? == before, "the link went down: {}", mesh.story());
    }
    Ok(())
}

/// Silence, which no stream tells of, is noticed by the hellos.
#[tokio::test(flavor = "multi_thread")]
async fn frozen_streams_are_noticed_and_left() -> Result<()> {
    let mesh = Mesh::start_rigged(&Plan::new(&[("west", "east")]), 1, &over("tcp")).await?;
    let relay = mesh.relay("west", "east");
    for way in Way::BOTH {
        relay.set(way, Weather::cut());
        for (zone, peer) in [("west", "east-1"), ("east", "west-1")] {
            let admin = mesh.zone(zone).admin();
            eventually(&format!("{zone} notices"), Duration::from_secs(10), || async {
                ensure!(admin.peer(peer).await?.state != "up");
                Ok(())
            })
            .await
            .with_context(|| mesh.story())?;
        }
        relay.heal();
        mesh.connected().await?;
    }
    Ok(())
}
