//! The delivery core, the log behind it and what it asks to be done; one lock a batch.
//!
//! The order in which calls change the core is the order of their records in the log, because both happen under the
//! lock. What the core asks for otherwise (frames, messages, offers) is queued for the driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use meshbridge_delivery::{Action, ClockDoubt, Core, Effect, Reading, Ticket, WallClock};
use tokio::sync::{Notify, watch};

use super::lock;
use super::stored::Cache;
use super::subscriptions::Finished;
use super::waiters::Waiters;
use crate::journal::Journal;

#[derive(Debug)]
pub(super) struct Durable {
    core: Mutex<Core>,
    pub(super) journal: Journal,
    todo: Mutex<VecDeque<Action>>,
    pub(super) wake: Notify,
    pub(super) cache: Mutex<Cache>,
    /// Deliveries to subscriptions without memory that have ended.
    pub(super) finished: Arc<Finished>,
    pub(super) waiters: Arc<Waiters>,
    clock: WallClock,
    /// What was last said of it.
    pub(super) clock_doubt: Mutex<Option<ClockDoubt>>,
}

impl Durable {
    pub(super) fn new(core: Core, journal: Journal) -> Durable {
        let wall = core.state().wall;
        Durable {
            core: Mutex::new(core),
            journal,
            todo: Mutex::default(),
            wake: Notify::new(),
            cache: Mutex::default(),
            finished: Arc::default(),
            waiters: Arc::default(),
            clock: WallClock::new(wall, system_ms(), Instant::now()),
            clock_doubt: Mutex::default(),
        }
    }

    /// Runs `change` on the core and carries its records to the log.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = lock(&self.core);
        let result = change(&mut core);
        let mut more = VecDeque::new();
        while let Some(action) = core.poll_action() {
            match action {
                Action::Append(append) => self.journal.append(append),
                Action::Effect(Effect::Released(body)) => {
                    self.journal.release(body);
                    more.push_back(Action::Effect(Effect::Released(body)));
                }
                other => more.push_back(other),
            }
        }
        if !more.is_empty() {
            lock(&self.todo).append(&mut more);
            self.wake.notify_one();
        }
        result
    }

    /// Looks at the core without changing it.
    pub(super) fn view<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&lock(&self.core))
    }

    /// What is to be done, at most `most`, in order.
    pub(super) fn take_todo(&self, most: usize) -> Vec<Action> {
        let mut todo = lock(&self.todo);
        let count = todo.len().min(most);
        todo.drain(..count).collect()
    }

    /// Hands the log a checkpoint if one is due.
    pub(super) fn checkpoint_if_due(&self) {
        if self.journal.wants_checkpoint() {
            let core = lock(&self.core);
            self.journal.checkpoint(core.state().parts());
        }
    }

    /// Waits until the batch `ticket` is on the disk. `false` when the bridge ends before.
    pub(super) async fn committed(&self, ticket: Ticket) -> bool {
        let mut committed = self.journal.committed();
        committed.wait_for(|at| *at >= ticket).await.is_ok()
    }

    pub(super) fn commits(&self) -> watch::Receiver<Ticket> {
        self.journal.committed()
    }

    /// What the clock on the wall says, judged.
    pub(super) fn clock(&self) -> Reading {
        self.clock.read(system_ms(), Instant::now())
    }

    /// Milliseconds since 1970; never earlier than what the log has.
    pub(super) fn wall(&self) -> u64 {
        self.clock().logged()
    }
}

fn system_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
