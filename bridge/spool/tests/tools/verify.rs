use meshbridge_spool::format::PAGE_BYTES;
use meshbridge_spool::vfs::{RealVfs, SimVfs, Vfs};
use meshbridge_spool::{
    Append, Class, Hole, HoleKind, Log, OpenError, Report, SegmentReport, SegmentState, Verdict, verify,
};

use crate::spool::{Harvest, Sample, append_three, checkpoint, entropy, file, image, open, options};

fn report(vfs: &impl Vfs) -> Report {
    verify(vfs).expect("the directory can be listed")
}

fn segment(report: &Report, id: u64) -> &SegmentReport {
    report.segments.iter().find(|segment| segment.segment == id).expect("the segment is reported")
}

fn in_state(report: &Report, state: SegmentState) -> Vec<u64> {
    let all = report.segments.iter().filter(|segment| segment.state == state);
    all.map(|segment| segment.segment).collect()
}

#[test]
fn a_clean_spool_is_sound_and_every_number_is_accounted_for() {
    let sample = Sample::new();
    let report = report(&sample.vfs);
    assert!(matches!(report.verdict, Verdict::Sound), "{report:#?}");
    assert!(report.would_start && report.gaps.is_empty() && report.missing.is_empty());
    assert_eq!(report.runs.iter().map(|run| run.epoch).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(in_state(&report, SegmentState::Active).len(), 1, "{report:#?}");
    assert!(in_state(&report, SegmentState::Closed).len() > 2, "{report:#?}");
    let (begin, end) = report.checkpoint.expect("a checkpoint");
    let last = *sample.records().last_key_value().expect("records").0;
    assert!(begin < end && end < last && last <= report.vouched && report.vouched <= report.last);
    let mut next = 1;
    for (first, last) in report.segments.iter().filter_map(|segment| segment.numbers) {
        assert_eq!(first, next);
        next = last + 1;
    }
    assert_eq!(next, report.last + 1);
    let records: u64 = report.segments.iter().map(|segment| segment.records).sum();
    assert_eq!(records, report.last);
}

#[test]
fn an_empty_directory_is_sound() {
    let report = report(&SimVfs::new(1));
    assert!(matches!(report.verdict, Verdict::Sound), "{report:#?}");
    assert_eq!((report.spool, report.last, report.segments.len()), (None, 0, 0));
}

#[test]
fn a_spool_in_use_can_be_verified() {
    let directory = tempfile::tempdir().expect("a directory");
    let vfs = RealVfs::new(directory.path()).expect("a spool");
    let mut log = open(&vfs, 1);
    for batch in 0..30 {
        append_three(&mut log, batch);
        log.sync().expect("synced");
        log.maintain(1 << 20).expect("maintained");
        let read_only = RealVfs::read_only(directory.path()).expect("a directory");
        let report = report(&read_only);
        assert!(matches!(report.verdict, Verdict::Sound), "{report:#?}");
        assert_eq!(report.last, log.durable());
    }
}

#[test]
fn a_batch_that_a_power_cut_tore_is_a_torn_tail_and_nothing_else() {
    let mut torn = 0;
    for seed in 0..48 {
        let vfs = SimVfs::new(seed);
        let mut log = open(&vfs, seed);
        let mut durable = 0;
        for batch in 0..6 {
            append_three(&mut log, batch);
            durable = log.sync().expect("synced");
        }
        for batch in 6..9 {
            append_three(&mut log, batch);
        }
        drop(log);
        vfs.power_cut();
        let judged = report(&vfs);
        match judged.verdict {
            Verdict::TornTail => torn += 1,
            Verdict::Sound => {}
            _ => panic!("seed {seed}: {judged:#?}"),
        }
        assert!(judged.would_start && judged.last >= durable && judged.gaps.is_empty());
        drop(open(&vfs, 1_000 + seed));
        let after = report(&vfs);
        assert!(matches!(after.verdict, Verdict::Sound), "seed {seed}: {after:#?}");
    }
    assert!(torn > 24, "only {torn} tails were torn");
}

#[test]
fn a_flipped_bit_in_an_old_batch_is_damage_with_its_numbers() {
    let sample = Sample::new();
    let clean = report(&sample.vfs);
    let harvest = Harvest::of(&sample.vfs, false);
    let (mut cold, mut replayed) = (0, 0);
    for batch in &sample.batches {
        let (first, last) =
            (*batch.first_key_value().expect("three").0, *batch.last_key_value().expect("three").0);
        let place = harvest.place(first);
        let vfs = sample.vfs.image();
        assert!(vfs.corrupt(&file(place.segment), |bytes| bytes[place.offset as usize + 30] ^= 4));
        let judged = report(&vfs);
        assert!(matches!(judged.verdict, Verdict::Damaged) && judged.would_start, "{judged:#?}");
        // The batch may also hold the log's own records: the first of a segment, pieces of a checkpoint.
        let [gap] = judged.gaps[..] else { panic!("one gap: {judged:#?}") };
        assert!(gap.0 <= first && gap.0 + 6 > first && gap.1 == last, "{gap:?} for {first} to {last}");
        let holes = &segment(&judged, place.segment).holes;
        let [Hole { from, to, kind: HoleKind::Rot }] = holes[..] else { panic!("one hole: {judged:#?}") };
        assert!((from..to).contains(&place.offset) && to - from <= 2 * PAGE_BYTES, "{holes:?}");
        let begin = segment(&clean, place.segment).numbers.expect("numbers").1;
        if clean.checkpoint.is_some_and(|(checkpoint, _)| begin < checkpoint) {
            cold += 1
        } else {
            replayed += 1
        }
    }
    assert!(cold > 10 && replayed > 5, "{cold} behind the checkpoint, {replayed} not");
}

#[test]
fn a_missing_file_is_named_and_the_start_refused_for_the_same_reason() {
    let sample = Sample::new();
    for id in in_state(&report(&sample.vfs), SegmentState::Closed) {
        let vfs = sample.vfs.image();
        assert!(vfs.remove(&file(id)));
        let judged = report(&vfs);
        let Verdict::Refused(OpenError::Missing(names)) = &judged.verdict else { panic!("{judged:#?}") };
        assert_eq!((names.as_slice(), judged.missing.as_slice()), ([id].as_slice(), [id].as_slice()));
        assert!(!judged.would_start);
        let refused = Log::open(vfs, options(), entropy(1), |_| {}).expect_err("a file is missing");
        assert!(refused.to_string().contains(&file(id)), "{refused}");
    }
}

#[test]
fn a_segment_without_header_behind_the_checkpoint_is_damage() {
    let sample = Sample::new();
    let oldest = in_state(&report(&sample.vfs), SegmentState::Closed)[0];
    sample.vfs.corrupt(&file(oldest), |bytes| bytes[..2 * PAGE_BYTES as usize].fill(0));
    let judged = report(&sample.vfs);
    assert!(matches!(judged.verdict, Verdict::Damaged), "{judged:#?}");
    assert_eq!(in_state(&judged, SegmentState::Unreadable), [oldest]);
}

#[test]
fn a_stray_file_of_another_spool_is_told_apart() {
    let sample = Sample::new();
    let other = SimVfs::new(7);
    drop(open(&other, 777));
    let stray = other.contents(&file(1)).expect("a segment");
    // Its number must be right for the file's name.
    let free = sample.vfs.names().len() as u64 + 40;
    let mut header = meshbridge_spool::format::Header::decode(&stray).expect("a header");
    header.segment = free;
    put(&sample.vfs, &file(free), &header.encode());
    let judged = report(&sample.vfs);
    assert!(matches!(judged.verdict, Verdict::Refused(OpenError::Mixed { .. })), "{judged:#?}");
    assert_eq!(in_state(&judged, SegmentState::Foreign(header.spool)), [free]);
    assert_eq!(judged.last, report(&Sample::new().vfs).last, "the spool itself is read all the same");
}

pub fn put(vfs: &SimVfs, name: &str, bytes: &[u8]) {
    let file = vfs.create(name, bytes.len() as u64).expect("a new name");
    meshbridge_spool::vfs::write_full(&file, bytes, 0).expect("written");
    vfs.settle();
}

#[test]
fn what_is_retired_or_in_quarantine_is_listed_and_is_no_damage() {
    let vfs = SimVfs::new(1);
    let mut log = open(&vfs, 1);
    for batch in 0..20 {
        append_three(&mut log, batch);
        log.maintain(0).expect("maintained");
    }
    log.sync().expect("synced");
    log.retain(|_| false);
    for _ in 0..3 {
        checkpoint(&mut log, &[]);
    }
    log.append(Class::Essential, &[Append::State(b"state")]).expect("appended");
    log.maintain(0).expect("maintained");
    log.sync().expect("synced");
    drop(log);
    vfs.settle();
    let judged = report(&vfs);
    let retired = in_state(&judged, SegmentState::Retired);
    assert!(matches!(judged.verdict, Verdict::Sound) && retired.len() > 1, "{judged:#?}");
    let exported = Harvest::of(&vfs, false);
    assert!(exported.records.iter().all(|(at, _)| !retired.contains(&at.segment)), "{exported:?}");

    vfs.rename(&file(retired[0]), &format!("quarantine/{}", file(retired[0]))).expect("renamed");
    vfs.settle();
    let before = image(&vfs);
    let judged = report(&vfs);
    assert!(matches!(judged.verdict, Verdict::Sound), "{judged:#?}");
    assert_eq!(in_state(&judged, SegmentState::Quarantined), [retired[0]]);
    assert!(segment(&judged, retired[0]).records > 10);
    assert_eq!(image(&vfs), before);
}
