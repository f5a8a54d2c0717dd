//! Where streams are written: beside whoever hands their frames over while that is little by little, on threads of their
//! own while there is much.
//!
//! A worker of tokio keeps the task that it woke last for itself and goes on with the one before, so of two stages on one
//! connection's way, reading a publisher and encrypting for a peer, only one would run at a time. On a thread of its own
//! the second runs beside the first: a third more events a second where a link is full. The way there costs some
//! microseconds, which an event that comes alone is spared.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A batch of so many bytes moves its writer to the threads of the busy.
const BUSY_BYTES: usize = 64 << 10;
/// After so many batches in a row of at most [`IDLE_BYTES`] it comes back.
const IDLE_BATCHES: u32 = 32;
const IDLE_BYTES: usize = 16 << 10;

/// The threads of busy writers; they end with the last reference, and so do the tasks on them.
#[derive(Debug)]
pub(crate) struct WriterThreads(Option<Runtime>);

impl WriterThreads {
    pub(crate) fn start() -> io::Result<WriterThreads> {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads((processors / 2).max(1))
            .thread_name("link-writer")
            .enable_all()
            .build()?;
        Ok(WriterThreads(Some(runtime)))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("taken in drop alone").handle()
    }
}

impl Drop for WriterThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // May be dropped by a task, which must not wait.
            runtime.shutdown_background();
        }
    }
}

/// What a writer has had to do lately.
#[derive(Debug, Default)]
pub(super) struct Load {
    is_busy: bool,
    small: u32,
}

impl Load {
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// A batch was written; tells whether the writer is in the wrong place now.
    pub(super) fn on_batch(&mut self, bytes: usize) -> bool {
        let was_busy = self.is_busy;
        self.small = if bytes <= IDLE_BYTES { self.small + 1 } else { 0 };
        if bytes >= BUSY_BYTES {
            self.is_busy = true;
        } else if self.small >= IDLE_BATCHES {
            self.is_busy = false;
        }
        self.is_busy != was_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_moves_when_there_is_much_and_comes_back_when_there_has_been_little() {
        let mut load = Load::default();
        assert!((0..100).all(|_| !load.on_batch(IDLE_BYTES)) && !load.is_busy());
        assert!(load.on_batch(BUSY_BYTES) && load.is_busy());
        assert!((0..100).all(|_| !load.on_batch(BUSY_BYTES)));
        for _ in 1..IDLE_BATCHES {
            assert!(!load.on_batch(1));
        }
        assert!(!load.on_batch(IDLE_BYTES + 1), "what is not little begins the count anew");
        for _ in 1..IDLE_BATCHES {
            assert!(!load.on_batch(1));
        }
        assert!(load.on_batch(1) && !load.is_busy());
    }
}
