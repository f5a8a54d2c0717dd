//! One spool under test: the disk, the log, the owner, and the model that knows what was promised.
//!
//! The model is the list of batches in the order of their submission. After a crash the recovered state must be
//! what some prefix of that list gives, and the prefix must hold everything that was acknowledged. That one claim
//! covers "acknowledged ⊆ recovered ⊆ submitted", nothing twice, lane order, key and event together, and nothing
//! settled coming back.

use std::collections::{BTreeMap, BTreeSet};

use meshbridge_spool::format::{Codec, DATA_START, PAGE_BYTES, RecordParts};
use meshbridge_spool::vfs::SimVfs;
use meshbridge_spool::{
    Append, AppendError, Bug, Class, Damage, Log, Lsn, OpenError, Options, Recovered, Replay, Run, Scrubbed,
    bug,
};

use crate::owner::{EVENT_HEAD, Key, LANES, Op, PARTIES, State};
use crate::random::Random;
use crate::tools::{self, Start};

/// One in so many lives is also seen through the tools.
const TOOLS_EVERY: u64 = 8;

pub const SEGMENT_BYTES: u64 = 64 * 1024;

/// Less than a segment, and less than its larger batches.
const SCRUB_BYTES: u64 = 10_000;

pub fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        segments_max: 24,
        checkpoint_step_bytes: 700,
        accept_missing: false,
        first_epoch: 1,
    }
}

#[derive(Clone, Debug)]
struct Submitted {
    ops: Vec<Op>,
    first: Lsn,
    last: Lsn,
}

/// What went wrong, in words.
pub type Verdict = Result<(), String>;

#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub events: u64,
    pub acknowledged: u64,
    pub cuts: u64,
    pub kills: u64,
    pub faults: u64,
    pub torn: u64,
    pub damaged: u64,
    pub rolled: u64,
    pub unlinked: u64,
    pub moved: u64,
    pub full: u64,
    /// Starts that found no room on the disk.
    pub no_room: u64,
}

#[derive(Debug)]
pub struct World {
    pub vfs: SimVfs,
    pub log: Option<Log<SimVfs>>,
    pub random: Random,
    /// The owner as it runs: everything submitted.
    state: State,
    /// As of everything acknowledged.
    settled: State,
    pending: Vec<Submitted>,
    /// Everything acknowledged, for the judgement of rot.
    kept: Vec<Submitted>,
    /// Where the log has each event's record, as it was told last.
    lsns: BTreeMap<Key, Lsn>,
    next_seq: [u32; LANES as usize],
    next_producer: u64,
    next_body: u64,
    runs: BTreeSet<Run>,
    /// Bodies that the last start said were lost.
    lost_bodies: BTreeSet<u64>,
    /// The disk holds so many, if it is limited.
    disk_segments: Option<u64>,
    /// The tools look at each disk before a start does.
    tools: bool,
    pub counts: Counts,
    pub options: Options,
}

