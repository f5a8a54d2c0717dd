//! The archives and the record of what is in force, in the data directory.
//!
//! ```text
//! <data>/bundles/revisions              what is in force and the floors (meshbridge_bundle::Revisions)
//! <data>/bundles/<digest>.bundle        an archive, by the digest of its manifest
//! ```
//!
//! Files come into being whole: written beside, flushed, renamed, and the directory flushed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use meshbridge_bundle::{ARCHIVE_BYTES_MAX, Digest, PART_BYTES_MAX, STATE_BYTES_MAX};
use meshbridge_spool::fail_point;

const RECORD: &str = "revisions";
const SUFFIX: &str = ".bundle";

#[derive(Debug)]
pub(super) struct Shelf {
    directory: PathBuf,
}

impl Shelf {
    pub(super) fn open(data: &Path) -> io::Result<Shelf> {
        let directory = data.join("bundles");
        fs::create_dir_all(&directory)?;
        File::open(data)?.sync_all()?;
        Ok(Shelf { directory })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// `None` where there is none.
    pub(super) fn record(&self) -> io::Result<Option<Vec<u8>>> {
        match read_bounded(&self.directory.join(RECORD), STATE_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// On the disk when this returns.
    pub(super) fn write_record(&self, bytes: &[u8]) -> io::Result<()> {
        fail_point!("bundles.before-record");
        self.write(RECORD, bytes)?;
        fail_point!("bundles.after-record");
        Ok(())
    }

    /// On the disk when this returns.
    pub(super) fn put(&self, digest: Digest, archive: &[u8]) -> io::Result<()> {
        self.write(&name_of(digest), archive)
    }

    pub(super) fn archive(&self, digest: Digest) -> io::Result<Vec<u8>> {
        read_bounded(&self.directory.join(name_of(digest)), ARCHIVE_BYTES_MAX)
    }

    /// The part of an archive that a neighbour asked for, with the size of the whole.
    pub(super) fn part(&self, digest: Digest, offset: u32) -> io::Result<(u32, Vec<u8>)> {
        let mut file = File::open(self.directory.join(name_of(digest)))?;
        let total = u32::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        file.seek(SeekFrom::Start(u64::from(offset)))?;
        let mut bytes = Vec::with_capacity(PART_BYTES_MAX);
        file.take(PART_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        Ok((total, bytes))
    }

    pub(super) fn digests(&self) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            digests.extend(name.to_str().and_then(|name| Digest::from_hex(name.strip_suffix(SUFFIX)?)));
        }
        digests.sort_unstable();
        Ok(digests)
    }

    /// Removes all other archives. What cannot be removed is only in the way.
    pub(super) fn keep(&self, wanted: &BTreeSet<Digest>) {
        for digest in self.digests().unwrap_or_default() {
            if !wanted.contains(&digest) {
                let _ = fs::remove_file(self.directory.join(name_of(digest)));
            }
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(self.directory.join(name)).map_err(|problem| problem.error)?;
        File::open(&self.directory)?.sync_all()
    }
}

fn name_of(digest: Digest) -> String {
    format!("{digest}{SUFFIX}")
}

/// Reads a file that has no more than `bytes_max`.
pub(super) fn read_bounded(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let what = format!("larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}
