//! The scrubber reads a segment in pieces, so that nothing waits for more than one of them (RELIABILITY S11).

use meshbridge_spool::vfs::SimVfs;
use meshbridge_spool::{Append, Class, Log, Scrubbed};

use crate::spool::{SEGMENT_BYTES, file, open};

const PIECE_BYTES: u64 = 8 * 1024;
/// The headers of a segment, both copies.
const HEADER_BYTES: u64 = 8 * 1024;

/// Three closed segments, with batches that are larger than a piece.
fn closed_segments() -> (SimVfs, Log<SimVfs>) {
    let disk = SimVfs::new(1);
    let mut log = open(&disk, 1);
    for (id, size) in (1..).zip([30_000, 500, 20_000].into_iter().cycle().take(12)) {
        let bytes = vec![id as u8; size];
        log.append(Class::Event, &[Append::Body { id, head: &[], bytes: &bytes }]).expect("appended");
        log.sync().expect("synced");
    }
    assert!(log.active_file() >= file(4), "{}", log.active_file());
    (disk, log)
}

/// What one round says of each segment, and the most bytes that a step of it read.
fn round(disk: &SimVfs, log: &mut Log<SimVfs>) -> (Vec<(u64, bool)>, u64, u64) {
    let (mut said, mut most, start) = (Vec::new(), 0, disk.read_bytes());
    loop {
        let before = disk.read_bytes();
        let step = log.scrub(PIECE_BYTES).expect("scrubbed");
        most = most.max(disk.read_bytes() - before);
        match step {
            Scrubbed::Piece => {}
            Scrubbed::Segment { segment, damaged } => said.push((segment, damaged)),
            Scrubbed::Round => return (said, most, disk.read_bytes() - start),
        }
    }
}

#[test]
fn no_step_reads_more_than_a_piece_and_a_round_reads_everything() {
    let (disk, mut log) = closed_segments();
    let (said, most, all) = round(&disk, &mut log);
    let segments = said.len() as u64;
    assert!(segments >= 3 && said.iter().all(|(_, damaged)| !damaged), "{said:?}");
    assert!(most <= PIECE_BYTES.max(HEADER_BYTES), "a step read {most} bytes");
    assert!(all > segments * SEGMENT_BYTES / 2, "a round over {segments} segments read {all} bytes");
    assert_eq!(round(&disk, &mut log).0, said, "the next round begins with the oldest again");
}

#[test]
fn each_damaged_page_of_a_closed_segment_is_found() {
    let (disk, mut log) = closed_segments();
    let (sound, ..) = round(&disk, &mut log);
    let used =
        disk.contents(&file(2)).expect("there").iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
    let pages = used / 4_096;
    for page in 2..=pages {
        let (disk, mut log) = closed_segments();
        disk.corrupt(&file(2), |bytes| bytes[(page * 4_096) as usize + 20] ^= 1);
        let (said, ..) = round(&disk, &mut log);
        let expected: Vec<(u64, bool)> = sound.iter().map(|(segment, _)| (*segment, *segment == 2)).collect();
        assert_eq!(said, expected, "page {page} of {pages}");
    }
    disk.corrupt(&file(2), |bytes| bytes.truncate(50_000));
    assert!(round(&disk, &mut log).0.contains(&(2, true)), "a file that was cut");
}

/// M27: a worn sector ends no bridge. What it held is named, the rest of its file is rescued.
#[test]
fn what_the_disk_cannot_read_is_damage_and_the_rest_is_rescued() {
    for (from, bytes) in [(0, 8_192), (12_288, 512), (20_480, 4_096)] {
        let (disk, mut log) = closed_segments();
        let reader = log.reader();
        let sound: Vec<u64> = (1..=12).filter(|id| reader.read(*id).is_ok()).collect();
        assert_eq!(sound.len(), 12);
        assert!(disk.wear_out(&file(2), from..from + bytes));
        let (said, ..) = round(&disk, &mut log);
        assert!(said.contains(&(2, true)), "{said:?}");
        assert!(said.iter().all(|(segment, damaged)| *segment == 2 || !damaged), "{said:?}");
        let lost = log.maintain(1 << 20).expect("maintained").lost;
        log.append(Class::Event, &[Append::Body { id: 100, head: &[], bytes: b"new" }]).expect("it goes on");
        log.sync().expect("synced");
        assert!(lost.len() <= 2, "{lost:?} for {bytes} bytes at {from}");
        assert_eq!(lost.is_empty(), from == 0, "headers hold no event: {lost:?}");
        for id in sound {
            let read = reader.read(id);
            assert_eq!(read.is_ok(), !lost.contains(&id), "event {id}: {read:?}");
        }
    }
}

#[test]
fn commits_and_the_end_of_a_segment_may_come_between_two_pieces() {
    let (disk, mut log) = closed_segments();
    let mut id = 100;
    let mut segments = 0;
    while segments < 2 {
        id += 1;
        log.append(Class::Event, &[Append::Body { id, head: &[], bytes: &[7; 300] }]).expect("appended");
        log.sync().expect("synced");
        match log.scrub(PIECE_BYTES).expect("scrubbed") {
            Scrubbed::Segment { damaged, .. } => {
                assert!(!damaged);
                segments += 1;
            }
            Scrubbed::Piece => {}
            Scrubbed::Round => panic!("two segments were closed"),
        }
    }
    // Everything is dead, and what is half read is unlinked: that is no damage, and the scrubber goes on with the next.
    assert_eq!(log.scrub(PIECE_BYTES).expect("scrubbed"), Scrubbed::Piece);
    (1..=id).for_each(|id| log.release(id));
    for _ in 0..3 {
        log.begin_checkpoint(Vec::new());
        while log.checkpoint_under_way() {
            log.append(Class::Essential, &[]).expect("appended");
            log.sync().expect("synced");
        }
        log.maintain(1 << 20).expect("maintained");
        log.sync().expect("synced");
    }
    assert!(disk.contents(&file(3)).is_none(), "the segment that was being read is gone");
    let (said, ..) = round(&disk, &mut log);
    assert!(said.iter().all(|(segment, damaged)| *segment > 3 && !damaged), "{said:?}");
}

/// P8: whenever a process ends while a damaged file is on its way out, the file is there afterwards.
#[test]
fn a_damaged_file_is_kept_wherever_a_process_ends_on_its_way_out() {
    let mut set_aside = 0;
    for steps in 0..12 {
        let (disk, mut log) = closed_segments();
        disk.corrupt(&file(2), |bytes| bytes[3 * 4_096 + 20] ^= 1);
        round(&disk, &mut log);
        (1..=12).for_each(|id| log.release(id));
        for step in 0..steps {
            if step % 2 == 0 {
                log.maintain(1 << 20).expect("maintained");
                log.sync().expect("synced");
            } else if log.begin_checkpoint(Vec::new()) {
                while log.checkpoint_under_way() {
                    log.append(Class::Essential, &[]).expect("appended");
                    log.sync().expect("synced");
                }
            }
        }
        drop(log);
        drop(open(&disk, 2));
        let aside = disk.contents(&format!("quarantine/{}", file(2))).is_some();
        assert!(aside || disk.contents(&file(2)).is_some(), "it is gone after {steps} steps");
        set_aside += u32::from(aside);
    }
    assert!(set_aside > 0, "it never left");
}
