//! T23 and T24: zones are cut off, wholly or one way, and come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Fault, Mesh, Plan, Schedule, Step, Way, Weather, eventually};

use super::{Scene, share};

/// T24: a one-way cut is noticed at both ends.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
const BACK_WITHIN: Duration = Duration::from_secs(20);

/// Two cuts at a time part a ring.
#[tokio::test(flavor = "multi_thread")]
async fn a_healed_partition_has_lost_nothing() -> Result<()> {
    let zones = ["r0", "r1", "r2", "r3", "r4"];
    let scene = Scene::start(&Plan::ring(), &zones, true).await?;
    let cut = |from: &str, to: &str| Fault::Weather {
        from: from.to_owned(),
        to: to.to_owned(),
        ways: Way::BOTH.to_vec(),
        weather: Weather::cut(),
    };
    let sides =
        [vec![cut("r0", "r1"), cut("r1", "r2")], vec![cut("r2", "r3"), cut("r3", "r4"), cut("r4", "r0")]];
    let mut seed = scene.seed;
    let schedules = sides.map(|menu| {
        seed = seed.wrapping_add(1);
        Schedule::random(seed, &menu, share(4), 200..1_000, 3_000..6_000)
    });
    scene.judge(&schedules, 200).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_way_cut_loses_nothing() -> Result<()> {
    let scene = Scene::start(&Plan::chain(), &["west", "east"], true).await?;
    let menu: Vec<Fault> = Way::BOTH
        .into_iter()
        .flat_map(|way| [one_way("west", "middle", way), one_way("middle", "east", way)])
        .collect();
    // Each of them, whatever is drawn after.
    let each = menu.iter().map(|fault| Step {
        after: Duration::from_millis(500),
        fault: fault.clone(),
        lasts: Duration::from_secs(4),
    });
    let more = Schedule::random(scene.seed, &menu, share(6), 500..1_500, 500..5_000);
    let steps = each.chain(more.steps().iter().cloned()).collect();
    let schedule = Schedule::new(scene.seed, steps);
    scene.judge(&[schedule], 200).await?;
    Ok(())
}

/// What links alone promise.
#[tokio::test(flavor = "multi_thread")]
async fn a_one_way_cut_is_seen_at_both_ends() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), 1).await?;
    let relay = mesh.relay("west", "east");
    for way in Way::BOTH {
        relay.set(way, Weather::cut());
        mesh.note(&format!("cut {way:?}"));
        at_both_ends(&mesh, SEEN_WITHIN, false).await?;
        relay.heal();
        mesh.note("healed");
        at_both_ends(&mesh, BACK_WITHIN, true).await?;
    }
    Ok(())
}

async fn at_both_ends(mesh: &Mesh, within: Duration, is_up: bool) -> Result<()> {
    for (zone, peer) in [("west", "east-1"), ("east", "west-1")] {
        let admin = mesh.zone(zone).admin();
        eventually(&format!("the link is up at {zone}: {is_up}"), within, || async {
            let peer = admin.peer(peer).await?;
            ensure!((peer.state == "up") == is_up, "{peer:?}");
            Ok(())
        })
        .await
        .with_context(|| mesh.story())?;
    }
    Ok(())
}

fn one_way(from: &str, to: &str, way: Way) -> Fault {
    Fault::Weather { from: from.to_owned(), to: to.to_owned(), ways: vec![way], weather: Weather::cut() }
}
