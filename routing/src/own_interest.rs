//! What this bridge wants: counted filters, those that are covered kept to itself, and the consumer groups here.

mod shelf;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use meshbridge_topic::{FilterTrie, TopicFilter};

use crate::want::{GroupInterest, GroupName, Want};
use shelf::Shelf;

/// Filters that end in one go: some 10 ms.
const EXPIRED_TOGETHER: usize = 4_096;

/// A filter with subscribers, or one that waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    /// Its subscribers; without any it lingers (R15, R22).
    count: u32,
    /// No other one that is advertised covers it.
    is_advertised: bool,
}

/// Counted filters and the part of them that is advertised: no advertised filter covers another.
#[derive(Debug, Default)]
pub(crate) struct OwnInterest {
    held: Shelf<Held>,
    /// The filters with wildcards that are advertised. Only they cover others; literals may be many, and are never compared
    /// with each other.
    covers: FilterTrie<TopicFilter>,
    /// By filter and name: whether a member is connected. All of them are advertised.
    groups: BTreeMap<(TopicFilter, GroupName), bool>,
    /// What entered or left the advertised set since it was last asked for, some of it perhaps more than once, and whether
    /// it was in it before.
    touched: Vec<(Want, bool)>,
    /// When lingering filters end.
    lingering: HashMap<TopicFilter, Instant>,
    ends: BTreeSet<(Instant, TopicFilter)>,
    /// Groups that are in the set of another audience now, and when they leave this one.
    group_ends: BTreeMap<(TopicFilter, GroupName), Instant>,
}

/// Something wanted that goes to the set of another audience.
#[derive(Debug)]
pub(crate) enum Moving {
    /// With this many subscribers.
    Wanted(TopicFilter, u32),
    /// Without any, until then.
    Lingering(TopicFilter, Instant),
    Group(TopicFilter, GroupName, bool),
}

impl Moving {
    pub(crate) fn filter(&self) -> &TopicFilter {
        match self {
            Moving::Wanted(filter, _) | Moving::Lingering(filter, _) | Moving::Group(filter, ..) => filter,
        }
    }
}

impl OwnInterest {
    pub(crate) fn len(&self) -> usize {
        self.held.len() + self.groups.len()
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        self.held.get(filter).is_some()
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        let held = self.held.iter().map(|(filter, _)| filter);
        held.chain(self.groups.keys().map(|(filter, _)| filter))
    }

    /// Whether it has a subscriber.
    pub(crate) fn wants(&self, filter: &TopicFilter) -> bool {
        self.held.get(filter).is_some_and(|held| held.count > 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.groups.is_empty()
    }

    /// Whether anything in it has a subscriber or a group that does not leave.
    pub(crate) fn stays(&self) -> bool {
        self.held.len() > self.lingering.len() || self.groups.len() > self.group_ends.len()
    }

    /// Everything that others are told.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = Want> {
        let groups = self.groups.iter().map(|((filter, name), live)| group_want(filter, name, *live));
        let filters = self.held.iter().filter(|(_, held)| held.is_advertised);
        filters.map(|(filter, _)| Want::from(filter.clone())).chain(groups)
    }

    fn advertises(&self, want: &Want) -> bool {
        match &want.group {
            None => self.is_advertised(&want.filter),
            Some(group) => self.groups.get(&(want.filter.clone(), group.name.clone())) == Some(&group.live),
        }
    }

    /// A group is here, with a member or without, or is here no more (`None`).
    pub(crate) fn set_group(&mut self, filter: &TopicFilter, name: &GroupName, live: Option<bool>) {
        let key = (filter.clone(), name.clone());
        self.group_ends.remove(&key);
        self.change_group(key, live);
    }

    /// The same, where the group may be on its way to another set.
    pub(crate) fn follow_group(&mut self, filter: &TopicFilter, name: &GroupName, live: Option<bool>) {
        let key = (filter.clone(), name.clone());
        if self.groups.contains_key(&key) {
            self.change_group(key, live);
        }
    }

    fn change_group(&mut self, key: (TopicFilter, GroupName), live: Option<bool>) {
        let (filter, name) = &key;
        let before = match live {
            Some(live) => self.groups.insert(key.clone(), live),
            None => self.groups.remove(&key),
        };
        if before != live {
            let both = [(before, true), (live, false)].into_iter();
            let both = both.filter_map(|(live, was_in)| Some((group_want(filter, name, live?), was_in)));
            self.touched.extend(both);
        }
    }

    /// Whether the group is here to stay.
    pub(crate) fn keeps_group(&self, filter: &TopicFilter, name: &GroupName) -> bool {
        let key = (filter.clone(), name.clone());
        self.groups.contains_key(&key) && !self.group_ends.contains_key(&key)
    }

