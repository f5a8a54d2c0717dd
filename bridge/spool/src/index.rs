//! Where each live body lies and what each segment still holds; shared by the log and its readers.

mod bodies;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::entry::{BODY_PREFIX, Entry, Location, SegmentRow};
use crate::error::ReadError;
use crate::format::{Codec, batch_bytes_bound};
use crate::segment;
use crate::vfs::{Vfs, read_around};
use bodies::Bodies;

/// Files of closed segments that are kept open for readers.
const OPEN_FILES_MAX: usize = 16;

#[derive(Debug)]
pub(crate) struct SegmentInfo {
    pub(crate) codec: Codec,
    /// Where its valid batches end; for the active segment, so far.
    pub(crate) end: u64,
    pub(crate) rotten: bool,
    pub(crate) live: u64,
    pub(crate) live_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) bodies: Bodies,
    pub(crate) segments: BTreeMap<u64, SegmentInfo>,
}

impl Index {
    pub(crate) fn place(&mut self, id: u64, at: Location) {
        if let Some(old) = self.bodies.insert(id, at) {
            self.count(old, -1);
        }
        self.count(at, 1);
    }

    pub(crate) fn release(&mut self, id: u64) {
        if let Some(old) = self.bodies.remove(id) {
            self.count(old, -1);
        }
    }

    pub(crate) fn retain(&mut self, keep: &mut dyn FnMut(u64) -> bool) {
        let gone: Vec<u64> = self.bodies.iter().map(|(id, _)| id).filter(|id| !keep(*id)).collect();
        gone.into_iter().for_each(|id| self.release(id));
    }

    fn count(&mut self, at: Location, sign: i64) {
        if let Some(segment) = self.segments.get_mut(&at.segment) {
            segment.live = segment.live.saturating_add_signed(sign);
            segment.live_bytes = segment.live_bytes.saturating_add_signed(sign * i64::from(at.len));
        }
    }

    pub(crate) fn rows(&self) -> Vec<SegmentRow> {
        let row = |(segment, info): (&u64, &SegmentInfo)| SegmentRow {
            segment: *segment,
            end: info.end,
            rotten: info.rotten,
        };
        self.segments.iter().map(row).collect()
    }

    /// Live bodies of a segment in the order they lie in.
    pub(crate) fn bodies_of(&self, segment: u64) -> Vec<(u64, Location)> {
        let mut inside: Vec<(u64, Location)> =
            self.bodies.iter().filter(|(_, at)| at.segment == segment).collect();
        inside.sort_unstable_by_key(|(_, at)| at.offset);
        inside
    }
}

/// Segments opened for reading, the one used last at the end.
type OpenFiles<F> = Vec<(u64, Arc<F>)>;

/// Reads bodies, from any thread, also while the log moves them.
#[derive(Debug)]
pub struct BodyReader<V: Vfs> {
    pub(crate) vfs: V,
    pub(crate) index: Arc<Mutex<Index>>,
    files: Arc<Mutex<OpenFiles<V::File>>>,
}

impl<V: Vfs + Clone> Clone for BodyReader<V> {
    fn clone(&self) -> Self {
        BodyReader { vfs: self.vfs.clone(), index: Arc::clone(&self.index), files: Arc::clone(&self.files) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<V: Vfs> BodyReader<V> {
    pub(crate) fn new(vfs: V, index: Index) -> BodyReader<V> {
        BodyReader { vfs, index: Arc::new(Mutex::new(index)), files: Arc::default() }
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// The bytes of a body, as they were appended.
    pub fn read(&self, id: u64) -> Result<Vec<u8>, ReadError> {
        // A body may be moved, and its segment unlinked, between the look into the index and the read.
        for _ in 0..3 {
            let (at, codec) = {
                let index = self.index();
                let at = index.bodies.get(id).ok_or(ReadError::Unknown(id))?;
                let info = index.segments.get(&at.segment).ok_or(ReadError::Unknown(id))?;
                (at, info.codec.clone())
            };
            let file = match self.file(at.segment) {
                Ok(file) => file,
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(ReadError::Io { id, source }),
            };
            return read_body(&*file, &codec, at, id);
        }
        Err(ReadError::Unknown(id))
    }

    fn file(&self, number: u64) -> io::Result<Arc<V::File>> {
        let mut files = lock(&self.files);
        if let Some((_, file)) = files.iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.vfs.open(&segment::name(number))?);
        if files.len() >= OPEN_FILES_MAX {
            files.remove(0);
        }
        files.push((number, Arc::clone(&file)));
        Ok(file)
    }

    pub(crate) fn forget_file(&self, number: u64) {
        lock(&self.files).retain(|(known, _)| *known != number);
    }
}

fn read_body(
    file: &impl crate::vfs::VfsFile,
    codec: &Codec,
    at: Location,
    id: u64,
) -> Result<Vec<u8>, ReadError> {
    let reach = batch_bytes_bound(std::iter::once(at.len as usize));
    let mut bytes = vec![0; usize::try_from(reach).unwrap_or(usize::MAX)];
    let read = read_around(file, &mut bytes, at.offset).map_err(|source| ReadError::Io { id, source })?;
    bytes.truncate(read);
    let found = codec.salvage(at.offset, &bytes).next().filter(|found| found.offset == at.offset);
    let mut record = found.ok_or(ReadError::Damaged(id))?.bytes;
    match Entry::decode(&record) {
        Some(Entry::Body { id: inside, .. } | Entry::Moved { id: inside, .. }) if inside == id => {
            record.drain(..BODY_PREFIX);
            Ok(record)
        }
        _ => Err(ReadError::Damaged(id)),
    }
}
