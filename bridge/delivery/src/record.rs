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
//! | `OutcomesAnew` | destination | outcomes have other numbers: the origin has noted others under those that they had |
//! | `EndedHere` | origin | a pair that the origin ended itself; it was never sent |
//! | `Lost` | origin | what a destination had stored and has lost with its disk, or how it ended there |
//! | `Subscription`, `SubscriptionGone` | destination | a durable subscription |
//! | `DeadLetter` | destination | a dead letter was purged or is offered again |
//! | `Turn` | destination | how often a subscription was offered an event, and that others overtook it |
//! | `Peer` | both | the spool and run of another bridge |
//! | `Skipped` | destination | numbers of a lane that will never come |
//! | `GroupReturned` | destination | no member of a consumer group is here any more: the origin chooses anew |
//! | `GroupTakenBack` | origin | the same, by the origin, of an event that never left for there |
//! | `GroupEnded` | origin | an event has ended for a consumer group that no bridge was chosen for |
//! | `Interest` | origin | what another bridge wants, in the words of routing |
//! | `InterestMore` | origin | the rest of it, or what changed in it |
//! | `Started` | both | a run of this bridge began |
//! | `KeysAnew` | origin | events go on under other keys: their numbers were used twice |
//! | `Membership` | origin | what an operator decided about another bridge, and what followed |

mod choices;
mod codec;
pub mod membership;

use std::sync::Arc;

use meshbridge_routing::{BridgeId, EventKey, GroupName, Run};
use smallvec::SmallVec;

pub use choices::Choices;
pub(crate) use codec::{read_endings, read_id, write_endings};

use crate::codec::{DecodeError, Reader, Result, Writer};

/// Bytes of the name of who published an event: as long as an identity in a certificate may be.
pub const PUBLISHER_BYTES_MAX: usize = 2_048;
/// Bytes of a rule or reason.
pub const REASON_BYTES_MAX: usize = 512;
/// Destinations of one event.
pub const DESTINATIONS_MAX: usize = 4_096;
/// Subscriptions of one event at one bridge.
pub const GROUPS_MAX: usize = 65_536;
pub(crate) const RANGES_MAX: usize = 65_536;

/// How a pair of event and destination ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Delivered,
    /// By this rule.
    Denied(Box<str>),
    Expired,
    /// For this reason.
    DeadLettered(Box<str>),
    /// The pair has left the account of this destination for that of another, under another key (D9).
    Moved,
    /// A rule of the destination refuses it and wants it kept: by its origin, for which it is a dead letter (POLICY §3).
    Kept(Box<str>),
    /// No end of the pair: a consumer group has no member there, and the origin is to choose another bridge. Offered so
    /// often.
    Returned(GroupName, u32),
}

