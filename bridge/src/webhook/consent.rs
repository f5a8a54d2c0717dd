//! Consent (RELIABILITY G9), after CloudEvents' "HTTP 1.1 Web Hooks": before the first event, and once a day, the
//! receiver is asked with `OPTIONS` whether it wants events from us, and says how many.

use std::num::NonZeroU32;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::Full;
use tokio::time::Instant;

use super::outcome::Outcome;
use super::request::USER_AGENT;
use super::target::TargetUrl;

const REQUEST_ORIGIN: &str = "webhook-request-origin";
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";

/// What a receiver has said.
#[derive(Debug, Default)]
pub(super) enum Consent {
    #[default]
    Unasked,
    Given {
        until: Instant,
    },
    /// Not asked again before.
    Withheld {
        until: Instant,
    },
    /// There was no answer to judge; so it is for everyone who waited for it.
    Failed {
        at: Instant,
        outcome: Outcome,
    },
}

/// The question.
pub(super) fn question(url: &TargetUrl, origin: &str) -> http::Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(Method::OPTIONS)
        .uri(url.path_and_query())
        .header(header::HOST, url.authority())
        .header(header::USER_AGENT, USER_AGENT)
        .header(REQUEST_ORIGIN, origin)
        .body(Full::default())
}

/// The rate allowed, in requests a minute (`None` is any), or that there is no consent. An answer that can be read in
/// two ways is none.
pub(super) fn read(origin: &str, headers: &HeaderMap) -> Result<Option<NonZeroU32>, ()> {
    let origins = single(headers, ALLOWED_ORIGIN)?.ok_or(())?;
    if origins != "*" && !origins.eq_ignore_ascii_case(origin) {
        return Err(());
    }
    match single(headers, ALLOWED_RATE)? {
        None | Some("*") => Ok(None),
        Some(rate) if !rate.is_empty() && rate.bytes().all(|b| b.is_ascii_digit()) => {
            // More than fits is more than we send.
            let rate = rate.parse().unwrap_or(u32::MAX);
            NonZeroU32::new(rate).map(Some).ok_or(())
        }
        Some(_) => Err(()),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(|value| value.to_str().map(str::trim).map_err(|_| ())).transpose()?;
    if values.next().is_some() { Err(()) } else { Ok(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: Result<Option<u32>, ()>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        let found = read("bridge.example", &map).map(|rate| rate.map(NonZeroU32::get));
        assert_eq!(found, expected, "{headers:?}");
    }

    #[test]
    fn only_a_plain_yes_is_a_yes() {
        check(&[("webhook-allowed-origin", "*")], Ok(None));
        check(&[("webhook-allowed-origin", "bridge.example")], Ok(None));
        check(&[("webhook-allowed-origin", "Bridge.Example")], Ok(None));
        check(&[], Err(()));
        check(&[("access-control-allow-origin", "*")], Err(()));
        check(&[("webhook-allowed-origin", "")], Err(()));
        check(&[("webhook-allowed-origin", "other.example")], Err(()));
        check(&[("webhook-allowed-origin", "*.example")], Err(()));
        check(&[("webhook-allowed-origin", "other.example, bridge.example")], Err(()));
        check(&[("webhook-allowed-origin", "other.example"), ("webhook-allowed-origin", "*")], Err(()));
    }

    #[test]
    fn rates_are_whole_numbers_above_zero() {
        for (rate, expected) in [
            ("*", Ok(None)),
            ("120", Ok(Some(120))),
            ("99999999999999999999", Ok(Some(u32::MAX))),
            ("0", Err(())),
            ("-1", Err(())),
            ("1.5", Err(())),
            ("lots", Err(())),
            ("", Err(())),
        ] {
            check(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", rate)], expected);
        }
    }
}
