//! Subscriptions that are pushed to webhooks: one task each, one event at a time, in order.
//!
//! What the receiver refuses comes again after a pause and ends as a dead letter, like any event of a subscription with
//! memory. What was not sent at all (a pause the receiver asked for, its rate, an open circuit) costs no attempt. 410
//! ends the subscription.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meshbridge_delivery::GroupEnd;
use tracing::{info, warn};

use super::named::{Named, NamedEnd};
use super::named_connection::{Acks, Leased, NamedConnection};
use super::{NamedRefused, Pipeline, Principal};
use crate::webhook::{Delivery, Outcome, SigningKeys, Target, TargetUrl, WebhookClient};

/// A target that may not be reached is looked at again after this: somebody may have changed the configuration.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// The sender of this bridge.
pub(crate) struct Webhooks {
    pub(crate) client: WebhookClient,
    pub(crate) keys: Option<Arc<SigningKeys>>,
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhooks").field("signs", &self.keys.is_some()).finish_non_exhaustive()
    }
}

/// Whether an event has been dealt with, in one way or another.
enum Done {
    Event,
    Subscription,
}

impl Pipeline {
    /// Begins to push. Subscriptions that the spool remembers are pushed from here on.
    pub(crate) fn start_webhooks(&self, webhooks: Webhooks) {
        if self.inner.webhooks.set(Arc::new(webhooks)).is_err() {
            return;
        }
        for named in self.inner.named.all() {
            self.start_pushing(&named);
        }
    }

    /// For a subscription with a URL.
    pub(super) fn start_pushing(&self, named: &Arc<Named>) {
        if let (Some(url), Some(webhooks)) = (&named.push, self.inner.webhooks.get()) {
            let target = Target { url: url.clone(), keys: webhooks.keys.clone() };
            tokio::spawn(push(self.clone(), Arc::clone(named), Arc::clone(webhooks), target));
        }
    }

    /// Asks the receiver whether it wants events (G9).
    pub(super) async fn ask_webhook(&self, url: &TargetUrl) -> Result<(), NamedRefused> {
        let Some(webhooks) = self.inner.webhooks.get() else {
            return Err(NamedRefused::Webhook("this bridge sends no webhooks".to_owned()));
        };
        let target = Target { url: url.clone(), keys: webhooks.keys.clone() };
        let why = match webhooks.client.ask_consent(&target).await {
            Outcome::Accepted => return Ok(()),
            Outcome::Refused(reason) => reason.to_string(),
            Outcome::Retry(reason) => reason.to_string(),
            Outcome::Gone => "the receiver wants no events".to_owned(),
            Outcome::RetryAfter(_) | Outcome::NotSent(_) => "the receiver cannot be asked now".to_owned(),
        };
        Err(NamedRefused::Webhook(why))
    }
}

async fn push(pipeline: Pipeline, named: Arc<Named>, webhooks: Arc<Webhooks>, target: Target) {
    let mut connection = NamedConnection::new(&pipeline, &named, Acks::Push, 1);
    loop {
        let leased = match connection.recv().await {
            Ok(leased) => leased,
            Err(NamedEnd::Deleted | NamedEnd::Stopping | NamedEnd::TakenOver) => return,
        };
        if let Done::Subscription = push_one(&pipeline, &named, &webhooks, &target, &leased).await {
            return;
        }
    }
}

async fn push_one(
    pipeline: &Pipeline,
    named: &Arc<Named>,
    webhooks: &Webhooks,
    target: &Target,
    leased: &Leased,
) -> Done {
    let (key, topic, event) =
        (leased.delivery.key.clone(), leased.delivery.topic.clone(), leased.delivery.event.clone());
    let delivery = Delivery { key, topic, event, count: leased.count };
    loop {
        if named.is_gone() {
            return Done::Subscription;
        }
        match webhooks.client.deliver(target, &delivery).await {
            Outcome::Accepted => {
                pipeline.inner.end_leases(&[leased.token]);
                return Done::Event;
            }
            Outcome::NotSent(pause) => tokio::time::sleep(pause).await,
            Outcome::Retry(reason) => {
                info!(subscription = %named.name, key = %delivery.key, %reason, "A webhook did not take an event");
                pipeline.give_back_one(named, leased.token);
                return Done::Event;
            }
            Outcome::RetryAfter(_) => {
                pipeline.give_back_one(named, leased.token);
                return Done::Event;
            }
            Outcome::Gone => {
                warn!(subscription = %named.name, "A webhook wants no more events, its subscription ends");
                let owner = Principal(Arc::from(&*named.owner));
                let _ = pipeline.delete_named(&owner, &named.name).await;
                return Done::Subscription;
            }
            Outcome::Refused(reason) => {
                warn!(subscription = %named.name, %reason, "Nothing is sent to a webhook");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

impl Pipeline {
    fn give_back_one(&self, named: &Named, token: super::named_connection::AckToken) {
        if named.refuse(token.body, token.lease, Instant::now()) == Some(true) {
            let end = GroupEnd::DeadLettered("attempts-exhausted".into());
            self.inner.durable.with(|core| core.end_group(token.body, named.id, end));
        }
    }
}
