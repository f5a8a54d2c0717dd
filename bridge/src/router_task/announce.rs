//! Interest on its way to the core, and what keeps it there.
//!
//! ```text
//! announce ── Subscribe { interest, reply } ──► core counts it ── interest ──► reply ──► caller
//!                                                                      └─ dropped anywhere from here on: withdrawn
//! ```
//!
//! The caller may go at any time, also while the answer waits for it in the channel. So the answer is the interest itself,
//! and whoever drops it last takes it back.

use meshbridge_routing::InterestFull;
use meshbridge_topic::TopicFilter;
use tokio::sync::oneshot;

use super::{Command, RouterHandle};

/// Filters that the federation is told of. Dropping this withdraws them.
#[derive(Debug)]
pub(crate) struct Announced {
    router: RouterHandle,
    filters: Vec<TopicFilter>,
    /// The core counts them.
    is_counted: bool,
}

impl Announced {
    pub(super) fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    pub(super) fn on_counted(&mut self) {
        self.is_counted = true;
    }

    /// The caller will withdraw them itself.
    pub(crate) fn keep(mut self) {
        self.is_counted = false;
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if self.is_counted && !self.filters.is_empty() {
            self.router.send_later(Command::Unsubscribe { filters: std::mem::take(&mut self.filters) });
        }
    }
}

/// Why interest was not announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnnounceRefused {
    #[error(transparent)]
    Full(InterestFull),
    #[error("the bridge is stopping")]
    Stopped,
}

impl RouterHandle {
    /// Announces all of these or none. Cancel-safe: interest whose caller has gone is withdrawn.
    pub(crate) async fn announce(&self, filters: Vec<TopicFilter>) -> Result<Announced, AnnounceRefused> {
        self.begin_announce(filters).await.outcome().await
    }

    /// The same, for who has other things to do until the answer comes.
    pub(crate) async fn begin_announce(&self, filters: Vec<TopicFilter>) -> Announcing {
        let interest = Announced { router: self.clone(), filters, is_counted: false };
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Subscribe { interest, reply }).await;
        Announcing(outcome)
    }
}

/// Interest that the core has been told of. Dropping this withdraws it.
#[derive(Debug)]
pub(crate) struct Announcing(oneshot::Receiver<Result<Announced, InterestFull>>);

impl Announcing {
    /// To be asked until it has answered, once. Cancel-safe.
    pub(crate) async fn outcome(&mut self) -> Result<Announced, AnnounceRefused> {
        match (&mut self.0).await {
            Ok(Ok(interest)) => Ok(interest),
            Ok(Err(full)) => Err(AnnounceRefused::Full(full)),
            Err(_) => Err(AnnounceRefused::Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::channel;
    use super::*;

    fn filters() -> Vec<TopicFilter> {
        vec![TopicFilter::parse("a.b").expect("a filter")]
    }

    /// What the core does with a subscription for which it has room.
    async fn count(commands: &mut mpsc::Receiver<Command>) {
        let Some(Command::Subscribe { mut interest, reply }) = commands.recv().await else {
            panic!("a subscription comes")
        };
        interest.on_counted();
        let _ = reply.send(Ok(interest));
    }

    fn is_withdrawn(commands: &mut mpsc::Receiver<Command>) -> bool {
        matches!(commands.try_recv(), Ok(Command::Unsubscribe { filters: gone }) if gone == filters())
    }

    #[tokio::test]
    async fn interest_is_withdrawn_where_the_caller_goes_before_it_reads_the_answer() {
        let (router, mut commands) = channel();
        let mut announcing = Box::pin(router.announce(filters()));
        assert!(futures_util::poll!(announcing.as_mut()).is_pending());
        count(&mut commands).await;
        assert!(commands.try_recv().is_err());
        drop(announcing);
        assert!(is_withdrawn(&mut commands));
    }

    #[tokio::test]
    async fn interest_is_withdrawn_where_the_caller_has_gone_before_the_core_looks() {
        let (router, mut commands) = channel();
        let mut announcing = Box::pin(router.announce(filters()));
        assert!(futures_util::poll!(announcing.as_mut()).is_pending());
        drop(announcing);
        count(&mut commands).await;
        assert!(is_withdrawn(&mut commands));
    }

    #[tokio::test]
    async fn interest_lives_as_long_as_it_is_held_and_longer_where_it_is_kept() {
        let (router, mut commands) = channel();
        for keeps in [false, true] {
            let (announced, ()) = tokio::join!(router.announce(filters()), count(&mut commands));
            let announced = announced.expect("room");
            assert!(commands.try_recv().is_err());
            match keeps {
                true => announced.keep(),
                false => drop(announced),
            }
            assert_eq!(is_withdrawn(&mut commands), !keeps);
        }
    }

    #[tokio::test]
    async fn what_was_refused_is_not_withdrawn() {
        let (router, mut commands) = channel();
        let refuse = async {
            let Some(Command::Subscribe { reply, .. }) = commands.recv().await else {
                panic!("a subscription comes")
            };
            let _ = reply.send(Err(InterestFull::Owner(1)));
        };
        let (announced, ()) = tokio::join!(router.announce(filters()), refuse);
        assert_eq!(announced.err(), Some(AnnounceRefused::Full(InterestFull::Owner(1))));
        assert!(commands.try_recv().is_err());
    }
}
