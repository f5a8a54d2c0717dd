//! The first file of a run is lost. It began with what nothing vouched for in the file before, written anew under other
//! numbers, so the numbers that the older file seems to have are not those that are lost.

use meshbridge_spool::format::{DATA_START, Lsn};
use meshbridge_spool::vfs::SimVfs;
use meshbridge_spool::{Append, Class, Log, Report, SegmentState, verify};

use crate::spool::{append_three, file, open};

/// What nothing vouches for at the end of the first run.
#[derive(Clone, Copy)]
enum Tail {
    /// Batches with pieces of a checkpoint, which are not written anew.
    Checkpoint,
    /// The same, the first of them torn by a power cut, so that the others never were in the log.
    Torn,
}

/// A spool of two runs, and the file in which the second began. `rolled`: the second went on in further files.
fn two_runs(tail: Tail, rolled: bool) -> (SimVfs, u64) {
    let vfs = SimVfs::new(1);
    let mut log = open(&vfs, 1);
    for batch in 0..4 {
        append_three(&mut log, batch);
        log.sync().expect("synced");
    }
    log.seal().expect("sealed");
    let (segment, torn_at, _) = log.position();
    log.begin_checkpoint((0..40).map(|part| vec![part; 300]).collect());
    for batch in 4..8 {
        append_three(&mut log, batch);
    }
    log.sync().expect("synced");
    drop(log);
    vfs.kill();
    vfs.settle();
    if matches!(tail, Tail::Torn) {
        assert!(vfs.corrupt(&file(segment), |bytes| bytes[torn_at as usize + 60] ^= 1));
    }
    let mut log = open(&vfs, 2);
    let (fresh, ..) = log.position();
    let mut batch = 8;
    while rolled && log.position().0 == fresh || batch < 10 {
        append_three(&mut log, batch);
        log.sync().expect("synced");
        batch += 1;
    }
    end(log);
    vfs.settle();
    (vfs, fresh)
}

fn end(mut log: Log<SimVfs>) {
    log.append(Class::Essential, &[Append::State(b"last")]).expect("appended");
    log.sync().expect("synced");
    log.seal().expect("sealed");
    drop(log);
}

fn report(vfs: &SimVfs) -> Report {
    verify(vfs).expect("the directory can be listed")
}

fn numbers(report: &Report, segment: u64) -> (Lsn, Lsn) {
    let found = report.segments.iter().find(|found| found.segment == segment);
    found.and_then(|found| found.numbers).expect("the file has records")
}

/// The numbers that the file had are all within what verify and a start report, when this has been done to it.
#[track_caller]
fn check(tail: Tail, rolled: bool, damage: impl Fn(&mut Vec<u8>)) {
    let (vfs, fresh) = two_runs(tail, rolled);
    let before = report(&vfs);
    let (first, last) = numbers(&before, fresh);
    let older = before.segments.iter().filter(|segment| segment.segment < fresh);
    assert!(older.clone().any(|segment| segment.state == SegmentState::Closed), "{before:#?}");
    vfs.corrupt(&file(fresh), &damage);
    let after = report(&vfs);
    let (_, seems) = numbers(&after, fresh - 2);
    assert!(seems > first, "the older file must seem to reach into the lost one: {after:#?}");
    let named: Vec<(Lsn, Lsn)> =
        after.gaps.iter().copied().chain(after.end_in_doubt.map(|from| (from, Lsn::MAX))).collect();
    let covered = |ranges: &[(Lsn, Lsn)]| {
        (first..=last).all(|lost| ranges.iter().any(|(from, to)| (*from..=*to).contains(&lost)))
    };
    assert!(covered(&named), "numbers {first} to {last} are lost, and named are {named:?}");
    let opened = Log::open(vfs, crate::spool::options(), crate::spool::entropy(3), |_| {});
    let (_, recovered) = opened.expect("damage stops no start");
    let named: Vec<(Lsn, Lsn)> =
        recovered.damage.iter().map(|damage| (damage.first, damage.last.unwrap_or(Lsn::MAX))).collect();
    assert!(covered(&named), "numbers {first} to {last} are lost, and a start names {named:?}");
}

#[test]
fn a_lost_first_file_of_a_later_run_is_named_whole() {
    check(Tail::Checkpoint, true, |bytes| bytes.clear());
    check(Tail::Torn, true, |bytes| bytes.clear());
}

#[test]
fn a_lost_last_file_of_a_later_run_puts_all_its_numbers_in_doubt() {
    check(Tail::Checkpoint, false, |bytes| bytes.clear());
    check(Tail::Torn, false, |bytes| bytes.clear());
}

#[test]
fn a_later_run_whose_first_words_rotted_names_what_was_in_them() {
    let (vfs, fresh) = two_runs(Tail::Checkpoint, true);
    let (first, _) = numbers(&report(&vfs), fresh);
    vfs.corrupt(&file(fresh), |bytes| bytes[DATA_START as usize + 60] ^= 1);
    let after = report(&vfs);
    assert!(
        after.gaps.iter().any(|(from, to)| (*from..=*to).contains(&first)),
        "{first} is lost: {after:#?}"
    );
}
