//! What subscriptions have made of events that they have not ended: how often they were offered, and whether later ones
//! came first (RELIABILITY P3).

use std::collections::BTreeMap;

use crate::codec::{DecodeError, Reader, Result, Writer};
use crate::record::{Turn, read_id};

/// Entries of one part.
const ENTRIES_PER_PART: usize = 1_024;

/// By body and subscription. Most events are ended at the first offer and have no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns(BTreeMap<(u64, u32), Turn>);

impl Turns {
    pub fn of(&self, body: u64, group: u32) -> Turn {
        if self.0.is_empty() {
            Turn::default()
        } else {
            self.0.get(&(body, group)).copied().unwrap_or_default()
        }
    }

    pub(super) fn set(&mut self, body: u64, group: u32, turn: Turn) {
        self.0.insert((body, group), turn);
    }

    /// The last attempt has failed, too.
    pub(super) fn died(&mut self, body: u64, group: u32) {
        let turn = self.0.entry((body, group)).or_default();
        turn.tries = turn.tries.saturating_add(1);
    }

    /// It is offered again, behind others that came later.
    pub(super) fn replayed(&mut self, body: u64, group: u32) {
        let turn = self.0.entry((body, group)).or_default();
        *turn = Turn { before: turn.tries, overtaken: true, ..*turn };
    }

    pub(super) fn forget(&mut self, body: u64, group: u32) {
        self.0.remove(&(body, group));
    }

    pub(super) fn forget_event(&mut self, body: u64) {
        while let Some((key, _)) = self.0.range((body, 0)..=(body, u32::MAX)).next() {
            let key = *key;
            self.0.remove(&key);
        }
    }

    /// For a checkpoint.
    pub(super) fn parts(&self, kind: u8, parts: &mut Vec<Vec<u8>>) {
        let mut all = self.0.iter().peekable();
        while all.peek().is_some() {
            let mut out = Writer::kind(kind);
            for ((body, group), turn) in all.by_ref().take(ENTRIES_PER_PART) {
                write_turn(&mut out, *body, *group, *turn);
            }
            parts.push(out.0);
        }
    }

    pub(super) fn apply_part(&mut self, from: &mut Reader<'_>) -> Result<()> {
        while !from.0.is_empty() {
            let (body, group, turn) = read_turn(from)?;
            self.set(body, group, turn);
        }
        Ok(())
    }
}

pub(crate) fn write_turn(out: &mut Writer, body: u64, group: u32, turn: Turn) {
    out.number(body);
    out.number(u64::from(group));
    out.number(u64::from(turn.tries));
    out.number(u64::from(turn.before));
    out.u8(u8::from(turn.overtaken));
}

pub(crate) fn read_turn(from: &mut Reader<'_>) -> Result<(u64, u32, Turn)> {
    let (body, group) = (from.number()?, read_id(from)?);
    let count = |from: &mut Reader<'_>| {
        u32::try_from(from.number()?).map_err(|_| DecodeError::Invalid("a number of attempts"))
    };
    let (tries, before) = (count(from)?, count(from)?);
    Ok((body, group, Turn { tries, before, overtaken: from.flag()? }))
}
