//! What listeners and the admin port do with subscriptions that have memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use meshbridge_delivery::GroupEnd;
use meshbridge_routing::{EventKey, GroupName};
use meshbridge_spool::fail_point;
use meshbridge_topic::TopicFilter;
use tokio::sync::oneshot;
use tracing::warn;

use super::members::Strategy;
use super::named::{Group, Named, NamedFigures, SUBSCRIPTIONS_MAX};
use super::named_connection::{AckToken, Acks, NamedConnection};
use super::settings::{OnRetry, SettingsProblem, SubscriptionSettings, Wished};
use super::{FilterDenied, Inner, Pipeline, Principal};
use crate::router_task::{AnnounceRefused, Command};
use crate::webhook::TargetUrl;

/// Bytes of a subscription's name.
pub(crate) const NAME_BYTES_MAX: usize = 128;

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
    #[error("`{0}` is a consumer group; name it as one, with the same strategy")]
    IsGroup(String),
    #[error("`{0}` is a subscription of one reader, not a consumer group")]
    IsNoGroup(String),
    #[error("the name of the group and that of its owner together have more than 199 bytes")]
    GroupName,
    #[error("subscription `{0}` is pushed to a webhook")]
    Pushed(String),
    /// No consent, or no way; why.
    #[error("the webhook cannot be used: {0}")]
    Webhook(String),
    #[error("{0}")]
    InterestFull(String),
    #[error(transparent)]
    Denied(Box<FilterDenied>),
    #[error("the bridge is stopping")]
    Draining,
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
    /// Of a consumer group: how its members share.
    pub(crate) strategy: Option<&'static str>,
    pub(crate) settings: SubscriptionSettings,
    pub(crate) figures: NamedFigures,
    pub(crate) dead_letters: usize,
}

/// What sort of subscription it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One reader at a time.
    #[default]
    Single,
    /// Pushed there.
    Push(TargetUrl),
    /// One of many readers, here and at other bridges, gets each event.
    Group(Strategy),
}

/// A client that comes to read.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'r> {
    pub(crate) name: &'r str,
    /// Empty: what there is.
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) kind: Kind,
    /// Of a member of a group.
    pub(crate) weight: u32,
    pub(crate) settings: Wished,
    pub(crate) acks: Acks,
    /// The key of the last event it has seen: up to it everything counts as acknowledged.
    pub(crate) last_seen: Option<&'r str>,
}

