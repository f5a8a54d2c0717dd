//! What events hold that nobody declared (POLICY §6, rule 5): proofs rest on the Classification, and a finding that it
//! does not know takes their ground away.

use meshbridge_event::Event;
use meshbridge_topic::Topic;

use crate::engine::{Found, Scratch};
use crate::federation::ZoneIndex;
use crate::model::Context;
use crate::program::Program;
use crate::protect::Declared;
use crate::prove::says_what_topics_hold;
use crate::{ClassSet, Confidence};

impl Program {
    /// Looks for every class, whether or not a rule asks for it, and tells of those that no Classification of the zone
    /// declares there: neither at that place nor, by `mayHold`, somewhere in events of the topic. Only what is sure
    /// (`high`) counts, and what may as well be something declared does not. Never a value. Empty where no Classification
    /// of the zone says what topics hold: there nothing is taken for granted. Costs a scan of the whole event: for samples.
    pub fn drift(&self, zone: ZoneIndex, topic: &Topic, event: &Event, scratch: &mut Scratch) -> Vec<Found> {
        let of_zone = self.federation.zone_at(zone);
        let mut speaking = self
            .classifications
            .iter()
            .filter(|document| document.layer.speaks_at(Context::Publish, of_zone, of_zone));
        if !speaking.any(says_what_topics_hold) {
            return Vec::new();
        }
        let mut fields = Vec::new();
        let mut may_hold = ClassSet::EMPTY;
        for (_, declared) in self.classified(Context::Publish, zone, zone, topic) {
            fields.extend(declared.fields.iter().cloned());
            may_hold = may_hold.union(declared.may_hold);
        }
        let declared = Declared { fields: &fields, vouched: fields.len(), may_hold };
        scratch.undeclared(self, event, topic, declared, &ClassSet::ALL, Confidence::High)
    }
}

#[cfg(test)]
mod tests;