    /// Takes out what belongs to another audience; here it stays until `end` at the latest. What ends by then anyway is
    /// left alone.
    pub(crate) fn moving(&mut self, end: Instant, belongs: impl Fn(&TopicFilter) -> bool) -> Vec<Moving> {
        let mut moving = Vec::new();
        let mut leaving: Vec<TopicFilter> =
            self.held.iter().map(|(filter, _)| filter).filter(|filter| !belongs(filter)).cloned().collect();
        leaving.sort_unstable();
        for filter in leaving {
            let Some(held) = self.held.get_mut(&filter) else { continue };
            match std::mem::take(&mut held.count) {
                0 => match self.lingering.get(&filter).copied() {
                    Some(until) if until > end => moving.push(Moving::Lingering(filter.clone(), until)),
                    _ => continue,
                },
                count => moving.push(Moving::Wanted(filter.clone(), count)),
            }
            self.linger(&filter, end);
        }
        for (key, live) in &self.groups {
            if !self.group_ends.contains_key(key) && !belongs(&key.0) {
                self.group_ends.insert(key.clone(), end);
                moving.push(Moving::Group(key.0.clone(), key.1.clone(), *live));
            }
        }
        moving
    }

    /// Takes in what another set had.
    pub(crate) fn take(&mut self, moving: Moving) {
        match moving {
            Moving::Wanted(filter, count) => (0..count).for_each(|_| self.add(&filter)),
            Moving::Lingering(filter, end) => self.restore(&filter, end),
            Moving::Group(filter, name, live) => self.set_group(&filter, &name, Some(live)),
        }
    }

    pub(crate) fn add(&mut self, filter: &TopicFilter) {
        match self.held.get_mut(filter) {
            Some(held) => {
                held.count = held.count.saturating_add(1);
                if held.count == 1 {
                    self.stay(filter);
                }
            }
            None => self.insert(filter, 1),
        }
    }

    /// Takes one reference away; the last one leaves the filter to linger until `end`.
    pub(crate) fn release(&mut self, filter: &TopicFilter, end: Instant) {
        match self.held.get_mut(filter) {
            Some(held) if held.count > 1 => held.count -= 1,
            Some(held) if held.count == 1 => {
                held.count = 0;
                self.linger(filter, end);
            }
            Some(_) | None => {}
        }
    }

    /// Holds a filter of the run before until `end`, unless somebody wants it.
    pub(crate) fn restore(&mut self, filter: &TopicFilter, end: Instant) {
        match self.held.get(filter) {
            None => self.insert(filter, 0),
            Some(_) if self.lingering.get(filter).is_some_and(|before| *before < end) => {}
            Some(_) => return,
        }
        self.linger(filter, end);
    }

    /// Its end is then, whatever it was before.
    fn linger(&mut self, filter: &TopicFilter, end: Instant) {
        self.stay(filter);
        self.lingering.insert(filter.clone(), end);
        self.ends.insert((end, filter.clone()));
    }

    fn stay(&mut self, filter: &TopicFilter) {
        if let Some(end) = self.lingering.remove(filter) {
            self.ends.remove(&(end, filter.clone()));
        }
    }

