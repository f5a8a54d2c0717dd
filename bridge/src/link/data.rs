//! The data streams of a session: frames in batches, each batch one length-prefixed write.
//!
//! A frame names bridges, runs, zones and policies by index into the table of the link. The writer announces what it
//! needs on the control stream before it writes; the reader waits where a frame has overtaken its announcement.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use meshbridge_routing::wire::data::{BATCH_BYTES_MAX, BatchWriter, Carriers, Frame, Target, decode_batch};
use meshbridge_routing::wire::{Entry, RecvTable, SendTable, TableFull};
use meshbridge_routing::{CarrierSet, DeniedLinks, EventKey, Forwarding, Passage, ZoneName};
use smallvec::SmallVec;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::control::read_exact;
use super::outbox::{FrameBody, FrameDestination, Outbound};
use super::quic::LIMITS;
use super::session::{Session, SessionContext};
use super::transport::{CloseCode, DATA_STREAMS, RecvStream, SendStream};
use super::writers::{Load, WriterThreads};
use crate::pipeline::{Arrival, Pipeline, WAIT_MAX};

/// Frames gathered into one write, about.
const WRITE_BYTES: usize = 256 << 10;
/// How long a frame waits for the announcement of its indices before the peer is taken for broken.
const TABLE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Writes the frames of one stream until it fails.
pub(super) async fn write_stream(
    session: Arc<Session>,
    pipeline: Pipeline,
    threads: Arc<WriterThreads>,
    number: usize,
) -> String {
    let stream = match session.connection.open_data(number).await {
        Ok(stream) => stream,
        Err(problem) => return format!("a data stream cannot be opened: {problem}"),
    };
    let (frames, out, load) = (Vec::new(), Vec::new(), Load::default());
    let mut writer = Writer { session, pipeline, number, stream, frames, out, load };
    loop {
        let turn = if writer.load.is_busy() {
            let task = threads.handle().spawn(writer.write());
            match AbortOnDropHandle::new(task).await {
                Ok(turn) => turn,
                Err(_) => return "a data writer failed".to_owned(),
            }
        } else {
            writer.write().await
        };
        writer = match turn {
            Ok(writer) => writer,
            Err(reason) => return reason,
        };
    }
}

/// The writer of one stream, which moves between the places that [`super::writers`] describes.
struct Writer {
    session: Arc<Session>,
    pipeline: Pipeline,
    number: usize,
    stream: SendStream,
    frames: Vec<Outbound>,
    out: Vec<Bytes>,
    load: Load,
}

impl Writer {
    /// Writes until it should do so elsewhere, or fails.
    async fn write(mut self) -> Result<Writer, String> {
        loop {
            let Writer { session, pipeline, number, stream, frames, out, load } = &mut self;
            session.outbox.next_batch(*number, WRITE_BYTES, frames).await;
            let mut sent = 0;
            encode(session, pipeline, frames, out, &mut sent)?;
            let bytes: usize = out.iter().map(Bytes::len).sum();
            session.metrics.sent_data_bytes.inc_by(bytes as u64);
            session.metrics.sent_events.inc_by(sent);
            let written = stream.write_chunks(out).await;
            out.clear();
            written.map_err(|problem| format!("a data stream cannot be written: {problem}"))?;
            if load.on_batch(bytes) {
                return Ok(self);
            }
        }
    }
}

/// Encodes `frames` into length-prefixed batches, after announcing what they refer to.
fn encode(
    session: &Session,
    pipeline: &Pipeline,
    frames: &mut Vec<Outbound>,
    out: &mut Vec<Bytes>,
    sent: &mut u64,
) -> Result<(), String> {
    let forwarding = pipeline.forwarding();
    let now = Instant::now();
    let mut batch = BatchWriter::new();
    for outbound in frames.drain(..) {
        let late = now.duration_since(outbound.since) >= WAIT_MAX;
        if late || outbound.expires.is_some_and(|expires| expires <= now) {
            pipeline.on_not_written(&outbound, now);
            continue;
        }
        let frame = {
            let mut table = session.table();
            let frame = to_wire(&mut table, &forwarding, &outbound, now);
            // In the lock: two streams must not announce out of order.
            while let Some(announce) = table.announce() {
                if !session.offer_control(announce.encode()) {
                    return Err("the control stream is not read".to_owned());
                }
            }
            frame.map_err(|TableFull| "the table of the link is full, the link is renewed".to_owned())?
        };
        if !batch.push(&frame) {
            out.extend(std::mem::replace(&mut batch, BatchWriter::new()).finish());
            if !batch.push(&frame) {
                pipeline.on_not_written(&outbound, now);
                continue;
            }
        }
        *sent += u64::from(outbound.events());
    }
    if !batch.is_empty() {
        out.extend(batch.finish());
    }
    Ok(())
}

