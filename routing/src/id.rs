//! Names of bridges, zones, runs, links and events.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Lanes of a run. Order is kept inside a lane.
pub const LANES: u8 = 64;

/// Bytes of the name of a bridge or zone.
pub(crate) const NAME_BYTES_MAX: usize = 63;

/// A name that is not `[a-z0-9-]{1,63}`, or a key that is not `origin:epoch-nonce:lane:seq`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("`{0}` is not a name: one to 63 of a-z, 0-9 and `-`")]
    Name(String),
    #[error("`{0}` is not an event key: origin:epoch-nonce:lane:sequence")]
    Key(String),
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<$name, InvalidId> {
                if is_name(text) { Ok($name(Arc::from(text))) } else { Err(InvalidId::Name(text.chars().take(80).collect())) }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<$name, InvalidId> {
                $name::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A running node of the federation. Cheap to clone.
    BridgeId
}
name! {
    /// A network security domain. Cheap to clone.
    ZoneName
}

/// One life of a bridge: a counter that is on disk before the run speaks, and a number drawn at boot that tells a
/// copied disk from the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    pub epoch: u64,
    pub nonce: u64,
}

impl Run {
    /// Two bridges live under one name: same epoch, another boot (R21).
    pub fn is_clone_of(&self, other: &Run) -> bool {
        self.epoch == other.epoch && self.nonce != other.nonce
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.epoch, self.nonce)
    }
}

/// The driver's name for one session with a neighbour; never reused while the router lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// The number of an event, given where it entered the federation: `orders-1:7-00000000000000ff:12:345`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    pub origin: BridgeId,
    pub run: Run,
    pub lane: u8,
    pub seq: u64,
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}:{}", self.origin, self.run, self.lane, self.seq)
    }
}

impl FromStr for EventKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<EventKey, InvalidId> {
        let invalid = || InvalidId::Key(text.chars().take(160).collect());
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or_else(invalid);
        let origin = BridgeId::parse(part()?).map_err(|_| invalid())?;
        let (epoch, nonce) = part()?.split_once('-').ok_or_else(invalid)?;
        let run = Run {
            epoch: epoch.parse().map_err(|_| invalid())?,
            nonce: u64::from_str_radix(nonce, 16).map_err(|_| invalid())?,
        };
        let lane = part()?.parse().ok().filter(|lane| *lane < LANES).ok_or_else(invalid)?;
        let seq = part()?.parse().map_err(|_| invalid())?;
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(EventKey { origin, run, lane, seq })
    }
}

/// The lane of a topic and its partition (`partitionkey`, or else the event's source).
pub fn lane_of(topic: &str, partition: &str) -> u8 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(topic.as_bytes());
    // Neither part can hold a zero byte, so no two pairs run into the same bytes.
    hasher.update(&[0]);
    hasher.update(partition.as_bytes());
    hasher.finalize().as_bytes()[0] % LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_what_it_writes() {
        let key = EventKey {
            origin: BridgeId::parse("orders-1").expect("a name"),
            run: Run { epoch: 7, nonce: 255 },
            lane: 12,
            seq: 345,
        };
        assert_eq!(key.to_string(), "orders-1:7-00000000000000ff:12:345");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for text in ["", "a", "a:1-0:64:1", "a:1-0:1:1:1", "A:1-0:1:1", "a:1:1:1", "a:x-0:1:1"] {
            assert!(text.parse::<EventKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn lanes_are_spread_and_stable() {
        let lanes: std::collections::BTreeSet<u8> =
            (0..1000).map(|i| lane_of("orders", &i.to_string())).collect();
        assert_eq!(lanes.len(), usize::from(LANES));
        assert_eq!(lane_of("orders", "a"), lane_of("orders", "a"));
    }
}