impl Inner {
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
            let group = group_of(&record.settings, &record.name, &record.owner);
            let announced = match &group {
                // Its members come back, or do not.
                Some(group) => self.announce_group(&filters, &group.name, Some(false)).await,
                None => self.announce(filters.clone()).await,
            };
            if let Err(refused) = announced {
                warn!(subscription = %record.name, %refused, "A remembered subscription cannot be announced");
            }
            let push = pushed_to(&record.settings);
            let settings = SubscriptionSettings::decode(&record.settings);
            let (id, name, owner) = (record.id, &record.name, &record.owner);
            let named =
                Named::new(id, name, owner, filters, push, group, settings, Arc::clone(&self.inner.letters));
            self.inner.named.insert(Arc::new(named));
        }
    }

    /// What is wanted here also while this process is away (D2).
    pub(crate) fn lasting_interest(&self) -> BTreeSet<TopicFilter> {
        let all = self.inner.named.all();
        all.iter().filter(|named| named.group.is_none()).flat_map(|named| named.filters.clone()).collect()
    }

    async fn announce(&self, filters: Vec<TopicFilter>) -> Result<(), NamedRefused> {
        match self.inner.parts.router.announce(filters).await {
            // It lasts as long as the subscription, whoever asked for that.
            Ok(announced) => {
                announced.keep();
                Ok(())
            }
            Err(AnnounceRefused::Full(full)) => Err(NamedRefused::InterestFull(full.to_string())),
            Err(AnnounceRefused::Stopped) => Err(NamedRefused::Draining),
        }
    }

    async fn announce_group(
        &self,
        filters: &[TopicFilter],
        name: &GroupName,
        live: Option<bool>,
    ) -> Result<(), NamedRefused> {
        let (reply, outcome) = oneshot::channel();
        let (filters, name) = (filters.to_vec(), name.clone());
        self.inner.parts.router.send(Command::Group { filters, name, live, reply }).await;
        match outcome.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(full)) => Err(NamedRefused::InterestFull(full.to_string())),
            Err(_) => Err(NamedRefused::Draining),
        }
    }

    /// Groups whose members have been away for long: the federation hears of it, then their events go back.
    pub(super) async fn put_groups_to_sleep(&self) {
        let now = Instant::now();
        for named in self.inner.named.all() {
            let Some(group) = &named.group else { continue };
            if let Some(held) = named.falls_asleep(now) {
                if self.announce_group(&named.filters, &group.name, Some(false)).await.is_err() {
                    return;
                }
                self.inner.give_back_group(&named, held);
                // A member that came in between is told of again.
                if named.comes_alive() {
                    let _ = self.announce_group(&named.filters, &group.name, Some(true)).await;
                }
                self.groups_changed();
            }
        }
    }

    /// Makes the subscription if it is new; durable when this returns.
    pub(crate) async fn ensure_named(
        &self,
        principal: &Principal,
        name: &str,
        filters: Vec<TopicFilter>,
        kind: Kind,
        wished: &Wished,
    ) -> Result<Arc<Named>, NamedRefused> {
        check_name(name)?;
        let settings = SubscriptionSettings::of(wished).map_err(NamedRefused::Settings)?;
        if settings.on_retry == OnRetry::Block && matches!(kind, Kind::Group(_)) {
            return Err(NamedRefused::Settings(SettingsProblem::BlockedGroup));
        }
        let (push, strategy) = match kind {
            Kind::Single => (None, None),
            Kind::Push(url) => (Some(url), None),
            Kind::Group(strategy) => (None, Some(strategy)),
        };
        let inner = &self.inner;
        inner.may_ask_for(principal, &filters).map_err(NamedRefused::Denied)?;
        // One at a time: two clients that come first together must not make two.
        let _making = inner.making.lock().await;
        if let Some(named) = inner.named.find(&principal.0, name) {
            let same = named.filters.len() == filters.len()
                && named.filters.iter().all(|known| filters.iter().any(|new| new.as_str() == known.as_str()));
            match (&named.group, strategy) {
                (Some(group), Some(strategy)) if group.strategy == strategy => {}
                (Some(_), _) => return Err(NamedRefused::IsGroup(name.to_owned())),
                (None, Some(_)) => return Err(NamedRefused::IsNoGroup(name.to_owned())),
                (None, None) => {}
            }
            inner.may_ask_for(principal, &named.filters).map_err(NamedRefused::Denied)?;
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
        let group = strategy.map(|strategy| group_named(name, &principal.0, strategy)).transpose()?;
        let kept = settings.encode(push.as_ref().map(TargetUrl::as_str), strategy.map(Strategy::name));
        let texts = filters.iter().map(|filter| filter.as_str().into()).collect();
        let id = inner.durable.with(|core| core.subscribe(name, &principal.0, texts, &kept));
        let ticket = inner.durable.view(meshbridge_delivery::Core::last_ticket);
        let owner = &principal.0;
        let named = Named::new(
            id,
            name,
            owner,
            filters.clone(),
            push,
            group.clone(),
            settings,
            Arc::clone(&inner.letters),
        );
        let named = Arc::new(named);
        inner.named.insert(Arc::clone(&named));
        let announced = match &group {
            Some(group) => self.announce_group(&filters, &group.name, Some(false)).await,
            None => self.announce(filters).await,
        };
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

    /// Reads a subscription. A single one is taken over from the connection that read it so far; a group has one member
    /// more.
    pub(crate) async fn connect_named(
        &self,
        principal: &Principal,
        reader: Reader<'_>,
    ) -> Result<NamedConnection, NamedRefused> {
        let Reader { name, filters, kind, weight, settings, acks, last_seen } = reader;
        let named = self.ensure_named(principal, name, filters, kind, &settings).await?;
        if named.push.is_some() {
            return Err(NamedRefused::Pushed(name.to_owned()));
        }
        let connection = NamedConnection::new(self, &named, acks, weight);
        if let Some(group) = &named.group {
            if named.comes_alive() {
                self.announce_group(&named.filters, &group.name, Some(true)).await?;
                self.groups_changed();
            }
            // What a member has seen was acknowledged on its own connection, or is another's.
            return Ok(connection);
        }
        if let Some(key) = last_seen.and_then(|text| text.parse::<EventKey>().ok()) {
            self.end_up_to(&named, &key);
            // The subscriber takes the answer for a promise that it will not see these again.
            self.commit_all().await?;
        }
        Ok(connection)
    }

    fn end_up_to(&self, named: &Named, key: &EventKey) {
        let waiting = named.waiting();
        let (found, former, overtaken) = self.inner.durable.view(|core| {
            let (events, turns) = (&core.state().events, &core.state().turns);
            let is_last = |body: &u64| events.get(body).is_some_and(|event| event.key == *key);
            let overtaken = waiting.iter().copied().filter(|body| turns.of(*body, named.id).overtaken);
            let former = waiting.iter().copied().filter(|body| core.is_of_earlier(*body));
            (waiting.iter().copied().find(is_last), former.collect(), overtaken.collect())
        });
        let Some(last) = found else { return };
        let ended = named.end_up_to(last, &former, &overtaken);
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
        fail_point!("destination.after-acknowledging");
        self.commit_all().await?;
        fail_point!("destination.acknowledged");
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
        if let Some(group) = &named.group {
            return self.delete_group(&named, &group.name).await;
        }
        self.inner.named.remove(named.id);
        self.inner.durable.with(|core| core.unsubscribe(named.id));
        self.inner.parts.router.send(Command::Unsubscribe { filters: named.filters.clone() }).await;
        self.commit_all().await
    }

    /// Elsewhere the group goes on, with what this bridge has not dealt with.
    async fn delete_group(&self, named: &Named, name: &GroupName) -> Result<(), NamedRefused> {
        self.announce_group(&named.filters, name, None).await?;
        self.inner.give_back_all(named, named.end_group());
        self.inner.named.remove(named.id);
        self.inner.durable.with(|core| core.unsubscribe(named.id));
        self.groups_changed();
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
            strategy: named.group.as_ref().map(|group| group.strategy.name()),
            settings: named.settings,
            figures: named.figures(),
            dead_letters: self.dead_letters_of(named.id),
        })
        .collect()
    }
}

/// The group that the settings of a subscription speak of.
fn group_of(settings: &str, name: &str, owner: &str) -> Option<Group> {
    let settings: serde_json::Value = serde_json::from_str(settings).ok()?;
    group_named(name, owner, settings.get("group")?.as_str()?.parse().ok()?).ok()
}

/// A group belongs to the principal that made it, at all bridges: one of the same name and another owner is another.
fn group_named(name: &str, owner: &str, strategy: Strategy) -> Result<Group, NamedRefused> {
    let name = GroupName::parse(&format!("{name}@{owner}")).ok_or(NamedRefused::GroupName)?;
    Ok(Group { name, strategy })
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
