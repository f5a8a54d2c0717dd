//! What the demands on an event ask of a field, a finding or a listed value.

use meshbridge_detect::{Class, ClassSet, Confidence, Finding};
use smallvec::SmallVec;

use super::apply::{CannotProtect, Unprotectable};
use super::demand::{Claim, Demanded, Label};
use super::survey::{Place, Survey};
use super::value::MissingKey;
use crate::protection::Protection;

/// The demands on one event, and which of them met something.
pub(crate) struct Asked<'a> {
    pub(crate) survey: &'a Survey<'a>,
    pub(crate) claims: &'a [Claim<'a>],
    /// By claim.
    pub(crate) hit: SmallVec<[bool; 16]>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(survey: &'a Survey<'a>, claims: &'a [Claim<'a>]) -> Asked<'a> {
        Asked { survey, claims, hit: SmallVec::from_elem(false, claims.len()) }
    }

    /// A demand by its position.
    pub(crate) fn by_claim(&mut self, claim: usize, label: Label) -> Demanded {
        self.hit[claim] = true;
        Demanded { protection: self.claims[claim].demand.protection, label }
    }

    /// What is asked of a field that the Classification declares.
    pub(crate) fn by_declared(&mut self, class: Class, undeclared: bool) -> Option<Demanded> {
        let mut only = ClassSet::EMPTY;
        only.insert(class);
        let undeclared = if undeclared { only } else { ClassSet::EMPTY };
        self.by_classes(only, undeclared, Confidence::High, Label::class(class, ClassSet::EMPTY))
    }

    /// What is asked of a value that the list says was of a class.
    pub(crate) fn by_listed(&mut self, class: Class, undeclared: bool) -> Option<Demanded> {
        let mut only = ClassSet::EMPTY;
        only.insert(class);
        let undeclared = if undeclared { only } else { ClassSet::EMPTY };
        self.by_classes(only, undeclared, Confidence::High, Label::class(class, ClassSet::EMPTY))
    }

    /// What is asked of a finding in the data, under every class that it may be of.
    pub(crate) fn by_finding(&mut self, finding: &Finding) -> Option<Demanded> {
        let survey = self.survey;
        let mut classes = finding.alternatives;
        classes.insert(finding.class);
        let (mut main, mut undeclared) = (finding.class, ClassSet::EMPTY);
        match finding.node {
            Some(node) => {
                // What the Classification declares a field to be has no alternatives.
                if let Some(declared) = survey.vouched_at(node).find(|class| classes.contains(*class)) {
                    main = declared;
                    classes = [declared].into_iter().collect();
                }
                undeclared.extend_where(classes, |class| survey.is_undeclared_at_node(class, node));
            }
            None => undeclared.extend_where(classes, |class| survey.is_undeclared_outside(class, None)),
        }
        self.by_classes(classes, undeclared, finding.confidence, Label::class(main, classes))
    }

    pub(crate) fn by_finding_outside(&mut self, place: Place, finding: &Finding) -> Option<Demanded> {
        let survey = self.survey;
        let mut classes = finding.alternatives;
        classes.insert(finding.class);
        let mut undeclared = ClassSet::EMPTY;
        undeclared.extend_where(classes, |class| survey.is_undeclared_outside(class, Some(place)));
        self.by_classes(classes, undeclared, finding.confidence, Label::class(finding.class, classes))
    }

    fn by_classes(
        &mut self,
        classes: ClassSet,
        undeclared: ClassSet,
        confidence: Confidence,
        label: Label,
    ) -> Option<Demanded> {
        let mut protection: Option<Protection> = None;
        for (claim, hit) in self.claims.iter().zip(&mut self.hit) {
            let demand = claim.demand;
            let reach = if demand.undeclared { undeclared } else { classes };
            if demand.confidence <= confidence && !demand.classes.intersection(reach).is_empty() {
                *hit = true;
                protection = crate::protection::meet(protection, Some(demand.protection));
            }
        }
        protection.map(|protection| Demanded { protection, label })
    }

    /// Every class that a value may be of, whatever the rules ask for.
    pub(crate) fn classes_of(&self, text: &str, key: Option<&str>) -> ClassSet {
        crate::classes::all_in(text, key)
    }

    /// The rules of some demands, in order, each once.
    pub(crate) fn rules(&self, holds: impl Fn(usize, &Claim<'_>) -> bool) -> SmallVec<[usize; 4]> {
        let claims = self.claims.iter().enumerate().filter(|(at, claim)| holds(*at, claim));
        let mut rules: SmallVec<[usize; 4]> = claims.map(|(_, claim)| claim.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    pub(crate) fn fail(
        &self,
        why: Unprotectable,
        holds: impl Fn(usize, &Claim<'_>) -> bool,
    ) -> CannotProtect {
        CannotProtect { rules: self.rules(holds), why }
    }

    pub(crate) fn missing(&self, MissingKey(key): MissingKey) -> CannotProtect {
        self.fail(Unprotectable::MissingKey(key), |_, claim| claim.demand.protection.key() == Some(key))
    }
}

trait ExtendWhere {
    fn extend_where(&mut self, classes: ClassSet, holds: impl FnMut(Class) -> bool);
}

impl ExtendWhere for ClassSet {
    fn extend_where(&mut self, classes: ClassSet, mut holds: impl FnMut(Class) -> bool) {
        classes.iter().filter(|class| holds(*class)).for_each(|class| self.insert(class));
    }
}
