//! What one client does, or says of itself, is no harm to another one; order and rules hold where things go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use meshbridge_integration::{Draft, eventually, meshbridge, throughout};

use super::protocol::talk;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_off_takes_nobody_elses_interest_along_and_what_was_said_before_counts() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "prices.kept").await?;
    let mut said_before = subscribe(&federation, "till-1", &far, "prices.before").await?;
    // What may end before it was announced: one reading brings both.
    for _ in 0..20 {
        let text = b"CONNECT {}\r\nSUB prices.kept 1\r\nNONSENSE\r\n";
        let said = talk(&federation.bridge("till-1").nats, text, "never").await?;
        ensure!(said.contains("Unknown Protocol Operation"), "{said}");
    }
    throughout("the interest of the one that stays is known", Duration::from_secs(1), || async {
        let known = federation.bridge("shop-1").admin().interest_of("till-1").await?;
        ensure!(known.iter().any(|filter| filter == "prices.kept"), "{known:?}");
        Ok(())
    })
    .await?;
    near.publish("prices.kept", "x".into()).await?;
    ensure!(next(&mut subscriber).await?.payload == "x");
    let text = b"CONNECT {}\r\nPUB prices.before 1\r\ny\r\nNONSENSE\r\n";
    talk(&federation.bridge("shop-1").nats, text, "never").await?;
    ensure!(next(&mut said_before).await?.payload == "y");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_of_servers_are_no_topics() -> Result<()> {
    let federation = federation().await?;
    let near = client(&federation, "shop-1").await?;
    let nobody = near.request("$JS.API.INFO", "".into()).await;
    ensure!(format!("{:?}", nobody.err()).contains("NoResponders"), "a request to a server that is not here");
    let address = federation.bridge("shop-1").nats;
    let text = b"CONNECT {}\r\nPUB $JS.API.STREAM.DELETE.a 0\r\n\r\nSUB $SYS.> 1\r\nPING\r\n";
    let said = talk(&address, text, "PONG").await?;
    for expected in [
        "Permissions Violation for Publish to \"$JS.API.STREAM.DELETE.a\"",
        "Permissions Violation for Subscription to \"$SYS.>\"",
    ] {
        ensure!(said.contains(expected), "{expected}: {said}");
    }
    Ok(())
}

/// What no train may hold goes its own way, and what comes behind it stays behind it.
#[tokio::test(flavor = "multi_thread")]
async fn requests_among_messages_keep_their_place() -> Result<()> {
    const ROUNDS: usize = 50;
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "prices.order").await?;
    let mut here = near.subscribe("prices.order").await?;
    near.flush().await?;
    let mut text = "CONNECT {}\r\n".to_owned();
    for round in 0..ROUNDS {
        for (at, reply) in ["", "_INBOX.one ", "", "_INBOX.two "].iter().enumerate() {
            let payload = format!("{:04}", round * 4 + at);
            text.push_str(&format!("PUB prices.order {reply}4\r\n{payload}\r\n"));
        }
    }
    text.push_str("PING\r\n");
    talk(&federation.bridge("shop-1").nats, text.as_bytes(), "PONG").await?;
    for number in 0..4 * ROUNDS {
        for subscriber in [&mut here, &mut subscriber] {
            let message = next(subscriber).await?;
            ensure!(message.payload == format!("{number:04}"), "{number}: {message:?}");
        }
    }
    Ok(())
}

