//! The state as parts of a checkpoint, and back. Each part stands alone and is at most some tens of KiB.

use meshbridge_routing::{BridgeId, EventKey};
use roaring::RoaringTreemap;
use smallvec::SmallVec;

use super::{Account, Event, GroupState, Pending, State};
use crate::codec::{DecodeError, Reader, Result, Writer};
use crate::record::{
    Choices, DESTINATIONS_MAX, GROUPS_MAX, Outcome, REASON_BYTES_MAX, Record, read_endings, read_id,
    write_endings,
};

/// Entries of one part, where they are small.
const ENTRIES_PER_PART: usize = 1_024;

mod kind {
    pub(super) const GENERAL: u8 = 1;
    pub(super) const EVENTS: u8 = 2;
    pub(super) const PENDING: u8 = 3;
    pub(super) const AWAITING: u8 = 4;
    pub(super) const DESTINATION: u8 = 5;
    pub(super) const SOURCE: u8 = 6;
    pub(super) const TAKEN: u8 = 7;
    pub(super) const OUTCOMES: u8 = 8;
    pub(super) const PRODUCERS: u8 = 9;
    pub(super) const SUBSCRIPTION: u8 = 10;
    pub(super) const INTEREST: u8 = 11;
    pub(super) const MEMBERSHIP: u8 = 32;
}

