//! T25: packets are lost, repeated, overtaken, late and too large.

use std::time::Duration;

use anyhow::{Result, ensure};
use meshbridge_integration::{Fault, Plan, Schedule, Way, Weather};

use super::{Scene, share};

/// As bad as T25 has it; hellos come too late now and then, so links go down as well.
const STORM: Weather = Weather {
    loss: 0.3,
    duplicate: 0.1,
    reorder: 0.2,
    delay: Duration::from_millis(10),
    jitter: Duration::from_secs(2),
    is_cut: false,
    bytes_per_second: None,
    mtu: Some(1_200),
};
/// Bad, and nothing a link may fall over.
const DRIZZLE: Weather = Weather {
    loss: 0.02,
    duplicate: 0.1,
    reorder: 0.1,
    delay: Duration::from_millis(2),
    jitter: Duration::from_millis(20),
    ..STORM
};

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_packets_loses_nothing_and_repeats_nothing() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "east"], true).await?;
    let schedules = [("west", "middle"), ("middle", "east")].map(|(from, to)| {
        let (from, to) = (from.to_owned(), to.to_owned());
        let menu = [Fault::Weather { from, to, ways: Way::BOTH.to_vec(), weather: STORM }];
        Schedule::random(scene.seed, &menu, share(6), 100..500, 3_000..6_000)
    });
    scene.judge(&schedules, 50).await?;
    Ok(())
}

/// QUIC alone mends this: no link goes down, and nothing is for delivery to repair.
#[tokio::test(flavor = "multi_thread")]
async fn a_drizzle_of_packets_is_mended_by_the_links() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "east"], false).await?;
    for (_, _, relay) in scene.mesh.relays() {
        relay.set_both(DRIZZLE);
    }
    scene.run_for(300).await?;
    for (from, to, relay) in scene.mesh.relays() {
        for way in Way::BOTH {
            let packets = relay.traffic(way);
            let has_all = packets.lost > 0 && packets.duplicated > 0 && packets.reordered > 0;
            ensure!(has_all, "{from}–{to} {way:?}: {packets:?}");
        }
    }
    scene.judge(&[], 300).await?;
    Ok(())
}