/// Rules decide what comes to a topic; answers of the bridge itself come to inboxes alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_bridge_is_no_way_around_the_rules() -> Result<()> {
    let federation = federation().await?;
    let bridge = federation.bridge("shop-1");
    let near = client(&federation, "shop-1").await?;
    let (mut orders, mut prices) = (near.subscribe("orders.>").await?, near.subscribe("prices.>").await?);
    let web = bridge.subscribe(&["orders.**"]).await?;
    near.flush().await?;
    let connect = "CONNECT {\"headers\":true,\"no_responders\":true}\r\n";
    let text = format!(
        "{connect}PUB $X orders.forged 0\r\n\r\nPUB closed.door prices.forged 1\r\nx\r\nPUB orders.sevenths orders.forged 8\r\n{{\"n\": 0}}\r\nPING\r\n"
    );
    talk(&bridge.nats, text.as_bytes(), "PONG").await?;
    near.publish("prices.last", "last".into()).await?;
    near.publish("orders.last", "last".into()).await?;
    for subscriber in [&mut orders, &mut prices] {
        let message = next(subscriber).await?;
        ensure!(message.payload == "last", "{message:?}");
    }
    let heard = eventually("the last one came", WAIT, || async {
        let heard = web.received();
        ensure!(!heard.is_empty());
        Ok(heard)
    })
    .await?;
    ensure!(heard.len() == 1, "{heard:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_bridges_may_say_is_refused_to_publishers() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "prices.forged").await?;
    for (name, value) in [("meshbridgereply", "_REPLY.ask.till-1.AAAA 0"), ("meshbridgestatus", "503")] {
        let headers = format!(
            "NATS/1.0\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\nce-type: t\r\nce-{name}: {value}\r\n\r\n"
        );
        let length = headers.len();
        let text = format!(
            "CONNECT {{\"headers\":true}}\r\nHPUB prices.forged {length} {length}\r\n{headers}\r\nPING\r\n"
        );
        let said = talk(&federation.bridge("shop-1").nats, text.as_bytes(), "PONG").await?;
        ensure!(said.contains("only bridges may set it"), "{name}: {said}");
    }
    let forged = Draft::new(serde_json::json!(1)).with("meshbridgereply", "_REPLY.ask.till-1.AAAA 0");
    let refused = federation.bridge("shop-1").publisher().publish("prices.forged", &forged).await;
    ensure!(refused.is_err(), "{refused:?}");
    near.publish("prices.forged", "honest".into()).await?;
    let message = next(&mut subscriber).await?;
    ensure!(message.payload == "honest" && message.reply.is_none(), "{message:?}");
    Ok(())
}

/// A life that was asked for is observed, or the publisher is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_is_no_time_is_refused_and_one_that_is_over_is_called_so() -> Result<()> {
    let federation = federation().await?;
    let said = async |topic: &str, end: &str, until: &str| {
        let headers = format!(
            "NATS/1.0\r\nce-specversion: 1.0\r\nce-id: {end}\r\nce-source: /s\r\nce-type: t\r\nce-expirytime: {end}\r\n\r\n"
        );
        let length = headers.len();
        let text = format!(
            "CONNECT {{\"headers\":true}}\r\nSUB _INBOX.me.* 1\r\nHPUB {topic} _INBOX.me.1 {length} {length}\r\n{headers}\r\nPING\r\n"
        );
        talk(&federation.bridge("shop-1").nats, text.as_bytes(), until).await
    };
    for end in ["never", "2026-13-01T00:00:00Z", "2026-12-01", "1790000000"] {
        let durable = said("orders.lives", end, "\"seq\"").await?;
        ensure!(
            durable.contains("-ERR 'Invalid Event") && durable.contains("\"code\":400"),
            "{end}: {durable}"
        );
        let in_memory = said("prices.lives", end, "PONG").await?;
        ensure!(in_memory.contains("-ERR 'Invalid Event"), "{end}: {in_memory}");
    }
    let over = said("orders.lives", "2020-01-01T00:00:00Z", "\"seq\"").await?;
    ensure!(over.contains("\"expired\":true") && !over.contains("error"), "{over}");
    let lives = said("orders.lives", "2099-01-01T00:00:00Z", "\"seq\"").await?;
    ensure!(!lives.contains("expired") && !lives.contains("error"), "{lives}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn durable_messages_keep_their_order_where_some_of_them_are_refused() -> Result<()> {
    const MESSAGES: usize = 20_000;
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "orders.sevenths").await?;
    let publishing = tokio::spawn(async move {
        for number in 0..MESSAGES {
            near.publish("orders.sevenths", format!("{{\"n\": {number}}}").into()).await?;
        }
        near.flush().await?;
        anyhow::Ok(near)
    });
    for number in (0..MESSAGES).filter(|number| number % 7 != 0) {
        let message = next(&mut subscriber).await.with_context(|| format!("message {number}"))?;
        ensure!(message.payload == format!("{{\"n\": {number}}}"), "{number}: {message:?}");
    }
    publishing.await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rate_makes_wait_never_arrives_unprotected() -> Result<()> {
    const MESSAGES: usize = 200;
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "masked.*").await?;
    let data = |number: usize| format!("{{\"n\": {number}, \"mail\": \"ana{number}@example.com\"}}");
    for number in 0..MESSAGES {
        near.publish("masked.rated", data(number).into()).await?;
    }
    near.flush().await?;
    let drafts: Vec<Draft> = (0..MESSAGES)
        .map(|number| {
            Draft::new(serde_json::json!({"n": number, "mail": format!("ana{number}@example.com")}))
        })
        .collect();
    federation.bridge("shop-1").publisher().publish_batch("masked.rated", &drafts).await?;
    // What waits has nowhere to wait in this class.
    let dropped = "meshbridge_events_dropped_total{intentional=\"false\",reason=\"waited\"}";
    let metrics = federation.bridge("shop-1").admin().metrics().await?;
    let waited = *metrics.get(dropped).context("nothing was dropped")?;
    ensure!(waited > 0.0 && waited < 2.0 * MESSAGES as f64, "{waited}");
    near.publish("masked.last", data(0).into()).await?;
    let mut arrived = 0;
    loop {
        let message =
            next(&mut subscriber).await.with_context(|| format!("{arrived} arrived, {waited} waited"))?;
        let text = String::from_utf8(message.payload.to_vec())?;
        ensure!(text.contains("[redacted]") && !text.contains("example.com"), "{text}");
        if message.subject.as_str() != "masked.last" {
            arrived += 1;
        }
        if arrived + waited as usize == 2 * MESSAGES {
            return Ok(());
        }
    }
}

