//! Who may learn what this bridge wants, by the policies of one generation: routing asks, the program answers.
//!
//! The answers are static for a generation, so each filter is asked about once. After a reload the answers for what is
//! wanted already are worked out before routing hears of it: it is one task, and it has links to keep alive.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use meshbridge_policy::{ZoneIndex, ZoneSet};
use meshbridge_routing::{Audience, Learners, ZoneName};
use meshbridge_topic::TopicFilter;

use crate::policy_store::{Generation, PolicyStore};
use crate::router_task::{Command, RouterHandle};

/// Answers that are remembered: more than a bridge may want filters. Beyond it each is worked out when asked.
const FILTERS_MAX: usize = 131_072;

/// The answers of one generation.
pub(crate) struct PolicyLearners {
    generation: Arc<Generation>,
    own: ZoneIndex,
    zones: Vec<(ZoneIndex, ZoneName)>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_filter: HashMap<TopicFilter, Audience>,
    /// Each list once, however many filters have it. Bounded by the filters.
    by_zones: HashMap<ZoneSet, Audience>,
}

impl fmt::Debug for PolicyLearners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyLearners").field("generation", &self.generation.number).finish_non_exhaustive()
    }
}

impl PolicyLearners {
    pub(crate) fn new(generation: Arc<Generation>, own: ZoneIndex) -> PolicyLearners {
        let federation = generation.program.federation();
        let zones = federation
            .zones()
            .filter_map(|name| Some((federation.zone(name)?, ZoneName::parse(name).ok()?)))
            .collect();
        PolicyLearners { own, zones, known: Mutex::default(), generation }
    }

    fn work_out(&self, filter: &TopicFilter) -> ZoneSet {
        self.generation.program.learners_of(self.own, filter)
    }

    fn named(&self, told: &ZoneSet) -> Audience {
        let zones: Vec<ZoneName> = self
            .zones
            .iter()
            .filter(|(zone, _)| told.contains(*zone))
            .map(|(_, name)| name.clone())
            .collect();
        if zones.len() == self.zones.len() { Audience::All } else { Audience::zones(zones) }
    }
}

impl Learners for PolicyLearners {
    fn audience(&self, filter: &TopicFilter) -> Audience {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().by_filter.get(filter) {
            return known.clone();
        }
        // Not under the lock: it takes a while where the program has many rules.
        let told = self.work_out(filter);
        let mut known = lock();
        let audience = match known.by_zones.get(&told) {
            Some(audience) => audience.clone(),
            None => self.named(&told),
        };
        if known.by_filter.len() < FILTERS_MAX {
            known.by_filter.insert(filter.clone(), audience.clone());
            known.by_zones.insert(told, audience.clone());
        }
        audience
    }
}

/// Tells routing of the policies in force until `kick` is closed: once for each reload, the newest alone where several
/// came meanwhile.
pub(crate) async fn follow_policies(
    policies: Arc<PolicyStore>,
    own: ZoneIndex,
    router: RouterHandle,
    mut kick: tokio::sync::mpsc::Receiver<()>,
) {
    while kick.recv().await.is_some() {
        let learners = Arc::new(PolicyLearners::new(policies.active().clone(), own));
        let Some(wanted) = router.view(|router| router.own_filters()).await else { return };
        let asked = Arc::clone(&learners);
        let worked_out = tokio::task::spawn_blocking(move || {
            wanted.iter().for_each(|filter| drop(asked.audience(filter)));
        });
        // A panic there comes again where routing asks, and is told of there.
        let _ = worked_out.await;
        router.send(Command::Learners(learners)).await;
    }
}
