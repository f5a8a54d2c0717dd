//! Bytes on disk.
//!
//! ```text
//! segment   ┌ header page ┬ header page (copy) ┬ batch ┬ batch ┬ … ┬ zeros ┐      all batches start on a page
//! batch     ┌ fragment: head ┬ fragment ┬ fragment ┬ … ┬ zeros to the page ┐
//! fragment  ┌ crc 4 ┬ len 2 ┬ kind 1 ┬ zero 1 ┬ payload ┐                         never crosses a 32 KiB block
//! head      first LSN 8, records 4, bytes 4, durable_upto 8, MAC 16
//! ```
//!
//! Integers are little-endian. A record is cut into fragments `full` or `first`, `middle`…, `last` (RELIABILITY
//! S3): whoever reads a damaged file finds his footing again at the next block, at offsets no payload can choose.
//! The CRC of a fragment is seeded from the segment's random salt and covers its place; the MAC of a batch, BLAKE3
//! under the salt, covers the place, the head and all that follows. Payloads come from outsiders, who do not know
//! the salt, and so never parse as records.

use std::fmt;

/// A batch starts on a page and fills whole pages, so a commit never rewrites one that holds acknowledged bytes.
pub const PAGE_BYTES: u64 = 4_096;
/// Fragments do not cross a block.
pub const BLOCK_BYTES: usize = 32 * 1_024;
/// Where the first batch of a segment starts: behind the two copies of the header.
pub const DATA_START: u64 = 2 * PAGE_BYTES;
/// The version this code writes. It reads this one and the one before (there is none yet).
pub const VERSION: u16 = 1;

/// No segment, record or epoch is ever counted this far: what claims to be is damage, and sums stay in range.
pub(crate) const NUMBER_MAX: u64 = u64::MAX >> 1;

const MAGIC: [u8; 8] = *b"MBSPOOL\n";
const FRAGMENT_HEAD: usize = 8;
const BATCH_HEAD: usize = 40;
const MAC_BYTES: usize = 16;

/// The number of a record in the log: contiguous, from 1, never used twice for different records that were durable.
pub type Lsn = u64;

/// One life of the process on this spool (RELIABILITY §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Run {
    pub epoch: u64,
    pub nonce: u64,
}

/// 128 random bits, drawn when a spool is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SpoolId(pub [u8; 16]);

impl fmt::Display for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpoolId({self})")
    }
}

/// What the first page of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub version: u16,
    pub spool: SpoolId,
    pub segment: u64,
    /// The segment that was durable in its directory when this one was made; 0 for the first.
    pub previous: u64,
    pub segment_bytes: u64,
    pub run: Run,
    pub salt: [u8; 32],
}

/// Why a page is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderProblem {
    /// Not ours, never written, or damaged.
    Unreadable,
    /// Written by a newer version.
    Version(u16),
}

impl Header {
    pub fn encode(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES as usize);
        page.extend_from_slice(&MAGIC);
        page.extend_from_slice(&self.version.to_le_bytes());
        page.extend_from_slice(&[0; 6]);
        page.extend_from_slice(&self.spool.0);
        for number in [self.segment, self.previous, self.segment_bytes, self.run.epoch, self.run.nonce] {
            page.extend_from_slice(&number.to_le_bytes());
        }
        page.extend_from_slice(&self.salt);
        let sum = crc32c::crc32c(&page);
        page.extend_from_slice(&sum.to_le_bytes());
        page.resize(PAGE_BYTES as usize, 0);
        page
    }

    pub fn decode(page: &[u8]) -> Result<Header, HeaderProblem> {
        let mut fields = Fields(page);
        let decoded = (|| {
            let magic = fields.array::<8>()?;
            let version = u16::from_le_bytes(fields.array()?);
            fields.array::<6>()?;
            let header = Header {
                version,
                spool: SpoolId(fields.array()?),
                segment: fields.u64()?,
                previous: fields.u64()?,
                segment_bytes: fields.u64()?,
                run: Run { epoch: fields.u64()?, nonce: fields.u64()? },
                salt: fields.array()?,
            };
            let covered = page.len() - fields.0.len();
            let sum = u32::from_le_bytes(fields.array()?);
            let counted = header.segment.max(header.previous).max(header.run.epoch) <= NUMBER_MAX;
            Some((magic == MAGIC && counted && sum == crc32c::crc32c(page.get(..covered)?), header))
        })();
        match decoded {
            Some((true, header)) if header.version == VERSION => Ok(header),
            Some((true, header)) => Err(HeaderProblem::Version(header.version)),
            _ => Err(HeaderProblem::Unreadable),
        }
    }
}

