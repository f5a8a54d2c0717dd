//! From rules to a program: rules by topic through a trie, rules by border as bits.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use meshbridge_topic::{FilterTrie, Topic};
use smallvec::SmallVec;

use crate::SourceFile;
use crate::delivery::{self, DeliveryOptions};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::federation::{Federation, ZoneIndex};
use crate::lower;
use crate::model::{Action, Context, Rule};
use crate::rules;
use crate::shape::{Shape, check};
use crate::yaml::documents;

/// Rules of all layers; a bit each.
const RULES_MAX: usize = 100_000;
/// Entries of all Delivery documents.
const DELIVERY_ENTRIES_MAX: usize = 10_000;
/// Topics whose rules are remembered; beyond it the memory starts anew.
const TOPICS_MAX: usize = 8_192;

pub(crate) type Bits = SmallVec<[u64; 4]>;

/// Destinations of one class get the same verdict and the same bytes for one event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClassId {
    context: Context,
    rules: Bits,
    exceptions: Bits,
}

/// Policies that can be judged by.
#[derive(Debug)]
pub struct Compiled {
    pub program: Program,
    pub warnings: Diagnostics,
}

/// Rules by what they are about.
#[derive(Debug)]
pub struct Program {
    pub(crate) federation: Federation,
    /// Outer layers first, then by id.
    pub(crate) rules: Vec<Rule>,
    by_topic: FilterTrie<u32>,
    topics: RwLock<HashMap<Topic, Arc<TopicRules>>>,
    borders: Vec<OnceLock<BorderRules>>,
    delivery_entries: Vec<delivery::Entry>,
    /// By zone, made when first asked for: a bridge asks for its own.
    delivery: Vec<OnceLock<DeliveryOptions>>,
    digest: [u8; 32],
}

/// Rules whose `match.topics` holds, and those whose exception does.
#[derive(Debug)]
struct TopicRules {
    matching: Bits,
    excepted: Bits,
}

/// Rules that apply at a border, for every event they match; and those whose exception may hold there.
#[derive(Debug)]
struct BorderRules {
    matching: Bits,
    /// The exception holds, whatever the event is.
    excepted: Bits,
    /// The exception holds for some events.
    conditional: Bits,
}

/// Compiles all policies of a bridge, or says everything that is wrong with them.
pub fn compile(files: &[SourceFile], federation: &Federation) -> Result<Compiled, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut rules = Vec::new();
    let mut entries = Vec::new();
    let mut names: HashMap<(&str, String), crate::Span> = HashMap::new();
    for file in files {
        for document in documents(file, &mut problems) {
            // Documents of other kinds may lie beside policies; those we know are somebody else's to read.
            let kind = document.get("kind").and_then(crate::Node::text);
            if matches!(kind, Some("Federation" | "Bridge")) {
                continue;
            }
            let (kind, shape) = form(kind);
            check(&document, shape, &mut problems);
            let name = document.get("metadata").and_then(|metadata| metadata.get("name"));
            if let Some((node, text)) = name.and_then(|node| Some((node, node.text()?)))
                && let Some(first) = names.insert((kind, text.to_owned()), node.span.clone())
            {
                let message = format!("{kind} `{text}` occurs twice");
                problems.push(Diagnostic::error("P0111", &node.span, message).related(&first, "first here"));
            }
            // Also where the shape is wrong: what can be read of it may have further problems.
            match kind {
                "delivery" => entries.extend(delivery::lower(&document, federation, &mut problems)),
                _ => rules.extend(lower::policy(&document, federation, &mut problems)),
            }
        }
    }
    if entries.len() > DELIVERY_ENTRIES_MAX
        && let Some(entry) = entries.last()
    {
        let message = format!("there are more than {DELIVERY_ENTRIES_MAX} delivery entries");
        problems.push(Diagnostic::error("P0107", &entry.span, message));
    }
    if rules.len() > RULES_MAX
        && let Some(rule) = rules.last()
    {
        problems.push(Diagnostic::error(
            "P0107",
            &rule.span,
            format!("there are more than {RULES_MAX} rules"),
        ));
    }
    rules.sort_by(|a, b| (a.layer.depth, &a.id).cmp(&(b.layer.depth, &b.id)));
    entries.sort_by_cached_key(|entry| (entry.layer_name(), entry.canonical.clone()));
    check_reach(&rules, &mut problems);
    problems.sort();
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(Compiled { program: Program::new(rules, entries, federation.clone()), warnings: problems })
}

/// What a document of this kind is called in messages, and its form. A misspelled kind has the form of the nearest.
fn form(kind: Option<&str>) -> (&'static str, &'static Shape) {
    let distance = |known: &str| strsim::damerau_levenshtein(known, kind.unwrap_or_default());
    if distance("Delivery") < distance("Policy") {
        ("delivery", delivery::shape())
    } else {
        ("policy", rules::shape())
    }
}

/// P0203: a permit of an inner layer about topics that the outermost layer never permits has no effect.
fn check_reach(rules: &[Rule], problems: &mut Diagnostics) {
    let is_permit = |rule: &&Rule| matches!(rule.action, Action::Permit);
    let outer: Vec<&Rule> = rules.iter().filter(is_permit).filter(|rule| rule.layer.depth == 0).collect();
    for rule in rules.iter().filter(is_permit).filter(|rule| rule.layer.depth > 0) {
        for (filter, span) in rule.matcher.topics.iter().zip(&rule.topic_spans) {
            let shared = |outer: &&&Rule| {
                outer.matcher.at & rule.matcher.at != 0
                    && outer.matcher.topics.iter().any(|permitted| permitted.intersects(filter))
            };
            if outer.iter().any(|outer| shared(&outer)) {
                continue;
            }
            let layer = rule.layer.name();
            let mut problem = Diagnostic::error("P0203", span, "this permit can never take effect")
                .label(format!("{layer} cannot add to what the federation permits"))
                .help(format!(
                    "permit \"{filter}\" in a policy of the layer federation, or remove this topic"
                ));
            if let Some(first) = outer.first() {
                let label = format!("no permit of the outermost layer covers \"{filter}\"");
                problem = problem.related(&first.span, label);
            }
            problems.push(problem);
        }
    }
}

