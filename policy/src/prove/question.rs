//! From a question to its answer: over all atoms and subjects, first what the mesh itself delivers, then what zones may
//! publish again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use super::borders::{Applied, Borders, Here};
use super::explain::{self, Found};
use super::forms::{Form, Forms, TooManyForms, asked};
use super::reach::{Reach, Seen};
use super::report::{Basis, Counterexample, Proof, Refutation};
use super::subjects::{Leaf, Subject, SubjectKey, leaves, says_what_topics_hold, subjects};
use super::transfer::{Crossings, Transfer};
use super::zones::{Pairs, Zones};
use crate::model::{Action, Context, Mode, Never};

/// Ways that are explained, to find one that is certain or short; the answer is the same with any of them.
const EXPLAINED_MAX: usize = 48;

/// What is known while the atoms are looked at.
struct Search<'b, 'q> {
    borders: &'b Borders<'q>,
    question: &'q Never,
    forms: Forms<'q>,
    /// From where to where it must not be seen, at topics that the exception is not about, and at those that it is.
    never: [Pairs; 2],
    /// The same with what an origin sees of its own, so that origins can be grouped.
    grouped: [Pairs; 2],
    /// Numbered, for the topics at which the same rules decide.
    ways: HashMap<Vec<Applied>, (usize, Rc<Crossings>)>,
    done: HashSet<(usize, SubjectKey, bool)>,
    explained: usize,
    direct: Option<Counterexample>,
    relayed: Option<Counterexample>,
    is_somewhere: bool,
    is_field: bool,
}

pub(super) fn answer<'q>(borders: &Borders<'q>, question: &'q Never) -> Proof {
    let asked_of = borders.matched(&question.matcher, Context::Egress);
    let excepted = question.except.as_ref().map(|except| borders.matched(except, Context::Egress));
    let left = excepted.map_or_else(|| asked_of.clone(), |excepted| asked_of.without(&excepted));
    let grouped = [asked_of, left];
    let own = Pairs::diagonal(borders.count);
    let mut search = Search {
        borders,
        question,
        forms: Forms::new(borders.program.keys(), borders.count, asked(&question.discloses)),
        never: [grouped[0].without(&own), grouped[1].without(&own)],
        grouped,
        ways: HashMap::new(),
        done: HashSet::new(),
        explained: 0,
        direct: None,
        relayed: None,
        is_somewhere: false,
        is_field: false,
    };
    let leaves = leaves(&question.classes);
    match search.run(&leaves) {
        Ok(()) => search.proof(),
        Err(TooManyForms) => Proof::Unknown {
            why: "the rules make more forms of one value than a proof looks at".to_owned(),
            filters: Vec::new(),
        },
    }
}

