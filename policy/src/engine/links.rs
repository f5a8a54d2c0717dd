//! Links that an event must not cross (POLICY §2, `links`). They stop nothing: routing leaves them out for the event, and
//! where no way is left it waits.

use super::evaluation::Evaluation;
use super::{Data, Request, Scratch};
use crate::decision::{Report, RuleRef};
use crate::link::{LinkDenials, ZoneLink};
use crate::model::Mode;
use crate::program::Program;

impl Program {
    /// The links that an event must not cross on its way from `request.from` to `request.to`, which is its destination in
    /// every context. As for carriers, the layers of the origin and of both ends of a link are heard.
    pub fn denied_links(&self, request: &Request<'_>, scratch: &mut Scratch) -> LinkDenials {
        if !self.denies_links() {
            return LinkDenials::default();
        }
        let plan = scratch.plan(self, request);
        if plan.links.is_empty() {
            return LinkDenials::default();
        }
        let Scratch { tape, .. } = scratch;
        let data = Data::for_plan(&plan, request.event, tape);
        Evaluation::new(self, &plan, request, data).denied_links(&mut Report::default())
    }

    /// The outermost rule that denies the link.
    pub fn denied_by(&self, denials: &LinkDenials, link: ZoneLink) -> Option<RuleRef> {
        denials.rule(link).and_then(|at| self.rules.get(at)).map(RuleRef::of)
    }
}

impl Evaluation<'_> {
    pub(super) fn denied_links(&self, report: &mut Report) -> LinkDenials {
        let mut denials = LinkDenials::default();
        for one in &self.plan.links {
            let rule = &self.program.rules[one.candidate.rule as usize];
            let mut denied = one.denied(rule, &self.facts).peekable();
            if denied.peek().is_none() {
                continue;
            }
            if let Some(waiver) = self.waiver(&one.candidate) {
                report.waived.push((RuleRef::of(rule), waiver));
                continue;
            }
            match rule.mode {
                Mode::Enforce => {
                    denied.for_each(|link| denials.add(link, one.candidate.rule));
                    if self.request.trace {
                        report.hits.push(RuleRef::of(rule));
                    }
                }
                Mode::Warn => report.warned.push(RuleRef::of(rule)),
                Mode::Shadow => report.shadowed.push(RuleRef::of(rule)),
            }
        }
        denials
    }
}
