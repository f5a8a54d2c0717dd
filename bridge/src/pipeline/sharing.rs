//! Subscribers of this bridge that share the events of a filter: one of them gets each, in turn.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use meshbridge_topic::TopicFilter;

/// A queue and the tag of the filter in it.
type Member = (u64, u64);

/// Groups by filter and name.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: HashMap<(TopicFilter, Arc<str>), u32>,
    groups: HashMap<u32, Group>,
    next: u32,
}

#[derive(Debug, Default)]
struct Group {
    members: Vec<Member>,
    turn: AtomicUsize,
}

/// What a member leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// Nobody: the group is no more.
    Last(u32),
    Others,
    /// It was no member.
    Never,
}

impl Groups {
    /// Adds a member; gives the group, and whether it is new.
    pub(super) fn join(&mut self, filter: &TopicFilter, name: &str, member: Member) -> (u32, bool) {
        let key = (filter.clone(), Arc::from(name));
        if let Some(id) = self.by_name.get(&key) {
            if let Some(group) = self.groups.get_mut(id) {
                group.members.push(member);
            }
            return (*id, false);
        }
        // Ids come around after 4 billion groups; those in use are passed over.
        while self.groups.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.by_name.insert(key, id);
        self.groups.insert(id, Group { members: vec![member], turn: AtomicUsize::new(0) });
        (id, true)
    }

    /// Takes a member out.
    pub(super) fn leave(&mut self, filter: &TopicFilter, name: &str, member: Member) -> Left {
        let key = (filter.clone(), Arc::from(name));
        let Some(id) = self.by_name.get(&key).copied() else { return Left::Never };
        let Some(group) = self.groups.get_mut(&id) else { return Left::Never };
        let Some(at) = group.members.iter().position(|known| *known == member) else { return Left::Never };
        group.members.remove(at);
        if !group.members.is_empty() {
            return Left::Others;
        }
        self.groups.remove(&id);
        self.by_name.remove(&key);
        Left::Last(id)
    }

    pub(super) fn members(&self, group: u32) -> usize {
        self.groups.get(&group).map_or(0, |group| group.members.len())
    }

    /// The member whose turn it is.
    pub(super) fn choose(&self, group: u32) -> Option<Member> {
        let group = self.groups.get(&group)?;
        let turn = group.turn.fetch_add(1, Ordering::Relaxed);
        group.members.get(turn % group.members.len()).copied()
    }
}
