//! What became of a delivery, in words that the queue behind it can act on.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::address::AddressRefused;
use super::breaker::Health;
use super::connection::{Answer, ExchangeFailed};

/// The longest pause a target can ask for, and the shortest we make of one.
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The target has it.
    Accepted,
    /// The target refused it for now and said until when. Later deliveries to it wait as well.
    RetryAfter(Duration),
    /// The attempt failed; another may succeed.
    Retry(RetryReason),
    /// Nothing was sent, and this is no attempt: the allowed rate, the requests in flight or the circuit breaker say
    /// to come back after this time.
    NotSent(Duration),
    /// The target wants no more events: the subscription ends.
    Gone,
    /// Nothing was sent, and asking again changes nothing until somebody changes the target or the configuration.
    Refused(RefusedReason),
}

/// Why an attempt failed. The texts are ours alone: none holds anything that the target sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RetryReason {
    #[error("the name of the target cannot be resolved")]
    Unresolvable,
    #[error("the target cannot be reached")]
    Unreachable,
    #[error("the target's certificate or TLS handshake is not acceptable")]
    Tls,
    #[error("the target did not answer in time")]
    Timeout,
    #[error("the connection broke before the target answered")]
    ConnectionLost,
    #[error("the target answered with a redirect ({0}), which is not followed")]
    Redirect(u16),
    #[error("the target answered with status {0}")]
    Status(u16),
}

/// Why nothing is sent to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefusedReason {
    #[error("not allowed: {0}")]
    Address(AddressRefused),
    #[error("the URL must start with https://")]
    Insecure,
    #[error("the target has not consented to events from this bridge")]
    NoConsent,
    #[error("the event cannot be written as an HTTP request")]
    Unsendable,
}

impl Outcome {
    /// Of the answer to a delivery.
    pub(super) fn of_answer(answer: &Answer, now: SystemTime) -> Outcome {
        let status = answer.status;
        match status {
            _ if status.is_success() => Outcome::Accepted,
            StatusCode::GONE => Outcome::Gone,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                match retry_after(&answer.headers, now) {
                    Some(pause) => Outcome::RetryAfter(pause),
                    None => Outcome::Retry(RetryReason::Status(status.as_u16())),
                }
            }
            _ if status.is_redirection() => Outcome::Retry(RetryReason::Redirect(status.as_u16())),
            _ => Outcome::Retry(RetryReason::Status(status.as_u16())),
        }
    }

    /// What it tells the circuit breaker.
    pub(super) fn health(&self) -> Health {
        match self {
            Outcome::Retry(RetryReason::Status(status)) if *status < 500 => Health::Alive,
            Outcome::Accepted
            | Outcome::RetryAfter(_)
            | Outcome::Gone
            | Outcome::Retry(RetryReason::Redirect(_))
            | Outcome::Refused(RefusedReason::NoConsent) => Health::Alive,
            Outcome::Retry(_) => Health::Failing,
            Outcome::NotSent(_) | Outcome::Refused(_) => Health::Unknown,
        }
    }
}

impl From<ExchangeFailed> for Outcome {
    fn from(problem: ExchangeFailed) -> Outcome {
        Outcome::Retry(match problem {
            ExchangeFailed::NotAllowed(reason) => return Outcome::Refused(RefusedReason::Address(reason)),
            ExchangeFailed::Unresolvable => RetryReason::Unresolvable,
            ExchangeFailed::Unreachable => RetryReason::Unreachable,
            ExchangeFailed::Tls => RetryReason::Tls,
            ExchangeFailed::ConnectTimeout | ExchangeFailed::AnswerTimeout => RetryReason::Timeout,
            ExchangeFailed::ConnectionLost => RetryReason::ConnectionLost,
        })
    }
}

/// `Retry-After` in seconds or as a date, within our bounds; `None` where it is missing or means nothing.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(pause.clamp(PAUSE_MIN, PAUSE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06 08:49:37 UTC.
    const NOW: u64 = 784_111_777;

    #[track_caller]
    fn check(status: u16, retry_after: Option<&str>, expected: Outcome) {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(header::RETRY_AFTER, text.parse().expect("a header value"));
        }
        let answer = Answer { status: StatusCode::from_u16(status).expect("a status"), headers };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        assert_eq!(Outcome::of_answer(&answer, now), expected, "{status} {retry_after:?}");
    }

    #[test]
    fn every_status_has_its_outcome() {
        for status in [200, 201, 202, 204, 299] {
            check(status, None, Outcome::Accepted);
        }
        check(410, None, Outcome::Gone);
        for status in [300, 301, 302, 303, 304, 307, 308] {
            check(status, None, Outcome::Retry(RetryReason::Redirect(status)));
        }
        for status in [400, 401, 403, 404, 413, 415, 418, 429, 500, 502, 503, 599, 999] {
            check(status, None, Outcome::Retry(RetryReason::Status(status)));
        }
    }

    #[test]
    fn a_pause_is_read_as_seconds_or_as_a_date() {
        let pause = |seconds| Outcome::RetryAfter(Duration::from_secs(seconds));
        check(429, Some("7"), pause(7));
        check(503, Some(" 120 "), pause(120));
        check(429, Some("0"), pause(1));
        check(429, Some("99999999999999999999999"), pause(3_600));
        check(429, Some("Sun, 06 Nov 1994 08:50:37 GMT"), pause(60));
        check(429, Some("Sunday, 06-Nov-94 08:50:37 GMT"), pause(60));
        check(429, Some("Sun Nov  6 08:50:37 1994"), pause(60));
        check(429, Some("Sun, 06 Nov 1994 08:00:00 GMT"), pause(1));
        check(429, Some("Sat, 06 Nov 2094 08:00:00 GMT"), pause(3_600));
        for nothing in ["", "soon", "-5", "1.5", "1 2"] {
            check(429, Some(nothing), Outcome::Retry(RetryReason::Status(429)));
        }
        check(500, Some("7"), Outcome::Retry(RetryReason::Status(500)));
        check(200, Some("7"), Outcome::Accepted);
    }
}
