//! What the spool holds of delivery, one record for each thing that must survive (RELIABILITY §4).
//!
//! | record | written by | says |
//! |---|---|---|
//! | `Accepted` + event | origin | an event, its key, whom it is for, the producer's id |
//! | `Taken` + event | destination | an event of another bridge, its key, its subscriptions |
//! | `Ended` | destination | a key that ended here without being kept |
//! | `Group` | destination | a subscription has ended an event |
//! | `Receipt` | origin | what a destination has settled |
//! | `Outcomes` | origin | how events ended at a destination |
//! | `OutcomesKnown` | destination | the origin has noted outcomes up to here |
//! | `EndedHere` | origin | a pair that the origin ended itself; it was never sent |
//! | `Lost` | origin | what a destination had stored and has lost with its disk |
//! | `Subscription`, `SubscriptionGone` | destination | a durable subscription |
//! | `DeadLetter` | destination | a dead letter was purged or is offered again |
//! | `Peer` | both | the spool and run of another bridge |
//! | `Started` | both | a run of this bridge began |

use meshbridge_routing::{BridgeId, EventKey, Run};
use smallvec::SmallVec;

use crate::codec::{DecodeError, Reader, Result, Writer};

/// Bytes of a rule or reason.
pub const REASON_BYTES_MAX: usize = 512;
/// Destinations of one event.
pub const DESTINATIONS_MAX: usize = 4_096;
/// Subscriptions of one event at one bridge.
pub const GROUPS_MAX: usize = 65_536;
pub(crate) const RANGES_MAX: usize = 65_536;
const TOPIC_BYTES_MAX: usize = 256;
const FILTERS_MAX: usize = 1_000;
const FILTER_BYTES_MAX: usize = 768;
const NAME_BYTES_MAX: usize = 1_024;

/// How a pair of event and destination ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Delivered,
    /// By this rule.
    Denied(Box<str>),
    Expired,
    /// For this reason.
    DeadLettered(Box<str>),
}

