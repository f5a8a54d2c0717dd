//! Reading a request body: bounded in bytes, in time, and from below in its rate.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::super::limits as limit;
use super::super::publish::Refused;

pub(super) async fn read(body: Body, bytes_max: usize) -> Result<Bytes, Refused> {
    let too_large = || Refused::too_large(format!("the body has more than {bytes_max} bytes"));
    // Whoever says beforehand that it is too much is told so before it sends any of it.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let started = Instant::now();
    let mut body = Limited::new(body, bytes_max);
    let mut parts: Vec<Bytes> = Vec::new();
    let mut received = 0;
    loop {
        let frame = match timeout_at(started + time_for(received), body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(problem))) if problem.is::<LengthLimitError>() => return Err(too_large()),
            Ok(Some(Err(_))) => return Err(Refused::invalid("the body ended before it was complete")),
            Err(_) => {
                let message =
                    "the body came too slowly: it must keep up 1 KiB a second, and end within 30 seconds";
                return Err(Refused::too_slow(message));
            }
        };
        if let Ok(data) = frame.into_data() {
            received += data.len() as u64;
            parts.push(data);
        }
    }
    Ok(match parts.as_slice() {
        [whole] => whole.clone(),
        _ => parts.concat().into(),
    })
}

/// When the next bytes must have come, counted from the start, after this many.
fn time_for(received: u64) -> Duration {
    let earned = Duration::from_millis(received.saturating_mul(1_000) / limit::BODY_BYTES_PER_SECOND);
    limit::BODY_MAX.min(limit::BODY_GRACE + earned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_earned_by_bytes_and_ends() {
        let secs = Duration::from_secs;
        assert_eq!(time_for(0), secs(5));
        assert_eq!(time_for(1_023), secs(5) + Duration::from_millis(999));
        assert_eq!(time_for(10 << 10), secs(15));
        assert_eq!(time_for(25 << 10), secs(30));
        assert_eq!(time_for(1 << 20), secs(30));
        assert_eq!(time_for(u64::MAX), secs(30));
    }
}
