//! What topic and zones alone decide of every rule, for all topics and all pairs of zones at once.
//!
//! ```text
//!  atoms   classes of topics that no filter of the program tells apart
//!  pairs   for a rule and a context: from which zone to which zone it is about
//!
//!  certain ⊆ possible     certain: it applies to every event; possible: it applies to some
//! ```
//!
//! Conditions, exceptions with conditions and waivers make the difference between the two. What lets an event through
//! is counted where it is possible, what stops or protects it where it is certain: so whatever is proved holds for every
//! event.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashMap;

use meshbridge_topic::{Atoms, TooManyStates, TopicFilter};
use smallvec::SmallVec;

use super::subjects::says_what_topics_hold;
use super::zones::{Pairs, Zones, zone};
use crate::link::ZoneLink;
use crate::model::{Action, Context, Layer, Match, Mode, Rule, Selector, agree};
use crate::program::Program;

/// Why the filters of a text are among the atoms.
#[derive(Clone, Copy, Debug)]
enum Use {
    Rule(u32),
    /// The exception of a rule.
    Except(u32),
    Waiver(u32),
    /// Document and entry.
    Classified(u32, u32),
    /// What was handed in beside the program, by number.
    Asked(usize),
}

/// A rule at the topics of one atom.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Applied {
    pub(crate) rule: u32,
    /// The topics of its exception hold.
    pub(crate) except: bool,
    /// Waivers of the rule that are about the topic.
    pub(crate) waivers: SmallVec<[u32; 1]>,
}

/// What is known of an atom.
#[derive(Clone, Debug, Default)]
pub(crate) struct Here {
    /// By rule, in order.
    pub(crate) rules: Vec<Applied>,
    /// Documents and entries of the Classification.
    pub(crate) classified: Vec<(u32, u32)>,
    /// Of the filters that were handed in, those that match.
    pub(crate) asked: Vec<usize>,
}

type Cell = OnceCell<Pairs>;

/// A program, ready for questions about all topics and zones.
pub(crate) struct Borders<'p> {
    pub(crate) program: &'p Program,
    pub(crate) atoms: Atoms,
    uses: Vec<SmallVec<[Use; 2]>>,
    pub(crate) count: usize,
    /// Zones by attribute and value, labels as `labels.<name>`.
    values: HashMap<(String, String), Zones>,
    /// Pairs that agree on an attribute.
    same: HashMap<String, Pairs>,
    /// By rule and context; without exceptions and waivers.
    rules: Vec<[Cell; Context::ALL.len()]>,
    excepts: Vec<[Cell; Context::ALL.len()]>,
    waivers: Vec<[Cell; Context::ALL.len()]>,
    /// By rule, in transit and elsewhere: recipients that it refuses.
    refused: Vec<[OnceCell<Option<Zones>>; 2]>,
    /// Layers that permit, with the contexts in which they narrow.
    permitting: Vec<(Layer, u8)>,
    /// By layer of these and context: where it speaks.
    spoken: Vec<[Cell; Context::ALL.len()]>,
    /// Zones for which each Classification speaks.
    pub(crate) documents: Vec<Zones>,
    /// Zones for which none speaks that says what topics hold: there everything may be anywhere.
    pub(crate) unclassified: Zones,
}

impl std::fmt::Debug for Borders<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Borders").field("atoms", &self.atoms.len()).field("zones", &self.count).finish()
    }
}

fn cells(count: usize) -> Vec<[Cell; Context::ALL.len()]> {
    (0..count).map(|_| Default::default()).collect()
}

fn number(at: usize) -> u32 {
    u32::try_from(at).expect("documents are bounded far below")
}

