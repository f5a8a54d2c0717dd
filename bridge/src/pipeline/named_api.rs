//! What listeners and the admin port do with subscriptions that have memory.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use meshbridge_delivery::GroupEnd;
use meshbridge_routing::EventKey;
use meshbridge_topic::TopicFilter;
use tokio::sync::oneshot;
use tracing::{error, warn};

use super::named::{Named, NamedEnd, NamedFigures, SUBSCRIPTIONS_MAX};
use super::settings::{SettingsProblem, SubscriptionSettings, Wished};
use super::subscriptions::Delivery;
use super::{Inner, Pipeline, Principal};
use crate::router_task::Command;
use crate::webhook::TargetUrl;

/// Bytes of a subscription's name.
pub(crate) const NAME_BYTES_MAX: usize = 128;

/// Names one attempt to deliver one event: subscription, body, lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AckToken {
    subscription: u32,
    pub(super) body: u64,
    pub(super) lease: u64,
}

impl fmt::Display for AckToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.subscription, self.body, self.lease)
    }
}

impl FromStr for AckToken {
    type Err = ();

    fn from_str(text: &str) -> Result<AckToken, ()> {
        let mut parts = text.splitn(3, '-');
        let mut part = || parts.next().and_then(|part| u64::from_str_radix(part, 16).ok()).ok_or(());
        let subscription = u32::try_from(part()?).map_err(|_| ())?;
        Ok(AckToken { subscription, body: part()?, lease: part()? })
    }
}

/// Why a subscription with memory is not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum NamedRefused {
    #[error("a name has 1 to 128 letters, digits, and -_.~")]
    Name,
    #[error(
        "subscription `{0}` exists with other filters, settings or another URL; delete it, or use another name"
    )]
    OtherFilters(String),
    #[error(transparent)]
    Settings(SettingsProblem),
    #[error("this bridge has {SUBSCRIPTIONS_MAX} subscriptions, which is as many as it may have")]
    TooMany,
    #[error("there is no subscription `{0}` of yours")]
    Unknown(String),
    #[error("subscription `{0}` is pushed to a webhook")]
    Pushed(String),
    /// No consent, or no way; why.
    #[error("the webhook cannot be used: {0}")]
    Webhook(String),
    #[error("{0}")]
    InterestFull(String),
    #[error("the bridge is stopping")]
    Draining,
}

/// An event that one connection holds.
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) delivery: Arc<Delivery>,
    pub(crate) token: AckToken,
    /// 1 for the first time.
    pub(crate) count: u32,
}

/// The answer to acknowledgements.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) settled: usize,
    /// Tokens of leases that were over.
    pub(crate) stale: Vec<String>,
}

/// A subscription as its owner sees it.
#[derive(Clone, Debug)]
pub(crate) struct NamedView {
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) filters: Vec<String>,
    pub(crate) push: Option<String>,
    pub(crate) settings: SubscriptionSettings,
    pub(crate) figures: NamedFigures,
    pub(crate) dead_letters: usize,
}

/// How often a connection has handed everything written to the kernel; grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flushed(Arc<AtomicU64>);

impl Flushed {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Who says that an event is dealt with.
#[derive(Clone, Debug)]
pub(crate) enum Acks {
    /// The client, by token.
    Manual,
    /// The task that pushes; its leases last as long as it does.
    Push,
    /// The kernel has taken its bytes. Without a count that is so when the next event is asked for.
    Auto(Option<Flushed>),
}

/// A connection that reads a subscription. Dropping it gives back what it held.
#[derive(Debug)]
pub(crate) struct NamedConnection {
    pipeline: Pipeline,
    named: Arc<Named>,
    connection: u64,
    acks: Acks,
    credit: usize,
    /// Handed out and not acknowledged, with the flushes until then; only with automatic acknowledgement.
    handed: VecDeque<(AckToken, u64)>,
}

impl NamedConnection {
    pub(super) fn new(pipeline: &Pipeline, named: &Arc<Named>, acks: Acks) -> NamedConnection {
        let connection = named.connect();
        let (pipeline, named) = (pipeline.clone(), Arc::clone(named));
        let credit = super::named::LEASES_MAX;
        NamedConnection { pipeline, named, connection, acks, credit, handed: VecDeque::new() }
    }

