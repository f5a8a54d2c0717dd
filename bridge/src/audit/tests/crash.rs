//! A process or a machine may end at any byte of a write.

use super::*;

/// A log whose last segment is cut at `end` and, if the machine itself went down, padded with zeros. After a restart
/// all whole records are there, the chain is intact and goes on.
#[track_caller]
fn check(original: &Path, end: usize, zeros: usize) {
    let copy = copy_of(original);
    let path = segments(copy.path()).pop().expect("a segment");
    let places = boundaries(&path);
    let whole = places.iter().filter(|place| **place <= end).count();
    let mut bytes = fs::read(&path).expect("can be read");
    bytes.truncate(end);
    bytes.resize(end + zeros, 0);
    fs::write(&path, &bytes).expect("can be written");
    let before = walked(copy.path());
    fill(copy.path(), options(), 100, 2);
    let (report, entries) = walked(copy.path());
    assert!(report.broken.is_empty(), "cut at {end}, {zeros} zeros: {report:?}");
    assert_eq!(report.torn_bytes, 0);
    let mut expected = ids(&before.1);
    expected.extend(numbered(100..102));
    assert_eq!(ids(&entries), expected, "cut at {end}, {zeros} zeros");
    let is_torn = zeros > 0 || !places.contains(&end);
    // A header that was not finished never held a record, and is made anew.
    if whole > 0 {
        assert_eq!(kinds(&entries).contains(&"torn"), is_torn, "cut at {end}, {zeros} zeros");
        let note = entries.iter().find(|entry| entry["kind"] == "torn");
        let bytes = (end + zeros - places[whole - 1]) as u64;
        assert!(note.is_none_or(|note| note["bytes"] == bytes), "{note:?}");
    }
}

#[test]
fn a_write_that_ended_at_any_byte_is_recovered() {
    let directory = temporary();
    fill(directory.path(), options(), 0, 2);
    let bytes = fs::read(&segments(directory.path())[0]).expect("can be read").len();
    for end in format::HEADER_BYTES..=bytes {
        check(directory.path(), end, 0);
    }
}

#[test]
fn a_file_that_grew_before_its_content_came_is_recovered() {
    let directory = temporary();
    fill(directory.path(), options(), 0, 3);
    let path = &segments(directory.path())[0];
    let bytes = fs::read(path).expect("can be read").len();
    let places = boundaries(path);
    for end in (format::HEADER_BYTES..bytes).step_by(13).chain(places) {
        for zeros in [8, 39, 40, 700, 5_000] {
            check(directory.path(), end, zeros);
        }
    }
}

#[test]
fn a_segment_that_was_being_made_is_made_anew() {
    let directory = temporary();
    fill(directory.path(), options(), 0, 20);
    assert!(segments(directory.path()).len() > 1);
    for end in 0..format::HEADER_BYTES {
        check(directory.path(), end, 0);
    }
    check(directory.path(), 0, format::HEADER_BYTES);
    check(directory.path(), 0, 4_096);
}

#[test]
fn an_end_that_was_not_orderly_is_noted() {
    let directory = temporary();
    fill(directory.path(), options(), 0, 3);
    let path = &segments(directory.path())[0];
    let places = boundaries(path);
    let file = fs::File::options().write(true).open(path).expect("opens");
    file.set_len(places[places.len() - 2] as u64).expect("can be cut");
    fill(directory.path(), options(), 3, 1);
    let (report, _) = walked(directory.path());
    assert!(report.broken.is_empty());
    assert_eq!(report.unclean_starts, 1);
}

#[test]
fn while_it_runs_others_read_an_intact_log() {
    let directory = temporary();
    let log = open(directory.path(), Options { segments_max: 1_000, ..options() });
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..2_000 {
                assert_eq!(log.record(&denial(&number.to_string())), Recorded::Kept);
            }
            assert!(log.flush(PATIENCE));
        });
        while !writing.is_finished() {
            let (report, _) = walked(directory.path());
            assert!(report.broken.is_empty(), "{report:?}");
        }
    });
    log.close();
    assert_eq!(ids(&walked(directory.path()).1), numbered(0..2_000));
}
