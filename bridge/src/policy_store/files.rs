//! Changes of files, as a signal to read them again.

use std::path::PathBuf;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

/// Editors write a file in several steps; a reload waits until they are quiet.
const SETTLE: Duration = Duration::from_millis(150);

/// A watch over directories; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct FileWatch {
    told: mpsc::Receiver<()>,
    /// Something changed, and may still change until then.
    quiet_at: Option<Instant>,
    _watcher: Option<RecommendedWatcher>,
}

impl FileWatch {
    pub(crate) fn on(directories: &[PathBuf]) -> FileWatch {
        let (tell, told) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading the files makes access events of its own; those must not make us read again.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = tell.try_send(());
            }
        });
        let watcher = match watcher {
            Ok(mut watcher) => {
                for directory in directories {
                    if let Err(problem) = watcher.watch(directory, RecursiveMode::Recursive) {
                        warn!(directory = %directory.display(), %problem, "Policy directory is not watched, reload with SIGHUP");
                    }
                }
                Some(watcher)
            }
            Err(problem) => {
                warn!(%problem, "Policy files are not watched, reload with SIGHUP");
                None
            }
        };
        FileWatch { told, quiet_at: None, _watcher: watcher }
    }

    /// Returns when files have changed and are quiet. Cancel-safe: what was noticed is noticed by the next call.
    pub(crate) async fn changed(&mut self) {
        let quiet_at = match self.quiet_at {
            Some(quiet_at) => quiet_at,
            None => match self.told.recv().await {
                Some(()) => *self.quiet_at.insert(Instant::now() + SETTLE),
                // Nothing is watched.
                None => std::future::pending().await,
            },
        };
        tokio::time::sleep_until(quiet_at).await;
        self.forget();
    }

    /// The files are about to be read: what changed before counts no longer.
    pub(crate) fn forget(&mut self) {
        self.quiet_at = None;
        while self.told.try_recv().is_ok() {}
    }
}
