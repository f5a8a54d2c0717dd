//! What an operator decides about another bridge as a destination of this one, and what follows from it
//! (RELIABILITY D2, D12, M39).

use meshbridge_routing::{BridgeId, Run};

use super::{REASON_BYTES_MAX, cut};
use crate::codec::{DecodeError, Reader, Result, Writer};

/// Pairs of one record.
pub(crate) const PAIRS_MAX: usize = 8_192;

/// How this bridge stands to another one as a destination. Whoever is not mentioned is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Gets what is pending and nothing new.
    Draining,
    /// Gets nothing. Interest that it says in a run after this one makes it a member again, from the start.
    Removed { run: Option<Run> },
}

/// Why a publication did not take an interested bridge into its destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeftOut {
    Draining,
    /// Its quota is used up, and it has been out of reach for long.
    Full,
    /// It was removed, and is heard of all the same.
    Removed,
}

impl LeftOut {
    pub const ALL: [LeftOut; 3] = [LeftOut::Draining, LeftOut::Full, LeftOut::Removed];

    pub fn name(self) -> &'static str {
        match self {
            LeftOut::Draining => "destination-draining",
            LeftOut::Full => "destination-full",
            LeftOut::Removed => "destination-removed",
        }
    }
}

/// A pair that ends because its destination is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GonePair {
    pub run: Run,
    pub lane: u8,
    pub seq: u64,
    /// It may have been sent, so the destination may have it.
    pub in_doubt: bool,
}

/// The records about other bridges as destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipRecord {
    /// `None`: a member like any other.
    Standing { bridge: BridgeId, standing: Option<Standing> },
    /// Pairs with a removed destination end.
    Gone { bridge: BridgeId, pairs: Vec<GonePair> },
    /// The publication with this body left an interested bridge out.
    LeftOut { body: u64, bridge: BridgeId, reason: LeftOut },
    /// A rule makes a dead letter of the pair, whose end is a record of its own: the origin keeps the event.
    Letter { body: u64, bridge: BridgeId, in_doubt: bool, reason: Box<str> },
    /// A dead letter of the origin was purged, or was published again.
    LetterGone { body: u64, bridge: BridgeId },
    /// Out of reach since this time; 0: within reach.
    Reach { bridge: BridgeId, since: u64 },
}

impl MembershipRecord {
    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            MembershipRecord::Standing { bridge, standing } => {
                out.u8(1);
                out.text(bridge.as_str());
                write_standing(out, *standing);
            }
            MembershipRecord::Gone { bridge, pairs } => {
                out.u8(2);
                out.text(bridge.as_str());
                out.number(pairs.len() as u64);
                for pair in pairs {
                    out.run(pair.run);
                    out.u8(pair.lane);
                    out.number(pair.seq);
                    out.u8(u8::from(pair.in_doubt));
                }
            }
            MembershipRecord::LeftOut { body, bridge, reason } => {
                out.u8(3);
                out.number(*body);
                out.text(bridge.as_str());
                out.u8(*reason as u8);
            }
            MembershipRecord::LetterGone { body, bridge } => {
                out.u8(4);
                out.number(*body);
                out.text(bridge.as_str());
            }
            MembershipRecord::Reach { bridge, since } => {
                out.u8(5);
                out.text(bridge.as_str());
                out.number(*since);
            }
            MembershipRecord::Letter { body, bridge, in_doubt, reason } => {
                out.u8(6);
                out.number(*body);
                out.text(bridge.as_str());
                out.u8(u8::from(*in_doubt));
                out.text(cut(reason));
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<MembershipRecord> {
        Ok(match from.u8()? {
            1 => MembershipRecord::Standing { bridge: from.bridge()?, standing: read_standing(from)? },
            2 => {
                let bridge = from.bridge()?;
                let count = from.count(PAIRS_MAX, "pairs")?;
                let pairs = (0..count).map(|_| {
                    let (run, lane, seq) = (from.run()?, from.lane()?, from.number()?);
                    Ok(GonePair { run, lane, seq, in_doubt: from.flag()? })
                });
                MembershipRecord::Gone { bridge, pairs: pairs.collect::<Result<_>>()? }
            }
            3 => {
                let (body, bridge, reason) = (from.number()?, from.bridge()?, from.u8()?);
                let reason = LeftOut::ALL.into_iter().find(|known| *known as u8 == reason);
                let reason = reason.ok_or(DecodeError::Invalid("a reason"))?;
                MembershipRecord::LeftOut { body, bridge, reason }
            }
            4 => MembershipRecord::LetterGone { body: from.number()?, bridge: from.bridge()? },
            5 => MembershipRecord::Reach { bridge: from.bridge()?, since: from.number()? },
            6 => MembershipRecord::Letter {
                body: from.number()?,
                bridge: from.bridge()?,
                in_doubt: from.flag()?,
                reason: from.text(REASON_BYTES_MAX, "a reason")?.into(),
            },
            unknown => return Err(DecodeError::UnknownKind(unknown)),
        })
    }
}

pub(crate) fn write_standing(out: &mut Writer, standing: Option<Standing>) {
    match standing {
        None => out.u8(0),
        Some(Standing::Draining) => out.u8(1),
        Some(Standing::Removed { run: None }) => out.u8(2),
        Some(Standing::Removed { run: Some(run) }) => {
            out.u8(3);
            out.run(run);
        }
    }
}

pub(crate) fn read_standing(from: &mut Reader<'_>) -> Result<Option<Standing>> {
    Ok(match from.u8()? {
        0 => None,
        1 => Some(Standing::Draining),
        2 => Some(Standing::Removed { run: None }),
        3 => Some(Standing::Removed { run: Some(from.run()?) }),
        _ => return Err(DecodeError::Invalid("a standing")),
    })
}
