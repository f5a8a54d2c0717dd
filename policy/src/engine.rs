//! A decision: may the event go on from here, and in which form (POLICY §3).
//!
//! ```text
//! 1 rules whose match holds and whose exception does not, against the event as it arrived
//! 2 optional attributes that fail are stripped
//! 3 all checks, on the result          ── something stops it ─► the strictest, outermost rule is named
//! 4 all protections, in one pass
//! 5 all buckets are debited
//! 6 rules in shadow, on what the others saw
//! ```
//!
//! Nothing depends on the order of rules or files. Any stop beats any permit.

mod alike;
mod attributes;
mod carriers;
mod certain;
mod checks;
mod data;
mod evaluation;
mod kept;
mod limit;
mod links;
mod protecting;
mod reception;
mod scratch;
mod train;
mod view;

use std::fmt;
use std::sync::Arc;

use meshbridge_event::Event;
use meshbridge_topic::Topic;
use time::OffsetDateTime;

use crate::Class;
pub(crate) use crate::decision::Found;
use crate::decision::{Decision, Editors, RuleRef};
use crate::federation::ZoneIndex;
use crate::keys::KeyRing;
use crate::limits::Buckets;
use crate::model::{Action, Context};
use crate::program::{ClassId, Program};
use crate::protect::Randomness;

pub(crate) use attributes::{Ends, is_met};
pub use carriers::ZoneSet;
pub(crate) use certain::{Certain, CertainForm, InPart, OnRecord};
pub(crate) use data::{Data, json_of};
use evaluation::Evaluation;
pub(crate) use evaluation::is_protect;
pub use scratch::Scratch;
pub use train::Told;

/// An event where it is judged.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub context: Context,
    pub from: ZoneIndex,
    /// In transit the carrying zone.
    pub to: ZoneIndex,
    pub topic: &'a Topic,
    pub event: &'a Event,
    /// The authenticated principals, where they are known.
    pub publisher: Option<&'a str>,
    pub subscriber: Option<&'a str>,
    /// Bridges that the event has crossed.
    pub hops: u8,
    /// The bridge's clock.
    pub now: OffsetDateTime,
    /// Nanoseconds of a clock that never goes back; what buckets run by.
    pub tick: u64,
    /// Rates are asked and debited here; without buckets they have room.
    pub buckets: Option<&'a Buckets>,
    pub keys: &'a dyn KeyRing,
    /// The same randomness makes the same bytes.
    pub randomness: &'a Randomness,
    /// Ids of rules that a person has released this event from: for it and these zones they are waived. What carries it
    /// on the way is judged with them all the same.
    pub released: &'a [Arc<str>],
    /// Whether the report lists every rule that applied.
    pub trace: bool,
}

impl Program {
    /// Judges an event. `scratch` remembers what topic and zones alone decide, so each worker keeps one.
    pub fn decide(&self, request: &Request<'_>, scratch: &mut Scratch) -> Decision {
        let plan = scratch.plan(self, request);
        if plan.passes && !request.trace && !self.has_obligations(request) {
            return Decision::pass();
        }
        let Scratch { surveyor, tape, .. } = scratch;
        let data = Data::for_plan(&plan, request.event, tape);
        Evaluation::new(self, &plan, request, data).decide(surveyor)
    }

    /// The enforced rules that would edit the event, each by itself. For those who explain a decision.
    pub(crate) fn editing_rules(&self, request: &Request<'_>, scratch: &mut Scratch) -> Vec<RuleRef> {
        let plan = scratch.plan(self, request);
        let Scratch { surveyor, tape, .. } = scratch;
        let data = Data::for_plan(&plan, request.event, tape);
        Evaluation::new(self, &plan, request, data).editing_rules(surveyor)
    }

    /// Destinations of one class get the same verdict and bytes for an event of the topic.
    pub fn class(
        &self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
        scratch: &mut Scratch,
    ) -> ClassId {
        scratch.plan_of(self, context, from, to, topic).class.clone()
    }
}

impl Program {
    /// Whether every event of the topic passes as it is: no rule has anything to ask. Not at a border, where attributes
    /// may bring obligations.
    pub fn passes(
        &self,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
        scratch: &mut Scratch,
    ) -> bool {
        !context.is_border() && scratch.plan_of(self, context, from, to, topic).passes
    }

    /// The rules that edited an event, in order: their ids, layers and places. `editors` are of a decision of this
    /// program.
    pub fn editors<'a>(
        &'a self,
        editors: &'a Editors,
    ) -> impl Iterator<Item = (&'a str, &'a str, (&'a str, usize))> {
        let rules = editors.iter().filter_map(|at| self.rules.get(at));
        rules.map(|rule| (&*rule.id, &**rule.layer.name(), (&*rule.span.file, rule.span.line)))
    }

    /// What a rule that stopped an event is about.
    pub fn concern(&self, rule: &RuleRef) -> Concern {
        let known = self.rules.iter().find(|known| *known.id == *rule.id());
        match known.map(|rule| &rule.action) {
            Some(Action::Require { .. } | Action::Structure(_) | Action::Validate(_)) => Concern::Form,
            Some(Action::Limit(_)) => Concern::Limit,
            _ => Concern::Other,
        }
    }
}

/// What a rule asks of events, as far as their publisher can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concern {
    /// How they look: `require`, `structure`, `validate`.
    Form,
    /// How large or how many they are.
    Limit,
    Other,
}

/// The class of personal data that a text holds; for ids and names that are about to be shown or logged.
pub fn personal_class(text: &str) -> Option<Class> {
    crate::classes::first_in(text)
}

/// A text as people may see it: its class where it holds personal data, else without control characters, and cut.
pub fn shown(text: &str) -> String {
    crate::message::shown(text)
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request { context, from, to, topic, .. } = self;
        write!(f, "Request({context} {} -> {} {topic})", from.0, to.0)
    }
}

#[cfg(test)]
mod tests;
