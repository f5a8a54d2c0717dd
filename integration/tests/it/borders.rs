//! The borders inside a zone: what may be published, who may ask for it, and what each subscriber gets. Every decision
//! that is not a plain permit is in the decision log.

mod decisions;

use std::collections::HashMap;
use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::grpc::io::cloudevents::v1::{CloudEvent, cloud_event::Data};
use meshbridge_integration::grpc::meshbridge::v1::bridge_client::BridgeClient;
use meshbridge_integration::grpc::meshbridge::v1::{PublishRequest, SubscribeRequest};
use meshbridge_integration::{Answer, BATCH, Draft, Prepared, Publisher, STRUCTURED, Setup, Single, http};
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

const WITHIN: Duration = Duration::from_secs(20);

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
    - {name: quietly, match: {at: publish, topics: ["quiet.**"]}, protect: [{fields: ["$.data.name"], as: drop}]}
    - {name: noted, match: {at: publish, topics: ["edited.**"]}, deny: {}, mode: warn, onViolation: annotate}
    - name: no-hints
      match: {at: publish, topics: ["edited.**"]}
      require: {attributes: {hint: {presence: optional, enum: [none]}}}
      onViolation: strip
    - {name: not-for-the-till, match: {at: subscribe, topics: ["audit.**"]}, except: {subscriber: ["audit"]}, deny: {}}
    - {name: nobody-asks, match: {at: subscribe, topics: ["secret.**"]}, deny: {}}
    - {name: not-to-the-till, match: {at: deliver, topics: ["prices.**"], subscriber: ["till"]}, deny: {}}
    - {name: no-costs, match: {at: deliver, topics: ["stock.**"]}, except: {subscriber: ["audit"]}, protect: [{fields: ["$.data.cost"], as: drop}]}
    - {name: no-cards, match: {at: deliver, topics: ["notes.**"]}, forbid: {classes: [payment.card]}, onViolation: dead-letter}
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

