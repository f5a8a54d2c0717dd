//! D2: a bridge that is asked to stop, as every upgrade does, misses nothing of what is published meanwhile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use meshbridge_integration::judge::{Demands, Topics};
use meshbridge_integration::{
    Consumer, Draft, Member, Mesh, Offers, Plan, Reading, SharedLedger, eventually,
};
use serde_json::json;

use super::books::close;
use super::publish;

const FILTER: &str = "orders.flow.**";
const TOPIC: &str = "orders.flow.created";
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_while_a_bridge_is_stopped_waits_for_it() -> Result<()> {
    let mesh = Mesh::start(&Plan::chain(), 1).await?;
    let ledger = SharedLedger::default();
    let east = mesh.zone("east");
    let consumer = Consumer::start(&east, "all", FILTER, &Topics::All, Reading::Manual, &ledger).await?;
    let offers = Offers::default();
    let jobs = "filter=orders.jobs.**";
    let member = Member::join(&east, "one", "workers", jobs, Duration::ZERO, &offers).await?;
    mesh.knows("east", FILTER).await?;
    consumer.established();
    mesh.terminate("east", WITHIN).await?;
    // The first knows it from before, the second from its disk.
    mesh.terminate("middle", WITHIN).await?;
    mesh.restart("middle").await?;
    let mut ids = Vec::new();
    for from in ["west", "middle"] {
        let publisher = mesh.zone(from).publisher();
        for _ in 0..10 {
            let event = Draft::new(json!({}));
            publish(&mesh.zone(from), TOPIC, &event, &ledger).await?;
            let job = Draft::new(json!({}));
            publisher.publish("orders.jobs.created", &job).await?;
            ids.push(job.id);
        }
    }
    mesh.restart("east").await?;
    let demands = Demands { events: 20, deliveries: 20, ..Demands::default() };
    ledger.settle(WITHIN, &demands).await.with_context(|| mesh.story())?;
    eventually("every job is acknowledged", WITHIN, || async {
        ensure!(offers.acknowledged() == ids.len(), "{} of {}", offers.acknowledged(), ids.len());
        Ok(())
    })
    .await
    .with_context(|| mesh.story())?;
    offers.check(&ids)?;
    close(&mesh).await?;
    drop((consumer, member));
    Ok(())
}
