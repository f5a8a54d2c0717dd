//! From a publication to who gets which bytes: interest, then the egress verdict once per destination class.

use meshbridge_delivery::Choices;
use meshbridge_event::Event;
use meshbridge_policy::{ClassId, Context, Editors, ZoneIndex};
use meshbridge_routing::{BridgeId, BridgeIndex, DestinationSet, Forwarding, GroupMatch, Passage};
use meshbridge_topic::Topic;
use smallvec::SmallVec;

use super::judge::{Asked, Refusal, Verdict, class};
use super::principal::Principal;
use super::replies::{is_reply, origin};
use super::{Denied, Inner, Publication};
use crate::policy_store::Generation;

/// An event that may be admitted: judged for every destination, not yet numbered.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) topic: Topic,
    pub(super) event: Event,
    /// This bridge has subscribers for it.
    pub(super) local: bool,
    /// One for each different set of bytes that leaves.
    pub(super) variants: SmallVec<[Variant; 2]>,
    pub(super) refused: Vec<(BridgeIndex, Refusal)>,
    /// Destinations that it is for, and does not go to until a person has decided.
    pub(super) held: Vec<(BridgeIndex, Refusal)>,
    pub(super) denied: Vec<Denied>,
    /// Bridges that it would go to without consumer groups.
    pub(super) plain: DestinationSet,
    /// Consumer groups at other bridges that want it.
    pub(super) groups: SmallVec<[GroupMatch; 2]>,
    /// Those that were chosen here, by their subscriptions.
    pub(super) here: SmallVec<[u32; 2]>,
    pub(super) choices: Option<Box<Choices>>,
    /// A rule stops it here: it is for nobody, and kept for this bridge itself.
    pub(super) is_kept_back: bool,
    /// What its retries are known by, where it is not published for the first time.
    pub(super) producer: Option<u128>,
}

impl Planned {
    /// An event that a rule keeps back when it is published: a pair with this bridge, which is held or ends as a dead letter.
    pub(super) fn kept_back(
        Publication { topic, event }: Publication,
        (own, id): (BridgeIndex, &BridgeId),
        refusal: Refusal,
    ) -> Planned {
        let mut planned = Planned {
            topic,
            event,
            local: false,
            variants: SmallVec::new(),
            refused: Vec::new(),
            held: Vec::new(),
            denied: Vec::new(),
            plain: DestinationSet::from_iter([own]),
            groups: SmallVec::new(),
            here: SmallVec::new(),
            choices: None,
            is_kept_back: true,
            producer: None,
        };
        if refusal.holds() {
            planned.held.push((own, refusal));
        } else {
            let (by, disposition) = (refusal.by.clone(), refusal.disposition.to_owned());
            planned.denied.push(Denied { destination: id.clone(), by, disposition });
            planned.refused.push((own, refusal));
        }
        planned
    }

    pub(super) fn refuse(&mut self, forwarding: &Forwarding, bridge: BridgeIndex, refusal: Refusal) {
        if self.refused.iter().any(|(known, _)| *known == bridge) {
            return;
        }
        self.denied.push(Denied {
            destination: forwarding.bridge(bridge).0.clone(),
            by: refusal.by.clone(),
            disposition: refusal.disposition.to_owned(),
        });
        self.refused.push((bridge, refusal));
    }

    pub(super) fn hold(&mut self, bridge: BridgeIndex, refusal: Refusal) {
        if !self.held.iter().any(|(known, _)| *known == bridge) {
            self.held.push((bridge, refusal));
        }
    }

    /// Whether there is a way to a destination over zones and links that it may take.
    pub(super) fn reaches(&self, forwarding: &Forwarding, bridge: BridgeIndex) -> bool {
        let mut variants = self.variants.iter();
        // What waits for a rate has no passage yet.
        variants
            .find(|variant| variant.destinations.contains(&bridge))
            .is_none_or(|variant| variant.waits || forwarding.reaches(bridge, &variant.passage))
    }

    /// For a class of delivery without a place to hold anything: what would be held is refused.
    pub(super) fn refuse_held(&mut self, forwarding: &Forwarding) {
        for (bridge, refusal) in std::mem::take(&mut self.held) {
            self.refuse(forwarding, bridge, refusal);
        }
    }

    /// Destinations that a rule keeps it from, and for which it is kept here as a dead letter. A bridge that it would only
    /// go to for a consumer group is one of several, and no destination of its own.
    pub(super) fn letters(&self) -> impl Iterator<Item = (BridgeIndex, &Refusal)> + '_ {
        let kept =
            self.refused.iter().filter(|(bridge, refusal)| refusal.keeps() && self.plain.contains(*bridge));
        kept.map(|(bridge, refusal)| (*bridge, refusal))
    }

    /// Every bridge that it will be pending with.
    pub(super) fn pending(&self) -> impl Iterator<Item = BridgeIndex> + '_ {
        let planned = self.variants.iter().flat_map(|variant| variant.destinations.iter().copied());
        planned.chain(self.held.iter().map(|(bridge, _)| *bridge))
    }
}

/// The event as one destination class gets it.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    pub(super) event: Event,
    pub(super) destinations: SmallVec<[BridgeIndex; 4]>,
    /// Zones that may see it on its way, and links that it does not cross.
    pub(super) passage: Passage,
    /// A rate has no room yet: the policies are asked again when it is sent.
    pub(super) waits: bool,
}

