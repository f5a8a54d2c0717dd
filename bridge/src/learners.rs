//! Who may learn what this bridge wants, by the policies of one generation: routing asks, the program answers.
//!
//! The answers are static for a generation. After a reload the answers for what is
//! wanted already are worked out before routing hears of it: it is one task, and it has links to keep alive.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshbridge_policy::{ZoneIndex, ZoneSet};
use meshbridge_routing::{Audience, Learners, ZoneName};
use meshbridge_topic::TopicFilter;

use crate::policy_store::{Generation, PolicyStore};
use crate::router_task::{Command, RouterHandle};

/// Answers that are worked out before they are asked for. Beyond it each is worked out when asked.
const FILTERS_MAX: usize = 1 << 20;
/// Lists of zones that are remembered; routing uses 64 at most.
const LISTS_MAX: usize = 1_024;

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
    /// Each list once, however many filters have it.
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

impl PolicyLearners {
    /// Works out the answer for a filter, for when routing asks.
    fn prepare(&self, filter: &TopicFilter) {
        let audience = self.audience(filter);
        let mut known = self.known();
        if known.by_filter.len() < FILTERS_MAX {
            known.by_filter.insert(filter.clone(), audience);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Learners for PolicyLearners {
    /// Remembered where it was prepared: routing asks once for what is new.
    fn audience(&self, filter: &TopicFilter) -> Audience {
        if let Some(known) = self.known().by_filter.get(filter) {
            return known.clone();
        }
        // Not under the lock: it takes a while where the program has many rules.
        let told = self.work_out(filter);
        let mut known = self.known();
        if let Some(audience) = known.by_zones.get(&told) {
            return audience.clone();
        }
        let audience = self.named(&told);
        if known.by_zones.len() < LISTS_MAX {
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
            wanted.iter().for_each(|filter| asked.prepare(filter));
        });
        // A panic there comes again where routing asks, and is told of there.
        let _ = worked_out.await;
        router.send(Command::Learners(learners)).await;
    }
}
