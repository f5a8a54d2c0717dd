//! The places connections take: of the listener, among strangers, and of each client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits as limit;
use crate::pipeline::Principal;

/// All places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    by_client: Arc<ByClient>,
}

/// What one connection holds; free again when it is dropped, which is when its stream is, upgraded or not.
#[derive(Debug)]
pub(super) struct Place {
    _all: OwnedSemaphorePermit,
    by_client: Arc<ByClient>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// Until the connection has shown who its client is.
    stranger: Option<OwnedSemaphorePermit>,
    client: Option<ClientPlace>,
}

/// The client has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this client has {max} connections, and may have no more", max = limit::PER_IDENTITY_MAX)]
pub(super) struct TooMany;

impl Places {
    pub(super) fn new(connections_max: usize) -> Places {
        Places {
            all: Arc::new(Semaphore::new(connections_max)),
            strangers: Arc::new(Semaphore::new(limit::UNAUTHENTICATED_MAX)),
            by_client: Arc::default(),
        }
    }

    /// A place for a connection whose client is not known yet.
    pub(super) fn take(&self) -> Option<Place> {
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let stranger = Arc::clone(&self.strangers).try_acquire_owned().ok()?;
        let held = Mutex::new(Held { stranger: Some(stranger), client: None });
        Some(Place { _all: all, by_client: Arc::clone(&self.by_client), held })
    }
}

impl Place {
    /// The connection is of this client; `true` when that is news. The first one counts: behind a proxy, requests of
    /// several clients share a connection.
    pub(super) fn known(&self, client: &Principal) -> Result<bool, TooMany> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.client.is_some() {
            return Ok(false);
        }
        held.client = Some(self.by_client.take(&client.0).ok_or(TooMany)?);
        held.stranger = None;
        Ok(true)
    }

    /// Clients on this machine need show nothing to be no strangers.
    pub(super) fn local(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).stranger = None;
    }
}

/// Connections by client, so that one cannot take them all.
#[derive(Debug, Default)]
struct ByClient(Mutex<HashMap<Arc<str>, usize>>);

#[derive(Debug)]
struct ClientPlace(Arc<ByClient>, Arc<str>);

impl ByClient {
    fn take(self: &Arc<Self>, name: &Arc<str>) -> Option<ClientPlace> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(Arc::clone(name)).or_default();
        if *count >= limit::PER_IDENTITY_MAX {
            return None;
        }
        *count += 1;
        Some(ClientPlace(Arc::clone(self), Arc::clone(name)))
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_client_makes_room_for_a_stranger() {
        let places = Places::new(2 * limit::UNAUTHENTICATED_MAX);
        let strangers: Vec<Place> = (0..limit::UNAUTHENTICATED_MAX).filter_map(|_| places.take()).collect();
        assert_eq!(strangers.len(), limit::UNAUTHENTICATED_MAX);
        assert!(places.take().is_none(), "one stranger too many has a place");
        assert_eq!(strangers[0].known(&client("shop")), Ok(true));
        assert_eq!(strangers[0].known(&client("shop")), Ok(false));
        assert!(places.take().is_some(), "a known client is still counted as a stranger");
    }

    #[test]
    fn one_client_cannot_have_all_connections() {
        let places = Places::new(2 * limit::PER_IDENTITY_MAX);
        let own: Vec<Place> = (0..limit::PER_IDENTITY_MAX).filter_map(|_| places.take()).collect();
        assert!(own.iter().all(|place| place.known(&client("shop")) == Ok(true)));
        let other = places.take().expect("there is room");
        assert_eq!(other.known(&client("shop")), Err(TooMany));
        assert_eq!(other.known(&client("till")), Ok(true), "the limit of one client is not that of another");
        drop(own);
        let again = places.take().expect("there is room");
        assert_eq!(again.known(&client("shop")), Ok(true), "connections that ended still count");
    }

    #[test]
    fn a_listener_has_no_more_connections_than_it_may() {
        let places = Places::new(1);
        let first = places.take().expect("there is room");
        first.local();
        assert!(places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
    }

    fn client(name: &str) -> Principal {
        Principal(Arc::from(name))
    }
}
