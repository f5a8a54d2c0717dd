//! A checkpoint rides along with ordinary batches, a piece at a time, so that no commit waits for it.
//!
//! It holds the owner's state and the log's own tables as they were when it began; recovery starts at its first
//! record and applies everything from there on. Segments are retired only behind the beginning of the last but
//! one, so that rot in a checkpoint costs nothing (RELIABILITY S9, S11).

use std::collections::VecDeque;

use super::{Class, Log};
use crate::entry::Entry;
use crate::error::AppendError;
use crate::fail_point;
use crate::format::Lsn;
use crate::vfs::Vfs;

/// Bodies listed in one record.
const BODIES_PER_RECORD: usize = 1_024;

#[derive(Debug)]
enum Rider {
    Begin(Vec<u8>),
    Piece(Vec<u8>),
    /// Of the owner's state, as it gave it.
    Part(Vec<u8>),
    End,
}

#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    queue: VecDeque<Rider>,
    /// Number and segment of the first record of the one under way.
    begun: Option<(Lsn, u64)>,
    ended: Option<Lsn>,
    /// First segments of the last two that are durable, the newer one last.
    complete: [Option<u64>; 2],
    /// The riders handed out last: what they are, to put them back.
    out: Vec<Rider>,
}

impl Checkpoints {
    pub(super) fn new(complete: [Option<u64>; 2]) -> Checkpoints {
        Checkpoints { complete, ..Checkpoints::default() }
    }

    /// Pieces to go with the next batch, whose first record will be `next` or the one after it.
    pub(super) fn next_riders(&mut self, bytes_max: usize, _next: Lsn) -> Vec<Vec<u8>> {
        let mut riders = Vec::new();
        let mut bytes = 0;
        self.out.clear();
        while bytes < bytes_max || riders.is_empty() {
            // The end names the beginning, which must have been written by then.
            if matches!(self.queue.front(), Some(Rider::End)) && self.begun.is_none() {
                break;
            }
            let Some(rider) = self.queue.pop_front() else { break };
            let encoded = match &rider {
                Rider::Begin(entry) | Rider::Piece(entry) => entry.clone(),
                Rider::Part(part) => Entry::CheckpointPart(part).encode(),
                Rider::End => Entry::CheckpointEnd { begin: self.begun.map_or(0, |(lsn, _)| lsn) }.encode(),
            };
            bytes += encoded.len();
            riders.push(encoded);
            self.out.push(rider);
        }
        riders
    }

    pub(super) fn put_back(&mut self, _riders: Vec<Vec<u8>>) {
        while let Some(rider) = self.out.pop() {
            self.queue.push_front(rider);
        }
    }

    pub(super) fn on_written(&mut self, first: Lsn, riders: &[Vec<u8>], segment: u64) {
        debug_assert_eq!(riders.len(), self.out.len());
        for (at, rider) in self.out.drain(..).enumerate() {
            let lsn = first + at as u64;
            match rider {
                Rider::Begin(_) => {
                    fail_point!("spool.checkpoint-begun");
                    self.begun = Some((lsn, segment));
                }
                Rider::Piece(_) | Rider::Part(_) => {}
                Rider::End => {
                    fail_point!("spool.checkpoint-ended");
                    self.ended = Some(lsn);
                }
            }
        }
    }

    pub(super) fn on_durable(&mut self, durable: Lsn) {
        if self.ended.is_some_and(|end| end <= durable)
            && let Some((_, segment)) = self.begun.take()
        {
            fail_point!("spool.checkpoint-durable");
            self.ended = None;
            self.complete = [self.complete[1], Some(segment)];
        }
    }

    /// The tables were taken, and their beginning is not in the log yet.
    fn begin_waits(&self) -> bool {
        matches!(self.queue.front(), Some(Rider::Begin(_)))
    }

    pub(super) fn under_way(&self) -> bool {
        self.begun.is_some() || !self.queue.is_empty()
    }

    /// Segments below this one hold nothing that recovery replays; when space is `tight`, one checkpoint must do.
    pub(super) fn needed_from(&self, tight: bool) -> u64 {
        let [earlier, newest] = self.complete;
        (if tight { newest } else { earlier }).unwrap_or(0)
    }
}

impl<V: Vfs + Clone> Log<V> {
    /// Begins a checkpoint of the owner's state, `parts`, as of everything appended so far. One that is still
    /// under way goes on instead, and `false` is returned.
    pub fn begin_checkpoint(&mut self, parts: Vec<Vec<u8>>) -> bool {
        if self.checkpoints.under_way() {
            return false;
        }
        let index = self.reader.index();
        let begin = Entry::CheckpointBegin { rows: index.rows(), epoch_floor: self.epoch_floor };
        let queue = &mut self.checkpoints.queue;
        queue.push_back(Rider::Begin(begin.encode()));
        let mut bodies = index.bodies.iter().peekable();
        while bodies.peek().is_some() {
            let bodies = bodies.by_ref().take(BODIES_PER_RECORD).collect();
            let mut piece = Entry::CheckpointBodies { bodies }.encode();
            piece.shrink_to_fit();
            queue.push_back(Rider::Piece(piece));
        }
        drop(bodies);
        drop(index);
        queue.extend(parts.into_iter().map(Rider::Part));
        queue.push_back(Rider::End);
        self.bytes_since_checkpoint = 0;
        true
    }

    /// To be called before the log writes anything of its own that changes the tables a waiting checkpoint took:
    /// what is in the log before the beginning must be in the tables.
    pub(super) fn write_waiting_begin(&mut self) -> Result<(), AppendError> {
        if self.checkpoints.begin_waits() {
            self.append(Class::Essential, &[])?;
        }
        Ok(())
    }

    /// Pieces of a checkpoint wait for a batch; an empty one carries them.
    pub fn checkpoint_under_way(&self) -> bool {
        self.checkpoints.under_way()
    }

    /// Bytes written since the last checkpoint began.
    pub fn bytes_since_checkpoint(&self) -> u64 {
        self.bytes_since_checkpoint
    }
}
