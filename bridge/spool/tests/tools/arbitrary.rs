//! Bytes that nobody wrote, or somebody who knows the format and means no good.

use meshbridge_spool::format::{Codec, DATA_START, Header, PAGE_BYTES, RecordParts, VERSION};
use meshbridge_spool::vfs::SimVfs;
use meshbridge_spool::{Log, Run, SpoolId, verify};
use proptest::prelude::*;

use crate::spool::{Harvest, SEGMENT_BYTES, entropy, file, open, options};
use crate::verify::put;

/// Numbers at the edges, and small ones that may well fit together.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0u64..16,
        1 => Just(u64::MAX),
        1 => Just(u64::MAX >> 1),
        1 => Just((u64::MAX >> 1) + 1),
        1 => Just(1 << 16),
        1 => any::<u64>(),
    ]
}

/// Mostly `None`, which stands for the number that would be right.
fn wrong() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![6 => Just(None), 1 => number().prop_map(Some)]
}

/// A record: one of the known kinds with numbers behind it, or anything.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![8 => 1u8..=9, 4 => 16u8..=18, 1 => any::<u8>()];
    (kinds, prop::collection::vec(number(), 0..5), prop::collection::vec(any::<u8>(), 0..2)).prop_map(
        |(kind, numbers, rest)| {
            let mut bytes = vec![kind];
            numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
            bytes.extend_from_slice(&rest);
            bytes
        },
    )
}

#[derive(Clone, Debug)]
enum Piece {
    Noise(Vec<u8>),
    Batch { first: Option<u64>, durable_upto: Option<u64>, records: Vec<Vec<u8>> },
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..9_000).prop_map(Piece::Noise),
        4 => (wrong(), wrong(), prop::collection::vec(record(), 0..4))
            .prop_map(|(first, durable_upto, records)| Piece::Batch { first, durable_upto, records }),
    ]
}

/// What a file has in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    Header,
    NewerHeader,
    HeaderOfAnotherSpool,
    Nothing,
}

#[derive(Clone, Debug)]
struct Segment {
    id: Option<u64>,
    front: Front,
    previous: Option<u64>,
    segment_bytes: Option<u64>,
    epoch: u64,
    salt: [u8; 32],
    pieces: Vec<Piece>,
}

fn segment() -> impl Strategy<Value = Segment> {
    let fronts = prop_oneof![
        12 => Just(Front::Header),
        1 => Just(Front::NewerHeader),
        1 => Just(Front::HeaderOfAnotherSpool),
        1 => Just(Front::Nothing),
    ];
    let pieces = prop::collection::vec(piece(), 0..6);
    let ids = prop_oneof![6 => Just(None), 1 => (1u64..16).prop_map(Some), 1 => Just(Some(u64::MAX))];
    (ids, fronts, wrong(), wrong(), number(), any::<[u8; 32]>(), pieces).prop_map(
        |(id, front, previous, segment_bytes, epoch, salt, pieces)| Segment {
            id,
            front,
            previous,
            segment_bytes,
            epoch,
            salt,
            pieces,
        },
    )
}

impl Segment {
    /// The file as number `id` after `previous`, whose first record is `next` if nothing says otherwise.
    fn bytes(&self, id: u64, previous: u64, next: &mut u64) -> Vec<u8> {
        let header = Header {
            version: if self.front == Front::NewerHeader { VERSION + 1 } else { VERSION },
            spool: SpoolId([u8::from(self.front == Front::HeaderOfAnotherSpool); 16]),
            segment: id,
            previous: self.previous.unwrap_or(previous),
            segment_bytes: self.segment_bytes.unwrap_or(SEGMENT_BYTES),
            run: Run { epoch: self.epoch, nonce: 1 },
            salt: self.salt,
        };
        let mut bytes = Vec::new();
        if self.front != Front::Nothing {
            bytes.extend_from_slice(&header.encode());
            bytes.extend_from_slice(&header.encode());
        }
        let codec = Codec::new(id, self.salt);
        for piece in &self.pieces {
            match piece {
                Piece::Noise(noise) => bytes.extend_from_slice(noise),
                Piece::Batch { first, durable_upto, records } => {
                    let at = (bytes.len() as u64).next_multiple_of(PAGE_BYTES).max(DATA_START);
                    bytes.resize(at as usize, 0);
                    let first = first.unwrap_or(*next);
                    let durable_upto = durable_upto.unwrap_or(first.saturating_sub(1));
                    let parts = records.iter().map(|record| RecordParts([record.as_slice(), &[], &[]]));
                    bytes.extend_from_slice(&codec.encode(at, first, durable_upto, parts).bytes);
                    *next = first.saturating_add(records.len() as u64);
                }
            }
        }
        bytes.resize(bytes.len().max(SEGMENT_BYTES as usize), 0);
        bytes
    }
}

fn disk(segments: &[Segment]) -> SimVfs {
    let vfs = SimVfs::new(1);
    let (mut previous, mut next) = (0u64, 1);
    for segment in segments {
        let id = segment.id.unwrap_or(previous.saturating_add(1));
        if !vfs.names().contains(&file(id)) {
            put(&vfs, &file(id), &segment.bytes(id, previous, &mut next));
            previous = id;
        }
    }
    vfs
}

/// Runs everything that reads a spool; what it says is another matter.
fn read_everything(vfs: &SimVfs) -> Result<(), TestCaseError> {
    let report = verify(vfs).expect("the directory can be listed");
    let plain = Harvest::of(vfs, false);
    let salvaged = Harvest::of(vfs, true);
    prop_assert!(salvaged.end.is_ok(), "{:?}", salvaged.end);
    prop_assert!(salvaged.records.len() >= plain.records.len());
    let opened = Log::open(vfs.clone(), options(), entropy(1), |_| {});
    prop_assert_eq!(opened.is_ok(), report.would_start, "{:?} and {:?}", opened.err(), report);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_segments_never_panic_and_verify_foresees_the_start(
        segments in prop::collection::vec(segment(), 0..6),
    ) {
        let vfs = disk(&segments);
        read_everything(&vfs)?;
        // What a start made of it is read again.
        vfs.kill();
        let _ = verify(&vfs);
        let _ = Harvest::of(&vfs, true);
    }

    #[test]
    fn arbitrary_bytes_in_a_real_spool_never_panic(
        noise in prop::collection::vec(any::<u8>(), 1..5_000),
        place in any::<prop::sample::Index>(),
    ) {
        let vfs = SimVfs::new(1);
        let mut log = open(&vfs, 3);
        for batch in 0..8 {
            crate::spool::append_three(&mut log, batch);
            log.sync().expect("synced");
        }
        drop(log);
        vfs.settle();
        vfs.corrupt(&file(1), |bytes| {
            let from = place.index(bytes.len());
            let end = (from + noise.len()).min(bytes.len());
            bytes[from..end].copy_from_slice(&noise[..end - from]);
        });
        read_everything(&vfs)?;
    }
}
