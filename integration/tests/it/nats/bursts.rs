//! Bursts: what travels as a train is the same as what travels alone, in order, once.

use anyhow::bail;

use super::*;

const BURST: usize = 20_000;

/// Publishes a burst and reads it at the other end of the mesh, and beside its publisher.
async fn burst(
    federation: &Federation,
    subject: &'static str,
    payload: impl Fn(usize) -> String + Clone + Send + 'static,
    expected: impl Fn(usize) -> String,
) -> Result<()> {
    let (near, far) = (client(federation, "shop-1").await?, client(federation, "till-1").await?);
    let mut subscriber = subscribe(federation, "till-1", &far, subject).await?;
    let local = client(federation, "shop-1").await?;
    let mut here = subscribe(federation, "shop-1", &local, subject).await?;
    let published = payload.clone();
    let publishing = tokio::spawn(async move {
        for number in 0..BURST {
            near.publish(subject, published(number).into()).await?;
        }
        near.flush().await?;
        anyhow::Ok(near)
    });
    for number in 0..BURST {
        let message = next(&mut subscriber).await.with_context(|| format!("message {number}"))?;
        ensure!(message.payload == expected(number), "{number}: {message:?}");
        let message = next(&mut here).await.with_context(|| format!("local message {number}"))?;
        ensure!(message.payload == payload(number), "{number}: {message:?}");
    }
    publishing.await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_arrives_whole_in_order_and_once() -> Result<()> {
    let federation = federation().await?;
    burst(&federation, "prices.burst", |number| number.to_string(), |number| number.to_string()).await?;
    let received = federation.bridge("till-1").admin().peer("hub-1").await?.received.events;
    ensure!(received == BURST as u64, "events of trains are counted one by one, not {received}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_edits_by_its_data_is_judged_event_by_event() -> Result<()> {
    let federation = federation().await?;
    burst(
        &federation,
        "masked.burst",
        |number| format!("{{\"n\": {number}, \"mail\": \"ana{number}@example.com\"}}"),
        |number| format!("{{\"n\": {number}, \"mail\": \"[redacted]\"}}"),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_attribute_stops_every_event_of_a_burst() -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, "orders.traced.>").await?;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-source", "/shop/4"),
        ("ce-type", "order.created"),
        ("ce-traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        headers.insert(name, value);
    }
    for number in 0..1_000 {
        near.publish("orders.traced.plain", format!("{number}").into()).await?;
        headers.insert("ce-id", format!("o-{number}").as_str());
        near.publish_with_headers("orders.traced.full", headers.clone(), format!("{number}").into()).await?;
    }
    near.flush().await?;
    for number in 0..1_000 {
        let message = next(&mut subscriber).await.with_context(|| format!("message {number}"))?;
        ensure!(message.subject.as_str() == "orders.traced.full", "{message:?}");
        ensure!(message.payload == number.to_string(), "{number}: {message:?}");
        let id = message.headers.as_ref().and_then(|all| all.get("ce-id")).map(|value| value.to_string());
        ensure!(id == Some(format!("o-{number}")), "{number}: {message:?}");
    }
    Ok(())
}

/// Publishes numbered documents, and expects those that pass at the other end, in order and edited.
async fn sifted(subject: &'static str, passes: impl Fn(usize) -> bool) -> Result<()> {
    let federation = federation().await?;
    let (near, far) = (client(&federation, "shop-1").await?, client(&federation, "till-1").await?);
    let mut subscriber = subscribe(&federation, "till-1", &far, subject).await?;
    for number in 0..2_000 {
        let data = format!("{{\"n\": {number}, \"mail\": \"ana@example.com\"}}");
        near.publish(subject, data.into()).await?;
    }
    near.flush().await?;
    for number in (0..2_000).filter(|number| passes(*number)) {
        let message = match next(&mut subscriber).await {
            Ok(message) => message,
            Err(problem) => bail!("message {number}: {problem}; {}", dropped(&federation).await?),
        };
        let expected = format!("{{\"n\": {number}, \"mail\": \"[redacted]\"}}");
        ensure!(message.payload == expected, "{number}: {message:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_border_stops_leaves_the_rest_of_a_burst_as_it_was() -> Result<()> {
    sifted("masked.even", |number| number % 2 == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_destination_refuses_leaves_the_rest_of_a_burst_as_it_was() -> Result<()> {
    sifted("masked.third", |number| number % 3 != 0).await
}
