//! An owner of a log, as a bridge is one: events with contiguous numbers in lanes, parties that settle them, and
//! ids of producers that must be remembered. Small enough to be compared as a whole.

use std::collections::{BTreeMap, BTreeSet};

use meshbridge_spool::{Bug, bug};

pub const LANES: u8 = 3;
pub const PARTIES: u8 = 3;
/// Producer ids outlive their events, up to this many.
const PRODUCERS_MAX: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub lane: u8,
    pub seq: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Event {
        key: Key,
        producer: u64,
        body: u64,
        payload: Vec<u8>,
    },
    Settle {
        key: Key,
        party: u8,
    },
    /// Only written by the seeded bug: the key of an event that another batch holds.
    Taken {
        key: Key,
    },
}

impl Op {
    /// The owner's own bytes of the record; the payload follows those of an event.
    pub fn head(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Op::Event { key, producer, .. } => {
                out.push(if bug(Bug::KeyAndEventApart) { 3 } else { 1 });
                put_key(&mut out, *key);
                out.extend_from_slice(&producer.to_le_bytes());
            }
            Op::Settle { key, party } => {
                out.push(2);
                put_key(&mut out, *key);
                out.push(*party);
            }
            Op::Taken { key } => {
                out.push(4);
                put_key(&mut out, *key);
            }
        }
        out
    }
}

pub const EVENT_HEAD: usize = 14;

fn put_key(out: &mut Vec<u8>, key: Key) {
    out.push(key.lane);
    out.extend_from_slice(&key.seq.to_le_bytes());
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub events: BTreeMap<Key, Live>,
    /// All numbers ever taken, per lane.
    pub taken: BTreeSet<Key>,
    pub producers: BTreeMap<u64, Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub body: u64,
    /// Bit set of parties that have not settled it.
    pub open: u8,
}

impl State {
    /// Gives the body that is needed no more.
    pub fn apply(&mut self, op: &Op) -> Option<u64> {
        match op {
            Op::Event { key, producer, body, .. } => {
                self.taken.insert(*key);
                self.add_event(*key, *producer, *body);
                None
            }
            Op::Taken { key } => {
                self.taken.insert(*key);
                None
            }
            Op::Settle { key, party } => {
                let live = self.events.get_mut(key)?;
                live.open &= !(1 << party);
                if live.open != 0 {
                    return None;
                }
                self.events.remove(key).map(|live| live.body)
            }
        }
    }

    fn add_event(&mut self, key: Key, producer: u64, body: u64) {
        self.events.insert(key, Live { body, open: (1 << PARTIES) - 1 });
        self.producers.insert(producer, key);
        while self.producers.len() > PRODUCERS_MAX {
            self.producers.pop_first();
        }
    }

    pub fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = Vec::new();
        for (key, live) in &self.events {
            let mut part = vec![1];
            put_key(&mut part, *key);
            part.extend_from_slice(&live.body.to_le_bytes());
            part.push(live.open);
            parts.push(part);
        }
        for chunk in self.taken.iter().collect::<Vec<_>>().chunks(64) {
            let mut part = vec![2];
            chunk.iter().for_each(|key| put_key(&mut part, **key));
            parts.push(part);
        }
        for (producer, key) in &self.producers {
            if bug(Bug::ProducersNotCarried) && !self.events.contains_key(key) {
                continue;
            }
            let mut part = vec![3];
            put_key(&mut part, *key);
            part.extend_from_slice(&producer.to_le_bytes());
            parts.push(part);
        }
        parts
    }

    pub fn replay_part(&mut self, part: &[u8]) {
        let (kind, mut rest) = (part[0], &part[1..]);
        match kind {
            1 => {
                let key = take_key(&mut rest);
                let body = u64::from_le_bytes(rest[..8].try_into().expect("8 bytes"));
                self.events.insert(key, Live { body, open: rest[8] });
            }
            2 => {
                while !rest.is_empty() {
                    self.taken.insert(take_key(&mut rest));
                }
            }
            _ => {
                let key = take_key(&mut rest);
                self.producers.insert(u64::from_le_bytes(rest.try_into().expect("8 bytes")), key);
            }
        }
    }

    pub fn replay_state(&mut self, bytes: &[u8]) {
        let (kind, mut rest) = (bytes[0], &bytes[1..]);
        let key = take_key(&mut rest);
        match kind {
            2 => self.apply(&Op::Settle { key, party: rest[0] }),
            _ => self.apply(&Op::Taken { key }),
        };
    }

    pub fn replay_body(&mut self, id: u64, bytes: &[u8]) -> Key {
        let mut rest = &bytes[1..];
        let key = take_key(&mut rest);
        let producer = u64::from_le_bytes(rest[..8].try_into().expect("8 bytes"));
        if bytes[0] == 1 {
            self.taken.insert(key);
        }
        // Bodies are never taken twice: a record that a crash left in two places has one key.
        self.add_event(key, producer, id);
        key
    }
}

fn take_key(rest: &mut &[u8]) -> Key {
    let key = Key { lane: rest[0], seq: u32::from_le_bytes(rest[1..5].try_into().expect("4 bytes")) };
    *rest = &rest[5..];
    key
}
