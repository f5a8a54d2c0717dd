//! One event in a part: what it has in common with the one before is not said again.

use meshbridge_routing::{BridgeId, EventKey, Run};
use smallvec::SmallVec;

use super::super::{Event, GroupState};
use crate::codec::{DecodeError, Reader, Result, Writer};
use crate::record::{Choices, DESTINATIONS_MAX, GROUPS_MAX, Outcome, REASON_BYTES_MAX, read_id};

mod flag {
    pub(super) const RETAIN: u16 = 1;
    pub(super) const LOCAL: u16 = 1 << 1;
    pub(super) const GROUPS_ONLY: u16 = 1 << 2;
    pub(super) const CHOICES: u16 = 1 << 3;
    /// Published here.
    pub(super) const OWN: u16 = 1 << 4;
    pub(super) const SAME_RUN: u16 = 1 << 5;
    pub(super) const SAME_DESTINATIONS: u16 = 1 << 6;
    pub(super) const SAME_OWNER: u16 = 1 << 7;
    pub(super) const EXPIRES: u16 = 1 << 8;
    pub(super) const GROUPS: u16 = 1 << 9;
    pub(super) const WORST: u16 = 1 << 10;
    pub(super) const SAME_START: u16 = 1 << 11;
    pub(super) const ATTEMPTS: u16 = 1 << 12;
    pub(super) const PREV: u16 = 1 << 13;
}

/// What the event before had.
#[derive(Debug, Default)]
pub(super) struct Before {
    pub(super) body: u64,
    run: Option<Run>,
    destinations: SmallVec<[BridgeId; 1]>,
    owner: u64,
    start: u32,
    at: u64,
}

impl Before {
    fn remember(&mut self, event: &Event) {
        self.run = Some(event.key.run);
        self.destinations.clone_from(&event.destinations);
        (self.owner, self.start, self.at) = (event.owner, event.start, event.at);
    }
}

pub(super) fn write_event(out: &mut Writer, own: &BridgeId, event: &Event, before: &mut Before) {
    let key = &event.key;
    let says = [
        (event.retain_delivered, flag::RETAIN),
        (event.local_open, flag::LOCAL),
        (event.groups_only, flag::GROUPS_ONLY),
        (event.choices.is_some(), flag::CHOICES),
        (key.origin == *own, flag::OWN),
        (before.run == Some(key.run), flag::SAME_RUN),
        (event.destinations == before.destinations, flag::SAME_DESTINATIONS),
        (event.owner == before.owner, flag::SAME_OWNER),
        (event.expires > 0, flag::EXPIRES),
        (!event.groups.is_empty(), flag::GROUPS),
        (event.worst.is_some(), flag::WORST),
        (event.start == before.start, flag::SAME_START),
        (event.attempts > 0, flag::ATTEMPTS),
        (event.prev > 0, flag::PREV),
    ];
    let flags: u16 = says.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).sum();
    let unless = |flag: u16| flags & flag == 0;
    out.number(u64::from(flags));
    if unless(flag::OWN) {
        out.text(key.origin.as_str());
    }
    if unless(flag::SAME_RUN) {
        out.run(key.run);
    }
    out.u8(key.lane);
    out.number(key.seq);
    out.number(event.at.wrapping_sub(before.at));
    out.number(u64::from(event.size));
    if !unless(flag::PREV) {
        out.number(event.prev);
    }
    if !unless(flag::EXPIRES) {
        out.number(event.expires);
    }
    if unless(flag::SAME_DESTINATIONS) {
        out.number(event.destinations.len() as u64);
        event.destinations.iter().for_each(|bridge| out.text(bridge.as_str()));
    }
    if !unless(flag::GROUPS) {
        write_groups(out, event);
    }
    if let Some(worst) = &event.worst {
        worst.write(out);
    }
    if unless(flag::SAME_OWNER) {
        out.number(event.owner);
    }
    if unless(flag::SAME_START) {
        out.number(u64::from(event.start));
    }
    if !unless(flag::ATTEMPTS) {
        out.number(u64::from(event.attempts));
    }
    if let Some(choices) = &event.choices {
        choices.write(out);
    }
    before.remember(event);
}

fn write_groups(out: &mut Writer, event: &Event) {
    out.number(event.groups.len() as u64);
    for (id, state) in &event.groups {
        out.number(u64::from(*id));
        match state {
            GroupState::Open => out.u8(0),
            GroupState::Dead(reason) => {
                out.u8(1);
                out.text(reason);
            }
        }
    }
}

pub(super) fn read_event(from: &mut Reader<'_>, own: &BridgeId, before: &mut Before) -> Result<Event> {
    let flags = u16::try_from(from.number()?).map_err(|_| DecodeError::Invalid("an event"))?;
    let has = |flag: u16| flags & flag != 0;
    let origin = if has(flag::OWN) { own.clone() } else { from.bridge()? };
    let run = match before.run {
        Some(run) if has(flag::SAME_RUN) => run,
        _ => from.run()?,
    };
    let (lane, seq) = (from.lane()?, from.number()?);
    let at = before.at.wrapping_add(from.number()?);
    let size = read_id(from)?;
    let prev = if has(flag::PREV) { from.number()? } else { 0 };
    let expires = if has(flag::EXPIRES) { from.number()? } else { 0 };
    let destinations = if has(flag::SAME_DESTINATIONS) {
        before.destinations.clone()
    } else {
        let count = from.count(DESTINATIONS_MAX, "destinations")?;
        (0..count).map(|_| from.bridge()).collect::<Result<_>>()?
    };
    let groups = if has(flag::GROUPS) { read_groups(from)? } else { Vec::new() };
    let worst = if has(flag::WORST) { Some(Box::new(Outcome::read(from)?)) } else { None };
    let event = Event {
        key: EventKey { origin, run, lane, seq },
        prev,
        at,
        expires,
        size,
        retain_delivered: has(flag::RETAIN),
        local_open: has(flag::LOCAL),
        destinations,
        groups,
        worst,
        owner: if has(flag::SAME_OWNER) { before.owner } else { from.number()? },
        start: if has(flag::SAME_START) { before.start } else { read_id(from)? },
        groups_only: has(flag::GROUPS_ONLY),
        attempts: if has(flag::ATTEMPTS) { read_id(from)? } else { 0 },
        choices: if has(flag::CHOICES) { Some(Box::new(Choices::read(from)?)) } else { None },
    };
    before.remember(&event);
    Ok(event)
}

fn read_groups(from: &mut Reader<'_>) -> Result<Vec<(u32, GroupState)>> {
    let count = from.count(GROUPS_MAX, "subscriptions")?;
    let groups = (0..count).map(|_| {
        let id = read_id(from)?;
        let state = if from.flag()? {
            GroupState::Dead(from.text(REASON_BYTES_MAX, "a reason")?.into())
        } else {
            GroupState::Open
        };
        Ok((id, state))
    });
    groups.collect()
}
