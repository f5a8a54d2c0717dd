//! Small spools with known content.

use std::collections::BTreeMap;
use std::fmt;

use meshbridge_spool::vfs::{SimVfs, Vfs};
use meshbridge_spool::{
    Append, Class, Entropy, ExportDone, ExportError, ExportOptions, Exported, Log, LostRange, Lsn, Options,
    Record, RecordPlace, export,
};

pub const SEGMENT_BYTES: u64 = 64 * 1024;

pub fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        segments_max: 24,
        checkpoint_step_bytes: 700,
        accept_missing: false,
        first_epoch: 1,
    }
}

/// The same bytes for the same seed, for ever.
pub fn entropy(seed: u64) -> Entropy {
    let mut state = seed;
    let mut word = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    Box::new(move || {
        let mut bytes = [0; 32];
        bytes.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&word().to_le_bytes()));
        bytes
    })
}

pub fn open<V: Vfs + Clone>(vfs: &V, seed: u64) -> Log<V> {
    Log::open(vfs.clone(), options(), entropy(seed), |_| {}).expect("the spool opens").0
}

/// Name of a segment's file.
pub fn file(segment: u64) -> String {
    format!("seg-{segment:016x}")
}

/// A record as it was exported.
#[derive(Clone, PartialEq, Eq)]
pub enum Owned {
    State(Vec<u8>),
    Body(u64, Vec<u8>),
    Moved(u64, Vec<u8>),
    Part(Vec<u8>),
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, id, bytes) = match self {
            Owned::State(bytes) => ("state", 0, bytes),
            Owned::Body(id, bytes) => ("body", *id, bytes),
            Owned::Moved(id, bytes) => ("moved", *id, bytes),
            Owned::Part(bytes) => ("part", 0, bytes),
        };
        let start = String::from_utf8_lossy(bytes.get(..12).unwrap_or(bytes));
        write!(f, "{what} {id} {start:?} of {}", bytes.len())
    }
}

/// Everything an export handed over, and how it ended.
#[derive(Debug)]
pub struct Harvest {
    pub records: Vec<(RecordPlace, Owned)>,
    pub lost: Vec<LostRange>,
    pub end: Result<ExportDone, ExportError>,
}

impl Harvest {
    pub fn of<V: Vfs>(vfs: &V, salvage: bool) -> Harvest {
        let (mut records, mut lost) = (Vec::new(), Vec::new());
        let end = export(vfs, ExportOptions { salvage }, &mut |item| {
            match item {
                Exported::Record { at, record } => records.push((at, owned(record))),
                Exported::Lost(range) => lost.push(range),
            }
            Ok(())
        });
        Harvest { records, lost, end }
    }

    pub fn contents(&self) -> Vec<Owned> {
        self.records.iter().map(|(_, record)| record.clone()).collect()
    }

    /// Where the record with this number is.
    pub fn place(&self, lsn: Lsn) -> RecordPlace {
        let found = self.records.iter().find(|(at, _)| at.lsn == Some(lsn));
        found.expect("the record was exported").0
    }
}

fn owned(record: Record<'_>) -> Owned {
    match record {
        Record::State(bytes) => Owned::State(bytes.to_vec()),
        Record::Body { id, bytes } => Owned::Body(id, bytes.to_vec()),
        Record::Moved { id, bytes } => Owned::Moved(id, bytes.to_vec()),
        Record::CheckpointPart(bytes) => Owned::Part(bytes.to_vec()),
    }
}

/// A batch of the owner's records, by the number of each.
pub type Numbered = BTreeMap<Lsn, Owned>;

/// A spool of two runs and several segments, sealed and closed: 40 batches of three bodies each, a checkpoint in
/// the middle, and all bodies still needed.
#[derive(Debug)]
pub struct Sample {
    pub vfs: SimVfs,
    pub batches: Vec<Numbered>,
}

impl Sample {
    pub fn new() -> Sample {
        let vfs = SimVfs::new(1);
        let mut batches = Vec::new();
        for run in 0..2 {
            let mut log = open(&vfs, 100 + run);
            for round in 0..20 {
                batches.push(append_three(&mut log, batches.len() as u64));
                log.sync().expect("synced");
                if (run, round) == (1, 10) {
                    checkpoint(&mut log, &[b"one".to_vec(), b"two".to_vec()]);
                }
                log.maintain(1 << 20).expect("maintained");
            }
            log.sync().expect("synced");
            log.seal().expect("sealed");
        }
        vfs.settle();
        Sample { vfs, batches }
    }

    pub fn records(&self) -> Numbered {
        self.batches.iter().flatten().map(|(lsn, record)| (*lsn, record.clone())).collect()
    }
}

pub fn append_three<V: Vfs + Clone>(log: &mut Log<V>, batch: u64) -> Numbered {
    let bodies: Vec<(u64, Vec<u8>)> =
        (0..3).map(|n| (batch * 3 + n + 1, vec![(batch + n) as u8; 900 + 700 * n as usize])).collect();
    let records: Vec<Append<'_>> =
        bodies.iter().map(|(id, bytes)| Append::Body { id: *id, head: b"head", bytes }).collect();
    let appended = log.append(Class::Event, &records).expect("appended");
    let whole = bodies.iter().map(|(id, bytes)| Owned::Body(*id, [b"head", bytes.as_slice()].concat()));
    (appended.first..).zip(whole).collect()
}

pub fn checkpoint<V: Vfs + Clone>(log: &mut Log<V>, parts: &[Vec<u8>]) {
    assert!(log.begin_checkpoint(parts.to_vec()));
    while log.checkpoint_under_way() {
        log.append(Class::Essential, &[]).expect("appended");
        log.sync().expect("synced");
    }
}

/// All files of a simulated disk.
pub fn image(vfs: &SimVfs) -> Vec<(String, Vec<u8>)> {
    vfs.names().into_iter().map(|name| (name.clone(), vfs.contents(&name).unwrap_or_default())).collect()
}
