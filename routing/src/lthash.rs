//! A digest of a set that changes with the set: adding or removing an element costs one hash, whatever the size.
//!
//! LtHash16 with 1,024 elements (Bellare and Micciancio's construction; parameters as in Lewi et al., "Securing Update
//! Propagation with Homomorphic Hashing", 2019): each filter is expanded by BLAKE3 to 1,024 numbers of 16 bits, the
//! set is their sum. Finding another set with the same sum is a short-vector problem of about 200 bits. The owner
//! signs a BLAKE3 digest of the sum, so a relay cannot slip in or leave out a filter.

const WORDS: usize = 1_024;

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LtHash {
    words: Box<[u16; WORDS]>,
}

impl Default for LtHash {
    fn default() -> LtHash {
        LtHash { words: Box::new([0; WORDS]) }
    }
}

impl std::fmt::Debug for LtHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LtHash")
    }
}

impl LtHash {
    pub(crate) fn add(&mut self, element: &[u8]) {
        for (word, value) in self.words.iter_mut().zip(expand(element)) {
            *word = word.wrapping_add(value);
        }
    }

    pub(crate) fn remove(&mut self, element: &[u8]) {
        for (word, value) in self.words.iter_mut().zip(expand(element)) {
            *word = word.wrapping_sub(value);
        }
    }

    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("meshbridge interest set digest v1");
        for word in self.words.iter() {
            hasher.update(&word.to_le_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

fn expand(element: &[u8]) -> impl Iterator<Item = u16> {
    let mut bytes = [0_u8; WORDS * 2];
    let mut hasher = blake3::Hasher::new_derive_key("meshbridge interest set element v1");
    hasher.update(element);
    hasher.finalize_xof().fill(&mut bytes);
    (0..WORDS).map(move |at| u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_depends_on_the_set_and_not_on_its_history() {
        let mut one = LtHash::default();
        let mut other = LtHash::default();
        for element in ["a", "b", "c"] {
            one.add(element.as_bytes());
        }
        for element in ["c", "x", "a", "b"] {
            other.add(element.as_bytes());
        }
        assert_ne!(one.digest(), other.digest());
        other.remove(b"x");
        assert_eq!(one.digest(), other.digest());
        one.remove(b"a");
        one.remove(b"b");
        one.remove(b"c");
        assert_eq!(one, LtHash::default());
    }
}
