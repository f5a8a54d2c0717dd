//! Records as bytes.

use smallvec::SmallVec;

use super::{
    Accepted, Choices, DESTINATIONS_MAX, DeadLetterEnd, Destined, Ending, GROUPS_MAX, GroupEnd, LaneRanges,
    Outcome, PUBLISHER_BYTES_MAX, RANGES_MAX, REASON_BYTES_MAX, Record, SubscriptionRecord, Taken, cut,
};
use crate::codec::{DecodeError, Reader, Result, Writer};
use crate::state::{read_turn, write_turn};

const INTEREST_MESSAGES_MAX: usize = 65_536;
const INTEREST_BYTES_MAX: usize = 128 << 10;
const TOPIC_BYTES_MAX: usize = 256;
const FILTERS_MAX: usize = 1_000;
const FILTER_BYTES_MAX: usize = 768;
const NAME_BYTES_MAX: usize = 1_024;

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
    pub(super) const INTEREST: u8 = 16;
    pub(super) const SKIPPED: u8 = 17;
    pub(super) const GROUP_RETURNED: u8 = 18;
    pub(super) const GROUP_TAKEN_BACK: u8 = 19;
    pub(super) const GROUP_ENDED: u8 = 20;
    pub(super) const OUTCOMES_ANEW: u8 = 21;
    pub(super) const INTEREST_MORE: u8 = 22;
    pub(super) const TURN: u8 = 23;
    pub(super) const KEYS_ANEW: u8 = 24;
    pub(super) const MEMBERSHIP: u8 = 32;
}