fn to_wire(
    table: &mut SendTable,
    forwarding: &Forwarding,
    outbound: &Outbound,
    now: Instant,
) -> Result<Frame, TableFull> {
    let body = &outbound.body;
    let life = outbound.expires.map(|expires| expires.duration_since(now).as_millis().max(1));
    let carriers = match &body.passage.carriers {
        CarrierSet::All => Carriers::All,
        CarrierSet::Zones(zones) => {
            let indices = zones.iter().map(|zone| table.index_of(&Entry::Zone(zone.clone())));
            Carriers::Zones(indices.collect::<Result<_, _>>()?)
        }
    };
    let denied = body.passage.denied.iter().map(|(a, b)| {
        Ok((table.index_of(&Entry::Zone(a.clone()))?, table.index_of(&Entry::Zone(b.clone()))?))
    });
    let denied = denied.collect::<Result<_, TableFull>>()?;
    let destinations = outbound.destinations.iter().map(|destination| {
        let bridge = table.index_of(&Entry::Bridge(forwarding.bridge(destination.bridge).0.clone()))?;
        Ok(Target { bridge, prev: destination.prev })
    });
    Ok(Frame {
        destinations: destinations.collect::<Result<_, TableFull>>()?,
        run: table.index_of(&Entry::Run { bridge: body.key.origin.clone(), run: body.key.run })?,
        lane: body.key.lane,
        seq: body.key.seq,
        carriers,
        denied,
        hop_limit: outbound.hop_limit,
        life_ms: life.map_or(0, |life| u32::try_from(life).unwrap_or(u32::MAX)),
        digest: body.digest,
        policy: table.index_of(&Entry::Policy(body.policy))?,
        topic: body.topic.clone(),
        extensions: body.extensions.clone(),
        payload: body.payload.clone(),
    })
}

/// Accepts the peer's data streams, a reader each; ends with the first of them that fails.
pub(super) async fn read_streams(context: &SessionContext, session: &Arc<Session>) -> String {
    let mut readers: JoinSet<String> = JoinSet::new();
    loop {
        tokio::select! {
            accepted = session.connection.accept_data() => match accepted {
                Ok(stream) if readers.len() < LIMITS.streams_max as usize => {
                    let (context, session) = (context.clone(), Arc::clone(session));
                    readers.spawn(async move { read_stream(&context, &session, stream).await });
                }
                Ok(_) => return format!("the peer opened more than {DATA_STREAMS} data streams"),
                Err(problem) => return problem.to_string(),
            },
            Some(ended) = readers.join_next() => {
                return ended.unwrap_or_else(|_| "a data reader failed".to_owned());
            }
        }
    }
}

async fn read_stream(context: &SessionContext, session: &Session, mut stream: RecvStream) -> String {
    loop {
        let length = match stream.read_length().await {
            Ok(length) => length,
            Err(problem) => return format!("a data stream ended: {problem}"),
        };
        if length > BATCH_BYTES_MAX {
            return violation(session, &format!("a batch of {length} bytes"));
        }
        let batch = match read_exact(&mut stream, length).await {
            Ok(batch) => batch,
            Err(problem) => return format!("a data stream ended: {problem}"),
        };
        session.metrics.received_data_bytes.inc_by(length as u64 + 4);
        let arrivals = match arrivals(session, &context.pipeline, batch).await {
            Ok(arrivals) => arrivals,
            Err(reason) => return violation(session, &reason),
        };
        let events = arrivals.iter().map(|arrival| u64::from(arrival.frame.events())).sum();
        session.metrics.received_events.inc_by(events);
        context.pipeline.arrive(&session.peer, arrivals);
    }
}

fn violation(session: &Session, reason: &str) -> String {
    session.close(CloseCode::Protocol, reason);
    format!("the peer broke the protocol: {reason}")
}

