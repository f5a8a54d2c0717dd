//! Ends that the clock on the wall decides (RELIABILITY G2, M32).

use std::time::{Duration, SystemTime};

/// A clock that is set is noticed this soon: what has ended is cut within five seconds.
const LOOK: Duration = Duration::from_secs(4);

/// Returns once the wall says that `end` has come. Looks now and then, because timers follow another clock.
pub(crate) async fn wall_reaches(end: SystemTime) {
    loop {
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}
