//! Who is told of which filters: the context `interest` (POLICY §3).

use std::collections::HashMap;
use std::sync::Arc;

use meshbridge_topic::{Atoms, TopicFilter};

use crate::federation::ZoneIndex;
use crate::model::Context;
use crate::program::Program;
use crate::prove::{Applied, Borders, Pairs, Ways};

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
                .collect();
            Known { pairs, atoms: borders.into_atoms() }
        });
        Learners { known }
    }

    pub(crate) fn may_learn(
        &self,
        program: &Program,
        learner: ZoneIndex,
        owner: ZoneIndex,
        filter: &TopicFilter,
    ) -> bool {
        let (learner, owner) = (usize::from(learner.0), usize::from(owner.0));
        let count = program.federation.zones.len();
        if learner >= count || owner >= count {
            return false;
        }
        // A zone knows what it wants itself.
        if learner == owner {
            return true;
        }
        match &self.known {
            Some(known) => {
                known.atoms.intersecting(filter).iter().any(|atom| known.pairs[atom].contains(learner, owner))
            }
            // Only the filters that meet this one can tell its topics apart. Where even these are too many, nobody is
            // told: no event goes where it must not, and the findings name the filters.
            None => Borders::about(program, filter).is_ok_and(|borders| {
                let mut atoms =
                    borders.atoms.intersecting(filter).into_iter().collect::<Vec<_>>().into_iter();
                atoms.any(|atom| learners(&borders, &borders.at(atom).rules).contains(learner, owner))
            }),
        }
    }
}

/// From learners to owners, at topics where these rules apply.
pub(crate) fn learners(borders: &Borders<'_>, rules: &[Applied]) -> Pairs {
    let Ways { to, carriers } = Ways::new(borders, rules, false);
    // An owner does not advertise what its own border never admits.
    let mut sent = to;
    sent.keep(&borders.permitted(rules, Context::Ingress));
    sent.remove(&borders.stopped(rules, Context::Ingress));
    let mut learners = sent.clone();
    let mut narrowed = borders.permitted(rules, Context::Interest);
    narrowed.remove(&borders.stopped(rules, Context::Interest));
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
