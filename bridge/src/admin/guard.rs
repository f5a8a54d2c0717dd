//! Keeps web pages away from an admin port that asks for no credentials.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::Response;

/// Which `Host` and `Origin` the admin port accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HostGuard {
    /// Without credentials: only names of the loopback, so that a name rebound to it does not help a page.
    Loopback,
    /// Behind mutual TLS the caller is known; only cross-site requests of browsers are refused.
    MutualTls,
}

pub(super) async fn check(State(guard): State<HostGuard>, request: Request, next: Next) -> Response {
    match refusal(guard, request.headers(), request.uri()) {
        Some(message) => super::error(StatusCode::FORBIDDEN, "forbidden_host", message),
        None => next.run(request).await,
    }
}

fn refusal(guard: HostGuard, headers: &HeaderMap, uri: &Uri) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).or_else(|| uri.authority().map(|authority| authority.as_str()));
    let origin = text(header::ORIGIN);
    match guard {
        HostGuard::Loopback => {
            if !host.is_some_and(is_loopback_authority) {
                return Some("the admin port answers only to localhost, 127.0.0.1 and [::1]");
            }
            let foreign = |origin: &str| {
                !origin.split_once("://").is_some_and(|(_, authority)| is_loopback_authority(authority))
            };
            origin.is_some_and(foreign).then_some("requests from web pages of other origins are refused")
        }
        HostGuard::MutualTls => {
            let same = |origin: &str| origin.split_once("://").map(|(_, authority)| authority) == host;
            origin
                .is_some_and(|origin| !same(origin))
                .then_some("requests from web pages of other origins are refused")
        }
    }
}

fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_and_pages_reach_an_open_admin_port() {
        check(Some("127.0.0.1:9090"), None, true);
        check(Some("localhost"), Some("http://localhost:9090"), true);
        check(Some("[::1]:9090"), None, true);
        check(None, None, false);
        check(Some("bridge.example:9090"), None, false);
        check(Some("127.0.0.1.evil.example"), None, false);
        check(Some("localhost:9090"), Some("https://evil.example"), false);
        check(Some("localhost:9090"), Some("null"), false);
        check(Some("127.0.0.1:80@evil.example:1"), None, false);
    }

    #[track_caller]
    fn check(host: Option<&str>, origin: Option<&str>, allowed: bool) {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().expect("header value"));
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().expect("header value"));
        }
        let refused = refusal(HostGuard::Loopback, &headers, &Uri::from_static("/metrics"));
        assert_eq!(refused.is_none(), allowed, "host {host:?}, origin {origin:?}: {refused:?}");
    }
}
