//! Messages between two routers (`PROTOCOL.md`, R1 to R19). The first byte is the kind.

use bytes::{BufMut, Bytes, BytesMut};
use meshbridge_topic::TopicFilter;

use super::codec::{Put, Reader, WireError};
use crate::ids::{BridgeId, Run, ZoneName};
use crate::keyring::Signature;

/// Links in one record, and records or sets in one digest vector.
const LINKS_MAX: usize = 64;
const DIGESTS_MAX: usize = 4_096;
const CHAIN_MAX: usize = 4;
const CERTIFICATE_BYTES_MAX: usize = 4 << 10;
/// Filters in one delta or one chunk of a snapshot.
pub(crate) const FILTERS_PER_MESSAGE_MAX: usize = 2_048;
/// A record with its chain and signature.
const RECORD_BYTES_MAX: usize = 16 << 10;

/// What a bridge says of its own place in the topology (R5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub(crate) bridge: BridgeId,
    pub(crate) zone: ZoneName,
    pub(crate) run: Run,
    pub(crate) seq: u64,
    pub(crate) policy_digest: [u8; 32],
    /// Neighbour and cost, sorted by neighbour.
    pub(crate) links: Vec<(BridgeId, u32)>,
}

/// What a bridge says of one version of its interest (R11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterestVersion {
    pub(crate) bridge: BridgeId,
    pub(crate) zone: ZoneName,
    /// The zones that may learn the set; `all` in this version of the protocol.
    pub(crate) audience: String,
    pub(crate) run: Run,
    pub(crate) version: u64,
    pub(crate) count: u32,
    pub(crate) digest: [u8; 32],
}

/// A statement, its exact bytes, and the signature over them. Relays pass the bytes on as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed<T> {
    pub(crate) statement: T,
    pub(crate) bytes: Bytes,
    pub(crate) signature: Signature,
}

/// Names a record or a set, and how new it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) bridge: BridgeId,
    pub(crate) run: Run,
    /// Sequence of a record, version of a set.
    pub(crate) number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// R1: first on a link, and again until the neighbour has answered.
    Open { federation: String, bridge: BridgeId, run: Run },
    /// R2: every half second. `summary` is a digest of all that the sender knows.
    Hello { summary: [u8; 16], seen: bool },
    /// R6
    LinkState(Signed<LinkState>),
    /// R7
    LinkStateAck(Digest),
    /// R8
    Digests { records: Vec<Digest>, sets: Vec<Digest> },
    /// R12: `have` is what the asker has of the set, number 0 for nothing.
    InterestPull { have: Digest },
    /// R13
    InterestDelta {
        version: Signed<InterestVersion>,
        base: u64,
        adds: Vec<TopicFilter>,
        removes: Vec<TopicFilter>,
    },
    /// R14: `last` is the end-of-set mark.
    InterestSnapshot { version: Signed<InterestVersion>, chunk: u32, last: bool, filters: Vec<TopicFilter> },
    /// R17: the receiver's epoch is used up, it must continue above `epoch`.
    EpochFloor { epoch: u64 },
}

const OPEN: u8 = 1;
const HELLO: u8 = 2;
const LINK_STATE: u8 = 3;
const LINK_STATE_ACK: u8 = 4;
const DIGESTS: u8 = 5;
const INTEREST_PULL: u8 = 6;
const INTEREST_DELTA: u8 = 7;
const INTEREST_SNAPSHOT: u8 = 8;
const EPOCH_FLOOR: u8 = 9;

/// What the signature of each statement begins with, so that one can never pass for the other.
const LINK_STATE_CONTEXT: &[u8] = b"meshbridge/1 link state\0";
const INTEREST_CONTEXT: &[u8] = b"meshbridge/1 interest\0";

impl LinkState {
    pub(crate) fn to_signed_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(LINK_STATE_CONTEXT);
        out.put_text(self.bridge.as_str());
        out.put_text(self.zone.as_str());
        out.put_run(self.run);
        out.put_u64(self.seq);
        out.put_slice(&self.policy_digest);
        out.put_list(&self.links, |out, (neighbour, cost)| {
            out.put_text(neighbour.as_str());
            out.put_u32(*cost);
        });
        out.freeze()
    }

    fn from_signed_bytes(bytes: Bytes) -> Result<LinkState, WireError> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(LINK_STATE_CONTEXT.len())? != LINK_STATE_CONTEXT {
            return Err(WireError::Malformed("link state"));
        }
        let record = LinkState {
            bridge: reader.bridge()?,
            zone: reader.zone()?,
            run: reader.run()?,
            seq: reader.u64()?,
            policy_digest: reader.array()?,
            links: reader.list(LINKS_MAX, "links of a record", |r| Ok((r.bridge()?, r.u32()?)))?,
        };
        let sorted = record.links.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b));
        if !sorted || record.links.iter().any(|(_, cost)| *cost == 0) {
            return Err(WireError::Malformed("links of a record"));
        }
        reader.end().map(|()| record)
    }
}

