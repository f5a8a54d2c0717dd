//! Extension 2 of a frame (R31): which consumer groups the event is for, by destination; and what else holds for one
//! that was moved between bridges.
//!
//! ```text
//! value    count u16, each: bridge name | plain u8 | attempts u16 | groups u16, each text
//! ```
//!
//! A destination that is not named has no group and gets the event for its other subscribers.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{DecodeError, Reader, Writer};
use crate::{BridgeId, GroupName, limits};

/// Type of the extension.
pub const GROUPS_EXTENSION: u8 = 2;
const VERSION: u8 = 1;
/// All extensions of a frame together have 64 KiB, their headers included.
const VALUE_BYTES_MAX: usize = 65_000;
/// Groups of one event at one bridge.
pub const FRAME_GROUPS_MAX: usize = 256;

/// One destination with groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTarget {
    pub bridge: BridgeId,
    /// Its subscribers outside of groups get the event, too.
    pub plain: bool,
    /// How often the groups have been offered the event elsewhere.
    pub attempts: u16,
    pub groups: SmallVec<[GroupName; 1]>,
}

/// An extension for a frame, as type, version and value. `None` beyond a limit: that was checked before.
pub fn encode_groups(targets: &[GroupTarget]) -> Option<(u8, u8, Bytes)> {
    let mut writer = Writer::new();
    writer.u16(u16::try_from(targets.len()).ok().filter(|count| usize::from(*count) <= limits::BRIDGES_MAX)?);
    for target in targets {
        writer.name(target.bridge.as_str());
        writer.u8(u8::from(target.plain));
        writer.u16(target.attempts);
        let count = u16::try_from(target.groups.len()).ok();
        writer.u16(count.filter(|count| usize::from(*count) <= FRAME_GROUPS_MAX)?);
        target.groups.iter().for_each(|name| writer.text(name.as_str().as_bytes()));
    }
    let value = writer.finish();
    (value.len() <= VALUE_BYTES_MAX).then_some((GROUPS_EXTENSION, VERSION, value))
}

/// What the extensions of a frame say of `bridge`; `None` where it is not named.
pub fn decode_groups(
    extensions: &[(u8, u8, Bytes)],
    bridge: &BridgeId,
) -> Result<Option<GroupTarget>, DecodeError> {
    let Some((_, version, value)) = extensions.iter().find(|(kind, ..)| *kind == GROUPS_EXTENSION) else {
        return Ok(None);
    };
    if *version != VERSION {
        return Err(DecodeError::UnknownVersion(*version));
    }
    let mut reader = Reader::new(value.clone());
    let mut found = None;
    for _ in 0..reader.count(limits::BRIDGES_MAX, "destinations with groups")? {
        let (name, plain, attempts) = (reader.bridge()?, reader.bool()?, reader.u16()?);
        let mut groups = SmallVec::new();
        for _ in 0..reader.count(FRAME_GROUPS_MAX, "groups of a destination")? {
            let text = reader.text()?;
            let name = std::str::from_utf8(&text).ok().and_then(GroupName::parse);
            groups.push(name.ok_or(DecodeError::Invalid("the name of a consumer group"))?);
        }
        if name == *bridge {
            found = Some(GroupTarget { bridge: name, plain, attempts, groups });
        }
    }
    reader.end()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(bridge: &str, groups: &[&str]) -> GroupTarget {
        GroupTarget {
            bridge: BridgeId::parse(bridge).expect("a name"),
            plain: groups.len() > 1,
            attempts: 3,
            groups: groups.iter().map(|name| GroupName::parse(name).expect("a name")).collect(),
        }
    }

    #[test]
    fn each_bridge_reads_its_own_part() {
        let all = [target("a", &["g@me", "h@me"]), target("b", &["g@you"])];
        let extension = encode_groups(&all).expect("small");
        for one in &all {
            assert_eq!(decode_groups(std::slice::from_ref(&extension), &one.bridge), Ok(Some(one.clone())));
        }
        let other = BridgeId::parse("c").expect("a name");
        assert_eq!(decode_groups(&[extension], &other), Ok(None));
        assert_eq!(decode_groups(&[], &other), Ok(None));
    }

    proptest! {
        #[test]
        fn bytes_from_outside_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let extension = (GROUPS_EXTENSION, VERSION, Bytes::from(value));
            let _ = decode_groups(&[extension], &BridgeId::parse("a").expect("a name"));
        }
    }
}
