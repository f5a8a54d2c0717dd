//! The link-state database: what each bridge says about its own links, and the graph that follows.
//!
//! ```text
//! a says: b 10, c 5      b says: a 10      c says: nothing
//! graph:  a ──10── b     (a–c is no link: c does not list it)
//! ```

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;

use crate::flood::Stamp;
use crate::wire::{DecodeError, Reader, Writer};
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

/// A record and when the chain that signed it ends.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) record: LinkState,
    pub(crate) not_after: Option<Instant>,
}

/// The newest record of each bridge.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    records: BTreeMap<BridgeId, Held>,
}

impl Topology {
    pub(crate) fn get(&self, bridge: &BridgeId) -> Option<&Held> {
        self.records.get(bridge)
    }

    pub(crate) fn insert(&mut self, held: Held) {
        self.records.insert(held.record.bridge.clone(), held);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LinkState> {
        self.records.values().map(|held| &held.record)
    }

    /// Drops records whose chain has ended.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.records.retain(|_, held| held.not_after.is_none_or(|end| now < end));
    }

    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.records.values().filter_map(|held| held.not_after).min()
    }

    /// R17: a link counts when both ends list it, at the cost of the dearer end.
    pub(crate) fn graph(&self, bridges: &[(BridgeId, ZoneName)]) -> Vec<Vec<(BridgeIndex, u32)>> {
        let place = |id: &BridgeId| bridges.binary_search_by(|(other, _)| other.cmp(id)).ok();
        let mut links = vec![Vec::new(); bridges.len()];
        for here in self.iter() {
            let Some(from) = place(&here.bridge) else { continue };
            for link in &here.links {
                let Some(there) = self.records.get(&link.to) else { continue };
                let back = there.record.links.iter().find(|back| back.to == here.bridge);
                if let (Some(back), Some(to)) = (back, place(&link.to)) {
                    let to = BridgeIndex(u16::try_from(to).expect("a federation has 4,096 bridges at most"));
                    links[from].push((to, link.cost.max(back.cost)));
                }
            }
        }
        links
    }
}