    /// The next event. Cancel-safe: an event is leased only in the poll that returns it.
    pub(crate) async fn recv(&mut self) -> Result<Leased, NamedEnd> {
        let lease = matches!(self.acks, Acks::Manual).then(|| self.named.settings.lease());
        loop {
            let named = Arc::clone(&self.named);
            let ready = named.ready.notified();
            self.settle_flushed();
            if self.pipeline.inner.draining.load(Ordering::Relaxed) {
                return Err(NamedEnd::Stopping);
            }
            match self.named.take(self.connection, lease, self.credit, Instant::now()) {
                Ok(Some(taken)) => {
                    let token =
                        AckToken { subscription: self.named.id, body: taken.body, lease: taken.token };
                    if let Some(leased) = self.pipeline.inner.load(token, taken.attempts) {
                        match &self.acks {
                            Acks::Manual | Acks::Push => {}
                            Acks::Auto(None) => self.handed.push_back((token, 0)),
                            Acks::Auto(Some(flushed)) => self.handed.push_back((token, flushed.so_far())),
                        }
                        return Ok(leased);
                    }
                }
                Ok(None) => {
                    // Pauses and leases end by the clock; the driver looks at it, and wakes. Flushes wake nobody.
                    let pause = if self.handed.is_empty() { 1_000 } else { 10 };
                    let _ = tokio::time::timeout(Duration::from_millis(pause), ready).await;
                }
                Err(end) => {
                    // The wake-up may have been meant for the connection that took over.
                    self.named.ready.notify_one();
                    return Err(end);
                }
            }
        }
    }

    fn settle_flushed(&mut self) {
        let flushes = match &self.acks {
            Acks::Auto(Some(flushed)) => flushed.so_far(),
            Acks::Auto(None) | Acks::Manual | Acks::Push => u64::MAX,
        };
        let ready = self.handed.iter().take_while(|(_, before)| *before < flushes).count();
        let tokens: Vec<AckToken> = self.handed.drain(..ready).map(|(token, _)| token).collect();
        self.pipeline.inner.end_leases(&tokens);
    }

    /// Further events that may be held unacknowledged.
    pub(crate) fn set_credit(&mut self, credit: usize) {
        self.credit = credit;
    }

    pub(crate) fn name(&self) -> &str {
        &self.named.name
    }
}

impl Drop for NamedConnection {
    fn drop(&mut self) {
        if matches!(self.acks, Acks::Auto(Some(_))) {
            self.settle_flushed();
        }
        self.named.disconnect(self.connection);
    }
}

impl Inner {
    /// The event of a lease; `None` where it has ended meanwhile.
    fn load(&self, token: AckToken, attempts: u32) -> Option<Leased> {
        let starts = self.durable.view(|core| {
            let state = core.state();
            let event = state.events.get(&token.body)?;
            // A lease of an earlier process may have been taken: each start counts as an attempt.
            Some(state.starts.saturating_sub(event.start))
        });
        let gone = || {
            if let Some(named) = self.named.get(token.subscription) {
                named.forget(token.body);
            }
            None
        };
        let Some(starts) = starts else { return gone() };
        match tokio::task::block_in_place(|| self.durable.stored(token.body)) {
            Ok(stored) => {
                let (key, topic, event) = (stored.key.clone(), stored.topic.clone(), stored.event.clone());
                let delivery = Arc::new(Delivery { body: Some(token.body), key, topic, event });
                self.parts.metrics.on_delivered(1);
                Some(Leased { delivery, token, count: 1 + starts + attempts })
            }
            Err(problem) => {
                error!(body = token.body, %problem, "An event cannot be read back from the spool");
                let end = GroupEnd::DeadLettered("destination-lost".into());
                self.durable.with(|core| core.end_group(token.body, token.subscription, end));
                gone()
            }
        }
    }

    /// Acknowledges what these leases hold; gives for each whether it was running.
    pub(super) fn end_leases(&self, tokens: &[AckToken]) -> Vec<bool> {
        let named = |token: &AckToken| self.named.get(token.subscription);
        let running: Vec<bool> = tokens
            .iter()
            .map(|token| named(token).is_some_and(|named| named.end_lease(token.body, token.lease)))
            .collect();
        if running.contains(&true) {
            self.durable.with(|core| {
                for (token, _) in tokens.iter().zip(&running).filter(|(_, running)| **running) {
                    core.end_group(token.body, token.subscription, GroupEnd::Acknowledged);
                }
            });
        }
        running
    }

