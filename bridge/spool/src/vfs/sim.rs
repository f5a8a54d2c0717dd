//! A disk that remembers what was synced, for power cuts at any call.
//!
//! Each file has the bytes that are on the platter and the bytes that a process sees; each unsynced write is kept
//! by itself, because at a power cut any subset of them survives, in any order, each whole or torn. Directory
//! entries and file sizes are subject to the same. A kill of the process loses nothing, but leaves everything
//! unsynced for a later power cut.

mod disk;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use disk::{CallFault, FaultPlan};
use disk::{Change, Disk, FileState, Inode, directory_of, put, split_at_boundaries};

use super::{Vfs, VfsFile};

/// A shared simulated disk. Clones see the same one.
#[derive(Clone, Debug, Default)]
pub struct SimVfs {
    disk: Arc<Mutex<Disk>>,
}

/// Sizes in which a write tears.
const TEAR_BYTES: [usize; 2] = [512, 4096];

impl SimVfs {
    pub fn new(seed: u64) -> SimVfs {
        let vfs = SimVfs::default();
        vfs.disk().random = seed;
        vfs
    }

    /// Draws what happens at power cuts from another sequence.
    pub fn reseed(&self, seed: u64) {
        self.disk().random = seed;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts counting calls from 1, and plans faults by that count.
    pub fn arm(&self, plan: FaultPlan) {
        let mut disk = self.disk();
        disk.calls = 0;
        disk.struck = 0;
        disk.plan = plan;
    }

    /// Equal for two runs that made the same calls in the same order.
    pub fn trace(&self) -> u64 {
        self.disk().trace
    }

    /// Bytes that were read so far.
    pub fn read_bytes(&self) -> u64 {
        self.disk().read_bytes
    }

    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    pub fn struck(&self) -> u64 {
        self.disk().struck
    }

    /// Bytes that all files together may have.
    pub fn limit(&self, bytes: Option<u64>) {
        let mut disk = self.disk();
        (disk.capacity, disk.greedy) = (bytes, false);
    }

    /// Others fill the disk to its last byte; a `greedy` one also takes at once whatever becomes free.
    pub fn fill(&self, greedy: bool) {
        let mut disk = self.disk();
        (disk.capacity, disk.greedy) = (Some(disk.used()), greedy);
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.disk().used()
    }

    /// The process dies. Everything written stays readable; locks are free.
    pub fn kill(&self) {
        let mut disk = self.disk();
        disk.locks.clear();
        disk.off = false;
        disk.process += 1;
        disk.plan = FaultPlan::default();
    }

    /// The machine loses power and comes back: any subset of what was not synced is there, torn or whole.
    pub fn power_cut(&self) {
        self.cut_with(&mut |disk, bound| disk.below(bound));
    }

    /// As [`SimVfs::power_cut`], with the choice which unsynced write survives made by `choice`, bit by bit;
    /// nothing is torn and entries and sizes follow the same bits.
    pub fn power_cut_exact(&self, choice: u64) {
        let mut bit = 0;
        self.cut_with(&mut |_, bound| {
            if bound != 4 {
                return 0;
            }
            bit += 1;
            if choice >> ((bit - 1) % 64) & 1 == 1 { 0 } else { 1 }
        });
    }

    /// How many independent choices a power cut would make now.
    pub fn unsynced(&self) -> usize {
        let disk = self.disk();
        let writes: usize = disk.inodes.values().map(|f| f.writes.len() + usize::from(!f.size_synced)).sum();
        writes + disk.changes.len()
    }

    fn cut_with(&self, random: &mut dyn FnMut(&mut Disk, u64) -> u64) {
        let mut disk = self.disk();
        let disk = &mut *disk;
        let inodes: Vec<Inode> = disk.inodes.keys().copied().collect();
        for inode in inodes {
            let Some(mut file) = disk.inodes.remove(&inode) else { continue };
            let full = file.seen.len();
            // 4 outcomes of a write: whole, lost, torn, torn with rubbish in one piece.
            for (offset, data) in std::mem::take(&mut file.writes) {
                let fate = random(disk, 4);
                match fate {
                    0 => put(&mut file.platter, offset, &data),
                    1 => {}
                    torn => {
                        let piece = TEAR_BYTES[random(disk, 2) as usize % 2];
                        let pieces = split_at_boundaries(offset, &data, piece);
                        let rubbish = (torn == 3).then(|| random(disk, pieces.len() as u64) as usize);
                        for (at, (start, part)) in pieces.into_iter().enumerate() {
                            if rubbish == Some(at) {
                                // The device was writing this page when the power went: all of it is undefined.
                                let page = start - start % piece as u64;
                                let noise: Vec<u8> = (0..piece).map(|_| random(disk, 256) as u8).collect();
                                let end = (page as usize + piece).min(full);
                                let noise =
                                    noise.get(..end.saturating_sub(page as usize)).unwrap_or_default();
                                put(&mut file.platter, page, noise);
                            } else if random(disk, 2) == 0 {
                                put(&mut file.platter, start, part);
                            }
                        }
                    }
                }
            }
            if !file.size_synced {
                match random(disk, 4) {
                    0 => file.platter.resize(full, 0),
                    1 => {}
                    _ => {
                        let size = random(disk, full as u64 + 1) as usize;
                        file.platter.resize(size, 0);
                    }
                }
            }
            file.phantom.clear();
            file.size_synced = true;
            file.seen = file.platter.clone();
            disk.inodes.insert(inode, file);
        }
        for change in std::mem::take(&mut disk.changes) {
            if random(disk, 4) != 1 && random(disk, 2) == 0 {
                change.apply(&mut disk.names_synced);
            }
        }
        disk.names = disk.names_synced.clone();
        let linked: BTreeSet<Inode> = disk.names.values().copied().collect();
        disk.inodes.retain(|inode, _| linked.contains(inode));
        disk.locks.clear();
        disk.off = false;
        disk.process += 1;
        disk.plan = FaultPlan::default();
    }

    /// Everything as if it had been synced, for faults at rest.
    pub fn settle(&self) {
        let mut disk = self.disk();
        for file in disk.inodes.values_mut() {
            file.platter = file.seen.clone();
            file.writes.clear();
            file.phantom.clear();
            file.size_synced = true;
        }
        disk.changes.clear();
        disk.names_synced = disk.names.clone();
    }

    /// Changes the bytes of a file at rest, on the platter and as seen.
    pub fn corrupt(&self, name: &str, change: impl Fn(&mut Vec<u8>)) -> bool {
        let mut disk = self.disk();
        let Some(inode) = disk.names.get(name).copied() else { return false };
        let Some(file) = disk.inodes.get_mut(&inode) else { return false };
        let before = file.seen.clone();
        change(&mut file.platter);
        change(&mut file.seen);
        file.seen != before
    }

    /// From now on reads of these bytes of a file fail as those of a worn disk do.
    pub fn wear_out(&self, name: &str, bytes: std::ops::Range<u64>) -> bool {
        let mut disk = self.disk();
        let Some(inode) = disk.names.get(name).copied() else { return false };
        disk.inodes.get_mut(&inode).map(|file| file.bad.push(bytes)).is_some()
    }

    /// Removes a file at rest, as an operator's mistake would.
    pub fn remove(&self, name: &str) -> bool {
        let mut disk = self.disk();
        disk.names_synced.remove(name);
        disk.names.remove(name).is_some()
    }

    /// A copy of the disk with all that is not synced, to try several ends of one history.
    pub fn fork(&self) -> SimVfs {
        let copy = self.disk().clone();
        SimVfs { disk: Arc::new(Mutex::new(copy)) }
    }

    /// Names of all files, directories included.
    pub fn names(&self) -> Vec<String> {
        self.disk().names.keys().cloned().collect()
    }

    /// A copy of the disk as it is, with nothing unsynced.
    pub fn image(&self) -> SimVfs {
        let disk = self.disk();
        let mut inodes = disk.inodes.clone();
        for file in inodes.values_mut() {
            file.platter = file.seen.clone();
            file.writes.clear();
            file.phantom.clear();
            file.size_synced = true;
        }
        let copy = Disk {
            inodes,
            names: disk.names.clone(),
            names_synced: disk.names.clone(),
            next_inode: disk.next_inode,
            capacity: disk.capacity,
            greedy: disk.greedy,
            random: disk.random ^ 0x5bd1_e995,
            ..Disk::default()
        };
        SimVfs { disk: Arc::new(Mutex::new(copy)) }
    }

    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(name).and_then(|inode| disk.inodes.get(inode)).map(|file| file.seen.clone())
    }
}

