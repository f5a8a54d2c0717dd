//! The file that is written. What has been appended is known, so a write that failed half-way can be taken back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::format::{HEADER_BYTES, Header, segment_name};

/// A segment, open at its end.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    pub(super) number: u64,
    /// Bytes that were written completely, header included.
    pub(super) bytes: u64,
}

impl Segment {
    /// A new segment with nothing but its header, durable when this returns. Nothing is left behind on failure.
    pub(super) fn create(directory: &Path, header: &Header) -> io::Result<Segment> {
        let path = directory.join(segment_name(header.segment));
        #[cfg(test)]
        faults::check(directory)?;
        let mut file = File::options().append(true).create_new(true).mode(0o600).open(&path)?;
        let written = file.write_all(&header.encode()).and_then(|()| file.sync_all());
        if let Err(problem) = written.and_then(|()| sync_directory(directory)) {
            let _ = fs::remove_file(&path);
            return Err(problem);
        }
        Ok(Segment { file, path, number: header.segment, bytes: HEADER_BYTES as u64 })
    }

    /// Goes on with a segment after its first `bytes` bytes; what is behind them is removed.
    pub(super) fn resume(directory: &Path, number: u64, bytes: u64) -> io::Result<Segment> {
        let path = directory.join(segment_name(number));
        let file = File::options().append(true).open(&path)?;
        if file.metadata()?.len() != bytes {
            file.set_len(bytes)?;
            file.sync_all()?;
        }
        Ok(Segment { file, path, number, bytes })
    }

    /// Appends all of it, or nothing. An error that cannot be taken back is [`io::ErrorKind::Other`].
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.write(bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(problem) => {
                self.file.set_len(self.bytes).map_err(io::Error::other)?;
                Err(problem)
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Err(problem) = self.path.parent().map_or(Ok(()), faults::check) {
            // As a disk that fills up does: part of it arrives.
            self.file.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
            return Err(problem);
        }
        self.file.write_all(bytes)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes creations and removals durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Whether waiting may help.
pub(super) fn is_full(problem: &io::Error) -> bool {
    matches!(problem.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A disk of the tests that is full while they say so.
#[cfg(test)]
pub(super) mod faults {
    use std::collections::BTreeSet;
    use std::io;
    use std::path::{Path, PathBuf};
    use std::sync::Mutex;

    static FULL: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

    pub(in crate::audit) fn set_full(directory: &Path, is_full: bool) {
        let mut full = FULL.lock().expect("nothing panics in here");
        if is_full {
            full.insert(directory.to_owned())
        } else {
            full.remove(directory)
        };
    }

    pub(super) fn check(directory: &Path) -> io::Result<()> {
        let is_full = FULL.lock().expect("nothing panics in here").contains(directory);
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}
