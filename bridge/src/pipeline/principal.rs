//! Who a client is, once a listener has authenticated it.

use std::fmt;
use std::sync::Arc;

/// The authenticated name of a client: the URI of its certificate, the name its bearer token stands for,
/// or `anonymous` for a loopback client without credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Principal(pub(crate) Arc<str>);

impl Principal {
    pub(crate) fn anonymous() -> Principal {
        Principal(Arc::from("anonymous"))
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
