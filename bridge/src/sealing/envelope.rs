//! The bytes of a sealed message. All numbers big-endian; nothing is reserved on the word of a length.
//!
//! ```text
//! signed   2 | 1 | counter u64 | epoch u64 | public 32 | challenge 16 | echoes 2 × 16
//!            | certificates u8, each u16 length | DER | u16 length | signature | message
//! keyed    2 | 2 | key id 8 | counter u64 | tag 32 | message
//! ```
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use aws_lc_rs::digest;
use bytes::{BufMut, Bytes, BytesMut};
use meshbridge_routing::Signature;

use super::Refused;
use super::pair_key::{Direction, KeyId, PUBLIC_BYTES, Public, TAG_BYTES};

/// First byte of a sealed message. 1 was a message without a seal.
const VERSION: u8 = 2;
const SIGNED: u8 = 1;
const KEYED: u8 = 2;
/// As in TLS between bridges.
const CERTIFICATES_MAX: u8 = 4;
/// What an exchange is signed as; a signature over anything else of ours is none over this.
const CONTEXT: &[u8] = b"meshbridge delivery exchange 2\0";

pub(super) const CHALLENGE_BYTES: usize = 16;
/// A number the listener drew; who says it back has heard it.
pub(super) type Challenge = [u8; CHALLENGE_BYTES];

type Result<T> = std::result::Result<T, Refused>;

/// What a signature vouches for, beside the names and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    /// Counts messages of this process to this listener.
    pub(super) counter: u64,
    /// Of the sender's run; only tells old challenges from new ones.
    pub(super) epoch: u64,
    pub(super) public: Public,
    /// The sender's, for the listener to say back.
    pub(super) challenge: Challenge,
    /// The listener's, as the sender heard them; zeros for none.
    pub(super) echoes: [Challenge; 2],
}

impl Claims {
    fn write(&self, out: &mut BytesMut) {
        out.put_u64(self.counter);
        out.put_u64(self.epoch);
        out.put_slice(&self.public);
        out.put_slice(&self.challenge);
        self.echoes.iter().for_each(|echo| out.put_slice(echo));
    }

    fn read(reader: &mut Reader) -> Result<Claims> {
        Ok(Claims {
            counter: reader.u64()?,
            epoch: reader.u64()?,
            public: reader.array::<PUBLIC_BYTES>()?,
            challenge: reader.array()?,
            echoes: [reader.array()?, reader.array()?],
        })
    }

    /// What is signed.
    pub(super) fn statement(&self, direction: Direction<'_>, message: &[u8]) -> Bytes {
        let mut out = BytesMut::from(CONTEXT);
        direction.write(&mut out);
        self.write(&mut out);
        out.put_slice(digest::digest(&digest::SHA256, message).as_ref());
        out.freeze()
    }
}

/// An exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) claims: Claims,
    pub(super) signature: Signature,
    pub(super) message: Bytes,
}

impl Signed {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.message.len().saturating_add(2_048));
        out.put_slice(&[VERSION, SIGNED]);
        self.claims.write(&mut out);
        let chain = &self.signature.chain;
        out.put_u8(u8::try_from(chain.len()).expect("credentials hold at most four certificates"));
        chain.iter().for_each(|certificate| put_counted(&mut out, certificate));
        put_counted(&mut out, &self.signature.signature);
        out.put_slice(&self.message);
        out.freeze()
    }
}

/// A receipt, a fence or a note of known outcomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: KeyId,
    pub(super) counter: u64,
    pub(super) tag: [u8; TAG_BYTES],
    pub(super) message: Bytes,
}

impl Keyed {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.message.len().saturating_add(64));
        out.put_slice(&[VERSION, KEYED]);
        out.put_slice(&self.key);
        out.put_u64(self.counter);
        out.put_slice(&self.tag);
        out.put_slice(&self.message);
        out.freeze()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    Signed(Signed),
    Keyed(Keyed),
}

impl Envelope {
    pub(super) fn decode(body: &Bytes) -> Result<Envelope> {
        let mut reader = Reader(body.clone());
        match reader.u8()? {
            VERSION => {}
            other => return Err(Refused::Unsealed(other)),
        }
        match reader.u8()? {
            SIGNED => {
                let claims = Claims::read(&mut reader)?;
                let certificates = reader.u8()?;
                if certificates > CERTIFICATES_MAX {
                    return Err(Refused::Malformed("the length of the chain"));
                }
                let chain = (0..certificates).map(|_| reader.counted()).collect::<Result<_>>()?;
                let signature = Signature { chain, signature: reader.counted()? };
                Ok(Envelope::Signed(Signed { claims, signature, message: reader.0 }))
            }
            KEYED => Ok(Envelope::Keyed(Keyed {
                key: reader.array()?,
                counter: reader.u64()?,
                tag: reader.array()?,
                message: reader.0,
            })),
            _ => Err(Refused::Malformed("the kind of seal")),
        }
    }
}

fn put_counted(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u16(u16::try_from(bytes.len()).expect("certificates and signatures are far below 64 KiB"));
    out.put_slice(bytes);
}

struct Reader(Bytes);

impl Reader {
    fn take(&mut self, count: usize) -> Result<Bytes> {
        if count > self.0.len() {
            return Err(Refused::Malformed("it is cut short"));
        }
        Ok(self.0.split_to(count))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.as_ref().try_into().map_err(|_| Refused::Malformed("it is cut short"))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    fn counted(&mut self) -> Result<Bytes> {
        let count = u16::from_be_bytes(self.array()?);
        self.take(usize::from(count))
    }
}
