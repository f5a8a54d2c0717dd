//! The only way to a disk. Every call may fail, be interrupted by a power cut before or after it took effect, or
//! do less than it was asked; nothing is durable before a `sync_*` returned.
//!
//! [`RealVfs`] is thin enough to be read in one go; [`SimVfs`] is the disk of the crash rig.

mod real;
#[cfg(feature = "sim")]
mod sim;

use std::fmt;
use std::io;

pub use real::RealVfs;
#[cfg(feature = "sim")]
pub use sim::{CallFault, FaultPlan, SimVfs};

/// The directory of a spool. Names are relative to it, with at most one `/`.
pub trait Vfs: fmt::Debug + Send + Sync + 'static {
    type File: VfsFile;
    /// Holds the spool for this process until it is dropped.
    type Lock: fmt::Debug + Send;

    /// Plain files of `directory` (`""` is the spool's own), sorted. A directory that is not there has none.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    /// A new file of `bytes` bytes that read as zero and whose space is allocated. A name that exists is an error.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Self::File>;
    fn open(&self, name: &str) -> io::Result<Self::File>;
    fn unlink(&self, name: &str) -> io::Result<()>;
    /// Makes the directory of `to` if need be.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes creations, renames and removals in `directory` durable.
    fn sync_dir(&self, directory: &str) -> io::Result<()>;
    /// Bytes that may still be allocated.
    fn free_bytes(&self) -> io::Result<u64>;
    /// `None` when another process holds it.
    fn try_lock(&self, name: &str) -> io::Result<Option<Self::Lock>>;
}

/// An open file. Positions are bytes from its start.
pub trait VfsFile: fmt::Debug + Send + Sync + 'static {
    /// Reads up to `buffer.len()` bytes; 0 is the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes up to `data.len()` bytes and says how many.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize>;
    fn sync_data(&self) -> io::Result<()>;
    fn sync_all(&self) -> io::Result<()>;
    fn bytes(&self) -> io::Result<u64>;
    /// Forgets clean cached pages, so that the next read meets the disk.
    fn drop_cache(&self) -> io::Result<()>;
}

/// What a disk answers for bytes that it cannot give any more, as against a process that is short of something.
pub(crate) fn is_unreadable(problem: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(problem);
    matches!(errno, Some(rustix::io::Errno::IO | rustix::io::Errno::BADMSG))
}

/// Stands for a byte that the disk cannot give.
const UNREADABLE: u8 = 0xee;

/// As [`read_full`], but a page that the disk cannot read is filled with what no checksum takes for anything: rot. For
/// a record whose place is known. A recovery reads with [`read_full`]: to it a page without a batch may be an end.
pub(crate) fn read_around(file: &impl VfsFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    match read_full(file, buffer, offset) {
        Err(problem) if is_unreadable(&problem) => {}
        done => return done,
    }
    let (mut read, whole) = (0, buffer.len());
    while read < whole {
        let to_page_end = crate::format::PAGE_BYTES - (offset + read as u64) % crate::format::PAGE_BYTES;
        let piece = (whole - read).min(usize::try_from(to_page_end).unwrap_or(usize::MAX));
        let Some(page) = buffer.get_mut(read..read + piece) else { break };
        match read_full(file, page, offset + read as u64) {
            Ok(n) if n < piece => return Ok(read + n),
            Ok(_) => {}
            Err(problem) if is_unreadable(&problem) => page.fill(UNREADABLE),
            Err(problem) => return Err(problem),
        }
        read += piece;
    }
    Ok(read)
}

/// Reads until `buffer` is full or the file ends; returns what was read.
pub fn read_full(file: &impl VfsFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(read)
}

/// Writes all of `data`, or fails.
pub fn write_full(file: &impl VfsFile, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        match file.write_at(data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                data = data.get(n..).unwrap_or_default();
                offset += n as u64;
            }
            Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(())
}
