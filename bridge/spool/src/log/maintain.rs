//! Giving space back: bodies leave segments that are nearly dead or damaged, segments are retired, then unlinked.

use std::io;

use super::{Class, Log};
use crate::bugs::{Bug, bug};
use crate::entry::{Entry, owner_prefix};
use crate::error::{AppendError, ReadError};
use crate::fail_point;
use crate::format::{Lsn, PAGE_BYTES, RecordParts, batch_bytes_bound};
use crate::segment::{self, QUARANTINE, Spare, SpareJob};
use crate::vfs::Vfs;

/// A closed segment with less than this share of live bytes is emptied (S10).
const MOVE_BELOW_PERCENT: u64 = 25;

/// Bytes of bodies that are moved in one batch.
const MOVE_BATCH_BYTES: u64 = 256 << 10;

/// A segment on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    segment: u64,
    /// Its retire record.
    record: Lsn,
    /// Kept for people instead of unlinked.
    rotten: bool,
}

/// What one round of maintenance did.
#[derive(Debug, Default)]
pub struct Maintained {
    /// Bodies whose bytes could not be read when they were to be moved; they are released.
    pub lost: Vec<u64>,
    pub moved: u64,
    pub retired: u64,
    pub unlinked: u64,
}

impl<V: Vfs + Clone> Log<V> {
    /// One round: moves up to `bytes_max` of bodies, writes retire records, makes a spare, and unlinks what an
    /// earlier round retired. Whatever it appends is durable with the owner's next [`Log::sync`].
    pub fn maintain(&mut self, bytes_max: u64) -> Result<Maintained, AppendError> {
        let mut done = Maintained::default();
        if self.poisoned {
            return Err(AppendError::Poisoned);
        }
        self.write_waiting_begin()?;
        self.unlink_retired(&mut done);
        self.move_bodies(bytes_max, &mut done)?;
        self.retire(&mut done)?;
        if self.wants_spare() {
            self.make_spare();
        } else {
            self.look_at_disk();
        }
        Ok(done)
    }

    /// The making of the next spare, for another thread; give the outcome to [`Log::add_spare`].
    pub fn order_spare(&mut self) -> Option<SpareJob<V>> {
        if !self.wants_spare() {
            return None;
        }
        self.spare_ordered = true;
        Some(self.spare_job())
    }

    pub fn add_spare(&mut self, made: io::Result<Spare<V::File>>) {
        self.spare_ordered = false;
        match made {
            Ok(spare) => {
                self.spares.push_back(spare);
                self.spare_refused = false;
            }
            Err(_) => {
                self.newest_segment -= 1;
                self.spare_refused = true;
            }
        }
        self.look_at_disk();
    }

    /// One spare, and a second before the first is needed, so that a segment in use always has a newer one that
    /// vouches for its existence.
    fn wants_spare(&self) -> bool {
        let wanted = if self.active.offset > self.active.bytes / 2 { 2 } else { 1 };
        !self.spare_ordered && self.spares.len() < wanted
    }

    /// Closes admission as soon as the reserve of free bytes is touched (S13). Half a segment above it opens again, so that
    /// a bridge at the mark does not change its mind with every batch.
    pub(super) fn look_at_disk(&mut self) {
        let segment = self.options.segment_bytes;
        let wanted = segment * super::RESERVE_SEGMENTS + if self.disk_low { segment / 2 } else { 0 };
        if let Ok(free) = self.vfs.free_bytes() {
            self.disk_low = free < wanted;
        }
    }

    /// Retired and durable: the file goes. A crash in between leaves it for the next start.
    pub(super) fn unlink_retired(&mut self, done: &mut Maintained) {
        let durable = self.durable;
        let (ready, waiting) = self
            .leaving
            .drain(..)
            .partition(|leaving| leaving.record <= durable || bug(Bug::UnlinkBeforeRetire));
        self.leaving = waiting;
        let ready: Vec<Leaving> = ready;
        for leaving in &ready {
            self.reader.forget_file(leaving.segment);
            self.scrubber.forget(leaving.segment);
            let name = segment::name(leaving.segment);
            fail_point!("spool.before-unlink");
            let gone = if leaving.rotten {
                self.vfs.rename(&name, &format!("{QUARANTINE}/{name}"))
            } else {
                self.vfs.unlink(&name)
            };
            // A file that will not go is tried again at the next start: it is known to be retired.
            done.unlinked += u64::from(gone.is_ok());
        }
        if !ready.is_empty() && !bug(Bug::NoDirectorySync) {
            fail_point!("spool.after-unlink");
            let _ = self.vfs.sync_dir("");
        }
    }

