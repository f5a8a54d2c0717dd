//! Who is told of which filters: the context `interest` (POLICY §3).

use std::collections::HashMap;
use std::sync::Arc;

use meshbridge_topic::{Atoms, TopicFilter};

use crate::ZoneSet;
use crate::federation::ZoneIndex;
use crate::model::{Context, Disposition, OnViolation};
use crate::program::Program;
use crate::prove::{Applied, Borders, Pairs, Ways, zone};

/// Learners and owners, for every class of topics. Made once for a program.
#[derive(Debug)]
pub(crate) struct Learners {
    /// `None` where the program tells too many classes of topics apart: then each filter is asked about by itself.
    known: Option<Known>,
}

#[derive(Debug)]
struct Known {
    atoms: Atoms,
    /// By atom: from the learner to the owner.
    pairs: Vec<Arc<Pairs>>,
    /// The pairs of all atoms, where they are the same for all: then no filter has to be looked at.
    everywhere: Option<Arc<Pairs>>,
}

impl Learners {
    pub(crate) fn new(program: &Program) -> Learners {
        let known = Borders::new(program, &[]).ok().map(|borders| {
            let mut same: HashMap<Vec<Applied>, Arc<Pairs>> = HashMap::new();
            let pairs = (0..borders.atoms.len())
                .map(|atom| {
                    let rules = borders.at(atom).rules;
                    let pairs =
                        same.entry(rules).or_insert_with_key(|rules| Arc::new(learners(&borders, rules)));
                    Arc::clone(pairs)
                })
                .collect::<Vec<_>>();
            let everywhere = pairs.first().filter(|first| pairs.iter().all(|one| one == *first)).cloned();
            Known { pairs, everywhere, atoms: borders.into_atoms() }
        });
        Learners { known }
    }

    /// The zones that are told of a filter of `owner`, itself among them: a zone knows what it wants.
    pub(crate) fn of(&self, program: &Program, owner: ZoneIndex, filter: &TopicFilter) -> ZoneSet {
        let mut told = ZoneSet::default();
        let (at, count) = (usize::from(owner.0), program.federation.zones.len());
        if at >= count {
            return told;
        }
        told.insert(owner);
        let mut add = |pairs: &Pairs| {
            for learner in (0..count).filter(|learner| pairs.contains(*learner, at)) {
                told.insert(zone(learner));
            }
        };
        match &self.known {
            Some(Known { everywhere: Some(pairs), .. }) => add(pairs),
            Some(known) => {
                let mut seen: Vec<*const Pairs> = Vec::new();
                for atom in known.atoms.intersecting(filter).iter() {
                    let pairs = &known.pairs[atom];
                    // Many classes of topics have the same rules, and so share their pairs.
                    if !seen.contains(&Arc::as_ptr(pairs)) {
                        seen.push(Arc::as_ptr(pairs));
                        add(pairs);
                    }
                }
            }
            // Only the filters that meet this one can tell its topics apart. Where even these are too many, nobody is
            // told: no event goes where it must not, and the findings name the filters.
            None => {
                if let Ok(borders) = Borders::about(program, filter) {
                    for atom in &borders.atoms.intersecting(filter) {
                        add(&learners(&borders, &borders.at(atom).rules));
                    }
                }
            }
        }
        told
    }
}

/// From learners to owners, at topics where these rules apply.
pub(crate) fn learners(borders: &Borders<'_>, rules: &[Applied]) -> Pairs {
    let Ways { to, carriers } = Ways::new(borders, rules, false);
    // What a person may release could pass: its origin has to know for whom it holds it.
    let held =
        |applied: &Applied| borders.rule(applied).on_violation == OnViolation::Stop(Disposition::Quarantine);
    let kept: Vec<Applied>;
    let (mut sent, rules) = if rules.iter().any(held) {
        kept = rules.iter().filter(|applied| !held(applied)).cloned().collect();
        (Ways::new(borders, &kept, false).to, &kept[..])
    } else {
        (to, rules)
    };
    // An owner does not advertise what its own border never admits.
    sent.keep(&borders.permitted(rules, Context::Ingress));
    sent.remove(&borders.stopped(rules, Context::Ingress));
    let mut learners = sent.clone();
    let narrowed = borders.told(rules);
    if let Some(carriers) = carriers {
        for origin in sent.origins().iter() {
            for carrier in crate::prove::bits(carriers.row(origin)) {
                learners.add_row(carrier, sent.row(origin));
            }
        }
    }
    learners.keep(&narrowed);
    learners
}
