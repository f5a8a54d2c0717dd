//! What waits for the spool's thread: bounded in jobs and in bytes.
//!
//! Two marks. Above the lower one no new event is taken ([`Queue::has_room`]): publishers are told to come again, links
//! get no credit, messages between ends wait for their repetition. What is still on its way then (acknowledgements, ends,
//! releases, batches admitted a moment ago) fills the rest, and at the upper mark [`Queue::push`] waits. It waits for the
//! disk alone: the thread that takes jobs out holds no lock that a pusher may hold, so the wait always ends.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much a queue may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// From here on nothing new is admitted.
    pub(super) jobs_admit: usize,
    pub(super) bytes_admit: usize,
    /// Here pushing waits. Bytes may go beyond by one job.
    pub(super) jobs_max: usize,
    pub(super) bytes_max: usize,
}

/// Jobs in order, for one thread that takes them out.
#[derive(Debug)]
pub(super) struct Queue<T> {
    bounds: Bounds,
    state: Mutex<State<T>>,
    filled: Condvar,
    drained: Condvar,
}

#[derive(Debug)]
struct State<T> {
    jobs: VecDeque<T>,
    /// Of the jobs, and of those taken out that are not done.
    bytes: usize,
    closed: bool,
}

/// What a look for a job gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Job(T),
    Nothing,
    /// Nothing, and nothing will come any more.
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new(bounds: Bounds) -> Queue<T> {
        let state = State { jobs: VecDeque::new(), bytes: 0, closed: false };
        Queue { bounds, state: Mutex::new(state), filled: Condvar::new(), drained: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job of so many bytes, as soon as there is room. Behind a closed queue nobody works: the job is dropped.
    pub(super) fn push(&self, job: T, bytes: usize) {
        let full = |state: &mut State<T>| {
            let full = state.jobs.len() >= self.bounds.jobs_max || state.bytes >= self.bounds.bytes_max;
            full && !state.closed
        };
        let mut state = self.drained.wait_while(self.state(), full).unwrap_or_else(PoisonError::into_inner);
        if !state.closed {
            state.jobs.push_back(job);
            state.bytes += bytes;
            self.filled.notify_one();
        }
    }

    /// The next job; waits for one up to `patience`.
    pub(super) fn pop(&self, patience: Duration) -> Next<T> {
        let end = Instant::now() + patience;
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                self.drained.notify_all();
                return Next::Job(job);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.closed {
                return Next::Closed;
            }
            if left.is_zero() {
                return Next::Nothing;
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// So many bytes of jobs that were taken out are on the disk.
    pub(super) fn done(&self, bytes: usize) {
        self.state().bytes -= bytes;
        self.drained.notify_all();
    }

    /// Whether something new may be admitted.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state();
        state.jobs.len() < self.bounds.jobs_admit && state.bytes < self.bounds.bytes_admit
    }

    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Nobody takes jobs out any more: those that are left are dropped, and with them whoever waits for an answer is
    /// told so.
    pub(super) fn end(&self) {
        self.close();
        let mut state = self.state();
        state.bytes = 0;
        let left = std::mem::take(&mut state.jobs);
        drop(state);
        drop(left);
    }

    /// No further job is taken; what is queued can still be taken out. Nobody waits any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::thread;

    use super::*;

    const BOUNDS: Bounds = Bounds { jobs_admit: 3, bytes_admit: 300, jobs_max: 5, bytes_max: 500 };
    /// Long enough for a thread that does not wait to be done, and more than one that waits needs when it may go on.
    const A_WHILE: Duration = Duration::from_millis(200);
    const LONG: Duration = Duration::from_secs(20);

    /// Pushes these one after the other from a thread of its own, and tells of each.
    fn pusher(queue: &Arc<Queue<usize>>, jobs: usize, bytes: usize) -> Receiver<usize> {
        let (told, pushed) = channel();
        let queue = Arc::clone(queue);
        thread::spawn(move || {
            for job in 0..jobs {
                queue.push(job, bytes);
                told.send(job).expect("somebody listens");
            }
        });
        pushed
    }

    #[track_caller]
    fn fills_up_to(jobs: usize, bytes: usize, expected: usize) {
        let queue = Arc::new(Queue::new(BOUNDS));
        let pushed = pusher(&queue, jobs, bytes);
        for job in 0..expected {
            assert_eq!(pushed.recv_timeout(LONG), Ok(job));
        }
        assert_eq!(pushed.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout), "the queue has no bound");
        // All of them come out, in order, while the others come in.
        for job in 0..jobs {
            assert_eq!(queue.pop(LONG), Next::Job(job));
            queue.done(bytes);
        }
        assert_eq!(pushed.iter().last(), Some(jobs - 1));
        assert_eq!((queue.pop(Duration::ZERO), queue.bytes()), (Next::Nothing, 0));
    }

    #[test]
    fn at_its_bound_of_jobs_a_push_waits_and_nothing_is_lost() {
        fills_up_to(50, 1, BOUNDS.jobs_max);
    }

    #[test]
    fn at_its_bound_of_bytes_a_push_waits_and_nothing_is_lost() {
        fills_up_to(20, 200, 3);
    }

    #[test]
    fn bytes_count_until_they_are_on_the_disk() {
        let queue = Arc::new(Queue::new(BOUNDS));
        let pushed = pusher(&queue, 2, 600);
        assert_eq!(pushed.recv_timeout(LONG), Ok(0));
        assert_eq!(queue.pop(LONG), Next::Job(0));
        assert_eq!(pushed.recv_timeout(A_WHILE), Err(RecvTimeoutError::Timeout), "taken out is not written");
        queue.done(600);
        assert_eq!(pushed.recv_timeout(LONG), Ok(1));
    }

    #[test]
    fn admission_ends_before_a_push_has_to_wait() {
        let queue = Queue::new(BOUNDS);
        let admitted = (0..BOUNDS.jobs_max).take_while(|job| {
            let room = queue.has_room();
            queue.push(*job, 1);
            room
        });
        assert_eq!(admitted.count(), BOUNDS.jobs_admit);
        let queue = Queue::new(BOUNDS);
        queue.push(0, BOUNDS.bytes_admit);
        assert!(!queue.has_room());
        assert_eq!(queue.pop(LONG), Next::Job(0));
        assert!(!queue.has_room(), "its bytes are not on the disk yet");
        queue.done(BOUNDS.bytes_admit);
        assert!(queue.has_room());
    }

    #[test]
    fn behind_a_closed_queue_nobody_waits() {
        let queue = Arc::new(Queue::new(BOUNDS));
        let pushed = pusher(&queue, 100, 1);
        for _ in 0..BOUNDS.jobs_max {
            pushed.recv_timeout(LONG).expect("there is room");
        }
        queue.close();
        assert_eq!(pushed.iter().last(), Some(99));
        let left = (0..BOUNDS.jobs_max).map(Next::Job);
        assert!(left.eq((0..BOUNDS.jobs_max).map(|_| queue.pop(LONG))), "what was queued can be taken out");
        assert_eq!(queue.pop(LONG), Next::Closed);
    }

    #[test]
    fn who_waits_for_an_answer_from_an_ended_queue_is_told() {
        let queue = Queue::new(BOUNDS);
        let (answer, answered) = channel::<()>();
        queue.push(answer.clone(), 0);
        queue.end();
        queue.push(answer, 0);
        assert_eq!(answered.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    }
}
