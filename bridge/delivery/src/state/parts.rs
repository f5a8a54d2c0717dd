//! The state as parts of a checkpoint, and back. Each part stands alone and is at most some tens of KiB.
//!
//! All parts are in memory together until the log has written them, so what there may be a million of is said as the
//! difference to the one before.

mod event;

use meshbridge_routing::{BridgeId, LANES};
use roaring::RoaringTreemap;

use super::{Account, CLOSED_RUNS_MAX, Pending, State};
use event::{Before, read_event, write_event};

use crate::codec::{DecodeError, Reader, Result, Writer};
use crate::record::{Record, read_endings, read_id, write_endings};

/// In the byte of a lane: its run is that of the entry before.
const SAME_RUN: u8 = 1 << 7;
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
    pub(super) const LATE: u8 = 12;
    pub(super) const TURNS: u8 = 13;
    pub(super) const MEMBERSHIP: u8 = 32;
}

impl State {
    /// Everything, for [`State::apply_part`] on a fresh state of the same bridge.
    pub fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![self.general_part()];
        // Before the events, some of which are kept for what is said here.
        self.membership.parts(kind::MEMBERSHIP, &mut parts);
        let mut bodies = self.events.iter().peekable();
        while bodies.peek().is_some() {
            let mut out = Writer::kind(kind::EVENTS);
            let mut before = Before::default();
            for (body, event) in bodies.by_ref().take(256) {
                out.number(body - std::mem::replace(&mut before.body, body));
                write_event(&mut out, &self.own, event, &mut before);
            }
            parts.push(compact(out));
        }
        for (bridge, destination) in &self.destinations {
            self.destination_parts(bridge, destination, &mut parts);
        }
        for (bridge, source) in &self.sources {
            source_parts(bridge, source, &mut parts);
        }
        self.late.parts(kind::LATE, &mut parts);
        self.turns.parts(kind::TURNS, &mut parts);
        let mut producers = self.producers.iter().peekable();
        while producers.peek().is_some() {
            let mut out = Writer::kind(kind::PRODUCERS);
            let mut before = (None, 0);
            for (producer, given, at) in producers.by_ref().take(ENTRIES_PER_PART) {
                out.u128(producer);
                let same = before.0 == Some(given.run);
                out.u8(given.lane | if same { SAME_RUN } else { 0 });
                if !same {
                    out.run(given.run);
                }
                out.number(given.seq);
                out.number(at.wrapping_sub(before.1));
                before = (Some(given.run), at);
            }
            parts.push(compact(out));
        }
        for (owner, messages) in &self.interest {
            for message in messages {
                let mut out = Writer::kind(kind::INTEREST);
                out.text(owner.as_str());
                out.0.extend_from_slice(message);
                parts.push(out.0);
            }
        }
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
        if let Some((run, numbers)) = &self.given {
            out.run(*run);
            numbers.iter().for_each(|last| out.number(*last));
        }
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
        out.number(destination.lost_before);
        parts.push(out.0);
        for ((run, lane), numbers) in &destination.lanes {
            let mut entries = numbers.iter().peekable();
            while entries.peek().is_some() {
                let mut out = Writer::kind(kind::PENDING);
                out.text(bridge.as_str());
                out.run(*run);
                out.u8(*lane);
                // Differences, which are small: to the number before, to the body before, to the predecessor.
                let (mut last_seq, mut last_body) = (0, 0);
                for (seq, pending) in entries.by_ref().take(ENTRIES_PER_PART) {
                    out.number(*seq - std::mem::replace(&mut last_seq, *seq));
                    out.number(pending.body.wrapping_sub(std::mem::replace(&mut last_body, pending.body)));
                    out.number(seq.wrapping_sub(pending.prev));
                }
                parts.push(compact(out));
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
                // Not there where nothing was accepted, nor in what earlier versions wrote.
                if !from.0.is_empty() {
                    let run = from.run()?;
                    let numbers = (0..LANES).map(|_| from.number()).collect::<Result<_>>()?;
                    self.given = Some((run, numbers));
                }
            }
            kind::EVENTS => {
                let mut before = Before::default();
                while !from.0.is_empty() {
                    let body = before.body.checked_add(from.number()?);
                    let body = body.ok_or(DecodeError::Invalid("a body"))?;
                    before.body = body;
                    let event = read_event(&mut from, &self.own, &mut before)?;
                    self.index(body, &event);
                    self.events.insert(body, event);
                }
            }
            kind::PENDING => {
                let bridge = from.bridge()?;
                let place = (from.run()?, from.lane()?);
                let destination = self.destinations.entry(bridge).or_default();
                let numbers = destination.lanes.entry(place).or_default();
                let (mut seq, mut body) = (0_u64, 0_u64);
                while !from.0.is_empty() {
                    seq = seq.wrapping_add(from.number()?);
                    body = body.wrapping_add(from.number()?);
                    let prev = seq.wrapping_sub(from.number()?);
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
                // Not in what earlier versions wrote.
                if !from.0.is_empty() {
                    destination.lost_before = from.number()?;
                }
            }
            kind::SOURCE => {
                let source = self.sources.entry(from.bridge()?).or_default();
                source.peer = read_peer(&mut from)?;
                source.closed = from.number()?;
                source.ended = from.number()?;
                source.outcomes_from = from.number()?;
                source.closed_floor = from.number()?;
                let runs = from.count(CLOSED_RUNS_MAX, "runs")?;
                source.closed_runs = (0..runs).map(|_| from.run()).collect::<Result<_>>()?;
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
                let mut before = (None, 0_u64);
                while !from.0.is_empty() {
                    let (producer, lane) = (from.u128()?, from.u8()?);
                    let run = match before.0 {
                        Some(run) if lane & SAME_RUN != 0 => run,
                        _ => from.run()?,
                    };
                    let (seq, at) = (from.number()?, before.1.wrapping_add(from.number()?));
                    self.producers.insert(producer, run, lane & !SAME_RUN, seq, at);
                    before = (Some(run), at);
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
            kind::LATE => {
                let events = &self.events;
                self.late.apply_part(&mut from, |body| events.get(&body).map(|event| &event.key))?;
            }
            kind::TURNS => self.turns.apply_part(&mut from)?,
            kind::MEMBERSHIP => self.membership.apply_part(&mut from)?,
            unknown => return Err(DecodeError::UnknownKind(unknown)),
        }
        from.end()
    }
}

/// Without the room that a growing buffer has left.
fn compact(out: Writer) -> Vec<u8> {
    let mut bytes = out.0;
    bytes.shrink_to_fit();
    bytes
}

fn source_parts(bridge: &BridgeId, source: &super::Source, parts: &mut Vec<Vec<u8>>) {
    let mut out = Writer::kind(kind::SOURCE);
    out.text(bridge.as_str());
    write_peer(&mut out, source.peer);
    [source.closed, source.ended, source.outcomes_from, source.closed_floor]
        .into_iter()
        .for_each(|number| out.number(number));
    out.number(source.closed_runs.len() as u64);
    source.closed_runs.iter().for_each(|run| out.run(*run));
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
