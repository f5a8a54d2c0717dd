//! Dead letters of subscriptions with memory: looked at, offered again, purged.

use meshbridge_delivery::DeadLetterEnd;
use meshbridge_delivery::state::GroupState;

use super::{NamedRefused, Pipeline};

/// A dead letter of a subscription with memory.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetterView {
    id: String,
    subscription: String,
    owner: String,
    reason: String,
    key: String,
    topic: String,
    event_id: String,
    source: String,
    #[serde(rename = "type")]
    ty: String,
}

impl Pipeline {
    /// Bodies that are dead letters, with their subscription and reason, oldest first.
    pub(crate) fn dead_letters_of(&self, subscription: Option<u32>) -> Vec<(u64, u32, String)> {
        self.inner.durable.view(|core| {
            let events = core.state().events.iter();
            let dead = events.flat_map(|(body, event)| {
                event.groups.iter().filter_map(move |(id, state)| match state {
                    GroupState::Dead(reason) => Some((body, *id, reason.to_string())),
                    GroupState::Open => None,
                })
            });
            dead.filter(|(_, id, _)| subscription.is_none_or(|wanted| wanted == *id)).collect()
        })
    }

    /// Dead letters after the given id, as people look at them; never their payload. And how many there are in all.
    pub(crate) fn browse_dead_letters(
        &self,
        subscription: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> (usize, Vec<DeadLetterView>) {
        let after = after.and_then(parse_letter).unwrap_or((0, 0));
        let all: Vec<(u64, u32, String)> = self
            .dead_letters_of(None)
            .into_iter()
            .filter(|(_, id, _)| {
                subscription.is_none_or(|wanted| {
                    self.inner.named.get(*id).is_some_and(|named| *named.name == *wanted)
                })
            })
            .collect();
        let page = all.iter().filter(|(body, id, _)| (*body, *id) > after).take(limit);
        let page: Vec<_> = page.cloned().collect();
        let views =
            tokio::task::block_in_place(|| page.iter().map(|one| self.dead_letter_view(one)).collect());
        (all.len(), views)
    }

    fn dead_letter_view(&self, (body, id, reason): &(u64, u32, String)) -> DeadLetterView {
        let stored = self.inner.durable.stored(*body).ok();
        let text =
            |read: fn(&super::stored::Stored) -> String| stored.as_deref().map(read).unwrap_or_default();
        let named = self.inner.named.get(*id);
        DeadLetterView {
            id: format!("{body:x}-{id:x}"),
            subscription: named.as_ref().map(|named| named.name.to_string()).unwrap_or_default(),
            owner: named.as_ref().map(|named| named.owner.to_string()).unwrap_or_default(),
            reason: reason.clone(),
            key: text(|stored| stored.key.to_string()),
            topic: text(|stored| stored.topic.as_str().to_owned()),
            event_id: text(|stored| stored.event.id().to_owned()),
            source: text(|stored| stored.event.source().to_owned()),
            ty: text(|stored| stored.event.ty().to_owned()),
        }
    }

    /// Those that ids name, or all of a subscription, or all.
    pub(crate) fn choose_dead_letters(&self, ids: &[String], subscription: Option<&str>) -> Vec<(u64, u32)> {
        if !ids.is_empty() {
            return ids.iter().filter_map(|id| parse_letter(id)).collect();
        }
        let named = |id: u32| self.inner.named.get(id);
        let wanted =
            |id: u32| subscription.is_none_or(|name| named(id).is_some_and(|named| *named.name == *name));
        self.dead_letters_of(None)
            .into_iter()
            .filter(|(_, id, _)| wanted(*id))
            .map(|(body, id, _)| (body, id))
            .collect()
    }

    /// Purges dead letters, or offers them again. Gives how many; durable when this returns.
    pub(crate) async fn end_dead_letters(
        &self,
        which: &[(u64, u32)],
        end: DeadLetterEnd,
    ) -> Result<usize, NamedRefused> {
        let mut count = 0;
        for (body, subscription) in which {
            let done = self.inner.durable.with(|core| core.end_dead_letter(*body, *subscription, end));
            if !done {
                continue;
            }
            count += 1;
            if end == DeadLetterEnd::Replayed
                && let Some(named) = self.inner.named.get(*subscription)
            {
                named.offer(*body, 0);
            }
        }
        self.commit_all().await?;
        Ok(count)
    }
}

fn parse_letter(text: &str) -> Option<(u64, u32)> {
    let (body, id) = text.split_once('-')?;
    Some((u64::from_str_radix(body, 16).ok()?, u32::from_str_radix(id, 16).ok()?))
}
