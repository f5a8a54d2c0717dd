//! Filters by number, found by their text and by the literal tokens in them: what a filter covers has all of its tokens, so
//! the lists of these lead to it.
//!
//! ```text
//! 0  plant.line-1.*       plant   0 1 2
//! 1  plant.line-2.temp    line-1  0            plant.*.temp  is looked for among 1 2, which have both of its tokens
//! 2  plant.line-1.temp    temp    1 2
//! ```
//!
//! A filter that leaves stays in the lists as a number without an entry, until there are more of these than of others:
//! then everything is numbered anew.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use meshbridge_topic::TopicFilter;

/// Entries that are allocated together: a vector that doubles would copy, and for a while hold, all of them twice.
const CHUNK: usize = 1_024;
/// Numbers without an entry that are not worth numbering anew.
const GONE_MIN: usize = 4_096;

#[derive(Debug)]
pub(super) struct Shelf<V> {
    entries: Vec<Vec<Option<(TopicFilter, V)>>>,
    /// Of entries that are there.
    len: usize,
    by_text: HashTable<Slot>,
    by_token: HashTable<Slot>,
    /// Numbers in ascending order, of tokens that more than one filter has.
    lists: Vec<Vec<u32>>,
    hashes: RandomState,
}

/// Half of a hash, and the number of what is found by it. Who has the same half by chance is found too, and sorted out.
#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    place: u32,
}

impl Slot {
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

/// A table wants all bits of a hash.
fn spread(half: u32) -> u64 {
    u64::from(half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A token that many filters have leads to a list, one that a single filter has to that.
const OF_LIST: u32 = 1 << 31;

impl<V> Default for Shelf<V> {
    fn default() -> Shelf<V> {
        Shelf {
            entries: Vec::new(),
            len: 0,
            by_text: HashTable::new(),
            by_token: HashTable::new(),
            lists: Vec::new(),
            hashes: RandomState::new(),
        }
    }
}

impl<V> Shelf<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// In the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicFilter, &V)> {
        self.entries.iter().flatten().flatten().map(|(filter, value)| (filter, value))
    }

    pub(super) fn get(&self, filter: &TopicFilter) -> Option<&V> {
        self.entry(self.number(filter)?).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, filter: &TopicFilter) -> Option<&mut V> {
        let number = self.number(filter)? as usize;
        let entry = self.entries.get_mut(number / CHUNK)?.get_mut(number % CHUNK)?;
        entry.as_mut().map(|(_, value)| value)
    }

    /// A filter that is not there yet.
    pub(super) fn insert(&mut self, filter: &TopicFilter, value: V) {
        let number = self.next_number();
        if (number as usize).is_multiple_of(CHUNK) {
            // Most bridges want little.
            let room = if number == 0 { 0 } else { CHUNK };
            self.entries.push(Vec::with_capacity(room));
        }
        if let Some(chunk) = self.entries.last_mut() {
            chunk.push(Some((filter.clone(), value)));
        }
        self.len += 1;
        let hash = self.half_hash(filter.as_str());
        self.by_text.insert_unique(spread(hash), Slot { hash, place: number }, Slot::spread);
        for token in literals(filter) {
            self.note(token, number);
        }
    }

    /// The filter of that number has the token.
    fn note(&mut self, token: &str, number: u32) {
        let hash = self.half_hash(token);
        let Some(slot) = self.by_token.find_mut(spread(hash), |slot| slot.hash == hash) else {
            self.by_token.insert_unique(spread(hash), Slot { hash, place: number }, Slot::spread);
            return;
        };
        // A filter may have a token twice.
        if slot.place & OF_LIST != 0 {
            let list = &mut self.lists[(slot.place & !OF_LIST) as usize];
            if list.last() != Some(&number) {
                list.push(number);
            }
        } else if slot.place != number {
            let both = vec![slot.place, number];
            slot.place = OF_LIST | u32::try_from(self.lists.len()).expect("fewer than filters");
            self.lists.push(both);
        }
    }

    pub(super) fn remove(&mut self, filter: &TopicFilter) -> Option<V> {
        let hash = self.half_hash(filter.as_str());
        let number = self.number(filter)?;
        if let Ok(slot) = self.by_text.find_entry(spread(hash), |slot| slot.place == number) {
            slot.remove();
        }
        let place = number as usize;
        let (_, value) = self.entries.get_mut(place / CHUNK)?.get_mut(place % CHUNK)?.take()?;
        self.len -= 1;
        if self.next_number() as usize - self.len > self.len + GONE_MIN {
            self.number_anew();
        }
        Some(value)
    }

    /// Those that have all literal tokens of `filter`, and perhaps others; `None` where it has none.
    pub(super) fn sharing_tokens(
        &self,
        filter: &TopicFilter,
    ) -> Option<impl Iterator<Item = (&TopicFilter, &V)>> {
        let mut lists: Vec<&[u32]> = literals(filter).map(|token| self.list_of(token)).collect();
        lists.sort_unstable_by_key(|list| list.len());
        let (shortest, others) = lists.split_first()?;
        let mut others = others.to_vec();
        let shared =
            shortest.iter().filter(move |number| others.iter_mut().all(|list| reaches(list, **number)));
        Some(shared.filter_map(|number| self.entry(*number)).map(|(filter, value)| (filter, value)))
    }

    fn list_of(&self, token: &str) -> &[u32] {
        let hash = self.half_hash(token);
        match self.by_token.find(spread(hash), |slot| slot.hash == hash) {
            Some(slot) if slot.place & OF_LIST != 0 => &self.lists[(slot.place & !OF_LIST) as usize],
            Some(slot) => std::slice::from_ref(&slot.place),
            None => &[],
        }
    }

    fn entry(&self, number: u32) -> Option<&(TopicFilter, V)> {
        self.entries.get(number as usize / CHUNK)?.get(number as usize % CHUNK)?.as_ref()
    }

    fn number(&self, filter: &TopicFilter) -> Option<u32> {
        let hash = self.half_hash(filter.as_str());
        let is_meant =
            |slot: &Slot| slot.hash == hash && self.entry(slot.place).is_some_and(|(held, _)| held == filter);
        self.by_text.find(spread(hash), is_meant).map(|slot| slot.place)
    }

    /// Also how many numbers there are.
    fn next_number(&self) -> u32 {
        let last = self.entries.last().map_or(0, Vec::len);
        let number = self.entries.len().saturating_sub(1) * CHUNK + last;
        u32::try_from(number)
            .ok()
            .filter(|number| number & OF_LIST == 0)
            .expect("a bridge has 10 million at most")
    }

    fn number_anew(&mut self) {
        let former = std::mem::take(self);
        self.hashes = former.hashes;
        for (filter, value) in former.entries.into_iter().flatten().flatten() {
            self.insert(&filter, value);
        }
    }

    fn half_hash(&self, text: &str) -> u32 {
        self.hashes.hash_one(text) as u32
    }
}

fn literals(filter: &TopicFilter) -> impl Iterator<Item = &str> {
    filter.tokens().filter(|token| !matches!(*token, "*" | "**"))
}

/// Whether a number is in an ascending list, of which what is below it is left behind: first by leaps that double.
fn reaches(list: &mut &[u32], number: u32) -> bool {
    let mut end = 1;
    while list.get(end).is_some_and(|at| *at <= number) {
        end *= 2;
    }
    let below = list[..end.min(list.len())].partition_point(|at| *at < number);
    *list = &list[below..];
    list.first() == Some(&number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).expect("a filter")
    }

