//! The link-state database: what each bridge says about its own links, and the graph that follows.
//!
//! ```text
//! a says: b 10, c 5      b says: a 10      c says: nothing
//! graph:  a ──10── b     (a–c is no link: c does not list it)
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::flood::Stamp;
use crate::graph::{Edge, EdgeChange, Graph};
use crate::wire::{DecodeError, Message, Reader, Writer};
use crate::{BridgeId, BridgeIndex, Run, Signature, ZoneName, limits};

/// One entry of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLink {
    pub to: BridgeId,
    pub cost: u32,
}

/// What a bridge says about itself, signed. Replaced as a whole by a record with a higher stamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    pub bridge: BridgeId,
    pub zone: ZoneName,
    pub run: Run,
    pub seq: u64,
    pub links: Vec<ListedLink>,
    pub policy_digest: [u8; 32],
    pub signature: Signature,
}

impl LinkState {
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp { run: self.run, version: self.seq }
    }

    /// R6: the bytes under the signature; the federation is named so that no record serves in another.
    pub(crate) fn signed_bytes(&self, federation: &str) -> Bytes {
        let mut writer = Writer::new();
        writer.raw(b"meshbridge/1 link state\0");
        writer.name(federation);
        self.encode_body(&mut writer);
        writer.finish()
    }

    fn encode_body(&self, writer: &mut Writer) {
        writer.name(self.bridge.as_str());
        writer.name(self.zone.as_str());
        writer.run(self.run);
        writer.u64(self.seq);
        writer.raw(&self.policy_digest);
        writer.u16(u16::try_from(self.links.len()).expect("a record lists 64 links at most"));
        for link in &self.links {
            writer.name(link.to.as_str());
            writer.u32(link.cost);
        }
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        self.encode_body(writer);
        writer.signature(&self.signature);
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<LinkState, DecodeError> {
        if reader.remaining() > limits::RECORD_BYTES_MAX {
            return Err(DecodeError::TooLong("link-state record"));
        }
        let bridge = reader.bridge()?;
        let zone = reader.zone()?;
        let run = reader.run()?;
        let seq = reader.u64()?;
        let policy_digest = reader.array()?;
        let count = reader.count(limits::RECORD_LINKS_MAX, "links of a record")?;
        let mut links: Vec<ListedLink> = Vec::new();
        for _ in 0..count {
            let link = ListedLink { to: reader.bridge()?, cost: reader.u32()? };
            // R6: ascending, each once, and no link is free, or a path could go in circles.
            if link.cost == 0 || links.last().is_some_and(|last| last.to >= link.to) {
                return Err(DecodeError::Invalid("links of a record"));
            }
            links.push(link);
        }
        Ok(LinkState { bridge, zone, run, seq, links, policy_digest, signature: reader.signature()? })
    }
}

/// A record, as it is passed on, and when the chain that signed it ends.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) record: LinkState,
    /// The message that carries it: one encoding for all neighbours.
    pub(crate) message: Bytes,
    pub(crate) not_after: Option<Instant>,
}

impl Held {
    pub(crate) fn new(record: LinkState, not_after: Option<Instant>) -> Held {
        let message = Message::encode_link_state(&record);
        Held { record, message, not_after }
    }
}

/// The newest record of each bridge, and the graph that follows from all, kept up to date link by link.
#[derive(Debug)]
pub(crate) struct Topology {
    bridges: Arc<Vec<(BridgeId, ZoneName)>>,
    records: BTreeMap<BridgeId, Held>,
    /// What the record of each bridge of the table lists, in the order of neighbours.
    listed: Vec<Vec<Edge>>,
    /// R17: what both ends list, at the cost of the dearer one.
    agreed: Vec<Vec<Edge>>,
    /// What changed in `agreed` since it was last asked.
    changes: Vec<EdgeChange>,
    /// No chain ends before this: the least of all that were ever held, until it has passed.
    next_expiry: Option<Instant>,
}

