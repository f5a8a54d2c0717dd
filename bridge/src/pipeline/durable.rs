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
use super::todo::{ACTIONS_MAX, Todo};
use super::waiters::Waiters;
use crate::journal::Journal;

#[derive(Debug)]
pub(super) struct Durable {
    core: Mutex<Core>,
    pub(super) journal: Journal,
    pub(super) todo: Todo,
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
            todo: Todo::new(ACTIONS_MAX),
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
            self.todo.append(&mut more);
            self.wake.notify_one();
        }
        result
    }

    /// Looks at the core without changing it.
    pub(super) fn view<T>(&self, look: impl FnOnce(&Core) -> T) -> T {
        look(&lock(&self.core))
    }

    /// Whether a new event may be taken: the spool has room, and the driver and the spool's thread keep up.
    pub(super) fn admits(&self) -> bool {
        self.journal.admits() && self.todo.has_room()
    }

    /// Whether what was begun may be gone on with: as [`Durable::admits`], whether or not the spool has room.
    pub(super) fn keeps_up(&self) -> bool {
        self.journal.has_room() && self.todo.has_room()
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use bytes::Bytes;
    use meshbridge_delivery::{Config, NewEvent};
    use meshbridge_routing::{BridgeId, Run};
    use smallvec::SmallVec;

    use super::*;
    use crate::config::SpoolSettings;
    use crate::journal;

    fn event(number: u128) -> NewEvent {
        NewEvent {
            producer: number,
            lane: 0,
            topic: "orders.created".into(),
            payload: Bytes::from_static(b"{}"),
            expires: 0,
            retain_delivered: false,
            destinations: SmallVec::new(),
            groups: SmallVec::new(),
            local: true,
            choices: None,
            publisher: None,
        }
    }

    fn durable(directory: &std::path::Path, actions_max: usize, narrow: bool) -> Durable {
        let own: BridgeId = "here".parse().expect("an id");
        let settings = SpoolSettings { segment_bytes: 1 << 20, segments_max: 16 };
        let opened = journal::open(directory, settings, &own, false).expect("a new spool");
        let run = Run { epoch: opened.recovered.run.epoch, nonce: opened.recovered.run.nonce };
        let core = Core::recover(opened.state, Config::default(), 1, run, 1, Instant::now());
        let damage = journal::DamageList::of(directory);
        let journal = if narrow {
            Journal::start_narrow(opened.log, settings.segments_max, damage)
        } else {
            Journal::start(opened.log, settings.segments_max, damage)
        };
        Durable { todo: Todo::new(actions_max), ..Durable::new(core, journal) }
    }

    #[tokio::test]
    async fn a_driver_that_is_behind_shuts_the_doors_and_loses_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let durable = durable(directory.path(), 8, false);
        let mut accepted = 0;
        // Nobody drives: what is durable waits to be offered.
        while durable.admits() {
            assert!(accepted < 100, "nothing bounds what waits for the driver");
            accepted += 1;
            let ticket = durable.with(|core| core.accept(vec![event(accepted)], 1).1);
            assert!(durable.committed(ticket).await);
            durable.with(|core| core.on_committed(ticket, Instant::now()));
        }
        assert!(durable.journal.admits() && !durable.keeps_up(), "it is not the spool that is full");
        let mut offered = 0;
        while !durable.todo.has_room() || durable.todo.len() > 0 {
            offered += durable.todo.take(3).iter().filter(|one| matches!(one, Action::Ready { .. })).count();
        }
        assert_eq!(offered, accepted as usize);
        assert!(durable.admits() && durable.keeps_up());
        tokio::time::timeout(Duration::from_secs(20), durable.todo.room()).await.expect("the doors are open");
        durable.journal.stop();
    }

    /// Offers what is ready and ends it, as the driver does, until `all` have come. Each ends in records of its own.
    async fn drive(durable: Arc<Durable>, all: usize) -> HashSet<u64> {
        let mut commits = durable.commits();
        let mut offered = HashSet::new();
        while offered.len() < all {
            let committed = *commits.borrow_and_update();
            durable.with(|core| core.on_committed(committed, Instant::now()));
            for action in durable.todo.take(usize::MAX) {
                if let Action::Ready { body, .. } = action {
                    assert!(offered.insert(body), "{body} was offered twice");
                    durable.with(|core| core.on_offered(body, 0));
                }
            }
            let _ = tokio::time::timeout(Duration::from_millis(5), commits.changed()).await;
        }
        offered
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn full_queues_on_both_sides_hold_each_other_up_never() {
        const PUBLISHERS: u128 = 4;
        const EACH: u128 = 100;
        let directory = tempfile::tempdir().expect("a directory");
        let durable = Arc::new(durable(directory.path(), 2, true));
        let driver = tokio::spawn(drive(Arc::clone(&durable), (PUBLISHERS * EACH) as usize));
        let mut publishers = tokio::task::JoinSet::new();
        for publisher in 0..PUBLISHERS {
            let durable = Arc::clone(&durable);
            publishers.spawn(async move {
                let mut refused = 0_u64;
                for number in 0..EACH {
                    // A refused publisher comes again.
                    while !durable.admits() {
                        refused += 1;
                        tokio::task::yield_now().await;
                    }
                    durable.with(|core| core.accept(vec![event(1 + publisher * EACH + number)], 1));
                }
                refused
            });
        }
        let whole = async { (publishers.join_all().await, driver.await.expect("it does not panic")) };
        let patience = Duration::from_secs(60);
        let (refused, offered) = tokio::time::timeout(patience, whole).await.expect("nobody waits for ever");
        assert_eq!(offered.len(), (PUBLISHERS * EACH) as usize);
        assert!(refused.iter().sum::<u64>() > 0, "the queues were never full");
        durable.journal.stop();
    }
}