impl State {
    /// Everything, for [`State::apply_part`] on a fresh state of the same bridge.
    pub fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![self.general_part()];
        let mut bodies = self.events.iter().peekable();
        while bodies.peek().is_some() {
            let mut out = Writer::kind(kind::EVENTS);
            for (body, event) in bodies.by_ref().take(256) {
                out.number(body);
                write_event(&mut out, event);
            }
            parts.push(out.0);
        }
        for (bridge, destination) in &self.destinations {
            self.destination_parts(bridge, destination, &mut parts);
        }
        for (bridge, source) in &self.sources {
            source_parts(bridge, source, &mut parts);
        }
        let producers: Vec<_> = self.producers.iter().collect();
        for chunk in producers.chunks(ENTRIES_PER_PART) {
            let mut out = Writer::kind(kind::PRODUCERS);
            for (producer, given, at) in chunk {
                out.u128(*producer);
                out.run(given.run);
                out.u8(given.lane);
                out.number(given.seq);
                out.number(*at);
            }
            parts.push(out.0);
        }
        for (owner, messages) in &self.interest {
            for message in messages {
                let mut out = Writer::kind(kind::INTEREST);
                out.text(owner.as_str());
                out.0.extend_from_slice(message);
                parts.push(out.0);
            }
        }
        self.membership.parts(kind::MEMBERSHIP, &mut parts);
        for subscription in self.subscriptions.values() {
            let mut part = vec![kind::SUBSCRIPTION];
            part.extend(Record::Subscription(subscription.clone()).encode());
            parts.push(part);
        }
        parts
    }

    fn general_part(&self) -> Vec<u8> {
        let mut out = Writer::kind(kind::GENERAL);
        out.number(self.runs.len() as u64);
        self.runs.iter().for_each(|run| out.run(*run));
        out.number(u64::from(self.starts));
        out.number(self.next_body);
        out.number(u64::from(self.next_subscription));
        out.number(self.wall);
        out.0
    }

    fn destination_parts(
        &self,
        bridge: &BridgeId,
        destination: &super::Destination,
        parts: &mut Vec<Vec<u8>>,
    ) {
        let mut out = Writer::kind(kind::DESTINATION);
        out.text(bridge.as_str());
        write_peer(&mut out, destination.peer);
        out.number(destination.outcomes_known);
        let Account { sent, delivered, denied, expired, dead_lettered, moved } = destination.account;
        [sent, delivered, denied, expired, dead_lettered, moved]
            .into_iter()
            .for_each(|count| out.number(count));
        parts.push(out.0);
        for ((run, lane), numbers) in &destination.lanes {
            let entries: Vec<_> = numbers.iter().collect();
            for chunk in entries.chunks(ENTRIES_PER_PART) {
                let mut out = Writer::kind(kind::PENDING);
                out.text(bridge.as_str());
                out.run(*run);
                out.u8(*lane);
                for (seq, pending) in chunk {
                    [**seq, pending.body, pending.prev].into_iter().for_each(|number| out.number(number));
                }
                parts.push(out.0);
            }
        }
        for ((run, lane), set) in &destination.awaiting {
            let mut out = Writer::kind(kind::AWAITING);
            out.text(bridge.as_str());
            out.run(*run);
            out.u8(*lane);
            let mut bytes = Vec::with_capacity(set.serialized_size());
            // Writing to memory does not fail.
            let _ = set.serialize_into(&mut bytes);
            out.0.extend_from_slice(&bytes);
            parts.push(out.0);
        }
    }

    pub fn apply_part(&mut self, part: &[u8]) -> Result<()> {
        let mut from = Reader(part);
        match from.u8()? {
            kind::GENERAL => {
                let runs = from.count(usize::MAX, "runs")?;
                self.runs = (0..runs).map(|_| from.run()).collect::<Result<_>>()?;
                self.starts = read_id(&mut from)?;
                self.next_body = from.number()?;
                self.next_subscription = read_id(&mut from)?;
                self.wall = from.number()?;
            }
            kind::EVENTS => {
                while !from.0.is_empty() {
                    let body = from.number()?;
                    let event = read_event(&mut from)?;
                    self.index(body, &event);
                    self.events.insert(body, event);
                }
            }
            kind::PENDING => {
                let bridge = from.bridge()?;
                let place = (from.run()?, from.lane()?);
                let destination = self.destinations.entry(bridge).or_default();
                let numbers = destination.lanes.entry(place).or_default();
                while !from.0.is_empty() {
                    let (seq, body, prev) = (from.number()?, from.number()?, from.number()?);
                    let size = self.events.get(&body).map_or(0, |event| event.size);
                    numbers.insert(seq, Pending { body, prev, size });
                    destination.used.add(size);
                }
            }
            kind::AWAITING => {
                let bridge = from.bridge()?;
                let place = (from.run()?, from.lane()?);
                let set = RoaringTreemap::deserialize_from(from.0);
                let set = set.map_err(|_| DecodeError::Invalid("a set of numbers"))?;
                self.destinations.entry(bridge).or_default().awaiting.insert(place, set);
                return Ok(());
            }
            kind::DESTINATION => {
                let destination = self.destinations.entry(from.bridge()?).or_default();
                destination.peer = read_peer(&mut from)?;
                destination.outcomes_known = from.number()?;
                destination.account = Account {
                    sent: from.number()?,
                    delivered: from.number()?,
                    denied: from.number()?,
                    expired: from.number()?,
                    dead_lettered: from.number()?,
                    moved: from.number()?,
                };
            }
            kind::SOURCE => {
                let source = self.sources.entry(from.bridge()?).or_default();
                source.peer = read_peer(&mut from)?;
                source.closed = from.number()?;
                source.ended = from.number()?;
                source.outcomes_from = from.number()?;
            }
            kind::TAKEN => {
                let source = self.sources.entry(from.bridge()?).or_default();
                let place = (from.run()?, from.lane()?);
                let set = source.taken.entry(place).or_default();
                while !from.0.is_empty() {
                    let (start, end) = (from.number()?, from.number()?);
                    set.insert(start, end);
                }
            }
            kind::OUTCOMES => {
                let source = self.sources.entry(from.bridge()?).or_default();
                let (_, endings) = read_endings(&mut from)?;
                source.outcomes.extend(endings);
            }
            kind::PRODUCERS => {
                while !from.0.is_empty() {
                    let producer = from.u128()?;
                    let (run, lane, seq, at) = (from.run()?, from.lane()?, from.number()?, from.number()?);
                    self.producers.insert(producer, run, lane, seq, at);
                }
            }
            kind::INTEREST => {
                let owner = from.bridge()?;
                self.interest.entry(owner).or_default().push(from.0.into());
                return Ok(());
            }
            kind::SUBSCRIPTION => {
                let (record, _) = Record::decode(from.0)?;
                self.apply(&record, &mut Vec::new());
                return Ok(());
            }
            kind::MEMBERSHIP => self.membership.apply_part(&mut from)?,
            unknown => return Err(DecodeError::UnknownKind(unknown)),
        }
        from.end()
    }
}