/// Reads numbers off the front of a slice; `None` when it is too short.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FragmentKind {
    Batch = 1,
    Full = 2,
    First = 3,
    Middle = 4,
    Last = 5,
}

impl FragmentKind {
    fn of(byte: u8) -> Option<FragmentKind> {
        Some(match byte {
            1 => FragmentKind::Batch,
            2 => FragmentKind::Full,
            3 => FragmentKind::First,
            4 => FragmentKind::Middle,
            5 => FragmentKind::Last,
            _ => return None,
        })
    }
}

/// What the head of a batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    pub first: Lsn,
    pub count: u32,
    /// From the batch's first byte to its last, padding not counted.
    pub bytes: u32,
    /// The highest number known to be fsynced when this batch was written (S4).
    pub durable_upto: Lsn,
}

impl BatchHead {
    /// Bytes the batch takes up.
    pub fn padded(&self) -> u64 {
        pad(u64::from(self.bytes))
    }

    /// The number after its last record.
    pub fn next(&self) -> Lsn {
        self.first + Lsn::from(self.count)
    }
}

pub(crate) fn pad(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_BYTES)
}

/// Writes and checks what belongs to one segment.
#[derive(Clone, Debug)]
pub struct Codec {
    segment: u64,
    salt: [u8; 32],
    seed: u32,
}

/// A batch ready to be written, and where in it each record starts.
#[derive(Debug)]
pub struct EncodedBatch {
    /// Whole pages.
    pub bytes: Vec<u8>,
    /// Offset of each record's first fragment from the start of the batch.
    pub starts: Vec<u32>,
}

impl Codec {
    pub fn new(segment: u64, salt: [u8; 32]) -> Codec {
        let seed = crc32c::crc32c(&salt) ^ crc32c::crc32c(&segment.to_le_bytes());
        Codec { segment, salt, seed }
    }

    fn crc(&self, at: u64, kind: u8, payload: &[u8]) -> u32 {
        let mut place = [0; 11];
        place[..8].copy_from_slice(&at.to_le_bytes());
        place[8] = kind;
        place[9..].copy_from_slice(&(payload.len() as u16).to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(self.seed, &place), payload)
    }