    /// Drops what has lingered long enough; tells whether there was any. Where it is very much, the rest stays due: links
    /// are not kept waiting for it.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let mut any = false;
        for _ in 0..EXPIRED_TOGETHER {
            if self.ends.first().is_none_or(|(end, _)| *end > now) {
                break;
            }
            let Some((_, filter)) = self.ends.pop_first() else { break };
            self.lingering.remove(&filter);
            self.drop_filter(&filter);
            any = true;
        }
        let over = self.group_ends.iter().filter(|(_, end)| **end <= now).map(|(key, _)| key.clone());
        for (filter, name) in over.collect::<Vec<_>>() {
            self.set_group(&filter, &name, None);
            any = true;
        }
        any
    }

    /// What entered the advertised set since the last call, and what left it: each once and in order.
    pub(crate) fn take_changes(&mut self) -> (Vec<Want>, Vec<Want>) {
        let touched = std::mem::take(&mut self.touched);
        self.changes(touched)
    }

    /// The advertised set as it was when its changes were taken last.
    pub(crate) fn told(&self) -> Vec<Want> {
        let (entered, left) = self.changes(self.touched.clone());
        let since = |want: &Want| entered.binary_search(want).is_ok();
        self.advertised().filter(|want| !since(want)).chain(left.iter().cloned()).collect()
    }

    fn changes(&self, mut touched: Vec<(Want, bool)>) -> (Vec<Want>, Vec<Want>) {
        // Where one was touched more than once, it is the first time that tells whether others know it.
        touched.sort_by(|(a, _), (b, _)| a.cmp(b));
        touched.dedup_by(|(later, _), (first, _)| later == first);
        let (mut entered, mut left) = (Vec::with_capacity(touched.len()), Vec::new());
        for (want, was_in) in touched {
            match (was_in, self.advertises(&want)) {
                (false, true) => entered.push(want),
                (true, false) => left.push(want),
                (false, false) | (true, true) => {}
            }
        }
        (entered, left)
    }

    pub(crate) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The bridge goes: what does not last ends at once, and no group has a member any more.
    pub(crate) fn leave(&mut self, lasts: impl Fn(&TopicFilter) -> bool) {
        let ending: Vec<TopicFilter> =
            self.held.iter().map(|(filter, _)| filter).filter(|filter| !lasts(filter)).cloned().collect();
        ending.iter().for_each(|filter| self.drop_filter(filter));
        self.ends.clear();
        self.lingering.clear();
        let groups: Vec<_> = self.groups.keys().cloned().collect();
        for (filter, name) in groups {
            let stays = !self.group_ends.contains_key(&(filter.clone(), name.clone()));
            self.set_group(&filter, &name, stays.then_some(false));
        }
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        let groups = self.group_ends.values().min().copied();
        self.ends.first().map(|(end, _)| *end).into_iter().chain(groups).min()
    }

    fn insert(&mut self, filter: &TopicFilter, count: u32) {
        let is_covered = self.is_covered(filter);
        self.held.insert(filter, Held { count, is_advertised: !is_covered });
        if !is_covered {
            self.on_advertised(filter);
        }
    }

    fn is_advertised(&self, filter: &TopicFilter) -> bool {
        self.held.get(filter).is_some_and(|held| held.is_advertised)
    }

    /// Whether another one that is advertised covers it.
    fn is_covered(&self, filter: &TopicFilter) -> bool {
        let mut is_covered = false;
        self.covers.for_each_possible_cover(filter, |other| {
            is_covered = is_covered || other != filter && other.covers(filter);
        });
        is_covered
    }

    /// R13: `filter` is in the advertised set now; what it covers is put away.
    fn on_advertised(&mut self, filter: &TopicFilter) {
        if !filter.is_literal() {
            let mut below = self.covered_by(filter);
            below.retain(|other| self.is_advertised(other));
            below.iter().for_each(|other| self.put_away(other));
            self.covers.insert(filter, filter.clone());
        }
        self.touched.push((filter.clone().into(), false));
    }

    fn put_away(&mut self, filter: &TopicFilter) {
        if let Some(held) = self.held.get_mut(filter) {
            held.is_advertised = false;
        }
        self.covers.remove(filter, filter);
        self.touched.push((filter.clone().into(), true));
    }

    fn drop_filter(&mut self, filter: &TopicFilter) {
        if !self.is_advertised(filter) {
            self.held.remove(filter);
            return;
        }
        self.put_away(filter);
        self.held.remove(filter);
        // R13: what nothing else covers comes back. An earlier one may cover a later one.
        for other in self.covered_by(filter) {
            if !self.is_covered(&other)
                && let Some(held) = self.held.get_mut(&other)
                && !held.is_advertised
            {
                held.is_advertised = true;
                self.on_advertised(&other);
            }
        }
    }

    /// What a filter covers, itself left out, in the order of texts. Looked for among those that have its literal tokens. Only
    /// filters of wildcards alone are compared with all, and there are few.
    fn covered_by(&self, filter: &TopicFilter) -> Vec<TopicFilter> {
        if filter.is_literal() {
            return Vec::new();
        }
        let is_covered = |other: &&TopicFilter| *other != filter && filter.covers(other);
        let mut covered: Vec<TopicFilter> = match self.held.sharing_tokens(filter) {
            Some(sharing) => sharing.map(|(other, _)| other).filter(is_covered).cloned().collect(),
            None => self.held.iter().map(|(other, _)| other).filter(is_covered).cloned().collect(),
        };
        covered.sort_unstable();
        covered
    }
}

