//! The primitives of records and messages: little-endian, varints for numbers that are mostly small.

use meshbridge_routing::{BridgeId, EventKey, GROUP_NAME_BYTES_MAX, GroupName, LANES, Run};

/// Why bytes are no record or message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("cut short")]
    Truncated,
    #[error("{0} is invalid")]
    Invalid(&'static str),
    #[error("{0} is too long")]
    TooLong(&'static str),
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    #[error("bytes are left over")]
    LeftOver,
}

pub(crate) type Result<T> = std::result::Result<T, DecodeError>;

#[derive(Debug, Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn kind(kind: u8) -> Writer {
        Writer(vec![kind])
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// LEB128.
    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn run(&mut self, run: Run) {
        self.number(run.epoch);
        self.u64(run.nonce);
    }

    pub(crate) fn key(&mut self, key: &EventKey) {
        self.text(key.origin.as_str());
        self.run(key.run);
        self.u8(key.lane);
        self.number(key.seq);
    }
}

/// Takes a record or message apart. Every length is checked against what is left before anything is made of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Invalid("a flag")),
        }
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(DecodeError::Invalid("a number"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Invalid("a number"))
    }

    /// A count of things that follow, each at least one byte long.
    pub(crate) fn count(&mut self, max: usize, what: &'static str) -> Result<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| DecodeError::TooLong(what))?;
        if count > max {
            return Err(DecodeError::TooLong(what));
        }
        if count > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }

    pub(crate) fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8]> {
        let count = self.count(max, what)?;
        self.take(count)
    }

    pub(crate) fn text(&mut self, max: usize, what: &'static str) -> Result<&'a str> {
        std::str::from_utf8(self.bytes(max, what)?).map_err(|_| DecodeError::Invalid(what))
    }

    pub(crate) fn bridge(&mut self) -> Result<BridgeId> {
        BridgeId::parse(self.text(255, "a bridge id")?).map_err(|_| DecodeError::Invalid("a bridge id"))
    }

    pub(crate) fn group_name(&mut self) -> Result<GroupName> {
        let text = self.text(GROUP_NAME_BYTES_MAX, "the name of a group")?;
        GroupName::parse(text).ok_or(DecodeError::Invalid("the name of a group"))
    }

    pub(crate) fn run(&mut self) -> Result<Run> {
        Ok(Run { epoch: self.number()?, nonce: self.u64()? })
    }

    pub(crate) fn lane(&mut self) -> Result<u8> {
        let lane = self.u8()?;
        if lane < LANES { Ok(lane) } else { Err(DecodeError::Invalid("a lane")) }
    }

    pub(crate) fn key(&mut self) -> Result<EventKey> {
        Ok(EventKey { origin: self.bridge()?, run: self.run()?, lane: self.lane()?, seq: self.number()? })
    }

    pub(crate) fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::LeftOver) }
    }
}