    fn mac(&self, at: u64, head: &[u8], content: &[u8]) -> [u8; MAC_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.salt);
        hasher.update(&self.segment.to_le_bytes());
        hasher.update(&at.to_le_bytes());
        hasher.update(head);
        hasher.update(content);
        let mut mac = [0; MAC_BYTES];
        hasher.finalize_xof().fill(&mut mac);
        mac
    }

    /// Encodes `records` as one batch for offset `at` of the segment.
    pub fn encode<'r>(
        &self,
        at: u64,
        first: Lsn,
        durable_upto: Lsn,
        records: impl Iterator<Item = RecordParts<'r>>,
    ) -> EncodedBatch {
        let mut bytes = vec![0; FRAGMENT_HEAD + BATCH_HEAD];
        let mut starts = Vec::new();
        for record in records {
            starts.push(self.push_record(&mut bytes, at, record));
        }
        let mut head = [0; BATCH_HEAD];
        head[..8].copy_from_slice(&first.to_le_bytes());
        head[8..12].copy_from_slice(&(starts.len() as u32).to_le_bytes());
        head[12..16].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        head[16..24].copy_from_slice(&durable_upto.to_le_bytes());
        let mac = self.mac(at, &head[..24], &bytes[FRAGMENT_HEAD + BATCH_HEAD..]);
        head[24..].copy_from_slice(&mac);
        let fragment = self.fragment_head(at, FragmentKind::Batch, &head);
        bytes[..FRAGMENT_HEAD].copy_from_slice(&fragment);
        bytes[FRAGMENT_HEAD..FRAGMENT_HEAD + BATCH_HEAD].copy_from_slice(&head);
        bytes.resize(pad(bytes.len() as u64) as usize, 0);
        EncodedBatch { bytes, starts }
    }

    fn fragment_head(&self, at: u64, kind: FragmentKind, payload: &[u8]) -> [u8; FRAGMENT_HEAD] {
        let mut head = [0; FRAGMENT_HEAD];
        head[..4].copy_from_slice(&self.crc(at, kind as u8, payload).to_le_bytes());
        head[4..6].copy_from_slice(&(payload.len() as u16).to_le_bytes());
        head[6] = kind as u8;
        head
    }

    fn push_record(&self, bytes: &mut Vec<u8>, at: u64, record: RecordParts<'_>) -> u32 {
        let mut start = None;
        let total = record.len();
        let mut done = 0;
        while done < total || start.is_none() {
            let here = at + bytes.len() as u64;
            let room = BLOCK_BYTES - (here % BLOCK_BYTES as u64) as usize;
            if room <= FRAGMENT_HEAD {
                bytes.resize(bytes.len() + room, 0);
                continue;
            }
            let piece = (total - done).min(room - FRAGMENT_HEAD);
            let kind = match (done == 0, done + piece == total) {
                (true, true) => FragmentKind::Full,
                (true, false) => FragmentKind::First,
                (false, false) => FragmentKind::Middle,
                (false, true) => FragmentKind::Last,
            };
            start.get_or_insert(bytes.len() as u32);
            let head_at = bytes.len();
            bytes.extend_from_slice(&[0; FRAGMENT_HEAD]);
            record.copy_into(done, piece, bytes);
            let head = self.fragment_head(here, kind, &bytes[head_at + FRAGMENT_HEAD..]);
            bytes[head_at..head_at + FRAGMENT_HEAD].copy_from_slice(&head);
            done += piece;
        }
        start.unwrap_or_default()
    }

    /// The head of the batch that `bytes` starts with, if a head is there and whole. Its content is not looked at.
    pub fn head(&self, at: u64, bytes: &[u8]) -> Option<BatchHead> {
        let (kind, payload) = self.fragment(at, bytes)?;
        if kind != FragmentKind::Batch || payload.len() != BATCH_HEAD {
            return None;
        }
        let mut fields = Fields(payload);
        let head = BatchHead {
            first: fields.u64()?,
            count: fields.u32()?,
            bytes: fields.u32()?,
            durable_upto: fields.u64()?,
        };
        (head.bytes as usize >= FRAGMENT_HEAD + BATCH_HEAD && (1..=NUMBER_MAX).contains(&head.first))
            .then_some(head)
    }

    /// The batch that `bytes` starts with, if all of it is there and its MAC is right.
    pub fn batch(&self, at: u64, bytes: &[u8]) -> Option<BatchHead> {
        let head = self.head(at, bytes)?;
        let whole = bytes.get(..head.bytes as usize)?;
        let content = whole.get(FRAGMENT_HEAD + BATCH_HEAD..)?;
        let stored = whole.get(FRAGMENT_HEAD..FRAGMENT_HEAD + BATCH_HEAD)?;
        let (fields, mac) = stored.split_at(BATCH_HEAD - MAC_BYTES);
        (self.mac(at, fields, content) == mac).then_some(head)
    }

    fn fragment<'b>(&self, at: u64, bytes: &'b [u8]) -> Option<(FragmentKind, &'b [u8])> {
        let (head, rest) = bytes.split_first_chunk::<FRAGMENT_HEAD>()?;
        let [c0, c1, c2, c3, l0, l1, kind, zero] = *head;
        let payload = rest.get(..usize::from(u16::from_le_bytes([l0, l1])))?;
        let known = FragmentKind::of(kind)?;
        let right = zero == 0 && self.crc(at, kind, payload) == u32::from_le_bytes([c0, c1, c2, c3]);
        right.then_some((known, payload))
    }

    /// The records of a batch that [`Codec::batch`] found whole.
    pub fn records<'b>(&'b self, at: u64, bytes: &'b [u8]) -> Records<'b> {
        let end = self.head(at, bytes).map_or(0, |head| head.bytes as usize);
        Records {
            codec: self,
            at,
            bytes: bytes.get(..end).unwrap_or_default(),
            next: FRAGMENT_HEAD + BATCH_HEAD,
            salvage: false,
        }
    }

    /// Whatever records can still be read in a damaged stretch that starts at a page.
    pub fn salvage<'b>(&'b self, at: u64, bytes: &'b [u8]) -> Records<'b> {
        Records { codec: self, at, bytes, next: 0, salvage: true }
    }
}

