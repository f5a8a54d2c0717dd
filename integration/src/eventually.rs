//! Waiting for something to become true, and watching that something stays true.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const PROBE_EVERY: Duration = Duration::from_millis(20);

/// Tries `probe` until it succeeds; after `within`, fails with the reason of its last attempt.
pub async fn eventually<T, F>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let deadline = Instant::now() + within;
    loop {
        match probe().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= deadline => {
                return Err(error).with_context(|| format!("not within {within:?}: {what}"));
            }
            Err(_) => tokio::time::sleep(PROBE_EVERY).await,
        }
    }
}

/// Tries `probe` again and again for a time; fails as soon as it fails once. For what must never happen, and has no event that would show it did not.
pub async fn throughout<F>(what: &str, time: Duration, mut probe: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let end = Instant::now() + time;
    while Instant::now() < end {
        probe().await.with_context(|| format!("not all the time: {what}"))?;
        tokio::time::sleep(PROBE_EVERY).await;
    }
    Ok(())
}
