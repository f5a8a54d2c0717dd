//! What the destination of an event gets to see of it: what people may see of it, too.

use meshbridge_event::{AttributeValue, Event};

use super::evaluation::{Evaluation, GOVWARN, Live, is_protect};
use super::{Concern, Data, Request, Scratch};
use crate::decision::{Report, Verdict};
use crate::model::Mode;
use crate::program::Program;

impl Program {
    /// The event after the protections towards its destination. `None` where the destination is not to have it in any
    /// form: then protections say nothing about who may see it. What only its form or size keeps it from counts as
    /// wanted there.
    pub(crate) fn protected_view(&self, request: &Request<'_>, scratch: &mut Scratch) -> Option<Event> {
        let request = &Request { buckets: None, trace: false, ..*request };
        match self.decide(request, scratch).verdict {
            Verdict::Forward { event } => {
                Some(event.map_or_else(|| request.event.clone(), |made| as_before(request.event, made)))
            }
            Verdict::Hold { .. } => None,
            Verdict::Stop(stopped) => {
                let mut all = std::iter::once(&stopped.by).chain(&stopped.also_by);
                let is_wanted = all.all(|rule| self.concern(rule) != Concern::Other);
                if is_wanted { self.protected(request, scratch) } else { None }
            }
        }
    }

    /// The event as its own zone may keep it although a rule stops it: after the protections that hold here. `None` where
    /// they cannot be made.
    pub fn kept_form(&self, request: &Request<'_>, scratch: &mut Scratch) -> Option<Event> {
        self.protected(&Request { buckets: None, trace: false, ..*request }, scratch)
    }

    fn protected(&self, request: &Request<'_>, scratch: &mut Scratch) -> Option<Event> {
        let plan = scratch.plan(self, request);
        let Scratch { surveyor, tape, .. } = scratch;
        let data = Data::for_plan(&plan, request.event, tape);
        let evaluation = Evaluation::new(self, &plan, request, data);
        let (live, _) = evaluation.applying(&mut Report::default());
        let is_in_doubt =
            |one: &Live<'_>| one.is_error && one.rule.mode == Mode::Enforce && is_protect(one.rule);
        if live.iter().any(is_in_doubt) {
            return None;
        }
        let stripped = evaluation.strip(&live);
        let event = stripped.as_ref().unwrap_or(request.event);
        let sight = evaluation.look(surveyor, event);
        let edited = evaluation.protect(&live, sight.as_ref()).ok()?;
        Some(edited.map_or_else(|| event.clone(), |protected| protected.event))
    }
}

/// The made event with the notes of `mode: warn` as they were: who looks on need not be told again.
pub(super) fn as_before(event: &Event, made: Event) -> Event {
    let known = event.attribute(GOVWARN);
    if made.attribute(GOVWARN) == known {
        return made;
    }
    let text = known.map(|value| value.to_text().into_owned());
    let builder = match &text {
        Some(text) => made.to_builder().set_attribute(GOVWARN, AttributeValue::String(text)),
        None => made.to_builder().remove_attribute(GOVWARN),
    };
    let restored = builder.build();
    restored.unwrap_or(made)
}
