//! The thread that writes: chains what waits, appends it in one write, flushes now and then, changes segments.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::format::{ChainId, Checkpoint, FRAME_BYTES, HEADER_BYTES, Header, segment_name};
use super::note::{Note, now_text};
use super::open::{OpenAuditError, Opened, open};
use super::queue::{Lost, Queue, State};
use super::record::Redact;
use super::segment::{Segment, is_full, sync_directory};
use super::{Options, reader};

/// A full disk is tried again after this long.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// One write at most, about.
const WRITE_BYTES: usize = 1 << 20;
/// Below it, headers would be most of what is written.
const SEGMENT_BYTES_MIN: u64 = 1 << 10;

pub(super) struct Writer {
    directory: PathBuf,
    options: Options,
    queue: Arc<Queue>,
    chain: ChainId,
    /// After the last record in `buffer`.
    place: Checkpoint,
    segment: Segment,
    /// All segments, the open one last.
    segments: Vec<u64>,
    /// Frames that are not written yet, and how many.
    buffer: Vec<u8>,
    buffered: u64,
    /// Decisions among them that share a record with others.
    gathered: u64,
    redact: Redact,
    /// Bodies that came from the queue.
    taken: u64,
    /// Since when something is written that is not durable.
    unsynced: Option<Instant>,
    /// Whether a full disk is waited for; at a start nobody could tell the log to stop.
    waits: bool,
    _lock: File,
}

impl Writer {
    /// Finds the end of the chain and notes the start in it, durably.
    pub(super) fn open(
        directory: &Path,
        options: Options,
        queue: Arc<Queue>,
        redact: Redact,
    ) -> Result<Writer, OpenAuditError> {
        let Opened { lock, chain, place, segment, segments, notes } = open(directory)?;
        let options = Options {
            segment_bytes: options.segment_bytes.max(SEGMENT_BYTES_MIN),
            segments_max: options.segments_max.max(2),
            ..options
        };
        let mut writer = Writer {
            directory: directory.to_owned(),
            options,
            queue,
            chain,
            place,
            segment,
            segments,
            buffer: Vec::new(),
            buffered: 0,
            gathered: 0,
            redact,
            taken: 0,
            unsynced: None,
            waits: false,
            _lock: lock,
        };
        for note in &notes {
            match note {
                Note::Damaged { segment, offset, .. } => {
                    error!(segment, offset, "The decision log is damaged; what there is stays as it is");
                }
                Note::Torn { bytes, .. } => {
                    info!(bytes, "The last write of the decision log was cut short; it is removed");
                }
                _ => {}
            }
        }
        let begin = |writer: &mut Writer| {
            for note in &notes {
                writer.append(&note.encode())?;
            }
            writer.flush()?;
            writer.sync()
        };
        begin(&mut writer)
            .map_err(|source| OpenAuditError::Unusable { path: directory.to_owned(), source })?;
        writer.waits = true;
        Ok(writer)
    }

