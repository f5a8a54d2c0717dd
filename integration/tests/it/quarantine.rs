//! What a rule quarantines is held at its origin: pending, listed, over every crash, until a person releases it, refuses
//! it, nobody does so in time, or the rule is gone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{
    Draft, Member, Mesh, Node, Offers, Output, Plan, eventually, http, meshbridge, throughout,
};
use serde_json::{Value, json};

use crate::delivery::{make, next, open, settle};

const WITHIN: Duration = Duration::from_secs(30);
const COMMAND_WITHIN: Duration = Duration::from_secs(20);
const FAR: &str = "east-1";

/// Of the zone where it is published, at the border alone: the destination knows nothing of it.
const GATE: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: gate, layer: zone/west}
spec:
  rules:
    - {name: look-first, match: {at: egress, topics: ["orders.held.**"]}, deny: {}, onViolation: quarantine, message: "somebody looks at ${topic}"}
    - {name: suspects, match: {at: egress, topics: ["orders.mixed"], when: 'event.type == "suspect"'}, deny: {}, onViolation: quarantine}
    - {name: never, match: {at: egress, topics: ["orders.held.never"]}, deny: {}, onViolation: dead-letter}
"#;
/// Of the federation, at the same border.
const ABOVE: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: above, layer: federation}
spec:
  rules:
    - {name: look-too, match: {at: egress, topics: ["orders.held.twice"]}, deny: {}, onViolation: quarantine}
"#;

/// `west` and `east`, where `west` has the gate, and whoever asks at its admin port may release what `layers` hold.
async fn mesh(layers: &str, section: &str) -> Result<Mesh> {
    let mesh = Mesh::start(&Plan::new(&[("west", "east")]), 7).await?;
    mesh.kill("west")?;
    let config = mesh.zone("west").config;
    fs::write(config.with_file_name("policies").join("gate.yaml"), GATE)?;
    fs::write(config.with_file_name("policies").join("above.yaml"), ABOVE)?;
    let text = fs::read_to_string(&config)?;
    let admin = text.lines().find(|line| line.starts_with("  admin: ")).context("the section admin")?;
    let may = admin.trim_end_matches('}').to_owned() + &format!(", releasers: {{anonymous: [{layers}]}}}}");
    fs::write(&config, format!("{}  quarantine: {{{section}}}\n", text.replace(admin, &may)))?;
    mesh.restart("west").await?;
    mesh.connected().await?;
    ensure!(make(&mesh.zone("east"), "box", "orders.**").await? == 201);
    mesh.knows("east", "orders.**").await?;
    Ok(mesh)
}

pub(crate) async fn publish(node: &Node, topic: &str, event: &Draft, query: &str) -> Result<Value> {
    let url = format!("{}/v1/topics/{topic}{query}", node.http);
    let request = http().post(url).header("content-type", "application/cloudevents+json");
    let reply = request.body(event.structured().to_string()).send().await?;
    ensure!(reply.status() == 202, "{}: {}", reply.status(), reply.text().await?);
    Ok(reply.json().await?)
}

fn quarantine(node: &Node, arguments: &[&str]) -> Result<Output> {
    let all: Vec<&str> =
        ["quarantine"].iter().chain(arguments).chain(&["--admin", &node.admin]).copied().collect();
    meshbridge(&all, COMMAND_WITHIN)
}

/// What is held at the bridge, as the command prints it.
pub(crate) fn held(node: &Node) -> Result<Vec<Value>> {
    let output = quarantine(node, &["list", "--output", "json"])?;
    ensure!(output.code == 0, "{}", output.stderr);
    let mut answer: Value = serde_json::from_str(&output.stdout)?;
    ensure!(answer["unlisted"] == 0, "{answer}");
    Ok(serde_json::from_value(answer["entries"].take())?)
}

/// Waits until the event with this id is held, and gives its entry.
pub(crate) async fn until_held(mesh: &Mesh, id: &str) -> Result<Value> {
    let node = mesh.zone("west");
    eventually(&format!("{id} is held"), WITHIN, || async {
        let all = held(&node)?;
        all.iter().find(|one| one["eventId"] == id).cloned().with_context(|| format!("{all:?}"))
    })
    .await
    .with_context(|| mesh.story())
}