impl<'b, 'q> Search<'b, 'q> {
    fn run(&mut self, leaves: &[Leaf<'q>]) -> Result<(), TooManyForms> {
        let borders = self.borders;
        let about = |topics: &[meshbridge_topic::TopicFilter]| {
            let mut atoms = if topics.is_empty() { borders.atoms.all() } else { borders.atoms.none() };
            topics.iter().for_each(|filter| atoms.union_with(&borders.atoms.intersecting(filter)));
            atoms
        };
        let excepted = self.question.except.as_ref().map(|except| about(&except.topics));
        for atom in &about(&self.question.matcher.topics) {
            let here = borders.at(atom);
            let is_excepted = excepted.as_ref().is_some_and(|atoms| atoms.contains(atom));
            let all = subjects(borders, &here, leaves);
            if !all.is_empty() {
                let rules = deciding(borders, &here);
                let (number, ways) = self.ways(&rules);
                for subject in all {
                    self.is_somewhere |= subject.place.is_none();
                    self.is_field |= subject.place.is_some();
                    if self.done.insert((number, subject.key.clone(), is_excepted)) {
                        self.subject(atom, &here, &rules, &ways, &subject, is_excepted)?;
                    }
                }
            }
            if self.direct.as_ref().is_some_and(Counterexample::is_certain) {
                break;
            }
        }
        Ok(())
    }

    fn ways(&mut self, rules: &[Applied]) -> (usize, Rc<Crossings>) {
        if let Some((number, ways)) = self.ways.get(rules) {
            return (*number, Rc::clone(ways));
        }
        let ways = Rc::new(Crossings::new(self.borders, rules, self.question.at_deliver));
        let number = self.ways.len();
        self.ways.insert(rules.to_vec(), (number, Rc::clone(&ways)));
        (number, ways)
    }

    fn subject(
        &mut self,
        atom: usize,
        here: &Here,
        rules: &[Applied],
        ways: &Crossings,
        subject: &Subject<'q>,
        is_excepted: bool,
    ) -> Result<(), TooManyForms> {
        let at_deliver = self.question.at_deliver;
        if ways.is_empty() {
            return Ok(());
        }
        let transfer = Transfer::new(self.borders, rules, ways, &subject.key, at_deliver, &mut self.forms)?;
        if transfer.value.is_empty() {
            return Ok(());
        }
        let found = Found { atom, here, subject, ways, at_deliver };
        let never = &self.never[usize::from(is_excepted)];
        let mut is_refuted = false;
        for (form, pairs) in &transfer.value {
            let mut seen = pairs.and(never);
            seen.keep_origins(&subject.key.starts);
            seen.keep_recipients(self.forms.shown(*form));
            for (from, to) in seen.iter() {
                is_refuted = true;
                if self.explained >= EXPLAINED_MAX && self.direct.is_some() {
                    break;
                }
                self.explained += 1;
                let path = [
                    Seen { zone: usize::from(from.0), form: Form::VALUE, before: None },
                    Seen { zone: usize::from(to.0), form: *form, before: Some(0) },
                ];
                let explained = explain::counterexample(self.borders, &mut self.forms, &found, &path)?;
                if is_better(&explained, self.direct.as_ref()) {
                    self.direct = Some(explained);
                }
            }
        }
        // Whatever zones publish again, there is an answer already.
        if self.question.relay && !is_refuted && self.direct.is_none() && self.explained < EXPLAINED_MAX {
            self.relay(&found, &transfer, is_excepted)?;
        }
        Ok(())
    }

    fn relay(
        &mut self,
        found: &Found<'_, 'q>,
        transfer: &Transfer,
        is_excepted: bool,
    ) -> Result<(), TooManyForms> {
        let never = &self.never[usize::from(is_excepted)];
        // Origins with the same question are asked together; what one of them sees of its own is sorted out later.
        let mut groups: BTreeMap<Zones, Zones> = BTreeMap::new();
        let count = self.borders.count;
        for origin in found.subject.key.starts.iter() {
            let mut row = Zones::none(count);
            row.add(self.grouped[usize::from(is_excepted)].row(origin));
            if !row.is_empty() {
                groups.entry(row).or_insert_with(|| Zones::none(count)).insert(origin);
            }
        }
        for (recipients, origins) in &groups {
            let judge = |seen: Seen, forms: &Forms<'_>| {
                recipients.contains(seen.zone) && forms.shown(seen.form).contains(seen.zone)
            };
            if Reach::new(origins, count, transfer, &mut self.forms, judge)?.1.is_none() {
                continue;
            }
            for origin in origins.iter() {
                let judge = |seen: Seen, forms: &Forms<'_>| {
                    never.contains(origin, seen.zone) && forms.shown(seen.form).contains(seen.zone)
                };
                let alone = Zones::of(count, |zone| zone == origin);
                let (reach, hit) = Reach::new(&alone, count, transfer, &mut self.forms, judge)?;
                let Some(hit) = hit else { continue };
                if self.explained >= EXPLAINED_MAX && self.relayed.is_some() {
                    return Ok(());
                }
                self.explained += 1;
                let path = reach.path(hit);
                let explained = explain::counterexample(self.borders, &mut self.forms, found, &path)?;
                if is_better(&explained, self.relayed.as_ref()) {
                    self.relayed = Some(explained);
                }
            }
        }
        Ok(())
    }

    fn proof(mut self) -> Proof {
        let relay_only = self.direct.is_none();
        match self.direct.take().or(self.relayed.take()) {
            Some(counterexample) => Proof::Refuted(Box::new(Refutation {
                certain: counterexample.is_certain(),
                counterexample,
                relay_only,
                mesh_rests_on: if relay_only { self.bases(false) } else { Vec::new() },
            })),
            None => Proof::Proved { rests_on: self.bases(self.question.relay) },
        }
    }

    /// What is taken for granted where nothing was found, with zones that publish again or without.
    fn bases(&self, relay: bool) -> Vec<Basis> {
        let program = self.borders.program;
        let federation = &program.federation;
        let documents: Vec<_> =
            program.classifications.iter().filter(|one| says_what_topics_hold(one)).collect();
        let unknown: Vec<String> = federation
            .zones
            .iter()
            .filter(|zone| !documents.iter().any(|document| document.layer.speaks_for(zone)))
            .map(|zone| zone.name.clone())
            .collect();
        let mut rests_on = Vec::new();
        if !documents.is_empty() {
            let documents = documents.iter().map(|document| document.name.to_string()).collect();
            rests_on.push(Basis::Classification { documents });
        }
        if !unknown.is_empty() {
            rests_on.push(Basis::NothingKnown { zones: unknown });
        }
        if self.is_somewhere {
            rests_on.push(Basis::Detectors);
        } else if self.is_field {
            rests_on.push(Basis::DeclaredFields);
        }
        let keys = self.forms.keys_met();
        if !keys.is_empty() {
            rests_on.push(Basis::Keys { keys });
        }
        rests_on.push(Basis::Bridges);
        rests_on.push(Basis::SameTopic);
        if !relay {
            rests_on.push(Basis::NoRelay);
        }
        rests_on
    }
}

/// Fewer steps first, then what is certain, then what depends on less.
fn is_better(one: &Counterexample, known: Option<&Counterexample>) -> bool {
    let rank = |one: &Counterexample| (!one.is_certain(), one.steps.len(), one.depends_on.len());
    known.is_none_or(|known| rank(one) < rank(known))
}

/// The rules that decide who sees what: enforced ones that permit, stop or protect.
fn deciding(borders: &Borders<'_>, here: &Here) -> Vec<Applied> {
    let decides = |applied: &&Applied| {
        let rule = borders.rule(applied);
        let decides = match rule.action {
            Action::Permit | Action::Protect(_) => true,
            // What stops only some events stops none for certain.
            Action::Deny | Action::Residency { .. } => !rule.matcher.has_conditions(),
            _ => false,
        };
        decides && rule.mode == Mode::Enforce
    };
    here.rules.iter().filter(decides).cloned().collect()
}
