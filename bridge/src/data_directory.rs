//! What a bridge keeps beside its spool: a lock, so that two processes never share a directory, and small secrets.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The data directory of one bridge, locked for as long as this value lives.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    directory: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenDataDirectoryError {
    /// Another process has it.
    #[error("data directory `{}` is in use by another bridge", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be written.
    #[error("cannot use data directory `{}`", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl DataDirectory {
    /// Makes the directory where it is missing.
    pub(crate) fn open(directory: &Path) -> Result<DataDirectory, OpenDataDirectoryError> {
        let unusable = |source| OpenDataDirectoryError::Unusable { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(OpenDataDirectoryError::InUse(directory.to_owned()));
            }
            Err(fs::TryLockError::Error(source)) => return Err(unusable(source)),
        }
        Ok(DataDirectory { directory: directory.to_owned(), _lock: lock })
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_bridge_on_the_same_directory_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let held = DataDirectory::open(directory.path()).expect("first start");
        let second = DataDirectory::open(directory.path());
        assert!(matches!(second, Err(OpenDataDirectoryError::InUse(_))));
        drop(held);
        assert!(DataDirectory::open(directory.path()).is_ok());
    }

    #[test]
    fn a_secret_stays_the_same() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let first = DataDirectory::open(directory.path()).map(|data| data.secret("key").expect("written"));
        let again = DataDirectory::open(directory.path()).map(|data| data.secret("key").expect("read"));
        assert_eq!(first.expect("opens"), again.expect("opens"));
    }
}
