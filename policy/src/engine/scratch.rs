//! What a worker keeps between decisions.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use meshbridge_detect::tape::TapeBuffer;
use meshbridge_detect::{ClassSet, Confidence};
use meshbridge_event::Event;
use meshbridge_topic::{Topic, TopicFilter};

use super::{Found, Request};
use crate::federation::ZoneIndex;
use crate::model::Context;
use crate::program::{Plan, PlanKey, PlanKeyRef, Program};
use crate::protect::{Declared, Surveyor};

/// Plans a worker remembers; beyond it the memory starts anew.
const PLANS_MAX: usize = 8_192;

/// Buffers, and what topics and zones alone decide under one program.
#[derive(Default)]
pub struct Scratch {
    program: u64,
    plans: HashMap<PlanKey, Arc<Plan>>,
    /// Whether a zone is told that another one wants a topic, under the key of the context `interest`.
    told: HashMap<PlanKey, bool>,
    pub(super) surveyor: Surveyor,
    pub(super) tape: TapeBuffer,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("program", &self.program).field("plans", &self.plans.len()).finish()
    }
}

impl Scratch {
    pub fn new() -> Scratch {
        Scratch::default()
    }

    pub(super) fn plan(&mut self, program: &Program, request: &Request<'_>) -> Arc<Plan> {
        self.plan_of(program, request.context, request.from, request.to, request.topic)
    }

    pub(super) fn plan_of(
        &mut self,
        program: &Program,
        context: Context,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
    ) -> Arc<Plan> {
        self.is_about(program);
        if let Some(known) = self.plans.get(&PlanKeyRef { context, from, to, topic }) {
            return Arc::clone(known);
        }
        if self.plans.len() >= PLANS_MAX {
            self.plans.clear();
        }
        let plan = Arc::new(program.plan(context, from, to, topic));
        self.plans.insert(PlanKey { context, from, to, topic: topic.clone() }, Arc::clone(&plan));
        plan
    }

    /// What is in an event that is not declared to be there; see [`Program::drift`].
    pub(crate) fn undeclared(
        &mut self,
        program: &Program,
        event: &Event,
        topic: &Topic,
        declared: Declared<'_>,
        wanted: &ClassSet,
        least: Confidence,
    ) -> Vec<Found> {
        let keys = program.keys();
        let survey = self.surveyor.look(event, topic.as_str(), declared, keys, wanted, least);
        let is_known = |class| declared.may_hold.contains(class);
        let undeclared =
            survey.findings().filter(|one| one.undeclared && !one.alternatives.iter().any(is_known));
        super::evaluation::shown(undeclared)
    }

    fn is_about(&mut self, program: &Program) {
        if self.program != program.serial {
            self.plans.clear();
            self.told.clear();
            self.program = program.serial;
        }
    }

    /// Whether `from` may learn that `to` wants events of the topic.
    pub(super) fn is_told(
        &mut self,
        program: &Program,
        from: ZoneIndex,
        to: ZoneIndex,
        topic: &Topic,
    ) -> bool {
        self.is_about(program);
        let context = Context::Interest;
        if let Some(known) = self.told.get(&PlanKeyRef { context, from, to, topic }) {
            return *known;
        }
        if self.told.len() >= PLANS_MAX {
            self.told.clear();
        }
        let is_told = program.may_learn(from, to, &TopicFilter::from(topic));
        self.told.insert(PlanKey { context, from, to, topic: topic.clone() }, is_told);
        is_told
    }
}
