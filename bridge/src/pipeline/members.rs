//! The members of a consumer group at one bridge: which of them gets the next event.

use std::collections::BTreeMap;
use std::str::FromStr;

use rand::RngExt;

/// Events that one member holds, taken or about to be, unless it gives a credit of its own.
pub(super) const MEMBER_HOLDS: usize = 64;
/// Weight of a member at most.
pub(crate) const WEIGHT_MAX: u32 = 1_000;

/// How members share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    #[default]
    RoundRobin,
    /// As round-robin, in proportion to the members' weights.
    Weighted,
    LeastOutstanding,
    Random,
    /// Events of one `partitionkey` (or else `source`) go to one member while it stays.
    Sticky,
}

impl Strategy {
    pub(crate) const NAMES: [&'static str; 5] =
        ["round-robin", "weighted", "least-outstanding", "random", "sticky"];
    const ALL: [Strategy; 5] = [
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastOutstanding,
        Strategy::Random,
        Strategy::Sticky,
    ];

    pub(crate) fn name(self) -> &'static str {
        Strategy::NAMES[self as usize]
    }
}

impl FromStr for Strategy {
    type Err = ();

    fn from_str(text: &str) -> Result<Strategy, ()> {
        let at = Strategy::NAMES.iter().position(|name| *name == text).ok_or(())?;
        Strategy::ALL.get(at).copied().ok_or(())
    }
}

#[derive(Debug)]
struct Member {
    weight: u32,
    /// Of smooth weighted round-robin.
    current: i64,
    /// What it may hold.
    room: usize,
    leased: usize,
    /// Chosen for it and not taken yet, by the order of the first offer.
    assigned: BTreeMap<u64, u64>,
}

impl Member {
    fn outstanding(&self) -> usize {
        self.leased + self.assigned.len()
    }
}

/// All of them, by connection.
#[derive(Debug, Default)]
pub(super) struct Members {
    strategy: Strategy,
    all: BTreeMap<u64, Member>,
    last: u64,
}

