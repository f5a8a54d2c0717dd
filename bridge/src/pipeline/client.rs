//! A connection that holds many subscriptions and reads them all from one queue; each event comes with the tags of the
//! subscriptions it is for.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use meshbridge_topic::TopicFilter;

use super::queue::{Entry, Queue, Queued, Tags};
use super::{Pipeline, Principal, SubscribeRefused, SubscriptionEnd};
use crate::router_task::{Announcing, Command};

/// Filters of one command: a connection that ends may have held a million.
const WITHDRAWN_TOGETHER: usize = 1_024;

/// Subscriptions that are entered at a time: events do not get to their readers meanwhile.
const HELD_TOGETHER: usize = 512;

/// One subscription of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Tagged {
    pub(crate) tag: u64,
    pub(crate) filter: TopicFilter,
    /// Members of a group share the events.
    pub(crate) group: Option<Arc<str>>,
    /// Nobody else is to know of it: only events that are handed out here can match.
    pub(crate) is_private: bool,
}

/// The connection as the pipeline knows it; dropping it withdraws nothing, [`Client::leave`] does.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pipeline: Pipeline,
    principal: Principal,
    id: u64,
    queue: Arc<Queue>,
}

impl Pipeline {
    /// A queue for the subscriptions of a connection; `None` while the bridge stops.
    pub(crate) fn attach(&self, principal: &Principal, queue_bytes_max: usize) -> Option<Client> {
        let (id, queue) = self.inner.subscriptions.attach(principal, queue_bytes_max)?;
        Some(Client { pipeline: self.clone(), principal: principal.clone(), id, queue })
    }
}

impl Client {
    /// Takes all of these or none, and tells the federation of them; the answer comes later. Cancel-safe: nothing is held or
    /// announced for a caller that has gone.
    pub(crate) async fn begin_subscribe(
        &self,
        wanted: Vec<Tagged>,
    ) -> Result<Subscribing, (SubscribeRefused, Vec<Tagged>)> {
        let inner = &self.pipeline.inner;
        let filters: Vec<TopicFilter> =
            wanted.iter().filter(|one| !one.is_private).map(|one| one.filter.clone()).collect();
        if let Err(denied) = inner.may_ask_for(&self.principal, &filters) {
            return Err((SubscribeRefused::Denied(denied), wanted));
        }
        let mut subscribing = Subscribing { client: self.clone(), wanted, held: 0, announcing: None };
        // Local first: an event that arrives because of the interest must find its subscriber.
        for part in subscribing.wanted.chunks(HELD_TOGETHER) {
            if let Err(full) = inner.subscriptions.hold(self.id, part.iter().map(named)) {
                return Err((full, subscribing.give_back()));
            }
            subscribing.held += part.len();
        }
        if !filters.is_empty() {
            subscribing.announcing = Some(inner.parts.router.begin_announce(filters).await);
        }
        Ok(subscribing)
    }

    pub(crate) fn unsubscribe(&self, gone: &[Tagged]) {
        let inner = &self.pipeline.inner;
        inner.subscriptions.release(self.id, gone.iter().map(named));
        let filters: Vec<TopicFilter> =
            gone.iter().filter(|one| !one.is_private).map(|one| one.filter.clone()).collect();
        // In parts, so that the core gets to its links in between.
        for part in filters.chunks(WITHDRAWN_TOGETHER) {
            inner.parts.router.send_later(Command::Unsubscribe { filters: part.to_vec() });
        }
    }

    /// The connection has ended; `held` is what it was subscribed to. What waits may still be written where `drains`.
    pub(crate) fn leave(&self, held: &[Tagged], drains: bool) {
        self.unsubscribe(held);
        self.pipeline.inner.subscriptions.detach(self.id);
        self.queue.end(SubscriptionEnd::Draining);
        if !drains {
            let queued = self.queue.take_rest();
            self.finished(&queued, false);
        }
    }

    /// Puts something that the connection has to say behind what waits.
    pub(crate) fn say(&self, text: Bytes) {
        // Where the queue has ended the reader is told so, and says no more.
        self.queue.push(Queued::Note(text), Tags::new());
    }

    /// What waits, all of it; waits while there is nothing. Cancel-safe.
    pub(crate) async fn next(&self, entries: &mut VecDeque<Entry>) -> Result<(), SubscriptionEnd> {
        self.queue.take_all(entries).await
    }

    /// The events of these entries are with the client, or will not be.
    pub(crate) fn finished(&self, entries: &VecDeque<Entry>, delivered: bool) {
        self.queue.on_finished(entries);
        let bodies = entries.iter().filter_map(Entry::body);
        bodies.for_each(|body| self.pipeline.inner.durable.finished.push(body, delivered));
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// Subscriptions of which the federation is being told: given back where it never is.
#[derive(Debug)]
pub(crate) struct Subscribing {
    client: Client,
    wanted: Vec<Tagged>,
    /// So many of them have been entered.
    held: usize,
    /// Nothing where nobody is told.
    announcing: Option<Announcing>,
}

impl Subscribing {
    /// To be asked until it has answered, once. Cancel-safe.
    pub(crate) async fn outcome(&mut self) -> Result<(), SubscribeRefused> {
        if let Some(announcing) = &mut self.announcing {
            announcing.outcome().await?.keep();
        }
        Ok(())
    }

    /// They stay; gives them.
    pub(crate) fn keep(mut self) -> Vec<Tagged> {
        self.held = 0;
        std::mem::take(&mut self.wanted)
    }

    /// They are held no more; gives them.
    pub(crate) fn give_back(mut self) -> Vec<Tagged> {
        self.release();
        std::mem::take(&mut self.wanted)
    }

    fn release(&mut self) {
        let held = self.wanted.iter().take(std::mem::take(&mut self.held));
        self.client.pipeline.inner.subscriptions.release(self.client.id, held.map(named));
    }
}

impl Drop for Subscribing {
    fn drop(&mut self) {
        if self.held > 0 {
            self.release();
        }
    }
}

fn named(one: &Tagged) -> (u64, &TopicFilter, Option<&str>) {
    (one.tag, &one.filter, one.group.as_deref())
}
