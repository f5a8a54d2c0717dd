//! The run of this bridge: an epoch that only grows and a fresh nonce, both on disk before anything of the run leaves
//! (DESIGN §5, RELIABILITY §2).
//!
//! One small file, `run`, holds `<epoch> <nonce>`; it is written beside itself, fsynced, renamed, and the directory
//! fsynced. A file that cannot be read is never taken for a first start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use meshbridge_routing::Run;

/// Epochs above this are refused everywhere, so that no neighbour can push a bridge to the end of the numbers.
const EPOCH_MAX: u64 = 1 << 48;

/// The epoch file of one data directory, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct RunFile {
    directory: PathBuf,
    nonce: u64,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenRunError {
    /// Another process has it.
    #[error("data directory `{}` is in use by another bridge", .0.display())]
    InUse(PathBuf),
    /// The file is there and makes no sense; guessing an epoch could hide events of a former run.
    #[error("`{}` is damaged: restore it, or remove it and let the neighbours tell the epoch", .0.display())]
    Damaged(PathBuf),
    /// The directory cannot be written.
    #[error("cannot use data directory `{}`", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl RunFile {
    /// Begins the next run: epoch one above the last one, a new nonce, both durable when this returns.
    pub(crate) fn begin(directory: &Path, nonce: u64) -> Result<(RunFile, Run), OpenRunError> {
        let unusable = |source| OpenRunError::Unusable { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenRunError::InUse(directory.to_owned())),
            Err(fs::TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let path = directory.join("run");
        let last = match fs::read_to_string(&path) {
            Ok(text) => parse(&text).ok_or(OpenRunError::Damaged(path))?,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => 0,
            Err(source) => return Err(unusable(source)),
        };
        let run = Run { epoch: last + 1, nonce };
        let file = RunFile { directory: directory.to_owned(), nonce, _lock: lock };
        file.store(run.epoch).map_err(unusable)?;
        Ok((file, run))
    }

    /// 32 random bytes that stay the same from run to run, made the first time they are asked for.
    pub(crate) fn secret(&self, name: &str) -> io::Result<[u8; 32]> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.directory.join(name);
        if let Ok(bytes) = fs::read(&path)
            && let Ok(secret) = <[u8; 32]>::try_from(bytes)
        {
            return Ok(secret);
        }
        let secret: [u8; 32] = rand::random();
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&secret)?;
        file.sync_all()?;
        Ok(secret)
    }

    /// Makes `epoch` the one the next run must exceed.
    pub(crate) fn store(&self, epoch: u64) -> io::Result<()> {
        let beside = self.directory.join("run.new");
        let mut file = File::create(&beside)?;
        writeln!(file, "{epoch} {:016x}", self.nonce)?;
        file.sync_all()?;
        fs::rename(&beside, self.directory.join("run"))?;
        File::open(&self.directory)?.sync_all()
    }
}

fn parse(text: &str) -> Option<u64> {
    let mut words = text.split_whitespace();
    let epoch = words.next()?.parse().ok()?;
    u64::from_str_radix(words.next()?, 16).ok()?;
    (words.next().is_none() && epoch < EPOCH_MAX).then_some(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_a_higher_epoch_also_above_one_that_was_stored() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (first, run) = RunFile::begin(directory.path(), 1).expect("first start");
        assert_eq!(run.epoch, 1);
        first.store(41).expect("writable");
        drop(first);
        let (_second, run) = RunFile::begin(directory.path(), 2).expect("second start");
        assert_eq!(run, Run { epoch: 42, nonce: 2 });
    }

    #[test]
    fn a_second_bridge_on_the_same_directory_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let held = RunFile::begin(directory.path(), 1).expect("first start");
        assert!(matches!(RunFile::begin(directory.path(), 2), Err(OpenRunError::InUse(_))));
        drop(held);
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let directory = tempfile::tempdir().expect("temporary directory");
        for text in ["", "x", "1", "1 zz", "281474976710656 0", "1 2 3"] {
            fs::write(directory.path().join("run"), text).expect("writable");
            assert!(matches!(RunFile::begin(directory.path(), 2), Err(OpenRunError::Damaged(_))), "{text:?}");
            assert_eq!(fs::read_to_string(directory.path().join("run")).expect("still there"), text);
        }
    }
}
