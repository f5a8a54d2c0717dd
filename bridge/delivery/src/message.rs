//! What two ends of a pair say to each other, end to end; hops in between only pass it on.
//!
//! | message | from | says |
//! |---|---|---|
//! | `Receipt` | destination | settled numbers, the outcomes that the origin has not noted yet, credit |
//! | `OutcomesKnown` | origin | outcomes up to here are noted, said to one process of the destination |
//! | `Exchange` | both | spool, run, what of the other's events is here; asked for before data flows (D10) |
//! | `Fence` | origin | these pairs end unless they have ended otherwise (D7) |
//!
//! A fence has no answer of its own: the destination records the end, or has the event already, and the next receipt
//! covers the number while the outcome stream says how it ended.

use meshbridge_routing::Run;

use crate::codec::{DecodeError, Reader, Result, Writer};
use crate::record::{Ending, LaneRanges, Outcome, read_endings, write_endings};

/// Bytes of one encoded message; what does not fit comes with the next one.
pub const MESSAGE_BYTES_MAX: usize = 100 << 10;
/// Version of all messages.
const VERSION: u8 = 1;
const LANES_MAX: usize = 16_384;
const RUNS_MAX: usize = 1_024;
/// Pairs ended by one fence.
pub(crate) const FENCES_MAX: usize = 1_024;

/// Which life of which disk speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speaker {
    pub spool: u128,
    pub run: Run,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub speaker: Speaker,
    /// Counts receipts and exchanges to this listener within the speaker's run.
    pub number: u64,
    pub lanes: Vec<LaneRanges>,
    /// Bytes that the origin may have in flight.
    pub credit: u64,
    /// Number of the oldest outcome that the destination still has.
    pub base: u64,
    pub first: u64,
    pub endings: Vec<Ending>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub speaker: Speaker,
    /// As in a receipt: one that later news have overtaken says nothing any more.
    pub number: u64,
    /// Milliseconds since 1970 by the speaker's clock.
    pub wall: u64,
    /// Runs of the speaker in which something is not settled by the listener; the speaker's own among them.
    pub open: Vec<Run>,
    /// What the speaker has settled of the listener's events.
    pub lanes: Vec<LaneRanges>,
    /// `lanes` has everything.
    pub complete: bool,
    /// The process of the listener that the speaker has heard last; that of an earlier one may be told something that is
    /// no longer so.
    pub listener: Option<Speaker>,
    /// It has been heard by this process of the speaker, which knows by now what is there of its events.
    pub heard: bool,
    /// Runs of the listener of which the speaker remembers nothing: the listener once said that everything in them had
    /// ended.
    pub closed: Vec<Run>,
    /// The listener's outcomes that the speaker has noted.
    pub outcomes_known: u64,
    /// Of the listener's events those that have not ended here, or whose outcome it can still be told; said where it
    /// has forgotten outcomes that the speaker has forgotten too.
    pub open_here: Option<Vec<LaneRanges>>,
    /// With that: of those whose outcome is forgotten, what this process of the speaker remembers to be delivered.
    pub delivered_here: Vec<LaneRanges>,
    /// Where this process of the listener has holes, in answer to its exchange: of the speaker's numbers up to `cumulative`
    /// only those `above` can still come; the others have ended or were never for it.
    pub unsettled: Vec<LaneRanges>,
    /// Of the listener's events those that were open here when this process of the speaker began: which of them were
    /// delivered? Until it is answered.
    pub resumed: Vec<LaneRanges>,
    /// In answer to that.
    pub delivered: Option<Vec<LaneRanges>>,
    /// The speaker wants one back.
    pub reply: bool,
}

/// A pair to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceItem {
    pub run: Run,
    pub lane: u8,
    pub seq: u64,
    pub prev: u64,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Receipt(Receipt),
    /// For this process of the listener: numbers that an earlier one gave may mean something else there.
    OutcomesKnown {
        speaker: Speaker,
        listener: Speaker,
        upto: u64,
    },
    Exchange(Exchange),
    Fence {
        speaker: Speaker,
        items: Vec<FenceItem>,
    },
}

