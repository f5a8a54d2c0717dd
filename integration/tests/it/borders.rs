//! The borders inside a zone: what may be published, who may ask for it, and what each subscriber gets. Every decision
//! that is not a plain permit is in the decision log.

use std::collections::HashMap;
use std::fs;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::grpc::io::cloudevents::v1::{CloudEvent, cloud_event::Data};
use meshbridge_integration::grpc::meshbridge::v1::PublishRequest;
use meshbridge_integration::grpc::meshbridge::v1::bridge_client::BridgeClient;
use meshbridge_integration::{Answer, BATCH, Draft, Prepared, Publisher, STRUCTURED, Setup, Single, http};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

/// Principals of the tests; each has a token of its own.
const PRINCIPALS: [&str; 3] = ["shop", "till", "audit"];

const RULES: &str = r#"
apiVersion: meshbridge/v1
kind: Policy
metadata: {name: inside, layer: federation}
spec:
  rules:
    - {name: no-gossip, match: {at: publish, topics: ["gossip.**"]}, deny: {}, message: "${topic} is gossip", help: "ask the editor"}
    - name: only-the-till
      match: {at: publish, topics: ["cash.**"]}
      except: {publisher: ["till"]}
      deny: {}
    - {name: small, match: {at: publish, topics: ["small.**"]}, limit: {eventBytes: 512}}
    - {name: seldom, match: {at: publish, topics: ["seldom.**"]}, limit: {rate: {events: 1, per: 1h}}}
    - {name: traced, match: {at: publish, topics: ["traced.**"]}, require: {attributes: {traceparent: {format: w3c-traceparent}}}, onViolation: reject}
    - {name: kept, match: {at: publish, topics: ["kept.**"]}, require: {attributes: {traceparent: {}}}}
    - {name: no-names, match: {at: publish, topics: ["edited.**"]}, protect: [{fields: ["$.data.name"], as: drop}]}
    - {name: noted, match: {at: publish, topics: ["edited.**"]}, deny: {}, mode: warn, onViolation: annotate}
    - name: no-hints
      match: {at: publish, topics: ["edited.**"]}
      require: {attributes: {hint: {presence: optional, enum: [none]}}}
      onViolation: strip
"#;

fn token_of(principal: &str) -> &'static str {
    static TOKENS: OnceLock<HashMap<&'static str, String>> = OnceLock::new();
    let random = || format!("{:032x}", rand::random::<u128>());
    &TOKENS.get_or_init(|| PRINCIPALS.map(|principal| (principal, random())).into())[principal]
}

async fn bridge(setup: Setup<'_>) -> Result<Single> {
    let prepared = Prepared::new()?;
    let tokens = PRINCIPALS.map(|principal| json!({"token": token_of(principal), "principal": principal}));
    fs::write(prepared.path().join("tokens.yaml"), json!({"tokens": tokens}).to_string())?;
    fs::write(prepared.path().join("policies/inside.yaml"), RULES)?;
    let extra = ", tokens: tokens.yaml";
    prepared.start(Setup { http: extra, grpc: extra, ..setup }).await
}

fn publisher(bridge: &Single, principal: &str) -> Publisher {
    Publisher::over(http().clone(), &format!("http://{}", bridge.http)).with_token(token_of(principal))
}

async fn post(bridge: &Single, principal: &str, topic: &str, event: &Draft) -> Result<Answer> {
    let body = event.structured().to_string().into_bytes();
    publisher(bridge, principal).post(&format!("/v1/topics/{topic}"), &[STRUCTURED], body).await
}

async fn refused(bridge: &Single, principal: &str, topic: &str, event: &Draft, expected: (u16, &str)) -> Result<Value> {
    let answer = post(bridge, principal, topic, event).await?;
    let error = answer.json()["error"].take();
    ensure!((answer.status, error["rule"].as_str()) == (expected.0, Some(expected.1)), "{topic}: {answer:?}");
    ensure!(error["message"].as_str().is_some_and(|text| text.contains(expected.1)), "{error}");
    ensure!(error["index"].is_null(), "one event has no place in a batch: {error}");
    Ok(error)
}

async fn taken(bridge: &Single, principal: &str, topic: &str, event: &Draft) -> Result<Value> {
    let answer = post(bridge, principal, topic, event).await?;
    ensure!(answer.status == 202, "{topic}: {answer:?}");
    Ok(answer.json())
}

