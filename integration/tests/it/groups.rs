//! Consumer groups over bridges: one member gets each event, here or elsewhere, whoever dies (T16, M38).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Draft, Member, Mesh, Node, Offers, Plan, eventually, http};
use reqwest::StatusCode;
use serde_json::{Value, json};

const WITHIN: Duration = Duration::from_secs(40);
const AT_ONCE: Duration = Duration::ZERO;
const TOPIC: &str = "orders.jobs.created";
const FILTER: &str = "filter=orders.jobs.**";

async fn publish(node: &Node, draft: &Draft) -> Result<Value> {
    let url = format!("{}/v1/topics/{TOPIC}", node.http);
    let request = http().post(url).header("content-type", "application/cloudevents+json");
    let reply = request.body(draft.structured().to_string()).send().await?;
    ensure!(reply.status() == StatusCode::ACCEPTED, "{}: {}", reply.status(), reply.text().await?);
    Ok(reply.json().await?)
}

async fn publish_many(node: &Node, count: usize) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for number in 0..count {
        // Bridges that are equally near share the partitions.
        let draft = Draft::new(json!({"job": number})).with("partitionkey", &number.to_string());
        publish(node, &draft).await?;
        ids.push(draft.id);
    }
    Ok(ids)
}

/// Until the bridge of `zone` knows that a member of the group is behind `owner`, or is not.
pub(crate) async fn knows(mesh: &Mesh, zone: &str, owner: &str, live: bool) -> Result<()> {
    let url = format!("{}/v1/interest", mesh.zone(zone).admin);
    eventually("news of the group", WITHIN, || async {
        let all: Value = http().get(&url).send().await?.json().await?;
        let sets = all["sets"].as_array().context("sets")?;
        let set = sets.iter().find(|set| set["bridge"] == owner).context("the set of the owner")?;
        let groups = set["groups"].as_array().context("groups")?;
        ensure!(groups.iter().any(|group| group["live"] == live), "{set}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

async fn all_acknowledged(mesh: &Mesh, offers: &Offers, ids: &[String]) -> Result<()> {
    eventually("every event has been acknowledged", WITHIN, || async {
        let done = offers.acknowledged();
        ensure!(done == ids.len(), "{done} of {}", ids.len());
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    offers.check(ids).with_context(|| mesh.story())
}

/// All accounts of all bridges balance, and nothing is left.
async fn balanced(mesh: &Mesh) -> Result<()> {
    for zone in mesh.zones() {
        let url = format!("{}/v1/delivery", mesh.zone(zone).admin);
        eventually("the accounts", WITHIN, || async {
            let delivery: Value = http().get(&url).send().await?.json().await?;
            let accounts = delivery["destinations"].as_array().context("destinations")?;
            let open = accounts.iter().find(|one| one["balanced"] != true || one["pending"] != 0);
            ensure!(open.is_none(), "{zone}: {delivery}");
            Ok(())
        })
        .await
        .with_context(|| mesh.story())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_zone_is_first_and_the_nearest_is_next() -> Result<()> {
    let mesh = Mesh::start(&Plan::chain(), 1).await?;
    let offers = Offers::default();
    let join =
        async |zone: &str| Member::join(&mesh.zone(zone), zone, "workers", FILTER, AT_ONCE, &offers).await;
    let east = join("east").await?;
    let middle = join("middle").await?;
    let west = join("west").await?;
    for owner in ["east-1", "middle-1"] {
        knows(&mesh, "west", owner, true).await?;
    }
    let mut ids = publish_many(&mesh.zone("west"), 20).await?;
    all_acknowledged(&mesh, &offers, &ids).await?;
    ensure!(offers.of("west") == 20, "the own zone comes first");
    west.leave();
    knows(&mesh, "middle", "west-1", false).await?;
    ids.extend(publish_many(&mesh.zone("west"), 20).await?);
    all_acknowledged(&mesh, &offers, &ids).await?;
    ensure!(offers.of("middle") == 20 && offers.of("east") == 0, "then the nearest");
    middle.leave();
    knows(&mesh, "west", "middle-1", false).await?;
    ids.extend(publish_many(&mesh.zone("west"), 20).await?);
    all_acknowledged(&mesh, &offers, &ids).await?;
    ensure!(offers.of("east") == 20, "then the one beyond");
    balanced(&mesh).await?;
    drop(east);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_take_waits_at_its_origin_for_a_member_anywhere() -> Result<()> {
    let mesh = Mesh::start(&Plan::chain(), 2).await?;
    let offers = Offers::default();
    let gone = Member::join(&mesh.zone("east"), "gone", "workers", FILTER, AT_ONCE, &offers).await?;
    knows(&mesh, "west", "east-1", true).await?;
    gone.leave();
    knows(&mesh, "west", "east-1", false).await?;
    let ids = publish_many(&mesh.zone("west"), 10).await?;
    mesh.kill("west")?;
    mesh.restart("west").await?;
    let late = Member::join(&mesh.zone("middle"), "late", "workers", FILTER, AT_ONCE, &offers).await?;
    all_acknowledged(&mesh, &offers, &ids).await?;
    ensure!(offers.of("late") == 10);
    balanced(&mesh).await?;
    drop(late);
    Ok(())
}

/// M38, T16
#[tokio::test(flavor = "multi_thread")]
async fn members_and_bridges_that_die_lose_nothing_and_repeat_nothing_unmarked() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("hub", "left"), ("hub", "right"), ("left", "right")]), 3).await?;
    let offers = Offers::default();
    let slow = Duration::from_millis(15);
    let join = async |zone: &str, name: &str| {
        Member::join(&mesh.zone(zone), name, "workers", FILTER, slow, &offers).await
    };
    let left = join("left", "left").await?;
    let other = join("left", "other").await?;
    let right = join("right", "right").await?;
    for owner in ["left-1", "right-1"] {
        knows(&mesh, "hub", owner, true).await?;
        // Both are equally near once the direct links are up.
        let hub = mesh.zone("hub").admin();
        eventually("the direct link", WITHIN, || async {
            let path = hub.route_to(owner).await?.path;
            ensure!(path.len() == 2, "{path:?}");
            Ok(())
        })
        .await?;
    }
    let mut ids = publish_many(&mesh.zone("hub"), 60).await?;
    // One of two members at a bridge, with events in hand.
    other.leave();
    ids.extend(publish_many(&mesh.zone("hub"), 60).await?);
    // The last one: the other bridge takes over.
    left.leave();
    knows(&mesh, "hub", "left-1", false).await?;
    ids.extend(publish_many(&mesh.zone("hub"), 60).await?);
    let back = join("left", "back").await?;
    knows(&mesh, "hub", "left-1", true).await?;
    ids.extend(publish_many(&mesh.zone("hub"), 60).await?);
    // A bridge with members, and what it holds.
    mesh.kill("right")?;
    ids.extend(publish_many(&mesh.zone("hub"), 60).await?);
    mesh.restart("right").await?;
    // The origin.
    mesh.kill("hub")?;
    mesh.restart("hub").await?;
    ids.extend(publish_many(&mesh.zone("hub"), 30).await?);
    all_acknowledged(&mesh, &offers, &ids).await?;
    balanced(&mesh).await?;
    offers.check(&ids)?;
    for member in ["left", "other", "right", "back"] {
        ensure!(offers.of(member) > 0, "`{member}` had nothing to do");
    }
    drop((back, right));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_deleted_at_one_bridge_goes_on_at_another() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), 6).await?;
    let west = mesh.zone("west");
    let offers = Offers::default();
    let busy = Duration::from_secs(600);
    let holder = Member::join(&west, "holder", "workers", FILTER, busy, &offers).await?;
    let east = Member::join(&mesh.zone("east"), "east", "workers", FILTER, AT_ONCE, &offers).await?;
    knows(&mesh, "west", "east-1", true).await?;
    let ids = publish_many(&west, 20).await?;
    eventually("the holder has one", WITHIN, || async {
        ensure!(offers.of("holder") > 0);
        Ok(())
    })
    .await?;
    holder.leave();
    let reply = http().delete(format!("{}/v1/subscriptions/workers", west.http)).send().await?;
    ensure!(reply.status() == StatusCode::NO_CONTENT, "{}", reply.status());
    all_acknowledged(&mesh, &offers, &ids).await?;
    ensure!(offers.of("east") == 20, "the other bridge has them all");
    balanced(&mesh).await?;
    drop(east);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_at_one_bridge_share_as_the_group_says() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), 4).await?;
    let (west, east) = (mesh.zone("west"), mesh.zone("east"));
    let sticky = Offers::default();
    let weighted = Offers::default();
    let mut members = Vec::new();
    for name in ["a", "b", "c"] {
        let query = format!("{FILTER}&strategy=sticky");
        members.push(Member::join(&east, name, "by-key", &query, AT_ONCE, &sticky).await?);
    }
    for (name, weight) in [("heavy", 3), ("light", 1)] {
        let query = format!("{FILTER}&strategy=weighted&weight={weight}");
        members.push(Member::join(&east, name, "by-weight", &query, AT_ONCE, &weighted).await?);
    }
    knows(&mesh, "west", "east-1", true).await?;
    // Two groups are two subscribers: each gets every event, over one copy of it.
    let mut ids = Vec::new();
    for number in 0..120 {
        let draft = Draft::new(json!({})).with("partitionkey", &format!("customer-{}", number % 12));
        let reply = publish(&west, &draft).await?;
        ensure!(reply["destinations"] == json!(["east-1"]), "{reply}");
        ids.push(draft.id);
    }
    all_acknowledged(&mesh, &sticky, &ids).await?;
    all_acknowledged(&mesh, &weighted, &ids).await?;
    let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for offer in sticky.snapshot().into_values().flatten() {
        owners.entry(offer.partition.context("every event has a key")?).or_default().insert(offer.member);
    }
    ensure!(owners.len() == 12 && owners.values().all(|members| members.len() == 1), "{owners:?}");
    let share = weighted.of("heavy");
    ensure!((70..=110).contains(&share), "three quarters of 120 are 90, not {share}");
    balanced(&mesh).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_keeps_its_kind_its_filters_and_its_owner() -> Result<()> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), 5).await?;
    let node = mesh.zone("west");
    let offers = Offers::default();
    let member = Member::join(&node, "m", "workers", FILTER, AT_ONCE, &offers).await?;
    for (query, status) in [
        ("group=workers&filter=orders.other.**", StatusCode::CONFLICT),
        ("group=workers&filter=orders.jobs.**&strategy=sticky", StatusCode::CONFLICT),
        ("subscription=workers&filter=orders.jobs.**", StatusCode::CONFLICT),
        ("group=workers&subscription=x&filter=orders.jobs.**", StatusCode::BAD_REQUEST),
        ("group=workers&filter=orders.jobs.**&strategy=best", StatusCode::BAD_REQUEST),
        ("group=workers&filter=orders.jobs.**&weight=0", StatusCode::BAD_REQUEST),
        ("filter=orders.jobs.**&strategy=sticky", StatusCode::BAD_REQUEST),
    ] {
        let reply = http().get(format!("{}/v1/stream?{query}", node.http)).send().await?;
        ensure!(reply.status() == status, "{query}: {}", reply.status());
    }
    let shown = http().get(format!("{}/v1/subscriptions/workers", node.http)).send().await?;
    let shown: Value = shown.json().await?;
    ensure!(shown["group"] == json!({"strategy": "round-robin", "members": 1}), "{shown}");
    drop(member);
    Ok(())
}
