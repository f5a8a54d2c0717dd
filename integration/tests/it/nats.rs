//! The listener of NATS with an unmodified client of that protocol: messages as events and back, over borders.

mod bursts;
mod clients;
mod protocol;
mod safety;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::{Client, HeaderMap, Message, Subscriber};
use futures_util::StreamExt as _;
use meshbridge_integration::{Federation, Options, repository};

const WAIT: Duration = Duration::from_secs(30);

async fn federation() -> Result<Federation> {
    Federation::up(&repository().join("integration/tests/fixtures/nats"), Options::default()).await
}

async fn client(federation: &Federation, bridge: &str) -> Result<Client> {
    Ok(async_nats::connect(federation.bridge(bridge).nats).await?)
}

/// What bridges dropped, for a message that should have come.
async fn dropped(federation: &Federation) -> Result<String> {
    let mut text = String::new();
    for node in federation.bridges() {
        for (name, value) in node.admin().metrics().await? {
            if value > 0.0 && ["event", "verdict", "link"].iter().any(|part| name.contains(part)) {
                text.push_str(&format!("{} {name} {value}; ", node.bridge));
            }
        }
    }
    text.push_str(&federation.log());
    Ok(text)
}

async fn next(subscriber: &mut Subscriber) -> Result<Message> {
    tokio::time::timeout(WAIT, subscriber.next())
        .await
        .context("no message in time")?
        .context("the subscription ended")
}

/// Subscribes, and waits until the others know.
async fn subscribe(
    federation: &Federation,
    bridge: &str,
    client: &Client,
    subject: &str,
) -> Result<Subscriber> {
    let subscriber = client.subscribe(subject.to_owned()).await?;
    client.flush().await?;
    let filter = subject.strip_suffix('>').map_or(subject.to_owned(), |start| format!("{start}*.**"));
    federation.knows(bridge, &filter).await?;
    Ok(subscriber)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_crosses_the_mesh_as_it_was_published() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "prices.>").await?;
    near.publish("prices.eu.tea", "4.20".into()).await?;
    let mut headers = HeaderMap::new();
    headers.insert("Unit", "100 g");
    near.publish_with_headers("prices.eu.coffee", headers, "{\"eur\": 1}".into()).await?;
    // Order is that of a topic.
    let mut messages = vec![next(&mut subscriber).await?, next(&mut subscriber).await?];
    messages.sort_by_key(|message| message.subject.to_string());
    let [message, plain] = messages.as_slice() else { unreachable!("two were read") };
    ensure!(plain.subject.as_str() == "prices.eu.tea" && plain.payload == "4.20", "{plain:?}");
    ensure!(plain.headers.is_none() && plain.reply.is_none(), "{plain:?}");
    ensure!(message.payload == "{\"eur\": 1}", "{message:?}");
    let unit = message.headers.as_ref().and_then(|headers| headers.get("Unit")).map(|value| value.as_str());
    ensure!(unit == Some("100 g"), "{message:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_travel_in_headers_between_protocols() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut by_nats = subscribe(&federation, "till-1", &far, "orders.eu.>").await?;
    let by_http = federation.bridge("till-1").subscribe(&["orders.eu.**"]).await?;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "o-1"),
        ("ce-source", "/shop/4"),
        ("ce-type", "order.created"),
        ("ce-note", "caf%C3%A9"),
        ("content-type", "application/json"),
    ] {
        headers.insert(name, value);
    }
    near.publish_with_headers("orders.eu.created", headers, "{\"n\": 1.50}".into()).await?;
    let message = next(&mut by_nats).await?;
    let header = |name: &str| {
        message.headers.as_ref().and_then(|all| all.get(name)).map(|value| value.as_str().to_owned())
    };
    ensure!(header("ce-id").as_deref() == Some("o-1") && message.payload == "{\"n\": 1.50}", "{message:?}");
    ensure!(header("ce-note").as_deref() == Some("caf%C3%A9"), "{message:?}");
    ensure!(header("content-type").as_deref() == Some("application/json"), "{message:?}");
    let event = by_http.wait_for("o-1").await?;
    ensure!(event.event["source"] == "/shop/4" && event.event["note"] == "café", "{}", event.event);
    ensure!(event.event["data"]["n"] == 1.5, "{}", event.event);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_over_borders_and_an_inbox_is_nobodys_interest() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut service = subscribe(&federation, "till-1", &far, "ask.price").await?;
    let answering = far.clone();
    let served = tokio::spawn(async move {
        while let Some(message) = service.next().await {
            let reply = message.reply.context("no reply subject")?;
            let answer = format!("{} costs 4.20", String::from_utf8_lossy(&message.payload));
            answering.publish(reply, answer.into()).await?;
        }
        anyhow::Ok(())
    });
    // Who listens to everything hears the questions, and no answer that is for somebody else.
    let curious = client(&federation, "shop-1").await?;
    let mut everything = subscribe(&federation, "shop-1", &curious, ">").await?;
    let mut inboxes = curious.subscribe("_INBOX.>").await?;
    let by_http = federation.bridge("shop-1").subscribe(&["_INBOX.**"]).await?;
    for thing in ["tea", "coffee", "cocoa"] {
        let answer = tokio::time::timeout(WAIT, near.request("ask.price", thing.into())).await??;
        ensure!(answer.payload == format!("{thing} costs 4.20"), "{answer:?}");
        let heard = next(&mut everything).await?;
        ensure!(heard.subject.as_str() == "ask.price" && heard.payload == thing, "{heard:?}");
    }
    near.publish("ask.last", "x".into()).await?;
    let heard = next(&mut everything).await?;
    ensure!(heard.subject.as_str() == "ask.last", "an answer to somebody else: {heard:?}");
    let answer = futures_util::FutureExt::now_or_never(inboxes.next());
    ensure!(answer.is_none(), "an answer to somebody else: {answer:?}");
    ensure!(by_http.received().is_empty(), "an answer to somebody else: {:?}", by_http.received());
    drop(by_http);
    federation.forgets("shop-1", "_INBOX.**").await?;
    let known = federation.bridge("till-1").admin().interest_of("shop-1").await?;
    ensure!(known == ["*.**"], "{known:?}");
    everything.unsubscribe().await?;
    federation.forgets("shop-1", "*.**").await?;
    let nobody = near.request("ask.nobody", "x".into()).await;
    ensure!(nobody.is_err(), "{nobody:?}");
    ensure!(format!("{:?}", nobody.err()).contains("NoResponders"), "a request that nobody could answer");
    served.abort();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_publication_is_acknowledged_once_it_is_stored() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "orders.>").await?;
    let stream = async_nats::jetstream::new(near.clone());
    let mut waiting = Vec::new();
    for number in 0..200 {
        waiting.push(stream.publish(format!("orders.n.{number}"), format!("{number}").into()).await?);
    }
    let mut seen = std::collections::BTreeSet::new();
    for ack in waiting {
        let ack = ack.await?;
        ensure!(ack.stream.starts_with("shop-1."), "{ack:?}");
        ensure!(seen.insert((ack.stream.clone(), ack.sequence)), "a number twice: {ack:?}");
    }
    let mut got = std::collections::BTreeSet::new();
    while got.len() < 200 {
        let message = next(&mut subscriber).await?;
        ensure!(got.insert(String::from_utf8(message.payload.to_vec())?), "twice: {message:?}");
    }
    // The same message again is the same event.
    let named = |id: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        headers
    };
    let first = stream.publish_with_headers("orders.again", named("m-1"), "x".into()).await?.await?;
    let second = stream.publish_with_headers("orders.again", named("m-1"), "x".into()).await?.await?;
    ensure!(
        !first.duplicate && second.duplicate && first.sequence == second.sequence,
        "{first:?} {second:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_queue_group_share_and_a_subscription_ends_after_its_maximum() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let other = client(&federation, "till-1").await?;
    let mut members = vec![
        far.queue_subscribe("prices.*", "tellers".to_owned()).await?,
        other.queue_subscribe("prices.*", "tellers".to_owned()).await?,
    ];
    // Its interest is covered by that of the group.
    let mut few = far.subscribe("prices.few").await?;
    few.unsubscribe_after(3).await?;
    far.flush().await?;
    other.flush().await?;
    federation.knows("till-1", "prices.*").await?;
    for number in 0..100 {
        near.publish("prices.few", number.to_string().into()).await?;
    }
    near.flush().await?;
    let mut got = std::collections::BTreeSet::new();
    let mut by_member = [0; 2];
    while got.len() < 100 {
        let (at, message) = next_of(&mut members).await?;
        by_member[at] += 1;
        ensure!(got.insert(message.payload.clone()), "{:?} twice", message.payload);
    }
    ensure!(by_member.iter().all(|count| *count > 0), "one member got everything: {by_member:?}");
    let mut last = 0;
    while let Ok(Some(_)) = tokio::time::timeout(WAIT, few.next()).await {
        last += 1;
    }
    ensure!(last == 3, "{last} messages after a maximum of 3");
    Ok(())
}