    fn move_bodies(&mut self, bytes_max: u64, done: &mut Maintained) -> Result<(), AppendError> {
        let mut left = bytes_max;
        while left > 0 {
            let Some(segment) = self.nearly_dead() else { return Ok(()) };
            let bodies = self.reader.index().bodies_of(segment);
            let mut batch = Vec::new();
            let mut bytes = 0;
            // Those that were read make up a batch; the segment's others follow in the next turn.
            for (id, at) in bodies {
                if bytes > 0 && bytes + u64::from(at.len) > left.min(self.move_bytes_max()) {
                    break;
                }
                // What is given up is gone for good, so it is asked for twice.
                let read = match self.reader.read(id) {
                    Err(ReadError::Damaged(_)) => self.reader.read(id),
                    read => read,
                };
                match read {
                    Ok(body) => {
                        bytes += u64::from(at.len);
                        batch.push((id, body));
                    }
                    Err(ReadError::Io { source, .. }) => return Err(self.poison(source)),
                    Err(ReadError::Damaged(_)) => {
                        self.mark_rotten(segment);
                        self.reader.index().release(id);
                        done.lost.push(id);
                    }
                    Err(ReadError::Unknown(_)) => {}
                }
            }
            done.moved += batch.len() as u64;
            left = left.saturating_sub(bytes.max(1));
            if !batch.is_empty() {
                self.append_moved(&batch)?;
            }
        }
        Ok(())
    }

    /// The oldest closed segment whose live bodies should go elsewhere.
    fn nearly_dead(&self) -> Option<u64> {
        let index = self.reader.index();
        let mut closed = index.segments.range(..self.active.segment).filter(|(_, info)| info.live > 0);
        let found = closed
            .find(|(_, info)| info.rotten || info.live_bytes * 100 < self.active.bytes * MOVE_BELOW_PERCENT);
        found.map(|(id, _)| *id)
    }

    /// Of one batch of moved bodies; a single larger body is its own batch.
    fn move_bytes_max(&self) -> u64 {
        MOVE_BATCH_BYTES.min(self.active.bytes / 4)
    }

    fn append_moved(&mut self, bodies: &[(u64, Vec<u8>)]) -> Result<(), AppendError> {
        let prefixes: Vec<_> = bodies.iter().map(|(id, _)| owner_prefix(Some(*id), true).0).collect();
        let both = bodies.iter().zip(&prefixes);
        let records: Vec<_> =
            both.map(|((_, bytes), prefix)| RecordParts([prefix, bytes.as_slice(), &[]])).collect();
        let need = batch_bytes_bound(records.iter().map(RecordParts::len).chain([64]));
        self.make_room(need, Class::Essential)?;
        fail_point!("spool.before-moving");
        let written = self.write_batch(&records)?;
        fail_point!("spool.after-moving");
        self.content = self.next - 1;
        let mut index = self.reader.index();
        for (at, ((id, _), record)) in bodies.iter().zip(&records).enumerate() {
            index.place(*id, written.location(at, record.len() as u32));
        }
        Ok(())
    }

    /// Retires what is dead and no longer replayed (S9).
    fn retire(&mut self, done: &mut Maintained) -> Result<(), AppendError> {
        let before = self.checkpoints.needed_from(self.is_tight());
        let active = self.active.segment;
        let dead: Vec<(u64, bool)> = {
            let index = self.reader.index();
            let old = index.segments.range(..before.min(active));
            old.filter(|(_, info)| info.live == 0).map(|(id, info)| (*id, info.rotten)).collect()
        };
        if dead.is_empty() {
            return Ok(());
        }
        let entry = Entry::Retire { segments: dead.iter().map(|(id, _)| *id).collect() }.encode();
        self.make_room(batch_bytes_bound([entry.len(), 64].into_iter()).max(PAGE_BYTES), Class::Essential)?;
        self.write_batch(&[RecordParts([&entry, &[], &[]])])?;
        self.content = self.next - 1;
        let record = self.content;
        fail_point!("spool.after-retiring");
        for (segment, rotten) in dead {
            self.reader.index().segments.remove(&segment);
            self.leaving.push(Leaving { segment, record, rotten });
            done.retired += 1;
        }
        if bug(Bug::UnlinkBeforeRetire) {
            self.unlink_retired(done);
        }
        Ok(())
    }

    /// Whether a damaged segment has nothing left to rescue and stays for the want of checkpoints behind it only.
    pub fn rot_awaits_checkpoint(&self) -> bool {
        let from = self.checkpoints.needed_from(self.is_tight());
        let active = self.active.segment;
        let index = self.reader.index();
        index.segments.range(from.min(active)..active).any(|(_, info)| info.rotten && info.live == 0)
    }

    pub(crate) fn mark_rotten(&mut self, segment: u64) {
        if let Some(info) = self.reader.index().segments.get_mut(&segment) {
            info.rotten = true;
        }
    }
}
