//! The least fixpoint: which zones can see a value in which forms, from an origin, over any number of zones that publish
//! again what they received.

use super::forms::{Form, Forms, TooManyForms};
use super::transfer::Transfer;
use super::zones::{Zones, bits};

/// A zone that sees a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) zone: usize,
    pub(crate) form: Form,
    /// The step before: its place in [`Reach::steps`].
    pub(crate) before: Option<usize>,
}

/// Everything that is seen from some origins, nearest first.
#[derive(Debug)]
pub(crate) struct Reach {
    pub(crate) steps: Vec<Seen>,
    /// By form.
    seen: Vec<Zones>,
    count: usize,
}

impl Reach {
    /// From the value at each of the origins. Calls `judge` with each zone and form that is seen first by a crossing, and
    /// stops where it says so. Each zone is looked at once for each form, so this ends.
    pub(crate) fn new(
        origins: &Zones,
        count: usize,
        transfer: &Transfer,
        forms: &mut Forms<'_>,
        mut judge: impl FnMut(Seen, &Forms<'_>) -> bool,
    ) -> Result<(Reach, Option<usize>), TooManyForms> {
        let mut reach = Reach { steps: Vec::new(), seen: Vec::new(), count };
        // Not marked as seen: whether one origin can see the value of another is part of the question.
        reach.steps.extend(origins.iter().map(|zone| Seen { zone, form: Form::VALUE, before: None }));
        let mut next = 0;
        let mut judged = reach.steps.len();
        while next < reach.steps.len() {
            let Seen { zone, form, .. } = reach.steps[next];
            if transfer.sending.contains(zone) {
                if form == Form::VALUE {
                    for (form, pairs) in &transfer.value {
                        reach.see_row(*form, pairs.row(zone), next);
                    }
                } else {
                    let steps = &mut reach;
                    transfer.again(zone, form, forms, |form, row| steps.see_row(form, row, next))?;
                }
            }
            while judged < reach.steps.len() {
                if judge(reach.steps[judged], forms) {
                    return Ok((reach, Some(judged)));
                }
                reach.open(judged, forms);
                judged += 1;
            }
            next += 1;
        }
        Ok((reach, None))
    }

    /// A zone that holds the key has the value, and may publish it.
    fn open(&mut self, at: usize, forms: &Forms<'_>) {
        let Seen { zone, form, .. } = self.steps[at];
        if forms.opened(form).contains(zone) {
            self.see(Form::VALUE, std::iter::once(zone), Some(at));
        }
    }

    fn see_row(&mut self, form: Form, row: &[u64], before: usize) {
        if self.seen.len() <= form.index() {
            self.seen.resize(form.index() + 1, Zones::none(self.count));
        }
        let known = self.seen[form.index()].words();
        if row.iter().zip(known).all(|(row, known)| row & !known == 0) {
            return;
        }
        self.see(form, bits(row), Some(before));
    }

    fn see(&mut self, form: Form, zones: impl Iterator<Item = usize>, before: Option<usize>) {
        if self.seen.len() <= form.index() {
            self.seen.resize(form.index() + 1, Zones::none(self.count));
        }
        for zone in zones {
            if !self.seen[form.index()].contains(zone) {
                self.seen[form.index()].insert(zone);
                self.steps.push(Seen { zone, form, before });
            }
        }
    }

    /// The steps that lead to one, from the origin on.
    pub(crate) fn path(&self, to: usize) -> Vec<Seen> {
        let mut path = Vec::new();
        let mut at = Some(to);
        while let Some(step) = at.and_then(|at| self.steps.get(at)) {
            path.push(*step);
            at = step.before;
        }
        path.reverse();
        path
    }
}
