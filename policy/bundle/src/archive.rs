//! The container: a tar of plain files, compressed, closed by a digest.
//!
//! ```text
//! zstd frame (content size, checksum) | skippable frame: 0x184D2A50 LE | 32 LE | SHA-256 of the zstd frame
//!   tar: (512-byte ustar header | data | zeros to 512)* | 1,024 zeros
//! ```
//!
//! `tar --zstd -tf` reads it. The surprising thing: this reader knows one way to write each header, and compares. All
//! that a tar may otherwise hold (links, devices, directories, owners, times, extensions, two spellings of a number)
//! is thereby refused, and nothing is left over that two readers could understand differently.

use std::io::{self, Read, Write};

use zstd::stream::{Decoder, Encoder};

use crate::digest::Digest;
use crate::path::{BundlePath, PathError};

/// Largest archive, in bytes.
pub const ARCHIVE_BYTES_MAX: usize = 8 << 20;
/// Largest tar inside it, in bytes: what a zip bomb can make this process hold.
pub const UNPACKED_BYTES_MAX: usize = 1 << UNPACKED_LOG;
const UNPACKED_LOG: u32 = 25;
/// Largest file, in bytes; documents may not be larger anyway (POLICY §1).
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Files that a manifest may list.
pub const FILES_MAX: usize = 1_024;
/// The manifest and its signature come on top.
const ENTRIES_MAX: usize = FILES_MAX + 2;

const BLOCK: usize = 512;
/// RFC 8878, section 3.1.2: a frame that decoders skip.
const TRAILER_HEAD: [u8; 8] = [0x50, 0x2a, 0x4d, 0x18, 32, 0, 0, 0];
const TRAILER_BYTES: usize = TRAILER_HEAD.len() + Digest::BYTES;
/// Bundles are made rarely and sent often.
const LEVEL: i32 = 12;

/// Why bytes are no archive of ours.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(
        "the archive has {0} bytes, more than {ARCHIVE_BYTES_MAX}; it is no policy bundle, or the layer must shrink"
    )]
    TooLarge(usize),
    #[error("the archive is cut short, damaged or no policy bundle; fetch it again from where it was signed")]
    Damaged,
    #[error("the archive does not decompress; sign it again with `meshbridge policy sign`")]
    Compression(#[source] io::Error),
    #[error(
        "the archive unpacks to more than {UNPACKED_BYTES_MAX} bytes; do not use it, or sign fewer files"
    )]
    Bomb,
    #[error("the archive ends in the middle of a file; sign it again with `meshbridge policy sign`")]
    CutShort,
    #[error("the archive has bytes behind its end; do not use it, and sign the directory again")]
    Trailing,
    #[error("the archive holds more than {FILES_MAX} files; merge documents and sign again")]
    TooManyFiles,
    #[error("`{path}` has {bytes} bytes; split it into files of at most {FILE_BYTES_MAX} and sign again")]
    FileTooLarge { path: String, bytes: u64 },
    #[error("the archive holds a file whose path cannot be used")]
    Path(#[from] PathError),
    #[error("`{path}` is a {kind}; a bundle holds plain files only, so remove it and sign again")]
    NotAFile { path: String, kind: &'static str },
    #[error(
        "the header of `{path}` is not as `meshbridge policy sign` writes it; sign the directory again with it"
    )]
    Header { path: String },
}

/// A file as the archive has it.
pub(crate) struct Entry {
    pub(crate) path: BundlePath,
    pub(crate) bytes: Vec<u8>,
}

/// Writes an archive; the same entries give the same bytes.
pub(crate) fn pack<'a>(entries: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Vec<u8>, ArchiveError> {
    let mut tar = Vec::new();
    for (path, bytes) in entries {
        tar.extend_from_slice(&header(path, bytes.len() as u64));
        tar.extend_from_slice(bytes);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
        if tar.len() > UNPACKED_BYTES_MAX - 2 * BLOCK {
            return Err(ArchiveError::Bomb);
        }
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    let mut archive = compress(&tar).expect("compressing in memory does not fail");
    let digest = Digest::of(&[&archive]);
    archive.extend_from_slice(&TRAILER_HEAD);
    archive.extend_from_slice(&digest.0);
    if archive.len() > ARCHIVE_BYTES_MAX {
        return Err(ArchiveError::TooLarge(archive.len()));
    }
    Ok(archive)
}