impl Record {
    /// The record without the event's bytes, which come after it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Record::Accepted(accepted) => write_accepted(&mut out, accepted),
            Record::Taken(taken) => write_taken(&mut out, taken),
            Record::Ended { key, prev, number, outcome } => {
                out.u8(kind::ENDED);
                out.key(key);
                out.number(*prev);
                out.number(*number);
                outcome.write(&mut out);
            }
            Record::Group { body, group, end } => {
                out.u8(kind::GROUP);
                out.number(*body);
                out.number(u64::from(*group));
                write_group_end(&mut out, end);
            }
            Record::GroupReturned { body, key, number, group, name, attempts } => {
                out.u8(kind::GROUP_RETURNED);
                out.number(*body);
                out.key(key);
                out.number(*number);
                out.number(u64::from(*group));
                out.text(name.as_str());
                out.number(u64::from(*attempts));
            }
            Record::GroupTakenBack { body, destination, name } => {
                out.u8(kind::GROUP_TAKEN_BACK);
                out.number(*body);
                out.text(destination.as_str());
                out.text(name.as_str());
            }
            Record::GroupEnded { body, name, outcome } => {
                out.u8(kind::GROUP_ENDED);
                out.number(*body);
                out.text(name.as_str());
                outcome.write(&mut out);
            }
            Record::LocalEnd { body, key, number, outcome } => {
                out.u8(kind::LOCAL_END);
                out.number(*body);
                out.key(key);
                out.number(*number);
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
            Record::OutcomesAnew { by, before, from } => {
                out.u8(kind::OUTCOMES_ANEW);
                out.text(by.as_str());
                out.number(*before);
                out.number(*from);
            }
            Record::EndedHere { body, destination, outcome } => {
                out.u8(kind::ENDED_HERE);
                out.number(*body);
                out.text(destination.as_str());
                outcome.write(&mut out);
            }
            Record::Turn { body, group, turn } => {
                out.u8(kind::TURN);
                write_turn(&mut out, *body, *group, *turn);
            }
            Record::Lost { destination, outcome, keys } => {
                out.u8(kind::LOST);
                out.text(destination.as_str());
                outcome.write(&mut out);
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
            Record::Skipped { origin, run, lane, ranges } => {
                out.u8(kind::SKIPPED);
                out.text(origin.as_str());
                let (run, lane, above) = (*run, *lane, ranges.clone());
                LaneRanges { run, lane, cumulative: 0, above }.write(&mut out);
            }
            Record::Interest { owner, messages } | Record::InterestMore { owner, messages } => {
                let is_more = matches!(self, Record::InterestMore { .. });
                out.u8(if is_more { kind::INTEREST_MORE } else { kind::INTEREST });
                out.text(owner.as_str());
                out.number(messages.len() as u64);
                messages.iter().for_each(|message| out.bytes(message));
            }
            Record::KeysAnew { run, events } => {
                out.u8(kind::KEYS_ANEW);
                out.run(*run);
                out.number(events.len() as u64);
                for (body, seq) in events {
                    out.number(*body);
                    out.number(*seq);
                }
            }
            Record::Started { run } => {
                out.u8(kind::STARTED);
                out.run(*run);
            }
            Record::Membership(record) => {
                out.u8(kind::MEMBERSHIP);
                record.write(&mut out);
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
            kind::ENDED => Record::Ended {
                key: from.key()?,
                prev: from.number()?,
                number: from.number()?,
                outcome: Outcome::read(&mut from)?,
            },
            kind::GROUP => Record::Group {
                body: from.number()?,
                group: read_id(&mut from)?,
                end: read_group_end(&mut from)?,
            },
            kind::GROUP_RETURNED => Record::GroupReturned {
                body: from.number()?,
                key: from.key()?,
                number: from.number()?,
                group: read_id(&mut from)?,
                name: from.group_name()?,
                attempts: read_id(&mut from)?,
            },
            kind::GROUP_TAKEN_BACK => Record::GroupTakenBack {
                body: from.number()?,
                destination: from.bridge()?,
                name: from.group_name()?,
            },
            kind::GROUP_ENDED => Record::GroupEnded {
                body: from.number()?,
                name: from.group_name()?,
                outcome: Outcome::read(&mut from)?,
            },
            kind::LOCAL_END => Record::LocalEnd {
                body: from.number()?,
                key: from.key()?,
                number: from.number()?,
                outcome: Outcome::read(&mut from)?,
            },
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
            kind::OUTCOMES_ANEW => {
                Record::OutcomesAnew { by: from.bridge()?, before: from.number()?, from: from.number()? }
            }
            kind::ENDED_HERE => Record::EndedHere {
                body: from.number()?,
                destination: from.bridge()?,
                outcome: Outcome::read(&mut from)?,
            },
            kind::LOST => {
                let destination = from.bridge()?;
                let outcome = Outcome::read(&mut from)?;
                let count = from.count(usize::MAX, "keys")?;
                let keys = (0..count).map(|_| Ok((from.run()?, from.lane()?, from.number()?)));
                Record::Lost { destination, outcome, keys: keys.collect::<Result<_>>()? }
            }
            kind::SUBSCRIPTION => Record::Subscription(read_subscription(&mut from)?),
            kind::SUBSCRIPTION_GONE => Record::SubscriptionGone { id: read_id(&mut from)? },
            kind::DEAD_LETTER => Record::DeadLetter {
                body: from.number()?,
                group: read_id(&mut from)?,
                end: if from.flag()? { DeadLetterEnd::Replayed } else { DeadLetterEnd::Purged },
            },
            kind::TURN => {
                let (body, group, turn) = read_turn(&mut from)?;
                Record::Turn { body, group, turn }
            }
            kind::PEER => Record::Peer {
                bridge: from.bridge()?,
                spool: from.u128()?,
                run: from.run()?,
                closed: from.number()?,
            },
            kind::SKIPPED => {
                let origin = from.bridge()?;
                let LaneRanges { run, lane, above, .. } = LaneRanges::read(&mut from)?;
                Record::Skipped { origin, run, lane, ranges: above }
            }
            kind @ (kind::INTEREST | kind::INTEREST_MORE) => {
                let owner = from.bridge()?;
                let count = from.count(INTEREST_MESSAGES_MAX, "messages")?;
                let messages = (0..count).map(|_| Ok(from.bytes(INTEREST_BYTES_MAX, "a message")?.into()));
                let messages = messages.collect::<Result<_>>()?;
                match kind {
                    kind::INTEREST => Record::Interest { owner, messages },
                    _ => Record::InterestMore { owner, messages },
                }
            }
            kind::STARTED => Record::Started { run: from.run()? },
            kind::KEYS_ANEW => {
                let run = from.run()?;
                let count = from.count(usize::MAX, "events")?;
                let events = (0..count).map(|_| Ok((from.number()?, from.number()?)));
                Record::KeysAnew { run, events: events.collect::<Result<_>>()? }
            }
            kind::MEMBERSHIP => Record::Membership(super::membership::MembershipRecord::read(&mut from)?),
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
    let publisher = accepted.publisher.as_deref().filter(|name| name.len() <= PUBLISHER_BYTES_MAX);
    let flags = [accepted.retain_delivered, accepted.local, accepted.choices.is_some(), publisher.is_some()];
    out.u8((0..).zip(flags).map(|(bit, set)| u8::from(set) << bit).sum());
    out.number(u64::from(accepted.size));
    out.text(&accepted.topic);
    out.number(accepted.destinations.len() as u64);
    for destined in &accepted.destinations {
        out.text(destined.bridge.as_str());
        out.number(destined.prev);
    }
    write_groups(out, &accepted.groups);
    if let Some(choices) = &accepted.choices {
        choices.write(out);
    }
    if let Some(publisher) = publisher {
        out.text(publisher);
    }
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
        choices: if flags & 4 != 0 { Some(Box::new(Choices::read(from)?)) } else { None },
        publisher: match flags & 8 {
            0 => None,
            _ => Some(from.text(PUBLISHER_BYTES_MAX, "a publisher")?.into()),
        },
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
    out.u8(u8::from(taken.groups_only));
    out.number(u64::from(taken.attempts));
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
        groups_only: from.flag()?,
        attempts: read_id(from)?,
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

fn read_subscription(from: &mut Reader<'_>) -> Result<SubscriptionRecord> {
    let id = read_id(from)?;
    let name = from.text(NAME_BYTES_MAX, "a name")?.into();
    let owner = from.text(NAME_BYTES_MAX, "an owner")?.into();
    let count = from.count(FILTERS_MAX, "filters")?;
    let filters = (0..count).map(|_| Ok(from.text(FILTER_BYTES_MAX, "a filter")?.into()));
    let filters = filters.collect::<Result<_>>()?;
    Ok(SubscriptionRecord { id, name, owner, filters, settings: from.text(65_536, "settings")?.into() })
}
