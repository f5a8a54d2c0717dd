use std::time::Instant;

use bytes::Bytes;
use meshbridge_topic::{Topic, TopicFilter};

use super::{InterestSet, OwnerSets};
use crate::lthash::LtHash;
use crate::want::Want;
use crate::wire::{Delta, Head};
use crate::{Audience, BridgeId, Run, Signature, ZoneName};

/// The sets of one owner, which says what the tests want.
struct Owner {
    sets: OwnerSets,
    version: u64,
    now: Instant,
}

fn wants(texts: &[&str]) -> Vec<Want> {
    texts.iter().map(|text| TopicFilter::parse(text).expect("a filter").into()).collect()
}

impl Owner {
    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    fn new() -> Owner {
        Owner { sets: OwnerSets::of_other(), version: 0, now: Instant::now() }
    }

    /// Of a set with these entries.
    fn head(&mut self, audience: &Audience, entries: &[Want]) -> Head {
        self.version += 1;
        let mut hash = LtHash::default();
        entries.iter().for_each(|want| hash.add(&want.digest_bytes()));
        Head {
            owner: BridgeId::parse("b").expect("a name"),
            run: Run { epoch: 1, nonce: 1 },
            audience: audience.clone(),
            version: self.version,
            digest: hash.digest(),
            count: u32::try_from(entries.len()).expect("a few"),
            signature: Signature { chain: Vec::new(), signature: Bytes::new() },
        }
    }

    fn says(&mut self, audience: &Audience, entries: &[&str]) {
        let entries = wants(entries);
        let head = self.head(audience, &entries);
        self.sets.insert(InterestSet::new(head, entries, self.now).expect("its own words"));
    }

    fn changes(&mut self, audience: &Audience, added: &[&str], removed: &[&str]) {
        let (added, removed) = (wants(added), wants(removed));
        let mut entries = self.sets.get(audience.id()).expect("a set").wants();
        entries.extend(added.iter().cloned());
        entries.retain(|want| !removed.contains(want));
        let from = self.version;
        let head = self.head(audience, &entries);
        self.sets.apply(Delta { head, from, added, removed }, self.now).expect("its own words");
    }

    #[track_caller]
    fn check(&self, text: &str, matches: usize) {
        let topic = Topic::parse(text).expect("a topic");
        let mut found = 0;
        if let Some(trie) = self.sets.trie() {
            trie.for_each_match(&topic, |_| found += 1);
        }
        assert_eq!(found, matches, "{text}");
    }
}

#[test]
fn the_trie_of_all_sets_stays_while_one_of_them_is_empty_for_a_while() {
    let mut owner = Owner::new();
    let (all, few) = (Audience::All, Audience::zones([ZoneName::parse("z").expect("a name")]));
    owner.says(&all, &["a.**", "b"]);
    owner.check("a.x", 1);
    assert!(owner.sets.merged.is_none(), "of one set there is its own");
    owner.says(&few, &["a.x"]);
    owner.check("a.x", 2);
    for _ in 0..2 {
        assert!(owner.sets.merged.is_some());
        owner.changes(&few, &[], &["a.x"]);
        assert!(owner.sets.merged.is_some(), "it is not made anew for the next entry");
        owner.check("a.x", 1);
        owner.changes(&all, &["c"], &["b"]);
        owner.check("b", 0);
        owner.check("c", 1);
        owner.changes(&few, &["a.x"], &[]);
        owner.check("a.x", 2);
        owner.changes(&all, &["b"], &["c"]);
        owner.check("c", 0);
    }
    owner.changes(&few, &[], &["a.x"]);
    owner.changes(&all, &[], &["a.**", "b"]);
    assert!(owner.sets.trie().is_none(), "nothing is wanted");
    owner.says(&all, &["a.x"]);
    assert!(owner.sets.merged.is_none());
    owner.check("a.x", 1);
}
