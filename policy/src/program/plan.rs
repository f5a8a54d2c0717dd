//! What topic and zones alone decide about events, worked out once and remembered.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use meshbridge_topic::Topic;
use smallvec::SmallVec;

use super::links::{LinkCandidate, is_about_links};
use super::{ClassId, Program};
use crate::federation::{Zone, ZoneIndex};
use crate::link::ZoneLink;
use crate::model::{Action, BucketPart, Classification, Classified, Context, Layer, Match, Mode};
use crate::path::Path;
use crate::protect::Declared;
use crate::{Class, ClassSet, Confidence};

/// A rule that applies to events of the topic at the border, but for its conditions.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Its place in the program.
    pub(crate) rule: u32,
    /// The match has conditions.
    pub(crate) conditional: bool,
    /// The exception holds but for its conditions.
    pub(crate) exception: bool,
    /// Waivers that are about the topic and the border.
    pub(crate) waivers: SmallVec<[u32; 1]>,
}

/// A layer that narrows here, so that one of its permits must apply.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) layer: Layer,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) candidates: Box<[Candidate]>,
    pub(crate) gates: Box<[Gate]>,
    /// Rules that stop nothing and take links off the way.
    pub(crate) links: Box<[LinkCandidate]>,
    /// Something that holds for who would carry the event too: `deny`, `forbid`, `residency`, `protect`.
    pub(crate) has_restrictions: bool,
    /// Some condition or check reads the data.
    pub(crate) reads_data: bool,
    /// Classes that are looked for, and whether the data are read for anything else.
    pub(crate) wanted: ClassSet,
    pub(crate) least: Confidence,
    pub(crate) has_fields: bool,
    pub(crate) known: Known,
    /// Every gate is open for every event, and nothing else can happen.
    pub(crate) passes: bool,
    pub(crate) class: ClassId,
}

/// What the Classification says of a topic.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The outermost layer's first.
    fields: Vec<(Path, Class)>,
    vouched: usize,
    may_hold: ClassSet,
    /// By the layer that says so.
    opaque: SmallVec<[(Layer, ClassSet); 1]>,
}

impl Known {
    fn of(classified: &[(&Classification, &Classified)]) -> Known {
        let mut known = Known::default();
        for (document, topic) in classified {
            // Documents come outer layers first.
            known.fields.extend(topic.fields.iter().cloned());
            if document.layer.depth == 0 {
                known.vouched = known.fields.len();
                known.may_hold = known.may_hold.union(topic.may_hold);
            }
            known.opaque.extend(topic.opaque.map(|classes| (document.layer.clone(), classes)));
        }
        known
    }

    pub(crate) fn declared(&self) -> Declared<'_> {
        Declared { fields: &self.fields, vouched: self.vouched, may_hold: self.may_hold }
    }

    /// What data hold that are neither JSON nor text, as far as a rule of `layer` may rely on it: it loosens, so an
    /// inner layer says nothing to an outer rule, and in transit the layers of one zone say nothing to those of the
    /// other.
    pub(crate) fn opaque(&self, layer: &Layer, context: Context, from: &Zone, to: &Zone) -> Option<ClassSet> {
        let zones = match context {
            Context::Publish | Context::Egress | Context::Subscribe => [from, from],
            Context::Ingress | Context::Deliver => [to, to],
            Context::Transit | Context::Interest => [from, to],
        };
        let is_outer = |of: &Layer| {
            let covers = |zone: &&Zone| !layer.speaks_for(zone) || of.speaks_for(zone);
            of.depth < layer.depth && zones.iter().all(covers)
        };
        let counts = |of: &Layer| of.depth == 0 || of == layer || is_outer(of);
        let visible = self.opaque.iter().filter(|(of, _)| counts(of)).map(|(_, classes)| *classes);
        visible.reduce(ClassSet::union)
    }
}

/// A rule about links, whether its exception holds but for its conditions, and the links.
type LinksOfRule = (u32, bool, SmallVec<[ZoneLink; 2]>);