/// What a burst finds of a rate it gets, and what is refused together takes nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_above_a_rate_gets_what_there_is() -> Result<()> {
    const ROOM: usize = 30;
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    for class in ["prices", "orders"] {
        let mut subscriber = subscribe(&federation, "till-1", &far, &format!("{class}.few.*")).await?;
        for number in 0..ROOM + 20 {
            near.publish(format!("{class}.few.burst"), number.to_string().into()).await?;
        }
        near.flush().await?;
        let shop = federation.bridge("shop-1");
        let draft = |number: usize| Draft::new(serde_json::json!(number));
        let drafts: Vec<Draft> = (0..ROOM + 1).map(draft).collect();
        let together = shop.publisher().publish_batch(&format!("{class}.few.batch"), &drafts).await;
        ensure!(together.is_err(), "{together:?}");
        for number in 0..ROOM {
            shop.publisher().publish(&format!("{class}.few.batch"), &draft(number)).await?;
        }
        let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..2 * ROOM {
            let message = next(&mut subscriber).await.with_context(|| format!("{arrived:?}"))?;
            *arrived.entry(message.subject.to_string()).or_default() += 1;
        }
        ensure!(arrived.values().all(|count| *count == ROOM) && arrived.len() == 2, "{arrived:?}");
    }
    Ok(())
}

/// One event of a burst that is too large is refused, and said to be, once; nothing is said that was only tried.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_recorded_as_its_events_would_be() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "prices.*").await?;
    for number in 0..20 {
        let length = if number == 7 { 70_000 } else { 10 };
        near.publish("prices.sizes", "x".repeat(length).into()).await?;
    }
    near.flush().await?;
    for _ in 0..19 {
        ensure!(next(&mut subscriber).await?.payload.len() == 10);
    }
    let data = federation.bridge("shop-1").config.with_file_name("data").display().to_string();
    eventually("the refusal is recorded", WAIT, || async {
        let export = meshbridge(&["audit", "export", &data], WAIT)?;
        ensure!(export.code == 0, "{export:?}");
        let records =
            export.stdout.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
        let refused = records.iter().filter(|record| record["by"]["rule"] == "by-data/small").count();
        ensure!(refused == 1, "{refused} refusals");
        Ok(())
    })
    .await?;
    let metrics = federation.bridge("shop-1").admin().metrics().await?;
    let counted: f64 = metrics
        .iter()
        .filter(|(name, _)| {
            name.starts_with("meshbridge_policy_verdicts_total") && name.contains("by-data/small")
        })
        .map(|(_, value)| value)
        .sum();
    ensure!(counted == 1.0, "{counted} refusals counted");
    Ok(())
}

