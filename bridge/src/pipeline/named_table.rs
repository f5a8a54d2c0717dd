//! All subscriptions with memory of this bridge, by id, by name and by topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use meshbridge_routing::GroupName;
use meshbridge_topic::{FilterTrie, Topic};
use smallvec::SmallVec;

use super::named::Named;

#[derive(Debug, Default)]
struct Table {
    trie: FilterTrie<u32>,
    /// Of consumer groups.
    groups: FilterTrie<u32>,
    by_group: HashMap<GroupName, u32>,
    by_id: BTreeMap<u32, Arc<Named>>,
}

impl Table {
    fn trie_of(&mut self, named: &Named) -> &mut FilterTrie<u32> {
        if named.group.is_some() { &mut self.groups } else { &mut self.trie }
    }
}

/// All subscriptions with memory of this bridge.
#[derive(Debug, Default)]
pub(super) struct NamedTable(RwLock<Table>);

impl NamedTable {
    pub(super) fn insert(&self, named: Arc<Named>) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for filter in &named.filters {
            table.trie_of(&named).insert(filter, named.id);
        }
        if let Some(name) = named.group_name() {
            table.by_group.insert(name.clone(), named.id);
        }
        table.by_id.insert(named.id, named);
    }

    pub(super) fn remove(&self, id: u32) -> Option<Arc<Named>> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let named = table.by_id.remove(&id)?;
        for filter in &named.filters {
            table.trie_of(&named).remove(filter, &id);
        }
        if let Some(name) = named.group_name() {
            table.by_group.remove(name);
        }
        Some(named)
    }

    pub(super) fn get(&self, id: u32) -> Option<Arc<Named>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.get(&id).cloned()
    }

    pub(super) fn find(&self, owner: &str, name: &str) -> Option<Arc<Named>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.by_id.values().find(|named| *named.owner == *owner && *named.name == *name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Named>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.values().cloned().collect()
    }

    /// The consumer groups here that want the topic, each once.
    pub(super) fn groups_matching(&self, topic: &Topic) -> SmallVec<[Arc<Named>; 2]> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut ids: SmallVec<[u32; 2]> = SmallVec::new();
        table.groups.for_each_match(topic, |id| ids.push(*id));
        ids.sort_unstable();
        ids.dedup();
        ids.iter().filter_map(|id| table.by_id.get(id).cloned()).collect()
    }

    pub(super) fn group(&self, name: &GroupName) -> Option<Arc<Named>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.by_id.get(table.by_group.get(name)?).cloned()
    }

    /// Ids of those that want the topic, ascending, each once; of groups only where they are chosen.
    pub(super) fn matching(&self, topic: &Topic) -> SmallVec<[u32; 4]> {
        let mut ids = SmallVec::new();
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.trie.for_each_match(topic, |id| ids.push(*id));
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