async fn arrivals(session: &Session, pipeline: &Pipeline, batch: Bytes) -> Result<Vec<Arrival>, String> {
    let now = Instant::now();
    let mut arrivals = Vec::new();
    let mut passages = Passages::default();
    for frame in decode_batch(batch).map_err(|problem| problem.to_string())? {
        let frame = frame.map_err(|problem| problem.to_string())?;
        let forwarding = pipeline.forwarding();
        let deadline = tokio::time::Instant::now() + TABLE_WAIT_MAX;
        loop {
            // Registered before the table is looked at, so that an announcement in between is not missed.
            let grew = session.table_grew.notified();
            let resolved = {
                let table = session.received_table.lock().unwrap_or_else(PoisonError::into_inner);
                from_wire(&table, &forwarding, &frame, &mut passages, now)?
            };
            if let Some(arrival) = resolved {
                arrivals.push(arrival);
                break;
            }
            if tokio::time::timeout_at(deadline, grew).await.is_err() {
                return Err("a frame refers to an index that was never announced".to_owned());
            }
        }
    }
    Ok(arrivals)
}

/// The passage of the frame before: most of a batch have the same, and it need not be made for each.
#[derive(Default)]
struct Passages {
    carriers: Option<Carriers>,
    denied: SmallVec<[(u16, u16); 4]>,
    passage: Passage,
}

impl Passages {
    /// `None` while an index has not been announced.
    fn of(&mut self, table: &RecvTable, frame: &Frame) -> Result<Option<Passage>, String> {
        if matches!(frame.carriers, Carriers::All) && frame.denied.is_empty() {
            return Ok(Some(Passage::ANY));
        }
        if self.carriers.as_ref() == Some(&frame.carriers) && self.denied == frame.denied {
            return Ok(Some(self.passage.clone()));
        }
        let zone = |index: u16| match table.entry(index) {
            None => Ok(None),
            Some(Entry::Zone(zone)) => Ok(Some(zone.clone())),
            Some(_) => Err(wrong_index()),
        };
        let carriers = match &frame.carriers {
            Carriers::All => CarrierSet::All,
            Carriers::Zones(indices) => {
                let zones: Result<Option<Vec<ZoneName>>, String> =
                    indices.iter().map(|index| zone(*index)).collect();
                let Some(zones) = zones? else { return Ok(None) };
                CarrierSet::zones(zones)
            }
        };
        let mut pairs = Vec::new();
        for (one, other) in &frame.denied {
            let (Some(one), Some(other)) = (zone(*one)?, zone(*other)?) else { return Ok(None) };
            pairs.push((one, other));
        }
        let passage = Passage { carriers, denied: DeniedLinks::between(pairs) };
        *self = Passages {
            carriers: Some(frame.carriers.clone()),
            denied: frame.denied.clone(),
            passage: passage.clone(),
        };
        Ok(Some(passage))
    }
}

fn wrong_index() -> String {
    "an index of a frame has another meaning".to_owned()
}

/// `None` while an index has not been announced. Destinations that our federation document does not list are left out.
fn from_wire(
    table: &RecvTable,
    forwarding: &Forwarding,
    frame: &Frame,
    passages: &mut Passages,
    now: Instant,
) -> Result<Option<Arrival>, String> {
    let (Some(run), Some(policy)) = (table.entry(frame.run), table.entry(frame.policy)) else {
        return Ok(None);
    };
    let (Entry::Run { bridge: origin, run }, Entry::Policy(policy)) = (run, policy) else {
        return Err(wrong_index());
    };
    let mut destinations = super::FrameDestinations::new();
    let mut here = None;
    for target in &frame.destinations {
        match table.entry(target.bridge) {
            None => return Ok(None),
            Some(Entry::Bridge(bridge)) => match forwarding.index_of(bridge) {
                Some(index) if index == forwarding.own() => here = Some(target.prev),
                Some(bridge) => destinations.push(FrameDestination { bridge, prev: target.prev }),
                None => {}
            },
            Some(_) => return Err(wrong_index()),
        }
    }
    let Some(passage) = passages.of(table, frame)? else { return Ok(None) };
    let body = FrameBody {
        key: EventKey { origin: origin.clone(), run: *run, lane: frame.lane, seq: frame.seq },
        topic: frame.topic.clone(),
        payload: frame.payload.clone(),
        digest: frame.digest,
        policy: *policy,
        passage,
        extensions: frame.extensions.clone(),
    };
    let frame = Outbound {
        body: Arc::new(body),
        destinations,
        hop_limit: frame.hop_limit,
        since: now,
        barred: None,
        expires: (frame.life_ms > 0).then(|| now + Duration::from_millis(u64::from(frame.life_ms))),
    };
    Ok(Some(Arrival { frame, here }))
}
