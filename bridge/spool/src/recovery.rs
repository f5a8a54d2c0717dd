//! Opening a spool.
//!
//! ```text
//! survey ─► set aside what has no batch ─► fresh segment: "k is valid up to X, new run" + copy of the tail
//!        ─► fsync file, fsync directory ─► replay to the owner ─► unlink what was retired
//! ```
//!
//! The old tail is never written and never trusted (RELIABILITY S8): what nobody vouches for may be in the page
//! cache only, so it is copied into the fresh segment, in the one batch that also makes the new run known. A crash
//! anywhere finds the old inputs unchanged.

mod table;

use std::collections::BTreeMap;

use table::Table;

use crate::bugs::{Bug, bug};
use crate::entry::{Entry, Location, Previous};
use crate::error::{Doing, OpenError};
use crate::fail_point;
use crate::format::{Codec, DATA_START, Header, Lsn, RecordParts, Run, SpoolId, VERSION, batch_bytes_bound};
use crate::index::{BodyReader, Index, SegmentInfo};
use crate::log::{Entropy, Log, Options, Parts};
use crate::segment::{self, QUARANTINE, Spare, SpareJob, read_all};
use crate::survey::{Damage, Link, Survey};
use crate::vfs::{Vfs, VfsFile, write_full};

/// What the owner is told of, in this order: checkpoint parts, then the records after its beginning. A record's
/// number is 0 where damage made it unknown.
#[derive(Debug)]
pub enum Replay<'a> {
    Part(&'a [u8]),
    State {
        lsn: Lsn,
        bytes: &'a [u8],
    },
    Body {
        lsn: Lsn,
        id: u64,
        bytes: &'a [u8],
    },
    /// Records with these numbers were durable and are lost, except for those that follow before the next whole
    /// batch.
    Lost {
        first: Lsn,
        last: Lsn,
    },
}

/// What recovery found and did.
#[derive(Debug)]
pub struct Recovered {
    pub spool: SpoolId,
    pub run: Run,
    /// The run that wrote last; `None` for a new spool.
    pub previous: Option<Run>,
    /// Rot. Empty after a mere power cut.
    pub damage: Vec<Damage>,
    /// The first number that a power cut tore off, if it did. It was never acknowledged.
    pub torn: Option<Lsn>,
    /// Missing segments whose loss an operator accepted.
    pub missing: Vec<u64>,
}