impl Message {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::kind(VERSION);
        match self {
            Message::Receipt(receipt) => {
                out.u8(1);
                write_speaker(&mut out, receipt.speaker);
                out.number(receipt.number);
                write_lanes(&mut out, &receipt.lanes);
                out.number(receipt.credit);
                out.number(receipt.base);
                write_endings(&mut out, receipt.first, &receipt.endings);
            }
            Message::OutcomesKnown { speaker, listener, upto } => {
                out.u8(2);
                write_speaker(&mut out, *speaker);
                write_speaker(&mut out, *listener);
                out.number(*upto);
            }
            Message::Exchange(exchange) => {
                out.u8(3);
                write_speaker(&mut out, exchange.speaker);
                out.number(exchange.number);
                out.number(exchange.wall);
                out.number(exchange.open.len() as u64);
                exchange.open.iter().for_each(|run| out.run(*run));
                write_lanes(&mut out, &exchange.lanes);
                out.u8(u8::from(exchange.complete));
                out.u8(u8::from(exchange.listener.is_some()));
                if let Some(listener) = exchange.listener {
                    write_speaker(&mut out, listener);
                }
                out.u8(u8::from(exchange.heard));
                out.number(exchange.closed.len() as u64);
                exchange.closed.iter().for_each(|run| out.run(*run));
                out.number(exchange.outcomes_known);
                out.u8(u8::from(exchange.open_here.is_some()));
                if let Some(lanes) = &exchange.open_here {
                    write_lanes(&mut out, lanes);
                }
                write_lanes(&mut out, &exchange.delivered_here);
                out.number(exchange.unsettled.len() as u64);
                exchange.unsettled.iter().for_each(|lane| lane.write_unordered(&mut out));
                write_lanes(&mut out, &exchange.resumed);
                out.u8(u8::from(exchange.delivered.is_some()));
                if let Some(lanes) = &exchange.delivered {
                    write_lanes(&mut out, lanes);
                }
                out.u8(u8::from(exchange.reply));
            }
            Message::Fence { speaker, items } => {
                out.u8(4);
                write_speaker(&mut out, *speaker);
                out.number(items.len() as u64);
                for item in items {
                    out.run(item.run);
                    out.u8(item.lane);
                    out.number(item.seq);
                    out.number(item.prev);
                    item.outcome.write(&mut out);
                }
            }
        }
        out.0
    }

    pub fn decode(bytes: &[u8]) -> Result<Message> {
        let mut from = Reader(bytes);
        if from.u8()? != VERSION {
            return Err(DecodeError::Invalid("the version of a message"));
        }
        let kind = from.u8()?;
        let speaker = read_speaker(&mut from)?;
        let message = match kind {
            1 => {
                let (number, lanes) = (from.number()?, read_lanes(&mut from)?);
                let (credit, base) = (from.number()?, from.number()?);
                let (first, endings) = read_endings(&mut from)?;
                Message::Receipt(Receipt { speaker, number, lanes, credit, base, first, endings })
            }
            2 => Message::OutcomesKnown { speaker, listener: read_speaker(&mut from)?, upto: from.number()? },
            3 => {
                let (number, wall) = (from.number()?, from.number()?);
                let runs = from.count(RUNS_MAX, "runs")?;
                let open = (0..runs).map(|_| from.run()).collect::<Result<_>>()?;
                Message::Exchange(Exchange {
                    speaker,
                    number,
                    wall,
                    open,
                    lanes: read_lanes(&mut from)?,
                    complete: from.flag()?,
                    listener: if from.flag()? { Some(read_speaker(&mut from)?) } else { None },
                    heard: from.flag()?,
                    closed: {
                        let runs = from.count(RUNS_MAX, "runs")?;
                        (0..runs).map(|_| from.run()).collect::<Result<_>>()?
                    },
                    outcomes_known: from.number()?,
                    open_here: if from.flag()? { Some(read_lanes(&mut from)?) } else { None },
                    delivered_here: read_lanes(&mut from)?,
                    unsettled: {
                        let count = from.count(LANES_MAX, "lanes")?;
                        (0..count).map(|_| LaneRanges::read_unordered(&mut from)).collect::<Result<_>>()?
                    },
                    resumed: read_lanes(&mut from)?,
                    delivered: if from.flag()? { Some(read_lanes(&mut from)?) } else { None },
                    reply: from.flag()?,
                })
            }
            4 => {
                let count = from.count(FENCES_MAX, "pairs")?;
                let items = (0..count).map(|_| {
                    Ok(FenceItem {
                        run: from.run()?,
                        lane: from.lane()?,
                        seq: from.number()?,
                        prev: from.number()?,
                        outcome: Outcome::read(&mut from)?,
                    })
                });
                Message::Fence { speaker, items: items.collect::<Result<_>>()? }
            }
            unknown => return Err(DecodeError::UnknownKind(unknown)),
        };
        from.end()?;
        Ok(message)
    }
}

fn write_speaker(out: &mut Writer, speaker: Speaker) {
    out.u128(speaker.spool);
    out.run(speaker.run);
}

fn read_speaker(from: &mut Reader<'_>) -> Result<Speaker> {
    Ok(Speaker { spool: from.u128()?, run: from.run()? })
}

fn write_lanes(out: &mut Writer, lanes: &[LaneRanges]) {
    out.number(lanes.len() as u64);
    lanes.iter().for_each(|lane| lane.write(out));
}

fn read_lanes(from: &mut Reader<'_>) -> Result<Vec<LaneRanges>> {
    let count = from.count(LANES_MAX, "lanes")?;
    (0..count).map(|_| LaneRanges::read(from)).collect()
}
