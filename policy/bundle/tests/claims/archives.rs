//! An archive is read only if it is exactly what a signer packed.

use meshbridge_bundle::{
    ARCHIVE_BYTES_MAX, ArchiveError, BundleError, Digest, FILE_BYTES_MAX, FILES_MAX, ManifestError,
    PackError, UNPACKED_BYTES_MAX, open, pack,
};
use proptest::prelude::*;

use crate::{FILES, bundle, draft, key};

#[test]
fn what_was_packed_is_what_is_opened() {
    let opened = open(&bundle("region/eu", 7, &key(1))).expect("opens");
    assert_eq!(opened.manifest().revision(), 7);
    assert_eq!(opened.manifest().layer().to_string(), "region/eu");
    let mut expected = FILES.to_vec();
    expected.sort_unstable();
    let found: Vec<_> = opened.files().map(|(path, bytes)| (path.as_str(), bytes)).collect();
    assert_eq!(found, expected);
    assert_eq!(opened.file("schemas/order-v2.json"), Some(FILES[1].1));
    assert_eq!(opened.file("schemas"), None);
}

#[test]
fn the_order_of_files_does_not_matter_and_packing_repeats() {
    let mut files = FILES;
    let first = pack(draft("federation", 3), &files, &key(1)).expect("packs");
    files.reverse();
    assert_eq!(pack(draft("federation", 3), &files, &key(1)).expect("packs"), first);
}