fn compress(tar: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
    encoder.set_pledged_src_size(Some(tar.len() as u64))?;
    encoder.include_contentsize(true)?;
    encoder.include_checksum(true)?;
    encoder.write_all(tar)?;
    encoder.finish()
}

/// Reads an archive in the order it was written.
pub(crate) fn unpack(archive: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
    if archive.len() > ARCHIVE_BYTES_MAX {
        return Err(ArchiveError::TooLarge(archive.len()));
    }
    let (frame, trailer) = archive.split_last_chunk::<TRAILER_BYTES>().ok_or(ArchiveError::Damaged)?;
    let (head, digest) = trailer.split_at(TRAILER_HEAD.len());
    if head != TRAILER_HEAD || digest != Digest::of(&[frame]).0 {
        return Err(ArchiveError::Damaged);
    }
    entries(&decompress(frame)?)
}

fn decompress(frame: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let mut decoder = Decoder::with_buffer(frame).map_err(ArchiveError::Compression)?.single_frame();
    decoder.window_log_max(UNPACKED_LOG).map_err(ArchiveError::Compression)?;
    let mut tar = Vec::new();
    let limit = UNPACKED_BYTES_MAX as u64 + 1;
    decoder.by_ref().take(limit).read_to_end(&mut tar).map_err(ArchiveError::Compression)?;
    if tar.len() > UNPACKED_BYTES_MAX {
        return Err(ArchiveError::Bomb);
    }
    if !decoder.finish().is_empty() {
        return Err(ArchiveError::Trailing);
    }
    Ok(tar)
}

fn entries(mut tar: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
    let mut entries = Vec::new();
    loop {
        let block = take(&mut tar, BLOCK)?;
        if block.iter().all(|byte| *byte == 0) {
            // The end is two blocks of zeros and nothing else.
            return match tar.len() {
                BLOCK if tar.iter().all(|byte| *byte == 0) => Ok(entries),
                0..BLOCK => Err(ArchiveError::CutShort),
                _ => Err(ArchiveError::Trailing),
            };
        }
        if entries.len() == ENTRIES_MAX {
            return Err(ArchiveError::TooManyFiles);
        }
        let (path, size) = read_header(block)?;
        let bytes = take(&mut tar, size)?.to_vec();
        let padding = take(&mut tar, size.next_multiple_of(BLOCK) - size)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Header { path: path.to_string() });
        }
        entries.push(Entry { path, bytes });
    }
}

fn take<'a>(tar: &mut &'a [u8], count: usize) -> Result<&'a [u8], ArchiveError> {
    let (taken, rest) = tar.split_at_checked(count).ok_or(ArchiveError::CutShort)?;
    *tar = rest;
    Ok(taken)
}

/// POSIX.1-1988 "ustar": octal numbers, the checksum counted with spaces in its own place.
fn header(path: &str, size: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, path.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

fn read_header(block: &[u8]) -> Result<(BundlePath, usize), ArchiveError> {
    let field = |at: usize, bytes: usize| block.get(at..at + bytes).unwrap_or_default();
    let name = field(0, 100).split(|byte| *byte == 0).next().unwrap_or_default();
    let shown = String::from_utf8_lossy(name).into_owned();
    let kind = match field(156, 1) {
        b"0" => None,
        b"1" => Some("hard link"),
        b"2" => Some("symbolic link"),
        b"3" | b"4" => Some("device"),
        b"5" => Some("directory"),
        b"6" => Some("named pipe"),
        _ => Some("entry of an extended kind"),
    };
    if let Some(kind) = kind {
        return Err(ArchiveError::NotAFile { path: shown, kind });
    }
    let path = BundlePath::new(&shown)?;
    let digits = std::str::from_utf8(field(124, 11)).unwrap_or_default();
    let Ok(size) = u64::from_str_radix(digits, 8) else {
        return Err(ArchiveError::Header { path: shown });
    };
    let bytes = usize::try_from(size).ok().filter(|bytes| *bytes <= FILE_BYTES_MAX);
    let Some(bytes) = bytes else {
        return Err(ArchiveError::FileTooLarge { path: shown, bytes: size });
    };
    if header(path.as_str(), size) != *block {
        return Err(ArchiveError::Header { path: shown });
    }
    Ok((path, bytes))
}
