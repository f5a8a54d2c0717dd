//! Bytes that nobody wrote, or somebody who knows the format and means no good.

use meshbridge_spool::format::{Codec, DATA_START, Header, RecordParts, VERSION};
use meshbridge_spool::vfs::SimVfs;
use meshbridge_spool::{Log, Run, SpoolId, verify};
use proptest::prelude::*;

use crate::spool::{Harvest, entropy, file, open, options};
use crate::verify::put;

/// Numbers at the edges, and small ones that may well fit together.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0u64..6,
        1 => Just(u64::MAX),
        1 => Just(u64::MAX >> 1),
        1 => Just((u64::MAX >> 1) + 1),
        1 => Just(1 << 16),
        1 => any::<u64>(),
    ]
}

/// A record: one of the known kinds with numbers behind it, or anything.
fn record() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![1u8..=9, 16u8..=18, any::<u8>()];
    (kinds, prop::collection::vec(number(), 0..5), prop::collection::vec(any::<u8>(), 0..3)).prop_map(
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
    Batch { first: u64, durable_upto: u64, records: Vec<Vec<u8>> },
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..9_000).prop_map(Piece::Noise),
        (number(), number(), prop::collection::vec(record(), 0..4))
            .prop_map(|(first, durable_upto, records)| Piece::Batch { first, durable_upto, records }),
    ]
}

#[derive(Clone, Debug)]
struct Segment {
    id: u64,
    header: Option<Header>,
    pieces: Vec<Piece>,
}

fn segment() -> impl Strategy<Value = Segment> {
    let ids = prop_oneof![6 => 1u64..6, 1 => Just(u64::MAX), 1 => Just(u64::MAX >> 1)];
    let numbers = (number(), number(), number(), any::<[u8; 32]>());
    (ids, 0u8..8, numbers, prop::collection::vec(piece(), 0..5)).prop_map(
        |(id, sort, (previous, segment_bytes, epoch, salt), pieces)| {
            let header = Header {
                version: if sort == 7 { VERSION + 1 } else { VERSION },
                spool: SpoolId([u8::from(sort == 6); 16]),
                segment: id,
                previous,
                segment_bytes,
                run: Run { epoch, nonce: 1 },
                salt,
            };
            Segment { id, header: (sort > 0).then_some(header), pieces }
        },
    )
}

impl Segment {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(header) = &self.header {
            bytes.extend_from_slice(&header.encode());
            bytes.extend_from_slice(&header.encode());
        }
        let salt = self.header.as_ref().map_or([0; 32], |header| header.salt);
        let codec = Codec::new(self.id, salt);
        for piece in &self.pieces {
            match piece {
                Piece::Noise(noise) => bytes.extend_from_slice(noise),
                Piece::Batch { first, durable_upto, records } => {
                    let at = (bytes.len() as u64).next_multiple_of(4_096).max(DATA_START);
                    bytes.resize(at as usize, 0);
                    let parts = records.iter().map(|record| RecordParts([record.as_slice(), &[], &[]]));
                    bytes.extend_from_slice(&codec.encode(at, *first, *durable_upto, parts).bytes);
                }
            }
        }
        bytes
    }
}

fn disk(segments: &[Segment]) -> SimVfs {
    let vfs = SimVfs::new(1);
    for segment in segments {
        if !vfs.names().contains(&file(segment.id)) {
            put(&vfs, &file(segment.id), &segment.bytes());
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
        segments in prop::collection::vec(segment(), 0..5),
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