impl Outcome {
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Denied(_) => "denied",
            Outcome::Expired => "expired",
            Outcome::DeadLettered(_) => "dead-lettered",
        }
    }

    /// The rule or reason.
    pub fn why(&self) -> Option<&str> {
        match self {
            Outcome::Denied(why) | Outcome::DeadLettered(why) => Some(why),
            Outcome::Delivered | Outcome::Expired => None,
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u8(match self {
            Outcome::Delivered => 0,
            Outcome::Denied(_) => 1,
            Outcome::Expired => 2,
            Outcome::DeadLettered(_) => 3,
        });
        if let Some(why) = self.why() {
            out.text(cut(why));
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Outcome> {
        Ok(match from.u8()? {
            0 => Outcome::Delivered,
            1 => Outcome::Denied(from.text(REASON_BYTES_MAX, "a rule")?.into()),
            2 => Outcome::Expired,
            3 => Outcome::DeadLettered(from.text(REASON_BYTES_MAX, "a reason")?.into()),
            _ => return Err(DecodeError::Invalid("an outcome")),
        })
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=REASON_BYTES_MAX.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

/// Numbers of one lane of a run: all up to `cumulative`, and the ranges above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneRanges {
    pub run: Run,
    pub lane: u8,
    pub cumulative: u64,
    pub above: Vec<(u64, u64)>,
}

impl LaneRanges {
    pub fn contains(&self, seq: u64) -> bool {
        let at = self.above.partition_point(|(from, _)| *from <= seq);
        seq <= self.cumulative
            || at.checked_sub(1).and_then(|at| self.above.get(at)).is_some_and(|(_, to)| *to >= seq)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.run(self.run);
        out.u8(self.lane);
        out.number(self.cumulative);
        out.number(self.above.len() as u64);
        let mut last = self.cumulative;
        for (from, to) in &self.above {
            out.number(from - last);
            out.number(to - from);
            last = *to;
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<LaneRanges> {
        let (run, lane, cumulative) = (from.run()?, from.lane()?, from.number()?);
        let count = from.count(RANGES_MAX, "ranges")?;
        let mut above = Vec::with_capacity(count);
        let mut last = cumulative;
        for _ in 0..count {
            let start = last.checked_add(from.number()?).ok_or(DecodeError::Invalid("a range"))?;
            let end = start.checked_add(from.number()?).ok_or(DecodeError::Invalid("a range"))?;
            above.push((start, end));
            last = end;
        }
        Ok(LaneRanges { run, lane, cumulative, above })
    }
}

/// One ended pair, as the origin hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    pub run: Run,
    pub lane: u8,
    pub seq: u64,
    pub outcome: Outcome,
}

/// A destination of an accepted event, and the last earlier number of its lane that was for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destined {
    pub bridge: BridgeId,
    pub prev: u64,
}

/// Of an event that a client published here; its bytes follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub body: u64,
    pub run: Run,
    pub lane: u8,
    pub seq: u64,
    /// Hash of (principal, source, id).
    pub producer: u128,
    /// Milliseconds since 1970, UTC.
    pub at: u64,
    /// End of life in the same terms; 0 for none.
    pub expires: u64,
    /// The payload stays until the event has ended everywhere, not only until it is stored there.
    pub retain_delivered: bool,
    /// Bytes of the event.
    pub size: u32,
    pub topic: Box<str>,
    pub destinations: SmallVec<[Destined; 4]>,
    /// Durable subscriptions of this bridge that it is for.
    pub groups: SmallVec<[u32; 4]>,
    /// It is for this bridge, also where `groups` is empty.
    pub local: bool,
}

/// Of an event that another bridge sent; its bytes follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub body: u64,
    pub key: EventKey,
    pub prev: u64,
    pub at: u64,
    pub expires: u64,
    /// Bytes of the event.
    pub size: u32,
    pub topic: Box<str>,
    pub groups: SmallVec<[u32; 4]>,
}

/// How a subscription ended an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEnd {
    Acknowledged,
    /// Kept for browsing and replay.
    DeadLettered(Box<str>),
    /// Its life ended before it was acknowledged.
    Expired,
    /// A rule forbids it now.
    Denied(Box<str>),
}

/// What becomes of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterEnd {
    Purged,
    Replayed,
}

/// A durable subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRecord {
    pub id: u32,
    pub name: Box<str>,
    /// The principal that made it and alone may use it.
    pub owner: Box<str>,
    pub filters: Vec<Box<str>>,
    /// Settings of the layer above, kept as they are.
    pub settings: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Accepted(Accepted),
    Taken(Taken),
    Ended {
        key: EventKey,
        prev: u64,
        outcome: Outcome,
    },
    Group {
        body: u64,
        group: u32,
        end: GroupEnd,
    },
    /// Of events without durable subscriptions: the living ones have had it, or left.
    LocalEnd {
        body: u64,
        outcome: Outcome,
    },
    Receipt {
        from: BridgeId,
        lanes: Vec<LaneRanges>,
    },
    /// The first one has number `first`.
    Outcomes {
        from: BridgeId,
        first: u64,
        endings: Vec<Ending>,
    },
    OutcomesKnown {
        by: BridgeId,
        upto: u64,
    },
    EndedHere {
        body: u64,
        destination: BridgeId,
        outcome: Outcome,
    },
    Lost {
        destination: BridgeId,
        keys: Vec<(Run, u8, u64)>,
    },
    Subscription(SubscriptionRecord),
    SubscriptionGone {
        id: u32,
    },
    DeadLetter {
        body: u64,
        group: u32,
        end: DeadLetterEnd,
    },
    Peer {
        bridge: BridgeId,
        spool: u128,
        run: Run,
        closed: u64,
    },
    Started {
        run: Run,
    },
}