/// What makes two destinations one class.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClassKey {
    context: Context,
    rules: Box<[(u32, bool)]>,
    gates: Box<[Arc<str>]>,
    links: Box<[LinksOfRule]>,
    /// Where something depends on the destination itself.
    to: Option<ZoneIndex>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlanKey {
    pub(crate) context: Context,
    pub(crate) from: ZoneIndex,
    pub(crate) to: ZoneIndex,
    pub(crate) topic: Topic,
}

/// A key that borrows the topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlanKeyRef<'a> {
    pub(crate) context: Context,
    pub(crate) from: ZoneIndex,
    pub(crate) to: ZoneIndex,
    pub(crate) topic: &'a Topic,
}

impl Hash for PlanKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.context as u8, self.from.0, self.to.0).hash(state);
        self.topic.as_str().hash(state);
    }
}

impl Hash for PlanKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        PlanKeyRef { context: self.context, from: self.from, to: self.to, topic: &self.topic }.hash(state);
    }
}

impl hashbrown::Equivalent<PlanKey> for PlanKeyRef<'_> {
    fn equivalent(&self, key: &PlanKey) -> bool {
        (self.context, self.from, self.to) == (key.context, key.from, key.to) && *self.topic == key.topic
    }
}

impl Program {
    /// Works a plan out; who judges many events remembers it.
    pub(crate) fn plan(&self, context: Context, from: ZoneIndex, to: ZoneIndex, topic: &Topic) -> Plan {
        let (from_zone, to_zone) = (self.federation.zone_at(from), self.federation.zone_at(to));
        let mut found: Vec<u32> = Vec::new();
        self.by_topic.for_each_match(topic, |at| found.push(*at));
        found.sort_unstable();
        found.dedup();
        let holds = |m: &Match| m.topic_holds(topic) && m.border_holds(context, from_zone, to_zone);
        let (mut candidates, mut links) = (Vec::new(), Vec::new());
        for at in found {
            let rule = &self.rules[at as usize];
            let is_heard = match rule.is_about_links() {
                true => is_about_links(rule, context),
                false => rule.speaks(&self.federation, context, from, to),
            };
            if !is_heard || !rule.matcher.border_holds(context, from_zone, to_zone) {
                continue;
            }
            let exception = rule.except.as_ref().is_some_and(holds);
            let waivers = self.waived.get(&at).into_iter().flatten();
            let candidate = || Candidate {
                rule: at,
                conditional: rule.matcher.has_conditions(),
                exception,
                waivers: waivers.filter(|at| holds(&self.waivers[**at as usize].matcher)).copied().collect(),
            };
            if rule.is_about_links() {
                links.extend(self.link_candidate(candidate(), from, exception));
            } else if !exception || rule.except.as_ref().is_some_and(Match::has_conditions) {
                candidates.push(candidate());
            }
        }
        let gates: Vec<Gate> = self.gates(context, from, to);
        self.finish((context, from, to), topic, candidates, links, gates)
    }

    /// Layers that must permit: at a border the outermost always; any other where it has permits for the context.
    pub(crate) fn gates(&self, context: Context, from: ZoneIndex, to: ZoneIndex) -> Vec<Gate> {
        let (from, to) = (self.federation.zone_at(from), self.federation.zone_at(to));
        let mut gates = Vec::new();
        let narrows =
            |layer: &Layer, contexts: u8| contexts & context.bit() != 0 && layer.speaks_at(context, from, to);
        if context.is_border() {
            gates.push(Gate { layer: Layer::federation() });
        }
        for (layer, contexts) in &self.permitting {
            if narrows(layer, *contexts) && !(context.is_border() && layer.depth == 0) {
                gates.push(Gate { layer: layer.clone() });
            }
        }
        gates
    }

