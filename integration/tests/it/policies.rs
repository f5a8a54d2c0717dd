//! Redaction, masking and denial are as the policy documents say, and say which rule it was.

use anyhow::{Context, Result, ensure};
use meshbridge_integration::{Admin, Draft, Federation, Reply, eventually};
use serde_json::{Value, json};
use std::time::Duration;

fn order() -> Draft {
    Draft::new(json!({
        "customer": {"name": "Ada Example", "email": "ada@example.com", "birthDate": "1970-01-01"},
        "note": "call +44 20 7946 0958 or write to ada@example.com",
        "card": "4111 1111 1111 1111",
        "iban": "DE89 3704 0044 0532 0130 00",
        "total": 42.50,
        "reference": "4111 1111 1111 1112"
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_leaves_the_eu_only_as_the_rules_say() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let abroad = federation.zone("cloud-us").subscribe(&["orders.**"]).await?;
    let near = federation.zone("dmz").subscribe(&["orders.**"]).await?;
    federation.knows("cloud-us-1", "orders.**").await?;
    federation.knows("dmz-1", "orders.**").await?;
    let event = order();
    let reply = federation.zone("internal").publisher().publish("orders.eu.created", &event).await?;
    ensure!(reply.denied.is_empty(), "{reply:?}");

    let inside = near.wait_for(&event.id).await?.event;
    ensure!(inside["data"] == event.data, "the EU zone sees the order as published, not {}", inside["data"]);

    let outside = abroad.wait_for(&event.id).await?.event;
    let data = &outside["data"];
    let text = outside.to_string();
    for secret in ["Ada Example", "ada@example.com", "1970-01-01", "4111 1111 1111 1111", "3704", "7946 0958"]
    {
        ensure!(!text.contains(secret), "{secret} left the EU: {text}");
    }
    ensure!(data["customer"]["name"] == "[redacted]", "{data}");
    ensure!(data["customer"]["email"] == "[redacted:contact.email]", "{data}");
    ensure!(data["customer"].get("birthDate").is_none(), "{data}");
    ensure!(data["card"] == "**** **** **** 1111", "{data}");
    let iban = data["iban"].as_str().unwrap_or_default();
    ensure!(iban.starts_with("sha256_") && iban.len() == "sha256_".len() + 64, "{data}");
    ensure!(data["note"].as_str().is_some_and(|note| note.contains("[redacted:contact.email]")), "{data}");
    // A number that fails the Luhn check is no card, and what nobody asked to protect stays as it was.
    ensure!(data["reference"] == "4111 1111 1111 1112" && data["total"] == 42.50, "{data}");
    ensure!(outside["id"] == event.id && outside["source"] == event.source, "{outside}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_goes_the_other_way_unchanged() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let inside = federation.zone("internal").subscribe(&["orders.**"]).await?;
    federation.knows("internal-1", "orders.**").await?;
    let event = order();
    federation.zone("cloud-us").publisher().publish("orders.us.created", &event).await?;
    ensure!(inside.wait_for(&event.id).await?.event["data"] == event.data, "the data came changed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_nobody_edits_keeps_its_bytes() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let inside = federation.zone("dmz").subscribe(&["orders.**"]).await?;
    federation.knows("dmz-1", "orders.**").await?;
    // Order of keys, white space and the spelling of numbers are the publisher's.
    let body = r#"{"zeta" : 1.50, "alpha":[ 1e3,2 ],  "text":"caf\u00e9"}"#;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "bytes-1"),
        ("ce-source", "/tests"),
        ("ce-type", "t"),
        ("content-type", "application/json"),
    ];
    let answer = federation
        .zone("internal")
        .publisher()
        .post("/v1/topics/orders.bytes", &headers, body.into())
        .await?;
    ensure!(answer.status == 202, "{answer:?}");
    let event = inside.wait_for("bytes-1").await?.event;
    ensure!(event["data"] == serde_json::from_str::<Value>(body)?, "{event}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_rule_permits_is_denied_by_default() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let (reply, _) =
        denied(&federation, "internal", "cloud-us", "hr.leave.requested", Draft::new(json!({}))).await?;
    check_denied(&reply, "cloud-us-1", "default-deny@federation", "reject")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_names_its_rule_and_its_message() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let topic = "orders.internal.audit";
    let (reply, letters) = denied(&federation, "internal", "cloud-us", topic, Draft::new(json!({}))).await?;
    check_denied(&reply, "cloud-us-1", "acme-baseline/internal-topics-stay-home", "reject")?;
    // A rejected event leaves no copy.
    ensure!(letters.iter().all(|letter| letter["topic"] != topic), "{letters:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_attribute_makes_a_dead_letter_that_says_so() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let topic = "payments.settled.daily";
    let event = Draft::new(json!({"secret": "payload"}));
    let id = event.id.clone();
    let (reply, _) = denied(&federation, "internal", "cloud-us", topic, event).await?;
    check_denied(&reply, "cloud-us-1", "acme-baseline/settlements-are-traceable", "dead-letter")?;
    let letter = dead_letter(&federation.zone("internal").admin(), &id).await?;
    ensure!(letter["topic"] == topic && letter["destination"] == "cloud-us-1", "{letter}");
    ensure!(letter["by"] == "acme-baseline/settlements-are-traceable", "{letter}");
    ensure!(letter["message"] == format!("settlement {id} has no valid traceparent"), "{letter}");
    ensure!(!letter.to_string().contains("payload"), "a dead letter shows no data: {letter}");

    let traced =
        Draft::new(json!({})).with("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let subscriber = federation.zone("cloud-us").subscribe(&["payments.settled.**"]).await?;
    federation.zone("internal").publisher().publish(topic, &traced).await?;
    subscriber.wait_for(&traced.id).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiving_zone_refuses_what_only_its_own_layer_denies() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let dmz = federation.zone("dmz");
    let subscriber = dmz.subscribe(&["hr.**"]).await?;
    federation.knows("dmz-1", "hr.**").await?;
    let publisher = federation.zone("internal").publisher();
    let (payroll, leave) = (Draft::new(json!({})), Draft::new(json!({})));
    publisher.publish("hr.payroll.run", &payroll).await?;
    eventually("the verdict of zone/dmz is counted", Duration::from_secs(10), || async {
        let metrics = dmz.admin().metrics().await?;
        let counted = metrics.iter().any(|(name, value)| {
            name.starts_with("meshbridge_policy_verdicts_total")
                && name.contains("no-payroll-at-the-perimeter")
                && name.contains("context=\"ingress\"")
                && *value >= 1.0
        });
        ensure!(counted, "{:?}", metrics.keys().filter(|name| name.contains("policy")).collect::<Vec<_>>());
        Ok(())
    })
    .await?;
    publisher.publish("hr.leave.requested", &leave).await?;
    subscriber.wait_for(&leave.id).await?;
    ensure!(subscriber.received().iter().all(|one| one.id() != payroll.id), "payroll reached the DMZ");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn classified_data_crosses_no_border() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let event = Draft::new(json!({})).with("dataclassification", "confidential");
    let (reply, _) = denied(&federation, "internal", "dmz", "orders.eu.created", event).await?;
    ensure!(reply.denied.iter().all(|denied| denied.by.ends_with("/unmet-obligation")), "{reply:?}");
    let public = Draft::new(json!({})).with("dataclassification", "public");
    let reply = federation.zone("internal").publisher().publish("orders.eu.created", &public).await?;
    ensure!(reply.denied.is_empty(), "{reply:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_cannot_be_read_is_never_forwarded_past_a_protection() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let subscriber = federation.zone("cloud-us").subscribe(&["orders.**"]).await?;
    federation.knows("cloud-us-1", "orders.**").await?;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "opaque-1"),
        ("ce-source", "/tests"),
        ("ce-type", "t"),
        ("content-type", "application/octet-stream"),
    ];
    let publisher = federation.zone("internal").publisher();
    let answer =
        publisher.post("/v1/topics/orders.opaque", &headers, b"\xff\xfe ada@example.com".to_vec()).await?;
    let reply: Reply = serde_json::from_str(&answer.text).with_context(|| format!("{answer:?}"))?;
    check_denied(&reply, "cloud-us-1", "eu-personal-data/customers-leave-without-identity", "dead-letter")?;
    let after = Draft::new(json!({}));
    publisher.publish("orders.opaque", &after).await?;
    subscriber.wait_for(&after.id).await?;
    ensure!(subscriber.received().iter().all(|one| one.id() != "opaque-1"), "the opaque event left the EU");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_leaves_its_zone_masked() -> Result<()> {
    let federation = Federation::example("dmz-internal").await?;
    let subscriber = federation.zone("internal").subscribe(&["payments.**"]).await?;
    federation.knows("internal-1", "payments.**").await?;
    let event = Draft::new(json!({"card": {"number": "5555555555554444", "cvc": "123"}, "cvc": "123"}));
    federation.zone("pci").publisher().publish("payments.authorised", &event).await?;
    let data = subscriber.wait_for(&event.id).await?.event["data"].clone();
    ensure!(data == json!({"card": {"number": "************4444"}}), "{data}");
    Ok(())
}

/// Publishes with one subscriber in `to`, which must not receive; gives the reply and the dead letters at the origin.
async fn denied(
    federation: &Federation,
    from: &str,
    to: &str,
    topic: &str,
    event: Draft,
) -> Result<(Reply, Vec<Value>)> {
    let (origin, destination) = (federation.zone(from), federation.zone(to));
    // Of what could never pass the origin would learn nothing, and so deny nothing.
    let subscriber = destination.subscribe(&["**"]).await?;
    federation.knows(&destination.bridge, "**").await?;
    let reply = origin.publisher().publish(topic, &event).await?;
    ensure!(!reply.destinations.contains(&destination.bridge), "{reply:?}");
    ensure!(subscriber.received().is_empty(), "{:?}", subscriber.received());
    Ok((reply, origin.admin().dead_letters().await?))
}

fn check_denied(reply: &Reply, destination: &str, by: &str, disposition: &str) -> Result<()> {
    let denied = reply
        .denied
        .iter()
        .find(|denied| denied.destination == destination)
        .with_context(|| format!("{reply:?}"))?;
    ensure!(
        denied.by == by && denied.disposition == disposition,
        "{denied:?}, expected {by} to {disposition}"
    );
    Ok(())
}

async fn dead_letter(admin: &Admin, id: &str) -> Result<Value> {
    eventually(&format!("{id} is a dead letter"), Duration::from_secs(5), || async {
        let letters = admin.dead_letters().await?;
        letters.iter().find(|letter| letter["id"] == id).cloned().with_context(|| format!("{letters:?}"))
    })
    .await
}
