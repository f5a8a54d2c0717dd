//! What a bridge keeps beside its spool: a lock, so that two processes never share a directory, the name of whose it
//! is, so that no bridge takes the accounts of another for its own, and small secrets.

use std::fs::{self, File};
use std::io::{self, Read, Write};
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
    /// A wrong volume, or a copy that was put back in the wrong place.
    #[error(
        "data directory `{}` belongs to {found}, and this is {expected}; give it back, or remove the file `{OWNER}` in it if the bridge has a new name",
        path.display()
    )]
    OfAnother { path: PathBuf, found: String, expected: String },
    /// The directory cannot be written.
    #[error("cannot use data directory `{}`", path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// The file that says whose the directory is.
const OWNER: &str = "owner";
/// Bytes of it that are read.
const OWNER_BYTES_MAX: u64 = 1_024;

impl DataDirectory {
    /// Makes the directory where it is missing, and notes `owner` in it where nobody is noted yet. One that is another's is
    /// refused before anything in it is touched.
    pub(crate) fn open(directory: &Path, owner: &str) -> Result<DataDirectory, OpenDataDirectoryError> {
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
        match read_owner(directory).map_err(unusable)? {
            None => write_owner(directory, owner).map_err(unusable)?,
            Some(found) if found == owner => {}
            Some(found) => {
                return Err(OpenDataDirectoryError::OfAnother {
                    path: directory.to_owned(),
                    found: found.escape_debug().to_string(),
                    expected: owner.to_owned(),
                });
            }
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

fn read_owner(directory: &Path) -> io::Result<Option<String>> {
    let file = match File::open(directory.join(OWNER)) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(other) => return Err(other),
    };
    let mut bytes = Vec::new();
    file.take(OWNER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()))
}

/// Whole or not at all.
fn write_owner(directory: &Path, owner: &str) -> io::Result<()> {
    let new = directory.join("owner.new");
    let mut file = File::create(&new)?;
    writeln!(file, "{owner}")?;
    file.sync_all()?;
    fs::rename(&new, directory.join(OWNER))?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "bridge `a` of federation `test`";

    #[test]
    fn a_second_bridge_on_the_same_directory_is_refused() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let held = DataDirectory::open(directory.path(), OWN).expect("first start");
        let second = DataDirectory::open(directory.path(), OWN);
        assert!(matches!(second, Err(OpenDataDirectoryError::InUse(_))));
        drop(held);
        assert!(DataDirectory::open(directory.path(), OWN).is_ok());
    }

    #[test]
    fn a_secret_stays_the_same() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let first =
            DataDirectory::open(directory.path(), OWN).map(|data| data.secret("key").expect("written"));
        let again = DataDirectory::open(directory.path(), OWN).map(|data| data.secret("key").expect("read"));
        assert_eq!(first.expect("opens"), again.expect("opens"));
    }

    #[test]
    fn a_directory_of_another_bridge_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().expect("temporary directory");
        drop(DataDirectory::open(directory.path(), OWN).expect("first start"));
        let other = "bridge `c` of federation `test`";
        let refused = DataDirectory::open(directory.path(), other).expect_err("it is not theirs").to_string();
        assert!(refused.contains(OWN) && refused.contains(other), "{refused}");
        assert!(DataDirectory::open(directory.path(), OWN).is_ok());
        // As the message says.
        fs::remove_file(directory.path().join(OWNER)).expect("it is there");
        assert!(DataDirectory::open(directory.path(), other).is_ok());
        assert!(DataDirectory::open(directory.path(), OWN).is_err());
    }
}