#[test]
fn every_single_changed_bit_is_refused() {
    let archive = bundle("federation", 3, &key(1));
    for at in 0..archive.len() {
        for bit in 0..8 {
            let mut changed = archive.clone();
            changed[at] ^= 1 << bit;
            assert!(open(&changed).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let archive = bundle("federation", 3, &key(1));
    for end in 0..archive.len() {
        assert!(open(&archive[..end]).is_err(), "cut at {end}");
    }
    for more in [&b"\0"[..], b"x", &archive] {
        assert!(open(&[&archive, more].concat()).is_err(), "{} more bytes", more.len());
    }
}

/// Whoever can write an archive can also write its closing digest, so the reader behind it is tested alone.
#[test]
fn every_changed_bit_of_the_tar_is_refused_though_all_digests_of_the_container_agree() {
    let archive = bundle("federation", 3, &key(1));
    let tar = tar_of(&archive);
    assert!(open(&container(&tar)).is_ok(), "the tar itself is sound");
    for at in 0..tar.len() {
        for bit in [0, 3, 7] {
            let mut changed = tar.clone();
            changed[at] ^= 1 << bit;
            let opened = open(&container(&changed));
            // Inside the manifest or its signature a change may still be a manifest; then the signature must not hold.
            let Ok(opened) = opened else { continue };
            let ring = meshbridge_bundle::KeyRing::new("acme", key(1).public());
            assert!(meshbridge_bundle::verify(&opened, &ring).is_err(), "bit {bit} of byte {at} of the tar");
        }
    }
}

#[test]
fn a_compressed_stream_that_was_changed_never_gives_other_files() {
    let archive = bundle("federation", 3, &key(1));
    let original = open(&archive).expect("opens");
    let frame = &archive[..archive.len() - 40];
    for at in 0..frame.len() {
        for value in [0, 1, 0x7f, 0xff, frame[at] ^ 0x10] {
            let mut changed = frame.to_vec();
            changed[at] = value;
            if let Ok(opened) = open(&closed(changed)) {
                assert_eq!(opened, original, "byte {at}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(open(&bytes).is_err());
        prop_assert!(open(&closed(bytes.clone())).is_err());
        prop_assert!(open(&container(&bytes)).is_err());
    }

    #[test]
    fn spliced_archives_are_never_something_new(
        from in 0usize..6_000, length in 0usize..1_200, to in 0usize..6_000, cut in any::<bool>(),
    ) {
        let archive = bundle("federation", 3, &key(1));
        let mut tar = tar_of(&archive);
        let from = from.min(tar.len());
        let piece = tar[from..(from + length).min(tar.len())].to_vec();
        let to = to.min(tar.len());
        let end = if cut { (to + piece.len()).min(tar.len()) } else { to };
        tar.splice(to..end, piece);
        if let Ok(opened) = open(&container(&tar)) {
            prop_assert_eq!(opened, open(&archive).expect("opens"));
        }
    }

    #[test]
    fn any_files_with_good_names_survive(
        files in prop::collection::btree_map("[a-z0-9]{1,8}(/[a-z0-9_-]{1,8}\\.[a-z]{1,4}){0,2}",
            prop::collection::vec(any::<u8>(), 0..1_500), 1..12),
        revision in 1u64..=meshbridge_bundle::REVISION_MAX,
    ) {
        let files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
        match pack(draft("zone/cn-1", revision), &files, &key(2)) {
            Ok(archive) => {
                let opened = open(&archive).expect("what was packed opens");
                let found: Vec<_> = opened.files().map(|(path, bytes)| (path.as_str(), bytes)).collect();
                prop_assert_eq!(found, files);
            }
            Err(PackError::Manifest(ManifestError::FileAndDirectory(..))) => {}
            Err(problem) => prop_assert!(false, "{problem}"),
        }
    }
}

#[test]
fn names_that_leave_the_directory_or_collide_are_not_packed() {
    let long = "a/".repeat(50) + "b";
    for names in [
        &["/etc/passwd"][..],
        &["../up"],
        &["a/../b"],
        &["a//b"],
        &["a/"],
        &[""],
        &["."],
        &[".hidden"],
        &["a/./b"],
        &["a b"],
        &["c:\\d"],
        &["ünï"],
        &["a\0b"],
        &["same", "same"],
        &["a", "a-b", "a.c", "a/b"],
        &["manifest.json"],
        &["manifest.sig"],
        &["manifest.json/x"],
        &[&long],
        &[],
    ] {
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b"x"[..])).collect();
        assert!(pack(draft("federation", 1), &files, &key(1)).is_err(), "{names:?}");
    }
}

#[test]
fn links_devices_directories_and_strange_names_in_a_tar_are_refused() {
    let sound = tar_of(&bundle("federation", 3, &key(1)));
    for (kind, name) in
        [(b'1', "link"), (b'2', "link"), (b'3', "device"), (b'5', "directory"), (b'6', "pipe")]
    {
        let tar = with_entry(&sound, "extra", b"", kind);
        let Err(BundleError::Archive(problem @ ArchiveError::NotAFile { .. })) = open(&container(&tar))
        else {
            panic!("{name}");
        };
        assert!(problem.to_string().contains(name), "{problem}");
    }
    for name in ["../../etc/passwd", "/abs", "a/../b"] {
        let tar = with_entry(&sound, name, b"x", b'0');
        assert!(matches!(open(&container(&tar)), Err(BundleError::Archive(ArchiveError::Path(_)))), "{name}");
    }
    let unlisted = with_entry(&sound, "zz-extra", b"x", b'0');
    assert!(matches!(open(&container(&unlisted)), Err(BundleError::Unlisted(_))));
}

#[test]
fn a_file_that_is_missing_changed_or_out_of_place_is_named() {
    let tar = tar_of(&bundle("federation", 3, &key(1)));
    // Manifest and signature take two blocks each, so do all files here.
    let entry = |number: usize| number * 1_024..(number + 1) * 1_024;
    let without = [&tar[..entry(2).start], &tar[entry(2).end..]].concat();
    let Err(BundleError::Missing(path)) = open(&container(&without)) else { panic!("a file is missing") };
    assert_eq!(path.as_str(), "10-baseline.yaml");
    let swapped = [&tar[..entry(2).start], &tar[entry(3)], &tar[entry(2)], &tar[entry(3).end..]].concat();
    assert!(matches!(open(&container(&swapped)), Err(BundleError::Missing(_))));
    let twice = [&tar[..entry(2).end], &tar[entry(2)], &tar[entry(2).end..]].concat();
    assert!(matches!(open(&container(&twice)), Err(BundleError::Unlisted(_))));
    let mut changed = tar.clone();
    changed[entry(2).start + 512] ^= 1;
    let Err(BundleError::Changed(path)) = open(&container(&changed)) else { panic!("a file has changed") };
    assert_eq!(path.as_str(), "10-baseline.yaml");
}

#[test]
fn bombs_and_floods_end_at_the_limits() {
    let zeros = vec![0; UNPACKED_BYTES_MAX + 1];
    assert!(matches!(
        open(&container(&zeros)),
        Err(BundleError::Archive(ArchiveError::Bomb | ArchiveError::Compression(_)))
    ));
    let many = (0..10).map(|_| zeros.as_slice()).collect::<Vec<_>>().concat();
    let stream = closed(zstd::stream::encode_all(&many[..], 1).expect("compresses"));
    assert!(stream.len() < ARCHIVE_BYTES_MAX, "{} bytes", stream.len());
    assert!(matches!(open(&stream), Err(BundleError::Archive(ArchiveError::Bomb))));
    assert!(matches!(
        open(&vec![0; ARCHIVE_BYTES_MAX + 1]),
        Err(BundleError::Archive(ArchiveError::TooLarge(_)))
    ));
    let mut flood = Vec::new();
    for number in 0..FILES_MAX + 3 {
        flood = with_entry_at_end(flood, &format!("f{number}"), b"", b'0');
    }
    flood.resize(flood.len() + 1_024, 0);
    assert!(matches!(open(&container(&flood)), Err(BundleError::Archive(ArchiveError::TooManyFiles))));
    let large = vec![b'x'; FILE_BYTES_MAX + 1];
    let mut tar = with_entry_at_end(Vec::new(), "large", &large, b'0');
    tar.resize(tar.len() + 1_024, 0);
    assert!(matches!(open(&container(&tar)), Err(BundleError::Archive(ArchiveError::FileTooLarge { .. }))));
    assert!(matches!(
        pack(draft("federation", 1), &[("large", &large)], &key(1)),
        Err(PackError::Manifest(ManifestError::FileTooLarge(..)))
    ));
}

#[test]
fn a_manifest_written_differently_is_refused() {
    let archive = bundle("federation", 3, &key(1));
    let opened = open(&archive).expect("opens");
    let text = String::from_utf8(opened.signed_manifest().to_files().0).expect("JSON is UTF-8");
    let read = |text: &str| meshbridge_bundle::Manifest::from_bytes(text.as_bytes());
    assert!(read(&text).is_ok());
    for (from, to) in [
        ("{\"federation\"", "{ \"federation\""),
        ("\"acme\"", "\"acm\\u0065\""),
        ("\"acme\"", "\"Acme\""),
        ("\"revision\":3", "\"revision\":3.0"),
        ("\"revision\":3", "\"revision\":0"),
        ("\"revision\":3", "\"revision\":9007199254740992"),
        ("\"revision\":3", "\"revision\":3,\"revision\":4"),
        ("\"revision\":3", "\"revision\":3,\"more\":4"),
        ("00:00:00Z", "00:00:00.0Z"),
        ("00:00:00Z", "00:00:00+00:00"),
        ("00:00:00Z\"", "00:00:00Z\",\"expires\":null"),
        ("00:00:00Z\"", "00:00:00Z\",\"expires\":\"2020-01-01T00:00:00Z\""),
        ("\"layer\":\"federation\"", "\"layer\":\"planet/mars\""),
        ("\"files\":[", "\"files\":[],\"files\":["),
    ] {
        assert!(text.contains(from), "{from} is not in {text}");
        assert!(read(&text.replacen(from, to, 1)).is_err(), "{to}");
    }
    assert!(read(&(text.clone() + "\n")).is_err());
    assert!(read(&"[".repeat(100_000)).is_err());
}

/// The tar of an archive.
fn tar_of(archive: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(&archive[..archive.len() - 40]).expect("an archive of ours decompresses")
}

/// An archive around any tar.
fn container(tar: &[u8]) -> Vec<u8> {
    closed(zstd::bulk::compress(tar, 1).expect("compresses"))
}

/// A compressed stream with the closing digest that belongs to it.
fn closed(mut frame: Vec<u8>) -> Vec<u8> {
    let digest = Digest::of(&[&frame]);
    frame.extend([0x50, 0x2a, 0x4d, 0x18, 32, 0, 0, 0]);
    frame.extend(digest.0);
    frame
}

/// One more entry before the end of a tar.
fn with_entry(tar: &[u8], name: &str, bytes: &[u8], kind: u8) -> Vec<u8> {
    let mut tar = with_entry_at_end(tar[..tar.len() - 1_024].to_vec(), name, bytes, kind);
    tar.resize(tar.len() + 1_024, 0);
    tar
}

fn with_entry_at_end(mut tar: Vec<u8>, name: &str, bytes: &[u8], kind: u8) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
    put(0, name.as_bytes());
    [100, 108, 116]
        .into_iter()
        .zip(["0000644", "0000000", "0000000"])
        .for_each(|(at, n)| put(at, n.as_bytes()));
    put(124, format!("{:011o}", bytes.len()).as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend(header);
    tar.extend(bytes);
    tar.resize(tar.len().next_multiple_of(512), 0);
    tar
}
