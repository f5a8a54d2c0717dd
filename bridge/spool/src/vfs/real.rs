//! The operating system's files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, FallocateFlags};

use super::{Vfs, VfsFile, write_full};
use crate::fail_point;
#[cfg(feature = "fail-points")]
use crate::fail_points::disk_error;

/// Zeros are written in pieces of this size when a file is made.
const ZERO_BYTES: usize = 1 << 20;
/// Zeros that are on their way to the disk at once.
const FLUSH_BYTES: u64 = 4 << 20;

/// File systems that answer a flush before it is one, or lose locks: NFS, SMB, CIFS, AFS, Ceph, FUSE's
/// network kinds cannot be told apart and pass. Magic numbers of `statfs(2)`.
const NETWORK_FILE_SYSTEMS: [(i64, &str); 6] = [
    (0x6969, "nfs"),
    (0x517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x5346_414f, "afs"),
    (0x00c3_6400, "ceph"),
];

/// A directory of the local file system, only readable by its owner.
#[derive(Clone, Debug)]
pub struct RealVfs {
    root: PathBuf,
    read_only: bool,
}

impl RealVfs {
    /// Makes the directory if need be. A network file system is refused (RELIABILITY S1).
    pub fn new(root: &Path) -> io::Result<RealVfs> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        let vfs = RealVfs::read_only(root)?;
        let kind = rustix::fs::statfs(root)?.f_type as i64;
        if let Some((_, name)) = NETWORK_FILE_SYSTEMS.iter().find(|(magic, _)| *magic == kind) {
            let why = format!(
                "`{}` is on a network file system ({name}); a spool needs a local disk",
                root.display()
            );
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
        Ok(RealVfs { read_only: false, ..vfs })
    }

    /// For tools: nothing is created or changed.
    pub fn read_only(root: &Path) -> io::Result<RealVfs> {
        fs::metadata(root)?;
        Ok(RealVfs { root: root.to_owned(), read_only: true })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Vfs for RealVfs {
    type File = File;
    type Lock = File;

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(directory)) {
            Ok(entries) => entries,
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(problem) => return Err(problem),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<File> {
        let path = self.path(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        match allocate(&file, bytes) {
            Ok(()) => Ok(file),
            Err(problem) => {
                // A file that could not get its space must not stay in the way of the next attempt.
                let _ = fs::remove_file(&path);
                Err(problem)
            }
        }
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(!self.read_only).open(self.path(name))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let to = self.path(to);
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::rename(self.path(from), to)
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        File::open(self.path(directory))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn try_lock(&self, name: &str) -> io::Result<Option<File>> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path(name))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(problem)) => return Err(problem),
        }
        // For people only: the lock is the kernel's, and a full disk is no reason not to start.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let line = format!("pid {} boot {}\n", std::process::id(), boot.trim());
        if file.write_all(line.as_bytes()).is_ok() {
            let _ = file.set_len(line.len() as u64);
        }
        Ok(Some(file))
    }
}

/// Space is reserved first, so that a full disk is found at once; zeros follow, because a first write into an
/// unwritten extent makes the next flush write metadata too.
fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
        Err(problem) => return Err(problem.into()),
    }
    let zeros = vec![0; ZERO_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let piece = zeros.len().min(usize::try_from(bytes - offset).unwrap_or(usize::MAX));
        write_full(file, zeros.get(..piece).unwrap_or_default(), offset)?;
        offset += piece as u64;
        if offset.is_multiple_of(FLUSH_BYTES) {
            // A commit of the log that comes meanwhile waits for one piece, and not for the whole file.
            file.sync_data()?;
        }
    }
    Ok(())
}

impl VfsFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        fail_point!("disk.write", disk_error);
        FileExt::write_at(self, data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        fail_point!("disk.sync-data", disk_error);
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        fail_point!("disk.sync-all", disk_error);
        File::sync_all(self)
    }

    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn drop_cache(&self) -> io::Result<()> {
        match rustix::fs::fadvise(self, 0, None, Advice::DontNeed) {
            Ok(()) | Err(rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => Ok(()),
            Err(problem) => Err(problem.into()),
        }
    }
}