    pub(super) fn run(mut self) {
        let guard = FailedOnceDropped(Arc::clone(&self.queue));
        let ended = loop {
            match self.round() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(problem) => break Err(problem),
            }
        };
        if let Err(problem) = ended {
            let path = self.segment.path().display();
            let records = self.buffered;
            error!(error = %problem, %path, records, "The decision log cannot be written any more");
        }
        drop(guard);
    }

    /// One batch; `false` after the last. An error is the end of the log.
    fn round(&mut self) -> io::Result<bool> {
        let batch = self.queue.take(self.unsynced.map(|since| since + self.options.sync_every));
        self.taken += batch.bodies.len() as u64;
        for body in batch.bodies {
            self.gathered += body.gathered();
            let body = body.encode(&self.redact);
            self.append(&body)?;
        }
        let Lost { permits, others } = batch.lost;
        if batch.lost != Lost::default() {
            if others > 0 {
                error!(permits, others, "Decisions are missing in the decision log: its queue was full");
            }
            self.append(&Note::Lost { time: now_text(), permits, others }.encode())?;
        }
        if batch.stops {
            self.append(&Note::Stopped { time: now_text() }.encode())?;
        }
        self.flush()?;
        let is_due = self.unsynced.is_some_and(|since| since.elapsed() >= self.options.sync_every);
        if is_due || batch.wants_sync || batch.stops {
            self.sync()?;
        }
        Ok(!batch.stops)
    }

    fn append(&mut self, body: &[u8]) -> io::Result<()> {
        let after = self.segment.bytes + (self.buffer.len() + FRAME_BYTES + body.len()) as u64;
        if after > self.options.segment_bytes
            && self.segment.bytes + self.buffer.len() as u64 > HEADER_BYTES as u64
        {
            self.rotate()?;
        }
        self.frame(body);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn frame(&mut self, body: &[u8]) {
        self.place = self.place.frame(body, &mut self.buffer);
        self.buffered += 1;
    }

    /// Writes what is buffered.
    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        while let Err(problem) = self.segment.append(&self.buffer) {
            self.wait_for_space(problem)?;
        }
        self.queue.set_running();
        self.queue.on_written(self.buffered, self.gathered, self.segments.len() as u64);
        self.gathered = 0;
        self.buffer.clear();
        self.buffered = 0;
        self.unsynced.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// After a flush that failed nothing is known of the file, so there is no second attempt.
    fn sync(&mut self) -> io::Result<()> {
        self.segment.sync()?;
        self.unsynced = None;
        self.queue.on_durable(self.taken, self.place);
        Ok(())
    }

    /// Closes the segment and begins the next. The oldest go, after a record that says so is durable.
    fn rotate(&mut self) -> io::Result<()> {
        self.flush()?;
        self.segment.sync()?;
        let number = self.segment.number + 1;
        let header = Header { chain: self.chain, segment: number, before: self.place };
        self.segment = loop {
            match Segment::create(&self.directory, &header) {
                Ok(segment) => break segment,
                Err(problem) => self.wait_for_space(problem)?,
            }
        };
        self.queue.set_running();
        self.segments.push(number);
        let keep = usize::try_from(self.options.segments_max).unwrap_or(usize::MAX);
        let Some(surplus) = self.segments.len().checked_sub(keep).filter(|surplus| *surplus > 0) else {
            return Ok(());
        };
        // A segment whose header is damaged cannot be a beginning; then the one behind it is.
        let beginning = |segment: &u64| match reader::SegmentReader::open(&self.directory, *segment) {
            Ok((reader::Beginning::Header(header), _)) => Some((*segment, header.before)),
            _ => None,
        };
        let Some((first, before)) = self.segments.iter().skip(surplus).find_map(beginning) else {
            return Ok(());
        };
        self.frame(&Note::pruned(now_text(), first, &before).encode());
        self.flush()?;
        self.segment.sync()?;
        let old: Vec<u64> = self.segments.iter().copied().take_while(|segment| *segment < first).collect();
        for segment in &old {
            fs::remove_file(self.directory.join(segment_name(*segment)))?;
        }
        sync_directory(&self.directory)?;
        self.segments.retain(|segment| *segment >= first);
        Ok(())
    }

    /// Returns when it is worth trying again.
    fn wait_for_space(&mut self, problem: io::Error) -> io::Result<()> {
        if !is_full(&problem) || !self.waits {
            return Err(problem);
        }
        if self.queue.state() != State::DiskFull {
            warn!(error = %problem, "The decision log waits for space on its disk");
            self.queue.set_state(State::DiskFull);
        }
        if self.queue.pause(RETRY_AFTER) { Err(problem) } else { Ok(()) }
    }
}

/// A log whose thread is gone, as asked, by an error or by a panic, takes nothing more.
struct FailedOnceDropped(Arc<Queue>);

impl Drop for FailedOnceDropped {
    fn drop(&mut self) {
        self.0.set_state(State::Failed);
    }
}
