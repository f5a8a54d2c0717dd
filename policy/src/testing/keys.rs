//! Keys that tests judge with: derived from names, the same everywhere, and worth nothing.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::federation::Federation;
use crate::keys::KeyRing;

/// One key for each name and version of a federation.
#[derive(Clone, Debug, Default)]
pub struct TestKeys {
    secrets: HashMap<(String, u32), [u8; 32]>,
}

impl TestKeys {
    /// Keys for every version up to those in use.
    pub fn of(federation: &Federation) -> TestKeys {
        let secrets = federation.key_table().iter().map(|(_, key)| {
            let text = format!("meshbridge policy test key {} {}", key.name, key.version);
            ((key.name.to_string(), key.version), Sha256::digest(text.as_bytes()).into())
        });
        TestKeys { secrets: secrets.collect() }
    }
}

impl KeyRing for TestKeys {
    fn secret(&self, name: &str, version: u32) -> Option<&[u8; 32]> {
        self.secrets.get(&(name.to_owned(), version))
    }
}