mod kind {
    pub(super) const ACCEPTED: u8 = 1;
    pub(super) const TAKEN: u8 = 2;
    pub(super) const ENDED: u8 = 3;
    pub(super) const GROUP: u8 = 4;
    pub(super) const LOCAL_END: u8 = 5;
    pub(super) const RECEIPT: u8 = 6;
    pub(super) const OUTCOMES: u8 = 7;
    pub(super) const OUTCOMES_KNOWN: u8 = 8;
    pub(super) const ENDED_HERE: u8 = 9;
    pub(super) const LOST: u8 = 10;
    pub(super) const SUBSCRIPTION: u8 = 11;
    pub(super) const SUBSCRIPTION_GONE: u8 = 12;
    pub(super) const DEAD_LETTER: u8 = 13;
    pub(super) const PEER: u8 = 14;
    pub(super) const STARTED: u8 = 15;
}

impl Record {
    /// The id under which the event's bytes can be read back, where they follow the record.
    pub fn body(&self) -> Option<u64> {
        match self {
            Record::Accepted(accepted) => Some(accepted.body),
            Record::Taken(taken) => Some(taken.body),
            _ => None,
        }
    }

    /// The record without the event's bytes, which come after it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Record::Accepted(accepted) => write_accepted(&mut out, accepted),
            Record::Taken(taken) => write_taken(&mut out, taken),
            Record::Ended { key, prev, outcome } => {
                out.u8(kind::ENDED);
                out.key(key);
                out.number(*prev);
                outcome.write(&mut out);
            }
            Record::Group { body, group, end } => {
                out.u8(kind::GROUP);
                out.number(*body);
                out.number(u64::from(*group));
                write_group_end(&mut out, end);
            }
            Record::LocalEnd { body, outcome } => {
                out.u8(kind::LOCAL_END);
                out.number(*body);
                outcome.write(&mut out);
            }
            Record::Receipt { from, lanes } => {
                out.u8(kind::RECEIPT);
                out.text(from.as_str());
                out.number(lanes.len() as u64);
                lanes.iter().for_each(|lane| lane.write(&mut out));
            }
            Record::Outcomes { from, first, endings } => {
                out.u8(kind::OUTCOMES);
                out.text(from.as_str());
                write_endings(&mut out, *first, endings);
            }
            Record::OutcomesKnown { by, upto } => {
                out.u8(kind::OUTCOMES_KNOWN);
                out.text(by.as_str());
                out.number(*upto);
            }
            Record::EndedHere { body, destination, outcome } => {
                out.u8(kind::ENDED_HERE);
                out.number(*body);
                out.text(destination.as_str());
                outcome.write(&mut out);
            }
            Record::Lost { destination, keys } => {
                out.u8(kind::LOST);
                out.text(destination.as_str());
                out.number(keys.len() as u64);
                for (run, lane, seq) in keys {
                    out.run(*run);
                    out.u8(*lane);
                    out.number(*seq);
                }
            }
            Record::Subscription(subscription) => {
                out.u8(kind::SUBSCRIPTION);
                out.number(u64::from(subscription.id));
                out.text(&subscription.name);
                out.text(&subscription.owner);
                out.number(subscription.filters.len() as u64);
                subscription.filters.iter().for_each(|filter| out.text(filter));
                out.text(&subscription.settings);
            }
            Record::SubscriptionGone { id } => {
                out.u8(kind::SUBSCRIPTION_GONE);
                out.number(u64::from(*id));
            }
            Record::DeadLetter { body, group, end } => {
                out.u8(kind::DEAD_LETTER);
                out.number(*body);
                out.number(u64::from(*group));
                out.u8(u8::from(*end == DeadLetterEnd::Replayed));
            }
            Record::Peer { bridge, spool, run, closed } => {
                out.u8(kind::PEER);
                out.text(bridge.as_str());
                out.u128(*spool);
                out.run(*run);
                out.number(*closed);
            }
            Record::Started { run } => {
                out.u8(kind::STARTED);
                out.run(*run);
            }
        }
        out.0
    }

    /// The record, and the bytes of the event behind it.
    pub fn decode(bytes: &[u8]) -> Result<(Record, &[u8])> {
        let mut from = Reader(bytes);
        let record = match from.u8()? {
            kind::ACCEPTED => return Ok((Record::Accepted(read_accepted(&mut from)?), from.0)),
            kind::TAKEN => return Ok((Record::Taken(read_taken(&mut from)?), from.0)),
            kind::ENDED => {
                Record::Ended { key: from.key()?, prev: from.number()?, outcome: Outcome::read(&mut from)? }
            }
            kind::GROUP => Record::Group {
                body: from.number()?,
                group: read_id(&mut from)?,
                end: read_group_end(&mut from)?,
            },
            kind::LOCAL_END => Record::LocalEnd { body: from.number()?, outcome: Outcome::read(&mut from)? },
            kind::RECEIPT => {
                let bridge = from.bridge()?;
                let count = from.count(RANGES_MAX, "lanes")?;
                let lanes = (0..count).map(|_| LaneRanges::read(&mut from)).collect::<Result<_>>()?;
                Record::Receipt { from: bridge, lanes }
            }
            kind::OUTCOMES => {
                let bridge = from.bridge()?;
                let (first, endings) = read_endings(&mut from)?;
                Record::Outcomes { from: bridge, first, endings }
            }
            kind::OUTCOMES_KNOWN => Record::OutcomesKnown { by: from.bridge()?, upto: from.number()? },
            kind::ENDED_HERE => Record::EndedHere {
                body: from.number()?,
                destination: from.bridge()?,
                outcome: Outcome::read(&mut from)?,
            },
            kind::LOST => {
                let destination = from.bridge()?;
                let count = from.count(usize::MAX, "keys")?;
                let keys = (0..count).map(|_| Ok((from.run()?, from.lane()?, from.number()?)));
                Record::Lost { destination, keys: keys.collect::<Result<_>>()? }
            }
            kind::SUBSCRIPTION => Record::Subscription(read_subscription(&mut from)?),
            kind::SUBSCRIPTION_GONE => Record::SubscriptionGone { id: read_id(&mut from)? },
            kind::DEAD_LETTER => Record::DeadLetter {
                body: from.number()?,
                group: read_id(&mut from)?,
                end: if from.flag()? { DeadLetterEnd::Replayed } else { DeadLetterEnd::Purged },
            },
            kind::PEER => Record::Peer {
                bridge: from.bridge()?,
                spool: from.u128()?,
                run: from.run()?,
                closed: from.number()?,
            },
            kind::STARTED => Record::Started { run: from.run()? },
            unknown => return Err(DecodeError::UnknownKind(unknown)),
        };
        from.end()?;
        Ok((record, &[]))
    }
}

