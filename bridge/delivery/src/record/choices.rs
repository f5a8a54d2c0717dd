//! Which bridge gets an event for which consumer group (RELIABILITY D9).

use meshbridge_routing::{BridgeId, GroupName};

use super::{DESTINATIONS_MAX, GROUPS_MAX, codec::read_id};
use crate::codec::{Reader, Result, Writer};

/// The choices made for one event. Part of its record, because two bridges would both deliver otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// The bridge of each group's member; this bridge may be among them.
    pub chosen: Vec<(BridgeId, GroupName)>,
    /// Groups that wait for a bridge with a member.
    pub unchosen: Vec<GroupName>,
    /// Bridges whose other subscribers do not get the event.
    pub groups_only: Vec<BridgeId>,
    /// How often it was offered to a member elsewhere.
    pub attempts: u32,
    /// The event that it continues, by its body, and for which group.
    pub moved: Option<(u64, GroupName)>,
}

impl Choices {
    /// The groups whose member is at `bridge`.
    pub fn groups_at<'a>(&'a self, bridge: &'a BridgeId) -> impl Iterator<Item = &'a GroupName> {
        self.chosen.iter().filter(move |(at, _)| at == bridge).map(|(_, name)| name)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.number(self.chosen.len() as u64);
        for (bridge, name) in &self.chosen {
            out.text(bridge.as_str());
            out.text(name.as_str());
        }
        out.number(self.unchosen.len() as u64);
        self.unchosen.iter().for_each(|name| out.text(name.as_str()));
        out.number(self.groups_only.len() as u64);
        self.groups_only.iter().for_each(|bridge| out.text(bridge.as_str()));
        out.number(u64::from(self.attempts));
        out.u8(u8::from(self.moved.is_some()));
        if let Some((body, name)) = &self.moved {
            out.number(*body);
            out.text(name.as_str());
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Choices> {
        let count = from.count(GROUPS_MAX, "groups")?;
        let chosen = (0..count).map(|_| Ok((from.bridge()?, from.group_name()?))).collect::<Result<_>>()?;
        let count = from.count(GROUPS_MAX, "groups")?;
        let unchosen = (0..count).map(|_| from.group_name()).collect::<Result<_>>()?;
        let count = from.count(DESTINATIONS_MAX, "destinations")?;
        let groups_only = (0..count).map(|_| from.bridge()).collect::<Result<_>>()?;
        let attempts = read_id(from)?;
        let moved = if from.flag()? { Some((from.number()?, from.group_name()?)) } else { None };
        Ok(Choices { chosen, unchosen, groups_only, attempts, moved })
    }
}
