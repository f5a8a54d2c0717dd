//! One entry of an interest set: a filter, for everybody behind the bridge or for a consumer group's members there.
//!
//! A group's entry is never covered by another: an origin that chooses a bridge for a group must know that the group is
//! there (RELIABILITY D9). It says whether a member is connected, because an origin prefers a bridge that has one.

use std::fmt;
use std::sync::Arc;

use meshbridge_topic::TopicFilter;

use crate::wire::{DecodeError, Reader, Writer};

/// Bytes of a group's name.
pub const GROUP_NAME_BYTES_MAX: usize = 200;

/// Names a consumer group in the whole federation. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// 1 to 200 bytes without control characters; `None` for anything else.
    pub fn parse(text: &str) -> Option<GroupName> {
        let good =
            !text.is_empty() && text.len() <= GROUP_NAME_BYTES_MAX && !text.chars().any(char::is_control);
        good.then(|| GroupName(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A consumer group behind a bridge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupInterest {
    pub name: GroupName,
    /// A member is connected there.
    pub live: bool,
}

/// An entry of an interest set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Want {
    pub filter: TopicFilter,
    /// `None`: every subscriber behind the bridge gets the event.
    pub group: Option<Arc<GroupInterest>>,
}

impl From<TopicFilter> for Want {
    fn from(filter: TopicFilter) -> Want {
        Want { filter, group: None }
    }
}

impl Want {
    /// What the digest of a set is made of: differs for entries that differ. No filter and no name holds a NUL.
    pub(crate) fn digest_bytes(&self) -> Vec<u8> {
        let mut bytes = self.filter.as_str().as_bytes().to_vec();
        if let Some(group) = &self.group {
            bytes.push(0);
            bytes.extend_from_slice(group.name.as_str().as_bytes());
            bytes.extend_from_slice(&[0, u8::from(group.live)]);
        }
        bytes
    }

    /// Bytes that [`Self::encode`] writes.
    pub(crate) fn encoded_bytes(&self) -> usize {
        let group = self.group.as_ref().map_or(0, |group| 2 + group.name.as_str().len());
        2 + self.filter.as_str().len() + 1 + group
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.text(self.filter.as_str().as_bytes());
        match &self.group {
            None => writer.u8(0),
            Some(group) => {
                writer.u8(1 + u8::from(group.live));
                writer.text(group.name.as_str().as_bytes());
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Want, DecodeError> {
        let filter = reader.filter()?;
        let live = match reader.u8()? {
            0 => return Ok(Want { filter, group: None }),
            1 => false,
            2 => true,
            _ => return Err(DecodeError::Invalid("a kind of interest")),
        };
        let text = reader.text()?;
        let name = std::str::from_utf8(&text).ok().and_then(GroupName::parse);
        let name = name.ok_or(DecodeError::Invalid("the name of a consumer group"))?;
        Ok(Want { filter, group: Some(Arc::new(GroupInterest { name, live })) })
    }
}
