//! What this bridge wants: counted filters, those that are covered kept to itself, and the consumer groups here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use meshbridge_topic::TopicFilter;

use crate::want::{GroupInterest, GroupName, Want};

/// A filter with subscribers, or one that waits for its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Wanted(u32),
    /// R15, R22
    Lingering(Instant),
}

/// Counted filters and the part of them that is advertised: no advertised filter covers another.
#[derive(Debug, Default)]
pub(crate) struct OwnInterest {
    held: BTreeMap<TopicFilter, Held>,
    advertised: BTreeSet<TopicFilter>,
    /// By filter and name: whether a member is connected. All of them are advertised.
    groups: BTreeMap<(TopicFilter, GroupName), bool>,
    /// All held filters by their first token: what covers `a.b` starts with `a` or a wildcard.
    by_first: BTreeMap<Box<str>, BTreeSet<TopicFilter>>,
    /// Those of them with wildcards. Only they cover others; literals may be many, and are never compared with each
    /// other.
    wild_by_first: BTreeMap<Box<str>, BTreeSet<TopicFilter>>,
    /// What entered or left the advertised set since it was last asked for.
    touched: BTreeSet<Want>,
    /// When lingering filters end.
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
        self.held.contains_key(filter)
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.held.keys().chain(self.groups.keys().map(|(filter, _)| filter))
    }

    /// Whether it has a subscriber.
    pub(crate) fn wants(&self, filter: &TopicFilter) -> bool {
        matches!(self.held.get(filter), Some(Held::Wanted(_)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.groups.is_empty()
    }

    /// Whether anything in it has a subscriber or a group that does not leave.
    pub(crate) fn stays(&self) -> bool {
        self.held.values().any(|held| matches!(held, Held::Wanted(_)))
            || self.groups.len() > self.group_ends.len()
    }

    /// Everything that others are told.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = Want> {
        let groups = self.groups.iter().map(|((filter, name), live)| group_want(filter, name, *live));
        self.advertised.iter().cloned().map(Want::from).chain(groups)
    }

    pub(crate) fn advertised_len(&self) -> usize {
        self.advertised.len() + self.groups.len()
    }

    pub(crate) fn advertises(&self, want: &Want) -> bool {
        match &want.group {
            None => self.advertised.contains(&want.filter),
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
            let both = [before, live].into_iter().flatten();
            self.touched.extend(both.map(|live| group_want(filter, name, live)));
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
        for (filter, held) in self.held.iter_mut().filter(|(filter, _)| !belongs(filter)) {
            match *held {
                Held::Wanted(count) => moving.push(Moving::Wanted(filter.clone(), count)),
                Held::Lingering(until) if until > end => {
                    self.ends.remove(&(until, filter.clone()));
                    moving.push(Moving::Lingering(filter.clone(), until));
                }
                Held::Lingering(_) => continue,
            }
            *held = Held::Lingering(end);
            self.ends.insert((end, filter.clone()));
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
            Some(Held::Wanted(count)) => *count = count.saturating_add(1),
            Some(held @ &mut Held::Lingering(end)) => {
                *held = Held::Wanted(1);
                self.ends.remove(&(end, filter.clone()));
            }
            None => self.insert(filter, Held::Wanted(1)),
        }
    }

    /// Takes one reference away; the last one leaves the filter to linger until `end`.
    pub(crate) fn release(&mut self, filter: &TopicFilter, end: Instant) {
        match self.held.get_mut(filter) {
            Some(Held::Wanted(count)) if *count > 1 => *count -= 1,
            Some(held @ Held::Wanted(_)) => {
                *held = Held::Lingering(end);
                self.ends.insert((end, filter.clone()));
            }
            Some(Held::Lingering(_)) | None => {}
        }
    }

    /// Holds a filter of the run before until `end`, unless somebody wants it.
    pub(crate) fn restore(&mut self, filter: &TopicFilter, end: Instant) {
        match self.held.get_mut(filter) {
            None => self.insert(filter, Held::Lingering(end)),
            Some(held @ &mut Held::Lingering(before)) if before < end => {
                self.ends.remove(&(before, filter.clone()));
                *held = Held::Lingering(end);
            }
            Some(_) => return,
        }
        self.ends.insert((end, filter.clone()));
    }

    /// Drops what has lingered long enough; tells whether there was any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let mut any = false;
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            let Some((_, filter)) = self.ends.pop_first() else { break };
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

    /// What changed in the advertised set since the last call.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<Want> {
        std::mem::take(&mut self.touched)
    }

    pub(crate) fn is_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The bridge goes: what does not last ends at once, and no group has a member any more.
    pub(crate) fn leave(&mut self, lasts: impl Fn(&TopicFilter) -> bool) {
        let ending: Vec<TopicFilter> = self.held.keys().filter(|filter| !lasts(filter)).cloned().collect();
        ending.iter().for_each(|filter| self.drop_filter(filter));
        self.ends.clear();
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

    fn insert(&mut self, filter: &TopicFilter, held: Held) {
        self.held.insert(filter.clone(), held);
        for index in self.indices_of(filter) {
            index.entry(first(filter).into()).or_default().insert(filter.clone());
        }
        self.advertise(filter);
    }

    /// R13: takes `filter` into the advertised set unless one there covers it, and puts those it covers away.
    fn advertise(&mut self, filter: &TopicFilter) {
        let token = first(filter);
        let above = [token, "*", "**"];
        let mut above = above.iter().filter_map(|first| self.wild_by_first.get(*first)).flatten();
        if above.any(|other| other != filter && self.advertised.contains(other) && other.covers(filter)) {
            return;
        }
        let below: Vec<TopicFilter> =
            self.covered_by(filter).filter(|other| self.advertised.contains(*other)).cloned().collect();
        for other in below {
            self.advertised.remove(&other);
            self.touched.insert(other.into());
        }
        self.advertised.insert(filter.clone());
        self.touched.insert(filter.clone().into());
    }

    fn drop_filter(&mut self, filter: &TopicFilter) {
        self.held.remove(filter);
        for index in self.indices_of(filter) {
            if let Some(filters) = index.get_mut(first(filter)) {
                filters.remove(filter);
                if filters.is_empty() {
                    index.remove(first(filter));
                }
            }
        }
        if self.advertised.remove(filter) {
            self.touched.insert(filter.clone().into());
            let uncovered: Vec<TopicFilter> = self.covered_by(filter).cloned().collect();
            uncovered.iter().for_each(|other| self.advertise(other));
        }
    }

    fn indices_of(
        &mut self,
        filter: &TopicFilter,
    ) -> impl Iterator<Item = &mut BTreeMap<Box<str>, BTreeSet<TopicFilter>>> {
        let wild = (!filter.is_literal()).then_some(&mut self.wild_by_first);
        [&mut self.by_first].into_iter().chain(wild)
    }

    fn covered_by<'a>(&'a self, filter: &'a TopicFilter) -> impl Iterator<Item = &'a TopicFilter> {
        let token = first(filter);
        let wild = token == "*" || token == "**";
        let literal = filter.is_literal();
        self.by_first
            .iter()
            .filter(move |(other, _)| !literal && (wild || &***other == token))
            .flat_map(|(_, filters)| filters)
            .filter(move |other| *other != filter && filter.covers(other))
    }
}

fn group_want(filter: &TopicFilter, name: &GroupName, live: bool) -> Want {
    Want { filter: filter.clone(), group: Some(GroupInterest { name: name.clone(), live }) }
}

fn first(filter: &TopicFilter) -> &str {
    filter.tokens().next().unwrap_or_default()
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
        let texts: Vec<String> = own.advertised().map(|want| want.filter.as_str().to_owned()).collect();
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
        own.take_touched();
        own.set_group(&filter("a.b"), &name, Some(false));
        assert!(!own.is_touched());
        own.set_group(&filter("a.b"), &name, Some(true));
        let (now, gone): (Vec<_>, Vec<_>) =
            own.take_touched().into_iter().partition(|want| own.advertises(want));
        let live = |wants: &[Want]| {
            wants.iter().flat_map(|want| want.group.as_ref()).map(|g| g.live).collect::<Vec<_>>()
        };
        assert_eq!((live(&now), live(&gone)), (vec![true], vec![false]));
        own.set_group(&filter("a.b"), &name, None);
        check(&own, &["**"]);
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
