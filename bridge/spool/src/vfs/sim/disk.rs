//! What the simulated disk holds: platter, page cache, pending directory changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// What goes wrong at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFault {
    /// The power goes: this call and all later ones fail until [`SimVfs::power_cut`].
    Power,
    Error(io::ErrorKind),
    /// A read or write does only a part.
    Short,
    /// A sync fails, and the pages it should have written stay readable, count as clean, and are on no disk.
    SyncLosesPages,
    /// A sync says it is done and is not.
    SyncLies,
}

/// Faults by number of call, counted from the last [`SimVfs::arm`].
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    pub at: BTreeMap<u64, CallFault>,
}

impl FaultPlan {
    pub fn once(call: u64, fault: CallFault) -> FaultPlan {
        FaultPlan { at: BTreeMap::from([(call, fault)]) }
    }
}

pub(super) type Inode = u64;

#[derive(Clone, Debug, Default)]
pub(super) struct FileState {
    pub(super) platter: Vec<u8>,
    pub(super) seen: Vec<u8>,
    /// Not synced; in order of writing.
    pub(super) writes: Vec<(u64, Vec<u8>)>,
    /// Clean for the kernel and on no disk: a failed flush dropped them.
    pub(super) phantom: Vec<(u64, Vec<u8>)>,
    pub(super) size_synced: bool,
    /// Bytes that the platter cannot give any more.
    pub(super) bad: Vec<std::ops::Range<u64>>,
}

impl FileState {
    pub(super) fn is_bad(&self, offset: u64, bytes: usize) -> bool {
        self.bad.iter().any(|bad| bad.start < offset + bytes as u64 && offset < bad.end)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Change {
    Link { name: String, inode: Inode },
    Unlink { name: String },
    Rename { from: String, to: String },
}

impl Change {
    pub(super) fn directory(&self) -> [&str; 2] {
        match self {
            Change::Link { name, .. } | Change::Unlink { name } => [directory_of(name); 2],
            Change::Rename { from, to } => [directory_of(from), directory_of(to)],
        }
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<String, Inode>) {
        match self {
            Change::Link { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Change::Unlink { name } => {
                names.remove(name);
            }
            Change::Rename { from, to } => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

pub(super) fn directory_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    pub(super) read_bytes: u64,
    pub(super) inodes: BTreeMap<Inode, FileState>,
    pub(super) names: BTreeMap<String, Inode>,
    pub(super) names_synced: BTreeMap<String, Inode>,
    pub(super) changes: Vec<Change>,
    pub(super) locks: BTreeSet<String>,
    pub(super) next_inode: Inode,
    pub(super) capacity: Option<u64>,
    /// Somebody else takes whatever room there is, at once.
    pub(super) greedy: bool,
    pub(super) calls: u64,
    pub(super) plan: FaultPlan,
    /// Faults that struck since the last `arm`.
    pub(super) struck: u64,
    pub(super) off: bool,
    /// Handles of an earlier process are dead.
    pub(super) process: u64,
    pub(super) random: u64,
    /// Hash of all calls so far.
    pub(super) trace: u64,
}

impl Disk {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    /// Counts a call and gives the fault planned for it.
    pub(super) fn call(&mut self, what: &str, numbers: [u64; 2]) -> io::Result<Option<CallFault>> {
        for word in what.bytes().map(u64::from).chain(numbers) {
            self.trace = (self.trace ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
        }
        if self.off {
            return Err(io::Error::other("the power is off"));
        }
        self.calls += 1;
        let fault = self.plan.at.get(&self.calls).copied();
        if fault.is_some() {
            self.struck += 1;
        }
        match fault {
            Some(CallFault::Power) => {
                self.off = true;
                Err(io::Error::other("the power went off"))
            }
            Some(CallFault::Error(kind)) => Err(kind.into()),
            other => Ok(other),
        }
    }

    /// After a name was taken away: what it frees is gone before anybody can ask for it.
    pub(super) fn grab(&mut self) {
        if self.greedy {
            self.capacity = Some(self.used());
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|inode| self.inodes.get(inode))
            .map(|file| file.seen.len() as u64)
            .sum()
    }
}

pub(super) fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = offset as usize;
    let end = start + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

/// Parts of a write that lie in different pieces of the device.
pub(super) fn split_at_boundaries(offset: u64, data: &[u8], piece: usize) -> Vec<(u64, &[u8])> {
    let mut parts = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let position = offset + start as u64;
        let room = piece - (position % piece as u64) as usize;
        let end = (start + room).min(data.len());
        parts.push((position, &data[start..end]));
        start = end;
    }
    parts
}
