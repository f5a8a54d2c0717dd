//! Wrong input gets a precise answer, and nothing of it is taken.

use anyhow::{Result, ensure};
use meshbridge_integration::{Answer, BATCH, Draft, Federation, Publisher, STRUCTURED};
use serde_json::json;

/// A bad request: what is sent, and what the answer must say.
struct Bad {
    name: &'static str,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    status: u16,
    /// The error names this, be it an attribute, a byte or an index.
    names: &'static str,
}

const V: (&str, &str) = ("ce-specversion", "1.0");
const ID: (&str, &str) = ("ce-id", "bad-1");
const SOURCE: (&str, &str) = ("ce-source", "/tests");
const TYPE: (&str, &str) = ("ce-type", "t");
const JSON: (&str, &str) = ("content-type", "application/json");

#[rustfmt::skip]
const TABLE: &[Bad] = &[
    Bad { name: "no id", path: "/v1/topics/orders.a", headers: &[V, SOURCE, TYPE, JSON], body: "{}", status: 400, names: "`id`" },
    Bad { name: "no source", path: "/v1/topics/orders.a", headers: &[V, ID, TYPE, JSON], body: "{}", status: 400, names: "`source`" },
    Bad { name: "no type", path: "/v1/topics/orders.a", headers: &[V, ID, SOURCE, JSON], body: "{}", status: 400, names: "`type`" },
    Bad { name: "unknown version", path: "/v1/topics/orders.a", headers: &[("ce-specversion", "0.3"), ID, SOURCE, TYPE], body: "{}", status: 400, names: "`specversion`" },
    Bad { name: "empty id", path: "/v1/topics/orders.a", headers: &[V, ("ce-id", ""), SOURCE, TYPE], body: "{}", status: 400, names: "`id`" },
    Bad { name: "bad time", path: "/v1/topics/orders.a", headers: &[V, ID, SOURCE, TYPE, ("ce-time", "yesterday")], body: "{}", status: 400, names: "`time`" },
    Bad { name: "reserved attribute", path: "/v1/topics/orders.a", headers: &[V, ID, SOURCE, TYPE, ("ce-meshbridgetopic", "orders.b")], body: "{}", status: 400, names: "`meshbridgetopic`" },
    Bad { name: "empty token in the topic", path: "/v1/topics/orders..a", headers: &[V, ID, SOURCE, TYPE], body: "{}", status: 400, names: "byte 7" },
    Bad { name: "wildcard in the topic", path: "/v1/topics/orders.*", headers: &[V, ID, SOURCE, TYPE], body: "{}", status: 400, names: "byte 7" },
    Bad { name: "type that is no topic", path: "/v1/topics", headers: &[V, ID, SOURCE, ("ce-type", "a b")], body: "{}", status: 400, names: "`type`" },
    Bad { name: "structured, not JSON", path: "/v1/topics/orders.a", headers: &[STRUCTURED], body: "{\"id\": nope}", status: 400, names: "byte" },
    Bad { name: "structured, duplicate key", path: "/v1/topics/orders.a", headers: &[STRUCTURED], body: r#"{"specversion":"1.0","id":"a","id":"b","source":"/s","type":"t"}"#, status: 400, names: "`id`" },
    Bad { name: "structured, no source", path: "/v1/topics/orders.a", headers: &[STRUCTURED], body: r#"{"specversion":"1.0","id":"a","type":"t"}"#, status: 400, names: "`source`" },
    Bad { name: "structured, reserved attribute", path: "/v1/topics/orders.a", headers: &[STRUCTURED], body: r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","meshbridgetopic":"x"}"#, status: 400, names: "`meshbridgetopic`" },
    Bad { name: "structured, both kinds of data", path: "/v1/topics/orders.a", headers: &[STRUCTURED], body: r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","data":1,"data_base64":"AA=="}"#, status: 400, names: "data_base64" },
    Bad { name: "structured, an attribute name with capitals", path: "/v1/topics/orders.a", headers: &[STRUCTURED], body: r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","Bad_Name":"x"}"#, status: 400, names: "`Bad_Name`" },
    Bad { name: "structured, an attribute that is an object", path: "/v1/topics/orders.a", headers: &[STRUCTURED], body: r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","ext":{}}"#, status: 400, names: "`ext`" },
    Bad { name: "batch that is no list", path: "/v1/topics/orders.a", headers: &[BATCH], body: "{}", status: 400, names: "byte" },
];

#[tokio::test(flavor = "multi_thread")]
async fn every_malformed_request_is_answered_precisely() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let publisher = federation.zone("internal").publisher();
    let mut wrong = Vec::new();
    for bad in TABLE {
        let answer = publisher.post(bad.path, bad.headers, bad.body.into()).await?;
        let error = answer.json()["error"].to_string();
        if answer.status != bad.status || !error.contains(bad.names) {
            wrong.push(format!(
                "{}: {} {}, expected {} naming {}",
                bad.name, answer.status, answer.text, bad.status, bad.names
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let status = publisher.publish("orders.a", &Draft::new(json!({}))).await;
    ensure!(status.is_ok(), "the listener serves on: {status:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_one_bad_member_takes_nothing() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let internal = federation.zone("internal");
    let subscriber = internal.subscribe(&["orders.**"]).await?;
    let (good, last) = (Draft::new(json!({"n": 1})), Draft::new(json!({"n": 3})));
    let mut bad = Draft::new(json!({"n": 2})).structured();
    bad.as_object_mut().expect("an event is an object").remove("source");
    let body = json!([good.structured(), bad]).to_string().into_bytes();
    let answer = internal.publisher().post("/v1/topics/orders.batch", &[BATCH], body).await?;
    ensure!(answer.status == 400, "{answer:?}");
    let error = answer.json()["error"].to_string();
    ensure!(
        error.contains("`source`") && answer.text.contains('1'),
        "the error names member 1 and `source`: {}",
        answer.text
    );
    internal.publisher().publish("orders.batch", &last).await?;
    subscriber.wait_for(&last.id).await?;
    ensure!(subscriber.received().len() == 1, "a member of the refused batch was taken");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_taken_in_order() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let internal = federation.zone("internal");
    let subscriber = internal.subscribe(&["orders.**"]).await?;
    let events: Vec<Draft> = (0..20).map(|n| Draft::new(json!({"n": n}))).collect();
    let replies = internal.publisher().publish_batch("orders.batch", &events).await?;
    ensure!(replies.len() == events.len(), "{} replies", replies.len());
    subscriber.wait_for(&events[19].id).await?;
    let keys: Vec<String> = subscriber.received().into_iter().map(|one| one.key).collect();
    let promised: Vec<String> = replies.into_iter().map(|reply| reply.key).collect();
    ensure!(keys == promised, "{keys:?} came for {promised:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_with_413() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let publisher = federation.zone("internal").publisher();
    let headers = [V, ID, SOURCE, TYPE, ("content-type", "text/plain")];
    let answer = publisher.post("/v1/topics/orders.large", &headers, vec![b'x'; (1 << 20) + 1]).await?;
    ensure!(answer.status == 413, "{} {}", answer.status, answer.text);
    let batch: Vec<_> = (0..1025).map(|_| Draft::new(json!({})).structured()).collect();
    let answer = publisher.post("/v1/topics/orders.large", &[BATCH], json!(batch).to_string().into()).await?;
    ensure!(answer.status == 413, "{} {}", answer.status, answer.text);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_needs_a_filter_that_parses() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let internal = federation.zone("internal");
    let failed = internal.subscribe(&["orders..created"]).await;
    ensure!(failed.is_err(), "a filter with an empty token was accepted");
    let failed = internal.subscribe(&["**.a.**.b.**"]).await;
    ensure!(failed.is_err(), "a filter with three `**` was accepted");
    let missing = get(&internal.http, "/v1/stream").await?;
    ensure!(missing.status == 400, "{missing:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_modes_bring_the_same_event() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let internal = federation.zone("internal");
    let subscriber = internal.subscribe(&["orders.**"]).await?;
    let publisher = internal.publisher();
    let drafts = [0, 1, 2].map(|_| Draft::new(json!({"text": "żółw", "n": [1, 2.5]})).with("color", "blue"));
    publisher.publish("orders.modes", &drafts[0]).await?;
    publisher.publish_structured("orders.modes", &drafts[1]).await?;
    publisher.publish_batch("orders.modes", &drafts[2..]).await?;
    for draft in &drafts {
        let mut event = subscriber.wait_for(&draft.id).await?.event;
        event.as_object_mut().expect("an event is an object").remove("meshbridgetopic");
        ensure!(event == draft.structured(), "{event}, published {}", draft.structured());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_topic_the_type_is_the_topic() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let internal = federation.zone("internal");
    let subscriber = internal.subscribe(&["com.example.order.*"]).await?;
    let headers = [V, ("ce-id", "typed-1"), SOURCE, ("ce-type", "com.example.order.created"), JSON];
    let answer = Publisher::post(&internal.publisher(), "/v1/topics", &headers, b"{}".to_vec()).await?;
    ensure!(answer.status == 202, "{answer:?}");
    ensure!(subscriber.wait_for("typed-1").await?.topic == "com.example.order.created", "another topic");
    Ok(())
}

async fn get(base: &str, path: &str) -> Result<Answer> {
    let response = meshbridge_integration::http().get(format!("{base}{path}")).send().await?;
    Ok(Answer { status: response.status().as_u16(), text: response.text().await? })
}
