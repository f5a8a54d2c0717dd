//! What this bridge wants, divided by who may learn of it (R40).
//!
//! ```text
//!                 subscribe hr.x          policies: z1 may learn it no more        500 ms later
//! {z0,z1,z2}      hr.x                    hr.x, lingering                          -
//! {z0,z2}         -                       hr.x                                     hr.x
//! ```
//!
//! Those that keep it are told by the second set before the first one ends it, so for them nothing blinks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use meshbridge_topic::TopicFilter;

use crate::audience::{Audience, Everyone, Learners};
use crate::limits::{MOVED_LINGER, SETS_PER_OWNER_MAX};
use crate::own_interest::{Moving, OwnInterest};
use crate::want::{GroupName, Want};
use crate::{InterestFull, ZoneName};

/// What is wanted here, by audience. An audience stays when nothing is left in it, so that its end is told.
pub(crate) struct OwnAudiences {
    zone: ZoneName,
    audiences_max: usize,
    learners: Arc<dyn Learners + Send + Sync>,
    sets: BTreeMap<Audience, OwnInterest>,
    /// Filters that are told to the own zone only, for there was no room for their audience.
    untold: BTreeSet<TopicFilter>,
}

impl fmt::Debug for OwnAudiences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnAudiences").field("audiences", &self.sets.len()).finish_non_exhaustive()
    }
}

impl OwnAudiences {
    pub(crate) fn new(zone: ZoneName, audiences_max: usize) -> OwnAudiences {
        // The set for all is there from the start: it tells that a run without interest has none.
        let sets = BTreeMap::from([(Audience::All, OwnInterest::default())]);
        OwnAudiences { zone, audiences_max, learners: Arc::new(Everyone), sets, untold: BTreeSet::new() }
    }

    /// Everything held, what lingers included.
    pub(crate) fn len(&self) -> usize {
        self.sets.values().map(OwnInterest::len).sum()
    }

    pub(crate) fn contains(&self, filter: &TopicFilter) -> bool {
        self.sets.values().any(|own| own.contains(filter))
    }

    pub(crate) fn contains_group(&self, filter: &TopicFilter, name: &GroupName) -> bool {
        self.sets.values().any(|own| own.keeps_group(filter, name))
    }

    pub(crate) fn audiences(&self) -> impl Iterator<Item = &Audience> {
        self.sets.keys()
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = &TopicFilter> {
        self.sets.values().flat_map(OwnInterest::filters)
    }

    pub(crate) fn get_mut(&mut self, audience: &Audience) -> Option<&mut OwnInterest> {
        self.sets.get_mut(audience)
    }

    /// What the members of an audience have been told last.
    pub(crate) fn told(&self, audience: &Audience) -> Vec<Want> {
        self.sets.get(audience).map(OwnInterest::told).unwrap_or_default()
    }

    /// Filters that nobody but the own zone is told of, for want of room.
    pub(crate) fn untold(&self) -> impl Iterator<Item = &TopicFilter> {
        self.untold.iter().filter(|filter| self.contains(filter))
    }

    pub(crate) fn is_touched(&self) -> bool {
        self.sets.values().any(OwnInterest::is_touched)
    }

    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.sets.values().filter_map(OwnInterest::next_end).min()
    }

    pub(crate) fn add(&mut self, filter: &TopicFilter) -> Result<(), InterestFull> {
        let held = self.sets.values_mut().find(|own| own.wants(filter));
        match held {
            Some(own) => own.add(filter),
            None => {
                let audience = self.audience_of(filter)?;
                self.sets.entry(audience).or_default().add(filter);
            }
        }
        Ok(())
    }

    pub(crate) fn release(&mut self, filter: &TopicFilter, end: Instant) {
        if let Some(own) = self.sets.values_mut().find(|own| own.wants(filter)) {
            own.release(filter, end);
        }
    }

