//! Who may learn of a filter: the zones of an audience, and how they are named on the wire.
//!
//! ```text
//! owner o in z0 wants    orders.**   told to all            audience all      {orders.**}
//!                        hr.**       told to z0, z2         audience {z0,z2}  {hr.**, pay.x}
//!                        pay.x       told to z0, z2
//! ```
//!
//! The owner signs the list of zones with the set, so whoever passes it on can check it and nobody can widen it.

use std::sync::Arc;

use meshbridge_topic::TopicFilter;

use crate::ZoneName;
use crate::wire::{DecodeError, Reader, Writer};

/// Bytes of the list of one audience: with its entries and a signature it fits a control message.
const LIST_BYTES_MAX: usize = 24 * 1024;

/// The zones that may learn of a filter. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Audience {
    #[default]
    All,
    /// Sorted, each once.
    Zones(Arc<[ZoneName]>),
}

/// Names an audience in digests and acknowledgements: a hash of its zones, zeros for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AudienceId(pub(crate) [u8; 16]);

impl AudienceId {
    pub(crate) const ALL: AudienceId = AudienceId([0; 16]);
}

/// Says who may learn of what this bridge wants: policy, as an argument. Gives the same answer for the same filter until
/// it is replaced as a whole.
pub trait Learners {
    fn audience(&self, filter: &TopicFilter) -> Audience;
}

/// Tells everything to everyone.
#[derive(Debug)]
pub(crate) struct Everyone;

impl Learners for Everyone {
    fn audience(&self, _: &TopicFilter) -> Audience {
        Audience::All
    }
}

impl Audience {
    pub fn zones(zones: impl IntoIterator<Item = ZoneName>) -> Audience {
        let mut zones: Vec<ZoneName> = zones.into_iter().collect();
        zones.sort();
        zones.dedup();
        Audience::Zones(zones.into())
    }

    pub fn contains(&self, zone: &ZoneName) -> bool {
        match self {
            Audience::All => true,
            Audience::Zones(zones) => zones.binary_search(zone).is_ok(),
        }
    }

    /// The zones by name; `None` for all.
    pub fn list(&self) -> Option<&[ZoneName]> {
        match self {
            Audience::All => None,
            Audience::Zones(zones) => Some(zones),
        }
    }

    /// With one more zone: an owner's own always belongs to it.
    pub(crate) fn with(self, zone: &ZoneName) -> Audience {
        match self {
            Audience::Zones(zones) if zones.binary_search(zone).is_err() => {
                Audience::zones(zones.iter().chain([zone]).cloned())
            }
            audience => audience,
        }
    }

    /// Whether its list fits a message.
    pub(crate) fn fits(&self) -> bool {
        let bytes: usize = self.list().unwrap_or_default().iter().map(|zone| zone.as_str().len() + 1).sum();
        bytes <= LIST_BYTES_MAX
    }

    pub(crate) fn id(&self) -> AudienceId {
        let Some(zones) = self.list() else { return AudienceId::ALL };
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"meshbridge/1 audience\0");
        for zone in zones {
            hasher.update(zone.as_str().as_bytes());
            // No name holds it, so no two lists run into the same bytes.
            hasher.update(&[0]);
        }
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        AudienceId(id)
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        match self {
            Audience::All => writer.u8(0),
            Audience::Zones(zones) => {
                writer.u8(1);
                writer.u16(u16::try_from(zones.len()).expect("a list has 24 KiB at most"));
                zones.iter().for_each(|zone| writer.name(zone.as_str()));
            }
        }
    }

    /// R10: ascending, each once, within 24 KiB, so that an audience has one encoding.
    pub(crate) fn decode(reader: &mut Reader) -> Result<Audience, DecodeError> {
        match reader.u8()? {
            0 => return Ok(Audience::All),
            1 => {}
            _ => return Err(DecodeError::Invalid("an audience")),
        }
        let mut zones: Vec<ZoneName> = Vec::new();
        for _ in 0..reader.count(LIST_BYTES_MAX / 2, "zones of an audience")? {
            let zone = reader.zone()?;
            if zones.last().is_some_and(|last| *last >= zone) {
                return Err(DecodeError::Invalid("an audience"));
            }
            zones.push(zone);
        }
        let audience = Audience::Zones(zones.into());
        if audience.fits() { Ok(audience) } else { Err(DecodeError::TooLong("an audience")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> ZoneName {
        ZoneName::parse(name).expect("a name")
    }

    fn encoded(audience: &Audience) -> bytes::Bytes {
        let mut writer = Writer::new();
        audience.encode(&mut writer);
        writer.finish()
    }

    #[test]
    fn an_audience_has_one_name_and_one_encoding() {
        let some = Audience::zones([zone("b"), zone("a"), zone("b")]);
        assert_eq!(some.list(), Some(&[zone("a"), zone("b")][..]));
        assert_eq!(some.id(), Audience::zones([zone("a"), zone("b")]).id());
        let others = [Audience::All, Audience::zones([]), Audience::zones([zone("ab")])];
        assert!(others.iter().all(|other| other.id() != some.id()));
        for audience in others.iter().chain([&some]) {
            assert_eq!(Audience::decode(&mut Reader::new(encoded(audience))), Ok(audience.clone()));
        }
        let shuffled = bytes::Bytes::from_static(b"\x01\x00\x02\x01b\x01a");
        assert!(Audience::decode(&mut Reader::new(shuffled)).is_err());
        let twice = bytes::Bytes::from_static(b"\x01\x00\x02\x01a\x01a");
        assert!(Audience::decode(&mut Reader::new(twice)).is_err());
    }

    #[test]
    fn a_list_beyond_its_bytes_is_refused() {
        let many = |count: usize| Audience::zones((0..count).map(|at| zone(&format!("{at:063}"))));
        let (most, beyond) = (many(LIST_BYTES_MAX / 64), many(LIST_BYTES_MAX / 64 + 1));
        assert!(most.fits() && !beyond.fits());
        assert_eq!(Audience::decode(&mut Reader::new(encoded(&most))), Ok(most));
        assert!(Audience::decode(&mut Reader::new(encoded(&beyond))).is_err());
    }

    #[test]
    fn the_owners_zone_always_belongs_to_it() {
        assert_eq!(Audience::zones([zone("b")]).with(&zone("a")), Audience::zones([zone("a"), zone("b")]));
        assert_eq!(Audience::All.with(&zone("a")), Audience::All);
    }
}
