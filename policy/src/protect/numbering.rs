//! Elements of arrays by the numbers they had before any of them was dropped.

use smallvec::SmallVec;

/// A set of indices, as ranges in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Indices(SmallVec<[(u32, u32); 4]>);

impl Indices {
    /// Ordered insertion; indices mostly come in order.
    pub(crate) fn insert(&mut self, index: u32) {
        let at = self.0.partition_point(|(_, last)| *last < index);
        if self.0.get(at).is_some_and(|(first, _)| *first <= index) {
            return;
        }
        let joins_before = at > 0 && self.0[at - 1].1 + 1 == index;
        let joins_after = self.0.get(at).is_some_and(|(first, _)| index + 1 == *first);
        match (joins_before, joins_after) {
            (true, true) => {
                self.0[at - 1].1 = self.0[at].1;
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1].1 = index,
            (false, true) => self.0[at].0 = index,
            (false, false) => self.0.insert(at, (index, index)),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Indices> {
        let mut indices = SmallVec::new();
        for part in text.split('.') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let range: (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            let in_order = indices.last().is_none_or(|(_, before): &(u32, u32)| range.0 > *before);
            if range.0 > range.1 || range.1 == u32::MAX || !in_order {
                return None;
            }
            indices.push(range);
        }
        Some(Indices(indices))
    }

    /// The number that the element now at `index` had at first.
    pub(crate) fn original(&self, index: u32) -> u32 {
        let mut original = index;
        for (first, last) in &self.0 {
            if *first > original {
                break;
            }
            original = original.saturating_add(last - first + 1);
        }
        original
    }

    /// Where the element is now that was first at `index`; `None` where it is gone.
    fn current(&self, index: u32) -> Option<u32> {
        let mut gone = 0;
        for (first, last) in &self.0 {
            if *first > index {
                break;
            }
            if index <= *last {
                return None;
            }
            gone += last - first + 1;
        }
        Some(index - gone)
    }
}

impl std::fmt::Display for Indices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "." })?;
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// Which elements of which arrays are gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbering(pub(super) Vec<(u32, Indices)>);

impl Numbering {
    /// Where the element of an array is now that a path or pointer calls `index`.
    pub(crate) fn current(&self, array: u32, index: usize) -> Option<usize> {
        match self.gone(array) {
            None => Some(index),
            Some(gone) => gone.current(u32::try_from(index).ok()?).map(|index| index as usize),
        }
    }

    pub(crate) fn original(&self, array: u32, index: u32) -> u32 {
        self.gone(array).map_or(index, |gone| gone.original(index))
    }

    pub(crate) fn gone(&self, array: u32) -> Option<&Indices> {
        self.0.iter().find(|(at, _)| *at == array).map(|(_, gone)| gone)
    }
}