async fn refused(
    bridge: &Single,
    principal: &str,
    topic: &str,
    event: &Draft,
    expected: (u16, &str),
) -> Result<Value> {
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
async fn read_until(
    bridge: &Single,
    principal: &str,
    filter: &str,
    last: &str,
    before: impl AsyncFnOnce() -> Result<()>,
) -> Result<Vec<Value>> {
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
    let read: Result<()> =
        tokio::time::timeout(WITHIN, reading).await.unwrap_or(Err(anyhow::anyhow!("{last} did not come")));
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
    let (lost, fine) =
        (Draft::new(json!({"secret": "payload"})), Draft::new(json!({})).with("traceparent", "x"));
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
    let letter =
        letters.iter().find(|letter| letter["id"] == lost.id).with_context(|| format!("{letters:?}"))?;
    ensure!(letter["by"] == "inside/kept" && letter["context"] == "publish", "{letter}");
    ensure!(!letter.to_string().contains("payload"), "a dead letter shows no data: {letter}");
    ensure!(spool_has(&bridge, &fine.id)? && spool_has(&bridge, "payload")?, "what is kept back is kept");
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
    ensure!(spool_has(&bridge, "1.5")? && !spool_has(&bridge, "Ada")?, "what is stored is what was edited");
    Ok(())
}

fn spool_has(bridge: &Single, text: &str) -> Result<bool> {
    let mut found = false;
    for file in fs::read_dir(bridge.path().join("data/spool"))? {
        let bytes = fs::read(file?.path()).unwrap_or_default();
        found |= bytes.windows(text.len()).any(|window| window == text.as_bytes());
    }
    Ok(found)
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

#[tokio::test(flavor = "multi_thread")]
async fn who_could_never_get_anything_of_a_filter_is_refused_it() -> Result<()> {
    let bridge = bridge(Setup::default()).await?;
    for (principal, query, expected) in [
        ("shop", "filter=secret.**", Some("inside/nobody-asks")),
        ("shop", "filter=orders.**&filter=secret.a", Some("inside/nobody-asks")),
        ("shop", "filter=secret.a&subscription=mine", Some("inside/nobody-asks")),
        ("shop", "filter=secret.a&group=ours", Some("inside/nobody-asks")),
        ("till", "filter=prices.today", Some("inside/not-to-the-till")),
        ("shop", "filter=prices.today", None),
        ("audit", "filter=audit.**", None),
        // Some of its topics are nobody's business; the others are.
        ("shop", "filter=**", None),
    ] {
        let url = format!("http://{}/v1/stream?{query}", bridge.http);
        let answer = http().get(url).bearer_auth(token_of(principal)).send().await?;
        let status = answer.status().as_u16();
        let Some(rule) = expected else {
            ensure!(status == 200, "{principal} {query}: {status}");
            continue;
        };
        let error: Value = answer.json::<Value>().await?["error"].take();
        ensure!(
            status == 403 && error["rule"] == rule && error["code"] == "forbidden",
            "{query}: {status} {error}"
        );
    }
    let url = format!("http://{}/v1/subscriptions", bridge.http);
    let body = json!({"name": "kept", "filters": ["secret.a"]}).to_string();
    let answer = http().post(&url).bearer_auth(token_of("shop")).body(body).send().await?;
    ensure!(answer.status() == 403, "{answer:?}");
    let all: Value = http().get(&url).bearer_auth(token_of("shop")).send().await?.json().await?;
    ensure!(all["subscriptions"] == json!([]), "nothing was made: {all}");

    let mut client: BridgeClient<Channel> = BridgeClient::connect(format!("http://{}", bridge.grpc)).await?;
    for (subscription, group) in [("", ""), ("mine", ""), ("", "ours")] {
        let first = SubscribeRequest {
            filters: vec!["secret.a".to_owned()],
            credit: 1,
            subscription: subscription.to_owned(),
            group: group.to_owned(),
            ..Default::default()
        };
        let mut request = Request::new(tokio_stream::once(first));
        request.metadata_mut().insert("authorization", format!("Bearer {}", token_of("shop")).parse()?);
        let status = client.subscribe(request).await.err().context("it was made")?;
        ensure!(status.code() == Code::PermissionDenied, "{status:?}");
        let info = status.get_details_error_info().with_context(|| format!("{status:?}"))?;
        ensure!(info.metadata.get("rule").is_some_and(|rule| rule == "inside/nobody-asks"), "{info:?}");
    }
    Ok(())
}

/// How a client reads; each must be as tight as the others.
const READERS: [&str; 3] = ["", "&subscription=mine", "&group=ours"];

#[tokio::test(flavor = "multi_thread")]
async fn each_subscriber_gets_what_its_own_rules_leave() -> Result<()> {
    let bridge = bridge(Setup::default()).await?;
    for reader in READERS {
        let ids = |events: &[Value]| {
            events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let costs = |events: &[Value]| events.iter().filter(|event| !event["data"]["cost"].is_null()).count();
        let (price, stock, secret, last) = (
            Draft::new(json!({})),
            Draft::new(json!({"cost": 3, "count": 7})),
            Draft::new(json!({})),
            Draft::new(json!({})),
        );
        let filter = format!("**{reader}");
        let mut seen: HashMap<&str, Vec<Value>> = HashMap::new();
        // One inside the other: all are subscribed before anything is published.
        seen.insert(
            "till",
            read_until(&bridge, "till", &filter, &last.id, async || {
                let shop = read_until(&bridge, "shop", &filter, &last.id, async || {
                    let audit = read_until(&bridge, "audit", &filter, &last.id, async || {
                        for (topic, event) in [
                            ("prices.today", &price),
                            ("stock.counted", &stock),
                            ("secret.a", &secret),
                            ("orders.last", &last),
                        ] {
                            taken(&bridge, "shop", topic, event).await?;
                        }
                        Ok(())
                    })
                    .await?;
                    ensure!(
                        ids(&audit) == [&*price.id, &stock.id, &last.id] && costs(&audit) == 1,
                        "{reader}: {audit:?}"
                    );
                    Ok(())
                })
                .await?;
                ensure!(
                    ids(&shop) == [&*price.id, &stock.id, &last.id] && costs(&shop) == 0,
                    "{reader}: {shop:?}"
                );
                Ok(())
            })
            .await?,
        );
        let till = &seen["till"];
        ensure!(ids(till) == [&*stock.id, &last.id] && costs(till) == 0, "{reader}: {till:?}");
        ensure!(till[0]["data"] == json!({"count": 7}), "{till:?}");
    }
    let metrics = bridge.admin().metrics().await?;
    let withheld = metrics.get("meshbridge_events_dropped_total{intentional=\"true\",reason=\"withheld\"}");
    // The price from the till, and the secret from all three; once for each way to read.
    ensure!(withheld == Some(&12.0), "{withheld:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_from_a_subscriber_is_a_dead_letter_where_its_rule_says_so() -> Result<()> {
    let bridge = bridge(Setup::default()).await?;
    for reader in READERS {
        let card = Draft::new(json!({"card": "4111 1111 1111 1111"}));
        let last = Draft::new(json!({}));
        let seen = read_until(&bridge, "shop", &format!("notes.**{reader}"), &last.id, async || {
            taken(&bridge, "shop", "notes.one", &card).await?;
            taken(&bridge, "shop", "notes.one", &last).await.map(drop)
        })
        .await?;
        ensure!(seen.len() == 1, "{reader}: {seen:?}");
        let letters = bridge.admin().dead_letters().await?;
        let letter =
            letters.iter().find(|letter| letter["id"] == card.id).with_context(|| format!("{letters:?}"))?;
        ensure!(letter["context"] == "deliver" && letter["by"] == "inside/no-cards", "{letter}");
        ensure!(!letter.to_string().contains("4111"), "{letter}");
    }
    Ok(())
}