fn set(bits: &mut Bits, at: usize) {
    if bits.len() <= at / 64 {
        bits.resize(at / 64 + 1, 0);
    }
    bits[at / 64] |= 1 << (at % 64);
}

fn and(a: &Bits, b: &Bits) -> Bits {
    a.iter().zip(b).map(|(a, b)| a & b).collect()
}

fn and_not(a: &Bits, b: &Bits) -> Bits {
    a.iter().enumerate().map(|(at, word)| word & !b.get(at).copied().unwrap_or(0)).collect()
}

pub(crate) fn ones(bits: &Bits) -> impl Iterator<Item = usize> + '_ {
    bits.iter().enumerate().flat_map(|(word, bits)| {
        let mut left = *bits;
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                word * 64 + bit
            })
        })
    })
}

/// The rules that may apply, and those of them whose exception must be looked at with the event in hand.
pub(crate) struct Candidates {
    pub(crate) rules: Bits,
    pub(crate) exceptions: Bits,
}

impl Program {
    fn new(rules: Vec<Rule>, delivery_entries: Vec<delivery::Entry>, federation: Federation) -> Program {
        let mut by_topic = FilterTrie::default();
        let mut hasher = blake3::Hasher::new_derive_key("meshbridge policy digest v1");
        for (at, rule) in rules.iter().enumerate() {
            for filter in &rule.matcher.topics {
                by_topic.insert(filter, u32::try_from(at).expect("RULES_MAX fits"));
            }
            for part in [&rule.id, &rule.layer.name(), &rule.canonical] {
                hasher.update(&(part.len() as u64).to_be_bytes());
                hasher.update(part.as_bytes());
            }
        }
        for entry in &delivery_entries {
            for part in ["delivery", &entry.layer_name(), &entry.canonical] {
                hasher.update(&(part.len() as u64).to_be_bytes());
                hasher.update(part.as_bytes());
            }
        }
        for zone in &federation.zones {
            hasher.update(format!("{zone:?}").as_bytes());
        }
        hasher.update(federation.layers.join(",").as_bytes());
        let zones = federation.zones.len();
        Program {
            borders: (0..Context::ALL.len() * zones * zones).map(|_| OnceLock::new()).collect(),
            delivery: (0..zones).map(|_| OnceLock::new()).collect(),
            delivery_entries,
            digest: *hasher.finalize().as_bytes(),
            federation,
            rules,
            by_topic,
            topics: RwLock::default(),
        }
    }

    /// The same for the same rules, whatever files they stand in and in whatever order.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
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

    /// What decides about an event of `topic` at a border, before the event itself is looked at.
    pub fn class(&self, context: Context, from: ZoneIndex, to: ZoneIndex, topic: &Topic) -> ClassId {
        let Candidates { rules, exceptions } = self.candidates(context, from, to, topic);
        ClassId { context, rules, exceptions }
    }

    pub(crate) fn candidates(
        &self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
    ) -> Candidates {
        let of_topic = self.topic_rules(topic);
        let border = self.border(context, from, to);
        let matching = and(&of_topic.matching, &border.matching);
        let rules = and_not(&matching, &and(&of_topic.excepted, &border.excepted));
        let exceptions = and(&and(&of_topic.excepted, &border.conditional), &rules);
        Candidates { rules, exceptions }
    }

    fn topic_rules(&self, topic: &Topic) -> Arc<TopicRules> {
        let known = self.topics.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned();
        if let Some(known) = known {
            return known;
        }
        let words = self.rules.len().div_ceil(64);
        let (mut matching, mut excepted): (Bits, Bits) =
            (SmallVec::from_elem(0, words), SmallVec::from_elem(0, words));
        self.by_topic.for_each_match(topic, |at| set(&mut matching, *at as usize));
        for at in ones(&matching) {
            if self.rules[at].except.as_ref().is_some_and(|except| except.topic_holds(topic)) {
                set(&mut excepted, at);
            }
        }
        let found = Arc::new(TopicRules { matching, excepted });
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if topics.len() >= TOPICS_MAX {
            topics.clear();
        }
        topics.insert(topic.clone(), Arc::clone(&found));
        found
    }

    fn border(&self, context: Context, from: ZoneIndex, to: ZoneIndex) -> &BorderRules {
        let zones = self.federation.zones.len();
        let slot = (context as usize * zones + usize::from(from.0)) * zones + usize::from(to.0);
        self.borders[slot].get_or_init(|| {
            let words = self.rules.len().div_ceil(64);
            let empty = || -> Bits { SmallVec::from_elem(0, words) };
            let mut border = BorderRules { matching: empty(), excepted: empty(), conditional: empty() };
            let (from_zone, to_zone) =
                (&self.federation.zones[usize::from(from.0)], &self.federation.zones[usize::from(to.0)]);
            for (at, rule) in self.rules.iter().enumerate() {
                if !rule.speaks(&self.federation, context, from, to)
                    || !rule.matcher.border_holds(context, from_zone, to_zone)
                {
                    continue;
                }
                set(&mut border.matching, at);
                if let Some(except) = &rule.except
                    && except.border_holds(context, from_zone, to_zone)
                {
                    let bits =
                        if except.event.is_empty() { &mut border.excepted } else { &mut border.conditional };
                    set(bits, at);
                }
            }
            border
        })
    }
}