impl<V: Vfs + Clone> Log<V> {
    /// Opens the spool, or makes one in an empty directory; everything in it is handed to `replay`. Call
    /// [`Log::retain`] when the owner knows which bodies it needs.
    pub fn open(
        vfs: V,
        options: Options,
        mut entropy: Entropy,
        mut replay: impl FnMut(Replay<'_>),
    ) -> Result<(Log<V>, Recovered), OpenError> {
        let lock = vfs.try_lock("lock").doing(|| "lock the spool".to_owned())?.ok_or(OpenError::InUse)?;
        let mut survey = Survey::take(&vfs)?;
        let table = Table::read(&vfs, &survey)?;
        survey.check_rows(&table.rows);
        if !survey.missing.is_empty() && !options.accept_missing {
            return Err(OpenError::Missing(survey.missing));
        }
        let next_run = next_run(&survey, options.first_epoch, &mut entropy);
        let spool = survey.spool().unwrap_or_else(|| {
            let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = entropy();
            SpoolId(id)
        });
        let blank = set_aside(&vfs, &survey)?;
        let tail = Tail::read(&vfs, &survey)?;
        fail_point!("recovery.surveyed");
        let fresh = Fresh::write(&vfs, &options, &survey, &tail, spool, next_run, &mut entropy)?;
        fail_point!("recovery.before-unlinking-spares");
        unlink_blank(&vfs, &blank)?;
        let mut replayer =
            Replayer { vfs: &vfs, survey: &mut survey, index: Index::default(), replay: &mut replay };
        replayer.run(&table, &tail, &fresh)?;
        let index = replayer.index;
        fail_point!("recovery.replayed");
        unlink_retired(&vfs, &survey, &index, &table)?;
        let newest = survey.checkpoint.and_then(|(begin, _)| survey.segment_of(begin));
        let earlier = survey.earlier_checkpoint.and_then(|(begin, _)| survey.segment_of(begin));
        let recovered = Recovered {
            spool,
            run: next_run,
            previous: survey.last_run().1,
            damage: survey.damage.clone(),
            torn: survey.torn,
            missing: survey.missing.clone(),
        };
        let vouched = survey.vouched;
        let mut log = Log::from_parts(Parts {
            reader: BodyReader::new(vfs.clone(), index),
            vfs,
            options,
            entropy,
            spool,
            run: next_run,
            offset: fresh.end,
            next: fresh.next,
            vouched,
            fresh: fresh.spare,
            checkpoints: [earlier, newest],
            epoch_floor: survey.epoch_floor(),
            lock,
        });
        fail_point!("recovery.before-spare");
        log.make_spare();
        Ok((log, recovered))
    }
}

fn next_run(survey: &Survey, first_epoch: u64, entropy: &mut Entropy) -> Run {
    let (epoch, last) = survey.last_run();
    let epoch = if epoch == 0 { first_epoch.saturating_sub(1) } else { epoch };
    let [a, b, c, d, e, f, g, h, ..] = entropy();
    let nonce = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let raised = if bug(Bug::EpochNotRaised) { epoch.max(1) } else { epoch.saturating_add(1) };
    let nonce = if bug(Bug::NonceReused) { last.map_or(7, |run| run.nonce) } else { nonce };
    Run { epoch: raised, nonce }
}

/// Files above the tip hold nothing that was ever acknowledged. Those in which something was written are kept, out
/// of the way, so that nothing in them can be taken for a part of the log later. Gives the others: blank spares.
fn set_aside<V: Vfs>(vfs: &V, survey: &Survey) -> Result<Vec<u64>, OpenError> {
    let mut blank = Vec::new();
    for id in survey.batchless().into_iter().rev() {
        let name = segment::name(id);
        if is_blank(vfs, survey, id).doing(|| format!("read {name}"))? {
            blank.push(id);
            continue;
        }
        let to = format!("{QUARANTINE}/{name}");
        vfs.rename(&name, &to).doing(|| format!("set {name} aside"))?;
        vfs.sync_dir("").doing(|| "sync the spool's directory".to_owned())?;
        vfs.sync_dir(QUARANTINE).doing(|| "sync the quarantine directory".to_owned())?;
    }
    Ok(blank)
}

/// The fresh segment says where the log goes on, so nobody asks for the old spares any more. Newest first, because
/// each names the one before it; what a crash leaves is retired like any other segment.
fn unlink_blank<V: Vfs>(vfs: &V, newest_first: &[u64]) -> Result<(), OpenError> {
    for id in newest_first {
        let name = segment::name(*id);
        vfs.unlink(&name).doing(|| format!("unlink {name}"))?;
        vfs.sync_dir("").doing(|| "sync the spool's directory".to_owned())?;
    }
    Ok(())
}

/// Whether nothing stands behind the segment's header.
fn is_blank<V: Vfs>(vfs: &V, survey: &Survey, id: u64) -> std::io::Result<bool> {
    let Some(header) = survey.headers.get(&id) else { return Ok(false) };
    let bytes = read_all(&vfs.open(&segment::name(id))?, header.segment_bytes)?;
    Ok(bytes.get(DATA_START as usize..).is_none_or(segment::is_zero))
}

/// The owner's and the log's records that nothing vouches for.
#[derive(Debug, Default)]
struct Tail {
    /// Copied into the fresh segment.
    records: Vec<Vec<u8>>,
    /// The last number that stays where it is.
    kept: Lsn,
    /// Where its segment ends for all readers from now on.
    previous: Option<Previous>,
}

impl Tail {
    fn read<V: Vfs>(vfs: &V, survey: &Survey) -> Result<Tail, OpenError> {
        let Some(tip) = survey.tip() else { return Ok(Tail::default()) };
        let trusting = bug(Bug::RecoveryTrustsTail);
        let last = survey.chain.last().map_or(0, |link| link.batch.head.next() - 1);
        let kept = if trusting { last } else { survey.vouched.min(last) };
        let mut tail = Tail { kept, ..Tail::default() };
        let mut end = DATA_START;
        for link in survey.chain.iter().filter(|link| link.segment == tip) {
            if link.batch.head.next() <= kept + 1 {
                end = link.batch.end();
            }
        }
        tail.previous = Some(Previous { segment: tip, end });
        let late: Vec<Link> =
            survey.chain.iter().filter(|link| link.batch.head.first > kept).copied().collect();
        let mut bytes = SegmentBytes::default();
        for link in late {
            let Some((codec, content)) = bytes.of(vfs, survey, link.segment)? else { continue };
            let rest = content.get(link.batch.at as usize..).unwrap_or_default();
            for found in codec.records(link.batch.at, rest) {
                let carried = !matches!(
                    Entry::decode(&found.bytes),
                    None | Some(
                        Entry::Open { .. }
                            | Entry::Continue { .. }
                            | Entry::Seal
                            | Entry::CheckpointBegin { .. }
                            | Entry::CheckpointBodies { .. }
                            | Entry::CheckpointPart(_)
                            | Entry::CheckpointEnd { .. }
                    )
                );
                if carried {
                    tail.records.push(found.bytes);
                }
            }
        }
        Ok(tail)
    }
}

/// The segment that the new run begins with.
struct Fresh<F> {
    spare: Spare<F>,
    codec: Codec,
    end: u64,
    next: Lsn,
    /// Where each of the tail's records is now.
    places: Vec<Location>,
}

impl<F: VfsFile> Fresh<F> {
    fn write<V: Vfs<File = F> + Clone>(
        vfs: &V,
        options: &Options,
        survey: &Survey,
        tail: &Tail,
        spool: SpoolId,
        run: Run,
        entropy: &mut Entropy,
    ) -> Result<Fresh<F>, OpenError> {
        let open = Entry::Open { run, previous: tail.previous }.encode();
        let need = batch_bytes_bound(tail.records.iter().map(Vec::len).chain([open.len()]));
        let bytes = options.segment_bytes.max(DATA_START + need + crate::format::PAGE_BYTES);
        let newest = survey.present().last().copied().unwrap_or(0);
        let newest = newest.max(survey.quarantined.last().copied().unwrap_or(0));
        let header = Header {
            version: VERSION,
            spool,
            segment: newest + 1,
            previous: survey.tip().unwrap_or(0),
            segment_bytes: bytes,
            run,
            salt: if bug(Bug::ConstantSalt) { [0; 32] } else { entropy() },
        };
        let first = tail.kept + 1;
        let codec = Codec::new(header.segment, header.salt);
        let spare = SpareJob { vfs: vfs.clone(), header }.run().map_err(OpenError::NoRoom)?;
        let parts = std::iter::once(&open)
            .chain(&tail.records)
            .map(|record| RecordParts([record.as_slice(), &[], &[]]));
        let batch = codec.encode(DATA_START, first, tail.kept, parts);
        if bug(Bug::RecoveryAppendsToOldSegment)
            && let Some(old) = append_to_tip(vfs, survey, tail)
        {
            return old;
        }
        write_full(&spare.file, &batch.bytes, DATA_START).doing(|| "write the fresh segment".to_owned())?;
        fail_point!("recovery.before-sync");
        if !bug(Bug::NoDataSync) {
            spare.file.sync_all().doing(|| "sync the fresh segment".to_owned())?;
        }
        let segment = spare.header.segment;
        let places = batch.starts.iter().skip(1).zip(&tail.records).map(|(start, record)| Location {
            segment,
            offset: DATA_START + u64::from(*start),
            len: record.len() as u32,
        });
        let places = places.collect();
        let next = first + batch.starts.len() as u64;
        Ok(Fresh { spare, codec, end: DATA_START + batch.bytes.len() as u64, next, places })
    }
}

/// What the seeded bug does: the tip goes on being written behind its tail.
fn append_to_tip<V: Vfs>(vfs: &V, survey: &Survey, tail: &Tail) -> Option<Result<Fresh<V::File>, OpenError>> {
    let tip = survey.tip()?;
    let piece = survey.pieces.get(&tip)?;
    let file = vfs.open(&segment::name(tip)).ok()?;
    let last = survey.chain.last()?;
    let mut places = Vec::new();
    let bytes = read_all(&file, piece.header.segment_bytes).ok()?;
    for link in survey.chain.iter().filter(|link| link.batch.head.first > tail.kept) {
        let rest = bytes.get(link.batch.at as usize..)?;
        for found in piece.codec.records(link.batch.at, rest) {
            if tail.records.contains(&found.bytes) {
                let len = found.bytes.len() as u32;
                places.push(Location { segment: tip, offset: found.offset, len });
            }
        }
    }
    Some(Ok(Fresh {
        spare: Spare { header: piece.header.clone(), file },
        codec: piece.codec.clone(),
        end: last.batch.end(),
        next: last.batch.head.next(),
        places,
    }))
}

struct Replayer<'a, V: Vfs> {
    vfs: &'a V,
    survey: &'a mut Survey,
    index: Index,
    replay: &'a mut dyn FnMut(Replay<'_>),
}