/// A record to be written, in up to three parts that are stored one after the other.
#[derive(Clone, Copy, Debug)]
pub struct RecordParts<'r>(pub [&'r [u8]; 3]);

impl RecordParts<'_> {
    pub fn len(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn copy_into(&self, mut skip: usize, mut take: usize, out: &mut Vec<u8>) {
        for part in self.0 {
            let from = skip.min(part.len());
            let piece = take.min(part.len() - from);
            out.extend_from_slice(&part[from..from + piece]);
            skip -= from;
            take -= piece;
        }
    }
}

/// Bytes that `records` of these lengths need at most, as one batch.
pub(crate) fn batch_bytes_bound(lengths: impl Iterator<Item = usize>) -> u64 {
    let mut total = (FRAGMENT_HEAD + BATCH_HEAD) as u64;
    for length in lengths {
        let blocks = length / (BLOCK_BYTES - FRAGMENT_HEAD) + 2;
        total += (length + blocks * FRAGMENT_HEAD) as u64;
    }
    // Each block may lose a tail too short for a fragment.
    total += (total / BLOCK_BYTES as u64 + 1) * FRAGMENT_HEAD as u64;
    pad(total)
}

/// Iterates over the records in a stretch of a segment.
#[derive(Debug)]
pub struct Records<'b> {
    codec: &'b Codec,
    at: u64,
    bytes: &'b [u8],
    next: usize,
    salvage: bool,
}

/// A record read back.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Offset of its first fragment in the segment.
    pub offset: u64,
    pub bytes: Vec<u8>,
}

impl Records<'_> {
    fn skip_short_tail(&mut self) {
        let here = self.at + self.next as u64;
        let room = BLOCK_BYTES - (here % BLOCK_BYTES as u64) as usize;
        if room <= FRAGMENT_HEAD {
            self.next += room;
        }
    }

    fn go_to_next_page(&mut self) {
        let here = self.at + self.next as u64;
        self.next += (PAGE_BYTES - here % PAGE_BYTES) as usize;
    }
}