fn group_want(filter: &TopicFilter, name: &GroupName, live: bool) -> Want {
    Want { filter: filter.clone(), group: Some(Arc::new(GroupInterest { name: name.clone(), live })) }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).expect("a filter")
    }

    #[track_caller]
    fn check(own: &OwnInterest, advertised: &[&str]) {
        let mut texts: Vec<String> = own.advertised().map(|want| want.filter.as_str().to_owned()).collect();
        texts.sort();
        assert_eq!(texts, advertised);
    }

    #[test]
    fn covered_filters_are_silent_and_come_back_when_their_cover_leaves() {
        let start = Instant::now();
        let mut own = OwnInterest::default();
        own.add(&filter("a.b"));
        own.add(&filter("a.*"));
        own.add(&filter("c"));
        check(&own, &["a.*", "c"]);
        own.add(&filter("**"));
        check(&own, &["**"]);
        own.release(&filter("**"), start);
        assert!(own.expire(start + Duration::from_millis(1)));
        check(&own, &["a.*", "c"]);
        own.release(&filter("a.*"), start);
        own.expire(start);
        check(&own, &["a.b", "c"]);
    }

    #[test]
    fn filters_that_mean_the_same_are_advertised_once() {
        let start = Instant::now();
        let mut own = OwnInterest::default();
        own.add(&filter("*.**"));
        own.add(&filter("**.*"));
        check(&own, &["*.**"]);
        own.release(&filter("*.**"), start);
        own.expire(start);
        check(&own, &["**.*"]);
    }

    #[test]
    fn a_group_is_advertised_although_a_filter_covers_it_and_its_member_is_news() {
        let mut own = OwnInterest::default();
        let name = GroupName::parse("billing@svc").expect("a name");
        own.add(&filter("**"));
        own.set_group(&filter("a.b"), &name, Some(false));
        check(&own, &["**", "a.b"]);
        own.take_changes();
        own.set_group(&filter("a.b"), &name, Some(false));
        assert!(!own.is_touched());
        own.set_group(&filter("a.b"), &name, Some(true));
        let (now, gone) = own.take_changes();
        let live = |wants: &[Want]| {
            wants.iter().flat_map(|want| want.group.as_ref()).map(|g| g.live).collect::<Vec<_>>()
        };
        assert_eq!((live(&now), live(&gone)), (vec![true], vec![false]));
        own.set_group(&filter("a.b"), &name, None);
        check(&own, &["**"]);
    }

    #[test]
    fn what_others_were_told_is_known_while_changes_of_it_wait() {
        let start = Instant::now();
        let mut own = OwnInterest::default();
        ["a.b", "c"].iter().for_each(|text| own.add(&filter(text)));
        own.take_changes();
        let told = |own: &OwnInterest| {
            let mut texts: Vec<String> =
                own.told().iter().map(|want| want.filter.as_str().to_owned()).collect();
            texts.sort();
            texts
        };
        assert_eq!(told(&own), ["a.b", "c"]);
        own.add(&filter("a.*"));
        own.release(&filter("c"), start);
        own.expire(start);
        own.add(&filter("c"));
        own.add(&filter("d"));
        assert_eq!(told(&own), ["a.b", "c"]);
        let texts = |wants: Vec<Want>| wants.iter().map(|want| want.filter.to_string()).collect::<Vec<_>>();
        let (entered, left) = own.take_changes();
        assert_eq!(
            (texts(entered), texts(left)),
            (vec!["a.*".to_owned(), "d".to_owned()], vec!["a.b".to_owned()])
        );
        assert_eq!(told(&own), ["a.*", "c", "d"]);
    }

    /// Over all filters of up to three of these tokens, in an order that mixes what covers and what is covered.
    #[test]
    fn what_is_held_is_advertised_or_covered_by_what_is_whatever_comes_and_goes() {
        let start = Instant::now();
        let tokens = ["a", "b", "*", "**"];
        let mut texts: Vec<String> = tokens.map(str::to_owned).to_vec();
        for from in [0, 4] {
            let longer: Vec<String> =
                texts[from..].iter().flat_map(|text| tokens.map(|token| format!("{text}.{token}"))).collect();
            texts.extend(longer);
        }
        let all: Vec<TopicFilter> = texts.iter().filter_map(|text| TopicFilter::parse(text).ok()).collect();
        assert!(all.len() > 60);
        let mut own = OwnInterest::default();
        for turn in 0..600 {
            let at = &all[turn * 37 % all.len()];
            if own.wants(at) {
                own.release(at, start);
                own.expire(start);
            } else if turn % 3 > 0 {
                own.add(at);
            }
            let shown: Vec<&TopicFilter> =
                own.held.iter().filter(|(_, held)| held.is_advertised).map(|(filter, _)| filter).collect();
            for filter in own.filters() {
                let covers = shown.iter().filter(|other| **other != filter && other.covers(filter)).count();
                assert_eq!(covers == 0, shown.contains(&filter), "{filter} among {shown:?}, turn {turn}");
            }
        }
    }

    #[test]
    fn a_filter_wanted_again_while_it_lingers_stays() {
        let start = Instant::now();
        let mut own = OwnInterest::default();
        own.add(&filter("a"));
        own.release(&filter("a"), start);
        own.add(&filter("a"));
        assert!(!own.expire(start + Duration::from_secs(1)));
        check(&own, &["a"]);
    }
}
