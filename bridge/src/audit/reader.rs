//! Reads one segment, record by record, and says precisely where it stops making sense.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::format::{
    BODY_BYTES_MAX, Checkpoint, HASH_BYTES, HEADER_BYTES, Header, PREFIX_BYTES, guard, segment_name,
};

/// So many zeros at the end of a file are no change of a few bytes. Fewer, where the last hash should end, are taken
/// for one: damage that is reported without need does less harm than a change that is not.
const GROWN_ZEROS_MIN: u64 = 4;

/// What begins a segment.
#[derive(Debug)]
pub(super) enum Beginning {
    Header(Header),
    /// The file is shorter than a header, or all zeros: its making was interrupted.
    Unfinished,
    /// It was a header, or never one.
    Broken,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A record; its body is [`SegmentReader::body`] until the next call.
    Record {
        offset: u64,
    },
    End,
    /// The rest is the beginning of a record, or zeros, as a write leaves it that was cut short.
    Torn {
        offset: u64,
    },
    /// The rest is neither.
    Broken {
        offset: u64,
        what: &'static str,
    },
}

/// A reader of one segment. What is appended after it was opened is not looked at.
#[derive(Debug)]
pub(super) struct SegmentReader {
    file: BufReader<File>,
    offset: u64,
    pub(super) bytes: u64,
    place: Checkpoint,
    body: Vec<u8>,
}

impl SegmentReader {
    pub(super) fn open(directory: &Path, segment: u64) -> io::Result<(Beginning, SegmentReader)> {
        let file = File::open(directory.join(segment_name(segment)))?;
        let bytes = file.metadata()?.len();
        let place = Checkpoint { seq: 0, hash: [0; HASH_BYTES] };
        let mut reader = SegmentReader {
            file: BufReader::with_capacity(64 << 10, file),
            offset: 0,
            bytes,
            place,
            body: Vec::new(),
        };
        if bytes < HEADER_BYTES as u64 {
            return Ok((Beginning::Unfinished, reader));
        }
        let mut header = [0; HEADER_BYTES];
        reader.file.read_exact(&mut header)?;
        reader.offset = HEADER_BYTES as u64;
        let beginning = match Header::decode(&header) {
            Some(header) if header.segment == segment => {
                reader.place = header.before;
                Beginning::Header(header)
            }
            Some(_) => Beginning::Broken,
            None if header.iter().all(|byte| *byte == 0) && reader.is_zero_from(0)? => Beginning::Unfinished,
            None => Beginning::Broken,
        };
        Ok((beginning, reader))
    }

    /// The place after the last record that was read.
    pub(super) fn place(&self) -> Checkpoint {
        self.place
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn next(&mut self) -> io::Result<Step> {
        let offset = self.offset;
        let rest = self.bytes.saturating_sub(offset);
        if rest == 0 {
            return Ok(Step::End);
        }
        let mut prefix = [0; PREFIX_BYTES];
        if rest < PREFIX_BYTES as u64 {
            return Ok(Step::Torn { offset });
        }
        self.file.read_exact(&mut prefix)?;
        let [a, b, c, d, guarded @ ..] = prefix;
        let length = u32::from_be_bytes([a, b, c, d]);
        if guarded != guard(&self.place.hash, length) {
            return Ok(
                match self.is_zero_from(offset.saturating_add(PREFIX_BYTES as u64).saturating_sub(1))? {
                    true => Step::Torn { offset },
                    false => Step::Broken {
                        offset,
                        what: "a record does not continue the chain: its length or its place was changed",
                    },
                },
            );
        }
        let body_bytes = length as usize;
        if body_bytes > BODY_BYTES_MAX {
            return Ok(Step::Broken { offset, what: "a record is longer than any that is written" });
        }
        let left = rest.saturating_sub(PREFIX_BYTES as u64);
        if left < u64::from(length).saturating_add(HASH_BYTES as u64) {
            return Ok(Step::Torn { offset });
        }
        self.body.resize(body_bytes, 0);
        self.file.read_exact(&mut self.body)?;
        let mut hash = [0; HASH_BYTES];
        self.file.read_exact(&mut hash)?;
        let after = self.place.after(&self.body);
        let end = offset
            .saturating_add(PREFIX_BYTES as u64)
            .saturating_add(u64::from(length))
            .saturating_add(HASH_BYTES as u64);
        if after.hash != hash {
            // Where a file grew before its content arrived, the end of it reads as zeros.
            let arrived = hash.iter().zip(&after.hash).take_while(|(found, meant)| found == meant).count();
            let zeros_at = end.saturating_sub(HASH_BYTES as u64).saturating_add(arrived as u64);
            let is_grown = self.bytes.saturating_sub(zeros_at) >= GROWN_ZEROS_MIN;
            return Ok(match is_grown && self.is_zero_from(zeros_at)? {
                true => Step::Torn { offset },
                false => Step::Broken { offset, what: "a record is not what its hash says: it was changed" },
            });
        }
        self.offset = end;
        self.place = after;
        Ok(Step::Record { offset })
    }

    /// Whether the file is all zeros from here to its end, as it was when it was opened. Reading cannot go on after it.
    fn is_zero_from(&mut self, offset: u64) -> io::Result<bool> {
        use std::os::unix::fs::FileExt;
        let mut piece = [0; 4_096];
        let mut offset = offset;
        while offset < self.bytes {
            match self.file.get_ref().read_at(&mut piece, offset)? {
                0 => break,
                read if piece.iter().take(read).any(|byte| *byte != 0) => return Ok(false),
                read => offset = offset.saturating_add(read as u64),
            }
        }
        Ok(true)
    }
}
