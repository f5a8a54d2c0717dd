//! Sets of zones and of pairs of zones, as bits: proofs calculate with all zones at once.

use smallvec::SmallVec;

use crate::federation::ZoneIndex;

/// A set of zones of one federation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Zones(SmallVec<[u64; 2]>);

impl Zones {
    pub(crate) fn none(count: usize) -> Zones {
        Zones(SmallVec::from_elem(0, count.div_ceil(64)))
    }

    pub(crate) fn of(count: usize, holds: impl Fn(usize) -> bool) -> Zones {
        let mut zones = Zones::none(count);
        (0..count).filter(|zone| holds(*zone)).for_each(|zone| zones.insert(zone));
        zones
    }

    pub(crate) fn all(count: usize) -> Zones {
        let mut zones = Zones(SmallVec::from_elem(u64::MAX, count.div_ceil(64)));
        if let (Some(last), rest @ 1..) = (zones.0.last_mut(), count % 64) {
            *last = (1 << rest) - 1;
        }
        zones
    }

    pub(crate) fn insert(&mut self, zone: usize) {
        self.0[zone / 64] |= 1 << (zone % 64);
    }

    pub(crate) fn contains(&self, zone: usize) -> bool {
        self.0[zone / 64] >> (zone % 64) & 1 == 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn add(&mut self, other: &[u64]) {
        self.0.iter_mut().zip(other).for_each(|(mine, theirs)| *mine |= theirs);
    }

    pub(crate) fn keep(&mut self, other: &[u64]) {
        self.0.iter_mut().zip(other).for_each(|(mine, theirs)| *mine &= theirs);
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        bits(&self.0)
    }
}

pub(crate) fn bits(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(at, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = rest.trailing_zeros() as usize;
            rest &= rest.checked_sub(1)?;
            Some(at * 64 + bit)
        })
    })
}

/// A set of pairs of zones: a row of recipients for each origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pairs {
    count: usize,
    /// Words of a row.
    width: usize,
    words: Box<[u64]>,
}

impl Pairs {
    pub(crate) fn none(count: usize) -> Pairs {
        let width = count.div_ceil(64);
        Pairs { count, width, words: vec![0; width * count].into() }
    }

    /// Every origin in `from` with every recipient in `to`.
    pub(crate) fn product(from: &Zones, to: &Zones, count: usize) -> Pairs {
        let mut pairs = Pairs::none(count);
        from.iter().for_each(|origin| pairs.row_mut(origin).copy_from_slice(to.words()));
        pairs
    }

    pub(crate) fn all(count: usize) -> Pairs {
        Pairs::product(&Zones::all(count), &Zones::all(count), count)
    }

    /// Every zone with itself.
    pub(crate) fn diagonal(count: usize) -> Pairs {
        let mut pairs = Pairs::none(count);
        (0..count).for_each(|zone| pairs.insert(zone, zone));
        pairs
    }

    pub(crate) fn insert(&mut self, from: usize, to: usize) {
        self.words[from * self.width + to / 64] |= 1 << (to % 64);
    }

    pub(crate) fn remove_one(&mut self, from: usize, to: usize) {
        self.words[from * self.width + to / 64] &= !(1 << (to % 64));
    }

    pub(crate) fn contains(&self, from: usize, to: usize) -> bool {
        self.words[from * self.width + to / 64] >> (to % 64) & 1 == 1
    }

    pub(crate) fn row(&self, from: usize) -> &[u64] {
        &self.words[from * self.width..(from + 1) * self.width]
    }

    fn row_mut(&mut self, from: usize) -> &mut [u64] {
        &mut self.words[from * self.width..(from + 1) * self.width]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    pub(crate) fn add(&mut self, other: &Pairs) {
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// Adds the pairs of another set that have their recipient in `to`.
    pub(crate) fn add_towards(&mut self, other: &Pairs, to: &Zones) {
        let rows = self.words.chunks_mut(self.width.max(1)).zip(other.words.chunks(self.width.max(1)));
        for (mine, theirs) in rows {
            let words = mine.iter_mut().zip(theirs).zip(to.words());
            words.for_each(|((mine, theirs), to)| *mine |= theirs & to);
        }
    }

    pub(crate) fn add_row(&mut self, from: usize, to: &[u64]) {
        self.row_mut(from).iter_mut().zip(to).for_each(|(mine, theirs)| *mine |= theirs);
    }

    pub(crate) fn keep(&mut self, other: &Pairs) {
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine &= theirs);
    }

    pub(crate) fn remove(&mut self, other: &Pairs) {
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine &= !theirs);
    }

    pub(crate) fn and(&self, other: &Pairs) -> Pairs {
        let mut both = self.clone();
        both.keep(other);
        both
    }

    pub(crate) fn without(&self, other: &Pairs) -> Pairs {
        let mut rest = self.clone();
        rest.remove(other);
        rest
    }

    pub(crate) fn intersects(&self, other: &Pairs) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Leaves the origins in `from`.
    pub(crate) fn keep_origins(&mut self, from: &Zones) {
        for origin in 0..self.count {
            if !from.contains(origin) {
                self.row_mut(origin).fill(0);
            }
        }
    }

    /// Leaves the recipients in `to`.
    pub(crate) fn keep_recipients(&mut self, to: &Zones) {
        for origin in 0..self.count {
            self.row_mut(origin).iter_mut().zip(to.words()).for_each(|(mine, theirs)| *mine &= theirs);
        }
    }

    /// Origins that have any recipient.
    pub(crate) fn origins(&self) -> Zones {
        Zones::of(self.count, |origin| self.row(origin).iter().any(|word| *word != 0))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ZoneIndex, ZoneIndex)> + '_ {
        (0..self.count).flat_map(|from| bits(self.row(from)).map(move |to| (zone(from), zone(to))))
    }
}

pub(crate) fn zone(at: usize) -> ZoneIndex {
    ZoneIndex(u16::try_from(at).expect("zones are numbered by sixteen bits"))
}
