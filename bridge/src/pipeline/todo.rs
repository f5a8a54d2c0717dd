//! What the delivery core asked for and the driver has not done yet.
//!
//! The core answers a call with as much as its windows allow, so the list cannot refuse what it is given. Its bound is
//! kept at the doors instead: while [`ACTIONS_MAX`] are waiting, publishers are told to come again, links get no credit,
//! what a link brings is left to its origin's repetition, and subscriptions lease nothing further. The driver looks at
//! the clock and the commits only when it has done what was there, so above the mark comes at most what one such look
//! and the calls under way at that moment add. The driver itself waits for the spool's thread, which waits for the disk:
//! nobody waits for somebody who waits for him.

use std::collections::VecDeque;
use std::sync::Mutex;

use meshbridge_delivery::Action;
use tokio::sync::Notify;

use super::lock;

/// Four windows of events to a destination: a neighbour that comes back with a backlog closes no door.
pub(super) const ACTIONS_MAX: usize = 4 * 65_536;

#[derive(Debug)]
pub(super) struct Todo {
    actions: Mutex<VecDeque<Action>>,
    actions_max: usize,
    /// The driver is behind no longer.
    drained: Notify,
}

impl Todo {
    pub(super) fn new(actions_max: usize) -> Todo {
        Todo { actions: Mutex::default(), actions_max, drained: Notify::new() }
    }

    pub(super) fn append(&self, more: &mut VecDeque<Action>) {
        lock(&self.actions).append(more);
    }

    /// At most `most`, in order.
    pub(super) fn take(&self, most: usize) -> Vec<Action> {
        let mut actions = lock(&self.actions);
        let before = actions.len();
        let taken: Vec<Action> = actions.drain(..before.min(most)).collect();
        if before >= self.actions_max && actions.len() < self.actions_max {
            self.drained.notify_waiters();
        }
        taken
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.actions).len()
    }

    /// Whether the driver keeps up, so that something new may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.len() < self.actions_max
    }

    /// Waits until it does. Cancel-safe.
    pub(super) async fn room(&self) {
        loop {
            let mut drained = std::pin::pin!(self.drained.notified());
            // Registered before the look, so that no wake-up falls between the two.
            drained.as_mut().enable();
            if self.has_room() {
                return;
            }
            drained.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn bodies(actions: Vec<Action>) -> Vec<u64> {
        let body = |action| match action {
            Action::Ready { body, .. } => body,
            other => panic!("{other:?} was not queued"),
        };
        actions.into_iter().map(body).collect()
    }

    fn ready(bodies: std::ops::Range<u64>) -> VecDeque<Action> {
        bodies.map(|body| Action::Ready { body, out_of_order: false }).collect()
    }

    #[tokio::test]
    async fn the_doors_are_shut_from_the_mark_on_until_the_driver_is_below_it() {
        let todo = Arc::new(Todo::new(4));
        todo.append(&mut ready(0..3));
        assert!(todo.has_room());
        todo.room().await;
        todo.append(&mut ready(3..6));
        assert!(!todo.has_room());
        let waiting = tokio::spawn({
            let todo = Arc::clone(&todo);
            async move { todo.room().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(bodies(todo.take(2)), [0, 1]);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished() && !todo.has_room());
        assert_eq!(bodies(todo.take(10)), [2, 3, 4, 5], "nothing is lost");
        waiting.await.expect("it does not panic");
    }
}
