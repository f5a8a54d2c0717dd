//! One segment file: its name, its making, and what a scan finds in it.

use std::io;

use crate::bugs::{Bug, bug};
use crate::fail_point;
use crate::format::{BatchHead, Codec, DATA_START, Header, HeaderProblem, NUMBER_MAX, PAGE_BYTES, VERSION};
use crate::vfs::{Vfs, VfsFile, read_full, write_full};

/// Where files go that are no longer part of the log and are kept for people.
pub(crate) const QUARANTINE: &str = "quarantine";

pub(crate) fn name(segment: u64) -> String {
    format!("seg-{segment:016x}")
}

/// The number in a segment's file name.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("seg-").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|number| (1..=NUMBER_MAX).contains(number))
}

/// A segment that exists durably and holds no batch.
#[derive(Debug)]
pub struct Spare<F> {
    pub(crate) header: Header,
    pub(crate) file: F,
}

/// The making of a [`Spare`], apart from the log so that it may run on another thread.
#[derive(Debug)]
pub struct SpareJob<V> {
    pub(crate) vfs: V,
    pub(crate) header: Header,
}

impl<V: Vfs> SpareJob<V> {
    /// Writes the file, its two headers, and makes both and the directory entry durable, in this order (S2).
    pub fn run(self) -> io::Result<Spare<V::File>> {
        let header = Header { version: VERSION, ..self.header };
        let file = self.vfs.create(&name(header.segment), header.segment_bytes)?;
        let page = header.encode();
        let written = (|| {
            fail_point!("spool.spare-created");
            write_full(&file, &page, 0)?;
            write_full(&file, &page, PAGE_BYTES)?;
            if !bug(Bug::ContinueBeforeDurable) {
                file.sync_all()?;
            }
            fail_point!("spool.spare-synced");
            if !bug(Bug::NoDirectorySync) && !bug(Bug::ContinueBeforeDurable) {
                self.vfs.sync_dir("")?;
            }
            Ok(())
        })();
        match written {
            Ok(()) => Ok(Spare { header, file }),
            Err(problem) => {
                // No batch was ever in it, so nothing is lost; the next attempt takes the same name.
                let _ = self.vfs.unlink(&name(header.segment));
                Err(problem)
            }
        }
    }
}

/// Reads the header, from its copy if need be.
pub(crate) fn read_header(file: &impl VfsFile) -> io::Result<Result<Header, HeaderProblem>> {
    let mut pages = vec![0; DATA_START as usize];
    let read = read_full(file, &mut pages, 0)?;
    let pages = pages.get(..read).unwrap_or_default();
    let (first, second) = pages.split_at(pages.len().min(PAGE_BYTES as usize));
    let result = match Header::decode(first) {
        Err(HeaderProblem::Unreadable) => Header::decode(second),
        other => other,
    };
    Ok(result)
}

/// A valid batch and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) at: u64,
    pub(crate) head: BatchHead,
}

impl Batch {
    pub(crate) fn end(&self) -> u64 {
        self.at + self.head.padded()
    }
}

/// What a segment's bytes hold.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) batches: Vec<Batch>,
    /// Stretches between valid batches that hold none: rot, or a write that a power cut tore.
    pub(crate) holes: Vec<(u64, u64)>,
    /// Written pages behind the last valid batch: a write that a power cut tore, or rot.
    pub(crate) tail: Option<(u64, u64)>,
    /// Of the file, as far as its header lays claim to it.
    pub(crate) bytes: u64,
    /// The file is shorter than its header says: it was cut.
    pub(crate) cut: bool,
}

impl Layout {
    /// Nothing was ever written behind the header.
    pub(crate) fn is_blank(&self) -> bool {
        self.batches.is_empty() && self.tail.is_none()
    }
}

/// Reads a whole segment.
pub(crate) fn read_all(file: &impl VfsFile, segment_bytes: u64) -> io::Result<Vec<u8>> {
    file.drop_cache()?;
    // What the header claims is not enough to ask for that much memory.
    let there = segment_bytes.min(file.bytes()?);
    let mut bytes = vec![0; usize::try_from(there).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = read_full(file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Finds all valid batches before `end`, also behind damage: each page may start one.
pub(crate) fn layout(codec: &Codec, header: &Header, bytes: &[u8], end: u64) -> Layout {
    let there = bytes.len() as u64;
    let mut found = Layout { bytes: there, cut: there < header.segment_bytes, ..Layout::default() };
    let mut at = DATA_START;
    let mut hole = None;
    while at < end.min(bytes.len() as u64) {
        let rest = bytes.get(at as usize..).unwrap_or_default();
        match codec.batch(at, rest) {
            Some(head) => {
                if let Some(start) = hole.take() {
                    found.holes.push((start, at));
                }
                let batch = Batch { at, head };
                found.batches.push(batch);
                at = batch.end();
            }
            None => {
                hole.get_or_insert(at);
                at += PAGE_BYTES;
            }
        }
    }
    if let Some(start) = hole
        && let Some(rest) = bytes.get(start as usize..).filter(|rest| !is_zero(rest))
    {
        let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
        found.tail = Some((start, (start + written).next_multiple_of(PAGE_BYTES).min(there)));
    }
    found
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(4_096).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}
