//! Policies that can be judged by: rules by topic through a trie, and what is known of topics.

mod digest;
mod links;
mod plan;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use meshbridge_topic::{FilterTrie, Topic};
use smallvec::SmallVec;

use crate::analysis::Learners;
use crate::delivery::{self, DeliveryOptions};
use crate::federation::{Federation, ZoneIndex};
use crate::keys::KeyTable;
use crate::model::{Classification, Classified, Context, Invariant, Layer, Mode, Rule, Waiver};

pub(crate) use links::LinkCandidate;
pub(crate) use plan::{Candidate, Plan, PlanKey, PlanKeyRef};

/// What the documents say, lowered and free of errors.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    pub(crate) rules: Vec<Rule>,
    pub(crate) classifications: Vec<Classification>,
    pub(crate) waivers: Vec<Waiver>,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) delivery: Vec<delivery::Entry>,
    /// Digests of files that are not documents.
    pub(crate) other_files: Vec<String>,
}

/// One set of policies, immutable: an event is judged by exactly one of these.
#[derive(Debug)]
pub struct Program {
    pub(crate) federation: Federation,
    /// Outer layers first, then by id.
    pub(crate) rules: Vec<Rule>,
    by_topic: FilterTrie<u32>,
    /// Layers with permits, and the contexts in which these narrow.
    permitting: Vec<(Layer, u8)>,
    pub(crate) classifications: Vec<Classification>,
    /// Document and entry, by topic.
    classified: FilterTrie<(u32, u32)>,
    pub(crate) waivers: Vec<Waiver>,
    /// Waivers of each rule that has some.
    waived: HashMap<u32, SmallVec<[u32; 2]>>,
    pub(crate) invariants: Vec<Invariant>,
    delivery_entries: Vec<delivery::Entry>,
    /// By zone, made when first asked for: a bridge asks for its own.
    delivery: Vec<OnceLock<DeliveryOptions>>,
    /// Who is told of which filters; made when first asked for.
    learners: OnceLock<Learners>,
    /// Some rule narrows who may learn what is wanted.
    judges_interest: bool,
    /// Some rule takes links off the way of events.
    denies_links: bool,
    digest: [u8; 32],
    /// Tells programs of one process apart, for those who remember plans.
    pub(crate) serial: u64,
}

fn index(at: usize) -> u32 {
    u32::try_from(at).expect("documents are bounded far below")
}

impl Program {
    pub(crate) fn new(mut documents: Documents, federation: Federation) -> Program {
        documents.rules.sort_by(|a, b| (a.layer.depth, &a.id).cmp(&(b.layer.depth, &b.id)));
        documents.delivery.sort_by_cached_key(|entry| (entry.layer_name(), entry.canonical.clone()));
        documents.classifications.sort_by(|a, b| (a.layer.depth, &a.name).cmp(&(b.layer.depth, &b.name)));
        documents.waivers.sort_by(|a, b| a.name.cmp(&b.name));
        documents.invariants.sort_by(|a, b| a.name.cmp(&b.name));
        let digest = digest::of(&documents, &federation);
        let Documents { rules, classifications, waivers, invariants, delivery, .. } = documents;
        let mut by_topic = FilterTrie::default();
        let mut permitting: Vec<(Layer, u8)> = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            for filter in &rule.matcher.topics {
                by_topic.insert(filter, index(at));
            }
            if rule.is_permit() && rule.mode == Mode::Enforce {
                match permitting.iter_mut().find(|(layer, _)| *layer == rule.layer) {
                    Some((_, contexts)) => *contexts |= rule.matcher.at,
                    None => permitting.push((rule.layer.clone(), rule.matcher.at)),
                }
            }
        }
        let mut classified = FilterTrie::default();
        for (document, classification) in classifications.iter().enumerate() {
            for (entry, topic) in classification.topics.iter().enumerate() {
                for filter in &topic.filters {
                    classified.insert(filter, (index(document), index(entry)));
                }
            }
        }
        let mut waived: HashMap<u32, SmallVec<[u32; 2]>> = HashMap::new();
        for (at, waiver) in waivers.iter().enumerate() {
            if let Some(rule) = rules.iter().position(|rule| *rule.id == *waiver.rule) {
                waived.entry(index(rule)).or_default().push(index(at));
            }
        }
        let zones = federation.zones.len();
        let narrows =
            |rule: &Rule| rule.mode == Mode::Enforce && rule.matcher.at & Context::Interest.bit() != 0;
        Program {
            judges_interest: rules.iter().any(narrows),
            denies_links: rules.iter().any(|rule| rule.mode == Mode::Enforce && rule.is_about_links()),
            serial: next_serial(),
            digest,
            delivery: (0..zones).map(|_| OnceLock::new()).collect(),
            delivery_entries: delivery,
            learners: OnceLock::new(),
            by_topic,
            permitting,
            classified,
            waived,
            rules,
            classifications,
            waivers,
            invariants,
            federation,
        }
    }

    /// The same for the same documents, whatever files they stand in and in whatever order.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    pub fn federation(&self) -> &Federation {
        &self.federation
    }

    pub(crate) fn learners(&self) -> &Learners {
        self.learners.get_or_init(|| Learners::new(self))
    }

    pub(crate) fn delivery_entries(&self) -> &[delivery::Entry] {
        &self.delivery_entries
    }

    pub(crate) fn judges_interest(&self) -> bool {
        self.judges_interest
    }

    pub(crate) fn keys(&self) -> &KeyTable {
        self.federation.key_table()
    }

    pub fn zone(&self, name: &str) -> Option<ZoneIndex> {
        self.federation.zone(name)
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// How a bridge of `zone` delivers what is published at it.
    pub fn delivery(&self, zone: ZoneIndex) -> &DeliveryOptions {
        let at = usize::from(zone.0);
        self.delivery[at]
            .get_or_init(|| DeliveryOptions::of_zone(&self.delivery_entries, &self.federation.zones[at]))
    }

    /// What the layers that speak know of a topic, outer ones first.
    pub(crate) fn classified(
        &self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
    ) -> Vec<(&Classification, &Classified)> {
        let mut found: Vec<(u32, u32)> = Vec::new();
        self.classified.for_each_match(topic, |at| found.push(*at));
        found.sort_unstable();
        found.dedup();
        let (from, to) = (self.federation.zone_at(from), self.federation.zone_at(to));
        found
            .into_iter()
            .map(|(document, entry)| {
                let document = &self.classifications[document as usize];
                (document, &document.topics[entry as usize])
            })
            .filter(|(document, _)| document.layer.speaks_at(context, from, to))
            .collect()
    }
}

/// Documents are compiled rarely; programs are compared by number on every lookup.
fn next_serial() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Destinations of one class get the same verdict and the same bytes for one event (POLICY §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClassId(pub(crate) Arc<plan::ClassKey>);