impl<V: Vfs> Replayer<'_, V> {
    fn run<F: VfsFile>(&mut self, table: &Table, tail: &Tail, fresh: &Fresh<F>) -> Result<(), OpenError> {
        self.list_segments(table, tail, fresh);
        for (id, at) in &table.bodies {
            self.index.place(*id, *at);
        }
        table.parts.iter().for_each(|part| (self.replay)(Replay::Part(part)));
        let begin = self.survey.checkpoint.map_or(0, |(begin, _)| begin);
        let mut bytes = SegmentBytes::default();
        let chain = self.survey.chain.clone();
        let gaps: BTreeMap<usize, (Lsn, Lsn)> =
            self.survey.gaps.iter().map(|(at, first, last)| (*at, (*first, *last))).collect();
        for (at, link) in chain.iter().enumerate() {
            if let Some((first, last)) = gaps.get(&at)
                && *last >= begin
            {
                (self.replay)(Replay::Lost { first: *first, last: *last });
                let from = at.checked_sub(1).and_then(|before| chain.get(before));
                let salvaged = self.salvage(from, link)?;
                if let Some(damage) = self.survey.damage.iter_mut().find(|damage| damage.first == *first) {
                    damage.salvaged = salvaged;
                }
            }
            if link.batch.head.first > tail.kept || link.batch.head.next() <= begin {
                continue;
            }
            let Some((codec, content)) = bytes.of(self.vfs, self.survey, link.segment)? else { continue };
            let rest = content.get(link.batch.at as usize..).unwrap_or_default();
            for (lsn, found) in (link.batch.head.first..).zip(codec.records(link.batch.at, rest)) {
                if lsn >= begin {
                    let len = found.bytes.len() as u32;
                    self.apply(
                        lsn,
                        &found.bytes,
                        Location { segment: link.segment, offset: found.offset, len },
                    );
                }
            }
        }
        for (lsn, (record, place)) in (tail.kept + 2..).zip(tail.records.iter().zip(&fresh.places)) {
            self.apply(lsn, record, *place);
        }
        Ok(())
    }

    /// Segments of the log as far as they are there: the checkpoint's, and those made since.
    fn list_segments<F: VfsFile>(&mut self, table: &Table, tail: &Tail, fresh: &Fresh<F>) {
        let retired = self.survey.retired();
        let mut rows: BTreeMap<u64, (u64, bool)> =
            table.rows.iter().map(|row| (row.segment, (row.end, row.rotten))).collect();
        let scanned: Vec<u64> = self.survey.pieces.keys().copied().collect();
        for id in scanned {
            if Some(id) <= self.survey.tip() {
                let known = rows.get(&id).copied().unwrap_or((0, false));
                let limit = self.survey.limit_of(id);
                // What was copied out of the old tail may still vanish there, and is no loss then.
                let end = match tail.previous {
                    Some(previous) if previous.segment == id => previous.end,
                    _ if limit == u64::MAX => self.survey.end_of(id),
                    _ => limit,
                };
                rows.insert(id, (end.max(known.0), known.1 || self.survey.rotten(id)));
            }
        }
        for (id, (end, rotten)) in rows {
            if let Some(header) = self.survey.headers.get(&id).filter(|_| !retired.contains(&id)) {
                let codec = Codec::new(id, header.salt);
                self.index.segments.insert(id, SegmentInfo { codec, end, rotten, live: 0, live_bytes: 0 });
            }
        }
        let info =
            SegmentInfo { codec: fresh.codec.clone(), end: fresh.end, rotten: false, live: 0, live_bytes: 0 };
        self.index.segments.insert(fresh.spare.header.segment, info);
    }

    fn apply(&mut self, lsn: Lsn, record: &[u8], at: Location) {
        match Entry::decode(record) {
            Some(Entry::State(bytes)) => (self.replay)(Replay::State { lsn, bytes }),
            Some(Entry::Body { id, bytes }) => {
                self.index.place(id, at);
                (self.replay)(Replay::Body { lsn, id, bytes });
            }
            // Moved after the checkpoint began: the body itself was known before.
            Some(Entry::Moved { id, .. }) => self.index.place(id, at),
            _ => {}
        }
    }

    /// Hands over the records that can still be read between two valid batches.
    fn salvage(&mut self, from: Option<&Link>, to: &Link) -> Result<u64, OpenError> {
        let start = from.map_or((0, DATA_START), |link| (link.segment, link.batch.end()));
        let ids: Vec<u64> = self.survey.pieces.range(start.0..=to.segment).map(|(id, _)| *id).collect();
        let mut bytes = SegmentBytes::default();
        let mut salvaged = 0;
        for id in ids {
            let limit = self.survey.limit_of(id);
            let Some((codec, content)) = bytes.of(self.vfs, self.survey, id)? else { continue };
            let first = if id == start.0 { start.1 } else { DATA_START };
            let last = if id == to.segment { to.batch.at } else { limit.min(content.len() as u64) };
            let stretch = content.get(first as usize..last as usize).unwrap_or_default();
            for found in codec.salvage(first, stretch) {
                salvaged += 1;
                let len = found.bytes.len() as u32;
                self.apply(0, &found.bytes, Location { segment: id, offset: found.offset, len });
            }
        }
        Ok(salvaged)
    }
}