    fn finish(
        &self,
        (context, from, to): (Context, ZoneIndex, ZoneIndex),
        topic: &Topic,
        candidates: Vec<Candidate>,
        links: Vec<LinkCandidate>,
        gates: Vec<Gate>,
    ) -> Plan {
        let mut wanted = ClassSet::EMPTY;
        let (mut has_fields, mut has_restrictions, mut reads_data) = (false, false, false);
        let mut least = Confidence::High;
        let mut has_work = false;
        // Who is told of what one destination wants, and so may carry for it, is not who is told of another's.
        let mut by_destination = context == Context::Egress && self.judges_interest();
        for candidate in candidates.iter().chain(links.iter().map(|one| &one.candidate)) {
            let rule = &self.rules[candidate.rule as usize];
            // A waiver is reported also where it changes nothing. What only takes links away is asked about by itself.
            has_work |= !((rule.is_permit() || rule.is_about_links())
                && rule.mode == Mode::Enforce
                && candidate.waivers.is_empty());
            by_destination |= depends_on_destination(&rule.action)
                || [Some(&rule.matcher), rule.except.as_ref()].into_iter().flatten().any(|m| {
                    m.when.as_ref().is_some_and(|(condition, _)| condition.reads().to != Default::default())
                });
            let conditions = [Some(&rule.matcher), rule.except.as_ref()].into_iter().flatten();
            let waivers = candidate.waivers.iter().map(|at| &self.waivers[*at as usize].matcher);
            reads_data |= conditions
                .chain(waivers)
                .any(|m| m.when.as_ref().is_some_and(|(condition, _)| !condition.reads().data.is_empty()))
                || matches!(rule.action, Action::Validate(_));
            has_restrictions |= matches!(
                rule.action,
                Action::Deny | Action::Forbid(_) | Action::Residency { .. } | Action::Protect(_)
            );
            match &rule.action {
                Action::Forbid(forbid) => {
                    wanted = wanted.union(forbid.classes);
                    least = least.min(forbid.confidence);
                }
                Action::Protect(items) => {
                    for item in items {
                        wanted = wanted.union(item.demand.classes);
                        has_fields |= !item.demand.fields.is_empty();
                        least = least.min(item.demand.confidence);
                    }
                }
                _ => {}
            }
        }
        let permits = |gate: &Gate| {
            candidates.iter().any(|candidate| {
                let rule = &self.rules[candidate.rule as usize];
                rule.is_permit()
                    && rule.mode == Mode::Enforce
                    && rule.layer == gate.layer
                    && !candidate.conditional
                    && !candidate.exception
                    && candidate.waivers.is_empty()
            })
        };
        let passes = !has_work && gates.iter().all(permits);
        let known = Known::of(&self.classified(context, from, to, topic));
        let class = ClassId(Arc::new(ClassKey {
            context,
            rules: candidates.iter().map(|candidate| (candidate.rule, candidate.exception)).collect(),
            gates: gates.iter().map(|gate| Arc::clone(gate.layer.name())).collect(),
            links: links
                .iter()
                .map(|one| (one.candidate.rule, one.candidate.exception, one.links.clone()))
                .collect(),
            to: by_destination.then_some(to),
        }));
        Plan {
            candidates: candidates.into(),
            gates: gates.into(),
            links: links.into(),
            has_restrictions,
            reads_data,
            wanted,
            least,
            has_fields,
            known,
            passes,
            class,
        }
    }
}

/// Whether two destinations for which the rule applies may differ in verdict or bytes.
fn depends_on_destination(action: &Action) -> bool {
    use crate::protection::{Protection, Scope};
    match action {
        Action::Protect(items) => items.iter().any(|item| {
            matches!(item.demand.protection, Protection::Pseudonymise { scope, .. } if scope.is_within(Scope::DESTINATION))
        }),
        Action::Require { attributes, .. } => attributes
            .iter()
            .any(|one| one.pattern.as_ref().is_some_and(crate::pattern::Pattern::depends_on_destination)),
        Action::Structure(structure) => {
            structure.type_prefix.as_ref().is_some_and(crate::message::Template::depends_on_destination)
                || structure
                    .segments
                    .iter()
                    .any(|one| one.pattern.as_ref().is_some_and(crate::pattern::Pattern::depends_on_destination))
        }
        Action::Validate(validate) => validate.checks.iter().any(|check| check.expression.reads().to != Default::default()),
        // Which zones are allowed differs, although the rule applies to both.
        Action::Residency { .. } => true,
        Action::Limit(limit) => limit.rate.as_ref().is_some_and(|rate| {
            rate.key.iter().any(|part| matches!(part, BucketPart::To(_)))
        }),
        Action::Permit | Action::Deny | Action::DenyLinks | Action::Forbid(_) => false,
    }
}
