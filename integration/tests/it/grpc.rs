//! gRPC: every way to publish, subscriptions with credit and acknowledgements, precise errors.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use meshbridge_integration::Federation;
use meshbridge_integration::grpc::io::cloudevents::v1::{CloudEvent, cloud_event::Data};
use meshbridge_integration::grpc::meshbridge::v1::bridge_client::BridgeClient;
use meshbridge_integration::grpc::meshbridge::v1::{
    PublishBatchRequest, PublishRequest, SubscribeReply, SubscribeRequest,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

const WAIT: Duration = Duration::from_secs(10);

fn request(topic: &str, id: &str) -> PublishRequest {
    PublishRequest {
        topic: topic.to_owned(),
        event: Some(CloudEvent {
            id: id.to_owned(),
            source: "/internal/shop".to_owned(),
            spec_version: "1.0".to_owned(),
            r#type: "orders.eu.created".to_owned(),
            attributes: Default::default(),
            data: Some(Data::TextData(r#"{"customer": {"email": "ana@example.com"}, "n": 1.50}"#.to_owned())),
        }),
        ..Default::default()
    }
}

async fn client(federation: &Federation, bridge: &str) -> Result<BridgeClient<Channel>> {
    Ok(BridgeClient::connect(federation.bridge(bridge).grpc).await?)
}

async fn subscribe(
    federation: &Federation,
    bridge: &str,
    filter: &str,
    credit: u32,
) -> Result<(mpsc::Sender<SubscribeRequest>, Streaming<SubscribeReply>)> {
    let (sender, requests) = mpsc::channel(8);
    let first = SubscribeRequest { filters: vec![filter.to_owned()], credit, ..Default::default() };
    sender.send(first).await?;
    let replies = client(federation, bridge).await?.subscribe(ReceiverStream::new(requests)).await?;
    Ok((sender, replies.into_inner()))
}

async fn next(replies: &mut Streaming<SubscribeReply>) -> Result<SubscribeReply> {
    tokio::time::timeout(WAIT, replies.message())
        .await
        .context("no event in time")??
        .context("the stream ended")
}

fn id(reply: &SubscribeReply) -> &str {
    reply.event.as_ref().map(|event| event.id.as_str()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_published_every_way_arrive_redacted_and_in_order() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let (_requests, mut replies) = subscribe(&federation, "cloud-us-1", "orders.**", 100).await?;
    federation.knows("cloud-us-1", "orders.**").await?;
    let mut publisher = client(&federation, "internal-1").await?;
    let one = publisher.publish(request("orders.eu.created", "1")).await?.into_inner();
    ensure!(one.destinations == ["cloud-us-1"] && one.denied.is_empty(), "{one:?}");
    // Without a topic the type is the topic.
    let batch = PublishBatchRequest {
        requests: vec![request("", "2"), request("orders.eu.created", "3")],
        ..Default::default()
    };
    ensure!(publisher.publish_batch(batch).await?.into_inner().replies.len() == 2);
    let stream = tokio_stream::iter(vec![request("", "4"), request("", "5")]);
    ensure!(publisher.publish_stream(stream).await?.into_inner().replies.len() == 2);
    for wanted in ["1", "2", "3", "4", "5"] {
        let reply = next(&mut replies).await?;
        ensure!(id(&reply) == wanted && reply.topic == "orders.eu.created", "{reply:?}, wanted {wanted}");
        let data = reply.event.and_then(|event| event.data);
        let expected = r#"{"customer": {"email": "[redacted:contact.email]"}, "n": 1.50}"#;
        ensure!(data == Some(Data::TextData(expected.to_owned())), "{data:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_only_against_credit_and_acks_are_checked() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let (requests, mut replies) = subscribe(&federation, "internal-1", "orders.**", 1).await?;
    let mut publisher = client(&federation, "internal-1").await?;
    for id in ["1", "2", "3"] {
        publisher.publish(request("orders.eu.created", id)).await?;
    }
    let first = next(&mut replies).await?;
    ensure!(id(&first) == "1");
    let more = tokio::time::timeout(Duration::from_millis(300), replies.message()).await;
    ensure!(more.is_err(), "an event came without credit: {more:?}");
    requests
        .send(SubscribeRequest { credit: 2, acks: vec![first.key.clone()], ..Default::default() })
        .await?;
    ensure!(id(&next(&mut replies).await?) == "2");
    ensure!(id(&next(&mut replies).await?) == "3");
    requests.send(SubscribeRequest { acks: vec![first.key], ..Default::default() }).await?;
    let end = tokio::time::timeout(WAIT, replies.message()).await.context("the stream stayed open")?;
    ensure!(end.as_ref().is_err_and(|status| status.code() == Code::InvalidArgument), "{end:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_input_is_named_and_nothing_is_half_taken() -> Result<()> {
    let federation = Federation::example("three-zones").await?;
    let (_requests, mut replies) = subscribe(&federation, "internal-1", "orders.**", 10).await?;
    let mut publisher = client(&federation, "internal-1").await?;
    let mut nameless = request("orders.eu.created", "x");
    nameless.event.as_mut().context("an event")?.id.clear();
    let status = publisher.publish(nameless.clone()).await.err().context("an event without id was taken")?;
    ensure!(status.code() == Code::InvalidArgument && status.message().contains("`id`"), "{status:?}");
    let status = publisher.publish(request("orders..x", "x")).await.err().context("a bad topic was taken")?;
    ensure!(status.code() == Code::InvalidArgument && status.message().contains("byte 7"), "{status:?}");
    let batch = PublishBatchRequest { requests: vec![request("", "lost"), nameless], ..Default::default() };
    let status = publisher.publish_batch(batch).await.err().context("a bad batch was taken")?;
    ensure!(status.code() == Code::InvalidArgument && status.message().contains("request 1"), "{status:?}");
    publisher.publish(request("orders.eu.created", "after")).await?;
    ensure!(id(&next(&mut replies).await?) == "after", "something of the batch was taken");
    Ok(())
}
