//! A spool as version 1 of the format wrote it (RELIABILITY S15). Its files are committed without their trailing
//! zeros, and are never made again: what was released must stay readable.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use meshbridge_spool::format::{Header, PAGE_BYTES, VERSION};
use meshbridge_spool::vfs::{RealVfs, SimVfs};
use meshbridge_spool::{Append, Class, Log, OpenError, ReadError, Replay, SegmentState, Verdict, verify};
use tempfile::TempDir;

use crate::spool::{Harvest, Owned, checkpoint, entropy, file, image, open, options};

const FIRST_SEED: u64 = 2_001;

/// A body that reaches across a block, and may be told from its neighbours.
fn body(id: u64) -> Vec<u8> {
    let len = [120, 40_000, 14_000, 700, 9, 0][id as usize % 6];
    let line = format!("body {id} of the fixture; ");
    line.bytes().cycle().take(len).collect()
}

/// As it reads back.
fn stored(id: u64) -> Vec<u8> {
    [b"head;", body(id).as_slice()].concat()
}

fn state(text: &str) -> Owned {
    Owned::State(text.as_bytes().to_vec())
}

fn part(text: &str) -> Owned {
    Owned::Part(text.as_bytes().to_vec())
}

fn append(log: &mut Log<SimVfs>, state: &str, id: u64) {
    let bytes = body(id);
    let records = [Append::State(state.as_bytes()), Append::Body { id, head: b"head;", bytes: &bytes }];
    log.append(Class::Event, &records).expect("appended");
    log.sync().expect("synced");
}

/// Two runs that use each kind of record there is.
fn write() -> SimVfs {
    let vfs = SimVfs::new(FIRST_SEED);
    let mut log = open(&vfs, FIRST_SEED);
    append(&mut log, "first", 1);
    append(&mut log, "second", 2);
    append(&mut log, "third", 3);
    log.raise_epoch(41).expect("appended");
    log.sync().expect("synced");
    log.seal().expect("sealed");
    checkpoint(&mut log, &[b"part of run one".to_vec()]);
    append(&mut log, "fourth", 4);
    drop(log);
    vfs.kill();
    let mut log = open(&vfs, FIRST_SEED + 1);
    log.release(2);
    log.maintain(1 << 20).expect("moved");
    append(&mut log, "fifth", 5);
    checkpoint(&mut log, &[b"part a".to_vec(), b"part b".to_vec()]);
    checkpoint(&mut log, &[b"part c".to_vec(), b"part d".to_vec()]);
    log.maintain(1 << 20).expect("retired");
    append(&mut log, "sixth", 6);
    log.seal().expect("sealed");
    drop(log);
    vfs.kill();
    vfs.settle();
    vfs
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// Writes `tests/fixtures/v1`. To be run by hand, for a version that is about to be released and only then:
/// `MESHBRIDGE_WRITE_FIXTURE=1 cargo test --release -p meshbridge-spool --test tools write_the_fixture`; without the
/// variable it does nothing.
#[test]
fn write_the_fixture() {
    if std::env::var_os("MESHBRIDGE_WRITE_FIXTURE").is_none() {
        return;
    }
    assert_eq!(VERSION, 1, "a later version has a directory of its own");
    fs::create_dir_all(fixture()).expect("made");
    for (name, bytes) in image(&write()) {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        fs::write(fixture().join(name), &bytes[..used]).expect("written");
    }
}

/// The fixture with its zeros, in a directory that may be written.
fn restored() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(fixture()).expect("the fixture") {
        let from = entry.expect("an entry").path();
        let mut bytes = fs::read(&from).expect("read");
        let header = Header::decode(&bytes).expect("a header");
        bytes.resize(header.segment_bytes as usize, 0);
        fs::write(directory.path().join(from.file_name().expect("a name")), bytes).expect("written");
    }
    directory
}

