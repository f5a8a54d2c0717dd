//! A digest of a set that grows and shrinks in the time of the change: LtHash16-1024.
//!
//! ```text
//! digest({a, b}) = blake3( xof(a) + xof(b) )      1,024 lanes of 16 bits, added modulo 2^16
//! adding c:  state + xof(c)        removing a:  state - xof(a)
//! ```
//!
//! Finding two sets with one digest is a short-vector problem in that lattice; the parameters give 200 bits.

const LANES: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LtHash(Box<[u16]>);

impl Default for LtHash {
    fn default() -> LtHash {
        LtHash(vec![0; LANES].into_boxed_slice())
    }
}

impl LtHash {
    pub(crate) fn add(&mut self, element: &[u8]) {
        self.combine(element, u16::wrapping_add);
    }

    pub(crate) fn remove(&mut self, element: &[u8]) {
        self.combine(element, u16::wrapping_sub);
    }

    /// Generic over the operation, so that the lanes are worked on many at a time.
    #[inline]
    fn combine(&mut self, element: &[u8], operation: impl Fn(u16, u16) -> u16) {
        let mut stream = [0; 2 * LANES];
        blake3::Hasher::new().update(element).finalize_xof().fill(&mut stream);
        for (lane, bytes) in self.0.iter_mut().zip(stream.chunks_exact(2)) {
            *lane = operation(*lane, u16::from_le_bytes([bytes[0], bytes[1]]));
        }
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut bytes = [0; 2 * LANES];
        for (slot, lane) in bytes.chunks_exact_mut(2).zip(&self.0) {
            slot.copy_from_slice(&lane.to_le_bytes());
        }
        hasher.update(&bytes);
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_changes_does_not_matter_and_removal_undoes_addition() {
        let mut one = LtHash::default();
        let mut two = LtHash::default();
        one.add(b"a");
        one.add(b"b");
        two.add(b"b");
        two.add(b"c");
        two.add(b"a");
        assert_ne!(one.digest(), two.digest());
        two.remove(b"c");
        assert_eq!(one.digest(), two.digest());
    }
}
