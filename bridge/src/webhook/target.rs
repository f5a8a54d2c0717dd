//! Where a webhook goes: a URL of which nothing is left to interpretation, and the key that signs.

use std::fmt;
use std::sync::Arc;

use url::{Host, Url};

use super::sign::SigningKeys;

const URL_BYTES_MAX: usize = 2_048;

/// The receiver of a subscription's events.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) url: TargetUrl,
    /// Requests are signed where there are keys.
    pub(crate) keys: Option<Arc<SigningKeys>>,
}

/// An `https` or `http` URL with a host, without credentials and fragment. Whether `http` and the host may be used is
/// decided when something is sent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct TargetUrl(Url);

/// Why a text is no URL to send to; the text is for whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidUrl {
    #[error("a URL has at most {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error("the URL must start with https://")]
    Scheme,
    #[error("the URL must have no spaces, control characters or backslashes")]
    Characters,
    #[error("this is no URL")]
    Syntax,
    #[error("the URL must have no user name or password: the address of a request is not secret")]
    Credentials,
    #[error("the URL must have no fragment")]
    Fragment,
    #[error("the URL must name a port other than 0")]
    Port,
}

impl TargetUrl {
    /// Refuses what the URL standard would repair silently: two programs repair differently.
    pub(crate) fn parse(text: &str) -> Result<TargetUrl, InvalidUrl> {
        if text.len() > URL_BYTES_MAX {
            return Err(InvalidUrl::TooLong);
        }
        let starts = |scheme: &str| text.get(..scheme.len()).is_some_and(|s| s.eq_ignore_ascii_case(scheme));
        if !starts("https://") && !starts("http://") {
            return Err(InvalidUrl::Scheme);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err(InvalidUrl::Characters);
        }
        let url = Url::parse(text).map_err(|_| InvalidUrl::Syntax)?;
        let authority = text.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
        let authority = authority.unwrap_or_default();
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidUrl::Credentials);
        }
        if url.fragment().is_some() {
            return Err(InvalidUrl::Fragment);
        }
        if url.host().is_none() || authority.is_empty() {
            return Err(InvalidUrl::Syntax);
        }
        if http::uri::PathAndQuery::try_from(&url[url::Position::BeforePath..]).is_err() {
            return Err(InvalidUrl::Characters);
        }
        if url.port() == Some(0) {
            return Err(InvalidUrl::Port);
        }
        Ok(TargetUrl(url))
    }

    pub(super) fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    pub(super) fn host(&self) -> Host<&str> {
        self.0.host().expect("a URL without a host is not parsed into this type")
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port_or_known_default().expect("http and https have default ports")
    }

    /// Host, and port where it is not the usual one: the header `host`.
    pub(super) fn authority(&self) -> &str {
        &self.0[url::Position::BeforeHost..url::Position::AfterPort]
    }

    pub(super) fn path_and_query(&self) -> &str {
        &self.0[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// The whole URL; it may hold a token of the receiver, so it is not for logs.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for TargetUrl {
    /// Scheme, host and port: paths and queries of webhooks are often secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.authority())
    }
}