    #[track_caller]
    fn check(shelf: &Shelf<u32>, wanted: &str, shared: &[&str]) {
        let wanted = filter(wanted);
        let found = shelf.sharing_tokens(&wanted).expect("it has tokens");
        assert_eq!(found.map(|(filter, _)| filter.as_str()).collect::<Vec<_>>(), shared, "{wanted}");
    }

    #[test]
    fn filters_are_found_by_all_tokens_of_another_and_each_once() {
        let mut shelf = Shelf::default();
        let texts = ["a.b", "b.a.b", "a.*.c", "c.b.a", "*.**", "d"];
        texts.iter().zip(0..).for_each(|(text, value)| shelf.insert(&filter(text), value));
        check(&shelf, "*.a.b", &["a.b", "b.a.b", "c.b.a"]);
        check(&shelf, "c.**", &["a.*.c", "c.b.a"]);
        check(&shelf, "d.*", &["d"]);
        check(&shelf, "b.x", &[]);
        assert!(shelf.sharing_tokens(&filter("*.**")).is_none());
        assert_eq!(shelf.remove(&filter("b.a.b")), Some(1));
        check(&shelf, "a.b", &["a.b", "c.b.a"]);
        assert_eq!((shelf.get(&filter("b.a.b")), shelf.get(&filter("c.b.a"))), (None, Some(&3)));
    }

    #[test]
    fn what_comes_and_goes_for_long_is_numbered_anew_and_found_as_before() {
        let mut shelf = Shelf::default();
        for at in 0..5 * GONE_MIN {
            shelf.insert(&filter(&format!("plant.line-{}.{at}", at % 7)), at);
            if at >= 100 {
                assert_eq!(
                    shelf.remove(&filter(&format!("plant.line-{}.{}", (at - 100) % 7, at - 100))),
                    Some(at - 100)
                );
            }
        }
        assert_eq!(shelf.len(), 100);
        assert!((shelf.next_number() as usize) < 2 * GONE_MIN, "{} numbers", shelf.next_number());
        let last: Vec<usize> = (5 * GONE_MIN - 100..5 * GONE_MIN).collect();
        assert_eq!(shelf.iter().map(|(_, at)| *at).collect::<Vec<_>>(), last);
        let of_line: Vec<usize> = last.iter().copied().filter(|at| at % 7 == 3).collect();
        let wanted = filter("*.line-3.*");
        let found = shelf.sharing_tokens(&wanted).expect("it has a token");
        assert_eq!(found.map(|(_, at)| *at).collect::<Vec<_>>(), of_line);
        for at in last {
            assert_eq!(shelf.get(&filter(&format!("plant.line-{}.{at}", at % 7))), Some(&at));
        }
    }

    #[test]
    fn leaps_find_what_a_list_has_and_nothing_else() {
        let list: Vec<u32> = (0..300).filter(|at| at % 3 == 0).collect();
        for step in 1..40 {
            let mut rest = &list[..];
            for at in (0..310).step_by(step) {
                assert_eq!(reaches(&mut rest, at), list.contains(&at), "{at} by {step}");
            }
        }
    }
}
