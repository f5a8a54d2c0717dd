//! Reading closed segments again, past the cache, so that rot is found while another end still has a copy (RELIABILITY
//! S11).
//!
//! The log has one thread, which commits as well. A scrub therefore reads a piece at a time and remembers where it was:
//! what a commit may have to wait for is one piece, however large a segment is.

use std::io;

use super::Log;
use crate::error::AppendError;
use crate::format::{Codec, DATA_START, PAGE_BYTES};
use crate::segment;
use crate::vfs::{Vfs, VfsFile, is_unreadable, read_full};

/// What one step of the scrubber came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// A piece was read; the segment goes on.
    Piece,
    /// A segment was read to its end, or to the first damage in it.
    Segment { segment: u64, damaged: bool },
    /// No closed segment is left; the next step begins with the oldest again.
    Round,
}

/// Where the scrubber is.
#[derive(Debug)]
pub(super) struct Scrubber<F> {
    /// The segment that was finished last.
    after: u64,
    reading: Option<Reading<F>>,
}

/// A closed segment that is being read.
#[derive(Debug)]
struct Reading<F> {
    segment: u64,
    codec: Codec,
    file: F,
    /// Where its valid batches must end.
    end: u64,
    /// What was read and not judged yet: the start of a batch, up to `position`. Never more than the largest batch of
    /// the segment and one piece.
    bytes: Vec<u8>,
    position: u64,
}

impl<F> Default for Scrubber<F> {
    fn default() -> Scrubber<F> {
        Scrubber { after: 0, reading: None }
    }
}

impl<F> Scrubber<F> {
    /// The file is about to go: an open handle would keep its space from the disk.
    pub(super) fn forget(&mut self, segment: u64) {
        if self.reading.as_ref().is_some_and(|reading| reading.segment == segment) {
            self.reading = None;
        }
    }
}

impl<V: Vfs + Clone> Log<V> {
    /// Reads on by at most `bytes_max` (at least the 8 KiB of a segment's headers), and marks a segment in which
    /// something is damaged, or that the disk cannot read; maintenance then rescues what is good.
    pub fn scrub(&mut self, bytes_max: u64) -> Result<Scrubbed, AppendError> {
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        let Some(mut reading) = self.scrubber.reading.take() else { return self.scrub_next() };
        match reading.step(bytes_max) {
            Ok(None) => {
                self.scrubber.reading = Some(reading);
                Ok(Scrubbed::Piece)
            }
            Ok(Some(damaged)) => Ok(self.scrubbed(reading.segment, damaged)),
            Err(problem) if is_unreadable(&problem) => Ok(self.scrubbed(reading.segment, true)),
            Err(problem) => Err(self.poison(problem)),
        }
    }

    /// Begins with the next closed segment: its header. One that is known to be damaged is passed over: it is emptied anyway.
    fn scrub_next(&mut self) -> Result<Scrubbed, AppendError> {
        let found = {
            let index = self.reader.index();
            let later =
                index.segments.range((self.scrubber.after + 1).min(self.active.segment)..self.active.segment);
            let next = later.into_iter().find(|(_, info)| !info.rotten);
            next.map(|(segment, info)| (*segment, info.codec.clone(), info.end))
        };
        let Some((segment, codec, end)) = found else {
            self.scrubber.after = 0;
            return Ok(Scrubbed::Round);
        };
        match Reading::begin(&self.vfs, segment, codec, end) {
            Ok(Some(reading)) => {
                self.scrubber.reading = Some(reading);
                Ok(Scrubbed::Piece)
            }
            Ok(None) => Ok(self.scrubbed(segment, true)),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound || is_unreadable(&problem) => {
                Ok(self.scrubbed(segment, true))
            }
            Err(problem) => Err(self.poison(problem)),
        }
    }

    fn scrubbed(&mut self, segment: u64, damaged: bool) -> Scrubbed {
        self.scrubber.after = segment;
        if damaged {
            self.mark_rotten(segment);
        }
        Scrubbed::Segment { segment, damaged }
    }
}

impl<F: VfsFile> Reading<F> {
    /// `None` when its header cannot be read, or the file became shorter than it says.
    fn begin<V: Vfs<File = F>>(
        vfs: &V,
        segment: u64,
        codec: Codec,
        end: u64,
    ) -> io::Result<Option<Reading<F>>> {
        let file = vfs.open(&segment::name(segment))?;
        file.drop_cache()?;
        let Ok(header) = segment::read_header(&file)? else { return Ok(None) };
        if file.bytes()? < header.segment_bytes {
            return Ok(None);
        }
        let (bytes, position) = (Vec::new(), DATA_START);
        Ok(Some(Reading { segment, codec, file, end, bytes, position }))
    }

    /// Reads on. Whether the segment is damaged, when that is known.
    fn step(&mut self, bytes_max: u64) -> io::Result<Option<bool>> {
        let wanted = bytes_max.max(PAGE_BYTES).min(self.end.saturating_sub(self.position));
        let old = self.bytes.len();
        self.bytes.resize(old + usize::try_from(wanted).map_err(|_| io::ErrorKind::FileTooLarge)?, 0);
        let read = read_full(&self.file, self.bytes.get_mut(old..).unwrap_or_default(), self.position)?;
        if (read as u64) < wanted {
            return Ok(Some(true));
        }
        self.position += wanted;
        let damaged = match self.judge() {
            None => true,
            Some(_) if self.position < self.end => return Ok(None),
            Some(rest) => rest > 0,
        };
        Ok(Some(damaged))
    }

    /// Takes the whole batches off the front and gives how many bytes are left; `None` when there is no batch where
    /// one must be.
    fn judge(&mut self) -> Option<usize> {
        let mut done = 0;
        let first = self.position - self.bytes.len() as u64;
        while let Some(rest) = self.bytes.get(done..).filter(|rest| rest.len() as u64 >= PAGE_BYTES) {
            let at = first + done as u64;
            let padded = self.codec.head(at, rest)?.padded();
            if at + padded > self.end {
                return None;
            }
            if (rest.len() as u64) < padded {
                break;
            }
            self.codec.batch(at, rest)?;
            done += padded as usize;
        }
        self.bytes.drain(..done);
        Some(self.bytes.len())
    }
}