#[test]
fn a_spool_of_version_1_opens_with_exactly_its_records() {
    let directory = restored();
    let vfs = RealVfs::new(directory.path()).expect("a spool");
    let mut replayed = Vec::new();
    let opened = Log::open(vfs, options(), entropy(9), |item| {
        replayed.push(match item {
            Replay::Part(bytes) => (0, Owned::Part(bytes.to_vec())),
            Replay::State { lsn, bytes } => (lsn, Owned::State(bytes.to_vec())),
            Replay::Body { lsn, id, bytes } => (lsn, Owned::Body(id, bytes.to_vec())),
            Replay::Lost { .. } => panic!("nothing is lost"),
        });
    });
    let (log, recovered) = opened.expect("version 1 is read");
    assert!(recovered.damage.is_empty() && recovered.torn.is_none() && recovered.missing.is_empty());
    assert_eq!(recovered.spool.to_string(), "21db3b5a2893919980091403dfc4ce44");
    assert_eq!(recovered.run.epoch, 43, "the first run heard of epoch 41");
    let expected =
        [(0, part("part c")), (0, part("part d")), (33, state("sixth")), (34, Owned::Body(6, stored(6)))];
    assert_eq!(replayed, expected);
    for id in [1, 3, 4, 5, 6] {
        assert_eq!(log.reader().read(id).expect("a live body"), stored(id));
    }
    assert!(matches!(log.reader().read(2), Err(ReadError::Unknown(2))));
}

#[test]
fn a_spool_of_version_1_is_sound_and_exports_exactly_its_records() {
    let directory = restored();
    let vfs = RealVfs::read_only(directory.path()).expect("a directory");
    let report = verify(&vfs).expect("listed");
    assert!(matches!(report.verdict, Verdict::Sound), "{report:#?}");
    let states: Vec<(u64, SegmentState)> =
        report.segments.iter().map(|segment| (segment.segment, segment.state)).collect();
    assert_eq!(
        states,
        [
            (1, SegmentState::Closed),
            (2, SegmentState::Retired),
            (4, SegmentState::Active),
            (5, SegmentState::Spare),
            (6, SegmentState::Spare)
        ]
    );
    let harvest = Harvest::of(&vfs, false);
    harvest.end.as_ref().expect("nothing is damaged");
    let found: Vec<(u64, Owned)> =
        harvest.records.into_iter().map(|(at, record)| (at.lsn.expect("a number"), record)).collect();
    let expected = [
        (2, state("first")),
        (3, Owned::Body(1, stored(1))),
        // 4 to 16 were in segment 2, which is retired; what nobody vouched for in it was copied under its own number.
        (17, state("fourth")),
        (18, Owned::Body(4, stored(4))),
        (19, Owned::Moved(3, stored(3))),
        (20, state("fifth")),
        (21, Owned::Body(5, stored(5))),
        (24, part("part a")),
        (25, part("part b")),
        (29, part("part c")),
        (30, part("part d")),
        (33, state("sixth")),
        (34, Owned::Body(6, stored(6))),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_header_of_a_newer_version_is_refused_by_name() {
    let directory = restored();
    let names: BTreeSet<PathBuf> = fs::read_dir(directory.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let newest = names.last().expect("segments");
    let mut bytes = fs::read(newest).expect("read");
    let header = Header::decode(&bytes).expect("a header");
    let page = Header { version: VERSION + 1, ..header.clone() }.encode();
    bytes[..PAGE_BYTES as usize].copy_from_slice(&page);
    fs::write(newest, bytes).expect("written");
    let before: Vec<Vec<u8>> = names.iter().map(|name| fs::read(name).expect("read")).collect();

    let vfs = RealVfs::new(directory.path()).expect("a spool");
    let report = verify(&vfs).expect("listed");
    assert!(!report.would_start);
    let Verdict::Refused(OpenError::NewerFormat { segment, version }) = report.verdict else {
        panic!("{report:#?}")
    };
    assert_eq!((segment, version), (header.segment, VERSION + 1));
    let state = report.segments.iter().find(|known| known.segment == segment).map(|known| known.state);
    assert_eq!(state, Some(SegmentState::Newer(VERSION + 1)));

    let refused = Log::open(vfs, options(), entropy(9), |_| {}).expect_err("a newer version");
    let expected = format!(
        "segment {} was written by format version {}, which this version does not read",
        header.segment,
        VERSION + 1
    );
    assert_eq!(refused.to_string(), expected);
    assert!(newest.ends_with(file(header.segment)));
    let after: Vec<Vec<u8>> = names.iter().map(|name| fs::read(name).expect("read")).collect();
    assert_eq!(after, before, "a refused start changed a segment");
}