impl InterestVersion {
    pub(crate) fn to_signed_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(INTEREST_CONTEXT);
        out.put_text(self.bridge.as_str());
        out.put_text(self.zone.as_str());
        out.put_text(&self.audience);
        out.put_run(self.run);
        out.put_u64(self.version);
        out.put_u32(self.count);
        out.put_slice(&self.digest);
        out.freeze()
    }

    fn from_signed_bytes(bytes: Bytes) -> Result<InterestVersion, WireError> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(INTEREST_CONTEXT.len())? != INTEREST_CONTEXT {
            return Err(WireError::Malformed("interest"));
        }
        let version = InterestVersion {
            bridge: reader.bridge()?,
            zone: reader.zone()?,
            audience: reader.string("audience")?,
            run: reader.run()?,
            version: reader.u64()?,
            count: reader.u32()?,
            digest: reader.array()?,
        };
        reader.end().map(|()| version)
    }
}

impl Message {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Message::Open { federation, bridge, run } => {
                out.put_u8(OPEN);
                out.put_text(federation);
                out.put_text(bridge.as_str());
                out.put_run(*run);
            }
            Message::Hello { summary, seen } => {
                out.put_u8(HELLO);
                out.put_slice(summary);
                out.put_u8(u8::from(*seen));
            }
            Message::LinkState(record) => {
                out.put_u8(LINK_STATE);
                put_signed(&mut out, record);
            }
            Message::LinkStateAck(digest) => {
                out.put_u8(LINK_STATE_ACK);
                put_digest(&mut out, digest);
            }
            Message::Digests { records, sets } => {
                out.put_u8(DIGESTS);
                out.put_list(records, put_digest);
                out.put_list(sets, put_digest);
            }
            Message::InterestPull { have } => {
                out.put_u8(INTEREST_PULL);
                put_digest(&mut out, have);
            }
            Message::InterestDelta { version, base, adds, removes } => {
                out.put_u8(INTEREST_DELTA);
                put_signed(&mut out, version);
                out.put_u64(*base);
                out.put_list(adds, put_filter);
                out.put_list(removes, put_filter);
            }
            Message::InterestSnapshot { version, chunk, last, filters } => {
                out.put_u8(INTEREST_SNAPSHOT);
                put_signed(&mut out, version);
                out.put_u32(*chunk);
                out.put_u8(u8::from(*last));
                out.put_list(filters, put_filter);
            }
            Message::EpochFloor { epoch } => {
                out.put_u8(EPOCH_FLOOR);
                out.put_u64(*epoch);
            }
        }
        out.freeze()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Message, WireError> {
        let mut reader = Reader::new(bytes);
        let filters = |reader: &mut Reader| {
            reader.list(FILTERS_PER_MESSAGE_MAX, "filters of a message", Reader::filter)
        };
        let message = match reader.u8()? {
            OPEN => Message::Open {
                federation: reader.string("federation")?,
                bridge: reader.bridge()?,
                run: reader.run()?,
            },
            HELLO => Message::Hello { summary: reader.array()?, seen: read_flag(&mut reader)? },
            LINK_STATE => Message::LinkState(read_signed(&mut reader, LinkState::from_signed_bytes)?),
            LINK_STATE_ACK => Message::LinkStateAck(read_digest(&mut reader)?),
            DIGESTS => Message::Digests {
                records: reader.list(DIGESTS_MAX, "digests", read_digest)?,
                sets: reader.list(DIGESTS_MAX, "digests", read_digest)?,
            },
            INTEREST_PULL => Message::InterestPull { have: read_digest(&mut reader)? },
            INTEREST_DELTA => Message::InterestDelta {
                version: read_signed(&mut reader, InterestVersion::from_signed_bytes)?,
                base: reader.u64()?,
                adds: filters(&mut reader)?,
                removes: filters(&mut reader)?,
            },
            INTEREST_SNAPSHOT => Message::InterestSnapshot {
                version: read_signed(&mut reader, InterestVersion::from_signed_bytes)?,
                chunk: reader.u32()?,
                last: read_flag(&mut reader)?,
                filters: filters(&mut reader)?,
            },
            EPOCH_FLOOR => Message::EpochFloor { epoch: reader.u64()? },
            other => return Err(WireError::Kind(other)),
        };
        reader.end().map(|()| message)
    }
}

fn read_flag(reader: &mut Reader) -> Result<bool, WireError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(WireError::Malformed("flag")),
    }
}

fn put_filter(out: &mut BytesMut, filter: &TopicFilter) {
    out.put_short(filter.as_str().as_bytes());
}

fn put_digest(out: &mut BytesMut, digest: &Digest) {
    out.put_text(digest.bridge.as_str());
    out.put_run(digest.run);
    out.put_u64(digest.number);
}

fn read_digest(reader: &mut Reader) -> Result<Digest, WireError> {
    Ok(Digest { bridge: reader.bridge()?, run: reader.run()?, number: reader.u64()? })
}

fn put_signed<T>(out: &mut BytesMut, signed: &Signed<T>) {
    out.put_short(&signed.bytes);
    out.put_list(&signed.signature.chain, |out, certificate| out.put_short(certificate));
    out.put_short(&signed.signature.signature);
}

fn read_signed<T>(
    reader: &mut Reader,
    statement: impl FnOnce(Bytes) -> Result<T, WireError>,
) -> Result<Signed<T>, WireError> {
    let bytes = reader.short()?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(WireError::Bounds("signed statement"));
    }
    let chain = reader.list(CHAIN_MAX, "certificate chain", |reader| {
        let certificate = reader.short()?;
        if certificate.len() > CERTIFICATE_BYTES_MAX {
            return Err(WireError::Bounds("certificate"));
        }
        Ok(certificate)
    })?;
    let signature = Signature { chain, signature: reader.short()? };
    Ok(Signed { statement: statement(bytes.clone())?, bytes, signature })
}