fn source_parts(bridge: &BridgeId, source: &super::Source, parts: &mut Vec<Vec<u8>>) {
    let mut out = Writer::kind(kind::SOURCE);
    out.text(bridge.as_str());
    write_peer(&mut out, source.peer);
    [source.closed, source.ended, source.outcomes_from].into_iter().for_each(|number| out.number(number));
    parts.push(out.0);
    for ((run, lane), set) in &source.taken {
        let ranges: Vec<_> = set.ranges().collect();
        for chunk in ranges.chunks(ENTRIES_PER_PART) {
            let mut out = Writer::kind(kind::TAKEN);
            out.text(bridge.as_str());
            out.run(*run);
            out.u8(*lane);
            for (start, end) in chunk {
                out.number(*start);
                out.number(*end);
            }
            parts.push(out.0);
        }
    }
    let endings: Vec<_> = source.outcomes.iter().cloned().collect();
    for chunk in endings.chunks(ENTRIES_PER_PART) {
        let mut out = Writer::kind(kind::OUTCOMES);
        out.text(bridge.as_str());
        write_endings(&mut out, 0, chunk);
        parts.push(out.0);
    }
}

fn write_peer(out: &mut Writer, peer: Option<(u128, meshbridge_routing::Run)>) {
    out.u8(u8::from(peer.is_some()));
    if let Some((spool, run)) = peer {
        out.u128(spool);
        out.run(run);
    }
}

fn read_peer(from: &mut Reader<'_>) -> Result<Option<(u128, meshbridge_routing::Run)>> {
    Ok(if from.flag()? { Some((from.u128()?, from.run()?)) } else { None })
}

fn write_event(out: &mut Writer, event: &Event) {
    out.key(&event.key);
    [event.prev, event.at, event.expires, u64::from(event.size)]
        .into_iter()
        .for_each(|number| out.number(number));
    let flags = [event.retain_delivered, event.local_open, event.groups_only, event.choices.is_some()];
    out.u8((0..).zip(flags).map(|(bit, set)| u8::from(set) << bit).sum());
    out.number(event.destinations.len() as u64);
    event.destinations.iter().for_each(|bridge| out.text(bridge.as_str()));
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
    out.u8(u8::from(event.worst.is_some()));
    if let Some(worst) = &event.worst {
        worst.write(out);
    }
    out.number(event.owner);
    out.number(u64::from(event.start));
    out.number(u64::from(event.attempts));
    if let Some(choices) = &event.choices {
        choices.write(out);
    }
}

fn read_event(from: &mut Reader<'_>) -> Result<Event> {
    let key: EventKey = from.key()?;
    let (prev, at, expires) = (from.number()?, from.number()?, from.number()?);
    let (size, flags) = (read_id(from)?, from.u8()?);
    let count = from.count(DESTINATIONS_MAX, "destinations")?;
    let destinations = (0..count).map(|_| from.bridge()).collect::<Result<SmallVec<_>>>()?;
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
    let groups = groups.collect::<Result<SmallVec<_>>>()?;
    let worst = if from.flag()? { Some(Box::new(Outcome::read(from)?)) } else { None };
    Ok(Event {
        key,
        prev,
        at,
        expires,
        size,
        retain_delivered: flags & 1 != 0,
        local_open: flags & 2 != 0,
        destinations,
        groups,
        worst,
        owner: from.number()?,
        start: read_id(from)?,
        groups_only: flags & 4 != 0,
        attempts: read_id(from)?,
        choices: if flags & 8 != 0 { Some(Box::new(Choices::read(from)?)) } else { None },
    })
}
