//! Dead letters: those of subscriptions with memory, and the events of this bridge that a rule kept from a destination,
//! or whose destination was removed.
//! Looked at, offered again, purged.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use meshbridge_delivery::DeadLetterEnd;
use meshbridge_delivery::state::{GroupState, Used};
use meshbridge_policy::shown;
use meshbridge_routing::BridgeId;

use super::{Inner, Kept, NamedRefused, Pipeline};

/// A dead letter of a subscription with memory, or of this bridge as an origin.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetterView {
    id: String,
    subscription: String,
    owner: String,
    /// The bridge that it was for, where this one was to send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
    /// That bridge may have it all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_doubt: Option<bool>,
    reason: String,
    key: String,
    topic: String,
    event_id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
}

/// Names a dead letter: `<body>-<subscription>` or `<body>@<bridge>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LetterId {
    body: u64,
    of: Keeper,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Keeper {
    Subscription(u32),
    Destination(BridgeId),
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            Keeper::Subscription(id) => write!(f, "{:x}-{id:x}", self.body),
            Keeper::Destination(bridge) => write!(f, "{:x}@{bridge}", self.body),
        }
    }
}

impl FromStr for LetterId {
    type Err = ();

    fn from_str(text: &str) -> Result<LetterId, ()> {
        let body = |text: &str| u64::from_str_radix(text, 16).map_err(|_| ());
        if let Some((number, bridge)) = text.split_once('@') {
            let of = Keeper::Destination(BridgeId::parse(bridge).map_err(|_| ())?);
            return Ok(LetterId { body: body(number)?, of });
        }
        let (number, id) = text.split_once('-').ok_or(())?;
        let of = Keeper::Subscription(u32::from_str_radix(id, 16).map_err(|_| ())?);
        Ok(LetterId { body: body(number)?, of })
    }
}

/// A dead letter and why it is one.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    id: LetterId,
    reason: String,
    in_doubt: Option<bool>,
}

impl Letter {
    /// Where its event is, and whom it was for: a bridge, or a subscription here.
    pub(super) fn aim(&self) -> (u64, Result<&BridgeId, u32>) {
        match &self.id.of {
            Keeper::Destination(bridge) => (self.id.body, Ok(bridge)),
            Keeper::Subscription(id) => (self.id.body, Err(*id)),
        }
    }
}

impl Inner {
    /// What the quota of dead letters is compared with, and the metric shows.
    pub(super) fn count_letters(&self) {
        let used = self.durable.view(|core| {
            let of_subscriptions = core.state().usage.letters();
            // Their bytes count for who published them. Those that a removal left over are no fault of a rule.
            let of_origin = core.state().membership.rule_letters();
            Used { events: of_subscriptions.events + of_origin, ..of_subscriptions }
        });
        self.letters.set(used);
        self.parts.metrics.dead_letters.set(i64::try_from(used.events).unwrap_or(i64::MAX));
    }
}

impl Pipeline {
    /// How many dead letters a subscription has.
    pub(crate) fn dead_letters_of(&self, subscription: u32) -> usize {
        let of = Keeper::Subscription(subscription);
        self.letters().iter().filter(|letter| letter.id.of == of).count()
    }

    /// All, oldest first.
    fn letters(&self) -> Vec<Letter> {
        self.inner.durable.view(|core| {
            let events = core.state().events.iter();
            let dead = events.flat_map(|(body, event)| {
                event.groups.iter().filter_map(move |(id, state)| match state {
                    GroupState::Dead(reason) => {
                        let id = LetterId { body, of: Keeper::Subscription(*id) };
                        Some(Letter { id, reason: reason.to_string(), in_doubt: None })
                    }
                    GroupState::Open => None,
                })
            });
            let undelivered = core.state().membership.letters().map(|(body, bridge, in_doubt)| {
                let id = LetterId { body, of: Keeper::Destination(bridge.clone()) };
                let reason = core.state().membership.letter_reason(body, bridge).unwrap_or_default();
                Letter { id, reason: reason.to_owned(), in_doubt: Some(in_doubt) }
            });
            let mut all: Vec<Letter> = dead.chain(undelivered).collect();
            all.sort_by(|one, other| one.id.cmp(&other.id));
            all
        })
    }

