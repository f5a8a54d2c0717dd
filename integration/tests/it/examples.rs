//! Every example: subscribe in one zone, publish in each other; exactly the right zones receive, each once.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use meshbridge_integration::{Draft, Federation, Ledger};
use serde_json::json;

/// One kind of event of an example, and where it may go.
struct Case {
    /// The first token of its topics.
    domain: &'static str,
    attributes: &'static [(&'static str, &'static str)],
    may_cross: fn(&str, &str) -> bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn three_zones_delivers_to_exactly_the_right_zones() -> Result<()> {
    fn both_european(from: &str, to: &str) -> bool {
        from != "cloud-us" && to != "cloud-us"
    }
    check(
        "three-zones",
        &[
            case("orders", |_, _| true),
            case("payments", |_, _| true),
            case("hr", both_european),
            case("unlisted", |_, _| false),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn dmz_internal_delivers_to_exactly_the_right_zones() -> Result<()> {
    check(
        "dmz-internal",
        &[
            case("web", |from, _| from == "dmz"),
            case("catalog", |from, _| from == "internal"),
            case("checkout", |from, to| from == "dmz" && to == "pci"),
            case("payments", |from, to| from == "pci" && to == "internal"),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hub_and_spoke_delivers_to_exactly_the_right_zones() -> Result<()> {
    let commands = Case {
        domain: "commands",
        attributes: &[("author", "op.rivera")],
        may_cross: |from, _| from == "hub",
    };
    check("hub-and-spoke", &[case("alarms", |_, _| true), case("readings", |_, to| to == "hub"), commands])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ring_delivers_to_exactly_the_right_zones() -> Result<()> {
    let shipments =
        Case { domain: "shipments", attributes: &[("subject", "parcel-17")], may_cross: |_, _| true };
    check("ring", &[case("status", |_, _| true), shipments, case("unlisted", |_, _| false)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn diamond_delivers_to_exactly_the_right_zones() -> Result<()> {
    check(
        "diamond",
        &[case("production", |_, _| true), case("quality", |_, _| true), case("unlisted", |_, _| false)],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_for_many_zones_reaches_each_once() -> Result<()> {
    let federation = Federation::example("ring").await?;
    let mut subscribers = Vec::new();
    for node in federation.bridges() {
        subscribers.push(node.subscribe(&["status.**", "status.*.many"]).await?);
        federation.knows(&node.bridge, "status.**").await?;
    }
    let zones: Vec<String> = federation.bridges().into_iter().map(|node| node.zone).collect();
    let mut ledger = Ledger::default();
    for node in federation.bridges() {
        for number in 0..50 {
            let event = Draft::new(json!({"number": number}));
            let reply = node.publisher().publish("status.to.many", &event).await?;
            ensure!(reply.destinations.len() == zones.len(), "destinations {:?}", reply.destinations);
            ledger.publish(&event.id, zones.iter().map(String::as_str));
        }
    }
    ledger.settle(&subscribers.iter().collect::<Vec<_>>()).await
}

fn case(domain: &'static str, may_cross: fn(&str, &str) -> bool) -> Case {
    Case { domain, attributes: &[], may_cross }
}

async fn check(example: &str, cases: &[Case]) -> Result<()> {
    let federation = Federation::example(example).await?;
    for listener in federation.bridges() {
        // The topic says who listens, so that interest which still lingers elsewhere plays no part.
        let place = format!("for-{}", listener.zone);
        let filters: Vec<String> = cases.iter().map(|case| format!("{}.{place}.**", case.domain)).collect();
        let subscriber = listener.subscribe(&filters.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        for filter in &filters {
            federation.knows(&listener.bridge, filter).await?;
        }
        let mut ledger = Ledger::default();
        for publisher in federation.bridges() {
            for case in cases {
                let topic = format!("{}.{place}.happened", case.domain);
                let mut event = Draft::new(json!({"from": publisher.zone}));
                for (name, value) in case.attributes {
                    event = event.with(name, value);
                }
                let reply = publisher.publisher().publish(&topic, &event).await?;
                let at_home = publisher.zone == listener.zone;
                let expected = at_home || (case.may_cross)(&publisher.zone, &listener.zone);
                let expected: BTreeSet<&str> =
                    expected.then_some(listener.bridge.as_str()).into_iter().collect();
                let destinations: BTreeSet<&str> = reply.destinations.iter().map(String::as_str).collect();
                ensure!(
                    destinations == expected,
                    "{topic} from {}: {reply:?}, expected {expected:?}",
                    publisher.zone
                );
                // What could never cross is not even known to be wanted; what this event alone may not is denied.
                ensure!(
                    reply.denied.is_empty() || expected.is_empty(),
                    "{topic} from {}: {reply:?}",
                    publisher.zone
                );
                ledger.publish(&event.id, (!expected.is_empty()).then_some(listener.zone.as_str()));
            }
        }
        ledger.settle(&[&subscriber]).await?;
    }
    Ok(())
}
