//! Whatever is done to the files, the walk says so (RELIABILITY T53).

use proptest::prelude::*;

use super::*;

/// Three segments and a part of a fourth, the first one pruned away.
fn sample() -> TempDir {
    let directory = temporary();
    fill(directory.path(), Options { segments_max: 3, segment_bytes: 2 << 10, ..options() }, 0, 17);
    assert!(is_intact(directory.path()) && segments(directory.path()).len() == 3);
    directory
}

#[test]
fn every_changed_byte_is_found() {
    let sample = sample();
    for path in segments(sample.path()) {
        let original = fs::read(&path).expect("can be read");
        for at in 0..original.len() {
            let mut changed = original.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).expect("can be written");
            assert!(!is_intact(sample.path()), "byte {at} of {}", path.display());
        }
        fs::write(&path, &original).expect("can be written");
    }
    assert!(is_intact(sample.path()));
}

#[test]
fn a_break_is_named_with_its_segment_its_place_and_what_is_proved_before_it() {
    let sample = sample();
    let path = &segments(sample.path())[1];
    let places = boundaries(path);
    let first = walked(sample.path()).0.first;
    let earlier = boundaries(&segments(sample.path())[0]).len() as u64 - 1;
    let mut bytes = fs::read(path).expect("can be read");
    bytes[places[2] + 20] ^= 1;
    fs::write(path, bytes).expect("can be written");
    let report = walked(sample.path()).0;
    let broken = &report.broken[0];
    assert_eq!((broken.offset, broken.after), (places[2] as u64, first - 1 + earlier + 2), "{report:?}");
    assert_eq!(segment_name(broken.segment), path.file_name().expect("a name").to_str().expect("ASCII"));
}

#[test]
fn removed_repeated_and_exchanged_records_are_found() {
    let sample = sample();
    for path in segments(sample.path()) {
        let bytes = fs::read(&path).expect("can be read");
        let places = boundaries(&path);
        let record = |at: usize| &bytes[places[at]..places[at + 1]];
        for at in 0..places.len() - 2 {
            let (head, tail) = (&bytes[..places[at]], &bytes[places[at + 2]..]);
            for (what, middle) in [
                ("removed", record(at + 1).to_vec()),
                ("repeated", [record(at), record(at), record(at + 1)].concat()),
                ("exchanged", [record(at + 1), record(at)].concat()),
            ] {
                fs::write(&path, [head, &middle, tail].concat()).expect("can be written");
                assert!(!is_intact(sample.path()), "record {at} of {} was {what}", path.display());
            }
        }
        fs::write(&path, &bytes).expect("can be written");
    }
}

#[test]
fn missing_exchanged_and_foreign_segments_are_found() {
    let original = sample();
    let names: Vec<_> = segments(original.path());
    let name = |at: usize| names[at].file_name().expect("a name").to_owned();
    for at in 0..2 {
        let copy = copy_of(original.path());
        fs::remove_file(copy.path().join(name(at))).expect("can be removed");
        assert!(!is_intact(copy.path()), "segment {at} is gone");
    }
    let copy = copy_of(original.path());
    fs::copy(&names[0], copy.path().join(name(1))).expect("can be copied");
    assert!(!is_intact(copy.path()), "a segment under another name");
    let unpruned = temporary();
    fill(unpruned.path(), Options { segment_bytes: 2 << 10, ..options() }, 0, 12);
    fs::remove_file(&segments(unpruned.path())[0]).expect("can be removed");
    assert!(!is_intact(unpruned.path()), "a beginning that no record says is gone");
    let other = sample();
    let copy = copy_of(original.path());
    fs::copy(&segments(other.path())[2], copy.path().join(name(2))).expect("can be copied");
    assert!(!is_intact(copy.path()), "a segment of another chain");
}