pub fn entropy(seed: u64) -> Box<dyn FnMut() -> [u8; 32] + Send> {
    let mut random = Random::new(seed);
    Box::new(move || std::array::from_fn(|_| random.below(256) as u8))
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let vfs = SimVfs::new(random.next());
        World {
            vfs,
            log: None,
            random,
            state: State::default(),
            settled: State::default(),
            pending: Vec::new(),
            kept: Vec::new(),
            lsns: BTreeMap::new(),
            next_seq: [0; LANES as usize],
            next_producer: 0,
            next_body: 0,
            runs: BTreeSet::new(),
            lost_bodies: BTreeSet::new(),
            disk_segments: None,
            tools: seed.is_multiple_of(TOOLS_EVERY) && !tools::any_bug(),
            counts: Counts::default(),
            options: options(),
        }
    }

    fn log(&mut self) -> &mut Log<SimVfs> {
        self.log.as_mut().expect("the log is open")
    }

    /// The same world on a copy of its disk, with nothing open.
    pub fn fork(&self) -> World {
        World {
            vfs: self.vfs.fork(),
            log: None,
            random: self.random.clone(),
            state: self.state.clone(),
            settled: self.settled.clone(),
            pending: self.pending.clone(),
            kept: self.kept.clone(),
            lsns: self.lsns.clone(),
            next_seq: self.next_seq,
            next_producer: self.next_producer,
            next_body: self.next_body,
            runs: self.runs.clone(),
            lost_bodies: BTreeSet::new(),
            disk_segments: self.disk_segments,
            tools: self.tools,
            counts: Counts::default(),
            options: self.options.clone(),
        }
    }

    // ---- what the owner does ------------------------------------------------------------------------------

    pub fn submit_events(&mut self, count: u64) -> Result<(), AppendError> {
        let mut ops = Vec::new();
        for _ in 0..count {
            let lane = self.random.below(u64::from(LANES)) as u8;
            let seq = self.next_seq[usize::from(lane)] + 1;
            self.next_seq[usize::from(lane)] = seq;
            self.next_producer += 1;
            self.next_body += 1;
            let payload = self.payload(count == 1);
            let key = Key { lane, seq };
            ops.push(Op::Event { key, producer: self.next_producer, body: self.next_body, payload });
        }
        let result = self.submit(Class::Event, ops.clone());
        match &result {
            Err(AppendError::Full | AppendError::TooLarge { .. }) => {
                // Nothing was written: the numbers are free again, so that lanes stay contiguous.
                for op in ops.iter().rev() {
                    if let Op::Event { key, .. } = op {
                        self.next_seq[usize::from(key.lane)] -= 1;
                    }
                }
                self.counts.full += 1;
            }
            _ => self.counts.events += count,
        }
        if bug(Bug::KeyAndEventApart) && result.is_ok() {
            let keys = ops.iter().filter_map(|op| match op {
                Op::Event { key, .. } => Some(Op::Taken { key: *key }),
                _ => None,
            });
            let keys: Vec<Op> = keys.collect();
            self.append(Class::Essential, &keys)?;
        }
        result
    }

    pub fn settle_some(&mut self, most: usize) -> Result<(), AppendError> {
        let live: Vec<(Key, u8)> = self.state.events.iter().map(|(key, live)| (*key, live.open)).collect();
        let mut ops = Vec::new();
        for _ in 0..most {
            if live.is_empty() {
                break;
            }
            let (key, open) = live[self.random.below(live.len() as u64) as usize];
            if self.random.one_in(3) {
                let party = self.random.below(u64::from(PARTIES)) as u8;
                ops.push(Op::Settle { key, party });
            } else {
                ops.extend(
                    (0..PARTIES).filter(|p| open >> p & 1 == 1).map(|party| Op::Settle { key, party }),
                );
            }
        }
        if ops.is_empty() { Ok(()) } else { self.submit(Class::Essential, ops) }
    }

    /// All parties of the oldest events.
    pub fn settle_oldest(&mut self, most: usize) -> Result<(), AppendError> {
        let oldest = self.state.events.iter().take(most);
        let ops = oldest.flat_map(|(key, live)| {
            let open = (0..PARTIES).filter(|party| live.open >> party & 1 == 1);
            open.map(|party| Op::Settle { key: *key, party })
        });
        self.submit(Class::Essential, ops.collect())
    }

    fn submit(&mut self, class: Class, ops: Vec<Op>) -> Result<(), AppendError> {
        match self.append(class, &ops) {
            Ok((first, last)) => {
                self.note_submitted(Submitted { ops, first, last });
                Ok(())
            }
            Err(problem @ (AppendError::Full | AppendError::TooLarge { .. } | AppendError::Poisoned)) => {
                Err(problem)
            }
            Err(problem) => {
                // It may be on the disk, in part or whole; it was not acknowledged.
                self.note_submitted(Submitted { ops, first: Lsn::MAX, last: Lsn::MAX });
                Err(problem)
            }
        }
    }

    fn note_submitted(&mut self, batch: Submitted) {
        for op in &batch.ops {
            if let Some(body) = self.state.apply(op)
                && let Some(log) = self.log.as_mut()
            {
                log.release(body);
            }
        }
        for (at, op) in (0..).zip(&batch.ops) {
            if let Op::Event { key, .. } = op {
                self.lsns.insert(*key, batch.first.saturating_add(at));
            }
        }
        self.pending.push(batch);
    }

    fn append(&mut self, class: Class, ops: &[Op]) -> Result<(Lsn, Lsn), AppendError> {
        let heads: Vec<Vec<u8>> = ops.iter().map(Op::head).collect();
        let records: Vec<Append<'_>> = ops
            .iter()
            .zip(&heads)
            .map(|(op, head)| match op {
                Op::Event { body, payload, .. } => Append::Body { id: *body, head, bytes: payload },
                _ => Append::State(head),
            })
            .collect();
        let appended = self.log().append(class, &records)?;
        Ok((appended.first, appended.last))
    }

    pub fn sync(&mut self) -> Result<(), AppendError> {
        let result = self.log().sync();
        self.acknowledge();
        match result {
            Ok(_) => Ok(()),
            Err(problem) => {
                // A program that does not give up would try again; a log that then says yes has promised.
                if self.log().sync().is_ok() {
                    self.acknowledge();
                }
                Err(problem)
            }
        }
    }

    /// Everything up to the log's durable number is promised from now on.
    pub fn acknowledge(&mut self) {
        let durable = self.log().durable();
        let ready = self.pending.iter().take_while(|batch| batch.last <= durable).count();
        for batch in self.pending.drain(..ready).collect::<Vec<_>>() {
            self.counts.acknowledged += batch.ops.len() as u64;
            batch.ops.iter().for_each(|op| {
                self.settled.apply(op);
            });
            self.kept.push(batch);
        }
    }

    pub fn idle(&mut self) -> Result<(), AppendError> {
        self.sync()?;
        if self.log().needs_seal() {
            self.log().seal()?;
        }
        Ok(())
    }

    pub fn checkpoint(&mut self, through: bool) -> Result<(), AppendError> {
        let parts = self.state.parts();
        self.log().begin_checkpoint(parts);
        while through && self.log().checkpoint_under_way() {
            self.log().append(Class::Essential, &[])?;
            self.sync()?;
        }
        Ok(())
    }

    pub fn maintain(&mut self) -> Result<(), AppendError> {
        let done = self.log().maintain(20_000)?;
        self.counts.unlinked += done.unlinked;
        self.counts.moved += done.moved;
        Ok(())
    }

    /// Bytes that try to be taken for something else: copies of earlier segments, and batches forged for the very
    /// place where they will lie by somebody who believes that the salt is zero.
    fn payload(&mut self, alone: bool) -> Vec<u8> {
        match self.random.below(12) {
            0 => self.copied_payload(),
            1 | 2 if alone => self.forged_payload(),
            3 => vec![0; self.random.below(9_000) as usize],
            4 if alone => self.bytes(18_000, 38_000),
            _ => self.bytes(0, 700),
        }
    }

    fn bytes(&mut self, least: u64, most: u64) -> Vec<u8> {
        let len = least + self.random.below(most - least);
        (0..len).map(|_| self.random.below(256) as u8).collect()
    }

    fn copied_payload(&mut self) -> Vec<u8> {
        let names: Vec<String> = self.vfs.names().into_iter().filter(|name| name.contains("seg-")).collect();
        let name = &names[self.random.below(names.len() as u64) as usize];
        let content = self.vfs.contents(name).unwrap_or_default();
        let pages = content.len() as u64 / PAGE_BYTES;
        let from = self.random.below(pages.max(1)) * PAGE_BYTES;
        let pad = PAGE_BYTES as usize - 48 - 8 - 9 - EVENT_HEAD;
        let mut payload = vec![1; pad];
        payload.extend_from_slice(content.get(from as usize..).unwrap_or_default());
        payload.truncate(pad + 2 * PAGE_BYTES as usize);
        payload
    }

    fn forged_payload(&mut self) -> Vec<u8> {
        let (segment, offset, next) = self.log().position();
        let pad = PAGE_BYTES as usize - 48 - 8 - 9 - EVENT_HEAD;
        let mut payload = vec![1; pad];
        let bogus =
            Op::Event { key: Key { lane: 0, seq: 900_000 }, producer: 1, body: 1, payload: Vec::new() }
                .head();
        let mut record = vec![17];
        record.extend_from_slice(&999_999_u64.to_le_bytes());
        record.extend_from_slice(&bogus);
        let codec = Codec::new(segment, [0; 32]);
        let opening = u64::from(offset == DATA_START);
        let first = next + 2 * self.random.below(2) - opening.min(self.random.below(2));
        let forged = codec.encode(
            offset + PAGE_BYTES,
            first,
            first.saturating_sub(1),
            std::iter::once(RecordParts([record.as_slice(), &[], &[]])),
        );
        payload.extend_from_slice(&forged.bytes);
        payload
    }

    // ---- crashes ------------------------------------------------------------------------------------------

    pub fn close(&mut self) {
        self.log = None;
    }

    pub fn kill(&mut self) {
        self.counts.faults += self.vfs.struck();
        self.vfs.kill();
        self.log = None;
        self.counts.kills += 1;
    }

    pub fn power_cut(&mut self) {
        self.counts.faults += self.vfs.struck();
        self.vfs.power_cut();
        self.log = None;
        self.counts.cuts += 1;
    }

    /// Opens the spool without judging what came back.
    pub fn try_open(&mut self) -> Result<(State, Recovered), OpenError> {
        let mut state = State::default();
        let mut lsns = BTreeMap::new();
        let seed = self.random.next();
        let (mut log, recovered) =
            Log::open(self.vfs.clone(), self.options.clone(), entropy(seed), |item| match item {
                Replay::Part(part) => state.replay_part(part),
                Replay::State { bytes, .. } => state.replay_state(bytes),
                Replay::Body { lsn, id, bytes } => {
                    lsns.insert(state.replay_body(id, bytes), lsn);
                }
                Replay::Lost { .. } => {}
            })?;
        let live: BTreeSet<u64> = state.events.values().map(|live| live.body).collect();
        self.lost_bodies = log.retain(|id| live.contains(&id)).into_iter().collect();
        self.log = Some(log);
        self.lsns.extend(lsns.into_iter().filter(|(_, lsn)| *lsn != 0));
        Ok((state, recovered))
    }

    /// Opens after crashes alone: nothing promised may be gone, nothing may be reported as damaged.
    pub fn reopen(&mut self) -> Verdict {
        if self.tools {
            tools::judge_crash(&self.vfs)?;
        }
        let mut opened = self.try_open();
        if matches!(opened, Err(OpenError::NoRoom(_))) && self.disk_segments.is_some() {
            // Said plainly, nothing changed; somebody makes room.
            self.counts.no_room += 1;
            self.limit_disk(self.disk_segments.unwrap_or(0) + 4);
            opened = self.try_open();
        }
        let (state, recovered) =
            opened.map_err(|problem| format!("a crash alone must not stop a start: {problem:?}"))?;
        if !recovered.damage.is_empty() || !self.lost_bodies.is_empty() {
            return Err(format!("a power cut alone was reported as rot: {:?}", recovered.damage));
        }
        self.counts.torn += u64::from(recovered.torn.is_some());
        self.judge_run(&recovered)?;
        self.judge_prefix(state)?;
        self.judge_bodies()
    }

    pub fn judge_run(&mut self, recovered: &Recovered) -> Verdict {
        let run = recovered.run;
        let highest = self.runs.iter().map(|run| run.epoch).max().unwrap_or(0);
        if run.epoch <= highest {
            return Err(format!("epoch {} is not above {highest}", run.epoch));
        }
        if self.runs.iter().any(|known| known.nonce == run.nonce) {
            return Err(format!("nonce {:x} was used before", run.nonce));
        }
        self.runs.insert(run);
        Ok(())
    }

    fn judge_prefix(&mut self, state: State) -> Verdict {
        let mut expected = self.settled.clone();
        let mut taken = 0;
        loop {
            if expected == state {
                break;
            }
            let Some(batch) = self.pending.get(taken) else {
                return Err(format!(
                    "recovered state is no prefix of what was submitted: {}",
                    difference(&self.settled, &state)
                ));
            };
            batch.ops.iter().for_each(|op| {
                expected.apply(op);
            });
            taken += 1;
        }
        // What was recovered is acted upon, so it is promised now; what was not, never existed.
        for batch in self.pending.drain(..).take(taken).collect::<Vec<_>>() {
            self.kept.push(batch);
        }
        self.adopt(state);
        Ok(())
    }

    fn adopt(&mut self, state: State) {
        for lane in 0..LANES {
            let highest = state.taken.iter().filter(|key| key.lane == lane).map(|key| key.seq).max();
            self.next_seq[usize::from(lane)] = highest.unwrap_or(0);
        }
        self.settled = state.clone();
        self.state = state;
    }

    /// Every live body must read back as it was submitted.
    pub fn judge_bodies(&mut self) -> Verdict {
        for (key, body) in self.state.events.iter().map(|(key, live)| (*key, live.body)).collect::<Vec<_>>() {
            let read = self.log().reader().read(body).map_err(|problem| format!("{key:?}: {problem:?}"))?;
            self.same_payload(key, body, &read)?;
        }
        Ok(())
    }

    fn same_payload(&self, key: Key, body: u64, read: &[u8]) -> Verdict {
        let written =
            self.kept.iter().chain(&self.pending).flat_map(|batch| &batch.ops).find_map(|op| match op {
                Op::Event { body: id, payload, .. } if *id == body => Some(payload),
                _ => None,
            });
        match written {
            Some(payload) if read.get(EVENT_HEAD..) == Some(payload) => Ok(()),
            _ => Err(format!("{key:?} reads back differently")),
        }
    }

    // ---- damage at rest -----------------------------------------------------------------------------------

    /// Opens after damage: perfect, or loud and within what was reported. `doubtful` says that the last commit is
    /// inside the window in which rot looks like a torn write (S6).
    /// `end_hit` that the damage may have taken the last commits with everything that vouches for them.
    pub fn reopen_damaged(&mut self, doubtful: bool, end_hit: bool) -> Verdict {
        let before = self.settled.clone();
        let report = (!tools::any_bug()).then(|| tools::look(&self.vfs)).transpose()?;
        let (state, recovered) = match self.try_open() {
            Ok(opened) => opened,
            Err(OpenError::Io { doing, source }) => return Err(format!("{doing}: {source}")),
            // Refusing with the names of what is missing is loud.
            Err(problem) => {
                if let Some(report) = &report {
                    tools::judge_start(report, &Start::Refused(&problem))?;
                }
                self.counts.damaged += 1;
                return Ok(());
            }
        };
        let mut damage = recovered.damage.clone();
        let mut unreadable = self.lost_bodies.clone();
        for (key, live) in &state.events {
            match self.log().reader().read(live.body) {
                Ok(bytes) => self.same_payload(*key, live.body, &bytes)?,
                Err(meshbridge_spool::ReadError::Damaged(id)) => {
                    unreadable.insert(id);
                }
                Err(meshbridge_spool::ReadError::Unknown(id)) if self.lost_bodies.contains(&id) => {
                    unreadable.insert(id);
                }
                Err(problem) => return Err(format!("{key:?}: {problem:?}")),
            }
        }
        loop {
            match self.log().scrub(SCRUB_BYTES).map_err(|problem| format!("scrub: {problem:?}"))? {
                Scrubbed::Piece => {}
                Scrubbed::Segment { segment, damaged } => {
                    if damaged {
                        damage.push(Damage { segment, first: 0, last: Some(0), salvaged: 0 });
                    }
                }
                Scrubbed::Round => break,
            }
        }
        self.counts.damaged += u64::from(!damage.is_empty() || !unreadable.is_empty());
        if let Some(report) = &report {
            let scrubbed: Vec<u64> =
                damage[recovered.damage.len()..].iter().map(|damage| damage.segment).collect();
            let (damage, lost) = (&*recovered.damage, !unreadable.is_empty());
            tools::judge_start(report, &Start::Started { damage, scrubbed: &scrubbed, lost })?;
        }
        if damage.is_empty() && unreadable.is_empty() && state != before {
            if end_hit && self.is_earlier_state(&state) {
                return Ok(());
            }
            if doubtful && (recovered.torn.is_some() || self.lacks_only_last_commit(&state)) {
                return Ok(());
            }
            return Err(format!("something is gone and nothing was said: {}", difference(&before, &state)));
        }
        for key in before.taken.difference(&state.taken) {
            let lsn = self.lsn_of(*key);
            let covered = damage.iter().any(|d| lsn >= d.first && d.last.is_none_or(|last| lsn <= last));
            let in_doubt = doubtful && self.is_in_last_commit(*key);
            if !covered && !in_doubt {
                return Err(format!(
                    "{key:?} (number {lsn}) is gone and outside what was reported: {damage:?}"
                ));
            }
        }
        Ok(())
    }

    fn lsn_of(&self, key: Key) -> Lsn {
        self.lsns.get(&key).copied().unwrap_or(0)
    }

    fn is_in_last_commit(&self, key: Key) -> bool {
        self.kept.last().is_some_and(|batch| {
            batch.ops.iter().any(|op| matches!(op, Op::Event { key: known, .. } if *known == key))
        })
    }

    /// The state is that after some earlier commit.
    fn is_earlier_state(&self, state: &State) -> bool {
        let mut at = State::default();
        self.kept.iter().any(|batch| {
            let found = at == *state;
            batch.ops.iter().for_each(|op| {
                at.apply(op);
            });
            found
        })
    }

    fn lacks_only_last_commit(&self, state: &State) -> bool {
        let mut without = State::default();
        let all_but_last = self.kept.len().saturating_sub(1);
        for batch in &self.kept[..all_but_last] {
            batch.ops.iter().for_each(|op| {
                without.apply(op);
            });
        }
        without == *state
    }

    /// Whether the last commit is not yet said to be durable by the disk itself.
    pub fn doubtful(&mut self) -> bool {
        self.log().needs_seal()
    }

    /// The file that is being written.
    pub fn active_file(&mut self) -> String {
        self.log().active_file()
    }

    pub fn live(&self) -> usize {
        self.state.events.len()
    }

    pub fn limit_disk(&mut self, segments: u64) {
        self.disk_segments = Some(segments);
        self.vfs.limit(Some(SEGMENT_BYTES * segments));
    }

    pub fn clear_quarantine(&mut self) {
        for name in self.vfs.names().iter().filter(|name| name.starts_with("quarantine/")) {
            self.vfs.remove(name);
        }
    }

    pub fn segment_files(&self) -> Vec<String> {
        self.vfs.names().into_iter().filter(|name| name.starts_with("seg-")).collect()
    }
}

fn difference(expected: &State, found: &State) -> String {
    let lost: Vec<&Key> = expected.taken.difference(&found.taken).take(5).collect();
    let invented: Vec<&Key> = found.taken.difference(&expected.taken).take(5).collect();
    let gone: Vec<&Key> =
        expected.events.keys().filter(|key| !found.events.contains_key(key)).take(5).collect();
    let back: Vec<&Key> =
        found.events.keys().filter(|key| !expected.events.contains_key(key)).take(5).collect();
    format!(
        "lost numbers {lost:?}, other numbers {invented:?}, events gone {gone:?}, events more {back:?}, producers {} of {}",
        found.producers.len(),
        expected.producers.len()
    )
}