/// Two bridges of one zone with a stranger between them.
fn apart() -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    fs::create_dir(directory.path().join("policies"))?;
    let federation = "apiVersion: meshbridge/v1\nkind: Federation\nmetadata: {name: acme}\nspec:\n  zones:\n    shop: {region: eu-west, cloud: onprem, jurisdiction: EU}\n    hub: {region: us-east, cloud: aws, jurisdiction: US}\n  bridges: [{id: shop-1, zone: shop}, {id: shop-2, zone: shop}, {id: hub-1, zone: hub}]\n  links: [{from: shop-1, to: hub-1}, {from: hub-1, to: shop-2}]\n  policies: [policies]\n";
    fs::write(directory.path().join("federation.yaml"), federation)?;
    let rules = "apiVersion: meshbridge/v1\nkind: Policy\nmetadata: {name: baseline, layer: federation}\nspec:\n  rules:\n    - {name: known, match: {topics: [\"**\"]}, permit: {}}\n    - {name: at-home, match: {topics: [\"home.**\"]}, residency: {allow: {zones: [shop]}, transit: {zones: [shop]}}}\n---\napiVersion: meshbridge/v1\nkind: Delivery\nmetadata: {name: classes, layer: federation, owner: platform@acme.example}\nspec:\n  topics:\n    - {match: \"**\", class: best-effort}\n";
    fs::write(directory.path().join("policies/rules.yaml"), rules)?;
    Ok(directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_within_a_zone_is_not_shown_to_who_may_not_carry_it() -> Result<()> {
    let directory = apart()?;
    let federation = Federation::up(directory.path(), Options::default()).await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "shop-2").await?);
    let mut subscriber = subscribe(&federation, "shop-2", &far, "*.burst").await?;
    let hub = federation.bridge("hub-1").admin();
    let before = hub.data_traffic().await?.1;
    for number in 0..500 {
        near.publish("home.burst", number.to_string().into()).await?;
    }
    for number in 0..500 {
        near.publish("open.burst", number.to_string().into()).await?;
    }
    near.flush().await?;
    let mut seen = BTreeSet::new();
    while seen.len() < 500 {
        let message = next(&mut subscriber).await?;
        ensure!(message.subject.as_str() == "open.burst", "{message:?}");
        ensure!(seen.insert(message.payload.clone()), "twice: {message:?}");
    }
    let carried = eventually("the hub has counted what it sent", WAIT, || async {
        let carried = hub.data_traffic().await?.1 - before;
        ensure!(carried >= 1_000, "{carried} of what is open, received and sent");
        Ok(carried)
    })
    .await?;
    ensure!(carried == 1_000, "the hub was shown {} events more", carried - 1_000);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_zone_has_its_records_of_a_burst_that_goes_to_several() -> Result<()> {
    const MESSAGES: u64 = 500;
    let federation = federation().await?;
    let near = client(&federation, "shop-1").await?;
    let (hub, till) = (client(&federation, "hub-1").await?, client(&federation, "till-1").await?);
    let mut subscribers = [
        subscribe(&federation, "hub-1", &hub, "masked.shared").await?,
        subscribe(&federation, "till-1", &till, "masked.shared").await?,
    ];
    for number in 0..MESSAGES {
        near.publish("masked.shared", format!("{{\"n\": {number}, \"mail\": \"ana@example.com\"}}").into())
            .await?;
    }
    near.flush().await?;
    for subscriber in &mut subscribers {
        for number in 0..MESSAGES {
            let expected = format!("{{\"n\": {number}, \"mail\": \"[redacted]\"}}");
            ensure!(next(subscriber).await?.payload == expected, "{number}");
        }
    }
    let data = federation.bridge("shop-1").config.with_file_name("data").display().to_string();
    eventually("as many edits are recorded for each zone", WAIT, || async {
        let export = meshbridge(&["audit", "export", &data], WAIT)?;
        ensure!(export.code == 0, "{export:?}");
        let mut recorded = BTreeMap::new();
        for line in export.stdout.lines() {
            let record: serde_json::Value = serde_json::from_str(line)?;
            if record["context"] == "egress" && record["edited"] == true {
                let to = record["to"].as_str().context("a zone")?.to_owned();
                *recorded.entry(to).or_insert(0) += record["events"]["count"].as_u64().unwrap_or(1);
            }
        }
        let expected = BTreeMap::from([("hub".to_owned(), MESSAGES), ("till".to_owned(), MESSAGES)]);
        ensure!(recorded == expected, "{recorded:?}");
        Ok(())
    })
    .await
}