/// Cutting whole records off the end leaves a chain that is intact in itself; only somebody who remembers its end
/// can tell.
#[test]
fn a_chain_that_was_cut_at_its_end_does_not_meet_its_checkpoint() {
    let original = sample();
    let last = walked(original.path()).0.last;
    let newest = segments(original.path()).pop().expect("a segment");
    let places = boundaries(&newest);
    for (cut, place) in places.iter().rev().enumerate() {
        let copy = copy_of(original.path());
        let path = copy.path().join(newest.file_name().expect("a name"));
        let file = fs::File::options().write(true).open(path).expect("opens");
        file.set_len(*place as u64).expect("can be cut");
        let end = walked(copy.path()).0.last;
        assert_eq!(end.seq, last.seq - cut as u64);
        assert_eq!(end == last, cut == 0, "{cut} records are missing");
        // Going on writing does not bring the old hash back.
        fill(copy.path(), options(), 100, cut + 1);
        let mut met = false;
        walk(copy.path(), &mut |entry| {
            met |= entry.place == last;
            Ok(())
        })
        .expect("can be read");
        assert_eq!(met, cut == 0, "{cut} records are missing, and others follow");
    }
}

/// A restart must not cut damage away as if it were a torn write.
#[test]
fn a_restart_does_not_hide_what_was_changed() {
    let sample = sample();
    let newest = segments(sample.path()).pop().expect("a segment");
    let places = boundaries(&newest);
    for at in [places[0] + 2, places[0] + 30, places[1] - 3, places[places.len() - 1] - 1, 40] {
        let copy = copy_of(sample.path());
        let path = copy.path().join(newest.file_name().expect("a name"));
        let mut bytes = fs::read(&path).expect("can be read");
        bytes[at] ^= 0x40;
        fs::write(&path, &bytes).expect("can be written");
        fill(copy.path(), options(), 100, 2);
        fill(copy.path(), options(), 102, 1);
        assert_eq!(fs::read(&path).expect("can be read"), bytes, "evidence stays as it is");
        let (report, entries) = walked(copy.path());
        assert!(!report.broken.is_empty(), "byte {at}");
        assert!(kinds(&entries).contains(&"damaged"), "byte {at}");
        assert!(ids(&entries).ends_with(&numbered(100..103)), "the chain goes on after byte {at}");
    }
}

#[test]
fn a_segment_that_was_to_be_removed_may_still_be_there() {
    let directory = temporary();
    let kept = temporary();
    let small = Options { segments_max: 2, ..options() };
    let log = open(directory.path(), small);
    for number in 0..60 {
        assert_eq!(log.record(&denial(&number.to_string())), Recorded::Kept);
        assert!(log.flush(PATIENCE));
        for path in segments(directory.path()) {
            let _ = fs::hard_link(&path, kept.path().join(path.file_name().expect("a name")));
        }
    }
    log.close();
    let first = &segments(directory.path())[0];
    let all = segments(kept.path());
    let at = all.iter().position(|path| path.file_name() == first.file_name()).expect("it was linked");
    let restore = |path: &Path| {
        fs::copy(path, directory.path().join(path.file_name().expect("a name"))).expect("can be copied");
    };
    restore(&all[at - 1]);
    assert!(is_intact(directory.path()), "the process ended before the removal");
    fill(directory.path(), small, 60, 30);
    assert!(is_intact(directory.path()), "the next rotation removes it");
    assert!(segments(directory.path()).len() <= 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_walked_and_opened_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400), keep in 0usize..2_000, zeros in 0usize..64,
    ) {
        let directory = temporary();
        fill(directory.path(), options(), 0, 3);
        let path = &segments(directory.path())[0];
        let mut content = fs::read(path).expect("can be read");
        content.truncate(keep);
        content.extend(&bytes);
        content.resize(content.len() + zeros, 0);
        fs::write(path, &content).expect("can be written");
        let _ = walked(directory.path());
        fill(directory.path(), options(), 3, 2);
        prop_assert!(ids(&walked(directory.path()).1).ends_with(&numbered(3..5)));
    }
}