pub(crate) fn ruled(node: &Node, what: &str, entry: &Value, reason: &str) -> Result<()> {
    let id = entry["id"].as_str().context("an id")?;
    let output = quarantine(node, &[what, id, "--reason", reason])?;
    ensure!(output.code == 0 && output.stdout.ends_with(": 1\n"), "{output:?}");
    Ok(())
}

async fn account(node: &Node) -> Result<Value> {
    let answer = node.admin().json("/v1/delivery").await?;
    ensure!(answer["balanced"] == true, "{answer}");
    let all = answer["destinations"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().find(|one| one["destination"] == FAR).unwrap_or_default())
}

async fn until_account(mesh: &Mesh, expected: &Value) -> Result<()> {
    let node = mesh.zone("west");
    eventually(&format!("the account is {expected}"), WITHIN, || async {
        let account = account(&node).await?;
        let fits =
            expected.as_object().is_some_and(|all| all.iter().all(|(key, value)| account[key] == *value));
        ensure!(fits, "{account}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

/// Ids of the events that the subscription in the east gets until this one comes, which ends the test.
pub(crate) async fn read_until(mesh: &Mesh, last: &str) -> Result<Vec<String>> {
    let east = mesh.zone("east");
    let mut stream = open(&east, "filter=orders.**&subscription=box&ack=manual").await?;
    let (mut rest, mut seen) = (String::new(), Vec::new());
    loop {
        let (token, event) = next(&mut stream, &mut rest).await.with_context(|| format!("{seen:?}"))?;
        settle(&east, "box", "ack", &token).await?;
        let id = event["id"].as_str().context("an id")?.to_owned();
        seen.push(id.clone());
        if id == last {
            return Ok(seen);
        }
    }
}

/// Publishes something that nobody holds; what came before it was sent before it.
pub(crate) async fn mark(mesh: &Mesh) -> Result<String> {
    let event = Draft::new(json!({}));
    publish(&mesh.zone("west"), "orders.free", &event, "").await?;
    Ok(event.id)
}

/// Records of rulings in the decision log of the bridge.
async fn rulings(node: &Node) -> Result<Vec<Value>> {
    let data = node.config.with_file_name("data").display().to_string();
    let arguments = ["audit", "export", &data];
    eventually("a ruling is on record", WITHIN, || async {
        let output = meshbridge(&arguments, COMMAND_WITHIN)?;
        let all = output.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let all: Vec<Value> = all.into_iter().filter(|record| record["ruling"].is_object()).collect();
        ensure!(!all.is_empty(), "{}", output.stderr);
        Ok(all)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantined_event_is_pending_over_a_crash_until_a_person_releases_it() -> Result<()> {
    let mesh = mesh("zone/west", "").await?;
    let event = Draft::new(json!({"n": 1}));
    let west = mesh.zone("west");
    let reply = publish(&west, "orders.held.one", &event, "?ack=delivered&timeout=1").await?;
    ensure!(reply["held"] == json!([{"destination": FAR, "by": "gate/look-first"}]), "{reply}");
    ensure!(reply["destinations"] == json!([FAR]) && reply["denied"] == json!([]), "{reply}");
    ensure!(reply["ack"]["missing"] == json!([FAR]) && reply["ack"]["level"] == "stored", "{reply}");
    let entry = until_held(&mesh, &event.id).await?;
    ensure!(entry["rule"] == "gate/look-first" && entry["layer"] == "zone/west", "{entry}");
    ensure!(
        entry["message"] == "somebody looks at orders.held.one" && entry["destination"] == FAR,
        "{entry}"
    );
    ensure!(!entry.to_string().contains("\"n\""), "no value of the event is shown: {entry}");
    ensure!(west.admin().metrics().await?["meshbridge_quarantine_held"] == 1.0);

    mesh.kill("west")?;
    mesh.restart("west").await?;
    let again = until_held(&mesh, &event.id).await?;
    ensure!(again == entry, "another entry after the crash: {again}, before {entry}");
    let west = mesh.zone("west");
    until_account(&mesh, &json!({"sent": 1, "pending": 1, "unsettled": 1})).await?;
    let key = percent(reply["key"].as_str().context("a key")?);
    let trace = west.admin().json(&format!("/v1/events/{key}")).await?;
    let expected = json!([{"destination": FAR, "state": "pending", "why": "quarantined"}]);
    ensure!(trace["destinations"] == expected, "{trace}");
    throughout("nothing is sent", Duration::from_secs(2), || async {
        ensure!(account(&west).await?["pending"] == 1);
        Ok(())
    })
    .await?;

    ruled(&west, "release", &entry, "checked with legal")?;
    until_account(&mesh, &json!({"sent": 1, "delivered": 0, "unsettled": 0})).await?;
    let last = mark(&mesh).await?;
    let seen = read_until(&mesh, &last).await?;
    ensure!(seen == [event.id.clone(), last], "it comes once: {seen:?}");
    ensure!(held(&west)?.is_empty());
    until_account(&mesh, &json!({"sent": 2, "delivered": 2, "pending": 0})).await?;
    let records = rulings(&west).await?;
    let ruling =
        json!({"what": "release", "key": entry["key"], "destination": FAR, "reason": "checked with legal"});
    ensure!(records.len() == 1 && records[0]["ruling"] == ruling, "{records:?}");
    ensure!(
        records[0]["principal"] == "anonymous" && records[0]["by"]["rule"] == "gate/look-first",
        "{records:?}"
    );
    let metrics = west.admin().metrics().await?;
    ensure!(metrics["meshbridge_quarantine_ended_total{how=\"released\"}"] == 1.0);
    // What was said has done its work.
    let file = west.config.with_file_name("data").join("quarantine.jsonl");
    eventually("the ruling leaves its file", WITHIN, || async {
        ensure!(fs::read_to_string(&file)?.lines().count() == 2, "{}", fs::read_to_string(&file)?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_not_forgotten_by_a_crash_before_the_destination_can_be_reached() -> Result<()> {
    let mesh = mesh("zone/west", "").await?;
    mesh.kill("east")?;
    let west = mesh.zone("west");
    let (event, other) = (Draft::new(json!({})), Draft::new(json!({})));
    publish(&west, "orders.held.one", &event, "").await?;
    publish(&west, "orders.held.two", &other, "").await?;
    let entry = until_held(&mesh, &event.id).await?;
    until_held(&mesh, &other.id).await?;
    ruled(&west, "release", &entry, "checked")?;
    mesh.kill("west")?;
    mesh.restart("west").await?;
    mesh.restart("east").await?;
    mesh.connected().await?;
    until_held(&mesh, &other.id).await?;
    until_account(&mesh, &json!({"sent": 2, "pending": 2, "unsettled": 1})).await?;
    let last = mark(&mesh).await?;
    let seen = read_until(&mesh, &last).await?;
    ensure!(seen == [event.id, last], "the one that was released, once: {seen:?}");
    let all = held(&mesh.zone("west"))?;
    ensure!(all.len() == 1 && all[0]["eventId"] == other.id, "{all:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_in_the_way_of_nobody_behind_it() -> Result<()> {
    let mesh = mesh("zone/west", "").await?;
    let of = |ty: &str| Draft { ty: ty.to_owned(), ..Draft::new(json!({})) };
    let all = ["fine", "suspect", "suspect", "fine", "fine"].map(of);
    for event in &all {
        // One lane, for topic and source are the same.
        publish(&mesh.zone("west"), "orders.mixed", event, "").await?;
    }
    let seen = read_until(&mesh, &all[4].id).await?;
    ensure!(seen == [0, 3, 4].map(|at: usize| all[at].id.clone()), "{seen:?}");
    let entry = until_held(&mesh, &all[2].id).await?;
    mesh.kill("west")?;
    mesh.restart("west").await?;
    mesh.connected().await?;
    // A later run of the origin does not wait for what it holds of an earlier one.
    let later = of("fine");
    publish(&mesh.zone("west"), "orders.mixed", &later, "").await?;
    ensure!(read_until(&mesh, &later.id).await? == [later.id]);
    until_held(&mesh, &all[1].id).await?;
    ruled(&mesh.zone("west"), "release", &entry, "not suspect after all")?;
    ensure!(read_until(&mesh, &all[2].id).await? == std::slice::from_ref(&all[2].id));
    until_account(&mesh, &json!({"sent": 6, "delivered": 5, "pending": 1})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_event_is_denied_by_the_rule_that_held_it() -> Result<()> {
    // Nobody may release anything here; to refuse takes no right.
    let mesh = mesh("region/eu-west", "").await?;
    let west = mesh.zone("west");
    let event = Draft::new(json!({}));
    let (node, draft) = (west.clone(), event.clone());
    let publisher =
        tokio::spawn(
            async move { publish(&node, "orders.held.one", &draft, "?ack=delivered&timeout=25").await },
        );
    let entry = until_held(&mesh, &event.id).await?;
    let id = entry["id"].as_str().context("an id")?;
    let output = quarantine(&west, &["refuse", id, "--reason", " "])?;
    ensure!(output.code == 1 && output.stderr.contains("a reason"), "{output:?}");
    ruled(&west, "refuse", &entry, "not to be shared")?;
    let reply = publisher.await??;
    let expected =
        json!([{"destination": FAR, "outcome": "denied", "why": "gate/look-first: not to be shared"}]);
    ensure!(reply["ack"]["outcomes"] == expected && reply["ack"]["missing"] == json!([]), "{reply}");
    until_account(&mesh, &json!({"sent": 1, "denied": 1, "pending": 0})).await?;
    ensure!(held(&west)?.is_empty());
    let output = quarantine(&west, &["refuse", id, "--reason", "again"])?;
    ensure!(output.code == 1 && output.stderr.contains(&format!("nothing is held as `{id}`")), "{output:?}");
    let records = rulings(&west).await?;
    ensure!(records.len() == 1 && records[0]["ruling"]["what"] == "refuse", "{records:?}");
    ensure!(records[0]["verdict"] == "reject", "{records:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_about_in_time_is_a_dead_letter() -> Result<()> {
    let mesh = mesh("zone/west", "timeoutSecs: 3").await?;
    let west = mesh.zone("west");
    let event = Draft::new(json!({}));
    let reply = publish(&west, "orders.held.one", &event, "?ack=delivered&timeout=20").await?;
    let expected = json!([{"destination": FAR, "outcome": "dead-lettered", "why": "quarantine-timeout: gate/look-first"}]);
    ensure!(reply["ack"]["outcomes"] == expected, "{reply}");
    until_account(&mesh, &json!({"sent": 1, "deadLettered": 1, "pending": 0})).await?;
    let letters = west.admin().dead_letters().await?;
    let letter = letters.iter().find(|letter| letter["id"] == event.id).context("a dead letter")?;
    ensure!(letter["by"] == "gate/look-first" && letter["disposition"] == "quarantine", "{letter}");
    ensure!(held(&west)?.is_empty());
    let records = rulings(&west).await?;
    ensure!(records[0]["ruling"]["what"] == "timeout" && records[0]["principal"].is_null(), "{records:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn under_policies_that_do_not_hold_it_any_more_it_goes_by_itself() -> Result<()> {
    let mesh = mesh("zone/west", "").await?;
    let west = mesh.zone("west");
    let event = Draft::new(json!({}));
    publish(&west, "orders.held.one", &event, "").await?;
    until_held(&mesh, &event.id).await?;
    fs::remove_file(policies(&west.config).join("gate.yaml"))?;
    until_account(&mesh, &json!({"sent": 1, "unsettled": 0})).await?;
    ensure!(held(&west)?.is_empty());
    let last = mark(&mesh).await?;
    let seen = read_until(&mesh, &last).await?;
    ensure!(seen == [event.id, last], "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_takes_the_layer_of_the_rule_and_waives_no_other() -> Result<()> {
    let mesh = mesh("zone/west", "").await?;
    let west = mesh.zone("west");
    let (twice, never) = (Draft::new(json!({})), Draft::new(json!({})));
    publish(&west, "orders.held.twice", &twice, "").await?;
    publish(&west, "orders.held.never", &never, "").await?;
    let entry = until_held(&mesh, &twice.id).await?;
    ensure!(entry["rule"] == "above/look-too" && entry["layer"] == "federation", "the outermost: {entry}");
    let allowed = until_held(&mesh, &never.id).await?;
    let ids = [&allowed, &entry].map(|entry| entry["id"].as_str().unwrap_or_default());
    let output = quarantine(&west, &["release", ids[0], ids[1], "--reason", "both or none"])?;
    ensure!(output.code == 1 && output.stderr.contains("a principal of layer `federation`"), "{output:?}");
    ensure!(held(&west)?.len() == 2, "nothing was released");

    // A stop that nobody can release stays one.
    ruled(&west, "release", &allowed, "looks fine")?;
    until_account(&mesh, &json!({"sent": 2, "deadLettered": 1, "pending": 1})).await?;
    let key = percent(allowed["key"].as_str().context("a key")?);
    let expected = json!([{"destination": FAR, "state": "dead-lettered", "why": "gate/never"}]);
    // Told when it is durable.
    eventually("its end is told", WITHIN, || async {
        let trace = west.admin().json(&format!("/v1/events/{key}")).await?;
        ensure!(trace["destinations"] == expected, "{trace}");
        Ok(())
    })
    .await?;

    // Who may release what the one rule holds meets the next one.
    let text = fs::read_to_string(&west.config)?;
    fs::write(&west.config, text.replace("[zone/west]", "[federation]"))?;
    mesh.kill("west")?;
    mesh.restart("west").await?;
    let west = mesh.zone("west");
    ruled(&west, "release", &until_held(&mesh, &twice.id).await?, "fine for the federation")?;
    eventually("the zone holds it now", WITHIN, || async {
        let all = held(&west)?;
        ensure!(all.len() == 1 && all[0]["rule"] == "gate/look-first", "{all:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_releases_is_known_by_the_token_of_the_admin_port() -> Result<()> {
    let mesh = mesh("zone/west", "").await?;
    let west = mesh.zone("west");
    let event = Draft::new(json!({}));
    publish(&west, "orders.held.one", &event, "").await?;
    let entry = until_held(&mesh, &event.id).await?;
    mesh.kill("west")?;
    let [officer, clerk] = [(); 2].map(|()| format!("{:032x}", rand::random::<u128>()));
    let tokens = json!({"tokens": [{"token": officer, "principal": "officer"}, {"token": clerk, "principal": "clerk"}]});
    fs::write(west.config.with_file_name("tokens.yaml"), tokens.to_string())?;
    let text = fs::read_to_string(&west.config)?;
    let known = "tokens: tokens.yaml, releasers: {officer: [zone/west], clerk: [region/eu-west]}";
    fs::write(&west.config, text.replace("releasers: {anonymous: [zone/west]}", known))?;
    mesh.start_failing("west", "")?;
    let files = [("officer", &officer), ("clerk", &clerk)].map(|(name, token)| {
        let path = west.config.with_file_name(format!("{name}.token"));
        fs::write(&path, token).map(|()| path.display().to_string())
    });
    let [officer, clerk] = files;
    let (officer, clerk) = (officer?, clerk?);
    eventually("it is held again", WITHIN, || async {
        let output = quarantine(&west, &["list", "--token-file", &clerk])?;
        ensure!(output.stdout.contains("gate/look-first"), "{output:?}");
        Ok(())
    })
    .await?;
    let id = entry["id"].as_str().context("an id")?;
    let output = quarantine(&west, &["release", id, "--reason", "x", "--token-file", &clerk])?;
    let refused = "`clerk` may not release what rule `gate/look-first` holds: that takes a principal of layer `zone/west`";
    ensure!(output.code == 1 && output.stderr.contains(refused), "{output:?}");
    let output = quarantine(&west, &["release", id, "--reason", "x", "--token-file", &officer])?;
    ensure!(output.code == 0 && output.stdout == "released: 1\n", "{output:?}");
    ensure!(read_until(&mesh, &event.id).await? == std::slice::from_ref(&event.id));
    let records = rulings(&west).await?;
    ensure!(records.len() == 1 && records[0]["principal"] == "officer", "{records:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_a_group_waits_at_its_bridge_for_a_person() -> Result<()> {
    let mesh = mesh("zone/west", "").await?;
    let east = mesh.zone("east");
    let url = format!("{}/v1/subscriptions/box", east.http);
    ensure!(http().delete(url).send().await?.status().is_success());
    let offers = Offers::default();
    let member = Member::join(&east, "one", "workers", "filter=orders.**", Duration::ZERO, &offers).await?;
    let west = mesh.zone("west");
    eventually("the member is known", WITHIN, || async {
        let sets = west.admin().json("/v1/interest").await?["sets"].take();
        ensure!(
            sets.to_string().contains("\"live\":true") && !sets.to_string().contains("\"live\":false"),
            "{sets}"
        );
        Ok(())
    })
    .await?;
    let event = Draft::new(json!({}));
    let reply = publish(&west, "orders.held.one", &event, "").await?;
    ensure!(reply["held"] == json!([{"destination": FAR, "by": "gate/look-first"}]), "{reply}");
    let entry = until_held(&mesh, &event.id).await?;
    ensure!(offers.snapshot().is_empty());
    ruled(&west, "release", &entry, "let it work")?;
    eventually("a member has it", WITHIN, || async {
        ensure!(offers.acknowledged() == 1, "{offers:?}");
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    offers.check(&[event.id])?;
    until_account(&mesh, &json!({"sent": 1, "delivered": 1, "pending": 0})).await?;
    drop(member);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_reads_well_and_a_wrong_layer_does_not_start() -> Result<()> {
    let mesh = mesh("zone/west", "").await?;
    let west = mesh.zone("west");
    let output = quarantine(&west, &["list"])?;
    ensure!(output.stdout == "ID  RULE  LAYER  TOPIC  EVENTID  SINCE  UNTIL\n", "{output:?}");
    let event = Draft::new(json!({}));
    publish(&west, "orders.held.one", &event, "").await?;
    until_held(&mesh, &event.id).await?;
    let output = quarantine(&west, &["list", "--rule", "gate/look-first"])?;
    let row = output.stdout.lines().nth(1).unwrap_or_default();
    let cells: Vec<&str> = row.split_whitespace().collect();
    ensure!(
        cells.len() == 7 && cells[1..5] == ["gate/look-first", "zone/west", "orders.held.one", &event.id],
        "{row}"
    );
    ensure!(quarantine(&west, &["list", "--rule", "gate/other"])?.stdout.lines().count() == 1);
    ensure!(quarantine(&west, &["release", "--reason", "x"])?.code == 2, "neither ids nor a rule");
    ensure!(quarantine(&west, &["release", "zz", "--reason", "x"])?.code == 1);
    let output = quarantine(&west, &["release", "--rule", "gate/look-first", "--reason", "all of them"])?;
    ensure!(output.code == 0 && output.stdout == "released: 1\n", "{output:?}");

    mesh.kill("west")?;
    let text = fs::read_to_string(&west.config)?;
    fs::write(&west.config, text.replace("[zone/west]", "[zones/west]"))?;
    let config = west.config.display().to_string();
    let output = meshbridge(&["run", "--config", &config], COMMAND_WITHIN)?;
    ensure!(
        output.code == 3 && output.stderr.contains("`zones/west` of `anonymous` is no layer"),
        "{output:?}"
    );
    Ok(())
}

pub(crate) fn policies(config: &Path) -> std::path::PathBuf {
    config.with_file_name("policies")
}

pub(crate) fn percent(text: &str) -> String {
    text.replace(':', "%3A")
}