impl Iterator for Records<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let mut open: Option<Found> = None;
        loop {
            self.skip_short_tail();
            let rest = self.bytes.get(self.next..).filter(|rest| !rest.is_empty())?;
            let offset = self.at + self.next as u64;
            let Some((kind, payload)) = self.codec.fragment(offset, rest) else {
                if !self.salvage {
                    return None;
                }
                open = None;
                self.go_to_next_page();
                continue;
            };
            self.next += FRAGMENT_HEAD + payload.len();
            match (kind, open.as_mut()) {
                (FragmentKind::Batch, _) => open = None,
                (FragmentKind::Full, _) => return Some(Found { offset, bytes: payload.to_vec() }),
                (FragmentKind::First, _) => open = Some(Found { offset, bytes: payload.to_vec() }),
                (FragmentKind::Middle, Some(found)) => found.bytes.extend_from_slice(payload),
                (FragmentKind::Last, Some(found)) => {
                    found.bytes.extend_from_slice(payload);
                    return open;
                }
                (FragmentKind::Middle | FragmentKind::Last, None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(record: &[u8]) -> RecordParts<'_> {
        let cut = record.len() / 3;
        RecordParts([&record[..cut], &record[cut..cut * 2], &record[cut * 2..]])
    }

    proptest! {
        #[test]
        fn a_batch_reads_back_as_written_and_not_at_another_place(
            lengths in prop::collection::vec(prop_oneof![0usize..200, 30_000usize..70_000], 0..12),
            page in 0u64..20,
            segment in 1u64..9,
            first in 1u64..1_000_000,
        ) {
            let records: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(i, len)| (0..*len).map(|b| (b + i) as u8).collect()).collect();
            let at = DATA_START + page * PAGE_BYTES;
            let codec = Codec::new(segment, [7; 32]);
            let batch = codec.encode(at, first, first - 1, records.iter().map(|r| parts(r)));
            prop_assert!(batch.bytes.len() as u64 <= batch_bytes_bound(lengths.iter().copied()));
            prop_assert_eq!(batch.bytes.len() as u64 % PAGE_BYTES, 0);
            let head = codec.batch(at, &batch.bytes).expect("whole");
            prop_assert_eq!((head.first, head.count as usize, head.durable_upto), (first, records.len(), first - 1));
            let read: Vec<Found> = codec.records(at, &batch.bytes).collect();
            prop_assert_eq!(read.iter().map(|f| f.bytes.clone()).collect::<Vec<_>>(), records);
            let starts: Vec<u32> = read.iter().map(|f| (f.offset - at) as u32).collect();
            prop_assert_eq!(starts, batch.starts.clone());
            prop_assert!(codec.batch(at + PAGE_BYTES, &batch.bytes).is_none());
            prop_assert!(Codec::new(segment + 1, [7; 32]).batch(at, &batch.bytes).is_none());
            prop_assert!(Codec::new(segment, [8; 32]).batch(at, &batch.bytes).is_none());
        }

        #[test]
        fn a_flipped_bit_breaks_the_batch_and_salvage_gives_only_what_was_written(
            lengths in prop::collection::vec(0usize..20_000, 1..12),
            place in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let records: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(i, len)| vec![i as u8; *len]).collect();
            let codec = Codec::new(3, [9; 32]);
            let batch = codec.encode(DATA_START, 1, 0, records.iter().map(|r| parts(r)));
            let written = codec.head(DATA_START, &batch.bytes).expect("head").bytes as usize;
            let mut bytes = batch.bytes.clone();
            bytes[place.index(written)] ^= 1 << bit;
            prop_assert!(codec.batch(DATA_START, &bytes).is_none());
            let rescued: Vec<Vec<u8>> = codec.salvage(DATA_START, &bytes).map(|f| f.bytes).collect();
            let mut rest = records.iter();
            for record in &rescued {
                prop_assert!(rest.any(|written| written == record), "salvage invented or reordered a record");
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..9_000)) {
            let codec = Codec::new(1, [1; 32]);
            let _ = Header::decode(&bytes);
            let _ = codec.batch(DATA_START, &bytes);
            prop_assert_eq!(codec.records(DATA_START, &bytes).count(), 0);
            prop_assert_eq!(codec.salvage(DATA_START, &bytes).count(), 0);
        }
    }

    #[test]
    fn a_header_reads_back_and_each_damaged_byte_is_noticed() {
        let header = Header {
            version: VERSION,
            spool: SpoolId([5; 16]),
            segment: 9,
            previous: 8,
            segment_bytes: 1 << 26,
            run: Run { epoch: 3, nonce: 4 },
            salt: [6; 32],
        };
        let page = header.encode();
        assert_eq!(Header::decode(&page), Ok(header.clone()));
        let used = 8 + 8 + 16 + 5 * 8 + 32 + 4;
        for at in 0..used {
            let mut damaged = page.clone();
            damaged[at] ^= 0x10;
            assert_eq!(Header::decode(&damaged), Err(HeaderProblem::Unreadable), "byte {at}");
        }
        let newer = Header { version: 2, ..header };
        assert_eq!(Header::decode(&newer.encode()), Err(HeaderProblem::Version(2)));
    }
}