impl<'p> Borders<'p> {
    /// `asked` are further filters that the atoms have to tell apart.
    pub(crate) fn new(program: &'p Program, asked: &[TopicFilter]) -> Result<Borders<'p>, TooManyStates> {
        Borders::over(program, asked, |_| true)
    }

    /// For topics of one filter only: nothing that is said of other topics is so.
    pub(crate) fn about(program: &'p Program, filter: &TopicFilter) -> Result<Borders<'p>, TooManyStates> {
        Borders::over(program, std::slice::from_ref(filter), |other| other.intersects(filter))
    }

    fn over(
        program: &'p Program,
        asked: &[TopicFilter],
        concerns: impl Fn(&TopicFilter) -> bool,
    ) -> Result<Borders<'p>, TooManyStates> {
        let mut all: Vec<(&TopicFilter, Use)> = Vec::new();
        for (at, rule) in program.rules.iter().enumerate() {
            all.extend(rule.matcher.topics.iter().map(|filter| (filter, Use::Rule(number(at)))));
            let excepted = rule.except.iter().flat_map(|except| &except.topics);
            all.extend(excepted.map(|filter| (filter, Use::Except(number(at)))));
        }
        for (at, waiver) in program.waivers.iter().enumerate() {
            all.extend(waiver.matcher.topics.iter().map(|filter| (filter, Use::Waiver(number(at)))));
        }
        for (document, classification) in program.classifications.iter().enumerate() {
            for (entry, topic) in classification.topics.iter().enumerate() {
                let place = Use::Classified(number(document), number(entry));
                all.extend(topic.filters.iter().map(|filter| (filter, place)));
            }
        }
        all.extend(asked.iter().enumerate().map(|(at, filter)| (filter, Use::Asked(at))));
        all.retain(|(filter, _)| concerns(filter));
        let atoms = Atoms::new(all.iter().map(|(filter, _)| *filter))?;
        let mut uses: Vec<SmallVec<[Use; 2]>> = vec![SmallVec::new(); atoms.filters().len()];
        for (filter, place) in all {
            let at = atoms.number(filter).expect("the atoms were made of it");
            uses[at].push(place);
        }
        let zones = &program.federation.zones;
        let mut values: HashMap<(String, String), Zones> = HashMap::new();
        for (at, one) in zones.iter().enumerate() {
            let attributes = one.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            let labels = one.labels.iter().map(|(name, value)| (format!("labels.{name}"), value.clone()));
            let name = std::iter::once(("zone".to_owned(), one.name.clone()));
            for key in attributes.chain(labels).chain(name) {
                values.entry(key).or_insert_with(|| Zones::none(zones.len())).insert(at);
            }
        }
        let mut permitting: Vec<(Layer, u8)> = vec![(Layer::federation(), border_bits())];
        for rule in program.rules.iter().filter(|rule| rule.is_permit() && rule.mode == Mode::Enforce) {
            match permitting.iter_mut().find(|(layer, _)| *layer == rule.layer) {
                Some((_, contexts)) => *contexts |= rule.matcher.at,
                None => permitting.push((rule.layer.clone(), rule.matcher.at)),
            }
        }
        let mut borders = Borders {
            program,
            atoms,
            uses,
            count: zones.len(),
            values,
            same: HashMap::new(),
            rules: cells(program.rules.len()),
            excepts: cells(program.rules.len()),
            waivers: cells(program.waivers.len()),
            refused: (0..program.rules.len()).map(|_| Default::default()).collect(),
            spoken: cells(permitting.len()),
            permitting,
            documents: Vec::new(),
            unclassified: Zones::all(zones.len()),
        };
        borders.documents =
            program.classifications.iter().map(|document| borders.layer(&document.layer)).collect();
        for (document, spoken) in program.classifications.iter().zip(&borders.documents) {
            if says_what_topics_hold(document) {
                let left = |at| borders.unclassified.contains(at) && !spoken.contains(at);
                borders.unclassified = Zones::of(borders.count, left);
            }
        }
        let matches =
            program.rules.iter().flat_map(|rule| std::iter::once(&rule.matcher).chain(&rule.except));
        let matches = matches.chain(program.waivers.iter().map(|waiver| &waiver.matcher));
        for name in matches.flat_map(|one| &one.same) {
            borders.learn_same(name);
        }
        Ok(borders)
    }

    pub(crate) fn into_atoms(self) -> Atoms {
        self.atoms
    }

    fn learn_same(&mut self, name: &str) {
        if !self.same.contains_key(name) {
            let pairs = self.agreeing(name);
            self.same.insert(name.to_owned(), pairs);
        }
    }

    fn agreeing(&self, name: &str) -> Pairs {
        let zones = &self.program.federation.zones;
        let mut pairs = Pairs::none(self.count);
        for (at, from) in zones.iter().enumerate() {
            (0..self.count).filter(|to| agree(name, from, &zones[*to])).for_each(|to| pairs.insert(at, to));
        }
        pairs
    }

    /// What is known of an atom.
    pub(crate) fn at(&self, atom: usize) -> Here {
        let mut here = Here::default();
        let (mut excepts, mut waivers): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut rules: Vec<u32> = Vec::new();
        for filter in self.atoms.matching(atom) {
            for place in &self.uses[filter] {
                match *place {
                    Use::Rule(rule) => rules.push(rule),
                    Use::Except(rule) => excepts.push(rule),
                    Use::Waiver(waiver) => waivers.push(waiver),
                    Use::Classified(document, entry) => here.classified.push((document, entry)),
                    Use::Asked(at) => here.asked.push(at),
                }
            }
        }
        for list in [&mut rules, &mut excepts, &mut waivers] {
            list.sort_unstable();
            list.dedup();
        }
        here.classified.sort_unstable();
        here.classified.dedup();
        here.rules = rules
            .into_iter()
            .map(|at| {
                let rule = &self.program.rules[at as usize];
                let any = rule.except.as_ref().is_some_and(|except| except.topics.is_empty());
                let of_rule = |waiver: &&u32| *self.program.waivers[**waiver as usize].rule == *rule.id;
                Applied {
                    rule: at,
                    except: any || excepts.binary_search(&at).is_ok(),
                    waivers: waivers.iter().filter(of_rule).copied().collect(),
                }
            })
            .collect();
        here
    }

    pub(crate) fn rule(&self, applied: &Applied) -> &'p Rule {
        &self.program.rules[applied.rule as usize]
    }

