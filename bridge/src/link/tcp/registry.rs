//! Sessions whose data connections may still come, by their token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Tls;
use super::bundle::Bundle;
use super::preface::Token;

/// The accepted sessions of a bridge that live. As many as there are sessions and handshakes, both of which are bounded
/// by who accepts them.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<HashMap<Token, Weak<Bundle>>>);

impl Registry {
    pub(super) fn register(&self, bundle: &Arc<Bundle>) {
        self.lock().insert(bundle.token().clone(), Arc::downgrade(bundle));
    }

    pub(super) fn forget(&self, token: &Token) {
        self.lock().remove(token);
    }

    /// Gives a data connection to its session; says why not.
    pub(super) fn attach(&self, token: &Token, slot: usize, stream: Tls) -> Result<(), &'static str> {
        // The lock is given back first: the last owner of a session forgets it here.
        let bundle = self.lock().get(token).and_then(Weak::upgrade);
        bundle.ok_or("the data connection is of no session")?.attach(slot, stream)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Token, Weak<Bundle>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