/// The next message of any of them, with whose it is.
async fn next_of(members: &mut [Subscriber]) -> Result<(usize, Message)> {
    let waiting =
        members.iter_mut().enumerate().map(|(at, member)| Box::pin(async move { (at, member.next().await) }));
    let ((at, message), ..) = tokio::time::timeout(WAIT, futures_util::future::select_all(waiting))
        .await
        .context("no message in time")?;
    Ok((at, message.context("a subscription ended")?))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_policies_refuse_is_told_as_clients_of_nats_expect() -> Result<()> {
    let federation = federation().await?;
    let (sender, mut events) = tokio::sync::mpsc::channel(64);
    let options = async_nats::ConnectOptions::new().event_callback(move |event| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(event.to_string()).await;
        }
    });
    let near = options.connect(federation.bridge("shop-1").nats).await?;
    near.publish("closed.door", "x".into()).await?;
    near.subscribe("secret.>").await?;
    near.flush().await?;
    let mut told = String::new();
    while !(told.contains("Permissions Violation for Publish to \"closed.door\"")
        && told.contains("Permissions Violation for Subscription to \"secret.*.**\""))
    {
        let event = tokio::time::timeout(WAIT, events.recv()).await.with_context(|| told.clone())?;
        told.push_str(&event.context("no more events")?);
    }
    let metrics = federation.bridge("shop-1").admin().metrics().await?;
    let of_rejections = metrics.iter().filter(|(name, _)| {
        name.starts_with("meshbridge_policy_verdicts_total")
            && ["context=\"publish\"", "verdict=\"reject\""].iter().all(|label| name.contains(label))
    });
    let judged: f64 = of_rejections.map(|(_, count)| count).sum();
    ensure!(judged == 1.0, "a message that is refused is judged once: {judged}");
    let mut open = near.subscribe("prices.here").await?;
    near.publish("prices.here", "still served".into()).await?;
    ensure!(next(&mut open).await?.payload == "still served");
    Ok(())
}