    /// Zones that a selector selects.
    pub(crate) fn selected(&self, selector: &Selector) -> Zones {
        let mut zones = Zones::all(self.count);
        for (attribute, values) in &selector.attributes {
            let mut any = Zones::none(self.count);
            for value in values {
                if let Some(some) = self.values.get(&((*attribute).to_owned(), value.clone())) {
                    any.add(some.words());
                }
            }
            zones.keep(any.words());
        }
        for (label, value) in &selector.labels {
            match self.values.get(&(format!("labels.{label}"), value.clone())) {
                Some(some) => zones.keep(some.words()),
                None => return Zones::none(self.count),
            }
        }
        zones
    }

    /// Zones for which a layer speaks.
    pub(crate) fn layer(&self, layer: &Layer) -> Zones {
        match &layer.of {
            None => Zones::all(self.count),
            Some(key) => self.values.get(key).cloned().unwrap_or_else(|| Zones::none(self.count)),
        }
    }

    /// Layers that must permit in a context where they speak.
    pub(crate) fn gate_layers(&self, context: Context) -> impl Iterator<Item = &Layer> {
        let narrows = move |(_, contexts): &&(Layer, u8)| contexts & context.bit() != 0;
        self.permitting.iter().filter(narrows).map(|(layer, _)| layer)
    }

    /// Pairs in whose crossing a layer speaks.
    pub(crate) fn spoken(&self, layer: &Layer, context: Context) -> Pairs {
        let (all, of_layer) = (Zones::all(self.count), self.layer(layer));
        match context {
            Context::Publish | Context::Egress | Context::Subscribe => {
                Pairs::product(&of_layer, &all, self.count)
            }
            Context::Ingress | Context::Deliver => Pairs::product(&all, &of_layer, self.count),
            Context::Transit | Context::Interest => {
                let mut pairs = Pairs::product(&of_layer, &all, self.count);
                pairs.add(&Pairs::product(&all, &of_layer, self.count));
                pairs
            }
        }
    }

    /// Pairs that a match is about, its conditions left aside.
    pub(crate) fn matched(&self, matcher: &Match, context: Context) -> Pairs {
        if matcher.at & context.bit() == 0 {
            return Pairs::none(self.count);
        }
        let mut pairs =
            Pairs::product(&self.selected(&matcher.from), &self.selected(&matcher.to), self.count);
        for name in &matcher.same {
            match self.same.get(name) {
                Some(same) => pairs.keep(same),
                None => pairs.keep(&self.agreeing(name)),
            }
        }
        pairs
    }

    fn base(&self, rule: u32, context: Context) -> &Pairs {
        self.rules[rule as usize][context as usize].get_or_init(|| {
            let rule = &self.program.rules[rule as usize];
            let mut pairs = self.matched(&rule.matcher, context);
            if rule.is_about_links() {
                let mut heard = Pairs::none(self.count);
                rule.matcher.links.iter().for_each(|link| heard.add(&self.heard_of_link(&rule.layer, *link)));
                pairs.keep(&heard);
            } else if rule.layer.of.is_some() {
                pairs.keep(&self.spoken(&rule.layer, context));
            }
            pairs
        })
    }

    fn excepted(&self, rule: u32, context: Context) -> Option<(&Pairs, bool)> {
        let number = rule as usize;
        let rule = &self.program.rules[number];
        let except = rule.except.as_ref()?;
        let pairs = self.excepts[number][context as usize].get_or_init(|| self.matched(except, context));
        // For some of the links only, so the rule may apply all the same.
        let is_partial = rule.is_about_links() && !rule.is_excepted_whole();
        Some((pairs, except.has_conditions() || is_partial))
    }