fn write_accepted(out: &mut Writer, accepted: &Accepted) {
    out.u8(kind::ACCEPTED);
    out.number(accepted.body);
    out.run(accepted.run);
    out.u8(accepted.lane);
    out.number(accepted.seq);
    out.u128(accepted.producer);
    out.number(accepted.at);
    out.number(accepted.expires);
    out.u8(u8::from(accepted.retain_delivered) | u8::from(accepted.local) << 1);
    out.number(u64::from(accepted.size));
    out.text(&accepted.topic);
    out.number(accepted.destinations.len() as u64);
    for destined in &accepted.destinations {
        out.text(destined.bridge.as_str());
        out.number(destined.prev);
    }
    write_groups(out, &accepted.groups);
}

fn read_accepted(from: &mut Reader<'_>) -> Result<Accepted> {
    let (body, run, lane, seq) = (from.number()?, from.run()?, from.lane()?, from.number()?);
    let (producer, at, expires, flags) = (from.u128()?, from.number()?, from.number()?, from.u8()?);
    let size = read_id(from)?;
    let topic = from.text(TOPIC_BYTES_MAX, "a topic")?.into();
    let count = from.count(DESTINATIONS_MAX, "destinations")?;
    let destinations = (0..count).map(|_| Ok(Destined { bridge: from.bridge()?, prev: from.number()? }));
    Ok(Accepted {
        body,
        run,
        lane,
        seq,
        producer,
        at,
        expires,
        retain_delivered: flags & 1 != 0,
        local: flags & 2 != 0,
        size,
        topic,
        destinations: destinations.collect::<Result<_>>()?,
        groups: read_groups(from)?,
    })
}

