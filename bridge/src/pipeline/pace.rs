//! The pace of the driver: it makes records no faster than the spool's thread takes them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Pipeline;

/// How long the driver waits before it looks again whether the spool's thread has room.
const JOURNAL_PAUSE: Duration = Duration::from_millis(20);

impl Pipeline {
    /// What the driver does becomes records: it goes on when the spool's thread has room for them. `false` at the end.
    pub(super) async fn journal_keeps_up(&self, stop: &CancellationToken) -> bool {
        let journal = &self.inner.durable.journal;
        let mut commits = journal.committed();
        while !journal.has_room() {
            tokio::select! {
                () = stop.cancelled() => return false,
                changed = commits.changed() => if changed.is_err() { return false },
                // Releases make room without a commit.
                () = tokio::time::sleep(JOURNAL_PAUSE) => {}
            }
        }
        true
    }
}
