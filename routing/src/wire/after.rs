//! Extension 4 of a frame (R32): after which number of its lane the event may be offered, by destination, where its origin
//! holds those in between back.
//!
//! ```text
//! value    count u16, each: bridge name | number u64
//! ```
//!
//! A destination that is not named offers it after `prev`, as ever; so does one that does not know the extension.

use bytes::Bytes;

use super::{DecodeError, Reader, Writer};
use crate::{BridgeId, limits};

/// Type of the extension.
pub const AFTER_EXTENSION: u8 = 4;
const VERSION: u8 = 1;
/// All extensions of a frame together have 64 KiB; groups may need most of that.
const VALUE_BYTES_MAX: usize = 16_384;

/// An extension for a frame, as type, version and value. `None` where there is nothing to say, or too much.
pub fn encode_after(numbers: &[(BridgeId, u64)]) -> Option<(u8, u8, Bytes)> {
    let count = u16::try_from(numbers.len()).ok().filter(|count| *count > 0)?;
    let mut writer = Writer::new();
    writer.u16(count);
    for (bridge, number) in numbers {
        writer.name(bridge.as_str());
        writer.u64(*number);
    }
    let value = writer.finish();
    let fits = numbers.len() <= limits::BRIDGES_MAX && value.len() <= VALUE_BYTES_MAX;
    fits.then_some((AFTER_EXTENSION, VERSION, value))
}

/// What the extensions of a frame say to `bridge`; `None` where it is not named.
pub fn decode_after(extensions: &[(u8, u8, Bytes)], bridge: &BridgeId) -> Result<Option<u64>, DecodeError> {
    let Some((_, version, value)) = extensions.iter().find(|(kind, ..)| *kind == AFTER_EXTENSION) else {
        return Ok(None);
    };
    if *version != VERSION {
        return Err(DecodeError::UnknownVersion(*version));
    }
    let mut reader = Reader::new(value.clone());
    let mut found = None;
    for _ in 0..reader.count(limits::BRIDGES_MAX, "destinations with another predecessor")? {
        let (name, number) = (reader.bridge()?, reader.u64()?);
        if name == *bridge {
            found = Some(number);
        }
    }
    reader.end()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(name: &str) -> BridgeId {
        BridgeId::parse(name).expect("a name")
    }

    #[test]
    fn each_bridge_reads_its_own_number() {
        let extension = [encode_after(&[(id("a"), 7), (id("b"), u64::MAX)]).expect("small")];
        assert_eq!(decode_after(&extension, &id("a")), Ok(Some(7)));
        assert_eq!(decode_after(&extension, &id("b")), Ok(Some(u64::MAX)));
        assert_eq!(decode_after(&extension, &id("c")), Ok(None));
        assert_eq!(decode_after(&[], &id("a")), Ok(None));
        assert_eq!(encode_after(&[]), None);
    }

    proptest! {
        #[test]
        fn bytes_from_outside_are_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..60)) {
            let extension = (AFTER_EXTENSION, VERSION, Bytes::from(value));
            let _ = decode_after(&[extension], &id("a"));
        }
    }
}