impl Topology {
    pub(crate) fn new(bridges: Arc<Vec<(BridgeId, ZoneName)>>) -> Topology {
        Topology {
            records: BTreeMap::new(),
            listed: vec![Vec::new(); bridges.len()],
            agreed: vec![Vec::new(); bridges.len()],
            changes: Vec::new(),
            next_expiry: None,
            bridges,
        }
    }

    pub(crate) fn get(&self, bridge: &BridgeId) -> Option<&Held> {
        self.records.get(bridge)
    }

    pub(crate) fn insert(&mut self, held: Held) {
        let listed = held.record.links.iter();
        let listed = listed.filter_map(|link| Some((self.place(&link.to)?, link.cost))).collect();
        self.next_expiry = self.next_expiry.into_iter().chain(held.not_after).min();
        if let Some(place) = self.place(&held.record.bridge) {
            self.list(place, listed);
        }
        self.records.insert(held.record.bridge.clone(), held);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LinkState> {
        self.records.values().map(|held| &held.record)
    }

    /// Drops records whose chain has ended; tells whether there were any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let over = |held: &&Held| held.not_after.is_some_and(|end| end <= now);
        let over: Vec<BridgeId> =
            self.records.values().filter(over).map(|held| held.record.bridge.clone()).collect();
        for bridge in &over {
            self.records.remove(bridge);
            if let Some(place) = self.place(bridge) {
                self.list(place, Vec::new());
            }
        }
        self.next_expiry = self.records.values().filter_map(|held| held.not_after).min();
        !over.is_empty()
    }

    /// When [`Topology::expire`] is to be called next. It may find nothing then, where a record was replaced.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.next_expiry
    }

    /// What changed in the graph since this was last called, and the graph; `None` if nothing did.
    pub(crate) fn take_changes(&mut self) -> Option<(Vec<EdgeChange>, Graph)> {
        let changes = std::mem::take(&mut self.changes);
        (!changes.is_empty()).then(|| (changes, Graph::new(&self.agreed)))
    }

    fn place(&self, id: &BridgeId) -> Option<BridgeIndex> {
        let place = self.bridges.binary_search_by(|(other, _)| other.cmp(id)).ok()?;
        u16::try_from(place).ok().map(BridgeIndex)
    }

    /// The record of `here` now lists these.
    fn list(&mut self, here: BridgeIndex, listed: Vec<Edge>) {
        let before = std::mem::replace(&mut self.listed[usize::from(here.0)], listed);
        let gone = before.iter().map(|(to, _)| *to);
        let mut touched: Vec<BridgeIndex> =
            gone.chain(self.listed[usize::from(here.0)].iter().map(|(to, _)| *to)).collect();
        touched.sort_unstable();
        touched.dedup();
        for there in touched {
            let before = cost_in(&self.agreed, here, there);
            let both = cost_in(&self.listed, here, there).zip(cost_in(&self.listed, there, here));
            // R17
            let after = both.map(|(one, other)| one.max(other));
            if before != after {
                set_cost(&mut self.agreed, here, there, after);
                set_cost(&mut self.agreed, there, here, after);
                self.changes.push(EdgeChange { ends: [here, there], before, after });
            }
        }
    }
}

fn cost_in(nodes: &[Vec<Edge>], from: BridgeIndex, to: BridgeIndex) -> Option<u32> {
    let links = &nodes[usize::from(from.0)];
    links.binary_search_by_key(&to, |(to, _)| *to).ok().map(|place| links[place].1)
}

fn set_cost(nodes: &mut [Vec<Edge>], from: BridgeIndex, to: BridgeIndex, cost: Option<u32>) {
    let links = &mut nodes[usize::from(from.0)];
    match (links.binary_search_by_key(&to, |(to, _)| *to), cost) {
        (Ok(place), Some(cost)) => links[place].1 = cost,
        (Ok(place), None) => drop(links.remove(place)),
        (Err(place), Some(cost)) => links.insert(place, (to, cost)),
        (Err(_), None) => {}
    }
}
