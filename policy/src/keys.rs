//! The keys that protections name, and who hands in their secrets.
//!
//! The Federation document says which keys there are and which zones hold them; the secrets stay with the bridge. So a
//! program knows of a key everything but its bytes, which are an argument of every evaluation.

use std::collections::BTreeMap;
use std::fmt;

use smallvec::SmallVec;
use zeroize::Zeroizing;

use crate::federation::ZoneIndex;

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;

/// A key of a [`KeyTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyRef(pub(crate) u16);

impl KeyRef {
    /// A key or version that the table does not have: values under it are known to be protected, and that is all.
    pub(crate) const FOREIGN: KeyRef = KeyRef(u16::MAX);
}

/// What a key is for. One key serves one purpose, so that no purpose can be played against another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUse {
    Pseudonymise,
    Encrypt,
    /// Seals events that are kept for replay.
    Store,
}

impl KeyUse {
    /// As the Federation document spells it.
    pub fn name(self) -> &'static str {
        match self {
            KeyUse::Pseudonymise => "pseudonymise",
            KeyUse::Encrypt => "encrypt",
            KeyUse::Store => "store",
        }
    }

    pub fn named(name: &str) -> Option<KeyUse> {
        [KeyUse::Pseudonymise, KeyUse::Encrypt, KeyUse::Store].into_iter().find(|one| one.name() == name)
    }
}

/// A key as the Federation document has it.
#[derive(Clone, Debug)]
pub(crate) struct KeyEntry {
    pub(crate) name: Box<str>,
    pub(crate) version: u32,
    pub(crate) purpose: KeyUse,
    pub(crate) zones: SmallVec<[ZoneIndex; 4]>,
}

/// The keys of a federation.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyTable {
    entries: Vec<KeyEntry>,
}

impl KeyTable {
    /// `None` where the table is full, or has this name and version already.
    pub(crate) fn add(&mut self, entry: KeyEntry) -> Option<KeyRef> {
        if self.find(&entry.name, entry.version).is_some() {
            return None;
        }
        let at = u16::try_from(self.entries.len()).ok().filter(|at| *at != KeyRef::FOREIGN.0)?;
        self.entries.push(entry);
        Some(KeyRef(at))
    }

    pub(crate) fn entry(&self, key: KeyRef) -> Option<&KeyEntry> {
        self.entries.get(usize::from(key.0))
    }

    pub(crate) fn find(&self, name: &str, version: u32) -> Option<KeyRef> {
        let found = |entry: &KeyEntry| &*entry.name == name && entry.version == version;
        Some(KeyRef(u16::try_from(self.entries.iter().position(found)?).ok()?))
    }

    /// The newest version of a key: what a rule means that names it.
    pub(crate) fn newest(&self, name: &str) -> Option<KeyRef> {
        let named = self.entries.iter().enumerate().filter(|(_, entry)| &*entry.name == name);
        let (at, _) = named.max_by_key(|(_, entry)| entry.version)?;
        Some(KeyRef(u16::try_from(at).ok()?))
    }

    /// In the order of the document.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (KeyRef, &KeyEntry)> {
        (0..).map(KeyRef).zip(&self.entries)
    }

    /// Whether a zone has the secret.
    pub(crate) fn holds(&self, zone: ZoneIndex, key: KeyRef) -> bool {
        self.entry(key).is_some_and(|entry| entry.zones.contains(&zone))
    }

    /// `<name>.<version>`, as values and `govprotected` carry it.
    pub(crate) fn label(&self, key: KeyRef) -> String {
        match self.entry(key) {
            Some(entry) => format!("{}.{}", entry.name, entry.version),
            None => "-.0".to_owned(),
        }
    }
}

/// Secrets, handed in by the caller: a file per key at a bridge, fixed test keys in a policy test.
pub trait KeyRing {
    /// `None` where the zone does not hold this key or version.
    fn secret(&self, name: &str, version: u32) -> Option<&[u8; SECRET_BYTES]>;
}

/// A key ring in memory.
#[derive(Clone, Default)]
pub struct MapKeyRing {
    secrets: BTreeMap<String, BTreeMap<u32, Zeroizing<[u8; SECRET_BYTES]>>>,
}

impl MapKeyRing {
    pub fn new() -> MapKeyRing {
        MapKeyRing::default()
    }

    /// Adds a secret, or replaces it.
    pub fn insert(&mut self, name: &str, version: u32, secret: [u8; SECRET_BYTES]) {
        self.secrets.entry(name.to_owned()).or_default().insert(version, Zeroizing::new(secret));
    }
}

impl KeyRing for MapKeyRing {
    fn secret(&self, name: &str, version: u32) -> Option<&[u8; SECRET_BYTES]> {
        self.secrets.get(name)?.get(&version).map(|secret| &**secret)
    }
}

impl fmt::Debug for MapKeyRing {
    /// Names and versions only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions =
            self.secrets.iter().map(|(name, versions)| (name, versions.keys().collect::<Vec<_>>()));
        f.debug_map().entries(versions).finish()
    }
}

/// Whether `name` can be a key's: what is in a value must be told apart from what is around it.
pub(crate) fn is_key_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
