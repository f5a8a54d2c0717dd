//! One bridge: its disk, its process, and the subscriber behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use meshbridge_delivery::{Append, Config, Core, Effect, Record, State};
use meshbridge_routing::{BridgeId, EventKey, Run};

/// What survives the process. Batches are whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub spool: u128,
    pub parts: Vec<Vec<u8>>,
    /// Since the parts.
    pub batches: Vec<Vec<Vec<u8>>>,
    pub durable: usize,
    pub bodies: BTreeMap<u64, Vec<u8>>,
    pub epoch: u64,
}

impl Disk {
    pub fn append(&mut self, append: &Append) {
        let mut batch = Vec::new();
        for (record, payload) in &append.records {
            let mut bytes = record.encode();
            bytes.extend_from_slice(payload);
            if let Some(body) = record.body() {
                self.bodies.insert(body, payload.to_vec());
            }
            batch.push(bytes);
        }
        self.batches.push(batch);
    }

    /// The keys that are durable here, of events that are kept or have ended.
    pub fn taken(&self, own: &BridgeId) -> BTreeSet<String> {
        let durable = Disk { batches: self.batches[..self.durable].to_vec(), ..self.clone() };
        let (state, _) = durable.fold(own);
        let mut keys = BTreeSet::new();
        for (origin, source) in &state.sources {
            for ((run, lane), set) in &source.taken {
                for seq in set.ranges().flat_map(|(from, to)| from..=to) {
                    let key = EventKey { origin: origin.clone(), run: *run, lane: *lane, seq };
                    keys.insert(key.to_string());
                }
            }
        }
        keys
    }

    /// The state, and what happened since the checkpoint: a crash may have come before it was told.
    pub fn fold(&self, own: &BridgeId) -> (State, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut state = State::new(own.clone());
        for part in &self.parts {
            state.apply_part(part).expect("own part");
        }
        for bytes in self.batches.iter().flatten() {
            let (record, _) = Record::decode(bytes).expect("own record");
            state.apply(&record, &mut effects);
        }
        (state, effects)
    }
}

/// The subscriber of a bridge: one durable subscription for everything.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// Published id → key it came under, and how often.
    pub seen: BTreeMap<u64, (String, u32)>,
    /// Acknowledged, and the acknowledgement is durable.
    pub settled: BTreeSet<u64>,
    /// By ticket: ids whose acknowledgement that batch holds.
    pub acknowledging: Vec<(u64, u64)>,
}

#[derive(Debug)]
pub struct Node {
    pub id: BridgeId,
    pub disk: Disk,
    pub core: Option<Core>,
    pub lives: u64,
    /// Batches appended before this life.
    pub before: usize,
    pub group: Option<u32>,
    /// Of the consumer group.
    pub consumer: Option<u32>,
    pub subscriber: Subscriber,
    /// Offered in this life: body → id.
    pub offered: BTreeMap<u64, u64>,
    /// When its subscribers are back.
    pub back_at: u64,
    /// Keys that their origins said were delivered, in this life.
    pub told: BTreeSet<String>,
    pub last_offered: BTreeMap<(Run, u8), u64>,
}

impl Node {
    pub fn new(id: &str, spool: u128) -> Node {
        Node {
            id: BridgeId::parse(id).expect("valid id"),
            disk: Disk { spool, ..Disk::default() },
            core: None,
            lives: 0,
            before: 0,
            group: None,
            consumer: None,
            subscriber: Subscriber::default(),
            offered: BTreeMap::new(),
            back_at: 0,
            told: BTreeSet::new(),
            last_offered: BTreeMap::new(),
        }
    }

    /// Starts on what the disk has; everything on it is durable from now on.
    pub fn start(&mut self, nonce: u64, checkpoint: bool, now: Instant) -> Vec<Effect> {
        self.lives += 1;
        let (mut state, effects) = self.disk.fold(&self.id);
        if checkpoint {
            let parts = state.parts();
            let mut again = State::new(self.id.clone());
            parts.iter().for_each(|part| again.apply_part(part).expect("own part"));
            assert_eq!(again, state, "a checkpoint is the state");
            self.disk.parts = parts;
            self.disk.batches.clear();
            state = again;
        }
        self.disk.durable = self.disk.batches.len();
        self.before = self.disk.batches.len();
        self.disk.epoch += 1;
        let run = Run { epoch: self.disk.epoch, nonce };
        let mut subscriptions = state.subscriptions.keys().copied();
        (self.group, self.consumer) = (subscriptions.next(), subscriptions.next());
        self.offered.clear();
        self.told.clear();
        self.subscriber.acknowledging.clear();
        self.core = Some(Core::recover(state, Config::default(), self.disk.spool, run, nonce, now));
        effects
    }

    /// A durable batch of nothing but taken events becomes unreadable. `false` where there is none.
    pub fn rot(&mut self) -> bool {
        let taken = |bytes: &Vec<u8>| matches!(Record::decode(bytes), Ok((Record::Taken(_), _)));
        let mut durable = self.disk.batches[..self.disk.durable].iter();
        let found = durable.rposition(|batch| !batch.is_empty() && batch.iter().all(taken));
        if let Some(at) = found {
            self.disk.batches[at].clear();
        }
        found.is_some()
    }

    /// The process dies; of the batches that were not flushed, the first `keep` are on the disk all the same.
    pub fn crash(&mut self, keep: usize) {
        self.core = None;
        let kept = (self.disk.durable + keep).min(self.disk.batches.len());
        self.disk.batches.truncate(kept);
    }
}