    /// Origins and destinations of the events for which a layer speaks of a link: the origin and both ends are heard.
    pub(crate) fn heard_of_link(&self, layer: &Layer, link: ZoneLink) -> Pairs {
        let (of_layer, all) = (self.layer(layer), Zones::all(self.count));
        if link.ends().iter().any(|end| of_layer.contains(usize::from(end.0))) {
            return Pairs::all(self.count);
        }
        Pairs::product(&of_layer, &all, self.count)
    }

    /// Pairs for which the rule applies to some event.
    pub(crate) fn possible(&self, applied: &Applied, context: Context) -> Cow<'_, Pairs> {
        let base = self.base(applied.rule, context);
        match self.excepted(applied.rule, context).filter(|_| applied.except) {
            Some((excepted, false)) => Cow::Owned(base.without(excepted)),
            _ => Cow::Borrowed(base),
        }
    }

    /// Pairs for which the rule applies to every event, now and when its waivers are in force.
    pub(crate) fn certain(&self, applied: &Applied, context: Context) -> Cow<'_, Pairs> {
        if self.rule(applied).matcher.has_conditions() {
            return Cow::Owned(Pairs::none(self.count));
        }
        let mut pairs = Cow::Borrowed(self.base(applied.rule, context));
        if applied.except
            && let Some((excepted, _)) = self.excepted(applied.rule, context)
        {
            pairs.to_mut().remove(excepted);
        }
        for waiver in &applied.waivers {
            let cell = &self.waivers[*waiver as usize][context as usize];
            let matcher = &self.program.waivers[*waiver as usize].matcher;
            pairs.to_mut().remove(cell.get_or_init(|| self.matched(matcher, context)));
        }
        pairs
    }

    /// Pairs that the permits of each layer that must permit let through, for some event.
    pub(crate) fn permitted(&self, rules: &[Applied], context: Context) -> Pairs {
        let mut open = Pairs::all(self.count);
        let is_permit = |rule: &Rule| rule.is_permit() && rule.mode == Mode::Enforce;
        let permits: SmallVec<[&Applied; 16]> =
            rules.iter().filter(|applied| is_permit(self.rule(applied))).collect();
        for ((layer, contexts), spoken) in self.permitting.iter().zip(&self.spoken) {
            if contexts & context.bit() == 0 {
                continue;
            }
            let spoken = spoken[context as usize].get_or_init(|| self.spoken(layer, context));
            let mut closed = Cow::Borrowed(spoken);
            for applied in permits.iter().filter(|applied| self.rule(applied).layer == *layer) {
                closed.to_mut().remove(&self.possible(applied, context));
            }
            open.remove(&closed);
        }
        open
    }

    /// Pairs that a `deny` or a `residency` stops, whatever the event.
    pub(crate) fn stopped(&self, rules: &[Applied], context: Context) -> Pairs {
        let mut stopped = Pairs::none(self.count);
        for applied in rules {
            let rule = self.rule(applied);
            if rule.mode != Mode::Enforce {
                continue;
            }
            let cell = &self.refused[applied.rule as usize][usize::from(context == Context::Transit)];
            if let Some(refused) = cell.get_or_init(|| self.refused(rule, context)) {
                stopped.add_towards(&self.certain(applied, context), refused);
            }
        }
        stopped
    }

    /// Recipients that a rule refuses where it applies; `None` where it is not for refusing.
    pub(crate) fn refused(&self, rule: &Rule, context: Context) -> Option<Zones> {
        match &rule.action {
            Action::Deny => Some(Zones::all(self.count)),
            Action::Residency { allow, transit } => {
                let allowed = if context == Context::Transit { transit } else { allow };
                let zones = &self.program.federation.zones;
                Some(Zones::of(self.count, |at| !allowed.iter().any(|selector| selector.selects(&zones[at]))))
            }
            _ => None,
        }
    }

    /// From a learner to an owner: what the context `interest` leaves of who may learn.
    pub(crate) fn told(&self, rules: &[Applied]) -> Pairs {
        let mut told = self.permitted(rules, Context::Interest);
        told.remove(&self.stopped(rules, Context::Interest));
        told
    }

    /// Layers that must permit where an event goes from one zone to another.
    pub(crate) fn gates(&self, context: Context, from: usize, to: usize) -> impl Iterator<Item = &Layer> {
        let zones = &self.program.federation;
        self.permitting
            .iter()
            .filter(move |(layer, contexts)| {
                contexts & context.bit() != 0
                    && layer.speaks_at(context, zones.zone_at(zone(from)), zones.zone_at(zone(to)))
            })
            .map(|(layer, _)| layer)
    }
}

fn border_bits() -> u8 {
    Context::BORDERS.iter().fold(0, |bits, context| bits | context.bit())
}