    /// Beyond the limits it is left out.
    pub(crate) fn restore(&mut self, filter: &TopicFilter, end: Instant) {
        if !self.contains(filter)
            && let Ok(audience) = self.audience_of(filter)
        {
            self.sets.entry(audience).or_default().restore(filter, end);
        }
    }

    pub(crate) fn set_group(
        &mut self,
        filter: &TopicFilter,
        name: &GroupName,
        live: Option<bool>,
    ) -> Result<(), InterestFull> {
        // Where the group is leaving a set it has the same members until then.
        self.sets.values_mut().for_each(|own| own.follow_group(filter, name, live));
        if live.is_some() && !self.contains_group(filter, name) {
            let audience = self.audience_of(filter)?;
            self.sets.entry(audience).or_default().set_group(filter, name, live);
        }
        Ok(())
    }

    /// Drops what has lingered long enough; tells whether there was any.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        self.sets.values_mut().fold(false, |any, own| own.expire(now) | any)
    }

    /// The bridge goes: see [`OwnInterest::leave`].
    pub(crate) fn leave(&mut self, lasting: &BTreeSet<TopicFilter>) {
        let own_only = Audience::zones([self.zone.clone()]);
        for (audience, own) in &mut self.sets {
            let belongs = |filter: &TopicFilter| {
                *audience == self.learners.audience(filter).with(&self.zone) || *audience == own_only
            };
            own.leave(|filter| lasting.contains(filter) && belongs(filter));
        }
    }

    /// R40: other policies are in force. What is told to others now goes to their set at once, and leaves the one in
    /// which it was a little later.
    pub(crate) fn set_learners(&mut self, learners: Arc<dyn Learners + Send + Sync>, now: Instant) {
        self.learners = learners;
        self.untold.clear();
        let end = now + MOVED_LINGER;
        let mut moving: Vec<Moving> = Vec::new();
        for (audience, own) in &mut self.sets {
            let belongs = |filter: &TopicFilter| self.learners.audience(filter).with(&self.zone) == *audience;
            moving.extend(own.moving(end, belongs));
        }
        let mut used: BTreeSet<Audience> =
            self.sets.iter().filter(|(_, own)| own.stays()).map(|(audience, _)| audience.clone()).collect();
        for one in moving {
            let mut audience = self.learners.audience(one.filter()).with(&self.zone);
            if !audience.fits() || !used.contains(&audience) && used.len() >= self.audiences_max {
                self.untold.insert(one.filter().clone());
                audience = Audience::zones([self.zone.clone()]);
            }
            if !used.contains(&audience) {
                used.insert(audience.clone());
            }
            self.sets.entry(audience).or_default().take(one);
        }
    }

    /// R41: an audience in which others remember something of this bridge, and it does not: its end is told.
    pub(crate) fn end(&mut self, audience: Audience) {
        if self.sets.len() < SETS_PER_OWNER_MAX {
            self.sets.entry(audience).or_default();
        }
    }

    /// The audience that is to be forgotten for another one, where there are too many that nothing is left in.
    pub(crate) fn surplus(&self) -> Option<Audience> {
        let is_over = self.sets.len() > SETS_PER_OWNER_MAX;
        let ended =
            |(audience, own): &(&Audience, &OwnInterest)| **audience != Audience::All && own.is_empty();
        self.sets.iter().find(ended).filter(|_| is_over).map(|(audience, _)| audience.clone())
    }

    pub(crate) fn forget(&mut self, audience: &Audience) {
        self.sets.remove(audience);
    }

    fn audience_of(&self, filter: &TopicFilter) -> Result<Audience, InterestFull> {
        let audience = self.learners.audience(filter).with(&self.zone);
        if !audience.fits() {
            return Err(InterestFull::Audience);
        }
        let used = self.sets.iter().filter(|(_, own)| !own.is_empty());
        let is_used = self.sets.get(&audience).is_some_and(|own| !own.is_empty());
        if !is_used && used.count() >= self.audiences_max {
            return Err(InterestFull::Audiences(self.audiences_max));
        }
        Ok(audience)
    }
}