/// The bytes of the segment that was asked for last.
#[derive(Debug, Default)]
struct SegmentBytes {
    segment: Option<(u64, Codec, Vec<u8>)>,
}

impl SegmentBytes {
    fn of<V: Vfs>(
        &mut self,
        vfs: &V,
        survey: &Survey,
        id: u64,
    ) -> Result<Option<(&Codec, &[u8])>, OpenError> {
        if self.segment.as_ref().is_none_or(|(known, ..)| *known != id) {
            let Some(header) = survey.headers.get(&id) else { return Ok(None) };
            let name = segment::name(id);
            let file = vfs.open(&name).doing(|| format!("open {name}"))?;
            let bytes = read_all(&file, header.segment_bytes).doing(|| format!("read {name}"))?;
            self.segment = Some((id, Codec::new(id, header.salt), bytes));
        }
        Ok(self.segment.as_ref().map(|(_, codec, bytes)| (codec, bytes.as_slice())))
    }
}

/// Retired and still there: its unlink was not durable, or its way into quarantine.
fn unlink_retired<V: Vfs>(vfs: &V, survey: &Survey, index: &Index, table: &Table) -> Result<(), OpenError> {
    let tip = survey.tip().unwrap_or(0);
    let begin = survey.checkpoint.and_then(|(begin, _)| survey.segment_of(begin)).unwrap_or(0);
    let retired = survey.retired();
    let mut any = false;
    for id in survey.present() {
        // Below the checkpoint and not in its table, or retired since.
        let gone = id < tip && !index.segments.contains_key(&id) && (retired.contains(&id) || id < begin);
        if gone && survey.damage.iter().all(|damage| damage.segment != id) {
            let name = segment::name(id);
            // What was found damaged once is kept for people (P8), though nothing of it is read here any more.
            if table.rows.iter().any(|row| row.segment == id && row.rotten) {
                let to = format!("{QUARANTINE}/{name}");
                vfs.rename(&name, &to).doing(|| format!("set {name} aside"))?;
                vfs.sync_dir(QUARANTINE).doing(|| "sync the quarantine directory".to_owned())?;
            } else {
                vfs.unlink(&name).doing(|| format!("unlink {name}"))?;
            }
            any = true;
        }
    }
    if any {
        vfs.sync_dir("").doing(|| "sync the spool's directory".to_owned())?;
    }
    Ok(())
}