/// A handle; it dies with the process that opened it.
#[derive(Clone, Debug)]
pub struct SimFile {
    vfs: SimVfs,
    inode: Inode,
    process: u64,
}

impl SimFile {
    fn with<T>(
        &self,
        counted: Option<(&str, [u64; 2])>,
        act: impl FnOnce(&mut FileState, Option<CallFault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut disk = self.vfs.disk();
        if disk.process != self.process {
            return Err(io::Error::other("the process that opened this file is gone"));
        }
        let fault = match counted {
            Some((what, numbers)) => disk.call(what, numbers)?,
            None => None,
        };
        let file = disk.inodes.get_mut(&self.inode).ok_or_else(|| io::Error::other("no such inode"))?;
        act(file, fault)
    }

    fn sync(&self) -> io::Result<()> {
        self.with(Some(("sync", [self.inode, 0])), |file, fault| match fault {
            Some(CallFault::SyncLosesPages) => {
                file.phantom.append(&mut file.writes);
                Err(io::Error::other("input/output error"))
            }
            Some(CallFault::SyncLies) => Ok(()),
            _ => {
                for (offset, data) in std::mem::take(&mut file.writes) {
                    put(&mut file.platter, offset, &data);
                }
                // Pages that an earlier flush dropped stay zero on the platter; the size is metadata that a
                // flush needs to read the data back, so it is written with it.
                let size = file.seen.len();
                file.platter.resize(size, 0);
                file.size_synced = true;
                Ok(())
            }
        })
    }
}

impl VfsFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.with(Some(("read", [self.inode, offset])), |file, fault| {
            let rest = file.seen.get(offset as usize..).unwrap_or_default();
            let mut n = rest.len().min(buffer.len());
            if file.is_bad(offset, n) {
                return Err(rustix::io::Errno::IO.into());
            }
            if fault == Some(CallFault::Short) && n > 1 {
                n /= 2;
            }
            buffer[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        })?;
        self.vfs.disk().read_bytes += read as u64;
        Ok(read)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.with(Some(("write", [offset, data.len() as u64])), |file, fault| {
            let n =
                if fault == Some(CallFault::Short) && data.len() > 1 { data.len() / 2 } else { data.len() };
            let data = &data[..n];
            put(&mut file.seen, offset, data);
            file.writes.push((offset, data.to_vec()));
            Ok(n)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn bytes(&self) -> io::Result<u64> {
        self.with(None, |file, _| Ok(file.seen.len() as u64))
    }

    /// What a failed flush left clean in the cache is forgotten, and shows what the platter has.
    fn drop_cache(&self) -> io::Result<()> {
        self.with(None, |file, _| {
            if !file.phantom.is_empty() && file.writes.is_empty() {
                let size = file.seen.len();
                file.seen = file.platter.clone();
                file.seen.resize(size, 0);
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
pub struct SimLock {
    vfs: SimVfs,
    name: String,
    process: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.vfs.disk();
        if disk.process == self.process {
            disk.locks.remove(&self.name);
        }
    }
}

impl Vfs for SimVfs {
    type File = SimFile;
    type Lock = SimLock;

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let mut disk = self.disk();
        disk.call(directory, [0, 0])?;
        let inside = disk.names.keys().filter(|name| directory_of(name) == directory);
        Ok(inside.map(|name| name.rsplit('/').next().unwrap_or(name).to_owned()).collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<SimFile> {
        let mut disk = self.disk();
        disk.call(name, [0, 0])?;
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if disk.capacity.is_some_and(|capacity| disk.used() + bytes > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.next_inode += 1;
        let inode = disk.next_inode;
        disk.inodes.insert(inode, FileState { seen: vec![0; bytes as usize], ..FileState::default() });
        let change = Change::Link { name: name.to_owned(), inode };
        change.apply(&mut disk.names);
        disk.changes.push(change);
        let process = disk.process;
        drop(disk);
        Ok(SimFile { vfs: self.clone(), inode, process })
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let mut disk = self.disk();
        disk.call(name, [0, 0])?;
        let inode = disk.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        let process = disk.process;
        drop(disk);
        Ok(SimFile { vfs: self.clone(), inode, process })
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call(name, [0, 0])?;
        if !disk.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = Change::Unlink { name: name.to_owned() };
        change.apply(&mut disk.names);
        disk.changes.push(change);
        disk.grab();
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call(from, [0, 0])?;
        if !disk.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = Change::Rename { from: from.to_owned(), to: to.to_owned() };
        change.apply(&mut disk.names);
        disk.changes.push(change);
        disk.grab();
        Ok(())
    }

    fn sync_dir(&self, directory: &str) -> io::Result<()> {
        let mut disk = self.disk();
        match disk.call(directory, [0, 0])? {
            Some(CallFault::SyncLosesPages) => return Err(io::Error::other("input/output error")),
            Some(CallFault::SyncLies) => return Ok(()),
            _ => {}
        }
        let changes = std::mem::take(&mut disk.changes);
        for change in changes {
            if change.directory().contains(&directory) {
                change.apply(&mut disk.names_synced);
            } else {
                disk.changes.push(change);
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut disk = self.disk();
        disk.call("free", [0, 0])?;
        Ok(disk.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.used())))
    }

    fn try_lock(&self, name: &str) -> io::Result<Option<SimLock>> {
        let mut disk = self.disk();
        disk.call(name, [0, 0])?;
        if !disk.locks.insert(name.to_owned()) {
            return Ok(None);
        }
        let process = disk.process;
        drop(disk);
        Ok(Some(SimLock { vfs: self.clone(), name: name.to_owned(), process }))
    }
}
