//! Names and numbers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Text that is no name or key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name of 1 to 63 characters out of a-z, 0-9 and -")]
pub struct InvalidId(String);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn parse(text: &str) -> Result<$name, InvalidId> {
                let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
                if text.is_empty() || text.len() > 63 || !text.bytes().all(good) {
                    return Err(InvalidId(text.chars().take(80).collect()));
                }
                Ok($name(Arc::from(text)))
            }

            pub fn as_str(&self) -> &str {
                &self.0
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

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<$name, InvalidId> {
                $name::parse(text)
            }
        }
    };
}

name!(
    /// A bridge of the federation.
    BridgeId
);
name!(
    /// A network security domain.
    ZoneName
);

/// One life of a bridge. The epoch only grows; the nonce tells two lives apart that claim the same epoch, as a
/// cloned or restored disk does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    pub epoch: u64,
    pub nonce: u64,
}

/// Lanes of a run; order is kept within each.
pub const LANES: u8 = 64;

/// The lane of an event: a hash of its topic and its `partitionkey`, or else its source. The same on every bridge
/// and in every version (FNV-1a, 64 bits).
pub fn lane_of(topic: &str, partition: &str) -> u8 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in topic.bytes().chain([0]).chain(partition.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // The high bits are better mixed than the low ones.
    u8::try_from((hash ^ (hash >> 32)) % u64::from(LANES)).expect("less than 64")
}

/// Names one event for ever: given at the origin, never reused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey {
    pub origin: BridgeId,
    pub run: Run,
    pub lane: u8,
    pub seq: u64,
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventKey { origin, run, lane, seq } = self;
        write!(f, "{origin}:{}-{:016x}:{lane}:{seq}", run.epoch, run.nonce)
    }
}

impl FromStr for EventKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<EventKey, InvalidId> {
        let invalid = || InvalidId(text.chars().take(120).collect());
        let mut parts = text.split(':');
        let mut next = || parts.next().ok_or_else(invalid);
        let origin = BridgeId::parse(next()?)?;
        let (epoch, nonce) = next()?.split_once('-').ok_or_else(invalid)?;
        let run = Run {
            epoch: epoch.parse().map_err(|_| invalid())?,
            nonce: u64::from_str_radix(nonce, 16).map_err(|_| invalid())?,
        };
        let lane = next()?.parse().map_err(|_| invalid())?;
        let seq = next()?.parse().map_err(|_| invalid())?;
        if parts.next().is_some() || lane >= LANES {
            return Err(invalid());
        }
        Ok(EventKey { origin, run, lane, seq })
    }
}

/// One session of a link, as the driver numbers them; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A bridge's place in the sorted list of the federation's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BridgeIndex(pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_text() {
        let key = EventKey {
            origin: BridgeId::parse("dmz-1").expect("a name"),
            run: Run { epoch: 7, nonce: 0xab },
            lane: 63,
            seq: u64::MAX,
        };
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        for text in ["", "a:1-0:64:1", "a:1:0:1", "A:1-0:0:1", "a:1-0:0:1:2", "a:1-g:0:1"] {
            assert!(text.parse::<EventKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn lanes_are_used_evenly() {
        let mut counts = [0_u32; LANES as usize];
        for n in 0..64_000 {
            counts[usize::from(lane_of("orders.eu.created", &format!("/shop/{n}")))] += 1;
        }
        assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    }
}