    /// Dead letters after the given id, as people look at them; never their payload. And how many there are in all.
    pub(crate) fn browse_dead_letters(
        &self,
        subscription: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> (usize, Vec<DeadLetterView>) {
        let after: Option<LetterId> = after.and_then(|text| text.parse().ok());
        let mut all = self.letters();
        all.retain(|letter| self.is_of(&letter.id, subscription));
        let page = all.iter().filter(|letter| after.as_ref().is_none_or(|after| letter.id > *after));
        let page: Vec<_> = page.take(limit).collect();
        let views =
            tokio::task::block_in_place(|| page.into_iter().map(|one| self.dead_letter_view(one)).collect());
        (all.len(), views)
    }

    fn is_of(&self, id: &LetterId, subscription: Option<&str>) -> bool {
        subscription.is_none_or(|wanted| match id.of {
            Keeper::Subscription(id) => self.inner.named.get(id).is_some_and(|named| *named.name == *wanted),
            Keeper::Destination(_) => false,
        })
    }

    pub(super) fn dead_letter_view(&self, letter: &Letter) -> DeadLetterView {
        let stored = self.inner.durable.stored(letter.id.body).ok();
        let text =
            |read: fn(&super::stored::Stored) -> String| stored.as_deref().map(read).unwrap_or_default();
        let (named, destination) = match &letter.id.of {
            Keeper::Subscription(id) => (self.inner.named.get(*id), None),
            Keeper::Destination(bridge) => (None, Some(bridge.to_string())),
        };
        DeadLetterView {
            id: letter.id.to_string(),
            subscription: named.as_ref().map(|named| named.name.to_string()).unwrap_or_default(),
            owner: named.as_ref().map(|named| named.owner.to_string()).unwrap_or_default(),
            destination,
            in_doubt: letter.in_doubt,
            reason: letter.reason.clone(),
            key: text(|stored| stored.key.to_string()),
            // Where one of these is itself personal data, people see its class.
            topic: text(|stored| shown(stored.topic.as_str())),
            event_id: text(|stored| shown(stored.event.id())),
            source: text(|stored| shown(stored.event.source())),
            ty: text(|stored| shown(stored.event.ty())),
        }
    }

    pub(crate) fn dead_letter(&self, id: &str) -> Option<Kept> {
        let id: LetterId = id.parse().ok()?;
        self.letters().into_iter().find(|letter| letter.id == id).map(Kept::Letter)
    }

    /// Those that ids name, or all of a subscription, or all; and how many of the ids name none.
    pub(crate) fn dead_letters_to_show(
        &self,
        ids: &[String],
        subscription: Option<&str>,
    ) -> (Vec<Kept>, u64) {
        let chosen: BTreeSet<LetterId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let is_chosen = |letter: &Letter| match ids.is_empty() {
            true => self.is_of(&letter.id, subscription),
            false => chosen.contains(&letter.id),
        };
        let found: Vec<Kept> = self.letters().into_iter().filter(is_chosen).map(Kept::Letter).collect();
        let missed = ids.len().saturating_sub(found.len()) as u64;
        (found, missed)
    }

    /// Those that ids name, or all of a subscription, or all.
    pub(crate) fn choose_dead_letters(&self, ids: &[String], subscription: Option<&str>) -> Vec<LetterId> {
        if !ids.is_empty() {
            return ids.iter().filter_map(|id| id.parse().ok()).collect();
        }
        let all = self.letters().into_iter().map(|letter| letter.id);
        all.filter(|id| self.is_of(id, subscription)).collect()
    }

    /// Purges dead letters, or offers them again. Gives how many; durable when this returns.
    pub(crate) async fn end_dead_letters(
        &self,
        which: &[LetterId],
        end: DeadLetterEnd,
    ) -> Result<usize, NamedRefused> {
        let count = which.iter().filter(|id| self.end_dead_letter(id, end)).count();
        self.inner.count_letters();
        self.commit_all().await?;
        Ok(count)
    }

    fn end_dead_letter(&self, id: &LetterId, end: DeadLetterEnd) -> bool {
        let durable = &self.inner.durable;
        match (&id.of, end) {
            (Keeper::Destination(bridge), DeadLetterEnd::Purged) => {
                durable.with(|core| core.end_letter(id.body, bridge))
            }
            (Keeper::Destination(bridge), DeadLetterEnd::Replayed) => self.replay_letter(id.body, bridge),
            (Keeper::Subscription(subscription), _) => {
                let done = durable.with(|core| core.end_dead_letter(id.body, *subscription, end));
                if done
                    && end == DeadLetterEnd::Replayed
                    && let Some(named) = self.inner.named.get(*subscription)
                {
                    named.offer(id.body, 0);
                }
                done
            }
        }
    }
}