impl Outcome {
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Denied(_) => "denied",
            Outcome::Expired => "expired",
            Outcome::DeadLettered(_) | Outcome::Kept(_) => "dead-lettered",
            Outcome::Moved => "moved",
            Outcome::Returned(..) => "returned",
        }
    }

    /// The rule or reason.
    pub fn why(&self) -> Option<&str> {
        match self {
            Outcome::Denied(why) | Outcome::DeadLettered(why) | Outcome::Kept(why) => Some(why),
            Outcome::Returned(group, _) => Some(group.as_str()),
            Outcome::Delivered | Outcome::Expired | Outcome::Moved => None,
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u8(match self {
            Outcome::Delivered => 0,
            Outcome::Denied(_) => 1,
            Outcome::Expired => 2,
            Outcome::DeadLettered(_) => 3,
            Outcome::Moved => 4,
            Outcome::Returned(..) => 5,
            Outcome::Kept(_) => 6,
        });
        if let Some(why) = self.why() {
            out.text(cut(why));
        }
        if let Outcome::Returned(_, attempts) = self {
            out.number(u64::from(*attempts));
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Outcome> {
        Ok(match from.u8()? {
            0 => Outcome::Delivered,
            1 => Outcome::Denied(from.text(REASON_BYTES_MAX, "a rule")?.into()),
            2 => Outcome::Expired,
            3 => Outcome::DeadLettered(from.text(REASON_BYTES_MAX, "a reason")?.into()),
            4 => Outcome::Moved,
            5 => Outcome::Returned(from.group_name()?, codec::read_id(from)?),
            6 => Outcome::Kept(from.text(REASON_BYTES_MAX, "a rule")?.into()),
            _ => return Err(DecodeError::Invalid("an outcome")),
        })
    }
}

pub(crate) fn cut(text: &str) -> &str {
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

    /// About what it takes in a message.
    pub(crate) fn bytes(&self) -> usize {
        24 + self.above.len() * 12
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

    /// As [`LaneRanges::write`], where the ranges need not lie above the number.
    pub(crate) fn write_unordered(&self, out: &mut Writer) {
        out.number(self.cumulative);
        LaneRanges { cumulative: 0, ..self.clone() }.write(out);
    }

    pub(crate) fn read_unordered(from: &mut Reader<'_>) -> Result<LaneRanges> {
        let cumulative = from.number()?;
        Ok(LaneRanges { cumulative, ..LaneRanges::read(from)? })
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
    /// Of consumer groups.
    pub choices: Option<Box<Choices>>,
    /// Who published it, for the rules that ask: they are asked again when it is sent, perhaps by a later process. `None` in
    /// what earlier versions wrote, and where the name is beyond [`PUBLISHER_BYTES_MAX`].
    pub publisher: Option<Arc<str>>,
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
    /// For `groups` only, not for subscriptions without memory.
    pub groups_only: bool,
    /// Offered so often elsewhere.
    pub attempts: u32,
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

/// What a subscription has made of an event that it has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// Attempts that failed, but for those that a start of the bridge cut short.
    pub tries: u32,
    /// Of these, the ones before it was a dead letter: they count for its subscriber, and not against its end.
    pub before: u32,
    /// Later events may have been handed out before it.
    pub overtaken: bool,
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
    /// Outcome `number` for the origin; numbers are written down, so that damage cannot shift them.
    Ended {
        key: EventKey,
        prev: u64,
        number: u64,
        outcome: Outcome,
    },
    Group {
        body: u64,
        group: u32,
        end: GroupEnd,
    },
    /// The pair of this event and this bridge; `number` as above, 0 for an own event.
    LocalEnd {
        body: u64,
        key: EventKey,
        number: u64,
        outcome: Outcome,
    },
    /// Outcome `number` for the origin, as above; of subscription `group` here, 0 for none.
    GroupReturned {
        body: u64,
        key: EventKey,
        number: u64,
        group: u32,
        name: GroupName,
        attempts: u32,
    },
    GroupTakenBack {
        body: u64,
        destination: BridgeId,
        name: GroupName,
    },
    GroupEnded {
        body: u64,
        name: GroupName,
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
    /// The origin has noted outcomes under these numbers, and this disk, which may be an older copy of itself, cannot
    /// know which. Those before number `before` are noted; the others are told anew, from number `from`.
    OutcomesAnew {
        by: BridgeId,
        before: u64,
        from: u64,
    },
    EndedHere {
        body: u64,
        destination: BridgeId,
        outcome: Outcome,
    },
    /// For this reason.
    Lost {
        destination: BridgeId,
        /// That the stream of outcomes will not tell.
        outcome: Outcome,
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
    Turn {
        body: u64,
        group: u32,
        turn: Turn,
    },
    Peer {
        bridge: BridgeId,
        spool: u128,
        run: Run,
        closed: u64,
    },
    /// Numbers that will never come.
    Skipped {
        origin: BridgeId,
        run: Run,
        lane: u8,
        ranges: Vec<(u64, u64)>,
    },
    Interest {
        owner: BridgeId,
        messages: Vec<Box<[u8]>>,
    },
    /// To be read after what was said of the owner before.
    InterestMore {
        owner: BridgeId,
        messages: Vec<Box<[u8]>>,
    },
    Started {
        run: Run,
    },
    /// Own events that some destination has not settled go on in this run, each under this number of its lane (M22).
    /// Bodies ascend.
    KeysAnew {
        run: Run,
        events: Vec<(u64, u64)>,
    },
    Membership(membership::MembershipRecord),
}

impl Record {
    /// What its messages of routing take in the log. All else in a record, but for the event's bytes, is small.
    pub fn message_bytes(&self) -> usize {
        match self {
            Record::Interest { messages, .. } | Record::InterestMore { messages, .. } => {
                messages.iter().map(|message| message.len()).sum()
            }
            _ => 0,
        }
    }
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
}