/// What a group of events without memory brings: all that came until the last one did.
async fn read_until(bridge: &Single, principal: &str, filter: &str, last: &str, before: impl AsyncFnOnce() -> Result<()>) -> Result<Vec<Value>> {
    let url = format!("http://{}/v1/stream?filter={filter}", bridge.http);
    let mut response = http().get(url).bearer_auth(token_of(principal)).send().await?.error_for_status()?;
    before().await?;
    let mut text = String::new();
    let reading = async {
        while let Some(chunk) = response.chunk().await? {
            text.push_str(std::str::from_utf8(&chunk)?);
            if text.contains(&format!("\"id\":\"{last}\"")) && text.ends_with("\n\n") {
                return Ok(());
            }
        }
        anyhow::bail!("the stream ended")
    };
    let read: Result<()> = tokio::time::timeout(std::time::Duration::from_secs(15), reading).await.unwrap_or(Err(anyhow::anyhow!("{last} did not come")));
    read.with_context(|| text.clone())?;
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    data.map(|data| serde_json::from_str(data.trim()).context(data.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_published_is_refused_by_the_name_of_its_rule() -> Result<()> {
    let bridge = bridge(Setup::default()).await?;
    let event = || Draft::new(json!({"name": "Ada Example"}));
    let error = refused(&bridge, "shop", "gossip.daily", &event(), (403, "inside/no-gossip")).await?;
    ensure!(error["message"].as_str().is_some_and(|text| text.contains("gossip.daily is gossip")), "{error}");
    ensure!(error["help"] == "ask the editor" && error["code"] == "forbidden", "{error}");

    refused(&bridge, "shop", "cash.drawer", &event(), (403, "inside/only-the-till")).await?;
    taken(&bridge, "till", "cash.drawer", &event()).await?;

    let large = Draft::new(json!({"text": "x".repeat(1_000)}));
    refused(&bridge, "shop", "small.talk", &large, (413, "inside/small")).await?;
    taken(&bridge, "shop", "small.talk", &event()).await?;

    refused(&bridge, "shop", "traced.call", &event(), (422, "inside/traced")).await?;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    taken(&bridge, "shop", "traced.call", &event().with("traceparent", traceparent)).await?;

    taken(&bridge, "shop", "seldom.rain", &event()).await?;
    refused(&bridge, "shop", "seldom.rain", &event(), (429, "inside/seldom")).await?;
    let url = format!("http://{}/v1/topics/seldom.rain", bridge.http);
    let request = http().post(url).bearer_auth(token_of("shop")).header(STRUCTURED.0, STRUCTURED.1);
    let answer = request.body(event().structured().to_string()).send().await?;
    let wait = answer.headers().get("retry-after").context("no retry-after")?.to_str()?.parse::<u64>()?;
    ensure!((3_000..=3_600).contains(&wait), "wait {wait} s");

    // Nobody but bridges says what bridges did.
    for name in ["govwarn", "govprotected"] {
        let answer = post(&bridge, "shop", "plain.talk", &event().with(name, "inside/noted")).await?;
        ensure!(answer.status == 400 && answer.json()["error"]["attribute"] == name, "{answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rejected_event_refuses_its_whole_batch() -> Result<()> {
    let bridge = bridge(Setup::default()).await?;
    let events = [Draft::new(json!({"n": 1})), Draft::new(json!({"text": "x".repeat(1_000)}))];
    let body = Value::Array(events.iter().map(Draft::structured).collect()).to_string().into_bytes();
    let last = Draft::new(json!({}));
    let seen = read_until(&bridge, "shop", "small.**", &last.id, async || {
        let answer = publisher(&bridge, "shop").post("/v1/topics/small.talk", &[BATCH], body).await?;
        let error = answer.json()["error"].take();
        ensure!(answer.status == 413 && error["rule"] == "inside/small" && error["index"] == 1, "{answer:?}");
        taken(&bridge, "shop", "small.talk", &last).await.map(drop)
    })
    .await?;
    ensure!(seen.len() == 1, "only the last one was taken: {seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_back_is_answered_for_and_reaches_nobody() -> Result<()> {
    let bridge = bridge(Setup::default()).await?;
    let (lost, fine) = (Draft::new(json!({"secret": "payload"})), Draft::new(json!({})).with("traceparent", "x"));
    let body = Value::Array([&lost, &fine].map(Draft::structured).into()).to_string().into_bytes();
    let seen = read_until(&bridge, "shop", "kept.**", &fine.id, async || {
        let answer = publisher(&bridge, "shop").post("/v1/topics/kept.one", &[BATCH], body).await?;
        ensure!(answer.status == 202, "{answer:?}");
        let (first, second) = (&answer.json()[0], &answer.json()[1]);
        let expected = json!([{"destination": "dmz-1", "by": "inside/kept", "disposition": "dead-letter"}]);
        ensure!(first["denied"] == expected && first["destinations"] == json!([]), "{first}");
        ensure!(second["denied"] == json!([]) && second["destinations"] == json!(["dmz-1"]), "{second}");
        Ok(())
    })
    .await?;
    ensure!(seen.len() == 1, "{seen:?}");
    let letters = bridge.admin().dead_letters().await?;
    let letter = letters.iter().find(|letter| letter["id"] == lost.id).with_context(|| format!("{letters:?}"))?;
    ensure!(letter["by"] == "inside/kept" && letter["context"] == "publish", "{letter}");
    ensure!(!letter.to_string().contains("payload"), "a dead letter shows no data: {letter}");
    for file in fs::read_dir(bridge.path().join("data/spool"))? {
        let bytes = fs::read(file?.path()).unwrap_or_default();
        ensure!(!bytes.windows(7).any(|seven| seven == b"payload"), "the spool has what was kept back");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_at_publication_is_stored_edited() -> Result<()> {
    let bridge = bridge(Setup::default()).await?;
    let event = Draft::new(json!({"name": "Ada Example", "total": 1.50})).with("hint", "hurry");
    let seen = read_until(&bridge, "shop", "edited.**", &event.id, async || {
        taken(&bridge, "shop", "edited.order", &event).await.map(drop)
    })
    .await?;
    let event = seen.first().context("one event")?;
    ensure!(event["data"] == json!({"total": 1.50}), "{event}");
    ensure!(event["govwarn"] == "inside/noted" && event.get("hint").is_none(), "{event}");
    let spool = fs::read_dir(bridge.path().join("data/spool"))?;
    for file in spool {
        let bytes = fs::read(file?.path()).unwrap_or_default();
        ensure!(!bytes.windows(3).any(|three| three == b"Ada"), "the spool has the name");
    }
    Ok(())
}

async fn over_grpc(bridge: &Single, topic: &str, text: &str) -> Result<tonic::Status> {
    let mut client: BridgeClient<Channel> = BridgeClient::connect(format!("http://{}", bridge.grpc)).await?;
    let event = Draft::new(json!({}));
    let event = CloudEvent {
        id: event.id,
        source: event.source,
        spec_version: "1.0".to_owned(),
        r#type: event.ty,
        attributes: HashMap::new(),
        data: Some(Data::TextData(text.to_owned())),
    };
    let request = PublishRequest { topic: topic.to_owned(), event: Some(event), ..Default::default() };
    let mut request = Request::new(request);
    request.metadata_mut().insert("authorization", format!("Bearer {}", token_of("shop")).parse()?);
    match client.publish(request).await {
        Ok(reply) => Ok(tonic::Status::ok(format!("{reply:?}"))),
        Err(status) => Ok(status),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_clients_hear_the_rule_in_the_details_of_the_status() -> Result<()> {
    let bridge = bridge(Setup::default()).await?;
    ensure!(over_grpc(&bridge, "seldom.rain", "{}").await?.code() == Code::Ok, "{}", bridge.log());
    let large = "x".repeat(1_000);
    for (topic, text, code, rule) in [
        ("gossip.daily", "{}", Code::PermissionDenied, "inside/no-gossip"),
        ("small.talk", large.as_str(), Code::ResourceExhausted, "inside/small"),
        ("traced.call", "{}", Code::InvalidArgument, "inside/traced"),
        ("seldom.rain", "{}", Code::ResourceExhausted, "inside/seldom"),
    ] {
        let status = over_grpc(&bridge, topic, text).await?;
        ensure!(status.code() == code && status.message().contains(rule), "{topic}: {status:?}");
        let details = status.get_error_details();
        let info = details.error_info().with_context(|| format!("{topic}: {status:?}"))?;
        ensure!(info.metadata.get("rule").is_some_and(|named| named == rule), "{info:?}");
        ensure!(details.retry_info().is_some() == (rule == "inside/seldom"), "{details:?}");
    }
    Ok(())
}