    fn find(&self, principal: &Principal, name: &str) -> Result<Arc<Named>, NamedRefused> {
        self.named.find(&principal.0, name).ok_or_else(|| NamedRefused::Unknown(name.to_owned()))
    }
}

impl Pipeline {
    /// Announces the subscriptions that the spool remembers. To be called before clients and peers come in.
    pub(crate) async fn resume_named(&self) {
        let known =
            self.inner.durable.view(|core| core.state().subscriptions.values().cloned().collect::<Vec<_>>());
        for record in known {
            let filters: Result<Vec<TopicFilter>, _> =
                record.filters.iter().map(|text| TopicFilter::parse(text)).collect();
            let Ok(filters) = filters else {
                warn!(subscription = %record.name, "A remembered filter is no filter to this version");
                continue;
            };
            if let Err(refused) = self.announce(filters.clone()).await {
                warn!(subscription = %record.name, %refused, "A remembered subscription cannot be announced");
            }
            let push = pushed_to(&record.settings);
            let settings = SubscriptionSettings::decode(&record.settings);
            let named = Named::new(record.id, &record.name, &record.owner, filters, push, settings);
            self.inner.named.insert(Arc::new(named));
        }
    }

    async fn announce(&self, filters: Vec<TopicFilter>) -> Result<(), NamedRefused> {
        let (reply, outcome) = oneshot::channel();
        self.inner.parts.router.send(Command::Subscribe { filters, reply }).await;
        match outcome.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(full)) => Err(NamedRefused::InterestFull(full.to_string())),
            Err(_) => Err(NamedRefused::Draining),
        }
    }

    /// Makes the subscription if it is new; durable when this returns.
    pub(crate) async fn ensure_named(
        &self,
        principal: &Principal,
        name: &str,
        filters: Vec<TopicFilter>,
        push: Option<TargetUrl>,
        wished: &Wished,
    ) -> Result<Arc<Named>, NamedRefused> {
        check_name(name)?;
        let settings = SubscriptionSettings::of(wished).map_err(NamedRefused::Settings)?;
        let inner = &self.inner;
        // One at a time: two clients that come first together must not make two.
        let _making = inner.making.lock().await;
        if let Some(named) = inner.named.find(&principal.0, name) {
            let same = named.filters.len() == filters.len()
                && named.filters.iter().all(|known| filters.iter().any(|new| new.as_str() == known.as_str()));
            let same = same && (push.is_none() || push == named.push);
            // A client that names no filter takes what there is.
            return if named.settings.fits(wished) && (same || filters.is_empty() && push.is_none()) {
                Ok(named)
            } else {
                Err(NamedRefused::OtherFilters(name.to_owned()))
            };
        }
        if filters.is_empty() {
            return Err(NamedRefused::Unknown(name.to_owned()));
        }
        if inner.draining.load(Ordering::Relaxed) {
            return Err(NamedRefused::Draining);
        }
        if inner.named.all().len() >= SUBSCRIPTIONS_MAX {
            return Err(NamedRefused::TooMany);
        }
        if let Some(url) = &push {
            self.ask_webhook(url).await?;
        }
        let kept = settings.encode(push.as_ref().map(TargetUrl::as_str));
        let texts = filters.iter().map(|filter| filter.as_str().into()).collect();
        let id = inner.durable.with(|core| core.subscribe(name, &principal.0, texts, &kept));
        let ticket = inner.durable.view(meshbridge_delivery::Core::last_ticket);
        let named = Arc::new(Named::new(id, name, &principal.0, filters.clone(), push, settings));
        inner.named.insert(Arc::clone(&named));
        let announced = self.announce(filters).await;
        if !inner.durable.committed(ticket).await {
            return Err(NamedRefused::Draining);
        }
        if let Err(refused) = announced {
            inner.named.remove(id);
            inner.durable.with(|core| core.unsubscribe(id));
            return Err(refused);
        }
        self.start_pushing(&named);
        Ok(named)
    }

    /// Reads a subscription; takes it over from the connection that read it so far. Up to `last_seen`, the key of an
    /// event, everything counts as acknowledged.
    pub(crate) async fn connect_named(
        &self,
        principal: &Principal,
        name: &str,
        filters: Vec<TopicFilter>,
        wished: &Wished,
        acks: Acks,
        last_seen: Option<&str>,
    ) -> Result<NamedConnection, NamedRefused> {
        let named = self.ensure_named(principal, name, filters, None, wished).await?;
        if named.push.is_some() {
            return Err(NamedRefused::Pushed(name.to_owned()));
        }
        let connection = NamedConnection::new(self, &named, acks);
        if let Some(key) = last_seen.and_then(|text| text.parse::<EventKey>().ok()) {
            self.end_up_to(&named, &key);
            // The subscriber takes the answer for a promise that it will not see these again.
            self.commit_all().await?;
        }
        Ok(connection)
    }

    fn end_up_to(&self, named: &Named, key: &EventKey) {
        let waiting = named.waiting();
        let found = self.inner.durable.view(|core| {
            let events = &core.state().events;
            waiting.iter().copied().find(|body| events.get(body).is_some_and(|event| event.key == *key))
        });
        let Some(last) = found else { return };
        let ended = named.end_up_to(last);
        self.inner.durable.with(|core| {
            for body in ended {
                core.end_group(body, named.id, GroupEnd::Acknowledged);
            }
        });
    }

    /// Settles what these tokens name; durable when this returns.
    pub(crate) async fn acknowledge(
        &self,
        principal: &Principal,
        name: &str,
        tokens: &[String],
    ) -> Result<Acknowledged, NamedRefused> {
        let named = self.inner.find(principal, name)?;
        let mut done = Acknowledged::default();
        let mut parsed = Vec::with_capacity(tokens.len());
        for text in tokens {
            match text.parse::<AckToken>().ok().filter(|token| token.subscription == named.id) {
                Some(token) => parsed.push((token, text)),
                None => done.stale.push(text.clone()),
            }
        }
        let leases: Vec<AckToken> = parsed.iter().map(|(token, _)| *token).collect();
        for ((_, text), running) in parsed.into_iter().zip(self.inner.end_leases(&leases)) {
            if running {
                done.settled += 1;
            } else {
                done.stale.push(text.clone());
            }
        }
        self.commit_all().await?;
        Ok(done)
    }

    /// Gives events back that their subscriber cannot deal with now: they come again after a pause.
    pub(crate) fn give_back(
        &self,
        principal: &Principal,
        name: &str,
        tokens: &[String],
    ) -> Result<Acknowledged, NamedRefused> {
        let named = self.inner.find(principal, name)?;
        let mut done = Acknowledged::default();
        for text in tokens {
            let token = text.parse::<AckToken>().ok().filter(|token| token.subscription == named.id);
            match token
                .and_then(|token| Some((token, named.refuse(token.body, token.lease, Instant::now())?)))
            {
                None => done.stale.push(text.clone()),
                Some((token, last)) => {
                    done.settled += 1;
                    if last {
                        let end = GroupEnd::DeadLettered("attempts-exhausted".into());
                        self.inner.durable.with(|core| core.end_group(token.body, named.id, end));
                    }
                }
            }
        }
        Ok(done)
    }

    /// Deletes a subscription and what it had not acknowledged; its interest is withdrawn.
    pub(crate) async fn delete_named(&self, principal: &Principal, name: &str) -> Result<(), NamedRefused> {
        let named = self.inner.find(principal, name)?;
        named.delete();
        self.inner.named.remove(named.id);
        self.inner.durable.with(|core| core.unsubscribe(named.id));
        self.inner.parts.router.send(Command::Unsubscribe { filters: named.filters.clone() }).await;
        self.commit_all().await
    }

    /// Waits until everything that was recorded so far is on the disk.
    pub(super) async fn commit_all(&self) -> Result<(), NamedRefused> {
        let ticket = self.inner.durable.view(meshbridge_delivery::Core::last_ticket);
        if self.inner.durable.committed(ticket).await { Ok(()) } else { Err(NamedRefused::Draining) }
    }

    /// The subscriptions of one principal, or all of them.
    pub(crate) fn named_views(&self, owner: Option<&Principal>) -> Vec<NamedView> {
        let all = self.inner.named.all();
        let mine = all.into_iter().filter(|named| owner.is_none_or(|owner| *owner.0 == *named.owner));
        mine.map(|named| NamedView {
            name: named.name.to_string(),
            owner: named.owner.to_string(),
            filters: named.filters.iter().map(|filter| filter.as_str().to_owned()).collect(),
            push: named.push.as_ref().map(|url| url.as_str().to_owned()),
            settings: named.settings,
            figures: named.figures(),
            dead_letters: self.dead_letters_of(named.id),
        })
        .collect()
    }
}

/// The URL in the settings of a subscription.
fn pushed_to(settings: &str) -> Option<TargetUrl> {
    let settings: serde_json::Value = serde_json::from_str(settings).ok()?;
    TargetUrl::parse(settings.get("push")?.as_str()?).ok()
}

fn check_name(name: &str) -> Result<(), NamedRefused> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(NamedRefused::Name);
    }
    Ok(())
}