fn write_taken(out: &mut Writer, taken: &Taken) {
    out.u8(kind::TAKEN);
    out.number(taken.body);
    out.key(&taken.key);
    out.number(taken.prev);
    out.number(taken.at);
    out.number(taken.expires);
    out.number(u64::from(taken.size));
    out.text(&taken.topic);
    write_groups(out, &taken.groups);
}

fn read_taken(from: &mut Reader<'_>) -> Result<Taken> {
    Ok(Taken {
        body: from.number()?,
        key: from.key()?,
        prev: from.number()?,
        at: from.number()?,
        expires: from.number()?,
        size: read_id(from)?,
        topic: from.text(TOPIC_BYTES_MAX, "a topic")?.into(),
        groups: read_groups(from)?,
    })
}

fn write_groups(out: &mut Writer, groups: &[u32]) {
    out.number(groups.len() as u64);
    groups.iter().for_each(|group| out.number(u64::from(*group)));
}

fn read_groups(from: &mut Reader<'_>) -> Result<SmallVec<[u32; 4]>> {
    let count = from.count(GROUPS_MAX, "subscriptions")?;
    (0..count).map(|_| read_id(from)).collect()
}

pub(crate) fn read_id(from: &mut Reader<'_>) -> Result<u32> {
    u32::try_from(from.number()?).map_err(|_| DecodeError::Invalid("a subscription's number"))
}

fn write_group_end(out: &mut Writer, end: &GroupEnd) {
    match end {
        GroupEnd::Acknowledged => out.u8(0),
        GroupEnd::DeadLettered(reason) => {
            out.u8(1);
            out.text(cut(reason));
        }
        GroupEnd::Expired => out.u8(2),
        GroupEnd::Denied(rule) => {
            out.u8(3);
            out.text(cut(rule));
        }
    }
}

fn read_group_end(from: &mut Reader<'_>) -> Result<GroupEnd> {
    Ok(match from.u8()? {
        0 => GroupEnd::Acknowledged,
        1 => GroupEnd::DeadLettered(from.text(REASON_BYTES_MAX, "a reason")?.into()),
        2 => GroupEnd::Expired,
        3 => GroupEnd::Denied(from.text(REASON_BYTES_MAX, "a rule")?.into()),
        _ => return Err(DecodeError::Invalid("an end")),
    })
}

pub(crate) fn write_endings(out: &mut Writer, first: u64, endings: &[Ending]) {
    out.number(first);
    out.number(endings.len() as u64);
    for ending in endings {
        out.run(ending.run);
        out.u8(ending.lane);
        out.number(ending.seq);
        ending.outcome.write(out);
    }
}

pub(crate) fn read_endings(from: &mut Reader<'_>) -> Result<(u64, Vec<Ending>)> {
    let first = from.number()?;
    let count = from.count(RANGES_MAX, "outcomes")?;
    let endings = (0..count).map(|_| {
        Ok(Ending {
            run: from.run()?,
            lane: from.lane()?,
            seq: from.number()?,
            outcome: Outcome::read(from)?,
        })
    });
    Ok((first, endings.collect::<Result<_>>()?))
}

pub(crate) fn read_subscription(from: &mut Reader<'_>) -> Result<SubscriptionRecord> {
    let id = read_id(from)?;
    let name = from.text(NAME_BYTES_MAX, "a name")?.into();
    let owner = from.text(NAME_BYTES_MAX, "an owner")?.into();
    let count = from.count(FILTERS_MAX, "filters")?;
    let filters = (0..count).map(|_| Ok(from.text(FILTER_BYTES_MAX, "a filter")?.into()));
    let filters = filters.collect::<Result<_>>()?;
    Ok(SubscriptionRecord { id, name, owner, filters, settings: from.text(65_536, "settings")?.into() })
}