impl Inner {
    pub(super) fn plan(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        publisher: &Principal,
        batch: Vec<Publication>,
    ) -> Vec<Planned> {
        let mut destinations = DestinationSet::default();
        batch
            .into_iter()
            .map(|publication| {
                self.parts.drift.on_events(&self.parts.policies, &publication.topic, &publication.event, 1);
                destinations.clear();
                let mut groups = SmallVec::new();
                if is_reply(&publication.topic) {
                    self.destination_of_reply(forwarding, &publication.topic, &mut destinations);
                } else {
                    forwarding.match_topic(&publication.topic, &mut destinations, &mut groups);
                }
                let planned = self.plan_one(generation, forwarding, publisher, publication, &destinations);
                Planned { groups, ..planned }
            })
            .collect()
    }

    /// A reply goes to the one bridge that its topic names, whoever is interested.
    fn destination_of_reply(&self, forwarding: &Forwarding, reply: &Topic, set: &mut DestinationSet) {
        let index = origin(reply).and_then(|origin| forwarding.index_of(&origin));
        if let Some(index) = index.filter(|index| *index != forwarding.own()) {
            set.insert(index);
        }
    }

    /// Whether somebody here waits for it.
    pub(super) fn wants_here(&self, topic: &Topic) -> bool {
        if !is_reply(topic) {
            return self.subscriptions.wants(topic);
        }
        let place = self.replies.open(topic).and_then(|place| Topic::parse(&place).ok());
        place.is_some_and(|place| self.subscriptions.wants(&place))
    }

    fn plan_one(
        &self,
        generation: &Generation,
        forwarding: &Forwarding,
        publisher: &Principal,
        Publication { topic, event }: Publication,
        destinations: &DestinationSet,
    ) -> Planned {
        let own = &self.parts.own_zone;
        let program = &generation.program;
        let mut classes: SmallVec<[(ClassId, Verdict, Editors); 4]> = SmallVec::new();
        let mut zones: SmallVec<[ZoneIndex; 8]> = SmallVec::new();
        let mut home: SmallVec<[BridgeIndex; 4]> = SmallVec::new();
        let mut variants: SmallVec<[Variant; 2]> = SmallVec::new();
        let mut class_variant: SmallVec<[usize; 4]> = SmallVec::new();
        let (mut refused, mut held) = (Vec::new(), Vec::new());
        for bridge in destinations.iter() {
            let (_, zone) = forwarding.bridge(bridge);
            if zone == own {
                // Between bridges of one zone there is no border.
                home.push(bridge);
                continue;
            }
            let Some(to) = program.zone(zone.as_str()) else {
                refused.push((bridge, Refusal::unknown_zone()));
                continue;
            };
            let from = self.parts.own_zone_index;
            let asked = Asked {
                context: Context::Egress,
                from,
                to,
                topic: &topic,
                event: &event,
                publisher: Some(&publisher.0),
                subscriber: None,
                hops: 0,
            };
            let class = class(program, Context::Egress, from, to, &topic);
            let known = classes.iter().position(|(id, ..)| *id == class);
            let is_new_zone = !zones.contains(&to);
            if is_new_zone {
                zones.push(to);
            }
            if let Some((_, verdict, editors)) = known.map(|at| &classes[at]).filter(|_| is_new_zone) {
                self.record_alike(generation, &asked, (verdict, editors));
                self.observe_alike(generation, &asked, verdict);
            }
            let at = known.unwrap_or_else(|| {
                let (verdict, editors) = self.judge_by_name(generation, &asked, &[]);
                let variant = match &verdict {
                    Verdict::Pass(edited) => {
                        let form = edited.clone().unwrap_or_else(|| event.clone());
                        let passage = self.passage(generation, &asked, &form);
                        variants.push(Variant {
                            event: form,
                            destinations: SmallVec::new(),
                            passage,
                            waits: false,
                        });
                        variants.len() - 1
                    }
                    Verdict::Wait(_) => {
                        variants.push(Variant {
                            event: event.clone(),
                            destinations: SmallVec::new(),
                            passage: Passage::ANY,
                            waits: true,
                        });
                        variants.len() - 1
                    }
                    Verdict::Stop(_) => usize::MAX,
                };
                classes.push((class, verdict, editors));
                class_variant.push(variant);
                classes.len() - 1
            });
            match &classes[at].1 {
                Verdict::Pass(_) | Verdict::Wait(_) => variants[class_variant[at]].destinations.push(bridge),
                Verdict::Stop(refusal) if refusal.holds() => held.push((bridge, refusal.clone())),
                Verdict::Stop(refusal) => refused.push((bridge, refusal.clone())),
            }
        }
        if !home.is_empty() {
            let passage = self.home_passage(generation, &topic, &event, Some(&publisher.0));
            variants.push(Variant { event: event.clone(), destinations: home, passage, waits: false });
        }
        let denied = refused
            .iter()
            .map(|(bridge, refusal)| Denied {
                destination: forwarding.bridge(*bridge).0.clone(),
                by: refusal.by.clone(),
                disposition: refusal.disposition.to_owned(),
            })
            .collect();
        let local = self.wants_here(&topic);
        let plain = destinations.clone();
        let (groups, here, choices) = (SmallVec::new(), SmallVec::new(), None);
        let (is_kept_back, producer) = (false, None);
        Planned {
            topic,
            event,
            local,
            variants,
            refused,
            held,
            denied,
            plain,
            groups,
            here,
            choices,
            is_kept_back,
            producer,
        }
    }
}
