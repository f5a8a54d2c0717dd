//! Sets of atoms, as bits.

use std::fmt;

/// A set of the atoms of one [`Atoms`](super::Atoms).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AtomSet(Box<[u64]>);

impl AtomSet {
    pub(super) fn empty(len: usize) -> AtomSet {
        AtomSet(vec![0; len.div_ceil(64)].into())
    }

    pub(super) fn full(len: usize) -> AtomSet {
        let mut set = AtomSet::empty(len);
        (0..len).for_each(|atom| set.insert(atom));
        set
    }

    /// # Panics
    /// If the number is beyond those of the atoms.
    pub fn insert(&mut self, atom: usize) {
        self.0[atom / 64] |= 1 << (atom % 64);
    }

    pub fn contains(&self, atom: usize) -> bool {
        self.0.get(atom / 64).is_some_and(|word| word & (1 << (atom % 64)) != 0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub fn union_with(&mut self, other: &AtomSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine |= theirs);
    }

    pub fn intersect_with(&mut self, other: &AtomSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine &= theirs);
    }

    pub fn subtract(&mut self, other: &AtomSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine &= !theirs);
    }

    pub fn is_subset(&self, other: &AtomSet) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| mine & !theirs == 0)
    }

    pub fn intersects(&self, other: &AtomSet) -> bool {
        self.0.iter().zip(&other.0).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Ascending.
    pub fn iter(&self) -> AtomSetIter<'_> {
        AtomSetIter { words: &self.0, at: 0, word: self.0.first().copied().unwrap_or(0) }
    }
}

impl<'a> IntoIterator for &'a AtomSet {
    type Item = usize;
    type IntoIter = AtomSetIter<'a>;

    fn into_iter(self) -> AtomSetIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for AtomSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

/// The atoms of a set, ascending.
#[derive(Clone, Debug)]
pub struct AtomSetIter<'a> {
    words: &'a [u64],
    at: usize,
    /// What is left of the word at `at`.
    word: u64,
}

impl Iterator for AtomSetIter<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.word == 0 {
            self.at += 1;
            self.word = *self.words.get(self.at)?;
        }
        let bit = self.word.trailing_zeros() as usize;
        self.word &= self.word - 1;
        Some(self.at * 64 + bit)
    }
}