impl Members {
    pub(super) fn new(strategy: Strategy) -> Members {
        Members { strategy, ..Members::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn contains(&self, connection: u64) -> bool {
        self.all.contains_key(&connection)
    }

    pub(super) fn join(&mut self, connection: u64, weight: u32) {
        let weight = weight.clamp(1, WEIGHT_MAX);
        let member = Member { weight, current: 0, room: MEMBER_HOLDS, leased: 0, assigned: BTreeMap::new() };
        self.all.insert(connection, member);
    }

    /// Gives what was chosen for it and not taken.
    pub(super) fn leave(&mut self, connection: u64) -> BTreeMap<u64, u64> {
        self.all.remove(&connection).map(|member| member.assigned).unwrap_or_default()
    }

    pub(super) fn set_room(&mut self, connection: u64, room: usize) {
        if let Some(member) = self.all.get_mut(&connection) {
            member.room = room;
        }
    }

    /// The member for an event of this partition; `None` where it, or all of them, hold as much as they may.
    pub(super) fn choose(&mut self, partition: u32) -> Option<u64> {
        let with_room = |member: &Member| member.outstanding() < member.room;
        let open = self.all.iter().filter(|(_, member)| with_room(member));
        let chosen = match self.strategy {
            Strategy::RoundRobin => {
                let next = self.all.range(self.last + 1..).chain(self.all.range(..=self.last));
                next.filter(|(_, member)| with_room(member)).map(|(id, _)| *id).next()
            }
            Strategy::Weighted => self.next_by_weight(),
            Strategy::LeastOutstanding => {
                open.min_by_key(|(_, member)| member.outstanding()).map(|(id, _)| *id)
            }
            Strategy::Random => {
                let open: Vec<u64> = open.map(|(id, _)| *id).collect();
                (!open.is_empty()).then(|| open[rand::rng().random_range(0..open.len())])
            }
            Strategy::Sticky => {
                let (id, member) = self.all.iter().max_by_key(|(id, _)| mix(**id, partition))?;
                with_room(member).then_some(*id)
            }
        }?;
        self.last = chosen;
        Some(chosen)
    }

    fn next_by_weight(&mut self) -> Option<u64> {
        let mut total = 0;
        for member in self.all.values_mut().filter(|member| member.outstanding() < member.room) {
            member.current += i64::from(member.weight);
            total += i64::from(member.weight);
        }
        let open = self.all.iter_mut().filter(|(_, member)| member.outstanding() < member.room);
        // The first of equals, so that the turn is the same in every run.
        let (id, member) = open.rev().max_by_key(|(_, member)| member.current)?;
        member.current -= total;
        Some(*id)
    }

    pub(super) fn assign(&mut self, connection: u64, order: u64, body: u64) {
        if let Some(member) = self.all.get_mut(&connection) {
            member.assigned.insert(order, body);
        }
    }

    /// The next event that was chosen for a member; it holds it from now on.
    pub(super) fn take(&mut self, connection: u64) -> Option<(u64, u64)> {
        let member = self.all.get_mut(&connection)?;
        let taken = member.assigned.pop_first()?;
        member.leased += 1;
        Some(taken)
    }

    /// A lease of this member is over.
    pub(super) fn released(&mut self, connection: u64) {
        if let Some(member) = self.all.get_mut(&connection) {
            member.leased = member.leased.saturating_sub(1);
        }
    }

    /// The event ended otherwise.
    pub(super) fn forget(&mut self, body: u64) {
        for member in self.all.values_mut() {
            member.assigned.retain(|_, assigned| *assigned != body);
        }
    }

    pub(super) fn assigned(&self) -> usize {
        self.all.values().map(|member| member.assigned.len()).sum()
    }

    pub(super) fn is_sticky(&self) -> bool {
        self.strategy == Strategy::Sticky
    }
}

/// A weight for member and partition (splitmix64 finaliser); the highest has it.
fn mix(member: u64, partition: u32) -> u64 {
    let mut z = member.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(partition).rotate_left(32);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn members(strategy: Strategy, weights: &[u32]) -> Members {
        let mut members = Members::new(strategy);
        (1..).zip(weights).for_each(|(id, weight)| members.join(id, *weight));
        members
    }

    /// Chooses and hands over at once, so that everybody always has room.
    fn run(members: &mut Members, events: u32) -> HashMap<u64, u32> {
        let mut counts = HashMap::new();
        for event in 0..events {
            let chosen = members.choose(event % 100).expect("room");
            *counts.entry(chosen).or_default() += 1;
        }
        counts
    }

    #[test]
    fn turns_are_even_or_by_weight() {
        let even = run(&mut members(Strategy::RoundRobin, &[1, 1, 1]), 300);
        assert!(even.values().all(|count| *count == 100), "{even:?}");
        let weighted = run(&mut members(Strategy::Weighted, &[5, 1, 4]), 1_000);
        assert_eq!((weighted[&1], weighted[&2], weighted[&3]), (500, 100, 400));
        let random = run(&mut members(Strategy::Random, &[1, 1, 1, 1]), 4_000);
        assert!(random.values().all(|count| (700..1_300).contains(count)), "{random:?}");
    }

    #[test]
    fn who_holds_as_much_as_it_may_gets_no_more() {
        for strategy in
            [Strategy::RoundRobin, Strategy::Weighted, Strategy::LeastOutstanding, Strategy::Random]
        {
            let mut members = members(strategy, &[1, 1]);
            members.set_room(1, 2);
            members.set_room(2, 3);
            let mut counts = HashMap::new();
            for order in 0..5 {
                let chosen = members.choose(0).expect("room");
                members.assign(chosen, order, order);
                *counts.entry(chosen).or_insert(0) += 1;
            }
            assert_eq!((counts[&1], counts[&2]), (2, 3), "{strategy:?}");
            assert_eq!(members.choose(0), None, "{strategy:?}");
            assert!(members.take(1).is_some());
            assert_eq!(members.choose(0), None, "taken is held");
            members.released(1);
            assert_eq!(members.choose(0), Some(1));
        }
    }

    #[test]
    fn the_one_who_holds_least_is_next() {
        let mut members = members(Strategy::LeastOutstanding, &[1, 1]);
        members.assign(1, 0, 0);
        members.assign(1, 1, 1);
        assert_eq!(members.choose(0), Some(2));
    }

    #[test]
    fn a_partition_stays_with_its_member_while_that_stays() {
        let mut all = members(Strategy::Sticky, &[1, 1, 1]);
        let before: Vec<u64> = (0..500).map(|partition| all.choose(partition).expect("room")).collect();
        let again: Vec<u64> = (0..500).map(|partition| all.choose(partition).expect("room")).collect();
        assert_eq!(before, again);
        let shares: HashSet<u64> = before.iter().copied().collect();
        assert_eq!(shares.len(), 3, "everybody has some");
        all.leave(2);
        for (partition, before) in (0..).zip(before) {
            let now = all.choose(partition).expect("room");
            assert!(now == before || before == 2, "only what the leaver had moves");
        }
    }
}
