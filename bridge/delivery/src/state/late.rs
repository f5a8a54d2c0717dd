//! Events of others that came before one that they follow: they are offered when that one has come or ended, behind all that was offered meanwhile.
//!
//! A subscriber that comes back after a restart says which event it has seen last, and means all that it was offered before that one. So the
//! next process must know the order in which this one offered, which is that of the bodies but for these.

use std::collections::BTreeMap;

use meshbridge_routing::{BridgeId, EventKey, Run};

use crate::codec::{DecodeError, Reader, Result, Writer};

/// Entries of one part of a checkpoint.
const ENTRIES_PER_PART: usize = 1_024;

/// At most one entry for each event that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// Bodies that wait for an earlier number of their lane.
    waiting: BTreeMap<(BridgeId, Run, u8, u64), u64>,
    /// Bodies whose turn came after that of this other body.
    after: BTreeMap<u64, u64>,
}

impl Late {
    /// An event came, and something before it has not.
    pub(super) fn came_early(&mut self, key: &EventKey, body: u64) {
        self.waiting.insert((key.origin.clone(), key.run, key.lane, key.seq), body);
    }

    /// Everything of the lane up to this number has come or ended; `last` is the newest body.
    pub(super) fn reached(&mut self, origin: &BridgeId, run: Run, lane: u8, number: u64, last: u64) {
        let place = |seq| (origin.clone(), run, lane, seq);
        while let Some((at, body)) = self.waiting.range(place(0)..=place(number)).next() {
            let (at, body) = (at.clone(), *body);
            self.waiting.remove(&at);
            self.after.insert(body, last);
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn forget(&mut self, key: &EventKey, body: u64) {
        if !self.waiting.is_empty() {
            self.waiting.remove(&(key.origin.clone(), key.run, key.lane, key.seq));
        }
        self.after.remove(&body);
    }

    /// What bodies are to be sorted by to come in the order in which they were offered.
    pub(crate) fn place(&self, body: u64, seq: u64) -> (u64, u64) {
        self.after.get(&body).map_or((body, 0), |after| (*after, seq))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.after.is_empty()
    }

    /// For a checkpoint: body, and the one it came after; 0 where it still waits.
    pub(super) fn parts(&self, kind: u8, parts: &mut Vec<Vec<u8>>) {
        let waiting = self.waiting.values().map(|body| (*body, 0));
        let all: Vec<(u64, u64)> =
            waiting.chain(self.after.iter().map(|(body, after)| (*body, *after))).collect();
        for chunk in all.chunks(ENTRIES_PER_PART) {
            let mut out = Writer::kind(kind);
            for (body, after) in chunk {
                out.number(*body);
                out.number(*after);
            }
            parts.push(out.0);
        }
    }

    /// `key_of` knows the events, which come before.
    pub(super) fn apply_part<'k>(
        &mut self,
        from: &mut Reader<'_>,
        key_of: impl Fn(u64) -> Option<&'k EventKey>,
    ) -> Result<()> {
        while !from.0.is_empty() {
            let (body, after) = (from.number()?, from.number()?);
            let key = key_of(body).ok_or(DecodeError::Invalid("a late event"))?;
            if after == 0 {
                self.came_early(key, body);
            } else {
                self.after.insert(body, after);
            }
        }
        Ok(())
    }
}
