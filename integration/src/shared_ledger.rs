//! The ledger as the tasks of a test share it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use meshbridge_ledger::{Demands, Ledger, Totals};

/// How long nothing must come before what did not come counts as not sent. It bounds how late an event that should not exist may still be seen.
const QUIET: Duration = Duration::from_millis(500);
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// One ledger for all publishers and subscribers of a test.
#[derive(Clone, Debug)]
pub struct SharedLedger {
    ledger: Arc<Mutex<Ledger>>,
    began: Instant,
}

impl Default for SharedLedger {
    fn default() -> Self {
        SharedLedger { ledger: Arc::default(), began: Instant::now() }
    }
}

impl SharedLedger {
    /// Feeds or asks it.
    ///
    /// # Panics
    ///
    /// When somebody panicked while feeding it.
    pub fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.ledger.lock().expect("nobody panics while feeding it"))
    }

    /// Since the ledger was opened.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits until everything that is owed has come and nothing more comes; then the verdict, which fails on any finding.
    pub async fn settle(&self, within: Duration, demands: &Demands) -> Result<Totals> {
        let deadline = Instant::now() + within;
        let (mut offered, mut quiet_since) = (0, Instant::now());
        loop {
            let (outstanding, now_offered) =
                self.with(|ledger| (ledger.outstanding(), ledger.totals().offered));
            if now_offered != offered {
                (offered, quiet_since) = (now_offered, Instant::now());
            }
            let is_settled = outstanding == 0 && quiet_since.elapsed() >= QUIET;
            if is_settled || Instant::now() >= deadline {
                let report = self.with(|ledger| ledger.judge(demands));
                match report.into_result() {
                    Ok(totals) if is_settled => return Ok(totals),
                    Ok(totals) => bail!("still not quiet after {within:?}: {totals:?}"),
                    Err(report) => bail!("{report}"),
                }
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }
}
