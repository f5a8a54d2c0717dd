//! Sixteen bytes looked at together. `wide` keeps what each processor has for that behind safe functions.

use wide::u8x16;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 16;

/// Sixteen bytes beside each other. Answers have a bit for each of them, the first one lowest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block(u8x16);

impl Block {
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8; BLOCK]) -> Block {
        Block(u8x16::new(*bytes))
    }

    /// The block that begins at a place; `None` where the bytes end before it does.
    #[inline(always)]
    pub(crate) fn at(bytes: &[u8], at: usize) -> Option<Block> {
        bytes.get(at..)?.first_chunk::<BLOCK>().map(Block::of)
    }

    /// All of a text that is shorter than a block, filled up with zeros.
    #[inline(always)]
    pub(crate) fn short(bytes: &[u8]) -> Block {
        let length = bytes.len();
        // The two halves overlap, where they say the same.
        let all = if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            let behind = u128::from(u64::from_le_bytes(*tail)) << (8 * (length % BLOCK - 8));
            u128::from(u64::from_le_bytes(*head)) | behind
        } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            let behind = u128::from(u32::from_le_bytes(*tail)) << (8 * (length - 4));
            u128::from(u32::from_le_bytes(*head)) | behind
        } else {
            bytes.iter().rev().fold(0, |all, byte| all << 8 | u128::from(*byte))
        };
        Block::of(&all.to_le_bytes())
    }

    /// Quotes, backslashes and control characters: what does not stand plainly in a JSON string.
    #[inline(always)]
    pub(crate) fn stops_of_string(self) -> u32 {
        let is = |byte| self.0.simd_eq(u8x16::splat(byte));
        let control = self.0.min(u8x16::splat(0x1f)).simd_eq(self.0);
        (is(b'"') | is(b'\\') | control).to_bitmask()
    }

    #[inline(always)]
    pub(crate) fn is(self, byte: u8) -> u32 {
        self.0.simd_eq(u8x16::splat(byte)).to_bitmask()
    }

    #[inline(always)]
    pub(crate) fn is_either(self, one: u8, other: u8) -> u32 {
        (self.0.simd_eq(u8x16::splat(one)) | self.0.simd_eq(u8x16::splat(other))).to_bitmask()
    }

    #[inline(always)]
    pub(crate) fn is_within(self, first: u8, last: u8) -> u32 {
        let above = self.0 - u8x16::splat(first);
        above.min(u8x16::splat(last - first)).simd_eq(above).to_bitmask()
    }

    /// Bytes that are not ASCII.
    #[inline(always)]
    pub(crate) fn is_high(self) -> u32 {
        self.0.to_bitmask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_filled_up() {
        let text = b"0123456789abcde";
        for length in 0..BLOCK {
            let mut filled = [0; BLOCK];
            filled[..length].copy_from_slice(&text[..length]);
            for byte in [0, b'0', b'3', b'7', b'9', b'b', b'e'] {
                let expected = Block::of(&filled).is_either(byte, byte);
                assert_eq!(Block::short(&text[..length]).is_either(byte, byte), expected, "{length}");
            }
        }
    }

    #[test]
    fn answers_are_those_of_each_byte_by_itself() {
        for first in (0..=u8::MAX).step_by(BLOCK) {
            let bytes: [u8; BLOCK] = std::array::from_fn(|at| first + at as u8);
            let block = Block::of(&bytes);
            let check = |answer: u32, holds: &dyn Fn(u8) -> bool| {
                for (at, byte) in bytes.iter().enumerate() {
                    assert_eq!(answer >> at & 1 == 1, holds(*byte), "{byte:#x}");
                }
            };
            check(block.stops_of_string(), &|byte| byte < 0x20 || matches!(byte, b'"' | b'\\'));
            check(block.is(b'@'), &|byte| byte == b'@');
            check(block.is_either(b'@', b'%'), &|byte| matches!(byte, b'@' | b'%'));
            check(block.is_within(b'0', b'9'), &|byte| byte.is_ascii_digit());
            check(block.is_high(), &|byte| !byte.is_ascii());
        }
    }
}
